"""What customers and managers say, by the seed's own names. Every parameter is a plain string or number."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from holdfast.apps.events.names import NAME_CHARACTERS_MAX
from holdfast.kernel.contracts import Command, Query

CAPACITY_MAX = 1_000_000
"""The most people at one event."""

Id = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
"""Of a customer or an event: the app says what is wrong with it (see `names`)."""
Type = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
"""A type of events, in any case and with or without blanks."""
Capacity = Annotated[int, Meta(ge=1, le=CAPACITY_MAX)]
Optional = Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]


class AddEvent(Command, frozen=True, tag="addEvent"):
    """Add an event of the manager's own city, or give it another capacity."""

    eventID: Id
    eventType: Type
    capacity: Capacity


class RemoveEvent(Command, frozen=True, tag="removeEvent"):
    """Remove an event of the manager's own city; its customers are moved to the next one where they may be."""

    eventID: Id
    eventType: Type


class BookEvent(Command, frozen=True, tag="bookEvent"):
    """Book an event for a customer."""

    customerID: Id
    eventID: Id
    eventType: Type


class CancelEvent(Command, frozen=True, tag="cancelEvent"):
    """Cancel a customer's booking; the type may be left out where only one is booked."""

    customerID: Id
    eventID: Id
    eventType: Optional = ""


class SwapEvent(Command, frozen=True, tag="swapEvent"):
    """Book the new event and cancel the old one for a customer: both or neither."""

    customerID: Id
    newEventID: Id
    newEventType: Type
    oldEventID: Id
    oldEventType: Type


class ListEventAvailability(Query, frozen=True, tag="listEventAvailability"):
    """Tell a manager how many places each event of a type has left, in all cities."""

    eventType: Type


class GetBookingSchedule(Query, frozen=True, tag="getBookingSchedule"):
    """Tell what a customer has booked, in all cities."""

    customerID: Id


class Browse(Query, frozen=True, tag="browse"):
    """Tell which events there are and how many places they have left; of a city, of a type, or all."""

    city: Optional = ""
    eventType: Optional = ""
