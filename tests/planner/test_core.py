"""The planner's rules, one by one, as the issue's sentences have them. 0 is the band, 1 the hotel."""

from __future__ import annotations

import itertools

import pytest
from tests.planner.vendors import SECOND_US, Desk

from holdfast.kernel.contracts import Recovered
from holdfast.planner import Configuration, PlannerCore, Vendor


def matched(slot: int = 5, **options: int) -> Desk:
    """A plan that holds this slot at both vendors, confirmed."""
    desk = Desk(**options)
    desk.look(0, slot, 9)
    desk.look(1, slot, 9)
    desk.reserve(0, slot)
    desk.reserve(1, slot)
    desk.ask(0, slot)
    desk.ask(1, slot)
    assert desk.core.match == slot
    return desk


def test_the_earliest_slot_free_at_all_vendors_is_booked() -> None:
    desk = Desk("band", "cook", "hotel")
    desk.look(0, 1, 2, 4, 7)
    desk.look(1, 2, 4, 7)
    desk.look(2, 1, 4, 7)
    for number in range(3):
        desk.reserve(number, 4)
    assert desk.core.match == 4
    assert desk.core.plan.requests == 6


def test_bounds_hold_from_both_sides() -> None:
    desk = Desk(first=3, last=6)
    desk.look(0, 1, 2, 7)
    desk.look(1, 1, 2, 7)
    desk.look(0, 1, 2, 5)
    desk.look(1, 1, 2, 5)
    desk.reserve(0, 5)


def test_a_better_match_is_held_before_the_worse_is_let_go_and_never_more_than_two() -> None:
    desk = matched()
    desk.look(0, 2, 3)
    desk.look(1, 2, 3)
    desk.reserve(0, 2)
    desk.reserve(1, 2)
    assert desk.core.match == 2
    desk.release(0, 5)
    desk.release(1, 5)


def test_what_is_unmatched_goes_at_once_when_another_vendor_refuses_it() -> None:
    desk = matched()
    desk.look(0, 2)
    desk.look(1, 2)
    desk.reserve(0, 2)
    desk.reserve(1, 2, 409)
    desk.release(0, 2)
    assert desk.core.match == 5


def test_it_ends_after_so_many_requests_in_vain_with_exactly_the_match() -> None:
    desk = matched(patience=4)
    desk.look(0)
    desk.look(1)
    assert desk.core.status()["reason"] == "no improvement"
    assert desk.core.finished
    assert desk.core.match == 5


def test_it_ends_when_nothing_better_can_come() -> None:
    desk = Desk(first=5)
    desk.look(0, 5)
    desk.look(1, 5)
    desk.reserve(0, 5)
    desk.reserve(1, 5)
    assert desk.core.status()["reason"] == "nothing better can come"
    desk.ask(0, 5)
    desk.ask(1, 5)
    assert desk.core.finished


def test_it_ends_at_the_deadline_and_gives_back_what_is_unmatched() -> None:
    desk = Desk(deadline_us=2_500_000)
    desk.look(0, 5)
    desk.look(1, 5)
    desk.reserve(0, 5)
    desk.release(0, 5)
    desk.ask(0)
    desk.ask(1)
    assert desk.core.finished
    assert desk.core.match == 0


def test_it_ends_at_the_deadline_though_a_vendor_was_down_all_the_time() -> None:
    """Nothing that it could hold for us was ever asked of that one."""
    desk = Desk(deadline_us=30 * SECOND_US)
    for _ in range(40):
        number, call = desk.next()
        if number == 0:
            desk.answer(0, call, 200, [{"id": "5"}] if call.verb == "look" else [])
        else:
            desk.fails(1, call, sent=False)
        if desk.core.finished:
            break
    assert desk.core.finished
    assert desk.core.match == 0


def silent_at_the_end(why: str) -> Desk:
    """The band holds slot 5, is asked to book 2, and is not heard of again; the search ends."""
    desk = matched(patience=0, grace_us=20 * SECOND_US, deadline_us=9 * SECOND_US if why == "the deadline" else None)
    desk.look(0, 2)
    desk.look(1, 2)
    desk.expect(0, "reserve", 2)
    if why == "told to stop":
        desk.stop()
    while not desk.core.finished:
        number, call = desk.next_or_end()
        if number == 1:
            desk.answer(1, call, 200, [{"id": "5"}])
    assert desk.core.status()["reason"] == why
    return desk


@pytest.mark.parametrize("why", ["told to stop", "the deadline"])
def test_it_ends_soon_after_its_search_though_a_vendor_is_silent_and_names_what_is_unknown(why: str) -> None:
    desk = silent_at_the_end(why)
    over_us = desk.core.plan.over_us
    assert desk.now_us - over_us <= 20 * SECOND_US + 4 * 2 * SECOND_US
    assert not desk.core.complete
    assert desk.core.unknown == [("band", 2), ("band", 5)]
    assert desk.core.match == 5
    assert "band: 2 is unknown" in desk.events


@pytest.mark.parametrize("release", [False, True])
def test_what_was_left_unknown_is_finished_with_the_same_journal(release: bool) -> None:
    desk = silent_at_the_end("told to stop")
    again = Desk(journal=desk.journal, release=release)
    again.ask(0, 2, 5)
    again.ask(1, 5)
    if release:
        again.release(0, 2)
        again.release(0, 5)
        again.release(1, 5)
        again.ask(0)
        again.ask(1)
        assert again.core.complete
    else:
        again.release(0, 2)
        again.stop()
        again.ask(0, 5)
        assert again.core.complete
        assert again.core.match == 5
    assert again.core.unknown == []


def test_a_ctrl_c_while_it_ends_keeps_it_from_going_on() -> None:
    desk = matched(patience=6)
    desk.look(0, 2)
    desk.look(1, 2)
    desk.reserve(0, 2)
    desk.reserve(1, 2, 409)
    assert desk.core.status()["reason"] == "no improvement"
    desk.stop()
    desk.release(0, 2)
    desk.ask(0)  # the match is gone
    desk.release(1, 5)
    desk.ask(1)
    assert desk.core.finished
    assert desk.core.status()["reason"] == "told to stop"


def test_ctrl_c_keeps_the_match() -> None:
    desk = matched()
    desk.look(0, 2)
    desk.look(1, 2)
    desk.reserve(0, 2)
    desk.stop()
    desk.release(0, 2)
    desk.ask(0, 5)
    assert desk.core.finished
    assert desk.core.match == 5


def test_release_gives_back_everything() -> None:
    journal = matched().journal
    desk = Desk(journal=journal, release=True)
    desk.ask(0, 5)
    desk.ask(1, 5, 8)
    desk.release(0, 5)
    desk.release(1, 5)
    desk.release(1, 8)
    desk.ask(0)
    desk.ask(1)
    assert desk.core.finished
    assert [vendor["held"] for vendor in desk.core.status()["vendors"]] == [[], []]


def test_a_match_that_is_gone_at_the_end_lets_the_search_go_on() -> None:
    desk = matched(patience=6)
    desk.look(0, 2)
    desk.look(1, 2)
    desk.reserve(0, 2)
    desk.reserve(1, 2, 409)
    assert desk.core.status()["reason"] == "no improvement"
    desk.release(0, 2)
    desk.ask(0)
    desk.release(1, 5)
    desk.ask(1)
    assert "5 is not held everywhere any more: the search goes on" in desk.events
    assert desk.core.status()["reason"] == ""


def test_a_journal_that_has_ended_is_begun_anew_and_a_better_one_is_looked_for() -> None:
    desk = matched(patience=2)
    assert desk.core.finished
    again = Desk(journal=desk.journal)
    again.ask(0, 5)
    again.ask(1, 5)
    again.look(0, 1)
    again.look(1, 1)
    again.reserve(0, 1)
    assert len(again.journal) < 6


def test_a_release_that_was_journaled_and_perhaps_never_sent_does_not_take_the_other_half_with_it() -> None:
    desk = booking(unmatched_us=4 * SECOND_US)
    desk.reserve(0, 5)
    late = desk.expect(1, "reserve", 5)
    while (call := desk.open())[1].verb != "release":
        desk.fails(1, call[1], sent=False)
    assert (call[0], call[1].slot) == (0, 5)
    again = Desk(journal=desk.journal, longest_delay_us=2 * SECOND_US)  # it died before that left
    assert late.slot == 5
    again.ask(0, 5)
    again.ask(1, 5)
    while not again.core.match:
        number, call = again.open()
        assert call.verb in ("look", "ask"), "nothing is let go of while a release of it is in doubt"
        again.answer(number, call, 200, [{"id": "5"}] if call.verb == "ask" else [])
    assert again.core.match == 5


@pytest.mark.parametrize("asked", [False, True])
def test_after_a_crash_half_a_pair_is_not_kept_for_a_vendor_that_is_silent_and_was_never_asked(asked: bool) -> None:
    desk = Desk()
    desk.look(0, 5)
    desk.look(1, 5)
    desk.reserve(0, 5)
    if asked:  # then it may be matched
        desk.expect(1, "reserve", 5)
    again = Desk(journal=desk.journal, unmatched_us=4 * SECOND_US)
    again.ask(0, 5)
    released = []
    while again.now_us < 30 * SECOND_US:
        number, call = again.open()
        if number == 0:
            released.append(call.slot)
            again.answer(0, call, 200, {"message": "gone"})
        else:
            again.fails(1, call, sent=True)
    assert released == ([] if asked else [5])


def test_the_journal_of_another_plan_is_refused_unless_it_holds_nothing() -> None:
    journal = matched().journal
    vendors = (Vendor(name="circus"),)
    step = PlannerCore(Configuration(vendors=vendors)).recover(0, Recovered(b"", 1, tuple(journal), fresh=False))
    assert step.halt is not None
    assert "belongs to a plan with band, hotel" in step.halt.text
    over = Desk(journal=journal, release=True)
    over.ask(0)
    over.ask(1)
    assert over.core.finished
    step = PlannerCore(Configuration(vendors=vendors)).recover(0, Recovered(b"", 1, tuple(over.journal), fresh=False))
    assert step.halt is None


def test_a_damaged_journal_halts() -> None:
    step = PlannerCore(Configuration(vendors=(Vendor(name="band"),))).recover(
        0, Recovered(b"", 1, (b"?",), fresh=False)
    )
    assert step.halt is not None
    assert step.halt.code == "damaged"


# ---- the rate


def gaps(desk: Desk) -> list[int]:
    times = [now_us for now_us, *_ in desk.sent]
    return [after - before for before, after in itertools.pairwise(times)]


def test_retries_keep_the_rate_and_wait_longer_and_longer() -> None:
    desk = Desk("band")
    for _ in range(8):
        desk.answer(0, desk.expect(0, "look"), 503, b"")
    waited = [gap // SECOND_US for gap in gaps(desk)]
    assert waited == [1, 1, 2, 4, 8, 16, 30]


def test_a_vendor_that_is_down_does_not_starve_the_others() -> None:
    desk = Desk()
    number, call = desk.sent[0][1:]
    for _ in range(90):
        if number == 0:
            desk.fails(0, call, sent=False)
        else:
            desk.answer(1, call, 200, [])
        number, call = desk.next()
    assert min(gaps(desk)) >= SECOND_US
    for vendor in (0, 1):
        times = [now_us for now_us, number, _ in desk.sent if number == vendor]
        assert max(after - before for before, after in itertools.pairwise(times)) <= 32 * SECOND_US


@pytest.mark.parametrize(("retry_s", "waits_s"), [(0, 2), (5, 5), (10**6, 120)])
def test_retry_after_is_heeded_within_reason(retry_s: int, waits_s: int) -> None:
    desk = Desk("band")
    desk.answer(0, desk.expect(0, "look"), 429, b"", retry_after_us=retry_s * SECOND_US)
    desk.wait(130)
    assert gaps(desk)[0] == waits_s * SECOND_US


def test_who_never_answers_properly_may_have_another_address() -> None:
    desk = Desk("band")
    for _ in range(7):
        desk.answer(0, desk.expect(0, "look"), 404, b"<html>")
    assert [event for event in desk.events if "address" in event] == ["band: 404; is its address right?"]


# ---- statuses and silence


def booking(**options: int) -> Desk:
    """About to hear of the reservation of slot 5 at the band."""
    desk = Desk(**options)
    desk.look(0, 5)
    desk.look(1, 5)
    return desk


@pytest.mark.parametrize("status", [400, 401, 404, 429, 503])
def test_what_was_not_done_is_tried_again_without_asking(status: int) -> None:
    desk = booking()
    desk.reserve(0, 5, status)
    desk.reserve(0, 5)


@pytest.mark.parametrize("status", [201, 302, 451, 500, 502, 504])
def test_after_an_odd_answer_it_asks_before_it_tries_again(status: int) -> None:
    desk = booking()
    desk.answer(0, desk.expect(0, "reserve", 5), status, b"<html>")
    desk.ask(0)
    desk.reserve(0, 5)


def test_after_a_time_out_it_asks_and_takes_what_it_has_got() -> None:
    desk = booking()
    desk.expect(0, "reserve", 5)
    desk.ask(0, 5)
    desk.reserve(1, 5)
    assert desk.core.match == 5


def test_a_refused_connection_is_not_done_and_tried_again() -> None:
    desk = booking()
    desk.fails(0, desk.expect(0, "reserve", 5), sent=False)
    desk.reserve(0, 5)


def test_a_broken_connection_is_asked_about() -> None:
    desk = booking()
    desk.fails(0, desk.expect(0, "reserve", 5), sent=True)
    desk.ask(0)


def test_a_slot_that_does_not_exist_is_never_tried_again() -> None:
    desk = booking()
    desk.reserve(0, 5, 403)
    desk.look(0, 5)
    desk.look(1, 5)
    desk.look(0, 5)
    assert desk.core.status()["booking"] is None


def test_a_key_that_is_refused_three_times_ends_the_plan() -> None:
    desk = booking()
    desk.reserve(0, 5, 401)
    desk.reserve(0, 5, 401)
    desk.reserve(0, 5, 401)
    desk.ask(1)
    assert desk.core.finished
    assert desk.core.status()["reason"] == "band takes neither key nor request"
    assert desk.core.warnings == ["band takes neither key nor request: what it holds for us is not known"]


def test_what_a_vendor_that_refuses_the_key_may_still_do_is_not_forgotten() -> None:
    desk = booking()
    desk.fails(0, desk.expect(0, "reserve", 5), sent=True)
    for _ in range(3):
        desk.answer(0, desk.expect(0, "ask"), 401, {"code": 401})
    desk.ask(1)
    assert desk.core.finished
    again = Desk(journal=desk.journal, release=True)
    assert [vendor["in_doubt"] for vendor in again.core.status()["vendors"]] == [[5], []]
    third = Desk(journal=again.journal, release=True)
    assert [vendor["in_doubt"] for vendor in third.core.status()["vendors"]] == [[5], []]


def test_a_vendor_that_cannot_say_yes_or_no_does_not_keep_another_ones_slot_for_long() -> None:
    desk = booking(unmatched_us=4 * SECOND_US)
    desk.reserve(0, 5)
    held_us = desk.now_us
    while (call := desk.next())[1].verb == "reserve":
        desk.fails(1, call[1], sent=False)
    assert (call[0], call[1].verb, call[1].slot) == (0, "release", 5)
    assert desk.sent[-1][0] - held_us <= 5 * SECOND_US


def test_a_slow_rate_is_no_reason_to_let_go_of_half_a_pair() -> None:
    desk = Desk("band", "cook", "hotel", interval_us=20 * SECOND_US)
    for number in range(3):
        desk.look(number, 5)
    for number in range(3):
        desk.reserve(number, 5)
    assert desk.core.match == 5


def test_a_late_list_does_not_undo_what_was_answered_since() -> None:
    desk = booking()
    desk.expect(0, "reserve", 5)
    ask = desk.expect(0, "ask")
    desk.wait(3.5)  # the list does not come in time either
    second = desk.expect(0, "ask")
    desk.answer(0, second, 200, [])
    desk.reserve(0, 5)
    desk.answer(0, ask, 200, [])
    assert desk.core.status()["vendors"][0]["held"] == [5]


def test_it_waits_for_the_longest_delay_before_it_ends() -> None:
    desk = booking(timeout_us=SECOND_US)
    desk.expect(0, "reserve", 5)
    sent_us = desk.sent[-1][0]
    desk.stop()
    while not desk.core.finished:
        number, call = desk.next()
        desk.answer(number, call, 200, [])
    assert desk.sent[-1][0] >= sent_us + 3 * SECOND_US  # its way, at most the time-out, and then the longest delay


def test_a_vendor_that_names_no_longest_delay_is_warned_of_once() -> None:
    desk = Desk(longest_delay_us=None)
    assert not desk.core.warnings
    desk.look(0, 5)
    desk.answer(1, desk.expect(1, "look"), 200, [], longest_delay_us=SECOND_US)
    desk.look(0, 5)
    (warning,) = desk.core.warnings
    assert warning.startswith("band names no longest delay")
    assert [event for event in desk.events if "warning" in event] == [f"warning: {warning}"]


def test_settings_that_make_no_sense_are_refused() -> None:
    band = Vendor(name="band")
    for options in ({"first": 0}, {"first": 5, "last": 4}, {"holds_max": 1}, {"timeout_us": 0}, {"interval_us": -1}):
        with pytest.raises(ValueError, match=r"at least|no slots|not negative"):
            Configuration(vendors=(band,), **options)
    with pytest.raises(ValueError, match="one name"):
        Configuration(vendors=(band, band))
    with pytest.raises(ValueError, match="at least one vendor"):
        Configuration(vendors=())
