"""Asking a replica from a coroutine: the way of HTTP, where a handler awaits its reply."""

from __future__ import annotations

import asyncio

from holdfast.kernel.contracts import Query, Reply, Request
from holdfast.kernel.replies import Unavailable, Unknown
from holdfast.server.face import Service


class Asked:
    """The token of one request, which the replica calls; its reply can be awaited. Made in a running loop."""

    __slots__ = ("_reply",)

    def __init__(self) -> None:
        self._reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def deliver(self, reply: Reply) -> None:
        """The reply has come; after the deadline nobody waits for it any more."""
        if not self._reply.done():
            self._reply.set_result(reply)

    async def reply(self, deadline_seconds: float) -> Reply | None:
        """The reply, or None if it does not come in time."""
        done, _ = await asyncio.wait((self._reply,), timeout=deadline_seconds)
        if done:
            return self._reply.result()
        self._reply.cancel()
        return None


async def answer_of(service: Service, request: Request, deadline_seconds: float) -> Reply:
    """A replica's reply to a command or query. Past the deadline a command's outcome is `Unknown`; a
    query, which changes nothing, is `Unavailable`. Commands that are handed in together, by tasks of
    one loop, take effect in the order of their hands-in."""
    asked = Asked()
    is_query = isinstance(request.command, Query)
    if is_query:
        service.ask(asked, request)
    else:
        service.submit(asked, request)
    reply = await asked.reply(deadline_seconds)
    if reply is not None:
        return reply
    why = f"no answer within {deadline_seconds:g} s"
    return Unavailable(why) if is_query else Unknown(why)
