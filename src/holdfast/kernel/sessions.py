"""Exactly once, bounded without danger.

The reply to (client, number) is kept in the replicated state, so a retry at any replica gets the
first answer. What keeps it bounded:

- Numbers below the client's declared lowest unanswered one, or below the `WINDOW` newest answers,
  are forgotten: refused with `Forgotten`, never executed again.
- Where requests may come out of their order (a laptop's, days later), "answered" is no word for
  "executed": numbers below the lowest that were never executed are remembered as such, and are.
- A client id that ends in `.` and 13 digits carries its birth in Unix milliseconds. Its row lives
  until `RETENTION_MS` after both its birth and its last use, by the replicated time; an unknown id
  whose birth lies that far back is refused with `Expired`. So a row may be dropped whole: nothing
  older can come to life again, whatever the clients' clocks say.
- An id without a birth could come back at any time, so of its row the numbers are kept for good
  and only the answers go. Of those ids there are at most `PLAIN_CLIENTS_MAX`, and of one owner (who stands
  before the first colon of the id) at most `PLAIN_CLIENTS_OF_ONE_MAX`; one more is refused.
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import msgspec

from holdfast.kernel.contracts import Refusal, Reply, Request
from holdfast.kernel.replies import Expired, Forgotten, OutOfClients
from holdfast.kernel.store import Condition, Row, Select, TupleStore

WINDOW = 128
RETENTION_MS = 24 * 3600 * 1000
PLAIN_CLIENTS_MAX = 100_000
PLAIN_CLIENTS_OF_ONE_MAX = 1_000
"""So that nobody uses up everybody's. Those of nobody are counted with all only."""
UNSEEN_MAX = 1024
"""Ranges of numbers never executed that are remembered of a client; older ones count as executed."""
EXPIRED_A_TIME_MAX = 1000
"""Rows one `Advance` may expire: time must not stand still under a heap of old sessions."""

_HOUR_MS = 3600 * 1000
_BIRTH_DIGITS = 13
_NEVER = 1 << 62
_encode = msgspec.msgpack.Encoder().encode


class Session(Row, frozen=True):
    """What is known of one client: answers (number, encoded reply) from `lowest` on, and the hour
    (Unix) after which it may expire. An hour, not a millisecond, so that its index seldom moves.
    `unseen`: ranges of numbers below `lowest` that were never executed and still may be, where
    requests can come out of their order."""

    table = "holdfast.sessions"
    key = ("client",)
    indexes = ("expires_hour",)

    client: str
    lowest: int
    answers: tuple[tuple[int, bytes], ...]
    expires_hour: int
    unseen: tuple[tuple[int, int], ...] = ()


class PlainClients(Row, frozen=True):
    """How many client ids without a birth are kept."""

    table = "holdfast.plain_clients"
    key = ("id",)

    id: int
    count: int


class PlainClientsOf(Row, frozen=True):
    """How many of them an owner has."""

    table = "holdfast.plain_clients_of"
    key = ("owner",)

    owner: str
    count: int


def owner_of(client: str) -> str:
    """Whose client id it is, "" for nobody's."""
    owner, colon, _ = client.partition(":")
    return owner if colon else ""


@lru_cache(maxsize=4096)
def birth_ms(client: str) -> int | None:
    """The birth that a client id carries, Unix milliseconds, or None."""
    digits = client[-_BIRTH_DIGITS:]
    if len(client) > _BIRTH_DIGITS and client[-_BIRTH_DIGITS - 1] == "." and digits.isascii() and digits.isdigit():
        return int(digits)
    return None


class Known(msgspec.Struct, gc=False):
    """A client's session while commands are being executed; `settle` makes a row of it. `answers`: by number, in
    the order of their execution, the new ones not encoded yet. `last_ms`: the replicated time of its last use."""

    client: str
    lowest: int
    answers: dict[int, bytes | Reply]
    unseen: tuple[tuple[int, int], ...]
    last_ms: int = 0


class Sessions:
    """The table of sessions in a store, and the rules above. What was recorded since the last `settle` is
    not in the table yet: of a client whose answers follow each other, most never need to be."""

    def __init__(self, store: TupleStore, retention_ms: int = RETENTION_MS, in_order: bool = True) -> None:
        self._store = store
        self._in_order = in_order
        self._retention_ms = retention_ms
        self._table = store.table(Session)
        self._plain = store.table(PlainClients)
        self._plain_of = store.table(PlainClientsOf)
        self.recorded: dict[str, Known] = {}

    def lookup(self, request: Request, now_ms: int) -> Known | bytes | Reply:
        """The recorded answer (encoded or not), or a refusal, or the session under which to execute."""
        known = self.recorded.get(request.client)
        if known is None:
            row: Session | None = self._table.get(request.client)
            if row is None:
                return self._open(request.client, now_ms)
            known = Known(request.client, row.lowest, dict(row.answers), row.unseen)
        number = request.number
        if number < known.lowest:
            if any(low <= number <= high for low, high in known.unseen):
                return known
            return Forgotten(request.client, number, known.lowest)
        return known.answers.get(number, known)

    def knows(self, request: Request) -> bool:
        """Whether the request was answered already."""
        session: Session | None = self._table.get(request.client)
        return session is not None and any(known == request.number for known, _ in session.answers)

    def _open(self, client: str, now_ms: int) -> Known | Refusal:
        birth = birth_ms(client)
        if birth is None:
            refusal = self._count_plain(owner_of(client))
            if refusal is not None:
                return refusal
        elif now_ms and not now_ms - self._retention_ms < birth < now_ms + self._retention_ms:
            return Expired(client)
        return Known(client, 0, {}, ())

    def _count_plain(self, owner: str) -> Refusal | None:
        """One more id without a birth, unless there are too many."""
        total = self._plain.get(0) or PlainClients(0, 0)
        if total.count >= PLAIN_CLIENTS_MAX:
            return OutOfClients("", total.count)
        if owner:
            if total.count and not len(self._plain_of):
                self._count_by_owner()
            known = self._plain_of.get(owner) or PlainClientsOf(owner, 0)
            if known.count >= PLAIN_CLIENTS_OF_ONE_MAX:
                return OutOfClients(owner, known.count)
            self._plain_of.put(PlainClientsOf(owner, known.count + 1))
        self._plain.put(PlainClients(0, total.count + 1))
        return None

    def _count_by_owner(self) -> None:
        """Once, in a store of an earlier version, which knows only how many there are of all. All of them are
        in the table: whoever came in this batch or run was counted after this."""
        counts: dict[str, int] = {}
        for session in self._table:
            owner = owner_of(session.client)
            if owner and birth_ms(session.client) is None:
                counts[owner] = counts.get(owner, 0) + 1
        for owner, count in counts.items():
            self._plain_of.put(PlainClientsOf(owner, count))

    def record(self, session: Known, request: Request, answer: Reply, now_ms: int) -> None:
        """Keep the answer; forget what the client no longer needs."""
        number, before, answers = request.number, session.lowest, session.answers
        declared = request.lowest if request.lowest < number else number
        lowest = declared if declared > before else before
        if number < before:  # one of the unseen: its answer is kept no longer than it takes to send it
            session.unseen = _without(session.unseen, number)
        else:
            answers[number] = answer
            if len(answers) > WINDOW:
                lowest = max(lowest, min(answers) + 1)
        if lowest > before:
            done = [known for known in answers if known < lowest]
            if not self._in_order and len(done) < lowest - max(1, before):
                session.unseen = (*session.unseen, *_gaps(max(1, before), lowest, done))[-UNSEEN_MAX:]
            for known in done:
                del answers[known]
            session.lowest = lowest
        session.last_ms = now_ms
        self.recorded[request.client] = session

    def settle(self) -> None:
        """Make rows of what was recorded."""
        for client, session in self.recorded.items():
            last_use_ms = max(session.last_ms, birth_ms(client) or 0)
            # Before the first `Advance` nobody knows the time, and that one must not expire everybody at once.
            expires_hour = (last_use_ms + self._retention_ms) // _HOUR_MS + 1 if last_use_ms else _NEVER
            answers = tuple(
                [(number, new if type(new) is bytes else _encode(new)) for number, new in session.answers.items()]
            )
            self._table.put(Session(client, session.lowest, answers, expires_hour, session.unseen))
        self.recorded.clear()

    def expire(self, now_ms: int) -> None:
        """Drop what is past its hour by the replicated time, a bounded number of rows."""
        self.settle()
        where = (Condition("expires_hour", "<=", now_ms // _HOUR_MS),)
        oldest = Select(Session.table, where=where, order=("expires_hour",), limit=EXPIRED_A_TIME_MAX)
        for row in self._store.select(oldest):
            session = cast("Session", row)
            if birth_ms(session.client) is not None:
                self._table.delete(session.client)
                continue
            highest = max((number for number, _ in session.answers), default=session.lowest - 1)
            lowest = max(session.lowest, highest + 1)
            self._table.put(Session(session.client, lowest, (), _NEVER))


def _gaps(low: int, high: int, done: list[int]) -> list[tuple[int, int]]:
    """The ranges of numbers from `low` to below `high` that are not `done`."""
    gaps = []
    for number in [*sorted(known for known in done if low <= known < high), high]:
        if low < number:
            gaps.append((low, number - 1))
        low = number + 1
    return gaps


def _without(ranges: tuple[tuple[int, int], ...], number: int) -> tuple[tuple[int, int], ...]:
    """The ranges but for one number."""
    left: list[tuple[int, int]] = []
    for low, high in ranges:
        if low <= number <= high:
            left += [part for part in ((low, number - 1), (number + 1, high)) if part[0] <= part[1]]
        else:
            left.append((low, high))
    return tuple(left)
