"""What seed 003 says of the front end, the sequencer and the replica managers, each sentence as a story or a test."""

from __future__ import annotations

import pytest
from tests.replication.sequencer.nodes import Nodes
from tests.replication.sequencer.story import GOLDEN, Story


@pytest.mark.parametrize(
    "story",
    [
        "01_life_of_a_booking",
        "02_life_of_a_wrong_replica",
        "05_silent",
        "09_one_crash_and_one_wrong",
        "10_roles_apart",
    ],
)
def test_the_story_of_the_seed_comes_out_as_it_is_told(story: str) -> None:
    told = (GOLDEN / f"{story}.txt").read_text()
    assert Story(told).tell() == told


def test_the_sequencer_gives_each_request_a_number_of_its_own_and_all_replicas_execute_in_that_order() -> None:
    nodes = Nodes("a b c")
    nodes.start_all()
    for place, name in enumerate(["ann", "bob", "cem", "dee"]):
        nodes.submit("abc"[place % 3], f"reserve {name} 2")
    nodes.deliver_all()
    seats = sorted(text.split(": ")[1] for _, _, text in nodes.replies)
    assert seats == ["1,2.", "3,4.", "5,6.", "7,8."]
    assert len({nodes.core(name).machine.digest() for name in nodes.names}) == 1


def test_as_soon_as_two_identical_results_are_in_the_client_is_answered() -> None:
    nodes = Nodes("a b c")
    nodes.start_all()
    nodes.crash("c")
    nodes.submit("a", "reserve ann 1")
    nodes.deliver_all()
    assert nodes.told("reserve ann 1") == ["The seats have been reserved for ann: 1."]


def test_a_replica_that_was_wrong_twice_and_right_again_is_not_replaced() -> None:
    nodes = Nodes("a b c")
    nodes.start_all()
    nodes.submit("c", "fault wrong")
    for name in ("ann", "bob"):
        nodes.submit("a", f"reserve {name} 1")
        nodes.deliver_all()
    nodes.submit("c", "fault none")
    for name in ("cem", "dee"):
        nodes.submit("a", f"reserve {name} 1")
        nodes.deliver_all()
    council = nodes.core("a").manager.council
    assert [len(council.wrong[manager]) for manager in (0, 1, 2)] == [0, 0, 2]
    assert council.replacements == 0


def test_a_third_wrong_result_that_another_front_end_has_seen_counts_too() -> None:
    nodes = Nodes("a b c")
    nodes.start_all()
    nodes.submit("c", "fault wrong")
    for front_end, name in zip("abc", ("ann", "bob", "cem"), strict=True):
        nodes.submit(front_end, f"reserve {name} 1")
        nodes.deliver_all()
    nodes.wait(300_000)
    council = nodes.core("a").manager.council
    assert council.replacements == 1
    assert council.lives[2] == 1
    assert nodes.core("c").replica.fault == "none"


def test_no_client_is_told_what_a_wrong_replica_says() -> None:
    for kind in ("wrong", "garbage", "state", "silent"):
        nodes = Nodes("a b c")
        nodes.start_all()
        nodes.submit("b", f"fault {kind}")
        nodes.submit("b", "reserve ann 2")
        nodes.deliver_all()
        assert nodes.told("reserve ann 2") == ["The seats have been reserved for ann: 1,2."]
