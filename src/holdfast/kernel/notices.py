"""Notices: what an app has to tell people, from its outbox to the service that delivers it.

A notice gets its number when the command that gives rise to it is executed: from 1, without gaps, in
the order of the service. It leaves for the service that delivers notices once it is final, and any
node may carry it there (`kernel.forwarding`). The receiver keeps the highest contiguous number of each
source, so whatever comes twice, by another node or after a crash, is known by its number and dropped:
that makes it exactly once. Then the source removes the row, by a command like any other.

A source is a service *since* the time of its first notice: one that was begun anew counts from 1 again
and is another source. One of whom the receiver knows nothing (it may have been begun anew itself) begins with what it
has not removed: the rest has been delivered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

from msgspec import Meta

from holdfast.kernel.contracts import Command, Context, Query, Refusal, Reply
from holdfast.kernel.store import Row

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

NOTICES_MAX = 100
"""Rows that one question returns, and that one command carries; the next page starts after the last number."""
NOTICES_BYTES_MAX = 32 * 1024
"""What is carried at a time, in UTF-8: small enough for every protocol's largest command, and for a network that
loses some of its fragments."""
TEXT_MAX = 2_000
"""Characters of one notice; a longer one is cut."""
NUMBER_MAX = 2**62

Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
SourceName = Annotated[str, Meta(min_length=1, max_length=64)]
Told = tuple[str, str]
"""(to, text): a person's id and what it is told."""


class Notice(Row, frozen=True):
    """A row of the outbox: what must reach somebody. The numbers begin with 1 and have no gaps."""

    table = "holdfast.outbox"
    key = ("number",)

    number: int
    to: str
    text: str


class Outbox(Row, frozen=True):
    """The one row about the outbox, from the first notice on. `since_ms`: the time of the command that it is from.
    `dropped`: the highest number that was removed."""

    table = "holdfast.outbox_state"
    key = ("id",)

    id: int
    since_ms: int
    dropped: int


class Source(Row, frozen=True):
    """What a receiver knows of one service: all its notices up to `upto` are in, but for those that were lost with
    a disk. `since_ms`: which life of it."""

    table = "holdfast.sources"
    key = ("name",)

    name: str
    since_ms: int
    upto: int


class DropNotices(Command, frozen=True, tag="holdfast.drop"):
    """They have arrived: remove the rows of the outbox up to this number."""

    upto: Number


class TakeNotices(Command, frozen=True, tag="holdfast.take"):
    """Deliver these notices of a source, the first of them numbered `first`. `after_loss`: also where those before
    them are missing, for their source has them no more."""

    source: SourceName
    since_ms: Number
    first: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    notices: Annotated[tuple[Told, ...], Meta(max_length=NOTICES_MAX)]
    after_loss: bool = False


class NoticesAfter(Query, frozen=True, tag="notices"):
    """The outbox rows numbered above `after`, oldest first, at most `NOTICES_MAX`. `to`: those of this person
    alone ("" for everybody's)."""

    after: int = 0
    to: str = ""


class OutboxAfter(Query, frozen=True, tag="holdfast.outbox"):
    """The same for who carries them: with the life of the source that they belong to, and no more than
    `NOTICES_BYTES_MAX` of them beyond the first."""

    after: int = 0


class TakenUpto(Query, frozen=True, tag="holdfast.taken"):
    """How far the notices of a source have arrived."""

    source: SourceName
    since_ms: Number


class Notices(Reply, frozen=True, tag="notices"):
    """Rows of the outbox: (number, addressee, text)."""

    rows: tuple[tuple[int, str, str], ...]

    def text(self) -> str:
        return "; ".join(f"{number} {to}: {text}" for number, to, text in self.rows) or "No notices."


class OutboxRows(Reply, frozen=True, tag="outbox_rows"):
    """`first`: the number of the first of them; they have no gaps."""

    since_ms: int
    first: int
    notices: tuple[Told, ...]

    def text(self) -> str:
        return f"{len(self.notices)} notices from {self.first} on, since {self.since_ms}."


class Dropped(Reply, frozen=True, tag="dropped"):
    """The outbox holds nothing up to this number any more."""

    upto: int

    def text(self) -> str:
        return f"The notices up to {self.upto} are removed."


class Taken(Reply, frozen=True, tag="taken"):
    """All notices of the source up to this number are in. `upto` 0: none."""

    upto: int

    def text(self) -> str:
        return f"The notices up to {self.upto} are in."


class NoticesMissing(Refusal, frozen=True, tag="notices_missing"):
    """Those before the first one have not arrived; nothing was taken. `upto`: how far they have."""

    upto: int

    def text(self) -> str:
        return f"Failed: the notices after {self.upto} come first."


class NoticesUnwanted(Refusal, frozen=True, tag="notices_unwanted"):
    """This service delivers no notices, or the source is one that was begun anew since."""

    why: str

    def text(self) -> str:
        return f"Failed: {self.why}."


COMMANDS: tuple[type[Command], ...] = (DropNotices, TakeNotices)
QUERIES: tuple[type[Query], ...] = (NoticesAfter, OutboxAfter, TakenUpto)
ANSWERS: tuple[type[Reply], ...] = (Notices, OutboxRows, Taken)
REPLIES: tuple[type[Reply], ...] = (Dropped, Taken, NoticesMissing, NoticesUnwanted)
ROWS: tuple[type[Row], ...] = (Notice, Outbox, Source)


@runtime_checkable
class NoticeTaker(Protocol):
    """An app that delivers notices."""

    def take_notice(self, store: TupleStore, source: str, number: int, to: str, text: str, context: Context) -> None:
        """A notice of a service, each once and in the order of the source. Total: whoever is not known
        is nobody's mistake here."""


def drop(store: TupleStore, command: DropNotices, number_next: int) -> Dropped:
    """Remove what has arrived. `number_next`: of the next notice that there will be."""
    states, notices = store.table(Outbox), store.table(Notice)
    state = states.get(0)
    if state is None:
        return Dropped(0)
    upto = min(command.upto, number_next - 1)
    for number in range(state.dropped + 1, upto + 1):
        notices.delete(number)
    if upto > state.dropped:
        states.put(Outbox(0, state.since_ms, upto))
    return Dropped(max(upto, state.dropped))


def take(store: TupleStore, command: TakeNotices, app: Any, context: Context) -> Reply:
    """Deliver what has not arrived before."""
    if not isinstance(app, NoticeTaker):
        return NoticesUnwanted(f"{app.name} delivers no notices")
    sources = store.table(Source)
    known = sources.get(command.source)
    if known is not None and known.since_ms > command.since_ms:
        return NoticesUnwanted(f"{command.source} has been begun anew since these notices were written")
    # To one of whom nothing is known, everything before its first has been delivered: a source removes nothing else.
    upto = known.upto if known is not None and known.since_ms == command.since_ms else command.first - 1
    if command.first > upto + 1 and not command.after_loss:
        return NoticesMissing(upto)
    for number, (to, text) in enumerate(command.notices, command.first):
        if number > upto:
            app.take_notice(store, command.source, number, to, text, context)
    last = command.first + len(command.notices) - 1
    if last > upto:
        sources.put(Source(command.source, command.since_ms, last))
    return Taken(max(upto, last))


def answer(store: TupleStore, query: Query, number_next: int) -> Reply:
    """Answer one of `QUERIES`."""
    if isinstance(query, TakenUpto):
        known = store.table(Source).get(query.source)
        return Taken(known.upto if known is not None and known.since_ms == query.since_ms else 0)
    assert isinstance(query, NoticesAfter | OutboxAfter)
    state = store.table(Outbox).get(0)
    first = max(query.after, state.dropped if state else 0, 0) + 1
    get = store.table(Notice).get
    if isinstance(query, OutboxAfter):
        rows = filter(None, map(get, range(first, min(first + NOTICES_MAX, number_next))))
        return OutboxRows(state.since_ms if state else 0, first, _as_many_as_fit(rows))
    wanted = (row for row in map(get, range(first, number_next)) if row and query.to in ("", row.to))
    return Notices(tuple((row.number, row.to, row.text) for row, _ in zip(wanted, range(NOTICES_MAX), strict=False)))


def _as_many_as_fit(rows: Iterable[Notice]) -> tuple[Told, ...]:
    """The first of them, as many as may be carried at a time; one at least."""
    told: list[Told] = []
    left_bytes = NOTICES_BYTES_MAX
    for row in rows:
        left_bytes -= len(row.to.encode()) + len(row.text.encode())
        if told and left_bytes < 0:
            break
        told.append((row.to, row.text))
    return tuple(told)
