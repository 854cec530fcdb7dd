"""Logical time: Lamport's clock and total order, the hybrid clock, version vectors.

All pure: no clock is read here, the time of day is handed in where it is needed. References:

- L. Lamport, *Time, Clocks, and the Ordering of Events in a Distributed System*, CACM 21(7), 1978.
- S. Kulkarni et al., *Logical Physical Clocks*, OPODIS 2014 (here without its separate counter).
- D. S. Parker et al., *Detection of Mutual Inconsistency in Distributed Systems*, 1983; and as used
  by K. Petersen et al., *Flexible Update Propagation for Weakly Consistent Replication*, SOSP 1997.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from holdfast.kernel.codec import decoder, encode
from holdfast.kernel.errors import MalformedInput

MINUTE_MS = 60_000


def utc_text(ms: int) -> str:
    """Unix milliseconds for people, as `2026-12-01 09:00 UTC`; what no calendar has, as the number."""
    return _minute_text(ms // MINUTE_MS) or f"{ms} ms"


@lru_cache(maxsize=1024)
def _minute_text(minute: int) -> str:
    """A page of messages, or many that come at once, tell of few minutes; writing one out costs 3 us."""
    try:
        moment = datetime.fromtimestamp(minute * 60, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


class LamportStamp(NamedTuple):
    """The relation `=>` of Lamport 1978, p. 561: a before b if its time is lower or, at equal times,
    its process comes first. A total order that extends "happened before"."""

    time: int
    server: int


class LamportClock:
    """The logical clock of one process. `time`: the time of its latest event."""

    __slots__ = ("time",)

    def __init__(self, time: int = 0) -> None:
        self.time = time

    def tick(self) -> int:
        """The time of a new event here. IR1: the clock is incremented between any two successive events."""
        self.time += 1
        return self.time

    def observe(self, time: int) -> int:
        """The time of receiving a message sent at `time`, an event of its own. IR2(b): the clock is set
        greater than the message's time and not below its present value; IR1: and beyond the event before."""
        self.time = max(self.time, time) + 1
        return self.time


class AcceptStamp(NamedTuple):
    """When a replica accepted a write from its user; the total order of tentative writes.

    Unix milliseconds, then the user's first name (the stated tie-break), then the replica's id.
    """

    milliseconds: int
    first_name: str
    replica: str


class HybridClock:
    """Stamps close to the time of day that still grow beyond everything their author has seen.

    `milliseconds`: the latest stamp given or seen. There is no separate counter, so two users who
    act in the same millisecond tie, and their names decide; while whoever has seen a stamp gives a
    later one.
    """

    __slots__ = ("replica", "milliseconds")

    def __init__(self, replica: str, milliseconds: int = 0) -> None:
        self.replica = replica
        self.milliseconds = milliseconds

    def stamp(self, now_ms: int, first_name: str) -> AcceptStamp:
        """A new stamp at the time of day `now_ms` (Unix milliseconds), which may go backwards."""
        self.milliseconds = max(now_ms, self.milliseconds + 1)
        return AcceptStamp(self.milliseconds, first_name, self.replica)

    def observe(self, milliseconds: int) -> None:
        """A stamp of that time was seen: what follows must be later. The caller refuses what lies too far ahead."""
        self.milliseconds = max(self.milliseconds, milliseconds)


class Relation(Enum):
    """How two version vectors stand to each other."""

    EQUAL = "equal"
    BEFORE = "before"
    AFTER = "after"
    CONCURRENT = "concurrent"


class VersionVector:
    """What is known of each replica: everything that it stamped up to a time.

    Immutable. A replica that is not in it stands at 0, before its first stamp (times are positive).
    Equal vectors have equal bytes.
    """

    __slots__ = ("_times",)

    def __init__(self, times: Mapping[str, int] | Iterable[tuple[str, int]] = ()) -> None:
        entries = dict(times)
        for replica, time in entries.items():
            if time < 0:
                raise MalformedInput(f"version vector: replica {replica!r} cannot stand at {time}")
        self._times: dict[str, int] = {replica: entries[replica] for replica in sorted(entries) if entries[replica]}

    def __getitem__(self, replica: str) -> int:
        return self._times.get(replica, 0)

    def __len__(self) -> int:
        return len(self._times)

    def __eq__(self, other: object) -> bool:
        return self._times == other._times if isinstance(other, VersionVector) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # no use as a key, and no temptation to iterate over a set of them

    def __repr__(self) -> str:
        return f"VersionVector({self._times!r})"

    def items(self) -> tuple[tuple[str, int], ...]:
        """(replica, time) for every replica in it, by replica."""
        return tuple(self._times.items())

    def covers(self, replica: str, time: int) -> bool:
        """Whether what the replica stamped at `time` is known."""
        return time <= self[replica]

    def includes(self, other: VersionVector) -> bool:
        """Whether everything known to `other` is known here."""
        return all(time <= self[replica] for replica, time in other._times.items())

    def raised(self, replica: str, time: int) -> VersionVector:
        """This vector with the replica at `time` at least."""
        return self if self.covers(replica, time) else VersionVector({**self._times, replica: time})

    def merge(self, other: VersionVector) -> VersionVector:
        """What is known here or there: the least vector that includes both."""
        both = (*self._times, *other._times)
        return VersionVector({replica: max(self[replica], other[replica]) for replica in both})

    def compare(self, other: VersionVector) -> Relation:
        """How this vector stands to the other."""
        match self.includes(other), other.includes(self):
            case True, True:
                return Relation.EQUAL
            case False, True:
                return Relation.BEFORE
            case True, False:
                return Relation.AFTER
            case _:
                return Relation.CONCURRENT

    def encode(self) -> bytes:
        """Canonical bytes."""
        return encode(self.items())

    @classmethod
    def decode(cls, data: bytes) -> VersionVector:
        """The inverse of `encode`. Raises `MalformedInput` for anything but canonical bytes."""
        vector = cls(_decode_items(data))
        if vector.encode() != data:
            raise MalformedInput("version vector: not canonical; a replica out of order, twice or at 0")
        return vector


_decode_items: Callable[[bytes], tuple[tuple[str, int], ...]] = decoder(tuple[tuple[str, int], ...], "version vector")
