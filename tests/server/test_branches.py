"""Branch servers inside whole nodes: registered, asked at their own port and at others, in parts, taken over."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from tests.server.company import HOMES, Company, as_json, run, say
from tests.waiting import until

from holdfast.apps.events import Availability, Browse
from holdfast.client import Answer, LoginRefused, Server, Site
from holdfast.client.site import new_client_id
from holdfast.kernel.contracts import Person, Request
from holdfast.kernel.errors import MalformedInput
from holdfast.people import new_token
from holdfast.server.branches import gathering
from holdfast.server.branches.messages import AskPart, Beat, Note, Notes, NotHere, Part, Relay, Relayed
from holdfast.server.calls import Message
from holdfast.server.http import NodeCollector

WHOLE = "Seminars - MTLE130519 3, OTWE130519 3, TORE130519 3."
BOOKED = "{event} Seminars is booked for {who}."


async def offer(company: Company, places: int = 3) -> None:
    """A seminar in each city."""
    for city, node in HOMES.items():
        added = await company.say(node, f"{city}M2345", f"addEvent {city}E130519 Seminars {places}")
        assert added == [f"{city}E130519 Seminars is added with {places} places."]


def test_each_branch_registers_at_its_start_and_logs_what_it_is_asked(tmp_path: Path) -> None:
    async def story(company: Company) -> None:
        (listed,) = await company.directory("list events/")
        for city, node in HOMES.items():
            where = f"127.0.0.1:{company.line_ports[node]}"
            assert f"events/{city} is served by {node} at {where} since" in listed
            assert "term 1" in listed
        await offer(company)
        booked = BOOKED.format(event="MTLE130519", who="TORC2345")
        assert await company.say("a", "TORC2345", "bookEvent TORC2345 MTLE130519 seminars") == [booked]
        (unknown,) = await company.say("a", "TORC2345", "fly TORC2345")
        (refused,) = await company.say("a", "TORC2345", "removeEvent TORE130519 Seminars")
        log = await company.logged("a", "TOR", 4)
        added = "TORE130519 Seminars is added with 3 places."
        assert log[0] == ["TORM2345", "addEvent", "eventID=TORE130519 eventType=Seminars capacity=3", "done", added]
        asked = "customerID=TORC2345 eventID=MTLE130519 eventType=seminars"
        assert log[1] == ["TORC2345", "bookEvent", asked, "done", booked]
        assert log[2] == ["TORC2345", "malformed", "fly TORC2345", "failed", unknown]
        assert log[3] == ["TORC2345", "removeEvent", "eventID=TORE130519 eventType=Seminars", "failed", refused]
        assert (await company.logged("b", "MTL", 2))[1] == [*log[1], "by TOR at a"], "its event, so it is told too"
        await until(lambda: company.counter("a", "noted") == 1)
        assert len(company.log("b", "MTL")) == 2, "what else Toronto is asked is in Toronto's log alone"

    company = run(tmp_path, story)
    text = (company.data / "a" / "branches" / "TOR.log").read_text()
    assert all(line[4] == line[7] == "-" and line[10] == " " and line[23:25] == "Z\t" for line in text.splitlines())


def test_any_port_serves_and_passes_on_to_the_branch(tmp_path: Path) -> None:
    """In the order of the lines, although they travel as datagrams."""

    async def story(company: Company) -> None:
        await offer(company)
        lines = [line for n in range(10) for line in (f"addEvent TORM{n + 10}0619 Seminars {n + 1}", "browse TOR")]
        replies = await company.say("c", "TORM2345", *lines)
        for n in range(10):
            assert replies[2 * n] == f"TORM{n + 10}0619 Seminars is added with {n + 1} place{'s' * (n > 0)}."
            assert replies[2 * n + 1].endswith(f" TORM{n + 10}0619 {n + 1}.")
        log = await company.logged("a", "TOR", 21)
        assert [line[5:] for line in log] == [[], *20 * [["by c"]]]
        assert company.log("c", "TOR") == []
        assert company.counter("c", "passed_on") == company.counter("a", "taken_in") == 20
        mixed = ["login MTLC1000", "bookEvent MTLC1000 TORM100619 Seminars", "login OTWC1000"]
        mixed += ["bookEvent OTWC1000 TORM100619 Seminars", "login TORC1000", "bookEvent TORC1000 TORM100619 Seminars"]
        full = "Failed: TORM100619 Seminars is full; it has 1 place."
        assert (await say(company.line_ports["c"], *mixed))[1::2] == [
            "TORM100619 Seminars is booked for MTLC1000.",
            full,
            full,
        ]

    run(tmp_path, story)


def test_a_note_reaches_the_log_of_a_branch_whose_server_moves_meanwhile(tmp_path: Path) -> None:
    """Whoever serves the event's branch when the note arrives writes it down."""

    async def story(company: Company) -> None:
        await offer(company)
        await company.end("b")
        swapped = await company.say("c", "OTWC2345", "bookEvent OTWC2345 MTLE130519 Seminars")
        assert swapped == [BOOKED.format(event="MTLE130519", who="OTWC2345")]

        def notes() -> list[list[str]]:
            return [line for name in "ac" for line in company.log(name, "MTL") if line[0] == "OTWC2345"]

        await until(notes)
        await until(lambda: company.counter("c", "noted") == 1)
        assert [line[3:] for line in notes()] == [["done", *swapped, "by OTW at c"]]

    run(tmp_path, story)


def test_what_goes_away_under_a_name_is_answered_as_at_home(tmp_path: Path) -> None:
    async def story(company: Company) -> None:
        await offer(company)
        book = "bookEvent TORC2345 OTWE130519 Seminars"
        named = f"@{new_client_id()}:1 {book}"
        booked = BOOKED.format(event="OTWE130519", who="TORC2345")
        for name in "cab":
            assert await company.say(name, "TORC2345", named) == [booked]
        assert await company.say("b", "TORC2345", book) == ["Failed: TORC2345 has booked OTWE130519 Seminars already."]

    run(tmp_path, story)


def test_all_branches_are_asked_by_datagram_for_their_parts_of_one_number(tmp_path: Path) -> None:
    async def story(company: Company) -> None:
        await offer(company)
        assert await company.say("b", "MTLM2345", "listEventAvailability Seminars") == [WHOLE]
        assert [company.counter(name, "parts_given") for name in "abc"] == [1, 0, 1]
        assert company.counter("b", "parts_asked") == 2
        assert company.counter("b", "parts_missing") == company.counter("b", "parts_differing") == 0
        part = await company.logged("c", "OTW", 2)
        said = ["MTLM2345", "listEventAvailability", "eventType=Seminars", "done", "Seminars - OTWE130519 3."]
        assert part[-1] == [*said, "by MTL at b"]
        assert await company.say("a", "MTLM2345", "listEventAvailability Seminars") == [WHOLE], "asked at another port"
        assert company.counter("b", "parts_asked") == 4
        (refused,) = await company.say("c", "OTWC2345", "listEventAvailability Seminars")
        assert refused == "Failed: only managers may do listEventAvailability, and OTWC2345 is a customer."
        assert company.counter("c", "parts_asked") == 0

    run(tmp_path, story)


def test_parts_stay_of_one_number_while_events_are_swapped(tmp_path: Path) -> None:
    """One customer moves back and forth between two cities: there is one place less, never two, never none."""

    async def story(company: Company) -> None:
        await offer(company)
        there, back = "MTLE130519 Seminars OTWE130519 Seminars", "OTWE130519 Seminars MTLE130519 Seminars"
        await company.say("a", "TORC2345", "bookEvent TORC2345 OTWE130519 Seminars")
        seen: dict[str, int] = {}
        moves = 0

        async def move() -> None:
            nonlocal moves
            while sum(seen.values()) < 40:
                (moved,) = await company.say("a", "TORC2345", f"swapEvent TORC2345 {(there, back)[moves % 2]}")
                assert " is booked for TORC2345, and " in moved
                moves += 1

        moving = asyncio.create_task(move())
        while not moving.done():
            (line,) = await company.say("c", "OTWM2345", "listEventAvailability Seminars")
            seen[line] = seen.get(line, 0) + 1
        await moving
        assert moves > 5
        assert {*seen} <= {
            "Seminars - MTLE130519 2, OTWE130519 3, TORE130519 3.",
            "Seminars - MTLE130519 3, OTWE130519 2, TORE130519 3.",
        }
        assert company.counter("c", "parts_missing") == company.counter("c", "parts_differing") == 0

    run(tmp_path, story)


def test_a_branch_whose_server_gives_no_part_is_missed_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "PART_PATIENCE_S", 0.3)

    async def story(company: Company) -> None:
        await offer(company)
        servers, kinds = company.branches("c"), iter(("silent", "ignorant", "later", "senseless"))
        give = servers.gathering.give

        async def otherwise(ask: AskPart) -> tuple[Message, None]:
            part, _ = await give(ask)
            assert isinstance(part, Part)
            match next(kinds):
                case "silent":
                    await asyncio.Event().wait()
                case "later":
                    return Part(ask.id, part.number + 1, part.reply), None
                case "senseless":
                    return Part(ask.id, part.number, b"\xc1"), None
            return NotHere(ask.id), None

        servers.gathering.give = otherwise  # type: ignore[assignment]
        for count in range(1, 5):
            assert await company.say("a", "TORM2345", "listEventAvailability Seminars") == [WHOLE]
            assert company.counter("a", "parts_missing") == count
        assert company.counter("a", "parts_differing") == 0

    run(tmp_path, story)


def test_a_part_that_is_not_what_is_voted_is_found_out(tmp_path: Path) -> None:
    async def story(company: Company) -> None:
        await offer(company)
        servers = company.branches("c")
        give, false = servers.gathering.give, Availability("Seminars", (("OTW", (("OTWE130519", 99),)),))

        async def falsely(ask: AskPart) -> tuple[Message, None]:
            part, _ = await give(ask)
            assert isinstance(part, Part)
            return Part(ask.id, part.number, servers.wire.encode(false)), None

        servers.gathering.give = falsely  # type: ignore[assignment]
        assert await company.say("a", "TORM2345", "listEventAvailability Seminars") == [WHOLE]
        assert company.counter("a", "parts_differing") == 1

    run(tmp_path, story)


def test_a_wrong_replica_at_a_branch_spoils_neither_answers_nor_parts(tmp_path: Path) -> None:
    async def story(company: Company) -> None:
        await offer(company)
        assert await company.say("b", "", "fault wrong") == ["The replica of b is made wrong from now on."]
        for name, who in (("a", "TORM2345"), ("b", "MTLM2345"), ("c", "OTWM2345"), ("a", "MTLM2345")):
            assert await company.say(name, who, "listEventAvailability Seminars") == [WHOLE]
        assert sum(company.counter(name, "parts_differing") for name in "abc") == 0
        assert sum(company.counter(name, "parts_given") for name in "abc") > 0
        await until(lambda: company.nodes["a"].drivers["events"].status()["replacements"] == 1)

    run(tmp_path, story)


def test_a_branch_is_taken_over_when_its_node_ends_and_goes_home_when_it_is_back(tmp_path: Path) -> None:
    async def story(company: Company) -> None:
        await offer(company)
        await company.end("b")
        booked = BOOKED.format(event="MTLE130519", who="MTLC1000")
        assert await company.say("a", "MTLC1000", "bookEvent MTLC1000 MTLE130519 Seminars") == [booked], "at once"
        await until(lambda: company.knows("a", MTL="c") and company.served() == {"a": ["TOR"], "c": ["MTL", "OTW"]})
        assert company.counter("c", "take_overs") == 1
        fewer = "Seminars - MTLE130519 2, OTWE130519 3, TORE130519 3."
        assert await company.say("a", "TORM2345", "listEventAvailability Seminars") == [fewer]
        assert (await company.say("a", "MTLC1000", "browse MTL"))[0].startswith("Seminars - MTLE130519 2")
        assert (await company.logged("c", "MTL", 2))[-1][-1] == "by a"
        company.start("b")
        await company.at_home()
        assert company.served() == {"a": ["TOR"], "b": ["MTL"], "c": ["OTW"]}
        (entry,) = await company.directory("lookup events/MTL")
        assert f"served by b at 127.0.0.1:{company.line_ports['b']}" in entry
        assert entry.endswith("term 3.")
        assert await company.say("a", "MTLM2345", "listEventAvailability Seminars") == [fewer]

    run(tmp_path, story)


def test_who_was_taken_over_notices_and_passes_on(tmp_path: Path) -> None:
    """As after a pause: another one has registered meanwhile."""

    async def story(company: Company) -> None:
        await offer(company)
        company.branches("a").keeper._is_able = lambda: False  # it would go home at once
        place = f"127.0.0.1 {company.line_ports['c']}"
        registered = await company.directory(f"register events/TOR {place} c 1")
        assert registered == [f"events/TOR is served by c at 127.0.0.1:{company.line_ports['c']}, term 2."]
        await until(lambda: not company.branches("a").keeper.served)
        assert await company.say("a", "TORC1000", "browse MTL") == ["Seminars - MTLE130519 3."]
        assert company.counter("a", "acted_for") == 1, "c says that it does not serve it"
        assert company.counter("c", "taken_in") == 0

    run(tmp_path, story)


def test_a_branch_that_does_not_answer_is_acted_for_and_nothing_is_done_twice(tmp_path: Path) -> None:
    async def story(company: Company) -> None:
        await offer(company, places=2)
        servers = company.branches("a")
        tell = servers._tell

        def keep_to_itself(node: str, message: Message) -> None:
            if not isinstance(message, Relayed):
                tell(node, message)

        servers._tell = keep_to_itself  # type: ignore[method-assign]
        booked = BOOKED.format(event="TORE130519", who="TORC1000")
        assert await company.say("b", "TORC1000", "bookEvent TORC1000 TORE130519 Seminars") == [booked], (
            "the first answer"
        )
        assert company.counter("b", "acted_for") == 1
        assert await company.say("b", "TORC1001", "getBookingSchedule TORC1001") == ["TORC1001 - no bookings."]
        assert company.counter("b", "acted_for") == 2
        assert company.counter("b", "passed_on") == 1, "it is not asked again at once"
        assert (await company.logged("b", "TOR", 2))[0][4] == booked
        assert {line[4] for line in (await company.logged("a", "TOR", 2))[1:]} == {booked}
        assert await company.say("a", "TORC1000", "getBookingSchedule TORC1000", "browse TOR") == [
            "TORC1000 - TORE130519 Seminars.",
            "Seminars - TORE130519 1.",
        ]

    run(tmp_path, story)


def test_nobody_known_is_served_where_it_asks_and_logged_as_such(tmp_path: Path) -> None:
    async def story(company: Company) -> None:
        nobody = "Failed: nobody is logged in; say who you are, as in login TORC2345."
        assert await company.say("b", "", "browse", "bookEvent TORC2345 TORE130519 Seminars") == [nobody, nobody]
        log = await company.logged("b", "nobody", 2)
        assert [line[:2] for line in log] == [["nobody", "browse"], ["nobody", "bookEvent"]]
        (told,) = await company.say("b", "", "browse\tTOR\x07")
        assert told.startswith("Failed: ")
        (line,) = [line for line in await company.logged("b", "nobody", 3) if line[1] == "malformed"]
        assert line[2] == "browse\\tTOR\\x07", "what could forge a field is escaped"

    run(tmp_path, story)


def test_what_makes_no_sense_between_branches_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    async def story(company: Company) -> None:
        a, b = company.nodes["a"], company.branches("b")
        assert a.datagrams is not None
        assert b.settings.service == "events"
        count = a.datagrams.counters["malformed"]
        for channel, payload in (
            ("branch/events", b"\xc1"),
            ("branch/events", b"\x93\xa5relay\x01"),
            ("branch/opera", b"\x90"),
            ("branch", b"\x90"),
        ):
            node = company.nodes["b"]
            assert node.datagrams is not None
            node.datagrams.send("a", channel, payload)
            count += 1
            await until(lambda count=count: a.datagrams is not None and a.datagrams.counters["malformed"] == count)
        encode = b.wire.encode
        request = encode(Request(Browse(), person=Person("TORC1000")))
        with pytest.raises(MalformedInput, match="is nobody of the branch 'MTL'"):
            b.on_datagram("a", encode(Relay(1, "MTL", request)))
        b.on_datagram("a", encode(NotHere(77)))
        assert (await company.say("a", "TORC1000", "browse"))[0] == "No events."

    run(tmp_path, story)


def test_with_tokens_people_find_their_branch_and_only_nodes_register(tmp_path: Path) -> None:
    token = new_token()

    def as_customer(company: Company) -> list[Answer]:
        with Site(company.file, as_="TORC1000", token=token) as site:
            answers = [site.events().browse(), site.service("directory").call("lookup", "events/MTL")]
            assert site.service("events").server == Server("127.0.0.1", company.line_ports["a"], "a")
            place = ("127.0.0.1", company.line_ports["c"], "c", 1)
            return [*answers, site.service("directory").call("register", "events/TOR", *place)]

    def as_nobody(company: Company) -> None:
        with Site(company.file, as_="TORC1000", token="wrong") as site:
            site.events().browse()

    async def story(company: Company) -> None:
        browsed, looked, registered = await asyncio.to_thread(as_customer, company)
        assert browsed.ok
        assert looked.reply["node"] == "b"
        assert registered.type == "not_a_node"
        with pytest.raises(LoginRefused):
            await asyncio.to_thread(as_nobody, company)
        assert await company.say("b", "", f"login TORC1000 {token}", "browse") == [
            "Welcome, TORC1000.",
            "No events.",
        ]
        assert company.counter("b", "passed_on") == 1
        assert company.log("b", "nobody") == []

    run(tmp_path, story, token=token)
    log = (tmp_path / "data" / "logs" / "TORC1000.log").read_text().splitlines()
    assert [line.split("\t")[3] for line in log] == ["done", "not executed"]


def test_what_is_random_between_branches_is_malformed_or_means_nothing(tmp_path: Path) -> None:
    chooser = random.Random(7)

    async def story(company: Company) -> None:
        servers = company.branches("a")
        encode = servers.wire.encode
        good = [
            encode(Relay(1, "TOR", encode(Request(Browse(), person=Person("TORC1000"))))),
            encode(AskPart(2, "TOR", 0, 1, 1, "MTL", "MTLM1000", "listEventAvailability", "x" * 5_000)),
            encode(Part(3, 1, encode(Availability("Seminars", ())))),
            encode(Notes(4, "TOR", (Note(0.5, "MTLC1000", "bookEvent", "", "done", "It is.", "MTL at b"),))),
            encode(Beat(0)),
        ]
        malformed = 0
        for _ in range(3_000):
            data = bytearray(chooser.choice(good))
            for _ in range(chooser.randint(1, 4)):
                data[chooser.randrange(len(data))] = chooser.randrange(256)
            try:
                servers.on_datagram("b", bytes(data))
            except MalformedInput:
                malformed += 1
        assert 1_000 < malformed < 3_000
        assert await company.say("a", "TORC1000", "browse") == ["No events."]
        assert "is missing" not in str(company.log("a", "TOR"))

    run(tmp_path, story)


def test_the_status_tells_where_the_branches_are(tmp_path: Path) -> None:
    async def story(company: Company) -> None:
        await company.say("c", "TORC1000", "browse")
        (line,) = await company.say("c", "", "status")
        events = as_json(line)["services"][1]
        assert events["branches"] == HOMES
        assert events["counters"]["branch_passed_on"] == 1
        metrics = {metric.name for metric in NodeCollector(company.nodes["c"], {}).collect()}
        assert {"holdfast_branch_passed_on", "holdfast_branch_parts_missing", "holdfast_branch_unlogged"} <= metrics
        assert {"holdfast_notices_waiting"} <= metrics

    run(tmp_path, story)


def test_a_branch_may_be_put_at_any_node_that_takes_requests(tmp_path: Path) -> None:
    company = Company(tmp_path, 'front_ends = ["a", "b"]\nbranch_nodes = { OTW = "b" }')
    branches = company.site().branches_of("events")
    assert branches is not None
    assert branches.homes == {"TOR": "a", "MTL": "b", "OTW": "b"}
    assert branches.candidates("OTW") == ("b", "a")


def test_a_persons_request_numbers_are_nobody_elses(tmp_path: Path) -> None:
    """What one has asked as `@x:1` is not the answer to another's `@x:1`, at whichever node; one's own retry is."""

    async def story(company: Company) -> None:
        await offer(company)
        for who in ("TORC2345", "TORC1000", "MTLC2345"):
            for again in "ab":
                booked = await company.say(again, who, f"@x:1 bookEvent {who} TORE130519 Seminars")
                assert booked == [BOOKED.format(event="TORE130519", who=who)]

    run(tmp_path, story)
