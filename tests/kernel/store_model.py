"""Row types that use every feature of the store, and the naive model it is compared with."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st

from holdfast.kernel.store import Condition, Row, Select, TupleStore


class Address(msgspec.Struct, frozen=True, array_like=True):
    street: str
    number: int | None = None


class Note(Row, frozen=True):
    """Plain: one key field, no order, no index."""

    table = "notes"
    key = ("name",)

    name: str
    seats: tuple[int, ...] = ()
    address: Address | None = None
    urgent: bool = False


class Seat(Row, frozen=True):
    """Ordered by its number."""

    table = "seats"
    key = ("number",)
    ordered = True

    number: int
    holder: str = ""


class Booking(Row, frozen=True):
    """A key of two fields, in order, with two indexes."""

    table = "bookings"
    key = ("room", "start")
    indexes = ("owner", ("start", "owner"))
    ordered = True

    room: str
    start: int
    owner: str
    until: int | None = None


ROWS: tuple[type[Row], ...] = (Note, Seat, Booking)
Content = dict[type[Row], dict[Any, Any]]
"""The naive model: rows by key, by row type."""

Drawn = TypeVar("Drawn")


def often(*chances: tuple[int, st.SearchStrategy[Drawn]]) -> st.SearchStrategy[Drawn]:
    """One of the strategies, each as often as its number says (`one_of` would flatten and even them out)."""
    draws = [strategy for times, strategy in chances for _ in range(times)]
    return st.integers(0, len(draws) - 1).flatmap(draws.__getitem__)


names = st.sampled_from(["", "ann", "anna", "zoë\0"])
numbers = st.integers(-1, 3)
notes = st.builds(
    Note,
    names,
    st.lists(numbers, max_size=3).map(tuple),
    st.none() | st.builds(Address, names, st.none() | numbers),
    st.booleans(),
)
seats = st.builds(Seat, numbers, names)
bookings = st.builds(Booking, names, numbers, names, st.none() | numbers)
rows: st.SearchStrategy[Row] = often((1, notes), (1, seats), (2, bookings))

operators = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
scalars = st.none() | numbers | names | st.booleans()
anything = scalars | st.lists(scalars, max_size=2).map(tuple)
usual = {"name": names, "number": numbers, "holder": names, "room": names, "start": numbers, "owner": names}


def conditions_on(field: str) -> st.SearchStrategy[Condition]:
    """Mostly such as some row fulfils: values of the field's own type, and often by equality."""
    fitting = usual.get(field, anything)
    values: st.SearchStrategy[Any] = often((5, fitting), (1, anything))
    equal = st.builds(Condition, st.just(field), st.just("="), values)
    compared = st.builds(Condition, st.just(field), operators, values)
    chosen = st.builds(Condition, st.just(field), st.just("in"), st.lists(values, max_size=3).map(tuple))
    return often((1, equal), (4, compared), (1, chosen))


def questions_on(row_type: type[Row]) -> st.SearchStrategy[Select]:
    fields = row_type.__struct_fields__
    return st.builds(
        Select,
        st.just(row_type.table),
        st.lists(st.sampled_from(fields).flatmap(conditions_on), max_size=2).map(tuple),
        st.lists(st.sampled_from(fields), max_size=2).map(tuple),
        often((3, st.none()), (2, st.integers(0, 5))),
        st.booleans(),
    )


questions = often((1, questions_on(Note)), (1, questions_on(Seat)), (3, questions_on(Booking)))


def empty_content() -> Content:
    return {row_type: {} for row_type in ROWS}


def copied(content: Content) -> Content:
    return {row_type: dict(rows_by_key) for row_type, rows_by_key in content.items()}


def key_of(row: Row) -> Any:
    fields = tuple(getattr(row, field) for field in type(row).key)
    return fields if len(fields) > 1 else fields[0]


def store_with(content: Content) -> TupleStore:
    """A fresh store that was filled in the order of the keys and in no other way."""
    store = TupleStore(ROWS)
    for row_type, rows_by_key in content.items():
        for key in sorted(rows_by_key):
            store.table(row_type).put(rows_by_key[key])
    return store


def content_of(store: TupleStore) -> Content:
    return {row_type: {key_of(row): row for row in store.table(row_type)} for row_type in ROWS}


def answer(content: Content, question: Select) -> list[Row]:
    """What the question should give, worked out the slow way."""
    row_type = next(row_type for row_type in ROWS if row_type.table == question.table)
    found = [row for row in content[row_type].values() if all(_holds(row, each) for each in question.where)]
    found.sort(key=lambda row: ([_comparable(getattr(row, field)) for field in question.order], key_of(row)))
    if question.descending:
        found.reverse()
    return found if question.limit is None else found[: question.limit]


def _holds(row: Row, condition: Condition) -> bool:
    mine, wanted = _comparable(getattr(row, condition.field)), condition.value
    if condition.op == "in":
        return any(mine == _comparable(each) for each in wanted)
    other: tuple[int, Any] = _comparable(wanted)
    if condition.op in ("=", "!="):
        return (mine == other) == (condition.op == "=")
    if mine[0] != other[0]:
        return False
    outcome = (mine > other) - (mine < other)
    return {"<": outcome < 0, "<=": outcome <= 0, ">": outcome > 0, ">=": outcome >= 0}[condition.op]


def _comparable(value: Any) -> tuple[int, Any]:
    kinds = ["NoneType", "bool", "int", "str", "bytes", "tuple"]
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.astuple(value)
    if isinstance(value, tuple):
        value = tuple(_comparable(item) for item in value)
    return kinds.index(type(value).__name__), 0 if value is None else value
