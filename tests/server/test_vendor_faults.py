"""A vendor's failures on purpose: seeded, each as it is described, and nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.vendor_house import CAREFULLY, House, play, site_of

from holdfast.server.vendors.faults import NONE, Chance, Fate
from holdfast.server.vendors.rates import Rate
from holdfast.settings import Mistakes
from holdfast.vendors import Faults

MIXED = Faults(7, 0.05, 3.0, 0.1, 0.2, 0.15, 0.1, 1.5)
WAYS = pytest.mark.parametrize("way", [{}, CAREFULLY], ids=["quickly", "carefully"])


def fates(faults: Faults, count: int = 4000) -> list[Fate]:
    chance = Chance(faults)
    return [chance.draw() for _ in range(count)]


# -- chance -----------------------------------------------------------------------------------------


def test_the_same_seed_has_the_same_fates_and_another_seed_others() -> None:
    assert fates(MIXED) == fates(MIXED)
    assert fates(MIXED) != fates(msgspec.structs.replace(MIXED, seed=8))
    assert fates(Faults()) == [NONE] * 4000


def test_two_vendors_with_one_seed_do_not_fail_together() -> None:
    hotel, band = Chance(MIXED, "hotel"), Chance(MIXED, "band")
    alike = sum(hotel.draw() == band.draw() for _ in range(1000))
    assert 150 < alike < 500, "where neither fails"


def test_each_fault_strikes_as_often_as_it_should_and_no_wait_is_too_long() -> None:
    chance = Chance(MIXED)
    drawn = [chance.draw() for _ in range(4000)]
    assert (
        sum(fate.outage is not None for fate in drawn) == pytest.approx(200, rel=0.25) == chance.counts["unavailable"]
    )
    assert sum(fate.unprocessed for fate in drawn) == pytest.approx(380, rel=0.25)
    assert sum(fate.lost is not None for fate in drawn) == pytest.approx(342, rel=0.25)
    before, after = (sum(getattr(fate, field) is not None for fate in drawn) for field in ("wait_before", "wait_after"))
    assert before == pytest.approx(342, rel=0.25)
    assert after == pytest.approx(342, rel=0.25)
    for fate in drawn:
        assert 0 <= (fate.outage or 0) <= MIXED.unavailable_seconds
        assert all(0 <= (wait or 0) <= MIXED.delay_seconds for wait in (fate.wait_before, fate.wait_after, fate.lost))


def test_to_turn_one_fault_off_moves_none_of_the_others() -> None:
    mild = msgspec.structs.replace(MIXED, lost=0.0)
    for with_losses, without in zip(fates(MIXED), fates(mild), strict=True):
        assert msgspec.structs.replace(with_losses, lost=None) == without


def test_the_longest_delay_is_named_only_where_something_is_late() -> None:
    assert MIXED.longest_delay_seconds == 1.5
    assert Faults(lost=1.0, unavailable=1.0, unprocessed=1.0).longest_delay_seconds == 0
    assert Faults(reordered=0.1).longest_delay_seconds == Faults(delayed=0.1).longest_delay_seconds == 2.0


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("faults = { lost = 1.5 }", r"services\.hotel\.faults: .*<= 1"),
        ("faults = { lots = 0.5 }", r"services\.hotel\.faults: .*unknown field lots"),
        ("faults = { delay_seconds = -1 }", r"services\.hotel\.faults: .*>= 0"),
        ("faults = 3", r"services\.hotel\.faults: expected object"),
    ],
)
def test_faults_that_cannot_be(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(Mistakes, match=why):
        site_of(tmp_path, line)


# -- each of them -----------------------------------------------------------------------------------


def test_the_sites_faults_are_in_force_from_the_start_and_the_vendor_changes_them(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        assert (await house.says("ann", "POST", "/reservation/5"))[0] == 404
        status, faults = await house.says("gerda", "GET", "/faults")
        assert (status, faults["unprocessed"], faults["seed"]) == (200, 1.0, 9)
        for who in ("ann", "bob"):
            assert (await house.says(who, "PUT", "/faults", content="{}"))[0] == 403
            assert (await house.says(who, "GET", "/faults"))[0] == 403
        for nonsense in ("", "[]", "{", '{"lost": 2}', '{"lots": 1}', '{"lost": "1"}', "\x00"):
            assert (await house.says("gerda", "PUT", "/faults", content=nonsense))[0] == 400, nonsense
        assert house.node.vendors["hotel"].faults.unprocessed == 1.0
        await house.faults()
        assert (await house.says("ann", "POST", "/reservation/5"))[0] == 200

    play(tmp_path, story, "faults = { unprocessed = 1.0, seed = 9 }")


@WAYS
def test_an_outage_answers_everybody_503_does_nothing_and_ends(tmp_path: Path, way: dict[str, str]) -> None:
    async def story(house: House) -> None:
        vendor = house.node.vendors["hotel"]
        await house.faults(unavailable=1.0, unavailable_seconds=3600)
        for who in ("ann", "bob", ""):
            assert (await house.says(who, "POST", "/reservation/5", headers=way))[0] == 503
        assert vendor.chance.counts["unavailable"] == 1, "the others came into the same outage"
        assert vendor.chance.draw().outage is not None
        await house.faults()
        assert await house.says("ann", "GET", "/reservation", headers=way) == (200, [])

    play(tmp_path, story)


@WAYS
def test_an_answer_is_lost_only_after_the_work_was_done(tmp_path: Path, way: dict[str, str]) -> None:
    async def loses(house: House) -> None:
        await house.faults(lost=1.0, delay_seconds=0.05)
        with pytest.raises(httpx.RemoteProtocolError):
            await house.call("ann", "POST", "/reservation/5", headers=way)
        with pytest.raises(httpx.RemoteProtocolError):
            await house.call("ann", "GET", "/reservation", headers=way)
        await house.faults()
        assert await house.says("ann", "GET", "/reservation", headers=way) == (200, [{"id": "5"}])

    async def after(house: House) -> None:
        assert await house.says("ann", "GET", "/reservation") == (200, [{"id": "5"}])

    play(tmp_path, loses, "", after)


@WAYS
def test_a_delayed_request_is_done_even_if_nobody_waits_any_more(tmp_path: Path, way: dict[str, str]) -> None:
    async def story(house: House) -> None:
        await house.faults(delayed=1.0, delay_seconds=0.6, seed=seed_that_delays_first(before=True))
        begun = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            await house.call("ann", "POST", "/reservation/5", headers=way, timeout=0.05)
        longest = house.node.vendors["hotel"].common_headers[1]
        assert longest == (b"longest-delay", b"0.6")
        await house.faults()
        assert house.node.vendors["hotel"].common_headers[1] == longest, "what was delayed still is"
        while (await house.says("bob", "GET", "/reservation/available"))[1][4] == {"id": "5"}:
            assert time.monotonic() < begun + 30
        assert time.monotonic() > begun + 0.3
        assert await house.says("ann", "GET", "/reservation", headers=way) == (200, [{"id": "5"}])

    play(tmp_path, story)


def seed_that_delays_first(*, before: bool) -> int:
    """A seed whose first request waits for more than half of the longest delay, before or after the work."""
    for seed in range(1000):
        fate = Chance(Faults(seed=seed, delayed=1.0, delay_seconds=1.0), "hotel").draw()
        if ((fate.wait_before if before else fate.wait_after) or 0) > 0.6:
            return seed
    raise AssertionError("no seed does")


@WAYS
def test_a_request_is_overtaken_by_a_later_one(tmp_path: Path, way: dict[str, str]) -> None:
    async def story(house: House) -> None:
        await house.faults(reordered=1.0, delay_seconds=600)
        vendor = house.node.vendors["hotel"]
        first = asyncio.create_task(house.says("ann", "POST", "/reservation/5", headers=way))
        await house.until(lambda: vendor.chance.counts["reordered"] == 1)
        await house.faults()
        assert (await house.says("bob", "POST", "/reservation/5", headers=way))[0] == 200
        assert (await first)[0] == 409, "it was sent first, and done last"

    play(tmp_path, story)


def test_who_still_waits_when_the_node_ends_is_not_done(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        await house.faults(reordered=1.0, delay_seconds=600)
        waiting = asyncio.create_task(house.says("ann", "POST", "/reservation/5"))
        await house.until(lambda: house.node.vendors["hotel"].chance.counts["reordered"])
        house.node._ended.set()
        assert (await waiting)[0] == 503

    async def after(house: House) -> None:
        assert await house.says("ann", "GET", "/reservation") == (200, [])

    play(tmp_path, before, "", after)


def test_the_same_requests_meet_the_same_faults_and_what_was_acknowledged_is_never_lost(tmp_path: Path) -> None:
    runs: list[list[Any]] = []

    async def story(house: House) -> None:
        seen: list[Any] = []
        held: set[int] = set()
        unsure: set[int] = set()
        for number in range(60):
            slot = number % 7 + 1
            method = "DELETE" if slot in held else "POST"
            try:
                code, _ = await house.says(
                    "ann", method, f"/reservation/{slot}", headers=CAREFULLY if number % 2 else {}
                )
            except httpx.RemoteProtocolError:
                code = 0
                unsure.add(slot)
            seen.append(code)
            if code == 200:
                unsure.discard(slot)
                (held.discard if method == "DELETE" else held.add)(slot)
        await house.faults()
        _, mine = await house.says("ann", "GET", "/reservation")
        assert {int(slot["id"]) for slot in mine} - unsure == held - unsure
        runs.append(seen)

    faults = "faults = { seed = 3, unavailable = 0.1, unavailable_seconds = 0, unprocessed = 0.1, delayed = 0.2,"
    faults += " reordered = 0.2, lost = 0.15, delay_seconds = 0.02 }"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        play(tmp_path / name, story, faults)
    assert runs[0] == runs[1]
    assert {0, 200, 404, 503} <= set(runs[0])


# -- how often --------------------------------------------------------------------------------------


def test_once_a_second_is_not_too_often_whatever_the_way_adds() -> None:
    rate = Rate()
    times = [number + (0.2 if number % 3 == 0 else 0.0) for number in range(100)]
    assert not any(rate.take(now, 1.0, refuse=True) for now in times)
    assert (rate.requests, rate.too_fast) == (100, 0)


@settings(max_examples=200)
@given(gaps=st.lists(st.floats(0, 2), min_size=1, max_size=60), interval=st.floats(0.01, 2))
def test_what_is_let_in_never_comes_more_often_than_agreed(gaps: list[float], interval: float) -> None:
    rate, now, let_in = Rate(), 0.0, []
    for gap in gaps:
        now += gap
        if not rate.take(now, interval, refuse=True):
            let_in.append(now)
    assert rate.requests - rate.too_fast == len(let_in)
    for first, start in enumerate(let_in):
        for more, end in enumerate(let_in[first:]):
            assert end - start >= more * interval - interval / 4 - 1e-9


def test_one_that_is_refused_may_come_again_when_it_was_told() -> None:
    rate = Rate()
    assert rate.take(10.0, 1.0, refuse=True) == 0
    early = rate.take(10.1, 1.0, refuse=True)
    assert early == pytest.approx(0.65)
    assert rate.take(10.1 + early, 1.0, refuse=True) == 0
    unrefused = Rate()
    assert [bool(unrefused.take(now, 1.0, refuse=False)) for now in (0, 0.1, 0.2, 3.5)] == [False, True, True, False]
