"""The names that people and events go by, and what their letters say.

A person: city, M for a manager or C for a customer, four digits, as `TORM2345`. An event: city, slot
(M, A or E), day as ddmmyy of this century, as `TORA100519`. Both are written in capitals and ASCII
digits. Here a name is only taken apart; which cities have a branch, the app knows.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

import msgspec

BRANCHES = ("TOR", "MTL", "OTW")
"""Toronto, Montreal, Ottawa."""
TYPES = ("Conferences", "Trade shows", "Seminars")
"""The types of events, as replies write them and rows keep them."""
SLOTS = {"M": "morning", "A": "afternoon", "E": "evening"}
"""The slots of a day, in its order."""
NAME_CHARACTERS_MAX = 64
"""A word longer than this names nothing, and is not looked at."""


class PersonId(msgspec.Struct, frozen=True, gc=False):
    """A person's id, taken apart."""

    id: str
    city: str
    is_manager: bool


class EventId(msgspec.Struct, frozen=True, gc=False):
    """An event's id, taken apart. `day`: 2019-05-10; `month`: 2019-05. `order`: day and slot, in the order of time."""

    id: str
    city: str
    slot: str
    day: str
    month: str
    order: tuple[str, int]


_PERSON = re.compile(r"([A-Z]{3})([MC])[0-9]{4}", re.ASCII)
_EVENT = re.compile(r"([A-Z]{3})([MAE])([0-9]{2})([0-9]{2})([0-9]{2})", re.ASCII)
_BRANCH = re.compile(r"[A-Z]{3}", re.ASCII)
_PLACES = {slot: place for place, slot in enumerate(SLOTS)}
_TYPES = {name.replace(" ", "").lower(): name for name in TYPES}
_TYPES |= {word.removesuffix("s"): name for word, name in _TYPES.items()}


@lru_cache(maxsize=65_536)
def parse_person(id: str) -> PersonId | None:
    """The id taken apart, or None if it is no person's."""
    found = _PERSON.fullmatch(id)
    return PersonId(id, found[1], found[2] == "M") if found else None


@lru_cache(maxsize=65_536)
def parse_event(id: str) -> EventId | None:
    """The id taken apart, or None if it is no event's: its day must be one of the calendar."""
    found = _EVENT.fullmatch(id)
    if found is None:
        return None
    city, slot, day, month, year = found.groups()
    try:
        when = date(2000 + int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None
    return EventId(id, city, slot, when, when[:7], (when, _PLACES[slot]))


@lru_cache(maxsize=4096)
def parse_type(text: str) -> str | None:
    """The type that is meant, as `TYPES` writes it, or None. Case and blanks do not matter (`TradeShows`),
    and one of them may be named alone (`seminar`)."""
    if len(text) > NAME_CHARACTERS_MAX:
        return None
    return _TYPES.get("".join(text.split()).lower())


def is_branch(text: str) -> bool:
    """Whether a branch may be called so: three capitals."""
    return _BRANCH.fullmatch(text) is not None


def city_of(id: str) -> str:
    """The city in a person's id, whose branch serves the person; "" if it is no person's id."""
    person = parse_person(id)
    return "" if person is None else person.city


def order_of(id: str) -> tuple[str, int]:
    """Where a well formed event id stands in the order of date and slot."""
    event = parse_event(id)
    assert event is not None
    return event.order
