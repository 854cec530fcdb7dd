"""What each app is tried with: how to build it, what random clients ask of it, the model that judges the answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol, Union

import msgspec

from holdfast.apps.events import Events
from holdfast.apps.keyvalue import KeyValue
from holdfast.apps.plans import Plans
from holdfast.apps.slots import VENDOR, Slots
from holdfast.apps.tickets import Tickets
from holdfast.kernel.contracts import App, Person
from holdfast.sim.city import QUESTIONS as CITY_QUESTIONS
from holdfast.sim.city import City, check_text, draw_people
from holdfast.sim.history import Action
from holdfast.sim.keyvalue import KEYS, USERS, Shelves, Writers
from holdfast.sim.keyvalue import QUESTIONS as STATE_QUESTIONS
from holdfast.sim.linearizability import SequentialModel
from holdfast.sim.plans import PERSONS, Planners, Shelf
from holdfast.sim.plans import QUESTIONS as PLAN_QUESTIONS
from holdfast.sim.slots import BOSS, Clients, Vendor
from holdfast.sim.slots import QUESTIONS as SLOT_QUESTIONS
from holdfast.sim.theatre import QUESTIONS, Crowd, Theatre, check_list


class Workload(Protocol):
    """One app with sizes drawn for one run."""

    model: SequentialModel

    def app(self) -> App:
        """A new instance for a new process."""

    def draw(self) -> Action:
        """What some client does next."""

    def command(self, action: Action) -> tuple[Any, bool]:
        """The command or query that carries `action`, and whether it is a query."""

    def person(self, action: Action) -> Person | None:
        """Who asks for `action`."""

    def final_questions(self) -> tuple[Action, ...]:
        """What every server is asked at the end."""

    def check_answer(self, action: Action, text: str) -> None:
        """Raise `Violation` if an answer is wrong in itself, whatever came before it."""


class TicketsWorkload:
    """A small theatre with a crowd before it."""

    def __init__(self, source: random.Random) -> None:
        self.seats = source.randint(2, 7)
        self.model: SequentialModel = Theatre(self.seats)
        self.crowd = Crowd(source, self.seats, source.randint(2, 5))
        self._convert = Union[(*Tickets.commands, *Tickets.queries)]

    def app(self) -> App:
        return Tickets(self.seats)

    def draw(self) -> Action:
        return self.crowd.draw()

    def command(self, action: Action) -> tuple[Any, bool]:
        return msgspec.convert(action, self._convert), action[0] in QUESTIONS

    def person(self, action: Action) -> Person | None:
        return None

    def final_questions(self) -> tuple[Action, ...]:
        return (("list",), ("seats",))

    def check_answer(self, action: Action, text: str) -> None:
        if action[0] == "list":
            check_list(text)


class EventsWorkload:
    """Three cities with a few events, which are fought for. An action is (word, who asks, argument, ...)."""

    def __init__(self, source: random.Random) -> None:
        self.public = draw_people(source)
        self.model: SequentialModel = City()
        self._convert = Union[(*Events.commands, *Events.queries)]

    def app(self) -> App:
        return Events()

    def draw(self) -> Action:
        return self.public.draw()

    def command(self, action: Action) -> tuple[Any, bool]:
        word, _, *arguments = action
        return msgspec.convert((word, *arguments), self._convert), word in CITY_QUESTIONS

    def person(self, action: Action) -> Person | None:
        return Person(str(action[1]))

    def final_questions(self) -> tuple[Action, ...]:
        return self.public.final_questions()

    def check_answer(self, action: Action, text: str) -> None:
        check_text(text)


class SlotsWorkload:
    """A few slots of one vendor, which clients compete for. An action is (word, who asks, argument, ...)."""

    def __init__(self, source: random.Random) -> None:
        self.slots = source.randint(2, 6)
        self.holds = source.randint(1, 2)
        self.model: SequentialModel = Vendor(self.slots, self.holds)
        self.clients = Clients(source, self.slots)
        self._convert = Union[(*Slots.commands, *Slots.queries)]

    def app(self) -> App:
        return Slots(self.slots, self.holds)

    def draw(self) -> Action:
        return self.clients.draw()

    def command(self, action: Action) -> tuple[Any, bool]:
        word, _, *arguments = action
        return msgspec.convert((word, *arguments), self._convert), word in SLOT_QUESTIONS

    def person(self, action: Action) -> Person | None:
        return Person(str(action[1]), roles=(VENDOR,) if action[1] == BOSS else ())

    def final_questions(self) -> tuple[Action, ...]:
        return (("available", BOSS), ("holders", BOSS))

    def check_answer(self, action: Action, text: str) -> None:
        """What an answer says by itself is never wrong: it names no slot twice."""


class KeyValueWorkload:
    """A few keys of a few users, which clients write at the same time."""

    def __init__(self, source: random.Random) -> None:
        self.model: SequentialModel = Shelves()
        self.writers = Writers(source)
        self._convert = Union[(*KeyValue.commands, *KeyValue.queries)]

    def app(self) -> App:
        return KeyValue()

    def draw(self) -> Action:
        return self.writers.draw()

    def command(self, action: Action) -> tuple[Any, bool]:
        return msgspec.convert(action, self._convert), action[0] in STATE_QUESTIONS

    def person(self, action: Action) -> Person | None:
        return None

    def final_questions(self) -> tuple[Action, ...]:
        return (*(("keys", user) for user in USERS), *(("get", user, key) for user in USERS for key in KEYS))

    def check_answer(self, action: Action, text: str) -> None:
        """What an answer says by itself is never wrong."""


class PlansWorkload:
    """A few plans of two people. An action is (word, who asks, argument, ...)."""

    def __init__(self, source: random.Random) -> None:
        self.model: SequentialModel = Shelf()
        self.planners = Planners(source)
        self._convert = Union[(*Plans.commands, *Plans.queries)]

    def app(self) -> App:
        return Plans(map(Person, PERSONS))

    def draw(self) -> Action:
        return self.planners.draw()

    def command(self, action: Action) -> tuple[Any, bool]:
        word, _, *arguments = action
        return msgspec.convert((word, *arguments), self._convert), word in PLAN_QUESTIONS

    def person(self, action: Action) -> Person | None:
        return Person(str(action[1]))

    def final_questions(self) -> tuple[Action, ...]:
        return tuple(("mine", person) for person in PERSONS)

    def check_answer(self, action: Action, text: str) -> None:
        """What an answer says by itself is never wrong."""


WORKLOADS: dict[str, Callable[[random.Random], Workload]] = {
    "tickets": TicketsWorkload,
    "events": EventsWorkload,
    "slots": SlotsWorkload,
    "keyvalue": KeyValueWorkload,
    "plans": PlansWorkload,
}
"""By the app's name."""
