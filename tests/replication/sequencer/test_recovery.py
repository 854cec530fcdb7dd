"""After a crash the journal leads to where the node was: cut anywhere, with snapshots, copies and jumps in it."""

from __future__ import annotations

import random

import pytest
from tests.replication.sequencer.nodes import Nodes

from holdfast.kernel.contracts import Recovered
from holdfast.kernel.machine import Machine
from holdfast.replication.sequencer import Sequencer, SequencerConfiguration
from holdfast.replication.sequencer.messages import decode_record
from holdfast.replication.sequencer.replica import RIGHT

SMALL = {"snapshot_journal_bytes": 1_500, "snapshot_rows_a_slice": 3, "kept_numbers_max": 4, "digest_every": 8}


def lived(seed: int) -> Nodes:
    """Some requests, a take-over, a replacement and a restart."""
    source = random.Random(seed)
    nodes = Nodes("a b c", **SMALL)
    nodes.start_all()
    for turn in range(24):
        name = source.choice([name for name in nodes.names if nodes[name].runs])
        who = f"p{source.randint(1, 6)}"
        nodes.submit(name, f"reserve {who} 1" if source.random() < 0.6 else f"delete {who}")
        nodes.wait(source.choice([1_000, 30_000]))
        if turn == 6:
            nodes.submit("c", "fault state")
        if turn == 14:
            nodes.crash("a")
            nodes.wait(400_000)
            nodes.restart("a")
    nodes.wait(1_500_000)
    return nodes


def again(nodes: Nodes, name: str, recovered: Recovered) -> Sequencer:
    """A process on that journal."""
    server = nodes[name]
    configuration = SequencerConfiguration(me=server.number, nodes=tuple(nodes.names), disk="new", **nodes.options)
    core = Sequencer(Machine(nodes.app()), configuration)
    core.set_clock(nodes.now_us, 0)
    step = core.recover(nodes.now_us, recovered)
    assert step.halt is None, step.halt
    return core


def said(record: bytes) -> str:
    return type(decode_record(record)).__name__


@pytest.fixture(scope="module")
def nodes() -> Nodes:
    return lived(1)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_restart_comes_to_where_the_process_was(nodes: Nodes, name: str) -> None:
    before = nodes.core(name)
    after = again(nodes, name, nodes[name].disk.recovered())
    manager = after.manager
    assert (manager.log.last, manager.entered, manager.promised) == (
        before.manager.log.last, before.manager.entered, before.manager.promised,
    )  # fmt: skip
    assert manager.log.decided <= before.manager.log.decided
    assert manager.log.floor <= max(before.manager.log.floor, before.manager.council.stable)
    manager.decide(before.manager.log.decided)
    after.wake(nodes.now_us)
    assert manager.council.standing() == before.manager.council.standing()
    assert after.machine.digest() == before.machine.digest()
    assert after.shared.incarnation > before.shared.incarnation


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_journal_cut_after_any_record_is_an_earlier_state_of_the_same_order(seed: int) -> None:
    nodes = lived(seed)
    whole = {first: run for first, run, _ in nodes.core("b").manager.log.rows}
    for name in nodes.names:
        recovered = nodes[name].disk.recovered()
        assert recovered.snapshot, "the run was too short to cut its journal"
        last = decided = 0
        for count in range(len(recovered.records) + 1):
            cut = Recovered(recovered.snapshot, recovered.first, recovered.records[:count], False)
            if count < len(recovered.records) and reaches_back(nodes, name, cut):
                continue
            log = again(nodes, name, cut).manager.log
            assert log.decided >= decided
            decided = log.decided
            last = max(last, log.last)
            for first, run, _ in log.rows:
                if first <= log.decided and first in whole:
                    assert whole[first] == run
        assert last >= nodes.core(name).manager.log.decided


def reaches_back(nodes: Nodes, name: str, cut: Recovered) -> bool:
    """Whether the records end before the state of the snapshot, which was written after them: such a journal
    cannot be, and is said to be damaged."""
    server = nodes[name]
    configuration = SequencerConfiguration(me=server.number, nodes=tuple(nodes.names), disk="new", **nodes.options)
    core = Sequencer(Machine(nodes.app()), configuration)
    core.set_clock(nodes.now_us, 0)
    step = core.recover(nodes.now_us, cut)
    if step.halt is not None:
        assert step.halt.code == "damaged"
        assert "the order ends at" in step.halt.text
    return step.halt is not None


def test_the_replica_is_right_after_a_restart_and_its_results_can_be_recalled(nodes: Nodes) -> None:
    core = again(nodes, "b", nodes["b"].disk.recovered())
    assert core.replica.state == RIGHT
    assert core.replica.position == core.manager.council.position
    rows = list(core.replica.results.values())
    for origin, incarnation, serial, *_ in rows:
        assert core.replica.recall(origin, incarnation, serial, serial)


def test_a_manager_that_has_jumped_and_was_copied_restarts_like_any_other() -> None:
    nodes = Nodes("a b c", **SMALL)
    nodes.start_all()
    for turn in range(30):
        nodes.submit("a", f"reserve p{turn} 1" if turn % 2 else f"delete p{turn - 1}")
        nodes.wait(20_000)
    nodes.crash("c")
    nodes.empty_disk("c")
    nodes.restart("c")
    for count in range(1, 60):
        nodes.wait(2_000)
        server = nodes["c"]
        core = again(nodes, "c", server.disk.recovered())
        kinds = {said(record) for record in server.disk.records}
        if core.replica.state != RIGHT:
            assert "Jumped" in kinds, count
        assert core.manager.log.last <= nodes.core("c").manager.log.last
    nodes.wait(1_000_000)
    assert any("went on after" in text for _, text in nodes.lines)
    core = again(nodes, "c", nodes["c"].disk.recovered())
    assert core.manager.admitted
    assert core.machine.digest() == nodes.core("c").machine.digest()


def test_a_journal_of_another_app_or_without_its_beginning_is_not_taken(nodes: Nodes) -> None:
    recovered = nodes["a"].disk.recovered()
    headless = Recovered(b"", recovered.first, recovered.records, False)
    configuration = SequencerConfiguration(me=0, nodes=("a", "b", "c"), disk="new")
    step = Sequencer(Machine(nodes.app()), configuration).recover(0, headless)
    assert step.halt is not None
    assert step.halt.code == "damaged"
    flipped = Recovered(recovered.snapshot[:-3] + b"\x00\x00\x00", recovered.first, recovered.records, False)
    step = Sequencer(Machine(nodes.app()), configuration).recover(0, flipped)
    assert step.halt is not None
    assert step.halt.code == "damaged"
