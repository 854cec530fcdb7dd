"""A replica from its journal."""

from __future__ import annotations

from holdfast.kernel.contracts import Recovered
from holdfast.kernel.errors import BrokenInvariant
from holdfast.kernel.store import TupleStore
from holdfast.replication.lamport.messages import (
    Accepted,
    Copied,
    Entry,
    Identity,
    Promised,
    Started,
    ViewInstalled,
    decode_record,
)
from holdfast.replication.lamport.replica import HALTED, Pending, Replica
from holdfast.replication.lamport.snapshots import split_head


def recover(replica: Replica, recovered: Recovered) -> None:
    """Replay snapshot and records. What is known to have been released is executed; the rest of the
    queue waits for the view change that will know. An empty disk gets its identity."""
    replica.number = recovered.first - 1
    if recovered.snapshot:
        _restore(replica, recovered.snapshot)
    for data in recovered.records:
        replica.number += 1
        replica.journal_bytes += len(data)
        _replay(replica, decode_record(data))
        if replica.state == HALTED:
            return
    replica.vouched = replica.number
    app = replica.machine.app.name
    if not replica.disk:
        replica.disk = replica.configuration.disk
        replica.record(Identity(replica.disk, app, replica.machine.store.snapshot()))
    wrong = replica.machine.app.check(replica.machine.store)
    if wrong is not None:
        replica.halt("configuration", wrong)


def _restore(replica: Replica, snapshot: bytes) -> None:
    checkpoint, data = split_head(snapshot)
    _check_app(replica, checkpoint.app)
    store = TupleStore.restore(replica.machine.rows, data)
    replica.machine.replace_store(store)
    replica.disk = checkpoint.disk
    replica.incarnation = checkpoint.incarnation
    replica.promised = checkpoint.promised
    replica.view = checkpoint.view
    replica.position = checkpoint.position
    replica.released = checkpoint.released
    replica.acknowledged = list(checkpoint.acknowledged)
    replica.observe(checkpoint.time)
    replica.replace_queue(list(checkpoint.pending))


def _check_app(replica: Replica, app: str) -> None:
    if app != replica.machine.app.name:
        raise BrokenInvariant(f"the journal is of the app {app}, not {replica.machine.app.name}")


def _check_configuration(replica: Replica, created: bytes) -> None:
    """The records were written by an app with the same configuration as this one."""
    if created:
        wrong = replica.machine.app.check(TupleStore.restore(replica.machine.rows, created))
        if wrong is not None:
            replica.halt("configuration", wrong)


def _replay(replica: Replica, record: object) -> None:
    match record:
        case Identity():
            _check_app(replica, record.app)
            _check_configuration(replica, record.created)
            replica.disk = record.disk
        case Started():
            replica.incarnation = record.incarnation
        case Promised():
            replica.promised = max(replica.promised, record.epoch)
        case Accepted():
            _accept(replica, record)
        case ViewInstalled():
            _install(replica, record)
        case Copied():
            _copy(replica, record.base, record.entries)
        case _:
            raise BrokenInvariant(f"unknown record {record!r}")


def _accept(replica: Replica, record: Accepted) -> None:
    if record.epoch != replica.epoch:
        raise BrokenInvariant(f"a request of epoch {record.epoch} follows view {replica.epoch}")
    replica.execute_upto(record.released)
    replica.acknowledged = list(record.acknowledged)
    replica.observe(record.time)
    pending = Pending(record.time, record.server, record.batch)
    stamp = (record.time, record.server)
    replica.pending[stamp] = pending
    replica.queue.append(stamp)
    replica.queue.sort()


def _install(replica: Replica, record: ViewInstalled) -> None:
    """What was executed between the last accepted request and the view was executed in queue order."""
    while replica.position < record.base and replica.queue:
        replica.execute_upto(replica.queue[0])
    _check_position(replica, record.base)
    replica.view = record.view
    replica.promised = max(replica.promised, record.view.epoch)
    replica.observe(record.time)
    replica.replace_queue(list(record.entries))


def _copy(replica: Replica, base: int, entries: tuple[Entry, ...]) -> None:
    while replica.position < base and replica.queue:
        replica.execute_upto(replica.queue[0])
    _check_position(replica, base)
    for entry in entries:
        replica.execute_entry(entry)


def _check_position(replica: Replica, base: int) -> None:
    if base != replica.position:
        raise BrokenInvariant(f"a record continues at position {base}, but the journal has led to {replica.position}")
