"""A post: a host with people's devices on its lines, who are told at once what concerns them."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.apps.messages.replies import Arrived
from holdfast.apps.messages.rows import Box
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
    has to: what it did again as it read its journal was told when it was done. `gaps`: by person, what they
    were told out of the row of their inbox's numbers; to be excused by a word that something was missed."""

    audit: Book
    due_look_us = DUE_LOOK_US

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.devices: dict[Device, None] = {}
        self.owed: deque[tuple[tuple[str, str, Reply], bool]] = deque()
        self.gaps: dict[str, str] = {}
        self._last: defaultdict[str, int | None] = defaultdict(int)
        self._is_reading = False

    # ---- the order, as it is executed ----

    def start(self) -> None:
        """See `Host`. Nobody watches a process that has just started."""
        self.owed.clear()
        self.gaps.clear()
        super().start()

    def _recover(self) -> None:
        self._watch_machine()
        self._is_reading = True
        try:
            super()._recover()
        finally:
            self._is_reading = False
        machine = machine_of(self.core)
        boxes = machine.store.table(Box) if Box in machine.rows else ()  # a source of notices has none
        self._last = defaultdict(int, {box.person: box.last for box in boxes})

    def _watch_machine(self) -> None:
        core, machine = self.core, machine_of(self.core)
        execute = machine.execute
        is_solo = hasattr(core, "machine")

        def watched(requests: list[Request], stamp: Stamp) -> list[Reply]:
            before = len(machine._told)
            replies = execute(requests, stamp)
            told = machine._told[before:]
            position = core.position if is_solo else core.replica.position + 1
            self.audit.write(position, Batch(stamp, list(requests), replies, told))
            self.owed += ((one, not self._is_reading) for one in told)
            return replies

        setattr(machine, "execute", watched)  # noqa: B010 (a method of one instance)

    def _submit(self) -> None:
        machine = machine_of(self.core)
        if self._arrived and self.wall_ms - machine.now_ms >= ADVANCE_MS:
            if any(not is_query for _, _, is_query in self._arrived):
                self._arrived.insert(0, (self._unheard(), Request(Advance(self.wall_ms)), False))
        super()._submit()

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
        if isinstance(change.reply, Arrived) and not change.reply.repeats:
            self._in_a_row(change.person, change.reply.number)
        for device in list(self.devices):
            if device.person.id == change.person:
                device.travels(self, change.reply)

    def _in_a_row(self, person: str, number: int) -> None:
        last = self._last[person]
        if last is not None and number > last + 1:
            self.gaps[person] = f"{self.name} tells {person} of {number} after {last}"
        self._last[person] = number

    def _missed(self) -> None:
        self.gaps.clear()
        self._last = defaultdict(lambda: None)
        for device in list(self.devices):
            device.travels(self, None)

    def _end(self, state: str, silent: bool) -> None:
        devices, self.devices = self.devices, {}
        super()._end(state, silent)
        for device in devices:
            device.cut_off(self, silent)
