"""What passed about each write, for a while: what `trace` shows as a sequence diagram."""

from __future__ import annotations

from collections import deque
from typing import Any

from holdfast.kernel.contracts import Peer
from holdfast.replication.bayou import messages
from holdfast.replication.bayou.messages import Name, Updates
from holdfast.replication.bayou.words import TraceRow

ROWS_MAX = 20_000
WRITES_A_ROW_MAX = 8
"""A message about more writes than this is a heap, not a step in the life of one booking."""

Row = tuple[tuple[Name, ...], TraceRow]


class Tracing:
    """The newest messages about few writes at a time, in order."""

    def __init__(self, nodes: tuple[str, ...], me: Peer) -> None:
        self._nodes = nodes
        self._me = nodes[me]
        self._rows: deque[Row] = deque(maxlen=ROWS_MAX)
        self._order = 0

    def sent(self, unix_ms: int, peer: Peer, message: Any) -> None:
        """This replica sends a message."""
        found = _about(message)
        if found is not None:
            self._add(unix_ms, self._me, self._nodes[peer], message, found, True)

    def received(self, unix_ms: int, peer: Peer, message: Any) -> None:
        """This replica got a message."""
        found = _about(message)
        if found is not None:
            self._add(unix_ms, self._nodes[peer], self._me, message, found, False)

    def step(self, unix_ms: int, source: str, what: str, names: tuple[Name, ...], note: str) -> None:
        """Something that is no message: a user's write, an update of the own data."""
        if len(names) <= WRITES_A_ROW_MAX:
            self._order += 1
            row = TraceRow(unix_ms, self._order, source or self._me, self._me, what, note, True)
            self._rows.append((names, row))

    def _add(
        self, unix_ms: int, source: str, target: str, message: Any, found: tuple[tuple[Name, ...], str], is_sent: bool
    ) -> None:
        names, note = found
        self._order += 1
        row = TraceRow(unix_ms, self._order, source, target, type(message).__name__, note, is_sent)
        self._rows.append((names, row))

    def about(self, name: Name) -> tuple[TraceRow, ...]:
        """Every row about a write. A row without names (a promise, a release) is about all that is under way:
        also the promises asked for just before a member heard of the write, and the release just after."""
        rows = tuple(self._rows)
        about = [place for place, (names, _) in enumerate(rows) if name in names]
        if not about:
            return ()
        first, last = about[0], about[-1]
        while first and not rows[first - 1][0] and rows[first - 1][1].message in ("Ask", "Promise"):
            first -= 1
        while last + 1 < len(rows) and not rows[last + 1][0] and rows[last + 1][1].message == "Release":
            last += 1
        return tuple(row for names, row in rows[first : last + 1] if name in names or not names)


def _clock(ms: int) -> str:
    """The time of day of a stamp, UTC."""
    seconds, thousandths = divmod(ms, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}:{second:02}.{thousandths:03}"


def _about(message: Any) -> tuple[tuple[Name, ...], str] | None:
    """(writes, note) of a message that belongs into a diagram, else None."""
    match message:
        case Updates():
            return _of_updates(message)
        case messages.Request() | messages.Reply() | messages.Released():
            return _of_updates(message.updates)
        case messages.Promise():
            found = _of_updates(message.updates)
            return (() if found is None else found[0], f"never at or below {_clock(message.ms)}")
        case messages.Ask():
            return ((), f"up to {_clock(message.ms)}?")
        case messages.Release():
            return ((), f"has {message.csn}")
        case messages.Store():
            names = tuple((write.replica, write.number) for _, write in message.proposals[: WRITES_A_ROW_MAX + 1])
            return (names, f"after {message.csn}") if 0 < len(names) <= WRITES_A_ROW_MAX else None
        case messages.Stored():
            return ((), f"up to {message.csn}" if message.accepted else "refused")
    return None


def _of_updates(updates: Updates) -> tuple[tuple[Name, ...], str] | None:
    count = len(updates.writes) + len(updates.commits)
    if not 0 < count <= 2 * WRITES_A_ROW_MAX:
        return None
    names = tuple((write.replica, write.number) for write in updates.writes) + updates.commits
    parts = []
    if updates.writes:
        parts.append("write " + ", ".join(f"{write.replica}-{write.number}" for write in updates.writes))
    if updates.commits:
        first = updates.csn + 1
        parts.append("commit " + ", ".join(f"{r}-{n} as {first + i}" for i, (r, n) in enumerate(updates.commits)))
    return names, "; ".join(parts)
