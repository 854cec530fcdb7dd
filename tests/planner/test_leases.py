"""Vendors whose slots run out unless they are confirmed. 0 is the band, 1 the hotel."""

from __future__ import annotations

import pytest
from tests.planner.vendors import SECOND_US, UNIX_US, Desk

from holdfast.planner.messages import leases_of


def leased(seconds: float = 60, **options: int) -> Desk:
    """A plan that holds slot 5 at both vendors, at the band on a lease."""
    desk = Desk(**options)
    desk.look(0, 5)
    desk.look(1, 5)
    desk.leases(0, 5, seconds)
    desk.reserve(1, 5)
    assert desk.core.match == 5
    return desk


def test_a_match_is_confirmed_once_and_vendors_without_leases_are_asked_nothing_more() -> None:
    desk = leased(patience=10)
    desk.confirms(0, 5)
    assert "band: 5 is ours for good" in desk.events
    desk.ask(0, 5)
    desk.ask(1, 5)
    while not desk.core.finished:
        number, call = desk.next_or_end()
        if call.verb == "look":
            desk.answer(number, call, 200, [])
        elif number >= 0:
            desk.answer(number, call, 200, [{"id": "5"}])
    assert [call.verb for _, _, call in desk.sent].count("confirm") == 1
    assert desk.core.match == 5
    assert not desk.core.warnings


def test_half_a_pair_is_confirmed_when_half_of_its_lease_is_over() -> None:
    desk = Desk(unmatched_us=60 * SECOND_US)
    desk.look(0, 5)
    desk.look(1, 5)
    desk.leases(0, 5, 8)
    booked_us = desk.now_us
    confirmed = None
    while confirmed is None:
        number, call = desk.next()
        if call.verb == "confirm":
            confirmed = call
        else:
            desk.fails(number, call, sent=False)
    assert (number, confirmed.slot) == (0, 5)
    assert 4 * SECOND_US <= desk.now_us - booked_us <= 5 * SECOND_US


def test_a_match_is_kept_until_the_better_one_is_confirmed() -> None:
    desk = leased(600)
    desk.confirms(0, 5)
    desk.ask(0, 5)
    desk.ask(1, 5)
    desk.look(0, 2)
    desk.look(1, 2)
    desk.leases(0, 2, 600)
    desk.reserve(1, 2)
    desk.confirms(0, 2)
    desk.release(0, 5)
    desk.release(1, 5)


def test_after_a_crash_a_match_is_confirmed_though_another_vendor_is_silent() -> None:
    desk = leased(30)
    again = Desk(journal=desk.journal)
    again.answer(0, again.expect(0, "ask"), 200, [{"id": "5", "expires": again.expires(20)}])
    while (call := again.open()[1]).verb != "confirm":
        again.fails(1, call, sent=True)
    assert (again.open()[0], call.slot) == (0, 5)
    assert again.now_us <= 14 * SECOND_US


def test_what_is_not_kept_is_not_confirmed() -> None:
    desk = Desk()
    desk.look(0, 5)
    desk.look(1, 5)
    desk.leases(0, 5, 8)
    desk.reserve(1, 5, 409)
    desk.release(0, 5)


def test_a_lease_that_is_over_is_asked_about_and_a_match_without_it_is_none() -> None:
    desk = leased(10)
    desk.answer(0, desk.expect(0, "confirm", 5), 503)
    desk.wait(3)
    while desk.core.match:
        number, call = desk.open()
        if (number, call.verb) == (0, "ask"):
            desk.answer(0, call, 200, [])
        elif number == 0:
            desk.answer(0, call, 503)
        elif call.verb == "ask":
            desk.answer(1, call, 200, [{"id": "5"}])
        else:
            desk.answer(1, call, 200, [])
    assert desk.now_us >= 10 * SECOND_US
    desk.reserve(0, 5, 409)
    desk.release(1, 5)


def test_a_vendor_that_only_prolongs_is_confirmed_again_at_the_end_and_it_is_said_until_when() -> None:
    desk = leased(60)
    desk.confirms(0, 5, {"id": "5", "expires": desk.expires(60)})
    told = desk.expires(60)
    desk.answer(0, desk.expect(0, "ask"), 200, [{"id": "5", "expires": told}])
    desk.ask(1, 5)
    desk.stop()
    desk.confirms(0, 5, {"id": "5", "expires": told + 7})
    assert desk.core.complete
    (warning,) = desk.core.warnings
    assert warning.startswith("band holds 5 only until 2027-01-15")
    assert warning.endswith("plan again before")
    assert f"warning: {warning}" in desk.events
    assert desk.core.status()["vendors"][0]["leases"] == {5: told + 7}


@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_vendor_that_takes_no_confirmations_ends_the_search_with_a_warning(status: int) -> None:
    desk = leased(600)
    until = desk.expires(600)
    while desk.core.plan.views[0].confirms:
        number, call = desk.open()
        if call.verb == "confirm":
            desk.answer(number, call, status)
        elif call.verb == "ask":
            desk.answer(number, call, 200, [{"id": "5", "expires": until} if number == 0 else {"id": "5"}])
        else:
            desk.answer(number, call, 200, [])
    asked = [call.verb for _, _, call in desk.sent].count("confirm")
    assert asked == (12 if status == 404 else 3)
    assert desk.core.status()["reason"] == "band takes no confirmations, and 5 would run out there"
    assert not desk.core.plan.views[0].denied
    assert desk.core.complete
    assert desk.core.match == 5
    assert "it takes no confirmations here" in desk.core.warnings[0]


def test_a_clock_that_is_wrong_does_not_keep_it_from_looking() -> None:
    """The band says of every hold that it was over long ago, and holds it all the same."""
    desk = leased(60)
    desk.confirms(0, 5, {"id": "5", "expires": UNIX_US / 1e6 - 3600})
    verbs = []
    for _ in range(40):
        number, call = desk.open()
        verbs.append(call.verb)
        held = {"id": "5", "expires": UNIX_US / 1e6 - 3600} if number == 0 else {"id": "5"}
        desk.answer(number, call, 200, [] if call.verb == "look" else [held] if call.verb == "ask" else held)
    assert desk.core.match == 5
    assert verbs.count("look") > 10


@pytest.mark.parametrize(
    ("body", "leases"),
    [
        (b'[{"id": "5", "expires": 1796115660.5}, {"id": "6"}]', {5: 1796115660.5}),
        (b'{"id": 5, "expires": 1796115660}', {5: 1796115660.0}),
        (b'[{"id": "5", "expires": "soon"}, {"id": "6", "expires": null}, {"id": "7", "expires": -1}]', {}),
        (b'[{"id": "5", "expires": 1e300}, {"id": "x", "expires": 5}]', {}),
        (b"<html>", {}),
        (b"", {}),
    ],
)
def test_leases_as_vendors_tell_them(body: bytes, leases: dict[int, float]) -> None:
    assert leases_of(body) == leases
