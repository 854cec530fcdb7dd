"""People who ask a service for things, whatever its protocol: under one number until they have an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.kernel.contracts import Person, Reply, Request
from holdfast.kernel.replies import Behind, Expired, Forgotten, Outcome, Overloaded, Unavailable, Unknown
from holdfast.sim.audit import Violation
from holdfast.sim.bayou.office import OfficeAttempt
from holdfast.sim.host import WALL_MS, Host
from holdfast.sim.trace import render
from holdfast.sim.world import World


class Put(OfficeAttempt):
    """Something is put to a host; `then(reply)`, with None where the host is gone."""

    def __init__(self, then: Callable[[Reply | None], object]) -> None:
        self.then = then

    def answered(self, reply: Reply) -> None:
        self.then(reply)

    def disconnected(self) -> None:
        self.then(None)


class Visitor:
    """One person with a client id. `draw(person)`: the next command and whether it is a question. `answered`: by
    number, what they were told."""

    def __init__(
        self, person: Person, world: World, hosts: list[Host], errands: int, think_us_max: int,
        draw: Callable[[Person], tuple[Any, bool]],
    ) -> None:  # fmt: skip
        self.person = person
        self.name = f"{person.id}.{WALL_MS}"
        self.world = world
        self.hosts = hosts
        self.left = errands
        self.think_us_max = think_us_max
        self.draw = draw
        self.number = 0
        self.answered: dict[int, Reply] = {}
        self._answered_upto = 0
        self._life = 0
        self._tries = 0

    def begin(self) -> None:
        """Do the next thing soon."""
        self.world.after(self.world.between(0, self.think_us_max), self._next)

    @property
    def finished(self) -> bool:
        """Nothing is left to do or to wait for."""
        return self.left == 0

    def _next(self) -> None:
        if self.left:
            command, is_query = self.draw(self.person)
            if is_query:
                self.left -= 1
                self.begin()
                return
            self.number += 1
            self._try(command, self.number)

    def _try(self, command: Any, number: int) -> None:
        if number <= self._answered_upto:
            return
        self._tries += 1
        attempt = self._tries
        host = self.world.random.choice(self.hosts)
        request = Request(command, self.name, number, number, self.person)
        if host.alive:
            life = self._life

            def heard(reply: Reply | None) -> None:
                self.world.after(self.world.between(20, 2_000), self._heard, command, number, reply, life)

            put = Put(heard)
            self.world.after(self.world.between(20, 2_000), _reach, host, put, request)
        self.world.after(self.world.between(300_000, 2_000_000), self._again, command, number, attempt)

    def _again(self, command: Any, number: int, attempt: int) -> None:
        if attempt == self._tries:
            self._try(command, number)

    def forget(self) -> None:
        """The service is begun anew: what it has said counts for nothing any more."""
        self.answered.clear()
        self._life += 1

    def _heard(self, command: Any, number: int, reply: Reply | None, life: int) -> None:
        inner = reply.reply if isinstance(reply, Outcome) else reply
        if (
            inner is None
            or isinstance(inner, Unavailable | Overloaded | Unknown | Behind)
            or number <= self._answered_upto
        ):
            return
        if self.world.tracing:
            self.world.note(f"{self.name}:{number} <- {render(inner)}")
        if isinstance(inner, Forgotten | Expired):
            raise Violation("exactly once", f"{self.name} waits for {number}, and is told {inner.text()}")
        self._answered_upto = number
        if life == self._life:
            self.answered[number] = inner
        self.left -= 1
        self.begin()


def _reach(host: Host, put: Put, request: Request) -> None:
    if host.alive:
        host.request(put, request, False)
