"""Departments with a node each, as real processes: their secretaries book at their own replicas."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.e2e.cluster import HOST, PATIENCE_S, Cluster, environment
from tests.e2e.wires import Wires

SECRETARIES = {
    "biology": "Fatima",
    "chemistry": "Georg",
    "computing": "Ines",
    "economics": "Jonas",
    "history": "Hana",
    "law": "Liam",
    "mathematics": "Maria",
    "medicine": "Nadia",
    "music": "Oscar",
    "physics": "Priya",
}
"""The departments, and the first names of who books for them; a secretary's id is her first name in small letters."""
DAY = (date.today() + timedelta(days=100)).isoformat()
NOT_NOW = ("unavailable", "overloaded", "unknown")


def person(department: str) -> str:
    """The id of a department's secretary."""
    return SECRETARIES[department].lower()


class Offices(Cluster):
    """The processes of one service under `bayou`; `settings` are lines of its part of the site file. With
    `sync_s` replicas compare what they know, besides what they tell each other at once."""

    service = "rooms"

    def __init__(
        self, directory: Path, departments: Sequence[str], *settings: str, app: str = "rooms", sync_s: float = 0.2
    ) -> None:
        self.service = app
        self.settings = (f"sync_seconds = {sync_s}", *settings)
        super().__init__(directory, names=departments)

    def service_lines(self) -> list[str]:
        lines = [f'app = "{self.service}"', 'protocol = "bayou"', *self.settings]
        for department in self.names:
            first_name = SECRETARIES[department]
            lines += [f"[people.{person(department)}]", f'first_name = "{first_name}"', 'roles = ["secretary"]']
            lines.append(f'department = "{department}"')
        return lines

    # -- Questions

    def tell(self, name: str, *lines: str, as_: str = "", timeout_s: float = 15.0) -> list[dict[str, Any]]:
        """The answers to some lines that a department's secretary says to one replica (of her department, unless
        `as_` names another), one after the other. Raises `OSError` when it cannot be reached."""
        greeting = ("mode json", f"login {person(as_ or name)}")
        said = self.say(name, "".join(f"{line}\n" for line in (*greeting, *lines)), timeout_s=timeout_s)
        answers = [json.loads(line) for line in said.splitlines()]
        if len(answers) != len(lines) + len(greeting):
            raise ConnectionResetError(f"{name} answered {len(answers)} of {len(lines) + len(greeting)} lines")
        return answers[len(greeting) :]

    def tell_one(self, name: str, line: str, *, as_: str = "") -> dict[str, Any]:
        """The answer to one line; until the replica serves, it is asked again."""

        def answer() -> dict[str, Any] | None:
            try:
                (reply,) = self.tell(name, line, as_=as_)
            except (OSError, ValueError):  # killed in the middle of a line
                return None
            return None if reply["type"] in NOT_NOW else reply

        found: dict[str, Any] = self.wait(answer, f"an answer to {line!r} at {name}")
        return found

    def serving(self, *names: str) -> bool:
        """Whether these take writes."""
        return all(self.status(name).get("state") == "active" for name in names)

    def wait_firm(self, *names: str) -> dict[str, Any]:
        """Until these have committed the same, and nothing is tentative. Returns what one of them says of itself."""

        def firm() -> bool:
            found = [self.status(name) for name in names or self.names]
            same = {(one.get("position"), one.get("digest"), one.get("full_digest")) for one in found}
            return len(same) == 1 and all(
                one.get("tentative") == 0 and one["digest"] == one["full_digest"] for one in found
            )

        self.wait(firm, "the same at all, and nothing tentative")
        return self.status((names or self.names)[0])

    def wait_tentative(self, count: int, *names: str) -> None:
        """Until each of these has so many tentative writes."""
        self.wait(
            lambda: all(self.status(name).get("tentative") == count for name in names or self.names),
            f"{count} tentative writes at each of {', '.join(names or self.names)}",
        )

    def requests(self, name: str, department: str, view: str = "committed") -> list[dict[str, Any]]:
        """All requests of a department as one replica tells them, the newest first."""
        found: list[dict[str, Any]] = []
        before = ""
        while True:
            _, page = self.tell(name, f"view {view}", f"mine {before}".rstrip(), as_=department)
            found += page["reply"]["requests"]
            before = page["reply"]["more_before"]
            if not before:
                return found

    def schedule(self, name: str, day: str, view: str = "committed") -> list[dict[str, Any]]:
        """The meetings of a day as one replica tells them."""
        meetings: list[dict[str, Any]] = self.tell(name, f"view {view}", f"schedule {day}")[1]["reply"]["meetings"]
        return meetings

    def command(self, *words: str, site: Path | None = None) -> subprocess.CompletedProcess[str]:
        """`holdfast words...` at this site."""
        return subprocess.run(
            [sys.executable, "-m", "holdfast.client.cli", *words, "--site", str(site or self.site)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=environment(COLUMNS="200"),
        )


@contextlib.contextmanager
def working(offices: Offices, *names: str) -> Iterator[Offices]:
    """These nodes (all, when none is named) started and serving; all processes ended afterwards."""
    try:
        offices.start(*names)
        offices.wait_serving(*names)
        yield offices
    finally:
        offices.close()
        print(offices.report())


@contextlib.contextmanager
def wired(offices: Offices) -> Iterator[Wires]:
    """Wires between all nodes, which can be cut; to be made before the nodes are started."""
    wires = Wires(offices)
    try:
        yield wires
    finally:
        wires.close()


class Secretary(threading.Thread):
    """Sends lines to the replica of her department, one after the other, each again under its number until it
    has an answer: whether the replica is killed meanwhile, or moves. `answers`: (line, answer) in order."""

    def __init__(self, offices: Offices, department: str, lines: Sequence[str], *, at: str = "") -> None:
        super().__init__(name=department)
        self.offices = offices
        self.department = department
        self.lines = lines
        self.at = at or department
        self.client = f"{department}.{time.time_ns() // 1_000_000:013d}"
        self.answers: list[tuple[str, dict[str, Any]]] = []

    def run(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(self.answers) < len(self.lines) and time.monotonic() < deadline:
            number = len(self.answers) + 1
            try:
                (answer,) = self.offices.tell(
                    self.at, f"@{self.client}:{number} {self.lines[number - 1]}", as_=self.department, timeout_s=5
                )
            except (OSError, ValueError):
                time.sleep(0.05)
                continue
            if answer["type"] not in NOT_NOW:
                self.answers.append((self.lines[number - 1], answer))

    def finished(self) -> list[tuple[str, dict[str, Any]]]:
        """Wait for the end; the lines with their answers."""
        self.join(2 * PATIENCE_S)
        assert len(self.answers) == len(self.lines), f"{self.name} got {len(self.answers)} of {len(self.lines)} answers"
        return self.answers


class Ear:
    """A connection to one replica that gathers what it tells unasked of a department's requests."""

    def __init__(self, offices: Offices, name: str) -> None:
        self._connection = socket.create_connection((HOST, offices.line_ports[name]), timeout=15)
        self._connection.sendall(f"mode json\nlogin {person(name)}\nwatch mine\n".encode())
        self._file = self._connection.makefile("r", encoding="utf-8")
        for _ in range(3):
            assert json.loads(self._file.readline())["ok"]

    def heard(self) -> dict[str, Any]:
        """The next change, waited for."""
        self._connection.settimeout(PATIENCE_S)
        change: dict[str, Any] = json.loads(self._file.readline())["change"]
        return change

    def close(self) -> None:
        self._file.close()
        self._connection.close()


def overlapping(meetings: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of meetings (by id) that want the same room at the same time."""
    return [
        (one["id"], other["id"])
        for place, one in enumerate(meetings)
        for other in meetings[place + 1 :]
        if (one["room"], one["day"]) == (other["room"], other["day"])
        and one["start"] < other["end"]
        and other["start"] < one["end"]
    ]


def wanted_by(department: str, count: int, rooms: Sequence[str], days: Sequence[str], seed: int) -> list[str]:
    """So many requests of a department, contested by all: its purposes tell one from the other."""
    chance = random.Random(f"{seed} {department}")
    lines = []
    for number in range(count):
        hours = chance.choice((1, 1, 2))
        places = [(chance.choice(rooms), chance.randrange(8, 18 - hours)) for _ in range(chance.randrange(1, 4))]
        (room, hour), *others = dict.fromkeys(places)
        words = ["reserve", room, chance.choice(days), f"{hour:02}:00", f"{hours}h", f'"{department} {seed}.{number}"']
        for other_room, other_hour in others:
            words += ["--or", f"{other_room}@{other_hour:02}:00"]
        lines.append(" ".join(words))
    return lines
