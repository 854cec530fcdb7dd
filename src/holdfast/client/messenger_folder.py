"""What a messenger keeps on its device: drafts, and how far its reader has got.

A folder has two files: `lock`, held for as long as somebody uses the folder, and `log`, lines of a
checksum and a record in JSON. A draft is on the disk before it is sent; everything else may come back
older after a power failure (never after a killed process) and is then only done again: a draft is
sent once more under its own name, some messages are handed out a second time, or said to be read.

What each fault comes to: a torn tail is what was being written and is dropped; a bad line before the end
is `FolderDamaged`; a draft with a wrong value is a refused one; a failed write is taken back and raised.
In a copy of the folder new drafts get another client id, so that two devices never give one name to two
messages.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import zlib
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from holdfast.client.errors import Misuse
from holdfast.client.messenger_types import Draft, Priority
from holdfast.kernel.errors import HoldfastError
from holdfast.private import make_folder, tighten
from holdfast.runtime.position import file_identity

NAME_BYTES_MAX = 180
RECORDS_MAX = 5_000
"""Lines in a log until it is written anew."""
SEEN_MAX = 10_000
"""Ids of messages that are remembered where numbers alone do not tell what was handed out before."""


class FolderInUse(HoldfastError):
    """Another process, or another messenger of this one, uses the folder."""


class FolderDamaged(HoldfastError):
    """The folder's log cannot be read."""


class State(msgspec.Struct):
    """All that a log says. `client`: the id under which drafts are sent, `next_number` the next one's number.
    `cursor`: up to which number of the inbox messages were handed out, None before that is known. `seen`: the ids
    of some above it that were handed out too. `handed`: (id, number) of what was handed out, while the servers have
    not been told so. `identity`: of the folder that this was written in."""

    client: str
    next_number: int = 1
    cursor: int | None = None
    drafts: list[Draft] = []
    seen: list[str] = []
    identity: tuple[int, int] = (0, 0)
    handed: list[tuple[str, int]] = []


_decode = msgspec.json.Decoder(tuple[str, msgspec.Raw]).decode


def folder_of(person: str, device: str, service: str, site: str) -> Path:
    """Where a messenger's folder is if nobody says."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state, "holdfast", "messages", *map(_file_name, (site, service, person, device)))


def _file_name(text: str) -> str:
    name = quote(text, safe="").replace(".", "%2E", 1) if text.startswith(".") else quote(text, safe="")
    return name if len(name) <= NAME_BYTES_MAX else f"{name[:NAME_BYTES_MAX]}-{blake2b(text.encode()).hexdigest()[:16]}"


class Folder:
    """One device of one person. Raises `FolderInUse`, `FolderDamaged`, `OSError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path)
        self._turn = threading.Lock()
        self._log = -1
        self._bytes = self._records = 0
        tighten(path / "log")
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take_lock()
            state = self._read()
        except BaseException:
            os.close(self._lock)
            raise
        identity = file_identity(path / "lock")
        if state is None or state.identity != identity:
            client, number = f"m-{secrets.token_hex(12)}", 1
        else:
            client, number = state.client, state.next_number
        state = state or State(client)
        self.client, self._next_number, self._identity = client, number, identity
        self.drafts = {(draft.client, draft.number): draft for draft in state.drafts}
        self.cursor = state.cursor
        self.seen = dict.fromkeys(state.seen)
        self.handed = dict(state.handed)
        self._rewrite()

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderInUse(
                f"{self.path} is in use by another process; give this one another device, or another folder"
            ) from error

    # -- what is kept; each of these from any thread

    def keep(self, to: str, text: str, subject: str, priority: Priority, now_ms: int) -> Draft:
        """A new draft, once it is on the disk. Raises `Misuse` for one that could not be read back."""
        with self._turn:
            draft = _as_read(Draft(self.client, self._next_number, to, text, subject, priority, now_ms))
            self._append("keep", draft, synced=True)
            self._next_number += 1
            self.drafts[draft.client, draft.number] = draft
            return draft

    def drop(self, draft: Draft) -> None:
        """The draft is sent, or nobody wants it to be."""
        with self._turn:
            if self.drafts.pop((draft.client, draft.number), None) is not None:
                self._append("drop", (draft.client, draft.number))

    def refuse(self, draft: Draft, why: str) -> None:
        """The service did not take the draft."""
        refused = msgspec.structs.replace(draft, refused=why)
        with self._turn:
            self.drafts[draft.client, draft.number] = refused
            self._append("keep", refused)

    def move(self, cursor: int) -> None:
        """Messages were handed out up to this number."""
        with self._turn:
            self.cursor = cursor
            self._append("cursor", cursor)

    def leave_place(self) -> None:
        """Forget how far the inbox was handed out, and nothing else."""
        with self._turn:
            self.cursor = None
            self.seen.clear()
            self._rewrite()

    def note(self, id: str) -> None:
        """The message of this id was handed out, out of the order of numbers."""
        with self._turn:
            self.seen[id] = None
            if len(self.seen) > SEEN_MAX:
                del self.seen[next(iter(self.seen))]
            self._append("seen", id)

    def hand(self, id: str, number: int) -> None:
        """The message was handed out, and the servers are to be told so."""
        with self._turn:
            self.handed[id] = number
            self._append("hand", (id, number))

    def said(self, ids: Sequence[str]) -> None:
        """The servers have been told of these, as far as they had to be."""
        with self._turn:
            known = [id for id in ids if self.handed.pop(id, None) is not None]
            if known:
                self._append("said", known)

    def sync(self) -> None:
        """All that was kept so far is on the disk after this."""
        with self._turn:
            os.fdatasync(self._log)

    def close(self) -> None:
        """Let others have the folder."""
        with self._turn:
            if self._log >= 0:
                os.fdatasync(self._log)
                os.close(self._log)
                os.close(self._lock)
                self._log = -1

    # -- the log

    def _append(self, kind: str, value: object, *, synced: bool = False) -> None:
        if self._log < 0:
            raise FolderInUse(f"{self.path} was closed by this messenger; open another one")
        if self._records >= RECORDS_MAX:
            self._rewrite()
        line = _line(kind, value)
        try:
            _write(self._log, line)
            if synced:
                os.fdatasync(self._log)
        except BaseException:
            os.ftruncate(self._log, self._bytes)  # a half line must not stand between whole ones
            raise
        self._bytes += len(line)
        self._records += 1

    def _rewrite(self) -> None:
        """Begin the log anew with all that is known: whole, or not at all."""
        drafts, seen, handed = list(self.drafts.values()), list(self.seen), list(self.handed.items())
        state = State(self.client, self._next_number, self.cursor, drafts, seen, self._identity, handed)
        line = _line("state", state)
        fresh = self.path / "log.new"
        log = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write(log, line)
            os.fsync(log)
            os.replace(fresh, self.path / "log")
            _sync_directory(self.path)
        except BaseException:
            os.close(log)
            raise
        if self._log >= 0:
            os.close(self._log)
        self._log, self._bytes, self._records = log, len(line), 0

    def _read(self) -> State | None:
        try:
            data = (self.path / "log").read_bytes()
        except FileNotFoundError:
            return None
        *lines, tail = data.split(b"\n")
        reading = _Reading()
        for number, line in enumerate(lines, 1):
            try:
                reading.take(*_record(line))
            except (ValueError, msgspec.MsgspecError) as error:
                if number == len(lines) > 1 and not tail:
                    break  # it was being written when the power failed
                raise FolderDamaged(
                    f"{self.path / 'log'} cannot be read, line {number}: {error}; set the folder aside"
                ) from error
        if reading.state is None:
            raise FolderDamaged(f"{self.path / 'log'} has no whole line; set the folder aside")
        return reading.whole()


class _Reading:
    """A log, record by record."""

    def __init__(self) -> None:
        self.state: State | None = None
        self._drafts: dict[tuple[str, int], Draft] = {}
        self._seen: dict[str, None] = {}
        self._handed: dict[str, int] = {}

    def take(self, kind: str, value: msgspec.Raw) -> None:
        if kind == "state":
            self.state = _state(value)
            self._drafts = {(draft.client, draft.number): draft for draft in self.state.drafts}
            self._seen = dict.fromkeys(self.state.seen)
            self._handed = dict(self.state.handed)
            return
        state = self.state
        if state is None:
            raise ValueError("the log does not begin with its state")
        if kind == "keep":
            draft = _draft(msgspec.json.decode(value))
            self._drafts[draft.client, draft.number] = draft
            if draft.client == state.client:
                state.next_number = max(state.next_number, draft.number + 1)
        elif kind == "drop":
            self._drafts.pop(msgspec.json.decode(value, type=tuple[str, int]), None)
        elif kind == "cursor":
            state.cursor = msgspec.json.decode(value, type=int)
        elif kind == "seen":
            self._seen[msgspec.json.decode(value, type=str)] = None
        elif kind == "hand":
            id, number = msgspec.json.decode(value, type=tuple[str, int])
            self._handed[id] = number
        elif kind == "said":
            for id in msgspec.json.decode(value, type=list[str]):
                self._handed.pop(id, None)
        else:
            raise ValueError(f"no record is called {kind!r}")

    def whole(self) -> State:
        assert self.state is not None
        drafts, seen = list(self._drafts.values()), list(self._seen)[-SEEN_MAX:]
        return msgspec.structs.replace(self.state, drafts=drafts, seen=seen, handed=list(self._handed.items()))


def _as_read(draft: Draft) -> Draft:
    """The draft as it will be read back."""
    try:
        return msgspec.json.decode(msgspec.json.encode(draft), type=Draft)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise Misuse(f"this message cannot be kept: {error}") from error


def _state(value: msgspec.Raw) -> State:
    fields = msgspec.json.decode(value, type=dict[str, Any])
    drafts = [_draft(draft) for draft in fields.pop("drafts", [])]
    return msgspec.structs.replace(msgspec.convert(fields, State), drafts=drafts)


def _draft(fields: Any) -> Draft:
    """A draft that was written before such words were refused must not cost all the others: it is a refused one."""
    try:
        return msgspec.convert(fields, Draft)
    except msgspec.ValidationError as error:
        named = msgspec.convert(fields, _Named)
        to, text, subject = (str(fields.get(name, "")) for name in ("to", "text", "subject"))
        why = f"it was kept with a wrong value: {error}"
        return Draft(named.client, named.number, to, text, subject, kept_ms=named.kept_ms, refused=why)


class _Named(msgspec.Struct):
    """What a draft must have, whatever else is wrong with it."""

    client: str
    number: int
    kept_ms: int = 0


def _line(kind: str, value: object) -> bytes:
    data = msgspec.json.encode((kind, value))
    return b"%08x %b\n" % (zlib.crc32(data), data)


def _record(line: bytes) -> tuple[str, msgspec.Raw]:
    checksum, _, data = line.partition(b" ")
    if len(checksum) != 8 or int(checksum, 16) != zlib.crc32(data):
        raise ValueError("its checksum is another one")
    return _decode(data)


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
