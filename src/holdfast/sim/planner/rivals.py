"""Who else wants slots: other clients, each in a way of its own, and the vendors themselves."""

from __future__ import annotations

import random

from holdfast.planner.messages import Call
from holdfast.sim.planner.vendor import BLOCKED, SECOND_US, SimVendor
from holdfast.sim.world import World


class Rival:
    """A client that looks, books one vendor after the other, keeps what matches for a while, and begins anew.

    It speaks to the vendors without any trouble of its own, and draws from a source of its own, so that
    what it does depends on others only through what they hold.
    """

    def __init__(self, world: World, number: int, seed: int, vendors: list[SimVendor], until_us: int) -> None:
        self.world = world
        self.who = f"rival{number}"
        self.vendors = vendors
        self.until_us = until_us
        self.random = source = random.Random(seed)
        self.think_us_max = source.choice((2, 5, 20)) * SECOND_US
        self.keep_us_max = source.choice((5, 30, 300)) * SECOND_US
        self.choosy = source.choice((1, 3, 20))
        self.offset = source.choice((0, 0, 0, 10))
        self.faithful = source.random() < 0.8
        """Whether it gives back what does not match."""

    def begin(self) -> None:
        """Its first look comes after some thought."""
        self._later(self.think_us_max, self._look)

    def _later(self, us_max: int, action: object, *arguments: object) -> None:
        at_us = self.world.now_us + self.random.randint(200_000, max(us_max, 200_000))
        if at_us < self.until_us:
            self.world.at(at_us, action, *arguments)  # type: ignore[arg-type]

    def _look(self) -> None:
        common = [slot for slot in self.vendors[0].free() if all(slot in other.free_since for other in self.vendors)]
        if not common:
            self._later(self.think_us_max, self._look)
            return
        place = min(self.offset + self.random.randrange(self.choosy), len(common) - 1)
        order = list(self.vendors)
        self.random.shuffle(order)
        self._book(common[place], order, [])

    def _book(self, slot: int, order: list[SimVendor], got: list[SimVendor]) -> None:
        vendor = order[len(got)]
        status, _ = vendor.execute(self.who, Call(0, "reserve", slot))
        if status != 200:
            if self.faithful:
                self._give(slot, got)
            self._later(self.think_us_max, self._look)
        elif len(got) + 1 < len(order):
            self._later(2 * SECOND_US, self._book, slot, order, [*got, vendor])
        else:
            self._later(self.keep_us_max, self._tire, slot)

    def _tire(self, slot: int) -> None:
        """Most let go again; so earlier slots come free."""
        if self.random.random() < 0.7:
            self._give(slot, self.vendors)
        self._later(self.think_us_max, self._look)

    def _give(self, slot: int, vendors: list[SimVendor]) -> None:
        for vendor in vendors:
            vendor.execute(self.who, Call(0, "release", slot))


class Keeper:
    """The vendors' own hands: they block free slots and release blocked ones, often the same slot at all
    of them, soon after each other; so a better match comes up, or goes."""

    def __init__(self, world: World, vendors: list[SimVendor], seed: int, gap_us_max: int, until_us: int) -> None:
        self.world = world
        self.vendors = vendors
        self.random = random.Random(seed)
        self.gap_us_max = gap_us_max
        self.until_us = until_us

    def begin(self) -> None:
        """The first time after a while."""
        at_us = self.world.now_us + self.random.randint(SECOND_US, self.gap_us_max)
        if at_us < self.until_us:
            self.world.at(at_us, self._act)

    def _act(self) -> None:
        source = self.random
        slot = source.randint(1, 20)
        release = source.random() < 0.5
        every = source.random() < 0.7
        for vendor in self.vendors if every else [source.choice(self.vendors)]:
            self.world.after(source.randint(0, 3 * SECOND_US), self._change, vendor, slot, release)
        self.begin()

    def _change(self, vendor: SimVendor, slot: int, release: bool) -> None:
        if release and vendor.holders.get(slot) == BLOCKED:
            vendor.give(slot)
        elif not release and slot in vendor.free_since:
            vendor.take(slot, BLOCKED)
