"""An app and the simulator's model of it, side by side: both are told the same, one thing after the other, and must say
the same. The one driver of all tests that compare the two."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from holdfast.kernel.contracts import Reply, Request
from holdfast.kernel.machine import Machine
from holdfast.sim.history import Action
from holdfast.sim.workloads import Workload

TURNS = 300

Asked = TypeVar("Asked")
Word = TypeVar("Word")


def side_by_side(
    story: Iterable[Asked], app: Callable[[Asked], Word], model: Callable[[Asked], Word]
) -> list[tuple[Asked, Word]]:
    """Put each of `story` to the app and then to the model; returns what was asked with what both said to it. Raises
    `AssertionError` at the first to which they say different things, with its turn and both tellings."""
    came = []
    for turn, asked in enumerate(story):
        said, expected = app(asked), model(asked)
        assert said == expected, f"turn {turn}, {asked}: the app says {said!r}, the model says {expected!r}"
        came.append((asked, said))
    return came


def word_for_word(workload: Workload, turns: int = TURNS) -> list[tuple[Action, Reply]]:
    """Demand that app and model of a workload give the same text to each of `turns` random actions, and that none is
    wrong in itself; returns the actions with the app's replies."""
    machine, model = Machine(workload.app()), workload.model
    state: Hashable = model.initial()
    replies: list[Reply] = []

    def app_says(action: Action) -> str:
        command, is_query = workload.command(action)
        request = Request(command, person=workload.person(action))
        stamp = (len(replies), 0)
        replies.append(machine.answer(request) if is_query else machine.execute([request], stamp)[0])
        return replies[-1].text()

    def model_says(action: Action) -> str:
        nonlocal state
        state, text = model.apply(state, action)
        return text

    came = side_by_side((workload.draw() for _ in range(turns)), app_says, model_says)
    for action, text in came:
        workload.check_answer(action, text)
    return [(action, reply) for (action, _), reply in zip(came, replies, strict=True)]
