"""The tuple store: all the state of an app, in typed tables.

It is what lets every app be undone and redone (marks), compared (a digest kept up to date), copied
(snapshots) and asked (queries as data) without a line in the app. Deterministic and without I/O;
not thread-safe.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast.kernel import query, snapshot
from holdfast.kernel.errors import BrokenInvariant, MalformedInput
from holdfast.kernel.index import check_row_type
from holdfast.kernel.query import Condition, Select
from holdfast.kernel.snapshot import Restorer, SlicedSnapshot
from holdfast.kernel.table import DIGEST_BYTES, DIGEST_MODULUS, R, Row, Table

__all__ = ["Condition", "Restorer", "Row", "Select", "SlicedSnapshot", "Table", "TupleStore"]


class UndoLog:
    """What the rows were before they changed, since the oldest outstanding mark.

    `entries`: (table, key, old row or None). `marks` grow; `positions` tells, for each, where in
    `entries` it stands, counted from `dropped`. `active`: whether anything is recorded at all.
    """

    __slots__ = ("active", "entries", "marks", "positions", "dropped", "newest")

    def __init__(self) -> None:
        self.active = False
        self.entries: list[tuple[Table[Any], Any, Any]] = []
        self.marks: list[int] = []
        self.positions: list[int] = []
        self.dropped = 0
        self.newest = 0

    def place(self, mark: int) -> int:
        """Where the mark stands among the outstanding ones."""
        place = bisect_left(self.marks, mark)
        if place == len(self.marks) or self.marks[place] != mark:
            raise BrokenInvariant(f"mark {mark} is not outstanding: it was rolled back over or forgotten")
        return place


class TupleStore:
    """A set of tables, one for each row type."""

    __slots__ = ("tables", "_by_type", "_by_name", "_undo", "_sliced")

    def __init__(self, rows: Sequence[type[Row]]) -> None:
        self._undo = UndoLog()
        self._by_type: dict[type[Row], Table[Any]] = {}
        self._by_name: dict[str, Table[Any]] = {}
        for row_type in rows:
            check_row_type(row_type)
            if row_type.table in self._by_name:
                raise BrokenInvariant(f"two row types share the table name {row_type.table!r}")
            table: Table[Any] = Table(row_type, self._undo)
            self._by_type[row_type] = self._by_name[row_type.table] = table
        self.tables: tuple[Table[Any], ...] = tuple(self._by_type.values())
        self._sliced: SlicedSnapshot | None = None

    def table(self, row_type: type[R]) -> Table[R]:
        """The table of a row type."""
        try:
            return self._by_type[row_type]
        except KeyError:
            raise BrokenInvariant(f"this store has no table for {row_type.__name__}") from None

    def select(self, question: Select) -> list[Any]:
        """The rows asked for, in order. Raises `MalformedInput` for a question that no table here can answer."""
        table = self._by_name.get(question.table)
        if table is None:
            raise MalformedInput(f"no table {question.table!r}, only {', '.join(self._by_name)}")
        return query.select(table, question)

    # -- undo -----------------------------------------------------------------------------------

    def mark(self) -> int:
        """A point to roll back to, outstanding until it is rolled back over or forgotten."""
        undo = self._undo
        undo.active = True
        undo.newest += 1
        undo.marks.append(undo.newest)
        undo.positions.append(undo.dropped + len(undo.entries))
        return undo.newest

    def rollback(self, mark: int) -> None:
        """Make the content what it was at the mark. The mark stays, those after it are gone."""
        undo = self._undo
        place = undo.place(mark)
        entries, start = undo.entries, undo.positions[place] - undo.dropped
        del undo.marks[place + 1 :], undo.positions[place + 1 :]
        undo.active = False
        while len(entries) > start:
            table, key, old = entries.pop()
            table.undo(key, old)
        undo.active = True

    @contextmanager
    def rewound(self, mark: int) -> Iterator[None]:
        """The content as it was at the mark, to be read (and begun to be copied), not changed.

        Nothing is executed again: the rows are exchanged, and exchanged back. It costs what has
        changed since the mark.
        """
        undo = self._undo
        start = undo.positions[undo.place(mark)] - undo.dropped
        later: list[tuple[Table[Any], Any, Any]] = []
        undo.active = False
        try:
            for table, key, old in reversed(undo.entries[start:]):
                later.append((table, key, table.get(key)))
                table.undo(key, old)
            yield
        finally:
            for table, key, row in reversed(later):
                table.undo(key, row)
            undo.active = True

    def forget(self, mark: int | None = None) -> None:
        """Drop what only marks before this one need. Without a mark: end all marks, keep no more undo log."""
        undo = self._undo
        if mark is None:
            undo.entries.clear()
            undo.marks.clear()
            undo.positions.clear()
            undo.active = False
            return
        place = undo.place(mark)
        del undo.entries[: undo.positions[place] - undo.dropped]
        undo.dropped = undo.positions[place]
        del undo.marks[:place], undo.positions[:place]

    # -- comparing and copying ------------------------------------------------------------------

    def digest(self) -> bytes:
        """16 bytes that are equal where the content is equal, whatever its history.

        The sum, modulo 2**128, of the BLAKE2b hashes of all rows with their table's name (Bellare
        and Micciancio's AdHash, 1997). It costs what changed since the last time. It finds what has
        diverged or been damaged; it is no proof against someone who may choose a multitude of rows.
        """
        total = sum(table.digest_sum() for table in self.tables)
        return (total % DIGEST_MODULUS).to_bytes(DIGEST_BYTES, "big")

    def snapshot(self) -> bytes:
        """The whole content in canonical bytes: equal content gives equal bytes."""
        return snapshot.snapshot(self.tables, self.digest())

    def begin_snapshot(self) -> SlicedSnapshot:
        """A snapshot of the content as it is now, to be taken in slices. One at a time."""
        if self._sliced is not None and not self._sliced.done:
            raise BrokenInvariant("a snapshot is being taken already; take it to its end or close it first")
        self._sliced = SlicedSnapshot(self.tables, self.digest())
        return self._sliced

    @classmethod
    def restore(cls, rows: Sequence[type[Row]], data: bytes | Iterable[bytes]) -> TupleStore:
        """A store from a snapshot, whole or as its pieces in order. Raises `SnapshotError`."""
        store = cls(rows)
        restorer = Restorer(store)
        for piece in (data,) if isinstance(data, bytes) else data:
            restorer.feed(piece)
        restorer.finish()
        return store
