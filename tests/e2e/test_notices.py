"""Notices between services of real processes: each arrives once, whatever is killed, and every outbox empties."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cluster import HOST, PATIENCE_S, Cluster
from tests.e2e.offices import DAY, SECRETARIES, person, wanted_by

from holdfast.people import TokenHash

OFFICES = ("biology", "law")
POST = ("post-1", "post-2", "post-3")
TOKEN = "the-same-for-all"
NOT_NOW = ("unavailable", "overloaded", "unknown")
REQUESTS = 16
SLOTS = 40


class Company(Cluster):
    """Rooms under `bayou` and a hotel's slots under `lamport` at the offices; messages at the post's nodes."""

    def __init__(self, directory: Path) -> None:
        self.token = TokenHash.of(TOKEN).written()
        super().__init__(directory, names=(*OFFICES, *POST))

    def write_site(self, file: str, peer_ports: dict[str, int]) -> Path:
        lines = ["[site]", 'name = "company"']
        for name in self.names:
            lines += [f"[nodes.{name}]", f'host = "{HOST}"', f"peer_port = {peer_ports[name]}"]
            lines.append(f"line_port = {self.line_ports[name]}")
        lines += ["[services.rooms]", 'app = "rooms"', 'identity = "trusted"', "sync_seconds = 0.2", nodes(OFFICES)]
        lines += ["[services.hotel]", 'app = "slots"', 'protocol = "lamport"', 'identity = "trusted"', nodes(OFFICES)]
        lines += ["slots = 100", "holds = 64", "timeout_seconds = 2.0"]
        lines += ["[services.messages]", 'app = "messages"', "timeout_seconds = 2.0", nodes(POST)]
        for office in OFFICES:
            lines += self._person(person(office), "secretary", office)
        lines += [*self._person("gerda", "vendor", "hotel"), *self._person("bob", "customer", "")]
        path = self.directory / file
        path.write_text("\n".join(lines) + "\n")
        return path

    def _person(self, id: str, role: str, department: str) -> list[str]:
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

    def of_service(self, node: str, service: str) -> dict[str, Any]:
        """What a node says of one of its services."""
        try:
            answer = json.loads(self.say(node, "status\n", timeout_s=5))
        except (OSError, ValueError):
            return {}
        return next((status for status in answer["services"] if status["service"] == service), {})

    def all_serve(self) -> bool:
        where = [(node, service) for node in OFFICES for service in ("rooms", "hotel")]
        where += [(node, "messages") for node in POST]
        return all(self.of_service(*place).get("state") == "active" for place in where)

    def waiting(self) -> list[Any]:
        """How many notices wait, at each replica that can have some."""
        return [
            self.of_service(node, service).get("notices_waiting") for node in OFFICES for service in ("rooms", "hotel")
        ]


def nodes(names: Sequence[str]) -> str:
    return "nodes = [" + ", ".join(f'"{name}"' for name in names) + "]"


class Talker(threading.Thread):
    """Says lines one after the other, each under its number until it has an answer. `answers`: the answers."""

    def __init__(
        self, company: Company, name: str, where: Sequence[str], lines: Sequence[tuple[str, str, str]]
    ) -> None:
        super().__init__(name=name)
        self.company = company
        self.where = where
        self.lines = lines
        self.client = f"{name}.{time.time_ns() // 1_000_000:013d}"
        self.answers: list[dict[str, Any]] = []

    def run(self) -> None:
        for number, (service, who, line) in enumerate(self.lines, 1):
            self.answers.append(self.company.do(self.where, service, who, f"@{self.client}-{who}:{number} {line}"))


@pytest.fixture
def company(tmp_path: Path):
    company = Company(tmp_path)
    try:
        company.start()
        company.wait(company.all_serve, "all services")
        yield company
    finally:
        company.close()
        print(company.report())


def test_each_arrives_once_whatever_is_killed(company: Company) -> None:
    """While people of two offices want the same rooms, and the hotel takes its slots back."""
    days = [DAY]
    talkers = []
    for office in OFFICES:
        lines = [("rooms", person(office), line) for line in wanted_by(office, REQUESTS, ("Ash", "Oak"), days, 7)]
        talkers.append(Talker(company, office, [office], lines))
    slots = []
    for slot in range(1, SLOTS + 1):
        slots += [("hotel", "bob", f"reserve {slot}"), ("hotel", "gerda", f"release {slot}")]
    hotel = Talker(company, "hotel", OFFICES, slots)
    for talker in (*talkers, hotel):
        talker.start()

    def so_far(count: int) -> None:
        company.wait(lambda: len(hotel.answers) >= count, f"{count} answers of the hotel")

    so_far(8)
    company.kill("post-1")
    so_far(16)
    company.kill("biology")
    company.start("post-1")
    so_far(24)
    company.start("biology")
    company.kill(*POST)  # the whole service is away for a while
    so_far(2 * SLOTS)
    company.start(*POST)
    for talker in (*talkers, hotel):
        talker.join(2 * PATIENCE_S)
        assert len(talker.answers) == len(talker.lines)
    company.wait(company.all_serve, "all services")
    company.wait(lambda: company.waiting() == [0, 0, 0, 0], "empty outboxes")

    taken_back = [answer["reply"]["slot"] for answer in hotel.answers if answer["type"] == "released"]
    assert len(taken_back) == SLOTS
    wanted = [
        ("service:hotel", f"The vendor has taken slot {slot} back; it is yours no longer.") for slot in taken_back
    ]
    for node in POST:
        company.wait(lambda: len(company.inbox(node, "bob")) >= SLOTS, f"bob's messages at {node}")  # noqa: B023
        assert company.inbox(node, "bob") == wanted
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
    assert {sender for sender, _ in found} <= {"service:rooms"}
    return Counter(text.split(" is ")[0] for _, text in found)
