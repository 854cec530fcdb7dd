"""Notices that other nodes bring to the replica here of the service that delivers them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from holdfast.kernel.contracts import Request
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.replies import Overloaded
from holdfast.server.asking import answer_of
from holdfast.server.face import Service
from holdfast.server.notices.messages import Answered, Carried

UNDER_WAY_MAX = 200
"""Questions of other nodes that may wait for the replica."""


class Receiver:
    """`may_bring(node, source)`: whether the node has a replica of that service, and it is not this very one.
    `tell(node, message)` sends, and may lose it. `spawn` runs a coroutine."""

    def __init__(
        self,
        replica: Service,
        may_bring: Callable[[str, str], bool],
        tell: Callable[[str, Answered], object],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        deadline_s: float,
    ) -> None:
        self._replica = replica
        self._may_bring = may_bring
        self._tell = tell
        self._spawn = spawn
        self._deadline_s = deadline_s
        self._under_way: dict[tuple[str, int], None] = {}

    def take(self, node: str, message: Carried) -> None:
        """A question of another node. Raises `MalformedInput` where it is none of its business."""
        if not self._may_bring(node, message.command.source):
            raise MalformedInput(f"node {node} brings notices of {message.command.source!r}, which is not served there")
        if (node, message.id) in self._under_way:
            return  # asked again because the answer takes long
        if len(self._under_way) >= UNDER_WAY_MAX:
            self._tell(node, Answered.to(message.id, Overloaded(UNDER_WAY_MAX)))
            return
        self._under_way[node, message.id] = None
        self._spawn(self._serve(node, message))

    async def _serve(self, node: str, message: Carried) -> None:
        try:
            reply = await answer_of(self._replica, Request(message.command), self._deadline_s)
        finally:
            del self._under_way[node, message.id]
        self._tell(node, Answered.to(message.id, reply))
