"""The events against a naive model of plain dictionaries, and the laws of the store: undone, redone, copied."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.apps.events_house import ANN, CID, MAX, Company

from holdfast.apps.events import (
    AddEvent,
    Availability,
    BookEvent,
    CancelEvent,
    Events,
    GetBookingSchedule,
    ListEventAvailability,
    RemoveEvent,
    Schedule,
    SwapEvent,
    branch,
    parse_person,
)
from holdfast.apps.events.names import EventId
from holdfast.apps.events.replies import EventRemoved
from holdfast.apps.events.rows import Account, Booking, Event, Months, Programme
from holdfast.kernel.contracts import Command, Reply
from holdfast.kernel.machine import Machine
from holdfast.kernel.store import TupleStore

CUSTOMERS = (ANN, CID, MAX, "OTWC0002")
KINDS = ("Conferences", "Seminars")
EVENTS = tuple(city + day for city in ("TOR", "MTL") for day in ("M310119", "A010219", "M010219", "M020219"))

customers = st.sampled_from(CUSTOMERS)
events = st.sampled_from(EVENTS)
kinds = st.sampled_from(KINDS)
capacities = st.integers(1, 3)

Key = tuple[str, str]
"""(event id, type)"""


def manager_of(id: str) -> str:
    return f"{id[:3]}M0001"


def day_of(event: str) -> str:
    """For sorting: year, month, day, slot."""
    return event[8:10] + event[6:8] + event[4:6] + str("MAE".index(event[3]))


class Model:
    """What the issue says, in dictionaries: capacities, and who has booked in which order."""

    def __init__(self) -> None:
        self.capacity: dict[Key, int] = {}
        self.booked: dict[Key, list[str]] = {}

    def may_book(self, customer: str, key: Key) -> bool:
        if key not in self.capacity or customer in self.booked[key] or self.left(key) == 0:
            return False
        return key[0][:3] == customer[:3] or self.abroad(customer, key[0][6:10]) < 3

    def abroad(self, customer: str, month: str) -> int:
        return sum(
            customer in who and event[6:10] == month and event[:3] != customer[:3]
            for (event, _), who in self.booked.items()
        )

    def left(self, key: Key) -> int:
        return max(0, self.capacity[key] - len(self.booked[key]))

    def remove(self, key: Key) -> tuple[list[tuple[str, str]], list[str]]:
        """(customer, new event) of those who move, and those who cannot."""
        del self.capacity[key]
        moved, cancelled = [], []
        for customer in self.booked.pop(key):
            later = sorted(
                (
                    (event, kind)
                    for event, kind in self.capacity
                    if (event[:3], kind) == (key[0][:3], key[1]) and day_of(event) > day_of(key[0])
                ),
                key=lambda other: day_of(other[0]),
            )
            new = next((other for other in later if self.may_book(customer, other)), None)
            if new is None:
                cancelled.append(customer)
            else:
                self.booked[new].append(customer)
                moved.append((customer, new[0]))
        return moved, cancelled


class AgainstTheModel(RuleBasedStateMachine):
    """Whatever is done, the app and the model agree on what is done and on all that can be asked."""

    def __init__(self) -> None:
        super().__init__()
        self.company = Company()
        self.model = Model()
        self.told = 0

    def do(self, command: Command) -> Reply:
        """By whoever may."""
        about = command.customerID if isinstance(command, BookEvent | CancelEvent | SwapEvent) else ""
        who = about or manager_of(command.eventID)  # type: ignore[attr-defined]
        before = self.company.machine.digest()
        reply = self.company.do(who, command)
        if reply.failed:
            assert self.company.machine.digest() == before
        return reply

    @rule(event=events, kind=kinds, capacity=capacities)
    def add(self, event: str, kind: str, capacity: int) -> None:
        assert not self.do(AddEvent(event, kind, capacity)).failed
        self.model.capacity[event, kind] = capacity
        self.model.booked.setdefault((event, kind), [])

    @initialize(capacity=st.lists(st.integers(0, 3), min_size=2 * len(EVENTS), max_size=2 * len(EVENTS)))
    def add_many(self, capacity: list[int]) -> None:
        """So that there is something to book; 0 for what is not there."""
        for place, event in enumerate(EVENTS * 2):
            if capacity[place]:
                self.add(event, KINDS[place // len(EVENTS)], capacity[place])

    @rule(event=events, kind=kinds)
    def remove_anything(self, event: str, kind: str) -> None:
        if (event, kind) not in self.model.capacity:
            assert self.do(RemoveEvent(event, kind)).failed

    @precondition(lambda self: any(self.model.booked.values()))
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        (event, kind), _ = data.draw(st.sampled_from(self.bookings()))
        reply = self.do(RemoveEvent(event, kind))
        moved, cancelled = self.model.remove((event, kind))
        assert isinstance(reply, EventRemoved)
        assert (list(reply.moved), list(reply.cancelled)) == (moved, cancelled)
        assert (reply.moved_count, reply.cancelled_count) == (len(moved), len(cancelled))
        self.told += len(moved) + len(cancelled)

    @rule(customer=customers, event=events, kind=kinds, times=st.integers(0, 1))
    def book_with_a_friend(self, customer: str, event: str, kind: str, times: int) -> None:
        self.book(customer, event, kind)
        self.book(CUSTOMERS[times], event, kind)

    @rule(customer=customers, data=st.data())
    def book_all(self, customer: str, data: st.DataObject) -> None:
        for event in data.draw(st.permutations(EVENTS))[:5]:
            self.book(customer, event, "Seminars")

    @rule(customer=customers, event=events, kind=kinds)
    def book(self, customer: str, event: str, kind: str) -> None:
        expected = self.model.may_book(customer, (event, kind))
        assert self.do(BookEvent(customer, event, kind)).failed is not expected
        if expected:
            self.model.booked[event, kind].append(customer)

    @precondition(lambda self: any(self.model.booked.values()))
    @rule(data=st.data(), with_type=st.booleans())
    def cancel(self, data: st.DataObject, with_type: bool) -> None:
        (event, kind), customer = data.draw(st.sampled_from(self.bookings()))
        several = sum(customer in self.model.booked.get((event, other), ()) for other in KINDS) > 1
        reply = self.do(CancelEvent(customer, event, kind if with_type else ""))
        assert reply.failed is (several and not with_type)
        if not reply.failed:
            self.model.booked[event, kind].remove(customer)

    @rule(customer=customers, event=events, kind=st.sampled_from(["", *KINDS]))
    def cancel_anything(self, customer: str, event: str, kind: str) -> None:
        matching = [other for other in KINDS if customer in self.model.booked.get((event, other), ())]
        if kind:
            matching = [other for other in matching if other == kind]
        assert self.do(CancelEvent(customer, event, kind)).failed is (len(matching) != 1)
        if len(matching) == 1:
            self.model.booked[event, matching[0]].remove(customer)

    @precondition(lambda self: any(self.model.booked.values()))
    @rule(data=st.data(), event=events, kind=kinds)
    def swap(self, data: st.DataObject, event: str, kind: str) -> None:
        old, customer = data.draw(st.sampled_from(self.bookings()))
        place = self.model.booked[old].index(customer)
        self.model.booked[old].remove(customer)
        fits = (event, kind) != old and self.model.may_book(customer, (event, kind))
        if fits:
            self.model.booked[event, kind].append(customer)
        else:
            self.model.booked[old].insert(place, customer)
        assert self.do(SwapEvent(customer, event, kind, *old)).failed is not fits

    def bookings(self) -> list[tuple[Key, str]]:
        return [(key, customer) for key, who in sorted(self.model.booked.items()) for customer in who]

    @invariant()
    def lists_agree(self) -> None:
        for kind in KINDS:
            reply = self.company.do("OTWM0001", ListEventAvailability(kind))
            assert isinstance(reply, Availability)
            listed = {event: left for _, part in reply.parts for event, left in part}
            assert listed == {event: self.model.left((event, of)) for event, of in self.model.capacity if of == kind}
            assert list(listed) == sorted(listed, key=lambda event: (event[:3], day_of(event)))

    @invariant()
    def schedules_agree(self) -> None:
        for customer in CUSTOMERS:
            reply = self.company.do(customer, GetBookingSchedule(customer))
            assert isinstance(reply, Schedule)
            listed = [booking for _, part in reply.parts for booking in part]
            own = [key for key, who in self.model.booked.items() if customer in who]
            assert listed == sorted(own, key=lambda key: (key[0][:3], day_of(key[0]), KINDS.index(key[1])))

    @invariant()
    def everybody_who_lost_a_place_was_told(self) -> None:
        assert len(self.company.notices()) == min(100, self.told)

    @invariant()
    def the_records_are_of_one_piece(self) -> None:
        the_records_are_of_one_piece(self.company.store)


AgainstTheModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgainstTheModel = AgainstTheModel.TestCase


def the_records_are_of_one_piece(store: TupleStore) -> None:
    """What is on record twice, for the sake of speed, says the same in both places."""
    bookings = {(row.city, row.type, row.event, row.customer): row.number for row in store.table(Booking)}
    assert len(bookings) == len(store.table(Booking))
    accounts = {
        (row.city, kind, event, row.customer): number
        for row in store.table(Account)
        for event, kind, number in row.bookings
    }
    assert accounts == bookings
    assert all(row.bookings for row in store.table(Account))
    for event in store.table(Event):
        key = (event.city, event.type, event.event)
        numbers = [number for (*of, _), number in bookings.items() if tuple(of) == key]
        assert len(numbers) == event.booked
        assert all(number < event.numbered for number in numbers)
        assert event.event[:3] == event.city
    programmes = {(row.city, row.type, event) for row in store.table(Programme) for event in row.events}
    assert programmes == {(row.city, row.type, row.event) for row in store.table(Event)}
    months = {(row.city, row.customer, month) for row in store.table(Months) for month in row.months}
    assert months == {(row.city, row.customer, row.month) for row in store.table(Account)}


# -- stories ----------------------------------------------------------------------------------------

COMMANDS = st.one_of(
    st.builds(AddEvent, events, kinds, capacities),
    st.builds(RemoveEvent, events, kinds),
    st.builds(BookEvent, customers, events, kinds),
    st.builds(BookEvent, customers, events, kinds),
    st.builds(CancelEvent, customers, events, st.one_of(kinds, st.just(""))),
    st.builds(SwapEvent, customers, events, kinds, events, kinds),
)
Said = tuple[str, Command]
people = st.sampled_from([*CUSTOMERS, "TORM0001", "MTLM0001", "", "bob"])
STORIES = st.lists(st.tuples(people, COMMANDS), max_size=40)
SHORT = settings(max_examples=60, deadline=None)


def told(company: Company, story: list[Said], first: int = 0) -> list[Reply]:
    """Each command by somebody who may, mostly; every fourth by anybody. `first`: the place of the first one."""
    replies = []
    for place, (who, command) in enumerate(story, first):
        own: Any = command
        right = own.customerID if hasattr(command, "customerID") else manager_of(own.eventID)
        replies.append(company.do(who if place % 4 == 3 else right, command))
    return replies


@SHORT
@given(STORIES, st.integers(0, 40), STORIES)
def test_what_is_rolled_back_leaves_no_trace_and_comes_out_the_same_again(
    story: list[Said], cut: int, other: list[Said]
) -> None:
    company = Company()
    told(company, story[:cut])
    before, mark = company.machine.digest(), company.store.mark()
    replies = told(company, story[cut:])
    after = company.machine.digest()
    company.store.rollback(mark)
    assert company.machine.digest() == before
    told(company, other)
    company.store.rollback(mark)
    assert told(company, story[cut:]) == replies
    assert company.machine.digest() == after
    with company.store.rewound(mark):
        assert company.machine.digest() == before


@SHORT
@given(STORIES)
def test_the_same_story_gives_the_same_bytes_also_through_a_snapshot(story: list[Said]) -> None:
    one, other = Company(), Company()
    half = len(story) // 2
    told(one, story)
    told(other, story[:half])
    copy = Machine(Events())
    assert copy.replace_store(TupleStore.restore(copy.rows, other.store.snapshot())) is None
    other.machine, other.store = copy, copy.store
    told(other, story[half:], half)
    assert other.machine.digest() == one.machine.digest()
    assert other.store.snapshot() == one.store.snapshot()


@SHORT
@given(STORIES)
def test_a_journaled_story_is_executed_alike(story: list[Said]) -> None:
    """Commands survive their encoding, and so does every reply."""
    company = Company()
    encoder_types = {reply.__struct_config__.tag: reply for reply in Events.replies}
    assert len(encoder_types) == len(Events.replies)
    for reply in told(company, story):
        assert type(reply) in Events.replies
        assert company.machine._reply_decoder.decode(company.machine._encoder.encode(reply)) == reply


# -- moving -----------------------------------------------------------------------------------------

TWO_MONTHS = [f"{slot}{day:02}{month:02}19" for month in (1, 2) for day in (1, 9) for slot in "MAE"]
CROWD = (ANN, CID, MAX, "TORC0002", "OTWC0002")


class Plainly(Events):
    """Whoever is moved asks each later event in turn, as the rule is told."""

    def _move(
        self, store: TupleStore, customer_id: str, city: str, later: dict[str, list[EventId]], kind: str
    ) -> str | None:
        customer = parse_person(customer_id)
        assert customer is not None
        for event in (event for events in later.values() for event in events):
            if self._may_not_book(store, customer, event, kind) is None:
                branch.book(store, customer_id, event, kind)
                return event.id
        return None


@st.composite
def full_houses(draw: st.DrawFn) -> list[Command]:
    """Events of two months in two cities, many bookings, and then one event after another is removed."""
    days = draw(st.permutations(TWO_MONTHS))[:8]
    ids = [f"{city}{day}" for city in ("TOR", "MTL") for day in days]
    kind_of = {id: draw(st.sampled_from(("Seminars", *KINDS))) for id in ids}
    story: list[Command] = [AddEvent(id, kind_of[id], draw(st.integers(2, 4))) for id in ids]
    for who in CROWD:
        story += [BookEvent(who, id, kind_of[id]) for id in draw(st.permutations(ids))[:10]]
    return story + [RemoveEvent(id, kind_of[id]) for id in draw(st.permutations(ids))[:8]]


@settings(max_examples=150, deadline=None)
@given(full_houses())
def test_whoever_is_moved_goes_where_the_rule_told_plainly_says(story: list[Command]) -> None:
    company, plain = Company(), Company()
    plain.machine = Machine(Plainly())
    plain.store = plain.machine.store
    for command in story:
        about: Any = command
        who = manager_of(about.customerID if isinstance(command, BookEvent) else about.eventID)
        assert company.do(who, command) == plain.do(who, command)
    assert company.machine.digest() == plain.machine.digest()
    assert company.notices() == plain.notices()


def lookups_of_a_removal(events: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often records are read to remove an event with 20 customers, who all have booked `events` later ones
    or may not book them for the month's limit."""
    company = Company()
    ids = [f"TOR{slot}{day:02}{month:02}30" for month in range(1, 13) for day in range(1, 29) for slot in "MAE"]
    company.has("TORM311229 Seminars 99", *(f"{id} Seminars 99" for id in ids[:events]))
    months = dict.fromkeys(id[6:10] for id in ids[:events])
    for number in range(10):
        at_home, abroad = f"TORC{number:04}", f"MTLC{number:04}"
        company.holds(*(f"{at_home} {id} Seminars" for id in ("TORM311229", *ids[:events])))
        full = (id for month in months for id in [id for id in ids if id[6:10] == month][:3])
        company.holds(*(f"{abroad} {id} Seminars" for id in ("TORM311229", *full)))
    reads = 0
    for name in ("find_event", "has_booked", "booking_count", "ids_booked"):
        read = getattr(branch, name)

        def counted(*arguments: Any, read: Any = read) -> Any:
            nonlocal reads
            reads += 1
            return read(*arguments)

        monkeypatch.setattr(branch, name, counted)
    removed = company.do("TORM0001", RemoveEvent("TORM311229", "Seminars"))
    monkeypatch.undo()
    assert isinstance(removed, EventRemoved)
    assert (removed.moved_count, removed.cancelled_count) == (0, 20)
    return reads


def test_what_customers_have_is_looked_up_by_the_month_and_not_by_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lookups_of_a_removal(42, monkeypatch) == lookups_of_a_removal(84, monkeypatch) <= 20 * 3
    assert lookups_of_a_removal(168, monkeypatch) <= 2 * 20 * 3
