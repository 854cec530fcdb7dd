"""A checker that has never found a mistake is not a checker: each bug planted in the sequencer protocol is found."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.sim.options import Options
from holdfast.sim.run import run
from holdfast.sim.sequencer.bugs import BUGS


def site(model: str = "three", *faults: str) -> Options:
    return Options(app="tickets", protocol="sequencer", model=model, faults=faults)


FOUND_WITHIN: dict[str, tuple[int, int, Options]] = {
    "hasty-gate": (0, 5, site()),
    "one-is-enough": (0, 5, site("three", "wrong", "garbage")),
    "same-one-twice": (0, 5, site("three", "wrong")),
    "unjournaled": (0, 3, site()),
    "said-early": (0, 3, site()),
    "longest-adopted": (0, 12, site("three", "depose", "one-way", "split")),
    "streams-forgotten": (0, 12, site()),
    "entered-early": (12, 10, site("three", "depose", "split", "one-way", "crash")),
    "empty-promises": (65, 10, site("three", "empty-disk", "depose", "one-way")),
    "wrong-remembered": (0, 6, site("three", "wrong")),
    "unchecked-copy": (0, 6, site("four", "state", "empty-disk")),
    "another-number": (0, 6, site("three", "dead", "empty-disk")),
    "two-in-an-epoch": (30, 10, site("three", "depose", "crash", "moment")),
    "decided-by-hearsay": (0, 6, site("three", "depose", "one-way", "crash")),
    "gaps-ignored": (0, 3, site()),
    "held-back": (42, 10, site("three", "depose", "power", "pause")),
    "order-forgotten": (0, 6, site()),
    "word-outlives": (0, 6, site("beyond", "state", "dead")),
}
"""The bug, from which seed on, how many it may take, and the schedules that try it."""


def test_every_planted_bug_has_its_test() -> None:
    assert set(FOUND_WITHIN) == set(BUGS)
    assert len(BUGS) >= 8


@pytest.mark.parametrize("bug", FOUND_WITHIN)
def test_the_planted_bug_is_found(bug: str) -> None:
    first, seeds, options = FOUND_WITHIN[bug]
    planted = msgspec.structs.replace(options, bug=bug)
    results = (run(planted, seed) for seed in range(first, first + seeds))
    failed = next((result for result in results if not result.ok), None)
    assert failed is not None, f"{bug} was not found in {seeds} seeds"
    healthy = run(options, failed.seed)
    assert healthy.ok, f"seed {failed.seed} fails without the bug too: {healthy.text}"
