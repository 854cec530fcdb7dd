"""What the managers agree on about their replicas: a function of the order, in canonical bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.errors import MalformedInput
from holdfast.replication.sequencer.council import NO_DONOR, VOTES_KEPT, Council
from holdfast.replication.sequencer.messages import (
    ADVANCE,
    CONTROL,
    REQUESTS,
    SEQUENCER_ORIGIN,
    Control,
    DigestAt,
    NeedCopy,
    Restored,
    Run,
    Silent,
    Split,
    Trust,
    Wrong,
    encode_control,
)


class Ordered:
    """A council, and what is put into its order."""

    def __init__(self, managers: int = 3, agreeing: int = 2) -> None:
        self.council = Council(tuple(range(managers)), agreeing)
        self.serial = 0

    def put(self, kind: int, count: int, batch: bytes, origin: int = 0) -> int:
        first = self.council.position + 1
        self.serial += count
        self.council.take(first, Run(kind, origin, 1, self.serial - count + 1, count, batch))
        return first

    def requests(self, count: int = 1) -> int:
        return self.put(REQUESTS, count, b"")

    def control(self, control: Control) -> int:
        return self.put(CONTROL, 1, encode_control(control))


def test_three_wrong_results_in_a_row_and_a_replica_is_replaced() -> None:
    order = Ordered()
    for _ in range(3):
        assert not order.council.copies
        order.control(Wrong(2, (order.requests(),)))
    assert order.council.replacements == 1
    assert order.council.lives == {0: 0, 1: 0, 2: 1}
    assert order.council.copies[2].number == order.council.position
    assert order.council.copies[2].donor == 0


def test_three_in_a_row_are_found_among_many_in_one_report_and_named() -> None:
    """However many others, later ones, are wrong too, and not in a row."""
    order = Ordered()
    order.requests(400)
    order.control(Wrong(2, (3, 4, 5, *range(8, 400, 2))))
    assert order.council.replacements == 1
    assert any("[3, 4, 5] were wrong, 3 in a row" in event for event in order.council.events)


def test_every_second_result_wrong_is_not_three_in_a_row() -> None:
    order = Ordered()
    order.requests(400)
    order.control(Wrong(2, tuple(range(2, 400, 2))))
    assert order.council.replacements == 0


def test_three_wrong_results_with_a_right_one_between_are_not_in_a_row() -> None:
    order = Ordered()
    numbers = [order.requests() for _ in range(4)]
    order.control(Wrong(2, (numbers[0], numbers[1], numbers[3])))
    assert not order.council.copies
    order.control(Wrong(2, (numbers[2],)))
    assert order.council.copies


def test_what_is_no_request_of_a_client_lies_not_between() -> None:
    order = Ordered()
    numbers = []
    for _ in range(3):
        numbers.append(order.requests())
        order.put(ADVANCE, 1, b"", SEQUENCER_ORIGIN)
        order.control(Silent(1, 1))
    order.control(Wrong(2, tuple(numbers)))
    assert order.council.replacements == 1


def test_after_the_replacement_the_count_begins_anew() -> None:
    order = Ordered()
    numbers = [order.requests() for _ in range(6)]
    order.control(Wrong(2, tuple(numbers[:3])))
    order.control(Restored(2, 1, order.council.copies[2].number))
    order.control(Wrong(2, tuple(numbers[3:])))  # of the life before: told late
    assert order.council.replacements == 1
    assert order.council.wrong[2] == []
    for _ in range(3):
        order.control(Wrong(2, (order.requests(),)))
    assert order.council.replacements == 2


def test_a_digest_that_is_not_that_of_two_others_is_a_wrong_state() -> None:
    order = Ordered()
    number = order.requests()
    order.control(DigestAt(1, 0, number, b"bad"))
    order.control(DigestAt(0, 0, number, b"good"))
    assert order.council.agreed(number) is None
    assert order.council.stable == 0
    order.control(DigestAt(2, 0, number, b"good"))
    assert order.council.agreed(number) == b"good"
    assert order.council.stable == number
    assert list(order.council.copies) == [1]


def test_the_vote_of_one_that_was_found_wrong_does_not_help_another_that_is_wrong_in_the_same_way() -> None:
    order = Ordered(4)
    number = order.requests()
    for manager, digest in ((2, b"bad"), (0, b"good"), (1, b"good")):
        order.control(DigestAt(manager, 0, number, digest))
    order.control(Restored(2, 1, order.council.copies[2].number))
    order.control(DigestAt(3, 0, number, b"bad"))  # it comes there only now
    assert order.council.agreed(number) == b"good"
    assert list(order.council.copies) == [3]


def test_a_vote_of_a_life_that_is_over_counts_no_more() -> None:
    order = Ordered()
    number = order.requests()
    order.control(NeedCopy(1, 0, "it crashed", True))
    order.control(DigestAt(1, 0, number, b"bad"))
    order.control(DigestAt(0, 0, number, b"good"))
    order.control(DigestAt(2, 0, number, b"good"))
    assert order.council.lives[1] == 1
    assert order.council.replacements == 0


def test_who_only_lags_keeps_its_state_and_can_still_be_found_wrong() -> None:
    order = Ordered()
    order.control(NeedCopy(1, 0, "it lags", False))
    assert order.council.copies[1].keeps
    assert order.council.has_state(1)
    number = order.requests()
    for manager, digest in ((0, b"good"), (1, b"bad"), (2, b"good")):
        order.control(DigestAt(manager, order.council.lives[manager], number, digest))
    assert order.council.replacements == 1
    assert not order.council.has_state(1)


def test_the_donor_is_the_next_in_the_ring_that_has_a_state_and_is_not_suspected() -> None:
    order = Ordered(4)
    order.control(Silent(2, 1))
    order.control(NeedCopy(1, 0, "it crashed", True))
    assert order.council.copies[1].donor == 3
    order.control(NeedCopy(1, 1, "it does not come", True))
    assert order.council.copies[1].donor == 0
    order.control(NeedCopy(0, 0, "it crashed", True))
    order.control(NeedCopy(3, 0, "it crashed", True))
    assert order.council.copies[3].donor == 2
    order.control(NeedCopy(2, 0, "it crashed", True))
    assert order.council.copies[2].donor == NO_DONOR


def test_votes_are_kept_for_some_numbers_and_for_those_that_are_being_copied() -> None:
    order = Ordered()
    order.control(NeedCopy(2, 0, "it crashed", True))
    copied = order.council.copies[2].number
    order.control(DigestAt(0, 0, copied, b"x"))
    for _ in range(2 * VOTES_KEPT):
        order.control(DigestAt(0, 0, order.requests(), b"x"))
    assert copied in order.council.votes
    assert len(order.council.votes) <= VOTES_KEPT + 1


steps = st.one_of(
    st.integers(1, 5),
    st.builds(Wrong, st.integers(0, 3), st.lists(st.integers(1, 30), max_size=3).map(tuple)),
    st.builds(Silent, st.integers(0, 3), st.integers(1, 30)),
    st.builds(DigestAt, st.integers(0, 3), st.integers(0, 2), st.integers(1, 30), st.sampled_from([b"x", b"y"])),
    st.builds(NeedCopy, st.integers(0, 3), st.integers(0, 2), st.just("why"), st.booleans()),
    st.builds(Trust, st.integers(0, 3)),
    st.builds(Split, st.integers(1, 30), st.lists(st.integers(0, 3), max_size=3).map(tuple)),
    st.builds(Restored, st.integers(0, 3), st.integers(0, 2), st.integers(1, 30)),
)


@given(st.lists(steps, max_size=30), st.integers(0, 30))
def test_a_council_that_is_read_from_its_bytes_goes_on_as_if_it_had_never_been_bytes(
    script: list[int | Control], cut: int
) -> None:
    one, other = Ordered(), Ordered()
    for place, step in enumerate(script):
        if place == cut:
            other.council = Council((0, 1, 2), 2)
            other.council.adopt(one.council.standing())
        for order in (one, other):
            if isinstance(step, int):
                order.requests(step)
            else:
                order.control(step)
    assert one.council.standing() == other.council.standing()


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90"])
def test_bytes_that_are_no_standing_change_nothing(data: bytes) -> None:
    order = Ordered()
    order.requests()
    before = order.council.standing()
    with pytest.raises(MalformedInput):
        order.council.adopt(data)
    with pytest.raises(MalformedInput, match="standing of 4"):
        order.council.adopt(Council((0, 1, 2, 3), 2).standing())
    assert order.council.standing() == before
