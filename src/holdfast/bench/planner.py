"""`holdfast bench planner`: how good plans are, in virtual time, beside an optimum that knows the future.

A *world* is two vendors with slots taken at random, rivals, and troubles. It is run twice: without any
planner, to see what comes free when; and with one. The *clairvoyant optimum* looks once at each vendor, as
anybody must, and then books the best slot that will ever be free everywhere within the time that the planner
took, at the earliest moment possible; it sends one request a second too, none of which fails.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator

import msgspec

from holdfast.planner.configuration import SECOND_US, Configuration, Vendor
from holdfast.planner.messages import Call
from holdfast.sim.planner.host import PlannerHost
from holdfast.sim.planner.laws import Laws
from holdfast.sim.planner.rivals import Keeper, Rival
from holdfast.sim.planner.vendor import BLOCKED, SimVendor, Troubles
from holdfast.sim.world import World

SLOTS = 500
VENDORS = 2
HORIZON_US = 1200 * SECOND_US
MILD = 0.05
WANTED = 1.5
"""The median's share of the optimum with one rival and mild faults."""


class Setting(msgspec.Struct, frozen=True):
    """How many rivals there are, and what share of the requests fails."""

    rivals: int
    failures: float


class Found(msgspec.Struct, frozen=True):
    """One world. Times in virtual seconds from the plan's start until its final pair was held.

    `rank`: 1 if no better slot could have been had, 2 if one could, and so on. `slot` 0: none was got.
    """

    seed: int
    slot: int
    requests: int
    seconds: float
    optimal_slot: int
    optimal_requests: int
    optimal_seconds: float
    rank: int
    unmatched_seconds: float


class Row(msgspec.Struct, frozen=True):
    """All worlds of one setting."""

    setting: Setting
    found: list[Found]

    @property
    def matched(self) -> list[Found]:
        """Those with a pair at the end where one could be had."""
        return [each for each in self.found if each.slot and each.optimal_slot]

    def ratios(self, name: str) -> list[float]:
        """`requests` or `seconds`, over the optimum's."""
        return [getattr(each, name) / getattr(each, f"optimal_{name}") for each in self.matched]


class PlannerReport(msgspec.Struct, frozen=True):
    """Everything found."""

    taken: str
    worlds: int
    rows: list[Row]

    def errors(self) -> list[str]:
        """What is not as it must be."""
        errors = [
            f"no rivals, {row.setting.failures:.0%} failures, seed {each.seed}: no pair, not even {each.optimal_slot}"
            for row in self.rows
            for each in row.found
            if not each.slot and each.optimal_slot and row.setting.rivals == 0
        ]
        for row in self.rows:
            if row.setting == Setting(1, MILD):
                errors += [
                    f"the median of {name} is {statistics.median(row.ratios(name)):.2f} times the optimum, not {WANTED}"
                    for name in ("requests", "seconds")
                    if row.matched and statistics.median(row.ratios(name)) > WANTED
                ]
        return errors


class _Recorder(Laws):
    """Remembers when each slot was free where."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.spans: list[dict[int, list[tuple[int, int]]]] = [{} for _ in range(VENDORS)]

    def close(self, vendor: SimVendor, slot: int) -> None:
        """This slot is not free any more."""
        span = (vendor.free_since[slot], self.world.now_us)
        self.spans[vendor.number].setdefault(slot, []).append(span)


class _Vendor(SimVendor):
    """A vendor that tells the recorder of its free slots."""

    def take(self, slot: int, who: str) -> None:
        if isinstance(self.watch, _Recorder):
            self.watch.close(self, slot)
        super().take(slot, who)


def troubles(failures: float) -> Troubles:
    """So many requests fail: most are not done, some answers are lost, some come late."""
    return Troubles(
        unavailable=0.4 * failures,
        unprocessed=0.25 * failures,
        lost=0.15 * failures,
        odd=0.1 * failures,
        reset=0.1 * failures,
        delayed=failures,
        way_us_max=50_000,
    )


def _world(setting: Setting, seed: int) -> tuple[World, _Recorder]:
    """The vendors and all others, begun."""
    world = World(seed)
    recorder = _Recorder(world)
    source = random.Random(seed)
    recorder.vendors = [_Vendor(world, number, SLOTS, recorder) for number in range(VENDORS)]
    for vendor in recorder.vendors:
        vendor.troubles = troubles(setting.failures)
        for slot in range(1, SLOTS + 1):
            if source.random() < 0.5:
                vendor.take(slot, BLOCKED)
    seeds = [source.getrandbits(32) for _ in range(setting.rivals + 1)]
    for number, rival_seed in enumerate(seeds[1:], 1):
        Rival(world, number, rival_seed, list(recorder.vendors), HORIZON_US).begin()
    Keeper(world, recorder.vendors, seeds[0], 60 * SECOND_US, HORIZON_US).begin()
    return world, recorder


def measure_world(setting: Setting, seed: int) -> Found:
    """One world, with and without a planner."""
    world, laws = _world(setting, seed)
    configuration = Configuration(vendors=tuple(Vendor(name=vendor.name) for vendor in laws.vendors), last=SLOTS)
    host = PlannerHost(world, "planner", laws.vendors, configuration, laws.sends)
    laws.hosts["planner"] = host
    unmatched = _Unmatched(world, laws)
    host.start()
    world.run_until(HORIZON_US, lambda: host.finished)
    assert host.core is not None
    slot = host.core.match
    when_us, requests = next(((when, used) for when, had, used in host.matched if had == slot), (world.now_us, 0))
    best, best_us, better = _optimum(setting, seed, world.now_us, slot)
    return Found(
        seed=seed,
        slot=slot,
        requests=requests,
        seconds=when_us / 1e6,
        optimal_slot=best,
        optimal_requests=2 * VENDORS,
        optimal_seconds=best_us / 1e6,
        rank=better + 1,
        unmatched_seconds=unmatched.total_us / 1e6,
    )


class _Unmatched:
    """Adds up how long the planner holds slots that it does not hold everywhere."""

    def __init__(self, world: World, laws: Laws) -> None:
        self.total_us = 0
        self._since_us = 0
        self._count = 0
        executed = laws.executed

        def watched(vendor: SimVendor, who: str, call: Call, status: int) -> None:
            executed(vendor, who, call, status)
            if who == "planner" and call.writes:
                self.total_us += self._count * (world.now_us - self._since_us)
                self._since_us = world.now_us
                pairs = len(laws.pairs(who))
                self._count = sum(len(each.held_by(who)) for each in laws.vendors) - pairs * VENDORS

        setattr(laws, "executed", watched)  # noqa: B010 (a method of one instance)


def _optimum(setting: Setting, seed: int, until_us: int, slot: int) -> tuple[int, int, int]:
    """The best slot, when it is had (0, 0 for none), and how many better ones than `slot` could be had."""
    world, recorder = _world(setting, seed)
    world.run_until(until_us)
    for vendor in recorder.vendors:
        for free in vendor.free():
            recorder.close(vendor, free)
    found = [(number, had_us) for number in range(1, SLOTS + 1) if (had_us := _had_us(recorder, number)) >= 0]
    if not found:
        return 0, 0, 0
    better = sum(1 for number, _ in found if number < slot)
    return *found[0], better


def _had_us(recorder: _Recorder, slot: int) -> int:
    """When it can be held everywhere: each vendor is looked at once, then booked where it is free first."""
    best_us = -1
    spans = [spans.get(slot, []) for spans in recorder.spans]
    for order in ((0, 1), (1, 0)):
        for first_since_us, first_until_us in spans[order[0]]:
            first_us = max(first_since_us, VENDORS * SECOND_US)
            for since_us, until_us in spans[order[1]]:
                second_us = max(since_us, first_us + SECOND_US)
                if first_us < first_until_us and second_us < until_us and (best_us < 0 or second_us < best_us):
                    best_us = second_us
    return best_us


def settings(*, quick: bool) -> Iterator[Setting]:
    """One rival and mild faults; then the curve over rivals, and over failures."""
    yield Setting(1, MILD)
    for rivals in (0, 5, 20) if quick else (0, 2, 5, 10, 15, 20):
        yield Setting(rivals, MILD)
    for failures in (0.5,) if quick else (0.0, 0.1, 0.2, 0.3, 0.4, 0.5):
        yield Setting(1, failures)
    yield Setting(20, 0.5)


def measure_planner(worlds: int, progress: Callable[[str], object], *, quick: bool) -> PlannerReport:
    """So many worlds of each setting."""
    rows = []
    for setting in settings(quick=quick):
        row = Row(setting, [measure_world(setting, seed) for seed in range(1, worlds + 1)])
        rows.append(row)
        progress(f"{setting.rivals} rivals, {setting.failures:.0%} failures: {len(row.matched)} of {worlds} matched")
    return PlannerReport(time.strftime("%Y-%m-%d %H:%M:%S"), worlds, rows)
