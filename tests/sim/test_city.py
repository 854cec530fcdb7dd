"""The events of three cities in the simulator: the checker's model against the app, and whole runs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable
from typing import Any

import pytest

from holdfast.apps.events import Events
from holdfast.apps.events.replies import EventFull
from holdfast.kernel.contracts import Refusal, Request
from holdfast.kernel.machine import Machine
from holdfast.sim.audit import Violation
from holdfast.sim.city import check_text
from holdfast.sim.many import Tally, run_many
from holdfast.sim.run import Options, run
from holdfast.sim.workloads import EventsWorkload


def test_model_and_app_say_the_same_word_for_word() -> None:
    came: Counter[str] = Counter()
    for seed in range(120):
        workload = EventsWorkload(random.Random(seed))
        machine, model = Machine(workload.app()), workload.model
        state: Hashable = model.initial()
        for turn in range(100):
            action = workload.draw()
            command, is_query = workload.command(action)
            request = Request(command, person=workload.person(action))
            reply = machine.answer(request) if is_query else machine.execute([request], (turn, 0))[0]
            state, text = model.apply(state, action)
            assert reply.text() == text
            workload.check_answer(action, text)
            came[type(reply).__name__] += 1
            if "; moved" in text:
                came["moved"] += 1
    everything = {reply.__name__ for reply in machine.app.replies} - {"NobodyKnown", "Senseless", "ProgrammeFull"}
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


def test_an_app_that_overbooks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.sim.workloads.Events", Overbooking)
    kinds = {run(Options(app="events", protocol="solo"), seed).kind for seed in range(12)}
    assert {"history violated"} < kinds <= {"history violated", "too many bookings", ""}
