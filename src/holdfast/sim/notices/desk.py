"""A small app that gives notices: things are taken, taken away and put back, and who loses one is told so.

Whether somebody loses depends on the order, so under `bayou` what is told is tentative for a while. Beside it
stands a model of what is told, which shares no code with it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.kernel.contracts import App, Command, Context, Person, Query, Refusal, Reply
from holdfast.kernel.store import Row
from holdfast.sim.audit import Violation
from holdfast.sim.notices.work import SourceWork

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

THINGS = ("pump", "bed", "key")


class Thing(Row, frozen=True):
    """Who has it."""

    table = "things"
    key = ("name",)

    name: str
    holder: str


class Ask(Command, frozen=True, tag="ask"):
    """Take a thing that is free; who cannot have it is told. `mark`: what this request is known by."""

    thing: str
    mark: str


class Seize(Command, frozen=True, tag="seize"):
    """Take a thing from whoever has it; they and one's colleagues are told."""

    thing: str
    mark: str
    colleagues: tuple[str, ...]


class Return(Command, frozen=True, tag="return"):
    """Put a thing back, if one has it."""

    thing: str


class Look(Query, frozen=True, tag="look"):
    """Who has a thing?"""

    thing: str


class Done(Reply, frozen=True, tag="done"):
    """It is done."""

    def text(self) -> str:
        return "Done."


class Held(Refusal, frozen=True, tag="held"):
    """Somebody has it."""

    by: str

    def text(self) -> str:
        return f"Failed: {self.by} has it."


class Desk(App):
    """The app."""

    name = "desk"
    rows = (Thing,)
    commands = (Ask, Seize, Return)
    queries = (Look,)
    replies = (Done, Held)

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        """See the commands."""
        things, person = store.table(Thing), context.person
        assert person is not None
        thing = things.get(command.thing)
        holder = thing.holder if thing is not None else ""
        if isinstance(command, Return):
            if holder == person.id:
                things.delete(command.thing)
            return Done()
        if isinstance(command, Ask) and holder not in ("", person.id):
            context.notify(person.id, f"{command.mark}: {holder} has the {command.thing}")
            return Held(holder)
        if isinstance(command, Seize):
            if holder not in ("", person.id):
                context.notify(holder, f"{command.mark}: {person.id} has taken the {command.thing} from you")
            for colleague in command.colleagues:
                context.notify(colleague, f"{command.mark}: {person.id} has the {command.thing}")
        things.put(Thing(command.thing, person.id))
        return Done()

    def answer(self, store: TupleStore, query: Any, context: Context) -> Reply:
        """Who has it."""
        thing = store.table(Thing).get(query.thing)
        return Done() if thing is None else Held(thing.holder)


class Register:
    """What is told, one command after the other: a model. `told`: (to whom, what), from the beginning."""

    def __init__(self) -> None:
        self.holders: dict[str, str] = {}
        self.told: list[tuple[str, str]] = []

    def do(self, who: str, command: Any) -> None:
        """One command."""
        holder = self.holders.get(command.thing)
        match command:
            case Return():
                self.holders = {thing: by for thing, by in self.holders.items() if (thing, by) != (command.thing, who)}
                return
            case Ask() if holder not in (None, who):
                self.told.append((who, f"{command.mark}: {holder} has the {command.thing}"))
                return
            case Seize():
                if holder is not None and holder != who:
                    self.told.append((holder, f"{command.mark}: {who} has taken the {command.thing} from you"))
                self.told += [(one, f"{command.mark}: {who} has the {command.thing}") for one in command.colleagues]
        self.holders[command.thing] = who

    def compare(self, store: Any) -> None:
        """Who has what is as the model has it."""
        taken = {thing.name: thing.holder for thing in store.table(Thing)}
        if taken != self.holders:
            raise Violation("model", f"the things are taken {taken}, the model says {self.holders}")


class DeskWork(SourceWork):
    """The desk with its people."""

    model = Register

    def __init__(self, source: random.Random, people: Sequence[Person]) -> None:
        super().__init__(source, people)
        self.marks = 0

    def app(self) -> App:
        return Desk()

    def draw(self, person: Person, now_ms: int) -> tuple[Any, bool]:
        source = self.source
        thing = source.choice(THINGS)
        self.marks += 1
        die = source.random()
        if die < 0.2:
            return Return(thing), False
        if die < 0.6:
            return Ask(thing, f"m{self.marks}"), False
        colleagues = tuple(one.id for one in source.sample(self.staff, source.choice((0, 0, 1, 2))))
        return Seize(thing, f"m{self.marks}", colleagues), False
