"""Linearizable reads without clock leases.

A read may be answered from this server's state when both hold:

- Every request that stood in the queue when the read arrived is executed. An update that any
  client was told of before that was acknowledged here, so it is among them; and what is executed
  is synced at every member, so no later read anywhere can miss what this one shows.
- Every other member has confirmed, after the read arrived, that it takes part in no later view.
  One round serves all reads that wait.
"""

from __future__ import annotations

from holdfast.kernel.contracts import Request, Token
from holdfast.replication.lamport.messages import NO_STAMP, Confirm, Confirmed, Stamp
from holdfast.replication.lamport.replica import ACTIVE, Replica


class Read:
    """A query that waits for its barrier and for a round that began after it came."""

    __slots__ = ("barrier", "request", "round", "since_us", "token")

    def __init__(self, token: Token, request: Request, since_us: int) -> None:
        self.token = token
        self.request = request
        self.since_us = since_us
        self.barrier: Stamp = NO_STAMP
        self.round = 0


class Reads:
    """The reads that wait, in the order in which they came."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.waiting: list[Read] = []
        self.reset()

    def reset(self) -> None:
        """A new view: rounds of the old one say nothing."""
        self.round = 0
        self.confirmed: set[int] | None = None
        self.round_confirmed = 0
        for read in self.waiting:
            read.round = 0

    def add(self, token: Token, request: Request) -> None:
        """A query has arrived."""
        self.waiting.append(Read(token, request, self._replica.now_us))

    def pump(self) -> None:
        """Begin a round for those that have none, answer those that may be answered."""
        replica = self._replica
        if not self.waiting or replica.state != ACTIVE:
            return
        for read in self.waiting:
            if not read.round:
                read.round = self.round + 1
                read.barrier = replica.queue[-1] if replica.queue else NO_STAMP
        if self.confirmed is None and self.waiting[-1].round > self.round:
            self._begin_round()
        self._answer()

    def _begin_round(self) -> None:
        replica = self._replica
        self.round += 1
        others = replica.other_members
        if not others:
            self.round_confirmed = self.round
            return
        self.confirmed = set()
        self.ask(others)

    def ask(self, servers: list[int]) -> None:
        """(Again) ask who has not confirmed the round under way."""
        replica = self._replica
        if self.confirmed is None or replica.state != ACTIVE:
            return
        for server in servers:
            if server not in self.confirmed:
                replica.step.data.append((server, Confirm(replica.epoch, self.round)))

    def on_confirm(self, server: int, message: Confirm) -> None:
        """Being active in the epoch is the answer."""
        self._replica.step.data.append((server, Confirmed(message.epoch, message.round)))

    def on_confirmed(self, server: int, message: Confirmed) -> None:
        """When all have confirmed, the round is good for every read that came before it began."""
        if self.confirmed is None or message.round != self.round:
            return
        self.confirmed.add(server)
        if all(other in self.confirmed for other in self._replica.other_members):
            self.round_confirmed = self.round
            self.confirmed = None

    def _answer(self) -> None:
        replica = self._replica
        left = []
        for read in self.waiting:
            if read.round <= self.round_confirmed and read.barrier <= replica.released:
                replica.reply_executed(read.token, replica.machine.answer(read.request))
            else:
                left.append(read)
        self.waiting = left
