"""What a server of a Lamport service knows: the state that the parts of the protocol share.

Durable, by the records it writes: disk, incarnation, promised epoch, view, the queue of requests
and what was executed. Volatile: the peers as they appear, and who waits for which reply.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import Any

from holdfast.kernel.contracts import Halt, Reply, Request, Step, Token
from holdfast.kernel.machine import Machine
from holdfast.kernel.replies import Unknown
from holdfast.replication.lamport.configuration import LamportConfiguration
from holdfast.replication.lamport.messages import (
    NO_STAMP,
    Accepted,
    Entry,
    Message,
    Presence,
    Record,
    Stamp,
    View,
    encode_record,
)

STARTING = "starting"
"""Recovered from disk, or awake after a pause; takes part in no view."""
SEALED = "sealed"
"""Has promised a later epoch; acknowledges nothing until the new view is active."""
ACTIVE = "active"
"""Takes part in the mutual exclusion and serves."""
HALTED = "halted"

STALE_AFTER_HEARTBEATS = 3
"""A presence older than this says nothing about now."""


class PeerState:
    """What this server has seen of another one since it (re)started itself."""

    __slots__ = ("connected", "heard_us", "presence", "refused")

    def __init__(self, now_us: int) -> None:
        self.connected = False
        self.heard_us = now_us
        self.presence: Presence | None = None
        self.refused = False


class Pending:
    """A request in the queue. `requests` and `tokens` are known where clients handed it in."""

    __slots__ = ("batch", "previous", "record", "requests", "server", "since_us", "time", "tokens")

    def __init__(self, time: int, server: int, batch: bytes) -> None:
        self.time = time
        self.server = server
        self.batch = batch
        self.previous = 0
        self.record = 0  # how many records this core had written when it was journaled
        self.since_us = 0
        self.requests: list[Request] | None = None
        self.tokens: list[Token] | None = None


class Replica:
    """State and its elementary changes; no decisions. One `Step` gathers what an input asks for."""

    def __init__(self, machine: Machine, configuration: LamportConfiguration) -> None:
        self.machine = machine
        self.configuration = configuration
        self.me = configuration.me
        self.origin = machine.digest()
        self.step = Step()
        self.now_us = 0
        self.state = STARTING
        self.live = False  # has been active since this start: only then does it know who crashed
        self.accepts_loss = configuration.accept_loss  # until it was active once: the word was about that start
        self.disk = ""
        self.incarnation = 0
        self.promised = -1
        self.view: View | None = None
        self.clock = 0
        self.number = 0
        self.vouched = 0  # how far a peer may rightly have seen our journal reach: as found, or as promised since
        self.records_written = 0
        self.records_synced = 0
        self.queue: list[Stamp] = []
        self.pending: dict[Stamp, Pending] = {}
        self.position = 0
        self.released: Stamp = NO_STAMP
        self.executed_record = 0
        self.history: deque[Entry] = deque()
        self.history_bytes = 0
        self.acknowledged: list[tuple[str, int]] = [("", 0)] * len(configuration.servers)
        self.peers = [PeerState(0) for _ in configuration.servers]
        self.journal_bytes = 0

    # -- Names

    def name(self, server: int) -> str:
        """The configured name of a server."""
        return self.configuration.servers[server]

    def names(self, servers: Any) -> str:
        """Names, joined for a text."""
        return ", ".join(self.configuration.servers[server] for server in servers)

    @property
    def epoch(self) -> int:
        """The epoch of the newest view on this disk, -1 for an empty one."""
        return -1 if self.view is None else self.view.epoch

    @property
    def may_exclude(self) -> bool:
        """Whether this server's word that another one is dead counts. In `perfect` only after it was
        active itself since its start: before that it knows of nobody's crash."""
        return self.live or self.configuration.model == "majority"

    @property
    def others(self) -> list[int]:
        """All configured servers but this one."""
        return [server for server in range(len(self.peers)) if server != self.me]

    @property
    def other_members(self) -> list[int]:
        """The members of the view but this one."""
        members = () if self.view is None else self.view.members
        return [server for server in members if server != self.me]

    # -- Lamport's clock: IR1 (tick between events), IR2 (a received stamp moves it)

    def tick(self) -> int:
        """IR1: a new event, a later time."""
        self.clock += 1
        return self.clock

    def observe(self, time: int) -> None:
        """IR2: never behind a stamp that was received."""
        if time > self.clock:
            self.clock = time

    # -- Effects

    def record(self, record: Record) -> None:
        """Append to the journal."""
        data = encode_record(record)
        self.number += 1
        self.records_written += 1
        self.journal_bytes += len(data)
        self.step.records.append(data)

    def vouch_synced(self) -> int:
        """The number that the journal has reached on the disk."""
        number = self.number - (self.records_written - self.records_synced)
        self.vouched = max(self.vouched, number)
        return number

    def vouch(self) -> int:
        """The journal's number, for a promise that tells how far it reaches."""
        self.vouched = self.number
        return self.number

    def promise(self, server: int, message: Message) -> None:
        """Send what must not leave before everything recorded so far is synced."""
        self.step.promises.append((server, message))

    def _rest_on(self, records: int) -> None:
        if records > self.step.settled_records:
            self.step.settled_records = records

    def promise_synced(self, server: int, message: Message) -> None:
        """Send what rests only on what is synced already."""
        self._rest_on(self.records_synced)
        self.step.settled_promises.append((server, message))

    def promise_executed(self, server: int, message: Message) -> None:
        """Send what rests only on the batches executed so far being synced here."""
        self._rest_on(self.executed_record)
        self.step.settled_promises.append((server, message))

    def reply_executed(self, token: Token, reply: Reply) -> None:
        """Answer a client with what rests only on the batches executed so far being synced here."""
        self._rest_on(self.executed_record)
        self.step.settled_replies.append((token, reply))

    def event(self, text: str) -> None:
        """Tell the operator."""
        self.step.events.append(text)

    def halt(self, code: str, text: str) -> None:
        """Stop this replica."""
        self.state = HALTED
        self.step.halt = Halt(code, text)

    # -- The queue and the state machine

    def enqueue(self, pending: Pending) -> None:
        """Rules 1 and 2: the request goes on the queue, at its place in the total order, durably."""
        stamp = (pending.time, pending.server)
        insort(self.queue, stamp)
        self.pending[stamp] = pending
        self.record(
            Accepted(self.epoch, pending.time, pending.server, pending.batch, self.released, tuple(self.acknowledged))
        )
        pending.record = self.records_written

    def execute_upto(self, stamp: Stamp) -> None:
        """Remove from the queue everything up to the stamp, executing it in order. The caller
        knows that all of it is synced at every member."""
        while self.queue and self.queue[0] <= stamp:
            self._execute(self.pending.pop(self.queue.pop(0)))

    def _execute(self, pending: Pending) -> None:
        requests = pending.requests if pending.requests is not None else self.machine.decode(pending.batch)
        replies = self.machine.execute(requests, (pending.time, pending.server))
        self.position += 1
        self.released = (pending.time, pending.server)
        self.remember((pending.time, pending.server, pending.batch))
        if pending.record > self.executed_record:
            self.executed_record = pending.record
        if told := self.machine.take_told():
            self._rest_on(self.executed_record)
            self.step.settled_changes += told
        if pending.tokens is not None:
            self._rest_on(self.executed_record)
            self.step.settled_replies += zip(pending.tokens, replies, strict=True)

    def execute_entry(self, entry: Entry) -> None:
        """Execute what was executed elsewhere; replies to our own clients if it was ours. What still stands
        in the queue before it was left out by the view that went on without us."""
        time, server, batch = entry
        pending = Pending(time, server, batch)
        if (time, server) in self.pending:
            pending = self.pending.pop((time, server))
            self.queue.remove((time, server))
        self.observe(time)
        pending.record = self.records_written
        self._execute(pending)
        self.drop_upto(self.released, "other updates were made in its place")

    def drop_upto(self, stamp: Stamp, why: str) -> None:
        """Remove from the queue what is ordered up to the stamp, unexecuted."""
        while self.queue and self.queue[0] <= stamp:
            tokens = self.pending.pop(self.queue.pop(0)).tokens or ()
            self.step.replies += [(token, Unknown(why)) for token in tokens]

    def replace_queue(self, entries: list[Entry]) -> list[Token]:
        """The queue of a new view. Returns the tokens of our requests that are not in it."""
        old, self.pending = self.pending, {}
        self.queue = []
        for time, server, batch in entries:
            stamp = (time, server)
            self.pending[stamp] = old.pop(stamp) if stamp in old else Pending(time, server, batch)
            self.queue.append(stamp)
            self.observe(time)
        self.queue.sort()
        return [token for pending in old.values() for token in pending.tokens or ()]

    def pending_entries(self) -> tuple[Entry, ...]:
        """The queue, in order."""
        return tuple((time, server, self.pending[(time, server)].batch) for time, server in self.queue)

    # -- Recent history, for those who are a little behind

    @property
    def history_base(self) -> int:
        """The position of the oldest batch still remembered."""
        return self.position - len(self.history)

    def remember(self, entry: Entry) -> None:
        """Keep an executed batch, within the configured bytes."""
        self.history.append(entry)
        self.history_bytes += len(entry[2])
        while self.history_bytes > self.configuration.history_bytes_max:
            self.history_bytes -= len(self.history.popleft()[2])

    def history_from(self, position: int) -> list[Entry]:
        """The remembered batches from a position on; the position must not lie below the base."""
        skip = position - self.history_base
        assert skip >= 0, f"position {position} lies below the history's base {self.history_base}"
        return [entry for index, entry in enumerate(self.history) if index >= skip]

    def forget_history(self) -> None:
        """After a copied state: nothing before it is known here."""
        self.history.clear()
        self.history_bytes = 0

    # -- Peers

    def current(self, server: int) -> Presence | None:
        """The peer's presence if it is connected and recent."""
        peer = self.peers[server]
        stale_us = self.now_us - STALE_AFTER_HEARTBEATS * self.configuration.heartbeat_us
        return peer.presence if peer.connected and peer.heard_us >= stale_us else None

    def silent(self, server: int) -> bool:
        """Nothing was heard of the peer for longer than the timeout."""
        return self.now_us - self.peers[server].heard_us > self.configuration.timeout_us

    def dead(self, server: int) -> bool:
        """The incarnation of the peer that is in our view has crashed, as far as the failure model
        lets us say so: refused on this host, back under a new incarnation, or silent too long."""
        return (self.live and self.reborn(server)) or self.gone(server)

    def reborn(self, server: int) -> bool:
        """The server shows itself as another incarnation than the one that our view took in."""
        presence = self.peers[server].presence
        return presence is not None and self.is_reborn(server, presence.disk, presence.incarnation)

    def gone(self, server: int) -> bool:
        """Whatever incarnation of the server was here last has crashed."""
        return self.peers[server].refused or self.silent(server)

    def is_reborn(self, server: int, disk: str, incarnation: int) -> bool:
        """This is not the incarnation that the view took in: a later one, or one on another disk."""
        assert self.view is not None
        return disk != self.view.disks[server] or incarnation > self.view.incarnations[server]

    def is_whole(self, server: int, disk: str, installed: int) -> bool:
        """The disk is the one that our view names for the server, so it holds all that the server ever
        promised. Where the first view names none, any disk that is not empty is. One that is named but
        has installed nothing yet was admitted by a view that it never took, and that nobody served in."""
        assert self.view is not None
        named = self.view.disks[server]
        return disk == named if named else installed >= 0

    def note_acknowledged(self, server: int, number: int) -> None:
        """Remember how far a peer's journal reached when it promised something."""
        disk, known = self.acknowledged[server]
        current = self.view.disks[server] if self.view is not None else ""
        if current and disk != current:
            self.acknowledged[server] = (current, number)
        elif number > known:
            self.acknowledged[server] = (disk, number)
