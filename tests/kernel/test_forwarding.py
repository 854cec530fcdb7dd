"""The forwarder: each step, each way in which it can fail, and whose turn it is."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.kernel.contracts import Command, Reply
from holdfast.kernel.forwarding import (
    AGAIN_MAX_US,
    AGAIN_US,
    FINAL_US,
    LOST_US,
    PATIENCE_US,
    REASONS_MAX,
    SOON_MAX_US,
    SOON_US,
    TURN_US,
    Action,
    Carry,
    Forwarder,
    Own,
)
from holdfast.kernel.notices import (
    DropNotices,
    Dropped,
    NoticesMissing,
    NoticesUnwanted,
    OutboxAfter,
    OutboxRows,
    Taken,
    TakeNotices,
    TakenUpto,
)
from holdfast.kernel.replies import Outcome, Unavailable, Unknown

LIFE = 1000
ROWS = OutboxRows(LIFE, 1, (("ann", "one"), ("bob", "two")))
TAKE = TakeNotices("rooms", LIFE, 1, ROWS.notices)


class One:
    """One forwarder, its time, and the number of the first notice in the outbox."""

    def __init__(self, rank: int = 0, receivers: int = 3) -> None:
        self.forwarder = Forwarder("rooms", rank, receivers)
        self.now_us = 0
        self.first: int | None = None

    def look(self, after_us: int = 0) -> Action | None:
        """So much later; what is to be done then."""
        self.now_us += after_us
        return self._only(self.forwarder.look(self.now_us, self.first))

    def answer(self, action: Action | None, reply: Reply | None) -> Action | None:
        """The reply to an action; what is to be done next."""
        assert action is not None
        return self._only(self.forwarder.answered(self.now_us, action.id, reply))

    def _only(self, actions: Sequence[Action]) -> Action | None:
        assert len(actions) <= 1
        return actions[0] if actions else None

    def carrying(self) -> Carry:
        """With two notices in the outbox: up to their being handed over."""
        self.first = 1
        carry = self.answer(self.look(), ROWS)
        assert isinstance(carry, Carry)
        return carry

    def wait(self, most_us: int = AGAIN_MAX_US) -> Action:
        """The next thing that it does by itself, looking as often as a node does, and how it was put off."""
        for _ in range(most_us // 200_000 + 1):
            action = self.look(200_000)
            if action is not None:
                return action
        raise AssertionError("it does nothing")


def command(action: Action | None) -> Command | object:
    assert action is not None
    return action.command


# -- One round


def test_there_is_nothing_to_do_for_an_empty_outbox() -> None:
    one = One()
    assert one.look() is None
    assert one.look(PATIENCE_US) is None
    assert one.forwarder.wake_us is None


def test_a_round_reads_carries_and_removes() -> None:
    one = One()
    one.first = 1
    read = one.look()
    assert isinstance(read, Own)
    assert read.command == OutboxAfter(0)
    carry = one.answer(read, ROWS)
    assert isinstance(carry, Carry)
    assert (carry.receiver, carry.command) == (0, TAKE)
    drop = one.answer(carry, Taken(2))
    assert isinstance(drop, Own)
    assert drop.command == DropNotices(2)
    assert one.answer(drop, Dropped(2)) is None
    assert one.forwarder.carried == 2
    one.first = None
    assert one.look() is None
    assert one.forwarder.events == []


def test_what_is_there_next_is_carried_at_once_after_what_has_arrived() -> None:
    one = One()
    one.answer(one.answer(one.carrying(), Taken(2)), Dropped(2))
    one.first = 3
    read = one.look()
    assert command(read) == OutboxAfter(2)
    assert command(one.answer(read, OutboxRows(LIFE, 3, (("ann", "three"),)))) == TakeNotices(
        "rooms", LIFE, 3, (("ann", "three"),)
    )


def test_what_is_not_removed_for_good_is_not_carried_again() -> None:
    """Under `bayou` the removal is a write like any: what was removed is there until it is final."""
    one = One()
    drop = one.answer(one.answer(one.carrying(), Outcome(Taken(2), "committed")), Outcome(Dropped(2), "tentative"))
    assert drop is None
    one.first = 3
    read = one.look()
    assert command(read) == OutboxAfter(2)
    assert one.answer(read, Outcome(OutboxRows(LIFE, 3, ()), "committed")) is None
    assert one.look(SOON_US - 1) is None
    assert command(one.look(1)) == OutboxAfter(2)


def test_while_nothing_is_final_it_asks_less_and_less_often() -> None:
    one = One()
    one.first = 1
    asked = []
    action = one.look()
    for _ in range(8):
        one.answer(action, OutboxRows(0, 1, ()))
        since_us = one.now_us
        action = one.wait()
        asked.append(one.now_us - since_us)
    assert asked[:4] == [200_000, 200_000, 400_000, 800_000]
    assert asked[-1] == SOON_MAX_US
    assert one.forwarder.events == [], "that is nothing to complain about"


def test_a_service_that_was_begun_anew_is_read_from_its_first_notice() -> None:
    one = One()
    one.answer(one.answer(one.carrying(), Taken(2)), Dropped(2))
    one.first = 1
    read = one.wait()
    assert read.command == OutboxAfter(2)
    again = one.answer(read, OutboxRows(LIFE + 5, 3, ()))
    assert command(again) == OutboxAfter(0)
    new = OutboxRows(LIFE + 5, 1, (("ann", "anew"),))
    assert command(one.answer(again, new)) == TakeNotices("rooms", LIFE + 5, 1, new.notices)


# -- An answer that is not final


def test_an_answer_that_is_not_final_is_asked_about_until_it_is() -> None:
    one = One()
    assert one.answer(one.carrying(), Outcome(Taken(2), "tentative")) is None
    assert one.look(SOON_US - 1) is None
    for _ in range(3):
        ask = one.wait()
        assert isinstance(ask, Carry)
        assert (ask.receiver, ask.command) == (0, TakenUpto("rooms", LIFE))
        assert one.answer(ask, Outcome(Taken(1), "committed")) is None
    assert command(one.answer(one.wait(), Outcome(Taken(2), "committed"))) == DropNotices(2)


def test_one_that_does_not_become_final_is_handed_to_the_next_node_ever_less_often() -> None:
    one = One()
    one.answer(one.carrying(), Outcome(Taken(2), "tentative"))
    waited, receivers = [], []
    for _ in range(3):
        since_us = one.now_us
        action = one.wait()
        while isinstance(action, Carry) and isinstance(action.command, TakenUpto):
            handed = one.answer(action, Outcome(Taken(0), "committed"))
            action = handed if handed is not None else one.wait()
        assert isinstance(action, Carry)
        assert action.command == TAKE
        one.answer(action, Outcome(Taken(2), "tentative"))
        waited.append((one.now_us - since_us) // FINAL_US)
        receivers.append(action.receiver)
    assert waited == [1, 2, 4]
    assert receivers == [1, 2, 0]


def test_what_another_one_has_seen_through_is_not_waited_for_any_more() -> None:
    one = One()
    one.answer(one.carrying(), Outcome(Taken(2), "tentative"))
    one.first = 3
    assert one.look(AGAIN_US) is not None, "its turn has come, for it is the first"
    other = One()
    other.answer(other.carrying(), Outcome(Taken(2), "tentative"))
    other.first = None
    assert other.look(AGAIN_US) is None
    assert other.look(PATIENCE_US) is None


# -- Failures


def test_a_receiver_that_does_not_answer_is_followed_by_the_next_ones_soon() -> None:
    one = One()
    carry = one.carrying()
    receivers, waited = [], []
    for reply in (None, Unavailable("joining"), Unknown("late"), None):
        receivers.append(carry.receiver)
        assert one.answer(carry, reply) is None
        since_us = one.now_us
        read = one.wait()
        waited.append(one.now_us - since_us)
        assert read.command == OutboxAfter(0)
        following = one.answer(read, ROWS)
        assert isinstance(following, Carry)
        assert following.command == TAKE
        carry = following
    assert receivers == [0, 1, 2, 0]
    assert waited[0] == waited[1] == AGAIN_US // 5
    assert waited[2] < waited[3]


def test_an_answer_that_never_comes_is_not_waited_for_for_ever() -> None:
    one = One()
    one.carrying()
    assert one.look(PATIENCE_US - 1) is None
    assert one.forwarder.wake_us == PATIENCE_US
    assert one.look(1) is None
    assert "no answer" in one.forwarder.complaint
    assert one.wait().command == OutboxAfter(0)


def test_a_late_answer_is_of_no_interest() -> None:
    one = One()
    carry = one.carrying()
    one.look(PATIENCE_US)
    assert one.answer(carry, Taken(2)) is None
    read = one.wait()
    assert one.answer(carry, Taken(2)) is None
    assert one.answer(read, ROWS) is not None
    assert one.forwarder.carried == 0


def test_an_answer_counts_once() -> None:
    one = One()
    carry = one.carrying()
    assert command(one.answer(carry, Taken(2))) == DropNotices(2)
    assert one.answer(carry, Taken(2)) is None
    assert one.forwarder.carried == 2


def test_a_replica_that_does_not_tell_its_outbox_is_asked_again() -> None:
    one = One()
    one.first = 1
    assert one.answer(one.look(), Unavailable("b is no front end")) is None
    assert "b is no front end" in one.forwarder.complaint
    assert one.wait().command == OutboxAfter(0)


def test_what_was_not_removed_is_carried_again_which_does_no_harm() -> None:
    one = One()
    drop = one.answer(one.carrying(), Taken(2))
    assert one.answer(drop, Unknown("late")) is None
    read = one.wait()
    assert read.command == OutboxAfter(0)
    assert command(one.answer(read, ROWS)) == TAKE


def test_one_node_of_the_receiver_is_tried_again_and_again_when_there_is_no_other() -> None:
    one = One(receivers=1)
    carry = one.carrying()
    for _ in range(20):
        assert carry.receiver == 0
        one.answer(carry, None)
        following = one.answer(one.wait(), ROWS)
        assert isinstance(following, Carry)
        carry = following
    assert command(one.answer(carry, Taken(2))) == DropNotices(2)


def test_a_receiver_that_wants_none_is_asked_again_later() -> None:
    one = One()
    one.answer(one.carrying(), NoticesUnwanted("tickets delivers no notices"))
    assert "tickets delivers no notices" in one.forwarder.complaint
    assert isinstance(one.wait(), Own)


def test_each_reason_is_told_once_until_notices_arrive() -> None:
    one = One()
    carry = one.carrying()
    for why in ("this", "that", "this", "that", *map(str, range(2 * REASONS_MAX))):
        one.answer(carry, Unavailable(why))
        following = one.answer(one.wait(), ROWS)
        assert isinstance(following, Carry)
        carry = following
    told = one.forwarder.events
    assert len(told) == REASONS_MAX
    assert len(frozenset(told)) == len(told)
    one.answer(one.answer(carry, Taken(2)), Dropped(2))
    assert one.forwarder.complaint == ""
    one.first = 3
    read = one.wait()
    one.answer(one.answer(read, OutboxRows(LIFE, 3, (("ann", "three"),))), Unavailable("this"))
    assert len(told) == REASONS_MAX + 1


def test_there_is_no_complaint_about_an_empty_outbox() -> None:
    one = One()
    one.answer(one.carrying(), None)
    assert one.forwarder.complaint
    one.first = None
    one.look(AGAIN_US)
    assert one.forwarder.complaint == ""


def test_what_the_receivers_have_lost_is_gone_over_in_the_end() -> None:
    """They say that they miss what the source has removed, again and again."""
    one = One()
    one.first = 3
    rows = OutboxRows(LIFE, 3, (("ann", "three"),))
    carry = one.answer(one.look(), rows)
    plain = TakeNotices("rooms", LIFE, 3, rows.notices)
    while command(carry) == plain:
        assert one.now_us < LOST_US + AGAIN_MAX_US
        one.answer(carry, NoticesMissing(1))
        carry = one.answer(one.wait(), rows)
    assert one.now_us >= LOST_US
    assert command(carry) == TakeNotices("rooms", LIFE, 3, rows.notices, True)
    one.answer(one.answer(carry, Taken(3)), Dropped(3))
    assert "lost" in one.forwarder.events[-1]
    one.first = 4
    rows = OutboxRows(LIFE, 4, (("ann", "four"),))
    assert command(one.answer(one.wait(), rows)) == TakeNotices("rooms", LIFE, 4, rows.notices)


def test_what_was_missing_long_ago_has_not_been_lost_now() -> None:
    one = One()
    one.first = 3
    rows = OutboxRows(LIFE, 3, (("ann", "three"),))
    one.answer(one.answer(one.look(), rows), NoticesMissing(1))
    one.first = None  # another one has carried it
    one.look(LOST_US)
    one.first = 4
    rows = OutboxRows(LIFE, 4, (("ann", "four"),))
    assert command(one.answer(one.wait(), rows)) == TakeNotices("rooms", LIFE, 4, rows.notices)


# -- Turns


def test_those_behind_wait_until_the_outbox_has_stood_still() -> None:
    one = One(rank=2)
    one.first = 1
    assert one.look() is None
    assert one.forwarder.wake_us == 2 * TURN_US
    assert one.look(2 * TURN_US - 1) is None
    assert command(one.look(1)) == OutboxAfter(0)


def test_while_others_move_it_those_behind_do_nothing() -> None:
    one = One(rank=1)
    for number in range(1, 40, 3):
        one.first = number
        assert one.look(TURN_US // 2) is None


def test_who_has_the_turn_keeps_it() -> None:
    one = One(rank=3)
    one.first = 1
    one.look()
    read = one.look(3 * TURN_US)
    one.answer(one.answer(one.answer(read, ROWS), Taken(2)), Dropped(2))
    one.first = 3
    read = one.look(1000)
    assert command(read) == OutboxAfter(2)
    one.answer(
        one.answer(one.answer(read, OutboxRows(LIFE, 3, (("ann", "three"),))), Taken(3)),
        Dropped(3),
    )
    one.first = 7  # somebody else has removed more
    assert one.look(1000) is None
    assert command(one.look(3 * TURN_US)) == OutboxAfter(3)
