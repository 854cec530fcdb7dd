"""Times as people read them in replies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WRITABLE_MS = 250_000_000_000_000
"""Unix milliseconds below which every moment can be written as a date."""


_CLOCK = tuple(f"{hour:02}:00" for hour in range(25))


def clock(hour: int) -> str:
    """`09:00` for 9, up to `24:00`."""
    return _CLOCK[hour]


def span(room: str, day: str, start: str, duration: str) -> str:
    """`Maple on 2026-12-01 from 09:00 to 11:00`, of a start and duration that are on the hour."""
    return f"{room} on {day} from {start} to {clock(int(start[:2]) + int(duration[:-1]))}"


@lru_cache(maxsize=4096)
def utc(ms: int) -> str:
    """A stamp to the millisecond, in UTC: stamps decide, so nothing of them is left out."""
    if not 0 <= ms < WRITABLE_MS:
        return f"{ms} ms"
    moment = EPOCH + timedelta(milliseconds=ms)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ms % 1000:03} UTC"
