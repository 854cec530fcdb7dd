"""What a node submits: each once, in order, whatever is lost, doubled or overtaken, and in lives that never repeat."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from tests.replication.sequencer.nodes import Nodes

from holdfast.replication.sequencer.messages import Beat, Gap, Stale, Submit
from holdfast.replication.sequencer.shared import DISK_BITS
from holdfast.replication.sequencer.submitting import RESEND_DOUBLINGS_MAX


def site(**options: int) -> Nodes:
    nodes = Nodes("a b c", **options)
    nodes.start_all()
    return nodes


def submitted(nodes: Nodes, one: str = "b", other: str = "a") -> list[int]:
    """The serials on their way."""
    channel = nodes.channels[nodes[one].number, nodes[other].number]
    found = [nodes._decode(data) for data in channel]
    return [run.serial for message in found if isinstance(message, Submit) for run in message.runs]


def test_what_is_not_known_to_be_decided_is_sent_again_less_and_less_often() -> None:
    nodes = site()
    nodes.disconnect("b", "a")
    nodes.disconnect("b", "c")
    nodes.submit("b", "reserve ann 1")
    times = []
    core, now_us = nodes.core("b"), nodes.now_us
    for _ in range(2_000):
        now_us += 1_000
        step = core.wake(now_us)
        core.shared.heard_us = now_us  # let it not take over
        if any(isinstance(message, Submit) for _, message in step.data):
            times.append(now_us)
    waits = [after - before for before, after in pairwise(times)]
    assert waits == sorted(waits)
    assert waits[-1] <= core.configuration.resend_us << RESEND_DOUBLINGS_MAX
    assert 4 <= len(times) <= 8


def test_a_lost_submission_is_told_as_a_gap_when_the_next_one_comes_and_both_get_their_numbers_in_order() -> None:
    nodes = site()
    nodes.submit("b", "reserve ann 1")
    nodes.drop_kind("Submit", "b", "a")
    nodes.submit("b", "reserve bob 1")
    nodes.deliver_next("Submit", "b", "a")
    assert isinstance(nodes._decode(nodes.channels[0, 1][-1]), Gap)
    nodes.deliver_all()
    assert [text.split(": ")[1] for _, _, text in nodes.replies] == ["1.", "2."]


def test_a_repeat_gets_no_second_number() -> None:
    nodes = site()
    nodes.submit("b", "reserve ann 1")
    (data,) = nodes.channels[1, 0]
    nodes.channels[1, 0].extend([data, data])
    nodes.deliver_all()
    decided = nodes.core("a").manager.log.decided
    nodes.core("a").receive(nodes.now_us, 1, nodes._decode(data))
    nodes.deliver_all()
    assert nodes.core("a").manager.log.decided == decided
    assert nodes.told("reserve ann 1") == ["The seats have been reserved for ann: 1."]


def test_what_a_beat_says_to_be_decided_is_not_sent_again_and_another_life_is_not_meant() -> None:
    nodes = site()
    nodes.submit("b", "reserve ann 1")
    core = nodes.core("b")
    beat = Beat(core.shared.epoch, 1, 1, core.shared.incarnation - 1, 5)
    core.receive(nodes.now_us, 0, beat)
    assert core.submitter.open
    core.receive(nodes.now_us, 0, msgspec.structs.replace(beat, incarnation=core.shared.incarnation))
    assert not core.submitter.open


def test_nothing_is_submitted_before_the_life_is_on_the_disk() -> None:
    nodes = site()
    nodes.crash("b")
    nodes.autosync = False
    nodes.restart("b")
    nodes.core("b").receive(nodes.now_us, 0, Beat(nodes.core("a").shared.epoch, 1, 1, 0, 0))
    nodes.submit("b", "reserve ann 1")
    nodes.now_us += 10_000_000
    nodes._input(nodes["b"], "wake")
    assert submitted(nodes) == []
    while nodes["b"].writing is not None:
        nodes.sync("b")
    assert submitted(nodes) == [1]


def test_each_life_is_later_than_the_last_and_of_another_disk_it_is_another() -> None:
    nodes = site()
    lives = [nodes.core("b").shared.incarnation]
    for disk in ("", "", "empty"):
        nodes.crash("b")
        if disk:
            nodes.empty_disk("b")
        nodes.now_us -= 400_000  # the clock goes back each time
        nodes.restart("b")
        lives.append(nodes.core("b").shared.incarnation)
    assert lives[0] < lives[1] < lives[2]
    mask = (1 << DISK_BITS) - 1
    assert lives[2] & mask == lives[0] & mask != lives[3] & mask


def test_whose_life_is_too_early_begins_a_later_one_and_says_again_what_its_manager_had_to_say() -> None:
    nodes = site()
    core = nodes.core("b")
    nodes.submit("b", "reserve ann 1")
    core.manager.tending.need_copy("to see it said")
    before = core.shared.incarnation
    core.receive(nodes.now_us, 0, Stale(before + (5 << DISK_BITS)))
    assert core.shared.incarnation > before + (5 << DISK_BITS)
    assert [run.serial for run in core.submitter.open.values()] == [1]
    assert core.front.pending == {}


def test_that_the_order_knows_this_very_life_is_no_reason_to_begin_another() -> None:
    nodes = site()
    core = nodes.core("b")
    nodes.submit("b", "reserve ann 1")
    before = core.shared.incarnation
    core.receive(nodes.now_us, 0, Stale(before))
    assert core.shared.incarnation == before
    assert core.front.pending
