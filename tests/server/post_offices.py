"""Bells whose ringing tells somebody, and a postbox to which it goes: whole nodes in this process, on free ports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.e2e.cluster import HOST
from tests.kernel.bell import Bell, ring
from tests.kernel.postbox import Letter, Postbox
from tests.ports import free_ports
from tests.server.company import PATIENCE_S, QuickWriter
from tests.waiting import until

from holdfast.catalog import APPS, AppEntry, DirectoryOptions
from holdfast.kernel.contracts import Reply
from holdfast.runtime.node import Node, initialise
from holdfast.server.asking import answer_of
from holdfast.site import Site, load_site


class Offices:
    """The nodes that run now, by name. `services`: of each its settings, as lines of the site file; they are of the
    apps `bell` and `postbox`."""

    def __init__(self, directory: Path, nodes: str, services: dict[str, Sequence[str]]) -> None:
        self.names = nodes
        self.services = services
        self.file = directory / "site.toml"
        peer_ports = dict(zip(nodes, free_ports(len(nodes)), strict=True))
        lines = ["[site]", 'name = "offices"']
        for name in nodes:
            lines += [f"[nodes.{name}]", f'host = "{HOST}"', f"peer_port = {peer_ports[name]}"]
        for name, settings in services.items():
            lines += [f"[services.{name}]", 'identity = "trusted"', *settings]
        self.file.write_text("\n".join(lines) + "\n")
        initialise(self.site())
        self.nodes: dict[str, Node] = {}
        self.rung: list[str] = []
        self._running: dict[str, asyncio.Task[int]] = {}

    def site(self) -> Site:
        return load_site(self.file)

    # -- Nodes

    def start(self, *names: str) -> None:
        """In the running loop."""
        for name in names:
            self.nodes[name] = Node(self.site(), name)
            self._running[name] = asyncio.create_task(self.nodes[name].run())

    async def end(self, *names: str) -> None:
        """As Ctrl-C."""
        for name in names:
            self.nodes.pop(name)._ended.set()
        for name in names:
            await self._running.pop(name)

    def status(self, node: str, service: str) -> dict[str, Any]:
        return self.nodes[node]._status_of(service, self.nodes[node].drivers[service])

    # -- What is told

    async def ring(self, node: str, to: str, service: str = "bell") -> Reply:
        """Tell somebody; until it is done."""
        async with asyncio.timeout(PATIENCE_S):
            while (reply := await self.answer(node, service, to)).failed:  # noqa: ASYNC110 (a replica that joins)
                await asyncio.sleep(0.05)
        if service == "bell":
            self.rung.append(to)
        return reply

    async def answer(self, node: str, service: str, to: str) -> Reply:
        return await answer_of(self.nodes[node].faces[service].service, ring(to=to), 10.0)

    def letters(self, node: str, service: str = "post") -> list[str]:
        """To whom letters came at this node's replica, in order."""
        store = self.nodes[node].drivers[service].machine.store
        return [row.to for row in sorted(store.table(Letter), key=lambda row: row.place)]

    async def all_arrived(self, node: str, *, source: str) -> None:
        """Until what was rung is there, and nothing waits any more at the other."""
        await until(lambda: len(self.letters(node)) >= len(self.rung), PATIENCE_S)
        await until(lambda: self.status(source, "bell")["notices_waiting"] == 0, PATIENCE_S)
        assert self.letters(node) == self.rung


def run(offices: Offices, story: Callable[[Offices], Awaitable[None]], *, start: str | None = None) -> None:
    """Tell a story of nodes that were started, all or those that are named."""

    async def main() -> None:
        try:
            async with asyncio.timeout(2 * PATIENCE_S):
                offices.start(*(offices.names if start is None else start))
                await story(offices)
        finally:
            await offices.end(*list(offices.nodes))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdfast.runtime.node.JournalWriter", QuickWriter)
        uvloop.run(main())


@pytest.fixture
def apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two apps of the tests are in the catalog."""
    bell: Any = AppEntry(lambda options, people: Bell(), DirectoryOptions, "lamport")  # type: ignore[arg-type]
    postbox = AppEntry(lambda options, people: Postbox(), DirectoryOptions, "lamport", delivers=True)
    for name, entry in (("bell", bell), ("postbox", postbox)):
        monkeypatch.setitem(APPS, name, entry)  # type: ignore[misc]
