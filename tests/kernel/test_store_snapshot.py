"""Snapshots: canonical, sliced, damaged, foreign, empty and huge."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.store_model import ROWS, Address, Booking, Note, Seat

from holdfast.kernel import snapshot
from holdfast.kernel.errors import BrokenInvariant, SnapshotError
from holdfast.kernel.store import Restorer, Row, TupleStore


def small_store() -> TupleStore:
    store = TupleStore(ROWS)
    for number in range(30):
        store.table(Seat).put(Seat(number, f"h{number % 3}"))
        store.table(Note).put(Note(f"n{number}", (number, number + 1), Address("Elm Street", number)))
        store.table(Booking).put(Booking("elm", number, "ann", number + 1))
    return store


def frames_of(data: bytes) -> list[bytes]:
    """A snapshot cut at its frames: header of 10 bytes that ends in the length, checksum, payload."""
    frames = []
    while data:
        length = 26 + int.from_bytes(data[6:10], "big")
        frames.append(data[:length])
        data = data[length:]
    return frames


@pytest.fixture(scope="module")
def sample() -> bytes:
    patch = pytest.MonkeyPatch()
    patch.setattr(snapshot, "FRAME_ROWS_MAX", 8)
    data = small_store().snapshot()
    patch.undo()
    return data


def test_an_empty_store_round_trips() -> None:
    store = TupleStore(ROWS)
    data = store.snapshot()
    assert TupleStore.restore(ROWS, data).digest() == store.digest() == bytes(16)
    sliced = store.begin_snapshot()
    assert sliced.take(1) == data
    assert sliced.take(1) is None


def test_a_huge_row_round_trips() -> None:
    store = TupleStore(ROWS)
    store.table(Note).put(Note("n" * 3_000_000, tuple(range(200_000))))
    assert TupleStore.restore(ROWS, store.snapshot()).digest() == store.digest()


def test_many_rows_that_change_under_a_sliced_snapshot_come_back_as_of_its_beginning() -> None:
    store = TupleStore(ROWS)
    notes, seats = store.table(Note), store.table(Seat)
    for number in range(20_000):
        notes.put(Note(f"n{number}", (number,)))
        seats.put(Seat(number))
    as_of_begin = store.snapshot()
    sliced = store.begin_snapshot()
    restored = TupleStore(ROWS)
    restorer = Restorer(restored)
    turn = 0
    while (piece := sliced.take(1000)) is not None:
        restorer.feed(piece)
        for number in range(turn * 300, turn * 300 + 300):
            notes.put(Note(f"n{number}", ()))
            notes.delete(f"n{number + 3}")
            notes.put(Note(f"new{number}"))
            seats.delete(number)
        turn += 1
    restorer.finish()
    assert restored.snapshot() == as_of_begin
    assert turn > 40
    after = TupleStore.restore(ROWS, store.snapshot())
    assert after.digest() == store.digest() != restored.digest()


def test_no_slice_does_more_than_the_rows_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    store = small_store()
    sliced = store.begin_snapshot()
    handled: list[int] = []
    frame = snapshot._Frames.rows

    def counted(self: snapshot._Frames, table: object, rows: list[Row]) -> bytes:
        handled[-1] += len(rows)
        return frame(self, table, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(snapshot._Frames, "rows", counted)
    merged_before = 0
    for number in range(30, 60):
        store.table(Seat).put(Seat(number))
    while not sliced.done:
        handled.append(0)
        changes = store.table(Seat).changes
        sliced.take(7)
        handled[-1] += changes - store.table(Seat).changes
        merged_before += changes - store.table(Seat).changes
    assert max(handled) == 7
    assert sum(handled) == 90 + 30
    assert merged_before == 30


def test_one_sliced_snapshot_at_a_time() -> None:
    store = small_store()
    first = store.begin_snapshot()
    with pytest.raises(BrokenInvariant, match="being taken already"):
        store.begin_snapshot()
    first.close()
    assert first.take(1) is None
    second = store.begin_snapshot()
    while second.take(50) is not None:
        pass
    assert store.begin_snapshot().take(1)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_a_snapshot_may_be_fed_in_any_pieces(sample: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sample)), max_size=6)))
    pieces = [sample[start:end] for start, end in zip([0, *cuts], [*cuts, len(sample)], strict=True)]
    assert TupleStore.restore(ROWS, pieces).digest() == small_store().digest()


@settings(deadline=None, max_examples=500)
@given(data=st.data())
def test_any_damage_is_noticed(sample: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sample)
    place = data.draw(st.integers(0, len(sample) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "remove", "zeros"]))
    if kind == "flip":
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del damaged[place:]
    elif kind == "insert":
        damaged[place:place] = data.draw(st.binary(min_size=1, max_size=40))
    elif kind == "remove":
        del damaged[place : place + data.draw(st.integers(1, 40))]
    else:
        damaged[place : place + 64] = bytes(len(damaged[place : place + 64]))
    if damaged != sample:
        with pytest.raises(SnapshotError):
            TupleStore.restore(ROWS, bytes(damaged))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_snapshot(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        TupleStore.restore(ROWS, data)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_frames_that_are_lost_repeated_or_exchanged_are_noticed(sample: bytes, data: st.DataObject) -> None:
    frames = frames_of(sample)
    assert len(frames) > 8
    one, other = sorted(data.draw(st.lists(st.integers(0, len(frames) - 1), min_size=2, max_size=2, unique=True)))
    lost = frames[:one] + frames[one + 1 :]
    repeated = [*frames[:one], frames[one], *frames[one:]]
    exchanged = [*frames[:one], frames[other], *frames[one + 1 : other], frames[one], *frames[other + 1 :]]
    for wrong in (lost, repeated, exchanged):
        with pytest.raises(SnapshotError):
            TupleStore.restore(ROWS, wrong)


def test_another_format_is_named(sample: bytes) -> None:
    foreign = bytearray(sample)
    foreign[4] = 9
    with pytest.raises(SnapshotError, match=r"format 9.*reads format 1"):
        TupleStore.restore(ROWS, bytes(foreign))


def test_bytes_after_the_end_are_refused(sample: bytes) -> None:
    with pytest.raises(SnapshotError, match="after the end"):
        TupleStore.restore(ROWS, sample + sample)


def test_another_apps_snapshot_is_refused(sample: bytes) -> None:
    with pytest.raises(SnapshotError, match="'bookings', unknown here"):
        TupleStore.restore((Note, Seat), sample)


class OtherSeat(Row, frozen=True):
    """The table of seats as another version has it."""

    table = "seats"
    key = ("number",)

    number: int
    holder: bytes


class WiderSeat(Row, frozen=True):
    """The table of seats with one more field."""

    table = "seats"
    key = ("number",)

    number: int
    holder: str = ""
    price: int = 0


def test_rows_of_another_shape_are_refused() -> None:
    store = TupleStore((Seat,))
    store.table(Seat).put(Seat(1, "not base64!"))
    with pytest.raises(SnapshotError, match="does not fit"):
        TupleStore.restore((OtherSeat,), store.snapshot())
    with pytest.raises(SnapshotError, match="rows differ"):
        TupleStore.restore((WiderSeat,), store.snapshot())


def test_only_an_empty_store_is_filled() -> None:
    with pytest.raises(SnapshotError, match="empty store"):
        Restorer(small_store())
