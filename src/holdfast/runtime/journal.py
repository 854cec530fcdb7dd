"""The journal of one replica: numbered records in an SQLite file, synced group by group.

A *group* is what one write makes durable, all or nothing. Its records lie packed in one row, with
the number of the first and a checksum (BLAKE2b, 16 bytes) chained to the row before, because
SQLite's own checks let a flipped bit pass. So one group is one statement, and one sync.

What each fault comes to:

- torn tail: the last group, which was never acknowledged, is gone; nothing to report.
- flipped bit, lost or foreign page, shortened file: `JournalDamaged` from `Journal.open`.
- rows dropped at the end: the `PositionFile` beside the journal, and the replica's peers, remember more.
- failed write or sync, full disk: `JournalFailed` from the write, and from every later one. The
  disk is not trusted again: nothing is retried, the replica halts.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NoReturn

import msgspec

from holdfast.kernel.contracts import Recovered, SnapshotPart
from holdfast.kernel.errors import BrokenInvariant, HoldfastError, JournalDamaged
from holdfast.kernel.gate import Group
from holdfast.private import make_file, tighten
from holdfast.runtime.position import JournalInUse, PositionFile, file_identity

__all__ = ["Journal", "JournalFailed", "JournalInUse", "connect"]

FORMAT = 1
APPLICATION_ID = 0x484F4C44
PAGE_BYTES = 8192
CHECKPOINT_PAGES = 256
"""Small checkpoints, often: one takes about a millisecond, between two commits."""
TIDY_GROUPS = 128
TIDY_PARTS = 2
WAL_KEPT_BYTES = 16 << 20

_SCHEMA = {
    "groups": "CREATE TABLE groups (sequence INTEGER PRIMARY KEY, first INTEGER NOT NULL,"
    " previous BLOB NOT NULL, checksum BLOB NOT NULL, data BLOB NOT NULL)",
    "parts": "CREATE TABLE parts (id INTEGER NOT NULL, position INTEGER NOT NULL, last INTEGER NOT NULL,"
    " upto INTEGER NOT NULL, checksum BLOB NOT NULL, data BLOB NOT NULL, PRIMARY KEY (id, position))",
}
_INSERT_GROUP = "INSERT INTO groups VALUES (?, ?, ?, ?, ?)"
_INSERT_PART = "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)"
_DELETE_GROUPS = (
    "DELETE FROM groups WHERE sequence IN"
    f" (SELECT sequence FROM groups WHERE sequence < ? ORDER BY sequence LIMIT {TIDY_GROUPS})"
)
_DELETE_PARTS = (
    f"DELETE FROM parts WHERE rowid IN (SELECT rowid FROM parts WHERE id < ? ORDER BY id, position LIMIT {TIDY_PARTS})"
)
_NO_CHECKSUM = bytes(16)
_GROUP_HEAD = struct.Struct(">QQ")
_PART_HEAD = struct.Struct(">QQ?Q")
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode

Connect = Callable[[Path], sqlite3.Connection]
_abandoned: list[sqlite3.Connection] = []
"""Connections after a failed write. Closing one would write and sync once more, so they stay open."""


class JournalFailed(HoldfastError):
    """A write or a sync failed. The disk is not tried again: halt the replica."""


def connect(path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    """The connection that writes: write-ahead log, a sync at every commit, checkpoints when `tidy` says. The file is
    its owner's alone, and so are those that SQLite makes beside it."""
    make_file(path)
    for suffix in ("-wal", "-shm"):
        tighten(_beside(path, suffix))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=factory)
    for pragma in (
        f"page_size={PAGE_BYTES}",
        "locking_mode=EXCLUSIVE",
        "journal_mode=WAL",
        "synchronous=FULL",
        "wal_autocheckpoint=0",
        "secure_delete=OFF",
        f"journal_size_limit={WAL_KEPT_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def _group_checksum(previous: bytes, sequence: int, first: int, data: bytes) -> bytes:
    return blake2b(previous + _GROUP_HEAD.pack(sequence, first) + data, digest_size=16).digest()


def _part_checksum(previous: bytes, part: SnapshotPart) -> bytes:
    head = _PART_HEAD.pack(part.id, part.index, part.last, part.upto)
    return blake2b(previous + head + part.data, digest_size=16).digest()


class _Content:
    """What a verified journal holds."""

    def __init__(self) -> None:
        self.sequence = 0
        self.checksum = _NO_CHECKSUM
        self.next_number = 1
        self.snapshot_id: int | None = None
        self.snapshot: list[bytes] = []
        self.upto = 0
        self.records: list[bytes] = []


class _Reader:
    """Reads and verifies a whole journal without changing a byte of it, damaged or not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = _Content()

    def read(self, synced_sequence: int) -> _Content:
        """`synced_sequence`: the newest group known to have been synced, which must be there."""
        if self._path.exists() and self._path.stat().st_size > 0:
            # Read-only, because a writing connection would fold the log into the file as it closes.
            connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                self._read_all(connection)
            except (sqlite3.Error, msgspec.MsgspecError, struct.error, TypeError) as error:
                self._damaged(str(error))
            finally:
                connection.close()
        if self._content.sequence < synced_sequence:
            self._damaged(f"it ends at group {self._content.sequence}, but group {synced_sequence} was synced")
        return self._content

    def _damaged(self, what: str) -> NoReturn:
        raise JournalDamaged(
            f"the journal {self._path} is damaged: {what}. Nothing of it is used. Set it aside and start this "
            "server as an empty one, so that it copies the state from its peers; if it has none, restore a backup"
        )

    def _read_all(self, connection: sqlite3.Connection) -> None:
        schema = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if not schema and application_id == version == 0:
            return  # begun, and cut off before the first transaction
        if application_id != APPLICATION_ID:
            self._damaged("it is a file of another program")
        if version != FORMAT:
            self._damaged(f"it has format {version}, this program reads format {FORMAT}")
        if schema != _SCHEMA:
            self._damaged("its tables are not those of a journal")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            self._damaged(verdict)
        self._read_snapshot(connection)
        self._read_groups(connection)

    def _read_snapshot(self, connection: sqlite3.Connection) -> None:
        ids = connection.execute("SELECT id FROM parts WHERE last ORDER BY id DESC LIMIT 1").fetchone()
        if ids is None:
            return
        checksum, part = _NO_CHECKSUM, None
        query = "SELECT position, last, upto, checksum, data FROM parts WHERE id = ? ORDER BY position"
        for index, (position, last, upto, stored, data) in enumerate(connection.execute(query, ids)):
            part = SnapshotPart(id=ids[0], index=position, data=data, last=bool(last), upto=upto)
            checksum = _part_checksum(checksum, part)
            if position != index or stored != checksum:
                self._damaged(f"part {index} of snapshot {ids[0]} is missing or altered")
            self._content.snapshot.append(data)
        if part is None or not part.last:
            self._damaged(f"snapshot {ids[0]} goes on after its last part")
        self._content.snapshot_id, self._content.upto = part.id, part.upto

    def _read_groups(self, connection: sqlite3.Connection) -> None:
        content = self._content
        for records, first in self._groups(connection):
            beyond = max(0, content.upto + 1 - first)
            content.records += records[beyond:] if beyond else records
        content.next_number = max(content.next_number, content.upto + 1)
        if content.sequence == 0 and content.snapshot:
            self._damaged("it has a snapshot but no group")

    def _groups(self, connection: sqlite3.Connection) -> Iterator[tuple[list[bytes], int]]:
        """(records, number of the first) of each group, in order, every link of the chain checked."""
        content = self._content
        rows = connection.execute("SELECT sequence, first, previous, checksum, data FROM groups ORDER BY sequence")
        for sequence, first, previous, checksum, data in rows:
            if checksum != _group_checksum(previous, sequence, first, data):
                self._damaged(f"group {sequence} is altered")
            if content.sequence == 0:
                if first > content.upto + 1:
                    self._damaged(f"records {content.upto + 1} to {first - 1} are missing")
            elif (sequence, first, previous) != (content.sequence + 1, content.next_number, content.checksum):
                self._damaged(f"groups between {content.sequence} and {sequence} are missing")
            records = _unpack(data)
            content.sequence, content.checksum = sequence, checksum
            content.next_number = first + len(records)
            yield records, first


class Journal:
    """One replica's journal. Made by `open`; one thread at a time writes.

    Records are numbered from 1. A snapshot stands for the records up to its `upto`; a reset begins
    anew with the record after its snapshot's `upto` (with record 1 when it has no snapshot).

    `is_copy`: the file was copied, or restored from a backup, and is not the one that was written here
    last. So it is at every opening until a group is written, which settles the journal in its new
    place: whoever must remember it has that first group remember it.
    """

    def __init__(self, path: Path, position: PositionFile, content: _Content, connection: sqlite3.Connection) -> None:
        self.path = path
        self._position = position
        self._connection = connection
        self._sequence = content.sequence
        self._checksum = content.checksum
        self._next_number = content.next_number
        self._snapshot_id = content.snapshot_id
        self._part_checksum = _NO_CHECKSUM
        self._next_part = (0, 0)
        self._cut_sequence = 0
        self._untidy = False
        self._pages = 0
        self._failure: JournalFailed | None = None
        self.is_copy = False
        self._recovered: Recovered | None = Recovered(
            snapshot=b"".join(content.snapshot),
            first=content.upto + 1,
            records=content.records,
            fresh=content.sequence == 0,
        )

    @classmethod
    def open(cls, path: str | Path, *, connect: Connect = connect) -> Journal:
        """Lock, read and verify the journal at `path`, or make an empty one.

        Raises `JournalDamaged` (nothing was changed: `set_aside` may follow), `JournalInUse`, or
        `JournalFailed` when the disk refuses to take an empty journal. `connect` makes the writing connection.
        """
        path = Path(path)
        try:
            position = PositionFile(_beside(path, ".lock"))
        except OSError as error:
            raise JournalFailed(f"the journal {path} cannot be opened: {error}") from error
        try:
            content = _Reader(path).read(position.sequence)
            try:
                connection = connect(path)
                journal = cls(path, position, content, connection)
                journal._prepare()
            except (sqlite3.Error, OSError) as error:
                raise JournalFailed(f"the journal {path} cannot be opened for writing: {error}") from error
        except BaseException:
            position.close()
            raise
        return journal

    @staticmethod
    def set_aside(path: str | Path) -> Path:
        """Move a damaged journal out of the way and return where it lies now. Deletes nothing."""
        path = Path(path)
        number = 1
        while any(_beside(path, f".damaged-{number}{suffix}").exists() for suffix in ("", "-wal", "-shm", ".lock")):
            number += 1
        aside = _beside(path, f".damaged-{number}")
        for suffix in ("-wal", "", "-shm", ".lock"):  # the lock file last: until then what is left counts as damaged
            part = _beside(path, suffix)
            if part.exists():
                part.rename(_beside(aside, suffix))
        _sync_directory(path)
        return aside

    @property
    def last_number(self) -> int:
        """The number of the newest durable record, 0 for none."""
        return self._next_number - 1

    def recover(self) -> Recovered:
        """What the journal held when it was opened. Once: the memory is the caller's from then on."""
        if self._recovered is None:
            raise ValueError(f"{self.path}: recover() was called already")
        recovered, self._recovered = self._recovered, None
        return recovered

    def write(self, group: Group) -> None:
        """Make a group durable; returns when it is synced. Raises `JournalFailed`, then always."""
        if self._failure is not None:
            raise self._failure
        self._check(group)
        try:
            if group.reset or group.snapshot:
                self._write_transaction(group)
            else:
                self._append(group.records)
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
        self._position.note(self._sequence)
        if self.is_copy:
            self._settle()

    def _settle(self) -> None:
        self._position.remember(file_identity(self.path))
        self.is_copy = False

    def tidy(self) -> None:
        """One small step of housekeeping, of a few milliseconds at most; call it after every write,
        when the writer of that group has heard. Raises `JournalFailed`."""
        if self._failure is not None:
            raise self._failure
        try:
            if self._untidy:
                self._delete_some()
            if self._pages >= CHECKPOINT_PAGES:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._pages = 0
        except (sqlite3.Error, OSError) as error:
            self._fail(error)

    def close(self) -> None:
        """Give the file up. After a failed write nothing is written any more."""
        if self._failure is None:
            self._connection.close()
        else:
            _abandoned.append(self._connection)
        self._position.close()

    def _fail(self, error: Exception) -> NoReturn:
        self._failure = JournalFailed(
            f"writing the journal {self.path} failed: {error}. What was not synced is lost and the disk is not "
            "tried again; see to the disk (free space, errors in the system log), then start this server again"
        )
        raise self._failure from error

    def _prepare(self) -> None:
        """Tables for a fresh journal; for an old one, drop the beginnings of snapshots that never got complete."""
        run = self._connection.execute
        if self._sequence == 0 and not run("SELECT 1 FROM sqlite_master").fetchone():
            run("BEGIN IMMEDIATE")
            run(f"PRAGMA application_id={APPLICATION_ID}")
            run(f"PRAGMA user_version={FORMAT}")
            for statement in _SCHEMA.values():
                run(statement)
            run("COMMIT")
        run("DELETE FROM parts WHERE id > ?", (-1 if self._snapshot_id is None else self._snapshot_id,))
        if self._snapshot_id is not None and self._recovered is not None:
            self._begin_tidying(self._recovered.first - 1)
        run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        _sync_directory(self.path)
        self.is_copy = self._sequence > 0 and self._was_moved()
        if not self.is_copy:
            self._settle()

    def _was_moved(self) -> bool:
        """An earlier version noted no place, but it never left a journal without its lock file either."""
        place = self._position.identity
        return self._position.is_new if place is None else place != file_identity(self.path)

    def _append(self, records: list[bytes]) -> None:
        data = _pack(records)
        sequence = self._sequence + 1
        checksum = _group_checksum(self._checksum, sequence, self._next_number, data)
        self._connection.execute(_INSERT_GROUP, (sequence, self._next_number, self._checksum, checksum, data))
        self._sequence, self._checksum = sequence, checksum
        self._next_number += len(records)
        self._pages += 2 + len(data) // PAGE_BYTES

    def _write_transaction(self, group: Group) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        complete = self._write_parts(group.snapshot)
        if group.reset:
            self._empty(complete)
        if group.records or group.reset or self._sequence == 0:
            self._append(group.records)  # be it an empty one: there is always a group, to carry the chain
        run("COMMIT")
        if complete is not None:
            self._snapshot_id = complete.id
            self._begin_tidying(complete.upto)

    def _check(self, group: Group) -> None:
        """Refuses, before anything is written, a snapshot that could never be read back."""
        expected = self._next_part
        for part in group.snapshot:
            if part.index != 0 and (part.id, part.index) != expected:
                raise BrokenInvariant(f"{self.path}: part {part.index} of snapshot {part.id} follows none before it")
            if not group.reset and self._snapshot_id is not None and part.id <= self._snapshot_id:
                raise BrokenInvariant(f"{self.path}: snapshot {part.id} after snapshot {self._snapshot_id}")
            if not group.reset and part.upto > self.last_number + len(group.records):
                raise BrokenInvariant(f"{self.path}: a snapshot up to {part.upto} covers records not yet written")
            expected = (part.id, part.index + 1)
        if group.reset and group.snapshot and not any(part.last for part in group.snapshot):
            raise BrokenInvariant(f"{self.path}: a reset without the end of its snapshot would leave nothing whole")
        self._next_part = expected

    def _write_parts(self, parts: list[SnapshotPart]) -> SnapshotPart | None:
        """The part that completes a snapshot, if it is among them."""
        complete = None
        for part in parts:
            if part.index == 0:  # drop whatever an earlier attempt left under this id
                self._connection.execute("DELETE FROM parts WHERE id = ?", (part.id,))
                self._part_checksum = _NO_CHECKSUM
            self._part_checksum = _part_checksum(self._part_checksum, part)
            row = (part.id, part.index, part.last, part.upto, self._part_checksum, part.data)
            self._connection.execute(_INSERT_PART, row)
            self._pages += 2 + len(part.data) // PAGE_BYTES
            if part.last:
                complete = part
        return complete

    def _empty(self, complete: SnapshotPart | None) -> None:
        self._connection.execute("DELETE FROM parts WHERE id <> ?", (-1 if complete is None else complete.id,))
        self._connection.execute("DELETE FROM groups")
        self._snapshot_id = None if complete is None else complete.id
        self._next_number = 1 if complete is None else complete.upto + 1

    def _begin_tidying(self, upto: int) -> None:
        """Older snapshots, and groups wholly at or below `upto`, are no longer needed; the newest group
        always stays, it carries the chain."""
        row = self._connection.execute(
            "SELECT sequence FROM groups WHERE first <= ? ORDER BY sequence DESC LIMIT 1", (upto + 1,)
        ).fetchone()
        self._cut_sequence = 0 if row is None else row[0]
        self._untidy = True

    def _delete_some(self) -> None:
        run = self._connection.execute
        groups = run(_DELETE_GROUPS, (self._cut_sequence,)).rowcount
        parts = run(_DELETE_PARTS, (self._snapshot_id,)).rowcount
        self._untidy = groups + parts > 0
        self._pages += (groups + parts) // 8


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sync_directory(path: Path) -> None:
    directory = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
