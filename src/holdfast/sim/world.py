"""Virtual time: a queue of what happens next, one source of randomness, and the trace.

Nothing here waits. `now_us` jumps from one event to the next, and everything random in a run is
drawn from the one generator, in the order of the events; so a seed replays a run to the byte.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

EVENTS_MAX = 300_000
"""A hundred times what a run takes. More is a core that talks to itself without end."""


class Endless(Exception):
    """A run took more than `EVENTS_MAX` events."""


class Event:
    """Something that will happen. `cancel` makes it nothing."""

    __slots__ = ("action", "arguments")

    def __init__(self, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.action: Callable[..., None] | None = action
        self.arguments = arguments

    def cancel(self) -> None:
        """It will not happen."""
        self.action = None


class World:
    """The clock that all hosts, links, disks and clients of a run share. Times are microseconds from 0."""

    def __init__(self, seed: int, tracing: bool = False) -> None:
        self.random = random.Random(seed)
        self.now_us = 0
        self.tracing = tracing
        self.lines: list[str] = []
        self.events_done = 0
        self._queue: list[tuple[int, int, Event]] = []
        self._ordinal = 0

    def at(self, time_us: int, action: Callable[..., None], *arguments: Any) -> Event:
        """Let `action(*arguments)` happen at `time_us`, or now if that is past."""
        self._ordinal += 1
        event = Event(action, arguments)
        heapq.heappush(self._queue, (max(time_us, self.now_us), self._ordinal, event))
        return event

    def after(self, delay_us: int, action: Callable[..., None], *arguments: Any) -> Event:
        """Let `action(*arguments)` happen in `delay_us`."""
        return self.at(self.now_us + delay_us, action, *arguments)

    def run_until(self, time_us: int, done: Callable[[], bool] | None = None) -> None:
        """Let everything happen up to `time_us`, or until `done()` (asked after every event)."""
        queue = self._queue
        while queue and queue[0][0] <= time_us:
            moment_us, _, event = heapq.heappop(queue)
            if event.action is None:
                continue
            self.now_us = moment_us
            self.events_done += 1
            if self.events_done > EVENTS_MAX:
                raise Endless(f"{EVENTS_MAX} events by {moment_us} us; the last calls {event.action.__qualname__}")
            event.action(*event.arguments)
            if done is not None and done():
                return
        self.now_us = max(self.now_us, time_us)

    def between(self, low: int, high: int) -> int:
        """A random integer, both ends included."""
        return low + int(self.random.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random.random() < probability

    def note(self, text: str) -> None:
        """One line of the trace. Callers ask `tracing` first, so that untraced runs pay nothing."""
        if self.tracing:
            seconds, rest_us = divmod(self.now_us, 1_000_000)
            self.lines.append(f"{seconds:3d}.{rest_us:06d} {text}")
