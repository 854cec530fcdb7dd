"""The report of `holdfast bench messages` for people: a page of Markdown."""

from __future__ import annotations

import statistics
from pathlib import Path

from holdfast.bench.events_report import spread
from holdfast.bench.messages import LONE, MANY, MessagesReport, MessagesRun
from holdfast.bench.messages_box import PAGE_MS_MAX, BoxFound, Page

WANTED = {MANY: "10,000", LONE: "p50 5"}
"""Messages a second at least; milliseconds from `send` to the other's `watch` at most; on two CPUs."""


def write_messages_report(report: MessagesReport, directory: Path) -> Path:
    """Write the page; its path."""
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / ("bench-messages-" + "".join(sign for sign in report.taken if sign.isdigit()) + ".md")
    page.write_text(messages_markdown(report))
    return page


def messages_markdown(report: MessagesReport) -> str:
    """The whole page."""
    parts = [f"# holdfast bench messages, {report.taken}", _machine(report), _rows(report)]
    if report.box is not None:
        parts.append(_box(report.box))
    if errors := report.errors():
        parts.append("**Errors**\n\n" + "\n".join(f"- {error}" for error in errors))
    return "\n\n".join(parts) + "\n"


def _machine(report: MessagesReport) -> str:
    machine, plan = report.machine, report.plan
    busy = (
        f" **The machine was busy before the start (load {machine.load_average:.1f}).**"
        if machine.load_average > 0.5
        else ""
    )
    memory = " **The journals lay in memory (tmpfs): nothing here was durable.**" * (machine.file_system == "tmpfs")
    return (
        f"{machine.cpus} CPUs ({machine.cpu}), {machine.system}, Python {machine.python}, {machine.file_system}; a "
        f"4 KiB sync takes {machine.sync_us:.0f} us. {plan.rounds} round(s) of {plan.seconds:g} s a row; medians, the "
        f"range in brackets. Processor time is that of all three nodes, a message.{busy}{memory}"
    )


def _rows(report: MessagesReport) -> str:
    lines = [
        "| load | wanted | messages/s, accepted and pushed | to the watch: p50 ms | p99 ms | answered: p50 ms "
        "| CPU us a message: nodes | load | ceiling, messages/s | of the ceiling | ceiling: CPU us |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report.plan.rows:
        ours, ceiling = report.rows("holdfast", row), report.rows("ceiling", row)
        if not ours:
            continue
        bare = [run.result.per_second for run in ceiling]
        per_second = [run.result.per_second for run in ours]
        ratio = f"{statistics.median(per_second) / statistics.median(bare):.0%}" if any(bare) else "-"
        cells = [
            str(row),
            WANTED.get(row, ""),
            spread(per_second),
            spread([run.result.p50_ms for run in ours], 2),
            spread([run.result.p99_ms for run in ours], 2),
            spread([run.result.answered_p50_ms for run in ours], 2),
            spread([run.server_us for run in ours]),
            spread([_load_us(run) for run in ours]),
            spread(bare),
            ratio,
            spread([run.server_us for run in ceiling]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _load_us(run: MessagesRun) -> float:
    """Processor time of the load for each message, in microseconds."""
    return run.result.cpu_seconds / max(1, run.result.sent) * 1e6


def _box(found: BoxFound) -> str:
    lines = [
        f"An inbox of {found.messages:,} messages, of one node under `solo`: {found.memory_mb:,.0f} MB, "
        f"{found.start_seconds:.1f} s from its start until it serves.",
        "",
        "| question | wanted, ms | the first time, ms | p50 ms | p99 ms | at most, ms |",
        "|---|---|---|---|---|---|",
    ]
    for page in found.pages:
        cells = [
            _question(page),
            f"{PAGE_MS_MAX:g}",
            *(f"{value:.2f}" for value in (page.first_ms, page.p50_ms, page.p99_ms, page.max_ms)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _question(page: Page) -> str:
    how = "JSON" if page.as_json else "text"
    when = ", after each message that arrives" if page.arriving else ""
    return f"`{page.question}`, {how}, {page.items} messages{when}"
