"""The golden stories: each is told again and must come out word for word as it stands.

To change them on purpose: `python -m tests.planner.story --write`, then read the difference.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.planner.story import GOLDEN, Story, stories


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_the_story_comes_out_as_it_is_told(path: Path) -> None:
    told = path.read_text()
    assert Story(told).tell() == told


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_a_story_says_what_it_demonstrates_and_fits_a_screen_or_two(path: Path) -> None:
    told = path.read_text()
    assert told.startswith("# This demonstrates ")
    assert told.count("\n") <= 80


def test_an_effect_written_by_hand_does_not_stand() -> None:
    told = (GOLDEN / "01_plain.txt").read_text()
    forged = told.replace("ended with 1,", "ended with 2,")
    assert forged != told
    assert Story(forged).tell() == told
