"""The lock file beside a journal: it keeps a second process out and remembers how far the journal got.

SQLite drops every row after a damaged place in its write-ahead log without a word, and a lone
server has no peers to remember what it acknowledged. So after each synced write the sequence
number of the newest group is noted here, through shared memory: no system call, and it outlives a
killed process. After a power failure it may be older than the journal, never newer: a lower bound.

It remembers too in which file the journal lies, by `file_identity`: a directory that was copied, or
restored from a backup, has the same content in other files.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from pathlib import Path

from holdfast.kernel.errors import HoldfastError, JournalDamaged

_SLOT = struct.Struct(">QQ")
_SLOT_OFFSETS = (0, 2048)  # two places on different disk sectors, written in turn: one is always whole
_IDENTITY = struct.Struct(">QQQ")
_IDENTITY_OFFSET = 1024
_FILE_BYTES = 4096
_ALL_ONES = (1 << 64) - 1


class JournalInUse(HoldfastError):
    """Another process, or another journal of this one, holds the lock."""


def file_identity(path: Path) -> tuple[int, int]:
    """What a copy of this file does not have: its inode, and the identity of its file system (which,
    other than a device number, stays the same when the machine starts again)."""
    return path.stat().st_ino, os.statvfs(path).f_fsid & _ALL_ONES


class PositionFile:
    """Locked from construction until `close`. `sequence` is the newest group known to be synced, 0 for none.
    `is_new`: it was made just now. `identity`: the journal's file, as far as it is known.

    Raises `JournalInUse` when another holder has it, `JournalDamaged` when neither slot can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock()
            self._make_room()
            self._memory = mmap.mmap(self._file, _FILE_BYTES)
        except BaseException:
            os.close(self._file)
            raise
        try:
            self.sequence = self._read()
            self.identity = self._read_identity()
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalInUse(
                f"the journal of {self.path} is in use by another process; "
                "stop that one first, or give this server a directory of its own"
            ) from error

    def _make_room(self) -> None:
        """Real zeros on the disk, so that a full disk is an error here and never a fault in the shared memory."""
        self.is_new = os.fstat(self._file).st_size < _FILE_BYTES
        if self.is_new:
            os.pwrite(self._file, bytes(_FILE_BYTES), 0)
            os.fsync(self._file)

    def _read(self) -> int:
        found: list[tuple[int, int]] = [_SLOT.unpack_from(self._memory, offset) for offset in _SLOT_OFFSETS]
        whole = [number for number, inverse in found if number ^ inverse == _ALL_ONES or number == inverse == 0]
        if not whole:
            raise JournalDamaged(
                f"{self.path} is damaged: neither of its two copies of the journal's position can be read; "
                "set the journal aside and let the server copy the state from its peers"
            )
        return max(whole)

    def _read_identity(self) -> tuple[int, int] | None:
        inode, file_system, check = _IDENTITY.unpack_from(self._memory, _IDENTITY_OFFSET)
        return (inode, file_system) if check == inode ^ file_system ^ _ALL_ONES else None

    def remember(self, identity: tuple[int, int]) -> None:
        """The journal lies in this file from now on."""
        inode, file_system = identity
        _IDENTITY.pack_into(self._memory, _IDENTITY_OFFSET, inode, file_system, inode ^ file_system ^ _ALL_ONES)
        self.identity = identity

    def note(self, sequence: int) -> None:
        """Remember that group `sequence` is synced. Call only afterwards."""
        _SLOT.pack_into(self._memory, _SLOT_OFFSETS[sequence & 1], sequence, sequence ^ _ALL_ONES)
        self.sequence = sequence

    def close(self) -> None:
        """Gives up the lock."""
        self._memory.close()
        os.close(self._file)
