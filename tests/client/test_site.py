"""The Python client against scripted servers over real sockets: whatever they do, no seat is booked twice."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.catalog import APPS
from holdfast.client import Answer, AsyncSite, LoginRefused, Misuse, NotExecuted, OutcomeUnknown, Service, Site
from holdfast.client.addresses import DEFAULT_PROTOCOLS, HOME_PROTOCOLS, Addresses
from holdfast.client.outcomes import Server
from holdfast.client.site import GUARANTEES
from holdfast.server import reading

QUICK: dict[str, Any] = {"timeout_s": 0.2, "deadline_s": 5.0}


def tickets_of(house: Any, **options: Any) -> Service:
    return Site.from_servers(house.addresses(), **(QUICK | options)).service("tickets")


def test_a_booking_comes_back_typed(house: Any) -> None:
    house.server()
    with Site.from_servers(house.addresses(), **QUICK) as site:
        answer = site.service("tickets").reserve("bob", 3)
    assert answer
    assert answer == Answer(True, "1,2,3", "reserved", {"name": "bob", "seats": [1, 2, 3]}, "committed")
    assert str(answer) == "1,2,3"


def test_a_refusal_is_an_answer_and_no_exception(house: Any) -> None:
    house.server()
    with tickets_of(house) as tickets:
        answer = tickets.call("search", "ann")
    assert not answer
    assert answer.text == "Failed: no reservation is made by ann."
    assert answer.type == "no_reservation"


@pytest.mark.parametrize(
    "fault",
    [
        "drop",
        "drop-after",
        "silence",
        "silence-after",
        "unavailable",
        "overloaded",
        "unknown",
        "unknown-after",
        "garbage",
    ],
)
def test_whatever_a_server_does_the_booking_is_made_once_elsewhere(house: Any, fault: str) -> None:
    broken = house.server(always=fault)
    house.server()
    for seed in range(3):
        with tickets_of(house, chooser=random.Random(seed)) as tickets:
            assert tickets.reserve(f"guest {seed}", 2).reply["seats"] == [2 * seed + 1, 2 * seed + 2]
    assert broken.requests(), "the story needs the broken server to be asked"
    assert house.theatre.executions == 3


def test_a_server_that_is_down_is_passed_by(house: Any, dead_address: tuple[str, int]) -> None:
    house.server()
    notes: list[str] = []
    for seed in range(4):
        addresses = [dead_address, *house.addresses()]
        site = Site.from_servers(addresses, chooser=random.Random(seed), on_note=notes.append, **QUICK)
        with site:
            assert site.service("tickets").reserve(f"guest{seed}", 1)
    assert f"{dead_address[0]}:{dead_address[1]}: connection refused. Trying another server." in notes


def test_a_connection_that_ended_between_two_calls_costs_nothing(house: Any) -> None:
    server = house.server()
    with tickets_of(house) as tickets:
        assert tickets.reserve("bob", 1)
        server.drop_connections()
        assert tickets.reserve("ann", 1)
    assert server.connections == 2


def test_a_crash_in_the_middle_of_many_requests_loses_and_doubles_nothing(house: Any) -> None:
    house.server(*[""] * 40, "drop-after", *[""] * 500)
    house.server(*[""] * 60, "drop", *[""] * 500)
    with tickets_of(house) as tickets:
        answers = tickets.call_many(["reserve", f"guest{number}", 1] for number in range(300))
    seats = [answer.reply["seats"][0] for answer in answers if isinstance(answer, Answer)]
    assert sorted(seats) == list(range(1, 301))
    assert house.theatre.executions == 300


def test_when_nobody_takes_it_before_the_deadline_it_is_certainly_not_done(house: Any) -> None:
    house.server(always="unavailable")
    with (
        tickets_of(house, deadline_s=0.3) as tickets,
        pytest.raises(NotExecuted, match=r"'reserve bob 1' was not exec"),
    ):
        tickets.reserve("bob", 1)
    assert house.theatre.executions == 0


def test_an_unknown_outcome_is_learned_by_retry_and_booked_once(house: Any) -> None:
    server = house.server("silence-after")
    with tickets_of(house, deadline_s=0.3, timeout_s=5) as tickets:
        with pytest.raises(OutcomeUnknown) as caught:
            tickets.reserve("bob", 2)
        server.drop_connections()
        assert tickets.reserve("ann", 1).reply["seats"] == [3], "life goes on meanwhile"
        assert caught.value.retry().reply["seats"] == [1, 2]
    assert house.theatre.executions == 2


def test_a_later_process_learns_what_became_of_an_unknown_request(house: Any) -> None:
    server = house.server("silence-after")
    with tickets_of(house, deadline_s=0.3, timeout_s=5) as tickets, pytest.raises(OutcomeUnknown) as caught:
        tickets.reserve("bob", 2)
    server.drop_connections()
    with tickets_of(house) as tickets:
        answer = tickets.repeat(caught.value.client, caught.value.number, "reserve", "bob", 2)
    assert answer.reply["seats"] == [1, 2]
    assert house.theatre.executions == 1


def test_the_deadline_holds_with_every_server_silent(house: Any) -> None:
    house.server(always="silence")
    house.server(always="silence")
    begun = time.monotonic()
    with tickets_of(house, deadline_s=0.7) as tickets, pytest.raises(OutcomeUnknown):
        tickets.reserve("bob", 1)
    assert 0.7 <= time.monotonic() - begun < 2


@pytest.mark.parametrize(
    "name",
    [
        "bob",
        "Mary Ann",
        'the "boss"',
        "back\\slash",
        "Zoë",
        "李雷",
        "",
        "@bob:1",
        "-3",
        "a;b",
        "it's",
        "#1",
        "a\tb",
        "a\nb",
    ],
)
def test_every_name_arrives_as_it_was_given(house: Any, name: str) -> None:
    house.server()
    with tickets_of(house) as tickets:
        assert tickets.call("echo", name, "last").reply["words"] == [name, "last"]


def test_numbers_and_lists_are_written_as_the_line_protocol_has_them(house: Any) -> None:
    server = house.server()
    with tickets_of(house) as tickets:
        assert tickets.call("echo", 7, [7, 8]).reply["words"] == ["7", "7,8"]
    assert server.requests()[0].endswith(" echo 7 7,8")


@pytest.mark.parametrize(
    ("misuse", "says"),
    [
        (lambda tickets: tickets.call(), "no command given"),
        (lambda tickets: tickets.reserve("bob\0ann", 1), "a NUL"),
        (lambda tickets: tickets.reserve("bob", 1.5), "1.5 cannot be sent"),
        (lambda tickets: tickets.reserve("bob", True), "True cannot be sent"),
        (lambda tickets: tickets.reserve("\ud800", 1), "no valid Unicode"),
        (lambda tickets: tickets.login("bob"), "the client's own"),
    ],
)
def test_misuse_is_told_before_anything_is_sent(house: Any, misuse: Callable[[Service], object], says: str) -> None:
    server = house.server()
    with tickets_of(house) as tickets, pytest.raises(Misuse, match=says):
        misuse(tickets)
    assert server.lines == []


def test_a_site_without_servers_or_with_unknown_options_is_misuse() -> None:
    with pytest.raises(Misuse, match="empty"):
        Site.from_servers([])
    with pytest.raises(Misuse, match="unknown option 'timeout'"):
        Site.from_servers([("127.0.0.1", 1)], timeout=3)  # type: ignore[call-arg]
    with pytest.raises(Misuse, match="no guarantee 'always'"):
        Site.from_servers([("127.0.0.1", 1)], guarantees=["always"])
    with pytest.raises(Misuse, match="no view 'all'"):
        Site.from_servers([("127.0.0.1", 1)], view="all")
    with pytest.raises(Misuse, match="no line port at a node 'b'"):
        Site.from_servers([("127.0.0.1", 1)], at="b").service("tickets")
    with pytest.raises(Misuse, match="above 0"):
        Site.from_servers([("127.0.0.1", 1)], timeout_s=0)


def test_who_asks_is_told_on_every_connection(house: Any) -> None:
    server = house.server(login="login bob s3cret")
    with tickets_of(house, as_="bob", token="s3cret") as tickets:
        assert tickets.reserve("bob", 1)
        server.drop_connections()
        assert tickets.reserve("bob", 1)
    assert server.lines.count("login bob s3cret") == 2


def test_who_asks_may_come_from_the_environment(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = house.server(login="login mary")
    monkeypatch.setenv("HOLDFAST_AS", "mary")
    with tickets_of(house) as tickets:
        assert tickets.reserve("mary", 1)
    assert "login mary" in server.lines


def test_a_refused_login_sends_nothing(house: Any) -> None:
    server = house.server(login="login bob s3cret")
    with tickets_of(house, as_="bob", token="wrong") as tickets, pytest.raises(LoginRefused, match="unknown token"):
        tickets.reserve("bob", 1)
    assert server.requests() == []


def test_threads_share_a_service_and_take_turns(house: Any) -> None:
    house.server()
    with tickets_of(house) as tickets:
        answers: list[Answer] = []
        threads = [
            threading.Thread(target=lambda n=n: answers.append(tickets.reserve(f"guest{n}", 1))) for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answer.reply["seats"][0] for answer in answers) == list(range(1, 9))


@pytest.mark.parametrize("fault", ["", "drop-after", "silence", "unavailable", "garbage"])
def test_the_asynchronous_client_does_the_same(house: Any, fault: str) -> None:
    house.server(always=fault)
    house.server()

    async def book() -> list[Answer]:
        async with AsyncSite.from_servers(house.addresses(), chooser=random.Random(3), **QUICK) as site:
            tickets = site.service("tickets")
            return await asyncio.gather(*(tickets.reserve(f"guest{number}", 1) for number in range(20)))

    answers = asyncio.run(book())
    assert sorted(answer.reply["seats"][0] for answer in answers) == list(range(1, 21))
    assert house.theatre.executions == 20


def test_an_asynchronous_unknown_is_retried_and_a_cancelled_call_blocks_nobody(house: Any) -> None:
    server = house.server("silence-after", "silence-after")

    async def story() -> None:
        site = AsyncSite.from_servers(house.addresses(), deadline_s=0.3, timeout_s=5)
        tickets = site.service("tickets")
        with pytest.raises(OutcomeUnknown) as caught:
            await tickets.reserve("bob", 2)
        task = asyncio.create_task(tickets.reserve("ann", 1))
        await asyncio.to_thread(server.hear, 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.drop_connections()
        assert (await caught.value.retry()).reply["seats"] == [1, 2]
        assert (await tickets.reserve("cyd", 1)).reply["seats"] == [4]
        await site.close()

    asyncio.run(story())
    assert house.theatre.executions == 3


def test_closing_the_asynchronous_client_ends_what_is_under_way(house: Any) -> None:
    server = house.server(always="silence")

    async def story() -> None:
        site = AsyncSite.from_servers(house.addresses(), timeout_s=5)
        task = asyncio.create_task(site.service("tickets").reserve("bob", 1))
        await asyncio.to_thread(server.hear, 1)
        await site.close()
        with pytest.raises(OutcomeUnknown):
            await task

    asyncio.run(story())


CHANGE = {"change": {"id": "a-1", "person": "bob", "firm": "committed", "text": "Granted."}}


def test_questions_may_see_the_committed_view_over_the_same_connection(house: Any) -> None:
    server = house.server()
    with tickets_of(house) as tickets:
        tickets.view("committed").search("bob")
        tickets.search("bob")
    assert [line for line in server.lines if line.startswith("view")] == ["view committed", "view full"]
    assert server.connections == 1


def test_the_guarantees_of_a_session_survive_its_server(house: Any) -> None:
    first, second = house.server(), house.server()
    first.more = second.more = {"session": "t0ken"}
    with tickets_of(house, guarantees=["read-your-writes"]) as tickets:
        assert tickets.reserve("bob", 1).session == "t0ken"
        asked = next(server for server in house.servers if server.requests())
        asked.always = "drop"
        assert tickets.search("bob")
    other = second if asked is first else first
    assert "session read-your-writes" in asked.lines
    assert "session read-your-writes t0ken" in other.lines


def test_changes_are_watched_as_they_come_and_across_servers(house: Any) -> None:
    server = house.server(login="login bob")
    with tickets_of(house, as_="bob") as tickets, tickets.watch() as changes:
        assert server.lines[-1] == "watch mine", "it watches before it returns"
        assert changes.arrived() == []
        server.push(CHANGE)
        assert [change.text for change in changes.arrived(5)] == ["Granted."]
        server.drop_connections()
        told = iter(changes)
        assert "what changed until it answers again is not told" in next(told).text, "there is no other"
        while server.lines.count("watch mine") < 2:
            assert changes.arrived(0.05) == []
        server.push(CHANGE)
        assert next(told).id == "a-1"


def test_watching_what_is_mine_needs_a_name_and_a_login_that_is_believed(house: Any) -> None:
    house.server(login="login mary")
    with tickets_of(house) as tickets, pytest.raises(Misuse, match="Say who asks"):
        tickets.watch("mine")
    with tickets_of(house, as_="bob") as tickets, pytest.raises(LoginRefused):
        tickets.watch("all")


def test_a_watch_that_no_server_takes_is_told_at_the_deadline(dead_address: tuple[str, int]) -> None:
    with (
        Site.from_servers([dead_address], deadline_s=0.3) as site,
        pytest.raises(NotExecuted, match="none was reached in time"),
    ):
        site.service("tickets").watch()


def test_the_asynchronous_client_watches_too(house: Any) -> None:
    server = house.server()

    async def story() -> str:
        async with AsyncSite.from_servers(house.addresses(), **QUICK) as site:
            changes = site.service("tickets").watch("all")
            first = asyncio.ensure_future(anext(changes))
            await asyncio.to_thread(server.hear_line, "watch all")
            server.push(CHANGE)
            text = (await first).text
            await changes.aclose()
            return text

    assert asyncio.run(story()) == "Granted."


def test_an_asynchronous_watch_with_a_refused_login_ends(house: Any) -> None:
    house.server(login="login mary")

    async def story() -> None:
        async with AsyncSite.from_servers(house.addresses(), as_="bob", **QUICK) as site:
            await anext(site.service("tickets").watch())

    with pytest.raises(LoginRefused):
        asyncio.run(story())


HOMES = """
[site]
name = "small"
[nodes.a]
host = "127.0.0.1"
peer_port = 1
[nodes.biology]
host = "127.0.0.1"
peer_port = 2
[services.rooms]
app = "rooms"
nodes = { a = 11, biology = 12 }
[services.tickets]
app = "tickets"
nodes = { a = 21, biology = 22 }
[services.box-office]
app = "tickets"
protocol = "bayou"
nodes = ["a", "biology"]
[people.anna]
department = "biology"
[people.bob]
"""


def test_home_is_the_node_of_the_persons_department_where_replicas_differ(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(HOMES.replace("peer_port", "line_port"))
    addresses = Addresses.of_site(tmp_path / "site.toml")
    biology = addresses.home("rooms", "anna")
    assert biology == Server("127.0.0.1", 12, "biology")
    assert addresses.home("box-office", "anna") == Server("127.0.0.1", 2, "biology")
    assert [addresses.home("rooms", person) for person in ("bob", "nobody", "")] == [None] * 3
    assert addresses.home("tickets", "anna") is None
    assert addresses.servers_at("rooms", "a") == (Server("127.0.0.1", 11, "a"),)
    assert addresses.app("box-office") == "tickets"


def test_the_default_protocols_are_those_of_the_catalogue() -> None:
    local = {name: entry.protocol for name, entry in APPS.items() if entry.protocol in HOME_PROTOCOLS}
    assert {name: DEFAULT_PROTOCOLS[name] for name in local} == local
    assert GUARANTEES == reading.GUARANTEES
