"""What the planner knows of one vendor: what it holds there, what may still be on its way, how well it answers.

A write whose answer does not come may take effect until the vendor's longest delay has passed, so it
is kept, *in doubt*, until an answer comes after all, or a reading that it must show in has been made.
"""

from __future__ import annotations

from holdfast.planner.configuration import SECOND_US, Configuration, Vendor
from holdfast.planner.messages import Answered, Call, Unanswered, is_object, leases_of, moment_text, slot_of, slots_of

BACKOFF_US = tuple(seconds * SECOND_US for seconds in (0, 1, 2, 4, 8, 16, 30))
"""After so many failures in a row. The first retry only keeps the rate; even the last keeps trying."""
RETRY_AFTER_US_MAX = 120 * SECOND_US
"""No vendor can send the planner away for longer."""
COOL_US = 2 * SECOND_US
COOL_US_MAX = 60 * SECOND_US
DELAY_US_MAX = 3600 * SECOND_US
DOWN_FAILURES = 3
"""So many failures in a row, and nothing is begun that needs this vendor."""
DOUBTED_FAILURES = 5
"""So many failures before the first proper answer, and people are asked to look at the address."""
DENIALS_MAX = 3
"""So many 400 or 401 in a row, and asking again makes no sense."""
NOT_DONE = (400, 401, 403, 404, 409, 429, 451)
"""With these a vendor says that it did not do it. After any other status but 2xx nobody knows."""
NO_SUCH_CALL = (400, 404, 405, 501)
"""What a vendor may say to a confirmation that it does not know."""
LAPSES_MAX = 3
"""A lease that seemed over more often without being so is of a clock that is wrong."""
REFUSED_TO_KEEP_MAX = 12
"""So many of these in a row, and it takes no confirmations; 404, which mostly says try again, counts for a quarter."""
UNAVAILABLE = 503
"""Most likely not done: it is tried again without asking, and stays in doubt until its time is over."""


class Write:
    """A reservation or release that has left, at `sent_us` or before. `doubled`: the
    same was sent once more before it was settled, so that nobody can tell which of the two was done."""

    __slots__ = ("doubled", "id", "reserves", "sent_us", "slot")

    def __init__(self, id: int, reserves: bool, slot: int, sent_us: int) -> None:
        self.id = id
        self.reserves = reserves
        self.slot = slot
        self.sent_us = sent_us
        self.doubled = False


class Lease:
    """A hold that runs out unless it is confirmed. `expires`: as the vendor tells it, in Unix seconds; `until_us`:
    in the core's time, not later; `told_us`: when it was told of first. If it seems to be over and the slot is held
    all the same, as it may for a moment, or for longer where a clock is wrong, that is one of its `lapses`, and the
    vendor is asked again at `again_us`."""

    __slots__ = ("again_us", "expires", "lapses", "told_us", "until_us")

    def __init__(self, expires: float, until_us: int, told_us: int) -> None:
        self.expires = expires
        self.until_us = until_us
        self.told_us = told_us
        self.again_us = until_us
        self.lapses = 0

    @property
    def due_us(self) -> int:
        """When it has to be confirmed at the latest: half of it is over."""
        return (self.told_us + self.until_us) // 2


class VendorView:
    """One vendor, as the planner sees it. Times are the core's; a reading's time is when it was sent."""

    def __init__(self, number: int, vendor: Vendor, configuration: Configuration) -> None:
        self.number = number
        self.name = vendor.name
        self.id = vendor.id or vendor.name
        self.interval_us = vendor.interval_us
        self.longest_delay_us = vendor.longest_delay_us
        self.held: dict[int, int] = {}
        """The slots held, and since when."""
        self.asked_for: set[int] = set()
        """The slots that it was asked to book, as far as the journal goes."""
        self.leases: dict[int, Lease] = {}
        """Of slots that are held, if they are not held for good."""
        self.kept_us: dict[int, int] = {}
        """When a slot that is held was confirmed last."""
        self.confirms = True
        """Whether it takes confirmations, as far as it is known."""
        self.keep_not_before_us = 0
        self.writes: dict[int, Write] = {}
        self.calls: dict[int, tuple[Call, int]] = {}
        self.flight = 0
        """The call that is waited for, 0 for none."""
        self.due_us = 0
        self.free: tuple[int, ...] = ()
        self.free_set: frozenset[int] = frozenset()
        self.looked_us = self.read_us = self.wrote_us = self.changed_us = -1
        self.must_ask = self.answered = False
        self.failures = 0
        self.denials = 0
        self.not_before_us = 0
        self.missing: set[int] = set()
        self.cool: dict[int, tuple[int, int]] = {}
        """Slots that were refused although they were free: how often, and until when they are let be."""
        self.settled: list[int] = []
        self._refused_to_keep = 0
        self._timeout_us = configuration.timeout_us
        self._assumed_us = configuration.assumed_delay_us

    # ---- what follows from it ----

    @property
    def settle_us(self) -> int:
        """How long after it was sent a write may take effect: on its way, then the vendor's longest delay."""
        delay_us = self._assumed_us if self.longest_delay_us is None else self.longest_delay_us
        return self._timeout_us + delay_us

    def until_us(self, write: Write) -> int:
        """It takes effect by then or never."""
        return write.sent_us + self.settle_us

    @property
    def denied(self) -> bool:
        """It takes neither key nor request; asking again makes no sense."""
        return self.denials >= DENIALS_MAX

    @property
    def down(self) -> bool:
        """It has not answered properly for a while."""
        return self.failures >= DOWN_FAILURES

    def ready(self, now_us: int) -> bool:
        """Whether it may be sent something now."""
        return not self.flight and now_us >= self.not_before_us and not self.denied

    def possible(self) -> int:
        """How many slots it may think that we hold."""
        ours = [write.slot for write in self.writes.values() if write.reserves and write.slot not in self.held]
        return len(self.held) + len(set(ours))

    def is_underway(self, slot: int, reserves: bool) -> bool:
        """Whether such a write may still take effect."""
        return any(write.slot == slot and write.reserves == reserves for write in self.writes.values())

    def has(self, slot: int) -> bool:
        """Held, and no release of it is on its way."""
        return slot in self.held and not self.is_underway(slot, reserves=False)

    def may_get(self, slot: int, now_us: int) -> bool:
        """Whether it makes sense to try and reserve it."""
        return (
            (slot in self.free_set or self.is_underway(slot, reserves=True))
            and slot not in self.missing
            and not self.is_cool(slot, now_us)
            and not self.is_underway(slot, reserves=False)
        )

    def is_cool(self, slot: int, now_us: int) -> bool:
        """It was refused lately."""
        return slot in self.cool and now_us < self.cool[slot][1]

    def needs_asking(self, now_us: int) -> bool:
        """Whether only its own list of what we hold can help."""
        over = any(lease.again_us <= now_us for lease in self.leases.values())
        return self.must_ask or over or any(self.until_us(write) <= now_us for write in self.writes.values())

    def can_keep(self, slot: int, now_us: int) -> bool:
        """Whether this slot has a lease that could be confirmed now."""
        return slot in self.leases and self.confirms and now_us >= self.keep_not_before_us

    def confirmed(self) -> bool:
        """Its last list of what we hold is later than everything that could have changed it."""
        return not self.writes and not self.must_ask and self.read_us > self.wrote_us

    def untouched(self) -> bool:
        """It does not answer, and nothing that could change what we hold was ever sent to it."""
        return self.down and self.wrote_us < 0 and self.read_us < 0 and not self.writes

    # ---- what happens ----

    def sent(self, call: Call, now_us: int) -> None:
        """This request leaves now."""
        self.calls[call.id] = (call, now_us)
        self.flight, self.due_us = call.id, now_us + self._timeout_us
        self.not_before_us = max(self.not_before_us, now_us + self.interval_us)
        if call.writes:
            self.wrote_us = now_us
            self.write(Write(call.id, call.verb == "reserve", call.slot, now_us))

    def write(self, new: Write) -> None:
        """This write is under way."""
        if new.reserves:
            self.asked_for.add(new.slot)
        for write in self.writes.values():
            if (write.slot, write.reserves) == (new.slot, new.reserves):
                write.doubled = new.doubled = True
        self.writes[new.id] = new

    def time_out(self, now_us: int) -> str:
        """Nothing has come in time for the call that was waited for; it may come later."""
        call, _ = self.calls[self.flight]
        self.flight = 0
        self.must_ask = self.must_ask or call.writes
        self.fail(now_us)
        return f"no answer in time to: {call.text}"

    def fail(self, now_us: int, retry_after_us: int = 0) -> None:
        """Wait before the next request, the longer the more often."""
        self.failures += 1
        wait_us = BACKOFF_US[min(self.failures, len(BACKOFF_US)) - 1]
        wait_us = max(wait_us, min(retry_after_us, RETRY_AFTER_US_MAX))
        self.not_before_us = max(self.not_before_us, now_us + wait_us)

    def chill(self, slot: int, now_us: int, least_us: int = COOL_US) -> None:
        """Let this slot be for a while, the longer the more often."""
        count = self.cool.get(slot, (0, 0))[0] + 1
        self.cool[slot] = (count, now_us + min(least_us << min(count - 1, 6), max(COOL_US_MAX, least_us)))

    def hear(self, message: Answered | Unanswered, now_us: int) -> str:
        """An answer, or the news that none will come; what it means, in words. "" if nobody waits for it."""
        if message.id not in self.calls:
            return ""
        call, sent_us = self.calls.pop(message.id)
        late = message.id != self.flight
        if not late:
            self.flight = 0
        if isinstance(message, Unanswered):
            return self._unanswered(call, message, late, now_us)
        self.answered = True
        if message.longest_delay_us is not None:
            self.longest_delay_us = min(max(message.longest_delay_us, 0), DELAY_US_MAX)
        if call.verb == "look":
            text = self._hear_look(message, sent_us, now_us)
        elif call.verb == "ask":
            text = self._hear_ask(message, sent_us, now_us)
        elif call.verb == "confirm":
            text = self._hear_confirm(call, message, sent_us, now_us)
        else:
            text = self._hear_write(call, message, sent_us, late, now_us)
        return f"late, {text}" if late else text

    def _unanswered(self, call: Call, message: Unanswered, late: bool, now_us: int) -> str:
        if call.id in self.writes:
            if message.sent:
                self.must_ask = self.must_ask or not late
            else:
                self._settle(call.id)
        if not late:
            self.fail(now_us)
        done = "may be done" if message.sent and call.writes else "not done"
        return f"no answer, {done}: {message.why}"

    def _well(self) -> None:
        self.failures = self.denials = 0

    def _trouble(self, message: Answered, now_us: int) -> str:
        """Count a failure; what it was."""
        self.denials = self.denials + 1 if message.status in (400, 401) else 0
        least_us = 2 * SECOND_US if message.status == 429 else 0
        self.fail(now_us, max(message.retry_after_us, least_us))
        garbled = ", and what it says makes no sense" if 200 <= message.status < 300 else ""
        never = self.failures == DOUBTED_FAILURES and self.looked_us < 0 and self.read_us < 0
        return f"{message.status}{garbled}{'; is its address right?' if never else ''}"

    def _hear_look(self, message: Answered, sent_us: int, now_us: int) -> str:
        slots = slots_of(message.body) if message.status == 200 else None
        if slots is None:
            return self._trouble(message, now_us)
        self._well()
        if sent_us > self.looked_us:
            self.looked_us, self.free, self.free_set = sent_us, slots, frozenset(slots)
            # Whoever took it had it for a while, so that it may be had now. What is refused while it is
            # called free all the time is let be the longer.
            self.cool = {slot: cool for slot, cool in self.cool.items() if slot in self.free_set}
        return f"{len(slots)} free, from {slots[0]} on" if slots else "none is free"

    def _hear_ask(self, message: Answered, sent_us: int, now_us: int) -> str:
        slots = slots_of(message.body) if message.status == 200 else None
        if slots is None:
            return self._trouble(message, now_us)
        self._well()
        if sent_us < max(self.read_us, self.wrote_us, self.changed_us):
            return "older than what is known"
        self.read_us, self.must_ask = sent_us, False
        told = frozenset(slots)
        for reserves in (True, False):
            for slot in sorted({write.slot for write in self.writes.values() if write.reserves == reserves}):
                self._settle_by(slot, reserves, done=(slot in told) == reserves, sent_us=sent_us)
        self.held = {slot: self.held.get(slot, now_us) for slot in slots}
        self.kept_us = {slot: kept_us for slot, kept_us in self.kept_us.items() if slot in told}
        self._hear_leases(message, sent_us, now_us)
        return f"we hold {' and '.join(map(str, slots))}" if slots else "we hold nothing"

    def _hear_leases(self, message: Answered, sent_us: int, now_us: int) -> None:
        """A new list of what we hold tells when each lease ends, or that there is none."""
        told = leases_of(message.body)
        self.leases = {slot: lease for slot, lease in self.leases.items() if slot in told and slot in self.held}
        for slot, expires in told.items():
            if slot in self.held:
                self._lease(slot, expires, message, sent_us, now_us)

    def _lease(self, slot: int, expires: float, message: Answered, sent_us: int, now_us: int) -> None:
        """This lease, counted from when it was asked for, so that it does not seem longer than it is."""
        before = self.leases.get(slot)
        left_us = int(expires * 1e6) - message.unix_us if message.unix_us else 0
        lease = self.leases[slot] = Lease(expires, sent_us + left_us, now_us)
        if before is not None and before.expires >= expires:
            lease.told_us = before.told_us
        if lease.until_us <= now_us:
            lease.lapses = 1 if before is None else before.lapses + 1
            lease.again_us = now_us + min(SECOND_US << min(lease.lapses, 6), COOL_US_MAX)
            if lease.lapses > LAPSES_MAX:
                self.keep_not_before_us = lease.again_us

    def _settle_by(self, slot: int, reserves: bool, *, done: bool, sent_us: int) -> None:
        """A list of what we hold, sent at `sent_us`, shows that such a write was done, or that none was yet."""
        doubtful = [write for write in self.writes.values() if write.slot == slot and write.reserves == reserves]
        for write in doubtful:
            if self.until_us(write) <= sent_us or (done and not write.doubled):
                self._settle(write.id)

    def _settle(self, id: int) -> None:
        """It is known what became of this write."""
        del self.writes[id]
        self.settled.append(id)

    def _hear_confirm(self, call: Call, message: Answered, sent_us: int, now_us: int) -> str:
        """A slot's lease is lifted, or longer; or the vendor cannot do that."""
        slot, status = call.slot, message.status
        if not self.has(slot) or self.held[slot] > sent_us:
            return "about what is not held any more"
        if 200 <= status < 300 and is_object(message.body):
            self._well()
            self._refused_to_keep = 0
            self.changed_us = self.kept_us[slot] = now_us
            expires = leases_of(message.body).get(slot)
            if slot_of(message.body) != slot:
                self.must_ask = True
                return f"{slot} is confirmed"
            if expires is None:
                self.leases.pop(slot, None)
                return f"{slot} is ours for good"
            self._lease(slot, expires, message, sent_us, now_us)
            return f"{slot} is ours until {moment_text(expires)}"
        if status == 409:
            self._well()
            self.must_ask = True
            return f"409, {slot} is not ours"
        if status in NO_SUCH_CALL:
            self._refused_to_keep += 1 if status == 404 else 4
            wait_us = BACKOFF_US[min(self._refused_to_keep, 2)]
            self.keep_not_before_us = now_us + max(wait_us, message.retry_after_us)
            self.confirms = self._refused_to_keep < REFUSED_TO_KEEP_MAX
            return f"{status}, not confirmed" + ("" if self.confirms else "; it takes no confirmations")
        return f"{self._trouble(message, now_us)}, perhaps not confirmed: {slot}"

    def _hear_write(self, call: Call, message: Answered, sent_us: int, late: bool, now_us: int) -> str:
        if call.id not in self.writes:
            return "known already"
        status, slot = message.status, call.slot
        fits = slot_of(message.body) == slot if call.verb == "reserve" else is_object(message.body)
        if 200 <= status < 300 and fits:
            self._well()
            self._settle(call.id)
            self.changed_us = now_us
            if call.verb == "reserve":
                self.held.setdefault(slot, now_us)
                if expires := leases_of(message.body).get(slot):
                    self._lease(slot, expires, message, sent_us, now_us)
            else:
                self._drop(slot)
            self.must_ask = self.must_ask or late or any(write.slot == slot for write in self.writes.values())
            return f"{slot} is ours" if call.verb == "reserve" else f"{slot} is given back"
        if status not in NOT_DONE:
            self.must_ask = self.must_ask or status != UNAVAILABLE
            return f"{self._trouble(message, now_us)}, may be done: {call.text}"
        self._settle(call.id)
        if status in (403, 409):
            return self._hear_refusal(call, status, now_us)
        self.must_ask = self.must_ask or status == 451
        return f"{self._trouble(message, now_us)}, not done: {call.text}"

    def _drop(self, slot: int) -> None:
        """It is not held any more."""
        self.held.pop(slot, None)
        self.leases.pop(slot, None)
        self.kept_us.pop(slot, None)

    def _hear_refusal(self, call: Call, status: int, now_us: int) -> str:
        """The slot does not exist (403), or is not available or not ours (409)."""
        self._well()
        slot = call.slot
        if call.verb == "release":
            self._drop(slot)
            self.must_ask = True
            return f"{status}, {slot} is not ours"
        self.must_ask = self.must_ask or self.is_underway(slot, reserves=True)
        self.free_set -= {slot}
        self.free = tuple(free for free in self.free if free != slot)
        if status == 403:
            self.missing.add(slot)
            return f"403, there is no {slot}"
        self.chill(slot, now_us)
        return f"409, {slot} is taken"
