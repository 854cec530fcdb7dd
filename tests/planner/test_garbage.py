"""Whatever vendors answer, the core neither raises nor breaks the rate, and ends when they become sane."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.planner.vendors import SECOND_US, Desk

from holdfast.planner.messages import is_object, slot_of, slots_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "message", "x"]), inner),
    max_leaves=8,
)
SLOTS = st.lists(st.integers(1, 12).map(lambda slot: {"id": str(slot)}), max_size=12)
BODIES = (
    st.binary(max_size=20)
    | JSON.map(lambda value: json.dumps(value).encode())
    | SLOTS.map(lambda value: json.dumps(value).encode())
)
STATUSES = st.sampled_from([200, 200, 200, 201, 204, 301, 400, 401, 403, 404, 409, 418, 429, 451, 500, 502, 503, 599])
FATES = st.tuples(
    STATUSES, BODIES, st.sampled_from([0, 0, 0, 1, 5]), st.sampled_from(["", "", "", "fails", "silent", "twice"])
)


@given(BODIES)
def test_any_body_is_read_or_refused(body: bytes) -> None:
    slots = slots_of(body)
    assert slots is None or all(slot > 0 for slot in slots)
    assert slot_of(body) is None or isinstance(slot_of(body), int)
    assert is_object(body) in (True, False)


@pytest.mark.parametrize(
    "body",
    [b'[{"id": "0"}]', b'[{"id": "-1"}]', b'[{"id": "1.0"}]', b'[{"id": null}]', b'{"id": "1"}', b"[1]", b"",
     '[{"id": "١"}]'.encode(), b"[" * 10_000, b'[{"id": "99999999999999999999"}]'],
)  # fmt: skip
def test_what_is_no_list_of_slots(body: bytes) -> None:
    assert slots_of(body) is None


def test_lists_may_hold_numbers_repeat_themselves_and_be_unsorted() -> None:
    assert slots_of(b'[{"id": "10"}, {"id": 2, "more": 1}, {"id": "10"}]') == (2, 10)


@given(st.lists(FATES, max_size=60))
def test_garbage_breaks_nothing(fates: list[tuple[int, bytes, int, str]]) -> None:
    desk = Desk(timeout_us=SECOND_US, last=12)
    held: dict[int, set[int]] = {0: set(), 1: set()}
    calls = [desk.sent[0]]
    for status, body, wait_s, how in fates:
        if desk.core.finished:
            break
        _, number, call = calls[-1]
        desk.wait(wait_s)
        if how == "fails":
            desk.fails(number, call, sent=bool(status % 2))
        elif how != "silent":
            desk.answer(number, call, status, body)
        if how == "twice":
            desk.answer(number, call, status, body)
        if desk.core.finished:
            break
        desk.next()
        calls.append(desk.sent[-1])
    desk.stop()
    _be_sane(desk, held)
    times = [now_us for now_us, *_ in desk.sent]
    assert all(after - before >= SECOND_US for before, after in itertools.pairwise(times))


def _be_sane(desk: Desk, held: dict[int, set[int]]) -> None:
    """From now on the vendors keep to the API: in truth nothing was ever held."""
    answered: set[int] = set()
    for _ in range(400):
        if desk.core.finished:
            return
        for _, number, call in list(desk.sent[-2:]):
            if call.id not in answered:
                answered.add(call.id)
                desk.answer(number, call, *_sane(held[number], call))
        desk.wait(1)
    raise AssertionError(desk.core.status())


def _sane(held: set[int], call: Any) -> tuple[int, Any]:
    if call.verb in ("look", "ask"):
        return 200, [{"id": str(slot)} for slot in sorted(held)]
    if call.verb == "release":
        done = call.slot in held
        held.discard(call.slot)
        return (200, {"message": "gone"}) if done else (409, {"code": 409})
    held.add(call.slot)
    return 200, {"id": str(call.slot)}
