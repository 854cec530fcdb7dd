"""What is refused without a look at any record: who asks, for whom, and words that mean nothing.

The door of a replica (`App.admit`) and the execution itself (`App.apply`) read a request by the same
function, so what came past the door by another way is still refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.apps.events.names import SLOTS, TYPES, EventId, PersonId, parse_event, parse_person, parse_type
from holdfast.apps.events.replies import ManagersOnly, NobodyKnown, NotForOthers, OtherCity, Senseless
from holdfast.apps.events.words import (
    CAPACITY_MAX,
    AddEvent,
    BookEvent,
    Browse,
    CancelEvent,
    GetBookingSchedule,
    ListEventAvailability,
    RemoveEvent,
    SwapEvent,
)
from holdfast.apps.values import shown
from holdfast.kernel.contracts import Person, Refusal


class _Refused(Exception):
    """Why a request is not read to its end. Never leaves this module."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class Door:
    """Reads requests for the branches of one company. `branches`: their cities, in alphabetical order."""

    def __init__(self, branches: tuple[str, ...]) -> None:
        self.branches = branches
        self._read: dict[type, Callable[[PersonId, Any], tuple[Any, ...]]] = {
            AddEvent: self._add,
            RemoveEvent: self._remove,
            BookEvent: self._book,
            CancelEvent: self._cancel,
            SwapEvent: self._swap,
            ListEventAvailability: self._list,
            GetBookingSchedule: self._schedule,
            Browse: self._browse,
        }

    def read(self, request: Any, person: Person | None) -> tuple[Any, ...] | Refusal:
        """What a command or query asks for, its words taken apart, in the order of its fields; or why not."""
        id = "" if person is None else person.id
        who = parse_person(id)
        if who is None or who.city not in self.branches:
            return NobodyKnown(id, self.branches)
        try:
            return self._read[type(request)](who, request)
        except _Refused as refused:
            return refused.refusal

    # -- each request ---------------------------------------------------------------------------

    def _add(self, who: PersonId, command: AddEvent) -> tuple[EventId, str, int]:
        event, kind = self._own_event(who, "addEvent", command.eventID), _type(command.eventType)
        if not 1 <= command.capacity <= CAPACITY_MAX:
            wanted = f"a capacity is a whole number from 1 to {CAPACITY_MAX}, not {command.capacity}"
            raise _Refused(Senseless("capacity", str(command.capacity), wanted))
        return event, kind, command.capacity

    def _remove(self, who: PersonId, command: RemoveEvent) -> tuple[EventId, str]:
        return self._own_event(who, "removeEvent", command.eventID), _type(command.eventType)

    def _book(self, who: PersonId, command: BookEvent) -> tuple[PersonId, EventId, str]:
        return self._customer(who, command.customerID), self._event(command.eventID), _type(command.eventType)

    def _cancel(self, who: PersonId, command: CancelEvent) -> tuple[PersonId, EventId, str]:
        customer, event = self._customer(who, command.customerID), self._event(command.eventID)
        return customer, event, _type(command.eventType) if command.eventType else ""

    def _swap(self, who: PersonId, command: SwapEvent) -> tuple[PersonId, EventId, str, EventId, str]:
        customer = self._customer(who, command.customerID)
        new, new_kind = self._event(command.newEventID), _type(command.newEventType)
        return customer, new, new_kind, self._event(command.oldEventID), _type(command.oldEventType)

    def _list(self, who: PersonId, query: ListEventAvailability) -> tuple[str]:
        _managers_only(who, "listEventAvailability")
        return (_type(query.eventType),)

    def _schedule(self, who: PersonId, query: GetBookingSchedule) -> tuple[PersonId]:
        return (self._customer(who, query.customerID),)

    def _browse(self, who: PersonId, query: Browse) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The cities and the types. What begins with no city may all be the type, which two words may make up."""
        city, kind = query.city, query.eventType
        if city and city not in self.branches and parse_type(city + kind) is not None:
            city, kind = "", city + kind
        if city and city not in self.branches:
            raise _Refused(Senseless("city", city, f"there is no branch {shown(city)}; {self._known()}"))
        return (city,) if city else self.branches, (_type(kind),) if kind else TYPES

    # -- words ----------------------------------------------------------------------------------

    def _known(self) -> str:
        return f"the branches are {', '.join(self.branches)}"

    def _event(self, id: str) -> EventId:
        event = parse_event(id)
        if event is None:
            form = f"city, slot ({', '.join(SLOTS)}) and a day of the calendar as ddmmyy, in capitals: TORM100519"
            raise _Refused(Senseless("eventID", id, f"{shown(id)} is no event id; it is written {form}"))
        if event.city not in self.branches:
            raise _Refused(Senseless("eventID", id, f"{id} is of no branch; {self._known()}"))
        return event

    def _own_event(self, who: PersonId, word: str, id: str) -> EventId:
        """An event that a manager may change."""
        _managers_only(who, word)
        event = self._event(id)
        if event.city != who.city:
            raise _Refused(OtherCity(who.id, event.id, event.city))
        return event

    def _customer(self, who: PersonId, id: str) -> PersonId:
        """A customer for whom the person may act."""
        customer = parse_person(id)
        if customer is None or customer.is_manager:
            form = "it is written city, C and four digits, in capitals: TORC2345"
            raise _Refused(Senseless("customerID", id, f"{shown(id)} is no customer's id; {form}"))
        if customer.city not in self.branches:
            raise _Refused(Senseless("customerID", id, f"{id} is of no branch; {self._known()}"))
        if not who.is_manager and who.id != id:
            raise _Refused(NotForOthers(who.id, id))
        if who.city != customer.city:
            raise _Refused(OtherCity(who.id, id, customer.city))
        return customer


def _managers_only(who: PersonId, word: str) -> None:
    if not who.is_manager:
        raise _Refused(ManagersOnly(who.id, word))


def _type(text: str) -> str:
    kind = parse_type(text)
    if kind is None:
        types = f"{', '.join(TYPES[:-1])} and {TYPES[-1]}"
        raise _Refused(Senseless("eventType", text, f"there are no events of type {shown(text)}, only {types}"))
    return kind
