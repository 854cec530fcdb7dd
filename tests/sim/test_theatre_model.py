"""The checker's model of the theatre against the app: two tellings of the same requirements."""

from __future__ import annotations

import random

import pytest
from tests.sim.side_by_side import word_for_word

from holdfast.sim.audit import Violation
from holdfast.sim.linearizability import SequentialModel
from holdfast.sim.theatre import Crowd, Theatre, check_list
from holdfast.sim.workloads import TicketsWorkload


class House(TicketsWorkload):
    """A theatre that may have one seat only, and four people before it."""

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.seats = source.randint(1, 7)
        self.model: SequentialModel = Theatre(self.seats)
        self.crowd = Crowd(source, self.seats, 4)


@pytest.mark.parametrize("seed", range(20))
def test_model_and_app_say_the_same_word_for_word(seed: int) -> None:
    came = word_for_word(House(random.Random(seed)))
    assert {action[0] for action, _ in came} == {"reserve", "choose", "delete", "release", "search", "seats", "list"}


def test_a_list_that_gives_a_seat_to_two_names_is_caught() -> None:
    check_list("ann: 1,2; bob: 3")
    with pytest.raises(Violation, match="seat 2 is held by ann and by bob"):
        check_list("ann: 1,2; bob: 2")
