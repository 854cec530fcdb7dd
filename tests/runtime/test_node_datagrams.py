"""A service whose protocol goes by datagrams, between two whole nodes inside this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import uvloop
from tests.e2e.cluster import HOST
from tests.runtime.test_node import Ports, fetch, say, write_site
from tests.waiting import until

from holdfast.catalog import PROTOCOLS
from holdfast.client.processes import first_start, initialise_site, reset_site
from holdfast.kernel.errors import ConfigurationError
from holdfast.runtime.datagrams import DATAGRAM_BYTES_MAX, LOOPBACK_DATAGRAM_BYTES_MAX
from holdfast.runtime.frames import frame
from holdfast.runtime.greeting import Hello, spoken
from holdfast.runtime.node import Node, initialise
from holdfast.runtime.proofs import UNPROVED
from holdfast.runtime.site_key import make_key, read_key
from holdfast.site import Site, load_site

PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def _by_datagrams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lamport's algorithm lives with UDP as long as nothing is lost, as between two sockets of one process."""
    by_datagrams = msgspec.structs.replace(PROTOCOLS["lamport"], datagrams=True)
    monkeypatch.setattr("holdfast.site.PROTOCOLS", {**PROTOCOLS, "lamport": by_datagrams})


@pytest.fixture
def ports() -> Ports:
    return Ports()


def run_both(site: Site, story: Callable[[Node, Node], Awaitable[None]]) -> None:
    """Both nodes in one loop; the story begins when they serve, and when it is told they end."""

    async def main() -> None:
        nodes = [Node(site, name) for name in "ab"]
        running = [asyncio.create_task(node.run()) for node in nodes]
        try:
            async with asyncio.timeout(PATIENCE_S):
                await until(
                    lambda: all(
                        driver.status()["state"] == "active" for node in nodes for driver in node.drivers.values()
                    )
                )
                await story(*nodes)
        finally:
            for node in nodes:
                node._ended.set()
            assert await asyncio.gather(*running) == [0, 0]

    uvloop.run(main())


def test_the_replicas_agree_by_datagrams_alone(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports, nodes="ab")
    initialise(site)

    async def story(a: Node, b: Node) -> None:
        assert await say(ports.line_a, "reserve bob 2") == ["The seats have been reserved for bob: 1,2."]
        assert await say(ports.line_b, "search bob\nreserve eve 1") == [
            "1,2",
            "The seats have been reserved for eve: 3.",
        ]
        for node in (a, b):
            assert node.links.counters["connects"] == 1, "the links stand, for what they tell"
            assert node.links.counters["frames_sent"] == 0
            assert node.datagrams is not None
            assert node.datagrams.counters["messages_received"] > 3
        _, body = await fetch(ports.http, "/metrics")
        assert "holdfast_datagrams_unauthenticated_total 0.0" in body
        assert "holdfast_datagrams_sent_total" in body

    run_both(site, story)


def test_a_link_does_not_speak_for_a_service_of_datagrams(tmp_path: Path, ports: Ports) -> None:
    """A peer's frames have no seal of their own, and a stranger gets no link."""
    site = write_site(tmp_path, ports, nodes="ab")
    initialise(site)

    async def story(a: Node, b: Node) -> None:
        before = dict(b.drivers["tickets"].counters)
        reader, writer = await asyncio.open_connection(HOST, ports.peer_b)
        writer.write(spoken(Hello("house", "a", "b")) + frame(b"\x07tickets\x90"))
        assert UNPROVED.encode() in await reader.read()
        assert b.links.counters["malformed"] == 0
        a.links.send("b", "tickets", b"\x90")
        a.links.flush()
        await until(lambda: b.links.counters["malformed"] == 1)
        assert b.drivers["tickets"].counters["malformed"] == before["malformed"]
        writer.close()

    run_both(site, story)


def test_a_datagram_does_not_speak_for_a_service_of_links(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports, nodes="ab")
    initialise(site)

    async def story(a: Node, b: Node) -> None:
        assert b.datagrams is not None
        for node, service in ((a, "matinee"), (a, "opera")):
            assert node.datagrams is not None
            count = node.datagrams.counters["malformed"]
            b.datagrams.send("a", service, b"\x90")
            await until(lambda node=node, count=count: node.datagrams.counters["malformed"] == count + 1)
        assert a.drivers["matinee"].counters["malformed"] == 0

    run_both(site, story)


def test_the_messages_of_a_turn_are_divided_so_that_each_datagram_stands_alone(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports, nodes="ab")
    initialise(site)

    async def story(a: Node, b: Node) -> None:
        await say(ports.line_a, "reserve bob 2")
        assert a.datagrams is not None
        driver, room = a.drivers["tickets"], a.datagrams.room("b", "tickets")
        assert 0 < LOOPBACK_DATAGRAM_BYTES_MAX - room < 100
        a.datagrams._peers["b"].bundler.room -= LOOPBACK_DATAGRAM_BYTES_MAX - DATAGRAM_BYTES_MAX
        sent: list[bytes] = []
        real, driver._send = driver._send, lambda node, payload: sent.append(payload)
        messages = [bytes(number) for number in range(0, 1000, 10)]
        driver._post("b", messages)
        driver._send = real
        decoded = [msgspec.msgpack.decode(payload) for payload in sent]
        assert [message for part in decoded for message in part] == messages
        assert max(map(len, sent)) <= a.datagrams.room("b", "tickets") < DATAGRAM_BYTES_MAX
        assert len(sent) < 100

    run_both(site, story)


def test_a_node_needs_the_key_and_a_free_port(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports, nodes="ab")
    initialise(site)

    async def make() -> None:
        Node(site, "a")

    async def run_twice() -> None:
        node, twin = Node(site, "b"), Node(site, "a")
        assert twin.datagrams is not None
        twin.datagrams._peers["a"].address = twin.datagrams._peers["b"].address
        running = asyncio.create_task(node.run())
        await say(ports.line_b, "status")
        try:
            await twin.run()
        finally:
            node._ended.set()
            await running

    with pytest.raises(ConfigurationError, match=r"node a cannot use UDP on 127\.0\.0\.1 port \d+: .*in use"):
        uvloop.run(run_twice())
    site.key.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        uvloop.run(make())
    site.key.unlink()
    with pytest.raises(ConfigurationError, match="the site's key is missing"):
        uvloop.run(make())


def test_the_first_start_makes_the_key_and_an_existing_one_stays(tmp_path: Path, ports: Ports) -> None:
    site = write_site(tmp_path, ports, nodes="ab")
    assert site.key == tmp_path / "data" / "site.key"
    first_start(site)
    key = read_key(site.key)
    first_start(site)
    assert read_key(site.key) == key
    site.key.unlink()
    first_start(site)
    assert read_key(site.key) != key, "a service has come that needs one"
    reset_site(str(site.file), sure=True)
    assert not site.data.exists()


def test_on_several_machines_the_key_is_made_once_and_copied(
    tmp_path: Path, ports: Ports, capsys: pytest.CaptureFixture[str]
) -> None:
    near = write_site(tmp_path, ports, nodes="ab")
    text = near.file.read_text().replace("[site]", f'[site]\nkey = "{tmp_path}/theirs.key"')
    near.file.write_text(text.replace(HOST, "192.0.2.1", 1))
    site = load_site(near.file)
    assert site.key == tmp_path / "theirs.key"
    initialise_site(str(site.file), ["a"])
    key = read_key(site.key)
    assert "theirs.key: copy it to the other machines before `init` there" in capsys.readouterr().out
    initialise_site(str(site.file), ["b"])
    assert "theirs.key" not in capsys.readouterr().out
    assert read_key(site.key) == key


def test_a_site_without_datagrams_needs_no_key(tmp_path: Path, ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    site = write_site(tmp_path, ports, nodes="ab")
    first_start(site)
    first_start(site)
    assert not site.key.exists()
    make_key(site.key)  # another site's, say

    async def make() -> None:
        node = Node(site, "a")
        assert node.datagrams is None
        assert node.links.proofs is not None, "what has a key uses it"
        node._close_drivers()

    uvloop.run(make())


def test_faces_that_speak_by_datagrams_have_them_under_a_protocol_of_links(
    tmp_path: Path, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    site = write_site(tmp_path, ports, nodes="ab")
    text = site.file.read_text().replace(
        'app = "tickets"\nprotocol = "lamport"', 'app = "events"\nprotocol = "lamport"'
    )
    site.file.write_text(text.replace("seats = 20\n", ""))
    site = load_site(site.file)
    initialise(site)
    heard: list[tuple[str, str, bytes]] = []

    async def story(a: Node, b: Node) -> None:
        assert a.datagrams is not None
        assert b.datagrams is not None
        b.datagrams.handlers["branch"] = lambda *message: heard.append(message)
        a.datagrams.send("b", "branch/TOR", b"question")
        await until(lambda: heard == [("a", "branch/TOR", b"question")])
        assert a.links.counters["frames_sent"] > 0, "its replicas keep to the links"
        assert a.datagrams.counters["messages_sent"] == 1

    run_both(site, story)
