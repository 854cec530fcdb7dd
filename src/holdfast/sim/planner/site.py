"""One run of planners: vendors with their troubles, rivals, crashes; the calm; and what it came to.

Until the calm begins everything drawn from the seed may happen. Then the vendors are well, rivals and
crashes cease, and every plan must come to its end, by itself or because its user stops it.
"""

from __future__ import annotations

import random

from holdfast.planner.configuration import Configuration, Vendor
from holdfast.sim.audit import Violation
from holdfast.sim.options import Options
from holdfast.sim.planner import bugs
from holdfast.sim.planner.faults import FIRST, LATER, PROBABLE
from holdfast.sim.planner.host import PlannerHost
from holdfast.sim.planner.laws import Laws
from holdfast.sim.planner.rivals import Keeper, Rival
from holdfast.sim.planner.vendor import BLOCKED, SECOND_US, SimVendor, Troubles
from holdfast.sim.world import World

SLOTS = 60
UNIX_US = 1_790_000_000 * SECOND_US
ASSUMED_US = 30 * SECOND_US
CALM_US_MAX = 900 * SECOND_US
"""So long after the calm began, every plan is over."""
QUIET_US_MAX = 120 * SECOND_US


class PlannerSite:
    """All that takes part in one run."""

    def __init__(self, options: Options, seed: int, tracing: bool) -> None:
        self.options = options
        self.world = world = World(seed, tracing)
        source = world.random
        self.laws = Laws(world)
        self.later = later = random.Random(f"{seed} later")
        first = tuple(kind for kind in FIRST if not options.faults and source.random() < 0.5)
        self.kinds = options.faults or (*first, *(kind for kind in LATER if later.random() < 0.2))
        self.faults = 0
        count = options.servers or source.choice((1, 2, 2, 2, 2, 3, 4))
        self.vendors = [SimVendor(world, number, SLOTS, self.laws) for number in range(count)]
        self.laws.vendors = self.vendors
        self.calm_us = source.choice((40, 90, 200, 400)) * SECOND_US
        self._furnish(source)
        make = bugs.maker(options.bug)
        self.hosts = []
        for number in range(source.choice((1, 1, 1, 2, 3))):
            host = PlannerHost(
                world, f"planner{number + 1}", self.vendors, self._configuration(source), self.laws.sends, make
            )
            host.crash_chance = source.choice((0.01, 0.05)) if "crash" in self.kinds else 0.0
            host.sync_us_max = source.choice((1_000, 20_000, 400_000))
            self.hosts.append(host)
            self.laws.hosts[host.who] = host
        rivals = source.randint(1, 20) if "rivals" in self.kinds else 0
        self.rivals = [
            Rival(world, n, source.getrandbits(32), self.vendors, self.calm_us) for n in range(1, rivals + 1)
        ]
        gap_us_max = source.choice((3, 10, 40)) * SECOND_US
        self.keepers = [
            Keeper(world, self.vendors, source.getrandbits(32), gap_us_max, self.calm_us)
            for _ in range(2 if "blocks" in self.kinds else 0)
        ]
        self._is_calm = False
        self._searched: list[tuple[str, int, int]] = []
        self._ended: list[str] = []
        self._left: list[str] = []
        """Whose plan has ended once with something that was not confirmed."""

    def _furnish(self, source: random.Random) -> None:
        """What is taken from the beginning, and how well each vendor works."""
        named = self.options.failure_model == "named"
        everywhere = source.choice((0.0, 0.5, 0.9))
        blocked = [slot for slot in range(1, SLOTS + 1) if source.random() < everywhere]
        for vendor in self.vendors:
            vendor.troubles = self._troubles(source)
            vendor.names_delay = named
            vendor.lax = "lax" in self.kinds and source.random() < 0.5
            vendor.clock_us = UNIX_US + self.later.randint(-(10**10), 10**10)
            if "leases" in self.kinds and self.later.random() < 0.7:
                vendor.lease_us = self.later.choice((10, 20, 40, 40, 120, 120, 600)) * SECOND_US
                vendor.confirming = self.later.choice(("for good", "for good", "for good", "lease", "never"))
            taken = source.choice((0.0, 0.0, 0.3, 0.8))
            for slot in range(1, SLOTS + 1):
                if slot in blocked or source.random() < taken:
                    vendor.take(slot, BLOCKED)
        self.laws.leaky = not named and any(vendor.troubles.longest_us > ASSUMED_US for vendor in self.vendors)

    def _troubles(self, source: random.Random) -> Troubles:
        """Up to half of all requests fail."""
        kinds = [kind for kind in PROBABLE if kind in self.kinds]
        total = source.choice((0.05, 0.15, 0.3, 0.5))
        shares = {kind: source.random() for kind in kinds}
        whole = sum(shares.values()) or 1.0
        chances = {kind: total * share / whole for kind, share in shares.items()}
        seconds = (1, 5, 20) if self.options.failure_model == "named" else (1, 5, 20, 20, 90)
        longest_us = source.choice(seconds) * SECOND_US
        return Troubles(longest_us=longest_us, way_us_max=source.choice((5_000, 100_000, 1_500_000)), **chances)

    def _configuration(self, source: random.Random) -> Configuration:
        first, last = source.choice(((1, SLOTS), (1, SLOTS), (1, 500), (10, 40)))
        deadline_s = source.choice((0, 0, 0, 20, 120))
        vendors = tuple(
            Vendor(name=vendor.name, interval_us=source.choice((0, 0, 3 * SECOND_US))) for vendor in self.vendors
        )
        return Configuration(
            vendors=vendors,
            first=first,
            last=last,
            interval_us=source.choice((SECOND_US, SECOND_US, 200_000)),
            patience=source.choice((10, 60, 60)),
            deadline_us=deadline_s * SECOND_US or None,
            timeout_us=source.choice((2, 3, 8)) * SECOND_US,
            unmatched_us=source.choice((4, 15)) * SECOND_US,
            assumed_delay_us=ASSUMED_US,
            grace_us=self.later.choice((20, 60, 120)) * SECOND_US,
        )

    # ---- what `run` asks for ----

    @property
    def operations(self) -> int:
        """Requests sent, by all planners in all their lives."""
        return sum(host.core.plan.requests for host in self.hosts if host.core is not None)

    @property
    def figures(self) -> tuple[tuple[str, int], ...]:
        """What the runs came to, to be summed."""
        matched = sum(1 for host in self.hosts if host.core is not None and host.core.match)
        return (
            ("plans", len(self.hosts)),
            ("matched", matched),
            ("crashes", sum(host.crashes for host in self.hosts)),
            ("unconfirmed", len(self._left)),
        )

    # ---- the run ----

    def play(self) -> None:
        """Troubles, calm, end. Raises `Violation`."""
        world = self.world
        for host in self.hosts:
            world.after(world.between(0, 2 * SECOND_US), host.start)
            if world.chance(0.15):
                world.after(world.between(0, self.calm_us), host.stop, "told to stop")
        actors: list[Rival | Keeper] = [*self.rivals, *self.keepers]
        for actor in actors:
            actor.begin()
        for vendor in self.vendors:
            if "outage" in self.kinds:
                world.after(world.between(0, self.calm_us), self._fall_out, vendor)
            if "gone" in self.kinds and (vendor is self.vendors[0] or self.later.random() < 0.3):
                world.after(self.later.randint(0, self.calm_us), self._go_away, vendor)
        world.run_until(self.calm_us, self._watch_ends)
        self._calm()
        self._await_ends()
        self._finish_what_was_left()
        self._judge()

    def _await_ends(self) -> None:
        """Every plan is over in time."""
        self.world.run_until(self.world.now_us + CALM_US_MAX, self._watch_ends)
        for host in self.hosts:
            if not host.finished:
                said = "it is not running" if host.core is None else host.core.status()
                raise Violation("liveness", f"{host.who} has not ended: {said}")

    def _finish_what_was_left(self) -> None:
        """Whose plan could not be confirmed begins again with the same journal when every vendor is there."""
        for vendor in self.vendors:
            self._come_back(vendor)
        self._left = [host.who for host in self.hosts if host.core is not None and not host.core.complete]
        for host in self.hosts:
            if host.who in self._left:
                self._ended.remove(host.who)
                host.start_over(release=self.later.random() < 0.5)
                self.laws.starts_over(host)
        self._await_ends()
        for host in self.hosts:
            if host.core is not None and not host.core.complete:
                raise Violation("unconfirmed", f"{host.who} does not finish what it left: {host.core.status()}")

    def _go_away(self, vendor: SimVendor) -> None:
        """A vendor falls silent until every plan is over."""
        if self._is_calm:
            return
        self.faults += 1
        vendor.gone, vendor.outage = True, "silent"
        self.world.note(f"{vendor.name} is gone")

    def _fall_out(self, vendor: SimVendor) -> None:
        """A vendor is down, for a moment or for minutes."""
        if vendor.gone or self._is_calm:
            return
        self.faults += 1
        vendor.outage = self.world.random.choice(("refuses", "silent", "unavailable"))
        self.world.note(f"{vendor.name} is down: {vendor.outage}")
        self.world.after(self.world.between(SECOND_US, 150 * SECOND_US), self._recover, vendor)

    def _recover(self, vendor: SimVendor) -> None:
        if not vendor.gone:
            self._come_back(vendor)

    def _come_back(self, vendor: SimVendor) -> None:
        if vendor.outage:
            vendor.gone, vendor.outage = False, ""
            self.world.note(f"{vendor.name} is back")

    def _calm(self) -> None:
        self.world.note("calm begins")
        self._is_calm = True
        for vendor in self.vendors:
            self.faults += 1
            if not vendor.gone:
                vendor.outage = ""
            quick = Troubles(longest_us=vendor.troubles.longest_us, way_us_max=min(vendor.troubles.way_us_max, 100_000))
            vendor.troubles = quick
        for host in self.hosts:
            host.crash_chance = 0.0
            if any(vendor.gone for vendor in self.vendors) and host.configuration.deadline_us is None:
                host.stop("told to stop")  # it would wait for that vendor for ever

    def _watch_ends(self) -> bool:
        """After every event: has a plan come to its end just now?"""
        for host in self.hosts:
            if host.searched_until_us >= 0 and (host.who, host.life, host.searched_until_us) not in self._searched:
                self._searched.append((host.who, host.life, host.searched_until_us))
                self.laws.search_is_over(host)
            if host.finished and host.who not in self._ended:
                self._ended.append(host.who)
                self.laws.ended(host)
        return len(self._ended) == len(self.hosts)

    def _judge(self) -> None:
        """After everything that is still under way has had its time, nothing has leaked."""
        self.world.run_until(self.world.now_us + QUIET_US_MAX)
        for host in self.hosts:
            assert host.core is not None
            if not self.laws.leaky:
                self.laws.holds_exactly(host, "long after its end")
            self._judge_match(host)

    def _judge_match(self, host: PlannerHost) -> None:
        """Whoever had time has a match, where a slot was free everywhere from the beginning to the end."""
        assert host.core is not None
        plan, configuration = host.core.plan, host.configuration
        if host.core.match or plan.reason not in ("no improvement", "nothing better can come"):
            return
        if any(vendor.lease_us and vendor.confirming == "never" for vendor in self.vendors):
            return
        left = [
            slot
            for slot in range(configuration.first, min(configuration.last, SLOTS) + 1)
            if all(vendor.free_since.get(slot) == 0 for vendor in self.vendors)
        ]
        if left:
            raise Violation("no match", f"{host.who} ends without a match, but {left} were free all the time")
