"""The tuple store by example: what it refuses, how it answers, what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.kernel.store_model import ROWS, Booking, Note, Seat

from holdfast.kernel.errors import BrokenInvariant, MalformedInput
from holdfast.kernel.index import Index, Order
from holdfast.kernel.query import Plan
from holdfast.kernel.store import Condition, Row, Select, Table, TupleStore


def store_of_bookings() -> TupleStore:
    """Five rooms with twenty bookings each, by four owners in turn."""
    store = TupleStore(ROWS)
    bookings = store.table(Booking)
    for room in ("ash", "birch", "elm", "fir", "oak"):
        for start in range(20):
            bookings.put(Booking(room, start, f"owner{start % 4}", start + 1))
    return store


def touched(store: TupleStore, question: Select) -> int:
    """How many rows the store looks at to answer."""
    table = next(table for table in store.tables if table.name == question.table)
    return sum(1 for _ in Plan(table, question).rows())


def test_a_row_is_found_by_its_key_until_it_is_deleted() -> None:
    notes = TupleStore(ROWS).table(Note)
    notes.put(Note("bob", (1, 2)))
    assert notes.get("bob") == Note("bob", (1, 2))
    assert notes.get("ann") is None
    assert notes.delete("bob")
    assert not notes.delete("bob")
    assert notes.get("bob") is None


def test_a_row_of_another_type_is_refused_and_changes_nothing() -> None:
    store = TupleStore(ROWS)
    empty = store.digest()
    for table in (store.table(Note), store.table(Seat)):
        wrong: Any = Booking("ash", 1, "bob")
        with pytest.raises(BrokenInvariant, match="not Booking"):
            table.put(wrong)
    assert store.digest() == empty


def test_a_row_that_cannot_be_encoded_stops_the_replica_with_its_key() -> None:
    store = TupleStore(ROWS)
    store.table(Note).put(Note("bob", (1 << 70,)))
    with pytest.raises(BrokenInvariant, match=r"notes.*'bob'"):
        store.digest()


def test_a_value_that_cannot_be_ordered_stops_the_replica() -> None:
    bookings = store_of_bookings().table(Booking)
    wrong: Any = None
    with pytest.raises(BrokenInvariant, match="cannot order"):
        bookings.put(Booking("ash", wrong, "bob"))


class NoKey(Row, frozen=True):
    table = "no_key"
    name: str


class NoSuchField(Row, frozen=True):
    table = "no_such_field"
    key = ("name",)
    indexes = ("place",)
    name: str


class OptionalKey(Row, frozen=True):
    table = "optional_key"
    key = ("name",)
    name: str | None


class Changeable(Row, frozen=True):
    table = "changeable"
    key = ("name",)
    name: str
    seats: list[int]


class Fraction(Row, frozen=True):
    table = "fraction"
    key = ("name",)
    name: str
    part: float


@pytest.mark.parametrize(
    ("row_type", "why"),
    [
        (NoKey, "`key`"),
        (NoSuchField, "'place'"),
        (OptionalKey, "'name' in a key"),
        (Changeable, "'seats'"),
        (Fraction, "'part'"),
    ],
)
def test_a_row_type_that_makes_no_sense_is_refused(row_type: type[Row], why: str) -> None:
    with pytest.raises(BrokenInvariant, match=why):
        TupleStore((row_type,))


def test_two_tables_of_one_name_are_refused() -> None:
    with pytest.raises(BrokenInvariant, match="share"):
        TupleStore((Note, Note))


def test_an_unknown_table_is_named() -> None:
    store = TupleStore((Note,))
    with pytest.raises(BrokenInvariant, match="Seat"):
        store.table(Seat)
    with pytest.raises(MalformedInput, match=r"'chairs', only notes"):
        store.select(Select("chairs"))


@pytest.mark.parametrize(
    "question",
    [
        Select("notes", (Condition("colour", "=", 1),)),
        Select("notes", order=("colour",)),
        Select("notes", (Condition("name", "in", "bob"),)),
        Select("notes", (Condition("name", "=", {"a": 1}),)),
        Select("notes", (Condition("seats", "<", 1.5),)),
        Select("notes", limit=-1),
    ],
)
def test_a_question_that_fits_no_table_is_refused(question: Select) -> None:
    store = TupleStore(ROWS)
    with pytest.raises(MalformedInput):
        store.select(question)
    store.table(Note).put(Note("bob"))
    with pytest.raises(MalformedInput):
        store.select(question)


def test_only_ordered_tables_have_ends() -> None:
    with pytest.raises(BrokenInvariant, match="ordered"):
        TupleStore(ROWS).table(Note).first()


@pytest.mark.parametrize(
    ("where", "rows_touched"),
    [
        ((("room", "=", "elm"), ("start", "=", 3)), 1),
        ((("room", "=", "elm"),), 20),
        ((("room", "=", "elm"), ("start", ">", 16)), 3),
        ((("room", "=", "elm"), ("start", ">=", 5), ("start", "<", 8)), 3),
        ((("room", ">", "elm"),), 40),
        ((("room", "in", ("elm", "oak")), ("start", "<=", 1)), 4),
        ((("owner", "=", "owner2"),), 25),
        ((("owner", "in", ("owner1", "nobody")),), 25),
        ((("start", "=", 7),), 5),
        ((("start", "in", (7, 8)), ("owner", "=", "owner3")), 5),
        ((("start", "<", 2), ("until", "=", 2)), 10),
        ((("start", "=", "seven"),), 0),
        ((("until", "=", 7),), 100),
    ],
)
def test_an_index_or_the_key_spares_reading_the_table(where: Any, rows_touched: int) -> None:
    question = Select("bookings", tuple(Condition(*each) for each in where))
    assert touched(store_of_bookings(), question) == rows_touched


def test_the_key_of_a_plain_table_spares_reading_it() -> None:
    store = TupleStore(ROWS)
    for number in range(50):
        store.table(Note).put(Note(f"n{number}"))
    assert touched(store, Select("notes", (Condition("name", "=", "n7"),))) == 1
    assert touched(store, Select("notes", (Condition("name", "in", ("n7", "n8", "n7")),))) == 2


def test_two_lists_of_values_do_not_multiply() -> None:
    numbers = tuple(range(1000))
    where = (Condition("start", "in", numbers), Condition("owner", "in", tuple(map(str, numbers))))
    plan = Plan(store_of_bookings().table(Booking), Select("bookings", where))
    assert len(plan._bounds) == 1000


def test_a_replaced_row_moves_in_every_index() -> None:
    store = store_of_bookings()
    store.table(Booking).put(Booking("elm", 3, "somebody new", 9))
    for condition in (Condition("owner", "=", "somebody new"), Condition("owner", ">=", "somebody new")):
        assert store.select(Select("bookings", (condition,))) == [Booking("elm", 3, "somebody new", 9)]
    start = Condition("start", "=", 3)
    assert len(store.select(Select("bookings", (start, Condition("owner", "=", "owner3"))))) == 4


def test_a_limit_on_an_ordered_question_stops_reading_early(monkeypatch: pytest.MonkeyPatch) -> None:
    scanned = []

    def counting(path: type[Index | Order]) -> None:
        scan = path.scan

        def counted(self: Any, bounds: Any, descending: bool) -> Iterator[Any]:
            for key in scan(self, bounds, descending):
                scanned.append(key)
                yield key

        monkeypatch.setattr(path, "scan", counted)

    counting(Index)
    counting(Order)
    store = store_of_bookings()
    found = store.select(Select("bookings", order=("start",), limit=3))
    assert [(row.room, row.start) for row in found] == [("ash", 0), ("birch", 0), ("elm", 0)]
    assert len(scanned) <= 100, "the index on start, owner is not the order asked for"
    scanned.clear()
    last = store.select(Select("bookings", (Condition("room", "=", "elm"),), limit=2, descending=True))
    assert [(row.room, row.start) for row in last] == [("elm", 19), ("elm", 18)]
    assert len(scanned) == 2
    scanned.clear()
    store.select(Select("bookings", (Condition("owner", ">", "owner1"),), order=("owner",), limit=4))
    assert len(scanned) == 4


def test_none_is_neither_less_nor_greater() -> None:
    store = TupleStore(ROWS)
    store.table(Booking).put(Booking("ash", 1, "ann", None))
    store.table(Booking).put(Booking("ash", 2, "ann", 5))
    assert store.select(Select("bookings", (Condition("until", "<", None),))) == []
    assert store.select(Select("bookings", (Condition("until", ">", None),))) == []
    assert [row.start for row in store.select(Select("bookings", (Condition("until", "<", 9),)))] == [2]
    assert [row.start for row in store.select(Select("bookings", (Condition("until", "=", None),)))] == [1]


def test_marks_nest_and_each_stays_until_it_is_passed() -> None:
    store = TupleStore(ROWS)
    seats = store.table(Seat)
    outer = store.mark()
    seats.put(Seat(1, "ann"))
    inner = store.mark()
    seats.put(Seat(1, "bob"))
    seats.delete(1)
    store.rollback(inner)
    assert seats.get(1) == Seat(1, "ann")
    seats.put(Seat(2))
    store.rollback(inner)
    assert seats.get(2) is None
    store.rollback(outer)
    assert len(seats) == 0
    with pytest.raises(BrokenInvariant, match="not outstanding"):
        store.rollback(inner)


def test_what_is_forgotten_cannot_be_undone() -> None:
    store = TupleStore(ROWS)
    seats = store.table(Seat)
    first = store.mark()
    seats.put(Seat(1))
    second = store.mark()
    seats.put(Seat(2))
    store.forget(second)
    with pytest.raises(BrokenInvariant, match="not outstanding"):
        store.rollback(first)
    store.rollback(second)
    assert seats.first() == seats.last() == Seat(1)
    store.forget()
    with pytest.raises(BrokenInvariant, match="not outstanding"):
        store.rollback(second)


def test_no_undo_log_is_kept_without_a_mark() -> None:
    store = TupleStore(ROWS)
    log = store._undo
    store.table(Seat).put(Seat(1))
    assert log.entries == []
    store.mark()
    store.table(Seat).put(Seat(2))
    assert len(log.entries) == 1
    store.forget()
    store.table(Seat).put(Seat(3))
    assert log.entries == []


def test_a_row_put_and_deleted_between_two_digests_is_never_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    store = TupleStore(ROWS)
    notes = store.table(Note)
    notes.put(Note("ann"))
    before = store.digest()
    hashed: list[Row] = []
    row_hash = Table._row_hash

    def counted(self: Table[Any], row: Row) -> int:
        hashed.append(row)
        return row_hash(self, row)

    monkeypatch.setattr(Table, "_row_hash", counted)
    for number in range(1000):
        notes.put(Note("bob", (number,)))
        notes.delete("bob")
    assert store.digest() == before
    assert hashed == []
    notes.put(Note("bob"))
    assert store.digest() != before
    assert hashed == [Note("bob")]


def test_the_digest_waits_for_a_bounded_number_of_rows_only() -> None:
    store = TupleStore(ROWS)
    notes = store.table(Note)
    for number in range(20_000):
        notes.put(Note(str(number)))
        assert len(notes._pending) < 4096
