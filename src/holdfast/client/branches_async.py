"""A service with branches for one event loop: see `client.branches`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from holdfast.client.asynchronous import AsyncChannel
from holdfast.client.branches import Begin, Found
from holdfast.client.outcomes import Server
from holdfast.client.person_log import PersonLog
from holdfast.client.session import Call


class AsyncBranchChannel:
    """As `asynchronous.AsyncChannel`, for one event loop. `look()` as above, awaited."""

    def __init__(
        self,
        open: Callable[[Server | None], AsyncChannel],
        look: Callable[[], Awaitable[Server | None]],
        log: PersonLog,
    ) -> None:
        self._found: Found[AsyncChannel] = Found(open, log)
        self._look = look
        self._turn = asyncio.Lock()
        self._left: list[AsyncChannel] = []
        """Channels to servers that are the branch's no more, on which others may still wait."""

    @property
    def denied(self) -> str:
        """See `AsyncChannel.denied`."""
        return "" if self._found.opened is None else self._found.opened.denied

    async def settle(self, begin: Begin) -> Sequence[Call]:
        """See `AsyncChannel.settle`."""
        async with self._turn:
            if self._found.must_look:
                before = self._found.looked(await self._look())
                if before is not None:
                    self._left.append(before)
        since_s = time.time()
        calls = await self._found.channel.settle(begin)
        self._found.logged(since_s, calls)
        return calls

    async def close(self) -> None:
        """Close the connections."""
        if self._found.opened is not None:
            await self._found.opened.close()
        for channel in self._left:
            await channel.close()
        self._left.clear()
