"""A checker that has never found a mistake is not a checker: each planted bug is found within the stated seeds."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.sim.bugs import BUGS
from holdfast.sim.run import Options, run

FOUND_WITHIN: dict[str, tuple[int, Options]] = {
    "promise-before-sync": (10, Options(model="perfect")),
    "skipped-sync": (60, Options(model="perfect", faults=("power", "crash-all"))),
    "early-reply": (25, Options(model="perfect")),
    "lost-release": (10, Options(model="perfect", servers=3)),
    "stale-read": (100, Options(model="majority", faults=("split", "one-way"))),
    "ignored-pause": (50, Options(model="perfect", servers=3, faults=("long-pause",))),
    "double-apply": (15, Options(model="perfect")),
    "forgotten-journal": (25, Options(model="perfect")),
    "live-excluded": (60, Options(model="perfect", servers=2, faults=("break",))),
    "sealed-epoch": (80, Options(model="majority", faults=("split", "one-way"))),
    "lost-queue": (60, Options(model="majority")),
    "order-of-arrival": (25, Options(model="perfect")),
    "empty-vote": (250, Options(model="majority", servers=3, faults=("empty-disk", "split"))),
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
