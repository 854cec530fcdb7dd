"""A benchmark's report for people: a page of Markdown and a plot."""

from __future__ import annotations

import statistics
from pathlib import Path

from holdfast.bench.measure import Load, Report, Run
from holdfast.bench.plot import Series, throughput_plot

TARGETS = {
    Load(1): (1_500, 0.65),
    Load(16): (9_000, None),
    Load(64): (20_000, 3.0),
    Load(256): (30_000, None),
    Load(64, 64): (60_000, None),
}
"""Operations a second at least, p50 in milliseconds at most, on two CPUs."""
SERVED_AGAIN_MS_MAX = 200


def write_report(report: Report, directory: Path) -> list[Path]:
    """Write the page and its plot; their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    name = "bench-tickets-" + "".join(sign for sign in report.taken if sign.isdigit())
    page, plot = directory / f"{name}.md", directory / f"{name}.svg"
    plot.write_text(throughput_plot("Reservations a second, three durable nodes", series(report)))
    page.write_text(markdown(report, plot.name))
    return [page, plot]


def series(report: Report) -> list[Series]:
    """One line for each system and placement, over the number of clients."""
    found = []
    for system in ("ceiling", "holdfast"):
        for home, placement in ((None, "spread"), (0, "all on one")):
            loads = sorted({run.load for run in report.runs if run.load.window == 1 and run.load.home == home}, key=str)
            loads.sort(key=lambda load: load.clients)
            points = []
            for load in loads:
                values = [run.result.per_second for run in report.rows(system, load)]
                if values:
                    points.append((load.clients, statistics.median(values), min(values), max(values)))
            if points:
                found.append(Series(f"{system}, {placement}", points, dashed=system == "ceiling"))
    return found


def markdown(report: Report, plot: str) -> str:
    """The whole page."""
    parts = [f"# holdfast bench tickets, {report.taken}", machine_text(report), f"![Throughput]({plot})"]
    parts += [rows_text(report), failover_text(report)]
    if errors := report.errors():
        parts.append("**Errors**\n\n" + "\n".join(f"- {error}" for error in errors))
    return "\n\n".join(part for part in parts if part) + "\n"


def machine_text(report: Report) -> str:
    """Where and how it was measured, and what casts doubt on it."""
    machine, plan = report.machine, report.plan
    warnings = []
    if machine.load_average > 0.5:
        warnings.append(f"**The machine was busy before the start (load {machine.load_average:.1f}).**")
    if machine.file_system == "tmpfs":
        warnings.append("**The journals lay in memory (tmpfs): nothing here was durable.**")
    return " ".join([
        f"{machine.cpus} CPUs ({machine.cpu}), {machine.system}, Python {machine.python}, {machine.file_system};",
        f"a 4 KiB sync takes {machine.sync_us:.0f} us. Failure model `{plan.failure_model}`.",
        f"{plan.rounds} round(s) of {plan.seconds:g} s a row; medians, the range in brackets.",
        *warnings,
    ])  # fmt: skip


def rows_text(report: Report) -> str:
    """The table of loads."""
    lines = [
        "| load | wanted | Holdfast, ops/s | p50 ms | p99 ms | ceiling, ops/s | of the ceiling | CPU: load, servers |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for load in report.plan.loads:
        ours, ceiling = report.rows("holdfast", load), report.rows("ceiling", load)
        if not ours:
            continue
        per_second = statistics.median(run.result.per_second for run in ours)
        bare = statistics.median(run.result.per_second for run in ceiling) if ceiling else 0.0
        lines.append(
            f"| {load} | {wanted(load)} | {spread(ours, 'per_second', 0)} | {spread(ours, 'p50_ms', 2)} "
            f"| {spread(ours, 'p99_ms', 2)} | {spread(ceiling, 'per_second', 0) if ceiling else '-'} "
            f"| {f'{per_second / bare:.0%}' if bare else '-'} | {cpu_text(ours)} |"
        )
    return "\n".join(lines)


def wanted(load: Load) -> str:
    """The figure asked of this load, if any."""
    if load not in TARGETS:
        return ""
    per_second, p50_ms = TARGETS[load]
    return f"{per_second:,}" + (f", p50 {p50_ms:g}" if p50_ms else "")


def spread(runs: list[Run], field: str, digits: int) -> str:
    """The median of a figure over the rounds, and its range where there are several."""
    values = [getattr(run.result, field) for run in runs]
    text = f"{statistics.median(values):,.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def cpu_text(runs: list[Run]) -> str:
    """Medians of the CPU shares: the load generator, then each server."""
    load = statistics.median(run.result.cpu_share for run in runs)
    names = runs[0].server_cpu
    servers = [statistics.median(run.server_cpu.get(name, 0.0) for run in runs) for name in names]
    return f"{load:.0%}; {', '.join(f'{share:.0%}' for share in servers)}"


def failover_text(report: Report) -> str:
    """The table of killed nodes."""
    if not report.failovers:
        return ""
    lines = [
        f"`kill -9` under {report.plan.failover_clients} clients, spread, whose requests are exact "
        f"(wanted: every client served again within {SERVED_AGAIN_MS_MAX} ms):",
        "",
        "| killed | every client served again within, ms | nobody served for, ms | a member again after, s |",
        "|---|---|---|---|",
    ]
    for failover in report.failovers:
        result = failover.result
        lines.append(
            f"| {failover.victim} | {result.served_again_ms or 0:.0f} | {result.pause_ms:.0f} "
            f"| {failover.rejoined_seconds:.1f} |"
        )
    return "\n".join(lines)
