"""Sessions: what bounds the memory of answers, and why nothing is ever executed twice for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.bell import Bell, Bells, Ring, Rung, ring

from holdfast.kernel import sessions
from holdfast.kernel.contracts import Reply, Request
from holdfast.kernel.machine import Machine
from holdfast.kernel.replies import Expired, Forgotten, OutOfClients
from holdfast.kernel.sessions import RETENTION_MS, WINDOW, PlainClients, PlainClientsOf, Session, birth_ms, owner_of
from holdfast.kernel.store import TupleStore

HOUR_MS = 3_600_000
NOW_MS = 1_795_218_000_000
YOUNG = f"ann.{NOW_MS}"


def session(bells: Bells, client: str) -> Session | None:
    return bells.machine.store.table(Session).get(client)


def plain_clients(bells: Bells) -> int:
    row = bells.machine.store.table(PlainClients).get(0)
    return 0 if row is None else row.count


@pytest.mark.parametrize(
    ("client", "birth"),
    [
        ("ann.1795218000000", 1_795_218_000_000),
        (".1795218000000", 1_795_218_000_000),
        ("a.b.0000000000001", 1),
        ("ann", None),
        ("1795218000000", None),
        ("ann.179521800000", None),
        ("ann.17952180000000", None),
        ("ann-1795218000000", None),
        ("ann.179521800000x", None),
        ("ann.179521800000\u0663", None),
        ("", None),
    ],
)
def test_a_birth_is_a_dot_and_thirteen_digits(client: str, birth: int | None) -> None:
    assert birth_ms(client) == birth


# -- Numbers


def test_answers_below_the_lowest_unanswered_number_are_dropped() -> None:
    bells = Bells()
    bells.do(*(ring("ann", number) for number in range(1, 6)))
    bells.one(ring("ann", 6, lowest=5))
    kept = session(bells, "ann")
    assert kept is not None
    assert (kept.lowest, [number for number, _ in kept.answers]) == (5, [5, 6])
    assert isinstance(bells.one(ring("ann", 4)), Forgotten)


def test_lowest_never_goes_back() -> None:
    bells = Bells()
    bells.do(ring("ann", 5, lowest=5), ring("ann", 6, lowest=1))
    assert isinstance(bells.one(ring("ann", 4)), Forgotten)
    assert bells.count == 2


def test_a_lowest_above_the_number_itself_does_not_forget_the_answer_just_given() -> None:
    bells = Bells()
    bells.one(ring("ann", 2, lowest=9))
    assert bells.one(ring("ann", 2, lowest=9)) == Rung(1)


def test_only_a_window_of_answers_is_kept_and_what_falls_out_is_refused() -> None:
    bells = Bells()
    bells.do(*(ring("ann", number) for number in range(1, WINDOW + 2)))
    kept = session(bells, "ann")
    assert kept is not None
    assert len(kept.answers) == WINDOW
    assert bells.one(ring("ann", 1)) == Forgotten("ann", 1, 2)
    assert bells.one(ring("ann", 2)) == Rung(2)
    assert bells.count == WINDOW + 1


def test_a_number_that_was_overtaken_by_a_window_is_refused_not_executed() -> None:
    bells = Bells()
    bells.do(*(ring("ann", number) for number in range(2, WINDOW + 3)))
    assert isinstance(bells.one(ring("ann", 1)), Forgotten)
    assert bells.count == WINDOW + 1


def test_the_answer_of_a_straggler_is_the_first_to_fall_out_of_a_full_window() -> None:
    bells = Bells()
    bells.do(*(ring("ann", number) for number in range(2, WINDOW + 2)))
    assert bells.one(ring("ann", 1)) == Rung(WINDOW + 1)
    assert isinstance(bells.one(ring("ann", 1)), Forgotten)
    assert bells.count == WINDOW + 1


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 400)), max_size=400))
def test_no_number_is_ever_executed_twice_whatever_the_client_declares(sent: list[tuple[int, int]]) -> None:
    bells = Bells()
    executed: dict[int, Reply] = {}
    for number, lowest in sent:
        before = bells.count
        reply = bells.one(ring("ann", number, lowest))
        if bells.count > before:
            assert number not in executed
            executed[number] = reply
        else:
            assert isinstance(reply, Forgotten) or reply == executed[number]
    kept = session(bells, "ann")
    assert kept is None or len(kept.answers) <= WINDOW


# -- Births and expiry


def test_a_session_expires_a_day_after_its_last_use_and_its_id_is_dead_from_then_on() -> None:
    bells = Bells()
    bells.advance(NOW_MS)
    bells.one(ring(YOUNG, 1))
    bells.advance(NOW_MS + RETENTION_MS)
    assert bells.one(ring(YOUNG, 1)) == Rung(1)
    bells.advance(NOW_MS + RETENTION_MS + 2 * HOUR_MS)
    assert session(bells, YOUNG) is None
    assert bells.one(ring(YOUNG, 1)) == Expired(YOUNG)
    assert bells.one(ring(YOUNG, 2)) == Expired(YOUNG)
    assert bells.count == 1


def test_a_session_born_ahead_of_the_time_is_kept_until_its_id_is_too_old_to_begin_anew() -> None:
    bells = Bells()
    bells.advance(NOW_MS)
    client = f"eve.{NOW_MS + RETENTION_MS - 1}"
    bells.one(ring(client, 1))
    for hours in range(49):
        bells.advance(NOW_MS + hours * HOUR_MS)
        assert bells.one(ring(client, 1)) in (Rung(1), Expired(client))
    assert bells.count == 1


def test_use_keeps_a_session() -> None:
    bells = Bells()
    bells.advance(NOW_MS)
    for day in range(1, 4):
        bells.one(ring(YOUNG, day))
        bells.advance(NOW_MS + day * (RETENTION_MS - HOUR_MS))
    assert bells.one(ring(YOUNG, 1)) == Rung(1)


@pytest.mark.parametrize("birth", [NOW_MS - RETENTION_MS, NOW_MS + RETENTION_MS, 0, 9_999_999_999_999])
def test_an_unknown_id_whose_birth_is_not_of_this_time_is_refused(birth: int) -> None:
    bells = Bells()
    bells.advance(NOW_MS)
    client = f"eve.{birth:013}"
    assert bells.one(ring(client, 1)) == Expired(client)
    assert session(bells, client) is None
    assert bells.count == 0


@pytest.mark.parametrize("birth", [NOW_MS - RETENTION_MS + 1, NOW_MS, NOW_MS + RETENTION_MS - 1])
def test_clocks_may_be_wrong_by_less_than_a_day(birth: int) -> None:
    bells = Bells()
    bells.advance(NOW_MS)
    assert bells.one(ring(f"eve.{birth}", 1)) == Rung(1)


def test_before_the_first_advance_every_birth_is_taken_and_the_first_one_expires_nobody_of_today() -> None:
    bells = Bells()
    bells.do(ring(YOUNG, 1), ring("ann", 1))
    bells.advance(NOW_MS)
    assert bells.do(ring(YOUNG, 1), ring("ann", 1)) == [Rung(1), Rung(2)]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("advance"), st.integers(0, 3 * 24)),
            st.tuples(st.just("ring"), st.integers(0, 3)),
        ),
        max_size=40,
    )
)
def test_however_time_runs_no_request_of_a_born_client_is_executed_twice(story: list[tuple[str, int]]) -> None:
    bells = Bells()
    now_ms = NOW_MS
    executed = []
    for kind, value in story:
        if kind == "advance":
            now_ms += value * HOUR_MS
            bells.advance(now_ms)
            continue
        client = f"ann{value}.{NOW_MS + (value - 1) * 20 * HOUR_MS}"
        before = bells.count
        bells.one(ring(client, 1))
        executed += [client] * (bells.count - before)
    assert len(executed) == len({*executed})


def test_one_advance_expires_a_bounded_number_of_sessions_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "EXPIRED_A_TIME_MAX", 2)
    bells = Bells()
    bells.advance(NOW_MS)
    old = [f"c{9 - place}.{NOW_MS - place * 2 * HOUR_MS}" for place in range(3)]
    for place, client in enumerate(old):
        bells.advance(NOW_MS + place * 2 * HOUR_MS)
        bells.one(ring(client, 1))
    bells.advance(NOW_MS + 3 * RETENTION_MS)
    assert [session(bells, client) is None for client in old] == [True, True, False]
    assert bells.one(ring(old[2], 1)) == Rung(3)
    bells.advance(NOW_MS + 3 * RETENTION_MS + 1)
    assert bells.one(ring(old[0], 1)) == Expired(old[0])


# -- Ids without a birth


def test_a_plain_id_keeps_its_numbers_for_good_and_only_the_answers_go() -> None:
    bells = Bells()
    bells.advance(NOW_MS)
    bells.do(ring("ann", 1), ring("ann", 3))
    bells.advance(NOW_MS + 10 * RETENTION_MS)
    kept = session(bells, "ann")
    assert kept is not None
    assert kept.answers == ()
    assert [bells.one(ring("ann", number)) for number in (1, 2, 3)] == [Forgotten("ann", n, 4) for n in (1, 2, 3)]
    assert bells.one(ring("ann", 4)) == Rung(3)
    assert bells.one(ring("ann", 4)) == Rung(3)


def test_there_is_a_stated_limit_of_plain_ids_and_the_refusal_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PLAIN_CLIENTS_MAX", 2)
    bells = Bells()
    bells.do(ring("ann", 1), ring("bob", 1), ring("ann", 2))
    refused = bells.one(ring("eve", 1))
    assert refused == OutOfClients("", 2)
    assert "there are 2 client ids without a birth" in refused.text()
    assert "an id that ends in .<Unix milliseconds>" in refused.text()
    assert session(bells, "eve") is None
    assert bells.do(ring("ann", 3), ring(YOUNG, 1), ring()) == [Rung(4), Rung(5), Rung(6)]


def test_one_person_has_a_share_of_the_plain_ids_and_the_others_have_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PLAIN_CLIENTS_OF_ONE_MAX", 2)
    bells = Bells()
    bells.do(ring("eve:1", 1), ring("eve:2", 1))
    refused = bells.one(ring("eve:3", 1))
    assert refused == OutOfClients("eve", 2)
    assert "eve has 2 client ids without a birth" in refused.text()
    assert session(bells, "eve:3") is None
    assert bells.do(ring("eve:3", 1), ring("eve:1", 2), ring(f"eve:x.{NOW_MS}", 1)) == [refused, Rung(3), Rung(4)]
    assert bells.do(ring("bob:1", 1), *(ring(f"nobody{n}", 1) for n in range(3))) == [Rung(n) for n in range(5, 9)]
    assert plain_clients(bells) == 6


@pytest.mark.parametrize(
    ("client", "owner"), [("ann:x", "ann"), ("ann:x:y", "ann"), (":x", ""), ("ann", ""), ("", ""), ("ann:", "ann")]
)
def test_the_owner_stands_before_the_first_colon(client: str, owner: str) -> None:
    assert owner_of(client) == owner


def of_an_earlier_version(bells: Bells) -> None:
    """Its store has no row by owner, and so does its snapshot."""
    counts = bells.machine.store.table(PlainClientsOf)
    for row in list(counts):
        counts.delete(row.owner)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(("", "ann:", "bob:", "eve:")), st.integers(1, 5)),
            st.just(("copied", 0)),
            st.just(("upgraded", 0)),
        ),
        max_size=60,
    )
)
def test_what_is_refused_is_what_a_plain_count_says_at_every_replica(story: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "PLAIN_CLIENTS_MAX", 12)
        patch.setattr(sessions, "PLAIN_CLIENTS_OF_ONE_MAX", 3)
        bells, other = Bells(), Bells()
        known: set[str] = set()
        numbers: dict[str, int] = {}
        for what, value in story:
            if what == "copied":
                store = TupleStore.restore(bells.machine.rows, bells.machine.store.snapshot())
                assert bells.machine.replace_store(store) is None
            elif what == "upgraded":
                of_an_earlier_version(bells)
                of_an_earlier_version(other)
            else:
                client = f"{what}{value}"
                number = numbers[client] = numbers.get(client, 0) + 1
                theirs = len([one for one in known if what and one.startswith(what)])
                fits = client in known or (len(known) < 12 and theirs < 3)
                replies = [one.one(ring(client, number)) for one in (bells, other)]
                assert replies[0] == replies[1]
                if fits:
                    known.add(client)
                    assert isinstance(replies[0], Rung)
                elif len(known) < 12:
                    assert replies[0] == OutOfClients(what[:-1], 3)
                else:
                    assert replies[0] == OutOfClients("", 12)
            assert bells.machine.digest() == other.machine.digest()


def test_of_a_store_of_an_earlier_version_all_are_counted_when_the_next_one_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "PLAIN_CLIENTS_OF_ONE_MAX", 2)
    bells = Bells()
    bells.do(ring("eve:1", 1), ring("eve:2", 1), ring("ann", 1), ring(f"eve:x.{NOW_MS}", 1))
    of_an_earlier_version(bells)
    assert bells.do(ring("eve:1", 2), ring(f"eve:y.{NOW_MS}", 1)) == [Rung(5), Rung(6)]
    assert not len(bells.machine.store.table(PlainClientsOf)), "whoever is known costs nothing"
    assert bells.do(ring("bob:1", 1), ring("eve:3", 1)) == [Rung(7), OutOfClients("eve", 2)]
    counts = {row.owner: row.count for row in bells.machine.store.table(PlainClientsOf)}
    assert counts == {"eve": 2, "bob": 1}


def test_a_known_plain_id_is_counted_once() -> None:
    bells = Bells()
    bells.do(ring("ann", 1), ring("ann", 2), ring(YOUNG, 1), ring())
    assert plain_clients(bells) == 1


def test_sessions_are_part_of_the_digest() -> None:
    with_session, without = Bells(), Bells()
    with_session.one(ring("ann", 1))
    without.one(ring())
    assert with_session.count == without.count
    assert with_session.machine.digest() != without.machine.digest()


def test_requests_of_a_pipeline_declare_what_they_know_without_losing_those_under_way() -> None:
    bells = Bells()
    sent = [Request(ring().command, "ann", number, max(1, number - 60)) for number in range(1, 101)]
    late = sent.pop(50)
    bells.do(*sent)
    assert bells.one(late) == Rung(100)


# -- Requests that come out of their order, as a laptop's do


def out_of_order() -> Machine:
    return Machine(Bell(), in_order=False)


def write(machine: Machine, at: int, number: int, lowest: int = 0) -> Reply:
    request = Request(Ring(""), "ann", number, lowest)
    return machine.execute_write(request, (NOW_MS + at, "", "a"), f"a-{at}", False)


def test_a_request_that_its_client_calls_answered_is_executed_when_it_comes_late() -> None:
    machine = out_of_order()
    assert isinstance(write(machine, 1, 6, lowest=6), Rung)
    assert isinstance(write(machine, 2, 5), Rung), "answered elsewhere, and not yet heard of here"
    assert isinstance(write(machine, 3, 5), Forgotten), "never twice"
    assert isinstance(write(machine, 4, 6), Rung), "the first answer again"
    row = machine.store.table(Session).get("ann")
    assert row is not None
    assert row.unseen == ((1, 4),)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), max_size=60))
def test_out_of_order_every_number_is_executed_when_it_first_comes_and_never_again(sent: list[tuple[int, int]]) -> None:
    machine = out_of_order()
    count = 0
    seen: set[int] = set()
    for at, (number, lowest) in enumerate(sent):
        reply = write(machine, at, number, lowest)
        if number not in seen:
            count += 1
            assert reply == Rung(count)
            seen.add(number)
        else:
            assert isinstance(reply, Forgotten) or (isinstance(reply, Rung) and reply.count <= count)
