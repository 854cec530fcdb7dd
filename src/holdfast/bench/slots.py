"""`holdfast bench slots`: how many reservations a second one vendor makes durable over HTTP, and what bounds it."""

from __future__ import annotations

import http.client
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from holdfast.bench.cluster import HOST, ClusterError, SiteCluster, family, free_ports
from holdfast.bench.events_report import spread
from holdfast.bench.load import LoadResult
from holdfast.bench.measure import Machine, Progress, describe_machine
from holdfast.bench.slots_load import DRAIN_SECONDS, KINDS, SlotsLoadOptions, key
from holdfast.vendors import key_hash

WANTED = {("book", 64): 5_000}
"""Operations a second at least, by kind and clients, on two CPUs."""
ABOUT = {
    "book": "a slot held or given back, on the disk when answered",
    "ask": "what the client holds: no disk",
    "refuse": "a bad request: HTTP and the key, no replica",
}
BUSY = 0.85
"""Who uses so much of a CPU is what bounds the rest."""


class SlotsPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`rows`: (kind of load, clients)."""

    rows: tuple[tuple[str, int], ...]
    rounds: int
    seconds: float
    warmup_seconds: float


FULL = SlotsPlan(
    rows=(("book", 1), ("book", 16), ("book", 64), ("ask", 64), ("refuse", 64)),
    rounds=3,
    seconds=4.0,
    warmup_seconds=1.0,
)
QUICK = SlotsPlan(rows=(("book", 1), *((kind, 8) for kind in KINDS)), rounds=1, seconds=0.4, warmup_seconds=0.1)


class SlotsRun(msgspec.Struct, frozen=True):
    """One row, once. `node_cpu`, `journal_cpu`: the share of one CPU that the node's loop and the process that
    writes its journal used meanwhile."""

    kind: str
    clients: int
    result: LoadResult
    node_cpu: float
    journal_cpu: float


class SlotsReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one `holdfast bench slots` found."""

    taken: str
    machine: Machine
    plan: SlotsPlan
    runs: list[SlotsRun]

    def rows(self, kind: str, clients: int) -> list[SlotsRun]:
        """Of one row."""
        return [run for run in self.runs if (run.kind, run.clients) == (kind, clients)]

    def errors(self) -> list[str]:
        """Everything that should not have happened, one line each."""
        return [
            f"{run.kind}, {run.clients} clients: {run.result.errors} wrong answers, {run.result.unanswered} clients "
            f"unanswered; {run.result.first_error}"
            for run in self.runs
            if run.result.errors or run.result.unanswered or not run.result.operations
        ]


class VendorNode(SiteCluster):
    """One node with one vendor, and a key for each client."""

    system = "vendor"
    names = ("a",)

    def __init__(self, directory: Path, clients: int) -> None:
        super().__init__(directory)
        peer_port, self.port = free_ports(2)
        lines = ['[site]\ndata = "data"', f'[nodes.a]\nhost = "{HOST}"\npeer_port = {peer_port}']
        lines += [f"http_port = {self.port}", '[services.hotel]\napp = "slots"\nnodes = ["a"]']
        lines += ["requests_a_second = 1000000", "[services.hotel.keys]"]
        lines += [f'client{number} = "{key_hash(key(number))}"' for number in range(clients)]
        self.found(lines)

    def wait_until_served(self, names: Sequence[str] = ("a",)) -> None:
        self.wait_for(self._serves, "an answer")

    def _serves(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/hotel/api/reservation", headers={"Authorization": f"Bearer {key(0)}"})
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def cpu(self) -> tuple[float, float]:
        """Processor time so far, in seconds, of the node's own process and of those that write its journals."""
        ticks = os.sysconf("SC_CLK_TCK")
        used = []
        for pid in family(self.processes["a"].pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used.append((int(fields[11]) + int(fields[12])) / ticks)
        return used[0], sum(used[1:])


def measure_slots(plan: SlotsPlan, directory: Path, progress: Progress) -> SlotsReport:
    """Carry out the plan, with all data in `directory`, which must exist."""
    machine, taken = describe_machine(directory), time.strftime("%Y-%m-%d %H:%M:%S")
    runs: list[SlotsRun] = []
    for number in range(plan.rounds):
        with VendorNode(directory / f"round-{number}", max(clients for _, clients in plan.rows)) as node:
            for kind, clients in plan.rows:
                run = measure_row(node, plan, kind, clients)
                runs.append(run)
                progress(
                    f"round {number + 1} of {plan.rounds}, {kind}, {clients} clients: {run.result.per_second:,.0f} a "
                    f"second, p50 {run.result.p50_ms:.2f} ms, p99 {run.result.p99_ms:.2f} ms"
                )
    return SlotsReport(taken=taken, machine=machine, plan=plan, runs=runs)


def measure_row(node: VendorNode, plan: SlotsPlan, kind: str, clients: int) -> SlotsRun:
    """One load, once."""
    options = SlotsLoadOptions(
        port=node.port, clients=clients, kind=kind, seconds=plan.seconds, warmup_seconds=plan.warmup_seconds
    )
    command = [sys.executable, "-m", "holdfast.bench.slots_load", msgspec.json.encode(options).decode()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        begin, before = time.monotonic(), node.cpu()
        said, complaint = process.communicate(timeout=plan.warmup_seconds + plan.seconds + DRAIN_SECONDS + 60)
        seconds = time.monotonic() - begin
    finally:
        process.kill()
    if process.returncode:
        raise ClusterError(f"{complaint.decode().strip()}; the node's last words: {node.last_words('a')}")
    # What the warm-up and the start of the load took is in both, so the shares are a little too low.
    own, journal = ((after - earlier) / seconds for after, earlier in zip(node.cpu(), before, strict=True))
    return SlotsRun(kind, clients, msgspec.json.decode(said, type=LoadResult), round(own, 3), round(journal, 3))


# -- the report ---------------------------------------------------------------------------------


def write_slots_report(report: SlotsReport, directory: Path) -> Path:
    """Write the page; its path."""
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / ("bench-slots-" + "".join(sign for sign in report.taken if sign.isdigit()) + ".md")
    page.write_text(slots_markdown(report))
    return page


def bound_by(runs: list[SlotsRun], cpus: int) -> str:
    """What bounds a row, as far as the shares of the processors tell."""
    node = statistics.median(run.node_cpu for run in runs)
    all_of_it = statistics.median(run.node_cpu + run.journal_cpu + run.result.cpu_share for run in runs)
    if node >= BUSY:
        return "the node's one loop"
    if all_of_it >= BUSY * cpus:
        return "all processors together, the load's share among it"
    return "waiting: for syncs, and for processors that others use"


def slots_markdown(report: SlotsReport) -> str:
    """The whole page."""
    machine, plan = report.machine, report.plan
    busy = f" **The machine was busy before the start (load {machine.load_average:.1f}).**"
    lines = [
        f"# holdfast bench slots, {report.taken}",
        "",
        f"{machine.cpus} CPUs ({machine.cpu}), {machine.system}, Python {machine.python}, {machine.file_system}; a "
        f"4 KiB sync takes {machine.sync_us:.0f} us. {plan.rounds} round(s) of {plan.seconds:g} s a row; medians, the "
        f"range in brackets. CPU shares are of one CPU.{busy if machine.load_average > 0.5 else ''}",
        "",
        "| load | clients | wanted | requests/s | p50 ms | p99 ms | CPU: node | journal | load | bound by |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, clients in plan.rows:
        runs, wanted = report.rows(kind, clients), WANTED.get((kind, clients))
        if not runs:
            continue
        cells = [
            f"{kind}: {ABOUT[kind]}",
            str(clients),
            f"{wanted:,}" if wanted else "",
            spread([run.result.per_second for run in runs]),
            spread([run.result.p50_ms for run in runs], 2),
            spread([run.result.p99_ms for run in runs], 2),
            *(f"{statistics.median(share):.2f}" for share in _shares(runs)),
            bound_by(runs, machine.cpus),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if errors := report.errors():
        lines += ["", "**Errors**", "", *(f"- {error}" for error in errors)]
    return "\n".join(lines) + "\n"


def _shares(runs: list[SlotsRun]) -> tuple[list[float], list[float], list[float]]:
    return [run.node_cpu for run in runs], [run.journal_cpu for run in runs], [run.result.cpu_share for run in runs]
