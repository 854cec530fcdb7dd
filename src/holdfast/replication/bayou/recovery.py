"""A Bayou replica from its journal."""

from __future__ import annotations

from holdfast.kernel.contracts import Recovered
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.store import TupleStore
from holdfast.replication.bayou.members import Members
from holdfast.replication.bayou.messages import (
    Admitted,
    Committed,
    Enthroned,
    Forked,
    Identity,
    Logged,
    LossTold,
    MadeAnew,
    MemberRow,
    Named,
    Promised,
    Proposed,
    Vowed,
    decode_record,
)
from holdfast.replication.bayou.proposals import Proposals
from holdfast.replication.bayou.replica import ACTIVE, HALTED, JOINING, RETIRED, Replica
from holdfast.replication.bayou.snapshots import restore, split_head


def recover(replica: Replica, proposals: Proposals, members: Members, recovered: Recovered) -> None:
    """Replay snapshot and records; an empty disk gets its identity. Raises `MalformedInput`,
    `SnapshotError` or `BrokenInvariant` for a journal that makes no sense."""
    replica.number = recovered.first - 1
    if recovered.snapshot:
        _restore(replica, recovered.snapshot)
    for data in recovered.records:
        replica.number += 1
        _replay(replica, proposals, members, decode_record(data))
        if replica.state == HALTED:
            return
    if recovered.fresh:
        created = replica.machine.store.snapshot()
        identity = Identity(replica.configuration.disk, replica.machine.app.name, created, (), 0)
        replica.record(identity)
        replica.identity = identity
        replica.votes = False
    elif not replica.identity.disk:
        raise MalformedInput("it has no identity record")
    wrong = replica.machine.app.check(replica.machine.store)
    if wrong is not None:
        replica.halt("configuration", wrong)
        return
    replica.clock.observe(replica.promised_ms)
    replica.own_at_start = replica.log.vector.get(replica.replica, 0)
    _begin(replica, members)


def _begin(replica: Replica, members: Members) -> None:
    if replica.configuration.is_copy:
        replica.event(f"this disk was copied or restored, so it may not go on as {replica.replica or 'what it was'}")
        replica.record(Forked(replica.replica, replica.own_at_start, True))
        members.forget_own(replica.replica, replica.own_at_start, is_copy=True)
        return
    member = replica.log.members.get(replica.replica)
    if member is not None and member.state in ("retired", "gone"):
        replica.state = RETIRED
    elif member is not None and member.state == "replaced":
        members.leave()
    elif replica.replica and replica.log.includes((replica.created_by,) if replica.created_by[0] else ()):
        replica.state = ACTIVE
    else:
        replica.state = JOINING


def _restore(replica: Replica, snapshot: bytes) -> None:
    checkpoint, data = split_head(snapshot)
    if not _fits(replica, checkpoint.identity):
        return
    wrong = restore(replica, checkpoint, TupleStore.restore(replica.machine.rows, data))
    if wrong is not None:
        replica.halt("configuration", wrong)
    replica.identity = checkpoint.identity
    replica.replica = replica.clock.replica = checkpoint.replica
    replica.created_by = checkpoint.created_by
    replica.clock.observe(checkpoint.clock_ms)
    replica.epoch, replica.primary = checkpoint.epoch, checkpoint.primary
    replica.vowed = checkpoint.vowed
    replica.votes = checkpoint.votes
    replica.forks = checkpoint.forks
    replica.anew = list(checkpoint.anew)
    replica.renamed = dict(checkpoint.renamed)
    replica.promised_ms = checkpoint.promised_ms
    replica.proposed = list(checkpoint.proposed)
    replica.ballots = list(checkpoint.ballots)
    replica.loss = checkpoint.loss
    replica.undone = dict(checkpoint.undone)


def _fits(replica: Replica, identity: Identity) -> bool:
    if identity.app == replica.machine.app.name:
        return True
    replica.halt(
        "configuration",
        f"the data is of the app {identity.app!r}, not {replica.machine.app.name!r}; "
        "set the data aside or name that app",
    )
    return False


def _replay(replica: Replica, proposals: Proposals, members: Members, record: object) -> None:
    match record:
        case Identity():
            _begin_with(replica, record)
        case Named():
            members.named(record)
        case Logged():
            replica.take_in(record.writes)
            replica.clock.observe(record.clock_ms)
        case Committed():
            if record.first != replica.log.csn + 1:
                raise MalformedInput(f"commit {record.first} follows commit {replica.log.csn}")
            replica.apply_commits(record.names, record.epoch)
        case Promised():
            replica.promised_ms = max(replica.promised_ms, record.ms)
        case Proposed():
            proposals.put(record.epoch, record.first, record.proposals)
        case Vowed():
            replica.vowed = record.epoch
        case Enthroned():
            replica.begin_epoch(record.epoch, record.primary)
        case Forked():
            members.forget_own(record.replica, record.number, is_copy=record.is_copy)
        case MadeAnew():
            replica.anew = []
            replica.renamed.update(record.renamed)
        case Admitted():
            replica.votes = True
        case LossTold():
            replica.loss = record.loss


def _begin_with(replica: Replica, identity: Identity) -> None:
    """The first record: the first replicas are in the log from the beginning."""
    if not _fits(replica, identity):
        return
    replica.identity = identity
    if identity.created:
        replica.machine.replace_store(TupleStore.restore(replica.machine.rows, identity.created))
    replica.primary = identity.primary
    replica.votes = bool(identity.members)
    replica.log.begin_members(MemberRow(name, name, "", 0, "live") for name in identity.members)
    if replica.configuration.name in identity.members:
        replica.replica = replica.clock.replica = replica.configuration.name
