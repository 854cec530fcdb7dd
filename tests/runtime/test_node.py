"""A node with everything in it, inside this process: its ports, its links, its faces, its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.e2e.cluster import HOST, environment
from tests.ports import free_ports
from tests.waiting import until

from holdfast.kernel.contracts import Halt
from holdfast.kernel.errors import ConfigurationError, JournalDamaged
from holdfast.runtime.frames import frame
from holdfast.runtime.greeting import Hello, spoken
from holdfast.runtime.node import Node, initialise, journal_path, new_services
from holdfast.site import Site, load_site

PATIENCE_S = 30.0


class Ports:
    """The free ports of one site."""

    def __init__(self) -> None:
        self.peer_a, self.peer_b, self.line_a, self.line_b, self.common, self.http, self.other = free_ports(7)


@pytest.fixture
def ports() -> Ports:
    return Ports()


def write_site(directory: Path, ports: Ports, *, nodes: str = "a", limits: str = "") -> Site:
    services = {"a": f"{{ a = {ports.line_a} }}", "ab": f"{{ a = {ports.line_a}, b = {ports.line_b} }}"}[nodes]
    text = f"""
[site]
name = "house"
[limits]
{limits}
[nodes.a]
host = "{HOST}"
peer_port = {ports.peer_a}
line_port = {ports.common}
http_port = {ports.http}
[nodes.b]
host = "{HOST}"
peer_port = {ports.peer_b}
[services.tickets]
app = "tickets"
protocol = "{"solo" if nodes == "a" else "lamport"}"
{'failure_model = "majority"' if nodes == "ab" else ""}
identity = "trusted"
nodes = {services}
seats = 20
[services.matinee]
app = "tickets"
protocol = "solo"
identity = "trusted"
nodes = {{ a = {ports.other} }}
seats = 5
"""
    path = directory / "site.toml"
    path.write_text(text)
    return load_site(path)


def run(site: Site, name: str, story: Callable[[Node], Awaitable[None]]) -> int:
    """Run a node; when the story is told it is asked to end, as by Ctrl-C. Returns its exit status."""

    async def main() -> int:
        node = Node(site, name)
        running = asyncio.create_task(node.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await story(node)
        finally:
            if not running.done():
                os.kill(os.getpid(), signal.SIGINT)
            status = await running
        return status

    return uvloop.run(main())


async def say(port: int, text: str) -> list[str]:
    """As `nc`, from the first moment on that the port listens."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(HOST, port)
            break
        except OSError:
            await asyncio.sleep(0.01)
    writer.write(text.encode())
    writer.write_eof()
    lines = (await reader.read()).decode().splitlines()
    writer.close()
    return lines


async def fetch(port: int, path: str) -> tuple[str, str]:
    """(head, body) of one HTTP answer."""
    (head, *body) = await say(port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return head, "\n".join(body)


def test_every_port_speaks_to_its_service(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports)
    initialise(site)

    async def story(node: Node) -> None:
        assert await say(ports.line_a, "reserve bob 2\nsearch bob") == [
            "The seats have been reserved for bob: 1,2.",
            "1,2",
        ]
        assert await say(ports.other, "reserve eve 1") == ["The seats have been reserved for eve: 1."]
        for port in (ports.common, ports.peer_a):
            replies = await say(port, "use tickets\nsearch bob\nuse matinee\nsearch eve\nsearch bob")
            assert replies == ["Using tickets.", "1,2", "Using matinee.", "1", "Failed: no reservation is made by bob."]
        (line,) = await say(ports.line_a, "status")
        status = json.loads(line)
        assert (status["site"], status["node"]) == ("house", "a")
        assert {service["service"]: service["state"] for service in status["services"]} == {
            "tickets": "active",
            "matinee": "active",
        }

    assert run(site, "a", story) == 0


def test_metrics_and_status_over_http(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports)
    initialise(site)

    async def story(node: Node) -> None:
        await say(ports.line_a, "reserve bob 2\nnonsense")
        head, body = await fetch(ports.http, "/metrics")
        assert "200" in head
        assert 'holdfast_active{service="tickets"} 1.0' in body
        assert 'holdfast_commands_total{service="tickets"}' in body
        assert "holdfast_lines_malformed_total 1.0" in body
        head, body = await fetch(ports.http, "/status")
        assert "200" in head
        assert '"node":"a"' in body
        head, _ = await fetch(ports.http, "/nothing")
        assert "404" in head

    assert run(site, "a", story) == 0


def test_a_frame_that_makes_no_sense_drops_the_link_and_is_counted(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports, nodes="ab")
    initialise(site)

    async def story(node: Node) -> None:
        await say(ports.line_b, "status")  # it listens
        for number, (service, payload) in enumerate(((b"tickets", b"\xc1"), (b"opera", b"\x90")), 1):
            reader, writer = await asyncio.open_connection(HOST, ports.peer_b)
            writer.write(spoken(Hello("house", "a", "b")))
            await reader.readexactly(1)
            await until(lambda: node.links.connected("a"))
            writer.write(frame(bytes((len(service),)) + service + payload))
            await reader.read()
            await until(lambda: not node.links.connected("a"))
            assert node.links.counters["malformed"] == number
            writer.close()
        assert node.drivers["tickets"].counters["malformed"] == 1
        assert node.drivers["tickets"].halted is None

    assert run(site, "b", story) == 0


def test_clients_beyond_the_limit_are_told_and_a_peer_still_gets_in(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports, nodes="ab", limits="connections_max = 2")
    initialise(site)

    async def story(node: Node) -> None:
        await say(ports.line_b, "status")
        idle = [await asyncio.open_connection(HOST, ports.line_b) for _ in range(2)]
        await until(lambda: len(node.lines.connections) == 2)
        (told,) = await say(ports.line_b, "seats")
        assert told.startswith("Failed: too many connections: 2 are open")
        reader, writer = await asyncio.open_connection(HOST, ports.peer_b)
        writer.write(spoken(Hello("house", "a", "b")))
        await reader.readexactly(1)
        await until(lambda: node.links.connected("a"))
        for _, client in [*idle, (reader, writer)]:
            client.close()

    assert run(site, "b", story) == 0


@pytest.mark.parametrize(("soft", "hard", "room"), [(256, 4096, 3896), (256, 15_000, 10_000), (300, 300, 100)])
def test_connections_are_limited_by_what_the_system_allows(soft: int, hard: int, room: int) -> None:
    script = (
        "from resource import RLIMIT_NOFILE as files, getrlimit, setrlimit;"
        "from holdfast.runtime.node import connections_possible;"
        f"setrlimit(files, ({soft}, min({hard}, getrlimit(files)[1])));"
        "print(connections_possible(10_000), getrlimit(files)[1])"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True)
    possible, allowed = map(int, done.stdout.split())
    assert possible == (room if allowed == hard else min(10_000, allowed - 200))
    assert ("leaves room for" in done.stderr) == (possible < 10_000)


def test_one_halted_replica_leaves_the_other_services_and_answers_its_own_clients(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports)
    initialise(site)

    async def story(node: Node) -> None:
        await say(ports.line_a, "reserve bob 2")
        reader, writer = await asyncio.open_connection(HOST, ports.line_a)
        writer.write(b"reserve eve 1\n")
        original = node.drivers["tickets"]._writer.submit
        node.drivers["tickets"]._writer.submit = lambda group, done: None  # type: ignore[method-assign]
        await until(lambda: node.drivers["tickets"]._gate._writing)
        node.drivers["tickets"]._on_journal_failure(sqlite3.OperationalError("disk I/O error"))
        node.drivers["tickets"]._writer.submit = original  # type: ignore[method-assign]
        assert (await reader.readline()).decode().startswith("Failed: outcome unknown")
        writer.write(b"reserve eve 1\n")
        assert b"has halted here: disk I/O error" in await reader.readline()
        writer.close()
        assert (await say(ports.other, "reserve eve 1")) == ["The seats have been reserved for eve: 1."]
        _, body = await fetch(ports.http, "/metrics")
        assert 'holdfast_active{service="tickets"} 0.0' in body
        assert 'holdfast_active{service="matinee"} 1.0' in body

    assert run(site, "a", story) == 0


def test_a_node_with_nothing_left_to_serve_ends_with_status_1(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports, nodes="ab")
    initialise(site)

    async def story(node: Node) -> None:
        await say(ports.line_b, "status")
        node.drivers["tickets"]._halt(Halt("invariant", "for this test"))
        await until(lambda: not node.lines.connections and node._ended.is_set())

    assert run(site, "b", story) == 1


def test_a_site_is_initialised_once_and_not_without_saying_so(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports)
    with pytest.raises(ConfigurationError, match="holdfast init"):
        uvloop.run(_make(site, "a"))
    assert journal_path(site, "a", "tickets") in initialise(site)
    with pytest.raises(ConfigurationError, match="has been started before"):
        initialise(site)
    with pytest.raises(ConfigurationError, match="no node 'z'"):
        initialise(site, ["z"])


def test_only_services_that_came_to_the_file_later_are_begun(tmp_path: Path, ports: Ports) -> None:
    """`init --new`: what has a journal at any node here was begun before, even if another of its disks is gone."""
    site = write_site(tmp_path, ports, nodes="ab")
    initialise(site)
    with pytest.raises(ConfigurationError, match="no service is new"):
        initialise(site, only_new=True)
    journal_path(site, "a", "tickets").unlink()
    journal_path(site, "a", "matinee").unlink()
    assert new_services(site, site.nodes) == ["matinee"]
    assert initialise(site, only_new=True) == [journal_path(site, "a", "matinee")]
    assert not journal_path(site, "a", "tickets").exists()


def test_a_lone_replica_with_a_damaged_journal_does_not_start(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports)
    initialise(site)

    async def story(node: Node) -> None:
        await say(ports.line_a, "reserve bob 2")

    assert run(site, "a", story) == 0
    path = journal_path(site, "a", "tickets")
    content = bytearray(path.read_bytes())
    content[content.index(b"bob")] ^= 1
    path.write_bytes(content)
    with pytest.raises(JournalDamaged, match="restore a backup"):
        uvloop.run(_make(site, "a"))


async def _make(site: Site, name: str) -> Any:
    return Node(site, name)
