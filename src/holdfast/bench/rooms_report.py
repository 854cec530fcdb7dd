"""The report of the rooms benchmark for people: a page of Markdown and the curve of a late write."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from holdfast.bench.plot import Series, curve_plot
from holdfast.bench.rooms import POLICIES, LateWrite, Merge, RoomsReport

PER_100K_S_MAX = 1.0
PER_100K_S_STRETCH = 0.4
EXECUTIONS_EACH_MAX = 2.0
UNDO_REDO_MS_MAX = 50.0
SESSION_BYTES_MAX = 1024
OVERHEAD_BYTES_MAX = 100
CONTENT_TIMES_MAX = 1.1
LATE_FIT_MIN = 0.95
"""How much of the variance of a late write's cost the distance must explain (R squared) to be called the reason."""


class Fit(msgspec.Struct, frozen=True):
    """A straight line through a late write's costs: `us_each` for each entry that follows, `us_fixed`
    besides, and how much of the variance it explains (R squared)."""

    us_each: float
    us_fixed: float
    explains: float


def fit(points: list[tuple[int, float]]) -> Fit:
    """The least-squares line through (following, seconds)."""
    line = statistics.linear_regression([x for x, _ in points], [y for _, y in points])
    explains = statistics.correlation([x for x, _ in points], [y for _, y in points]) ** 2
    return Fit(line.slope * 1e6, line.intercept * 1e6, explains)


def fits(report: RoomsReport) -> dict[str, Fit]:
    """Of both curves, through their medians."""
    return {name: fit([(following, median) for following, median, _, _ in curve(report, of)]) for name, of in CURVES}


CURVES: tuple[tuple[str, Callable[[LateWrite], float]], ...] = (
    ("rolled back and inserted", lambda late: late.insert_cpu_s),
    ("and executed again", lambda late: late.cpu_s),
)


def curve(report: RoomsReport, of: Callable[[LateWrite], float]) -> list[tuple[int, float, float, float]]:
    """(following, median, least, most) of one of the costs of late writes."""
    points = []
    for following in sorted({late.following for late in report.late}):
        values = [of(late) for late in report.late if late.following == following]
        points.append((following, statistics.median(values), min(values), max(values)))
    return points


def write_rooms_report(report: RoomsReport, directory: Path) -> list[Path]:
    """Write the page and its plot; their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    name = "bench-rooms-" + "".join(sign for sign in report.taken if sign.isdigit())
    page, plot = directory / f"{name}.md", directory / f"{name}.svg"
    plot.write_text(late_plot(report))
    page.write_text(rooms_markdown(report, plot.name))
    return [page, plot]


def late_plot(report: RoomsReport) -> str:
    """Milliseconds of processor time over how many entries follow."""
    series = []
    for name, of in reversed(CURVES):
        points = [(place, middle * 1e3, least * 1e3, most * 1e3) for place, middle, least, most in curve(report, of)]
        series.append(Series(name, points, dashed=of is CURVES[0][1]))
    title = f"One late write in a log of {report.plan.log:,}, ms of processor time"
    return curve_plot(title, series, "entries that follow its place")


def rooms_markdown(report: RoomsReport, plot: str) -> str:
    """The whole page."""
    parts = [f"# holdfast bench rooms, {report.taken}", where(report), merges_text(report), figures_text(report)]
    parts.append(f"![One late write]({plot})\n\n{fits_text(report)}")
    if errors := report.errors():
        parts.append("**Errors**\n\n" + "\n".join(f"- {error}" for error in errors))
    return "\n\n".join(parts) + "\n"


def where(report: RoomsReport) -> str:
    """Where and how it was measured, and what casts doubt on it."""
    machine, plan = report.machine, report.plan
    busy = ""
    if machine.load_average > 0.5:
        busy = f" **The machine was busy before the start (load {machine.load_average:.1f}).**"
    return (
        f"{machine.cpus} CPUs ({machine.cpu}), {machine.system}, Python {machine.python}. All in one process; "
        "times are processor time, user and system. Messages are encoded and decoded; journal records are made and "
        f"kept in memory, no disk and no network. {plan.rounds} round(s); medians, the range in brackets.{busy}"
    )


def merges_text(report: RoomsReport) -> str:
    """The table of merges."""
    plan = report.plan
    lines = [
        f"Ten replicas take {plan.writes:,} writes each over {plan.contested} contested slots, alone; then they meet, "
        "until all agree and all is confirmed:",
        "",
        "| policy | s for 100,000 executions | us a write a replica | executions a write a replica | merge, s "
        "| before, alone, s | digests, after, s | sent, MB | messages |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for policy in POLICIES:
        found = [merge for merge in report.merges if merge.policy == policy]
        if not found:
            continue
        first = found[0]
        lines.append(
            f"| `{policy}` | {_spread((merge.per_100k_s for merge in found), 2)} "
            f"| {_spread((merge.cpu_s / merge.pairs * 1e6 for merge in found), 1)} | {first.executions_each:.2f} "
            f"| {_spread((merge.cpu_s for merge in found), 2)} | {_spread((merge.alone_cpu_s for merge in found), 2)} "
            f"| {_spread((merge.digest_cpu_s for merge in found), 2)} | {first.bytes_sent / 1e6:.1f} "
            f"| {first.messages:,} |"
        )
    outcomes = ", ".join(f"{count:,} {state}" for state, count in report.merges[0].outcomes.items())
    return "\n".join([*lines, "", f"Of {report.merges[0].writes:,} requests: {outcomes}."])


def figures_text(report: RoomsReport) -> str:
    """What was wanted, and what was found."""
    rows = ["| | wanted | found | |", "|---|---|---|---|"]
    for what, wanted, found, is_so in _figures(report):
        rows.append(f"| {what} | {wanted} | {found} | {'' if is_so is None else 'yes' if is_so else '**no**'} |")
    return "\n".join(rows)


def _figures(report: RoomsReport) -> Iterable[tuple[str, str, str, bool | None]]:
    """(what, wanted, found, whether it is so)."""
    plan, sizes, merge = report.plan, report.sizes, report.merges[0]
    speed = statistics.median(merge.per_100k_s for merge in _of(report, POLICIES[0]))
    yield (
        "processor time for 100,000 executions, s",
        f"{PER_100K_S_MAX:g} (stretch {PER_100K_S_STRETCH:g})",
        f"{speed:.2f}",
        speed <= PER_100K_S_MAX,
    )
    most = max(merge.executions_each for merge in report.merges)
    yield (
        "executions a write a replica, at most",
        f"{EXECUTIONS_EACH_MAX:g}",
        f"{most:.2f}",
        most <= EXECUTIONS_EACH_MAX,
    )
    undo_ms = statistics.median(one.cpu_s for one in report.undo_redo) * 1e3
    found = _spread((one.cpu_s * 1e3 for one in report.undo_redo), 1)
    undo = statistics.median(one.undo_cpu_s for one in report.undo_redo) * 1e3
    yield (
        f"undo and redo of {plan.undone:,} tentative writes, ms",
        f"{UNDO_REDO_MS_MAX:g}",
        f"{found}, of which undo {undo:.1f}",
        undo_ms <= UNDO_REDO_MS_MAX,
    )
    yield (
        "anti-entropy between equals of ten members, bytes",
        f"{SESSION_BYTES_MAX:,}",
        f"{sizes.session:,}",
        sizes.session < SESSION_BYTES_MAX,
    )
    yield _overhead("sent in the merge", merge.wire_overhead, OVERHEAD_BYTES_MAX)
    yield _overhead("in the journal, its commit too", merge.journal_overhead, OVERHEAD_BYTES_MAX)
    yield _overhead("in the journal, of a write that comes alone", sizes.lone_journal, OVERHEAD_BYTES_MAX)
    yield _overhead("in the one message that brings a lone write to a peer", sizes.lone_push, None)
    yield _overhead("in all messages for a lone write until it is confirmed, a peer", sizes.lone_steps, None)
    for what, size, limit in (
        ("journal, truncated", sizes.journal_truncated, CONTENT_TIMES_MAX),
        ("journal with the commits kept for peers", sizes.journal, None),
        ("its file, pages in use", sizes.file_used, CONTENT_TIMES_MAX),
        ("its file, with free pages", sizes.file, None),
    ):
        times = size / sizes.content
        text = f"{times:.3f} ({size:,} bytes)"
        wanted, is_so = (f"{limit:g}", times <= limit) if limit else ("", None)
        yield (
            f"{plan.committed:,} committed writes: {what}, times the content ({sizes.content:,} bytes)",
            wanted,
            text,
            is_so,
        )
    for name, line in fits(report).items():
        found = f"{line.us_each:.2f} us each + {line.us_fixed:.0f} us, explains {line.explains:.1%}"
        is_so = line.explains >= LATE_FIT_MIN
        yield f"a late write in a log of {plan.log:,}, {name}", "proportional to what follows", found, is_so


def _of(report: RoomsReport, policy: str) -> list[Merge]:
    return [merge for merge in report.merges if merge.policy == policy]


def _overhead(what: str, found: float, limit: float | None) -> tuple[str, str, str, bool | None]:
    name = f"bytes a write beyond its body, {what}"
    return name, "" if limit is None else f"{limit:g}", f"{found:.0f}", None if limit is None else found <= limit


def fits_text(report: RoomsReport) -> str:
    """The table behind the plot."""
    lines = ["| entries that follow | inserted, ms | and executed again, ms |", "|---|---|---|"]
    for following in sorted({late.following for late in report.late}):
        found = [late for late in report.late if late.following == following]
        insert = _spread((late.insert_cpu_s * 1e3 for late in found), 2)
        lines.append(f"| {following:,} | {insert} | {_spread((late.cpu_s * 1e3 for late in found), 2)} |")
    return "\n".join(lines)


def _spread(values: Iterable[float], digits: int) -> str:
    """The median, and the range where there are several."""
    found = list(values)
    text = f"{statistics.median(found):,.{digits}f}"
    return text if len(found) == 1 else f"{text} ({min(found):,.{digits}f} to {max(found):,.{digits}f})"
