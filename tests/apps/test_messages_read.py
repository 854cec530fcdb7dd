"""Who has read what: no question shows a text that the audit log does not say its reader has read."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.apps.test_messages_properties import STAFF, Replica, commands
from tests.apps.ward import ALICE, BOB, CARLA, NINE, ROOT, VERA, Ward

from holdfast.apps.messages import (
    SEEN_MAX,
    AckHeard,
    AskHistory,
    AskInbox,
    AskSince,
    IdsMissing,
    MakeGroup,
    NobodyNamed,
    Read,
    Search,
    Seen,
    Send,
    Shown,
)
from holdfast.apps.messages.rows import Audit
from holdfast.kernel.contracts import Command, Person, Request


def lines(ward: Ward, person: Person = VERA) -> list[tuple[str, str, int]]:
    """(who, what, message) of the audit log."""
    return [(line.person, line.what, line.message) for line in ward.answers(person, "audit").lines]


# -- what questions show ---------------------------------------------------------------------------


def test_of_what_is_not_read_questions_show_the_head() -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "Potassium is 5.9.", "--subject K+ --priority urgent")
    unread = "2026-12-01 09:00 UTC alice urgent (K+): not read yet: read 1"
    assert ward.says(BOB, "inbox") == f"1 unread. 1 new in alice+bob {unread}"
    assert ward.says(BOB, "history alice") == f"alice+bob: 1 {unread}"
    assert ward.says(BOB, "search potassium") == f"alice+bob 1 {unread}", "words are found in what is not read too"
    (item,) = ward.answers(BOB, "inbox").items
    assert (item.content, item.withheld, item.read_ms, item.subject) == ("", True, 0, "K+")
    for line in ("history alice", "search potassium"):
        (said,) = ward.answers(BOB, line).messages
        assert (said.content, said.withheld, said.number) == ("", True, 1)
    assert lines(ward) == []
    ward.says(BOB, "read 1")
    assert lines(ward) == [("bob", "read", 1)]
    for line in ("inbox", "history alice", "search potassium"):
        assert ward.says(BOB, line).endswith("alice urgent (K+): Potassium is 5.9.")
    (said,) = ward.answers(BOB, "history alice").messages
    assert (said.content, said.withheld, said.number) == ("Potassium is 5.9.", False, 1)


def test_what_one_has_sent_one_need_not_read() -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "one")
    (said,) = ward.answers(ALICE, "history bob").messages
    assert (said.content, said.withheld, said.number) == ("one", False, 0)


def test_an_acknowledgement_opens_it_too() -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "one")
    ward.says(BOB, "ack 1")
    assert ward.says(BOB, "history alice").endswith("alice: one")
    assert lines(ward) == [("bob", "ack", 1)]


def test_what_is_deleted_unread_is_told_apart_from_what_is_withheld() -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "one")
    ward.says(ALICE, "delete bob 1")
    for line in ("inbox", "history alice"):
        reply = ward.answers(BOB, line)
        (shown,) = getattr(reply, "items", None) or reply.messages
        assert (shown.content, shown.withheld, shown.deleted_ms) == ("", False, NINE)
        assert "deleted, 2026-12-01 09:00 UTC" in reply.text()


def test_each_member_of_a_group_reads_for_themselves() -> None:
    ward = Ward()
    ward.says(BOB, "group #ward3 alice,carla")
    ward.send(CARLA, "alice", "so that the numbers differ")
    ward.send(BOB, "#ward3", "round at ten")
    ward.says(ALICE, "read 2")
    assert ward.says(ALICE, "history #ward3").endswith("bob: round at ten")
    assert ward.says(CARLA, "history #ward3").endswith("bob: not read yet: read 1")
    assert ward.says(BOB, "history #ward3").endswith("bob: round at ten")


def test_a_device_is_given_the_text_and_the_log_says_nothing() -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "one")
    (item,) = ward.answers(BOB, "since").items
    assert (item.content, item.withheld, item.read_ms) == ("one", False, 0)
    ward.says(BOB, "got phone 1")
    assert lines(ward) == []
    assert ward.says(BOB, "inbox").endswith("alice: not read yet: read 1")
    (reach,) = ward.answers(VERA, "states alice+bob 1").recipients
    assert (reach.state, reach.delivered_ms) == ("delivered", NINE), "that it was delivered an auditor finds here"
    assert ward.says(ROOT, "states alice+bob 1").startswith("Failed: ")
    assert ward.says(VERA, "states alice+bob 2").startswith("Failed: there is no message 2 ")
    assert ward.says(VERA, "history alice+bob").startswith("Failed: ")
    for maker in (ALICE, BOB):
        ward.says(maker, "group #g vera")
    assert ward.says(VERA, "states #g 1").startswith("Failed: you are in several groups called '#g'")


# -- seen ------------------------------------------------------------------------------------------


def test_what_was_seen_is_read_each_with_its_line() -> None:
    ward = Ward()
    for number in range(3):
        ward.send((ALICE, CARLA)[number % 2], "bob", str(number))
    ward.hear()
    ward.at(60)
    assert ward.answers(BOB, "seen 1,3") == Shown((1, 3), ())
    assert lines(ward) == [("bob", "read", 1), ("bob", "read", 2)]
    assert ward.unread(BOB) == (1, {"bob+carla": 1})
    assert ward.hear() == [], "nobody is told"
    (reach,) = ward.answers(ALICE, "states bob 2").recipients
    assert (reach.state, reach.read_ms) == ("read", NINE + 60_000)


def test_seen_again_says_the_same_and_leaves_no_second_line() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    ward.send(ALICE, "bob")
    ward.says(BOB, "read 2")
    first = ward.answers(BOB, "seen 2,1,1,2")
    assert first == Shown((2, 1), ())
    digest = ward.machine.digest()
    assert ward.answers(BOB, "seen 2,1,1,2") == first
    assert ward.machine.digest() == digest
    assert lines(ward) == [("bob", "read", 2), ("bob", "read", 1)]
    assert ward.unread(BOB) == (0, {})


def test_what_is_not_there_is_told_and_the_others_are_read() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    ward.send(ALICE, "carla")
    assert ward.answers(BOB, "seen 7,1,2") == Shown((1,), (7, 2))
    assert ward.says(BOB, "seen 7,1,2") == "Read: 1. Not in your inbox: 7, 2."
    assert ward.says(BOB, "seen 7") == "Nothing is read. Not in your inbox: 7."
    assert ward.says(BOB, "seen 1") == "Read: 1."
    assert lines(ward) == [("bob", "read", 1)]


def test_of_what_is_deleted_there_is_nothing_to_read() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    ward.says(ALICE, "delete bob 1")
    assert ward.answers(BOB, "seen 1") == Shown((1,), ())
    assert lines(ward) == [("alice", "delete", 1)]
    assert ward.unread(BOB) == (0, {})


def test_what_seen_takes() -> None:
    ward = Ward()
    many = ",".join(map(str, range(1, SEEN_MAX + 2)))
    assert ward.says(BOB, f"seen {many}").startswith(f"Failed: at most {SEEN_MAX} items may stand in ")
    assert ward.says(BOB, f"seen {many.rpartition(',')[0]}").startswith("Nothing is read.")
    for line in ("seen", "seen 0", "seen x", 'seen ""'):
        assert ward.says(BOB, line).startswith("Failed: ")
    assert ward.answers(BOB, "seen 1,2 3-0-0") == IdsMissing(2, 1)
    assert ward.says(BOB, "seen 1,2 3-0-0") == (
        "Failed: there are 2 numbers and 1 ids; write an id for each number, or none."
    )
    assert ward.do(None, Seen((1,))) == NobodyNamed()
    assert ward.do(BOB, Seen(())) == Shown((), ()), "past the door it does no harm"


def test_an_urgent_one_that_was_seen_is_told_again_all_the_same() -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "come", "--priority emergency")
    ward.says(BOB, "seen 1")
    ward.hear()
    ward.at(61)
    ((person, told),) = ward.heard()
    assert (person, told.repeats, told.content) == ("bob", 1, "come")  # type: ignore[attr-defined]
    ward.says(BOB, "ack 1")
    assert [type(told) for _, told in ward.heard()] == [AckHeard]


# -- where numbers may have changed ----------------------------------------------------------------


def test_those_named_by_their_ids_are_found_under_other_numbers() -> None:
    ward = Ward()
    ids = [ward.send(ALICE, "bob", str(number)).id for number in range(6)]
    said = ward.answers(BOB, f"seen 1,2,6 {ids[1]},{ids[0]},{ids[3]}")
    assert said == Shown((2, 1, 4), ())
    assert ward.answers(BOB, f"seen 3,4 9-0-0,{ids[4]}") == Shown((5,), (3,))
    assert sorted(message for _, _, message in lines(ward)) == [1, 2, 4, 5]


def test_a_name_is_found_however_far_from_its_number() -> None:
    ward = Ward()
    ids = [ward.send(ALICE, "bob", str(number)).id for number in range(1_500)]
    carlas = ward.send(ALICE, "carla").id
    said = ward.answers(BOB, f"seen 1,2,3 {ids[-1]},{carlas},9-9-9")
    assert said == Shown((1_500,), (2, 3)), "what is somebody else's is not there"
    assert ward.answers(BOB, f"ack 1 {ids[-2]}").number == 1_499
    assert ward.says(ALICE, f"delete bob 1 {ids[-3]}").startswith("Message 1498 of alice+bob is deleted")
    assert ward.says(ALICE, f"delete bob 1 {carlas}").startswith("Failed: ")


def test_what_comes_in_before_does_not_make_another_one_read() -> None:
    replica = Replica()
    replica.write((NINE + 9000, "Alice", "north"), "north-1", Request(Send("bob", "later"), person=ALICE))
    replica.write((NINE + 9500, "Bob", "south"), "south-1", Request(Seen((1,), ("north-1",)), person=BOB))
    replica.write((NINE + 1000, "Carla", "east"), "east-1", Request(Send("bob", "earlier"), person=CARLA))
    items = replica.machine.answer(Request(AskInbox(), person=BOB)).items  # type: ignore[attr-defined]
    assert [(item.number, item.content, item.withheld) for item in items] == [(2, "later", False), (1, "", True)]


# -- the law, for any row of commands --------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STAFF), commands), max_size=50))
def test_no_question_shows_a_text_that_was_not_read(played: list[tuple[Person, Command]]) -> None:
    """Each text has a word of its own. It is judged by the rows of the log, whatever the app counts beside them."""
    ward = Ward()
    ward.do(ALICE, MakeGroup("#g", ("bob", "carla")))
    named: dict[str, tuple[str, int, str]] = {}
    for place, (person, command) in enumerate(played):
        if isinstance(command, Send):
            command = msgspec.structs.replace(command, text=f"word{place}x", subject=f"about{place}x")
        reply: Any = ward.do(person, command)
        if isinstance(command, Send) and not reply.failed:
            named[command.text] = (reply.conversation, reply.number, person.id)
    read = {(row.conversation, row.message, row.person) for row in ward.store.table(Audit) if row.what != "delete"}
    talks = dict.fromkeys(conversation for conversation, _, _ in named.values())
    for person in STAFF:
        for query in (AskInbox(), Search("about"), *map(AskHistory, talks)):
            reply = ward.ask(person, query)
            text = msgspec.json.encode(reply).decode() + reply.text()
            for word, (conversation, number, sender) in named.items():
                if word in text:
                    assert sender == person.id or (conversation, number, person.id) in read, (person.id, query, text)
        unread = [item for item in ward.ask(person, AskSince()).items if not (item.read_ms or item.deleted_ms)]
        withheld = [item.number for item in ward.ask(person, AskInbox()).items if item.withheld]
        assert withheld == [item.number for item in reversed(unread)]
        for item in unread:
            assert ward.do(person, Read(item.number)).content == item.content
