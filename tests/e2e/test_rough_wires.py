"""The rough wires themselves, before anything is proved with them: three nodes' datagrams in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop
from tests.e2e.cluster import HOST
from tests.e2e.rough_wires import RoughWires
from tests.e2e.wires import Wires
from tests.ports import free_ports
from tests.runtime.datagram_nodes import Node
from tests.runtime.rough_weather import Weather
from tests.waiting import until

from holdfast.runtime.links import Address

NAMES = "abc"


def told(story: Callable[..., Awaitable[None]], weather: Weather) -> None:
    """Runs a story with the wires and the three nodes, each of which reaches the others through its own wires."""
    seen: dict[str, dict[str, int]] = {}

    def write_site(file: str, ports: dict[str, int]) -> Path:
        seen[file.removeprefix("site-").removesuffix(".toml")] = ports
        return Path(file)

    peer_ports = dict(zip(NAMES, free_ports(3), strict=True))
    cluster: Any = SimpleNamespace(names=list(NAMES), peer_ports=peer_ports, sites={}, write_site=write_site)

    async def whole(wires: Wires) -> None:
        nodes = [Node(name, {other: Address(HOST, seen[name][other]) for other in NAMES}) for name in NAMES]
        async with asyncio.timeout(30):
            for node in nodes:
                await node.datagrams.start()
            await story(wires, *nodes)
        for node in nodes:
            node.datagrams.close()

    with closing(Wires(cluster)) as wires, closing(RoughWires(wires, weather)):
        uvloop.run(whole(wires))


async def flood(sender: Node, receiver: Node, count: int) -> None:
    """So many datagrams, not faster than a thread of this process carries them."""
    sent = 0
    while sent < count:
        sender.send(receiver.name, "events", sent.to_bytes(4))
        sender.datagrams.flush()
        sent += 1
        if sent % 20 == 0:
            await asyncio.sleep(0.001)


def test_in_fair_weather_everything_arrives() -> None:
    async def story(wires: Wires, a: Node, b: Node, c: Node) -> None:
        await flood(a, c, 500)
        await until(lambda: len(c.heard) == 500)
        assert b.heard == []

    told(story, Weather(1))


def test_in_rough_weather_some_is_lost_doubled_and_overtaken() -> None:
    weather = Weather(2, lost=20, doubled=20, overtaken=20)

    async def story(wires: Wires, a: Node, b: Node, c: Node) -> None:
        await flood(a, b, 500)
        await until(lambda: sum(weather.counters[what] for what in ("passed", "lost")) == 500)
        await until(lambda: len(b.heard) == weather.counters["passed"] + weather.counters["doubled"])
        numbers = [int.from_bytes(payload) for _, _, payload in b.heard]
        assert 300 < len(set(numbers)) < 500 - 50
        assert numbers != sorted(numbers)
        assert b.counters["unauthenticated"] == 0

    told(story, weather)


def test_a_split_cuts_datagrams_too() -> None:
    async def story(wires: Wires, a: Node, b: Node, c: Node) -> None:
        wires.split("a", "bc")
        await flood(a, c, 50)
        await flood(b, c, 50)
        await until(lambda: len(c.heard) == 50)
        assert {node for node, _, _ in c.heard} == {"b"}
        wires.split("abc")
        await flood(a, c, 50)
        await until(lambda: len(c.heard) == 100)

    told(story, Weather(3))
