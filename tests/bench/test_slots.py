"""`holdfast bench slots` in its short form: a real process, sane figures, and a report that names what is wrong."""

from __future__ import annotations

from pathlib import Path

import msgspec
from tests.bench.test_command import bench

from holdfast.bench.load import LoadResult
from holdfast.bench.measure import Machine
from holdfast.bench.slots import FULL, WANTED, SlotsReport, SlotsRun, bound_by, slots_markdown
from holdfast.bench.slots_load import KINDS


def run(*, cpu: float = 0.2, load: float = 0.1, errors: int = 0, kind: str = "book") -> SlotsRun:
    result = LoadResult(
        operations=100, seconds=1, per_second=100, p50_ms=1, p99_ms=2, max_ms=3, pause_ms=1, cpu_share=load,
        errors=errors, first_error="b'nonsense'",
    )  # fmt: skip
    return SlotsRun(kind, 64, result, cpu, 0.05)


def test_the_short_benchmark_measures_every_kind_of_load(tmp_path: Path) -> None:
    printed = bench("slots", "--quick", "--json", "--data", str(tmp_path), "--reports", str(tmp_path / "reports"))
    report = msgspec.json.decode(printed, type=SlotsReport)
    assert report.errors() == []
    assert [(each.kind, each.clients) for each in report.runs] == list(report.plan.rows)
    assert {each.kind for each in report.runs} == set(KINDS)
    for each in report.runs:
        assert each.result.operations > 5
        assert 0 < each.result.p50_ms <= each.result.p99_ms
    (page,) = (tmp_path / "reports").glob("*.md")
    assert page.read_text() == slots_markdown(report)


def test_a_wrong_answer_stands_in_the_report() -> None:
    machine = Machine(2, "cpu", "Linux", "3.11", "ext4", 100.0, 0.0)
    report = SlotsReport(
        taken="now", machine=machine, plan=FULL, runs=[run(errors=3), run(kind="ask")]
    )  # not all of the plan
    assert report.errors() == ["book, 64 clients: 3 wrong answers, 0 clients unanswered; b'nonsense'"]
    page = slots_markdown(report)
    assert "**Errors**" in page
    assert "busy before the start" not in page
    assert f"{WANTED['book', 64]:,}" in page


def test_the_report_says_what_bounds_a_row() -> None:
    assert bound_by([run(cpu=0.9)], 2) == "the node's one loop"
    assert bound_by([run(cpu=0.8, load=0.9)], 2) == "all processors together, the load's share among it"
    assert bound_by([run(cpu=0.8, load=0.9)], 4).startswith("waiting")
