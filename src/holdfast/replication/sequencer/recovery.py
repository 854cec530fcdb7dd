"""What a node knows after a restart, from its journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.kernel.codec import decoder, encode
from holdfast.kernel.contracts import Recovered
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.store import TupleStore
from holdfast.replication.sequencer.log import fresh_after
from holdfast.replication.sequencer.messages import (
    Admitted,
    Checkpoint,
    Entered,
    Identity,
    Jumped,
    Ordered,
    Promise,
    Run,
    Started,
    decode_record,
)
from holdfast.replication.sequencer.shared import Shared

if TYPE_CHECKING:
    from holdfast.replication.sequencer.manager import Manager

LENGTH_BYTES = 4
_decode_checkpoint: Callable[[bytes], Checkpoint] = decoder(Checkpoint, "head of the journal's snapshot")


def head_of(checkpoint: Checkpoint) -> bytes:
    """The first part of a journal snapshot: the checkpoint, led by its length (4 bytes, big-endian)."""
    data = encode(checkpoint)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def recover(shared: Shared, manager: Manager, recovered: Recovered) -> str | None:
    """Restore the snapshot and take in the records after it. Returns what is wrong with the configuration, if
    anything. Raises `MalformedInput` or `SnapshotError` for a journal that makes no sense."""
    shared.number = recovered.first + len(recovered.records) - 1
    shared.journal_bytes = sum(map(len, recovered.records))
    problem = _restore(shared, manager, recovered.snapshot) if recovered.snapshot else None
    identified = bool(recovered.snapshot)
    for number, data in enumerate(recovered.records, recovered.first):
        record = decode_record(data)
        if isinstance(record, Identity):
            identified = True
            shared.disk = record.disk
            problem = problem or _check(shared, record.app, record.created if not recovered.snapshot else b"")
        else:
            _take(shared, manager, record, number)
    if not recovered.fresh and not identified:
        raise MalformedInput("the journal has no identity record")
    manager.decide(manager.council.position)
    if manager.log.decided < manager.council.position:
        raise MalformedInput(f"the order ends at {manager.log.decided}, the snapshot at {manager.council.position}")
    return problem


def _restore(shared: Shared, manager: Manager, snapshot: bytes) -> str | None:
    end = LENGTH_BYTES + int.from_bytes(snapshot[:LENGTH_BYTES], "big")
    checkpoint = _decode_checkpoint(snapshot[LENGTH_BYTES:end])
    shared.disk = checkpoint.disk
    shared.incarnation = checkpoint.incarnation
    manager.admitted = checkpoint.admitted
    manager.promised = checkpoint.promised
    manager.promised_life = checkpoint.promised_life
    manager.learn(checkpoint.disks)
    manager.entered = checkpoint.entered
    manager.log.jump(checkpoint.floor)
    manager.council.adopt(checkpoint.standing)
    manager.tending.recovered_copy = manager.council.copies.get(shared.me)
    manager.replica.restored(checkpoint.position)
    return _check(shared, checkpoint.app, snapshot[end:])


def _check(shared: Shared, app: str, content: bytes) -> str | None:
    machine = shared.machine
    if app != machine.app.name:
        return f"its data is of the app {app!r}, not {machine.app.name!r}; set the data aside or name that app"
    return machine.replace_store(TupleStore.restore(machine.rows, content)) if content else None


def _take(shared: Shared, manager: Manager, record: object, number: int) -> None:
    """One record. What it says of what the snapshot holds already is passed over."""
    log = manager.log
    if isinstance(record, Started):
        shared.incarnation = max(shared.incarnation, record.incarnation)
    elif isinstance(record, Admitted):
        manager.admitted = True
    elif isinstance(record, Promise):
        manager.promise(record.epoch, record.life)
        manager.learn(record.disks)
    elif isinstance(record, Entered):
        manager.promise(record.epoch, 0)
        manager.entered = record.epoch
        log.cut_after(record.keep)
        _append(manager, record.keep + 1, record.runs, number)
        manager.decide(min(record.keep, log.last))
    elif isinstance(record, Ordered):
        _append(manager, record.first, record.runs, number)
        manager.decide(min(record.decided, log.last))
    elif isinstance(record, Jumped) and record.decided > log.decided:
        manager.jump(record.decided, record.standing)


def _append(manager: Manager, first: int, runs: tuple[Run, ...], number: int) -> None:
    fresh = fresh_after(first, runs, manager.log.last)
    if fresh is None:
        raise MalformedInput(f"record {number} goes on at {first}, but the order ends at {manager.log.last}")
    manager.log.append(fresh, number)
