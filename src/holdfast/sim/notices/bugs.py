"""Planted bugs in the carrying of notices: each breaks one law in one small place, to prove that it is found.

Nothing here is in the product. A bug is another forwarder, or bends the core of every process of one side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.kernel import notices
from holdfast.kernel.contracts import Reply
from holdfast.kernel.forwarding import Action, Carry, Forwarder
from holdfast.kernel.notices import DropNotices, OutboxAfter, OutboxRows, Source, TakeNotices
from holdfast.kernel.replies import Outcome
from holdfast.sim.host import machine_of


def _nothing(_core: Any) -> None:
    """The bug is elsewhere, or nowhere."""


class Bug(msgspec.Struct, frozen=True):
    """How it is planted. `source`, `receiver`: bend each core of that side."""

    forwarder: type[Forwarder] = Forwarder
    source: Callable[[Any], None] = _nothing
    receiver: Callable[[Any], None] = _nothing


# ---- the receiver ----


def _taken_twice(core: Any) -> None:
    """Takes whatever comes, whether it was in or not."""
    machine = machine_of(core)
    take = machine._own[TakeNotices]

    def bent(command: TakeNotices) -> Reply:
        machine.store.table(Source).delete(command.source)
        return take(command)

    machine._own[TakeNotices] = bent


def _source_forgotten(core: Any) -> None:
    """Keeps the numbers in memory: a process that has just started takes anything for new."""
    machine, memory = machine_of(core), dict[str, Source]()

    def bent(command: TakeNotices) -> Reply:
        table = machine.store.table(Source)
        table.delete(command.source)
        if command.source in memory:
            table.put(memory[command.source])
        reply = notices.take(machine.store, command, machine.app, machine._context)
        known = table.get(command.source)
        if known is not None:
            memory[command.source] = known
        return reply

    machine._own[TakeNotices] = bent
    recover = core.recover

    def recovered(*arguments: Any) -> Any:
        step = recover(*arguments)
        memory.clear()
        return step

    setattr(core, "recover", recovered)  # noqa: B010 (a method of one instance)


# ---- the source ----


def _tentative_out(core: Any) -> None:
    """Shows the outbox as it stands, final or not."""
    ask = core.ask

    def bent(now_us: int, queries: Any) -> Any:
        others = [(token, request) for token, request in queries if type(request.command) is not OutboxAfter]
        step = ask(now_us, others)
        for token, request in queries:
            if type(request.command) is OutboxAfter:
                step.replies.append((token, Outcome(machine_of(core).answer(request), "committed")))
        return step

    setattr(core, "ask", bent)  # noqa: B010


def _dropped_too_far(core: Any) -> None:
    """Removes one more than has arrived."""
    machine = machine_of(core)
    drop = machine._own[DropNotices]
    machine._own[DropNotices] = lambda command: drop(DropNotices(command.upto + 1))


# ---- forwarders ----


class DropsAtOnce(Forwarder):
    """Removes from the outbox what it has sent, whatever becomes of it."""

    def _hand_over(self, now_us: int) -> list[Action]:
        actions = super()._hand_over(now_us)
        (carried,) = actions
        assert isinstance(carried, Carry)
        self._own(now_us, self._state, DropNotices(self._last))
        return [carried, *self._arrive(now_us)]


class TakesItForFinal(Forwarder):
    """Removes from the outbox what the receiver has taken, though its answer may still change."""

    def _told(self, now_us: int, reply: Reply | None, firm: str) -> list[Action]:
        return super()._told(now_us, reply, "committed")


class SkipsTheFirst(Forwarder):
    """Hands over the newest ones first."""

    def _hand_over(self, now_us: int) -> list[Action]:
        rows = self._page
        if len(rows.notices) > 1:
            self._rows = OutboxRows(rows.since_ms, rows.first + 1, rows.notices[1:])
        return super()._hand_over(now_us)


class GivesUp(Forwarder):
    """Tries once."""

    def _failed(self, now_us: int, why: str) -> list[Action]:
        actions = super()._failed(now_us, why)
        self._not_before_us = self.wake_us = 1 << 62
        return actions


BUGS: dict[str, Bug] = {
    "taken-twice": Bug(receiver=_taken_twice),
    "source-forgotten": Bug(receiver=_source_forgotten),
    "tentative-out": Bug(source=_tentative_out),
    "dropped-too-far": Bug(source=_dropped_too_far),
    "drops-at-once": Bug(forwarder=DropsAtOnce),
    "takes-it-for-final": Bug(forwarder=TakesItForFinal),
    "skips-the-first": Bug(forwarder=SkipsTheFirst),
    "gives-up": Bug(forwarder=GivesUp),
}
"""By name."""

NO_BUG = Bug()
