"""The checker's model of the state store against the app: two tellings of the same requirements; and whole runs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.sim.side_by_side import word_for_word
from typer import Typer
from typer.testing import CliRunner

from holdfast.apps.keyvalue import Done, KeyValue, Set, Unset
from holdfast.kernel.contracts import Context, Reply
from holdfast.kernel.store import TupleStore
from holdfast.sim import workloads
from holdfast.sim.bayou import workloads as bayou_workloads
from holdfast.sim.bayou.workloads import StateWork
from holdfast.sim.command import register
from holdfast.sim.keyvalue import Shelves
from holdfast.sim.run import Options, run
from holdfast.sim.workloads import KeyValueWorkload


@pytest.mark.parametrize("seed", range(20))
def test_model_and_app_say_the_same_word_for_word(seed: int) -> None:
    came = word_for_word(KeyValueWorkload(random.Random(seed)))
    assert {action[0] for action, _ in came} == {"set", "unset", "clear", "get", "keys"}


def test_the_model_knows_no_other_words() -> None:
    with pytest.raises(LookupError, match="nobody asks"):
        Shelves().apply((), ("steal", "bob"))


@pytest.mark.parametrize(("protocol", "seeds"), [("solo", 25), ("lamport", 20), ("sequencer", 5)])
def test_schedules_pass(protocol: str, seeds: int) -> None:
    results = [run(Options(app="keyvalue", protocol=protocol), seed) for seed in range(70_000, 70_000 + seeds)]
    assert not [f"{result.seed}: {result.text}" for result in results if not result.ok]
    assert sum(result.faults for result in results) > 2 * seeds
    assert sum(result.operations for result in results) > 20 * seeds


@pytest.mark.parametrize("model", ["all-heard", "immediate"])
def test_schedules_of_offices_pass(model: str) -> None:
    results = [run(Options(app="keyvalue", protocol="bayou", model=model), seed) for seed in range(70_000, 70_004)]
    assert not [f"{result.seed}: {result.text}" for result in results if not result.ok]
    assert sum(dict(result.figures)["writes"] for result in results) > 40


def test_the_command_of_the_page() -> None:
    app = Typer()
    register(app)
    words = ["--app", "keyvalue", "--protocol", "solo", "--seeds", "5", "--processes", "1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert result.stdout.startswith("keyvalue under solo, alone: 5 schedules from seed 1 on")


class Moving(KeyValue):
    """A store in which a key that is set again moves to the end."""

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        if isinstance(command, Set):
            super().apply(store, Unset(command.user, command.key), context)
        return super().apply(store, command, context)


class Deaf(KeyValue):
    """A store that forgets every tenth or so of what it is told."""

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        lost = isinstance(command, Set) and command.value.endswith("7")
        return Done() if lost else super().apply(store, command, context)


@pytest.mark.parametrize("wrong", [Moving, Deaf])
def test_a_store_that_is_wrong_is_found_out(monkeypatch: pytest.MonkeyPatch, wrong: type[KeyValue]) -> None:
    class Workload(KeyValueWorkload):
        def app(self) -> KeyValue:
            return wrong()

    monkeypatch.setitem(workloads.WORKLOADS, "keyvalue", Workload)
    assert [
        seed for seed in range(10) if run(Options(app="keyvalue", protocol="solo"), seed).kind == "history violated"
    ]


@pytest.mark.parametrize("wrong", [Moving, Deaf])
def test_and_so_it_is_among_offices(monkeypatch: pytest.MonkeyPatch, wrong: type[KeyValue]) -> None:
    class Work(StateWork):
        def app(self) -> KeyValue:
            return wrong()

    monkeypatch.setitem(bayou_workloads.OFFICES, "keyvalue", Work)
    options = Options(app="keyvalue", protocol="bayou", model="all-heard")
    assert any(run(options, seed).kind == "model" for seed in range(20))
