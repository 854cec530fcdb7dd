"""A building for tests: its app on a machine, secretaries, and how they speak to it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from holdfast.apps.rooms import Cancel, Change, Reserve, Rooms
from holdfast.kernel.contracts import Command, Person, Reply, Request
from holdfast.kernel.machine import Machine, NoticesAfter
from holdfast.kernel.replies import Notices

NOW = 1_795_000_000_000
"""2026-11-18 11:06:40 UTC"""
DAY = "2026-12-01"


def secretary(first_name: str, department: str) -> Person:
    return Person(first_name.lower(), first_name, ("secretary",), department)


ANN = secretary("Ann", "physics")
BOB = secretary("Bob", "biology")
CID = secretary("Cid", "music")


class Building:
    """Rooms that nobody else uses. Each department writes at the replica of its name."""

    def __init__(self, **options: Any) -> None:
        self.app = Rooms(**options)
        self.machine = Machine(self.app)
        self.store = self.machine.store
        self.counts: dict[str, int] = {}

    def do(self, person: Person | None, command: Command, ms: int = 0, *, late: bool = False) -> Reply:
        """Execute the next write of the person's replica, stamped `NOW + ms`."""
        where = person.department if person is not None else "nowhere"
        self.counts[where] = self.counts.get(where, 0) + 1
        first_name = person.first_name if person is not None else ""
        request = Request(command, person=person)
        return self.machine.execute_write(request, (NOW + ms, first_name, where), f"{where}-{self.counts[where]}", late)

    def says(self, person: Person | None, command: Command, ms: int = 0, *, late: bool = False) -> str:
        return self.do(person, command, ms, late=late).text()

    def ask(self, query: Any, person: Person | None = None, *, committed: bool = True) -> Reply:
        return self.machine.answer(Request(query, person=person), lambda id: committed)

    def notices(self) -> list[tuple[str, str]]:
        """(addressee, text) of everything in the outbox."""
        told = self.ask(NoticesAfter())
        assert isinstance(told, Notices)
        return [(to, text) for _, to, text in told.rows]


ROOMS = ("Maple", "Oak")
DAYS = ("2026-12-01", "2026-12-02")
PEOPLE = (ANN, BOB, CID, secretary("Ann", "law"), secretary("Dan", "physics"))
IDS = st.builds("{}-{}".format, st.sampled_from(["physics", "biology", "music", "law"]), st.integers(1, 12))


def places(hours: int) -> st.SearchStrategy[tuple[str, str, str]]:
    """(room, day, start) in a small building, so that many get in each other's way."""
    starts = st.integers(8, 12 - hours).map("{:02}:00".format)
    return st.tuples(st.sampled_from(ROOMS), st.sampled_from(DAYS), starts)


@st.composite
def wishes(draw: st.DrawFn) -> tuple[tuple[str, str, str, str], tuple[str, ...]]:
    """(room, day, start, duration) and alternatives; seldom one that lasts beyond closing."""
    hours = draw(st.sampled_from([1, 1, 1, 2, 3]))
    wanted = draw(places(hours))
    others = draw(st.lists(places(draw(st.sampled_from([hours] * 9 + [1]))), max_size=3))
    short = draw(st.booleans())
    alternatives = tuple(f"{room}@{time}" if short else f"{room}@{day}@{time}" for room, day, time in others)
    return (*wanted, f"{hours}h"), alternatives


def commands() -> st.SearchStrategy[Command]:
    reserve = wishes().map(lambda wish: Reserve(*wish[0], "Budget", wish[1]))
    change = st.tuples(IDS, wishes()).map(lambda drawn: Change(drawn[0], *drawn[1][0], drawn[1][1]))
    return st.one_of(reserve, reserve, reserve, change, st.builds(Cancel, IDS))


Said = tuple[Person, Command, int, bool]
SMALL = {"rooms": ROOMS, "opens": 8, "closes": 12}


def stories(most: int = 30) -> st.SearchStrategy[list[Said]]:
    """What several secretaries write, in order: (who, what, stamp after `NOW`, late)."""
    said = st.tuples(st.sampled_from(PEOPLE), commands(), st.integers(0, 40), st.booleans())
    return st.lists(said, max_size=most)
