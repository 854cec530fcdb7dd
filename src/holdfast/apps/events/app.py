"""The events of a company with a branch in each of several cities: the rules of seed 003, executed.

A person's id says everything about the person: the branch, and whether manager or customer. The
open points of the seed are decided so:

- Nothing depends on the time of day: an event may lie in the past, be booked and be cancelled there.
- Lists are in the order of city (alphabetical), date and slot, and then of type.
- A manager may do all that a customer may, for customers of the own city. A manager's id is no
  customer's, so managers book nothing for themselves.
- A manager adds and removes in the own city only, and may ask for the availability in all.
- The month of a booking is the event's. Of all other cities together a customer has at most
  `OTHER_CITIES_MAX` bookings a month; a swap counts without the old event, also where it ends full.
- Adding an event again changes its capacity alone, also to less than is booked: then none are left.
- Removing an event moves its customers, in the order of booking, each to the first later event of
  the same type and city that has a place, that the customer has not booked, and that keeps the
  month's limit. Where there is none the booking is cancelled. Each is told by a notice.
- Who has not booked an event cannot cancel or swap it, whether there is such an event or not.
- A branch has at most `EVENTS_MAX` events of a type, so that lists stay of a size to be read and sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from holdfast.apps.events import branch
from holdfast.apps.events.door import Door
from holdfast.apps.events.names import BRANCHES, EventId, PersonId, is_branch, parse_person
from holdfast.apps.events.replies import (
    NAMED_MAX,
    REPLIES,
    AlreadyBooked,
    Availability,
    EventAdded,
    EventBooked,
    EventCancelled,
    EventFull,
    EventRemoved,
    EventSwapped,
    EventUpdated,
    MonthFull,
    NoSuchEvent,
    NotBooked,
    Offer,
    ProgrammeFull,
    Schedule,
    WhichType,
)
from holdfast.apps.events.rows import Account, Booking, Company, Event, Months, Programme
from holdfast.apps.events.words import (
    AddEvent,
    BookEvent,
    Browse,
    CancelEvent,
    GetBookingSchedule,
    ListEventAvailability,
    RemoveEvent,
    SwapEvent,
)
from holdfast.kernel.contracts import Command, Context, Person, Query, Refusal, Reply
from holdfast.kernel.stamps import utc_text

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

OTHER_CITIES_MAX = 3
"""Bookings in other cities, all together, that a customer may have of one month."""
EVENTS_MAX = 2_000
"""Events of one type that a branch may have: every slot of almost two years."""
OFFERED_MAX = 1_000
"""Events that one answer to `browse` tells."""
BRANCHES_MAX = 64


class Events:
    """The app. `branches`: the cities, three capitals each, fixed with the first start of the data.
    Raises `ValueError`."""

    name = "events"
    rows: tuple[type, ...] = (Event, Programme, Booking, Account, Months, Company)
    commands: tuple[type[Command], ...] = (AddEvent, RemoveEvent, BookEvent, CancelEvent, SwapEvent)
    queries: tuple[type[Query], ...] = (ListEventAvailability, GetBookingSchedule, Browse)
    replies: tuple[type[Reply], ...] = REPLIES

    def __init__(self, branches: tuple[str, ...] = BRANCHES) -> None:
        for city in branches:
            if not is_branch(city):
                raise ValueError(f"a branch is called by three capitals such as TOR, not {city!r}")
        if len(frozenset(branches)) < len(branches):
            raise ValueError("a branch is named twice")
        if not 1 <= len(branches) <= BRANCHES_MAX:
            raise ValueError(f"a company has 1 to {BRANCHES_MAX} branches, not {len(branches)}")
        self.branches = tuple(sorted(branches))
        self.door = Door(self.branches)
        self._apply: dict[type, Callable[..., Reply]] = {
            AddEvent: self._add,
            RemoveEvent: self._remove,
            BookEvent: self._book,
            CancelEvent: self._cancel,
            SwapEvent: self._swap,
        }
        self._answer: dict[type, Callable[..., Reply]] = {
            ListEventAvailability: self._list,
            GetBookingSchedule: self._schedule,
            Browse: self._browse,
        }

    def create(self, store: TupleStore) -> None:
        """Branches without events."""
        store.table(Company).put(Company(0, self.branches))

    def check(self, store: TupleStore) -> str | None:
        """The branches belong to the data: they can be set only before the first start."""
        company = store.table(Company).get(0)
        if company is None:
            return "the data holds no events: it is not of this app; set it aside and start from an empty directory"
        if company.branches != self.branches:
            old, new = list(company.branches), list(self.branches)
            return (
                f"the data was begun with branches = {old} but the configuration says {new}; "
                f"set branches = {old}, or set the data aside to begin without events"
            )
        return None

    def admit(self, command: Any, person: Person | None, now_ms: int) -> Refusal | None:
        """Who may not, and words that mean nothing, whatever is on record. The time does not matter."""
        asked = self.door.read(command, person)
        return asked if isinstance(asked, Refusal) else None

    def firm_by_ms(self, command: Any) -> int | None:
        """The events do not mind."""
        return None

    def time_text(self, ms: int) -> str:
        """UTC."""
        return utc_text(ms)

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        """Execute one command. Total over every decodable command; a refusal changes nothing."""
        asked = self.door.read(command, context.person)
        return asked if isinstance(asked, Refusal) else self._apply[type(command)](store, context, *asked)

    def answer(self, store: TupleStore, query: Any, context: Context) -> Reply:
        """Answer one query; changes nothing."""
        asked = self.door.read(query, context.person)
        return asked if isinstance(asked, Refusal) else self._answer[type(query)](store, *asked)

    # -- what managers do -----------------------------------------------------------------------

    def _add(self, store: TupleStore, context: Context, event: EventId, kind: str, capacity: int) -> Reply:
        row = branch.find_event(store, event, kind)
        if row is not None:
            branch.set_capacity(store, row, capacity)
            return EventUpdated(event.id, kind, capacity, row.capacity, row.booked)
        if branch.programme_size(store, event.city, kind) >= EVENTS_MAX:
            return ProgrammeFull(event.city, kind, EVENTS_MAX)
        branch.add(store, event, kind, capacity)
        return EventAdded(event.id, kind, capacity)

    def _remove(self, store: TupleStore, context: Context, event: EventId, kind: str) -> Reply:
        if branch.find_event(store, event, kind) is None:
            return NoSuchEvent(event.id, kind)
        customers = branch.remove(store, event, kind)
        moved: list[tuple[str, str]] = []
        cancelled: list[str] = []
        gone = f"{event.id} {kind} is removed"
        later = branch.later_with_places(store, event, kind)
        for customer in customers:
            new = self._move(store, customer, event.city, later, kind)
            if new is None:
                cancelled.append(customer)
                context.notify(customer, f"{gone}; no later event has a place for you, so your booking is cancelled.")
            else:
                moved.append((customer, new))
                context.notify(customer, f"{gone}; you are booked for {new} {kind} instead.")
        shown = tuple(moved[:NAMED_MAX]), tuple(cancelled[:NAMED_MAX])
        return EventRemoved(event.id, kind, len(moved), len(cancelled), *shown)

    def _move(
        self, store: TupleStore, customer_id: str, city: str, later: dict[str, list[EventId]], kind: str
    ) -> str | None:
        """Book the first of the city's events, given by month, that the rules allow. One that turns out full leaves.

        What the customer has is looked up once a month, so this costs as much as the customer has booked, and
        not as much as there are events that the customer cannot take.
        """
        customer = parse_person(customer_id)
        assert customer is not None
        for month, events in later.items():
            if city != customer.city and self._in_other_cities(store, customer, month) >= OTHER_CITIES_MAX:
                continue
            booked = branch.ids_booked(store, city, customer_id, month, kind)
            place = next((place for place, event in enumerate(events) if event.id not in booked), None)
            if place is None:
                continue
            event = events[place]
            row = branch.book(store, customer_id, event, kind)
            if row.booked >= row.capacity:
                del events[place]
                if not events:
                    del later[month]
            return event.id
        return None

    # -- what is done for customers -------------------------------------------------------------

    def _book(self, store: TupleStore, context: Context, customer: PersonId, event: EventId, kind: str) -> Reply:
        refusal = self._may_not_book(store, customer, event, kind)
        if refusal is not None:
            return refusal
        branch.book(store, customer.id, event, kind)
        return EventBooked(customer.id, event.id, kind)

    def _cancel(self, store: TupleStore, context: Context, customer: PersonId, event: EventId, kind: str) -> Reply:
        booked = branch.types_booked(store, customer.id, event)
        if not kind and len(booked) > 1:
            return WhichType(customer.id, event.id, booked)
        if not booked or (kind and kind not in booked):
            return NotBooked(customer.id, event.id, kind)
        branch.cancel(store, customer.id, event, kind or booked[0])
        return EventCancelled(customer.id, event.id, kind or booked[0])

    def _swap(
        self,
        store: TupleStore,
        context: Context,
        customer: PersonId,
        new: EventId,
        new_kind: str,
        old: EventId,
        old_kind: str,
    ) -> Reply:
        if not branch.has_booked(store, customer.id, old, old_kind):
            return NotBooked(customer.id, old.id, old_kind)
        refusal = self._may_not_book(store, customer, new, new_kind, without=old)
        if refusal is not None:
            return refusal
        branch.cancel(store, customer.id, old, old_kind)
        branch.book(store, customer.id, new, new_kind)
        return EventSwapped(customer.id, new.id, new_kind, old.id, old_kind)

    def _may_not_book(
        self, store: TupleStore, customer: PersonId, event: EventId, kind: str, without: EventId | None = None
    ) -> Refusal | None:
        """Why the customer cannot book the event. `without`: a booking of the customer that would end."""
        row = branch.find_event(store, event, kind)
        if row is None:
            return NoSuchEvent(event.id, kind)
        if branch.has_booked(store, customer.id, event, kind):
            return AlreadyBooked(customer.id, event.id, kind)
        if row.booked >= row.capacity:
            return EventFull(event.id, kind, row.capacity)
        if event.city != customer.city:
            others = self._in_other_cities(store, customer, event.month)
            if without is not None and without.city != customer.city and without.month == event.month:
                others -= 1
            if others >= OTHER_CITIES_MAX:
                return MonthFull(customer.id, customer.city, event.month, OTHER_CITIES_MAX)
        return None

    def _in_other_cities(self, store: TupleStore, customer: PersonId, month: str) -> int:
        others = (city for city in self.branches if city != customer.city)
        return sum(branch.booking_count(store, city, customer.id, month) for city in others)

    # -- questions ------------------------------------------------------------------------------

    def _list(self, store: TupleStore, kind: str) -> Reply:
        return Availability(kind, tuple((city, branch.availability(store, city, kind)) for city in self.branches))

    def _schedule(self, store: TupleStore, customer: PersonId) -> Reply:
        parts = tuple((city, branch.schedule(store, city, customer.id)) for city in self.branches)
        return Schedule(customer.id, parts)

    def _browse(self, store: TupleStore, cities: tuple[str, ...], kinds: tuple[str, ...]) -> Reply:
        room, types = OFFERED_MAX, []
        for kind in kinds:
            parts = []
            for city in cities:
                part = branch.availability(store, city, kind)
                if part[:room]:
                    parts.append((city, part[:room]))
                if len(part) > room:
                    types.append(Availability(kind, tuple(parts)))
                    return Offer(tuple(types), is_cut=True)
                room -= len(part)
            if parts:
                types.append(Availability(kind, tuple(parts)))
        return Offer(tuple(types))
