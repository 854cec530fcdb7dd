"""What nobody but a node of the site can say, and what a node can say wrongly."""

from __future__ import annotations

import asyncio
import logging
import random
import socket

import pytest
from tests.runtime.datagram_nodes import HOST, Node, throw, told
from tests.waiting import until

from holdfast.runtime.datagrams import COMPLAINTS_MAX
from holdfast.runtime.links import Address


def test_what_does_not_verify_is_dropped_and_counted_with_one_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(a: Node, b: Node) -> None:
        stranger = Node("a", {"a": a.address, "b": b.address}, secret=bytes(32))
        mouse = Node("a", {"a": a.address, "b": b.address}, site="mouse")
        chance = random.Random(1)
        bad = [chance.randbytes(chance.randrange(100)) for _ in range(100)]
        bad += [other.seal("b", b"\x00") for other in (stranger, mouse)]
        bad += [a.seal("a", b"\x00"), b.seal("a", b"\x00")]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anybody:
            for datagram in bad:
                throw(datagram, b, anybody)
                await asyncio.sleep(0)
        await until(lambda: b.counters["unauthenticated"] == len(bad))
        a.send("b", "events", b"the real one")
        await until(lambda: b.heard == [("a", "events", b"the real one")])
        assert b.counters["malformed"] == 0

    with caplog.at_level(logging.ERROR):
        told(story, "a", "b")
    (record,) = caplog.records
    assert "datagrams, 127.0.0.1: a datagram does not verify" in record.getMessage()


def test_many_strangers_do_not_fill_the_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(a: Node) -> None:
        now_s = 6_000.0
        monkeypatch.setattr(a.datagrams, "loop", type("Clock", (), {"time": lambda self: now_s})())
        for number in range(1000):
            a.datagrams._take(memoryview(b"garbage"), f"192.0.2.{number}")
        assert len(caplog.records) == COMPLAINTS_MAX
        now_s += 60
        a.datagrams._take(memoryview(b"garbage"), "192.0.2.1")
        assert len(caplog.records) == COMPLAINTS_MAX + 1
        assert len(a.datagrams._complained) == 1
        monkeypatch.undo()

    with caplog.at_level(logging.ERROR):
        told(story, "a")


def test_what_a_node_of_the_site_says_wrongly_is_counted_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def story(a: Node, b: Node) -> None:
        z = Node("z", {"z": Address(HOST, 9), "b": b.address})
        wrong = [a.seal("b"), a.seal("b", b"\x07"), a.seal("b", b"\x00\x09"), a.seal("b", b"\x01" + bytes(20))]
        for number, datagram in enumerate([*wrong, z.seal("b", b"\x00")], 1):
            throw(datagram, b)
            await until(lambda number=number: b.counters["malformed"] == number)
        throw(a.seal("b", b"\x00\x01\x00\x00\x00\x00\xff"), b)  # a channel that is no text
        await until(lambda: b.counters["malformed"] == 6)
        for payload in (b"nonsense", b"sense"):
            a.send("b", "events", payload)
        await until(lambda: b.heard == [("a", "events", b"sense")])
        assert (b.counters["malformed"], b.counters["unauthenticated"]) == (7, 0)

    with caplog.at_level(logging.ERROR):
        told(story, "a", "b")
    assert any("knows no node b'z'" in record.getMessage() for record in caplog.records)
    assert len(caplog.records) == 2, "one line for each sender"


def test_a_recorded_datagram_can_be_played_again_but_not_to_another_node() -> None:
    """What the protocols above must live with, and what they need not."""

    async def story(a: Node, b: Node, c: Node) -> None:
        recorded = a.seal("b", b"\x00\x06" + (4).to_bytes(4) + b"events" + b"once")
        for node in (b, b, c, a):
            throw(recorded, node)
        await until(lambda: b.heard == [("a", "events", b"once")] * 2)
        await until(lambda: c.counters["unauthenticated"] == a.counters["unauthenticated"] == 1)

    told(story, "a", "b", "c")
