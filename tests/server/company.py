"""A company with three branches: three whole nodes inside this process, on free loopback ports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.e2e.cluster import HOST
from tests.ports import free_ports
from tests.runtime.thread_writer import ThreadWriter
from tests.waiting import until

from holdfast.people import TokenHash
from holdfast.runtime.journal import Journal
from holdfast.runtime.node import Node, initialise
from holdfast.server.branches import BranchServers
from holdfast.site import Site, load_site

PATIENCE_S = 40.0
HOMES = {"TOR": "a", "MTL": "b", "OTW": "c"}
PEOPLE = [f"{city}{role}{number}" for city in HOMES for role in "MC" for number in (1000, 1001, 2345)]


class QuickWriter(ThreadWriter):
    """Journals without six processes, whose start would take longer than the stories."""

    is_copy = False

    @classmethod
    def open(cls, path: Path) -> QuickWriter:
        return cls(Journal.open(path))


class Company:
    """The nodes that run now, by name. `settings`: more lines for the service `events`. `token`: of one person,
    TORC1000, without which nobody is believed; "" where everybody is."""

    def __init__(self, directory: Path, settings: str = "", token: str = "") -> None:
        self.names = "abc"
        ports = free_ports(9)
        self.peer_ports = dict(zip(self.names, ports[:3], strict=True))
        self.line_ports = dict(zip(self.names, ports[3:6], strict=True))
        self.directory_ports = dict(zip(self.names, ports[6:], strict=True))
        self.data = directory / "data"
        self.file = directory / "site.toml"
        nodes = "".join(f'[nodes.{name}]\nhost = "{HOST}"\npeer_port = {self.peer_ports[name]}\n' for name in "abc")
        people = "".join(f"[people.{id}]\n" for id in PEOPLE)
        if token:
            people = people.replace(
                "[people.TORC1000]\n", f'[people.TORC1000]\ntoken = "{TokenHash.of(token).written()}"\n'
            )
        identity = "token" if token else "trusted"
        self.file.write_text(
            f'[site]\nname = "company"\n{nodes}'
            f'[services.directory]\napp = "directory"\nidentity = "{identity}"\nnodes = {table(self.directory_ports)}\n'
            f'[services.events]\napp = "events"\nidentity = "{identity}"\nnodes = {table(self.line_ports)}\n'
            f"{settings}\n{people}"
        )
        initialise(self.site())
        self.nodes: dict[str, Node] = {}
        self._running: dict[str, asyncio.Task[int]] = {}

    def site(self) -> Site:
        return load_site(self.file)

    # -- Nodes

    def start(self, name: str) -> None:
        """In the running loop."""
        self.nodes[name] = Node(self.site(), name)
        self._running[name] = asyncio.create_task(self.nodes[name].run())

    async def end(self, name: str) -> None:
        """As Ctrl-C."""
        self.nodes.pop(name)._ended.set()
        assert await self._running.pop(name) == 0

    def branches(self, name: str) -> BranchServers:
        return self.nodes[name].branches["events"]

    def counter(self, name: str, counter: str) -> int:
        return self.branches(name).totals()[f"branch_{counter}"]

    def served(self) -> dict[str, list[str]]:
        """The branches that each node says it serves."""
        return {name: sorted(self.branches(name).keeper.served) for name in self.nodes}

    def knows(self, name: str, **homes: str) -> bool:
        """Whether a node knows these branches to be served at these nodes."""
        keeper = self.branches(name).keeper
        return all(keeper.node_of(city) == node for city, node in homes.items())

    async def at_home(self) -> None:
        """Until every branch is served at its home, and every node knows."""
        await until(lambda: all(self.knows(name, **HOMES) for name in self.nodes))

    # -- People

    async def say(self, name: str, who: str, *lines: str) -> list[str]:
        """What a node answers to a person's lines, one after the other in one connection."""
        return await say(self.line_ports[name], *([f"login {who}"] if who else []), *lines, skip=bool(who))

    async def directory(self, *lines: str) -> list[str]:
        return await say(self.directory_ports["b"], *lines)

    def log(self, node: str, city: str) -> list[list[str]]:
        """The operations in a branch's log at a node, without their times."""
        path = self.data / node / "branches" / f"{city}.log"
        return [line.split("\t")[1:] for line in path.read_text().splitlines()] if path.exists() else []

    async def logged(self, node: str, city: str, count: int) -> list[list[str]]:
        """The log, once it has so many lines."""
        await until(lambda: len(self.log(node, city)) >= count)
        return self.log(node, city)


def table(ports: dict[str, int]) -> str:
    return "{ " + ", ".join(f"{name} = {port}" for name, port in ports.items()) + " }"


async def say(port: int, *lines: str, skip: bool = False) -> list[str]:
    """All lines in one write; the replies, without the first one if that is to be skipped."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write("".join(f"{line}\n" for line in lines).encode())
    writer.write_eof()
    replies = (await reader.read()).decode().splitlines()
    writer.close()
    return replies[1:] if skip else replies


def as_json(line: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    return found


def run(directory: Path, story: Callable[[Company], Awaitable[None]], settings: str = "", token: str = "") -> Company:
    """Tell a story of a company whose branches are all at home."""
    company = Company(directory, settings, token)

    async def main() -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                for name in company.names:
                    company.start(name)
                await company.at_home()
                await story(company)
        finally:
            for name in list(company.nodes):
                await company.end(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdfast.runtime.node.JournalWriter", QuickWriter)
        uvloop.run(main())
    return company
