"""What the secretaries ask of each app, and what the final order must have made of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, Union

import msgspec

from holdfast.apps.tickets import Tickets
from holdfast.kernel.contracts import App, Context, Person, Request
from holdfast.sim.audit import Violation
from holdfast.sim.bayou.rooms import FIRST_NAMES, RoomsWork
from holdfast.sim.linearizability import SequentialModel
from holdfast.sim.theatre import QUESTIONS, Crowd, Theatre, check_list
from holdfast.sim.workloads import KeyValueWorkload


class Executed(msgspec.Struct, frozen=True):
    """One write in the final order. `late`: it stands behind one with a later stamp. `repeated`: its request
    was executed before, under another id. `reply`: what the app said to it, executed in this order alone."""

    id: str
    stamp: tuple[int, str, str]
    late: bool
    request: Request
    repeated: bool
    reply: Any


class OfficeWork(Protocol):
    """One app with sizes drawn for one run."""

    def app(self) -> App:
        """A new instance for a new process."""

    def wanted_ms(self, command: Any) -> int | None:
        """By when the outcome of a command must be final because of what it is about, by what is required of the
        app; None if that says nothing. Unix milliseconds."""

    def clock_text(self, ms: int) -> str:
        """How the app's people read a time, given in Unix milliseconds."""

    def people(self, count: int) -> list[Person]:
        """So many secretaries, one for each office."""

    def draw(self, person: Person, now_ms: int) -> tuple[Any, bool]:
        """What she does next, and whether it is a query."""

    def check(self, person: Person, command: Any, reply: Any, view: str) -> None:
        """Raise `Violation` if an answer is wrong in itself. `view`: what a query has read."""

    def judge(self, order: Sequence[Executed], store: Any) -> None:
        """Raise `Violation` if the final order did not make this of it."""

    def contested(self, order: Sequence[Executed]) -> tuple[int, int]:
        """How many places were wanted by several, and how many of them the earliest entry did not get."""


class Undated:
    """An app whose commands are about no time of their own; its people read UTC."""

    def wanted_ms(self, command: Any) -> int | None:
        """See `OfficeWork`."""
        return None

    def clock_text(self, ms: int) -> str:
        """See `OfficeWork`."""
        return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%d %H:%M} UTC"


class ModelledWork(Undated):
    """An app of which a sequential model tells everything, whoever asks."""

    model: SequentialModel

    def people(self, count: int) -> list[Person]:
        return [Person(f"seller{number}", FIRST_NAMES[number]) for number in range(count)]

    def judge(self, order: Sequence[Executed], store: Any) -> None:
        state = self.model.initial()
        for done in order:
            if done.repeated:
                continue
            word, *arguments = msgspec.to_builtins(done.request.command)
            action = (word, *(tuple(value) if isinstance(value, list) else value for value in arguments))
            state, text = self.model.apply(state, action)
            if done.reply.text() != text:
                raise Violation(
                    "model", f"{done.id} {action} was answered {done.reply.text()!r}, the model says {text!r}"
                )
        self.judge_end(state, store)

    def judge_end(self, state: Hashable, store: Any) -> None:
        """Raise `Violation` if the store is not in this state of the model. The answers tell of a theatre's."""

    def contested(self, order: Sequence[Executed]) -> tuple[int, int]:
        return 0, 0


class BoxOfficeWork(ModelledWork):
    """A theatre whose box offices sell alone: seats are tentative until they are confirmed."""

    def __init__(self, source: random.Random) -> None:
        self.seats = source.randint(2, 8)
        self.model = Theatre(self.seats)
        self.crowd = Crowd(source, self.seats, source.randint(2, 5))
        self._convert = Union[(*Tickets.commands, *Tickets.queries)]

    def app(self) -> App:
        return Tickets(self.seats)

    def draw(self, person: Person, now_ms: int) -> tuple[Any, bool]:
        action = self.crowd.draw()
        return msgspec.convert(action, self._convert), action[0] in QUESTIONS

    def check(self, person: Person, command: Any, reply: Any, view: str) -> None:
        if type(reply).__name__ == "ReservationList":
            check_list(reply.text())


class StateWork(ModelledWork):
    """A state store that everybody writes, for all users."""

    def __init__(self, source: random.Random) -> None:
        self.work = KeyValueWorkload(source)
        self.model = self.work.model

    def app(self) -> App:
        return self.work.app()

    def draw(self, person: Person, now_ms: int) -> tuple[Any, bool]:
        return self.work.command(self.work.draw())

    def check(self, person: Person, command: Any, reply: Any, view: str) -> None:
        """What an answer says by itself is never wrong."""

    def judge_end(self, state: Hashable, store: Any) -> None:
        for question in self.work.final_questions():
            query, _ = self.work.command(question)
            told, expected = self.app().answer(store, query, Context()).text(), self.model.apply(state, question)[1]
            if told != expected:
                raise Violation("model", f"{question} is answered {told!r} at the end, the model says {expected!r}")


OFFICES: dict[str, Callable[[random.Random], OfficeWork]] = {
    "rooms": RoomsWork,
    "tickets": BoxOfficeWork,
    "keyvalue": StateWork,
}
"""By the app's name, the default first."""
