"""What each app is tried with: how to build it, what random clients ask of it, the model that judges the answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol, Union

import msgspec

from holdfast.apps.tickets import Tickets
from holdfast.kernel.contracts import App
from holdfast.sim.history import Action
from holdfast.sim.linearizability import SequentialModel
from holdfast.sim.theatre import QUESTIONS, Crowd, Theatre, check_list


class Workload(Protocol):
    """One app with sizes drawn for one run."""

    model: SequentialModel

    def app(self) -> App:
        """A new instance for a new process."""

    def draw(self) -> Action:
        """What some client does next."""

    def command(self, action: Action) -> tuple[Any, bool]:
        """The command or query that carries `action`, and whether it is a query."""

    def final_questions(self) -> tuple[Action, ...]:
        """What every server is asked at the end."""

    def check_answer(self, action: Action, text: str) -> None:
        """Raise `Violation` if an answer is wrong in itself, whatever came before it."""


class TicketsWorkload:
    """A small theatre with a crowd before it."""

    def __init__(self, source: random.Random) -> None:
        self.seats = source.randint(2, 7)
        self.model: SequentialModel = Theatre(self.seats)
        self.crowd = Crowd(source, self.seats, source.randint(2, 5))
        self._convert = Union[(*Tickets.commands, *Tickets.queries)]

    def app(self) -> App:
        return Tickets(self.seats)

    def draw(self) -> Action:
        return self.crowd.draw()

    def command(self, action: Action) -> tuple[Any, bool]:
        return msgspec.convert(action, self._convert), action[0] in QUESTIONS

    def final_questions(self) -> tuple[Action, ...]:
        return (("list",), ("seats",))

    def check_answer(self, action: Action, text: str) -> None:
        if action[0] == "list":
            check_list(text)


WORKLOADS: dict[str, Callable[[random.Random], Workload]] = {"tickets": TicketsWorkload}
"""By the app's name."""
