"""What the roles of one node share: the time, the step being made, who is the sequencer, and the way out.

A message to this node itself takes no network: it is handled within the same input, or, if it is a
promise, once what it promises is synced.
"""

from __future__ import annotations

from collections import deque
from typing import Any
from zlib import crc32

from holdfast.kernel.contracts import Halt, Peer, Step
from holdfast.kernel.machine import Machine
from holdfast.replication.sequencer.configuration import SequencerConfiguration
from holdfast.replication.sequencer.messages import Started, encode_record
from holdfast.replication.sequencer.replica import Batches

STARTING, ACTIVE, HALTED = "starting", "active", "halted"
DISK_BITS = 16
"""Of an incarnation: they tell the disk, so that a new one with a slow clock never repeats what an old one was."""


class Shared:
    """`epoch`, `sequencer`: the newest that is known to have begun its order; `heard_us`: when it was heard last.
    `connected`, `refused`: what the links tell of the other nodes: that one stands; that no process is there."""

    def __init__(self, machine: Machine, configuration: SequencerConfiguration) -> None:
        self.machine = machine
        self.configuration = configuration
        self.batches = Batches(machine)
        self.me = configuration.me
        self.now_us = 0
        self.unix_ms = 0
        self.unix_at_us = 0
        self.step = Step()
        self.state = STARTING
        self.disk = configuration.disk
        self.incarnation = 0
        self.epoch = 0
        self.sequencer: Peer | None = None
        self.heard_us = 0
        self.connected = [False] * len(configuration.nodes)
        self.refused = [False] * len(configuration.nodes)
        self.records_written = 0
        self.records_synced = 0
        self._begun = 0
        self.number = 0
        self.journal_bytes = 0
        self.malformed = 0
        self.local: deque[Any] = deque()
        self._local_promises: deque[tuple[int, Any]] = deque()

    # -- Time

    def set_clock(self, now_us: int, unix_ms: int) -> None:
        """The time of day, see `TimeKeeper`."""
        self.unix_ms, self.unix_at_us = unix_ms, now_us

    @property
    def wall_ms(self) -> int:
        """The time of day now, Unix milliseconds."""
        return self.unix_ms + (self.now_us - self.unix_at_us) // 1000

    # -- Lives

    def begin_life(self, after: int) -> None:
        """A new incarnation, later than that one."""
        ms = max(self.unix_ms, (after >> DISK_BITS) + 1)
        self.incarnation = (ms << DISK_BITS) | (crc32(self.disk.encode()) & ((1 << DISK_BITS) - 1))
        self.record(Started(self.incarnation))
        self._begun = self.records_written

    @property
    def has_begun(self) -> bool:
        """Whether the incarnation is on the disk: nothing may go by it before, for a restart could take it again."""
        return self.records_synced >= self._begun

    # -- What an input asks for

    def record(self, record: Any) -> None:
        """Append to the journal."""
        self.number += 1
        self.records_written += 1
        data = encode_record(record)
        self.journal_bytes += len(data)
        self.step.records.append(data)

    def send(self, peer: Peer, message: Any) -> None:
        """A message that promises nothing: it leaves at once."""
        if peer == self.me:
            self.local.append(message)
        else:
            self.step.data.append((peer, message))

    def send_all(self, peers: tuple[int, ...], message: Any) -> None:
        """To each of these, this node perhaps among them."""
        for peer in peers:
            self.send(peer, message)

    def promise(self, peer: Peer, message: Any) -> None:
        """A message that leaves when everything recorded so far is synced."""
        if peer == self.me:
            self._local_promises.append((self.records_written, message))
        else:
            self.step.promises.append((peer, message))

    def synced(self, records: int) -> None:
        """So many records are on the disk."""
        self.records_synced = max(self.records_synced, records)
        self.release()

    def release(self) -> None:
        """Promises to this node itself whose time has come."""
        while self._local_promises and self._local_promises[0][0] <= self.records_synced:
            self.local.append(self._local_promises.popleft()[1])

    def event(self, text: str) -> None:
        """A line for operators."""
        self.step.events.append(text)

    def halt(self, code: str, text: str) -> None:
        """The node must stop with this service."""
        self.state = HALTED
        self.step.halt = Halt(code, text)

    # -- The sequencer

    def name(self, node: int) -> str:
        """How people call a node."""
        return self.configuration.nodes[node]

    def owner(self, epoch: int) -> Peer:
        """The node that may be the sequencer of an epoch."""
        sequencers = self.configuration.sequencers
        return sequencers[epoch % len(sequencers)]

    def hear(self, epoch: int) -> bool:
        """The sequencer of this epoch has spoken; False if that one is over. True for the newest."""
        if epoch < self.epoch:
            return False
        if epoch > self.epoch:
            self.epoch = epoch
            self.sequencer = self.owner(epoch)
            self.event(f"{self.name(self.sequencer)} is the sequencer of epoch {epoch}")
        self.heard_us = self.now_us
        return True
