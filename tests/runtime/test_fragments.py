"""What goes into datagrams, without any: bundles, fragments, and everything that can be wrong with them."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.errors import BrokenInvariant, MalformedInput
from holdfast.runtime import fragments
from holdfast.runtime.fragments import (
    DONE_REMEMBERED,
    FRAGMENT_AGE_S,
    FRAGMENT_OVERHEAD_BYTES,
    Bundler,
    Reassembly,
    cut,
    entries,
    entry_bytes,
    is_fragment,
    payload_bytes_max,
)

ROOM = 200
LIFE = b"8 bytes."
HEAD = struct.Struct(">BQHH")

Messages = list[tuple[bytes, bytes]]
channels = st.binary(max_size=20)
messages = st.lists(st.tuples(channels, st.binary(max_size=3 * ROOM)), max_size=30)


def reassembly(bytes_max: int = fragments.REASSEMBLY_BYTES_MAX) -> Reassembly:
    return Reassembly({"incomplete": 0}, bytes_max)


def bodies(number: int, channel: bytes, payload: bytes, room: int = ROOM) -> list[bytes]:
    return [b"".join(body) for body in cut(number, channel, payload, room)]


def fragment(number: int, index: int, count: int, content: bytes = b"content") -> bytes:
    return HEAD.pack(1, number, index, count) + content


def held(parts: Reassembly) -> int:
    """What lies there, counted anew."""
    return sum(
        len(piece) + FRAGMENT_OVERHEAD_BYTES
        for message in parts._unfinished.values()
        for piece in message.pieces.values()
    )


@given(messages)
def test_small_messages_come_out_of_their_bundles_whole_and_in_order(sent: Messages) -> None:
    bundler = Bundler(ROOM)
    small = [message for message in sent if bundler.add(*message)]
    assert all((message in small) == (1 + entry_bytes(*message) <= ROOM) for message in sent)
    bundles = [b"".join(body) for body in bundler.take()]
    assert all(len(bundle) <= ROOM and not is_fragment(bundle) for bundle in bundles)
    assert [message for bundle in bundles for message in reassembly().messages(LIFE, bundle, 0.0)] == small
    assert bundler.take() == []
    room_used = sum(len(bundle) - 1 for bundle in bundles)
    assert len(bundles) <= 1 + 2 * room_used // (ROOM - 1), "two that follow each other would not fit into one"


def test_the_longest_payload_of_one_datagram() -> None:
    longest = bytes(payload_bytes_max(b"events", ROOM))
    assert Bundler(ROOM).add(b"events", longest)
    assert not Bundler(ROOM).add(b"events", longest + b"x")


@given(
    st.lists(st.tuples(channels, st.binary(min_size=ROOM, max_size=10 * ROOM)), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_fragments_in_any_order_and_doubled_make_each_message_once(sent: Messages, chance: random.Random) -> None:
    arriving = [
        body
        for number, message in enumerate(sent)
        for body in bodies(number, *message)
        for _ in range(chance.choice((1, 1, 2, 3)))
    ]
    assert all(len(body) <= ROOM and is_fragment(body) for body in arriving)
    chance.shuffle(arriving)
    parts = reassembly()
    heard = [message for body in arriving for message in parts.messages(LIFE, body, 0.0)]
    assert sorted(heard) == sorted(sent)
    assert (len(parts), parts.bytes_held) == (0, 0)


def test_a_lost_fragment_loses_its_message_and_no_other() -> None:
    parts = reassembly()
    first, second = bodies(1, b"a", bytes(500)), bodies(2, b"b", b"whole" * 100)
    heard = [parts.messages(LIFE, body, 0.0) for body in (*first[1:], *second)]
    assert [message for found in heard for message in found] == [(b"b", b"whole" * 100)]
    assert len(parts) == 1


def test_two_lives_of_a_node_never_mix() -> None:
    old, new = bodies(1, b"a", b"o" * 500), bodies(1, b"a", b"n" * 500)
    parts = reassembly()
    for index in range(len(old) - 1):
        assert parts.messages(b"old life", old[index], 0.0) == []
    assert parts.messages(b"new life", new[-1], 0.0) == []
    for index in range(len(new) - 2):
        assert parts.messages(b"new life", new[index], 0.0) == []
    assert parts.messages(b"new life", new[-2], 0.0) == [(b"a", b"n" * 500)]
    assert parts.messages(b"old life", old[-1], 0.0) == [(b"a", b"o" * 500)]


def test_what_is_doubled_after_the_end_begins_nothing() -> None:
    parts = reassembly()
    for number in range(DONE_REMEMBERED + 5):
        pieces = bodies(number, b"a", bytes(ROOM))
        heard = [message for body in (*pieces, *pieces) for message in parts.messages(LIFE, body, 0.0)]
        assert heard == [(b"a", bytes(ROOM))]
    assert len(parts) == 0
    assert len(parts._done) == DONE_REMEMBERED


def test_an_unfinished_message_is_given_up_when_it_is_old() -> None:
    parts = reassembly()
    parts.messages(LIFE, fragment(1, 0, 2), 0.0)
    parts.messages(LIFE, fragment(2, 0, 2), 5.0)
    parts.expire(FRAGMENT_AGE_S - 0.1)
    assert len(parts) == 2
    parts.expire(FRAGMENT_AGE_S)
    assert (len(parts), parts._counters["incomplete"]) == (1, 1)
    assert parts.bytes_held == held(parts) == FRAGMENT_OVERHEAD_BYTES + len(b"content")
    assert parts.messages(LIFE, fragment(3, 0, 2), 5.0 + FRAGMENT_AGE_S) == []
    assert (len(parts), parts._counters["incomplete"]) == (1, 2)


def test_beyond_the_bound_the_oldest_goes_first() -> None:
    parts = reassembly(bytes_max=3 * (100 + FRAGMENT_OVERHEAD_BYTES))
    for number in range(4):
        parts.messages(LIFE, fragment(number, 0, 2, bytes(100)), 0.0)
    assert [number for _, number in parts._unfinished] == [1, 2, 3]
    assert parts._counters["incomplete"] == 1
    parts.messages(LIFE, fragment(4, 0, 2, bytes(5000)), 0.0)
    assert (len(parts), parts.bytes_held) == (0, 0), "what alone exceeds it goes too"


def test_many_tiny_fragments_are_within_the_bound_too() -> None:
    parts = reassembly(bytes_max=100_000)
    for index in range(60_000):
        parts.messages(LIFE, fragment(1, index, 0xFFFF, b"x"), 0.0)
        assert parts.bytes_held <= 100_000
    assert max(len(message.pieces) for message in parts._unfinished.values()) < 1000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x02rest",
        b"\x01",
        b"\x01" + bytes(5),
        fragment(1, 0, 0),
        fragment(1, 0, 1),
        fragment(1, 2, 2),
        fragment(1, 0xFFFF, 0xFFFF),
        fragment(1, 0, 2, b""),
        b"\x00\x01",
        b"\x00" + struct.pack(">BI", 3, 0) + b"ab",
        b"\x00" + struct.pack(">BI", 0, 0xFFFFFFFF) + b"ab",
        b"\x00" + struct.pack(">BI", 1, 1) + b"ab" + b"more",
    ],
)
def test_a_body_that_makes_no_sense_is_refused_and_changes_nothing(body: bytes) -> None:
    parts = reassembly()
    with pytest.raises(MalformedInput):
        parts.messages(LIFE, body, 0.0)
    assert (len(parts), parts.bytes_held) == (0, 0)


def test_a_fragment_of_another_count_is_refused_and_harms_nothing() -> None:
    parts = reassembly()
    first, *others = bodies(7, b"a", bytes(500))
    parts.messages(LIFE, first, 0.0)
    for count in (len(others), len(others) + 2):
        with pytest.raises(MalformedInput, match="where an earlier one was"):
            parts.messages(LIFE, fragment(7, 1, count), 0.0)
    heard = [message for body in others for message in parts.messages(LIFE, body, 0.0)]
    assert heard == [(b"a", bytes(500))]


def test_a_message_over_the_limit_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragments, "_ENTRY_BYTES_MAX", 300)
    parts = reassembly()
    parts.messages(LIFE, fragment(1, 0, 9, bytes(200)), 0.0)
    with pytest.raises(MalformedInput, match="altogether"):
        parts.messages(LIFE, fragment(1, 1, 9, bytes(200)), 0.0)
    assert (len(parts), parts.bytes_held, parts._counters["incomplete"]) == (0, 0, 1)


def test_the_largest_message_fits_into_the_fragments_of_the_smallest_room() -> None:
    largest = bytes(fragments.MESSAGE_BYTES_MAX)
    room = 1200 - 1 - 1 - 8 - 32 - 16  # a datagram to another machine, with the longest name of a node
    parts = reassembly()
    *first, last = cut(1, b"events", largest, room)
    for body in first:
        assert parts.messages(LIFE, b"".join(body), 0.0) == []
    assert parts.messages(LIFE, b"".join(last), 0.0) == [(b"events", largest)]
    with pytest.raises(BrokenInvariant, match="fragments"):
        next(cut(1, b"events", largest, 100))


odd_fragments = st.builds(
    fragment, st.integers(0, 3), st.integers(0, 6), st.integers(0, 6), st.binary(max_size=40)
) | st.binary(max_size=60)


@given(
    st.lists(st.tuples(odd_fragments, st.sampled_from((LIFE, b"another.")), st.floats(0, 3)), max_size=60),
    st.integers(100, 2000),
)
def test_no_fragments_whatsoever_break_the_bounds(arriving: list[tuple[bytes, bytes, float]], bytes_max: int) -> None:
    parts = reassembly(bytes_max)
    now_s = 0.0
    for body, life, later_s in arriving:
        now_s += later_s
        try:
            parts.messages(life, body, now_s)
        except MalformedInput:
            continue
        finally:
            assert parts.bytes_held == held(parts) <= bytes_max
            assert all(len(message.pieces) < message.count for message in parts._unfinished.values())


@given(st.binary(max_size=100))
def test_any_bytes_are_messages_or_refused(data: bytes) -> None:
    try:
        found = entries(data)
    except MalformedInput:
        return
    assert sum(entry_bytes(*message) for message in found) == len(data)
