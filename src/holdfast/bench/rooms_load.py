"""What the secretaries ask for in the rooms benchmark: the same requests in every run."""

from __future__ import annotations

import random

from holdfast.apps.rooms import DEPARTMENTS, ROOMS, Reserve, Rooms
from holdfast.apps.rooms.rows import Entry
from holdfast.kernel.contracts import Person, Request
from holdfast.kernel.store import TupleStore

FIRST_NAMES = ("Ada", "Ben", "Cem", "Dora", "Eva", "Finn", "Gina", "Hugo", "Ida", "Jan")
HOURS = range(8, 17)
DAYS = range(4, 32)
PURPOSE = "Budget meeting"
BORN_MS = 1_795_000_000_000
"""Part of the client ids: they are born when the virtual clock begins."""

NODES = DEPARTMENTS
"""Each department's replica is called like it."""

Slot = tuple[str, str, str]


def make_app() -> Rooms:
    """The app as it comes."""
    return Rooms()


def slots(count: int) -> list[Slot]:
    """So many hours of rooms, day by day: 72 a day."""
    found = [(room, f"2027-01-{day:02}", f"{hour:02}:00") for day in DAYS for hour in HOURS for room in ROOMS]
    if count > len(found):
        raise ValueError(f"there are {len(found)} slots only, not {count}")
    return found[:count]


def secretary(number: int) -> Person:
    """The one of the department with that number."""
    name, department = FIRST_NAMES[number], DEPARTMENTS[number]
    return Person(name.lower(), name, ("secretary",), department)


def requests(number: int, count: int, contested: int, seed: int = 1) -> list[Request]:
    """Of one secretary: each for an hour, with one or two alternatives on the same day, by a client
    whose retries are exact and who waits for each reply."""
    chance = random.Random(f"{seed}/{number}")
    by_day: dict[str, list[Slot]] = {}
    everything = slots(contested)
    for slot in everything:
        by_day.setdefault(slot[1], []).append(slot)
    person = secretary(number)
    client = f"{person.id}.{BORN_MS}"
    found = []
    for place in range(1, count + 1):
        wanted = chance.choice(everything)
        others = chance.sample(by_day[wanted[1]], chance.choice((1, 2)))
        alternatives = tuple(f"{room}@{start}" for room, _, start in others)
        found.append(Request(Reserve(*wanted, "1h", PURPOSE, alternatives), client, place, place, person))
    return found


def outcomes(store: TupleStore) -> dict[str, int]:
    """How many requests came to what, in a replica's store."""
    found: dict[str, int] = {}
    for entry in store.table(Entry):
        found[entry.state] = found.get(entry.state, 0) + 1
    return dict(sorted(found.items()))
