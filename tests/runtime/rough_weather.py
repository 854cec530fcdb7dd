"""A stretch of network before one node's UDP port that loses, doubles and overtakes. For tests only.

It stands in the addresses that the others have of the node; as senders are known by their seals and not
by their addresses, the nodes notice nothing of it.
"""

from __future__ import annotations

import asyncio
import random
from typing import cast

HELD_S = 0.005
"""So long a datagram is held back at most, that others may overtake it."""


class RoughWeather(asyncio.DatagramProtocol):
    """`lost`, `doubled`, `overtaken`: how many of a hundred. `counters` tells what has become of them."""

    def __init__(
        self, target: tuple[str, int], seed: int, *, lost: int = 0, doubled: int = 0, overtaken: int = 0
    ) -> None:
        self.target = target
        self.lost = lost
        self.doubled = doubled
        self.overtaken = overtaken
        self.counters = dict.fromkeys(("passed", "lost", "doubled", "overtaken"), 0)
        self._chance = random.Random(seed)

    @classmethod
    async def before(cls, target: tuple[str, int], seed: int, **weather: int) -> RoughWeather:
        """Stands at a free port, `address`."""
        loop = asyncio.get_running_loop()
        _, made = await loop.create_datagram_endpoint(lambda: cls(target, seed, **weather), local_addr=("127.0.0.1", 0))
        return made

    @property
    def address(self) -> tuple[str, int]:
        """Where to send what is meant for the target."""
        host, port = self._transport.get_extra_info("sockname")
        return host, port

    def close(self) -> None:
        """Nothing passes any more."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: object) -> None:
        if self._falls(self.lost):
            self.counters["lost"] += 1
            return
        if self._falls(self.doubled):
            self.counters["doubled"] += 1
            self._hold(data)
        if self._falls(self.overtaken):
            self.counters["overtaken"] += 1
            self._hold(data)
        else:
            self._pass(data)

    def _falls(self, percent: int) -> bool:
        return self._chance.random() * 100 < percent

    def _hold(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._chance.random() * HELD_S, self._pass, data)

    def _pass(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self.counters["passed"] += 1
            self._transport.sendto(data, self.target)
