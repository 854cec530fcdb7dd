"""`holdfast bench planner` in its short form, and what its optimum is."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import msgspec

from holdfast.bench.planner import MILD, PlannerReport, Row, Setting, measure_world
from holdfast.bench.planner_report import planner_markdown

TIMEOUT_SECONDS = 120


def test_the_short_form_measures_plots_and_keeps_the_promise(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "holdfast.client.cli", "bench", "planner", "--quick", "--json"]
    done = subprocess.run(
        [*command, "--reports", str(tmp_path)], capture_output=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    report = msgspec.json.decode(done.stdout, type=PlannerReport)
    assert report.errors() == []
    (page,) = tmp_path.glob("*.md")
    assert len(list(tmp_path.glob("*.svg"))) == 2
    for plot in tmp_path.glob("*.svg"):
        assert xml.etree.ElementTree.parse(plot).getroot().tag.endswith("svg")
        assert plot.name in page.read_text()


def test_alone_and_without_failures_a_plan_is_as_good_as_the_optimum() -> None:
    for seed in range(1, 6):
        found = measure_world(Setting(0, 0.0), seed)
        assert found.rank == 1
        assert found.slot == found.optimal_slot
        if found.requests == 4:  # nothing better came up later
            assert found.optimal_seconds == 3
            assert found.seconds < 3.3


def test_no_plan_beats_the_optimum() -> None:
    for seed in range(1, 8):
        found = measure_world(Setting(1, 0.3), seed)
        assert found.seconds >= found.optimal_seconds or found.rank > 1
        assert found.requests >= found.optimal_requests


def test_a_median_that_is_too_high_stands_in_the_report() -> None:
    good = measure_world(Setting(1, MILD), 3)
    bad = msgspec.structs.replace(good, requests=7, seconds=9.0, rank=2)
    report = PlannerReport("2026-01-01 00:00:00", 1, [Row(Setting(1, MILD), [bad])])
    assert len(report.errors()) == 2
    page = planner_markdown(report, "plot.svg")
    assert all(error in page for error in report.errors())
