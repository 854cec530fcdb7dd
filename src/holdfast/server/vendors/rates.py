"""Who asks more often than agreed."""

from __future__ import annotations

import math

JITTER_SECONDS = 0.25
"""A request may come so much early: the way to the server is not always equally long."""


class Rate:
    """One client's requests, by the generic cell rate algorithm (ITU-T I.371): each moves on the time at
    which the next is due, and one that comes before that is too early."""

    __slots__ = ("due", "requests", "too_fast")

    def __init__(self) -> None:
        self.due = -math.inf
        self.requests = 0
        self.too_fast = 0

    def take(self, now: float, interval: float, *, refuse: bool) -> float:
        """Count a request at `now` (seconds); 0.0, or how many seconds too early it is. One that is refused
        for it does not move the time on."""
        self.requests += 1
        early = self.due - min(JITTER_SECONDS, interval / 4) - now
        if early > 0:
            self.too_fast += 1
            if refuse:
                return early
        self.due = max(self.due, now) + interval
        return max(0.0, early)
