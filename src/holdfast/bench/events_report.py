"""The report of `holdfast bench events` for people: a page of Markdown."""

from __future__ import annotations

import statistics
from pathlib import Path

from holdfast.bench.events import EventsReport

WANTED = {64: (8_000, 8.0)}
"""By clients: bookings a second at least, p50 in milliseconds at most, on two CPUs."""
KILL_MS_MAX = 300
REPLACED_SECONDS_MAX = 3
PAUSE_MS_MAX = 100


def write_events_report(report: EventsReport, directory: Path) -> Path:
    """Write the page; its path."""
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / ("bench-events-" + "".join(sign for sign in report.taken if sign.isdigit()) + ".md")
    page.write_text(events_markdown(report))
    return page


def events_markdown(report: EventsReport) -> str:
    """The whole page."""
    parts = [f"# holdfast bench events, {report.taken}", _machine(report), _rows(report), _failures(report)]
    if errors := report.errors():
        parts.append("**Errors**\n\n" + "\n".join(f"- {error}" for error in errors))
    return "\n\n".join(parts) + "\n"


def spread(values: list[float], digits: int = 0) -> str:
    """The median, and the range where there are several."""
    if not values:
        return "-"
    text = f"{statistics.median(values):,.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def _machine(report: EventsReport) -> str:
    machine, plan = report.machine, report.plan
    busy = (
        f" **The machine was busy before the start (load {machine.load_average:.1f}).**"
        if machine.load_average > 0.5
        else ""
    )
    return (
        f"{machine.cpus} CPUs ({machine.cpu}), {machine.system}, Python {machine.python}, {machine.file_system}; "
        f"a 4 KiB sync takes {machine.sync_us:.0f} us. {plan.rounds} round(s) of {plan.seconds:g} s a row; medians, "
        f"the range in brackets.{busy}"
    )


def _rows(report: EventsReport) -> str:
    lines = [
        "| clients | wanted | `sequencer`, bookings/s | p50 ms | p99 ms | `lamport`, bookings/s | p50 ms | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for clients in report.plan.clients:
        voted, ordered = report.rows("sequencer", clients), report.rows("lamport", clients)
        wanted = f"{WANTED[clients][0]:,}, p50 {WANTED[clients][1]:g}" if clients in WANTED else ""
        fast = [run.result.per_second for run in voted]
        peer = [run.result.per_second for run in ordered]
        ratio = f"{statistics.median(fast) / statistics.median(peer):.0%}" if fast and peer else "-"
        lines.append(
            f"| {clients} | {wanted} | {spread(fast)} | {spread([run.result.p50_ms for run in voted], 2)} "
            f"| {spread([run.result.p99_ms for run in voted], 2)} | {spread(peer)} "
            f"| {spread([run.result.p50_ms for run in ordered], 2)} | {ratio} |"
        )
    return "\n".join(lines)


def _failures(report: EventsReport) -> str:
    kills = [result.served_again_ms or 0.0 for result in report.kills]
    replaced = report.replaced
    bookings = max((each.bookings for each in replaced), default=0)
    rows = [
        (f"`kill -9` of the sequencer under {report.plan.kill_clients} clients: every client answered within, ms",
         f"{KILL_MS_MAX}", spread(kills)),
        ("a replica made wrong under load: found after, ms", "", spread([each.found_ms for each in replaced])),
        (f"the same, with {bookings:,} bookings: replaced in, s", f"{REPLACED_SECONDS_MAX}",
         spread([each.seconds for each in replaced], 2)),
        ("meanwhile nobody was answered for, at most, ms", f"{PAUSE_MS_MAX}",
         spread([each.pause_ms for each in replaced])),
        ("meanwhile one request took at most, ms", f"{PAUSE_MS_MAX}", spread([each.longest_ms for each in replaced])),
        ("without a fault nobody was answered for, at most, ms", "", spread([each.calm_pause_ms for each in replaced])),
        ("without a fault one request took at most, ms", "", spread([each.calm_longest_ms for each in replaced])),
    ]  # fmt: skip
    return "\n".join(["| | wanted | found |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)])
