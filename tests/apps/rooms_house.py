"""A building for tests: its app on a machine, secretaries, and how they speak to it."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from holdfast.apps.rooms import Cancel, Change, Reserve, Rooms
from holdfast.kernel.contracts import Command, Person, Reply, Request
from holdfast.kernel.machine import Machine
from holdfast.kernel.notices import Notices, NoticesAfter

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


def commands(department: str) -> st.SearchStrategy[Command]:
    """What a secretary of the department may write; changes and cancels its first requests, seldom another's."""
    departments = st.sampled_from([department] * 9 + ["biology"])
    ids = st.builds("{}-{}".format, departments, st.integers(1, 3))
    reserve = wishes().map(lambda wish: Reserve(*wish[0], "Budget", wish[1]))
    change = st.tuples(ids, wishes()).map(lambda drawn: Change(drawn[0], *drawn[1][0], drawn[1][1]))
    return st.one_of(reserve, reserve, change, st.builds(Cancel, ids))


Said = tuple[Person, Command, int, bool]
SMALL = {"rooms": ROOMS, "opens": 8, "closes": 12}


@st.composite
def writes(draw: st.DrawFn) -> Said:
    """What one secretary writes: (who, what, stamp after `NOW`, late)."""
    person = draw(st.sampled_from(PEOPLE))
    return person, draw(commands(person.department)), draw(st.integers(0, 40)), draw(st.booleans())


def stories(most: int = 30) -> st.SearchStrategy[list[Said]]:
    """What several secretaries write, in order."""
    return st.lists(writes(), max_size=most)


def random_story(seed: int, length: int = 60) -> list[Said]:
    """A long story, where hypothesis likes short ones: most changes and cancellations mean something."""
    source = random.Random(seed)
    counts = dict.fromkeys((person.department for person in PEOPLE), 0)
    story: list[Said] = []
    stamps: set[tuple[str, int]] = set()  # a replica gives each only once
    for ms in range(0, 10 * length, 10):
        person = source.choice(PEOPLE)
        department = person.department if source.random() < 0.95 else source.choice(PEOPLE).department
        target = f"{department}-{source.randint(1, max(1, counts[department]))}"
        counts[person.department] += 1
        hours = source.choice((1, 1, 1, 2, 3))
        choices = [
            (source.choice(ROOMS), source.choice(DAYS), f"{source.randint(8, 12 - hours):02}:00") for _ in range(4)
        ]
        others = tuple("@".join(place) for place in choices[1 : source.randint(1, 4)])
        wanted = (*choices[0], f"{hours}h")
        command: Command = source.choice(
            (Reserve(*wanted, "Budget", others), Change(target, *wanted, others), Cancel(target))
        )
        is_late = source.random() < 0.3
        stamped = source.randrange(0, ms + 1, 10) if is_late else ms - source.choice((0, 0, 10, 20))
        while (person.department, stamped) in stamps:
            stamped += 1
        stamps.add((person.department, stamped))
        story.append((person, command, stamped, is_late))
    return story
