"""The process that a planner's core runs in: gate, disk, crashes between any two acts."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdfast.kernel.contracts import Step
from holdfast.kernel.gate import Gate, Group
from holdfast.planner.configuration import GRACE_US, Configuration
from holdfast.planner.core import PlannerCore
from holdfast.planner.messages import Answered, Call, Unanswered
from holdfast.sim.audit import Violation
from holdfast.sim.disk import Disk
from holdfast.sim.planner.vendor import SimVendor
from holdfast.sim.world import World

MakeCore = Callable[[Configuration], PlannerCore]
Hears = Callable[[Answered | Unanswered], None]
Sends = Callable[[str, int, Call], Hears]


class PlannerHost:
    """One planner, life after life. `sends(who, vendor, call)` is told of every request, at the moment it
    leaves, and gives back what is to be told of its answer.

    `crash_chance`: of dying before each act; `crash_at`: the numbers of the acts before which it dies.
    An act is a step's taking in, a request's leaving, or the end of a sync.
    """

    def __init__(
        self,
        world: World,
        who: str,
        vendors: list[SimVendor],
        configuration: Configuration,
        sends: Sends,
        make: MakeCore = PlannerCore,
    ) -> None:
        self.world = world
        self.who = who
        self.vendors = vendors
        self.configuration = configuration
        self.sends = sends
        self.make = make
        self.disk = Disk(1)
        self.sync_us_max = 20_000
        self.crash_chance = 0.0
        self.crash_at: tuple[int, ...] = ()
        self.acts = 0
        self.crashes = 0
        self.crashed_us: list[int] = []
        """When it died."""
        self.life = 0
        self.born_us = 0
        self.told = 0
        """The best match that any life has told."""
        self.core: PlannerCore | None = None
        self.gate = Gate()
        self.log: list[str] = []
        self.stopping = ""
        self.matched: list[tuple[int, int, int]] = []
        """(when, slot, requests so far) of each match that was told."""
        self.searched_until_us = -1
        """When the search of this life was over, -1 while it is not."""
        self._wake_us = -1
        self._writing: Group | None = None

    # ---- lives ----

    def start(self) -> None:
        """A new process on the disk as it is."""
        self.life += 1
        self._wake_us = -1
        self.born_us = self.world.now_us
        self.searched_until_us = -1
        self.gate = Gate()
        self.core = self.make(self.configuration)
        self._take_in(self.core.recover(self.world.now_us, self.disk.recovered()))
        if self.core is not None and self.stopping:
            self._take_in(self.core.stop(self.world.now_us, self.stopping))

    def crash(self) -> None:
        """The process is gone; what was being synced is wholly kept or wholly lost."""
        if self.core is None or self.core.finished:
            return
        self.crashes += 1
        self.crashed_us.append(self.world.now_us)
        self.searched_until_us = -1
        self.core = None
        self.life += 1
        if self._writing is not None and self.world.chance(0.5):
            self.disk.write(self._writing)
        self._writing = None
        self.world.note(f"{self.who} crashes")
        self.world.after(self.world.between(1, 5_000_000), self._start_again)

    def _start_again(self) -> None:
        if self.core is None:
            self.world.note(f"{self.who} starts again")
            self.start()

    def start_over(self, *, release: bool) -> None:
        """The user begins again with the same journal after the plan is over, to finish or to give all back."""
        self.world.note(f"{self.who} begins again{' to release' if release else ''}")
        changes = {"release": release, "deadline_us": None, "grace_us": GRACE_US}
        self.configuration = msgspec.structs.replace(self.configuration, **changes)
        self.stopping, self.told = "", 0 if release else self.told
        self._writing = None
        self.start()

    def stop(self, why: str) -> None:
        """The user's Ctrl-C; said again to every later life."""
        self.stopping = why
        if self.core is not None and not self.core.finished:
            self._take_in(self.core.stop(self.world.now_us, why))

    @property
    def finished(self) -> bool:
        """The plan is over."""
        return self.core is not None and self.core.finished

    # ---- acts ----

    def _dies(self) -> bool:
        """Whether it dies before this act."""
        self.acts += 1
        if self.acts in self.crash_at or (self.crash_chance and self.world.chance(self.crash_chance)):
            self.crash()
            return self.core is None
        return False

    def _take_in(self, step: Step) -> None:
        core, life = self.core, self.life
        if core is None:
            return
        if step.halt is not None:
            raise Violation("halt", f"{self.who} stopped: {step.halt.text}")
        for line in step.events:
            self.log.append(line)
            self.world.note(f"{self.who}: {line}")
        if core.plan.best and core.plan.best != self.told:
            self.told = core.plan.best
            self.matched.append((self.world.now_us, self.told, core.plan.requests))
        if core.plan.reopened:
            self.told = core.plan.best
        if not core.plan.finishing:
            self.searched_until_us = -1
        elif self.searched_until_us < 0:
            self.searched_until_us = self.world.now_us
        self.gate.absorb(step)
        self._write()
        data, self.gate.data = self.gate.data, []
        for number, call in data:
            if self._dies():
                return
            self._send(number, call, life)
        if step.wake_us is not None and not core.finished and step.wake_us != self._wake_us:
            self._wake_us = step.wake_us
            self.world.at(step.wake_us, self._wake, life, step.wake_us)

    def _send(self, number: int, call: Call, life: int) -> None:
        told = self.sends(self.who, number, call)

        def hear(message: Answered | Unanswered) -> None:
            told(message)
            self._hear(life, number, message)

        self.vendors[number].request(self.who, call, hear)

    def _write(self) -> None:
        group = self.gate.next_group()
        if group is not None:
            self._writing = group
            self.world.after(self.world.between(100, self.sync_us_max), self._written, self.life, group)

    def _written(self, life: int, group: Group) -> None:
        if life != self.life or self._dies() or self.core is None:
            return
        self.disk.write(group)
        self._writing = None
        self.gate.written()
        self._write()
        if not self.core.finished:
            self._take_in(self.core.synced(self.world.now_us, self.gate.records_synced))

    def _hear(self, life: int, number: int, message: Answered | Unanswered) -> None:
        if life == self.life and not self._dies() and self.core is not None:
            self._take_in(self.core.receive(self.world.now_us, number, message))

    def _wake(self, life: int, wake_us: int) -> None:
        if life == self.life and wake_us == self._wake_us and not self._dies() and self.core is not None:
            self._wake_us = -1
            self._take_in(self.core.wake(self.world.now_us))
