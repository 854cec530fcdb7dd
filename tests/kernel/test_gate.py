"""The gate: a promise leaves only when what it promises is synced, in whatever order things happen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from holdfast.kernel.contracts import Change, Halt, SnapshotPart, Step
from holdfast.kernel.gate import Gate
from holdfast.kernel.replies import Unknown

REPLY = Unknown("")


def step(*records: bytes, **parts: Any) -> Step:
    made = Step()
    made.records += records
    for name, value in parts.items():
        setattr(made, name, value)
    return made


def left(gate: Gate) -> tuple[list[Any], list[Any]]:
    """What may leave now; taken away, as a shell does."""
    promises, replies = gate.promises, gate.replies
    gate.promises, gate.replies = [], []
    return [message for _, message in promises], [token for token, _ in replies]


def test_data_leaves_at_once_and_a_promise_waits_for_its_record() -> None:
    gate = Gate()
    gate.absorb(step(b"r", data=[(1, "data")], promises=[(1, "promise")], replies=[("token", REPLY)]))
    assert gate.data == [(1, "data")]
    assert left(gate) == ([], [])
    group = gate.next_group()
    assert group is not None
    assert group.records == [b"r"]
    assert left(gate) == ([], [])
    gate.written()
    assert left(gate) == (["promise"], ["token"])


def test_a_promise_about_nothing_unwritten_leaves_at_once() -> None:
    gate = Gate()
    gate.absorb(step(promises=[(1, "early")]))
    assert left(gate) == (["early"], [])


def test_a_promise_without_records_of_its_own_waits_for_those_of_earlier_steps() -> None:
    gate = Gate()
    gate.absorb(step(b"r"))
    gate.next_group()
    gate.absorb(step(promises=[(1, "later")]))
    assert left(gate) == ([], [])
    gate.written()
    assert left(gate) == (["later"], [])


def test_while_a_group_is_written_the_next_gathers_and_is_one_write() -> None:
    gate = Gate()
    gate.absorb(step(b"1", promises=[(1, "one")]))
    gate.next_group()
    gate.absorb(step(b"2", promises=[(1, "two")]))
    gate.absorb(step(b"3", promises=[(1, "three")]))
    assert gate.next_group() is None
    gate.written()
    assert left(gate) == (["one"], [])
    group = gate.next_group()
    assert group is not None
    assert group.records == [b"2", b"3"]
    gate.written()
    assert left(gate) == (["two", "three"], [])
    assert gate.next_group() is None


def test_a_settled_promise_rests_on_older_records_only() -> None:
    gate = Gate()
    gate.absorb(step(b"1"))
    gate.next_group()
    gate.absorb(step(b"2", settled_promises=[(1, "settled")], settled_records=1, promises=[(1, "whole")]))
    assert left(gate) == ([], [])
    gate.written()
    assert left(gate) == (["settled"], [])
    gate.absorb(step(b"3", settled_replies=[("token", REPLY)], settled_records=1))
    assert left(gate) == ([], ["token"])


def test_a_settled_promise_on_a_record_that_is_not_synced_waits() -> None:
    gate = Gate()
    gate.absorb(step(b"1", settled_promises=[(1, "settled")], settled_records=1))
    assert left(gate) == ([], [])
    gate.next_group()
    gate.written()
    assert left(gate) == (["settled"], [])


def test_a_reset_stands_at_the_beginning_of_a_group_of_its_own() -> None:
    gate = Gate()
    gate.absorb(step(b"old"))
    part = SnapshotPart(1, 0, b"state", True, 1)
    gate.absorb(step(b"new", reset=True, snapshot=[part], promises=[(1, "promise")]))
    first = gate.next_group()
    assert first is not None
    assert (first.reset, first.records) == (False, [b"old"])
    gate.written()
    assert left(gate) == ([], [])
    second = gate.next_group()
    assert second is not None
    assert (second.reset, second.records, second.snapshot) == (True, [b"new"], [part])
    gate.written()
    assert left(gate) == (["promise"], [])


def test_that_something_was_missed_is_known_when_the_copied_state_is_on_the_disk_and_after_all_before_it() -> None:
    gate = Gate()
    part = SnapshotPart(1, 0, b"state", True, 1)
    before, settled, after = (Change(name, "ann", "committed", REPLY) for name in ("before", "settled", "after"))
    gate.absorb(step(b"old", changes=[before], settled_changes=[settled], settled_records=1))
    gate.absorb(step(reset=True, snapshot=[part]))
    gate.absorb(step(b"new", changes=[after]))
    seen = []
    while gate.next_group():
        assert (gate.changes, gate.missed) == ([], False), "nothing more while it is being written"
        gate.written()
        seen.append(({change.id for change in gate.changes}, gate.missed))
        gate.changes, gate.missed = [], False
    assert seen == [({"before", "settled"}, False), (set(), True), ({"after"}, False)]


def test_a_promise_waits_for_the_last_of_the_groups_that_are_full_already() -> None:
    gate = Gate()
    part = SnapshotPart(1, 0, b"state", True, 1)
    for record in (b"1", b"2"):
        gate.absorb(step(record))
        gate.absorb(step(reset=True, snapshot=[part]))
    gate.absorb(step(promises=[(1, "promise")]))
    seen = []
    while gate.next_group():
        gate.written()
        seen.append(left(gate)[0])
    assert seen == [[], [], [], ["promise"]]


def test_what_operators_read_and_when_to_wake_pass_through() -> None:
    gate = Gate()
    halt = Halt("lost", "the disk")
    gate.absorb(step(events=["one"], wake_us=5))
    gate.absorb(step(events=["two"], wake_us=None, halt=halt))
    gate.absorb(step(wake_us=9))
    assert (gate.events, gate.wake_us, gate.halt) == (["one", "two"], 9, halt)


def test_written_without_a_write_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        Gate().written()


@given(st.lists(st.integers(0, 3), max_size=20))
def test_records_are_written_in_order_and_none_is_lost(counts: list[int]) -> None:
    gate = Gate()
    asked, written = [], []
    for turn, count in enumerate(counts):
        records = [b"%d.%d" % (turn, place) for place in range(count)]
        asked += records
        gate.absorb(step(*records))
        if turn % 3 == 0 and (group := gate.next_group()):
            written += group.records
            gate.written()
    while group := gate.next_group():
        written += group.records
        gate.written()
    assert written == asked


class Interleavings(RuleBasedStateMachine):
    """Steps of every kind, writes that take their time, in all orders; beside them a model that only
    counts: how many records each thing rests on, and how many are on the disk."""

    gate_type: type[Gate] = Gate

    def __init__(self) -> None:
        super().__init__()
        self.gate = self.gate_type()
        self.asked = 0
        self.unwritten_parts = 0
        self.synced = 0
        self.in_write: Any = None
        self.rests_on: dict[int, int] = {}
        self.whole: list[int] = []
        self.names = 0
        self.resets = 0

    def _name(self, rests_on: int) -> int:
        self.names += 1
        self.rests_on[self.names] = rests_on
        return self.names

    @rule(
        records=st.integers(0, 2),
        promises=st.integers(0, 2),
        replies=st.integers(0, 1),
        settled=st.integers(0, 2),
        back=st.integers(0, 4),
        reset=st.booleans(),
    )
    def absorb(self, records: int, promises: int, replies: int, settled: int, back: int, reset: bool) -> None:
        made = step(*[b"r"] * records, reset=reset and records > 0)
        self.asked += records
        self.resets += made.reset
        made.promises = [(1, self._name(self.asked)) for _ in range(promises)]
        made.replies = [(self._name(self.asked), REPLY) for _ in range(replies)]
        self.whole += [name for _, name in made.promises]
        made.settled_records = max(0, self.asked - back)
        made.settled_promises = [(1, self._name(made.settled_records)) for _ in range(settled)]
        self.gate.absorb(made)
        assert not self.gate.missed, "the copied state is not on the disk"
        self._leave()

    @rule()
    def begin_write(self) -> None:
        group = self.gate.next_group()
        if self.in_write is not None:
            assert group is None
        elif group is not None:
            self.in_write = group
            self.resets -= group.reset

    @rule()
    def end_write(self) -> None:
        if self.in_write is not None:
            self.synced += len(self.in_write.records)
            was_reset = self.in_write.reset
            self.in_write = None
            self.gate.written()
            assert self.gate.missed is was_reset, (
                "missed is what lies before a state that was copied, when it is synced"
            )
            self.gate.missed = False
            self._leave()

    def _leave(self) -> None:
        """The law: nothing leaves early; and what leaves whole leaves in the order of its making."""
        promises, replies = left(self.gate)
        for name in [*promises, *replies]:
            assert self.rests_on.pop(name) <= self.synced, "left before it was synced"
        ours = [name for name in promises if name in self.whole]
        assert ours == self.whole[: len(ours)], "out of order"
        del self.whole[: len(ours)]

    @invariant()
    def nothing_waits_in_vain(self) -> None:
        if self.in_write is None and self.synced == self.asked:
            assert not self.rests_on, "everything is on the disk and something is still held"

    def teardown(self) -> None:
        for _ in range(self.asked + 2):
            self.begin_write()
            self.end_write()
        assert self.synced == self.asked
        assert not self.rests_on, "held for ever"
        assert not self.resets, "a reset was never written"


TestInterleavings = Interleavings.TestCase


class NeverHolds(Gate):
    """Forgets what is being written."""

    def _last_unwritten(self) -> int | None:
        return None


class ForgetsTheWrite(Gate):
    """Counts only what is not being written yet."""

    def _last_unwritten(self) -> int | None:
        return self._group.ordinal if self._group else None


class SettlesAtOnce(Gate):
    """Takes every settled promise for settled."""

    def absorb(self, made: Step) -> None:
        made.settled_records = 0
        super().absorb(made)


class SettlesNever(Gate):
    """Holds settled promises for ever."""

    def _settle(self, made: Step) -> None:
        self.held_for_ever = made


class ReleasesOneGroupEarly(Gate):
    """Counts the group that comes after the one that is synced."""

    def written(self) -> None:
        if self._writing is not None:
            self._writing.ordinal += 1
        super().written()


class TellsOfACopyAtOnce(Gate):
    """Says that something was missed before the copied state is synced."""

    def absorb(self, made: Step) -> None:
        super().absorb(made)
        self.missed = self.missed or made.reset


class TellsOfNoCopy(Gate):
    """Never says so."""

    def written(self) -> None:
        super().written()
        self.missed = False


BROKEN = (
    NeverHolds,
    ForgetsTheWrite,
    SettlesAtOnce,
    SettlesNever,
    ReleasesOneGroupEarly,
    TellsOfACopyAtOnce,
    TellsOfNoCopy,
)


@pytest.mark.parametrize("broken", BROKEN)
def test_the_law_finds_a_broken_gate(broken: type[Gate]) -> None:
    machine = type("Broken", (Interleavings,), {"gate_type": broken})
    search = settings(phases=[Phase.generate], max_examples=300, report_multiple_bugs=False, database=None)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=search)
