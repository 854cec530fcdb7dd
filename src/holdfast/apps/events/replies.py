"""What the events answer."""

from __future__ import annotations

from typing import Literal

from holdfast.apps.values import shown
from holdfast.kernel.contracts import Refusal, Reply

Left = tuple[tuple[str, int], ...]
"""Events of one branch and type with the places left: (event id, places), in the order of date and slot."""
AvailabilityParts = tuple[tuple[str, Left], ...]
"""What each branch knows: (city, its events), the cities in alphabetical order."""
ScheduleParts = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""What each branch knows of a customer: (city, ((event id, type), ...)), in the order of city, date, slot, type."""
WhichField = Literal["customerID", "eventID", "eventType", "capacity", "city"]
NAMED_MAX = 50
"""Customers whom the answer to `removeEvent` names; the others are counted."""


# -- what was done ----------------------------------------------------------------------------------


class EventAdded(Reply, frozen=True, tag="event_added"):
    """There is such an event now."""

    eventID: str
    eventType: str
    capacity: int

    def text(self) -> str:
        return f"{self.eventID} {self.eventType} is added with {_places(self.capacity)}."


class EventUpdated(Reply, frozen=True, tag="event_updated"):
    """The event was there and has another capacity now; its bookings stay."""

    eventID: str
    eventType: str
    capacity: int
    before: int
    booked: int

    def text(self) -> str:
        left = max(0, self.capacity - self.booked)
        event = f"{self.eventID} {self.eventType}"
        return f"{event} is there already; it has {_places(self.capacity)} now (before: {self.before}), {left} left."


class EventRemoved(Reply, frozen=True, tag="event_removed"):
    """The event is gone. `moved`: (customer, new event id) and `cancelled`: customers, both in the order of
    booking and at most `NAMED_MAX`; `moved_count` and `cancelled_count`: how many there are."""

    eventID: str
    eventType: str
    moved_count: int
    cancelled_count: int
    moved: tuple[tuple[str, str], ...]
    cancelled: tuple[str, ...]

    def text(self) -> str:
        said = f"{self.eventID} {self.eventType} is removed"
        if self.moved_count:
            names = [f"{customer} to {event}" for customer, event in self.moved]
            said += f"; moved: {_some(names, self.moved_count)}"
        if self.cancelled_count:
            said += f"; cancelled: {_some(self.cancelled, self.cancelled_count)}"
        return f"{said}."


class EventBooked(Reply, frozen=True, tag="event_booked"):
    """The customer has a place."""

    customerID: str
    eventID: str
    eventType: str

    def text(self) -> str:
        return f"{self.eventID} {self.eventType} is booked for {self.customerID}."


class EventCancelled(Reply, frozen=True, tag="event_cancelled"):
    """The customer's place is free again."""

    customerID: str
    eventID: str
    eventType: str

    def text(self) -> str:
        return f"{self.eventID} {self.eventType} is cancelled for {self.customerID}."


class EventSwapped(Reply, frozen=True, tag="event_swapped"):
    """The customer has the new place, and the old one is free again."""

    customerID: str
    newEventID: str
    newEventType: str
    oldEventID: str
    oldEventType: str

    def text(self) -> str:
        new, old = f"{self.newEventID} {self.newEventType}", f"{self.oldEventID} {self.oldEventType}"
        return f"{new} is booked for {self.customerID}, and {old} is cancelled."


# -- what was asked ---------------------------------------------------------------------------------


class Availability(Reply, frozen=True, tag="availability"):
    """The events of a type with the places left, branch by branch. A branch server may give its own part alone."""

    eventType: str
    parts: AvailabilityParts

    def text(self) -> str:
        return f"{self.listing()}."

    def listing(self) -> str:
        """The answer without its end, to stand in a row of them."""
        events = [f"{event} {left}" for _, part in self.parts for event, left in part]
        return f"{self.eventType} - {', '.join(events) or 'no events'}"


class Schedule(Reply, frozen=True, tag="schedule"):
    """What a customer has booked, branch by branch. A branch server may give its own part alone."""

    customerID: str
    parts: ScheduleParts

    def text(self) -> str:
        events = [f"{event} {kind}" for _, part in self.parts for event, kind in part]
        return f"{self.customerID} - {', '.join(events) or 'no bookings'}."


class Offer(Reply, frozen=True, tag="offer"):
    """Which events there are: the types that have any. `is_cut`: there are more than one answer tells."""

    types: tuple[Availability, ...]
    is_cut: bool = False

    def text(self) -> str:
        if not self.types:
            return "No events."
        more = " There are more: name a city and a type." if self.is_cut else ""
        return "; ".join(part.listing() for part in self.types) + "." + more


# -- refusals: who asks -----------------------------------------------------------------------------


class NobodyKnown(Refusal, frozen=True, tag="nobody_known"):
    """Who asks is neither a manager nor a customer of a branch. `person`: "" for nobody logged in."""

    person: str
    branches: tuple[str, ...]

    def text(self) -> str:
        if not self.person:
            return "Failed: nobody is logged in; say who you are, as in login TORC2345."
        cities = ", ".join(self.branches)
        return f"Failed: {shown(self.person)} is neither a manager nor a customer of a branch here ({cities})."


class ManagersOnly(Refusal, frozen=True, tag="managers_only"):
    """A customer asked for what only managers may do."""

    person: str
    word: str

    def text(self) -> str:
        return f"Failed: only managers may do {self.word}, and {self.person} is a customer."


class NotForOthers(Refusal, frozen=True, tag="not_for_others"):
    """A customer asked for what is another customer's."""

    person: str
    customerID: str

    def text(self) -> str:
        return f"Failed: {self.person} is a customer and acts for nobody else, so not for {self.customerID}."


class OtherCity(Refusal, frozen=True, tag="other_city"):
    """A manager asked for what is another branch's. `name`: the event or customer, of `city`."""

    person: str
    name: str
    city: str

    def text(self) -> str:
        return f"Failed: {self.person} manages {self.person[:3]} only, and {self.name} is of {self.city}."


# -- refusals: what is asked ------------------------------------------------------------------------


class Senseless(Refusal, frozen=True, tag="senseless"):
    """A parameter that can mean nothing here. `field`: which one; `word`: as it was written; `why`: what is
    wrong with it and how it is written."""

    field: WhichField
    word: str
    why: str

    def text(self) -> str:
        return f"Failed: {self.why}."


class NoSuchEvent(Refusal, frozen=True, tag="no_such_event"):
    """There is no event of this id and type."""

    eventID: str
    eventType: str

    def text(self) -> str:
        return f"Failed: there is no event {self.eventID} {self.eventType}."


class EventFull(Refusal, frozen=True, tag="event_full"):
    """Every place is taken."""

    eventID: str
    eventType: str
    capacity: int

    def text(self) -> str:
        return f"Failed: {self.eventID} {self.eventType} is full; it has {_places(self.capacity)}."


class AlreadyBooked(Refusal, frozen=True, tag="already_booked"):
    """The customer has a place at this very event."""

    customerID: str
    eventID: str
    eventType: str

    def text(self) -> str:
        return f"Failed: {self.customerID} has booked {self.eventID} {self.eventType} already."


class MonthFull(Refusal, frozen=True, tag="month_full"):
    """The customer has booked as many events of a month (2019-05) in other cities as one may."""

    customerID: str
    city: str
    month: str
    most: int

    def text(self) -> str:
        where = f"outside {self.city} in {self.month}"
        return f"Failed: {self.customerID} has {self.most} bookings {where} already, which is all that one may have."


class NotBooked(Refusal, frozen=True, tag="not_booked"):
    """The customer has no such booking, whoever else may have one. `eventType`: "" where none was given."""

    customerID: str
    eventID: str
    eventType: str

    def text(self) -> str:
        kind = f" {self.eventType}" if self.eventType else ""
        return f"Failed: {self.customerID} has not booked {self.eventID}{kind}."


class WhichType(Refusal, frozen=True, tag="which_type"):
    """The customer has booked several types of this event id, and the request names none."""

    customerID: str
    eventID: str
    types: tuple[str, ...]

    def text(self) -> str:
        types = " and ".join(self.types)
        return f"Failed: {self.customerID} has booked {self.eventID} as {types}; say which of them."


class ProgrammeFull(Refusal, frozen=True, tag="programme_full"):
    """The branch has as many events of this type as it may."""

    city: str
    eventType: str
    most: int

    def text(self) -> str:
        return f"Failed: {self.city} has {self.most} events of type {self.eventType}, which is all; remove one first."


def _places(count: int) -> str:
    return f"{count} place" if count == 1 else f"{count} places"


def _some(names: list[str] | tuple[str, ...], count: int) -> str:
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return ", ".join(names) + more


REPLIES: tuple[type[Reply], ...] = (
    *(EventAdded, EventUpdated, EventRemoved, EventBooked, EventCancelled, EventSwapped),
    *(Availability, Schedule, Offer),
    *(NobodyKnown, ManagersOnly, NotForOthers, OtherCity),
    *(Senseless, NoSuchEvent, EventFull, AlreadyBooked, MonthFull, NotBooked, WhichType, ProgrammeFull),
)
