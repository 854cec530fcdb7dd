"""Notices by number: what leaves an outbox, what a receiver takes, and that both come to the same everywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.bell import Bell, Bells, Ring, ring
from tests.kernel.postbox import Post, Refused

from holdfast.kernel.contracts import Command, Request
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.machine import Machine
from holdfast.kernel.notices import (
    NOTICES_BYTES_MAX,
    NOTICES_MAX,
    NUMBER_MAX,
    TEXT_MAX,
    DropNotices,
    Dropped,
    NoticesAfter,
    NoticesMissing,
    NoticesUnwanted,
    OutboxAfter,
    OutboxRows,
    Taken,
    TakeNotices,
)
from holdfast.kernel.store import TupleStore


def outbox(machine: Machine, after: int = 0) -> OutboxRows:
    reply = machine.answer(Request(OutboxAfter(after)))
    assert isinstance(reply, OutboxRows)
    return reply


def drop(bells: Bells, upto: int) -> int:
    reply = bells.one(Request(DropNotices(upto)))
    assert isinstance(reply, Dropped)
    return reply.upto


# -- The outbox


def test_an_outbox_without_notices_has_no_life_yet() -> None:
    bells = Bells()
    bells.advance(7)
    bells.one(ring())
    assert outbox(bells.machine) == OutboxRows(0, 1, ())
    assert (bells.machine.notice_first, bells.machine.notices_waiting) == (None, 0)
    assert drop(bells, 5) == 0


def test_what_leaves_the_outbox_has_its_first_number_and_the_time_of_the_first_notice_ever() -> None:
    bells = Bells()
    bells.advance(7)
    bells.do(ring(to="ann"), ring(to="bob"))
    bells.advance(20)
    bells.one(ring(to="eve"))
    found = outbox(bells.machine)
    assert (found.since_ms, found.first, [to for to, _ in found.notices]) == (7, 1, ["ann", "bob", "eve"])
    assert (bells.machine.notice_first, bells.machine.notices_waiting) == (1, 3)
    after = outbox(bells.machine, 2)
    assert (after.since_ms, after.first, [to for to, _ in after.notices]) == (7, 3, ["eve"])
    assert outbox(bells.machine, 3) == OutboxRows(7, 4, ())
    assert outbox(bells.machine, NUMBER_MAX).notices == ()
    assert outbox(bells.machine, -5) == found


def test_what_has_arrived_is_removed_and_the_numbers_go_on() -> None:
    bells = Bells()
    bells.advance(7)
    bells.do(*[ring(to="ann")] * 5)
    assert drop(bells, 3) == 3
    assert (bells.machine.notice_first, bells.machine.notices_waiting) == (4, 2)
    assert outbox(bells.machine).first == 4
    assert drop(bells, 2) == 3, "an old one removes nothing"
    assert drop(bells, 5) == 5
    assert (bells.machine.notice_first, bells.machine.notices_waiting) == (None, 0)
    bells.one(ring(to="bob"))
    found = outbox(bells.machine)
    assert (found.since_ms, found.first, len(found.notices)) == (7, 6, 1)


def test_what_is_not_there_yet_cannot_be_removed() -> None:
    bells = Bells()
    bells.do(ring(to="ann"))
    assert drop(bells, 100) == 1
    bells.one(ring(to="bob"))
    assert bells.machine.notice_first == 2, "the next one is still to be told"


def test_what_people_ask_for_is_what_is_left_of_it() -> None:
    bells = Bells()
    bells.do(ring(to="ann"), ring(to="bob"), ring(to="ann"))
    drop(bells, 1)
    reply = bells.machine.answer(Request(NoticesAfter(0, "ann")))
    assert [number for number, _, _ in reply.rows] == [3]  # type: ignore[attr-defined]


def test_a_notice_that_is_too_long_is_cut() -> None:
    bells = Bells()
    bells.machine._notify("ann", "é" * TEXT_MAX)
    bells.machine._notify("bob", "é" * (TEXT_MAX + 1))
    bells.do()
    whole, cut = (text for _, text in outbox(bells.machine).notices)
    assert whole == "é" * TEXT_MAX
    assert cut == "é" * (TEXT_MAX - 1) + "…"


def test_a_page_has_no_more_than_is_carried_at_a_time() -> None:
    bells = Bells()
    for _ in range(NOTICES_MAX):
        bells.machine._notify("ann", "x" * TEXT_MAX)
    bells.do()
    after, pages = 0, 0
    while (page := outbox(bells.machine, after)).notices:
        assert page.first == after + 1
        assert sum(len(to) + len(text) for to, text in page.notices) <= NOTICES_BYTES_MAX
        after, pages = after + len(page.notices), pages + 1
    assert after == NOTICES_MAX
    assert pages == 7, "sixteen of them at a time"


def test_small_ones_come_a_hundred_at_a_time() -> None:
    bells = Bells()
    bells.do(*[ring(to="ann")] * (NOTICES_MAX + 1))
    assert len(outbox(bells.machine).notices) == NOTICES_MAX
    assert len(outbox(bells.machine, NOTICES_MAX).notices) == 1


# -- The same at every replica


commands = st.one_of(st.builds(Ring, st.sampled_from(["", "ann", "bob"])), st.builds(DropNotices, st.integers(0, 12)))


@given(st.lists(commands, max_size=14), st.data())
def test_how_it_is_batched_does_not_show_in_the_outbox(sent: list[Command], data: st.DataObject) -> None:
    whole, pieces = Machine(Bell()), Machine(Bell())
    requests = [Request(command) for command in sent]
    cut = data.draw(st.integers(0, len(sent)))
    replies = whole.execute(requests, (1, 0))
    assert pieces.execute(requests[:cut], (1, 0)) + pieces.execute(requests[cut:], (1, 0)) == replies
    assert pieces.digest() == whole.digest()


@given(st.lists(commands, max_size=14), st.data())
def test_a_run_of_writes_ends_like_one_after_the_other(sent: list[Command], data: st.DataObject) -> None:
    """As a replica under `bayou` executes them: at once what it is told to commit, or one by one."""
    alone, at_once = Machine(Bell()), Machine(Bell())

    def write(machine: Machine, place: int) -> None:
        machine.execute_write(Request(sent[place]), (1000 + place, "", "law"), f"law-{place + 1}", False)

    for place in range(len(sent)):
        write(alone, place)
    cut = data.draw(st.integers(0, len(sent)))
    for part in (range(cut), range(cut, len(sent))):
        with at_once.run():
            for place in part:
                write(at_once, place)
    assert at_once.digest() == alone.digest()
    assert outbox(at_once) == outbox(alone)


@given(st.lists(commands, max_size=10), st.lists(commands, max_size=10))
def test_what_is_undone_leaves_no_trace(before: list[Command], undone: list[Command]) -> None:
    machine, other = Machine(Bell()), Machine(Bell())
    for place, command in enumerate(before, 1):
        for one in (machine, other):
            one.execute_write(Request(command), (place, "", "law"), f"law-{place}", False)
    mark = machine.store.mark()
    for place, command in enumerate(undone, 100):
        machine.execute_write(Request(command), (place, "", "law"), f"law-{place}", False)
    redone = machine.digest()
    machine.store.rollback(mark)
    assert machine.digest() == other.digest()
    assert (machine.notice_first, outbox(machine)) == (other.notice_first, outbox(other))
    for place, command in enumerate(undone, 100):
        machine.execute_write(Request(command), (place, "", "law"), f"law-{place}", False)
    assert machine.digest() == redone


def test_a_copy_goes_on_with_the_same_numbers() -> None:
    here, there = Bells(), Bells()
    here.advance(7)
    here.do(*[ring(to="ann")] * 3)
    drop(here, 2)
    there.machine.replace_store(TupleStore.restore(there.machine.rows, here.machine.store.snapshot()))
    for bells in (here, there):
        bells.time = 50
        bells.one(ring(to="bob"))
    assert outbox(there.machine) == outbox(here.machine)
    assert there.machine.digest() == here.machine.digest()


# -- The receiver


def test_each_is_taken_once_and_in_order() -> None:
    post = Post()
    assert post.take(1, "one", "two") == 2
    assert post.take(3, "three") == 3
    assert post.letters() == [("rooms", 1, "ann", "one"), ("rooms", 2, "ann", "two"), ("rooms", 3, "ann", "three")]
    assert post.taken() == 3


@pytest.mark.parametrize(("first", "texts"), [(1, ["one"]), (2, ["two"]), (1, ["one", "two"]), (1, [])])
def test_what_came_before_is_dropped(first: int, texts: list[str]) -> None:
    post = Post()
    post.take(1, "one", "two")
    before = post.machine.digest()
    assert post.take(first, *texts) == 2
    assert post.machine.digest() == before


def test_of_an_overlapping_batch_only_what_is_new_is_taken() -> None:
    post = Post()
    post.take(1, "one", "two")
    assert post.take(2, "two", "three", "four") == 4
    assert post.texts() == ["one", "two", "three", "four"]


def test_a_gap_is_refused_and_says_how_far_they_have_come() -> None:
    post = Post()
    post.take(1, "one")
    before = post.machine.digest()
    with pytest.raises(Refused) as refused:
        post.take(3, "three")
    assert refused.value.reply == NoticesMissing(1)
    assert post.machine.digest() == before
    assert post.take(2, "two", "three") == 3


def test_what_nobody_has_any_more_is_gone_over_when_the_source_says_so() -> None:
    post = Post()
    post.take(1, "one")
    assert post.take(4, "four", after_loss=True) == 4
    assert post.take(2, "two", "three", "four") == 4, "what was given up does not come back"
    assert post.texts() == ["one", "four"]


def test_to_say_so_where_nothing_is_missing_changes_nothing() -> None:
    one, other = Post(), Post()
    for post, after_loss in ((one, False), (other, True)):
        post.take(1, "one")
        post.take(1, "one", "two", after_loss=after_loss)
    assert one.machine.digest() == other.machine.digest()


def test_sources_do_not_share_numbers() -> None:
    post = Post()
    post.take(1, "one", source="rooms")
    assert post.take(1, "eins", source="events") == 1
    assert post.texts() == ["one", "eins"]
    assert (post.taken(source="rooms"), post.taken(source="events"), post.taken(source="slots")) == (1, 1, 0)


def test_who_is_begun_anew_counts_from_one_again() -> None:
    post = Post()
    post.take(1, "one", "two")
    assert post.take(1, "first of the new life", since_ms=9) == 1
    assert post.texts() == ["one", "two", "first of the new life"]
    assert (post.taken(since_ms=5), post.taken(since_ms=9)) == (0, 1)


def test_what_an_older_life_had_to_say_is_refused() -> None:
    post = Post()
    post.take(1, "one", since_ms=9)
    with pytest.raises(Refused) as refused:
        post.take(1, "of the life before", since_ms=5)
    assert isinstance(refused.value.reply, NoticesUnwanted)
    assert "begun anew" in refused.value.reply.text()
    assert post.texts() == ["one"]


def test_a_receiver_that_was_begun_anew_goes_on_where_the_source_is() -> None:
    post = Post()
    assert post.take(41, "forty-one") == 41
    assert post.take(42, "forty-two") == 42
    with pytest.raises(Refused):
        post.take(44, "forty-four")


def test_an_app_that_delivers_nothing_says_so() -> None:
    (reply,) = Bells().do(Request(TakeNotices("rooms", 5, 1, (("ann", "hello"),))))
    assert reply == NoticesUnwanted("bell delivers no notices")


@pytest.mark.parametrize(
    "command",
    [
        TakeNotices("rooms", 5, 0, ()),
        TakeNotices("", 5, 1, ()),
        TakeNotices("r" * 65, 5, 1, ()),
        TakeNotices("rooms", -1, 1, ()),
        TakeNotices("rooms", 5, NUMBER_MAX + 1, ()),
        TakeNotices("rooms", 5, 1, (("ann", "x"),) * (NOTICES_MAX + 1)),
        DropNotices(-1),
        DropNotices(NUMBER_MAX + 1),
    ],
    ids=["number 0", "nobody", "a long name", "before all time", "too far", "too many", "drop below", "drop too far"],
)
def test_what_makes_no_sense_does_not_decode(command: Command) -> None:
    machine = Post().machine
    with pytest.raises(MalformedInput):
        machine.decode(machine.encode([Request(command)]))


batches = st.tuples(st.integers(1, 8), st.integers(0, 4), st.booleans())


@given(st.lists(batches, max_size=20))
def test_whatever_comes_each_is_in_once_and_in_order(sent: list[tuple[int, int, bool]]) -> None:
    post, replayed = Post(), Post()
    takes = [
        TakeNotices("rooms", 5, first, tuple(("ann", str(number)) for number in range(first, first + count)))
        for first, count, _ in sent
    ]
    takes.insert(0, TakeNotices("rooms", 5, 1, (("ann", "1"),)))
    replies = [post.do(take)[0] for take in takes]
    upto = post.taken()
    assert post.texts() == [str(number) for number in range(1, upto + 1)]
    for take, reply in zip(takes, replies, strict=True):
        if isinstance(reply, Taken):
            assert take.first + len(take.notices) - 1 <= upto
    assert replayed.do(*takes) == replies
    assert replayed.machine.digest() == post.machine.digest()
