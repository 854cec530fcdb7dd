"""What a source of notices is tried with: an app, what people ask of it, and a model of whom it tells what."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.kernel.contracts import App, Person
from holdfast.sim.bayou.workloads import Undated

if TYPE_CHECKING:
    from holdfast.sim.bayou.workloads import Executed


class Model(Protocol):
    """Whom an app tells what, one command after the other, by code that shares nothing with it."""

    told: list[tuple[str, str]]
    """(to whom, what), from the beginning."""

    def do(self, who: str, command: Any) -> None:
        """One command."""

    def compare(self, store: Any) -> None:
        """Raise `Violation` if the app's store says something else."""


class SourceWork(Undated, ABC):
    """The app with its people, as the offices' judge wants it. `register`: what was told, as the judge found it."""

    model: type[Model]

    def __init__(self, source: random.Random, people: Sequence[Person]) -> None:
        self.source = source
        self.staff = list(people)
        self.register = self.model()

    @abstractmethod
    def app(self) -> App:
        """A new instance for a new process."""

    @abstractmethod
    def draw(self, person: Person, now_ms: int) -> tuple[Any, bool]:
        """What somebody does next, and whether it is a query."""

    def people(self, count: int) -> list[Person]:
        """So many of them."""
        return self.staff[:count]

    def check(self, person: Person, command: Any, reply: Any, view: str) -> None:
        """What an answer says by itself is never wrong."""

    def judge(self, order: Sequence[Executed], store: Any) -> None:
        """Note what was told."""
        for done in order:
            if isinstance(done.request.command, self.app().commands) and not done.repeated:
                assert done.request.person is not None
                self.register.do(done.request.person.id, done.request.command)
        self.register.compare(store)

    def contested(self, order: Sequence[Executed]) -> tuple[int, int]:
        """Nothing is counted."""
        return 0, 0
