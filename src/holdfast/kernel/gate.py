"""The gate between a core and the world: a promise leaves only after what it promises is synced.

Every shell, the real driver and the simulator alike, passes each `Step` through one `Gate` and so
keeps the law in one place. Group commit falls out of it: while one group is being written, the
records of all further turns gather in the next.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from holdfast.kernel.contracts import Change, Halt, Peer, Reply, SnapshotPart, Step, Token


class Group:
    """What one write of the journal makes durable, all or nothing: first empty the journal if
    `reset`, then the snapshot parts, then the records."""

    __slots__ = ("ordinal", "records", "records_upto", "reset", "snapshot")

    def __init__(self, ordinal: int) -> None:
        self.ordinal = ordinal
        self.records_upto = 0
        self.records: list[bytes] = []
        self.snapshot: list[SnapshotPart] = []
        self.reset = False

    def __bool__(self) -> bool:
        return bool(self.records or self.snapshot or self.reset)


class Gate:
    """Absorbs steps, hands out groups to write one at a time, releases what waited for them.

    Shell's duties: after `absorb` or `written`, empty `data`, `promises` and `replies` into the
    network and to the clients, then `changes`, then see to `missed`; write `next_group()` when it gives
    one, and call `written` once it is synced. A failed write is final: never call `written` for it.
    """

    def __init__(self) -> None:
        self.data: list[tuple[Peer, Any]] = []
        self.promises: list[tuple[Peer, Any]] = []
        self.replies: list[tuple[Token, Reply]] = []
        self.events: list[str] = []
        self.changes: list[Change] = []
        self.missed = False
        """A state that was copied is on the disk, and what led to it is told to nobody: whoever watches
        has to be told that. It stands behind all `changes` of before; the shell takes it back."""
        self.wake_us: int | None = None
        self.halt: Halt | None = None
        self._group = Group(1)
        self._full: deque[Group] = deque()
        self._writing: Group | None = None
        self._held: deque[tuple[int, Step]] = deque()
        self._settled: deque[Step] = deque()
        self._absorbed = 0
        self._synced = 0
        self.replies_held = 0
        """How many replies wait for the disk."""

    def absorb(self, step: Step) -> None:
        """Take in what one input of the core asked for."""
        if step.reset:
            self._close_group()
            self._group.reset = True
        if step.records or step.snapshot:
            self._group.records += step.records
            self._group.snapshot += step.snapshot
            self._absorbed += len(step.records)
            self._group.records_upto = self._absorbed
        if step.reset:
            self._close_group()  # what begins the journal anew stands alone: a later snapshot is another matter
        self.data += step.data
        self.events += step.events
        self.wake_us = step.wake_us
        if step.halt is not None:
            self.halt = step.halt
        if step.settled_promises or step.settled_replies or step.settled_changes:
            if step.settled_records <= self._synced:
                self._settle(step)
            else:
                self._settled.append(step)
                self.replies_held += len(step.settled_replies)
        if step.promises or step.replies or step.changes:
            waits_for = self._last_unwritten()
            if waits_for is None:
                self.promises += step.promises
                self.replies += step.replies
                self.changes += step.changes
            else:
                self._held.append((waits_for, step))
                self.replies_held += len(step.replies)

    def _settle(self, step: Step) -> None:
        self.promises += step.settled_promises
        self.replies += step.settled_replies
        self.changes += step.settled_changes

    def _close_group(self) -> None:
        if self._group:
            self._full.append(self._group)
            self._group = Group(self._group.ordinal + 1)
            self._group.records_upto = self._absorbed

    def _last_unwritten(self) -> int | None:
        if self._group:
            return self._group.ordinal
        if self._full:
            return self._full[-1].ordinal
        if self._writing is not None:
            return self._writing.ordinal
        return None

    @property
    def records_synced(self) -> int:
        """How many of the records absorbed are known to be on the disk."""
        return self._synced

    def next_group(self) -> Group | None:
        """The next group to write, or None while one is being written or nothing waits."""
        if self._writing is not None:
            return None
        if not self._full:
            self._close_group()
        if self._full:
            self._writing = self._full.popleft()
        return self._writing

    def written(self) -> None:
        """The group handed out last is synced: release what it held back."""
        assert self._writing is not None, "written() without a group being written"
        ordinal = self._writing.ordinal
        self._synced = max(self._synced, self._writing.records_upto)
        self.missed = self.missed or self._writing.reset
        self._writing = None
        while self._settled and self._settled[0].settled_records <= self._synced:
            step = self._settled.popleft()
            self.replies_held -= len(step.settled_replies)
            self._settle(step)
        while self._held and self._held[0][0] <= ordinal:
            _, step = self._held.popleft()
            self.replies_held -= len(step.replies)
            self.promises += step.promises
            self.replies += step.replies
            self.changes += step.changes
