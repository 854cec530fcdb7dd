"""Random clients: they pick any server, give it a time, go to another one, and keep their request numbers.

All they see goes into the history. A question without an answer is asked anew; a change without an
answer is sent again under its number until it is answered, or given up and left unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.kernel.contracts import Person, Reply, Request
from holdfast.kernel.replies import Expired, Forgotten, Overloaded, Unavailable, Unknown
from holdfast.sim.audit import Audit, Violation
from holdfast.sim.history import Action, History, Operation
from holdfast.sim.host import Attempt, Host
from holdfast.sim.trace import render
from holdfast.sim.world import Event, World


class ClientOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Times in microseconds. `anonymous`: share of requests without a number; `patience`: chance to go on
    with a number whose outcome is still unknown after an attempt."""

    operations: int = 10
    lanes: int = 1
    timeout_us_min: int = 300_000
    timeout_us_max: int = 2_000_000
    think_us_max: int = 150_000
    delay_us_max: int = 300
    anonymous: float = 0.05
    patience: float = 0.9


class Errand:
    """One action a client wants done, over as many attempts as it takes."""

    __slots__ = (
        "action", "attempt", "command", "done", "history", "is_query", "number", "operation", "target", "uncertain",
    )  # fmt: skip

    def __init__(
        self, history: History, action: Action, command: Any, is_query: bool, number: int, target: int | None
    ) -> None:
        self.history = history
        self.action = action
        self.command = command
        self.is_query = is_query
        self.number = number
        self.target = target
        self.operation: Operation | None = None
        self.uncertain = False
        self.attempt: ClientAttempt | None = None
        self.done: Callable[[], None] | None = None


class ClientAttempt(Attempt):
    """One sending of an errand's request."""

    __slots__ = ("client", "errand", "host", "request", "timer")

    def __init__(self, client: Client, errand: Errand, host: Host, request: Request) -> None:
        self.client = client
        self.errand = errand
        self.host = host
        self.request = request
        self.timer: Event | None = None

    def answered(self, reply: Reply) -> None:
        self.client.later(self.client.reply_arrives, self, reply)

    def disconnected(self) -> None:
        self.client.later(self.client.attempt_failed, self, "disconnected", True)


class Client:
    """A closed loop of errands in a few lanes, all under one client id."""

    def __init__(
        self,
        name: str,
        world: World,
        hosts: list[Host],
        history: History,
        audit: Audit,
        options: ClientOptions,
        draw: Callable[[], tuple[Action, Any, bool]],
        person: Callable[[Action], Person | None],
    ) -> None:
        self.name = name
        self.world = world
        self.hosts = hosts
        self.history = history
        self.audit = audit
        self.options = options
        self.draw = draw
        self.person = person
        self.left = options.operations
        self.number = 0
        self.open: dict[int, None] = {}
        self.busy = 0
        self.lowest_declared = 0
        self.stubborn = False
        self.last_answered: Errand | None = None

    # ---- errands ----

    def begin(self) -> None:
        """Start every lane at a random moment."""
        for _ in range(self.options.lanes):
            self.world.after(self.world.between(0, self.options.think_us_max), self._next)

    @property
    def finished(self) -> bool:
        """Nothing is left to do or to wait for."""
        return self.left == 0 and self.busy == 0

    def _next(self) -> None:
        if self.left == 0:
            return
        self.left -= 1
        action, command, is_query = self.draw()
        self.run(action, command, is_query, then=self._think)

    def _think(self) -> None:
        self.world.after(self.world.between(0, self.options.think_us_max), self._next)

    def run(
        self,
        action: Action,
        command: Any,
        is_query: bool,
        target: int | None = None,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Do `action`, at host `target` only if that is given, then call `then`."""
        number = 0
        if not is_query and not self.world.chance(self.options.anonymous):
            self.number += 1
            number = self.number
            self.open[number] = None
        errand = Errand(self.history, action, command, is_query, number, target)
        errand.done = then
        self.busy += 1
        self._attempt(errand)

    def _attempt(self, errand: Errand) -> None:
        if errand.operation is None:
            errand.operation = errand.history.invoke(self.world.now_us, self.name, errand.action)
        index = errand.target if errand.target is not None else self.world.between(0, len(self.hosts) - 1)
        attempt = ClientAttempt(self, errand, self.hosts[index], self._request(errand))
        errand.attempt = attempt
        attempt.timer = self.world.after(
            self.world.between(self.options.timeout_us_min, self.options.timeout_us_max),
            self.attempt_failed, attempt, "timeout", True,
        )  # fmt: skip
        self.later(self._reaches_host, attempt)

    def later(self, action: Callable[..., None], *arguments: Any) -> None:
        """After a delay on the way between client and server."""
        self.world.after(self.world.between(20, self.options.delay_us_max), action, *arguments)

    def _request(self, errand: Errand) -> Request:
        person = self.person(errand.action)
        if not errand.number:
            return Request(errand.command, person=person)
        lowest = min(self.open)
        self.lowest_declared = max(self.lowest_declared, lowest)
        return Request(errand.command, self.name, errand.number, lowest, person)

    def _reaches_host(self, attempt: ClientAttempt) -> None:
        if attempt.host.alive:
            attempt.host.request(attempt, attempt.request, attempt.errand.is_query)
        else:
            self.later(self.attempt_failed, attempt, "refused", False)

    # ---- answers ----

    def reply_arrives(self, attempt: ClientAttempt, reply: Reply) -> None:
        """A reply reached this client; a late one only helps to check."""
        errand = attempt.errand
        if self.world.tracing:
            self.world.note(f"{self.name}:{errand.number} <- {attempt.host.name} {render(reply)}")
        final = not isinstance(reply, Unavailable | Overloaded | Unknown | Forgotten | Expired)
        if final and errand.number:
            self.audit.answer(self.name, errand.number, reply.text())
        if errand.attempt is not attempt:
            return
        if isinstance(reply, Forgotten | Expired):
            raise Violation("exactly once", f"{self.name} still waits for {errand.number}, but is told: {reply.text()}")
        if final:
            self._settle(errand, reply.text())
        else:
            self.attempt_failed(attempt, type(reply).__name__.lower(), isinstance(reply, Unknown))

    def _settle(self, errand: Errand, text: str | None) -> None:
        assert errand.operation is not None
        assert errand.attempt is not None
        if errand.attempt.timer is not None:
            errand.attempt.timer.cancel()
        if text is not None:
            errand.history.respond(self.world.now_us, errand.operation, text)
            if errand.number:
                self.last_answered = errand
        elif not errand.uncertain:
            errand.history.drop(errand.operation)
        errand.attempt = None
        self.open.pop(errand.number, None)
        self.busy -= 1
        if errand.done is not None:
            errand.done()

    def attempt_failed(self, attempt: ClientAttempt, why: str, uncertain: bool) -> None:
        """No answer from this attempt. `uncertain`: it may have been executed, or may yet be."""
        errand = attempt.errand
        if errand.attempt is not attempt:
            return
        assert errand.operation is not None
        if self.world.tracing:
            self.world.note(f"{self.name}:{errand.number} no answer from {attempt.host.name}: {why}")
        if attempt.timer is not None:
            attempt.timer.cancel()
        if errand.is_query:
            errand.history.drop(errand.operation)
            errand.operation = None
        else:
            errand.uncertain = errand.uncertain or uncertain
            if self._gives_up(errand):
                self._settle(errand, None)
                return
            if not errand.number and not errand.uncertain:
                errand.history.drop(errand.operation)
                errand.operation = None
        errand.attempt = None
        self.world.after(self.world.between(1_000, 100_000), self._attempt, errand)

    def _gives_up(self, errand: Errand) -> bool:
        if errand.uncertain and not errand.number:
            return True
        return not self.stubborn and not self.world.chance(self.options.patience)

    # ---- the end of a run ----

    def persist(self) -> None:
        """From now on give nothing up (the liveness phase)."""
        self.stubborn = True

    def repeat(self) -> None:
        """Send the last answered request once more, to any server: its answer must be the first one again."""
        first = self.last_answered
        if first is None or first.number < self.lowest_declared:
            return
        self.open[first.number] = None
        self.busy += 1
        self._attempt(Errand(History(), first.action, first.command, False, first.number, None))
