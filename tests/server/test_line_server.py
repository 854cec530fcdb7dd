"""The line protocol on real sockets: order, lines in any pieces, the port's own words, who asks."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.line_house import TOKEN, House, play, said
from tests.waiting import until

from holdfast.server import line_server

EMPTY = b"Failed: the line is empty; help lists the commands."


# -- Order


def test_replies_come_in_the_order_of_their_lines_whatever_finishes_first() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("reserve ann 1\nnonsense\nreserve bob 2\nreserve cid 3\n")
        await until(lambda: len(house.echo.waiting) == 3)
        house.echo.release(2, 1)
        house.echo.release(0)
        replies = await client.lines(4)
        assert replies[0] == "reserve ann 1"
        assert replies[1].startswith("Failed: no command 'nonsense'")
        assert replies[2:] == ["reserve bob 2", "reserve cid 3"]

    play(scenario, holds=True)


def test_a_question_sees_the_update_before_it_and_not_the_one_after_it() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("reserve ann 1\nsearch ann\ndelete ann\n")
        for expected in ("reserve ann 1", "search ann", "delete ann"):
            await until(lambda: len(house.echo.waiting) == 1)
            assert said(house.echo.waiting[0][1]) == expected
            house.echo.release()
            assert await client.line() == expected

    play(scenario, holds=True)


def test_updates_are_handed_on_together_without_waiting_for_replies() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("".join(f"reserve guest{number} 1\n" for number in range(100)))
        await until(lambda: len(house.echo.waiting) == 100)
        house.echo.release()
        assert await client.lines(100) == [f"reserve guest{number} 1" for number in range(100)]

    play(scenario, holds=True)


def test_a_mode_holds_for_the_lines_after_it_only() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("reserve ann 1\nmode json\nreserve bob 1\nmode text\nreserve cid 1\n")
        await until(lambda: len(house.echo.waiting) == 3)
        house.echo.release()
        first, told, second, _, third = await client.lines(5)
        assert (first, third) == ("reserve ann 1", "reserve cid 1")
        assert json.loads(told)["ok"] is True
        answer = json.loads(second)
        assert answer == {
            "ok": True,
            "text": "reserve bob 1",
            "type": "echoed",
            "reply": {"words": "reserve bob 1"},
            "firm": "committed",
        }

    play(scenario, holds=True)


def test_ten_thousand_lines_in_one_go_are_all_answered_in_order() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        sending = asyncio.create_task(client.say("".join(f"reserve n{number} 1\n" for number in range(10_000))))
        assert await client.lines(10_000) == [f"reserve n{number} 1" for number in range(10_000)]
        await sending

    play(scenario)


def test_a_connection_takes_no_more_lines_than_the_limit_until_some_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_server, "LINES_WAITING_MAX", 10)

    async def scenario(house: House, connect: Any) -> None:
        greedy, modest = await connect(), await connect()
        await greedy.say("reserve ann 1\n" * 1000)
        await until(lambda: len(house.echo.waiting) == 10)
        await modest.say("reserve bob 1\n")
        await until(lambda: len(house.echo.waiting) == 11)
        house.echo.holds = False
        house.echo.release()
        assert await modest.line() == "reserve bob 1"
        assert await greedy.lines(1000) == ["reserve ann 1"] * 1000

    play(scenario, holds=True)


def test_a_flood_of_empty_lines_lets_others_have_their_turn() -> None:
    async def scenario(house: House, connect: Any) -> None:
        flood, modest = await connect(), await connect()
        flooding = asyncio.create_task(flood.say(b"\n" * 200_000))
        await until(lambda: house.lines.counters["malformed"] > 0)
        await modest.say("reserve bob 1\n")
        assert await modest.line() == "reserve bob 1"
        assert house.lines.counters["malformed"] < 200_000
        for _ in range(200_000):
            assert await flood.reader.readline() == EMPTY + b"\n"
        await flooding

    play(scenario)


# -- Lines, whatever the packets


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_line_may_come_in_any_pieces(ending: str) -> None:
    async def scenario(house: House, connect: Any) -> None:
        text = f'reserve "Jürgen Ö" 2{ending}search bob{ending}'.encode()
        client = await connect()
        client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(text)):
            await client.say(text[:place])
            await asyncio.sleep(0)
            await client.say(text[place:])
            assert await client.lines(2) == ["reserve Jürgen Ö 2", "search bob"]

    play(scenario)


def test_a_last_line_without_its_end_is_answered_too() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("reserve ann 1\nreserve bob 1")
        assert await client.rest() == ["reserve ann 1", "reserve bob 1"]

    play(scenario)


def test_no_reply_is_lost_when_the_end_comes_with_the_lines() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("reserve ann 1\nsearch ann\nlogin ann\nreserve bob 1\nstatus")
        client.writer.write_eof()
        for expected in ("reserve ann 1", "search ann", "reserve bob 1 ann"):
            await until(lambda: len(house.echo.waiting) == 1)
            assert said(house.echo.waiting[0][1]) == expected
            house.echo.release()
        assert await client.rest(half_close=False) == [
            "reserve ann 1", "search ann", "Welcome, Ann.", "reserve bob 1 ann", '{"node": "a"}',
        ]  # fmt: skip

    play(scenario, holds=True)


@pytest.mark.parametrize("excess", [1, 5, 3000, 300_000])
def test_an_overlong_line_gets_one_clear_answer_and_the_connection_stays_usable(excess: int) -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say(b"reserve ann 1\nreserve " + b"x" * (1000 - len("reserve ") + excess))
        assert await client.lines(2) == ["reserve ann 1", "Failed: the line is longer than 1000 bytes."]
        await client.say(b"y" * 2000 + b"\nreserve bob 2\n")
        assert await client.line() == "reserve bob 2"

    play(scenario)


def test_an_overlong_line_behind_a_login_keeps_its_place() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say(f'login ann "{TOKEN}"\nreserve ann 1\n' + "x" * 1500)
        await client.say("\nreserve bob 1\n")
        assert await client.lines(4) == [
            "Welcome, Ann.",
            "reserve ann 1 ann",
            "Failed: the line is longer than 1000 bytes.",
            "reserve bob 1 ann",
        ]

    play(scenario, identity="token")


def test_what_is_not_utf8_is_refused_and_the_next_line_is_fine() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say(b"reserve \xff\xfe 1\nreserve bob 1\n\x80\n")
        refused, fine, again = await client.lines(3)
        assert refused == "Failed: the line is not UTF-8 text: byte 9 does not belong there."
        assert fine == "reserve bob 1"
        assert again.startswith("Failed: the line is not UTF-8 text")
        assert house.lines.counters["malformed"] == 2

    play(scenario)


# -- The port's own words


def test_help_status_notices_and_quit() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("help reserve\nstatus\nnotices 7\nmode loud\nquit\nreserve ann 1\n")
        replies = await client.rest()
        assert replies[0].startswith("reserve <name> <count>")
        assert json.loads(replies[1]) == {"node": "a"}
        assert replies[2].split() == ["notices", "7"]
        assert replies[3].startswith("Failed: ")
        assert replies[4:] == ["Bye."]
        assert [said(request).split() for request in house.echo.heard] == [["notices", "7"]]

    play(scenario)


def test_quit_waits_for_the_replies_before_it() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("reserve ann 1\nquit\n")
        await until(lambda: house.echo.waiting)
        house.echo.release()
        assert await client.rest(half_close=False) == ["reserve ann 1", "Bye."]

    play(scenario, holds=True)


def test_a_common_port_speaks_to_the_service_that_is_chosen() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("reserve ann 1\nnotices\nuse cinema\nuse open\nreserve bob 1\n")
        unknown, none, nowhere, using, reply = await client.lines(5)
        assert unknown.startswith("Failed: no command 'reserve'")
        assert none == "Failed: no service is chosen; write use SERVICE first."
        assert nowhere == "Failed: no service 'cinema' here; there are: tickets, open."
        assert (using, reply) == ("Using open.", "reserve bob 1")
        assert [said(request) for request in house.other.heard] == ["reserve bob 1"]

    play(scenario, common=True)


# -- Who asks


def test_where_tokens_are_asked_for_nobody_is_served_without_one() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("reserve ann 1\nsearch ann\nnotices\nlogin ann\nlogin bob x\nreserve bob 1\n")
        for reply in await client.lines(6):
            assert reply.startswith("Failed: ")
        assert house.echo.heard == []
        await client.say(f'login ann "{TOKEN}"\nreserve ann 1\n')
        assert await client.lines(2) == ["Welcome, Ann.", "reserve ann 1 ann"]

    play(scenario, identity="token")


@pytest.mark.parametrize("before", ["login ann\nuse tickets\n", "use open\nlogin ann\nuse tickets\n"])
def test_a_name_believed_elsewhere_is_no_proof_where_tokens_are_asked_for(before: str) -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say(f"{before}reserve ann 1\nnotices\nquit\n")
        replies = await client.rest()
        assert replies[-3:-1] == ["Failed: this service wants to know who asks; write login ID TOKEN first."] * 2
        assert house.echo.heard == []

    play(scenario, identity="token", common=True)


def test_a_failed_login_leaves_the_person_as_it_was() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say(f'login ann "{TOKEN}"\nlogin ann wrong\nreserve ann 1\n')
        welcome, refused, reply = await client.lines(3)
        assert welcome == "Welcome, Ann."
        assert refused.startswith("Failed: ")
        assert reply == "reserve ann 1 ann"

    play(scenario, identity="token")


def test_lines_behind_a_login_wait_for_it() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        lines = "".join(f"reserve n{number} 1\n" for number in range(50))
        await client.say(f'login ann "{TOKEN}"\n{lines}login bob no\n{lines}')
        replies = await client.lines(102)
        assert replies[1:51] == replies[52:] == [f"reserve n{number} 1 ann" for number in range(50)]

    play(scenario, identity="token")


def test_a_client_that_leaves_during_its_login_disturbs_nobody() -> None:
    async def scenario(house: House, connect: Any) -> None:
        for _ in range(5):
            client = await connect()
            await client.say(f'login ann "{TOKEN}"\nreserve ann 1\n')
            client.writer.transport.abort()
        await until(lambda: not house.lines.connections)
        client = await connect()
        await client.say(f'login ann "{TOKEN}"\n')
        assert await client.line() == "Welcome, Ann."

    play(scenario, identity="token")


# -- Anything at all

pieces = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [b"reserve ann 1\n", b"search ann\r\n", b"\n", b"mode json\n", b"mode text\n", b"help\n", b"status\n",
             b"use open\n", b"use tickets\n", b"login ann\n", b"login nobody x\n", b"@c.1:1 ", b"@c:0 ", b'"',
             b"x" * 1100]
        ),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=60)
@given(pieces)
def test_every_line_gets_one_line_whatever_the_bytes(parts: list[bytes]) -> None:
    parts = [b"?", *parts]  # a first byte of zero would be a peer's
    lines = b"".join(parts).split(b"\n")
    count = len(lines) - (lines[-1] == b"")

    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        for part in parts:
            await client.say(part)
        replies = await client.rest()
        assert len(replies) == count
        assert all(reply.isprintable() for reply in replies)

    play(scenario)
