"""Datagrams between nodes, on real sockets: what arrives, what is lost, and what nobody else can say."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import random
import socket
from typing import Any

import pytest
import uvloop
from tests.ports import free_ports
from tests.runtime.datagram_nodes import HOST, Node, addresses_of, throw, told
from tests.runtime.rough_weather import RoughWeather, Weather
from tests.waiting import until

from holdfast.kernel.errors import BrokenInvariant
from holdfast.runtime import datagrams as datagrams_module
from holdfast.runtime.datagrams import (
    DATAGRAM_BYTES_MAX,
    LOOPBACK_DATAGRAM_BYTES_MAX,
    PACE_BYTES,
)
from holdfast.runtime.links import Address

FAR = ("192.0.2.1", 7501)
"""An address of no machine (RFC 5737); nothing is really sent there."""


class Recorder:
    """In place of a node's socket: takes every datagram, or refuses."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.error: OSError | None = None

    def sendto(self, datagram: bytes, place: object) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append(datagram)


# -- What arrives


def test_messages_of_every_size_arrive_whole_and_by_channel() -> None:
    async def story(a: Node, b: Node) -> None:
        sent = [("events", os.urandom(size)) for size in (0, 1, 100, 32_000, 33_000, 70_000, 3_000_000)]
        sent += [("ключ", b"last"), ("", b"no name")]
        for channel, payload in sent:
            assert a.send("b", channel, payload)
        await until(lambda: len(b.heard) == len(sent))
        assert sorted(b.heard) == sorted(("a", channel, payload) for channel, payload in sent)
        assert a.counters["messages_sent"] == b.counters["messages_received"] == len(sent)
        assert a.counters["fragments_sent"] == b.counters["fragments_received"] == 2 + 3 + 92
        assert a.counters["bytes_sent"] == b.counters["bytes_received"]
        assert a.counters["sent"] == b.counters["received"]
        b.send("a", "events", b"back")
        await until(lambda: a.heard == [("b", "events", b"back")])

    told(story, "a", "b")


def test_what_a_turn_sends_to_one_node_shares_a_datagram() -> None:
    async def story(a: Node, b: Node, c: Node) -> None:
        for number in range(100):
            a.send("b", "events", b"%d" % number)
            a.send("c", "events", b"%d" % number)
        await until(lambda: len(b.heard) == len(c.heard) == 100)
        assert [payload for _, _, payload in b.heard] == [b"%d" % number for number in range(100)]
        assert (b.counters["received"], c.counters["received"]) == (1, 1)
        a.send("b", "events", b"early")
        a.datagrams.flush()
        a.send("b", "events", b"late")
        await until(lambda: len(b.heard) == 102)
        assert b.counters["received"] == 3

    told(story, "a", "b", "c")


def test_a_node_may_send_to_itself() -> None:
    async def story(a: Node) -> None:
        a.send("a", "events", b"note")
        await until(lambda: a.heard == [("a", "events", b"note")])

    told(story, "a")


def test_handlers_hear_their_channels_and_may_answer_at_once() -> None:
    async def story(a: Node, b: Node) -> None:
        heard: list[tuple[str, str, bytes]] = []

        def on_branch(node: str, channel: str, payload: bytes) -> None:
            heard.append((node, channel, payload))
            b.send(node, "branch/TOR", b"answer")

        b.datagrams.handlers["branch"] = on_branch
        for channel in ("branch/MTL", "events", "branch", "branches/MTL"):
            a.send("b", channel, b"question")
        await until(lambda: len(a.heard) == 2 and len(b.heard) == 2)
        assert heard == [("a", "branch/MTL", b"question"), ("a", "branch", b"question")]
        assert b.heard == [("a", "events", b"question"), ("a", "branches/MTL", b"question")]
        assert set(a.heard) == {("b", "branch/TOR", b"answer")}

    told(story, "a", "b")


def test_hosts_with_names_are_looked_up() -> None:
    async def story() -> None:
        addresses = {name: Address("localhost", port) for name, port in zip("ab", free_ports(2), strict=True)}
        a, b = Node("a", addresses), Node("b", addresses)
        async with asyncio.timeout(10):
            await a.datagrams.start()
            await b.datagrams.start()
            await until(lambda: a.send("b", "events", b"here"))
            await until(lambda: b.heard == [("a", "events", b"here")])
        a.datagrams.close()
        b.datagrams.close()

    uvloop.run(story())


@pytest.mark.parametrize("seed", range(4))
def test_rough_weather_loses_and_doubles_messages_but_never_changes_one(seed: int) -> None:
    async def story() -> None:
        real = addresses_of("a", "b")
        chance = random.Random(seed)
        weather = Weather(seed, lost=10, doubled=10, overtaken=20)
        to_a, to_b = [await RoughWeather.before(real[name], weather) for name in "ab"]
        a = Node("a", {"a": real["a"], "b": Address(*to_b.address)})
        b = Node("b", {"b": real["b"], "a": Address(*to_a.address)})
        await a.datagrams.start()
        await b.datagrams.start()
        missing = {
            number.to_bytes(8): number.to_bytes(8) + chance.randbytes(chance.choice((0, 50, 500, 40_000, 150_000)))
            for number in range(300)
        }
        asked, got = dict(missing), set()

        def on_got(node: str, channel: str, payload: bytes) -> None:
            got.add(payload)
            missing.pop(payload, None)

        bad: list[bytes] = []

        def on_ask(node: str, channel: str, payload: bytes) -> None:
            if asked.get(payload[:8]) != payload:
                bad.append(payload)
            b.send(node, "got", payload[:8])

        a.datagrams.handlers["got"] = on_got
        b.datagrams.handlers["ask"] = on_ask
        rounds = 0
        async with asyncio.timeout(60):
            while missing:  # what a protocol does: again, until it is answered
                rounds += 1
                for payload in list(missing.values()):
                    a.send("b", "ask", payload)
                await asyncio.sleep(0.05)
        assert not bad
        assert got == asked.keys()
        assert rounds > 1
        assert all(count > 0 for count in weather.counters.values())
        assert a.counters["unauthenticated"] == b.counters["unauthenticated"] == 0
        assert a.counters["malformed"] == b.counters["malformed"] == 0
        for end in (to_a, to_b, a.datagrams, b.datagrams):
            end.close()

    uvloop.run(story())


# -- Bounds


def test_datagrams_to_other_machines_are_small() -> None:
    async def story(a: Node, b: Node) -> None:
        recorder = Recorder()
        a.datagrams._socket.close()
        a.datagrams.loop.remove_reader(a.datagrams._socket)
        a.datagrams._socket = recorder  # type: ignore[assignment]
        largest = {}
        for place, name in (((HOST, 9), "loopback"), (FAR, "far")):
            a.datagrams._peers["b"].settle(place, a.datagrams._seals.overhead_bytes)
            recorder.taken.clear()
            for size in range(0, 40_000, 997):
                a.send("b", "events", bytes(size))
            a.send("b", "events", bytes(a.datagrams.room("b", "events")))
            a.datagrams.flush()
            await until(lambda: not a.datagrams._peers["b"].pieces)
            largest[name] = max(map(len, recorder.taken))
        assert largest == {"loopback": LOOPBACK_DATAGRAM_BYTES_MAX, "far": DATAGRAM_BYTES_MAX}
        a.datagrams._socket = None

    told(story, "a", "b")


def test_large_messages_leave_at_a_pace_and_small_ones_pass_them() -> None:
    async def story(a: Node, b: Node) -> None:
        recorder = Recorder()
        real, a.datagrams._socket = a.datagrams._socket, recorder  # type: ignore[assignment]
        for _ in range(2):
            a.send("b", "events", bytes(500_000))
        a.send("b", "events", b"small")
        a.datagrams.flush()
        assert len(recorder.taken[0]) < 100
        assert sum(map(len, recorder.taken)) <= PACE_BYTES + 2 * LOOPBACK_DATAGRAM_BYTES_MAX
        sent = len(recorder.taken)
        a.datagrams.flush()
        a.send("b", "events", bytes(50_000))
        a.datagrams.flush()
        assert len(recorder.taken) == sent, "the pace holds for a new one too"
        await until(lambda: not a.datagrams._peers["b"].pieces)
        assert a.datagrams._peers["b"].waiting_bytes == 0
        assert sum(map(len, recorder.taken)) > 1_050_000
        a.datagrams._socket = real

    told(story, "a", "b")


def test_what_waits_for_the_pace_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams_module, "WAITING_BYTES_MAX", 1_000_000)

    async def story(a: Node, b: Node) -> None:
        assert [a.send("b", "events", bytes(400_000)) for _ in range(3)] == [True, True, False]
        assert a.send("b", "events", b"small")
        assert a.counters["unsent"] == 1
        await until(lambda: len(b.heard) == 3)
        assert a.send("b", "events", bytes(400_000))
        await until(lambda: len(b.heard) == 4)

    told(story, "a", "b")


def test_a_message_over_the_limit_is_our_own_fault() -> None:
    async def story(a: Node, b: Node) -> None:
        with pytest.raises(BrokenInvariant, match="cut it into smaller ones"):
            a.send("b", "events", bytes(datagrams_module.MESSAGE_BYTES_MAX + 1))
        with pytest.raises(BrokenInvariant, match="channel name"):
            a.send("b", "e" * 256, b"")

    told(story, "a", "b")


def test_unfinished_messages_are_given_up_even_when_nothing_comes_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams_module, "SWEEP_S", 0.01)
    monkeypatch.setattr("holdfast.runtime.fragments.FRAGMENT_AGE_S", 0.05)

    async def story(a: Node, b: Node) -> None:
        throw(a.seal("b", b"\x01" + bytes(9) + b"\x00\x00\x02", b"half"), b)
        await until(lambda: len(b.datagrams._peers["a"].reassembly) == 1)
        await until(lambda: b.counters["incomplete"] == 1)
        assert len(b.datagrams._peers["a"].reassembly) == 0
        await until(lambda: b.datagrams._sweeper is None)

    told(story, "a", "b")


# -- Losses


class Names:
    """A node's loop that knows where "b.example" is only from the third question on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def getaddrinfo(self, host: str, port: int, **options: int) -> Any:
        if host == "b.example":
            self.asked += 1
            if self.asked < 3:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await self._loop.getaddrinfo(HOST, port, **options)


def test_nothing_is_sent_before_the_start_or_to_a_node_not_found_and_that_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(datagrams_module, "RESOLVE_S", 0.05)

    async def story() -> None:
        addresses = addresses_of("a", "b")
        a = Node("a", {**addresses, "b": Address("b.example", addresses["b"].port)})
        b = Node("b", addresses)
        names = Names(a.datagrams.loop)
        a.datagrams.loop = names  # type: ignore[assignment]
        assert not a.send("a", "events", b"too early")
        await a.datagrams.start()
        await b.datagrams.start()
        assert a.send("a", "events", b"now")
        assert not a.send("b", "events", b"whither?")
        assert a.counters["unsent"] == 2
        async with asyncio.timeout(10):
            await until(lambda: a.heard and a.send("b", "events", b"there"))
            assert names.asked == 3
            await until(lambda: b.heard == [("a", "events", b"there")])
        a.datagrams.close()
        a.datagrams.flush()
        assert not a.send("a", "events", b"too late")
        b.datagrams.close()

    with caplog.at_level(logging.ERROR):
        uvloop.run(story())
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        f"its host b.example: {socket.gaierror(socket.EAI_AGAIN, 'Temporary failure in name resolution')}"
    ]


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (BlockingIOError(errno.EAGAIN, "full"), 0),
        (OSError(errno.ENOBUFS, "No buffer space available"), 1),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), 1),
    ],
)
def test_what_the_system_does_not_take_is_lost_and_counted(
    error: OSError, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(a: Node, b: Node) -> None:
        recorder = Recorder()
        recorder.error = error
        real, a.datagrams._socket = a.datagrams._socket, recorder  # type: ignore[assignment]
        for _ in range(50):
            a.send("b", "events", b"lost")
            a.datagrams.flush()
        assert (a.counters["unsent"], a.counters["sent"]) == (50, 0)
        a.datagrams._socket = real
        a.send("b", "events", b"found")
        await until(lambda: b.heard == [("a", "events", b"found")])

    with caplog.at_level(logging.ERROR):
        told(story, "a", "b")
    assert len(caplog.records) == lines


def test_a_port_that_is_taken_is_told() -> None:
    async def story(a: Node) -> None:
        second = Node("a", {"a": a.address})
        with pytest.raises(OSError, match="in use"):
            await second.datagrams.start()

    told(story, "a")


def test_an_echo_of_the_systems_own_errors_is_a_loss() -> None:
    async def story(a: Node, b: Node) -> None:
        class Refused:
            def __init__(self, real: Any) -> None:
                self.real = real
                self.errors = 3

            def recvfrom_into(self, view: memoryview) -> Any:
                self.errors -= 1
                if self.errors >= 0:
                    raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
                return self.real.recvfrom_into(view)

        real = b.datagrams._socket
        b.datagrams._socket = Refused(real)  # type: ignore[assignment]
        a.send("b", "events", b"after")
        await until(lambda: b.heard == [("a", "events", b"after")])
        assert b.counters["unsent"] == 3
        b.datagrams._socket = real

    told(story, "a", "b")
