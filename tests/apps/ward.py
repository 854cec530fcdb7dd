"""A hospital for tests: messages on a machine, people who write, and what those who watch are told."""

from __future__ import annotations

from typing import Any

from holdfast.apps.messages import Messages, Seen, Sent, Shown, Since
from holdfast.kernel.contracts import Change, Command, Person, Query, Reply, Request
from holdfast.kernel.machine import Advance, Machine
from holdfast.server.grammar import Grammar

NINE = 1_796_115_600_000
"""2026-12-01 09:00 UTC"""
GRAMMAR = Grammar(Messages.commands, Messages.queries)

ALICE = Person("alice", "Alice", ("doctor",), "cardiology", "ward 3")
BOB = Person("bob", "Bob", ("nurse",), "cardiology", "ward 3")
CARLA = Person("carla", "Carla", ("nurse",), "surgery", "theatre")
DAVE = Person("dave", "Dave", ("doctor",), "surgery", "theatre")
EVE = Person("eve", "Eve", ("nurse",), "emergency", "")
ROOT = Person("root", "Root", ("administrator",))
VERA = Person("vera", "Vera", ("auditor",))
PEOPLE = (ALICE, BOB, CARLA, DAVE, EVE, ROOT, VERA)


class Ward:
    """Messages whose time is 2026-12-01 09:00 UTC and some seconds. `told`: what has been told since `hear`."""

    def __init__(self, people: tuple[Person, ...] = PEOPLE, **options: Any) -> None:
        self.app = Messages(people, **options)
        self.machine = Machine(self.app)
        self.batch = 0
        self.at(0)

    @property
    def store(self) -> Any:
        return self.machine.store

    def execute(self, *requests: Request) -> list[Reply]:
        self.batch += 1
        return self.machine.execute(requests, (self.batch, 0))

    def at(self, seconds: float) -> None:
        """Let the replicated time be so many seconds after nine."""
        self.execute(Request(Advance(NINE + round(seconds * 1000))))

    def do(self, person: Person | None, command: Command) -> Any:
        """Execute it, past the door."""
        return self.execute(Request(command, person=person))[0]

    def ask(self, person: Person | None, query: Query) -> Any:
        return self.machine.answer(Request(query, person=person))

    def says(self, person: Person | None, line: str) -> str:
        """What the person reads who writes this line."""
        return str(self.answers(person, line).text())

    def answers(self, person: Person | None, line: str) -> Any:
        """The reply to a line: from the grammar, from the door, or from the app."""
        made = GRAMMAR.parse(line.encode(), person)
        if not isinstance(made, Request):
            return made
        if isinstance(made.command, Query):
            return self.machine.answer(made)
        refused = self.machine.admit(made, self.machine.now_ms)
        return refused if refused is not None else self.execute(made)[0]

    def send(self, person: Person, to: str, text: str = "hello", options: str = "") -> Sent:
        reply = self.answers(person, f"send {options} {to} {text}")
        assert isinstance(reply, Sent), reply.text()
        return reply

    def inbox(self, person: Person) -> list[tuple[int, str, str]]:
        """(number, sender, text) of what has come, as a device fetches it, the newest first."""
        reply = self.answers(person, "since")
        assert isinstance(reply, Since)
        assert not reply.more
        return [(item.number, item.sender, item.content) for item in reversed(reply.items)]

    def see(self, person: Person) -> None:
        """The person sees everything that lies in their inbox."""
        more, after = True, 0
        while more:
            since = self.answers(person, f"since {after}")
            numbers, more = tuple(item.number for item in since.items), since.more
            if numbers:
                assert self.do(person, Seen(numbers)) == Shown(numbers, ())
                after = numbers[-1]

    def unread(self, person: Person) -> tuple[int, dict[str, int]]:
        reply = self.answers(person, "unread")
        return reply.total, dict(reply.conversations)

    def hear(self) -> list[Change]:
        """What was told since the last time."""
        return self.machine.take_told()

    def heard(self) -> list[tuple[str, Reply]]:
        return [(change.person, change.reply) for change in self.hear()]
