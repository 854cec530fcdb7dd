"""The checker's model of what plans have come to against the app: two tellings of the same; and whole runs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.sim.side_by_side import word_for_word

from holdfast.apps.plans import Plan, Plans
from holdfast.kernel.contracts import Context, Person, Reply
from holdfast.kernel.store import TupleStore
from holdfast.sim import workloads
from holdfast.sim.plans import PERSONS
from holdfast.sim.run import Options, run
from holdfast.sim.workloads import PlansWorkload


@pytest.mark.parametrize("seed", range(10))
def test_model_and_app_say_the_same_word_for_word(seed: int) -> None:
    came = word_for_word(PlansWorkload(random.Random(seed)))
    assert {action[0] for action, _ in came} == {"conclude", "withdraw", "mine"}


@pytest.mark.parametrize(("protocol", "seeds"), [("solo", 10), ("lamport", 10), ("sequencer", 3)])
def test_schedules_pass(protocol: str, seeds: int) -> None:
    results = [run(Options(app="plans", protocol=protocol), seed) for seed in range(30_000, 30_000 + seeds)]
    assert not [f"{result.seed}: {result.text}" for result in results if not result.ok]
    assert sum(result.faults for result in results) > 3 * seeds
    assert sum(result.operations for result in results) > 15 * seeds


class Fleeting(Plans):
    """Forgets a plan now and then."""

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        reply = super().apply(store, command, context)
        first = next(iter(store.table(Plan)), None)
        if context.now_ms % 3 == 0 and first is not None and len(store.table(Plan)) > 2:
            store.table(Plan).delete((first.person, first.name))
        return reply


def test_a_service_that_forgets_a_plan_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Workload(PlansWorkload):
        def app(self) -> Plans:
            return Fleeting(map(Person, PERSONS))

    monkeypatch.setitem(workloads.WORKLOADS, "plans", Workload)
    found = [result.kind for seed in range(10) if (result := run(Options(app="plans", protocol="solo"), seed)).kind]
    assert "history violated" in found
