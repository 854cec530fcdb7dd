"""The checker's model of a vendor against the app: two tellings of the same requirements; and whole runs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.sim.side_by_side import word_for_word

from holdfast.apps.slots import NotAvailable, Slots, Taken
from holdfast.kernel.contracts import Reply
from holdfast.sim import workloads
from holdfast.sim.run import Options, run
from holdfast.sim.workloads import SlotsWorkload


@pytest.mark.parametrize("seed", range(20))
def test_model_and_app_say_the_same_word_for_word(seed: int) -> None:
    came = word_for_word(SlotsWorkload(random.Random(seed)))
    assert {action[0] for action, _ in came} >= {"reserve", "release", "block", "unblock", "available", "mine"}


@pytest.mark.parametrize("protocol", ["solo", "lamport"])
def test_schedules_pass(protocol: str) -> None:
    results = [run(Options(app="slots", protocol=protocol), seed) for seed in range(30_000, 30_025)]
    assert not [f"{result.seed}: {result.text}" for result in results if not result.ok]
    assert sum(result.faults for result in results) > 100
    assert sum(result.operations for result in results) > 500


class Generous(Slots):
    """A vendor that forgets what it has promised."""

    def _reserve(self, *arguments: Any) -> Reply:
        reply = super()._reserve(*arguments)
        store, command = arguments[:2]
        if isinstance(reply, NotAvailable) and not reply.yours:
            self._give_back(store, command.slot)
            reply = super()._reserve(*arguments)
        return reply

    def _give_back(self, store: Any, slot: int) -> str:
        taken = store.table(Taken).get(slot)
        return super()._give_back(store, slot) if taken is not None and taken.client else ""


def test_a_vendor_that_gives_a_slot_to_two_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Workload(SlotsWorkload):
        def app(self) -> Slots:
            return Generous(self.slots, self.holds)

    monkeypatch.setitem(workloads.WORKLOADS, "slots", Workload)
    found = [result.kind for seed in range(20) if (result := run(Options(app="slots", protocol="solo"), seed)).kind]
    assert found
