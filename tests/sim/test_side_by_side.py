"""The driver of app and model can fail: it finds each word that differs, and misses no turn."""

from __future__ import annotations

import ast
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.sim.side_by_side import TURNS, side_by_side, word_for_word

from holdfast.apps.keyvalue import Done, KeyValue, Set, Unset
from holdfast.kernel.contracts import Context, Reply
from holdfast.kernel.store import TupleStore
from holdfast.sim import city, keyvalue, plans, rooms_model, slots, theatre
from holdfast.sim.audit import Violation
from holdfast.sim.history import Action
from holdfast.sim.workloads import WORKLOADS, KeyValueWorkload, Workload


@pytest.mark.parametrize("model", [city, keyvalue, plans, rooms_model, slots, theatre])
def test_a_model_takes_nothing_from_the_apps(model: ModuleType) -> None:
    assert model.__file__ is not None
    tree = ast.parse(Path(model.__file__).read_text(encoding="utf-8"))
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    others = {"holdfast.sim.history", "holdfast.sim.audit"}
    assert {name for name in froms | plain if name is None or name.startswith("holdfast")} <= others


def test_who_say_the_same_are_heard_to_the_end() -> None:
    assert side_by_side("abc", str.upper, str.upper) == [("a", "A"), ("b", "B"), ("c", "C")]


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_one_word_that_differs_is_found_where_it_is(turn: int) -> None:
    with pytest.raises(AssertionError, match=f"turn {turn}, {'abc'[turn]}: the app says 'X', the model says"):
        side_by_side("abc", lambda asked: "X" if asked == "abc"[turn] else asked, str)


class Stubborn(KeyValue):
    """Says that it has unset what it keeps: only what is asked later shows it."""

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        return Done() if isinstance(command, Unset) else super().apply(store, command, context)


class Moving(KeyValue):
    """Moves a key that is set again to the end."""

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        if isinstance(command, Set):
            super().apply(store, Unset(command.user, command.key), context)
        return super().apply(store, command, context)


@pytest.mark.parametrize("wrong", [Stubborn, Moving])
def test_an_app_that_is_bent_is_found(wrong: type[KeyValue]) -> None:
    class Bent(KeyValueWorkload):
        def app(self) -> KeyValue:
            return wrong()

    with pytest.raises(AssertionError, match="the app says"):
        word_for_word(Bent(random.Random(1)))


@pytest.mark.parametrize("make", WORKLOADS.values(), ids=WORKLOADS)
def test_an_answer_that_is_wrong_in_itself_is_found_whatever_the_model_says(
    monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    heard = []
    workload: Workload = make(random.Random(1))

    def wrong_at_last(action: Action, text: str) -> None:
        heard.append(text)
        if len(heard) == TURNS:
            raise Violation("answer", text)

    monkeypatch.setattr(workload, "check_answer", wrong_at_last)
    with pytest.raises(Violation):
        word_for_word(workload)
