"""A manager looks after its replica by itself: one that has no state is begun anew, whatever became of that before."""

from __future__ import annotations

from typing import Any

import pytest
from tests.replication.sequencer.nodes import Nodes

from holdfast.replication.sequencer.copying import Copying
from holdfast.replication.sequencer.replica import CRASHED, RIGHT


def site() -> Nodes:
    nodes = Nodes("a b c")
    nodes.start_all()
    nodes.submit("a", "reserve ann 1")
    nodes.wait(50_000)
    return nodes


def test_a_replica_that_is_gone_is_missed_without_any_request_again_and_again() -> None:
    nodes = site()
    for time in (1, 2, 3):
        nodes.submit("c", "fault crash")
        assert nodes.core("c").replica.state == CRASHED
        nodes.wait(1_500_000)
        assert nodes.core("c").replica.state == RIGHT
        assert nodes.core("c").manager.council.lives[2] == time
        assert not nodes.core("a").manager.council.copies


def test_one_whose_process_is_only_asked_for_once_is_not_begun_anew_twice() -> None:
    nodes = site()
    nodes.submit("c", "fault crash")
    nodes.submit("a", "reserve bob 1")
    nodes.wait(3_000_000)
    assert nodes.core("a").manager.council.restarts == 1


def test_a_copy_that_is_no_good_while_the_wish_for_it_is_not_known_to_be_decided_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_part, spoiled = Copying.on_part, []

    def first_is_spoiled(self: Copying, peer: int, part: Any) -> None:
        if self.taking is not None and not spoiled:
            spoiled.append(self.manager.tending._is_asked)
            self._give_up("the copy is damaged")
        else:
            on_part(self, peer, part)

    monkeypatch.setattr(Copying, "on_part", first_is_spoiled)
    nodes = site()
    nodes.submit("c", "fault crash")
    nodes.wait(4_000_000)
    assert spoiled == [True]
    assert nodes.core("c").replica.state == RIGHT
    assert not nodes.core("a").manager.council.copies


def test_an_empty_disk_on_which_nothing_is_of_what_the_order_says_to_be_restored_gets_a_copy() -> None:
    nodes = site()
    nodes.submit("c", "fault crash")
    nodes.wait(1_500_000)
    assert nodes.core("c").manager.council.lives[2] == 1
    nodes.crash("c")
    nodes.empty_disk("c")
    nodes.restart("c")
    nodes.wait(4_000_000)
    assert nodes.core("c").manager.log.floor == 0  # it has taken in the whole order
    assert nodes.core("c").replica.state == RIGHT
    assert nodes.core("c").machine.digest() == nodes.core("a").machine.digest()
    assert not nodes.core("a").manager.council.copies


def test_a_replica_that_lags_votes_on_the_state_that_it_is_to_be_copied_when_it_comes_there_itself() -> None:
    nodes = Nodes("a b c", backlog_max=6)
    nodes.start_all()
    nodes.submit("b", "fault state")
    nodes.submit("c", "fault slow")
    for number in range(12):
        nodes.submit("a", f"reserve p{number} 1")
        nodes.deliver_all()
    nodes.wait(3_000_000)
    assert nodes.core("a").manager.council.replacements == 1  # a and b differ: c's vote tells that b is wrong
    assert not nodes.core("a").manager.council.copies
    assert len({nodes.core(name).machine.digest() for name in "abc"}) == 1
