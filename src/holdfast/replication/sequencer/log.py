"""The order as one manager holds it: runs with their numbers, the decided ones first.

Pure bookkeeping. What is decided never changes; what follows it belongs to the epoch that was entered
last, and is replaced when another is entered (B. Oki and B. Liskov, *Viewstamped Replication*, PODC 1988;
its views are the epochs here).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from holdfast.kernel.errors import BrokenInvariant
from holdfast.replication.sequencer.messages import Run

Placed = tuple[int, Run, int]
"""(number of its first request, the run, the journal record that holds it)."""


class OrderLog:
    """`floor`: what is not kept any more; `decided`, `last`: numbers. `rows`: what follows the floor."""

    def __init__(self) -> None:
        self.floor = 0
        self.decided = 0
        self.last = 0
        self.rows: deque[Placed] = deque()
        self._undecided: deque[Placed] = deque()

    def append(self, runs: Iterable[Run], record: int) -> None:
        """The next runs."""
        for run in runs:
            placed = (self.last + 1, run, record)
            self.rows.append(placed)
            self._undecided.append(placed)
            self.last += run.count

    def cut(self) -> None:
        """Drop what is not decided."""
        for _ in range(len(self._undecided)):
            self.rows.pop()
        self._undecided.clear()
        self.last = self.decided

    def cut_after(self, number: int) -> None:
        """Drop what follows a number; at a restart, where nothing is known to be decided yet."""
        while self._undecided and self._undecided[-1][0] > number:
            first, _, _ = self._undecided.pop()
            self.rows.pop()
            self.last = first - 1

    def decide(self, upto: int) -> list[Placed]:
        """Everything up to this number is decided; what was not before, in order. A run is decided whole."""
        fresh = []
        undecided = self._undecided
        while undecided:
            first, run, _ = undecided[0]
            if first + run.count - 1 > upto:
                break
            fresh.append(undecided.popleft())
            self.decided = first + run.count - 1
        return fresh

    def jump(self, decided: int) -> None:
        """Go on after that number: what is before is not here."""
        if decided < self.decided:
            raise BrokenInvariant(f"the order would go back from {self.decided} to {decided}")
        self.rows.clear()
        self._undecided.clear()
        self.floor = self.decided = self.last = decided

    def after(self, number: int, count_max: int, upto: int) -> tuple[int, tuple[Run, ...]]:
        """(first, runs): those that follow a number that is a run's last, up to `upto`, some `count_max` requests."""
        found: list[Run] = []
        first, left = number + 1, count_max
        for begin, run, _ in self._from(number):
            end = begin + run.count - 1
            if end > upto or left <= 0:
                break
            if not found:
                first = begin
            found.append(run)
            left -= run.count
        return first, tuple(found)

    def _from(self, number: int) -> Iterable[Placed]:
        """Rows that begin after a number. What is asked for lies near the end as a rule."""
        back = 0
        for placed in reversed(self.rows):
            if placed[0] <= number:
                break
            back += 1
        rows = self.rows
        return (rows[place] for place in range(len(rows) - back, len(rows)))

    @property
    def undecided(self) -> tuple[Run, ...]:
        """What follows the decided ones."""
        return tuple(run for _, run, _ in self._undecided)

    def record_before(self, number: int, newest: int) -> int:
        """The journal record before the one that holds what follows this number; `newest` if nothing does."""
        record = newest + 1
        for begin, _, held in reversed(self.rows):
            if begin <= number:
                break
            record = min(record, held)
        return record - 1

    def forget(self, keep: int) -> None:
        """Keep only so many of the decided numbers."""
        while self.rows and self.rows[0][0] + self.rows[0][1].count - 1 <= self.decided - keep:
            first, run, _ = self.rows.popleft()
            self.floor = first + run.count - 1


def fresh_after(first: int, runs: Sequence[Run], last: int) -> tuple[Run, ...] | None:
    """Of runs that begin at number `first`, those that follow `last`; None where some are missing before, or
    where a run would begin in the middle of another."""
    for place, run in enumerate(runs):
        if first == last + 1:
            return tuple(runs[place:])
        if first > last + 1:
            return None
        first += run.count
    return () if first <= last + 1 else None
