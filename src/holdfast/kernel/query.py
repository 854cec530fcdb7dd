"""Queries as data: a question about one table that can be stored, sent and asked again elsewhere.

The answer depends on the content alone, never on how it came about: rows come in the order asked
for, then in that of their keys.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from heapq import nlargest, nsmallest
from itertools import islice, product
from math import prod
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec

from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.index import Bounds, Index, Order
from holdfast.kernel.table import Row, Table

KEYS_MAX = 1000
"""Keys of several fields that are looked up one by one; for more of them the table is read."""

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in"]


class Condition(msgspec.Struct, frozen=True, array_like=True):
    """`field op value`. For `in` the value is a tuple of the values allowed.

    Values of different kinds (None, booleans, integers, strings, bytes, tuples) differ, and neither is less.
    """

    field: str
    op: Operator
    value: Any

    def __post_init__(self) -> None:
        if isinstance(self.value, list):  # as a decoder gives it
            msgspec.structs.force_setattr(self, "value", _tuples(self.value))


class Select(msgspec.Struct, frozen=True, array_like=True):
    """The rows of `table` for which every condition holds, by the fields of `order` and then by key.

    `descending` turns the whole order round. `limit`: at most that many rows, None for all.
    """

    table: str
    where: tuple[Condition, ...] = ()
    order: tuple[str, ...] = ()
    limit: Annotated[int, msgspec.Meta(ge=0)] | None = None
    descending: bool = False


def select(table: Table[Any], question: Select) -> list[Any]:
    """Answer the question from its table. Raises `MalformedInput` if it does not fit the table."""
    plan = Plan(table, question)
    holds = _predicate(table, question.where)
    rows: Iterator[Any] = plan.rows() if holds is None else filter(holds, plan.rows())
    if plan.in_order:
        return list(islice(rows, question.limit))
    place = _place(table, question.order)
    if question.limit is None:
        return sorted(rows, key=place, reverse=question.descending)
    pick = nlargest if question.descending else nsmallest
    return pick(question.limit, rows, key=place)


class Plan:
    """How a question is answered: by key, by the best index, or by reading the whole table.

    `in_order`: the rows come as they are asked for.
    """

    __slots__ = ("table", "question", "in_order", "path", "_keys", "_bounds")

    def __init__(self, table: Table[Any], question: Select) -> None:
        self.table = table
        self.question = question
        _check(table, question)
        self.path: Index | Order | None = None
        self._bounds: list[Bounds] = []
        self._keys: list[Any] | None = self._by_key()
        self.in_order = False
        if self._keys is None:
            self._choose_path()

    def rows(self) -> Iterator[Any]:
        """A superset of the rows asked for."""
        get = self.table.get
        if self._keys is not None:
            yield from (row for key in self._keys if (row := get(key)) is not None)
        elif self.path is None:
            yield from self.table
        else:
            for bounds in self._bounds:
                for key in self.path.scan(bounds, self.question.descending):
                    yield get(key)

    def _by_key(self) -> list[Any] | None:
        """The only keys that can answer, if the conditions name them."""
        names = self.table.row_type.key
        choices = [self._choices(name) for name in names]
        if len(names) == 1:
            return choices[0]
        known = [choice for choice in choices if choice is not None]
        if len(known) < len(names) or prod(map(len, known)) > KEYS_MAX:
            return None
        return list(product(*known))

    def _choices(self, field: str) -> list[Any] | None:
        """The values that = or `in` leave to a field, or None if they do not bound it."""
        for condition in self.question.where:
            if condition.field != field or condition.op not in ("=", "in"):
                continue
            values = (condition.value,) if condition.op == "=" else condition.value
            fitting = [self.table.fit(field, value) for value in values]
            return list(dict.fromkeys(value for value in fitting if value is not None))
        return None

    def _choose_path(self) -> None:
        """The index that narrows most; among equals the one that spares sorting."""
        best = (0, False)
        paths: list[Index | Order] = list(self.table.indexes)
        if self.table.order is not None:
            paths.insert(0, self.table.order)
        for path in paths:
            bounds, fixed, narrowing = self._narrow(path)
            in_order = len(bounds) == 1 and self._spares_sorting(path, fixed)
            if (narrowing, in_order) > best:
                best = (narrowing, in_order)
                self.path, self._bounds, self.in_order = path, bounds, in_order

    def _narrow(self, path: Index | Order) -> tuple[list[Bounds], int, int]:
        """(bounds, leading fields fixed, how much it narrows) of a path."""
        leading: list[tuple[Any, ...]] = [()]
        fixed = 0
        for field in path.fields:
            choices = self._choices(field)
            if choices is None or len(leading) > 1 < len(choices):
                break
            leading = [(*values, choice) for values in leading for choice in choices]
            fixed += 1
        low = high = None
        if fixed < len(path.fields):
            low, high = self._range(path.fields[fixed])
        narrowing = 2 * fixed + (low is not None) + (high is not None)
        return [Bounds(values, low, high) for values in leading], fixed, narrowing

    def _range(self, field: str) -> tuple[tuple[Any, bool] | None, tuple[Any, bool] | None]:
        """The first lower and the first upper limit that the conditions set to a field."""
        low = high = None
        for condition in self.question.where:
            if condition.field != field or condition.op not in ("<", "<=", ">", ">="):
                continue
            value = self.table.fit(field, condition.value)
            if value is None:
                continue
            limit = (value, len(condition.op) == 2)
            if condition.op[0] == ">":
                low = low or limit
            else:
                high = high or limit
        return low, high

    def _spares_sorting(self, path: Index | Order, fixed: int) -> bool:
        """Whether the path's order, its first fields being fixed, is the one asked for."""
        key = self.table.row_type.key
        given = path.fields if isinstance(path, Order) else path.fields + key
        wanted = self.question.order + key
        held = path.fields[:fixed]
        return _without(given, held) == _without(wanted, held)


def _without(fields: tuple[str, ...], fixed: tuple[str, ...]) -> tuple[str, ...]:
    """The fields that can still decide an order: each once, the fixed ones left out."""
    return tuple(dict.fromkeys(field for field in fields if field not in fixed))


def _check(table: Table[Any], question: Select) -> None:
    names = table.row_type.__struct_fields__
    for field in (*(condition.field for condition in question.where), *question.order):
        if field not in names:
            raise MalformedInput(f"table {table.name} has no field {field!r}, only {', '.join(names)}")
    for condition in question.where:
        if condition.op == "in" and not isinstance(condition.value, tuple):
            raise MalformedInput(f"`{condition.field} in` takes a list of values, not {condition.value!r}")
    if question.limit is not None and question.limit < 0:
        raise MalformedInput(f"a limit of {question.limit} rows makes no sense")


# -- comparing any two values --------------------------------------------------------------------


def rank(value: Any) -> tuple[int, Any]:
    """A stand-in for a value that can be compared with that of any other: its kind, then itself.

    A struct ranks as the tuple it is encoded as.
    """
    if value is None:
        return (0, 0)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, int):
        return (2, value)
    if isinstance(value, str):
        return (3, value)
    if isinstance(value, bytes):
        return (4, value)
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        fields = msgspec.structs.astuple(value)
        return (5, tuple(map(rank, fields if tag is None else (tag, *fields))))
    if isinstance(value, (tuple, list)):
        return (5, tuple(map(rank, value)))
    raise MalformedInput(f"a query cannot compare {value!r}")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _test(table: Table[Any], condition: Condition) -> Callable[[Any], bool]:
    """Whether the condition holds for a row."""
    value_of = attrgetter(condition.field)
    if condition.op == "in":
        allowed = frozenset(map(rank, condition.value))
        return lambda row: rank(value_of(row)) in allowed
    compare = _COMPARE[condition.op]
    value, bound = condition.value, rank(condition.value)
    if type(value) is table.plain(condition.field):
        return lambda row: compare(value_of(row), value)
    if condition.op in ("=", "!="):
        return lambda row: compare(rank(value_of(row)), bound)
    kind = bound[0]
    return lambda row: (mine := rank(value_of(row)))[0] == kind and compare(mine, bound)


def _predicate(table: Table[Any], conditions: tuple[Condition, ...]) -> Callable[[Any], bool] | None:
    if not conditions:
        return None
    tests = [_test(table, condition) for condition in conditions]
    if len(tests) == 1:
        return tests[0]
    return lambda row: all(test(row) for test in tests)


def _place(table: Table[Any], order: tuple[str, ...]) -> Callable[[Row], Any]:
    """Where a row stands in the order: by the fields, then by the key."""
    if all(table.plain(field) for field in order):
        return attrgetter(*order, *table.row_type.key)
    values = [attrgetter(field) for field in order]
    key_of = table.key_of
    return lambda row: ([rank(value(row)) for value in values], key_of(row))
