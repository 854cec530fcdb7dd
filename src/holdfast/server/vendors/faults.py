"""Faults on purpose, each drawn from a seeded stream of its own.

The same seed and the same row of requests at the same vendor meet the same faults; and to turn one of them up or down
changes nothing about when the others strike.
"""

from __future__ import annotations

import random

import msgspec

from holdfast.vendors import Faults

KINDS = ("unavailable", "unprocessed", "delayed", "reordered", "lost")


class Fate(msgspec.Struct, frozen=True):
    """What befalls one request, in seconds; None for what does not.

    `outage`: it begins one, so long. `unprocessed`: nothing is done. `wait_before`, `wait_after`: it is
    done, or answered, so late. `overtaken`: it waits for a later one, at most so long. `lost`: it is done,
    and after so long the connection ends.
    """

    outage: float | None = None
    unprocessed: bool = False
    wait_before: float | None = None
    wait_after: float | None = None
    overtaken: float | None = None
    lost: float | None = None


NONE = Fate()


class Chance:
    """Draws the fate of one request after the other, for the vendor of this name. `counts`: how often each
    fault has struck."""

    def __init__(self, faults: Faults, vendor: str = "") -> None:
        self.faults = faults
        self.counts = dict.fromkeys(KINDS, 0)
        self._streams = {kind: random.Random(f"{faults.seed} {vendor} {kind}") for kind in KINDS}
        self._is_idle = not any(getattr(faults, kind) for kind in KINDS)

    def draw(self) -> Fate:
        """The next request's fate. Every stream moves on by the same two steps, whatever they say."""
        if self._is_idle:
            return NONE
        faults = self.faults
        strikes: dict[str, float] = {}
        for kind, stream in self._streams.items():
            strikes_now, how_much = stream.random() < getattr(faults, kind), stream.random()
            if strikes_now:
                strikes[kind] = how_much
        if "unavailable" in strikes:
            return self._counted(Fate(outage=strikes["unavailable"] * faults.unavailable_seconds), "unavailable")
        if "unprocessed" in strikes:
            return self._counted(Fate(unprocessed=True), "unprocessed")
        delayed = strikes.get("delayed")
        before = after = None
        if delayed is not None:  # one half of the delays come before the work, the other after it
            seconds = abs(2 * delayed - 1) * faults.delay_seconds
            before, after = (seconds, None) if delayed < 0.5 else (None, seconds)
        overtaken = faults.delay_seconds if "reordered" in strikes else None
        lost = strikes["lost"] * faults.delay_seconds if "lost" in strikes else None
        return self._counted(Fate(None, False, before, after, overtaken, lost), *strikes)

    def _counted(self, fate: Fate, *kinds: str) -> Fate:
        for kind in kinds:
            self.counts[kind] += 1
        return fate
