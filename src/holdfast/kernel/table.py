"""One table of the tuple store: rows of one type by primary key, with what keeps them countable,
undoable and copyable while they change.

The plain path (get, put, delete of a table without indexes) is what every command runs through, so
it is kept to a few dictionary operations; whatever is needed only sometimes stands behind one
flag, `_watched`, but for the undo log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar, get_origin

import msgspec

from holdfast.kernel.codec import encode
from holdfast.kernel.errors import BrokenInvariant
from holdfast.kernel.index import Index, Order

if TYPE_CHECKING:
    from holdfast.kernel.store import UndoLog

DIGEST_BYTES = 16
DIGEST_MODULUS = 1 << 8 * DIGEST_BYTES
FOLD_ROWS_MAX = 4096
"""Changed rows whose hashing may wait while no mark is outstanding; folding so many takes some 3 ms."""


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all rows. A subclass is one table.

    `table`: its name, unique in a store. `key`: the fields of the primary key; the key of a row is
    the bare value of a single field, the tuple of several. `indexes`: a field name, or a tuple of
    them, for each index. `ordered`: keep the rows in the order of their keys too, for `first`,
    `last` and queries by ranges or leading fields of the key.

    Fields are str, int, bytes, bool, None, tuples of these and frozen structs of these; a field in
    a key or index is never None. Integers have at most 64 bits.
    """

    table: ClassVar[str] = ""
    key: ClassVar[tuple[str, ...]] = ()
    indexes: ClassVar[tuple[str | tuple[str, ...], ...]] = ()
    ordered: ClassVar[bool] = False


R = TypeVar("R", bound=Row)


class Table(Generic[R]):
    """Rows of one type. Get it from `TupleStore.table`.

    `get(key)` returns the row or None. It is the dictionary's own method while nothing copies the
    table, so call it through the table each time.
    """

    __slots__ = ("get", "row_type", "name", "key_of", "indexes", "order", "_types",
                 "_rows", "_frozen", "_count", "_pending", "_sum", "_hash", "_undo", "_watched")  # fmt: skip

    def __init__(self, row_type: type[R], undo: UndoLog) -> None:
        self.row_type = row_type
        self.name = row_type.table
        self.key_of = attrgetter(*row_type.key)
        self.order: Order | None = Order(self) if row_type.ordered else None
        self.indexes = tuple(
            Index(row_type, (fields,) if isinstance(fields, str) else fields) for fields in row_type.indexes
        )
        self._types = _types_of(row_type)
        self._rows: dict[Any, Any] = {}
        self._frozen: dict[Any, R] | None = None
        self._count = 0
        self.get: Callable[[Any], R | None] = self._rows.get
        self._pending: dict[Any, R | None] = {}
        self._sum = 0
        self._hash = blake2b(encode(self.name), digest_size=DIGEST_BYTES)
        self._undo = undo
        self._watched = False
        self._freeze(self._rows, None)

    def put(self, row: R) -> None:
        """Insert the row, or replace the one with the same key."""
        if type(row) is not self.row_type:
            raise BrokenInvariant(f"table {self.name} holds {self.row_type.__name__}, not {type(row).__name__}")
        key = self.key_of(row)
        old = self.get(key)
        if self._watched:
            self._watch(key, old, row)
        if self._undo.active:
            self._undo.entries.append((self, key, old))
        self._rows[key] = row
        pending = self._pending
        if key not in pending:
            pending[key] = old
            if len(pending) >= FOLD_ROWS_MAX and not self._undo.active:
                self._fold(FOLD_ROWS_MAX)

    def delete(self, key: Any) -> bool:
        """Remove the row with this key; False if there is none."""
        old = self.get(key)
        if old is None:
            return False
        if self._watched:
            self._watch(key, old, None)
        if self._undo.active:
            self._undo.entries.append((self, key, old))
        if self._frozen is None:
            del self._rows[key]
        else:
            self._rows[key] = None
        pending = self._pending
        if key not in pending:
            pending[key] = old
            if len(pending) >= FOLD_ROWS_MAX and not self._undo.active:
                self._fold(FOLD_ROWS_MAX)
        return True

    def __len__(self) -> int:
        return len(self._rows) if self._frozen is None else self._count

    def __iter__(self) -> Iterator[R]:
        """All rows, in no order that may be relied on. Change nothing meanwhile."""
        if self._frozen is None:
            yield from self._rows.values()
            return
        changed = self._rows
        for key, row in self._frozen.items():
            if key not in changed:
                yield row
        for row in changed.values():
            if row is not None:
                yield row

    def first(self) -> R | None:
        """The row with the lowest key. Only for `ordered` tables."""
        keys = self._ordered().sorted_in()
        return self.get(keys[0]) if keys else None

    def last(self) -> R | None:
        """The row with the highest key. Only for `ordered` tables."""
        keys = self._ordered().sorted_in()
        return self.get(keys[-1]) if keys else None

    def fit(self, field: str, value: Any) -> Any:
        """The value as one of the field's type (tuples for lists), or None if it cannot be one."""
        try:
            return msgspec.convert(value, self._types[field])
        except msgspec.ValidationError:
            return None

    def plain(self, field: str) -> type | None:
        """The field's type if its values compare with each other just so, else None."""
        kind = self._types[field]
        return kind if kind in (str, int, bytes) else None

    def _ordered(self) -> Order:
        if self.order is None:
            raise BrokenInvariant(f"table {self.name} is not declared as ordered")
        return self.order

    def _watch(self, key: Any, old: R | None, row: R | None) -> None:
        """A change of a table with an order, or while a frozen copy is outstanding. Raises
        `BrokenInvariant`, nothing being changed, for what has no order."""
        try:
            if self.order is not None and (old is None) is not (row is None):
                self.order.note(key, row is None)
            for index in self.indexes:
                index.replace(key, old, row)
        except TypeError as error:
            raise BrokenInvariant(f"table {self.name} cannot order {row!r}: {error}") from error
        if self._frozen is not None:
            self._count += (row is not None) - (old is not None)

    def _freeze(self, rows: dict[Any, Any], frozen: dict[Any, R] | None) -> None:
        self._rows, self._frozen = rows, frozen
        self._watched = frozen is not None or self.order is not None or bool(self.indexes)

    def undo(self, key: Any, row: R | None) -> None:
        """Make the row at `key` again what it was."""
        old = self.get(key)
        if self._watched:
            self._watch(key, old, row)
        if row is not None or self._frozen is not None:
            self._rows[key] = row
        else:
            del self._rows[key]
        pending = self._pending
        if key not in pending:
            pending[key] = old
            if len(pending) >= FOLD_ROWS_MAX and not self._undo.active:
                self._fold(FOLD_ROWS_MAX)

    # -- digest ---------------------------------------------------------------------------------

    def digest_sum(self) -> int:
        """The sum of the hashes of all rows, below `DIGEST_MODULUS`."""
        self._fold(len(self._pending))
        return self._sum

    def _fold(self, rows_max: int) -> None:
        """Bring the sum up to date with so many of the rows that changed since the last time.

        A row put and deleted (or changed and changed back) in between costs no hashing. So it waits
        while a mark is outstanding: what has changed since may be undone.
        """
        total = self._sum
        get, pending = self.get, self._pending
        try:
            for _ in range(min(rows_max, len(pending))):
                key, old = pending.popitem()
                row = get(key)
                if row is old:
                    continue
                if old is not None:
                    total -= self._row_hash(old)
                if row is not None:
                    total += self._row_hash(row)
        except (msgspec.MsgspecError, TypeError, OverflowError, UnicodeEncodeError) as error:
            raise BrokenInvariant(f"table {self.name}, key {key!r}: the row does not encode: {error}") from error
        self._sum = total % DIGEST_MODULUS

    def _row_hash(self, row: Row) -> int:
        digest = self._hash.copy()
        digest.update(encode(row))
        return int.from_bytes(digest.digest(), "big")

    # -- copying while changing -----------------------------------------------------------------

    def freeze(self) -> Iterator[R]:
        """All rows as they are now, to be read at leisure: changes go beside them until `thaw` is done."""
        if self._frozen is not None:
            raise BrokenInvariant(f"table {self.name} is being copied already")
        frozen = self._rows
        changed: dict[Any, R | None] = {}
        self._count = len(frozen)
        self._freeze(changed, frozen)
        get_changed, get_frozen = changed.get, frozen.get
        absent: Any = frozen  # no row, and not None

        def get(key: Any) -> R | None:
            row: Any = get_changed(key, absent)
            return get_frozen(key) if row is absent else row

        self.get = get
        return iter(frozen.values())

    @property
    def changes(self) -> int:
        """Keys changed since `freeze` and not merged yet."""
        return 0 if self._frozen is None else len(self._rows)

    def thaw(self, rows_max: int) -> int:
        """Merge the changes made since `freeze`, once its rows have been read; returns how many.

        The table is whole again when that is less than `rows_max`.
        """
        frozen, changed = self._frozen, self._rows
        if frozen is None:
            return 0
        merged = min(rows_max, len(changed))
        for _ in range(merged):
            key, row = changed.popitem()
            if row is not None:
                frozen[key] = row
            else:
                frozen.pop(key, None)
        if not changed:
            self._freeze(frozen, None)
            self.get = frozen.get
        return merged


@cache
def _types_of(row_type: type[Row]) -> dict[str, Any]:
    """The types of the fields by name. To look at annotations takes long, and the simulator makes stores often."""
    return {field.name: _bare(field.type) for field in msgspec.structs.fields(row_type)}


def _bare(kind: Any) -> Any:
    """The type without its constraints, which hold for commands but are not checked on rows."""
    return kind.__origin__ if get_origin(kind) is Annotated else kind
