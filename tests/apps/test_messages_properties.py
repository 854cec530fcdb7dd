"""Any row of commands: the store stays whole, everybody sees what a plain model says, and all of it can be done
twice, undone, copied and put in another order."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.apps.ward import ALICE, BOB, CARLA, DAVE, NINE, PEOPLE, ROOT, VERA, Ward

from holdfast.apps.messages import (
    Ack,
    AskAudit,
    AskDevices,
    AskGroups,
    AskHistory,
    AskInbox,
    AskSince,
    AskStates,
    AskUnread,
    Delete,
    Got,
    Invite,
    Leave,
    MakeGroup,
    Messages,
    Read,
    Search,
    Seen,
    Send,
    Sent,
    Who,
)
from holdfast.apps.messages.rows import (
    OPEN,
    Audit,
    Box,
    Conversation,
    Counts,
    Delivery,
    Device,
    Item,
    Membership,
    Message,
    Oldest,
    Reminder,
)
from holdfast.kernel import query
from holdfast.kernel.contracts import Command, Person, Request
from holdfast.kernel.machine import Advance, Machine, PassTime
from holdfast.kernel.notices import TakeNotices
from holdfast.kernel.store import TupleStore
from holdfast.replication.bayou import make_machine

STAFF = (ALICE, BOB, CARLA, DAVE, ROOT)
IDS = tuple(person.id for person in STAFF)
GROUPS = ("#g@alice", "#h@bob", "#g")
OPTIONS = {"retention_days": 0.01, "audit_days": 0.02, "emergency_repeat_seconds": 30}

numbers = st.integers(1, 6)
addresses = st.sampled_from(
    (*("alice", "bob", "#g@alice") * 4, *IDS, *GROUPS, "alice+bob", "service:rooms", "a:b", "#")
)
commands = st.one_of(
    st.builds(
        Send,
        addresses,
        st.sampled_from(["one", "two", "three"]),
        st.just(""),
        st.sampled_from(["routine", "emergency"]),
    ),
    st.builds(Read, numbers),
    st.builds(Ack, numbers),
    st.builds(Seen, st.lists(numbers, min_size=1, max_size=4).map(tuple)),
    st.builds(Got, st.sampled_from(["phone", "desk"]), st.integers(0, 9)),
    st.builds(Delete, addresses, numbers),
    st.builds(MakeGroup, st.sampled_from(["#g", "#h"]), st.lists(st.sampled_from(IDS), max_size=3).map(tuple)),
    st.builds(Invite, st.sampled_from(GROUPS), st.sampled_from(IDS)),
    st.builds(Leave, st.sampled_from(GROUPS)),
    st.builds(Send, st.just("#g@alice"), st.just("one")),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(STAFF), commands),
        st.tuples(st.sampled_from(STAFF), commands),
        st.tuples(st.none(), st.integers(1, 400)),
        st.tuples(st.just("rooms"), st.sampled_from(IDS)),
    ),
    max_size=40,
)
Step = tuple[Any, Any]


class Player:
    """Plays steps: a command of somebody, seconds that pass, a notice for somebody. There is a group already."""

    def __init__(self) -> None:
        self.ward = Ward(PEOPLE, **OPTIONS)
        self.ward.do(ALICE, MakeGroup("#g", ("bob", "carla")))
        self.seconds = self.notices = 0

    def play(self, step: Step) -> Any:
        who, what = step
        if who is None:
            self.seconds += what
            return self.ward.at(self.seconds)
        if who == "rooms":
            self.notices += 1
            return self.ward.execute(Request(TakeNotices("rooms", NINE, self.notices, ((what, "a notice"),))))[0]
        return self.ward.do(who, what)


def check(store: TupleStore) -> None:
    """Everything that is kept twice is kept alike."""
    items, messages, boxes = store.table(Item), store.table(Message), store.table(Box)
    conversations, memberships = store.table(Conversation), store.table(Membership)
    unread: dict[tuple[str, str], int] = defaultdict(int)
    for item in items:
        message = messages.get((item.conversation, item.message))
        assert message is not None
        assert (item.person, item.number) in message.recipients
        assert 1 <= item.number <= boxes.get(item.person).last  # type: ignore[union-attr]
        unread[item.person, item.conversation] += not item.read_ms and not message.deleted_ms
        assert not (item.due_ms and (item.acked_ms or message.deleted_ms or message.priority == "routine"))
        assert (store.table(Reminder).get((item.due_ms, item.person, item.number)) is not None) == bool(item.due_ms)
    assert len(store.table(Reminder)) == sum(bool(item.due_ms) for item in items)
    for part in memberships:
        assert part.unread == unread.pop((part.person, part.conversation), 0)
        assert all(first <= last for first, last in part.spans)
        assert all(before[1] + 1 < after[0] for before, after in zip(part.spans, part.spans[1:], strict=False))
        conversation = conversations.get(part.conversation)
        assert conversation is not None
        assert part.is_present == (part.person in conversation.members)
    assert not any(unread.values())
    for box in boxes:
        assert box.unread == sum(part.unread for part in memberships if part.person == box.person)
        assert box.delivered <= box.last
        assert box.delivered == max([d.upto for d in store.table(Delivery) if d.person == box.person], default=0) or (
            not any(item.person == box.person and item.number <= box.delivered for item in items)
        )
    for device in store.table(Device):
        assert device.cursor <= boxes.get(device.person).delivered  # type: ignore[union-attr]
    kept = defaultdict(list)
    for message in messages:
        kept[message.conversation].append(message.number)
        assert all(items.get(recipient) is not None for recipient in message.recipients)
        assert all(memberships.get((person, message.conversation)) for person, _ in message.recipients)
    for conversation in conversations:
        left = sorted(kept.pop(conversation.id, ()))
        assert left == list(range(conversation.first, conversation.last + 1))
        oldest = [row.sent_ms for row in store.table(Oldest) if row.conversation == conversation.id]
        first = [messages.get((conversation.id, number)) for number in left[:1]]
        assert oldest == [message.sent_ms for message in first if message is not None]
        lines = sorted(line.number for line in store.table(Audit) if line.conversation == conversation.id)
        assert lines == list(range(conversation.audits - len(lines) + 1, conversation.audits + 1))
    assert not kept
    counts = store.table(Counts).get(0)
    places = sorted(line.place for line in store.table(Audit))
    assert len(set(places)) == len(places)
    assert not places or (counts is not None and places[-1] == counts.audits)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_the_store_stays_whole(played: list[Step]) -> None:
    player = Player()
    for step in played:
        player.play(step)
    check(player.ward.store)


class Model:
    """Who sees what, plainly: for each person the messages of each conversation, in order, as (sender, text)."""

    def __init__(self) -> None:
        self.members: dict[str, set[str]] = {}
        self.inboxes: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.seen: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)

    def sent(self, sender: str, conversation: str, text: str) -> None:
        members = self.members.setdefault(conversation, set(conversation.split("+")))
        for member in members:
            self.seen[member, conversation].append((sender, text))
            if member != sender:
                self.inboxes[member].append((sender, text))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STAFF), commands), max_size=60))
def test_everybody_sees_what_a_plain_model_says(played: list[tuple[Person, Command]]) -> None:
    ward, model = Ward(), Model()
    for person, command in played:
        if isinstance(command, Delete):
            continue
        reply = ward.do(person, command)
        match reply.__struct_config__.tag:
            case "sent":
                model.sent(person.id, reply.conversation, command.text)  # type: ignore[attr-defined]
            case "group_made":
                model.members[reply.group] = set(reply.members)
            case "joined":
                model.members[reply.group].add(reply.person)
            case "left":
                model.members[reply.group].discard(person.id)
    for person in PEOPLE:
        fetched = ward.ask(person, AskSince()).items
        assert [(item.sender, item.content) for item in fetched] == model.inboxes[person.id]
        assert [item.number for item in fetched] == list(range(1, len(fetched) + 1))
        ward.see(person)
        for conversation in model.members:
            history = ward.ask(person, AskHistory(conversation))
            told = [(said.sender, said.content) for said in history.messages] if not history.failed else []
            assert told == model.seen[person.id, conversation]
        groups = {seen.group for seen in ward.ask(person, AskGroups()).groups}
        assert groups == {name for name, members in model.members.items() if name[0] == "#" and person.id in members}
        found = ward.ask(person, Search("one")).messages
        ones = [text for (member, _), told in model.seen.items() if member == person.id for text in told]
        assert len(found) == sum(text == "one" for _, text in ones)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_a_log_executed_twice_gives_the_same_state_and_the_same_words(played: list[Step]) -> None:
    one, other = Player(), Player()
    assert [one.play(step) for step in played] == [other.play(step) for step in played]
    assert one.ward.machine.digest() == other.ward.machine.digest()
    assert one.ward.store.snapshot() == other.ward.store.snapshot()
    assert one.ward.hear() == other.ward.hear()
    restored = TupleStore.restore(one.ward.machine.rows, one.ward.store.snapshot())
    assert restored.digest() == one.ward.machine.digest()


@settings(max_examples=60, deadline=None)
@given(steps, steps)
def test_what_is_done_can_be_undone_and_done_again(before: list[Step], after: list[Step]) -> None:
    player = Player()
    for step in before:
        player.play(step)
    store, seconds, notices, batch = player.ward.store, player.seconds, player.notices, player.ward.batch
    digest, mark = store.digest(), store.mark()
    said = [player.play(step) for step in after]
    done = store.digest()
    store.rollback(mark)
    assert store.digest() == digest
    player.ward.machine.replace_store(store)
    player.seconds, player.notices, player.ward.batch = seconds, notices, batch
    assert [player.play(step) for step in after] == said
    assert store.digest() == done


# -- under bayou -----------------------------------------------------------------------------------

writes = st.lists(
    st.tuples(st.integers(0, 900), st.sampled_from(STAFF), st.one_of(commands, st.just(PassTime()))),
    min_size=1,
    max_size=25,
)


class Replica:
    """Writes at their places in the order of stamps, rolled back and forward as others come in between."""

    def __init__(self) -> None:
        self.machine: Machine = make_machine(Messages(PEOPLE, **OPTIONS))
        self.log: list[tuple[tuple[int, str, str], str, Request, int]] = []

    def write(self, stamp: tuple[int, str, str], name: str, request: Request) -> None:
        place = sum(known[0] < stamp for known in self.log)
        later = self.log[place:]
        if later:
            self.machine.store.rollback(later[0][3])
        del self.log[place:]
        for at, id, wanted in [(stamp, name, request), *(entry[:3] for entry in later)]:
            mark = self.machine.store.mark()
            self.machine.execute_write(wanted, at, id, late=False)
            self.log.append((at, id, wanted, mark))


@settings(max_examples=60, deadline=None)
@given(writes, st.randoms(use_true_random=False))
def test_writes_that_come_in_any_order_end_in_one_state(made: list[tuple[int, Person, Command]], shuffle: Any) -> None:
    named = [
        ((NINE + seconds * 1000, person.first_name, f"r{number}"), f"r{number}-1", Request(command, person=person))
        for number, (seconds, person, command) in enumerate(made)
    ]
    straight, mixed = Replica(), Replica()
    for write in sorted(named, key=lambda write: write[0]):
        straight.write(*write)
    shuffle.shuffle(named)
    for write in named:
        mixed.write(*write)
    assert straight.machine.digest() == mixed.machine.digest()
    check(mixed.machine.store)


def test_what_comes_in_before_moves_the_numbers_and_the_id_finds_it() -> None:
    replica = Replica()
    replica.write((NINE + 9000, "Alice", "north"), "north-1", Request(Send("bob", "later"), person=ALICE))
    replica.write((NINE + 9500, "Bob", "south"), "south-1", Request(Ack(1, "north-1"), person=BOB))
    replica.write((NINE + 1000, "Carla", "east"), "east-1", Request(Send("bob", "earlier"), person=CARLA))
    answer = replica.machine.answer(Request(AskInbox(), person=BOB), lambda id: id != "north-1")
    items = answer.items  # type: ignore[attr-defined]
    assert [(item.number, item.content, item.id, bool(item.acked_ms), item.firm) for item in items] == [
        (2, "later", "north-1", True, False),
        (1, "", "east-1", False, True),
    ]
    assert "[tentative]" in answer.text()
    assert items[0].line().endswith("later [tentative]")


def test_time_goes_back_for_a_late_write_and_nothing_breaks() -> None:
    replica = Replica()
    machine = replica.machine
    machine.execute_write(Request(Send("bob", "one"), person=ALICE), (NINE + 9000, "Alice", "a"), "a-1", False)
    machine.execute_write(Request(Send("bob", "two"), person=ALICE), (NINE + 1000, "Alice", "b"), "b-1", True)
    history = machine.answer(Request(AskHistory("alice"), person=BOB))
    assert [said.sent_ms - NINE for said in history.messages] == [9000, 1000]  # type: ignore[attr-defined]
    check(machine.store)


def test_a_search_goes_on_across_messages_that_came_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.apps.messages.asking.PAGE_MAX", 1)
    machine = Replica().machine
    for number, seconds in enumerate([5, 9, 2, 8, 1, 7]):
        sender, to = (ALICE, "bob") if number % 2 else (CARLA, "bob")
        stamp = (NINE + seconds * 1000, sender.first_name, f"r{number}")
        machine.execute_write(Request(Send(to, f"needle {number}"), person=sender), stamp, f"r{number}-1", number > 1)
    machine.execute_write(Request(Seen((1, 2, 3, 4, 5, 6)), person=BOB), (NINE + 10_000, "Bob", "b"), "b-1", False)
    seen: list[str] = []
    before = ""
    while True:
        page = machine.answer(Request(Search("needle", before), person=BOB))
        seen += [said.content for said in page.messages]  # type: ignore[attr-defined]
        before = page.more_before  # type: ignore[attr-defined]
        if not before:
            break
    assert sorted(seen) == [f"needle {number}" for number in range(6)]


# -- cost ------------------------------------------------------------------------------------------


def test_no_question_reads_a_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `Select` is answered by key or along an order that its first fields choose, and sorts nothing long."""
    plans: list[query.Plan] = []

    class Watched(query.Plan):
        def __init__(self, table: Any, question: Any) -> None:
            super().__init__(table, question)
            plans.append(self)

    monkeypatch.setattr(query, "Plan", Watched)
    ward = Ward(retention_days=1, audit_days=1)
    ward.says(ALICE, "group #g bob,carla")
    for _ in range(3):
        ward.send(ALICE, "bob", "x", "--priority urgent")
        ward.send(ALICE, "#g", "x")
    for line in ("got phone 3", "got desk 1", "read 1", "ack 3", "leave #g"):
        ward.says(BOB, line)
    asked = [AskInbox(), AskInbox(3), AskSince(1), AskDevices(), AskUnread(), AskGroups(), Who(), AskAudit()]
    asked += [AskHistory("alice"), AskHistory("#g", 2), Search("x"), Search("x", "alice+bob:2")]
    asked += [AskStates("alice", 1), AskAudit("alice+bob:1")]
    for question in asked:
        assert not ward.ask(BOB, question).failed
    assert not ward.ask(VERA, AskAudit("1")).failed
    ward.at(3 * 24 * 3600)
    assert {plan.table.name for plan in plans} >= {"items", "memberships", "devices", "deliveries", "audit"}
    for plan in plans:
        if plan.table.name.startswith("holdfast."):
            continue
        assert plan._keys is not None or plan.path is not None, plan.question
        if plan.table.name != "devices":  # at most some dozens, sorted by time
            assert plan._keys is not None or plan.in_order, plan.question
        bound = {condition.field for condition in plan.question.where}
        assert plan.path is None or plan.path.fields[0] in bound or plan.question.order == ("place",), plan.question


def test_a_send_costs_a_few_rows_whatever_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward()
    for _ in range(200):
        ward.send(ALICE, "bob")
    before, table = 0, type(ward.store.table(Item))
    put = table.put

    def counted(self: Any, row: Any) -> None:
        nonlocal before
        before += 1
        put(self, row)

    monkeypatch.setattr(table, "put", counted)
    monkeypatch.setattr(query, "select", lambda *_: pytest.fail("a send asks no question"))
    assert isinstance(ward.do(ALICE, Send("bob", "hello")), Sent)
    assert before == 5, "box, item, membership, message, conversation"


def test_the_app_says_when_it_is_due_before_anything_was_said() -> None:
    machine = Machine(Messages(PEOPLE, **OPTIONS))
    machine.execute([Request(Advance(NINE))], (1, 0))
    assert machine.app.due_ms(machine.store) is None  # type: ignore[attr-defined]
    assert OPEN > NINE
