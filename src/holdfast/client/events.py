"""The events for Python, by the seed's own names and with flat parameters.

with Site() as site:
    print(site.events("TORC2345").bookEvent("TORC2345", "MTLE190519", "Seminars").text)

An id says whose it is: `TORM2345` is a manager of Toronto, `TORC2345` a customer. The types are
Conferences, Trade shows and Seminars; case and blanks do not matter. A refusal is an `Answer` too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from holdfast.client.outcomes import Answer

Given = TypeVar("Given")


class _Events(Generic[Given]):
    """`call(word, *arguments)` asks the service."""

    def __init__(self, call: Callable[..., Given]) -> None:
        self._call = call

    def addEvent(self, eventID: str, eventType: str, capacity: int) -> Given:
        """For managers, in their own city: add an event, or give the one that is there another capacity."""
        return self._call("addEvent", eventID, eventType, capacity)

    def removeEvent(self, eventID: str, eventType: str) -> Given:
        """For managers, in their own city: remove an event; its customers are moved to the next where they may be."""
        return self._call("removeEvent", eventID, eventType)

    def listEventAvailability(self, eventType: str) -> Given:
        """For managers: the places left at each event of a type, in all cities."""
        return self._call("listEventAvailability", eventType)

    def bookEvent(self, customerID: str, eventID: str, eventType: str) -> Given:
        """Book a place for a customer."""
        return self._call("bookEvent", customerID, eventID, eventType)

    def getBookingSchedule(self, customerID: str) -> Given:
        """What a customer has booked, in all cities."""
        return self._call("getBookingSchedule", customerID)

    def cancelEvent(self, customerID: str, eventID: str, eventType: str = "") -> Given:
        """Cancel a customer's booking; the type may be left out where only one is booked."""
        return self._call("cancelEvent", customerID, eventID, *([eventType] if eventType else []))

    def swapEvent(
        self, customerID: str, newEventID: str, newEventType: str, oldEventID: str, oldEventType: str
    ) -> Given:
        """Book the new event and cancel the old one: both or neither."""
        return self._call("swapEvent", customerID, newEventID, newEventType, oldEventID, oldEventType)

    def browse(self, city: str = "", eventType: str = "") -> Given:
        """The events and the places left: of a city, of a type, or all."""
        return self._call("browse", *([city] if city else []), *([eventType] if eventType else []))


class Events(_Events[Answer]):
    """The events as one person asks for them. Raises as `Service.call` does."""


class AsyncEvents(_Events[Awaitable[Answer]]):
    """As `Events`, awaited."""
