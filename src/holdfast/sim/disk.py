"""A disk that keeps what was synced and nothing else.

One write of a group is one transaction: at a crash the write in flight is wholly lost, or wholly
kept although nobody was told. A record that was never synced is never seen again.
"""

from __future__ import annotations

from holdfast.kernel.contracts import Recovered, SnapshotPart
from holdfast.kernel.gate import Group

RECORDS_KEPT = 2


class Disk:
    """The journal of one host, as it would lie on the platter. `id` names this very disk: a disk
    that replaces a lost one has another. Records are numbered from 1."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.fresh = True
        self.records: list[bytes] = []
        self.first = 1
        self.snapshot = b""
        self._parts: list[SnapshotPart] = []

    def write(self, group: Group) -> None:
        """Make a group durable, as `runtime.journal` does: a reset begins anew after its snapshot's
        `upto`; a complete snapshot stands for the records up to its own."""
        self.fresh = False
        complete = None
        if group.reset:
            self.records, self.snapshot, self._parts = [], b"", []
        for part in group.snapshot:
            complete = self._store_part(part) or complete
        if group.reset:
            self.first = complete.upto + 1 if complete is not None else 1
        self.records += group.records
        if complete is not None:
            assert complete.upto <= self.last, f"a snapshot up to {complete.upto} covers records after {self.last}"
            del self.records[: max(0, complete.upto + 1 - self.first)]
            self.first = max(self.first, complete.upto + 1)

    @property
    def last(self) -> int:
        """The number of the newest record."""
        return self.first + len(self.records) - 1

    def _store_part(self, part: SnapshotPart) -> SnapshotPart | None:
        """Keep a slice; returns it if it completes its snapshot."""
        if part.index == 0:
            self._parts = []
        assert part.index == len(self._parts), f"snapshot {part.id}: part {part.index} after {len(self._parts)} parts"
        assert not self._parts or self._parts[-1].id == part.id, f"a part of snapshot {part.id} amid another"
        self._parts.append(part)
        if not part.last:
            return None
        self.snapshot = b"".join(stored.data for stored in self._parts)
        self._parts = []
        return part

    def lose_tail(self, count: int) -> int:
        """Fault: up to `count` of the last records vanish although they were synced; the first ones, which
        tell the disk's identity, stay. Returns how many are gone."""
        lost = max(0, min(count, len(self.records) - RECORDS_KEPT))
        del self.records[len(self.records) - lost :]
        return lost

    def recovered(self) -> Recovered:
        """What a process that starts on this disk reads."""
        return Recovered(self.snapshot, self.first, tuple(self.records), self.fresh)
