"""The verdict at the end of a run, when all is calm: from the committed order, written down as it grew."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.kernel.machine import Machine
from holdfast.kernel.replies import Expired, Forgotten
from holdfast.replication.bayou import make_machine
from holdfast.replication.bayou.log import id_of
from holdfast.replication.bayou.messages import APP, CREATION, Write, decode_creation
from holdfast.sim.audit import Violation
from holdfast.sim.bayou.ground import Ground
from holdfast.sim.bayou.ledger import Assigned, Ledger, Name, parse, stamp_of
from holdfast.sim.bayou.office import Office
from holdfast.sim.bayou.workloads import Executed, OfficeWork

NEVER_MS = 1 << 62


def judge(ledger: Ledger, offices: list[Office], work: OfficeWork, ground: Ground) -> None:
    """Raise `Violation` for the first law that this run has broken."""
    machine = make_machine(ground.app())
    taking_part = [office for office in offices if office.exists and office.replica.state != "retired"]
    writes = ledger.order(taking_part[0].replica.log)
    order = replay(machine, writes)
    _equal(writes, taking_part, machine)
    _authors_order(writes)
    _nothing_lost(ledger, order)
    _executed_once(order, ledger)
    if not ledger.may_lose:
        _told(ledger, order)
        _causes(ledger, writes)
        if ground.policy == "all-heard":
            log = taking_part[0].replica.log
            epochs = [log.epoch_at(csn) for csn in range(1, log.csn + 1)]
            _late_at_deadlines(ledger, writes, epochs, machine, ground)
    for office in offices:
        if office.replica is not None and office.process.kept == office.process.asked:
            office.pushes.check_paid()
    work.judge(order, machine.store)
    _count(ledger, offices, order, work)


def replay(machine: Machine, writes: Sequence[Write]) -> list[Executed]:
    """Execute writes in this order, on a machine of its own: no undoing, no views."""
    latest = (0, "", "")
    first: dict[tuple[str, int], str] = {}
    order = []
    for write in writes:
        stamp = stamp_of(write)
        if write.kind == APP:
            request = machine.decode_request(write.body)
            repeated = first.setdefault((request.client, request.number), id_of(write)) != id_of(write)
            late = stamp < latest
            reply = machine.execute_write(request, stamp, id_of(write), late)
            order.append(Executed(id_of(write), stamp, late, request, repeated and bool(request.client), reply))
        latest = max(latest, stamp)
    return order


def _equal(writes: Sequence[Write], offices: list[Office], machine: Machine) -> None:
    """All replicas have the committed order in their logs, and the store that it makes; both views are one."""
    for office in offices:
        if not office.exists or office.replica.state == "retired":
            continue
        log = office.replica.log
        if log.csn != len(writes) or log.committed != writes[log.omitted :]:
            raise Violation("logs differ", f"{office.name} has {log.csn} commits, {len(writes)} were made, or others")
        office.replica.views.roll_forward(1 << 30)
        digests = (office.replica.views.digest(), office.replica.views.machine.digest())
        if digests != (machine.digest(), machine.digest()):
            raise Violation("stores differ", f"{office.name} does not have the store that the committed order makes")


def _authors_order(writes: Sequence[Write]) -> None:
    known: dict[str, Write] = {}
    for write in writes:
        before = known.get(write.replica)
        if write.number != (before.number if before else 0) + 1:
            raise Violation("author's order", f"{id_of(write)} is committed after {before and id_of(before)}")
        if before is not None and write.ms <= before.ms:
            raise Violation("author's order", f"{id_of(write)} is stamped {write.ms}, {id_of(before)} {before.ms}")
        known[write.replica] = write


def _nothing_lost(ledger: Ledger, order: Sequence[Executed]) -> None:
    """Every acknowledged write is in the order (author's order: once), or its request is, by another write; unless
    all disks that ever held it are gone. Where loss is accepted, what was confirmed in a history that was cut off may
    be lost, for it may be truncated wherever it was known."""
    there = {parse(done.id): done for done in order}
    confirmed = {(write.replica, write.number) for write in ledger.commits.values()} if ledger.may_lose else frozenset()
    requests = {(done.request.client, done.request.number) for done in order}
    for name, known in ledger.acknowledged.items():
        done = there.get(name)
        if done is None and name in confirmed:
            continue
        if done is None:
            holders = [disk for disk, held in ledger.held.items() if held.get(name[0], 0) >= name[1]]
            whole = [disk for disk in holders if disk not in ledger.lost_disks]
            if whole and (known.client, known.number) not in requests:
                raise Violation("write lost", f"{name} was acknowledged by {known.host}, disks {whole} held it")
        elif (done.request.client, done.request.number) != (known.client, known.number):
            raise Violation("write exchanged", f"{name} was number {known.number} of {known.client}, is {done.request}")


def _told(ledger: Ledger, order: Sequence[Executed]) -> None:
    """What was told as final is what the order makes."""
    for done in order:
        told = ledger.told.get(done.id)
        if told is not None and told != done.reply.text():
            raise Violation("outcome", f"{done.id} was told as final {told!r}, the order makes {done.reply.text()!r}")


def _executed_once(order: Sequence[Executed], ledger: Ledger) -> None:
    """Each request was executed once, whatever number of writes it came in, and none was refused in the end."""
    executed: dict[tuple[str, int], str] = {}
    refused: list[Executed] = []
    for done in order:
        key = (done.request.client, done.request.number)
        if not done.request.client:  # what a node says by itself is nobody's request
            continue
        if isinstance(done.reply, Forgotten | Expired):
            refused.append(done)
            continue
        if executed.setdefault(key, done.reply.text()) != done.reply.text():
            raise Violation(
                "exactly once", f"{key} was answered {executed[key]!r}, and {done.id} {done.reply.text()!r}"
            )
    for done in refused:
        key = (done.request.client, done.request.number)
        if key not in executed and parse(done.id) in ledger.acknowledged:
            raise Violation(
                "write lost", f"{done.id} of {key} was acknowledged, and at last refused: {done.reply.text()}"
            )


def _causes(ledger: Ledger, writes: Sequence[Write]) -> None:
    """What a write's author had in its log when it took the write comes before it. So a session that goes
    from one replica to the next, and is let in only by one that has what it needs, keeps its order."""
    before: dict[str, int] = {}
    there = {(write.replica, write.number): None for write in writes}
    for write in writes:
        name: Name = (write.replica, write.number)
        known = ledger.acknowledged.get(name)
        if known is not None:
            for replica, number in known.known.items():
                if before.get(replica, 0) < number and (replica, number) in there:
                    raise Violation(
                        "causes", f"{id_of(write)} is committed before {replica}-{number}, which its author had"
                    )
        before[write.replica] = write.number


def _lineage(replica: str, writes: Sequence[Write]) -> list[str]:
    """A replica, who created it, who created that one, and so on."""
    creators = {
        decode_creation(write.body).replica: write.replica for write in reversed(writes) if write.kind == CREATION
    }
    line = [replica]
    while line[-1] in creators:
        line.append(creators[line[-1]])
    return line


def _late_at_deadlines(
    ledger: Ledger, writes: Sequence[Write], epochs: Sequence[int], machine: Machine, ground: Ground
) -> None:
    """Under `all-heard` a write may be late only if the primary whose commit passed it (that of its epoch, not one
    that was overtaken) had reached the deadline of one that it gave a place then, and had had that one long enough
    for all who are there to answer; or waited no longer for the author, or for who had created it, and so may never
    have heard of it."""
    by_name = {(write.replica, write.number): write for write in writes}

    def firm_by_ms(write: Write) -> int:
        wanted = machine.firm_by_ms(machine.decode_request(write.body)) if write.kind == APP else None
        return min(write.ms + ground.horizon_ms, wanted if wanted is not None else NEVER_MS)

    def was_due(assigned: Assigned, passed: Write) -> bool:
        """Whether one was due that takes what has passed along: one that stands at its place or behind it."""
        placed = zip(assigned.names, assigned.stamps, assigned.here_us, strict=True)
        behind = [(by_name[name], us) for name, stamp, us in placed if stamp >= stamp_of(passed) and name in by_name]
        return any(us >= ground.patience_us and firm_by_ms(write) <= assigned.deadline_ms for write, us in behind)

    before: list[tuple[Write, int]] = []
    for write, epoch in zip(writes, epochs, strict=True):
        passed, label = next(((other, at) for other, at in before if stamp_of(other) > stamp_of(write)), (None, 0))
        if passed is not None:
            line = _lineage(write.replica, writes)
            # One that was for a write of its name that a crash has taken away tells nothing about this one.
            known = ledger.assigned.get(((passed.replica, passed.number), label), [])
            times = [assigned for assigned in known if stamp_of(passed) in assigned.stamps]
            if times and not any(was_due(each, passed) or any(one in each.ended for one in line) for each in times):
                raise Violation(
                    "late",
                    f"{id_of(write)} is behind {id_of(passed)}, which got its place at {times[0].deadline_ms}, when "
                    "nothing at or behind it was due",
                )
        before.append((write, epoch))


def _count(ledger: Ledger, offices: list[Office], order: Sequence[Executed], work: OfficeWork) -> None:
    contested, overtaken = work.contested(order)
    running = [office for office in offices if office.replica is not None]
    ledger.figures.update(
        {
            "contested": contested,
            "overtaken": overtaken,
            "writes": len(order),
            "late": sum(done.late for done in order),
            "executions": sum(office.replica.views.executions for office in running),
            "executable": len(order) * len(running),
        }
    )
