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


class Weather:
    """`lost`, `doubled`, `overtaken`: how many of a hundred datagrams; may be changed at any time.
    `counters` tells what has become of them."""

    def __init__(self, seed: int, *, lost: int = 0, doubled: int = 0, overtaken: int = 0) -> None:
        self.lost = lost
        self.doubled = doubled
        self.overtaken = overtaken
        self.counters = dict.fromkeys(("passed", "lost", "doubled", "overtaken"), 0)
        self._chance = random.Random(seed)

    def copies(self) -> list[float]:
        """After how many seconds each copy of the next datagram goes on; none of a lost one."""
        if self._falls("lost", self.lost):
            return []
        self.counters["passed"] += 1
        delays = [self._delay() if self._falls("overtaken", self.overtaken) else 0.0]
        if self._falls("doubled", self.doubled):
            delays.append(self._delay())
        return delays

    def _delay(self) -> float:
        return self._chance.random() * HELD_S

    def _falls(self, what: str, percent: int) -> bool:
        it_does = self._chance.random() * 100 < percent
        self.counters[what] += it_does
        return it_does


class RoughWeather(asyncio.DatagramProtocol):
    """The stretch before `target`, in the running loop. Make it with `before`."""

    def __init__(self, target: tuple[str, int], weather: Weather) -> None:
        self.target = target
        self.weather = weather

    @classmethod
    async def before(cls, target: tuple[str, int], weather: Weather) -> RoughWeather:
        """Stands at a free port, `address`."""
        loop = asyncio.get_running_loop()
        _, made = await loop.create_datagram_endpoint(lambda: cls(target, weather), local_addr=("127.0.0.1", 0))
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
        for delay_s in self.weather.copies():
            if delay_s:
                asyncio.get_running_loop().call_later(delay_s, self._pass, data)
            else:
                self._pass(data)

    def _pass(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(data, self.target)
