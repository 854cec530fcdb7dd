"""By when a write is firm: what people are told, and what the primary keeps, under `all-heard`.

A write is due at the earlier of its stamp and the horizon, and what its app asks for (the rooms: so long
before the meeting, but those who are there are given the time to answer, so not before stamp +
patience). Promised is: if it has reached the primary, which runs and whose clock is right, it has its
place there at that time, and at the latest `patience` after it came, if it came late; and nothing
gets a place before, unless everybody has promised to write nothing earlier, and what they had written before has
come there. Who has promised keeps to it.

Deadlines are times of day. Patience is a time that passes, so no clock that is set shortens it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.kernel.replies import Outcome
from holdfast.replication.bayou.log import Entry, id_of
from holdfast.replication.bayou.messages import APP, Write
from holdfast.replication.bayou.words import Stability, Stable
from holdfast.sim.audit import Violation
from holdfast.sim.bayou.clocks import Clocks

if TYPE_CHECKING:
    from holdfast.sim.bayou.office import Office, OfficeAttempt

NEVER_MS = 1 << 62
ALARM_US = 1_000_000
STABLE_EVERY = 20
"""After so many steps with something tentative somebody asks for its deadline."""

Name = tuple[str, int]


class Deadlines:
    """One life of a process."""

    def __init__(self, office: Office, core: Any, clocks: Clocks) -> None:
        self.office = office
        self.core = core
        self.clocks = clocks
        self._heard: dict[str, list[tuple[int, int]]] = {}
        self.promises = office.ledger.promises
        self.patience_us: int = office.ground.patience_us
        self.tick_us: int = core.configuration.tick_us
        """So soon a new primary looks at what there is, at the latest."""
        self.is_on: bool = office.ground.policy == "all-heard"
        self._writes: dict[Name, Write] = {}
        self._firm_by_ms: dict[Name, int] = {}
        self._came_us: dict[Name, tuple[int, int]] = {}
        self._epoch: int | None = None
        self._epoch_since_us = 0
        self._leads: int | None = None
        self._leads_since_us = 0
        self._next_ms = 0
        self._alarm_us = 0
        self._steps = 0
        if self.is_on:
            self._follow(core.replica.log, core.epochs.proposals, core.primary)

    def _follow(self, log: Any, proposals: Any, primary: Any) -> None:
        insert, propose, note_promise = log.insert, proposals.propose, primary.note_promise

        def promised(name: str, ms: int, number: int) -> None:
            self.promises[name] = max((ms, number), self.promises.get(name, (0, 0)))
            self._check_number(name, ms, number)
            self._heard.setdefault(name, []).append((ms, number))
            note_promise(name, ms, number)

        def inserted(writes: Sequence[Write], place: int) -> None:
            for write in writes:
                name = (write.replica, write.number)
                if self._writes.get(name) != write:  # a crash may have taken away another one of its name
                    self._writes[name] = write
                    self._firm_by_ms.pop(name, None)
                    self._came_us.pop(name, None)
                self._check_promise(write)
                now_us = self.office.now_us()
                self._came_us[name] = (self._came_us.get(name, (now_us, 0))[0], now_us)
            self._next_ms = 0
            insert(writes, place)

        def proposed(entries: Sequence[Entry]) -> None:
            self._check_due(entries)
            propose(entries)

        setattr(log, "insert", inserted)  # noqa: B010 (methods of one instance)
        setattr(proposals, "propose", proposed)  # noqa: B010
        setattr(primary, "note_promise", promised)  # noqa: B010

    def _check_promise(self, write: Write) -> None:
        """Of a replica's own writes none is stamped where it has promised to write nothing any more."""
        ms, number = self.promises.get(write.replica, (0, 0))
        if write.replica == self.core.replica.replica and write.number > number and write.ms <= ms:
            raise Violation("promise", f"{id_of(write)} is stamped {write.ms}, and up to {ms} nothing was to come")

    def _check_number(self, name: str, ms: int, number: int) -> None:
        """A promise has arrived: what that replica had written up to `ms` by then is what it says."""
        for office in self.office.ledger.offices:
            if office.replica is None or office.replica.replica != name:
                continue
            for entry in office.replica.log.tail:
                if entry.write.replica == name and entry.write.number > number and entry.write.ms <= ms:
                    raise Violation("promise", f"{name} says {number} up to {ms}, and has {id_of(entry.write)} there")

    def _heard_ms(self, name: str) -> int:
        """Up to where all of this replica's writes are here: its stamps grow, and of its promises those count of which
        the last write has come, too."""
        replica = self.core.replica
        known = replica.log.vector.get(name, 0)
        aside = replica.held.get(name)
        stamped_ms: int = max(replica.log.last_ms.get(name, 0), aside[0].ms - 1 if aside else 0)
        return max(stamped_ms, *(ms for ms, number in self._heard.get(name, ()) if number <= known), 0)

    # ---- the rule ----

    def firm_by_ms(self, write: Write) -> int:
        """By when this write is firm at the latest, as people are told."""
        name = (write.replica, write.number)
        known = self._firm_by_ms.get(name)
        if known is None:
            ground = self.office.ground
            known = write.ms + ground.horizon_ms
            if write.kind == APP:
                wanted = ground.wanted_ms(self.core.replica.machine.decode_request(write.body).command)
                if wanted is not None:
                    known = min(known, max(wanted, write.ms + self.patience_us // 1000))
            self._firm_by_ms[name] = known
        return known

    # ---- the primary ----

    def _check_due(self, entries: Sequence[Entry]) -> None:
        """These get their places now: something at or behind them is due by the clocks that count and has been here
        for long enough, or everybody has promised to write nothing before them."""
        replica = self.core.replica
        now_ms = min(replica.deadline_ms, self.office.wall_ms + min(0, self.clocks.off_ms))
        long_ago_us = self.office.now_us() - self.patience_us
        due = [
            entry.stamp
            for entry in replica.log.tail
            if self.firm_by_ms(entry.write) <= now_ms and self._known_us(entry) <= long_ago_us
        ]
        upto = max(due, default=(0, "", ""))
        for entry in entries:
            if entry.stamp <= upto:
                continue
            for name in replica.log.live:
                if name != replica.replica and (heard_ms := self._heard_ms(name)) < entry.write.ms:
                    raise Violation(
                        "early",
                        f"{self.office.name} commits {id_of(entry.write)} stamped {entry.write.ms} at {now_ms}; it is "
                        f"firm by {self.firm_by_ms(entry.write)}; {name} may have written before, from {heard_ms} on",
                    )

    def _known_us(self, entry: Entry) -> int:
        """Since when this primary, as that of its epoch, and awake, knows of it."""
        return max(self._came(entry)[0], self._epoch_since_us, self.office.woke_us)

    def _came(self, entry: Entry) -> tuple[int, int]:
        """When it came into the log in this life, for the first time and the last; what a snapshot has was there."""
        return self._came_us.get(entry.name, (0, 0))

    def look(self) -> None:
        """The core has returned a step: a primary holds nothing that is overdue."""
        replica = self.core.replica
        if replica.log.tail:
            self._steps += 1
            if self._steps % STABLE_EVERY == 0:
                self._ask_stable(replica.log.tail[self._steps // STABLE_EVERY % len(replica.log.tail)])
        if not self.is_on:
            return
        if replica.epoch != self._epoch:
            self._epoch, self._epoch_since_us = replica.epoch, self.office.now_us()
        leads = replica.epoch if self.core.epochs.may_propose and replica.state == "active" else None
        if leads != self._leads:
            self._leads, self._leads_since_us, self._next_ms = leads, self.office.now_us(), 0
        self._check_all()
        self._set_alarm()

    def _set_alarm(self) -> None:
        """Somebody looks at the next deadline when it has come, whether or not the core has woken for it."""
        world = self.office.world
        in_ms = self._next_ms - self.office.wall_ms
        at_us = world.now_us + in_ms * 1000 + ALARM_US
        if self._leads is None or in_ms <= 0 or self._next_ms == NEVER_MS or world.now_us < self._alarm_us <= at_us:
            return
        self._alarm_us = at_us
        world.at(at_us, self._alarm, self.office.incarnation, self.office.clock_sets)

    def _alarm(self, life: int, clock_sets: int) -> None:
        office = self.office
        if (office.state, office.incarnation) == ("up", life):
            if office.clock_sets == clock_sets:  # else it may not have looked at its clock since
                self._check_all()
            self._set_alarm()

    def _check_all(self) -> None:
        replica = self.core.replica
        if self._leads is None or self.office.wall_ms < self._next_ms or self._waits_for_others(replica):
            return
        placed = {(write.replica, write.number) for _, write in replica.proposed}
        self._next_ms = NEVER_MS
        for entry in replica.log.tail:
            if entry.name not in placed:
                self._check_kept(entry)

    def _waits_for_others(self, replica: Any) -> bool:
        """Whether it takes its own clock for one that is ahead, and may."""
        return replica.skew_ms < 0 and not self.clocks.is_right

    def _check_kept(self, entry: Entry) -> None:
        came_us = max(self._came(entry)[1], self._leads_since_us + self.tick_us, self.office.resumed_us)
        patient_ms = self.office.wall_ms - min(0, self.office.now_us() - came_us - self.patience_us) // 1000
        due_ms = max(self.firm_by_ms(entry.write), patient_ms)
        if due_ms <= self.office.wall_ms:
            raise Violation(
                "deadline",
                f"it is {self.office.wall_ms} at {self.office.name}, {id_of(entry.write)}, stamped {entry.write.ms}, "
                f"has no place: it was firm by {self.firm_by_ms(entry.write)}, and is here for "
                f"{(self.office.now_us() - came_us) // 1000} ms",
            )
        self._next_ms = min(self._next_ms, due_ms)

    # ---- what people are told ----

    def told(self, attempt: OfficeAttempt, outcome: Outcome) -> None:
        """The reply to a write leaves: it says by when it is firm, or that this time is over."""
        replica, _, number = outcome.write.rpartition("-")
        write = self._writes.get((replica, int(number)))
        if not self.is_on or outcome.firm != "tentative" or write is None:
            if outcome.firm_by:
                raise Violation("firm by", f"{outcome.write}, {outcome.firm}, is told {outcome.firm_by!r}")
            return
        text, over_ms = self._text(write)
        first_ms, last_ms = attempt.wall_ms, self.office.wall_ms
        is_sure = attempt.clock_sets == self.office.clock_sets
        if outcome.firm_by not in (text, ""):
            raise Violation("firm by", f"{outcome.write} is told {outcome.firm_by!r}, by the rule it is {text!r}")
        if is_sure and outcome.firm_by and first_ms > over_ms:
            raise Violation("firm by", f"{outcome.write} is told {text!r} at {first_ms}, when that is over")
        if not outcome.firm_by and (text not in outcome.warning or (is_sure and last_ms <= over_ms)):
            raise Violation("firm by", f"{outcome.write} is not told {text!r} at {last_ms}, but {outcome.warning!r}")

    def _ask_stable(self, entry: Entry) -> None:
        if entry.name in self.core.replica.renamed:  # it came back: what it was made anew as is told of
            return
        told = self.core._tell(Stable(id_of(entry.write)))
        text, over_ms = self._text(entry.write)
        if told != Stability(told.id, True, 0, text, self.office.wall_ms > over_ms):
            raise Violation(
                "firm by", f"{told.id} is told {told.text()!r} at {self.office.wall_ms}, by the rule {text!r}"
            )

    def _text(self, write: Write) -> tuple[str, int]:
        """By when it is firm, as people read it, and from when on that is over; "" where nothing has a deadline."""
        if not self.is_on:
            return "", NEVER_MS
        ms = self.firm_by_ms(write)
        return self.office.ground.clock_text(ms), ms + self.patience_us // 1000
