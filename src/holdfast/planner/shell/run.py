"""One plan from its journal to its end, in asyncio: it turns the core's steps into requests and writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from holdfast.kernel.contracts import Halt, Recovered, Step
from holdfast.kernel.gate import Gate, Group
from holdfast.planner.core import PlannerCore
from holdfast.planner.messages import Answered, Call, Unanswered

Message = Answered | Unanswered
Tell = Callable[[str], object]


class Door(Protocol):
    """A way to one vendor."""

    async def call(self, call: Call) -> Message:
        """Send it once; what became of it."""


class Book(Protocol):
    """The journal on disk, see `runtime.journal.Journal`."""

    def recover(self) -> Recovered:
        """What it holds."""

    def write(self, group: Group) -> None:
        """Make a group durable."""


def boot_us() -> int:
    """The core's clock: microseconds that also pass while the machine sleeps."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1000


class PlanRun:
    """Runs a core until it has ended. `tell` hears what people should read, `moved` that something changed.

    The journal is written in the loop: a plan sends one request a second, and a sync takes milliseconds.
    """

    def __init__(self, core: PlannerCore, journal: Book, doors: Sequence[Door], tell: Tell) -> None:
        self.core = core
        self._journal = journal
        self._doors = doors
        self._tell = tell
        self._gate = Gate()
        self._inbox: asyncio.Queue[tuple[int, Message] | str] = asyncio.Queue()
        self._calls: set[asyncio.Task[None]] = set()
        self._halt: Halt | None = None

    def stop(self, why: str) -> None:
        """End the search. In the loop's own thread."""
        self._inbox.put_nowait(why)

    async def play(self) -> Halt | None:
        """Until the plan has ended; a reason if it had to be halted instead."""
        core = self.core
        self._take_in(core.recover(boot_us(), self._journal.recover()))
        try:
            while not core.finished and self._halt is None:
                self._take_in(await self._next_step())
        finally:
            for task in self._calls:  # what is still open is about nothing any more
                task.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)
        return self._halt

    async def _next_step(self) -> Step:
        wake_us = self._gate.wake_us
        patience = None if wake_us is None else max(wake_us - boot_us(), 0) / 1e6
        try:
            async with asyncio.timeout(patience):
                item = await self._inbox.get()
        except TimeoutError:
            return self.core.wake(boot_us())
        if isinstance(item, str):
            return self.core.stop(boot_us(), item)
        return self.core.receive(boot_us(), *item)

    def _take_in(self, first: Step) -> None:
        """A step, and those that follow from its records being on the disk."""
        step: Step | None = first
        while step is not None:
            gate = self._gate
            gate.absorb(step)
            self._halt = gate.halt
            events, gate.events = gate.events, []
            for text in events:
                self._tell(text)
            data, gate.data = gate.data, []
            for number, call in data:
                task = asyncio.create_task(self._call(number, call))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
            step = None
            if group := gate.next_group():
                self._journal.write(group)
                gate.written()
                if not self.core.finished:
                    step = self.core.synced(boot_us(), gate.records_synced)

    async def _call(self, number: int, call: Call) -> None:
        self._inbox.put_nowait((number, await self._doors[number].call(call)))
