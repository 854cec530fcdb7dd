"""Questions to other nodes by datagram: sent again until they are answered, or nobody is there any more."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import msgspec

RESEND_S = 0.1
"""After how long without an answer a question is sent again, at first; each time after twice as long."""


class Message(msgspec.Struct, frozen=True, array_like=True):
    """Base of questions and answers. `id`: of the question, chosen by who asks; the answer has the same."""

    id: int


class Calls:
    """The open questions of one node. Made in a running loop. `send(node, message)` may lose it."""

    def __init__(self, send: Callable[[str, Message], object]) -> None:
        self._send = send
        self._open: dict[int, tuple[str, asyncio.Future[Message | None]]] = {}
        self._next = secrets.randbits(48)  # an answer to an earlier life of this node is an answer to nothing

    async def ask(self, node: str, make: Callable[[int], Message], patience_s: float) -> Message | None:
        """The node's answer to `make(id)`; None if none comes so soon, or the node is gone."""
        self._next += 1
        id, loop = self._next, asyncio.get_running_loop()
        answer: asyncio.Future[Message | None] = loop.create_future()
        self._open[id] = (node, answer)
        message, wait_s, until_s = make(id), RESEND_S, loop.time() + patience_s
        try:
            while not answer.done() and (left_s := until_s - loop.time()) > 0:
                self._send(node, message)
                await asyncio.wait((answer,), timeout=min(wait_s, left_s))
                wait_s *= 2
            return answer.result() if answer.done() else None
        finally:
            del self._open[id]

    def answered(self, node: str, message: Message) -> None:
        """An answer has come; one that nobody waits for is of no interest, nor is one of another node."""
        asked, answer = self._open.get(message.id, ("", None))
        if answer is not None and asked == node and not answer.done():
            answer.set_result(message)

    def gone(self, node: str) -> None:
        """The node is gone: whoever waits for it need not wait any longer."""
        for asked, answer in list(self._open.values()):
            if asked == node and not answer.done():
                answer.set_result(None)
