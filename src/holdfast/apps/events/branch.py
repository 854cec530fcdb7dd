"""One branch's records: what is read from them, and the few changes that they go through.

Every function takes the branch's city, or an event of it, and touches rows of that branch alone; the
app puts the branches together. None checks a rule.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from holdfast.apps.events.names import TYPES, EventId, order_of, parse_event
from holdfast.apps.events.replies import Left
from holdfast.apps.events.rows import Account, Booking, Event, Months, Programme

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

_TYPE_PLACES = {name: place for place, name in enumerate(TYPES)}


# -- reading ----------------------------------------------------------------------------------------


def find_event(store: TupleStore, event: EventId, kind: str) -> Event | None:
    """The event of this id and type."""
    return store.table(Event).get((event.city, kind, event.id))


def availability(store: TupleStore, city: str, kind: str) -> Left:
    """The branch's events of a type with the places left, in the order of date and slot."""
    programme, events = store.table(Programme).get((city, kind)), store.table(Event)
    found = []
    for id in () if programme is None else programme.events:
        row = events.get((city, kind, id))
        assert row is not None
        found.append((id, max(0, row.capacity - row.booked)))
    return tuple(found)


def schedule(store: TupleStore, city: str, customer: str) -> tuple[tuple[str, str], ...]:
    """(event id, type) of all that a customer has booked at the branch, in the order of date, slot and type."""
    months = store.table(Months).get((city, customer))
    found: list[tuple[str, str]] = []
    for month in () if months is None else months.months:
        account = store.table(Account).get((city, customer, month))
        assert account is not None
        found += sorted(((id, kind) for id, kind, _ in account.bookings), key=_time)
    return tuple(found)


def _time(booking: tuple[str, str]) -> tuple[tuple[str, int], int]:
    id, kind = booking
    return order_of(id), _TYPE_PLACES[kind]


def booking_count(store: TupleStore, city: str, customer: str, month: str) -> int:
    """How many events of the month (2019-05) a customer has booked at the branch."""
    account = store.table(Account).get((city, customer, month))
    return 0 if account is None else len(account.bookings)


def types_booked(store: TupleStore, customer: str, event: EventId) -> tuple[str, ...]:
    """As which types a customer has booked an event id."""
    account = store.table(Account).get((event.city, customer, event.month))
    if account is None:
        return ()
    return tuple(sorted((kind for id, kind, _ in account.bookings if id == event.id), key=_TYPE_PLACES.__getitem__))


def has_booked(store: TupleStore, customer: str, event: EventId, kind: str) -> bool:
    """Whether a customer has a place at the event."""
    account = store.table(Account).get((event.city, customer, event.month))
    return account is not None and any(id == event.id and of == kind for id, of, _ in account.bookings)


def ids_booked(store: TupleStore, city: str, customer: str, month: str, kind: str) -> frozenset[str]:
    """Which events of a month and a type a customer has booked at the branch."""
    account = store.table(Account).get((city, customer, month))
    return frozenset() if account is None else frozenset(id for id, of, _ in account.bookings if of == kind)


def later_with_places(store: TupleStore, event: EventId, kind: str) -> dict[str, list[EventId]]:
    """The branch's events of the type after this one that have a place left, by month, in the order of date and slot.
    Only months in which there are some."""
    found: dict[str, list[EventId]] = {}
    for id, left in availability(store, event.city, kind):
        other = parse_event(id)
        assert other is not None
        if left and other.order > event.order:
            found.setdefault(other.month, []).append(other)
    return found


# -- the programme ----------------------------------------------------------------------------------


def programme_size(store: TupleStore, city: str, kind: str) -> int:
    """How many events of a type the branch has."""
    programme = store.table(Programme).get((city, kind))
    return 0 if programme is None else len(programme.events)


def add(store: TupleStore, event: EventId, kind: str, capacity: int) -> None:
    """Put a new event on the programme."""
    programmes = store.table(Programme)
    programme = programmes.get((event.city, kind))
    ids = () if programme is None else programme.events
    place = bisect_left(ids, event.order, key=order_of)
    programmes.put(Programme(event.city, kind, (*ids[:place], event.id, *ids[place:])))
    store.table(Event).put(Event(event.city, kind, event.id, capacity, 0, 0))


def set_capacity(store: TupleStore, row: Event, capacity: int) -> None:
    """Give an event another capacity; its bookings stay."""
    store.table(Event).put(Event(row.city, row.type, row.event, capacity, row.booked, row.numbered))


def remove(store: TupleStore, event: EventId, kind: str) -> list[str]:
    """Take an event off the programme. Returns the customers who had a place, in the order of booking.

    It costs as much as the event ever had bookings.
    """
    events, bookings, customers = store.table(Event), store.table(Booking), []
    row = events.get((event.city, kind, event.id))
    assert row is not None
    for number in range(row.numbered):
        booking = bookings.get((event.city, kind, event.id, number))
        if booking is not None:
            customers.append(booking.customer)
            _strike(store, booking.customer, event, kind)
            bookings.delete((event.city, kind, event.id, number))
    events.delete((event.city, kind, event.id))
    programmes = store.table(Programme)
    programme = programmes.get((event.city, kind))
    assert programme is not None
    ids = tuple(id for id in programme.events if id != event.id)
    if ids:
        programmes.put(Programme(event.city, kind, ids))
    else:
        programmes.delete((event.city, kind))
    return customers


# -- bookings ---------------------------------------------------------------------------------------


def book(store: TupleStore, customer: str, event: EventId, kind: str) -> Event:
    """Give a customer, who has none, a place at the event. Returns the event as it is then."""
    events, city = store.table(Event), event.city
    row = events.get((city, kind, event.id))
    assert row is not None
    number = row.numbered
    row = Event(city, kind, event.id, row.capacity, row.booked + 1, number + 1)
    events.put(row)
    store.table(Booking).put(Booking(city, kind, event.id, number, customer))
    accounts, booking = store.table(Account), (event.id, kind, number)
    account = accounts.get((city, customer, event.month))
    if account is not None:
        accounts.put(Account(city, customer, event.month, (*account.bookings, booking)))
        return row
    accounts.put(Account(city, customer, event.month, (booking,)))
    months = store.table(Months)
    known = months.get((city, customer))
    months.put(Months(city, customer, tuple(sorted((*(known.months if known else ()), event.month)))))
    return row


def cancel(store: TupleStore, customer: str, event: EventId, kind: str) -> None:
    """Take back the place that a customer has at the event."""
    events = store.table(Event)
    row = events.get((event.city, kind, event.id))
    assert row is not None
    events.put(Event(event.city, kind, event.id, row.capacity, row.booked - 1, row.numbered))
    number = _strike(store, customer, event, kind)
    store.table(Booking).delete((event.city, kind, event.id, number))


def _strike(store: TupleStore, customer: str, event: EventId, kind: str) -> int:
    """Take the booking from the customer's account. Returns its number."""
    accounts, key = store.table(Account), (event.city, customer, event.month)
    account = accounts.get(key)
    assert account is not None
    (booking,) = (booking for booking in account.bookings if booking[:2] == (event.id, kind))
    if len(account.bookings) > 1:
        accounts.put(Account(*key, tuple(other for other in account.bookings if other is not booking)))
        return booking[2]
    accounts.delete(key)
    months = store.table(Months)
    known = months.get((event.city, customer))
    assert known is not None
    others = tuple(month for month in known.months if month != event.month)
    if others:
        months.put(Months(event.city, customer, others))
    else:
        months.delete((event.city, customer))
    return booking[2]
