"""`holdfast bench events`: what a vote costs, and what it saves.

Three durable nodes take bookings of places at events: under `sequencer`, where every answer is voted
on, and, in turn with it, under `lamport`, where it is not. Then the sequencer is killed under load, and
a replica with many bookings is made wrong and replaced while customers go on.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec

from holdfast.bench.cluster import NAMES, POLL_SECONDS, ClusterError, HoldfastCluster
from holdfast.bench.load import LoadOptions, LoadResult, event_of
from holdfast.bench.measure import Machine, Progress, apply_load, begin_load, describe_machine

CITIES = ("TOR", "MTL", "OTW")
CAPACITY = 1_000_000
REPLACED_SECONDS_MAX = 60.0
FILL_SECONDS_MAX = 900.0


class EventsPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`clients`: of each row. `bookings`: in the state of the replica that is replaced."""

    clients: tuple[int, ...]
    rounds: int
    seconds: float
    warmup_seconds: float
    kill_clients: int
    bookings: int

    @property
    def most(self) -> int:
        """As many customers has each city."""
        return max(*self.clients, self.kill_clients)


FULL = EventsPlan(clients=(1, 16, 64), rounds=3, seconds=4.0, warmup_seconds=1.0, kill_clients=64, bookings=100_000)
QUICK = EventsPlan(clients=(1, 8), rounds=1, seconds=0.5, warmup_seconds=0.1, kill_clients=6, bookings=600)


class EventsRun(msgspec.Struct, frozen=True):
    """One row, once. `server_cpu`: the share of one CPU that each server used meanwhile."""

    protocol: str
    clients: int
    result: LoadResult
    server_cpu: dict[str, float]


class Replaced(msgspec.Struct, frozen=True, kw_only=True):
    """A replica was made wrong while clients booked. `found_ms`: from the fault until the managers had agreed to
    replace it; `seconds`: from then until it had the agreed state. `pause_ms`: the longest that nobody was
    answered; `longest_ms`: the longest that any request took; both while that went on. `calm_pause_ms`,
    `calm_longest_ms`: the same without a fault, in the same run."""

    bookings: int
    found_ms: float
    seconds: float
    pause_ms: float
    longest_ms: float
    calm_pause_ms: float
    calm_longest_ms: float
    errors: int
    first_error: str


class EventsReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one `holdfast bench events` found."""

    taken: str
    machine: Machine
    plan: EventsPlan
    runs: list[EventsRun]
    kills: list[LoadResult]
    replaced: list[Replaced]

    def rows(self, protocol: str, clients: int) -> list[EventsRun]:
        """Of one kind."""
        return [run for run in self.runs if (run.protocol, run.clients) == (protocol, clients)]

    def errors(self) -> list[str]:
        """Everything that should not have happened, one line each."""
        results = [(f"{run.protocol}, {run.clients} clients", run.result) for run in self.runs]
        results += [("kill of the sequencer", result) for result in self.kills]
        found = [
            f"{name}: {result.errors} wrong replies, {result.unanswered} clients unanswered; {result.first_error}"
            for name, result in results
            if result.errors or result.unanswered or not result.operations
        ]
        return found + [f"replacement: {each.first_error}" for each in self.replaced if each.errors]


class EventsCluster(HoldfastCluster):
    """Three nodes with one service of events, and customers of three cities."""

    def __init__(self, directory: Path, protocol: str, customers: int) -> None:
        people = [f"[people.{city}{kind}{number:04}]" for kind, number, city in _people(customers)]
        service = ['app = "events"', f'protocol = "{protocol}"']
        super().__init__(directory, name="events", service=service, more=people)

    def add_events(self, count: int) -> None:
        """So many events in each city, with room for everybody."""
        for city, name in zip(CITIES, NAMES, strict=True):
            lines = [f"login {city}M0000"]
            lines += [f"addEvent {event_of(city, number)} {CAPACITY}" for number in range(count)]
            reply = self.ask(name, *lines)
            if "is added" not in reply:
                raise ClusterError(f"addEvent was answered {reply!r}")

    def votes(self, name: str) -> dict[str, Any]:
        """What this node's front end and council know."""
        reply: dict[str, Any] = json.loads(self.ask(name, "mode json", "votes"))["reply"]
        return reply


def _people(customers: int) -> list[tuple[str, int, str]]:
    return [("M", 0, city) for city in CITIES] + [("C", number, city) for number in range(customers) for city in CITIES]


def customers(count: int, first: int = 0) -> tuple[str, ...]:
    """Their ids from number `first` on, the cities in turn, as the servers are."""
    return tuple(f"{CITIES[number % 3]}C{first + number // 3:04}" for number in range(count))


def measure_events(plan: EventsPlan, directory: Path, progress: Progress) -> EventsReport:
    """Carry out the plan, with all data in `directory`, which must exist."""
    machine = describe_machine(directory)
    taken = time.strftime("%Y-%m-%d %H:%M:%S")
    runs: list[EventsRun] = []
    kills: list[LoadResult] = []
    replaced: list[Replaced] = []
    for number in range(plan.rounds):
        for protocol in ("lamport", "sequencer"):
            with EventsCluster(directory / f"{protocol}-{number}", protocol, plan.most) as cluster:
                cluster.add_events(1)
                for clients in plan.clients:
                    runs.append(measure_row(cluster, plan, protocol, clients, number))
                    told = runs[-1].result
                    progress(
                        f"round {number + 1} of {plan.rounds}, {protocol}, {clients} clients: "
                        f"{told.per_second:,.0f} a second, p50 {told.p50_ms:.2f} ms, p99 {told.p99_ms:.2f} ms"
                    )
                if protocol == "sequencer":
                    kills.append(measure_kill(cluster, plan, number))
                    progress(f"kill -9 of the sequencer: answered within {kills[-1].served_again_ms or 0:.0f} ms")
        with EventsCluster(directory / f"replaced-{number}", "sequencer", plan.most) as cluster:
            replaced.append(measure_replacement(cluster, plan, number, progress))
    return EventsReport(taken=taken, machine=machine, plan=plan, runs=runs, kills=kills, replaced=replaced)


def measure_row(cluster: EventsCluster, plan: EventsPlan, protocol: str, clients: int, number: int) -> EventsRun:
    """One load, once."""
    options = LoadOptions(
        servers=cluster.addresses,
        clients=clients,
        seconds=plan.seconds,
        warmup_seconds=plan.warmup_seconds,
        people=customers(clients),
        tag=f"r{number}n{clients}c",
    )
    return EventsRun(protocol, clients, *apply_load(cluster, options))


def measure_kill(cluster: EventsCluster, plan: EventsPlan, number: int) -> LoadResult:
    """`kill -9` of the node that is the sequencer, under clients that repeat their requests elsewhere."""
    victim = cluster.votes("a")["sequencer"]
    options = LoadOptions(
        servers=cluster.addresses,
        clients=plan.kill_clients,
        seconds=max(2.0, plan.seconds),
        warmup_seconds=plan.warmup_seconds,
        exact=True,
        kill_pid=cluster.processes[victim].pid,
        kill_after_seconds=0.5,
        people=customers(plan.kill_clients),
        tag=f"k{number}c",
    )
    result, _ = apply_load(cluster, options)
    cluster.kill(victim)
    return result


def measure_replacement(cluster: EventsCluster, plan: EventsPlan, number: int, progress: Progress) -> Replaced:
    """Fill the state, then make a replica wrong under load."""
    clients = plan.kill_clients
    each = max(1, plan.bookings // clients)
    cluster.add_events(each)
    fill = LoadOptions(
        servers=cluster.addresses,
        clients=clients,
        window=min(32, each),
        fill=each * clients,
        seconds=FILL_SECONDS_MAX,
        people=customers(clients),
    )
    filled, _ = apply_load(cluster, fill)
    progress(f"{filled.operations:,} bookings made, {filled.per_second:,.0f} a second")
    calm, _ = apply_load(cluster, _beside(cluster, plan, f"q{number}", plan.seconds))
    victim = next(name for name in NAMES if name != cluster.votes("a")["sequencer"])
    other = next(name for name in NAMES if name != victim)
    idle = _row(cluster, other, victim)["agreed"]
    finish = begin_load(cluster, _beside(cluster, plan, f"w{number}", max(plan.seconds, 8.0)))
    begin = time.monotonic()
    _wait(cluster, other, victim, lambda row: row["agreed"] > idle + 10 * plan.kill_clients, begin)
    begin = time.monotonic()
    cluster.ask(victim, "fault wrong")
    found = _wait(cluster, other, victim, lambda row: row["life"] > 0, begin)
    restored = _wait(cluster, other, victim, lambda row: row["life"] > 0 and row["state"] == "right", begin)
    result = finish()
    progress(
        f"a replica with {filled.operations:,} bookings made wrong: found after {found * 1e3:.0f} ms, replaced in "
        f"{restored - found:.2f} s; the longest pause {result.pause_ms:.0f} ms"
    )
    return Replaced(
        bookings=filled.operations,
        found_ms=found * 1e3,
        seconds=restored - found,
        pause_ms=result.pause_ms,
        longest_ms=result.max_ms,
        calm_pause_ms=calm.pause_ms,
        calm_longest_ms=calm.max_ms,
        errors=filled.errors + result.errors + filled.unanswered + result.unanswered,
        first_error=filled.first_error or result.first_error,
    )


def _row(cluster: EventsCluster, node: str, victim: str) -> dict[str, Any]:
    """What this node says of the replica."""
    row: dict[str, Any] = next(row for row in cluster.votes(node)["rows"] if row["node"] == victim)
    return row


def _wait(cluster: EventsCluster, node: str, victim: str, is_so: Any, begin: float) -> float:
    """Seconds since `begin` when the replica's row at this node is so."""
    while True:
        row = _row(cluster, node, victim)
        now = time.monotonic()
        if is_so(row):
            return now - begin
        cluster.check_running(begin + REPLACED_SECONDS_MAX, f"what is awaited of the replica of {victim}")
        time.sleep(POLL_SECONDS)


def _beside(cluster: EventsCluster, plan: EventsPlan, tag: str, seconds: float) -> LoadOptions:
    """The load beside a replacement: half of the clients of the other rows, so that there is room on two
    processors for what is measured."""
    clients = max(1, plan.kill_clients // 2)
    return LoadOptions(
        servers=cluster.addresses,
        clients=clients,
        seconds=seconds,
        warmup_seconds=plan.warmup_seconds,
        people=customers(clients, first=plan.most // 2),
        tag=tag,
    )
