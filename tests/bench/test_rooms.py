"""`holdfast bench rooms` in its short form: the counts are what they must be. Nothing here looks at a speed."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import msgspec
import pytest

from holdfast.bench.rooms import QUICK, Merge, RoomsReport, measure_merge, measure_sizes, tentative_log
from holdfast.bench.rooms_load import NODES, requests, slots
from holdfast.bench.rooms_report import OVERHEAD_BYTES_MAX, SESSION_BYTES_MAX, curve, fit, rooms_markdown

TIMEOUT_SECONDS = 240


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> RoomsReport:
    reports = tmp_path_factory.mktemp("rooms") / "reports"
    words = ["bench", "rooms", "--quick", "--json", "--data", str(reports.parent), "--reports", str(reports)]
    command = [sys.executable, "-m", "holdfast.client.cli", *words]
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = msgspec.json.decode(done.stdout, type=RoomsReport)
    (page,) = reports.glob("*.md")
    (plot,) = reports.glob("*.svg")
    assert page.read_text() == rooms_markdown(found, plot.name)
    assert xml.etree.ElementTree.parse(plot).getroot().tag.endswith("svg")
    return found


def test_ten_replicas_agree_and_everything_is_confirmed(report: RoomsReport) -> None:
    assert report.errors() == []
    assert {merge.policy for merge in report.merges} == {"all-heard", "immediate"}
    for merge in report.merges:
        assert merge.agree
        assert merge.confirmed == merge.pairs == 10 * 10 * report.plan.writes
        assert merge.executions_alone == merge.writes
        assert sum(merge.outcomes.values()) == merge.writes
        assert merge.outcomes["granted"] + merge.outcomes["moved"] == report.plan.contested


def test_a_write_is_executed_twice_at_most_at_a_replica(report: RoomsReport) -> None:
    for merge in report.merges:
        assert 1 <= merge.executions_each <= 2


def test_the_counts_are_the_same_in_every_run(report: RoomsReport) -> None:
    again = measure_merge("all-heard", report.plan.writes, report.plan.contested)
    for merge in (merge for merge in report.merges if merge.policy == "all-heard"):
        assert counts(merge) == counts(again)


def counts(merge: Merge) -> tuple[object, ...]:
    return merge.executions, merge.bytes_sent, merge.messages, merge.journal_bytes, merge.outcomes


def test_sizes_are_within_their_bounds(report: RoomsReport) -> None:
    sizes = report.sizes
    assert 0 < sizes.session < SESSION_BYTES_MAX
    assert 0 < sizes.lone_journal <= OVERHEAD_BYTES_MAX
    assert all(0 < merge.journal_overhead <= OVERHEAD_BYTES_MAX for merge in report.merges)
    assert sizes.content < sizes.journal_truncated <= 1.1 * sizes.content
    assert sizes.journal_truncated < sizes.journal
    assert sizes.content < sizes.file_used <= sizes.file


def test_a_late_write_has_only_what_follows_executed_again(report: RoomsReport) -> None:
    assert len(report.late) == report.plan.rounds * len(report.plan.distances)
    for late, distance in zip(report.late, report.plan.distances * report.plan.rounds, strict=True):
        assert late.following == distance
        assert late.cpu_s > 0


def test_writes_undone_and_redone_are_the_same(report: RoomsReport) -> None:
    member = tentative_log(report.plan.undone, report.plan.contested)
    with_them = member.machine.digest()
    executions = member.views.executions
    member.undo()
    without = member.machine.digest()
    assert without != with_them
    member.redo()
    assert member.machine.digest() == with_them
    assert member.views.executions == executions + report.plan.undone


def test_wrong_counts_are_errors(report: RoomsReport) -> None:
    bad = msgspec.structs.replace(report.merges[0], agree=False, confirmed=1, executions=10 * report.merges[0].pairs)
    found = msgspec.structs.replace(report, merges=[bad])
    apart, unconfirmed, again = found.errors()
    assert "equal" in apart
    assert "confirmed" in unconfirmed
    assert "10.10 times" in again
    assert all(error in rooms_markdown(found, "plot.svg") for error in found.errors())


def test_a_snapshot_after_a_snapshot_is_another_one(tmp_path: Path) -> None:
    sizes = measure_sizes(200, 72, tmp_path)  # it truncates right after a snapshot
    assert sizes.journal_truncated < sizes.journal


def test_requests_contend_for_the_slots() -> None:
    assert len(slots(500)) == len(set(slots(500))) == 500
    wanted = [request.command for number in range(len(NODES)) for request in requests(number, 100, 72)]
    assert {(one.room, one.day, one.start) for one in wanted} == set(slots(72))
    assert {len(one.alternatives) for one in wanted} == {1, 2}
    with pytest.raises(ValueError, match="slots only"):
        slots(100_000)


def test_the_line_through_the_points() -> None:
    line = fit([(0, 0.001), (1000, 0.011), (2000, 0.021)])
    assert (round(line.us_each), round(line.us_fixed), round(line.explains, 6)) == (10, 1000, 1)


def test_the_curve_has_the_median_of_each_distance(report: RoomsReport) -> None:
    points = curve(report, lambda late: float(late.following))
    assert points == [(far, far, far, far) for far in sorted(QUICK.distances)]
