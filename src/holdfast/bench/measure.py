"""What is measured on the three servers: rows of load, and what one server's death costs."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from holdfast.bench.cluster import NAMES, CeilingCluster, Cluster, ClusterError, HoldfastCluster
from holdfast.bench.load import DRAIN_SECONDS, LoadOptions, LoadResult

Progress = Callable[[str], None]


class Load(msgspec.Struct, frozen=True):
    """One kind of load. `home`: the server all clients use, None to spread them over all three."""

    clients: int
    window: int = 1
    home: int | None = None

    def __str__(self) -> str:
        clients = f"{self.clients} client{'s' * (self.clients > 1)}"
        lines = f" of {self.window} lines at once" if self.window > 1 else ""
        return f"{clients}{lines}, {'spread' if self.home is None else 'all on one'}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured. `rounds`: how often, ceiling and Holdfast in turn."""

    loads: tuple[Load, ...]
    rounds: int
    seconds: float
    warmup_seconds: float
    failover_clients: int
    victims: tuple[str, ...]
    ceiling: bool = True
    failure_model: str = "perfect"


def full_plan(*, rounds: int, seconds: float, ceiling: bool, failure_model: str) -> Plan:
    """Everything: 1, 16, 64, 256 clients and the pipelined ones, spread and all on one, each node killed."""
    shapes = [(1, 1), (16, 1), (64, 1), (256, 1), (64, 64)]
    return Plan(
        loads=tuple(Load(clients, window, home) for clients, window in shapes for home in (None, 0)),
        rounds=rounds,
        seconds=seconds,
        warmup_seconds=1.0,
        failover_clients=64,
        victims=NAMES,
        ceiling=ceiling,
        failure_model=failure_model,
    )


def quick_plan(*, failure_model: str = "perfect") -> Plan:
    """Seconds only: shows that everything runs, says little about speed."""
    return Plan(
        loads=(Load(1), Load(16), Load(16, 1, 0), Load(4, 16)),
        rounds=1,
        seconds=0.5,
        warmup_seconds=0.1,
        failover_clients=6,
        victims=("b",),
        failure_model=failure_model,
    )


class Run(msgspec.Struct, frozen=True):
    """One row, once. `server_cpu`: the share of one CPU that each server used meanwhile."""

    system: str
    load: Load
    result: LoadResult
    server_cpu: dict[str, float]


class Failover(msgspec.Struct, frozen=True):
    """What the death of one node cost the clients, and how long it took to come back as a member."""

    victim: str
    result: LoadResult
    rejoined_seconds: float


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured. `sync_us`: median of appending 4 KiB and syncing it, in the data directory.
    `load_average`: of the minute before, which should be near 0 for figures to mean anything."""

    cpus: int
    cpu: str
    system: str
    python: str
    file_system: str
    sync_us: float
    load_average: float


class Report(msgspec.Struct, frozen=True):
    """Everything one `holdfast bench tickets` found."""

    taken: str
    machine: Machine
    plan: Plan
    runs: list[Run]
    failovers: list[Failover]

    def rows(self, system: str, load: Load) -> list[Run]:
        return [run for run in self.runs if run.system == system and run.load == load]

    def errors(self) -> list[str]:
        """Everything that should not have happened, one line each."""
        named = [(f"{run.system}, {run.load}", run.result) for run in self.runs]
        named += [(f"kill {failover.victim}", failover.result) for failover in self.failovers]
        return [
            f"{name}: {result.errors} wrong replies, {result.unanswered} clients unanswered; {result.first_error}"
            for name, result in named
            if result.errors or result.unanswered or not result.operations
        ]


def measure(plan: Plan, directory: Path, progress: Progress) -> Report:
    """Carry out the plan, with all data in `directory`, which must exist."""
    machine = describe_machine(directory)
    taken = time.strftime("%Y-%m-%d %H:%M:%S")
    runs: list[Run] = []
    failovers: list[Failover] = []
    for number in range(plan.rounds):
        if plan.ceiling:
            with CeilingCluster(directory / f"ceiling-{number}") as ceiling:
                runs += measure_rows(ceiling, plan, number, progress)
        with HoldfastCluster(directory / f"holdfast-{number}", failure_model=plan.failure_model) as cluster:
            runs += measure_rows(cluster, plan, number, progress)
            failovers += measure_failovers(cluster, plan, number, progress)
    return Report(taken, machine, plan, runs, failovers)


def measure_rows(cluster: Cluster, plan: Plan, number: int, progress: Progress) -> Iterator[Run]:
    """Every load of the plan on this cluster, once."""
    for place, load in enumerate(plan.loads):
        options = LoadOptions(
            servers=cluster.addresses,
            clients=load.clients,
            window=load.window,
            home=load.home,
            seconds=plan.seconds,
            warmup_seconds=plan.warmup_seconds,
            frame_bytes=48 if cluster.system == "ceiling" else 0,
            tag=f"r{number}l{place}c",
        )
        result, cpu = apply_load(cluster, options)
        progress(
            f"round {number + 1} of {plan.rounds}, {cluster.system}, {load}: {result.per_second:,.0f} a second, "
            f"p50 {result.p50_ms:.2f} ms, p99 {result.p99_ms:.2f} ms"
        )
        yield Run(cluster.system, load, result, cpu)


def measure_failovers(cluster: HoldfastCluster, plan: Plan, number: int, progress: Progress) -> Iterator[Failover]:
    """Kill each victim in turn under load; start it again and wait until it is a member."""
    for victim in plan.victims:
        options = LoadOptions(
            servers=cluster.addresses,
            clients=plan.failover_clients,
            seconds=max(2.0, plan.seconds),
            warmup_seconds=plan.warmup_seconds,
            exact=True,
            kill_pid=cluster.processes[victim].pid,
            kill_after_seconds=0.5,
            tag=f"r{number}k{victim}c",
        )
        result, _ = apply_load(cluster, options)
        cluster.kill(victim)
        begin = time.monotonic()
        cluster.start(victim)
        cluster.wait_until_served()
        rejoined_seconds = time.monotonic() - begin
        progress(
            f"round {number + 1} of {plan.rounds}, kill -9 {victim}: every client served again within "
            f"{result.served_again_ms or 0:.0f} ms; a member again {rejoined_seconds:.1f} s after its start"
        )
        yield Failover(victim, result, rejoined_seconds)


def apply_load(cluster: Cluster, options: LoadOptions) -> tuple[LoadResult, dict[str, float]]:
    """Run the load generator; its result, and each surviving server's share of one CPU meanwhile."""
    before, begin = cluster.cpu_seconds(), time.monotonic()
    result = begin_load(cluster, options)()
    seconds = time.monotonic() - begin
    after = cluster.cpu_seconds()
    cpu = {name: round((after[name] - before[name]) / seconds, 3) for name in after}
    return result, cpu


def begin_load(cluster: Cluster, options: LoadOptions) -> Callable[[], LoadResult]:
    """Run the load generator beside what follows; the function returned waits for its result."""
    command = [sys.executable, "-m", "holdfast.bench.load", msgspec.json.encode(options).decode()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    limit = options.warmup_seconds + options.seconds + DRAIN_SECONDS + 120

    def finish() -> LoadResult:
        try:
            told, complaint = process.communicate(timeout=limit)
        finally:
            process.kill()
        if process.returncode:
            words = " | ".join(f"{name}: {cluster.last_words(name)}" for name in cluster.processes)
            raise ClusterError(f"{complaint.decode().strip()}; the servers' last words: {words}")
        return msgspec.json.decode(told, type=LoadResult)

    return finish


def describe_machine(directory: Path) -> Machine:
    """The facts that figures depend on."""
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        cpu=cpu,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        file_system=file_system(directory),
        sync_us=sync_us(directory),
        load_average=os.getloadavg()[0],
    )


def file_system(directory: Path) -> str:
    """The type of the file system that holds this directory; on `tmpfs` a sync costs nothing and proves nothing."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if directory.resolve().is_relative_to(place) and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1]


def sync_us(directory: Path, times: int = 100) -> float:
    """Median microseconds to append 4 KiB and sync."""
    path = directory / "sync"
    found = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for _ in range(times):
            begin = time.perf_counter()
            os.write(descriptor, bytes(4096))
            os.fdatasync(descriptor)
            found.append((time.perf_counter() - begin) * 1e6)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(found)
