"""Carrying notices from a service's outbox to the service that delivers them. Sans I/O, like a core.

Every node of a service has a `Forwarder` for it; each may do the whole work alone, and all of them at once
do no harm, for the receiver knows by its number what it has. To save the work the nodes take turns: the
first carries at once, the next only when the outbox has not moved for a while, and so on.

One round: ask the own replica for the first notices that are final; hand them to a node of the receiving
service, another one each time that fails; when the receiver's answer is final, remove them from the
outbox. Where its answer may still change (`bayou`), ask until it is final.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from holdfast.kernel.contracts import Command, Query, Reply
from holdfast.kernel.notices import (
    DropNotices,
    NoticesMissing,
    OutboxAfter,
    OutboxRows,
    Taken,
    TakeNotices,
    TakenUpto,
)
from holdfast.kernel.replies import Outcome

TURN_US = 2_000_000
"""So long the outbox must have stood still for each node that stands before this one."""
AGAIN_US = 1_000_000
"""After so long what could not be done is tried again, at first; each time after twice as long."""
AGAIN_MAX_US = 10_000_000
SOON_US = 100_000
"""After so long it is asked again what is not final yet, at first; each time after twice as long."""
SOON_MAX_US = 8_000_000
PATIENCE_US = 15_000_000
"""An answer that has not come after so long will not come."""
FINAL_US = 30_000_000
"""A receiver's answer that is not final after so long may have been undone: the notices are handed to another node
of it, at first; each time after twice as long."""
FINAL_DOUBLINGS_MAX = 7
LOST_US = 30_000_000
"""What the receivers have been missing for so long, and the source has removed, they have lost."""
REASONS_MAX = 20
"""Reasons that are told until the next notices arrive."""


@dataclass(frozen=True)
class Own:
    """Put this to the service's replica here. `id`: comes back with the reply."""

    id: int
    command: Command | Query


@dataclass(frozen=True)
class Carry:
    """Put this to a node of the receiving service, the `receiver`-th. `id`: comes back with the reply."""

    id: int
    receiver: int
    command: TakeNotices | TakenUpto


Action = Own | Carry


class _State(enum.Enum):
    IDLE = "idle"
    READING = "reading"
    CARRYING = "carrying"
    CONFIRMING = "confirming"
    DROPPING = "dropping"


@dataclass(eq=False)
class Forwarder:
    """The forwarder of one service at one node. `rank`: the node's place among those of the service. `receivers`:
    how many nodes the receiving service has; the nearest is number 0. Times are microseconds.

    Each input returns what is to be done now, at most one thing at a time; `wake_us` says when to call `look` at
    the latest, besides whenever the outbox may have changed. `events`: what operators should read; take them away.
    """

    source: str
    rank: int
    receivers: int
    wake_us: int | None = None
    events: list[str] = field(default_factory=list)
    carried: int = 0
    """Notices that this forwarder has seen arrive."""
    complaint: str = ""
    """Why the last attempt failed; "" if it did not, or there is nothing to carry."""
    _state: _State = _State.IDLE
    _id: int = 0
    _next_id: int = 0
    _since_us: int = 0
    _moved: tuple[int | None, int] = (None, 0)
    _expected: int | None = None
    _receiver: int = 0
    _failures: int = 0
    _asked: int = 0
    _not_before_us: int = 0
    _rows: OutboxRows | None = None
    _arrived: tuple[int, int] = (0, 0)
    """(life, number): up to where it has removed them from the outbox, even if that is not final there."""
    _handed_us: int = 0
    _hands: int = 0
    _missing_since_us: int | None = None
    _reasons: list[str] = field(default_factory=list)

    def look(self, now_us: int, first: int | None) -> list[Action]:
        """Time has passed, or the outbox may have changed. `first`: the number of the first notice that is in
        the outbox here, final or not; None if it is empty."""
        if first != self._moved[0]:
            # Who has moved it keeps the turn; where somebody else has, this one waits for its own.
            is_ours = self._expected is not None and first in (None, self._expected)
            self._moved = (first, now_us - self.rank * TURN_US if is_ours else now_us)
            if not is_ours:
                self._expected = self._missing_since_us = None
            if self._rows is not None and not self._id and (first is None or first > self._last):
                self._end_round(now_us, 0)  # it waits for what another one has seen
        if self._id:
            if now_us - self._since_us >= PATIENCE_US:
                self._failed(now_us, "no answer")
        elif self._state is _State.CONFIRMING and now_us >= self._not_before_us:
            return self._confirm(now_us)
        turn_us = self._moved[1] + self.rank * TURN_US
        if self._state is not _State.IDLE:
            self.wake_us = self._since_us + PATIENCE_US if self._id else self._not_before_us
            return []
        if first is None:
            self.complaint, self.wake_us = "", None
            return []
        self.wake_us = max(turn_us, self._not_before_us)
        return [self._read(now_us)] if now_us >= self.wake_us else []

    def answered(self, now_us: int, id: int, reply: Reply | None) -> list[Action]:
        """The reply to an action has come, None if it could not be had. A late one is of no interest."""
        if id != self._id or id == 0:
            return []
        firm, reply = (reply.firm, reply.reply) if isinstance(reply, Outcome) else ("committed", reply)
        match self._state:
            case _State.READING:
                return self._heard(now_us, reply)
            case _State.CARRYING | _State.CONFIRMING:
                return self._told(now_us, reply, firm)
            case _State.DROPPING:
                return self._dropped(now_us, reply)
        return []

    # -- The steps of a round

    def _read(self, now_us: int) -> Own:
        return self._own(now_us, _State.READING, OutboxAfter(self._arrived[1]))

    def _heard(self, now_us: int, reply: Reply | None) -> list[Action]:
        if not isinstance(reply, OutboxRows):
            return self._failed(now_us, f"its own replica here does not tell what there is{_because(reply)}")
        if reply.since_ms != self._arrived[0] and self._arrived[1]:  # the service was begun anew
            self._arrived = (0, 0)
            return [self._read(now_us)]
        if not reply.notices:  # there is nothing that is final
            return self._end_round(now_us, self._soon_us())
        self._rows = reply
        return self._hand_over(now_us)

    def _hand_over(self, now_us: int) -> list[Action]:
        rows, self._handed_us, self._asked = self._page, now_us, 0
        is_lost = self._missing_since_us is not None and now_us - self._missing_since_us >= LOST_US
        take = TakeNotices(self.source, rows.since_ms, rows.first, rows.notices, is_lost)
        return [self._carry(now_us, _State.CARRYING, take)]

    def _confirm(self, now_us: int) -> list[Action]:
        return [self._carry(now_us, _State.CONFIRMING, TakenUpto(self.source, self._page.since_ms))]

    def _told(self, now_us: int, reply: Reply | None, firm: str) -> list[Action]:
        if isinstance(reply, NoticesMissing):
            if self._missing_since_us is None:
                self._missing_since_us = now_us
            why = f"the receiving service has those up to {reply.upto} only, and the next ones are not here any more"
            return self._failed(now_us, why)
        if not isinstance(reply, Taken):
            return self._failed(now_us, f"the receiving service has not taken them{_because(reply)}")
        if firm == "committed" and reply.upto >= self._last:
            return self._arrive(now_us)
        if self._state is _State.CONFIRMING and now_us - self._handed_us >= FINAL_US << self._hands:
            self._hands = min(self._hands + 1, FINAL_DOUBLINGS_MAX)
            self._receiver = (self._receiver + 1) % self.receivers
            return self._hand_over(now_us)
        self._state, self._id = _State.CONFIRMING, 0
        self._not_before_us = self.wake_us = now_us + self._soon_us()
        return []

    def _soon_us(self) -> int:
        """How long to wait for what is not final yet."""
        pause_us = min(SOON_US << self._asked, SOON_MAX_US)
        self._asked = min(self._asked + 1, 8)
        return pause_us

    def _arrive(self, now_us: int) -> list[Action]:
        """They are in, for good."""
        if self._missing_since_us is not None and now_us - self._missing_since_us >= LOST_US:
            self.events.append(f"notices of {self.source} before {self._page.first} were lost where they had arrived")
        self.carried += len(self._page.notices)
        self._failures, self._hands, self._missing_since_us, self.complaint = 0, 0, None, ""
        self._reasons.clear()
        return [self._own(now_us, _State.DROPPING, DropNotices(self._last))]

    def _dropped(self, now_us: int, reply: Reply | None) -> list[Action]:
        if reply is None or reply.failed:
            return self._failed(now_us, f"its own replica here does not remove what has arrived{_because(reply)}")
        self._arrived = (self._page.since_ms, self._last)
        self._expected = self._last + 1
        return self._end_round(now_us, 0)

    # -- Helpers

    @property
    def _page(self) -> OutboxRows:
        """What is being carried."""
        assert self._rows is not None
        return self._rows

    @property
    def _last(self) -> int:
        """The number of the last notice of it."""
        return self._page.first + len(self._page.notices) - 1

    def _own(self, now_us: int, state: _State, command: Command | Query) -> Own:
        self._begin(now_us, state)
        return Own(self._id, command)

    def _carry(self, now_us: int, state: _State, command: TakeNotices | TakenUpto) -> Carry:
        self._begin(now_us, state)
        return Carry(self._id, self._receiver, command)

    def _begin(self, now_us: int, state: _State) -> None:
        self._next_id += 1
        self._state, self._id, self._since_us = state, self._next_id, now_us
        self.wake_us = now_us + PATIENCE_US

    def _end_round(self, now_us: int, pause_us: int) -> list[Action]:
        self._state, self._id, self._rows = _State.IDLE, 0, None
        self._not_before_us = self.wake_us = now_us + pause_us
        return []

    def _failed(self, now_us: int, why: str) -> list[Action]:
        """Try again later, all from the start and with the next receiver: to do it twice does no harm."""
        self.complaint = why
        if why not in self._reasons and len(self._reasons) < REASONS_MAX:  # each is told once
            self._reasons.append(why)
            self.events.append(f"notices of {self.source} wait: {why}")
        self._receiver = (self._receiver + 1) % self.receivers
        self._failures += 1
        # The first of the other receivers are tried soon, so that one node's end is hardly noticed.
        pause_us = AGAIN_US // 5 if self._failures < self.receivers else AGAIN_US << min(self._failures, 8)
        return self._end_round(now_us, min(pause_us, AGAIN_MAX_US))


def _because(reply: Reply | None) -> str:
    """What was said instead, as the end of a sentence."""
    return "" if reply is None else f": {reply.text().removeprefix('Failed: ').rstrip('.')}"
