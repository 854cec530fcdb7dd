"""Notices between services of real processes: each arrives once, whatever is killed, and every outbox empties."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e.cluster import HOST, PATIENCE_S, Cluster
from tests.e2e.offices import DAY, SECRETARIES, person, wanted_by

from holdfast.people import TokenHash

OFFICES = ("biology", "law")
POST = ("post-1", "post-2", "post-3")
TOKEN = "the-same-for-all"
NOT_NOW = ("unavailable", "overloaded", "unknown")
REQUESTS = 16
SLOTS = 40
MANAGER, CUSTOMERS = "TORM2345", ("TORC2345", "TORC2346", "TORC2347")
EVENTS = 10


def nodes(names: Sequence[str]) -> str:
    """The setting."""
    return "nodes = [" + ", ".join(f'"{name}"' for name in names) + "]"


class Posted(Cluster):
    """Nodes of some services, each with one line port for all of them; messages at the post's nodes."""

    post: tuple[str, ...] = POST
    places: tuple[tuple[str, str], ...] = ()
    """(node, service) of every replica that may have something to tell."""

    def __init__(self, directory: Path) -> None:
        self.token = TokenHash.of(TOKEN).written()
        super().__init__(directory, names=(*dict.fromkeys(node for node, _ in self.places), *self.post))

    def write_site(self, file: str, peer_ports: dict[str, int]) -> Path:
        lines = ["[site]", 'name = "company"']
        for name in self.names:
            lines += [f"[nodes.{name}]", f'host = "{HOST}"', f"peer_port = {peer_ports[name]}"]
            lines.append(f"line_port = {self.line_ports[name]}")
        lines += ["[services.messages]", 'app = "messages"', "timeout_seconds = 2.0", nodes(self.post)]
        path = self.directory / file
        path.write_text("\n".join([*lines, *self.service_lines()]) + "\n")
        return path

    def person(self, id: str, role: str = "customer", department: str = "") -> list[str]:
        """The lines of one."""
        first_name = SECRETARIES.get(department, id.title())
        lines = [f"[people.{id}]", f'first_name = "{first_name}"', f'roles = ["{role}"]', f'token = "{self.token}"']
        return [*lines, f'department = "{department}"']

    # -- What they say

    def replies(self, node: str, service: str, who: str, *lines: str, token: str = "") -> list[dict[str, Any]]:
        """The answers to a person's lines. Raises `OSError` or `ValueError` when the node ends meanwhile."""
        before = ("mode json", f"use {service}", f"login {who} {token}".rstrip())
        said = self.say(node, "".join(f"{line}\n" for line in (*before, *lines))).splitlines()
        if len(said) != len(before) + len(lines):
            raise ConnectionResetError(f"{node} answered {len(said)} lines")
        return [json.loads(line) for line in said[len(before) :]]

    def do(self, nodes: Sequence[str], service: str, who: str, line: str) -> dict[str, Any]:
        """The final answer to a line, asked at one node after the other until somebody serves it."""
        deadline, tries = time.monotonic() + PATIENCE_S, 0
        while time.monotonic() < deadline:
            try:
                (reply,) = self.replies(nodes[tries % len(nodes)], service, who, line)
                if reply["type"] not in NOT_NOW:
                    return reply
            except (OSError, ValueError):
                pass
            tries += 1
            time.sleep(0.05)
        raise AssertionError(f"no answer to {line!r}")

    def inbox(self, node: str, who: str) -> list[tuple[str, str]]:
        """(sender, text) of everything in a person's inbox, the oldest first; [] while that cannot be told."""
        found: list[tuple[str, str]] = []
        after, more = 0, True
        while more:
            try:
                (reply,) = self.replies(node, "messages", who, f"since {after}", token=TOKEN)
            except (OSError, ValueError):
                return []
            if reply["type"] != "since":
                return []
            items, more = reply["reply"]["items"], reply["reply"]["more"]
            assert [item["number"] for item in items] == list(range(after + 1, after + 1 + len(items)))
            found += [(item["sender"], item["content"]) for item in items]
            after += len(items)
        return found

    def wait_told(self, node: str, who: str, wanted: list[tuple[str, str]]) -> None:
        """Until a person's inbox holds so many, which must be these."""
        self.wait(lambda: len(self.inbox(node, who)) >= len(wanted), f"{len(wanted)} messages of {who} at {node}")
        assert self.inbox(node, who) == wanted

    # -- What they are

    def of_service(self, node: str, service: str) -> dict[str, Any]:
        """What a node says of one of its services."""
        try:
            answer = json.loads(self.say(node, "status\n", timeout_s=5))
        except (OSError, ValueError):
            return {}
        return next((status for status in answer["services"] if status["service"] == service), {})

    def all_serve(self) -> bool:
        where = [*self.places, *((node, "messages") for node in self.post)]
        return all(self.of_service(*place).get("state") == "active" for place in where)

    def all_gone(self) -> bool:
        """Whether no outbox holds anything."""
        return all(self.of_service(*place).get("notices_waiting") == 0 for place in self.places)


P = TypeVar("P", bound=Posted)


@contextlib.contextmanager
def working(company: P) -> Iterator[P]:
    """All its nodes started and serving; all processes ended afterwards."""
    try:
        company.start()
        company.wait(company.all_serve, "all services")
        yield company
    finally:
        company.close()
        print(company.report())


class Talker(threading.Thread):
    """Says lines (service, who, line) one after the other, each under its number until it has an answer."""

    def __init__(self, company: Posted, name: str, where: Sequence[str], lines: Sequence[tuple[str, str, str]]) -> None:
        super().__init__(name=name)
        self.company = company
        self.where = where
        self.lines = lines
        self.client = f"{name}.{time.time_ns() // 1_000_000:013d}"
        self.answers: list[dict[str, Any]] = []

    def run(self) -> None:
        for number, (service, who, line) in enumerate(self.lines, 1):
            self.answers.append(self.company.do(self.where, service, who, f"@{who}-{self.client}:{number} {line}"))

    def so_far(self, count: int) -> None:
        """Until it has so many answers."""
        self.company.wait(lambda: len(self.answers) >= count, f"{count} answers of {self.name}")

    def finished(self) -> None:
        """Until it has all of them."""
        self.join(2 * PATIENCE_S)
        assert len(self.answers) == len(self.lines)


# -- Two services that tell, under different protocols


class Company(Posted):
    """Rooms under `bayou` and a hotel's slots under `lamport` at the offices."""

    places = tuple((node, service) for node in OFFICES for service in ("rooms", "hotel"))

    def service_lines(self) -> list[str]:
        lines = ["[services.rooms]", 'app = "rooms"', 'identity = "trusted"', "sync_seconds = 0.2", nodes(OFFICES)]
        lines += ["[services.hotel]", 'app = "slots"', 'protocol = "lamport"', 'identity = "trusted"', nodes(OFFICES)]
        lines += ["slots = 100", "holds = 64", "timeout_seconds = 2.0"]
        for office in OFFICES:
            lines += self.person(person(office), "secretary", office)
        return [*lines, *self.person("gerda", "vendor", "hotel"), *self.person("bob")]


def test_each_arrives_once_whatever_is_killed(tmp_path: Path) -> None:
    """While people of two offices want the same rooms, and the hotel takes its slots back."""
    with working(Company(tmp_path)) as company:
        talkers = []
        for office in OFFICES:
            lines = [("rooms", person(office), line) for line in wanted_by(office, REQUESTS, ("Ash", "Oak"), [DAY], 7)]
            talkers.append(Talker(company, office, [office], lines))
        slots = []
        for slot in range(1, SLOTS + 1):
            slots += [("hotel", "bob", f"reserve {slot}"), ("hotel", "gerda", f"release {slot}")]
        hotel = Talker(company, "hotel", OFFICES, slots)
        for talker in (*talkers, hotel):
            talker.start()
        hotel.so_far(8)
        company.kill("post-1")
        hotel.so_far(16)
        company.kill("biology")
        company.start("post-1")
        hotel.so_far(24)
        company.start("biology")
        company.kill(*POST)  # the whole service is away for a while
        hotel.so_far(2 * SLOTS)
        company.start(*POST)
        for talker in (*talkers, hotel):
            talker.finished()
        company.wait(company.all_serve, "all services")
        company.wait(company.all_gone, "empty outboxes")

        back = [answer["reply"]["slot"] for answer in hotel.answers if answer["type"] == "released"]
        assert len(back) == SLOTS
        told = [("service:hotel", f"The vendor has taken slot {slot} back; it is yours no longer.") for slot in back]
        for node in POST:
            company.wait_told(node, "bob", told)
        for office in OFFICES:
            assert told_of(company, office) == lost(company, office)


def lost(company: Company, office: str) -> Counter[str]:
    """The requests of an office that are not what was wanted first, by their ids, as is certain by now."""
    found: Counter[str] = Counter()
    before = ""
    while True:
        (page,) = company.replies(office, "rooms", person(office), f"mine {before}".rstrip())
        found.update(one["id"] for one in page["reply"]["requests"] if one["lost"])
        before = page["reply"]["more_before"]
        if not before:
            return found


def told_of(company: Company, office: str) -> Counter[str]:
    """The requests that its secretary has a message about."""
    found = company.inbox(POST[0], person(office))
    assert found
    assert {sender for sender, _ in found} == {"service:rooms"}
    return Counter(text.split(" is ")[0] for _, text in found)


# -- One that is voted on


class Cities(Posted):
    """Events under `sequencer`; the messages are at one node."""

    post = ("post-1",)
    places = tuple((node, "events") for node in "abc")

    def service_lines(self) -> list[str]:
        lines = ["[services.events]", 'app = "events"', 'identity = "trusted"', nodes("abc")]
        for id in (MANAGER, *CUSTOMERS):
            lines += self.person(id)
        return lines


def test_what_replicas_have_voted_on_arrives_once(tmp_path: Path) -> None:
    """While a city's events are removed one after the other, the node that carries and the receiver are killed."""
    events = [f"TORM{day:02}0530" for day in range(1, EVENTS + 1)]
    with working(Cities(tmp_path)) as cities:
        lines = []
        for event in events:
            lines.append(("events", MANAGER, f"addEvent {event} Seminars 10"))
            lines += [("events", customer, f"bookEvent {customer} {event} Seminars") for customer in CUSTOMERS]
        booked = len(lines)
        lines += [("events", MANAGER, f"removeEvent {event} Seminars") for event in events]
        talker = Talker(cities, "manager", "bc", lines)
        talker.start()
        talker.so_far(booked + 2)
        cities.kill("a")
        talker.so_far(booked + 4)
        cities.kill("post-1")
        cities.start("a")
        talker.so_far(len(lines))
        cities.start("post-1")
        talker.finished()
        assert [answer for answer in talker.answers if not answer["ok"]] == []
        cities.wait(cities.all_gone, "empty outboxes")
        why = "no later event has a place for you, so your booking is cancelled."
        told = [("service:events", f"{event} Seminars is removed; {why}") for event in events]
        for customer in CUSTOMERS:
            cities.wait_told("post-1", customer, told)
