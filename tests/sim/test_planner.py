"""Planners in seeded worlds: rivals, vendors that fail, lie late and block, crashes at every step; and planted bugs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from holdfast.planner.configuration import SECOND_US, Configuration, Vendor
from holdfast.sim.options import Options
from holdfast.sim.planner.bugs import BUGS
from holdfast.sim.planner.faults import FAULTS
from holdfast.sim.planner.host import PlannerHost
from holdfast.sim.planner.laws import Laws
from holdfast.sim.planner.vendor import BLOCKED, SimVendor
from holdfast.sim.run import run
from holdfast.sim.world import World

ROOT = Path(__file__).parents[2]


def planner(*faults: str, model: str = "named", **more: object) -> Options:
    return Options(app="slots", protocol="planner", model=model, faults=faults, **more)  # type: ignore[arg-type]


MIXES = {
    "anything": planner(),
    "unnamed": planner(model="unnamed"),
    "late": planner("delayed", "late", "lost", "reset", "blocks", "lax"),
    "crashes": planner("crash", "delayed", "unavailable", "blocks", "rivals"),
    "garbage": planner("odd", "garbage", "unprocessed", "limited", "blocks"),
    "rivals": planner("rivals", "blocks", "outage"),
    "leases": planner("leases", "lost", "unavailable", "crash", "blocks"),
    "gone": planner("gone", "lost", "late", "delayed", "crash"),
}


@pytest.mark.parametrize("mix", MIXES)
def test_every_world_ends_as_it_should(mix: str) -> None:
    for seed in range(40):
        result = run(MIXES[mix], seed)
        assert result.ok, f"{mix}, seed {seed}: {result.text}"


@pytest.mark.slow
@pytest.mark.parametrize("mix", MIXES)
def test_thousands_of_worlds_end_as_they_should(mix: str) -> None:
    for seed in range(10_000, 12_000):
        result = run(MIXES[mix], seed)
        assert result.ok, f"{mix}, seed {seed}: {result.text}"


def test_a_world_is_a_function_of_its_seed() -> None:
    first, again = (run(MIXES["anything"], 7, tracing=True) for _ in range(2))
    assert first == again
    assert len(first.lines) > 50


def test_a_world_is_the_same_under_every_hash_seed() -> None:
    program = (
        "from tests.sim.test_planner import MIXES, run\n"
        "print(hash('a'), *run(MIXES['crashes'], 5, tracing=True).lines, sep='\\n')"
    )
    told = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        told.append(done.stdout.splitlines())
    assert told[0][0] != told[1][0]
    assert told[0][1:] == told[1][1:]
    assert len(told[0]) > 50


def test_most_plans_come_to_a_match() -> None:
    figures = [dict(run(planner("unavailable", "lost"), seed).figures) for seed in range(30)]
    assert sum(each["matched"] for each in figures) > 0.6 * sum(each["plans"] for each in figures)


# ---- crashes at every step


def calm_world(crash_at: tuple[int, ...]) -> tuple[World, Laws, PlannerHost]:
    """A match at 5, then a better one at 2; the planner dies before these acts."""
    world = World(11)
    laws = Laws(world)
    vendors = [SimVendor(world, number, 20, laws) for number in range(2)]
    laws.vendors = vendors
    for vendor in vendors:
        for slot in (1, 2, 3, 4, 6, 7):
            vendor.take(slot, BLOCKED)
        world.at(7 * SECOND_US, vendor.give, 2)
    configuration = Configuration(vendors=tuple(Vendor(name=vendor.name) for vendor in vendors), last=20, patience=15)
    host = PlannerHost(world, "planner", vendors, configuration, laws.sends)
    host.crash_at = crash_at
    laws.hosts["planner"] = host
    host.start()
    world.run_until(300 * SECOND_US, lambda: host.finished)
    assert host.finished
    laws.ended(host)
    world.run_until(400 * SECOND_US)
    laws.holds_exactly(host, "long after")
    return world, laws, host


def test_a_crash_at_every_step_leaks_nothing_and_ends_with_the_better_match() -> None:
    _, _, host = calm_world(())
    acts = host.acts
    assert host.core is not None
    assert host.core.match == 2
    assert acts > 40
    struck = 0
    for act in range(1, acts + 1):
        _, _, crashed = calm_world((act,))
        struck += crashed.crashes
        assert crashed.core is not None
        assert crashed.core.match == 2, f"dying before act {act}"
    assert struck > 40  # all but the acts after the end


def test_two_crashes_in_a_row_at_every_step() -> None:
    for act in range(1, 60):
        _, _, crashed = calm_world((act, act + 2))
        assert crashed.core is not None
        assert crashed.core.match == 2


# ---- planted bugs

FOUND_WITHIN: dict[str, tuple[int, Options]] = {
    "let-go-first": (20, planner("blocks")),
    "blind-retry": (20, planner("delayed", "lost", "lax", "blocks")),
    "forgotten-hold": (20, planner("crash", "blocks")),
    "free-retry": (5, planner("unavailable")),
    "no-last-look": (60, planner("delayed", "lost", "blocks")),
    "third-hold": (30, planner("lax", "blocks", "lost", "delayed")),
    "old-list": (100, planner("late", "blocks", "delayed")),
    "odd-is-no": (80, planner("odd", "lax", "rivals", "blocks")),
    "unwritten-intent": (40, planner("crash", "delayed", "lax")),
    "tired": (20, planner("unavailable", "unprocessed", "lost")),
    "endless": (20, planner("gone", "lost")),
    "never-confirms": (5, planner("leases")),
    "late-keeper": (60, planner("leases")),
    "hoarder": (30, planner("blocks")),
    "never-lets-go": (150, planner("gone", "blocks")),
    "content": (40, planner("blocks")),
    "deaf-end": (80, planner("gone", "blocks", "lost", "crash")),
}
"""The bug, how many seeds it may take, and the worlds that try it."""


def test_every_planted_bug_has_its_test() -> None:
    assert set(FOUND_WITHIN) == set(BUGS)
    assert len(BUGS) >= 8
    assert all(fault in FAULTS for _, options in FOUND_WITHIN.values() for fault in options.faults)


@pytest.mark.parametrize("bug", FOUND_WITHIN)
def test_the_planted_bug_is_found(bug: str) -> None:
    seeds, options = FOUND_WITHIN[bug]
    planted = msgspec.structs.replace(options, bug=bug)
    failed = next((result for seed in range(seeds) if not (result := run(planted, seed)).ok), None)
    assert failed is not None, f"{bug} was not found in {seeds} seeds"
    assert failed.kind != "exception", failed.text
    healthy = run(options, failed.seed)
    assert healthy.ok, f"seed {failed.seed} fails without the bug too: {healthy.text}"
