"""A vendor in virtual time: the rules of its slots, and everything that can go wrong on the way to them.

Written from the description of the exercise, apart from the vendors that Holdfast itself serves.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec

from holdfast.planner.messages import Answered, Call, Unanswered
from holdfast.sim.world import World

SECOND_US = 1_000_000
GIVEN_UP_US = 60 * SECOND_US
"""So long after a request the planner's shell closes the connection."""
GARBAGE = (
    b"",
    b"<html>busy</html>",
    b"{}",
    b"[]]",
    b'[{"id": "x"}]',
    b'{"id": "-7"}',
    b'[{"ID": "1"}]',
    b"\xff\xfe",
    b"null",
)
BLOCKED = ""

Reply = Callable[[Answered | Unanswered], None]


class Troubles(msgspec.Struct, frozen=True, kw_only=True):
    """The probabilities of what can become of one request, and the vendor's longest delay."""

    unavailable: float = 0.0
    unprocessed: float = 0.0
    limited: float = 0.0
    odd: float = 0.0
    garbage: float = 0.0
    lost: float = 0.0
    delayed: float = 0.0
    late: float = 0.0
    reset: float = 0.0
    longest_us: int = 2 * SECOND_US
    way_us_max: int = 50_000


class Watch:
    """Hears of everything that is done at a vendor. The laws are checked by who overrides it."""

    def executed(self, vendor: SimVendor, who: str, call: Call, status: int) -> None:
        """`call` of `who` has just been executed."""

    def runs_out(self, vendor: SimVendor, who: str, slot: int) -> None:
        """The lease of a slot that `who` still holds is over."""


class SimVendor:
    """`names_delay`: whether its answers tell its longest delay. `lax`: it does not enforce its limit of holds."""

    def __init__(self, world: World, number: int, slots: int, watch: Watch) -> None:
        self.world = world
        self.number = number
        self.name = ("hotel", "band", "hall", "cook", "florist", "photographer")[number]
        self.slots = slots
        self.watch = watch
        self.troubles = Troubles()
        self.names_delay = True
        self.lax = False
        self.lease_us = 0
        """A slot that is not confirmed so long after it was booked is free again; 0: every slot is held for good."""
        self.confirming = "for good"
        """What a confirmation does: it keeps the slot "for good", or for one more "lease"; "never": there is none."""
        self.clock_us = 0
        """How far its clock is ahead of the world's."""
        self.leases: dict[int, int] = {}
        """When the lease of a slot ends, in the world's time."""
        self.outage = ""
        self.gone = False
        """The outage lasts until every plan has ended."""
        self.holders: dict[int, str] = {}
        """Who holds each slot that is not free; the vendor's own block is `BLOCKED`."""
        self.free_since = dict.fromkeys(range(1, slots + 1), 0)
        """Since when each free slot has been free."""
        self.looks: dict[str, list[tuple[int, int]]] = {}
        """By client: (when the list was made, when the answer arrived), of each look that was answered well."""

    # ---- the rules ----

    def held_by(self, who: str) -> list[int]:
        """The slots of one client, ascending."""
        return sorted(slot for slot, holder in self.holders.items() if holder == who)

    def free(self) -> list[int]:
        """The free slots, ascending."""
        return list(self.free_since) if not self.holders else sorted(self.free_since)

    def take(self, slot: int, who: str) -> None:
        """It is no longer free."""
        self.holders[slot] = who
        del self.free_since[slot]

    def give(self, slot: int) -> None:
        """It is free again."""
        del self.holders[slot]
        self.leases.pop(slot, None)
        self.free_since[slot] = self.world.now_us

    def _lease(self, slot: int) -> None:
        """From now on the slot is held for one lease more."""
        if self.lease_us:
            until_us = self.leases[slot] = self.world.now_us + self.lease_us
            self.world.at(until_us, self._runs_out, slot, until_us)

    def _runs_out(self, slot: int, until_us: int) -> None:
        if self.leases.get(slot) == until_us:
            who = self.holders[slot]
            if self.world.tracing:
                self.world.note(f"{self.name}: the lease of {slot} of {who} has run out")
            self.watch.runs_out(self, who, slot)
            self.give(slot)

    def execute(self, who: str, call: Call) -> tuple[int, bytes]:
        """What the vendor does when nothing goes wrong."""
        status, body = self._execute(who, call)
        if self.world.tracing:
            self.world.note(f"{self.name} does {call.text} for {who}: {status}")
        self.watch.executed(self, who, call, status)
        return status, body

    def _execute(self, who: str, call: Call) -> tuple[int, bytes]:
        slot = call.slot
        if call.verb == "look":
            return 200, _list(self.free())
        if call.verb == "ask":
            return 200, json.dumps([self._held(slot) for slot in self.held_by(who)]).encode()
        if not 1 <= slot <= self.slots:
            return _error(403, "slot does not exist")
        if call.verb == "confirm":
            return self._confirm(who, slot)
        if call.verb == "release":
            if self.holders.get(slot) != who:
                return _error(409, "not your slot")
            self.give(slot)
            return 200, b'{"message": "Reservation released"}'
        if slot in self.holders:
            return _error(409, "slot is not available")
        if not self.lax and len(self.held_by(who)) >= 2:
            return _error(451, "the most reservations are held")
        self.take(slot, who)
        self._lease(slot)
        return 200, json.dumps(self._held(slot)).encode()

    def _confirm(self, who: str, slot: int) -> tuple[int, bytes]:
        if self.confirming == "never":
            return _error(400, "there is no such call")
        if self.holders.get(slot) != who:
            return _error(409, "not your slot")
        if self.confirming == "for good":
            self.leases.pop(slot, None)
        else:
            self._lease(slot)
        return 200, json.dumps(self._held(slot)).encode()

    def _held(self, slot: int) -> dict[str, object]:
        """A slot as the vendor tells it."""
        until_us = self.leases.get(slot)
        return {"id": str(slot)} | ({} if until_us is None else {"expires": (until_us + self.clock_us) / 1e6})

    # ---- the way there and back ----

    def request(self, who: str, call: Call, reply: Reply) -> None:
        """Send it; `reply` is called with what becomes of it, at once or much later."""
        self.world.after(self._way_us(), self._arrive, who, call, reply)

    def _way_us(self) -> int:
        return self.world.between(1_000, self.troubles.way_us_max)

    def _arrive(self, who: str, call: Call, reply: Reply) -> None:
        world, troubles = self.world, self.troubles
        if self.outage == "refuses":
            reply(Unanswered(call.id, sent=False, why="connection refused"))
        elif self.outage == "silent":
            world.after(GIVEN_UP_US, reply, Unanswered(call.id, sent=True, why="nothing came"))
        elif self.outage or world.chance(troubles.unavailable):
            if world.chance(0.2):  # whoever says so may stand before a service that has done it
                self.execute(who, call)
            self._answer(reply, call, *_error(503, "unavailable"), retry_us=world.between(0, 2) * SECOND_US)
        elif world.chance(troubles.unprocessed):
            self._answer(reply, call, *_error(404, "not processed"))
        elif world.chance(troubles.limited):
            self._answer(reply, call, *_error(429, "too many requests"), retry_us=SECOND_US)
        elif world.chance(troubles.odd):
            done = world.chance(0.5)
            if done:
                self.execute(who, call)
            self._answer(reply, call, world.random.choice((500, 502, 504, 302)), b"oops")
        else:
            delay_us = world.between(0, troubles.longest_us) if world.chance(troubles.delayed) else 0
            world.after(delay_us, self._carry_out, who, call, reply)

    def _carry_out(self, who: str, call: Call, reply: Reply) -> None:
        world, troubles = self.world, self.troubles
        status, body = self.execute(who, call)
        made_us = world.now_us
        if world.chance(troubles.lost):
            world.after(GIVEN_UP_US, reply, Unanswered(call.id, sent=True, why="nothing came"))
        elif world.chance(troubles.reset):
            world.after(self._way_us(), reply, Unanswered(call.id, sent=True, why="connection reset"))
        elif world.chance(troubles.garbage):
            self._answer(reply, call, 200, world.random.choice(GARBAGE))
        else:
            late_us = world.between(0, 20 * SECOND_US) if world.chance(troubles.late) else 0
            if call.verb == "look":
                looks = self.looks.setdefault(who, [])
                world.after(late_us, lambda: looks.append((made_us, world.now_us)))
            self._answer(reply, call, status, body, late_us)

    def _answer(self, reply: Reply, call: Call, status: int, body: bytes, late_us: int = 0, retry_us: int = 0) -> None:
        named_us = self.troubles.longest_us if self.names_delay else None
        shown_us = (self.world.now_us + self.clock_us) // SECOND_US * SECOND_US  # as the header Date has it
        answer = Answered(call.id, status, body, retry_us, named_us, shown_us + SECOND_US)
        self.world.after(late_us + self._way_us(), reply, answer)


def _list(slots: list[int]) -> bytes:
    return json.dumps([{"id": str(slot)} for slot in slots]).encode()


def _error(code: int, message: str) -> tuple[int, bytes]:
    return code, json.dumps({"code": code, "message": message}).encode()
