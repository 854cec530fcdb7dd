"""The tuple store against a naive model, under every mix of changes, undo, questions and copies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.kernel.store_model import (
    ROWS,
    Booking,
    Content,
    Seat,
    answer,
    content_of,
    copied,
    empty_content,
    key_of,
    questions,
    rows,
    store_with,
)

from holdfast.kernel import snapshot, table
from holdfast.kernel.codec import decoder, encode
from holdfast.kernel.store import Condition, Row, Select, SlicedSnapshot, TupleStore


class StoreBesideModel(RuleBasedStateMachine):
    """Every rule does the same to the store and to the model; the invariants compare them.

    The bounds for folding and framing are lowered, so that a few rows cross them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(table, "FOLD_ROWS_MAX", 4)
        self.patch.setattr(snapshot, "FRAME_ROWS_MAX", 2)
        self.store = TupleStore(ROWS)
        self.model: Content = empty_content()
        self.marks: list[tuple[int, Content]] = []
        self.sliced: SlicedSnapshot | None = None
        self.slices: list[bytes] = []
        self.as_of_begin: Content = empty_content()

    def teardown(self) -> None:
        self.patch.undo()

    @rule(several=st.lists(rows, min_size=1, max_size=12))
    def put(self, several: list[Row]) -> None:
        for row in several:
            self.store.table(type(row)).put(row)
            self.model[type(row)][key_of(row)] = row

    @rule(row=rows)
    def delete(self, row: Row) -> None:
        existed = self.model[type(row)].pop(key_of(row), None) is not None
        assert self.store.table(type(row)).delete(key_of(row)) == existed

    @rule(data=st.data())
    def delete_one_that_is_there(self, data: st.DataObject) -> None:
        there = [row for rows_by_key in self.model.values() for _, row in sorted(rows_by_key.items())]
        if there:
            self.delete(data.draw(st.sampled_from(there)))

    @rule(several=st.lists(questions, min_size=1, max_size=4))
    def ask(self, several: list[Select]) -> None:
        for question in several:
            assert self.store.select(question) == answer(self.model, question)

    @rule()
    def look_up_by_every_index(self) -> None:
        for field, values in (("owner", ("", "ann", "anna", "zoë\0")), ("start", range(-1, 4))):
            for value in values:
                question = Select("bookings", (Condition(field, "=", value),), order=(field,))
                assert self.store.select(question) == answer(self.model, question)

    @rule(row=rows)
    def get(self, row: Row) -> None:
        assert self.store.table(type(row)).get(key_of(row)) == self.model[type(row)].get(key_of(row))

    @rule()
    def mark(self) -> None:
        self.marks.append((self.store.mark(), copied(self.model)))

    @precondition(lambda self: self.marks)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.marks) - 1))
        mark, content = self.marks[place]
        self.store.rollback(mark)
        self.model = copied(content)
        del self.marks[place + 1 :]

    @precondition(lambda self: self.marks)
    @rule(data=st.data())
    def forget_what_is_older(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.marks) - 1))
        self.store.forget(self.marks[place][0])
        del self.marks[:place]

    @rule()
    def forget_all(self) -> None:
        self.store.forget()
        self.marks.clear()

    @rule()
    def compare_digests(self) -> None:
        assert self.store.digest() == store_with(self.model).digest()

    @rule()
    def copy_at_once(self) -> None:
        data = self.store.snapshot()
        assert data == store_with(self.model).snapshot()
        assert content_of(TupleStore.restore(ROWS, data)) == self.model

    @precondition(lambda self: self.sliced is None)
    @rule()
    def begin_copy(self) -> None:
        self.sliced, self.slices = self.store.begin_snapshot(), []
        self.as_of_begin = copied(self.model)

    @precondition(lambda self: self.sliced is not None)
    @rule(rows_max=st.integers(1, 4))
    def take_slice(self, rows_max: int) -> None:
        assert self.sliced is not None
        piece = self.sliced.take(rows_max)
        if piece is not None:
            self.slices.append(piece)
            return
        restored = TupleStore.restore(ROWS, self.slices)
        assert content_of(restored) == self.as_of_begin
        assert restored.snapshot() == store_with(self.as_of_begin).snapshot()
        self.sliced = None

    @precondition(lambda self: self.sliced is not None)
    @rule()
    def give_up_copy(self) -> None:
        assert self.sliced is not None
        self.sliced.close()
        self.sliced = None

    @invariant()
    def content_is_equal(self) -> None:
        assert content_of(self.store) == self.model
        for row_type in ROWS:
            assert len(self.store.table(row_type)) == len(self.model[row_type])

    @rule()
    def look_at_the_ends(self) -> None:
        """No invariant, so that changes gather in between."""
        for row_type in (Seat, Booking):
            keys: list[Any] = sorted(self.model[row_type])
            ends = (self.store.table(row_type).first(), self.store.table(row_type).last())
            assert ends == ((self.model[row_type][keys[0]], self.model[row_type][keys[-1]]) if keys else (None, None))


TestStoreBesideModel = StoreBesideModel.TestCase
TestStoreBesideModel.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


@settings(deadline=None, max_examples=150)
@given(st.lists(rows, min_size=12, max_size=40), st.lists(questions, min_size=3, max_size=3))
def test_any_question_to_any_content_is_answered_as_the_model_does(content: list[Row], asked: list[Select]) -> None:
    store, model = TupleStore(ROWS), empty_content()
    for row in content:
        store.table(type(row)).put(row)
        model[type(row)][key_of(row)] = row
    for question in asked:
        assert store.select(question) == answer(model, question)


@given(questions)
def test_a_question_survives_being_sent(question: Select) -> None:
    received: Select = decoder(Select, "question")(encode(question))
    assert received == question
    assert encode(received) == encode(question)


@given(st.lists(rows, max_size=20), st.data())
def test_equal_content_has_equal_bytes_however_it_came_about(content: list[Row], data: st.DataObject) -> None:
    last_of_each = {(type(row), key_of(row)): row for row in content}
    shuffled = data.draw(st.permutations(list(last_of_each.values())))
    one, other = TupleStore(ROWS), TupleStore(ROWS)
    for row in content:
        one.table(type(row)).put(row)
    for row in shuffled:
        other.table(type(row)).put(row)
    assert one.digest() == other.digest()
    assert one.snapshot() == other.snapshot()


@given(st.lists(rows, max_size=10), rows)
def test_any_difference_shows_in_the_digest(content: list[Row], row: Row) -> None:
    store = TupleStore(ROWS)
    for each in content:
        store.table(type(each)).put(each)
    held = store.table(type(row))
    before, old = store.digest(), held.get(key_of(row))
    held.put(row)
    assert (store.digest() == before) == (old == row)
    held.delete(key_of(row))
    assert (store.digest() == before) == (old is None)
