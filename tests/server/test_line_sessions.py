"""Views, sessions and changes on real connections, before a service whose replies need not be final."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.line_house import TOKEN, Client, Echoed, House, play
from tests.waiting import until

from holdfast.kernel.contracts import Change, Reading
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.replies import Outcome
from holdfast.server import line_server
from holdfast.server.reading import GUARANTEES, ReadingSession, SessionTold

ALL = ", ".join(GUARANTEES)


async def answer(client: Client, line: str) -> str:
    await client.say(line + "\n")
    return await client.line()


def readings(house: House) -> list[Reading | None]:
    return [request.reading for request in house.echo.heard]


# -- Views


def test_who_chooses_nothing_is_served_as_ever() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        told = await answer(client, "reserve ann 1")
        assert told == "reserve ann 1 [tentative, x-1, firm by 2026-12-01 08:00 at the latest, clock]"
        assert await answer(client, "search ann") == "search ann"
        assert readings(house) == [None, None]

    play(scenario, tentative=True)


def test_a_view_holds_for_the_questions_after_it_only() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client, other = await connect(), await connect()
        await client.say("mode json\nsearch ann\nview committed\nsearch ann\nsearch bob\nview full\nsearch ann\n")
        lines = [json.loads(line) for line in await client.lines(7)]
        assert [line["firm"] for line in lines if line["type"] == "echoed"] == [
            "full",
            "committed",
            "committed",
            "full",
        ]
        assert lines[2]["text"] == "Questions see the committed view now."
        await answer(other, "search ann")
        assert readings(house)[-1] is None

    play(scenario, tentative=True)


def test_where_all_is_final_both_views_are_one_and_nothing_travels_with_a_request() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        told = await answer(client, "view committed")
        assert told.startswith("Questions see the committed view now; of tickets both views are one")
        assert (await answer(client, "session all")).startswith(f"Session of {ALL}; token ")
        assert await answer(client, "watch") == "There will be none: all that tickets answers is final."
        assert await answer(client, "reserve ann 1") == "reserve ann 1"
        assert await answer(client, "search ann") == "search ann"
        assert readings(house) == [None, None]

    play(scenario)


# -- Sessions


def test_a_session_takes_along_what_it_has_read_and_written_also_to_another_connection() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        assert await answer(client, "session") == "No session is on."
        await client.say("session all\nreserve ann 1\nreserve bob 1\nsearch ann\nreserve eve 1\nsession\n")
        token = (await client.lines(6))[-1].split()[-1]
        assert readings(house) == [
            Reading("full", GUARANTEES, (), ()),
            Reading("full", GUARANTEES, (), ()),  # sent with the first: the replica that takes both keeps their order
            Reading("full", GUARANTEES, (), (("x", 2),)),
            Reading("full", GUARANTEES, (("x", 2), ("y", 7)), (("x", 2),)),
        ]
        elsewhere = await connect()
        await elsewhere.say(f"session monotonic-reads {token}\nsearch ann\nsession same {token}\nsearch ann\n")
        lines = await elsewhere.lines(4)
        assert lines[0].startswith("Session of monotonic-reads; token ")
        assert lines[2] == f"Session of {ALL}; token {token}"
        assert readings(house)[4] == Reading("full", ("monotonic-reads",), (("x", 2), ("y", 7)), (("x", 3),))
        assert readings(house)[5] == Reading("full", GUARANTEES, (("x", 2), ("y", 7)), (("x", 3),))

    play(scenario, tentative=True)


def test_every_json_reply_of_a_session_tells_how_to_go_on() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("mode json\nsession read-your-writes\nreserve ann 1\nhelp quit\nsession none\nsearch ann\n")
        _, begun, written, helped, ended, read = [json.loads(line) for line in await client.lines(6)]
        assert begun["reply"] == {"guarantees": ["read-your-writes"], "token": begun["session"]}
        assert written["session"] == helped["session"] != begun["session"]
        assert written["text"] == "reserve ann 1"
        assert (written["firm"], written["write"], written["warning"]) == ("tentative", "x-1", "clock")
        assert ended["text"] == "No session is on."
        assert "session" not in ended
        assert "session" not in read
        assert readings(house)[-1] == Reading()

    play(scenario, tentative=True)


def test_a_session_waits_for_the_replies_before_it() -> None:
    async def scenario(house: House, connect: Any) -> None:
        house.echo.holds = True
        client = await connect()
        await client.say("session all\nreserve ann 1\nsession\nreserve bob 1\n")
        await until(lambda: len(house.echo.waiting) == 1)
        house.echo.release()
        _, _, told = await client.lines(3)
        session = ReadingSession("tickets")
        session.begin(("same",), told.split()[-1])
        assert session.reading.written == (("x", 1),)

    play(scenario, tentative=True)


def test_another_service_is_another_session() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await client.say("use tickets\nview committed\nsession all\nwatch\nuse open\nsession\nreserve ann 1\n")
        lines = await client.lines(7)
        assert lines[-2:] == ["No session is on.", "reserve ann 1"]
        assert not house.lines.watchers
        token = lines[2].split()[-1]
        told = await answer(client, f"session all {token}")
        assert told == "Failed: this token is of a session with tickets, not with open."
        await client.say("view full\nuse nowhere\n")
        assert (await client.lines(2))[0].startswith("Questions see the full view now; of open both")

    play(scenario, tentative=True, common=True)


@pytest.mark.parametrize("line", ["view full", "session all", "watch"])
def test_a_service_is_needed_first(line: str) -> None:
    async def scenario(house: House, connect: Any) -> None:
        assert await answer(await connect(), line) == "Failed: no service is chosen; write use SERVICE first."

    play(scenario, common=True)


def test_who_must_log_in_must_do_so_before_watching() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        for line in ("watch", "watch mine", "view full", "session all"):
            assert (await answer(client, line)).startswith("Failed: this service wants to know who asks")
        assert not house.lines.watchers
        await client.say(f'login ann "{TOKEN}"\nwatch mine\n')
        assert (await client.lines(2))[1] == "Your changes of tickets are told from now on."

    play(scenario, tentative=True, identity="token")


@pytest.mark.parametrize(
    ("words", "token", "why"),
    [
        (("all",), "AAAA", "this is no token of a session; take one as it was given"),
        (("all",), "nonsense!", "this is no token of a session; take one as it was given"),
        (("all",), "é", "this is no token of a session; take one as it was given"),
        (("same",), "", "there is no token whose guarantees could stay the same"),
    ],
)
def test_a_bad_token_changes_nothing(words: tuple[str, ...], token: str, why: str) -> None:
    session = ReadingSession("tickets")
    session.begin(("monotonic-reads",), "")
    before = session.token
    with pytest.raises(MalformedInput, match=why):
        session.begin(words, token)
    assert session.token == before


@given(
    st.binary(max_size=60) | st.lists(st.integers(-1, 20) | st.text(max_size=3), max_size=6).map(msgspec.msgpack.encode)
)
def test_whatever_stands_in_a_token_nothing_breaks(data: bytes) -> None:
    session = ReadingSession("")
    token = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    try:
        session.begin(("same",), token)
    except MalformedInput:
        assert session.guarantees == ()
    else:
        again = ReadingSession("")
        again.begin(("same",), session.token) if session.token else None
        assert again.guarantees == session.guarantees


def test_a_vector_in_a_token_never_goes_back_and_other_replies_leave_it_alone() -> None:
    session = ReadingSession("rooms")
    session.begin(("all",), "")
    told = SessionTold(GUARANTEES, "")
    for vector in ((("a", 3), ("b", 1)), (("a", 2),), (("c", 1),)):
        session.learn(Outcome(told, "full", vector=vector))
    session.learn(told)
    assert session.reading.read == (("a", 3), ("b", 1), ("c", 1))
    assert session.reading.written == ()
    assert len(session.token) < 60


# -- Changes


def change(name: str, person: str = "ann", text: str = "Maple is reserved.") -> Change:
    return Change(name, person, "committed", Echoed(text))


def test_changes_are_told_to_whom_they_concern() -> None:
    async def scenario(house: House, connect: Any) -> None:
        everybody, programs, bob, nobody = [await connect() for _ in range(4)]
        assert await answer(everybody, "watch") == "All changes of tickets are told from now on."
        await programs.say("mode json\nwatch all\n")
        await programs.lines(2)
        assert await answer(bob, "watch mine") == "Failed: nobody has said who you are; write login ID first."
        await bob.say("login bob\nwatch mine\n")
        assert (await bob.lines(2))[1] == "Your changes of tickets are told from now on."
        house.lines.tell("tickets", change("x-1"))
        house.lines.tell("open", change("z-1"))
        house.lines.tell("tickets", change("x-2", "bob", "line\nbreak"))
        house.lines.flush()
        assert await everybody.lines(2) == [
            "* changed x-1 committed: Maple is reserved.",
            "* changed x-2 committed: line\\nbreak",
        ]
        assert json.loads(await programs.line()) == {
            "change": {
                "id": "x-1",
                "person": "ann",
                "ok": True,
                "text": "Maple is reserved.",
                "type": "echoed",
                "reply": {"words": "Maple is reserved."},
                "firm": "committed",
            }
        }
        assert await bob.line() == "* changed x-2 committed: line\\nbreak"
        assert await answer(everybody, "watch none") == "Changes are told no more."
        house.lines.tell("tickets", change("x-3"))
        house.lines.flush()
        for client in (everybody, nobody):
            assert await answer(client, "search ann") == "search ann"
        bob.writer.close()
        await until(lambda: len(house.lines.watchers) == 1)

    play(scenario, tentative=True)


def test_a_change_comes_between_replies_and_does_not_wait_for_one() -> None:
    async def scenario(house: House, connect: Any) -> None:
        house.echo.holds = True
        client = await connect()
        await client.say("watch\nreserve ann 1\n")
        await client.line()
        await until(lambda: house.echo.waiting)
        house.lines.tell("tickets", change("x-9"))
        house.lines.flush()
        assert await client.line() == "* changed x-9 committed: Maple is reserved."
        house.echo.release()
        assert (await client.line()).startswith("reserve ann 1 [tentative, x-1")

    play(scenario, tentative=True)


def test_who_does_not_read_misses_changes_and_is_told_how_many() -> None:
    text = "x" * 1000

    async def scenario(house: House, connect: Any) -> None:
        people, programs = await connect(limit=1 << 12), await connect(limit=1 << 12)
        await answer(people, "watch")
        await programs.say("mode json\nwatch\n")
        await programs.lines(2)
        told = 0

        def tell() -> bool:
            nonlocal told
            told += 1
            house.lines.tell("tickets", change(f"x-{told}", text=text))
            house.lines.flush()
            return all(connection._unasked.missed > 2 for connection in house.lines.connections)

        await until(tell)
        last = told
        assert all(
            connection._transport is not None
            and connection._transport.get_write_buffer_size() < 3 * house.lines.unread_bytes_max
            for connection in house.lines.connections
        )
        seen = 0
        while (line := await people.line()).startswith("* changed"):
            seen += 1
        assert line == f"* missed {last - seen} changes: they came faster than they were read; ask again."
        seen = 0
        while "change" in (fields := json.loads(await programs.line())):
            seen += 1
        assert fields == {"missed": last - seen, "text": "they came faster than they were read; ask again."}
        house.lines.tell("tickets", change("x-0"))
        house.lines.flush()
        assert await people.line() == "* changed x-0 committed: Maple is reserved."

    play(scenario, tentative=True, unread_bytes_max=10_000)


AWAY = "the replica here was away, and has taken over what became of them from another one; ask again."


def test_who_watches_is_told_when_nobody_can_tell_what_has_changed() -> None:
    async def scenario(house: House, connect: Any) -> None:
        everybody, programs, nobody = [await connect() for _ in range(3)]
        await answer(everybody, "watch")
        await programs.say("login ann\nmode json\nwatch mine\n")
        await programs.lines(3)
        house.lines.tell("tickets", change("x-1"))
        house.lines.tell_missed("tickets")
        house.lines.tell_missed("open")
        house.lines.flush()
        house.lines.tell("tickets", change("x-2"))
        house.lines.flush()
        assert await everybody.lines(3) == [
            "* changed x-1 committed: Maple is reserved.",
            f"* missed changes: {AWAY}",
            "* changed x-2 committed: Maple is reserved.",
        ]
        told = [json.loads(line) for line in await programs.lines(3)]
        assert told[1] == {"missed": 0, "text": AWAY}
        assert await answer(nobody, "search ann") == "search ann"

    play(scenario, tentative=True)


def test_where_everything_is_final_nothing_can_be_missed() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        assert (await answer(client, "watch")).startswith("There will be none")
        house.lines.tell_missed("tickets")
        house.lines.flush()
        assert await answer(client, "search ann") == "search ann"

    play(scenario)


def test_a_burst_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_server, "UNREAD_SECONDS_MAX", 20.0)

    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await answer(client, "watch")
        for number in range(100):
            house.lines.tell("tickets", change(f"x-{number}", text="x" * 100))
        house.lines.flush()
        lines = [await client.line()]
        while lines[-1].startswith("* changed"):
            lines.append(await client.line())
        assert 20 < len(lines) < 60
        assert lines[-1].startswith(f"* missed {101 - len(lines)} changes")

    play(scenario, tentative=True, unread_bytes_max=5_000)
