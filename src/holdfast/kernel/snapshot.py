"""A store as bytes and back.

A snapshot is a sequence of frames: rows of one table each, then one end frame with the digest of
the content. A frame is a header (magic, format version, kind, payload length), a checksum chained
to the frame before it, and a MessagePack payload. So a flipped bit, a lost or exchanged frame and
a missing end are each noticed, and a snapshot may be cut anywhere and fed in pieces.

A snapshot taken at once is canonical (tables by name, rows by key): equal content gives equal
bytes. One taken in slices holds the rows in any order; both are restored alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.kernel.codec import CHAIN_START, CHECKSUM_BYTES, chain, encode
from holdfast.kernel.errors import MalformedInput, SnapshotError
from holdfast.kernel.table import Table

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

FORMAT = 1
FRAME_ROWS_MAX = 1024
PAYLOAD_BYTES_MAX = 1 << 30

_MAGIC = b"HFTS"
_HEADER = Struct(">4sBcI")
_HEADER_BYTES = _HEADER.size + CHECKSUM_BYTES
_ROWS = b"R"
_END = b"E"

_decode_rows = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw]).decode
_decode_end = msgspec.msgpack.Decoder(tuple[bytes]).decode


class _Frames:
    """Makes the frames of one snapshot, in order."""

    __slots__ = ("_previous", "_number")

    def __init__(self) -> None:
        self._previous = CHAIN_START
        self._number = 0

    def rows(self, table: Table[Any], rows: list[Any]) -> bytes:
        return self._frame(_ROWS, encode((table.name, rows)))

    def end(self, digest: bytes) -> bytes:
        return self._frame(_END, encode((digest,)))

    def _frame(self, kind: bytes, payload: bytes) -> bytes:
        header = _HEADER.pack(_MAGIC, FORMAT, kind, len(payload))
        self._previous = chain(self._previous, self._number, header + payload)
        self._number += 1
        return header + self._previous + payload


def snapshot(tables: Iterable[Table[Any]], digest: bytes) -> bytes:
    """The whole content at once, in canonical order."""
    frames = _Frames()
    parts = []
    for table in sorted(tables, key=lambda table: table.name):
        rows = sorted(table, key=table.key_of)
        for start in range(0, len(rows), FRAME_ROWS_MAX):
            parts.append(frames.rows(table, rows[start : start + FRAME_ROWS_MAX]))
    parts.append(frames.end(digest))
    return b"".join(parts)


class SlicedSnapshot:
    """The content as of its beginning, handed out in slices while the store goes on changing.

    Changes are kept beside the frozen rows and merged when these have been read, so neither the
    beginning nor any slice takes longer than its `rows_max` rows. Reads of a table that is being
    copied cost a second look-up. One at a time; `close` gives up.
    """

    __slots__ = ("done", "_frames", "_digest", "_tables")

    def __init__(self, tables: Iterable[Table[Any]], digest: bytes) -> None:
        self.done = False
        self._frames = _Frames()
        self._digest = digest
        ordered = sorted(tables, key=lambda table: table.name, reverse=True)
        self._tables: list[tuple[Table[Any], Iterator[Any]]] = [(table, table.freeze()) for table in ordered]

    def take(self, rows_max: int) -> bytes | None:
        """The next slice: the work of at most that many rows; None when all has been taken.

        A slice may be empty, where changes had to be merged. To come to its end, `rows_max` must
        exceed what changes between two calls.
        """
        if self.done:
            return None
        parts: list[bytes] = []
        left = max(1, rows_max)
        while left and self._tables:
            table, rows = self._tables[-1]
            batch = list(islice(rows, min(left, FRAME_ROWS_MAX)))
            if batch:
                parts.append(self._frames.rows(table, batch))
                left -= len(batch)
                continue
            left -= table.thaw(left)
            if left:
                self._tables.pop()
        if not self._tables:
            parts.append(self._frames.end(self._digest))
            self.done = True
        return b"".join(parts)

    def close(self) -> None:
        """Give up: merge all changes at once."""
        while self._tables:
            table, _ = self._tables.pop()
            table.thaw(table.changes + 1)
        self.done = True


class Restorer:
    """Fills an empty store from a snapshot that comes in pieces, cut anywhere.

    Feed every piece in order, then call `finish`. Any `SnapshotError` leaves the store useless.
    """

    __slots__ = ("_store", "_buffer", "_previous", "_number", "_ended", "_decoders")

    def __init__(self, store: TupleStore) -> None:
        self._store = store
        self._buffer = bytearray()
        self._previous = CHAIN_START
        self._number = 0
        self._ended = False
        self._decoders = {
            table.name: (table, msgspec.msgpack.Decoder(list[table.row_type]).decode)  # type: ignore[name-defined]
            for table in store.tables
        }
        for table in store.tables:
            if len(table):
                raise SnapshotError(f"table {table.name} holds {len(table)} rows; a snapshot fills an empty store only")

    def feed(self, data: bytes) -> None:
        """The next piece. Raises `SnapshotError` as soon as something is wrong."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _HEADER_BYTES:
            kind, length = self._header(bytes(buffer[start : start + _HEADER.size]))
            end = start + _HEADER_BYTES + length
            if len(buffer) < end:
                break
            self._frame(kind, bytes(buffer[start:end]))
            start = end
        del buffer[:start]

    def finish(self) -> None:
        """All pieces were fed: raise `SnapshotError` unless they make up the whole content."""
        if not self._ended or self._buffer:
            raise SnapshotError(f"the snapshot is cut short after frame {self._number}; copy it again")

    def _header(self, header: bytes) -> tuple[bytes, int]:
        magic, version, kind, length = _HEADER.unpack(header)
        where = f"frame {self._number} of the snapshot"
        if magic != _MAGIC:
            raise SnapshotError(f"{where} begins with {magic!r}, not {_MAGIC!r}: damaged, or no snapshot of a store")
        if version != FORMAT:
            raise SnapshotError(f"{where} has format {version}, this version of Holdfast reads format {FORMAT}")
        if self._ended:
            raise SnapshotError(f"{where} comes after the end")
        if length > PAYLOAD_BYTES_MAX:
            raise SnapshotError(f"{where} claims {length} bytes, more than {PAYLOAD_BYTES_MAX}: damaged")
        return kind, length

    def _frame(self, kind: bytes, frame: bytes) -> None:
        header, checksum, payload = frame[: _HEADER.size], frame[_HEADER.size : _HEADER_BYTES], frame[_HEADER_BYTES:]
        where = f"frame {self._number} of the snapshot"
        if chain(self._previous, self._number, header + payload) != checksum:
            raise SnapshotError(f"{where} fails its checksum: damaged; copy it again")
        self._previous = checksum
        self._number += 1
        try:
            if kind == _ROWS:
                self._fill(*_decode_rows(payload))
            elif kind == _END:
                self._end(*_decode_end(payload))
            else:
                raise SnapshotError(f"{where} is of the unknown kind {kind!r}")
        except (msgspec.MsgspecError, MalformedInput) as error:
            raise SnapshotError(f"{where} does not fit this version of Holdfast: {error}") from error

    def _fill(self, name: str, rows: msgspec.Raw) -> None:
        if name not in self._decoders:
            raise SnapshotError(f"the snapshot has a table {name!r}, unknown here: it is another app's or version's")
        table, decode = self._decoders[name]
        put = table.put
        for row in decode(rows):
            put(row)

    def _end(self, digest: bytes) -> None:
        self._ended = True
        found = self._store.digest()
        if found != digest:
            raise SnapshotError(
                f"the restored content has digest {found.hex()}, the snapshot says {digest.hex()}: "
                "it was written by a version whose rows differ, or its writer was broken"
            )
