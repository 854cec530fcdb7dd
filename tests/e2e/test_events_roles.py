"""Front ends, sequencers and replica managers in processes of their own, under load and trouble (seed 003).

The load generator's clients number their requests, repeat them elsewhere when a connection ends, check
every reply, and end with every booking cancelled: so a request lost, doubled or answered wrongly shows.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.e2e.cluster import HOST, Cluster, environment

from holdfast.bench.events import CITIES, customers
from holdfast.bench.load import LoadOptions, LoadResult, event_of

CLIENTS = 12
CAPACITY = 1_000


class Roles(Cluster):
    """Nodes of one service of events; `settings`: the lines that say who has which role."""

    service = "events"

    def __init__(self, directory: Path, names: Sequence[str], settings: Sequence[str] = ()) -> None:
        self.settings = list(settings)
        super().__init__(directory, names=names)

    def service_lines(self) -> list[str]:
        people = [f"{city}M0000" for city in CITIES] + list(customers(CLIENTS))
        return [
            'app = "events"',
            'protocol = "sequencer"',
            *self.settings,
            *(f"[people.{person}]" for person in people),
        ]

    def serving(self, *names: str) -> bool:
        """All of these know the sequencer."""
        statuses = [self.status(name) for name in names]
        return all(status.get("state") == "active" and status["sequencer"] for status in statuses)

    def votes(self, name: str) -> dict[str, Any]:
        """What this node says of the replicas."""
        lines = f"login {CITIES[0]}M0000\nmode json\nvotes\n"
        found: dict[str, Any] = json.loads(self.say(name, lines).splitlines()[-1])["reply"]
        return found

    def row(self, name: str, manager: str) -> dict[str, Any]:
        """What this node says of one replica."""
        return next(row for row in self.votes(name)["rows"] if row["node"] == manager)

    def plant(self, name: str, kind: str) -> None:
        """Make a replica fail so."""
        assert "from now on" in self.say(name, f"fault {kind}\n")

    def add_events(self, name: str) -> None:
        """The event that the load is about, in each city."""
        for city in CITIES:
            reply = self.ask_as(name, f"{city}M0000", f"addEvent {event_of(city, 0)} {CAPACITY}")
            assert reply.endswith(f"is added with {CAPACITY} places."), reply

    def ask_as(self, name: str, person: str, line: str) -> str:
        """One line of one person."""
        return self.say(name, f"login {person}\n{line}\n").splitlines()[-1]


@contextlib.contextmanager
def running(cluster: Roles) -> Iterator[Roles]:
    """All nodes started; all processes ended afterwards, whatever happens."""
    try:
        cluster.start()
        cluster.wait_serving()
        yield cluster
    finally:
        cluster.close()
        print(cluster.report())


@contextlib.contextmanager
def load(cluster: Roles, doors: Sequence[str], seconds: float) -> Iterator[Callable[[], LoadResult]]:
    """Customers at work at these front ends; call it for what came of them."""
    options = LoadOptions(
        servers=tuple((HOST, cluster.line_ports[name]) for name in doors),
        clients=CLIENTS,
        seconds=seconds,
        warmup_seconds=0.2,
        exact=True,
        people=customers(CLIENTS),
        tag="e",
    )
    command = [sys.executable, "-m", "holdfast.bench.load", msgspec.json.encode(options).decode()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    told: list[bytes] = []
    reader = threading.Thread(target=lambda: told.extend(process.communicate()))
    reader.start()

    def result() -> LoadResult:
        reader.join()
        assert process.returncode == 0, told[1].decode()
        return msgspec.json.decode(told[0], type=LoadResult)

    try:
        yield result
    finally:
        process.kill()
        reader.join()


def check(cluster: Roles, result: LoadResult, managers: Sequence[str], door: str) -> None:
    """Nothing lost, nothing doubled, nobody answered wrongly; all replicas the same."""
    assert (result.errors, result.unanswered) == (0, 0), result.first_error
    assert result.operations > 100
    cluster.wait_equal(*managers)
    for city in CITIES:
        text = cluster.ask_as(door, f"{city}M0000", f"listEventAvailability {event_of(city, 0).split()[1]}")
        assert f"{event_of(city, 0).split()[0]} {CAPACITY}" in text, text


def wrong_then_replaced(cluster: Roles, victim: str, door: str) -> None:
    """A replica answers wrongly, is found out and replaced."""
    life = cluster.row(door, victim)["life"]
    cluster.plant(victim, "wrong")

    def is_replaced() -> bool:
        row = cluster.row(door, victim)
        return bool(row["life"] > life and row["state"] == "right")

    cluster.wait(is_replaced, f"the replica of {victim} replaced")


def three_failures_in_a_row(directory: Path, seconds: float) -> None:
    """A replica turns wrong, then the sequencer is killed, then a front end, under load."""
    managers = ("m1", "m2", "m3")
    settings = ['front_ends = ["f1", "f2"]', 'sequencers = ["s1", "s2"]', f"managers = {json.dumps(managers)}"]
    with running(Roles(directory, ("f1", "f2", "s1", "s2", *managers), settings)) as cluster:
        cluster.add_events("f1")
        with load(cluster, ("f1", "f2"), seconds) as result:
            wrong_then_replaced(cluster, "m2", "m1")
            sequencer = cluster.votes("f2")["sequencer"]
            cluster.kill(sequencer)
            cluster.wait(lambda: cluster.votes("f2")["sequencer"] not in ("", sequencer), "another sequencer")
            cluster.kill("f1")
            found = result()
        assert found.reconnects > 0
        check(cluster, found, managers, "f2")


def test_a_wrong_replica_then_a_dead_sequencer_then_a_dead_front_end(tmp_path: Path) -> None:
    three_failures_in_a_row(tmp_path, seconds=8.0)


@pytest.mark.slow
def test_the_same_for_a_minute(tmp_path: Path) -> None:
    three_failures_in_a_row(tmp_path, seconds=60.0)


def wrong_and_dead_at_once(directory: Path, seconds: float) -> None:
    """Of four replicas one is wrong, and a whole node with another one is killed before that is mended."""
    names = ("a", "b", "c", "d")
    with running(Roles(directory, names)) as cluster:
        cluster.add_events("a")
        with load(cluster, names, seconds) as result:
            sequencer = cluster.votes("a")["sequencer"]
            victim, door, other = (name for name in names if name != sequencer)
            cluster.plant(victim, "wrong")
            cluster.kill(sequencer)
            cluster.wait(
                lambda: cluster.row(door, victim)["life"] and cluster.row(door, victim)["state"] == "right",
                f"the replica of {victim} replaced",
            )
            found = result()
        check(cluster, found, (victim, door, other), door)
        cluster.start(sequencer)
        cluster.wait_serving()
        check(cluster, found, names, door)


def test_of_four_replicas_one_wrong_and_one_node_dead_at_once(tmp_path: Path) -> None:
    wrong_and_dead_at_once(tmp_path, seconds=8.0)


@pytest.mark.slow
def test_of_four_replicas_one_wrong_and_one_dead_for_a_minute(tmp_path: Path) -> None:
    wrong_and_dead_at_once(tmp_path, seconds=60.0)
