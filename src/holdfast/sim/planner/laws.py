"""What must hold in every world: the rate, two holds, no match let go, nothing leaked, nothing missed."""

from __future__ import annotations

from holdfast.planner.configuration import Configuration
from holdfast.planner.messages import Call
from holdfast.sim.audit import Violation
from holdfast.sim.planner.host import PlannerHost
from holdfast.sim.planner.vendor import SECOND_US, SimVendor, Watch
from holdfast.sim.world import World

HOLDS_MAX = 2


class Laws(Watch):
    """Watches every request that leaves and everything that a vendor does. `leaky`: some vendor names no
    longest delay and takes longer than a planner can guess, so that what it does late is not seen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.vendors: list[SimVendor] = []
        self.hosts: dict[str, PlannerHost] = {}
        self.leaky = False
        self._last_us: dict[tuple[str, int], int] = {}

    def sends(self, who: str, number: int) -> None:
        """A request leaves: never more than one in the time that the rate allows."""
        configuration = self.hosts[who].configuration
        now_us = self.world.now_us
        for place, interval_us in (
            (-1, configuration.interval_us),
            (number, configuration.vendors[number].interval_us),
        ):
            before_us = self._last_us.get((who, place))
            if before_us is not None and now_us - before_us < interval_us:
                raise Violation(
                    "rate", f"{who} sends {now_us - before_us} us after its last request, not {interval_us}"
                )
            self._last_us[who, place] = now_us

    def executed(self, vendor: SimVendor, who: str, call: Call, status: int) -> None:
        """Something was done: two holds at most, and no match is gone without a better one."""
        host = self.hosts.get(who)
        if host is None or status != 200 or not call.writes or self.leaky:
            return
        held = vendor.held_by(who)
        if len(held) > HOLDS_MAX:
            raise Violation("holds", f"{who} holds {held} at {vendor.name}")
        if call.verb == "release" and host.told and not host.configuration.release and not self.pairs(who):
            raise Violation("let go", f"{who} released {call.slot} at {vendor.name} and has no match left")

    def pairs(self, who: str) -> list[int]:
        """The slots that this client really holds everywhere."""
        first, *others = [vendor.held_by(who) for vendor in self.vendors]
        return [slot for slot in first if all(slot in held for held in others)]

    # ---- at the end of a plan ----

    def ended(self, host: PlannerHost) -> None:
        """What a planner says when it ends is so."""
        assert host.core is not None
        match, plan, configuration = host.core.match, host.core.plan, host.configuration
        if match and not configuration.first <= match <= configuration.last:
            raise Violation("bounds", f"{host.who} ends with {match}")
        self._in_time(host)
        if self.leaky:
            unnamed = [view for view in plan.views if view.answered and view.longest_delay_us is None]
            if unnamed and len(host.core.warnings) < len(unnamed):
                raise Violation("warning", f"{host.who} does not warn of {unnamed[0].name}")
        elif host.core.complete:
            self.holds_exactly(host, "at its end")
        else:
            self._names_what_is_unknown(host)
        self._nothing_missed(host)

    def _in_time(self, host: PlannerHost) -> None:
        """A plan is over soon after its search, and gives up on nobody before."""
        assert host.core is not None
        took_us, configuration = self.world.now_us - host.searched_until_us, host.configuration
        if took_us > configuration.finish_us:
            raise Violation("overtime", f"{host.who} ends {took_us} us after its search, not {configuration.finish_us}")
        if not host.core.complete and took_us < configuration.grace_us:
            raise Violation("gave up", f"{host.who} waits only {took_us} us for {host.core.unknown}")

    def _names_what_is_unknown(self, host: PlannerHost) -> None:
        """What is held is what the planner says, or is named as unknown."""
        assert host.core is not None
        for vendor, view in zip(self.vendors, host.core.plan.views, strict=True):
            unknown = [slot for name, slot in host.core.unknown if name == vendor.name]
            held = vendor.held_by(host.who)
            if held != list(view.held) if not unknown else view.read_us >= 0 and not set(held) <= set(unknown):
                raise Violation("leak", f"{host.who} left {held} at {vendor.name}, and says {unknown}")

    def holds_exactly(self, host: PlannerHost, when: str) -> None:
        """Exactly the match is held, at every vendor."""
        assert host.core is not None
        kept = [host.core.match] if host.core.match else []
        for vendor in self.vendors:
            if vendor.held_by(host.who) != kept:
                raise Violation(
                    "leak", f"{when} {host.who} holds {vendor.held_by(host.who)} at {vendor.name}, and says {kept}"
                )

    def _nothing_missed(self, host: PlannerHost) -> None:
        """No better slot was left that this life of the planner had seen free everywhere and had time to book."""
        assert host.core is not None
        plan, configuration, match = host.core.plan, host.configuration, host.core.match
        if plan.reason not in ("no improvement", "nothing better can come"):
            return
        over_us = self.world.now_us
        for slot in range(configuration.first, match or configuration.last + 1):
            if slot == match or any(slot not in vendor.free_since for vendor in self.vendors):
                continue
            since_us = max(host.born_us, *(vendor.free_since[slot] for vendor in self.vendors))
            known_us = 0
            for vendor in self.vendors:
                seen = [told for made, told in vendor.looks.get(host.who, ()) if made >= since_us]
                known_us = max(known_us, seen[0] if seen else over_us)
            settle_us = max(view.settle_us for view in plan.views)
            if over_us - known_us > self.time_to_book_us(configuration, settle_us):
                raise Violation(
                    "missed", f"{host.who} ends with {match}, but {slot} was free everywhere since {since_us} us"
                )

    @staticmethod
    def time_to_book_us(configuration: Configuration, settle_us: int) -> int:
        """So long after it was known, an earlier slot must be booked: doubts about other slots are over, every
        vendor's back-off too, and there were requests enough for it."""
        requests_us = 20 * configuration.interval_us * len(configuration.vendors)
        return 2 * settle_us + configuration.unmatched_us + 60 * SECOND_US + requests_us
