"""The golden stories: each is told again and must come out word for word as it stands.

To change them on purpose: `python -m tests.replication.sequencer.story --write`, then read the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.replication.sequencer.story import GOLDEN, Story, stories

from holdfast.kernel.contracts import Step
from holdfast.kernel.gate import Gate
from holdfast.replication.sequencer.council import Council
from holdfast.replication.sequencer.front import FrontEnd
from holdfast.replication.sequencer.manager import Manager
from holdfast.replication.sequencer.replica import Replica
from holdfast.replication.sequencer.sequencing import Sequencer
from holdfast.replication.sequencer.tending import Tending


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_the_story_comes_out_as_it_is_told(path: Path) -> None:
    told = path.read_text()
    assert Story(told).tell() == told


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_a_story_says_what_it_demonstrates_and_fits_a_screen_or_two(path: Path) -> None:
    told = path.read_text()
    assert told.startswith("# This demonstrates ")
    assert told.count("\n") <= 75


def test_an_effect_written_by_hand_does_not_stand() -> None:
    told = (GOLDEN / "01_life_of_a_booking.txt").read_text()
    forged = told.replace("bob: 1,2,3", "bob: 4,5,6")
    assert forged != told
    assert Story(forged).tell() == told


class EagerGate(Gate):
    """Lets promises leave at once."""

    def absorb(self, step: Step) -> None:
        self.promises += step.promises
        step.promises = []
        super().absorb(step)


def test_a_gate_that_lets_a_promise_out_early_is_caught() -> None:
    told = (GOLDEN / "11_promise_waits_for_disk.txt").read_text()
    with pytest.raises(AssertionError, match="promises what is not on its disk"):
        Story(told, gate=EagerGate).tell()


def nothing(*arguments: Any, **named: Any) -> None:
    """A part that forgot its work."""


def believes_the_first(self: FrontEnd, pending: Any, manager: int, row: Any) -> None:
    if pending.agreed is None:
        self._agree(pending, row)


def never_three(self: Council, numbers: list[int]) -> list[int]:
    return []


def never_mute(self: Replica, number: int) -> bool:
    return False


def no_streams(self: Sequencer) -> None:
    original_lead(self)
    self.streams.clear()


original_lead = Sequencer._lead


PLANTED: list[tuple[type, str, Callable[..., Any], str]] = [
    (FrontEnd, "_answer", believes_the_first, "01_life_of_a_booking"),
    (Council, "_consecutive", never_three, "02_life_of_a_wrong_replica"),
    (Council, "_vote", nothing, "06_wrong_state"),
    (FrontEnd, "_suspect", nothing, "05_silent"),
    (Replica, "is_mute", never_mute, "05_silent"),
    (Sequencer, "_lead", no_streams, "03_take_over"),
    (Sequencer, "on_missing", nothing, "04_gap"),
    (Sequencer, "on_rejoin", nothing, "07_empty_disk"),
    (Tending, "need_copy", nothing, "08_slow_replica"),
    (Manager, "on_seize", nothing, "10_roles_apart"),
    (Manager, "consider_decided", nothing, "11_promise_waits_for_disk"),
]


@pytest.mark.parametrize(
    ("where", "name", "bug", "story"), PLANTED, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_planted_bug_spoils_its_story(
    where: type, name: str, bug: Callable[..., Any], story: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (GOLDEN / f"{story}.txt").read_text()
    monkeypatch.setattr(where, name, bug)
    try:
        retold = Story(told).tell()
    except (AssertionError, KeyError, IndexError, StopIteration):
        return
    assert retold != told
