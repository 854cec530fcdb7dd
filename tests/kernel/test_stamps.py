"""Logical time: the clock condition, the total order, hybrid stamps and version vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.stamps import AcceptStamp, HybridClock, LamportClock, LamportStamp, Relation, VersionVector

servers = st.integers(0, 2)
acts = st.lists(st.tuples(st.sampled_from(["event", "send", "receive"]), servers, servers), max_size=60)


@given(acts)
def test_what_happened_before_has_the_lower_stamp(story: list[tuple[str, int, int]]) -> None:
    """The clock condition of Lamport 1978: if a -> b then C(a) < C(b). A cause is tracked beside the clock."""
    clocks = [LamportClock() for _ in range(3)]
    past: list[set[LamportStamp]] = [set(), set(), set()]
    wire: list[tuple[int, int, int, set[LamportStamp]]] = []
    stamps: list[LamportStamp] = []
    for kind, server, other in story:
        arrived = [each for each in wire if each[0] == server]
        if kind == "receive" and arrived:
            wire.remove(arrived[0])
            time = clocks[server].observe(arrived[0][1])
            past[server] |= arrived[0][3]
        else:
            time = clocks[server].tick()
        stamp = LamportStamp(time, server)
        assert all(cause < stamp for cause in past[server])
        past[server].add(stamp)
        stamps.append(stamp)
        if kind == "send":
            wire.append((other, time, server, set(past[server])))
    assert len(set(stamps)) == len(stamps), "the order is total: no two events share a stamp"


def test_equal_times_are_ordered_by_the_server() -> None:
    stamps = [LamportStamp(4, 0), LamportStamp(3, 2), LamportStamp(3, 0), LamportStamp(3, 1)]
    assert sorted(stamps) == [(3, 0), (3, 1), (3, 2), (4, 0)]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2_000)), max_size=50))
def test_a_hybrid_stamp_follows_all_that_its_author_saw_and_is_never_behind_the_clock(
    story: list[tuple[bool, int]],
) -> None:
    clock = HybridClock("r1")
    seen = 0
    for stamps, time_ms in story:
        if stamps:
            stamp = clock.stamp(time_ms, "Ann")
            assert stamp.milliseconds == max(time_ms, seen + 1)
            seen = stamp.milliseconds
        else:
            clock.observe(time_ms)
            seen = max(seen, time_ms)


def test_who_acts_in_the_same_millisecond_is_ordered_by_first_name_then_replica() -> None:
    bob, ann = HybridClock("r1").stamp(1000, "Bob"), HybridClock("r2").stamp(1000, "Ann")
    other_ann = HybridClock("r3").stamp(1000, "Ann")
    assert sorted([bob, other_ann, ann]) == [ann, other_ann, bob]
    assert bob < AcceptStamp(1001, "Ann", "r0")


replicas = st.sampled_from(["r1", "r2", "r3", "é"])
vectors = st.dictionaries(replicas, st.integers(0, 4)).map(VersionVector)


@given(vectors, vectors, vectors)
def test_merging_is_the_least_upper_bound(one: VersionVector, two: VersionVector, three: VersionVector) -> None:
    both = one.merge(two)
    assert both.includes(one)
    assert both.includes(two)
    assert both == two.merge(one)
    assert one.merge(one) == one
    assert both.merge(three) == one.merge(two.merge(three))
    assert three.merge(both) == three or not (three.includes(one) and three.includes(two))


@given(vectors, vectors)
def test_comparing_agrees_with_covering(one: VersionVector, two: VersionVector) -> None:
    points = [(replica, time) for replica in ("r1", "r2", "r3", "é") for time in range(1, 5)]
    mine = {point for point in points if one.covers(*point)}
    theirs = {point for point in points if two.covers(*point)}
    assert one.compare(two) == (
        Relation.EQUAL
        if mine == theirs
        else Relation.BEFORE
        if mine < theirs
        else Relation.AFTER
        if mine > theirs
        else Relation.CONCURRENT
    )
    assert (one == two) == (mine == theirs)


@given(vectors, replicas, st.integers(0, 6))
def test_raising_covers_and_forgets_nothing(vector: VersionVector, replica: str, time: int) -> None:
    raised = vector.raised(replica, time)
    assert raised.covers(replica, time)
    assert raised == vector.merge(VersionVector({replica: time}))


@given(vectors, st.randoms(use_true_random=False))
def test_equal_vectors_have_equal_bytes(vector: VersionVector, random: object) -> None:
    shuffled = list(vector.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = VersionVector([*shuffled, ("unheard of", 0)])
    assert again.encode() == vector.encode()
    assert VersionVector.decode(vector.encode()) == vector


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91\x92\xa2r1\x00",  # at 0
        b"\x92\x92\xa2r2\x01\x92\xa2r1\x01",  # out of order
        b"\x92\x92\xa2r1\x01\x92\xa2r1\x02",  # twice
        b"\x91\x92\xa2r1\xff",  # at -1
        b"\x91\x92\xa2r1\xcc\x01",  # a longer form than needed
    ],
)
def test_bytes_that_are_no_canonical_vector_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedInput):
        VersionVector.decode(data)
