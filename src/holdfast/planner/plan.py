"""The plan as it stands: the match, the slot that is being booked, what is too much; and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from holdfast.planner.configuration import Configuration
from holdfast.planner.messages import Verb
from holdfast.planner.vendor import VendorView

STALE_US = 10_000_000
"""While a vendor is down the others' lists of what is free are fetched anew only when so old."""
PHANTOM_REFUSALS = 3
"""A slot that was refused so often although it was called free does not count as one to be had."""
REOPENED_MAX = 5


class Choice(msgspec.Struct, frozen=True):
    """The next request: to which vendor, what, and why."""

    view: VendorView
    verb: Verb
    slot: int
    why: str


class Plan:
    """All that the core knows. `now_us` is moved by the core before every input."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.views = [VendorView(number, vendor, configuration) for number, vendor in enumerate(configuration.vendors)]
        self.order = sorted(self.views, key=lambda view: view.id)
        """Everybody books in this order, so that of two planners after the same slot one wins at the first
        vendor, and the other holds nothing that it would have to give back."""
        self.now_us = 0
        self.next_us = 0
        """No request before this."""
        self.target = 0
        """The slot that is being booked, 0 for none."""
        self.best = 0
        """The match that was told last."""
        self.secure = 0
        """The match when it was last certain; it is kept while it is not, and only a better one is looked for."""
        self.requests = 0
        self.since = 0
        """Requests without an improvement; while there is no match, looks that showed nothing to book."""
        self.recovering = False
        self.reason = ""
        """Why the search is over; "" while it goes on."""
        self.over_us = 0
        """Since when it is over."""
        self.reopened = 0

    # ---- what follows from what is known ----

    @property
    def match(self) -> int:
        """The earliest slot held at every vendor, 0 for none."""
        if self.configuration.release:
            return 0
        first, last = self.configuration.first, self.configuration.last
        held = [slot for slot in self.views[0].held if first <= slot <= last]
        return min((slot for slot in held if all(view.has(slot) for view in self.views)), default=0)

    @property
    def finishing(self) -> bool:
        """The search is over; what is too much is given back, and the rest confirmed."""
        return bool(self.reason)

    @property
    def end_us(self) -> int:
        """When the plan is over at the latest, once the search is."""
        return self.over_us + self.configuration.finish_us

    @property
    def finished(self) -> bool:
        """Every vendor has confirmed that exactly the match is held. (One that has never answered, and was never
        sent a write, holds nothing of this plan; it may be down for good.)"""
        if not self.finishing or self.recovering:
            return False
        return all(view.denied or self._is_certain(view) for view in self.views)

    def _is_certain(self, view: VendorView) -> bool:
        match = self.match
        exactly = list(view.held) == ([match] if match else [])
        return (not match and view.untouched()) or (exactly and self._has_said_all(view))

    def _has_said_all(self, view: VendorView) -> bool:
        """Its list of what we hold is later than all that could have changed it, and no lease need be confirmed."""
        lasts = all(lease.until_us > self.now_us for lease in view.leases.values())
        return lasts and view.confirmed() and not self.lacks_keeping(view)

    def unconfirmed(self) -> Iterator[tuple[VendorView, tuple[int, ...]]]:
        """The vendors that have not said yet what they hold for us, and what that may be as far as it is known."""
        for view in self.views:
            if self._has_said_all(view) or view.denied or (view.untouched() and not self.recovering):
                continue
            slots = {*view.held, *(write.slot for write in view.writes.values())}
            yield view, tuple(sorted(slots | {self.secure} if self.secure and view.read_us < 0 else slots))

    def candidates(self, *, hopeful: bool) -> Iterator[int]:
        """Slots better than the match that are held or free everywhere, the earliest first. `hopeful`: also
        those that cannot be had just now."""
        best = self.match or self.secure
        last = best - 1 if best else self.configuration.last
        fewest = min(self.views, key=lambda view: len(view.free) + len(view.held))
        for slot in sorted({*fewest.free, *fewest.held, *(write.slot for write in fewest.writes.values())}):
            if not self.configuration.first <= slot <= last:
                continue
            if all(self._is_open(view, slot, hopeful) for view in self.views):
                yield slot

    def _is_open(self, view: VendorView, slot: int, hopeful: bool) -> bool:
        if view.has(slot) or view.may_get(slot, self.now_us):
            return True
        refused = view.cool.get(slot, (0, 0))[0]
        return hopeful and slot in view.free_set and slot not in view.missing and refused < PHANTOM_REFUSALS

    def can_begin(self, slot: int) -> bool:
        """Whether every vendor answers and has room for this slot beside what we (may) hold there."""
        for view in self.views:
            if slot in view.held:
                continue
            underway = view.is_underway(slot, reserves=True)
            if view.down or view.must_ask or not (underway or view.possible() < self.configuration.holds_max):
                return False
        return True

    def fleeting(self) -> str:
        """The vendor where the match will run out and cannot be kept from it, or ""."""
        match = self.match
        return next((view.name for view in self.views if match in view.leases and not view.confirms), "")

    def nothing_better(self) -> bool:
        """No slot before the match exists everywhere."""
        match = self.match
        return bool(match) and all(
            any(slot in view.missing for view in self.views) for slot in range(self.configuration.first, match)
        )

    # ---- what changes it ----

    def retarget(self) -> str:
        """Let go of a slot that cannot be had, and choose the next to book. Says so in words if one was let go."""
        if not self.recovering and not self._is_uncertain(self.secure):
            self.secure = self.match
        told = ""
        if self.target and (self.finishing or 0 < self.match <= self.target or (told := self._hopeless())):
            self.target = 0
        if not self.target and not self.finishing and not self.recovering:
            self.target = next((slot for slot in self.candidates(hopeful=False) if self.can_begin(slot)), 0)
        return told

    def _hopeless(self) -> str:
        """Why the target cannot be had, in words, or "". Nothing is let be before its vendor was asked what is held."""
        target, now_us = self.target, self.now_us
        lacking = [view for view in self.views if target not in view.held]
        since_us = max((view.held[target] for view in self.views if target in view.held), default=None)
        for view in lacking:
            if not view.must_ask and not view.flight and not view.may_get(target, now_us):
                return f"{target} is not to be had at {view.name}"
            if view.denied or (since_us is None and view.down):
                return f"{target} has to wait for {view.name}"
        if since_us is not None and lacking and now_us - since_us >= self.configuration.half_us:
            for view in lacking:
                view.chill(target, now_us, self.configuration.unmatched_us)
            names = " and ".join(view.name for view in lacking)
            return f"{target} was held too long without {names}"
        return ""

    # ---- what to do next ----

    def choose(self) -> Choice | None:
        """The most urgent request that can be sent now, or None."""
        ready = [view for view in self.order if view.ready(self.now_us)]
        for view in ready:
            if view.needs_asking(self.now_us):
                return Choice(view, "ask", 0, "what it holds for us is not certain")
        if self.recovering:
            return self._keep(ready, urgently=True) or self._release_what_cannot_match(ready)
        return (
            self._keep(ready, urgently=True)
            or self._release(ready)
            or self._book()
            or self._keep(ready, urgently=False)
            or self._confirm(ready)
            or self._look(ready)
        )

    def is_too_much(self, slot: int) -> bool:
        """Whether a slot that is held is neither the match nor on the way to a better one."""
        if self.configuration.release:
            return True
        kept = (slot == self.secure or self._may_match(slot)) and self._is_uncertain(slot)
        if self._is_unkept(self.match):  # until it is confirmed, the match before it is the one to rely on
            kept = kept or all(view.has(slot) for view in self.views)
        return slot not in (self.match, self.target) and not kept

    def _may_match(self, slot: int) -> bool:
        """Whether it is the match, unless a release of it that is in doubt is done yet. (The journal of a
        process that died may tell of that release and not of the match.)"""
        return not self.match and all(slot in view.held for view in self.views)

    def _is_unkept(self, slot: int) -> bool:
        """Whether it could run out somewhere, and has never been confirmed there."""
        return any(slot in view.leases and view.confirms and slot not in view.kept_us for view in self.views)

    def _is_uncertain(self, slot: int) -> bool:
        """Whether nobody can say if this slot, or a better one, is the match: some vendor has to be asked
        first, or may yet do a release of it that may never have been sent."""
        return any(
            view.must_ask or (not self.match and slot in view.held and view.is_underway(slot, reserves=False))
            for view in self.views
        )

    def lacks_keeping(self, view: VendorView) -> bool:
        """Whether the match could run out there without having been confirmed: once when it is new, and
        once more at the end by a vendor that only prolongs its leases."""
        kept_us = view.kept_us.get(self.match, -1)
        return (
            self.match in view.leases and view.confirms and (kept_us < 0 or (self.finishing and kept_us < self.over_us))
        )

    def _keep(self, ready: list[VendorView], *, urgently: bool) -> Choice | None:
        """Confirm what is held on a lease: the match as soon as nothing else is to be done, and whatever is
        kept when half of its time is over."""
        if self.configuration.release:
            return None
        for view in ready:
            if not urgently and self.lacks_keeping(view) and view.can_keep(self.match, self.now_us):
                return Choice(view, "confirm", self.match, "or it would run out")
            for slot, lease in view.leases.items() if urgently else ():
                wanted = not self.is_too_much(slot) and lease.due_us <= self.now_us and view.can_keep(slot, self.now_us)
                if wanted and view.has(slot):
                    return Choice(view, "confirm", slot, "half of its lease is over")
        return None

    def _release(self, ready: list[VendorView]) -> Choice | None:
        for view in ready:
            for slot in sorted(view.held):
                if self.is_too_much(slot):
                    why = f"{self.match} is better" if 0 < self.match < slot else "it is not matched"
                    return Choice(view, "release", slot, "all is given back" if self.configuration.release else why)
        return None

    def _release_what_cannot_match(self, ready: list[VendorView]) -> Choice | None:
        """After a crash, while some vendor does not say what it holds: what it was never asked to book is
        not matched, and is not kept for it for long."""
        silent = [view for view in self.views if view.read_us < 0]
        for view in ready:
            for slot, since_us in sorted(view.held.items()):
                matched = slot == self.secure or all(slot in other.asked_for for other in silent)
                if not matched and self.now_us - since_us >= self.configuration.half_us:
                    return Choice(view, "release", slot, "it cannot be matched")
        return None

    def _book(self) -> Choice | None:
        """The vendors one after the other, so that a slot that one refuses is not held at the next."""
        if self.target:
            for view in self.order:
                if self.target not in view.held:
                    if not view.ready(self.now_us) or view.must_ask:
                        return None
                    return Choice(view, "reserve", self.target, "the earliest that is free everywhere")
        return None

    def _confirm(self, ready: list[VendorView]) -> Choice | None:
        """Once when there is a match, and at the end."""
        for view in ready:
            if self.finishing and not view.confirmed() and not view.writes:
                return Choice(view, "ask", 0, "to be sure at the end")
            if self.match and view.read_us < 0:
                return Choice(view, "ask", 0, "to be sure of what is held")
        return None

    def _look(self, ready: list[VendorView]) -> Choice | None:
        """The vendors in turn; while one is down there is no use in looking at the others all the time."""
        if self.finishing or self.target:
            return None
        down = any(view.down for view in self.views)
        least_us = STALE_US if down else self.configuration.interval_us * len(self.views)
        for view in sorted(ready, key=lambda view: view.looked_us):
            oldest = all(view.looked_us <= other.looked_us for other in self.views)
            if oldest or view.looked_us < 0 or self.now_us - view.looked_us >= least_us:
                return Choice(view, "look", 0, "is there an earlier one?" if self.match else "what is free?")
        return None

    def moments(self) -> Iterator[int]:
        """Times at which something may change by itself; those that are past do not count."""
        yield self.next_us
        if self.configuration.deadline_us is not None and not self.finishing:
            yield self.configuration.deadline_us
        least_us = min(self.configuration.interval_us * len(self.views), STALE_US)
        if self.finishing:
            yield self.end_us
        for view in self.views:
            yield view.due_us if view.flight else view.not_before_us
            yield from (view.until_us(write) for write in view.writes.values())
            yield from (until_us for _, until_us in view.cool.values())
            for lease in view.leases.values():
                yield from (lease.due_us, lease.again_us, view.keep_not_before_us)
            for slot, since_us in view.held.items():
                if slot == self.target or self.recovering:
                    yield since_us + self.configuration.half_us
            if not self.finishing:
                yield view.looked_us + least_us
                yield view.looked_us + STALE_US
