"""Links between nodes, on real sockets: who dials, what comes through, what is refused, and what proves a death."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop

from holdfast.kernel.errors import BrokenInvariant, MalformedInput
from holdfast.runtime import link as link_module
from holdfast.runtime.greeting import MAGIC, Hello, spoken
from holdfast.runtime.links import Address, Links

HOST = "127.0.0.1"


class Sniffer(asyncio.Protocol):
    """What a node does with an accepted connection: the first byte tells a link from a client."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if self._node.deaf:
            self._transport.pause_reading()
        elif data[:1] == MAGIC[:1]:
            self._node.links.accept(self._transport, data)
        else:
            self._transport.write(b"Failed: not a link\n")


class Node:
    """A listening node with its links, and all that they report, in order."""

    def __init__(self, name: str, addresses: dict[str, Address], site: str = "demo", **options: Any) -> None:
        self.name = name
        self.deaf = False
        self.heard: list[tuple[str, str, bytes]] = []
        self.events: list[tuple[str, str]] = []
        self.changed = asyncio.Event()
        self.on_frame: Callable[[str, str, bytes], None] = lambda *_: None
        self.links = Links(name, addresses, site, self._hear, self._note, **options)
        self.address = addresses[name]
        self.server: asyncio.Server | None = None

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Sniffer(self), *self.address)

    def _hear(self, node: str, service: str, payload: bytes) -> None:
        self.heard.append((node, service, payload))
        self.changed.set()
        self.on_frame(node, service, payload)

    def _note(self, node: str, event: object) -> None:
        self.events.append((node, type(event).__name__))
        self.changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Looks again at everything this node hears, and now and then for what only counters show."""
        while not condition():
            self.changed.clear()
            try:
                async with asyncio.timeout(0.01):
                    await self.changed.wait()
            except TimeoutError:
                continue

    def linked_with_all(self, names: Sequence[str]) -> bool:
        return all(self.links.connected(name) for name in names if name != self.name)

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
        await self.links.close()


def free_addresses(*names: str) -> dict[str, Address]:
    sockets = {name: socket.create_server((HOST, 0)) for name in names}
    addresses = {name: Address(HOST, listener.getsockname()[1]) for name, listener in sockets.items()}
    for listener in sockets.values():
        listener.close()
    return addresses


def told(story: Callable[..., Awaitable[None]], *names: str, **options: Any) -> None:
    """Runs a story with nodes of these names, listening and linked."""

    async def whole() -> None:
        addresses = free_addresses(*names)
        nodes = [Node(name, addresses, **options) for name in names]
        async with asyncio.timeout(20):
            for node in nodes:
                await node.listen()
            for node in nodes:
                node.links.start()
            for node in nodes:
                await node.until(partial(node.linked_with_all, names))
            await story(*nodes)
            for node in nodes:
                await node.stop()

    uvloop.run(whole())


def test_each_pair_has_one_link_and_the_lower_name_dials_it() -> None:
    async def story(a: Node, b: Node, c: Node) -> None:
        for node, others in ((a, "bc"), (b, "ac"), (c, "ab")):
            connected = sorted(event for event in node.events if event[1] == "PeerConnected")
            assert connected == [(other, "PeerConnected") for other in others]
            assert node.links.counters["connects"] == 2
            assert node.links.counters["malformed"] == node.links.counters["refusals"] == 0

    told(story, "a", "b", "c")


def test_payloads_arrive_whole_in_order_and_by_service() -> None:
    async def story(a: Node, b: Node) -> None:
        sent = [("tickets", b"%d" % number * (number % 7)) for number in range(500)]
        sent += [("messages", b""), ("tickets", bytes(3_000_000)), ("ключ", b"last")]
        for service, payload in sent:
            assert a.links.send("b", service, payload)
        await b.until(lambda: len(b.heard) == len(sent))
        assert b.heard == [("a", service, payload) for service, payload in sent]
        b.links.send("a", "tickets", b"back")
        await a.until(lambda: a.heard == [("b", "tickets", b"back")])

    told(story, "a", "b")


def test_one_turn_is_one_write() -> None:
    async def story(a: Node, b: Node) -> None:
        chunks: list[int] = []
        link = b.links._peers["a"].link
        assert link is not None
        take = link._take

        def count(data: bytes) -> None:
            chunks.append(len(data))
            take(data)

        link._take = count  # type: ignore[method-assign]
        for _ in range(100):
            a.links.send("b", "tickets", b"small")
        await b.until(lambda: len(b.heard) == 100)
        assert len(chunks) == 1
        a.links.send("b", "tickets", b"early")
        a.links.flush()
        a.links.send("b", "tickets", b"late")
        await b.until(lambda: len(b.heard) == 102)

    told(story, "a", "b")


def test_without_a_link_nothing_is_sent_and_that_is_counted() -> None:
    async def story(a: Node, b: Node) -> None:
        a.links.drop("b", "for the test")
        assert a.events[-1] == ("b", "PeerDisconnected")
        assert not a.links.send("b", "tickets", b"nobody there")
        assert a.links.counters["unsent"] == 1
        await a.until(lambda: a.links.connected("b"))
        assert a.links.send("b", "tickets", b"there again")
        await b.until(lambda: b.heard == [("a", "tickets", b"there again")])

    told(story, "a", "b")


def test_a_message_over_the_limit_is_our_own_fault() -> None:
    async def story(a: Node, b: Node) -> None:
        with pytest.raises(BrokenInvariant, match="cut it into smaller ones"):
            a.links.send("b", "tickets", bytes(5000))

    told(story, "a", "b", frame_bytes_max=4000)


def test_a_frame_over_the_limit_drops_the_link() -> None:
    async def story(a: Node, b: Node) -> None:
        a.links.frame_bytes_max = 10_000
        a.links.send("b", "tickets", bytes(5000))
        await b.until(lambda: b.links.counters["malformed"] == 1)
        await a.until(lambda: a.links.counters["disconnects"] == 1)
        assert b.heard == []

    told(story, "a", "b", frame_bytes_max=4000)


def test_what_the_node_cannot_decode_drops_the_link_at_once() -> None:
    async def story(a: Node, b: Node) -> None:
        def refuse(*_: object) -> None:
            raise MalformedInput("this makes no sense")

        b.on_frame = refuse
        for payload in (b"nonsense", b"after the nonsense"):
            a.links.send("b", "tickets", payload)
        await b.until(lambda: b.links.counters["malformed"] == 1)
        assert len(b.heard) == 1
        b.on_frame = lambda *_: None
        await b.until(lambda: b.events[-2:] == [("a", "PeerDisconnected"), ("a", "PeerConnected")])

    told(story, "a", "b")


def test_a_peer_that_does_not_read_is_dropped_before_memory_runs_out() -> None:
    async def story(a: Node, b: Node) -> None:
        link = b.links._peers["a"].link
        assert link is not None
        assert link._transport is not None
        link._transport.pause_reading()
        sent = 0
        while a.links.counters["overflows"] == 0:
            a.links.send("b", "tickets", bytes(100_000))
            sent += 100_000
            assert sent < 100_000_000
            await asyncio.sleep(0)
        assert a.events[-1] == ("b", "PeerDisconnected")
        link._transport.resume_reading()
        await a.until(lambda: a.links.connected("b"))

    told(story, "a", "b", write_buffer_bytes_max=1_000_000)


@pytest.mark.parametrize("victim_name", ["a", "b"])
def test_a_dead_peer_is_refused_and_a_returned_one_is_linked_again(victim_name: str) -> None:
    async def story(a: Node, b: Node) -> None:
        survivor, victim = (b, a) if victim_name == "a" else (a, b)
        await victim.stop()
        await survivor.until(lambda: (victim.name, "PeerRefused") in survivor.events)
        lost = survivor.events.index((victim.name, "PeerDisconnected"))
        assert lost < survivor.events.index((victim.name, "PeerRefused"))
        returned = Node(victim.name, {"a": a.address, "b": b.address})
        await returned.listen()
        returned.links.start()
        await survivor.until(lambda: survivor.events[-1] == (victim.name, "PeerConnected"))
        await returned.until(lambda: returned.links.connected(survivor.name))
        await returned.stop()

    told(story, "a", "b")


def test_an_accepted_dial_proves_nothing() -> None:
    async def story(a: Node, b: Node) -> None:
        b.deaf = True
        a.links.drop("b", "for the test")
        dials = a.links.counters["dials"]
        await a.until(lambda: a.links.counters["dials"] > dials)
        await b.until(lambda: ("a", "PeerDisconnected") in b.events)
        assert ("b", "PeerRefused") not in a.events
        assert not a.links.connected("b")

    told(story, "a", "b")


def test_a_refusal_from_another_host_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        addresses = {"a": Address("192.0.2.1", 7501), "b": Address("192.0.2.2", 7502), "c": Address("192.0.2.1", 7503)}
        node = Node("a", addresses)
        refused = asyncio.Event()

        async def refuse(connection: socket.socket, place: tuple[Any, ...]) -> None:
            if place[0] == "192.0.2.2":
                refused.set()
            raise ConnectionRefusedError

        node.links._connect = refuse  # type: ignore[method-assign]
        node.links.start()
        async with asyncio.timeout(10):
            await refused.wait()
            await node.until(lambda: node.events.count(("c", "PeerRefused")) > 2)
        assert ("b", "PeerRefused") not in node.events
        await node.links.close()

    uvloop.run(story())


def test_nodes_of_different_sites_are_told_so_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        addresses = free_addresses("a", "b")
        a, b = Node("a", addresses, site="theatre"), Node("b", addresses, site="cinema")
        for node in (a, b):
            await node.listen()
        a.links.start()
        async with asyncio.timeout(10):
            await a.until(lambda: a.links.counters["refusals"] > 3)
        assert a.events == b.events == []
        await a.stop()
        await b.stop()

    with caplog.at_level(logging.ERROR):
        uvloop.run(story())
    complaints = [record.getMessage() for record in caplog.records]
    assert len(complaints) == 2, "once for each side, not at every attempt"
    assert any("it belongs to site 'theatre', but node 'b' to site 'cinema'" in text for text in complaints)
    assert any("node a, link with b at" in text for text in complaints)


def answer_to(first: bytes) -> bytes:
    """What node b of a, b, c says to a connection that begins so, until it hangs up."""
    answer = bytearray()

    async def story() -> None:
        addresses = free_addresses("a", "b", "c")
        node = Node("b", addresses)
        await node.listen()
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(*addresses["b"])
            writer.write(first)
            answer.extend(await reader.read())
            writer.close()
        assert node.events == []
        assert node.links.counters["refusals"] + node.links.counters["malformed"] == 1
        await node.stop()

    uvloop.run(story())
    return bytes(answer)


def test_a_greeting_that_cannot_be_right_is_refused_with_the_reason() -> None:
    assert b"speaks version 9 of the peer protocol, this node speaks 1" in answer_to(MAGIC + b"\x00\x09" + bytes(4))
    assert b"knows no node 'z'" in answer_to(spoken(Hello("demo", "z", "b")))
    assert b"it wants node 'a', but this is 'b'" in answer_to(spoken(Hello("demo", "c", "a")))
    assert b"node 'b' dials node 'c', never the other way" in answer_to(spoken(Hello("demo", "c", "b")))
    assert answer_to(MAGIC[:4] + b"nonsense") == b""
    assert answer_to(MAGIC + b"\x00\x01" + (3).to_bytes(4, "big") + b"???") == b""


def test_a_silent_greeting_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "GREETING_TIMEOUT_S", 0.05)

    async def story() -> None:
        addresses = free_addresses("a", "b")
        node = Node("b", addresses)
        await node.listen()
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(*addresses["b"])
            writer.write(MAGIC[:5])
            assert await reader.read() == b""
            writer.close()
        await node.stop()

    uvloop.run(story())


def test_a_second_link_of_the_same_node_replaces_the_first() -> None:
    async def story(a: Node, b: Node) -> None:
        reader, writer = await asyncio.open_connection(*b.address)
        writer.write(spoken(Hello("demo", "a", "b")))
        await b.until(lambda: b.events[-2:] == [("a", "PeerDisconnected"), ("a", "PeerConnected")])
        assert await reader.readexactly(len(MAGIC)) == MAGIC
        writer.close()
        await a.until(lambda: a.links.connected("b") and a.links.counters["connects"] > 1)

    told(story, "a", "b")


def test_a_knock_ends_the_pause_before_the_next_dial() -> None:
    async def story() -> None:
        addresses = free_addresses("a", "b")
        a = Node("a", addresses)
        await a.listen()
        a.links.start()
        async with asyncio.timeout(10):
            await a.until(lambda: a.links.counters["dials_refused"] >= 12)  # by now it pauses for half a second
            b = Node("b", addresses)
            await b.listen()
            begun = time.monotonic()
            b.links.start()
            await b.until(lambda: b.links.connected("a"))
            assert time.monotonic() - begun < 0.25
            assert a.links.counters["knocks"] >= 1
        await a.stop()
        await b.stop()

    uvloop.run(story())


def test_a_knock_tells_that_an_old_link_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "SETTLED_AFTER_S", -1.0)

    async def story(a: Node, b: Node) -> None:
        await b.links._try(b.links._peers["a"])  # as if b had no link
        await a.until(lambda: ("b", "PeerDisconnected") in a.events)
        await a.until(lambda: a.events[-1] == ("b", "PeerConnected"))

    told(story, "a", "b")


VICTIM = """
import asyncio, sys
sys.path[:0] = sys.argv[2:]
from test_links import Node, Address
async def main():
    ports = [int(port) for port in sys.argv[1].split(",")]
    addresses = {name: Address("127.0.0.1", port) for name, port in zip("ab", ports)}
    node = Node("b", addresses)
    await node.listen()
    node.links.start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_the_kill_of_a_process_is_proved_within_moments() -> None:
    async def story() -> None:
        addresses = free_addresses("a", "b")
        ports = ",".join(str(address.port) for address in addresses.values())
        victim = await asyncio.create_subprocess_exec(sys.executable, "-c", VICTIM, ports, str(Path(__file__).parent))
        a = Node("a", addresses)
        await a.listen()
        a.links.start()
        async with asyncio.timeout(10):
            await a.until(lambda: a.links.connected("b"))
            a.events.clear()
            killed = time.monotonic()
            victim.kill()
            await a.until(lambda: ("b", "PeerRefused") in a.events)
            assert time.monotonic() - killed < 0.2
            await victim.wait()
        await a.stop()

    uvloop.run(story())


def test_bytes_of_any_kind_never_stop_a_node() -> None:
    async def story(a: Node, b: Node) -> None:
        half_a_hello = spoken(Hello("demo", "a", "b"))[:-3]
        for noise in (b"\x00", b"\x00\x00\x00\x00", MAGIC + b"\xff" * 50, half_a_hello, b"\x00" * 999):
            _, writer = await asyncio.open_connection(*b.address)
            writer.write(noise)
            await writer.drain()
            writer.close()
        a.links.send("b", "tickets", b"still here")
        await b.until(lambda: ("a", "tickets", b"still here") in b.heard)

    told(story, "a", "b")
