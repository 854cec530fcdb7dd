"""The one who breaks things in the offices, within what Bayou tolerates.

Crashes, silence, wrong clocks and lost disks strike anybody, but for one limit: the disks that
alone hold what is confirmed (the voters', and the primary's where there is one voter) are never
lost, except in the class of runs where an operator accepts that loss.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.sim.bayou.gambles import Gambles
from holdfast.sim.bayou.ground import DAY_US, FAULTS, HOUR_US, MINUTE_MS, MINUTE_US, STROKE_US, Ground
from holdfast.sim.bayou.ledger import Ledger
from holdfast.sim.bayou.office import Office
from holdfast.sim.bayou.operators import Operators
from holdfast.sim.disk import Disk
from holdfast.sim.network import Network
from holdfast.sim.world import World

JUMP_DAYS_MAX = 2
OFTEN = ("crash", "moment", "split", "offline", "file", "hand-over", "take-over")
"""Drawn twice as often."""


class Weather:
    """Strikes again and again until `stop`. `kinds`: what this run uses; `punctual`: it strikes right after the
    secretaries act."""

    def __init__(
        self,
        world: World,
        network: Network,
        offices: list[Office],
        operators: Operators,
        ledger: Ledger,
        ground: Ground,
        faults: tuple[str, ...],
        gap_us_max: int,
        punctual: bool,
    ) -> None:
        self.world = world
        self.network = network
        self.offices = offices
        self.operators = operators
        self.ledger = ledger
        self.ground = ground
        self.gap_us_max = gap_us_max
        self.punctual = punctual
        self.count = 0
        self.stopped = False
        self.disks = len(offices)
        self.loss_due = ground.may_lose
        self.struck: dict[str, int] = {}
        self.gambles = Gambles(world, network, operators, ground, self._struck, self._cut_off)
        kinds = [kind for kind in FAULTS if not faults or kind in faults]
        self.kinds = [kind for kind in kinds if world.chance(0.4)] or kinds
        self._acts: dict[str, Callable[[Office], str]] = {
            kind: getattr(self, "_" + kind.replace("-", "_")) for kind in self.kinds
        }
        for office in offices:
            office.may_die = lambda _host: not self.stopped

    def begin(self, until_us: int) -> None:
        """The founders start; the others come at some time before `until_us`, at the calm at the latest."""
        for office in self.offices:
            if office.exists:
                self.world.after(self.world.between(0, 5 * MINUTE_US), self._start, office)
            elif self.world.chance(0.8):
                self.world.after(self.world.between(MINUTE_US, until_us), self._set_up, office)
        self.world.after(self.world.between(0, self.gap_us_max), self._strike)
        if self.loss_due:
            self.world.after(self.world.between(until_us // 4, until_us * 3 // 4), self._lose_primary)
            self.gambles.begin(until_us)

    def stop(self) -> None:
        """No more faults. What is broken stays so until `heal`."""
        self.stopped = self.gambles.stopped = True
        for office in self.offices:
            office.mortality = None

    def heal(self) -> None:
        """Everything works again: the network, the processes, the disks, the clocks."""
        self.stop()
        self.network.heal()
        for office in self.offices:
            office.resume()
            office.disk_stalled_until_us = 0
            office.set_wall(0)
            if office.exists:
                self._start(office)

    def _strike(self) -> None:
        if self.stopped:
            return
        kinds = self.kinds + [kind for kind in OFTEN if kind in self.kinds]
        kind = self.world.random.choice(kinds)
        text = self._acts[kind](self.world.random.choice(self.offices))
        if text:
            self.count += 1
            self.struck[kind] = self.struck.get(kind, 0) + 1
            if self.world.tracing:
                self.world.note(f"   ! {text}")
        if self.world.chance(0.4):  # misfortunes seldom come alone
            self.world.after(self.world.between(1_000, self.world.random.choice((20_000, 2_000_000))), self._strike)
            return
        moment_us = self.world.now_us + self.world.between(MINUTE_US // 60, self.gap_us_max)
        if self.punctual:
            within_us = self.world.random.choice((5_000, 1_000_000, MINUTE_US))
            moment_us += STROKE_US - moment_us % STROKE_US + self.world.between(0, within_us)
        self.world.at(moment_us, self._strike)

    def _struck(self, text: str) -> None:
        self.count += 1
        if self.world.tracing:
            self.world.note(f"   ! {text}")

    def _some_time(self) -> int:
        """Seconds, minutes or hours."""
        return self.world.between(1_000, self.world.random.choice((MINUTE_US, HOUR_US, 12 * HOUR_US, DAY_US)))

    # ---- processes ----

    def _start(self, office: Office) -> None:
        if not office.alive and office.state != "halted":
            office.start()
        elif office.mortality is not None:
            office.mortality = None

    def _start_later(self, office: Office) -> None:
        self.world.after(self._some_time(), self._start, office)

    def _set_up(self, office: Office) -> None:
        """A node that was not there before starts on an empty disk."""
        if not office.exists:
            office.exists = True
            office.start()

    def _crash(self, office: Office, silent: bool = False) -> str:
        if not office.alive:
            return ""
        office.crash(silent)
        self._start_later(office)
        return f"crash {office.name}"

    def _power(self, office: Office) -> str:
        return self._crash(office, silent=True)

    def _moment(self, office: Office) -> str:
        """The process dies at some act soon."""
        if not office.alive or office.mortality is not None:
            return ""
        office.mortality = self.world.between(1, 60)
        self._start_later(office)
        return f"moment {office.name}"

    def _pause(self, office: Office) -> str:
        """A laptop sleeps."""
        if office.state != "up":
            return ""
        pause_us = self._some_time()
        office.pause()
        self.world.after(pause_us, office.resume)
        return f"pause {office.name} for {pause_us} us"

    def _slow_disk(self, office: Office) -> str:
        office.disk_stalled_until_us = self.world.now_us + self.world.between(1_000, 2 * MINUTE_US)
        return f"slow disk {office.name}"

    # ---- clocks ----

    def _skew(self, office: Office) -> str:
        """A clock is somewhat wrong, within what the others believe."""
        bound_ms = self.ground.forward_bound_ms
        office.set_wall(self.world.between(-10 * MINUTE_MS, bound_ms * 9 // 10))
        return f"clock of {office.name} off by {office.wall_offset_ms} ms"

    def _jump(self, office: Office) -> str:
        """A clock is wrong by hours or days, for a while."""
        day_ms = DAY_US // 1000
        office.set_wall(self.world.between(-JUMP_DAYS_MAX * day_ms, JUMP_DAYS_MAX * day_ms))
        self.world.after(self._some_time(), self._set_right, office)
        return f"clock of {office.name} jumps by {office.wall_offset_ms // 60_000} min"

    def _set_right(self, office: Office) -> None:
        office.set_wall(0)

    def _battery(self, office: Office) -> str:
        """A laptop's battery runs empty, now or at some act soon: it starts again far from any network, with a
        clock that has stood still."""
        if not office.alive or office.mortality is not None:
            return ""
        office.mortality = self.world.between(1, 40)
        self.world.after(self.world.between(1_000, 2_000_000), self._far_away, office)
        return f"battery of {office.name}"

    def _far_away(self, office: Office) -> None:
        if office.alive:
            office.crash(silent=True)
        away_us = self.world.between(HOUR_US, 12 * HOUR_US)
        office.set_wall(-2 * away_us // 1000)
        self._cut(self._all_of(office), away_us)
        self.world.after(self.world.between(1_000, MINUTE_US), self._start, office)
        self.world.after(away_us, self._set_right, office)

    # ---- links ----

    def _other(self, office: Office) -> Office:
        return self.world.random.choice([other for other in self.offices if other is not office])

    def _break(self, office: Office) -> str:
        other = self._other(office)
        self.network.break_pair(office.number, other.number)
        return f"break {office.name} {other.name}"

    def _slow(self, office: Office) -> str:
        """What it sends, to one or to all, takes long."""
        others = [self._other(office)] if self.world.chance(0.5) else [one for one in self.offices if one is not office]
        until_us = self.world.now_us + self._some_time()
        for other in others:
            self.network.links[office.number, other.number].slow_until_us = until_us
        return f"slow {office.name} to {' '.join(other.name for other in others)}"

    def _split(self, _office: Office) -> str:
        """Two sides that do not hear each other."""
        side = [office for office in self.offices if self.world.chance(0.5)]
        rest = [office for office in self.offices if office not in side]
        if not side or not rest:
            return ""
        self._cut([(one.number, other.number) for one in side for other in rest], self._some_time())
        return f"split {''.join(office.name for office in side)} | {''.join(office.name for office in rest)}"

    def _offline(self, office: Office) -> str:
        """A laptop leaves the network for hours, or a day."""
        self._cut(self._all_of(office), self._some_time())
        return f"offline {office.name}"

    def _cut_off(self, office: Office, for_us: int) -> None:
        self._cut(self._all_of(office), for_us)

    def _all_of(self, office: Office) -> list[tuple[int, int]]:
        return [(office.number, other.number) for other in self.offices if other is not office]

    def _cut(self, pairs: list[tuple[int, int]], duration_us: int) -> None:
        for one, other in pairs:
            if self.world.chance(0.8):
                self.network.sever(one, other)
            else:
                self.network.block(one, other)
                self.network.block(other, one)
        self.world.after(duration_us, self._mend, pairs)

    def _one_way(self, office: Office) -> str:
        """What this office sends to another does not arrive; what it hears does."""
        other = self._other(office)
        self.network.block(office.number, other.number)
        self.world.after(self._some_time(), self._mend, [(office.number, other.number)])
        return f"one way {office.name} to {other.name} blocked"

    def _mend(self, pairs: list[tuple[int, int]]) -> None:
        for one, other in pairs:
            if not self.stopped and self.world.chance(0.3):
                self.network.break_pair(one, other)
            self.network.mend(one, other)

    # ---- disks ----

    def _may_lose(self, office: Office) -> bool:
        if not office.exists or (office.keeper and not self._minority(office)):
            return False
        replica = office.replica
        return self.operators.others_stay(office) and (replica is None or not replica.is_primary)

    def _minority(self, office: Office) -> bool:
        """Of several voters one may lose its disk, until it votes again."""
        others = [other for other in self.offices if other is not office and self.ground.is_voter(other.number)]
        return self.ground.voters > 1 and self.ground.is_voter(office.number) and all(other.votes for other in others)

    def _new_disk(self) -> Disk:
        self.disks += 1
        return Disk(self.disks)

    def _take_down(self, office: Office) -> None:
        if office.alive:
            office.crash(silent=self.world.chance(0.3))
        elif office.state == "halted":
            office.state = "down"

    def _empty_disk(self, office: Office) -> str:
        """A disk is destroyed and an empty one put in; sometimes somebody retires the lost replica."""
        if not self._may_lose(office):
            return ""
        lost = office.replica.replica if office.replica is not None else ""
        self._take_down(office)
        office.put_disk(self._new_disk(), is_copy=False)
        self._start_later(office)
        if lost and self.world.chance(0.5):
            self.world.after(self._some_time(), self._retire_lost, lost)
        return f"empty disk {office.name}"

    def _restored_disk(self, office: Office) -> str:
        """An old copy of the disk is put in its place, and its operator says so. The first strike makes the copy."""
        if not office.exists:
            return ""
        if office.copied is None:
            if office.disk.fresh:
                return ""
            office.copy_disk()
            return f"the disk of {office.name} is copied"
        if not self._may_lose(office):
            return ""
        self._take_down(office)
        copied = office.copied
        self.disks += 1
        copied.id = self.disks
        office.put_disk(copied, is_copy=True)
        self._start_later(office)
        return f"the disk of {office.name} is replaced by its copy"

    def _lose_primary(self) -> None:
        """The one disk that holds what is confirmed is destroyed, or goes away for long; an operator accepts it."""
        holders = [office for office in self.operators.serving() if office.replica.is_primary]
        if self.stopped or not holders:
            return
        office = holders[0]
        if self.world.chance(0.5) and self.operators.others_stay(office):
            self._take_down(office)
            office.keeper = False
            office.put_disk(self._new_disk(), is_copy=False)
            self._start_later(office)
            text = f"the primary's disk at {office.name} is destroyed"
        else:
            text = self._offline(office)
        self.count += 1
        self.world.note(f"   ! {text}")
        self.world.after(self.world.between(1_000, HOUR_US), self._accept_loss, office)

    def _accept_loss(self, lost: Office) -> None:
        self.world.note(f"   ! {self.operators.accept_loss()}")
        self.gambles.accepted(lost)

    # ---- operators ----

    def _new(self, office: Office) -> str:
        """A node is set up that was not there, or begun anew after its replica has retired."""
        if not office.exists:
            self._set_up(office)
            return f"new {office.name}"
        if office.state == "up" and office.replica.state == "retired" and not office.keeper:
            self._take_down(office)
            office.put_disk(self._new_disk(), is_copy=False)
            self._start_later(office)
            return f"new disk for the retired {office.name}"
        return ""

    def _retire(self, office: Office) -> str:
        return self.operators.retire(office)

    def _retire_lost(self, replica: str) -> None:
        self.world.note(f"   ! {self.operators.retire_lost(replica)}")

    def _truncate(self, office: Office) -> str:
        return self.operators.truncate(office)

    def _hand_over(self, _office: Office) -> str:
        return self.operators.hand_over()

    def _take_over(self, _office: Office) -> str:
        return self.operators.take_over()

    def _usurp(self, _office: Office) -> str:
        """A voter that does not hear the primary takes over, just when the secretaries write; the third hears both."""
        holders = [office for office in self.operators.serving() if office.replica.is_primary]
        others = [office for office in self.offices if office.serving and self.ground.is_voter(office.number)]
        if self.ground.voters < 2 or not holders or not others:
            return ""
        holder, usurper = holders[0], self.world.random.choice(others)
        if holder is usurper:
            return ""
        self._deafen(holder, usurper)
        stroke_us = self.world.now_us + STROKE_US - self.world.now_us % STROKE_US
        within_us = self.world.random.choice((5_000, 100_000, 2_000_000))
        self.world.at(stroke_us + self.world.between(0, within_us), self.operators.take_over_at, usurper)
        return f"{usurper.name} is about to usurp {holder.name}"

    def _deafen(self, one: Office, other: Office) -> None:
        for source, target in ((one, other), (other, one)):
            self.network.block(source.number, target.number)
        pairs = [(one.number, other.number)]
        self.world.after(STROKE_US + self.world.between(MINUTE_US, HOUR_US), self._mend, pairs)

    def _file(self, office: Office) -> str:
        targets = [other for other in self.offices if other is not office and self.world.chance(0.4)]
        return self.operators.carry(office, targets) if targets else ""
