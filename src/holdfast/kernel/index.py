"""Orders over the rows of a table: by declared fields, or by the primary key itself.

Both hand out keys of rows between two bounds, given as values of leading fields and a range of the
next one. Entries are tuples, so a bound is a tuple too: a shorter one sorts before all that begin
with it, one that ends in `_TOP` behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
from sortedcontainers import SortedList

from holdfast.kernel.errors import BrokenInvariant

if TYPE_CHECKING:
    from holdfast.kernel.table import Row, Table


class _Top:
    """Greater than every value."""

    __slots__ = ()

    def __lt__(self, other: object) -> bool:
        return False

    def __gt__(self, other: object) -> bool:
        return True


_TOP = _Top()
_HALF_OPEN = (True, False)


NOTED_KEYS_MAX = 4096
"""Keys whose sorting may wait; sorting so many in takes some 5 ms."""


class Bounds(msgspec.Struct, frozen=True):
    """What to look up: the values of the leading fields, then (value, inclusive) limits for the next field."""

    leading: tuple[Any, ...] = ()
    low: tuple[Any, bool] | None = None
    high: tuple[Any, bool] | None = None


class Index:
    """Keys of rows in the order of `fields`, then of the key.

    `keys` holds entries (value, ..., key).
    """

    __slots__ = ("fields", "keys", "_values", "_single")

    def __init__(self, row_type: type[Row], fields: tuple[str, ...]) -> None:
        self.fields = fields
        self.keys: SortedList = SortedList()
        self._values: Callable[[Any], Any] = attrgetter(*fields)
        self._single = len(fields) == 1

    def _entry(self, values: Any, key: Any) -> tuple[Any, ...]:
        return (values, key) if self._single else (*values, key)

    def replace(self, key: Any, old: Row | None, row: Row | None) -> None:
        """The row at `key` changes from `old` to `row`; None stands for no row."""
        values_of = self._values
        values = None if row is None else values_of(row)
        if old is not None:
            old_values = values_of(old)
            if row is not None and values == old_values:
                return
            self.keys.remove(self._entry(old_values, key))
        if row is not None:
            self.keys.add(self._entry(values, key))

    def scan(self, bounds: Bounds, descending: bool) -> Iterator[Any]:
        """The keys of the rows within the bounds, in order."""
        low, high = _entry_bounds(bounds)
        for entry in self.keys.irange(low, high, _HALF_OPEN, descending):
            yield entry[-1]


class Order:
    """The keys of an `ordered` table in their own order.

    Keys that come and go are only noted, and sorted in when the order is asked for: a row that is
    put and deleted in between costs no sorting.
    """

    __slots__ = ("fields", "_changed", "_keys", "_single", "_table")

    def __init__(self, table: Table[Any]) -> None:
        self.fields = table.row_type.key
        self._table = table
        self._keys: SortedList = SortedList()
        self._changed: dict[Any, bool] = {}  # whether `_keys` has the key
        self._single = len(self.fields) == 1

    def note(self, key: Any, present: bool) -> None:
        """The row at `key`, there until now if `present`, is about to go, or else to come."""
        if len(self._changed) >= NOTED_KEYS_MAX:
            self.sorted_in()
        self._changed.setdefault(key, present)

    def sorted_in(self) -> SortedList:
        """All keys, in order. Raises `BrokenInvariant` for keys that cannot be compared."""
        if self._changed:
            get = self._table.get
            added = []
            try:
                for key, present in self._changed.items():
                    if (get(key) is not None) is present:
                        continue
                    if present:
                        self._keys.remove(key)
                    else:
                        added.append(key)
                self._keys.update(added)
            except TypeError as error:
                raise BrokenInvariant(f"table {self._table.name} cannot order its keys: {error}") from error
            self._changed.clear()
        return self._keys

    def scan(self, bounds: Bounds, descending: bool) -> Iterator[Any]:
        """The keys within the bounds, in order."""
        if not self._single:
            low, high = _entry_bounds(bounds)
            return iter(self.sorted_in().irange(low, high, _HALF_OPEN, descending))
        if bounds.leading:
            key = bounds.leading[0]
            return iter((key,) if key in self.sorted_in() else ())
        low_key, low_inclusive = bounds.low or (None, True)
        high_key, high_inclusive = bounds.high or (None, True)
        return iter(self.sorted_in().irange(low_key, high_key, (low_inclusive, high_inclusive), descending))


def _entry_bounds(bounds: Bounds) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    low: tuple[Any, ...] = bounds.leading
    high: tuple[Any, ...] = (*bounds.leading, _TOP)
    if bounds.low is not None:
        value, inclusive = bounds.low
        low = (*bounds.leading, value) if inclusive else (*bounds.leading, value, _TOP)
    if bounds.high is not None:
        value, inclusive = bounds.high
        high = (*bounds.leading, value, _TOP) if inclusive else (*bounds.leading, value)
    return low, high


# -- which types may stand where -----------------------------------------------------------------


@cache
def check_row_type(row_type: type[Row]) -> None:
    """Raise `BrokenInvariant` unless the declaration of the row type makes sense. Looked at once a type."""
    name = row_type.__name__
    info = msgspec.inspect.type_info(row_type)
    assert isinstance(info, msgspec.inspect.StructType)
    types = {field.name: field.type for field in info.fields}
    if not isinstance(row_type.table, str) or not row_type.table:
        raise BrokenInvariant(f"row type {name}: `table` must be its table's name")
    if not isinstance(row_type.key, tuple) or not row_type.key:
        raise BrokenInvariant(f"row type {name}: `key` must be a tuple of the fields of its primary key")
    indexes = [(fields,) if isinstance(fields, str) else fields for fields in row_type.indexes]
    for fields in (row_type.key, *indexes):
        for field in fields:
            if field not in types:
                raise BrokenInvariant(f"row type {name}: a key or index names {field!r}, which is no field of it")
            if not _sortable(types[field]):
                allowed = "str, int, bytes, bool or tuples of one of these"
                raise BrokenInvariant(f"row type {name}: field {field!r} in a key or index must be {allowed}")
    for field, kind in types.items():
        if not _storable(kind):
            allowed = "str, int, bytes, bool, None, tuples or frozen structs of these"
            raise BrokenInvariant(f"row type {name}: field {field!r} must be {allowed}")


_PLAIN = (msgspec.inspect.StrType, msgspec.inspect.IntType, msgspec.inspect.BytesType, msgspec.inspect.BoolType)


def _sortable(kind: msgspec.inspect.Type) -> bool:
    """Whether all values of the type can be compared with each other."""
    match kind:
        case msgspec.inspect.TupleType(item_types=items):
            return all(_sortable(item) for item in items)
        case msgspec.inspect.VarTupleType(item_type=item):
            return _sortable(item)
        case msgspec.inspect.Metadata(type=inner):
            return _sortable(inner)
        case _:
            return isinstance(kind, _PLAIN)


def _storable(kind: msgspec.inspect.Type) -> bool:
    """Whether values of the type cannot change and have one encoding."""
    match kind:
        case msgspec.inspect.NoneType() | msgspec.inspect.LiteralType():
            return True
        case msgspec.inspect.TupleType(item_types=items) | msgspec.inspect.UnionType(types=items):
            return all(_storable(item) for item in items)
        case msgspec.inspect.VarTupleType(item_type=item):
            return _storable(item)
        case msgspec.inspect.Metadata(type=inner):
            return _storable(inner)
        case msgspec.inspect.StructType(cls=struct, fields=fields):
            return struct.__struct_config__.frozen and all(_storable(field.type) for field in fields)
        case _:
            return isinstance(kind, _PLAIN)
