"""A manager's way into a new epoch, and past what is not kept any more.

It gathers what follows the decided numbers it has, from the sequencer and from other managers, until
everything that the epoch has inherited is here. Until then its own log stays as it is, for what stands
in it may have been decided with its word, and it may be asked for that by yet another sequencer.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.replication.sequencer.log import fresh_after
from holdfast.replication.sequencer.messages import Jump, Jumped, Run


class Entering:
    """`inherited`: how far it must come; everything up to `base` is decided. `first`: the number that `runs`
    begin with, `last`: with which they end. `jumped`: what is decided up to some number is not kept by
    anybody; then `runs` follow that."""

    def __init__(self, epoch: int, inherited: int, base: int, decided: int, before: Entering | None = None) -> None:
        """`before`: an entering that comes to nothing; what it had gathered that is decided is of use here too."""
        self.epoch = epoch
        self.inherited = inherited
        self.base = base
        self.first = decided + 1
        self.last = decided
        self.runs: list[Run] = []
        self.jumped: Jumped | None = None
        if before is not None:
            self.jumped, self.first, self.last = before.jumped, before.first, before.first - 1
            for run in before.runs:
                if self.last + run.count > before.base:
                    break
                self.runs.append(run)
                self.last += run.count

    @property
    def is_whole(self) -> bool:
        """Whether the epoch can be entered."""
        return self.last >= self.inherited

    def take(self, first: int, runs: Sequence[Run]) -> bool:
        """Runs that begin at number `first`; whether some of them come next."""
        fresh = fresh_after(first, runs, self.last)
        if not fresh:
            return False
        self.runs += fresh
        self.last += sum(run.count for run in fresh)
        return True

    def jump(self, decided: int, standing: bytes) -> None:
        """Begin after that number."""
        self.jumped = Jumped(decided, standing)
        self.first = decided + 1
        self.last = decided
        self.runs = []


class Offers:
    """Jumps that other managers offer instead of what follows number `after`; `since_us`: the first of them came.

    A manager may keep little only because it was restarted: who takes its offer throws a good state away, though
    another one may keep all that is lacking."""

    def __init__(self) -> None:
        self.after = 0
        self.since_us = 0
        self._jumps: dict[int, Jump] = {}

    def note(self, after: int, peer: int, jump: Jump, now_us: int) -> bool:
        """What this one offers to a manager that has come to `after`; whether it had not said so yet."""
        if after != self.after or not self._jumps:
            self.after, self.since_us, self._jumps = after, now_us, {}
        is_first = peer not in self._jumps
        self._jumps[peer] = jump
        return is_first

    def made_by(self, after: int) -> tuple[int, ...]:
        """Those who keep nothing of what follows this number."""
        return tuple(self._jumps) if after == self.after else ()

    def best(self) -> Jump:
        """The one that leads furthest."""
        return max(self._jumps.values(), key=lambda jump: jump.decided)
