"""Customers and managers of three cities at real processes: seed 003, by its own words."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
from pathlib import Path

import pytest
from tests.e2e.cities import HOMES, open_for_all
from tests.e2e.cluster import HOST, until

from holdfast.client import Site

SEMINARS = ("MTLE130519", "OTWA060519", "TORM180519", "MTLE190519")


def test_the_three_cities_by_the_command_line(tmp_path: Path) -> None:
    """A manager of each city offers, a customer books elsewhere, and all three branches are asked what is left."""
    with open_for_all(tmp_path) as cities:
        for event, places in zip(SEMINARS, (3, 6, 1, 2), strict=True):
            added = cities.as_person(f"{event[:3]}M2345", "addEvent", event, "Seminars", str(places))
            assert added == f"{event} Seminars is added with {places} place{'s' * (places > 1)}."
        booked = cities.as_person("OTWC2345", "bookEvent", "OTWC2345", "TORM180519", "Seminars")
        assert booked == "TORM180519 Seminars is booked for OTWC2345."
        left = "Seminars - MTLE130519 3, MTLE190519 2, OTWA060519 6, TORM180519 0."
        assert cities.as_person("TORM2345", "listEventAvailability", "Seminars") == left
        assert cities.counter("a", "parts_asked") == 2
        assert cities.counter("a", "parts_missing") == 0
        assert [cities.counter(name, "parts_given") for name in "bc"] == [1, 1]
        full = "Failed: TORM180519 Seminars is full; it has 1 place."
        assert cities.as_person("MTLC2345", "bookEvent", "MTLC2345", "TORM180519", "seminars") == full
        swap = ("swapEvent", "OTWC2345", "MTLE130519", "Seminars", "TORM180519", "Seminars")
        assert "is booked for OTWC2345, and TORM180519" in cities.as_person("OTWC2345", *swap)
        assert cities.as_person("OTWC2345", "getBookingSchedule", "OTWC2345") == "OTWC2345 - MTLE130519 Seminars."
        json_ = cities.command("events", "--as", "OTWC2345", "--json", "cancelEvent", "OTWC2345", "MTLE130519")
        assert json.loads(json_.stdout)["type"] == "event_cancelled"
        refused = cities.as_person("TORC2345", "addEvent", "TORM190519", "Seminars", "5")
        assert refused == "Failed: only managers may do addEvent, and TORC2345 is a customer."
        assert cities.tell("b", "TORC2345", "browse TOR Seminars") == ["Seminars - TORM180519 1."]

        cities.wait(lambda: len(cities.branch_log("a", "TOR")) == 7, "the branch's log")
        log = cities.branch_log("a", "TOR")
        own = [line for line in log if line[1].startswith("TOR")]
        assert [(line[1], line[2], line[4]) for line in own] == [
            ("TORM2345", "addEvent", "done"),
            ("TORM2345", "listEventAvailability", "done"),
            ("TORC2345", "addEvent", "failed"),
            ("TORC2345", "browse", "done"),
        ]
        assert [line[6:] for line in own] == [[], [], [], ["by b"]], "the last one was passed on"
        assert sorted((line[1], line[2], line[4], line[6]) for line in log if line not in own) == [
            ("MTLC2345", "bookEvent", "failed", "by MTL at b"),
            ("OTWC2345", "bookEvent", "done", "by OTW at c"),
            ("OTWC2345", "swapEvent", "done", "by OTW at c"),
        ], "what others' people do at this branch"
        time, request, parameters, outcome, response = cities.person_log("TORC2345")[0]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z", time)
        assert (request, parameters, outcome) == ("addEvent", "TORM190519 Seminars 5", "failed")
        assert response == refused


def test_ten_users_have_ten_logs_in_one_folder(tmp_path: Path) -> None:
    """All at once: thirty seats are fought for by ten people from Python, and every answer stands in a log."""
    with open_for_all(tmp_path) as cities:
        for city in HOMES:
            assert " is added with 3 places" in cities.as_person(
                f"{city}M2345", "addEvent", f"{city}A010619", "Seminars", "3"
            )
        users = ["TORM2345", "MTLM2345", "OTWM2345", *(f"{city}C234{n}" for city in HOMES for n in (5, 6, 7))][:10]
        answers: dict[str, list[str]] = {}

        def one(user: str) -> None:
            chooser = random.Random(user)
            with Site(cities.site, as_=user, chooser=chooser) as site:
                events = site.events()
                customer = user if user[3] == "C" else f"{user[:3]}C2348"
                asked = [events.bookEvent(customer, f"{city}A010619", "Seminars") for city in HOMES]
                asked.append(events.getBookingSchedule(customer))
                answers[user] = [answer.text for answer in asked]
                assert site.service("events").server is not None
                assert site.service("events").server.name == HOMES[user[:3]], "the branch of the person's id"

        threads = [threading.Thread(target=one, args=(user,)) for user in users]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(answers) == sorted(users)
        booked = [text for texts in answers.values() for text in texts[:3] if "is booked for" in text]
        assert len(booked) == len(set(booked)) == 9, "three places in each city, and no more"
        folder = cities.data / "logs"
        assert sorted(path.stem for path in folder.iterdir() if path.stem in users) == sorted(users)
        for user in users:
            said = [line[4] for line in cities.person_log(user) if line[1] in ("bookEvent", "getBookingSchedule")]
            assert said == answers[user]
        assert cities.as_person("TORM2346", "listEventAvailability", "Seminars") == (
            "Seminars - MTLA010619 0, OTWA010619 0, TORA010619 0."
        )
        elsewhere = tmp_path / "elsewhere"
        done = cities.command("events", "browse", HOLDFAST_AS="MTLC2348", HOLDFAST_LOGS=str(elsewhere))
        assert done.returncode == 0, done
        assert [path.name for path in elsewhere.iterdir()] == ["MTLC2348.log"]
        cities.command("events", "--as", "MTLC2348", "--logs", str(tmp_path / "third"), "browse")
        assert (tmp_path / "third" / "MTLC2348.log").exists()


def test_a_branch_survives_its_node_and_is_found_where_it_is(tmp_path: Path) -> None:
    """kill -9 of Montreal's node: the next node takes the branch over and registers anew; then it goes home."""
    with (
        open_for_all(tmp_path) as cities,
        Site(cities.site, as_="MTLC2345", timeout_s=2.0) as site,
    ):
        assert cities.as_person("MTLM2345", "addEvent", "MTLE130519", "Seminars", "9").endswith("added with 9 places.")
        events, service = site.events(), site.service("events")
        assert events.bookEvent("MTLC2345", "MTLE130519", "Seminars").ok
        assert service.server is not None
        assert service.server.name == "b"
        before = cities.look_up("events/MTL")
        assert "is served by b at" in before
        assert before.endswith("term 1.")
        cities.kill("b")
        assert events.getBookingSchedule("MTLC2345").text == "MTLC2345 - MTLE130519 Seminars.", "by whichever node"
        cities.wait_branches("a", "c", TOR="a", MTL="c", OTW="c")
        after = cities.look_up("events/MTL")
        assert f"is served by c at 127.0.0.1:{cities.line_ports['c']}" in after
        assert after.endswith("term 2.")

        def server_after_a_request() -> str:
            assert events.browse("MTL").text == "Seminars - MTLE130519 8."
            assert service.server is not None
            return service.server.name

        until(lambda: server_after_a_request() == "c", "the client has looked again")
        assert cities.tell("a", "MTLC2346", "bookEvent MTLC2346 MTLE130519 Seminars") == [
            "MTLE130519 Seminars is booked for MTLC2346."
        ]
        assert cities.as_person("TORM2345", "listEventAvailability", "Seminars") == "Seminars - MTLE130519 7."
        lost = cities.log("c")
        assert "events: this node serves the branch MTL, term 2, after b" in lost
        cities.start("b")
        cities.wait_branches("a", "b", "c", **HOMES)
        assert cities.look_up("events/MTL").endswith("term 3.")
        cities.kill("c")
        cities.wait_branches("a", "b", TOR="a", MTL="b", OTW="a")
        assert events.cancelEvent("MTLC2345", "MTLE130519").ok
        until(lambda: events.browse().ok and service.server is not None and service.server.name == "b", "home again")
        done = [(line[1], line[2], line[6:]) for line in cities.branch_log("c", "MTL")]
        assert ("MTLC2346", "bookEvent", ["by a"]) in done, "what c did for Montreal meanwhile"


def test_a_branch_whose_node_hangs_is_taken_over_too(tmp_path: Path) -> None:
    """As by kill -STOP: its connections stand, and nothing comes."""
    with open_for_all(tmp_path) as cities:
        assert cities.as_person("MTLM2345", "addEvent", "MTLE130519", "Seminars", "9").endswith("with 9 places.")
        cities.pause("b")
        booked = cities.tell("a", "MTLC2345", "bookEvent MTLC2345 MTLE130519 Seminars")
        assert booked == ["MTLE130519 Seminars is booked for MTLC2345."], "after a moment, at the port that was asked"
        cities.wait_branches("a", "c", TOR="a", MTL="c", OTW="c")
        assert "is served by c at" in cities.look_up_at("a", "events/MTL")
        assert cities.as_person("MTLC2346", "bookEvent", "MTLC2346", "MTLE130519", "Seminars").endswith("MTLC2346.")
        cities.resume("b")
        cities.wait_branches("a", "b", "c", **HOMES)
        assert cities.tell("b", "MTLC2346", "browse MTL") == ["Seminars - MTLE130519 7."]


def test_nothing_is_lost_or_done_twice_while_a_branch_moves_and_moves_back(tmp_path: Path) -> None:
    """Customers of Montreal ask at Toronto's and Ottawa's ports, by lines without a number; a booking that was done
    twice would be answered with "has booked already"."""
    seminars = [f"MTL{slot}{day:02}0627" for day in range(1, 29) for slot in "MAE"]
    with open_for_all(tmp_path) as cities:
        added = cities.tell("b", "MTLM2345", *(f"addEvent {event} Seminars 9" for event in seminars))
        assert all(reply.endswith("is added with 9 places.") for reply in added)
        answers: dict[str, list[str]] = {}

        def books(customer: str, node: str) -> None:
            said = answers[customer] = []
            with socket.create_connection((HOST, cities.line_ports[node]), timeout=30) as connection:
                lines = connection.makefile("rw")
                for line in (f"login {customer}", *(f"bookEvent {customer} {event} Seminars" for event in seminars)):
                    lines.write(f"{line}\n")
                    lines.flush()
                    said.append(lines.readline().rstrip("\n"))

        at = dict(zip(("MTLC2345", "MTLC2346", "MTLC2347", "MTLC2348"), "acac", strict=True))
        threads = [threading.Thread(target=books, args=pair) for pair in at.items()]
        for thread in threads:
            thread.start()
        until(lambda: sum(map(len, answers.values())) > 40, "some have booked")
        cities.kill("b")
        cities.wait_branches("a", "c", TOR="a", MTL="c", OTW="c")
        cities.start("b")
        for thread in threads:
            thread.join(60)
        for customer in at:
            assert answers[customer][1:] == [f"{event} Seminars is booked for {customer}." for event in seminars]
        assert cities.counter("c", "taken_in") + cities.counter("a", "acted_for") > 0
        cities.wait_branches("a", "b", "c", **HOMES)
        left = cities.as_person("MTLM2345", "listEventAvailability", "Seminars")
        assert left.count(" 5,") + left.count(" 5.") == len(seminars)


@pytest.mark.parametrize("kind", ["wrong", "crash"])
def test_a_replica_made_wrong_is_found_out_and_begun_anew(tmp_path: Path, kind: str) -> None:
    with open_for_all(tmp_path) as cities:
        assert cities.as_person("TORM2345", "addEvent", "TORM180519", "Seminars", "50").endswith("50 places.")
        planted = cities.command("fault", "b", kind)
        assert (planted.returncode, planted.stdout) == (0, f"The replica of b is made {kind} from now on.\n")
        what = "replacements" if kind == "wrong" else "restarts"
        with Site(cities.site, as_="MTLM2345") as site:
            events = site.events()
            booked = 0

            def is_replaced() -> bool:
                nonlocal booked
                booked += 1
                event = f"MTLE{booked % 28 + 1:02}{booked // 28 + 1:02}27"
                assert events.addEvent(event, "Seminars", booked).text.endswith(
                    f"with {booked} place{'s' * (booked > 1)}."
                )
                return all(status[what] == 1 for status in cities.statuses())

            until(is_replaced, "the replica of b is begun anew")

        def is_right() -> bool:
            votes = {row["node"]: row for row in cities.statuses()[0]["votes"]}
            return votes["b"]["state"] == "right" and votes["b"]["life"] == 1

        until(is_right, "it is right again")
        until(lambda: len({status["digest"] for status in cities.statuses()}) == 1, "all states are equal")
        shown = cities.command("status").stdout
        assert re.search(rf"^events: the sequencer is [abc]; 1 {what[:-1]}", shown, flags=re.MULTILINE)
        assert "events: branches: TOR at a, MTL at b, OTW at c" in shown
        votes = re.search(r"^events: votes: (.*)$", shown, flags=re.MULTILINE)
        assert votes is not None
        if kind == "wrong":
            assert re.search(r"b \d+ agreed, [3-9]\d* differed", votes[1])
            assert "the replica of b is replaced" in cities.log("a")
        bad = cities.command("fault", "z", "wrong")
        assert (bad.returncode, bad.stdout) == (64, "")
        assert "no line port at a node 'z'" in bad.stderr
        none = json.loads(cities.command("fault", "b", "none", "--json", "--service", "events").stdout)
        assert none["reply"] == {"node": "b", "kind": "none"}


def test_bad_input_is_refused_logged_and_stops_nothing(tmp_path: Path) -> None:
    chooser = random.Random(3)
    with open_for_all(tmp_path) as cities:
        assert cities.as_person("TORM2345", "addEvent", "TORM180519", "Seminars", "5").endswith("5 places.")
        words = [
            "bookEvent",
            "swapEvent",
            "TORC2345",
            "TORM180519",
            "TORM310219",
            "Seminars",
            "Opera",
            "-1",
            '"',
            "\\",
            "@x:1",
        ]
        lines = [" ".join(chooser.choices(words, k=chooser.randint(1, 7))) for _ in range(300)]
        lines += ["bookEvent TORC2345 TORM180519 " + "S" * 70_000, "\u202ebookEvent", "addEvent\x00", "browse\tTOR"]
        for name in "abc":
            replies = cities.tell(name, "TORC2345", *lines)
            assert len(replies) == len(lines)
            assert all(len(reply) > 5 for reply in replies)
            assert sum(not reply.startswith("Failed: ") for reply in replies) <= 2, "one booking, and browse"
        assert cities.command("events", "--as", "nobody", "browse").returncode != 0
        assert cities.as_person("TORC2345", "getBookingSchedule", "TORC2346").startswith(
            "Failed: TORC2345 is a customer"
        )
        typed = "browse\nbookEvent\nlogin TORM2345\nlistEventAvailability Seminars\nquit\n"
        script = cities.command("events", "--as", "TORC2345", typed=typed)
        assert script.returncode == 1
        assert script.stdout.splitlines()[-1].startswith("Seminars - TORM180519 ")
        cities.wait(lambda: len(cities.branch_log("b", "TOR")) > 100, "what was said at b")
        for name in "abc":
            for line in cities.branch_log(name, "TOR"):
                assert len(line) in (6, 7), line
                assert all(field.isprintable() for field in line)
            assert cities.processes[name].running
        assert "malformed" in {line[2] for line in cities.branch_log("a", "TOR")}
        assert "Traceback" not in cities.log("a") + cities.log("b") + cities.log("c")


def test_the_documented_examples_are_true(tmp_path: Path) -> None:
    """docs/commands.md, its part about events."""
    text = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
    part = text[text.index("\n## Events\n") : text.index("\n## Replicas that vote\n")]
    block = next(block for block in re.findall(r"```\n(.*?)```", part, flags=re.DOTALL) if "addEvent" in block)
    told = re.findall(r"^\$ holdfast events (.*)\n(.*)$", block, flags=re.MULTILINE)
    assert len(told) == 5
    with open_for_all(tmp_path) as cities:
        for words, reply in told:
            done = cities.command("events", *words.split())
            assert done.stdout == f"{reply}\n"
