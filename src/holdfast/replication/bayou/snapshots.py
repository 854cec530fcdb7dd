"""Snapshots: everything durable as one checkpoint and the committed tuple store, for the journal and for peers.

The store is read as of the committed prefix: the tail is exchanged out, the copy begun (copy-on-write),
and the tail exchanged in again; so a snapshot costs no execution. The journal's is taken in slices.
"""

from __future__ import annotations

from holdfast.kernel.contracts import SnapshotPart
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.snapshot import SlicedSnapshot
from holdfast.kernel.store import TupleStore
from holdfast.replication.bayou.log import as_vector, entry_of
from holdfast.replication.bayou.messages import Checkpoint, Promised, decode_checkpoint, encode
from holdfast.replication.bayou.replica import Replica

LENGTH_BYTES = 4
SLICE_PAUSE_US = 4_000
ROWS_A_RECORD_MAX = 64
"""More rows than what one record changes, as a rule: a snapshot ends only if it outruns the changes."""


def checkpoint_of(replica: Replica, kept: int) -> Checkpoint:
    """All that is durable beside the committed store, with the last `kept` committed writes."""
    log = replica.log
    return Checkpoint(
        replica.identity,
        replica.replica,
        replica.created_by,
        replica.clock.milliseconds,
        log.csn,
        as_vector(log.committed_vector),
        as_vector(log.committed_ms),
        log.latest,
        tuple(log.committed_members[name] for name in sorted(log.committed_members)),
        tuple(log.epochs),
        replica.epoch,
        replica.primary,
        replica.vowed,
        replica.votes,
        replica.forks,
        tuple(replica.anew),
        tuple(replica.renamed.items()),
        replica.promised_ms,
        tuple(replica.proposed),
        tuple(replica.ballots),
        tuple(log.committed[len(log.committed) - min(kept, len(log.committed)) :]),
        tuple(entry.write for entry in log.tail),
        replica.loss,
        tuple(replica.undone.items()),
    )


def head_of(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as bytes, led by their number."""
    data = encode(checkpoint)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def split_head(snapshot: bytes) -> tuple[Checkpoint, bytes]:
    """The checkpoint and the store's bytes. Raises `MalformedInput`."""
    if len(snapshot) < LENGTH_BYTES:
        raise MalformedInput("a snapshot without a head")
    end = LENGTH_BYTES + int.from_bytes(snapshot[:LENGTH_BYTES], "big")
    return decode_checkpoint(snapshot[LENGTH_BYTES:end]), snapshot[end:]


def restore(replica: Replica, checkpoint: Checkpoint, store: TupleStore) -> str | None:
    """Make the log and the store what they were. Returns what does not fit the app's configuration."""
    log = replica.log
    log.committed = list(checkpoint.kept)
    log.omitted = checkpoint.csn - len(checkpoint.kept)
    log.committed_vector = dict(checkpoint.committed_vector)
    log.latest = checkpoint.latest
    log.epochs = list(checkpoint.epochs)
    log.committed_ms = dict(checkpoint.committed_ms)
    log.last_ms = dict(log.committed_ms)
    log.tail = [entry_of(write) for write in checkpoint.tail]
    log.entries = {entry.name: entry for entry in log.tail}
    log.begin_members(checkpoint.members)
    for write in checkpoint.tail:
        log.vector[write.replica] = max(log.vector.get(write.replica, 0), write.number)
        log.last_ms[write.replica] = max(log.last_ms.get(write.replica, 0), write.ms)
    replica.views.executed = 0
    replica.observe(log.latest[0])
    return replica.machine.replace_store(store)


class Snapshots:
    """Cuts the journal: after enough records a snapshot is taken, a slice at a time."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.due_us: int | None = None
        self._reader: SlicedSnapshot | None = None
        self._upto = 0
        self._index = 0
        self._last_number = 0
        self.wanted = False
        """Begin one at the next occasion."""

    @property
    def busy(self) -> bool:
        """Whether the store is being copied."""
        return self._reader is not None

    def consider(self) -> None:
        """Begin one when it is time; take the next slice when it is due."""
        replica = self.replica
        if self._reader is not None:
            if self.due_us is not None and replica.now_us >= self.due_us:
                self._slice()
            return
        grown = replica.number - self._last_number
        if self.wanted or grown >= replica.configuration.snapshot_every_records:
            self._begin()

    def restarted(self) -> None:
        """The journal was replayed, or begun anew: count from here."""
        self._last_number = self.replica.number
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self.due_us = None

    def _begin(self) -> None:
        replica = self.replica
        self.wanted = False
        if replica.number == self._last_number:  # a snapshot is called by its last record: it needs one of its own
            replica.record(Promised(replica.promised_ms))
        self._upto = self._last_number = replica.number
        self._index = 0
        head = head_of(checkpoint_of(replica, replica.configuration.kept_in_snapshot))
        with replica.views.committed():
            self._reader = replica.machine.store.begin_snapshot()
        self._emit(head, last=False)

    def _slice(self) -> None:
        assert self._reader is not None
        replica = self.replica
        grown = replica.number - self._upto
        rows = max(replica.configuration.snapshot_rows_a_slice, ROWS_A_RECORD_MAX * grown)
        data = self._reader.take(rows) or b""
        self._emit(data, last=self._reader.done)

    def _emit(self, data: bytes, *, last: bool) -> None:
        replica = self.replica
        replica.step.snapshot.append(SnapshotPart(self._upto, self._index, data, last, self._upto))
        self._index += 1
        if last:
            self._reader = None
            self.due_us = None
        else:
            self.due_us = replica.now_us + SLICE_PAUSE_US

    def write_whole(self) -> None:
        """Begin the journal anew with the state as it is, in one piece."""
        replica = self.replica
        self.restarted()
        replica.step.reset = True
        replica.records_written -= len(replica.step.records)  # the checkpoint holds what they say
        replica.step.records.clear()
        replica.number = 0
        head = head_of(checkpoint_of(replica, replica.configuration.kept_in_snapshot))
        with replica.views.committed():
            data = replica.machine.store.snapshot()
        replica.step.snapshot = [SnapshotPart(0, 0, head + data, True, 0)]
        self._last_number = 0
