"""Canonical bytes, the same under every hash seed, and the chain of checksums."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.codec import CHAIN_START, chain, decoder, encode
from holdfast.kernel.errors import ConfigurationError, HoldfastError, MalformedInput
from holdfast.kernel.store import Select

ROOT = Path(__file__).parents[2]

decode_question: Callable[[bytes], Select] = decoder(Select, "question")

STORY = """
from holdfast.kernel.codec import chain, encode
from holdfast.kernel.stamps import VersionVector
from holdfast.kernel.store import Condition, Select, TupleStore
from tests.kernel.store_model import ROWS, Booking, Note

store = TupleStore(ROWS)
for number in range(300):
    store.table(Note).put(Note(f"n{number * 7 % 300}", (number,)))
    store.table(Booking).put(Booking(f"room{number % 7}", number, f"owner{number % 5}"))
sliced = store.begin_snapshot()
slices = []
while (piece := sliced.take(100)) is not None:
    slices.append(piece)
    store.table(Note).delete(f"n{len(slices)}")
names = tuple(f"owner{number}" for number in range(5))
found = store.select(Select("bookings", (Condition("owner", "in", names),), order=("owner",)))
print(store.digest().hex(), store.snapshot().hex(), b"".join(slices).hex())
print(encode({name: names for name in {*names, "x", "y"}}).hex(), encode(found).hex())
print(VersionVector({name: 1 for name in {*names, "x", "y"}}).encode().hex(), chain(bytes(16), 1, b"x").hex())
"""


def told_under(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", STORY]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_every_hash_seed_gives_the_same_bytes() -> None:
    first = told_under("0")
    assert len(first) > 10_000
    assert first == told_under("1") == told_under("4242")


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 9)), max_size=6))
def test_the_order_of_insertion_does_not_show(pairs: list[tuple[str, int]]) -> None:
    forwards, backwards = dict(pairs), dict(sorted(dict(pairs).items(), reverse=True))
    assert encode(forwards) == encode(backwards)


@given(st.binary(max_size=60))
def test_bytes_from_outside_decode_or_are_refused(data: bytes) -> None:
    try:
        question = decode_question(data)
    except MalformedInput:
        return
    assert decode_question(encode(question)) == question


def test_a_tower_of_brackets_is_refused() -> None:
    with pytest.raises(MalformedInput, match="no question"):
        decode_question(b"\x91" * 100_000)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=6), st.data())
def test_the_chain_notices_any_change_of_any_record(records: list[bytes], data: st.DataObject) -> None:
    def end(records: list[bytes]) -> bytes:
        previous = CHAIN_START
        for number, record in enumerate(records):
            previous = chain(previous, number, record)
        return previous

    changed = data.draw(st.lists(st.binary(max_size=8), min_size=1, max_size=6) | st.permutations(records))
    assert (end(changed) == end(records)) == (changed == records)


def test_the_chain_binds_the_number_and_the_past() -> None:
    first = chain(CHAIN_START, 1, b"one")
    assert len(first) == 16
    assert first != chain(CHAIN_START, 2, b"one")
    assert chain(first, 2, b"two") != chain(CHAIN_START, 2, b"two")
    with pytest.raises(ValueError, match="16 bytes"):
        chain(b"short", 1, b"one")


def test_a_mistake_in_a_configuration_tells_where() -> None:
    error = ConfigurationError("must be positive", file="site.toml", key="service.tickets.seats", line=7)
    assert str(error) == "site.toml, line 7, service.tickets.seats: must be positive"
    assert isinstance(error, HoldfastError)
    assert str(ConfigurationError("no site")) == "no site"
