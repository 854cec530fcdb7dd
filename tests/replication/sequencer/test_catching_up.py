"""What a manager lacks of the order it takes from whoever keeps it; it jumps only where nobody in reach does."""

from __future__ import annotations

import pytest
from tests.replication.sequencer.nodes import Nodes

from holdfast.replication.sequencer.messages import Jump
from holdfast.replication.sequencer.replica import RIGHT

SHORT = {"snapshot_journal_bytes": 1_000, "snapshot_rows_a_slice": 50, "digest_every": 4}


def site(**options: str) -> Nodes:
    """c is away; a keeps everything, b was restarted, and keeps what follows its journal's snapshot."""
    nodes = Nodes("a b c", **SHORT, **options)
    nodes.start_all()
    nodes.crash("c")
    busy(nodes, 20)
    nodes.crash("b")
    nodes.restart("b")
    nodes.wait(100_000)
    assert nodes.core("b").manager.log.floor > nodes.core("a").manager.log.floor == 0
    nodes.lines.clear()
    return nodes


def busy(nodes: Nodes, turns: int) -> None:
    for turn in range(turns):
        nodes.submit("a", f"reserve p{turn} 1" if turn % 2 else f"delete p{turn - 1}")
        nodes.wait(20_000)


def jumped(nodes: Nodes) -> list[str]:
    return [text for kind, text in nodes.lines if kind == "event" and "went on after" in text]


@pytest.mark.parametrize("first", [0, 1])
def test_the_tail_is_taken_though_another_manager_offers_a_jump_first(first: int) -> None:
    nodes = site()
    nodes.restart("c")
    nodes.core("c").manager._donor = first  # whom it asks first is as it happens
    nodes.wait(1_000_000)
    assert {kind for kind, _ in nodes.lines} >= {"Tail"}
    assert not jumped(nodes)
    assert nodes.core("c").replica.state == RIGHT
    assert nodes.core("c").manager.council.lives[2] == 0
    assert nodes.core("c").replica.position == nodes.core("a").manager.log.decided


def test_where_the_one_with_the_tail_is_gone_the_jump_is_taken_after_a_while() -> None:
    nodes = site(sequencers="b")
    nodes.disconnect("a", "c")
    nodes.restart("c")
    nodes.core("c").manager._donor = 0
    nodes.wait(200_000)
    assert not jumped(nodes)
    nodes.wait(800_000)
    assert len(jumped(nodes)) == 1
    nodes.wait(3_000_000)  # the first whose state it asks for is the one that it cannot hear
    assert nodes.core("c").replica.position == nodes.core("a").manager.log.decided


def test_where_all_others_offer_a_jump_it_is_taken_at_once() -> None:
    nodes = site()
    nodes.crash("a")
    nodes.restart("a")
    nodes.wait(300_000)
    nodes.restart("c")
    nodes.wait(300_000)
    assert len(jumped(nodes)) == 1


def test_an_offer_of_what_is_not_lacking_any_more_is_passed_over() -> None:
    nodes = site()
    nodes.restart("c")
    nodes.core("c").manager._donor = 1
    nodes.wait(1_000_000)
    manager, standing = nodes.core("c").manager, nodes.core("b").manager.council.standing()
    for peer in (0, 1):
        nodes.core("c").receive(nodes.now_us, peer, Jump(manager.entered, manager.log.last, standing))
    nodes.wait(500_000)
    assert manager.log.floor == 0
    assert not jumped(nodes)
