"""The linearizability checker itself, on histories whose verdict a person can see."""

from __future__ import annotations

import itertools
import random
from collections.abc import Hashable

from holdfast.sim.history import Action, Operation
from holdfast.sim.linearizability import check


class Register:
    """One value: ("write", v) answers "ok", ("read",) answers the value."""

    blind: tuple[str, ...] = ("write",)

    def initial(self) -> Hashable:
        return 0

    def apply(self, state: Hashable, action: Action) -> tuple[Hashable, str]:
        return (action[1], "ok") if action[0] == "write" else (state, str(state))


def write(value: int, call_us: int, return_us: int | None) -> Operation:
    return Operation("w", ("write", value), call_us, return_us, None if return_us is None else "ok")


def read(value: int, call_us: int, return_us: int) -> Operation:
    return Operation("r", ("read",), call_us, return_us, str(value))


def outcome(*operations: Operation) -> str:
    return check(Register(), operations).outcome


def test_a_read_after_a_write_must_see_it() -> None:
    assert outcome(write(1, 0, 10), read(1, 20, 30)) == "linearizable"
    assert outcome(write(1, 0, 10), read(0, 20, 30)) == "violated"


def test_a_read_beside_a_write_may_see_either() -> None:
    assert outcome(write(1, 0, 10), read(0, 5, 8)) == "linearizable"
    assert outcome(write(1, 0, 10), read(1, 5, 8)) == "linearizable"


def test_two_reads_may_not_go_back_in_time() -> None:
    assert outcome(write(1, 0, 100), read(1, 10, 20), read(0, 30, 40)) == "violated"


def test_an_unknown_outcome_may_show_late_early_or_never() -> None:
    assert outcome(write(1, 0, None), read(0, 10, 20), read(1, 30, 40)) == "linearizable"
    assert outcome(write(1, 0, None), read(0, 10, 20)) == "linearizable"
    assert outcome(write(1, 0, None), read(1, 10, 20), read(0, 30, 40)) == "violated"


def test_an_unknown_outcome_cannot_show_before_it_was_asked() -> None:
    assert outcome(read(1, 0, 10), write(1, 20, None)) == "violated"


def test_a_blind_write_that_would_change_nothing_now_may_have_its_place_later() -> None:
    history = (write(1, 0, 30), write(0, 0, 40), read(0, 50, 60))
    assert outcome(*history) == "linearizable"
    sighted = Register()
    sighted.blind = ()
    assert check(sighted, history).outcome == "violated", "a model must say which of its words are blind"


def test_the_explanation_names_the_answer_that_does_not_fit() -> None:
    verdict = check(Register(), [write(1, 0, 10), read(0, 20, 30)])
    assert "answered '0', the model says '1'" in verdict.explanation


def test_a_search_that_hits_its_bound_says_undecided() -> None:
    operations = [write(value, 0, None) for value in range(1, 15)] + [read(99, 10, 20)]
    assert check(Register(), operations, steps_max=1000).outcome == "undecided"


def test_it_agrees_with_trying_every_order() -> None:
    """Against the definition, word by word, on a thousand small random histories."""
    random_source = random.Random(7)
    verdicts = set()
    for _ in range(1000):
        operations = [_random_operation(random_source) for _ in range(5)]
        expected = _linearizable_by_definition(operations)
        verdicts.add(expected)
        assert (outcome(*operations) == "linearizable") is expected, operations
    assert verdicts == {True, False}


def _random_operation(random_source: random.Random) -> Operation:
    call_us = random_source.randrange(20)
    return_us = call_us + random_source.randrange(1, 12)
    if random_source.random() < 0.5:
        return read(random_source.randrange(3), call_us, return_us)
    return write(random_source.randrange(3), call_us, return_us if random_source.random() < 0.6 else None)


def _linearizable_by_definition(operations: list[Operation]) -> bool:
    model = Register()
    known = [operation for operation in operations if operation.return_us is not None]
    unknown = [operation for operation in operations if operation.return_us is None]
    for count in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, count):
            if any(_explains(model, order) for order in itertools.permutations([*known, *chosen])):
                return True
    return False


def _explains(model: Register, order: tuple[Operation, ...]) -> bool:
    state = model.initial()
    for place, operation in enumerate(order):
        if any(later.return_us is not None and later.return_us < operation.call_us for later in order[place + 1 :]):
            return False
        state, text = model.apply(state, operation.action)
        if operation.text is not None and operation.text != text:
            return False
    return True
