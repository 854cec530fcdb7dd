"""A small app that delivers notices: everybody has a box, and a letter is put there once."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from holdfast.kernel.contracts import App, Command, Context, Query, Refusal, Reply, Request
from holdfast.kernel.machine import Machine
from holdfast.kernel.notices import NOTICES_MAX, NoticesMissing, NoticesUnwanted, Taken, TakeNotices, TakenUpto
from holdfast.kernel.store import Row, TupleStore


class Letter(Row, frozen=True):
    """`place`: which one it is of all that ever came."""

    table = "letters"
    key = ("place",)

    place: int
    source: str
    number: int
    to: str
    text: str


class Empty(Command, frozen=True, tag="empty"):
    """Do nothing."""


class Letters(Query, frozen=True, tag="letters"):
    """What has come, from that place on: `NOTICES_MAX` letters at a time."""

    first: Annotated[int, Meta(ge=1)] = 1


class Page(Reply, frozen=True, tag="page"):
    """(source, number, to, text) of each, in the order in which they came."""

    letters: tuple[tuple[str, int, str, str], ...]

    def text(self) -> str:
        return "; ".join(f"{source} {number} {to}: {text}" for source, number, to, text in self.letters) or "Nothing."


class Nothing(Refusal, frozen=True, tag="nothing"):
    """What `empty` says."""

    def text(self) -> str:
        return "Failed: nothing is done."


class Postbox(App):
    """Every letter that comes is kept, so that one that comes twice shows."""

    name = "postbox"
    rows = (Letter,)
    commands = (Empty,)
    queries = (Letters,)
    replies = (Page, Nothing)

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        return Nothing()

    def answer(self, store: TupleStore, query: Any, context: Context) -> Reply:
        rows = map(store.table(Letter).get, range(query.first, query.first + NOTICES_MAX))
        return Page(tuple((row.source, row.number, row.to, row.text) for row in rows if row))

    def take_notice(self, store: TupleStore, source: str, number: int, to: str, text: str, context: Context) -> None:
        letters = store.table(Letter)
        letters.put(Letter(len(letters) + 1, source, number, to, text))


class Post:
    """A machine of the postbox, and the stamps of its batches."""

    def __init__(self) -> None:
        self.machine = Machine(Postbox())
        self.time = 0

    def do(self, *commands: Command) -> list[Reply]:
        """One batch; as every replica reads it, from its bytes."""
        self.time += 1
        batch = self.machine.encode([Request(command) for command in commands])
        return self.machine.execute(self.machine.decode(batch), (self.time, 0))

    def take(self, first: int, *texts: str, since_ms: int = 5, source: str = "rooms", after_loss: bool = False) -> int:
        """Notices for ann come; how far they have arrived then. Raises `Refused`."""
        told = tuple(("ann", text) for text in texts)
        (reply,) = self.do(TakeNotices(source, since_ms, first, told, after_loss))
        if isinstance(reply, NoticesMissing | NoticesUnwanted):
            raise Refused(reply)
        assert isinstance(reply, Taken)
        return reply.upto

    def taken(self, since_ms: int = 5, source: str = "rooms") -> int:
        """How far they have arrived."""
        reply = self.machine.answer(Request(TakenUpto(source, since_ms)))
        assert isinstance(reply, Taken)
        return reply.upto

    def letters(self) -> list[tuple[str, int, str, str]]:
        """Everything that ever came, in order."""
        rows = sorted(self.machine.store.table(Letter), key=lambda row: row.place)
        return [(row.source, row.number, row.to, row.text) for row in rows]

    def texts(self) -> list[str]:
        return [text for _, _, _, text in self.letters()]


class Refused(Exception):
    """`reply`: the typed refusal."""

    def __init__(self, reply: Refusal) -> None:
        super().__init__(reply.text())
        self.reply = reply
