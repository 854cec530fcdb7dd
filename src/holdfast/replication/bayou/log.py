"""The write log: a committed prefix in the order of its commits, and a tentative tail in stamp order.

Pure bookkeeping: what is in the log, what is known of whom, who the replicas are. Executing it is
`views`' work. (Terry et al. 1995, section 5; Petersen et al. 1997, sections 3 and 5.)
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from holdfast.kernel.contracts import Vector
from holdfast.kernel.errors import BrokenInvariant, MalformedInput
from holdfast.replication.bayou.messages import (
    CREATION,
    RETIREMENT,
    MemberRow,
    Name,
    Write,
    decode_creation,
    decode_retirement,
)

Stamp = tuple[int, str, str]
NO_STAMP: Stamp = (0, "", "")
FEW = 20
"""So many times more entries behind a place than come there: then each is put in by itself, and nothing sorted."""


class Entry(msgspec.Struct, eq=False, gc=False):
    """A tentative write in the log. `request`: what its body says, once that was read. `mark`, `reply`: where
    its execution begins in the undo log, and what came of it; of an entry that is not executed the reply is
    the last one, or None. `id`: see `id_of`, once it was executed."""

    write: Write
    name: Name
    stamp: Stamp
    request: Any = None
    mark: int = 0
    id: str = ""
    person: str = ""
    reply: Any = None
    late: bool = False
    firm_by_ms: int | None = None


def entry_of(write: Write) -> Entry:
    """A write as it stands in the log."""
    return Entry(write, (write.replica, write.number), (write.ms, write.first_name, write.replica))


stamp_of = attrgetter("stamp")


def name_of(write: Write) -> Name:
    """How the log calls a write."""
    return (write.replica, write.number)


def id_of(write: Write) -> str:
    """How people call it."""
    return f"{write.replica}-{write.number}"


def parse_id(id: str) -> Name | None:
    """The inverse of `id_of`, or None."""
    replica, dash, digits = id.rpartition("-")
    if not (dash and replica and digits.isascii() and digits.isdigit() and len(digits) <= 15):
        return None
    return (replica, int(digits))


def as_vector(known: dict[str, int]) -> Vector:
    """Canonical form."""
    return tuple(sorted(known.items()))


class WriteLog:
    """`committed`: the committed writes after the first `omitted` ones. `tail`: entries by stamp.

    `vector`: of each replica that is not gone, the number of its last write in the log (all before it
    are, too); `committed_vector`: the same of committed ones, of every replica ever. `last_ms`: the
    stamp of its last write here; `committed_ms`: of its last committed one. `latest`: the highest stamp
    committed. `epochs`: (first csn, epoch) of each stretch of commits. `arrived`: what came in since
    somebody looked, at a primary (`collects`). `members`: who takes part, by all that is in the log;
    `committed_members`: by what is committed. `members_changed` counts what has come about them.
    """

    def __init__(self) -> None:
        self.committed: list[Write] = []
        self.omitted = 0
        self.tail: list[Entry] = []
        self.entries: dict[Name, Entry] = {}
        self.vector: dict[str, int] = {}
        self.committed_vector: dict[str, int] = {}
        self.last_ms: dict[str, int] = {}
        self.committed_ms: dict[str, int] = {}
        self.latest: Stamp = NO_STAMP
        self.members: dict[str, MemberRow] = {}
        self.committed_members: dict[str, MemberRow] = {}
        self.epochs: list[tuple[int, int]] = []
        self.arrived: list[Entry] = []
        self.members_changed = 0
        self.collects = False

    # -- What is known

    @property
    def csn(self) -> int:
        """How many writes are committed: the number of the last of them."""
        return self.omitted + len(self.committed)

    @property
    def known(self) -> dict[str, int]:
        """Everything that is in the log, also of those who are gone."""
        return {**self.committed_vector, **self.vector}

    def epoch_at(self, csn: int) -> int:
        """The epoch in which commit `csn` was made, 0 for none."""
        place = bisect_left(self.epochs, (csn + 1, 0)) - 1
        return self.epochs[place][1] if csn and place >= 0 else 0

    def epochs_from(self, csn: int) -> tuple[tuple[int, int], ...]:
        """(first csn, epoch) of the commits after `csn`."""
        later = tuple((first, epoch) for first, epoch in self.epochs if first > csn + 1)
        return later if csn >= self.csn else ((csn + 1, self.epoch_at(csn + 1)), *later)

    def includes(self, vector: Iterable[tuple[str, int]], beside: dict[str, int] | None = None) -> bool:
        """Whether everything in the vector is here (or in `beside`, what is kept aside)."""
        return not self.missing(vector, beside)

    def missing(self, vector: Iterable[tuple[str, int]], beside: dict[str, int] | None = None) -> list[Name]:
        """What of the vector is not here."""
        lacks = []
        for replica, number in vector:
            known = self.vector.get(replica, 0)
            if known < number and self.committed_vector.get(replica, 0) < number:
                if beside is None or beside.get(replica, 0) < number:
                    lacks.append((replica, number))
        return lacks

    def is_committed(self, name: Name) -> bool:
        """Each author's writes are committed in their order, so its last one tells of all."""
        return self.committed_vector.get(name[0], 0) >= name[1]

    def known_to(self, vector: dict[str, int], replica: str, number: int) -> bool:
        """Whether a peer with this vector has had that write. Of a replica that is not in it, the peer has
        either never heard, or it knows that it is retired; which of the two, its creation tells: a peer that
        has that write has heard of it (Petersen et al. 1997, section 5)."""
        while True:
            known = vector.get(replica)
            if known is not None:
                return number <= known
            member = self.members.get(replica)
            if member is None or not member.creator:
                return bool(vector)  # a first replica is in every vector until it is gone
            replica, number = member.creator, member.number

    def lacking(self, vector: dict[str, int]) -> dict[str, int]:
        """Of whom a peer with this vector lacks writes that are here, each with the last one it has."""
        lacks: dict[str, int] = {}
        for replica, number in (*self.committed_vector.items(), *self.vector.items()):
            known = vector.get(replica)
            if known is None:
                known = number if self.known_to(vector, replica, number) else 0
            if known < number:
                lacks[replica] = known
        return lacks

    # -- Insertion

    def place(self, writes: Sequence[Write]) -> int:
        """Where in the tail the first of these belongs."""
        lowest = min((write.ms, write.first_name, write.replica) for write in writes)
        if not self.tail or self.tail[-1].stamp < lowest:
            return len(self.tail)
        return bisect_left(self.tail, lowest, key=stamp_of)

    def insert(self, writes: Sequence[Write], place: int) -> None:
        """Put writes, checked, into the tail at their stamps, none of which lies before `place`."""
        entries, vector, last_ms = self.entries, self.vector, self.last_ms
        fresh: list[Entry] = []
        for write in writes:
            replica = write.replica
            entry = entry_of(write)
            if entries.setdefault(entry.name, entry) is not entry:
                raise BrokenInvariant(f"write {entry.name} comes into the log twice")
            fresh.append(entry)
            vector[replica] = write.number
            last_ms[replica] = write.ms
            if write.kind:
                self._about_members(write)
        if self.collects:
            self.arrived += fresh
        tail = self.tail
        if len(fresh) * FEW < len(tail) - place:
            for entry in fresh:
                insort(tail, entry, place, key=stamp_of)
            return
        later = tail[place:] + fresh
        if len(later) > 1:
            later.sort(key=stamp_of)
        tail[place:] = later

    def begin_members(self, rows: Iterable[MemberRow]) -> None:
        """These take part by what is committed; the tail, if there is one, tells the rest."""
        self.committed_members = {row.replica: row for row in rows}
        self.vector = {
            row.replica: self.committed_vector.get(row.replica, 0)
            for row in self.committed_members.values()
            if row.state != "gone"
        }
        self._read_members()

    def _read_members(self) -> None:
        """From what is committed and the tail."""
        self.members = dict(self.committed_members)
        self.members_changed += 1
        for entry in self.tail:
            if entry.write.kind:
                self._about_members(entry.write)

    def _about_members(self, write: Write) -> None:
        """A creation or a retirement is in the log."""
        self.members_changed += 1
        created = take_part(self.members, write)
        if created:
            self.vector.setdefault(created, 0)

    def remove_tail(self, keep: int) -> list[Entry]:
        """Drop the tail from place `keep` on; the entries dropped."""
        dropped = self.tail[keep:]
        del self.tail[keep:]
        for entry in dropped:
            del self.entries[entry.name]
        if any(entry.write.kind for entry in dropped):
            self._read_members()
        return dropped

    # -- Commitment

    def commit(self, entries: Sequence[Entry], epoch: int) -> None:
        """Append to the committed prefix what has been taken out of the tail."""
        if entries and (not self.epochs or self.epochs[-1][1] != epoch):
            self.epochs.append((self.csn + 1, epoch))
        vector, committed_ms = self.committed_vector, self.committed_ms
        writes = [entry.write for entry in entries]
        self.latest = max(self.latest, max(map(stamp_of, entries), default=NO_STAMP))
        for write in writes:
            replica, number = write.replica, write.number
            if vector.get(replica, 0) + 1 != number:
                raise BrokenInvariant(
                    f"{id_of(write)} is committed after number {vector.get(replica, 0)} of its author"
                )
            vector[replica] = number
            committed_ms[replica] = write.ms
            if write.kind:
                take_part(self.committed_members, write)
                self._about_members(write)  # again: a replica may have been replaced before it was known
            if write.kind == RETIREMENT and decode_retirement(write.body).replica == write.replica:
                self._forget(write.replica)
        self.committed += writes

    def _forget(self, replica: str) -> None:
        """A retired replica whose last write is committed leaves the vector."""
        self.vector.pop(replica, None)
        for members in (self.members, self.committed_members):
            members[replica] = msgspec.structs.replace(members[replica], state="gone")

    def truncate(self, keep: int) -> None:
        """Drop all but the last `keep` committed writes from the log."""
        drop = len(self.committed) - keep
        if drop > 0:
            del self.committed[:drop]
            self.omitted += drop

    def leading(self, names: Sequence[Name]) -> int:
        """How many of these names, from the first on, the tail begins with."""
        head = [entry.name for entry in self.tail[: len(names)]]
        if len(head) == len(names) and head == list(names):
            return len(head)
        return next(
            (place for place, pair in enumerate(zip(head, names, strict=False)) if pair[0] != pair[1]), len(head)
        )

    def after(self, csn: int) -> list[Write]:
        """The committed writes after `csn`, which must not lie below the log."""
        return self.committed[csn - self.omitted :]

    @property
    def live(self) -> list[str]:
        """The replicas that take part, by name."""
        return sorted(replica for replica, member in self.members.items() if member.state == "live")


def take_part(members: dict[str, MemberRow], write: Write) -> str:
    """Note in `members` what a write about replicas says. The replica that it has made a member, or "". Raises
    `MalformedInput` for a write of another kind."""
    if write.kind == RETIREMENT:
        replica = decode_retirement(write.body).replica
        _end(members, replica, "retired" if replica == write.replica else "replaced")
        return ""
    if write.kind != CREATION:
        raise MalformedInput(f"a write of the unknown kind {write.kind}: of a later version?")
    creation = decode_creation(write.body)
    for replica in creation.replaces:
        _end(members, replica, "replaced")
    known = members.get(creation.replica)
    if known is not None and known.node:
        return ""
    state = "live" if known is None else known.state
    members[creation.replica] = MemberRow(creation.replica, creation.node, write.replica, write.number, state)
    return creation.replica


def _end(members: dict[str, MemberRow], replica: str, state: str) -> None:
    """A replica is waited for no longer; or will not be, when its creation comes (until then it has no node)."""
    known = members.get(replica) or MemberRow(replica, "", "", 0, "live")
    if known.state == "live":
        members[replica] = msgspec.structs.replace(known, state=state)
