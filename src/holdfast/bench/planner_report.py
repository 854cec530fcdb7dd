"""The report of `holdfast bench planner` for people: a page of Markdown and two plots."""

from __future__ import annotations

import statistics
from pathlib import Path

from holdfast.bench.planner import MILD, WANTED, PlannerReport, Row
from holdfast.bench.plot import Series, curve_plot

TITLE = "Planner over the clairvoyant optimum: median, quartiles"


def write_planner_report(report: PlannerReport, directory: Path) -> tuple[Path, Path]:
    """Write the page and the plots beside it; the paths of the page and of the plot over rivals."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = "bench-planner-" + "".join(sign for sign in report.taken if sign.isdigit())
    page, plot = directory / f"{stem}.md", directory / f"{stem}.svg"
    plot.write_text(curve_plot(TITLE, over_rivals(report), "rivals, 5 % of the requests fail"))
    failures = curve_plot(TITLE, over_failures(report), "% of the requests fail, one rival")
    plot.with_name(failures_name(plot.name)).write_text(failures)
    page.write_text(planner_markdown(report, plot.name))
    return page, plot


def failures_name(plot: str) -> str:
    """The name of the plot over failures, beside that over rivals."""
    return plot.replace(".svg", "-failures.svg")


def over_rivals(report: PlannerReport) -> list[Series]:
    """The curve over rivals, at mild faults."""
    return _curve([row for row in report.rows if row.setting.failures == MILD], lambda row: row.setting.rivals)


def over_failures(report: PlannerReport) -> list[Series]:
    """The curve over failures, with one rival."""
    rows = [row for row in report.rows if row.setting.rivals == 1]
    return _curve(rows, lambda row: round(100 * row.setting.failures))


def _curve(rows: list[Row], place: object) -> list[Series]:
    assert callable(place)
    lines = []
    for name in ("requests", "seconds"):
        points = []
        for row in sorted(rows, key=place):
            if ratios := sorted(row.ratios(name)):
                points.append((place(row), statistics.median(ratios), quantile(ratios, 0.25), quantile(ratios, 0.75)))
        lines.append(Series(name, points, dashed=name == "requests"))
    return lines


def quantile(ascending: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


def planner_markdown(report: PlannerReport, plot: str) -> str:
    """The whole page."""
    parts = [
        f"# holdfast bench planner, {report.taken}",
        f"{report.worlds} worlds of each kind: two vendors of 500 slots, half of them taken, one request a second. "
        "Virtual time, so the figures do not depend on the machine. The optimum knows every vendor's future, "
        "looks once at each, and books the best slot that can be had within the planner's time; it sends 4 requests.",
        f"![Over rivals]({plot})\n![Over failures]({failures_name(plot)})",
        _table(report),
        f"Wanted: a median of at most {WANTED} times the optimum with one rival and {MILD:.0%} failures. *Rank 1*: "
        "no better slot could have been had. *Unmatched*: slots held at one vendor only, times seconds.",
    ]
    if errors := report.errors():
        parts.append("**Errors**\n\n" + "\n".join(f"- {error}" for error in errors))
    return "\n\n".join(parts) + "\n"


def _table(report: PlannerReport) -> str:
    lines = [
        "| rivals | failures | matched | requests, of the optimum | seconds, of the optimum | seconds until the pair "
        "| rank 1 | worst rank | unmatched |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report.rows:
        matched = row.matched
        if not matched:
            continue
        ranks = [each.rank for each in matched]
        unmatched = statistics.median(each.unmatched_seconds for each in matched)
        lines.append(
            f"| {row.setting.rivals} | {row.setting.failures:.0%} | {len(matched)} of {len(row.found)} "
            f"| {_spread(row.ratios('requests'))} | {_spread(row.ratios('seconds'))} "
            f"| {statistics.median(each.seconds for each in matched):.1f} "
            f"| {ranks.count(1) / len(ranks):.0%} | {max(ranks)} | {unmatched:.1f} |"
        )
    return "\n".join(lines)


def _spread(ratios: list[float]) -> str:
    ascending = sorted(ratios)
    return f"{statistics.median(ascending):.2f} ({quantile(ascending, 0.25):.2f} to {quantile(ascending, 0.75):.2f})"
