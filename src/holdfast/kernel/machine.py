"""The replicated state machine: an app and what every app gets for nothing.

Around an app's `apply` stand exactly-once execution (`kernel.sessions`), the replicated time, the
outbox of notices and the digest. All of it lies in the one tuple store, so that it is undone,
copied and compared together with the app's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Union, cast

import msgspec

from holdfast.kernel import notices
from holdfast.kernel.contracts import App, Change, Command, Context, Refusal, Reply, Request, Timely
from holdfast.kernel.errors import BrokenInvariant, MalformedInput
from holdfast.kernel.notices import DropNotices, Notice, Outbox, TakeNotices
from holdfast.kernel.replies import Advanced, Expired, Forbidden, Forgotten, Malformed, OutOfClients
from holdfast.kernel.sessions import RETENTION_MS, Known, PlainClients, PlainClientsOf, Session, Sessions
from holdfast.kernel.store import Row, TupleStore

Stamp = tuple[int, int]
"""The fencing token of a batch: (time, server); a later batch has a larger one, in every view."""

HOUR_MS = 3_600_000
STEP_MS_MAX = 7 * 24 * HOUR_MS
"""How far one write may move the time of a store whose writes bring their own."""


class Advance(Command, frozen=True, tag="advance"):
    """Move the replicated time to `now_ms` (Unix milliseconds) unless it is later already."""

    now_ms: int


class PassTime(Command, frozen=True, tag="holdfast.pass_time"):
    """The time of this write has come. For stores whose writes bring their own time, where there is no `Advance`."""


class Clock(Row, frozen=True):
    """The machine's one row of its own: the replicated time and the next notice number."""

    table = "holdfast.clock"
    key = ("id",)

    id: int
    now_ms: int
    notice_next: int


KERNEL_COMMANDS: tuple[type[Command], ...] = (Advance, PassTime, *notices.COMMANDS)
"""Commands that every machine knows, whatever its app. No port has words for them."""
KERNEL_REPLIES: tuple[type[Reply], ...] = (
    Advanced,
    *notices.REPLIES,
    Malformed,
    Forgotten,
    Expired,
    OutOfClients,
    Forbidden,
)
"""Replies that any command may get."""


class Machine:
    """An app's whole state and the one way to change it.

    Deterministic: equal batches in equal order give equal stores, replies and digests at every
    replica. Not thread-safe; the caller is a core. `retention_ms`: see `kernel.sessions`; a
    protocol whose commands may travel for days keeps sessions for longer than they may travel, and
    says that a client's requests need not come `in_order`.
    """

    def __init__(self, app: App, retention_ms: int = RETENTION_MS, in_order: bool = True) -> None:
        self.app = app
        self.retention_ms = retention_ms
        self.in_order = in_order
        self.rows: tuple[type[Row], ...] = (*app.rows, Session, PlainClients, PlainClientsOf, Clock, *notices.ROWS)
        commands: Any = Union[(*app.commands, *KERNEL_COMMANDS)]
        request = msgspec.defstruct("AppRequest", [("command", commands)], bases=(Request,), frozen=True, gc=False)
        self._batch_decoder = msgspec.msgpack.Decoder(list[request])  # type: ignore[valid-type]
        self._request_decoder = msgspec.msgpack.Decoder(request)
        self._encoder = msgspec.msgpack.Encoder()
        replies: Any = Union[(*app.replies, *KERNEL_REPLIES)]
        self._reply_decoder = msgspec.msgpack.Decoder(replies)
        self._context = Context()
        self._context.notify = self._notify
        self._context.tell = self._tell
        self._notified: list[tuple[str, str]] = []
        self._notified_ms = 0
        self._told: list[tuple[str, str, Reply]] = []
        self._timely = app if isinstance(app, Timely) else None
        self._own: dict[type, Callable[[Any], Reply]] = {
            Advance: self._advance,
            PassTime: self._pass_time,
            DropNotices: self._drop_notices,
            TakeNotices: lambda command: notices.take(self.store, command, self.app, self._context),
        }
        self._in_run = False
        self.store = TupleStore(self.rows)
        self.store.table(Clock).put(Clock(0, 0, 1))
        app.create(self.store)
        self._bind()

    def _bind(self) -> None:
        self._sessions = Sessions(self.store, self.retention_ms, self.in_order)
        self._clock = self.store.table(Clock)
        self._notices = self.store.table(Notice)
        self._outbox = self.store.table(Outbox)
        self._context.now_ms = self._clock_row().now_ms

    def _clock_row(self) -> Clock:
        row: Clock | None = self._clock.get(0)
        if row is None:
            raise BrokenInvariant("the machine's clock row is missing from its store")
        return row

    @property
    def now_ms(self) -> int:
        """The replicated time, Unix milliseconds; 0 before the first `Advance`."""
        return self._context.now_ms

    def encode(self, requests: Sequence[Request]) -> bytes:
        """A batch as it is sent and journaled."""
        return self._encoder.encode(requests)

    def decode(self, batch: bytes) -> list[Request]:
        """The inverse of `encode`; raises `MalformedInput` for bytes that are no batch of this app."""
        try:
            return cast("list[Request]", self._batch_decoder.decode(batch))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedInput(f"a batch for {self.app.name} does not decode: {error}") from error

    def encode_request(self, request: Request) -> bytes:
        """One request as it is sent and journaled: what the replica that was asked keeps to itself is left out."""
        bare = request if request.reading is None else msgspec.structs.replace(request, reading=None)
        return self._encoder.encode(bare)

    def decode_request(self, body: bytes) -> Request:
        """The inverse of `encode_request`; raises `MalformedInput`."""
        try:
            return cast("Request", self._request_decoder.decode(body))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedInput(f"a request for {self.app.name} does not decode: {error}") from error

    def recorded(self, request: Request) -> Reply | None:
        """The answer to a request that was executed already, or None."""
        if not request.client or not self._sessions.knows(request):
            return None
        known = self._sessions.lookup(request, self._clock_row().now_ms)
        return self._decode_reply(known) if isinstance(known, bytes) else None

    def admit(self, request: Request, now_ms: int) -> Refusal | None:
        """What the door refuses, and never logs. A retry of what was admitted once gets in again, and the
        words of a protocol itself are none of the app's business."""
        if type(request.command) not in self.app.commands:
            return None
        refusal = self.app.admit(request.command, request.person, now_ms)
        if refusal is not None and request.client and self._sessions.knows(request):
            return None
        return refusal

    def firm_by_ms(self, request: Request) -> int | None:
        """When the app wants the outcome to be final; None if it does not mind, and for a command of the machine."""
        return self.app.firm_by_ms(request.command) if type(request.command) in self.app.commands else None

    def execute_write(self, request: Request, stamp: tuple[int, str, str], name: str, late: bool) -> Reply:
        """Run one command that has its own place in the order: `stamp` and `name` are the same each time
        it is run, at every replica. Its own time is its stamp's; the store's time never goes back."""
        context = self._context
        now_ms, clock = stamp[0], self._clock_row()
        if now_ms // HOUR_MS > clock.now_ms // HOUR_MS:
            # A step at a time: one write of a device whose clock is years ahead must not end every session.
            store_ms = min(now_ms, clock.now_ms + STEP_MS_MAX) if clock.now_ms else now_ms
            clock = Clock(0, store_ms, clock.notice_next)
            self._clock.put(clock)
            self._sessions.expire(store_ms)
        context.now_ms = now_ms
        context.stamp = stamp
        context.name = name
        context.late = late
        context.person = request.person
        context.client = request.client
        own = self._own.get(type(request.command))
        reply = own(request.command) if own is not None else self._execute_once(request, clock.now_ms)
        if not self._in_run:
            self._settle()
        return reply

    @contextmanager
    def run(self) -> Iterator[None]:
        """Writes executed in here follow each other without a mark in between: rows of the machine that several
        of them change (sessions, the outbox, the time) are put once, at the end."""
        self._in_run = True
        try:
            yield
            self._settle()
        finally:
            self._in_run = False

    def execute(self, requests: Sequence[Request], stamp: Stamp) -> list[Reply]:
        """Run a batch in order; one reply each. The stamp fences everything it writes."""
        context, own = self._context, self._own
        context.stamp = stamp
        replies = []
        for context.index, request in enumerate(requests):
            context.person = request.person
            context.client = request.client
            if (command := own.get(type(request.command))) is not None:  # to repeat one of these does no harm
                replies.append(command(request.command))
                continue
            replies.append(self._execute_once(request, context.now_ms))
        self._settle()
        return replies

    def _execute_once(self, request: Request, now_ms: int) -> Reply:
        """Law: a retry gets the first reply and changes nothing; what is too old is refused."""
        if not request.client:
            return self.app.apply(self.store, request.command, self._context)
        known = self._sessions.lookup(request, now_ms)
        if type(known) is Known:
            reply = self.app.apply(self.store, request.command, self._context)
            self._sessions.record(known, request, reply, now_ms)
            return reply
        return self._decode_reply(known) if isinstance(known, bytes) else cast("Reply", known)

    def _decode_reply(self, data: bytes) -> Reply:
        return cast("Reply", self._reply_decoder.decode(data))

    def _advance(self, command: Advance) -> Reply:
        clock = self._clock_row()
        if command.now_ms > clock.now_ms:
            self._clock.put(Clock(0, command.now_ms, clock.notice_next))
            self._context.now_ms = command.now_ms
            self._sessions.expire(command.now_ms)
            self._pass_time(command)
        return Advanced(self._context.now_ms)

    def _pass_time(self, command: Command) -> Reply:
        if self._timely is not None:
            self._timely.pass_time(self.store, self._context)
        return Advanced(self._context.now_ms)

    def _notify(self, to: str, text: str) -> None:
        if not self._notified:
            self._notified_ms = self._context.now_ms
        self._notified.append((to, text if len(text) <= notices.TEXT_MAX else f"{text[: notices.TEXT_MAX - 1]}…"))

    def _drop_notices(self, command: DropNotices) -> Reply:
        self._settle_notices()  # those of the commands before it, which may be of the same batch or run
        return notices.drop(self.store, command, self._clock_row().notice_next)

    def _tell(self, to: str, id: str, reply: Reply) -> None:
        self._told.append((to, id, reply))

    def take_told(self, firm: str = "committed") -> list[Change]:
        """What is to be told to those who watch (see `Context.tell`), since the last time this was called."""
        if not self._told:
            return []
        told, self._told = self._told, []
        return [Change(id, to, firm, reply) for to, id, reply in told]

    def _settle(self) -> None:
        """Put the rows of sessions and notices that what was executed has changed."""
        if self._sessions.recorded:
            self._sessions.settle()
        if self._notified:
            self._settle_notices()

    def _settle_notices(self) -> None:
        if self._notified:
            clock, put = self._clock_row(), self._notices.put
            if self._outbox.get(0) is None:
                self._outbox.put(Outbox(0, self._notified_ms, 0))
            for number, (to, text) in enumerate(self._notified, clock.notice_next):
                put(Notice(number, to, text))
            self._clock.put(Clock(0, clock.now_ms, clock.notice_next + len(self._notified)))
            self._notified.clear()

    def answer(
        self,
        request: Request,
        is_committed: Callable[[str], bool] | None = None,
        now_ms: int | None = None,
        firm_by: Callable[[str], tuple[str, bool]] | None = None,
    ) -> Reply:
        """Answer a query from the state as it stands; changes nothing. `is_committed`, `firm_by`: see `Context`.
        `now_ms`: the time of day, where a command's time is its own and says nothing about now."""
        query: Any = request.command
        if is_committed is not None:
            self._context.is_committed = is_committed
        if firm_by is not None:
            self._context.firm_by = firm_by
        if now_ms is not None:
            self._context.now_ms = now_ms
        if isinstance(query, notices.QUERIES):
            return notices.answer(self.store, query, self._clock_row().notice_next)
        self._context.person = request.person
        self._context.client = request.client
        return self.app.answer(self.store, query, self._context)

    @property
    def notice_first(self) -> int | None:
        """The number of the first notice that is in the outbox, tentative or not; None if it is empty."""
        outbox = self._outbox.get(0)
        return outbox.dropped + 1 if outbox is not None and self.notices_waiting else None

    @property
    def notices_waiting(self) -> int:
        """How many notices are in the outbox, tentative or not."""
        outbox = self._outbox.get(0)
        return 0 if outbox is None else self._clock_row().notice_next - 1 - outbox.dropped

    def digest(self) -> bytes:
        """16 bytes that are equal where the whole state is equal."""
        return self.store.digest()

    def replace_store(self, store: TupleStore) -> str | None:
        """Go on from a restored store. Returns what is wrong if it does not fit the app's configuration."""
        self.store = store
        self._bind()
        return self.app.check(store)
