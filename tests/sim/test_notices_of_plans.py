"""The app `plans` as a source of notices under virtual time: the model of who hears what, and wrong apps are found."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.apps.plans import Conclude, Plan, Plans, Withdraw
from holdfast.kernel.contracts import Context, Reply
from holdfast.kernel.store import TupleStore
from holdfast.sim.many import Tally, run_many
from holdfast.sim.notices import planners
from holdfast.sim.notices.models import MODELS
from holdfast.sim.notices.planners import Hearsay
from holdfast.sim.options import Options
from holdfast.sim.run import run


def of_plans(model: str) -> Options:
    return Options(app="plans", protocol="notices", model=model)


@pytest.mark.parametrize("model", MODELS)
def test_every_schedule_passes(model: str) -> None:
    tally = Tally()
    for result in run_many(of_plans(model), 50_000, 3, processes=1):
        tally.add(result)
    assert not tally.failures, "\n\n".join(f"seed {result.seed}: {result.text}" for result in tally.failures)
    assert tally.figures["taken"] >= tally.figures["notices"] > 10


def test_the_model_tells_whoever_has_heard_what_is_not_so_any_more() -> None:
    model = Hearsay(plans_max=1)
    model.do("bob", Conclude("wedding", 17, ("band", "hotel"), ("ann",)))
    model.do("bob", Conclude("wedding", 17, ("band", "hotel"), ("cem", "ann")))
    model.do("bob", Conclude("wedding", 17, ("hotel", "band"), ("cem",)))
    model.do("bob", Conclude("wedding", 12, ("hotel", "band"), ("dee",)))
    model.do("bob", Conclude("party", 1, ("hall",), ("ann",)))
    model.do("bob", Withdraw("wedding"))
    model.do("bob", Withdraw("party"))
    assert model.told == [
        ("ann", "bob has booked slot 17 at band and hotel."),
        ("cem", "bob has booked slot 17 at band and hotel."),
        ("ann", "bob has booked slot 12 instead of 17 at hotel and band."),
        ("cem", "bob has booked slot 12 instead of 17 at hotel and band."),
        ("dee", "bob has booked slot 12 at hotel and band."),
        ("ann", "bob has booked slot 1 at hall."),
        ("ann", "bob no longer has slot 1 at hall."),
    ]


class Forgetful(Plans):
    """Knows of the last conclusion only who is named in it."""

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        assert context.person is not None
        old: Plan | None = store.table(Plan).get((context.person.id, command.plan))
        if old is not None and isinstance(command, Conclude):
            known = tuple(one for one in old.told if one in command.persons) or old.told[:1]
            store.table(Plan).put(Plan(old.person, old.name, old.place, old.slot, old.vendors, known))
        return super().apply(store, command, context)


class Chatty(Plans):
    """Tells everybody again, whatever they have been told."""

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        assert context.person is not None
        if isinstance(command, Conclude) and store.table(Plan).get((context.person.id, command.plan)) is not None:
            store.table(Plan).delete((context.person.id, command.plan))
        return super().apply(store, command, context)


@pytest.mark.parametrize("wrong", [Forgetful, Chatty])
@pytest.mark.parametrize("model", ["solo-solo", "bayou-bayou"])
def test_a_service_that_tells_something_else_is_found(
    monkeypatch: pytest.MonkeyPatch, wrong: type[Plans], model: str
) -> None:
    monkeypatch.setattr(planners, "Plans", wrong)
    results = (run(of_plans(model), seed) for seed in range(10))
    failed = next((result for result in results if not result.ok), None)
    assert failed is not None
    assert failed.kind in ("notices", "model"), failed.text
