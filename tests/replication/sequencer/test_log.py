"""The order as one manager holds it, against a plain list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.errors import BrokenInvariant
from holdfast.replication.sequencer.entering import Entering
from holdfast.replication.sequencer.log import OrderLog, fresh_after
from holdfast.replication.sequencer.messages import REQUESTS, Run


def run(serial: int, count: int = 1) -> Run:
    return Run(REQUESTS, 0, 1, serial, count, b"")


def filled(*counts: int) -> OrderLog:
    log = OrderLog()
    for record, count in enumerate(counts, 10):
        log.append((run(log.last + 1, count),), record)
    return log


def test_a_run_is_decided_whole_or_not_yet() -> None:
    log = filled(2, 3, 1)
    assert [first for first, _, _ in log.decide(4)] == [1]
    assert log.decided == 2
    assert [first for first, _, _ in log.decide(6)] == [3, 6]
    assert log.decide(6) == []
    assert (log.decided, log.last, log.undecided) == (6, 6, ())


def test_what_is_not_decided_gives_way_and_what_is_does_not() -> None:
    log = filled(1, 2, 3)
    log.decide(1)
    log.cut()
    assert (log.decided, log.last) == (1, 1)
    log.append((run(50, 4),), 20)
    assert log.undecided == (run(50, 4),)
    log.cut_after(1)
    assert log.last == 1


def test_a_jump_leaves_nothing_behind_and_never_goes_back() -> None:
    log = filled(1, 2)
    log.decide(3)
    log.jump(9)
    assert (log.floor, log.decided, log.last, list(log.rows)) == (9, 9, 9, [])
    with pytest.raises(BrokenInvariant, match="go back"):
        log.jump(8)


def test_what_follows_a_number_ends_where_it_may() -> None:
    log = filled(1, 2, 3, 1)
    assert log.after(0, 100, 7) == (1, (run(1), run(2, 2), run(4, 3), run(7)))
    assert log.after(1, 3, 7) == (2, (run(2, 2), run(4, 3)))
    assert log.after(3, 100, 5) == (4, ())
    assert log.after(7, 100, 7) == (8, ())


def test_the_record_before_tells_from_where_the_journal_is_needed() -> None:
    log = filled(1, 2, 3)
    assert log.record_before(0, 12) == 9
    assert log.record_before(3, 12) == 11
    assert log.record_before(6, 12) == 12


def test_only_what_is_decided_is_forgotten() -> None:
    log = filled(1, 2, 3, 1)
    log.decide(6)
    log.forget(3)
    assert (log.floor, [first for first, _, _ in log.rows]) == (3, [4, 7])
    log.forget(0)
    assert (log.floor, [first for first, _, _ in log.rows]) == (6, [7])


@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    decided=st.integers(0, 40),
    begin=st.integers(0, 11),
    last=st.integers(0, 11),
)
def test_of_a_stretch_what_follows_comes_next_or_a_gap_is_told(
    counts: list[int], decided: int, begin: int, last: int
) -> None:
    log = filled(*counts)
    bounds = [0, *(first + placed.count - 1 for first, placed, _ in log.rows)]
    begin, last = bounds[min(begin, len(bounds) - 1)], bounds[min(last, len(bounds) - 1)]
    first, runs = log.after(begin, 1_000, log.last)
    fresh = fresh_after(first, runs, last)
    if begin > last:
        assert fresh is None
    else:
        assert fresh == log.after(last, 1_000, log.last)[1]
    log.decide(decided)
    assert log.decided in bounds
    assert log.decided <= max(decided, 0)


def test_a_run_that_begins_within_another_is_a_gap() -> None:
    assert fresh_after(1, (run(1, 3), run(4)), 2) is None


# -- The way into an epoch


def test_an_epoch_is_entered_when_all_that_it_inherited_is_there() -> None:
    entering = Entering(5, 6, 2, 1)
    assert not entering.is_whole
    assert not entering.take(3, (run(3, 2),))
    assert entering.take(2, (run(2), run(3, 2)))
    assert (entering.first, entering.last, entering.is_whole) == (2, 4, False)
    assert entering.take(3, (run(3, 2), run(5, 2)))
    assert entering.is_whole
    assert entering.runs == [run(2), run(3, 2), run(5, 2)]


def test_after_a_jump_what_was_gathered_is_forgotten() -> None:
    entering = Entering(5, 9, 2, 1)
    entering.take(2, (run(2),))
    entering.jump(8, b"standing")
    assert (entering.first, entering.last, entering.runs) == (9, 8, [])
    assert entering.take(9, (run(9),))
    assert entering.is_whole


def test_of_an_entering_that_came_to_nothing_what_is_decided_serves_the_next() -> None:
    before = Entering(5, 9, 3, 1)
    before.take(2, (run(2), run(3), run(4)))
    entering = Entering(6, 9, 3, 1, before)
    assert (entering.first, entering.last, entering.runs) == (2, 3, [run(2), run(3)])
