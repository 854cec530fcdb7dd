"""Events in three cities as real processes, each with its branch's server; people come by every door."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster, environment, say
from tests.ports import free_ports

HOMES = {"TOR": "a", "MTL": "b", "OTW": "c"}
PEOPLE = [f"{city}{role}{number}" for city in HOMES for role in "MC" for number in ("2345", "2346", "2347", "2348")]


class Cities(Cluster):
    """Three nodes with the services `events` (under `sequencer`) and `directory` (under `lamport`)."""

    service = "events"

    def __init__(self, directory: Path) -> None:
        self.directory_ports = dict(zip("abc", free_ports(3), strict=True))
        super().__init__(directory)

    def service_lines(self) -> list[str]:
        ports = ", ".join(f"{name} = {port}" for name, port in self.directory_ports.items())
        return [
            'app = "events"',
            "[services.directory]",
            'app = "directory"',
            'identity = "trusted"',
            "timeout_seconds = 2.0",
            f"nodes = {{ {ports} }}",
            *(f"[people.{id}]" for id in PEOPLE),
        ]

    @property
    def data(self) -> Path:
        return self.directory / "data"

    # -- The site

    def serving(self, *names: str) -> bool:
        """All of these know the sequencer, and where every branch is."""
        statuses = [self.status(name) for name in names]
        return all(
            status.get("state") == "active" and status["sequencer"] and None not in status["branches"].values()
            for status in statuses
        )

    def branches(self, name: str) -> dict[str, str]:
        """Where the branches are, as this node knows."""
        found: dict[str, str] = self.status(name).get("branches", {})
        return found

    def wait_branches(self, *names: str, **homes: str) -> None:
        """Until these nodes know the branches to be there."""
        self.wait(lambda: all(self.branches(name) == homes for name in names), f"branches at {homes}")

    def counter(self, name: str, counter: str) -> int:
        count: int = self.status(name)["counters"][f"branch_{counter}"]
        return count

    def look_up(self, name: str) -> str:
        """What the directory says, asked at any node that is there."""
        return self.look_up_at(next(node for node, process in self.processes.items() if process.running), name)

    def look_up_at(self, node: str, name: str) -> str:
        """The same, asked at this node."""
        return say(self.directory_ports[node], f"lookup {name}\n").rstrip("\n")

    # -- People

    def tell(self, name: str, who: str, *lines: str) -> list[str]:
        """As `nc`: the answers to a person's lines."""
        said = self.say(name, "".join(f"{line}\n" for line in (f"login {who}", *lines)))
        return said.splitlines()[1:]

    def command(self, *words: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """The command line, in the site's folder."""
        return subprocess.run(
            [sys.executable, "-m", "holdfast.client.cli", *words],
            cwd=self.directory,
            env=environment(**more),
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def as_person(self, who: str, *words: str) -> str:
        """What `holdfast events --as WHO ...` prints."""
        done = self.command("events", "--as", who, *words)
        assert done.stderr == "", done
        assert done.returncode == (1 if done.stdout.startswith("Failed: ") else 0), done
        return done.stdout.rstrip("\n")

    def branch_log(self, node: str, city: str) -> list[list[str]]:
        """The operations in a branch's log at a node, with their times."""
        path = self.data / node / "branches" / f"{city}.log"
        return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []

    def person_log(self, person: str) -> list[list[str]]:
        return [line.split("\t") for line in (self.data / "logs" / f"{person}.log").read_text().splitlines()]

    def statuses(self) -> list[dict[str, Any]]:
        """What `holdfast status --json` says of the events."""
        nodes = json.loads(self.command("status", "--json").stdout)
        return [service for node in nodes for service in node["services"] if service["service"] == "events"]


@contextlib.contextmanager
def open_for_all(directory: Path) -> Iterator[Cities]:
    """All nodes started, every branch at home; all processes ended afterwards, whatever happens."""
    cities = Cities(directory)
    try:
        cities.start()
        cities.wait_branches("a", "b", "c", **HOMES)
        yield cities
    finally:
        cities.close()
        print(cities.report())
