"""Bayou replicas in one process: real cores behind real gates, encoded messages, a virtual clock.

What passes between two replicas is encoded by one and decoded by the other, as on a link. Journal
records are made, and kept in memory or written to a real journal without waiting for anything
else. The clock moves by a fixed step for each message, so counts (executions, messages, bytes) are
the same in every run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from holdfast.kernel.codec import encode
from holdfast.kernel.contracts import App, PeerConnected, Recovered, Request, SnapshotPart, Step
from holdfast.kernel.gate import Gate, Group
from holdfast.replication.bayou import Bayou, BayouConfiguration, genesis_records, make_machine
from holdfast.replication.bayou.log import WriteLog
from holdfast.replication.bayou.messages import Updates, Write
from holdfast.replication.bayou.views import Views
from holdfast.replication.bayou.words import Truncate
from holdfast.runtime.journal import Journal

MESSAGE_US = 200
"""Virtual time that a message takes."""
BEGIN_US = 1_000_000
BEGIN_MS = 1_795_000_000_000
"""Unix milliseconds when the virtual clock says 0: in November 2026."""
SNAPSHOT_SECONDS = 10.0
TIDY_STEPS = 500
"""More than any journal here needs to drop what a snapshot stands for."""

_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(Bayou.messages).decode


class Member:
    """One replica with its gate and its journal. `sent_bytes`, `record_bytes`: of messages and journal
    records, as they are encoded, without the frames of links and files."""

    def __init__(self, office: Office, me: int, nodes: tuple[str, ...], options: dict[str, Any]) -> None:
        self._office = office
        self.me = me
        self.machine = make_machine(office.make_app())
        self.core = Bayou(self.machine, BayouConfiguration(me=me, nodes=nodes, disk=f"disk-{me}", **options))
        self.gate = Gate()
        self.journal: Journal | None = None
        self.records: list[bytes] = []
        self.snapshot: list[bytes] = []
        self.snapshots = 0
        self.record_bytes = 0
        self.sent = 0
        self.sent_bytes = 0
        self.replies = 0

    @property
    def views(self) -> Views:
        """Executes the log."""
        return self.core.replica.views

    @property
    def log(self) -> WriteLog:
        """The write log."""
        return self.core.replica.log

    def take(self, step: Step) -> None:
        """What a shell does with a step: journal, then send."""
        gate = self.gate
        gate.absorb(step)
        if step.halt is not None:
            raise RuntimeError(step.halt.text)
        while (group := gate.next_group()) is not None:
            self._write(group)
            gate.written()
            gate.absorb(self.core.synced(self._office.now_us, gate.records_synced))
        for peer, message in (*gate.data, *gate.promises):
            data = _encode(message)
            self.sent += 1
            self.sent_bytes += len(data)
            self._office.messages.append((self.me, peer, data))
        self.replies += len(gate.replies)
        for heap in (gate.data, gate.promises, gate.replies, gate.events, gate.changes):
            heap.clear()

    def _write(self, group: Group) -> None:
        if self.journal is not None:
            self.journal.write(group)
            self.journal.tidy()
        self.records += group.records
        self.record_bytes += sum(map(len, group.records))
        for part in group.snapshot:
            self._keep(part)

    def _keep(self, part: SnapshotPart) -> None:
        """A snapshot that is whole stands for the records before it. (Here none comes while one is taken.)"""
        if part.index == 0:
            self.snapshot = []
        self.snapshot.append(part.data)
        if part.last:
            self.records = []
            self.snapshots += 1

    def submit(self, requests: Sequence[Request]) -> None:
        """Commands of clients, in one turn."""
        self._clock()
        self.take(self.core.submit(self._office.now_us, [(None, request) for request in requests]))

    def ask(self, request: Request) -> None:
        """A query, whose answer is dropped."""
        self._clock()
        self.take(self.core.ask(self._office.now_us, [(None, request)]))

    def receive(self, peer: int, message: Any) -> None:
        """A message or an event."""
        self._clock()
        self.take(self.core.receive(self._office.now_us, peer, message))

    def wake(self) -> None:
        """Time has passed."""
        self._clock()
        self.take(self.core.wake(self._office.now_us))

    def begin(self, records: Iterable[bytes]) -> None:
        """Start on a disk that holds these records."""
        self._clock()
        self.take(self.core.recover(self._office.now_us, Recovered(b"", 1, tuple(records), False)))

    def _clock(self) -> None:
        now_us = self._office.now_us
        self.core.set_clock(now_us, BEGIN_MS + now_us // 1000)

    # -- What only a benchmark does

    def undo(self) -> None:
        """Take all tentative writes back out of the store."""
        self.views.roll_back(0)

    def redo(self) -> None:
        """Execute all that is not executed."""
        self.views.roll_forward(len(self.log.tail))

    def late_write(self, author: int, place: int, request: Request) -> None:
        """A peer's write arrives that belongs at that place of the tail: its stamp falls right before the
        one there. An author's writes must come from lower places to higher ones."""
        name = self.core.configuration.nodes[author]
        there = self.log.tail[place].write
        number = self.log.vector.get(name, 0) + 1
        write = Write(there.ms, "", name, number, self.machine.encode_request(request))
        data = _encode(Updates((), (write,), 0, (), (), 0, 0))
        self.receive(author, _decode(data))

    def truncate(self) -> None:
        """Drop the committed writes from the log and write a snapshot."""
        self._snapshot(lambda: self.submit([Request(Truncate())]))

    def snapshot_now(self) -> None:
        """Write a snapshot, as after many records."""
        self.core.snapshots.wanted = True
        self._snapshot(self.wake)

    def _snapshot(self, begin: Callable[[], None]) -> None:
        done = self.snapshots
        begin()
        self._office.run_until(lambda: self.snapshots > done, SNAPSHOT_SECONDS)
        for _ in range(TIDY_STEPS):
            if self.journal is not None:
                self.journal.tidy()

    def content_bytes(self) -> int:
        """All rows of the store, each as it is encoded."""
        return sum(len(encode(row)) for table in self.machine.store.tables for row in table)

    @property
    def journal_bytes(self) -> int:
        """What the journal has to keep: the newest snapshot and the records after it."""
        return sum(map(len, self.snapshot)) + sum(map(len, self.records))

    def state(self) -> tuple[int, str, str]:
        """What must be equal everywhere in the end: how many are committed, the committed store, the full one."""
        status = self.core.status()
        return status["position"], status["digest"], status["full_digest"]


class Office:
    """All replicas of one service, and the messages on their way."""

    def __init__(self, make_app: Callable[[], App], nodes: tuple[str, ...], **options: Any) -> None:
        self.make_app = make_app
        self.now_us = BEGIN_US
        self.messages: deque[tuple[int, int, bytes]] = deque()
        self.members = [Member(self, me, nodes, options) for me in range(len(nodes))]
        self._genesis = [
            genesis_records(nodes, me, f"disk-{me}", member.machine.app.name, 0, member.machine.store.snapshot())
            for me, member in enumerate(self.members)
        ]

    def begin(self, journals: Path | None = None) -> None:
        """Start all replicas, on real journals in that directory or in memory."""
        for member, first in zip(self.members, self._genesis, strict=True):
            if journals is not None:
                member.journal = Journal.open(journal_path(journals, member.me))
                group = Group(1)
                group.records += first
                member.journal.write(group)
            member.records += first
            member.begin(first)

    def close(self) -> None:
        """Close the journals."""
        for member in self.members:
            if member.journal is not None:
                member.journal.close()

    @property
    def bytes_sent(self) -> int:
        """Of all messages so far."""
        return sum(member.sent_bytes for member in self.members)

    def connect(self) -> None:
        """All links stand, at once."""
        for one in self.members:
            for other in self.members:
                if one is not other:
                    one.receive(other.me, PeerConnected())

    def meet(self, one: Member, other: Member) -> None:
        """One link is made anew, as one side sees it, so that this one asks the other what is new."""
        one.receive(other.me, PeerConnected())
        self.deliver()

    def deliver(self) -> None:
        """Deliver messages in order until none is on its way."""
        while self.messages:
            sender, receiver, data = self.messages.popleft()
            self.now_us += MESSAGE_US
            self.members[receiver].receive(sender, _decode(data))

    def run_until(self, is_done: Callable[[], bool], seconds: float = 60.0) -> None:
        """Deliver, and let virtual time pass, until it is done. Raises `RuntimeError` if it takes longer."""
        end_us = self.now_us + round(seconds * 1e6)
        self.deliver()
        while not is_done():
            wakes = [(member.gate.wake_us or end_us, member.me) for member in self.members]
            wake_us, me = min(wakes)
            self.now_us = max(self.now_us, wake_us)
            if self.now_us >= end_us:
                raise RuntimeError(f"not done after {seconds} virtual seconds")
            self.members[me].wake()
            self.deliver()


def journal_path(directory: Path, me: int) -> Path:
    """Where a member's journal lies."""
    return directory / f"journal-{me}.db"
