"""A post: a host with people's devices on its lines, who are told at once what concerns them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.kernel.contracts import Change, Reply, Request
from holdfast.kernel.machine import Advance, Stamp
from holdfast.sim.audit import Audit, Violation
from holdfast.sim.host import ADVANCE_MS, DUE_LOOK_US, Host, machine_of
from holdfast.sim.trace import render
from holdfast.sim.world import World

if TYPE_CHECKING:
    from holdfast.sim.messages.device import Device

Tells = list[tuple[str, str, Reply]]


class Batch(msgspec.Struct):
    """What was executed at one position, what was said to it, and whom it told what."""

    stamp: Stamp
    requests: list[Request]
    replies: list[Reply]
    told: Tells


class Book(Audit):
    """The audit, and the order as the replicas executed it. Equal digests at equal positions are the audit's part."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.batches: dict[int, Batch] = {}

    def write(self, position: int, batch: Batch) -> None:
        """A batch was executed at this position. What a lone replica lost in a crash is written over."""
        self.batches[position] = batch


class Post(Host):
    """`devices`: who watches here. `owed`: what this process has told, and has not let go yet; and whether it
    has to: what it did again as it read its journal was told when it was done."""

    audit: Book
    due_look_us = DUE_LOOK_US

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.devices: dict[Device, None] = {}
        self.owed: deque[tuple[tuple[str, str, Reply], bool]] = deque()
        self._is_reading = False
        self._position = 0

    # ---- the order, as it is executed ----

    def start(self) -> None:
        """See `Host`. Nobody watches a process that has just started."""
        self.owed.clear()
        self._position = 0
        super().start()

    def _recover(self) -> None:
        self._watch_machine()
        self._is_reading = True
        try:
            super()._recover()
        finally:
            self._is_reading = False

    def _watch_machine(self) -> None:
        core, machine = self.core, machine_of(self.core)
        execute = machine.execute
        is_solo = hasattr(core, "machine")

        def watched(requests: list[Request], stamp: Stamp) -> list[Reply]:
            before = len(machine._told)
            replies = execute(requests, stamp)
            told = machine._told[before:]
            self._position = core.position if is_solo else core.replica.position + 1
            self.audit.write(self._position, Batch(stamp, list(requests), replies, told))
            self.owed += ((one, not self._is_reading) for one in told)
            return replies

        setattr(machine, "execute", watched)  # noqa: B010 (a method of one instance)

    def _submit(self) -> None:
        machine = machine_of(self.core)
        if self._arrived and self.wall_ms - machine.now_ms >= ADVANCE_MS:
            if any(not is_query for _, _, is_query in self._arrived):
                self._arrived.insert(0, (self._unheard(), Request(Advance(self.wall_ms)), False))
        super()._submit()

    def _look(self) -> None:
        """See `Host`. Who watches is not told what lies before a state that was copied, and has to ask."""
        super()._look()
        position = self.setup.probe(self.core).position
        if position > self._position:
            self._position = position
            for device in self.devices:
                device.steady = False

    # ---- who watches ----

    def _changed(self, change: Change) -> None:
        told, lost = (change.person, change.id, change.reply), None
        while self.owed:
            first, is_owed = self.owed.popleft()
            if first == told:
                break
            lost = lost or (first if is_owed else None)
        else:
            raise Violation("told", f"{self.name} tells {change.person} {render(change.reply)}, which nothing has told")
        if lost is not None:
            raise Violation("told", f"{self.name} has never told {lost}")
        for device in list(self.devices):
            if device.person.id == change.person:
                device.travels(self, change.reply)

    def _end(self, state: str, silent: bool) -> None:
        devices, self.devices = self.devices, {}
        super()._end(state, silent)
        for device in devices:
            device.cut_off(self, silent)
