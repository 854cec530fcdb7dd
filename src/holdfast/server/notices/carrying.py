"""One service's notices at one node: the forwarder decides, this does it and tells it what came of it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from holdfast.kernel.contracts import Reply, Request
from holdfast.kernel.forwarding import Action, Forwarder, Own
from holdfast.kernel.notices import OutboxAfter, OutboxRows, TakeNotices, TakenUpto
from holdfast.kernel.replies import Outcome
from holdfast.server.asking import answer_of
from holdfast.server.face import Service

PEEK_US = 2_000_000
"""So often a node without a state of the service asks what there is."""

logger = logging.getLogger(__name__)

Put = Callable[[int, TakeNotices | TakenUpto], Awaitable[Reply | None]]


class Carrier:
    """Made in a running loop. `replica`: the service's, here. `put(receiver, command)`: the answer of a node of the
    receiving service, None if none came. `outbox_first()`: the number of the first notice in the outbox here; None in
    its place where this node has no state of the service, and must ask. `spawn` runs a coroutine. `clock_us`: the time.
    """

    def __init__(
        self,
        forwarder: Forwarder,
        replica: Service,
        put: Put,
        outbox_first: Callable[[], int | None] | None,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        clock_us: Callable[[], int],
        deadline_s: float,
    ) -> None:
        self.forwarder = forwarder
        self._replica = replica
        self._put = put
        self._outbox_first = outbox_first
        self._spawn = spawn
        self._clock_us = clock_us
        self._deadline_s = deadline_s
        self._peeked: int | None = None
        self._peeked_us: int | None = None

    def look(self) -> None:
        """Do what is to be done now."""
        self._do(self.forwarder.look(self._clock_us(), self._first()))

    def _first(self) -> int | None:
        if self._outbox_first is not None:
            return self._outbox_first()
        now_us = self._clock_us()
        if self._peeked_us is None or now_us - self._peeked_us >= PEEK_US:
            self._peeked_us = now_us
            self._spawn(self._peek())
        return self._peeked

    async def _peek(self) -> None:
        reply = await self._own(OutboxAfter(0))
        reply = reply.reply if isinstance(reply, Outcome) else reply
        if isinstance(reply, OutboxRows):
            self._peeked = reply.first if reply.notices else None

    def _do(self, actions: list[Action]) -> None:
        forwarder = self.forwarder
        for event in forwarder.events:
            logger.info("%s", event)
        forwarder.events.clear()
        for action in actions:
            self._spawn(self._carry_out(action))

    async def _carry_out(self, action: Action) -> None:
        if isinstance(action, Own):
            reply: Reply | None = await self._own(action.command)
        else:
            reply = await self._put(action.receiver, action.command)
        actions = self.forwarder.answered(self._clock_us(), action.id, reply)
        self._do(actions)
        if not actions:
            self.look()  # there may be more

    async def _own(self, command: Any) -> Reply:
        return await answer_of(self._replica, Request(command), self._deadline_s)
