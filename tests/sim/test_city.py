"""The events of three cities in the simulator: the checker's model against the app, and whole runs."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from tests.sim.side_by_side import word_for_word

from holdfast.apps.events import Events, app, branch
from holdfast.apps.events.replies import EventFull, Left, MonthFull
from holdfast.kernel.contracts import Refusal, Reply
from holdfast.kernel.store import TupleStore
from holdfast.sim.audit import Violation
from holdfast.sim.city import TRAVELLING, Travellers, check_text
from holdfast.sim.history import Action
from holdfast.sim.many import Tally, run_many
from holdfast.sim.run import Options, run
from holdfast.sim.workloads import EventsWorkload


def test_model_and_app_say_the_same_word_for_word() -> None:
    came: Counter[str] = Counter()
    for seed in range(120):
        for _, reply in word_for_word(EventsWorkload(random.Random(seed)), turns=100):
            came[type(reply).__name__] += 1
            if "; moved" in reply.text():
                came["moved"] += 1
    everything = {reply.__name__ for reply in Events.replies} - {"NobodyKnown", "Senseless", "ProgrammeFull"}
    assert set(came) == {*everything, "moved"}
    assert min(came.values()) >= 8, came


@pytest.mark.parametrize(
    "text",
    [
        "Seminars - TORM310119 1, TORM310119 0.",
        "Seminars - TORM310119 -1.",
        "Trade shows - TORM310119 1; Seminars - TORM310119 1, MTLM310119 0, TORM310119 1.",
        "TORC0001 - MTLM310119 Seminars, MTLM310119 Seminars.",
        "TORC0001 - MTLA010219 Seminars, MTLE010219 Seminars, OTWA010219 Seminars, OTWM280219 Trade shows.",
    ],
)
def test_an_answer_that_cannot_be_is_caught(text: str) -> None:
    with pytest.raises(Violation):
        check_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "Seminars - TORM310119 1, TORA010219 0.",
        "Seminars - no events.",
        "TORC0001 - no bookings.",
        "TORC0001 - MTLM310119 Seminars, MTLA010219 Seminars, OTWA010219 Seminars, OTWM280219 Seminars.",
        "TORC0001 - TORA010219 Seminars, TORA010219 Trade shows, TORE010219 Seminars, TORM280219 Seminars.",
        "Failed: there is no event TORM310119 Seminars.",
    ],
)
def test_an_answer_that_can_be_is_not(text: str) -> None:
    check_text(text)


@pytest.mark.parametrize(
    ("options", "seeds"),
    [
        (Options(app="events", protocol="solo"), 20),
        (Options(app="events", model="perfect"), 50),
        (Options(app="events", model="majority"), 50),
    ],
    ids=lambda value: f"{value.protocol}-{value.failure_model}" if type(value) is Options else "",
)
def test_every_schedule_passes(options: Options, seeds: int) -> None:
    tally = Tally()
    for result in run_many(options, 30_000, seeds):
        tally.add(result)
    assert not tally.failures, "\n\n".join(f"seed {failure.seed}: {failure.text}" for failure in tally.failures)
    assert tally.operations > 10 * seeds


class Overbooking(Events):
    """Sells places that are taken, and looks no further then: not at the month either."""

    def _may_not_book(self, *arguments: Any, **options: Any) -> Refusal | None:
        refusal = super()._may_not_book(*arguments, **options)
        return None if isinstance(refusal, EventFull) else refusal


class FourAMonth(Events):
    """Lets customers have one booking too many in other cities."""

    def _may_not_book(self, *arguments: Any, **options: Any) -> Refusal | None:
        with pytest.MonkeyPatch.context() as planted:
            planted.setattr(app, "OTHER_CITIES_MAX", 4)
            return super()._may_not_book(*arguments, **options)


class FreeSwaps(Events):
    """Looks at the month when somebody books, and not when somebody swaps."""

    def _may_not_book(self, *arguments: Any, **options: Any) -> Refusal | None:
        refusal = super()._may_not_book(*arguments, **options)
        return None if options and isinstance(refusal, MonthFull) else refusal


class StingySwaps(Events):
    """Counts the old event with the new one."""

    def _may_not_book(self, *arguments: Any, **options: Any) -> Refusal | None:
        return super()._may_not_book(*arguments)


class FreeMoves(Events):
    """Looks at the month when somebody books, and not when somebody is moved."""

    def _move(self, *arguments: Any) -> str | None:
        with pytest.MonkeyPatch.context() as planted:
            planted.setattr(app, "OTHER_CITIES_MAX", 1_000)
            return super()._move(*arguments)


class NoMoves(Events):
    """Cancels whatever was booked of an event that is removed."""

    def _move(self, *arguments: Any) -> str | None:
        return None


class CrowdedMoves(Events):
    """Moves people to the next events, be they full or not."""

    def _remove(self, *arguments: Any) -> Reply:
        def room(store: TupleStore, city: str, kind: str) -> Left:
            return tuple((id, 1) for id, _ in availability(store, city, kind))

        availability = branch.availability
        with pytest.MonkeyPatch.context() as planted:
            planted.setattr(branch, "availability", room)
            return super()._remove(*arguments)


SOLO = Options(app="events", protocol="solo")
SEQUENCER = Options(app="events", protocol="sequencer", model="three")


@pytest.mark.parametrize(
    ("wrong", "options", "seeds"),
    [
        (FourAMonth, SOLO, 20),
        (FourAMonth, SEQUENCER, 20),
        (FreeSwaps, SOLO, 40),
        (StingySwaps, SOLO, 120),
        (FreeMoves, SOLO, 40),
        (NoMoves, SOLO, 10),
        (CrowdedMoves, SOLO, 20),
    ],
    ids=lambda value: getattr(value, "__name__", getattr(value, "protocol", None)),
)
def test_a_broken_rule_is_found(
    monkeypatch: pytest.MonkeyPatch, wrong: type[Events], options: Options, seeds: int
) -> None:
    with monkeypatch.context() as planted:
        planted.setattr("holdfast.sim.workloads.Events", wrong)
        results = (run(options, seed) for seed in range(seeds))
        found = next((result for result in results if not result.ok), None)
    assert found is not None, f"not found in {seeds} seeds"
    assert found.kind in ("history violated", "too many bookings", "order")
    assert run(options, found.seed).ok, "the right app fails too"


@pytest.mark.parametrize(("options", "seeds"), [(SOLO, 100), (SEQUENCER, 30)], ids=["solo", "sequencer"])
def test_the_limit_and_the_moves_are_what_some_of_the_people_are_about(
    monkeypatch: pytest.MonkeyPatch, options: Options, seeds: int
) -> None:
    """Answers that clients got, each counted once, however many replicas gave it."""
    came: Counter[str] = Counter()
    check_answer = EventsWorkload.check_answer

    def counted(workload: EventsWorkload, action: Action, text: str) -> None:
        came["month full"] += ", which is all that one may have." in text
        came["moved"] += "; moved: " in text
        came["of travellers"] += isinstance(workload.public, Travellers)
        came["all"] += 1
        check_answer(workload, action, text)

    monkeypatch.setattr(EventsWorkload, "check_answer", counted)
    assert all(run(options, seed).ok for seed in range(seeds))
    assert came["month full"] >= seeds // 8, came
    assert came["moved"] >= seeds // 8, came
    assert TRAVELLING / 2 < came["of travellers"] / came["all"] < TRAVELLING * 1.5, came


def test_an_app_that_overbooks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.sim.workloads.Events", Overbooking)
    kinds = {run(Options(app="events", protocol="solo"), seed).kind for seed in range(12)}
    assert {"history violated"} < kinds <= {"history violated", "too many bookings", ""}
