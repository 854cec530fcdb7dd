"""How long a front end waits for a replica's result: twice the slowest of the last thousand runs, not less than a
floor and not more than a cap (seed 003, "Front End"); and what it reports then."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from holdfast.apps.tickets import Delete, Tickets
from holdfast.kernel.contracts import Recovered, Request, Step
from holdfast.kernel.machine import Machine
from holdfast.kernel.replies import Malformed
from holdfast.replication.sequencer import Sequencer, SequencerConfiguration, genesis_records
from holdfast.replication.sequencer.front import LATE_KEPT, TICK_US, TIMES_KEPT
from holdfast.replication.sequencer.messages import CONTROL, Forwarded, Silent, Split, Wrong, decode_control

FLOOR_US, CAP_US = 500_000, 5_000_000


class Front:
    """The front end of node a of three; b's and c's replicas answer when they are told to, a's own never does."""

    def __init__(self) -> None:
        machine = Machine(Tickets(20))
        configuration = SequencerConfiguration(me=0, nodes=("a", "b", "c"), disk="disk-a", deadline_us=60_000_000)
        assert (configuration.suspect_us, configuration.suspect_us_max) == (FLOOR_US, CAP_US)
        self.core = Sequencer(machine, configuration)
        self.now_us = 1_000_000
        self.core.set_clock(self.now_us, 1_795_218_000_000)
        records = genesis_records("disk-a", Tickets.name, machine.store.snapshot())
        self.core.recover(self.now_us, Recovered(b"", 1, records, False))

    def request(self) -> int:
        """A run; its serial."""
        self.core.submit(self.now_us, [("token", Request(Delete("ann")))])
        return self.core.submitter.serial

    def answer(self, serial: int, *managers: int, said: str = "whatever") -> Step:
        """These replicas' results come now. What the last one makes the node do."""
        step = Step()
        data = self.core.shared.batches.encode_replies([Malformed(said)])
        row = (0, self.core.shared.incarnation, serial, serial, data)
        for manager in managers:
            step = self.core.receive(self.now_us, 1, Forwarded(manager, (row,)))
        return step

    def wait(self, us: int) -> Step:
        self.now_us += us
        return self.core.wake(self.now_us)

    def answered_after(self, us: int) -> None:
        """A run that all answer alike after so long."""
        serial = self.request()
        self.now_us += us
        self.answer(serial, 0, 1, 2)

    @property
    def limit_us(self) -> int:
        """What it is now: worked out when something is under way."""
        serial = self.request()
        self.wait(2 * TICK_US)
        limit_us = self.core.front.limit_us
        self.answer(serial, 0, 1, 2)
        return limit_us

    @property
    def controls(self) -> list[Any]:
        """What was submitted about the replicas so far."""
        return [decode_control(run.batch) for run in self.core.submitter.open.values() if run.kind == CONTROL]

    @property
    def reports(self) -> list[Silent]:
        """Those who were reported as silent so far."""
        return [control for control in self.controls if isinstance(control, Silent)]


def test_while_all_is_fast_the_floor_holds() -> None:
    front = Front()
    assert front.limit_us == FLOOR_US
    for _ in range(20):
        front.answered_after(FLOOR_US // 2)
    assert front.limit_us == FLOOR_US


def test_it_is_twice_the_slowest_and_no_more_for_many_slow_ones() -> None:
    front = Front()
    for us in (300_000, 1_100_000, 700_000, 1_100_000):
        front.answered_after(us)
    assert front.limit_us == 2_200_000


def test_the_slowest_is_forgotten_after_a_thousand_runs() -> None:
    front = Front()
    front.answered_after(1_000_000)
    front.answered_after(400_000)
    for _ in range(TIMES_KEPT - 3):
        front.answered_after(1_000)
    assert TIMES_KEPT == 1_000
    assert front.limit_us == 2_000_000  # the look itself is the last of the thousand
    assert front.limit_us == 2_000_000
    assert front.limit_us == 800_000
    assert front.limit_us == FLOOR_US


def test_it_is_capped() -> None:
    front = Front()
    front.answered_after(2_400_000)
    assert front.limit_us == 4_800_000
    front.answered_after(30_000_000)
    assert front.limit_us == CAP_US


def test_who_has_given_no_result_is_reported_when_the_time_is_up_and_not_before() -> None:
    front = Front()
    front.answered_after(600_000)
    serial = front.request()
    front.answer(serial, 1, 2)
    while front.now_us < 1_000_000 + 600_000 + 1_190_000:
        front.wait(TICK_US // 2)
        assert Silent(0, serial) not in front.reports
    front.wait(2 * TICK_US)
    assert Silent(0, serial) in front.reports


def test_who_stays_silent_is_reported_again_only_after_twice_that_time() -> None:
    front = Front()
    reported = []
    for _ in range(300):
        front.answer(front.request(), 1, 2)
        count = len(front.reports)
        front.wait(10_000)
        reported += [front.now_us] * (len(front.reports) - count)
    assert len(reported) == 3
    for before, after in pairwise(reported):
        assert 2 * FLOOR_US <= after - before <= 2 * FLOOR_US + 2 * TICK_US


def test_where_nobody_has_answered_nobody_is_reported() -> None:
    front = Front()
    front.request()
    for _ in range(200):
        front.wait(TICK_US)
    assert not front.reports


def test_results_of_which_too_few_are_alike_are_reported_again_and_told_once() -> None:
    front = Front()
    serial = front.request()
    for manager in (0, 1):
        front.answer(serial, manager, said=f"by {manager}")
    events = []
    for _ in range(150):
        events += front.wait(TICK_US).events
    splits = [control for control in front.controls if isinstance(control, Split)]
    assert splits == [Split(serial, (0, 1))] * 3
    told = [event for event in events if "too few of them alike" in event]
    assert told == [f"the replicas of a, b have answered number {serial}, too few of them alike"]


def test_when_results_were_alike_since_it_is_told_again() -> None:
    front = Front()
    events = []
    for _ in range(2):
        serial = front.request()
        for manager in (0, 1):
            front.answer(serial, manager, said=f"by {manager}")
        for _ in range(800):
            events += front.wait(TICK_US).events
        front.answer(serial, 2, said="by 1")
    assert len([event for event in events if "too few of them alike" in event]) == 2
    assert not front.core.front.pending


def wrongs(front: Front) -> list[Wrong]:
    """Those who were reported as wrong so far."""
    return [control for control in front.controls if isinstance(control, Wrong)]


def test_what_is_late_and_wrong_is_reported_as_wrong_too() -> None:
    """A replica that is wrong after the limit each time must not be taken for one that is only slow."""
    front = Front()
    for _ in range(3):
        serial = front.request()
        front.answer(serial, 0, 1)
        front.wait(2 * FLOOR_US)
        front.answer(serial, 2, said="something else")
    assert [control.manager for control in wrongs(front)] == [2, 2, 2]
    assert front.core.front.tallies[2].differed == 3
    assert not front.core.front.late


def test_what_is_late_and_right_is_only_late() -> None:
    front = Front()
    serial = front.request()
    front.answer(serial, 0, 1)
    front.wait(2 * FLOOR_US)
    front.answer(serial, 2)
    front.answer(serial, 2, said="something else")  # the first one counts
    assert wrongs(front) == []
    assert front.core.front.tallies[2].agreed == 1


def test_of_what_is_late_a_bounded_part_is_kept() -> None:
    front = Front()
    serials = []
    for _ in range(LATE_KEPT + 5):
        serials.append(front.request())
        front.answer(serials[-1], 0, 1)
    front.wait(2 * FLOOR_US)
    assert list(front.core.front.late) == serials[5:]
    front.answer(serials[0], 2, said="something else")
    assert wrongs(front) == []
    front.answer(serials[-1], 2, said="something else")
    assert len(wrongs(front)) == 1


def test_a_long_run_of_wrong_results_is_reported_whole() -> None:
    front = Front()
    front.core.submit(front.now_us, [("token", Request(Delete("ann")))] * 300)
    serial, incarnation = front.core.submitter.serial - 299, front.core.shared.incarnation
    for manager, said in ((0, "right"), (1, "right"), (2, "wrong")):
        data = front.core.shared.batches.encode_replies([Malformed(said)] * 300)
        front.core.receive(front.now_us, 1, Forwarded(manager, ((0, incarnation, serial, 1, data),)))
    assert [number for control in wrongs(front) for number in control.numbers] == list(range(1, 301))
