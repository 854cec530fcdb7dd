"""What time does to messages: urgent ones are told again, old ones go, and notices come in between."""

from __future__ import annotations

from typing import Any

import pytest
from tests.apps.ward import ALICE, BOB, CARLA, NINE, PEOPLE, VERA, Ward

from holdfast.apps.messages import AckHeard, Acknowledged, Arrived, Messages, NoSuchConversation, NoSuchMessage, Send
from holdfast.apps.messages.aging import REMINDERS_MAX, REMOVALS_MAX
from holdfast.apps.messages.rows import Audit, Box, Delivery, Item, Message, Oldest, Reminder
from holdfast.kernel.contracts import Person, Request, Timely
from holdfast.kernel.notices import NoticeTaker, Taken, TakeNotices
from holdfast.kernel.store import TupleStore

HOUR, DAY = 3600, 24 * 3600


def again(ward: Ward) -> list[tuple[str, int, int]]:
    """(to whom, number, which time) of what was told again."""
    told = []
    for person, reply in ward.heard():
        assert isinstance(reply, Arrived)
        told.append((person, reply.number, reply.repeats))
    return told


def due(ward: Ward) -> int | None:
    due_ms = ward.app.due_ms(ward.store)
    return None if due_ms is None else (due_ms - NINE) // 1000


def test_the_app_is_one_that_time_and_notices_come_to() -> None:
    assert isinstance(Messages(), Timely)
    assert isinstance(Messages(), NoticeTaker)


# -- told again ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("priority", "seconds"), [("urgent", 300), ("emergency", 60)])
def test_what_is_urgent_is_told_again_until_it_is_acknowledged(priority: str, seconds: int) -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "come", f"--priority {priority}")
    ward.hear()
    for times in (1, 2, 3):
        assert due(ward) == times * seconds
        ward.at(times * seconds - 0.001)
        assert again(ward) == []
        ward.at(times * seconds)
        assert again(ward) == [("bob", 1, times)]
    (item,) = ward.answers(BOB, "inbox").items
    assert item.repeats == 3
    ward.says(BOB, "read 1")
    ward.at(4 * seconds)
    assert again(ward) == [("bob", 1, 4)], "to read is not to acknowledge"
    ward.says(BOB, "ack 1")
    ward.hear()
    assert due(ward) is None
    ward.at(100 * seconds)
    assert ward.hear() == []
    assert ward.answers(ALICE, "states bob 1").recipients[0].repeats == 4


def test_what_is_told_again_is_the_same_message() -> None:
    ward = Ward()
    sent = ward.send(ALICE, "bob", "come", "--priority urgent --subject bed")
    ward.hear()
    ward.at(300)
    (change,) = ward.hear()
    assert change.id == sent.id
    assert change.reply == Arrived(1, sent.id, "alice+bob", 1, "alice", "bed", "urgent", "come", NINE, 1)
    assert change.text == "1 in alice+bob, told again, 1 2026-12-01 09:00 UTC alice urgent (bed): come"


def test_routine_is_never_told_again() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    assert due(ward) is None
    ward.hear()
    ward.at(100 * DAY)
    assert ward.hear() == []


def test_of_a_group_each_is_told_until_they_acknowledge() -> None:
    ward = Ward()
    ward.says(ALICE, "group #g bob,carla")
    ward.send(ALICE, "#g", "fire", "--priority emergency")
    ward.says(CARLA, "ack 1")
    ward.hear()
    ward.at(60)
    assert again(ward) == [("bob", 1, 1)]


def test_time_that_was_missed_is_not_caught_up_with() -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "come", "--priority emergency")
    ward.hear()
    ward.at(HOUR)
    assert again(ward) == [("bob", 1, 1)]
    assert due(ward) == HOUR + 60


def test_what_is_deleted_is_told_no_more() -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "come", "--priority urgent")
    ward.says(ALICE, "delete bob 1")
    ward.hear()
    assert due(ward) is None
    ward.at(DAY)
    assert ward.hear() == []


def test_the_intervals_are_settings() -> None:
    ward = Ward(urgent_repeat_seconds=2, emergency_repeat_seconds=1.5)
    ward.send(ALICE, "bob", "a", "--priority urgent")
    ward.send(ALICE, "bob", "b", "--priority emergency")
    ward.hear()
    ward.at(1.5)
    assert again(ward) == [("bob", 2, 1)]
    ward.at(2)
    assert again(ward) == [("bob", 1, 1)]


def test_so_many_are_told_again_at_one_time_and_the_others_next() -> None:
    ward = Ward()
    extra = 7
    command = Send("bob", "come", priority="urgent")
    ward.execute(*[Request(command, person=ALICE)] * (REMINDERS_MAX + extra))
    ward.hear()
    ward.at(300)
    first = again(ward)
    assert [number for _, number, _ in first] == list(range(1, REMINDERS_MAX + 1))
    assert due(ward) == 300, "there is more"
    ward.at(301)
    assert [number for _, number, _ in again(ward)] == list(range(REMINDERS_MAX + 1, REMINDERS_MAX + extra + 1))
    ward.at(302)
    assert again(ward) == []


# -- retention -------------------------------------------------------------------------------------


def rows(store: TupleStore, kind: type) -> list[Any]:
    return sorted(store.table(kind), key=store.table(kind).key_of)


def test_messages_go_with_their_age_and_out_of_inboxes() -> None:
    ward = Ward(retention_days=30)
    ward.send(ALICE, "bob", "old", "--priority urgent")
    ward.at(DAY)
    ward.send(BOB, "alice", "newer")
    assert due(ward) == DAY + 300, "it is urgent, and was told just now"
    ward.says(BOB, "ack 1")
    assert due(ward) == 30 * DAY
    ward.at(30 * DAY - 1)
    assert len(ward.inbox(BOB)) == 1
    ward.at(30 * DAY)
    assert ward.inbox(BOB) == []
    (message,) = ward.answers(BOB, "history alice").messages
    assert (message.message, message.content) == (2, "newer")
    assert ward.says(BOB, "states alice 1").startswith("Failed: ")
    assert ward.answers(BOB, "read 1") == NoSuchMessage("", 1)
    ward.at(31 * DAY)
    assert ward.answers(ALICE, "history bob").messages == ()
    for kind in (Message, Item, Reminder, Oldest):
        assert rows(ward.store, kind) == []
    assert due(ward) is None


def test_what_has_gone_is_told_no_more() -> None:
    ward = Ward(retention_days=1)
    ward.send(ALICE, "bob", "come", "--priority urgent")
    ward.at(DAY - 100)
    ward.send(BOB, "alice", "newer")
    ward.at(DAY)
    ward.hear()
    assert rows(ward.store, Reminder) == []
    assert due(ward) == 2 * DAY, "the newer one goes at the next full hour"
    ward.at(DAY + HOUR)
    assert ward.hear() == []


def test_a_conversation_begins_anew_when_all_of_it_has_gone() -> None:
    ward = Ward(retention_days=1)
    for day in range(4):
        ward.at(2 * day * DAY)
        assert ward.send(ALICE, "bob").number == day + 1
        assert len(rows(ward.store, Message)) == len(rows(ward.store, Oldest)) == 1


def test_numbers_go_on_after_what_has_gone() -> None:
    ward = Ward(retention_days=1)
    ward.send(ALICE, "bob", "old")
    ward.at(2 * DAY)
    assert ward.send(ALICE, "bob", "new").number == 2
    assert ward.inbox(BOB) == [(2, "alice", "new")]
    reply = ward.answers(BOB, "since")
    assert ([item.number for item in reply.items], reply.last) == ([2], 2)
    assert ward.answers(BOB, "got phone 2").cursor == 2
    ward.at(2 * DAY + HOUR)
    assert ward.inbox(BOB) == [(2, "alice", "new")], "what is new stays"


def test_what_has_gone_is_not_unread_any_more() -> None:
    ward = Ward(retention_days=1)
    ward.send(ALICE, "bob", "unread")
    ward.send(ALICE, "bob", "read")
    ward.send(ALICE, "bob", "deleted")
    ward.says(BOB, "read 2")
    ward.says(ALICE, "delete bob 3")
    ward.at(HOUR)
    ward.send(CARLA, "bob")
    assert ward.unread(BOB) == (2, {"alice+bob": 1, "bob+carla": 1})
    ward.at(DAY)
    assert ward.unread(BOB) == (1, {"bob+carla": 1})


def test_times_of_delivery_go_with_the_messages() -> None:
    ward = Ward(retention_days=1)
    for hour in range(4):
        ward.at(hour * HOUR)
        ward.send(ALICE, "bob")
        ward.says(BOB, f"got phone {hour + 1}")
    ward.at(DAY + HOUR)
    assert [row.upto for row in rows(ward.store, Delivery)] == [3, 4]
    assert ward.answers(ALICE, "states bob 3").recipients[0].delivered_ms == NINE + 2 * HOUR * 1000
    ward.at(3 * DAY)
    assert rows(ward.store, Delivery) == []
    assert ward.store.table(Box).get("bob").delivered == 4


def test_so_much_goes_at_one_time_and_the_rest_next() -> None:
    ward = Ward(retention_days=1)
    ward.execute(*[Request(Send("bob", "x"), person=ALICE)] * REMOVALS_MAX)
    ward.at(DAY)
    left = len(rows(ward.store, Message))
    assert 0 < left < REMOVALS_MAX
    assert due(ward) == DAY
    for second in range(1, 4):
        ward.at(DAY + second)
    assert rows(ward.store, Message) == rows(ward.store, Item) == []


def test_without_a_limit_messages_stay() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    ward.says(BOB, "read 1")
    ward.at(10_000 * DAY)
    assert len(ward.inbox(BOB)) == len(ward.answers(VERA, "audit").lines) == 1


def test_lines_of_the_audit_log_go_with_their_age() -> None:
    ward = Ward(retention_days=1, audit_days=10)
    ward.send(ALICE, "bob")
    ward.says(BOB, "read 1")
    ward.at(5 * DAY)
    assert len(ward.answers(VERA, "audit").lines) == len(ward.answers(ALICE, "audit").lines) == 1
    assert due(ward) == 10 * DAY
    ward.send(ALICE, "bob")
    ward.says(BOB, "ack 2")
    ward.at(10 * DAY)
    assert [line.what for line in ward.answers(VERA, "audit").lines] == ["ack"]
    ward.at(15 * DAY)
    assert rows(ward.store, Audit) == []
    assert due(ward) is None


def test_what_goes_by_age_is_due_at_the_full_hour() -> None:
    ward = Ward(retention_days=1, audit_days=1)
    ward.at(90)
    ward.send(ALICE, "bob")
    ward.says(BOB, "read 1")
    assert due(ward) == DAY + HOUR


# -- terms -----------------------------------------------------------------------------------------


def test_the_terms_belong_to_the_data() -> None:
    store = Ward(retention_days=7).store
    assert Messages(PEOPLE, retention_days=7).check(store) is None
    assert Messages((), retention_days=7).check(store) is None, "people come and go"
    for options in ({}, {"retention_days": 8.0}, {"retention_days": 7.0, "audit_days": 1.0}):
        why = Messages(PEOPLE, **options).check(store)
        assert why is not None
        assert "retention_days = 7, audit_days = 0" in why
    assert "not of this app" in (Messages().check(TupleStore(Messages.rows)) or "")


@pytest.mark.parametrize(
    "options", [{"urgent_repeat_seconds": 0}, {"emergency_repeat_seconds": 1e9}, {"audit_days": -1}]
)
def test_terms_that_make_no_sense(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="messages"):
        Messages((), **options)


# -- notices ---------------------------------------------------------------------------------------


def take(ward: Ward, first: int, *notices: tuple[str, str], source: str = "rooms") -> Any:
    return ward.execute(Request(TakeNotices(source, NINE, first, notices)))[0]


def test_a_notice_is_a_message_from_the_service() -> None:
    ward = Ward()
    assert take(ward, 1, ("bob", "Maple is yours"), ("alice", "Oak is not"), ("bob", "Maple is gone")) == Taken(3)
    assert ward.inbox(BOB) == [(2, "service:rooms", "Maple is gone"), (1, "service:rooms", "Maple is yours")]
    assert ward.inbox(ALICE) == [(1, "service:rooms", "Oak is not")]
    assert [(person, reply.text()) for person, reply in ward.heard()] == [
        ("bob", "1 in service:rooms+bob 2026-12-01 09:00 UTC service:rooms: Maple is yours"),
        ("alice", "1 in service:rooms+alice 2026-12-01 09:00 UTC service:rooms: Oak is not"),
        ("bob", "2 in service:rooms+bob 2026-12-01 09:00 UTC service:rooms: Maple is gone"),
    ]
    assert ward.unread(BOB) == (2, {"service:rooms+bob": 2})


def test_a_notice_comes_once() -> None:
    ward = Ward()
    take(ward, 1, ("bob", "one"), ("bob", "two"))
    take(ward, 1, ("bob", "one"), ("bob", "two"))
    take(ward, 2, ("bob", "two"), ("bob", "three"))
    take(ward, 5, ("bob", "five"))
    assert [text for _, _, text in ward.inbox(BOB)] == ["three", "two", "one"]


def test_notices_of_one_command_have_names_of_their_own() -> None:
    ward = Ward()
    take(ward, 1, ("bob", "one"), ("bob", "two"))
    first, second = ward.answers(BOB, "since").items
    assert first.id != second.id
    assert ward.answers(BOB, f"read 1 {second.id}").content == "two"


def test_notices_are_read_acknowledged_and_searched_like_messages() -> None:
    ward = Ward()
    take(ward, 1, ("bob", "Maple is yours"))
    ward.hear()
    assert ward.says(BOB, "history service:rooms") == ward.says(BOB, "history service:rooms+bob")
    assert isinstance(ward.answers(BOB, "ack 1"), Acknowledged)
    assert ward.hear() == [], "no service waits for an answer"
    assert len(ward.answers(BOB, "search maple").messages) == 1
    assert ward.answers(BOB, "states service:rooms 1").recipients[0].state == "acknowledged"


def test_nobody_writes_to_a_service_or_reads_anothers_notices() -> None:
    ward = Ward()
    take(ward, 1, ("bob", "Maple is yours"))
    for line in ("send service:rooms hello", "send service:rooms+bob hello"):
        assert ward.answers(BOB, line).failed
    assert ward.do(BOB, Send("service:rooms+bob", "hello")) == NoSuchConversation("service:rooms+bob")
    assert ward.answers(BOB, "leave service:rooms+bob") == NoSuchConversation("service:rooms+bob")
    assert ward.answers(BOB, "delete service:rooms 1") == NoSuchMessage("service:rooms", 1)
    assert ward.says(ALICE, "history service:rooms+bob") == Ward().says(ALICE, "history service:rooms+bob")
    assert ward.says(ALICE, "history service:rooms").startswith("Failed: ")


def test_a_notice_for_whom_nobody_knows_does_no_harm() -> None:
    ward = Ward()
    assert take(ward, 1, ("stranger", "hello"), ("", "hello"), ("bob", "hello")) == Taken(3)
    assert ward.inbox(BOB) == [(1, "service:rooms", "hello")]
    assert ward.inbox(Person("stranger")) == [(1, "service:rooms", "hello")]


def test_an_acknowledgement_is_heard_by_the_sender_alone() -> None:
    ward = Ward()
    ward.says(ALICE, "group #g bob,carla")
    ward.send(ALICE, "#g", "come", "--priority urgent")
    ward.hear()
    ward.says(BOB, "ack 1")
    ((person, reply),) = ward.heard()
    assert person == "alice"
    assert isinstance(reply, AckHeard)
    assert reply.text() == "bob has acknowledged message 1 of #g@alice, 2026-12-01 09:00 UTC."
