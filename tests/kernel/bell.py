"""A small app that uses everything a machine offers: it counts, rings, knows who asks and what time it is."""

from __future__ import annotations

from typing import Any

from holdfast.kernel.contracts import Command, Context, Person, Query, Refusal, Reply, Request
from holdfast.kernel.machine import Advance, Machine
from holdfast.kernel.stamps import utc_text
from holdfast.kernel.store import Row, TupleStore


class Tally(Row, frozen=True):
    table = "tally"
    key = ("id",)

    id: int
    count: int


class Ring(Command, frozen=True, tag="ring"):
    """Count one more and tell somebody."""

    to: str


class Fail(Command, frozen=True, tag="fail"):
    """Be refused; what was done before is counted."""


class Look(Query, frozen=True, tag="look"):
    """What the context says."""


class Rung(Reply, frozen=True, tag="rung"):
    count: int

    def text(self) -> str:
        return f"Rung {self.count} times."


class Seen(Reply, frozen=True, tag="seen"):
    now_ms: int
    person: str
    client: str
    stamp: tuple[int, int]
    count: int

    def text(self) -> str:
        return f"{self.count}"


class Broken(Refusal, frozen=True, tag="broken"):
    count: int

    def text(self) -> str:
        return "Failed: the bell is broken."


class Bell:
    """Every command counts, refused or not, so that a second execution shows."""

    name = "bell"
    rows = (Tally,)
    commands = (Ring, Fail)
    queries = (Look,)
    replies = (Rung, Seen, Broken)

    def create(self, store: TupleStore) -> None:
        store.table(Tally).put(Tally(0, 0))

    def check(self, store: TupleStore) -> str | None:
        return None

    def admit(self, command: Any, person: Person | None, now_ms: int) -> Refusal | None:
        return None

    def firm_by_ms(self, command: Any) -> int | None:
        return None

    def time_text(self, ms: int) -> str:
        """UTC."""
        return utc_text(ms)

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        tally = store.table(Tally)
        count = tally.get(0).count + 1
        tally.put(Tally(0, count))
        if type(command) is Fail:
            return Broken(count)
        if command.to:
            who = f"for {context.person.id if context.person else 'nobody'} by {context.client or 'nobody'}"
            context.notify(command.to, f"rung {count} {who} at {context.now_ms} under {context.stamp[0]}")
        return Rung(count)

    def answer(self, store: TupleStore, query: Any, context: Context) -> Reply:
        person = context.person.id if context.person else ""
        return Seen(context.now_ms, person, context.client, context.stamp, store.table(Tally).get(0).count)


def ring(client: str = "", number: int = 0, lowest: int = 0, to: str = "") -> Request:
    """A request to ring."""
    return Request(Ring(to), client, number, lowest)


class Bells:
    """A machine and the stamps of its batches, one after the other."""

    def __init__(self) -> None:
        self.machine = Machine(Bell())
        self.time = 0

    def do(self, *requests: Request) -> list[Reply]:
        """One batch; as every replica reads it, from its bytes."""
        self.time += 1
        return self.machine.execute(self.machine.decode(self.machine.encode(requests)), (self.time, 0))

    def one(self, request: Request) -> Reply:
        """One request in a batch of its own."""
        return self.do(request)[0]

    def advance(self, now_ms: int) -> Reply:
        """Move the replicated time."""
        return self.one(Request(Advance(now_ms)))

    @property
    def count(self) -> int:
        """How often anything was executed."""
        return self.look().count

    def look(self) -> Seen:
        """What a query sees."""
        seen = self.machine.answer(Request(Look()))
        assert isinstance(seen, Seen)
        return seen
