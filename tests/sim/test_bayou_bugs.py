"""A checker that has never found a mistake is not a checker: each bug planted in Bayou is found in so many seeds."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.sim.bayou.bugs import BUGS
from holdfast.sim.options import Options
from holdfast.sim.run import run


def bayou(model: str, **chosen: object) -> Options:
    return Options(app="rooms", protocol="bayou", model=model, **chosen)  # type: ignore[arg-type]


FOUND_WITHIN: dict[str, tuple[int, Options]] = {
    "hasty-gate": (3, bayou("immediate")),
    "tie-by-replica": (30, bayou("all-heard", faults=("slow",))),
    "no-roll-back": (10, bayou("all-heard")),
    "author-order": (10, bayou("all-heard")),
    "forgotten-promise": (30, bayou("all-heard", faults=("battery", "file"))),
    "commit-unexecuted": (10, bayou("immediate")),
    "old-epoch-stored": (50, bayou("immediate", servers=3, faults=("usurp",))),
    "nothing-adopted": (120, bayou("immediate", servers=3, faults=("usurp",))),
    "lost-tentative": (50, bayou("immediate", faults=("offline", "truncate", "file"))),
    "without-basis": (15, bayou("immediate")),
    "unstable-truncated": (20, bayou("immediate", faults=("truncate", "offline"))),
    "retirement-forgotten": (10, bayou("immediate", faults=("retire", "offline", "new", "split", "file"))),
    "followed-future": (10, bayou("immediate", faults=("jump",))),
    "nobody-heard": (10, bayou("all-heard")),
    "nobody-asked": (15, bayou("all-heard")),
    "office-hours": (10, bayou("immediate")),
    "word-kept": (40, bayou("accept-loss")),
    "loss-in-hand": (30, bayou("accept-loss", faults=("skew", "slow"))),
    "file-unread": (40, bayou("accept-loss", faults=("skew", "slow"))),
    "undone-dropped": (40, bayou("accept-loss")),
    "never-reminded": (20, bayou("all-heard", faults=("take-over", "hand-over", "moment", "crash", "offline"))),
    "hasty-deadline": (15, bayou("all-heard")),
    "number-ignored": (60, bayou("all-heard", faults=("offline", "split", "pause"))),
    "no-alarm": (5, bayou("all-heard")),
    "slept-through": (10, bayou("all-heard", faults=("pause",))),
    "behind-ignored": (10, bayou("immediate")),
    "executed-again": (3, bayou("immediate")),
    "whole-tail": (10, bayou("all-heard")),
    "late-deadline": (10, bayou("all-heard")),
    "told-early": (3, bayou("all-heard")),
    "own-clock": (20, bayou("all-heard", faults=("jump", "offline"))),
    "no-warning": (5, bayou("all-heard", faults=("jump",))),
    "never-pushed": (5, bayou("all-heard")),
    "old-reply-pushed": (10, bayou("all-heard")),
    "nothing-imported": (30, bayou("immediate", faults=("file", "offline"))),
    "mute-notices": (3, bayou("all-heard")),
}
"""The bug, how many seeds it may take, and the schedules that try it."""


def test_every_planted_bug_has_its_test() -> None:
    assert set(FOUND_WITHIN) == set(BUGS)
    assert len(BUGS) >= 8


@pytest.mark.parametrize("bug", FOUND_WITHIN)
def test_the_planted_bug_is_found(bug: str) -> None:
    seeds, options = FOUND_WITHIN[bug]
    planted = msgspec.structs.replace(options, bug=bug)
    failed = next((result for seed in range(seeds) if not (result := run(planted, seed)).ok), None)
    assert failed is not None, f"{bug} was not found in {seeds} seeds"
    healthy = run(options, failed.seed)
    assert healthy.ok, f"seed {failed.seed} fails without the bug too: {healthy.text}"
