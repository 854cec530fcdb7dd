"""What the line port shows of what is somebody's: a private service, and whose notices one sees."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.line_house import TOKEN, Echoed, House, play

from holdfast.kernel.contracts import Change, Person
from holdfast.kernel.notices import NoticesAfter
from holdfast.people import People, TokenHash

LENA = Person("lena", "Lena", ("administrator",))
PROOF = TokenHash.of(TOKEN)


def with_an_administrator(house: House) -> None:
    """Ann, Bob and Lena, all with the same token."""
    people = [Person("ann", "Ann"), Person("bob", "Bob"), LENA]
    house.lines.people = People(people, dict.fromkeys(("ann", "bob", "lena"), PROOF))


def tell(house: House, id: str, person: str, service: str = "tickets") -> None:
    house.lines.tell(service, Change(id, person, "committed", Echoed("something")))
    house.lines.flush()


async def said(client: Any, line: str) -> str:
    await client.say(f"{line}\n")
    return str(await client.line())


@pytest.mark.parametrize("watch", ["watch", "watch all", "watch mine"])
def test_of_a_private_service_each_is_told_only_what_is_theirs(watch: str) -> None:
    async def scenario(house: House, connect: Any) -> None:
        with_an_administrator(house)
        ann, lena, stranger = [await connect() for _ in range(3)]
        refused = "Failed: this service wants to know who asks; write login ID TOKEN first."
        assert await said(stranger, watch) == refused
        for client, id in ((ann, "ann"), (lena, "lena")):
            await said(client, f'login {id} "{TOKEN}"')
            assert await said(client, watch) == "What tickets has for you is told from now on."
        tell(house, "x-1", "bob")
        tell(house, "x-2", "")
        tell(house, "x-3", "lena")
        tell(house, "x-4", "ann")
        assert await ann.line() == "* changed x-4 committed: something"
        assert await lena.line() == "* changed x-3 committed: something"
        assert await said(ann, "watch none") == "Changes are told no more."
        tell(house, "x-5", "ann")
        assert await said(ann, "search ann") == "search ann ann"
        assert await said(stranger, "help quit") != ""

    play(scenario, identity="token", private=True)


def test_a_private_service_that_is_tentative_tells_no_more() -> None:
    async def scenario(house: House, connect: Any) -> None:
        with_an_administrator(house)
        ann = await connect()
        await said(ann, f'login ann "{TOKEN}"')
        assert await said(ann, "watch all") == "What tickets has for you is told from now on."
        tell(house, "x-1", "bob")
        tell(house, "x-2", "ann")
        assert await ann.line() == "* changed x-2 committed: something"

    play(scenario, identity="token", private=True, tentative=True)


def test_who_logs_in_anew_is_told_what_is_theirs_from_then_on() -> None:
    async def scenario(house: House, connect: Any) -> None:
        with_an_administrator(house)
        client = await connect()
        await said(client, f'login ann "{TOKEN}"')
        await said(client, "watch")
        await said(client, f'login bob "{TOKEN}"')
        tell(house, "x-1", "ann")
        tell(house, "x-2", "bob")
        assert await client.line() == "* changed x-2 committed: something"
        assert (await said(client, "login lena wrong")).startswith("Failed: ")
        tell(house, "x-3", "bob")
        assert await client.line() == "* changed x-3 committed: something"

    play(scenario, identity="token", private=True)


def test_a_service_that_tells_nothing_says_so() -> None:
    async def scenario(house: House, connect: Any) -> None:
        client = await connect()
        await said(client, f'login ann "{TOKEN}"')
        assert await said(client, "watch") == (
            "tickets tells nothing unasked, under the protocol that it has here; ask now and then."
        )
        house.lines.tell_missed("tickets")
        house.lines.flush()
        assert await said(client, "search ann") == "search ann ann"

    play(scenario, identity="token", private=True, tells=False)


def test_the_outbox_of_a_private_service_is_shown_to_nobody() -> None:
    async def scenario(house: House, connect: Any) -> None:
        with_an_administrator(house)
        client = await connect()
        assert (await said(client, "notices")).startswith("Failed: ")
        for id in ("ann", "lena"):
            await said(client, f'login {id} "{TOKEN}"')
            assert await said(client, "notices 3") == "Failed: tickets shows its outbox to nobody."
        assert house.echo.heard == []

    play(scenario, identity="token", private=True)


def test_who_is_logged_in_sees_only_their_own_notices() -> None:
    async def scenario(house: House, connect: Any) -> None:
        with_an_administrator(house)
        client = await connect()
        for line in ("notices 4", "login ann", "notices 4", "login lena", "notices"):
            await said(client, line)
        asked = [request.command for request in house.echo.heard]
        assert asked == [NoticesAfter(4, ""), NoticesAfter(4, "ann"), NoticesAfter(0, "")]

    play(scenario)


def test_where_tokens_are_asked_for_nobody_sees_notices_without_one() -> None:
    async def scenario(house: House, connect: Any) -> None:
        with_an_administrator(house)
        client = await connect()
        refused = "Failed: this service wants to know who asks; write login ID TOKEN first."
        assert await said(client, "notices") == refused
        await said(client, f'login bob "{TOKEN}"')
        await said(client, "notices")
        assert [request.command for request in house.echo.heard] == [NoticesAfter(0, "bob")]

    play(scenario, identity="token")
