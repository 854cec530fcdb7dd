"""The rows of the events. Each branch's records are a part of their own: its city comes first in every key.

Tables are plain, without order or index, and a booking reads and writes a handful of rows by key: the
event, the booking itself, and what the customer has at that branch in that month.
"""

from __future__ import annotations

from holdfast.kernel.store import Row


class Event(Row, frozen=True):
    """An event, `event` being its id. `booked`: how many places are taken, which may be more than a capacity
    that was lowered. `numbered`: how many bookings it ever had; the next one gets this number."""

    table = "events"
    key = ("city", "type", "event")

    city: str
    type: str
    event: str
    capacity: int
    booked: int
    numbered: int


class Programme(Row, frozen=True):
    """The ids of a branch's events of one type, in the order of date and slot; never empty."""

    table = "programmes"
    key = ("city", "type")

    city: str
    type: str
    events: tuple[str, ...]


class Booking(Row, frozen=True):
    """Who has a place at an event. The numbers grow in the order of booking; what is cancelled leaves a gap."""

    table = "bookings"
    key = ("city", "type", "event", "number")

    city: str
    type: str
    event: str
    number: int
    customer: str


class Account(Row, frozen=True):
    """What a customer has booked at a branch in a month (of the events), as (event id, type, number), in the
    order of booking; never empty. Its length is the branch's booking-count for that customer and month."""

    table = "accounts"
    key = ("city", "customer", "month")

    city: str
    customer: str
    month: str
    bookings: tuple[tuple[str, str, int], ...]


class Months(Row, frozen=True):
    """The months in which a customer has an account at a branch, ascending; never empty."""

    table = "months"
    key = ("city", "customer")

    city: str
    customer: str
    months: tuple[str, ...]


class Company(Row, frozen=True):
    """The one row about all branches, as they were when the data was begun."""

    table = "company"
    key = ("id",)

    id: int
    branches: tuple[str, ...]
