"""The process that writes a journal, so that neither the event loop nor the interpreter waits for the disk.

A thread would do the same, but it shares the interpreter's lock: every commit then costs the node a
dozen hand-overs of that lock, which on a busy node is more than the commit itself (docs/decisions).

The node holds one end of a pair of sockets, the writer the other. The node sends groups, the writer
answers each with one byte when it is synced. When the node dies, however it dies, the writer reads
the end of its input, finishes what it has read whole, and ends; it never outlives the node's death
by more than one write. Its lock on the journal keeps a restarted node waiting that long.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec

from holdfast.kernel.contracts import Recovered, SnapshotPart
from holdfast.kernel.errors import BrokenInvariant, HoldfastError, JournalDamaged
from holdfast.kernel.gate import Group
from holdfast.runtime.journal import Connect, Journal, JournalFailed, JournalInUse, connect

if TYPE_CHECKING:
    import asyncio

Done = Callable[[], object]
Failed = Callable[[Exception], object]

LENGTH = struct.Struct(">Q")
SYNCED = b"\x01"
FAILED = b"\x00"
LOCK_PATIENCE_SECONDS = 10.0
"""How long a new writer waits for one whose node has died."""
LOCK_LOOK_SECONDS = 0.01


class _Opened(msgspec.Struct, array_like=True, tag="opened"):
    """The first answer: what the journal held, and whether it is a copy (see `Journal`)."""

    recovered: Recovered
    is_copy: bool


class _Refused(msgspec.Struct, array_like=True, tag="refused"):
    """The first answer when the journal cannot be used: the kind of error and its text."""

    kind: str
    why: str


class _Work(msgspec.Struct, array_like=True):
    """A group as it is sent."""

    reset: bool
    snapshot: list[SnapshotPart]
    records: list[bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode_first = msgspec.msgpack.Decoder(_Opened | _Refused).decode
_decode_work = msgspec.msgpack.Decoder(_Work).decode
_KINDS: dict[str, type[HoldfastError]] = {
    kind.__name__: kind for kind in (JournalDamaged, JournalInUse, JournalFailed, BrokenInvariant)
}


# -- The node's side


class JournalWriter:
    """A journal that is written by a process of its own.

    `open` blocks until the journal is read and verified; `attach` once, in the loop, before `submit`.
    `on_failure` is called once, in the loop, with `JournalFailed` when a write fails or the process
    dies. From then on nothing is written and no group is reported done: halt the replica.
    `is_copy`: as the journal was when it was opened, see `Journal`.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        connection: socket.socket,
        recovered: Recovered,
        *,
        is_copy: bool = False,
    ) -> None:
        self.is_copy = is_copy
        self._process = process
        self._connection = connection
        self._recovered: Recovered | None = recovered
        self._waiting: deque[Done] = deque()
        self._unsent = bytearray()
        self._failure: bytes | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_failure: Failed | None = None

    @classmethod
    def open(cls, path: Path) -> JournalWriter:
        """Start the writer and let it open the journal, with the errors of `Journal.open`."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "holdfast.runtime.journal_process", str(path), str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
        with ours.makefile("rb") as stream:
            first = _read_frame(stream)
        answer = None if first is None else _decode_first(first)
        if isinstance(answer, _Opened):
            return cls(process, ours, answer.recovered, is_copy=answer.is_copy)
        ours.close()
        status = process.wait()
        if answer is None:
            raise JournalFailed(f"the process that writes {path} ended with status {status} before it began")
        raise _KINDS[answer.kind](answer.why)

    @property
    def pid(self) -> int:
        """The writer's process."""
        return self._process.pid

    def recover(self) -> Recovered:
        """What the journal held. Once: the memory is the caller's from then on."""
        if self._recovered is None:
            raise ValueError("recover() was called already")
        recovered, self._recovered = self._recovered, None
        return recovered

    def attach(self, on_failure: Failed) -> None:
        """From now on the running loop hears the writer."""
        import asyncio  # the writer's own process does without it, and is a third smaller

        self._loop = asyncio.get_running_loop()
        self._on_failure = on_failure
        self._connection.setblocking(False)
        self._loop.add_reader(self._connection, self._readable)

    def submit(self, group: Group, on_done: Done) -> None:
        """Write this group after all submitted before; then call `on_done` in the event loop."""
        assert self._loop is not None, "submit before attach"
        if self._on_failure is None:
            return
        self._waiting.append(on_done)
        data = _encode(_Work(group.reset, group.snapshot, group.records))
        empty = not self._unsent
        self._unsent += LENGTH.pack(len(data))
        self._unsent += data
        if empty and not self._send():
            self._loop.add_writer(self._connection, self._writable)

    def close(self) -> None:
        """Finish what was submitted, and wait for the process to end. Blocks for that long."""
        if self._loop is not None:
            self._loop.remove_reader(self._connection)
            self._loop.remove_writer(self._connection)
        self._on_failure = None
        self._connection.setblocking(True)
        with contextlib.suppress(OSError):  # the writer may have ended already
            self._connection.sendall(self._unsent)
            self._connection.shutdown(socket.SHUT_WR)
            while self._connection.recv(4096):
                continue
        self._connection.close()
        self._process.wait()

    def _send(self) -> bool:
        """Send what the socket takes; whether that was all."""
        try:
            del self._unsent[: self._connection.send(self._unsent)]
        except BlockingIOError:
            return False
        except OSError:
            self._unsent.clear()  # the writer has ended; `_readable` hears why
        return not self._unsent

    def _writable(self) -> None:
        if self._send():
            assert self._loop is not None
            self._loop.remove_writer(self._connection)

    def _readable(self) -> None:
        try:
            data = self._connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._ended()
        elif self._failure is not None:
            self._failure += data
        else:
            synced, failed, text = data.partition(FAILED)
            for _ in synced:
                self._waiting.popleft()()
            if failed:
                self._failure = text

    def _ended(self) -> None:
        """The writer has closed its end, which it never does before the node."""
        assert self._loop is not None
        self._loop.remove_reader(self._connection)
        self._loop.remove_writer(self._connection)
        on_failure, self._on_failure = self._on_failure, None
        why = "the process that writes the journal has died; what it had not synced is lost"
        if on_failure is not None:
            on_failure(JournalFailed(self._failure.decode() if self._failure is not None else why))


# -- The writer's side


def _read_frame(stream: BinaryIO) -> bytes | None:
    """The next whole frame, or None at the end, be it in the middle of one."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    length = LENGTH.unpack(head)[0]
    data = stream.read(length)
    return data if len(data) == length else None


def _open_patiently(path: Path, open_connection: Connect) -> Journal:
    """The writer of a node that was killed may still hold the lock for a moment."""
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            return Journal.open(path, connect=open_connection)
        except JournalInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOCK_LOOK_SECONDS)


def _check_in_place(path: Path, opened: os.stat_result) -> None:
    """A file that was removed while it is open takes every write and is gone at the end."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise JournalFailed(f"the journal {path} was removed while it was in use; nothing is safe there") from None
    if (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino):
        raise JournalFailed(f"the journal {path} was exchanged for another file while it was in use")


def write_journal(path: Path, connection: socket.socket, open_connection: Connect = connect) -> None:
    """The whole life of a writer: open, answer, write until the input ends."""
    try:
        journal = _open_patiently(path, open_connection)
    except HoldfastError as error:
        answer = _encode(_Refused(type(error).__name__, str(error)))
        connection.sendall(LENGTH.pack(len(answer)) + answer)
        return
    try:
        opened = path.stat()
        answer = _encode(_Opened(journal.recover(), journal.is_copy))
        connection.sendall(LENGTH.pack(len(answer)) + answer)
        del answer
        with cast("BinaryIO", connection.makefile("rb", buffering=1 << 16)) as stream:
            while (data := _read_frame(stream)) is not None:
                work = _decode_work(data)
                group = Group(0)
                group.reset, group.snapshot, group.records = work.reset, work.snapshot, work.records
                journal.write(group)
                _check_in_place(path, opened)
                connection.sendall(SYNCED)
                journal.tidy()  # after the word is out: it costs nobody but the next group, and little
    except (HoldfastError, msgspec.MsgspecError) as error:
        connection.sendall(FAILED + str(error).encode())
    except (BrokenPipeError, ConnectionResetError):
        return  # the node has died; nobody is left to tell
    finally:
        journal.close()


def main() -> None:
    """`python -m holdfast.runtime.journal_process PATH DESCRIPTOR`, started by `JournalWriter.open`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all; the node's end is the writer's sign
    gc.disable()
    descriptor = int(sys.argv[2])
    os.set_inheritable(descriptor, False)
    with socket.socket(fileno=descriptor) as connection:
        write_journal(Path(sys.argv[1]), connection)


if __name__ == "__main__":
    main()
