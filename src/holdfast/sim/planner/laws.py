"""What must hold in every world: the rate, two holds, no match let go, nothing leaked, nothing missed."""

from __future__ import annotations

from holdfast.planner.messages import Answered, Call, Unanswered
from holdfast.sim.audit import Violation
from holdfast.sim.planner.host import Hears, PlannerHost
from holdfast.sim.planner.ledger import CHILL_US_MAX, RESTART_US, Ledger, Sent
from holdfast.sim.planner.vendor import SECOND_US, SimVendor, Watch
from holdfast.sim.world import World

HOLDS_MAX = 2
MISSED_ROUNDS = 4
"""Rounds of requests between a slot's coming free and its being booked: one to look, two to book another slot
that was begun before and to give back what that leaves, one to book."""
SURPLUS_ROUNDS = 2
"""One to book elsewhere, one to give back."""
LEASE_ROUNDS = 1
STALE_US = 20 * SECOND_US
"""While a vendor is down the others are looked at more seldom."""
TOLD_US = 1000
"""What is lost in writing microseconds as seconds."""


class Laws(Watch):
    """Watches every request that leaves and everything that a vendor does. `leaky`: some vendor names no
    longest delay and takes longer than a planner can guess, so that what it does late is not seen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.vendors: list[SimVendor] = []
        self.hosts: dict[str, PlannerHost] = {}
        self.leaky = False
        self._last_us: dict[tuple[str, int], int] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._surplus: dict[tuple[str, int, int], int] = {}
        """(who, vendor, slot) of what is held beside the best pair, and since when."""
        self._paired: dict[str, dict[int, int]] = {}
        """By planner: the slots that it holds everywhere, and since when."""
        self._once_paired: set[tuple[str, int]] = set()
        """(who, slot) of what was ever held everywhere."""

    def sends(self, who: str, number: int, call: Call) -> Hears:
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
        sent = Sent(now_us, number, call)
        self._ledger(who).sent.append(sent)

        def hears(message: Answered | Unanswered) -> None:
            sent.heard_us, sent.message = self.world.now_us, message

        return hears

    def _ledger(self, who: str) -> Ledger:
        if who not in self._ledgers:
            host = self.hosts[who]
            self._ledgers[who] = Ledger(host.configuration, self.vendors, host.sync_us_max)
        return self._ledgers[who]

    def executed(self, vendor: SimVendor, who: str, call: Call, status: int) -> None:
        """Something was done: two holds at most, and no match is gone without a better one."""
        host = self.hosts.get(who)
        if host is None or status != 200 or not call.writes or self.leaky:
            return
        held = vendor.held_by(who)
        if len(held) > HOLDS_MAX:
            raise Violation("holds", f"{who} holds {held} at {vendor.name}")
        others = [other for other in self.vendors if other is not vendor]
        was_pair = call.verb == "release" and all(call.slot in other.held_by(who) for other in others)
        if was_pair and self._is_told(host, call.slot) and not host.configuration.release and not self.pairs(who):
            raise Violation("let go", f"{who} released {call.slot} at {vendor.name} and has no match left")
        self._account(host)

    # ---- nothing is held longer than it must ----

    def _account(self, host: PlannerHost) -> None:
        """What is held beside the best pair now, and what is not any more."""
        who, now_us, configuration = host.who, self.world.now_us, host.configuration
        pairs = [slot for slot in self.pairs(who) if configuration.first <= slot <= configuration.last]
        before = self._paired.get(who, {})
        self._paired[who] = {slot: before.get(slot, now_us) for slot in pairs}
        self._once_paired.update((who, slot) for slot in pairs)
        best = 0 if configuration.release else min(pairs, default=0)
        surplus = [(who, v.number, slot) for v in self.vendors for slot in v.held_by(who) if slot != best]
        for held in [held for held in self._surplus if held[0] == who and held not in surplus]:
            since_us = self._surplus.pop(held)
            if not host.finished:
                self._not_held_too_long(host, held, since_us)
        for held in surplus:
            self._surplus.setdefault(held, now_us)

    def _not_held_too_long(self, host: PlannerHost, held: tuple[str, int, int], since_us: int) -> None:
        """What hindered at the vendor itself excuses it, and what hindered at others only for a while; unless
        it may have been the match."""
        who, number, slot = held
        now_us, ledger, configuration = self.world.now_us, self._ledger(who), host.configuration
        own_us = ledger.allowed_us(since_us, now_us, SURPLUS_ROUNDS, number)
        any_us = ledger.allowed_us(since_us, now_us, SURPLUS_ROUNDS)
        down_us = self._down_us(host, since_us)
        allowed_us = own_us if not down_us and (who, slot) not in self._once_paired else any_us + down_us
        allowed_us += (len(self.vendors) - 1) * configuration.half_us if any_us + down_us > own_us else 0
        if now_us - since_us > allowed_us:
            took = f"{now_us - since_us} us, not {allowed_us}"
            raise Violation("kept", f"{who} held {slot} at {self.vendors[number].name} beside its match for {took}")

    def _is_told(self, host: PlannerHost, slot: int) -> bool:
        """Whether it has said of this slot that it is held everywhere, since it is."""
        since_us = self._paired.get(host.who, {}).get(slot, self.world.now_us)
        return any(when_us >= since_us for when_us, told, _ in host.matched if told == slot)

    def _down_us(self, host: PlannerHost, since_us: int) -> int:
        """What its deaths have cost since then."""
        ledger = self._ledger(host.who)
        early_us = since_us - ledger.settle_us - RESTART_US
        deaths = sum(1 for crashed_us in host.crashed_us if crashed_us >= early_us)
        return deaths * (RESTART_US + ledger.settle_us + 2 * ledger.round_us)

    def starts_over(self, host: PlannerHost) -> None:
        """Its user begins again: what it held until now is not its fault."""
        for held in [held for held in self._surplus if held[0] == host.who]:
            del self._surplus[held]
        self._account(host)

    # ---- leases ----

    def runs_out(self, vendor: SimVendor, who: str, slot: int) -> None:
        """A slot of a match runs out only where it could not be confirmed."""
        host = self.hosts.get(who)
        if host is None or self.leaky:
            return
        self.world.after(0, self._account, host)
        if slot not in self.pairs(who) or slot != min(self.pairs(who)) or vendor.confirming == "never":
            return
        if host.finished:
            if vendor.confirming == "for good" and host.core is not None and host.core.complete:
                raise Violation("lease", f"{who} ended, and {slot} at {vendor.name} ran out")
            return
        now_us = self.world.now_us
        since_us = max(now_us - vendor.lease_us // 2, self._paired.get(who, {}).get(slot, now_us))
        allowed_us = self._ledger(who).allowed_us(since_us, now_us, LEASE_ROUNDS) + self._down_us(host, since_us)
        if now_us - since_us > allowed_us and not host.configuration.release:
            raise Violation(
                "lease", f"{who} let {slot} run out at {vendor.name}, with {now_us - since_us} us to confirm"
            )

    def _tells_leases(self, host: PlannerHost) -> None:
        """At the end it is told how long the match lasts where that is not for good."""
        assert host.core is not None
        for vendor, view in zip(self.vendors, host.core.plan.views, strict=True):
            until_us, lease = vendor.leases.get(host.core.match), view.leases.get(host.core.match)
            told_us = None if lease is None else int(lease.expires * 1e6) - vendor.clock_us
            if until_us is not None and (told_us is None or told_us > until_us + TOLD_US):
                raise Violation("lease", f"{host.who} says {told_us} of {vendor.name}, whose lease ends at {until_us}")

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
            self._tells_leases(host)
        else:
            self._names_what_is_unknown(host)

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
        for vendor, view in zip(self.vendors, host.core.plan.views, strict=True):
            lease = view.leases.get(host.core.match)
            is_over = lease is not None and lease.expires * 1e6 - vendor.clock_us <= self.world.now_us
            if vendor.held_by(host.who) not in ([kept, []] if is_over else [kept]):
                raise Violation(
                    "leak", f"{when} {host.who} holds {vendor.held_by(host.who)} at {vendor.name}, and says {kept}"
                )

    def search_is_over(self, host: PlannerHost) -> None:
        """No better slot was left that was free everywhere, with time enough to see and to book it."""
        assert host.core is not None
        configuration, now_us = host.configuration, self.world.now_us
        best = host.core.match or host.core.plan.secure
        if configuration.release:
            return
        for slot in range(configuration.first, min(best or configuration.last + 1, self.vendors[0].slots + 1)):
            if any(slot not in vendor.free_since for vendor in self.vendors):
                continue
            since_us = max(host.born_us, *(vendor.free_since[slot] for vendor in self.vendors))
            allowed_us = self._time_to_book_us(host, slot, since_us)
            if now_us - since_us > allowed_us:
                free = f"{slot} was free everywhere since {since_us} us, {now_us - since_us} us, not {allowed_us}"
                raise Violation("missed", f"{host.who} ends its search with {best}, but {free}")

    def _time_to_book_us(self, host: PlannerHost, slot: int, since_us: int) -> int:
        now_us, ledger, configuration = self.world.now_us, self._ledger(host.who), host.configuration
        allowed_us = ledger.allowed_us(since_us, now_us, MISSED_ROUNDS) + self._down_us(host, since_us)
        hindered = allowed_us > MISSED_ROUNDS * ledger.round_us
        refused, given_back = ledger.count(slot, "reserve", 409), ledger.count(slot, "release", 200)
        let_be = 2 * SECOND_US << refused if refused else 0
        let_be += configuration.unmatched_us << given_back if given_back else 0
        return allowed_us + min(let_be, CHILL_US_MAX) + (STALE_US if hindered else 0)
