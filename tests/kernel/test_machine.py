"""The machine: an app executed in order, exactly once, with a time, an outbox and a digest of the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.bell import Bell, Bells, Broken, Fail, Look, Ring, Rung, ring

from holdfast.kernel.contracts import Person, Request
from holdfast.kernel.errors import BrokenInvariant, MalformedInput
from holdfast.kernel.machine import Advance, Clock, Machine
from holdfast.kernel.notices import NOTICES_MAX, DropNotices, Notices, NoticesAfter
from holdfast.kernel.replies import Advanced, Forgotten
from holdfast.kernel.store import TupleStore

# -- Exactly once


def test_a_retry_gets_the_first_reply_and_changes_nothing() -> None:
    bells = Bells()
    first = bells.one(ring("ann", 1))
    before = bells.machine.digest()
    assert first == Rung(1)
    assert bells.one(ring("ann", 1)) == first
    assert bells.machine.digest() == before
    assert bells.one(ring("ann", 2)) == Rung(2)


def test_a_retry_within_the_same_batch_is_executed_once() -> None:
    bells = Bells()
    assert bells.do(ring("ann", 1), ring("ann", 1), ring("ann", 2), ring("ann", 1)) == [
        Rung(1),
        Rung(1),
        Rung(2),
        Rung(1),
    ]
    assert bells.count == 2


def test_a_refusal_is_remembered_like_any_reply() -> None:
    bells = Bells()
    assert bells.one(Request(Fail(), "ann", 1)) == Broken(1)
    assert bells.one(Request(Fail(), "ann", 1)) == Broken(1)
    assert bells.count == 1


def test_a_retry_is_known_by_its_number_whatever_it_says() -> None:
    bells = Bells()
    bells.one(ring("ann", 1))
    assert bells.one(Request(Fail(), "ann", 1)) == Rung(1)


def test_a_retry_at_another_replica_gets_the_first_reply() -> None:
    here, there = Bells(), Bells()
    batch = [ring("ann", 1), ring("bob", 1)]
    here.do(*batch)
    there.do(*batch)
    assert there.one(ring("ann", 1)) == Rung(1)
    assert there.one(ring("bob", 1)) == Rung(2)


def test_a_replica_that_copied_the_state_knows_the_first_reply() -> None:
    here, there = Bells(), Bells()
    here.do(ring("ann", 1, to="bob"))
    assert there.machine.replace_store(TupleStore.restore(there.machine.rows, here.machine.store.snapshot())) is None
    assert there.machine.digest() == here.machine.digest()
    assert there.one(ring("ann", 1, to="bob")) == Rung(1)
    assert there.machine.answer(Request(NoticesAfter())) == here.machine.answer(Request(NoticesAfter()))


def test_numbers_may_come_in_any_order() -> None:
    bells = Bells()
    assert [bells.one(ring("ann", number)) for number in (3, 1, 2)] == [Rung(1), Rung(2), Rung(3)]
    assert [bells.one(ring("ann", number)) for number in (1, 2, 3)] == [Rung(2), Rung(3), Rung(1)]


def test_what_the_client_declared_answered_is_refused_and_never_executed_again() -> None:
    bells = Bells()
    bells.do(ring("ann", 1), ring("ann", 2), ring("ann", 3, lowest=3))
    assert bells.one(ring("ann", 2)) == Forgotten("ann", 2, 3)
    assert bells.one(ring("ann", 3, lowest=3)) == Rung(3)
    assert bells.count == 3


def test_a_request_without_a_client_is_executed_each_time() -> None:
    bells = Bells()
    assert bells.do(ring(), ring()) == [Rung(1), Rung(2)]


def test_clients_do_not_share_numbers() -> None:
    bells = Bells()
    assert bells.do(ring("ann", 1), ring("bob", 1)) == [Rung(1), Rung(2)]


clients = st.sampled_from(["ann", "bob", "eve.1795218000000"])
requests = st.builds(ring, clients, st.integers(1, 12), st.just(0), st.sampled_from(["", "joe"]))


@given(st.lists(st.lists(requests, max_size=5), max_size=12))
def test_whatever_is_sent_each_request_is_executed_once(batches: list[list[Request]]) -> None:
    bells, answers = Bells(), {}
    for batch in batches:
        for request, reply in zip(batch, bells.do(*batch), strict=True):
            assert answers.setdefault((request.client, request.number), reply) == reply
    assert bells.count == len(answers)


@given(st.lists(requests, max_size=30), st.data())
def test_how_requests_are_batched_does_not_show_in_the_state(sent: list[Request], data: st.DataObject) -> None:
    whole, pieces = Bells(), Bells()
    sent = [Request(ring().command, request.client, request.number) for request in sent]
    replies = whole.do(*sent)
    cut = data.draw(st.integers(0, len(sent)))
    assert pieces.do(*sent[:cut]) + pieces.do(*sent[cut:]) == replies
    assert pieces.machine.digest() == whole.machine.digest()


# -- Time


def test_time_moves_only_forwards() -> None:
    bells = Bells()
    assert bells.machine.now_ms == 0
    assert bells.advance(1000) == Advanced(1000)
    assert bells.advance(999) == Advanced(1000)
    assert bells.advance(1000) == Advanced(1000)
    assert bells.look().now_ms == 1000


def test_an_advance_that_changes_nothing_leaves_the_digest() -> None:
    bells = Bells()
    bells.advance(1000)
    before = bells.machine.digest()
    bells.advance(500)
    assert bells.machine.digest() == before


def test_an_advance_under_a_clients_name_moves_time_too() -> None:
    bells = Bells()
    assert bells.one(Request(Advance(7), "ann", 1)) == Advanced(7)
    assert bells.one(ring("ann", 1)) == Rung(1)


def test_a_copied_state_brings_its_time() -> None:
    here, there = Bells(), Bells()
    here.advance(1000)
    there.machine.replace_store(TupleStore.restore(there.machine.rows, here.machine.store.snapshot()))
    assert there.machine.now_ms == there.look().now_ms == 1000
    assert there.advance(900) == Advanced(1000)


# -- Context


def test_each_command_is_executed_for_its_own_person_and_client() -> None:
    bells = Bells()
    boss = Person("boss")
    ringing = ring(to="joe").command
    bells.do(Request(ringing, "ann", 1, 0, boss), Request(ringing))
    bells.do(Request(ringing, person=boss), Request(ringing, "bob", 1))
    assert [text for _, _, text in notices(bells)] == [
        "rung 1 for boss by ann at 0 under 1",
        "rung 2 for nobody by nobody at 0 under 1",
        "rung 3 for boss by nobody at 0 under 2",
        "rung 4 for nobody by bob at 0 under 2",
    ]


def test_an_app_knows_who_asks_and_under_which_stamp_it_writes() -> None:
    bells = Bells()
    bells.do(ring("ann", 1))
    bells.do(ring("ann", 2))
    seen = bells.machine.answer(Request(Look(), person=Person("p1")))
    assert (seen.person, seen.stamp) == ("p1", (2, 0))  # type: ignore[attr-defined]


def test_the_person_of_one_request_is_not_that_of_the_next() -> None:
    bells = Bells()
    bells.machine.answer(Request(Look(), client="ann", person=Person("p1")))
    seen = bells.look()
    assert (seen.person, seen.client) == ("", "")


# -- Outbox


def notices(bells: Bells, after: int = 0) -> tuple[tuple[int, str, str], ...]:
    reply = bells.machine.answer(Request(NoticesAfter(after)))
    assert isinstance(reply, Notices)
    return reply.rows


def test_notices_are_numbered_from_one_without_gaps() -> None:
    bells = Bells()
    bells.advance(5)
    bells.do(ring("ann", 1, to="joe"), ring(to=""), ring("ann", 2, to="eve"))
    assert notices(bells) == (
        (1, "joe", "rung 1 for nobody by ann at 5 under 2"),
        (2, "eve", "rung 3 for nobody by ann at 5 under 2"),
    )
    assert notices(bells, after=1) == ((2, "eve", "rung 3 for nobody by ann at 5 under 2"),)
    assert notices(bells, after=2) == ()


def test_a_retry_sends_no_second_notice() -> None:
    bells = Bells()
    for _ in range(3):
        bells.one(ring("ann", 1, to="joe"))
    assert [number for number, _, _ in notices(bells)] == [1]


def test_time_and_notices_do_not_overwrite_each_other() -> None:
    bells = Bells()
    bells.one(ring(to="joe"))
    bells.advance(9)
    bells.one(ring(to="joe"))
    assert [number for number, _, _ in notices(bells)] == [1, 2]
    assert bells.machine.now_ms == 9


def test_a_page_of_notices_ends_and_the_next_goes_on() -> None:
    bells = Bells()
    bells.do(*[ring(to="joe")] * (NOTICES_MAX + 1))
    first = notices(bells)
    assert [number for number, _, _ in first] == list(range(1, NOTICES_MAX + 1))
    assert [number for number, _, _ in notices(bells, first[-1][0])] == [NOTICES_MAX + 1]


# -- What does not decode, and what cannot be


@pytest.mark.parametrize(
    "batch",
    [
        b"",
        b"\xc1",
        b"\x90\x90",
        b"\x81\xa1a\x01",
        b"\x91\x95\x92\xa4ring\x01\xa0\x00\x00\xc0",
        b"\x91\x95\x92\xa4ring\xa1\xff\xa0\x00\x00\xc0",
        b"\x91\x95\x92\xa6strike\xa0\xa0\x00\x00\xc0",
        b"\x91\x95\x91\xa4look\xa0\x00\x00\xc0",
        b"\x91\x96\x92\xa4ring\xa0\xa0\x00\x00\xc0" + b"\x91" * 100_000,
    ],
    ids=["empty", "no msgpack", "two values", "no list", "wrong type", "no text", "no command", "a query", "very deep"],
)
def test_bytes_that_are_no_batch_are_malformed(batch: bytes) -> None:
    with pytest.raises(MalformedInput):
        Machine(Bell()).decode(batch)


@given(st.binary(max_size=60))
def test_no_bytes_do_more_than_be_malformed(batch: bytes) -> None:
    try:
        requests = Machine(Bell()).decode(batch)
    except MalformedInput:
        return
    assert all(isinstance(request, Request) for request in requests)


@given(st.binary(min_size=1, max_size=4), st.integers(0, 40))
def test_a_batch_with_a_damaged_middle_is_malformed_or_another_batch(damage: bytes, place: int) -> None:
    bells = Bells()
    batch = bells.machine.encode([ring("ann", 1, to="joe"), ring("bob", 2)])
    damaged = batch[:place] + damage + batch[place + len(damage) :]
    try:
        requests = bells.machine.decode(damaged)
    except MalformedInput:
        return
    assert len(bells.machine.execute(requests, (1, 0))) == len(requests)


def test_a_batch_of_another_app_is_malformed_and_says_for_which_it_was_read() -> None:
    with pytest.raises(MalformedInput, match="bell"):
        Machine(Bell()).decode(b"\x91\x95\x93\xa7reserve\xa3bob\x03\xa0\x00\x00\xc0")


def test_a_store_without_the_machines_clock_is_not_taken() -> None:
    machine = Machine(Bell())
    store = TupleStore(machine.rows)
    with pytest.raises(BrokenInvariant):
        machine.replace_store(store)
    store.table(Clock).put(Clock(0, 3, 1))
    assert machine.replace_store(store) is None
    assert machine.now_ms == 3


def test_only_the_apps_own_commands_have_a_deadline_of_the_app() -> None:
    class Hasty(Bell):
        def firm_by_ms(self, command: Ring) -> int:
            return len(command.to)

    machine = Machine(Hasty())
    assert machine.firm_by_ms(ring(to="ann")) == 3
    assert machine.firm_by_ms(Request(DropNotices(1))) is None
