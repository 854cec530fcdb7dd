"""The messages and the simulator's model of them, side by side: groups above all, which random days leave too rarely
for one to be empty."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import msgspec
import pytest
from tests.sim.side_by_side import side_by_side

from holdfast.apps.messages import GroupMade, Messages
from holdfast.apps.messages.rows import OPEN, Membership
from holdfast.kernel.contracts import Context, Person, Reply, Request
from holdfast.kernel.machine import Machine
from holdfast.kernel.store import TupleStore
from holdfast.sim.messages.asked import ask
from holdfast.sim.messages.crowd import Crowd
from holdfast.sim.messages.verdict import check_told
from holdfast.sim.messages.ward import Answer, Terms, Ward

SEEDS = 20
GROUPS_ABOVE_ALL = {"send": 14, "ack": 4, "delete": 4, "group": 4, "invite": 2, "leave": 12, "history": 6, "groups": 2}

Asked = tuple[Person, Any, bool]


def days(seed: int, app: type[Messages]) -> list[Reply]:
    """What three people hear in 400 turns of sending, leaving and making groups again; the model says the same."""
    crowd = Crowd(random.Random(seed), 3)
    crowd.words = GROUPS_ABOVE_ALL
    machine, ward = Machine(app(crowd.people)), Ward(Terms(300_000, 60_000))
    replies: list[Reply] = []

    def app_says(asked: Asked) -> Reply:
        person, command, is_query = asked
        request = Request(command, person=person)
        stamp = (len(replies), 0)
        replies.append(machine.answer(request) if is_query else machine.execute([request], stamp)[0])
        return replies[-1]

    def model_says(asked: Asked) -> Reply | Answer:
        person, command, is_query = asked
        id = f"{len(replies) - 1}-0-0"
        answer = ask(ward, person, command) if is_query else ward.do(person, command, id, 0)
        check_told([(told.person, told.id, told.reply) for told in machine.take_told()], ward.take_told(), id)
        return replies[-1] if answer.fits(replies[-1]) else answer

    side_by_side((crowd.draw() for _ in range(400)), app_says, model_says)
    return replies


def all_days(app: type[Messages]) -> list[list[Reply]]:
    """As `days`, of each seed."""
    return [days(seed, app) for seed in range(SEEDS)]


def test_model_and_app_say_the_same_of_groups_that_all_leave() -> None:
    came: Counter[str] = Counter()
    for replies in all_days(Messages):
        came += Counter(type(reply).__name__ for reply in replies)
        made = Counter(reply.group for reply in replies if isinstance(reply, GroupMade))
        came["made again"] += made.total() - len(made)
    words = ("GroupMade", "GroupExists", "made again", "Joined", "Left", "Acknowledged", "Deleted", "NoSuchMessage")
    assert min(came[word] for word in words) >= 3 * SEEDS, came


class ShowsWhatWasSaid(Messages):
    """Who comes into a group that is made again sees what was said in it before."""

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        reply = super().apply(store, command, context)
        for person in getattr(reply, "members", ()):
            parts = store.table(Membership)
            part = parts.get((person, reply.group))  # type: ignore[attr-defined]
            assert part is not None
            parts.put(msgspec.structs.replace(part, spans=((1, OPEN),)))
        return reply


def test_who_comes_later_and_sees_what_was_said_before_is_found() -> None:
    with pytest.raises(AssertionError, match="the app says History"):
        all_days(ShowsWhatWasSaid)
