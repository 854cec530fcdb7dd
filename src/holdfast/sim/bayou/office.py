"""An office: a host whose replica follows a clock on the wall, which may be wrong.

Besides what every host does, it remembers what its replica knew when each request was handed in,
so that its answer can be judged by that; and its disk may be copied, and the copy put back later.
"""

from __future__ import annotations

import copy
from typing import Any

from holdfast.kernel.contracts import Change, Peer
from holdfast.sim.audit import Probe
from holdfast.sim.bayou.bugs import Bug
from holdfast.sim.bayou.clocks import Clocks
from holdfast.sim.bayou.deadlines import Deadlines
from holdfast.sim.bayou.ground import Ground
from holdfast.sim.bayou.ledger import Ledger
from holdfast.sim.bayou.losses import Losses
from holdfast.sim.bayou.pushes import Pushes
from holdfast.sim.disk import Disk
from holdfast.sim.host import WALL_MS, Attempt, Host, Setup, Unheard
from holdfast.sim.network import Network
from holdfast.sim.world import World

Known = dict[str, int]


class OfficeAttempt(Attempt):
    """A request to an office. `known`, `firm`: what its replica had in its log, and committed, when it was asked;
    `wall_ms`, `clock_sets`: what its clock showed then, and how often that had been set; `off_ms`, `clock_changes`:
    how far the clock surely was off, and what its process knew then. `alone`: it may change what the replica has, so
    it is not handed in together with others."""

    known: Known
    firm: Known
    disk: int
    wall_ms: int
    clock_sets: int
    off_ms: int
    clock_changes: int
    alone = False


class UnheardWord(Unheard, OfficeAttempt):
    """What a node puts to its own replica without waiting for an answer."""


class Office(Host):
    """`exists`: its node has been set up. `is_copy`: its disk was put back from a copy, which the operator
    says at its start. `settled`: its replica takes part, or will when it has started. `votes`: its disk is
    a first one, or has been admitted again. `keeper`: what is committed may lie on its disk alone, so it
    must not be lost. `ahead_ms`: the farthest that its clock ever was ahead. `resumed_us`: when its process last went
    on after a pause; `woke_us`: after one so long that who was asked before it would have answered meanwhile."""

    ledger: Ledger

    def __init__(self, number: Peer, world: World, network: Network, ledger: Ledger, ground: Ground, disk: Disk,
                 bug: Bug) -> None:  # fmt: skip
        setup = Setup(core=self._core, probe=_no_probe, gate=bug.gate)
        super().__init__(number, world, network, ledger, setup, disk)
        self.ledger = ledger
        self.ground = ground
        self.bug = bug
        self.exists = number < ground.founders
        self.keeper = ground.is_voter(number)
        self.is_copy = False
        self.votes = True
        self.settled = self.exists
        self.wall_offset_ms = 0
        self.clock_sets = 0
        self.ahead_ms = 0
        self.resumed_us = self.woke_us = self._paused_us = 0
        self.copied: Disk | None = None
        self.clocks: Clocks
        self.deadlines: Deadlines
        self.pushes: Pushes
        ledger.offices.append(self)

    def _core(self, _host: Host) -> Any:
        core = self.ground.core(self.number, self.disk.id, self.is_copy)
        self.bug.bend(core)
        self.ledger.watch(self, core.replica.log)
        self.clocks = Clocks(self, self.ledger.offices, core)
        self.deadlines = Deadlines(self, core, self.clocks)
        self.pushes = Pushes(self.name, core)
        Losses(self.name, core)
        return core

    @property
    def true_ms(self) -> int:
        """The time of day, Unix milliseconds."""
        return WALL_MS + self.world.now_us // 1000

    @property
    def wall_ms(self) -> int:
        """What the clock on its wall shows."""
        return self.true_ms + self.wall_offset_ms

    def set_wall(self, offset_ms: int) -> None:
        """Its clock goes wrong, or right again."""
        if offset_ms != self.wall_offset_ms:
            self.clock_sets += 1
        self.wall_offset_ms = offset_ms
        self.ahead_ms = max(self.ahead_ms, offset_ms)

    def pause(self) -> None:
        """See `Host`."""
        self._paused_us = self.now_us()
        super().pause()

    def resume(self) -> None:
        """See `Host`."""
        if self.state == "paused":
            self.resumed_us = self.now_us()
            if self.resumed_us - self._paused_us > self.ground.patience_us:
                self.woke_us = self.resumed_us
        super().resume()

    @property
    def replica(self) -> Any:
        """The state of its core, or None where no process runs."""
        return self.core.replica if self.core is not None else None

    @property
    def stays(self) -> bool:
        """A new disk may learn from this one, now or when it has started."""
        return self.settled

    @property
    def serving(self) -> bool:
        """It runs and takes part."""
        return self.state == "up" and self.core.replica.state == "active"

    def _unheard(self) -> Attempt:
        return UnheardWord()

    def _prepare(self) -> None:
        self.clocks.set()
        self.core.set_clock(self.now_us(), self.wall_ms)

    def _look(self) -> None:
        if self.is_copy and self.core.replica.state == "active" and self.process.kept == self.process.asked:
            self.is_copy = False  # it has its new id on the disk: its next start is an ordinary one
        if not self.votes and self.core.replica.votes and self.process.kept == self.process.asked:
            self.votes = True
        if not self.settled and self.core.replica.state == "active" and self.process.kept == self.process.asked:
            self.settled = True
        if self.core.replica.state == "retired":
            self.settled = False
        self.ledger.look(self)
        self.deadlines.look()

    def _changed(self, change: Change) -> None:
        self.pushes.pushed(change)
        self.ledger.changed(self.name, change)

    def _submit(self) -> None:
        waiting = self._arrived
        while waiting and self.state == "up":
            own_turns = [place for place, (attempt, _, _) in enumerate(waiting) if _of(attempt).alone]
            count = 1 if own_turns[:1] == [0] else min(own_turns, default=len(waiting))
            self._arrived, waiting = waiting[:count], waiting[count:]
            self._attempts.update(dict.fromkeys(attempt for attempt, _, _ in waiting))  # who hears if it dies now
            log = self.core.replica.log
            known, firm = dict(log.vector), dict(log.committed_vector)
            for attempt, _, _ in self._arrived:
                office_attempt = _of(attempt)
                office_attempt.known, office_attempt.firm, office_attempt.disk = known, firm, self.disk.id
                office_attempt.wall_ms, office_attempt.clock_sets = self.wall_ms, self.clock_sets
                office_attempt.off_ms, office_attempt.clock_changes = self.clocks.off_ms, self.clocks.changes
            super()._submit()

    # ---- disks ----

    def copy_disk(self) -> None:
        """Somebody makes a copy of the disk as it is now."""
        self.copied = copy.deepcopy(self.disk)

    def put_disk(self, disk: Disk, *, is_copy: bool) -> None:
        """Another disk is put in while no process runs."""
        assert not self.alive, f"{self.name} runs"
        self.ledger.disk_lost(self.disk.id)
        self.disk = disk
        self.votes = self.settled = False
        self.is_copy = is_copy
        self.copied = None


def _of(attempt: Attempt) -> OfficeAttempt:
    assert isinstance(attempt, OfficeAttempt)
    return attempt


def _no_probe(_core: Any) -> Probe:
    """The ledger looks for itself."""
    return Probe("", 0, 0, b"")
