"""The checker's model of the theatre against the app: two tellings of the same requirements."""

from __future__ import annotations

import random
from collections.abc import Hashable
from typing import Union

import msgspec
import pytest

from holdfast.apps.tickets import Tickets
from holdfast.kernel.contracts import Request
from holdfast.kernel.machine import Machine
from holdfast.sim.audit import Violation
from holdfast.sim.theatre import QUESTIONS, Crowd, Theatre, check_list


@pytest.mark.parametrize("seed", range(20))
def test_model_and_app_say_the_same_word_for_word(seed: int) -> None:
    source = random.Random(seed)
    seats = source.randint(1, 7)
    machine, model, crowd = Machine(Tickets(seats)), Theatre(seats), Crowd(source, seats, 4)
    state: Hashable = model.initial()
    for turn in range(300):
        action = crowd.draw()
        command = msgspec.convert(action, Union[(*Tickets.commands, *Tickets.queries)])
        if action[0] in QUESTIONS:
            reply = machine.answer(Request(command))
        else:
            (reply,) = machine.execute([Request(command)], (0, turn, 0))
        state, text = model.apply(state, action)
        assert reply.text() == text


def test_a_list_that_gives_a_seat_to_two_names_is_caught() -> None:
    check_list("ann: 1,2; bob: 3")
    with pytest.raises(Violation, match="seat 2 is held by ann and by bob"):
        check_list("ann: 1,2; bob: 2")
