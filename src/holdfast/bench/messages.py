"""`holdfast bench messages`: how many messages three durable nodes take in and push, and how soon.

Pairs of people, one sending and one watching at another node, beside the ceiling of this machine for the same
(`holdfast.bench.ceiling`, with pushes), in turn with it; then an inbox with a million messages.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import msgspec

from holdfast.bench.cluster import CeilingCluster, Cluster, ClusterError, HoldfastCluster, people_lines
from holdfast.bench.measure import Machine, Progress, describe_machine
from holdfast.bench.messages_box import BoxFound, measure_box
from holdfast.bench.messages_load import (
    DRAIN_SECONDS,
    TOKEN,
    MessagesLoadOptions,
    MessagesResult,
    sender_of,
    watcher_of,
)

FRAME_BYTES = 128
"""At the ceiling a message is a frame of as many bytes as its line has, about."""


class MessagesRow(msgspec.Struct, frozen=True):
    """One kind of load. `window`: messages that each sender keeps on their way."""

    pairs: int
    window: int = 1
    as_json: bool = False

    def __str__(self) -> str:
        ways = f"{self.window} on their way, " if self.window > 1 else ""
        return f"{self.pairs} pair{'s' * (self.pairs > 1)}, {ways}{'JSON' if self.as_json else 'text'}"


class MessagesPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`box`: how many messages the big inbox has; `pages`: how often each question is asked of it."""

    rows: tuple[MessagesRow, ...]
    rounds: int
    seconds: float
    warmup_seconds: float
    box: int
    pages: int

    @property
    def pairs(self) -> int:
        """Of all rows: each has its own people, so that its conversations begin with their first message."""
        return sum(row.pairs for row in self.rows)


LONE = MessagesRow(1)
MANY = MessagesRow(64, 16)
FULL = MessagesPlan(
    rows=(LONE, MessagesRow(64), MessagesRow(64, 4), MANY, MessagesRow(64, 16, as_json=True)),
    rounds=3,
    seconds=4.0,
    warmup_seconds=1.0,
    box=1_000_000,
    pages=200,
)
QUICK = MessagesPlan(
    rows=(LONE, MessagesRow(4, 4), MessagesRow(4, 4, as_json=True)),
    rounds=1,
    seconds=0.5,
    warmup_seconds=0.1,
    box=3_000,
    pages=5,
)


class MessagesRun(msgspec.Struct, frozen=True):
    """One row, once. `server_us`: processor time of all three nodes for each message, in microseconds, with what they
    need when nothing happens."""

    system: str
    row: MessagesRow
    result: MessagesResult
    server_us: float


class MessagesReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one `holdfast bench messages` found."""

    taken: str
    machine: Machine
    plan: MessagesPlan
    runs: list[MessagesRun]
    box: BoxFound | None

    def rows(self, system: str, row: MessagesRow) -> list[MessagesRun]:
        """Of one kind."""
        return [run for run in self.runs if (run.system, run.row) == (system, row)]

    def errors(self) -> list[str]:
        """Everything that should not have happened, one line each."""
        found = [
            f"{run.system}, {run.row}: {run.result.errors} wrong lines, {run.result.unfinished} pairs with messages "
            f"missing; {run.result.first_error}"
            for run in self.runs
            if run.result.errors or run.result.unfinished or not run.result.delivered
        ]
        return found + ([] if self.box is None else self.box.errors)


class MessagesCluster(HoldfastCluster):
    """Three nodes with one service of messages, and so many pairs of people, who log in with `TOKEN`."""

    def __init__(self, directory: Path, pairs: int) -> None:
        people = [person for pair in range(pairs) for person in (sender_of(pair), watcher_of(pair))]
        service = ['app = "messages"', 'protocol = "lamport"']
        super().__init__(
            directory, name="messages", identity="token", service=service, more=people_lines(people, TOKEN)
        )


def measure_messages(plan: MessagesPlan, directory: Path, progress: Progress) -> MessagesReport:
    """Carry out the plan, with all data in `directory`, which must exist."""
    machine, taken = describe_machine(directory), time.strftime("%Y-%m-%d %H:%M:%S")
    runs: list[MessagesRun] = []
    for number in range(plan.rounds):
        with CeilingCluster(directory / f"ceiling-{number}", frame_bytes=FRAME_BYTES, tells=True) as ceiling:
            runs += measure_rows(ceiling, plan, number, progress)
        with MessagesCluster(directory / f"messages-{number}", plan.pairs) as cluster:
            runs += measure_rows(cluster, plan, number, progress)
    box = measure_box(plan.box, plan.pages, directory, progress) if plan.box else None
    return MessagesReport(taken=taken, machine=machine, plan=plan, runs=runs, box=box)


def measure_rows(cluster: Cluster, plan: MessagesPlan, number: int, progress: Progress) -> list[MessagesRun]:
    """Every load of the plan on this cluster, once."""
    runs, first = [], 0
    for row in plan.rows:
        if row.as_json and cluster.system == "ceiling":
            first += row.pairs
            continue  # a frame has one form
        options = MessagesLoadOptions(
            servers=cluster.addresses,
            pairs=row.pairs,
            first=first,
            window=row.window,
            as_json=row.as_json,
            frame_bytes=FRAME_BYTES if cluster.system == "ceiling" else 0,
            seconds=plan.seconds,
            warmup_seconds=plan.warmup_seconds,
        )
        first += row.pairs
        run = apply_messages(cluster, row, options)
        runs.append(run)
        progress(
            f"round {number + 1} of {plan.rounds}, {cluster.system}, {row}: {run.result.per_second:,.0f} a second, "
            f"to the watch p50 {run.result.p50_ms:.2f} ms, p99 {run.result.p99_ms:.2f} ms; "
            f"{run.server_us:.0f} us of the servers' processors each"
        )
    return runs


def apply_messages(cluster: Cluster, row: MessagesRow, options: MessagesLoadOptions) -> MessagesRun:
    """One load, once."""
    command = [sys.executable, "-m", "holdfast.bench.messages_load", msgspec.json.encode(options).decode()]
    before = sum(cluster.cpu_seconds().values())
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        told, complaint = process.communicate(timeout=options.warmup_seconds + options.seconds + DRAIN_SECONDS + 120)
    finally:
        process.kill()
    if process.returncode:
        words = " | ".join(f"{name}: {cluster.last_words(name)}" for name in cluster.processes)
        raise ClusterError(f"{complaint.decode().strip()}; the servers' last words: {words}")
    result = msgspec.json.decode(told, type=MessagesResult)
    used = sum(cluster.cpu_seconds().values()) - before
    return MessagesRun(cluster.system, row, result, round(used / max(1, result.sent) * 1e6, 1))
