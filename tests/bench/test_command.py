"""`holdfast bench` from end to end in its short form: real processes, sane figures, no claims about speed."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import msgspec

from holdfast.bench.load import LoadResult
from holdfast.bench.measure import Load, Machine, Report, Run, quick_plan
from holdfast.bench.million import Million
from holdfast.bench.report import markdown

TIMEOUT_SECONDS = 240


def bench(*words: str) -> bytes:
    command = [sys.executable, "-m", "holdfast.client.cli", "bench", *words]
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_the_short_benchmark_measures_the_ceiling_holdfast_and_a_kill(tmp_path: Path) -> None:
    printed = bench("tickets", "--quick", "--json", "--data", str(tmp_path), "--reports", str(tmp_path / "reports"))
    report = msgspec.json.decode(printed, type=Report)
    assert report.errors() == []
    assert {run.system for run in report.runs} == {"ceiling", "holdfast"}
    assert len(report.runs) == 2 * len(report.plan.loads)
    for run in report.runs:
        assert run.result.operations > 10
        assert 0 < run.result.p50_ms <= run.result.p99_ms
        assert 0 < run.result.cpu_share < 1.5
        assert all(0 < share < 3 for share in run.server_cpu.values())
    (failover,) = report.failovers
    assert failover.victim == "b"
    assert failover.result.reconnects >= 1
    assert failover.result.served_again_ms is not None
    (page,) = (tmp_path / "reports").glob("*.md")
    (plot,) = (tmp_path / "reports").glob("*.svg")
    assert page.read_text() == markdown(report, plot.name)
    assert xml.etree.ElementTree.parse(plot).getroot().tag.endswith("svg")


def test_a_thousand_bookings_survive_the_death_of_all_nodes(tmp_path: Path) -> None:
    printed = bench("million", "--bookings", "1000", "--steady-seconds", "0.5", "--json", "--data", str(tmp_path))
    found = msgspec.json.decode(printed, type=Million)
    assert found.fill.operations == 1000
    assert found.held_after == 1000
    assert all(10 < size < 600 for size in found.memory_mb.values())
    assert 0 < found.restarted_seconds < 60


def test_a_wrong_reply_stands_in_the_report() -> None:
    result = LoadResult(
        operations=10, seconds=1, per_second=10, p50_ms=1, p99_ms=2, max_ms=3, pause_ms=2, cpu_share=0.1, errors=1,
        first_error="b'nonsense'",
    )  # fmt: skip
    machine = Machine(cpus=2, cpu="x", system="y", python="3", file_system="tmpfs", sync_us=1, load_average=4)
    runs = [Run("holdfast", Load(1), result, {"a": 0.5})]
    report = Report("2026-01-01 00:00:00", machine, quick_plan(), runs, [])
    (error,) = report.errors()
    page = markdown(report, "plot.svg")
    assert "b'nonsense'" in error
    assert error in page
    assert "nothing here was durable" in page
    assert "busy" in page
