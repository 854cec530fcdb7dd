"""Places at events of a company with branches in several cities, booked by customers and run by managers.

Each branch has records of its own, and a booking in another city is atomic all the same, because all
branches are one app. Read `app` for the rules, `door` for what is refused at once, `branch` and `rows`
for one branch's records, `words` and `replies` for what is said, `names` for the ids.
"""

from __future__ import annotations

from holdfast.apps.events.app import BRANCHES_MAX, EVENTS_MAX, OFFERED_MAX, OTHER_CITIES_MAX, Events
from holdfast.apps.events.names import (
    BRANCHES,
    TYPES,
    EventId,
    PersonId,
    city_of,
    parse_event,
    parse_person,
    parse_type,
)
from holdfast.apps.events.replies import Availability, Offer, Schedule
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

__all__ = ["BRANCHES", "BRANCHES_MAX", "CAPACITY_MAX", "EVENTS_MAX", "OFFERED_MAX", "OTHER_CITIES_MAX", "TYPES",
           "AddEvent", "Availability", "BookEvent", "Browse", "CancelEvent", "EventId", "Events", "GetBookingSchedule",
           "ListEventAvailability", "Offer", "PersonId", "RemoveEvent", "Schedule", "SwapEvent",
           "city_of", "parse_event", "parse_person", "parse_type"]  # fmt: skip
