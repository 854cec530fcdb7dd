"""Snapshots in slices: to cut the journal, and to bring the state to a server that has none.

Both read the store copy-on-write, a bounded number of rows at a time, so service never pauses.
Only one snapshot is read at a time; who comes second tries again.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdfast.kernel.codec import decoder
from holdfast.kernel.contracts import SnapshotPart
from holdfast.kernel.snapshot import Restorer, SlicedSnapshot
from holdfast.kernel.store import TupleStore
from holdfast.replication.lamport.messages import Checkpoint, Fetch, Stamp, StatePart
from holdfast.replication.lamport.replica import ACTIVE, Replica

SLICE_PAUSE_US = 4000
"""Between two slices: service first."""
ABANDONED_US = 2_000_000
"""A transfer that nobody continues for this long is dropped."""
LENGTH_BYTES = 4

encode_checkpoint = msgspec.msgpack.Encoder().encode
decode_checkpoint: Callable[[bytes], Checkpoint] = decoder(Checkpoint, "head of the journal's snapshot")


def head_of(checkpoint: Checkpoint) -> bytes:
    """The first part of a journal snapshot: the checkpoint, led by its length (4 bytes, big-endian)."""
    data = encode_checkpoint(checkpoint)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def split_head(snapshot: bytes) -> tuple[Checkpoint, bytes]:
    """The checkpoint and the store's bytes of a journal snapshot. Raises `MalformedInput`."""
    end = LENGTH_BYTES + int.from_bytes(snapshot[:LENGTH_BYTES], "big")
    return decode_checkpoint(snapshot[LENGTH_BYTES:end]), snapshot[end:]


class Transfer:
    """A snapshot on its way to one peer; the last slice is kept until the next is asked for."""

    __slots__ = ("id", "part", "position", "reader", "released", "server", "used_us")

    def __init__(self, id: int, server: int, replica: Replica) -> None:
        self.id = id
        self.server = server
        self.reader: SlicedSnapshot = replica.machine.store.begin_snapshot()
        self.position = replica.position
        self.released = replica.released
        self.part: StatePart | None = None
        self.used_us = replica.now_us

    def may_begin_again(self, message: Fetch) -> bool:
        """Give the first slice again, instead of beginning anew: requests that cross would never end that."""
        beginning = self.part is not None and self.part.index == 0
        return beginning and message.snapshot != self.id and message.position < self.position

    @property
    def handed_over(self) -> bool:
        """Its last slice has been given out, so others may have their turn."""
        return self.part is not None and self.part.last


class Snapshots:
    """Reads snapshots of the own store and assembles those of others."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._reader: SlicedSnapshot | None = None
        self._upto = 0
        self._index = 0
        self._written_bytes = 0
        self._id = 0
        self._transfer: Transfer | None = None
        self.due_us: int | None = None
        self._store: TupleStore | None = None
        self._restorer: Restorer | None = None
        self._received: list[bytes] = []
        self.incoming = (-1, 0)

    # -- Cutting the journal

    def consider(self) -> None:
        """Begin a snapshot when the journal has grown enough; read the next slice when it is due."""
        replica = self._replica
        if self._reader is not None:
            if self.due_us is not None and replica.now_us >= self.due_us:
                self._slice()
            return
        if self._transfer is not None and replica.now_us - self._transfer.used_us > ABANDONED_US:
            self._drop_transfer()
        # A restart reads the snapshot and replays the journal: neither should dwarf the other.
        enough = max(replica.configuration.snapshot_journal_bytes, self._written_bytes // 2)
        grown = replica.journal_bytes > enough
        if grown and replica.state == ACTIVE and self._transfer is None:
            self._begin()

    def _begin(self) -> None:
        replica = self._replica
        self._reader = replica.machine.store.begin_snapshot()
        self._upto = replica.number
        self._id = replica.number
        self._index = 0
        self._written_bytes = 0
        replica.journal_bytes = 0
        self._emit(head_of(self.checkpoint()), last=False)

    def checkpoint(self) -> Checkpoint:
        """Everything durable beside the store, as of now."""
        replica = self._replica
        return Checkpoint(
            replica.disk,
            replica.machine.app.name,
            replica.incarnation,
            replica.promised,
            replica.view,
            replica.position,
            replica.released,
            replica.clock,
            replica.pending_entries(),
            tuple(replica.acknowledged),
        )

    def _slice(self) -> None:
        assert self._reader is not None
        data = self._reader.take(self._replica.configuration.snapshot_rows_a_slice)
        if data is None:
            self._emit(b"", last=True)
            self._reader = None
            self.due_us = None
            return
        self._emit(data, last=False)

    def _emit(self, data: bytes, *, last: bool) -> None:
        replica = self._replica
        replica.step.snapshot.append(SnapshotPart(self._id, self._index, data, last, self._upto))
        self._index += 1
        self._written_bytes += len(data)
        self.due_us = replica.now_us + SLICE_PAUSE_US

    def abandon(self) -> None:
        """The store is being replaced: what was being read of it is void."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._drop_transfer()
        self.due_us = None

    def _drop_transfer(self) -> None:
        if self._transfer is not None:
            self._transfer.reader.close()
            self._transfer = None

    # -- Giving the state to a peer

    def part_for(self, server: int, message: Fetch) -> StatePart | None:
        """The slice asked for; None while another snapshot is being read."""
        replica = self._replica
        transfer = self._transfer
        if transfer is not None and transfer.server == server and transfer.may_begin_again(message):
            transfer.used_us = replica.now_us
            return transfer.part
        if transfer is None or transfer.server != server or transfer.id != message.snapshot:
            busy = transfer is not None and transfer.server != server and not transfer.handed_over
            if busy or self._reader is not None:
                return None
            self._drop_transfer()
            transfer = self._transfer = Transfer(replica.tick(), server, replica)
        transfer.used_us = replica.now_us
        done = -1 if transfer.part is None else transfer.part.index
        wanted = message.index if message.snapshot == transfer.id else 0
        if wanted == done + 1:
            data = transfer.reader.take(replica.configuration.snapshot_rows_a_slice)
            transfer.part = StatePart(
                transfer.id, wanted, data or b"", data is None, transfer.position, transfer.released, replica.clock
            )
        elif wanted < done:
            return None  # a repeated request: its slice was taken since
        elif wanted != done:
            self._drop_transfer()
            return None
        return transfer.part

    # -- Taking the state from a peer

    def take(self, message: StatePart) -> bool:
        """Assemble; True when the store has been replaced. A part out of order is passed over."""
        replica = self._replica
        if message.index == 0 and self.incoming[0] != message.snapshot:
            self._store = TupleStore(replica.machine.rows)
            self._restorer = Restorer(self._store)
            self._received = []
            self.incoming = (message.snapshot, 0)
        if self._restorer is None or self._store is None or self.incoming != (message.snapshot, message.index):
            return False
        self.incoming = (message.snapshot, message.index + 1)
        if not message.last:
            self._restorer.feed(message.data)
            self._received.append(message.data)
            return False
        self._restorer.finish()
        store, self._store, self._restorer = self._store, None, None
        self.incoming = (-1, 0)
        self.abandon()
        wrong = replica.machine.replace_store(store)
        if wrong is not None:
            replica.halt("configuration", wrong)
            return False
        self._adopt(message.position, message.released, message.time)
        return True

    def forget_incoming(self) -> None:
        """What has come of a state so far is of no use any more."""
        self._store = self._restorer = None
        self._received = []
        self.incoming = (-1, 0)

    def _adopt(self, position: int, released: Stamp, time: int) -> None:
        """The copied state replaces ours, in memory and, in one write, on the disk."""
        replica = self._replica
        replica.position = position
        replica.released = released
        replica.observe(time)
        replica.forget_history()
        replica.drop_upto(released, "the state was copied from a peer while it was under way")
        replica.step.reset = True
        replica.journal_bytes = 0
        self._id = replica.number
        parts = [head_of(self.checkpoint()), *self._received]
        self._received = []
        for index, data in enumerate(parts):
            last = index == len(parts) - 1
            replica.step.snapshot.append(SnapshotPart(self._id, index, data, last, replica.number))
