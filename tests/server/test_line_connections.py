"""Many clients at once: too many, short ones, slow ones, vanished ones, and peers among them."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from tests.server.line_house import Echoed, House, play
from tests.waiting import until

from holdfast.kernel.replies import Unavailable, Unknown
from holdfast.server import line_server


def test_one_client_too_many_is_told_and_the_others_stay() -> None:
    async def scenario(house: House, connect: Any) -> None:
        clients = [await connect() for _ in range(3)]
        for client in clients:
            await client.say("reserve ann 1\n")
            assert await client.line() == "reserve ann 1"
        told = "Failed: too many connections: 3 are open; close some or use another server."
        eager, silent, hasty = await connect(), await connect(), await connect()
        await eager.say("reserve bob 1\n")
        assert await eager.line() == told
        assert await silent.line() == told
        assert await hasty.rest() == [told]
        assert house.lines.counters["refused"] == 3
        clients[0].writer.close()
        await until(lambda: len(house.lines.connections) == 2)
        late = await connect()
        await late.say("reserve cid 1\n")
        assert await late.line() == "reserve cid 1"

    play(scenario, connections_max=3)


def test_a_peer_gets_in_however_many_clients_there_are() -> None:
    async def scenario(house: House, connect: Any) -> None:
        await connect()
        await until(lambda: len(house.lines.connections) == 1)
        peer = await connect()
        await peer.say(b"\0HOLDFAST and more")
        await until(lambda: house.peers)
        assert house.peers == [b"\0HOLDFAST and more"]
        assert house.lines.counters["refused"] == 0

    play(scenario, connections_max=1)


def test_a_peer_counts_as_no_client() -> None:
    async def scenario(house: House, connect: Any) -> None:
        peer = await connect()
        await peer.say(b"\0")
        await until(lambda: house.peers == [b"\0"])
        assert not house.lines.connections

    play(scenario)


def test_two_thousand_short_connections() -> None:
    async def scenario(house: House, connect: Any) -> None:
        async def book(number: int) -> None:
            client = await connect()
            await client.say(f"reserve n{number} 1")
            assert await client.rest() == [f"reserve n{number} 1"]
            client.writer.close()

        for first in range(0, 2000, 200):
            await asyncio.gather(*(book(number) for number in range(first, first + 200)))
        assert house.lines.counters["connections"] == 2000
        await until(lambda: not house.lines.connections)

    play(scenario)


def test_clients_that_vanish_leave_nothing_behind() -> None:
    async def scenario(house: House, connect: Any) -> None:
        for number in range(50):
            client = await connect()
            await client.say(f"reserve n{number} 1\nreserve half")
        await until(lambda: len(house.echo.waiting) == 50)
        for connection in list(house.lines.connections):
            assert connection._transport is not None
            ours = connection._transport.get_extra_info("socket")
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            connection._transport.abort()
        await until(lambda: not house.lines.connections)
        house.echo.release()
        client = await connect()
        await client.say("reserve bob 1\n")
        await until(lambda: house.echo.waiting)
        house.echo.release()
        assert await client.line() == "reserve bob 1"

    play(scenario, holds=True)


def test_who_does_not_read_is_cut_off_and_who_reads_late_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_server, "UNREAD_SECONDS_MAX", 0.5)

    async def scenario(house: House, connect: Any) -> None:
        house.echo.size = 20_000
        slow, late = await connect(limit=30_000), await connect(limit=30_000)  # bytes that are read ahead
        for client in (slow, late):
            client.writer.write(b"reserve ann 1\n" * 2000)
        replies = 0
        while replies < 2000:
            replies += len(await late.line()) > 20_000
        await until(lambda: house.lines.counters["slow_readers"] == 1)
        await until(lambda: len(house.lines.connections) == 1)
        await late.say("reserve bob 1\n")
        assert (await late.line()).startswith("reserve bob 1")

    play(scenario, unread_bytes_max=100_000)


def test_large_replies_to_many_lines_reach_a_client_that_reads() -> None:
    async def scenario(house: House, connect: Any) -> None:
        house.echo.size = 20_000
        client = await connect()
        await client.say("search ann\n" * 1000)
        for _ in range(1000):
            assert len(await client.line()) > 20_000
        assert house.lines.counters["slow_readers"] == 0

    play(scenario, unread_bytes_max=4096)


def test_what_a_failed_replica_leaves_unanswered_gets_one_reply() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("reserve ann 1\nreserve bob 1\n")
        await until(lambda: len(house.echo.waiting) == 2)
        house.lines.fail("open", Unavailable("not this one"))
        house.echo.waiting[0][0].deliver(Echoed("in time"))
        house.lines.fail("tickets", Unknown("the disk is gone"))
        house.echo.release()
        assert await client.line() == "in time"
        assert (await client.line()).startswith("Failed: outcome unknown")
        await client.say("quit\n")
        assert await client.rest(half_close=False) == ["Bye."]

    play(scenario, holds=True)
