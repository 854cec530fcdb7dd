"""Messages in conversations of two: their numbers, their states, inboxes and devices."""

from __future__ import annotations

import pytest
from tests.apps.ward import ALICE, BOB, CARLA, NINE, PEOPLE, ROOT, Ward

from holdfast.apps.messages import (
    DEVICES_MAX,
    AckHeard,
    Acknowledged,
    Arrived,
    AskSince,
    CursorMoved,
    Deleted,
    DeviceAt,
    Got,
    NobodyNamed,
    NoSuchMessage,
    Opened,
    Read,
    Sent,
    ToYourself,
)
from holdfast.apps.messages.asking import FETCHED_MAX, PAGE_MAX


def test_a_message_is_sent_arrives_and_is_told() -> None:
    ward = Ward()
    ward.at(5)
    sent = ward.send(ALICE, "bob", "Please look at bed 12.", "--subject K+ --priority urgent")
    assert sent == Sent("alice+bob", 1, sent.id, "bob")
    (change,) = ward.hear()
    assert (change.person, change.id, change.firm) == ("bob", sent.id, "committed")
    assert change.reply == Arrived(
        1, sent.id, "alice+bob", 1, "alice", "K+", "urgent", "Please look at bed 12.", NINE + 5000, 0
    )
    assert ward.says(BOB, "inbox") == (
        "1 unread. 1 new in alice+bob 2026-12-01 09:00 UTC alice urgent (K+): not read yet: read 1"
    )
    assert ward.says(ALICE, "inbox") == "0 unread. No messages."


def test_numbers_count_a_conversation_and_each_inbox() -> None:
    ward = Ward()
    assert [ward.send(ALICE, "bob").number, ward.send(BOB, "alice").number, ward.send(ALICE, "bob").number] == [1, 2, 3]
    assert ward.send(CARLA, "bob").number == 1
    assert [number for number, _, _ in ward.inbox(BOB)] == [3, 2, 1]
    assert [number for number, _, _ in ward.inbox(ALICE)] == [1]
    assert [sender for _, sender, _ in ward.inbox(BOB)] == ["carla", "alice", "alice"]


def test_who_writes_first_does_not_matter_to_the_conversation() -> None:
    ward = Ward()
    assert ward.send(BOB, "alice").conversation == ward.send(ALICE, "bob").conversation == "alice+bob"


def test_a_conversation_of_two_may_be_named_by_the_other_or_by_its_id() -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "one")
    assert ward.send(BOB, "alice+bob", "two").to == "alice"
    ward.see(ALICE)
    ward.see(BOB)
    said = ward.answers(ALICE, "history bob")
    assert [message.message for message in said.messages] == [1, 2]
    assert [(message.number, message.withheld) for message in said.messages] == [(0, False), (1, False)]
    said = ward.answers(BOB, "history alice")
    assert said == ward.answers(BOB, "history alice+bob")
    assert [(message.content, message.number) for message in said.messages] == [("one", 1), ("two", 0)]


def test_history_comes_in_pages_in_its_order() -> None:
    ward = Ward()
    for number in range(1, 2 * PAGE_MAX + 11):
        ward.send((ALICE, BOB)[number % 2], ("bob", "alice")[number % 2], str(number))
    ward.see(ALICE)
    pages, before = [], 0
    while True:
        page = ward.answers(ALICE, f"history bob {before}" if before else "history bob")
        pages.append([message.content for message in page.messages])
        before = page.more_before
        if not before:
            break
    assert [len(page) for page in pages] == [PAGE_MAX, PAGE_MAX, 10]
    assert [text for page in reversed(pages) for text in page] == [
        str(number) for number in range(1, 2 * PAGE_MAX + 11)
    ]


def test_an_inbox_comes_in_pages_the_newest_first() -> None:
    ward = Ward()
    for number in range(1, PAGE_MAX + 2):
        ward.send(ALICE, "bob", str(number))
    first = ward.answers(BOB, "inbox")
    assert [item.number for item in first.items] == list(range(PAGE_MAX + 1, 1, -1))
    assert (first.unread, first.more_before) == (PAGE_MAX + 1, 2)
    last = ward.answers(BOB, f"inbox {first.more_before}")
    assert ([item.number for item in last.items], last.more_before) == ([1], 0)


def test_a_page_that_is_just_full_says_that_there_is_no_more() -> None:
    ward = Ward()
    for _ in range(PAGE_MAX):
        ward.send(ALICE, "bob")
    assert ward.answers(BOB, "inbox").more_before == ward.answers(BOB, "history alice").more_before == 0


# -- states ----------------------------------------------------------------------------------------


def states(ward: Ward, number: int = 1) -> list[tuple[str, str]]:
    reply = ward.answers(ALICE, f"states bob {number}")
    return [(reach.person, reach.state) for reach in reply.recipients]


def test_a_message_is_stored_then_delivered_then_read_then_acknowledged() -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "now", "--priority emergency")
    assert states(ward) == [("bob", "stored")]
    ward.at(1)
    ward.says(BOB, "got phone 1")
    assert states(ward) == [("bob", "delivered")]
    ward.at(2)
    ward.says(BOB, "read 1")
    assert states(ward) == [("bob", "read")]
    ward.at(3)
    ward.says(BOB, "ack 1")
    assert states(ward) == [("bob", "acknowledged")]
    (reach,) = ward.answers(BOB, "states alice 1").recipients
    assert (reach.delivered_ms, reach.read_ms, reach.acked_ms) == (NINE + 1000, NINE + 2000, NINE + 3000)
    assert ward.says(ALICE, "states bob 1") == (
        "Message 1 of alice+bob, sent 2026-12-01 09:00 UTC: bob acknowledged 2026-12-01 09:00 UTC."
    )


def test_what_is_read_without_a_device_is_not_delivered_to_one() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    ward.says(BOB, "read 1")
    (reach,) = ward.answers(ALICE, "states bob 1").recipients
    assert (reach.state, reach.delivered_ms, reach.read_ms) == ("read", 0, NINE)


def test_reading_opens_the_message_counts_it_and_is_told_to_nobody() -> None:
    ward = Ward()
    sent = ward.send(ALICE, "bob", "look")
    ward.send(CARLA, "bob")
    ward.hear()
    assert ward.unread(BOB) == (2, {"alice+bob": 1, "bob+carla": 1})
    ward.at(60)
    opened = ward.answers(BOB, "read 1")
    assert opened == Opened(
        1, sent.id, "alice+bob", 1, "alice", "", "routine", "look", NINE, 0, NINE + 60_000, 0, 0
    )  # fmt: skip
    assert opened.text() == "1 in alice+bob 2026-12-01 09:00 UTC alice: look"
    assert ward.unread(BOB) == (1, {"bob+carla": 1})
    assert ward.hear() == []


def test_reading_again_says_the_same_and_changes_nothing() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    first = ward.answers(BOB, "read 1")
    digest = ward.machine.digest()
    assert ward.answers(BOB, "read 1") == first
    assert ward.machine.digest() == digest
    ward.at(3600)
    assert ward.answers(BOB, "read 1") == first


def test_an_acknowledgement_reads_too_and_is_told_to_the_sender() -> None:
    ward = Ward()
    sent = ward.send(ALICE, "bob", "see me")
    ward.at(30)
    ward.hear()
    acked = ward.answers(BOB, "ack 1")
    assert acked == Acknowledged(1, sent.id, "alice", NINE + 30_000)
    assert ward.heard() == [("alice", AckHeard("alice+bob", 1, sent.id, "bob", NINE + 30_000))]
    assert ward.unread(BOB) == (0, {})
    assert ward.answers(BOB, "read 1").read_ms == NINE + 30_000


def test_an_acknowledgement_again_says_the_same_and_is_not_told_again() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    first = ward.answers(BOB, "ack 1")
    ward.at(3600)
    ward.hear()
    assert ward.answers(BOB, "ack 1") == first
    assert ward.hear() == []


# -- devices ---------------------------------------------------------------------------------------


def test_each_device_has_its_own_cursor_that_never_moves_back() -> None:
    ward = Ward()
    for _ in range(5):
        ward.send(ALICE, "bob")
    assert ward.answers(BOB, "got phone 3") == CursorMoved("phone", 3)
    assert ward.answers(BOB, "got desk 1") == CursorMoved("desk", 1)
    assert ward.answers(BOB, "got phone 2") == CursorMoved("phone", 3)
    assert ward.answers(BOB, "got phone 3") == CursorMoved("phone", 3)
    devices = ward.answers(BOB, "devices")
    assert devices.devices == (DeviceAt("desk", 1, NINE), DeviceAt("phone", 3, NINE))
    assert devices.last == 5
    assert [state for number in range(1, 6) for _, state in states(ward, number)] == 3 * ["delivered"] + 2 * ["stored"]


def test_a_cursor_goes_no_further_than_the_inbox() -> None:
    ward = Ward()
    assert ward.answers(BOB, "got phone 7") == CursorMoved("phone", 0)
    ward.send(ALICE, "bob")
    assert ward.answers(BOB, f"got phone {2**62}") == CursorMoved("phone", 1)
    ward.send(ALICE, "bob")
    assert states(ward, 2) == [("bob", "stored")]


def test_devices_fetch_what_is_new_in_order() -> None:
    ward = Ward()
    for number in range(FETCHED_MAX + 3):
        ward.send(ALICE, "bob", str(number))
    first = ward.answers(BOB, "since")
    assert [item.number for item in first.items] == list(range(1, FETCHED_MAX + 1))
    assert (first.last, first.more) == (FETCHED_MAX + 3, True)
    rest = ward.answers(BOB, f"since {first.items[-1].number}")
    assert ([item.content for item in rest.items], rest.more) == (["100", "101", "102"], False)
    assert ward.answers(BOB, f"since {rest.last}").items == ()


def test_every_delivery_is_remembered_with_its_time() -> None:
    ward = Ward()
    for minute in range(4):
        ward.at(60 * minute)
        ward.send(ALICE, "bob")
        if minute % 2:
            ward.says(BOB, f"got phone {minute + 1}")
    delivered = [ward.answers(ALICE, f"states bob {number}").recipients[0].delivered_ms for number in (1, 2, 3, 4)]
    assert delivered == [NINE + 60_000, NINE + 60_000, NINE + 180_000, NINE + 180_000]


def test_of_too_many_devices_those_seen_last_are_kept() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    for number in range(DEVICES_MAX + 2):
        ward.at(number)
        ward.says(BOB, f"got d{number} 1")
    kept = [device.device for device in ward.answers(BOB, "devices").devices]
    assert len(kept) == DEVICES_MAX
    assert not {"d0", "d1"} & set(kept)
    assert ward.says(BOB, "got d0 1") == "d0 has all up to 1."
    assert ward.answers(ALICE, "devices").devices == ()


# -- deleting --------------------------------------------------------------------------------------


def test_deleting_leaves_a_tombstone_and_is_told() -> None:
    ward = Ward()
    sent = ward.send(ALICE, "bob", "wrong patient", "--subject K+")
    ward.send(ALICE, "bob", "right")
    ward.hear()
    ward.at(60)
    deleted = Deleted("alice+bob", 1, sent.id, NINE + 60_000)
    assert ward.answers(ALICE, "delete bob 1") == deleted
    assert ward.heard() == [("bob", deleted)]
    first, second = ward.answers(BOB, "history alice").messages
    assert (first.message, first.content, first.subject, first.deleted_ms) == (1, "", "", NINE + 60_000)
    assert (second.content, second.withheld, first.withheld) == ("", True, False)
    assert ward.says(BOB, "inbox").endswith(
        "; 1 in alice+bob 2026-12-01 09:00 UTC alice: deleted, 2026-12-01 09:01 UTC"
    )
    assert not any("wrong patient" in str(row) for table in ward.store.tables for row in table)


def test_nobody_has_to_read_what_is_deleted() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    ward.send(ALICE, "bob")
    ward.says(BOB, "read 1")
    ward.says(ALICE, "delete bob 1")
    assert ward.unread(BOB) == (1, {"alice+bob": 1})
    ward.says(ALICE, "delete bob 2")
    assert ward.unread(BOB) == (0, {})
    opened = ward.answers(BOB, "read 2")
    assert (opened.content, opened.read_ms) == ("", 0)
    assert ward.unread(BOB) == (0, {})


def test_nobody_acknowledges_what_is_deleted() -> None:
    ward = Ward()
    sent = [ward.send(ALICE, "bob", text) for text in ("unread", "read", "acknowledged")]
    ward.says(BOB, "read 2")
    before = ward.answers(BOB, "ack 3")
    for number in (1, 2, 3):
        ward.says(ALICE, f"delete bob {number}")
    ward.at(60)
    ward.hear()
    digest = ward.machine.digest()
    assert ward.answers(BOB, "ack 1") == ward.answers(BOB, f"ack 1 {sent[0].id}") == NoSuchMessage("", 1)
    assert ward.answers(BOB, "ack 2") == NoSuchMessage("", 2)
    assert ward.says(BOB, "ack 1") == "Failed: there is no message 1 in your inbox with which you may do this."
    assert ward.machine.digest() == digest
    assert ward.answers(BOB, "ack 3") == before == Acknowledged(3, sent[2].id, "alice", NINE)
    assert ward.hear() == []
    assert states(ward) == [("bob", "stored")]
    assert " new " not in ward.says(BOB, "inbox")


def test_deleting_again_says_the_same_and_is_not_told_again() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    first = ward.answers(ALICE, "delete bob 1")
    ward.at(60)
    ward.hear()
    assert ward.answers(ALICE, "delete bob 1") == first
    assert ward.hear() == []


def test_only_the_sender_or_an_administrator_deletes() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    assert ward.answers(BOB, "delete alice 1") == NoSuchMessage("alice", 1)
    assert ward.says(CARLA, "delete alice+bob 1") == ward.says(CARLA, "delete alice+bob 2").replace("2", "1")
    assert isinstance(ward.answers(ROOT, "delete alice+bob 1"), Deleted)
    assert ward.answers(ROOT, "delete alice+bob 2") == NoSuchMessage("alice+bob", 2)


# -- named by its id -------------------------------------------------------------------------------


def test_a_message_named_by_its_id_too_is_found_under_another_number() -> None:
    ward = Ward()
    sent = [ward.send(ALICE, "bob", str(number)) for number in range(1, 6)]
    assert ward.answers(BOB, f"read 5 {sent[1].id}").content == "2"
    assert ward.answers(BOB, f"ack 1 {sent[3].id}").number == 4
    assert ward.answers(ALICE, f"delete bob 1 {sent[4].id}").number == 5
    assert ward.answers(BOB, "read 1 7-0-0") == NoSuchMessage("", 1)
    assert ward.answers(BOB, f"read 9 {sent[1].id}").number == 2


# -- unread, who -----------------------------------------------------------------------------------


def test_unread_counts_in_all_and_by_conversation() -> None:
    ward = Ward()
    for _ in range(3):
        ward.send(ALICE, "bob")
    ward.send(CARLA, "bob")
    assert ward.says(BOB, "unread") == "4 unread: alice+bob 3, bob+carla 1."
    ward.says(BOB, "read 2")
    ward.says(BOB, "ack 4")
    assert ward.says(BOB, "unread") == "2 unread: alice+bob 2."
    assert ward.says(ALICE, "unread") == "0 unread."


def test_who_tells_the_people_of_the_site_and_when_they_were_seen() -> None:
    ward = Ward()
    assert [person.id for person in ward.answers(BOB, "who").people] == [person.id for person in PEOPLE]
    assert ward.says(BOB, 'who "ward 3"') == "alice Alice (doctor, ward 3); bob Bob (nurse, ward 3)"
    ward.at(120)
    ward.says(BOB, "got phone 0")
    assert ward.says(ALICE, 'who "ward 3"').endswith("bob Bob (nurse, ward 3), seen 2026-12-01 09:02 UTC")
    assert ward.says(BOB, "who nowhere") == "Nobody."


def test_who_goes_on_after_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.apps.messages.asking.PEOPLE_MAX", 3)
    ward = Ward()
    seen: list[str] = []
    after = ""
    while True:
        reply = ward.answers(BOB, f'who "" {after}' if after else "who")
        seen += [person.id for person in reply.people]
        after = reply.more_after
        if not after:
            break
    assert seen == [person.id for person in PEOPLE]


def test_nobody_who_is_not_named_is_served() -> None:
    ward = Ward()
    assert ward.do(None, Read(1)) == ward.do(None, Got("phone", 1)) == NobodyNamed()
    assert ward.ask(None, AskSince()) == NobodyNamed()
    assert ward.says(None, "who").startswith("Failed: ")


def test_nobody_writes_to_themselves() -> None:
    ward = Ward()
    assert ward.answers(ALICE, "send alice hello") == ToYourself()
