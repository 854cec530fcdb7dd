"""`holdfast bench rooms`: what the rooms under Bayou cost, in processor time, executions and bytes.

Everything runs in this one process, so that nothing but the work itself is measured: see
`rooms_group` for what that includes. Times are processor time (user and system).
"""

from __future__ import annotations

import gc
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from holdfast.bench.measure import Machine, Progress, describe_machine
from holdfast.bench.rooms_group import Member, Office, journal_path
from holdfast.bench.rooms_load import NODES, make_app, outcomes, requests
from holdfast.runtime.node import GC_THRESHOLDS

POLICIES = ("all-heard", "immediate")
BATCH = 100
"""Requests in one turn, where it does not matter how they come."""
SPACING_US = 1_000


class RoomsPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`writes`: of each of the ten replicas. `undone`: writes undone and redone. `log`: tentative writes in
    the log that a late one comes into. `distances`: how many follow its place. `committed`: writes in the
    store whose size is measured."""

    rounds: int
    writes: int
    contested: int
    undone: int
    log: int
    distances: tuple[int, ...]
    committed: int


FULL = RoomsPlan(
    rounds=3,
    writes=1_000,
    contested=500,
    undone=1_550,
    log=100_000,
    distances=(100_000, 75_000, 50_000, 25_000, 10_000, 5_000, 2_000, 1_000, 100, 1),
    committed=10_000,
)
QUICK = RoomsPlan(
    rounds=2, writes=60, contested=72, undone=200, log=2_000, distances=(2_000, 1_000, 500, 100, 1), committed=2_000
)


class Merge(msgspec.Struct, frozen=True, kw_only=True):
    """Ten replicas that wrote alone meet, until all agree and everything is confirmed.

    `alone_cpu_s`: taking the writes in, before. `cpu_s`: the merge, from the first connection until the
    last replica has the last commit; `digest_cpu_s`: hashing what has changed, afterwards, to see that
    the stores are equal. `executions`: in the merge, `executions_alone`: before; both at all replicas.
    `bytes_sent`, `messages`: in the merge. `journal_bytes`: of all records, bodies too. `body_bytes`: of
    all writes, once. `agree`: whether all stores are equal. `outcomes`: what the requests came to.
    """

    policy: str
    replicas: int
    writes: int
    alone_cpu_s: float
    cpu_s: float
    digest_cpu_s: float
    executions_alone: int
    executions: int
    bytes_sent: int
    messages: int
    journal_bytes: int
    body_bytes: int
    agree: bool
    confirmed: int
    outcomes: dict[str, int]

    @property
    def pairs(self) -> int:
        """(write, replica) pairs."""
        return self.writes * self.replicas

    @property
    def per_100k_s(self) -> float:
        """Processor time of the merge for each 100,000 executions in it, s."""
        return self.cpu_s / self.executions * 100_000

    @property
    def executions_each(self) -> float:
        """Executions of a write at a replica, from first to last."""
        return (self.executions + self.executions_alone) / self.pairs

    @property
    def wire_overhead(self) -> float:
        """Bytes sent for each write that a replica lacked, beyond its body: commit notices, vectors, questions, all."""
        brought = self.writes * (self.replicas - 1)
        return self.bytes_sent / brought - self.body_bytes / self.writes

    @property
    def journal_overhead(self) -> float:
        """Bytes of records for each write at each replica, beyond its body: the commit's, too."""
        return self.journal_bytes / self.pairs - self.body_bytes / self.writes


class UndoRedo(msgspec.Struct, frozen=True, kw_only=True):
    """Tentative writes taken out of the store, and executed again."""

    writes: int
    undo_cpu_s: float
    redo_cpu_s: float

    @property
    def cpu_s(self) -> float:
        """Both."""
        return self.undo_cpu_s + self.redo_cpu_s


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes. `session`: all messages of one anti-entropy session between equals of ten. Of a write that
    comes alone while all are connected, beyond its body: `lone_push`, the message that brings it to a peer;
    `lone_steps`, all messages until it is confirmed everywhere, for each peer; `lone_journal`, the records
    at each replica. `content`: the rows of a store whose writes are all committed; `journal`: what the
    journal keeps for it after a snapshot, `journal_truncated` once the log is truncated too; `file`: the
    journal's file, `file_used` without its free pages."""

    session: int
    lone_push: float
    lone_steps: float
    lone_journal: float
    content: int
    journal: int
    journal_truncated: int
    file: int
    file_used: int


class LateWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One late write comes. `following`: how many entries its place has behind it. `insert_cpu_s`: these rolled
    back, the write put in its place; `redo_cpu_s`: it and all of them executed again."""

    following: int
    insert_cpu_s: float
    redo_cpu_s: float

    @property
    def cpu_s(self) -> float:
        """Both."""
        return self.insert_cpu_s + self.redo_cpu_s


class RoomsReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found."""

    taken: str
    machine: Machine
    plan: RoomsPlan
    merges: list[Merge]
    undo_redo: list[UndoRedo]
    sizes: Sizes
    late: list[LateWrite]

    def errors(self) -> list[str]:
        """What must not be, whatever the speed."""
        found = []
        for merge in self.merges:
            if not merge.agree:
                found.append(f"under {merge.policy} the replicas did not come to equal stores")
            if merge.confirmed != merge.pairs:
                found.append(f"under {merge.policy} {merge.confirmed} of {merge.pairs} were confirmed")
            if merge.executions_each > 2:
                found.append(f"under {merge.policy} a write was executed {merge.executions_each:.2f} times a replica")
        return found


def measure_rooms(plan: RoomsPlan, directory: Path, progress: Progress) -> RoomsReport:
    """Measure everything. Journals, where one is measured, go to `directory`, which must exist."""
    machine = describe_machine(directory)
    taken = time.strftime("%Y-%m-%d %H:%M:%S")
    merges, undo_redo = [], []
    with as_in_a_node():
        for number in range(plan.rounds):
            for policy in POLICIES:
                merge = measure_merge(policy, plan.writes, plan.contested)
                merges.append(merge)
                progress(
                    f"round {number + 1} of {plan.rounds}, {policy}: {merge.per_100k_s:.2f} s for 100,000 executions, "
                    f"{merge.executions_each:.2f} a write a replica"
                )
            undo_redo.append(measure_undo_redo(plan.undone, plan.contested))
            progress(f"{plan.undone:,} writes undone and redone in {undo_redo[-1].cpu_s * 1e3:.0f} ms")
        sizes = measure_sizes(plan.committed, plan.contested, directory)
        progress(f"anti-entropy between equals: {sizes.session} bytes")
        late = measure_late_writes(plan)
        progress(f"one write before {late[0].following:,} others: {late[0].cpu_s * 1e3:.0f} ms")
    return RoomsReport(
        taken=taken, machine=machine, plan=plan, merges=merges, undo_redo=undo_redo, sizes=sizes, late=late
    )


@contextmanager
def as_in_a_node() -> Iterator[None]:
    """The garbage collector as a node sets it."""
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def cpu_s(work: Callable[[], None]) -> float:
    """Processor time that it takes, s. What earlier work left to collect is collected before."""
    gc.collect()
    begin = time.process_time()
    work()
    return time.process_time() - begin


def write_alone(office: Office, writes: int, contested: int) -> None:
    """Every replica takes its writes, one a turn, all at the same pace and without hearing of the others."""
    asked = [requests(member.me, writes, contested) for member in office.members]
    for place in range(writes):
        office.now_us += SPACING_US
        for member, mine in zip(office.members, asked, strict=True):
            member.submit(mine[place : place + 1])


def bring_together(office: Office, writes: int) -> None:
    """All links come up; until everything is confirmed everywhere."""
    office.connect()
    office.run_until(lambda: all(member.log.csn == writes for member in office.members))


def body_bytes(member: Member) -> int:
    """Of the committed writes in its log."""
    return sum(len(write.body) for write in member.log.committed)


def measure_merge(policy: str, writes: int, contested: int) -> Merge:
    """Ten replicas write alone, then meet."""
    office = Office(make_app, NODES, policy=policy)
    office.begin()
    members = office.members
    everything = writes * len(members)
    alone_cpu_s = cpu_s(lambda: write_alone(office, writes, contested))
    executions_alone = sum(member.views.executions for member in members)
    merge_cpu_s = cpu_s(lambda: bring_together(office, everything))
    executions = sum(member.views.executions for member in members) - executions_alone
    states: list[tuple[int, str, str]] = []
    digest_cpu_s = cpu_s(lambda: states.extend(member.state() for member in members))
    return Merge(
        policy=policy,
        replicas=len(members),
        writes=everything,
        alone_cpu_s=alone_cpu_s,
        cpu_s=merge_cpu_s,
        digest_cpu_s=digest_cpu_s,
        executions_alone=executions_alone,
        executions=executions,
        bytes_sent=sum(member.sent_bytes for member in members),
        messages=sum(member.sent for member in members),
        journal_bytes=sum(member.record_bytes for member in members),
        body_bytes=body_bytes(members[0]),
        agree=all(state == states[0] for state in states),
        confirmed=sum(member.log.csn for member in members),
        outcomes=outcomes(members[0].machine.store),
    )


def tentative_log(writes: int, contested: int) -> Member:
    """A replica that is none that commits, alone, with so many writes of its own."""
    office = Office(make_app, NODES)
    office.begin()
    member = office.members[1]
    asked = requests(member.me, writes, contested)
    for place in range(0, writes, BATCH):
        office.now_us += BATCH * SPACING_US
        member.submit(asked[place : place + BATCH])
    if len(member.log.tail) != writes:
        raise RuntimeError(f"{len(member.log.tail)} writes in the log, not {writes}")
    return member


def measure_undo_redo(writes: int, contested: int) -> UndoRedo:
    """What one early write of a peer would cost: everything undone, everything redone."""
    member = tentative_log(writes, contested)
    before = member.machine.digest()
    undo_cpu_s = cpu_s(member.undo)
    redo_cpu_s = cpu_s(member.redo)
    if member.machine.digest() != before:
        raise RuntimeError("what was undone and redone is not what it was")
    return UndoRedo(writes=writes, undo_cpu_s=undo_cpu_s, redo_cpu_s=redo_cpu_s)


def measure_late_writes(plan: RoomsPlan) -> list[LateWrite]:
    """Late writes into one long log, the earliest first; in each round of another author."""
    member = tentative_log(plan.log, plan.contested)
    found = []
    for author in range(2, 2 + min(plan.rounds, len(NODES) - 2)):
        late = requests(author, len(plan.distances), plan.contested)
        for distance, request in zip(plan.distances, late, strict=True):
            place = len(member.log.tail) - distance
            insert_cpu_s = cpu_s(lambda: member.late_write(author, place, request))  # noqa: B023 (called at once)
            executed = member.views.executed
            redo_cpu_s = cpu_s(member.redo)
            found.append(
                LateWrite(
                    following=len(member.log.tail) - 1 - executed, insert_cpu_s=insert_cpu_s, redo_cpu_s=redo_cpu_s
                )
            )
    return found


def measure_sizes(committed: int, contested: int, directory: Path) -> Sizes:
    """Bytes of messages, of records, of a journal whose writes are all committed. At real journals."""
    office = Office(make_app, NODES)
    office.begin(directory)
    try:
        write_alone(office, committed // len(NODES), contested)
        bring_together(office, committed)
        one, other = office.members[3], office.members[4]
        before = office.bytes_sent
        office.meet(one, other)
        session = office.bytes_sent - before
        lone = measure_lone_write(office, contested)
        one.snapshot_now()
        journal = one.journal_bytes
        one.truncate()
        content, journal_truncated = one.content_bytes(), one.journal_bytes
    finally:
        office.close()
    file, file_used = file_bytes(journal_path(directory, one.me))
    return Sizes(
        session=session,
        lone_push=lone[0],
        lone_steps=lone[1],
        lone_journal=lone[2],
        content=content,
        journal=journal,
        journal_truncated=journal_truncated,
        file=file,
        file_used=file_used,
    )


def measure_lone_write(office: Office, contested: int) -> tuple[float, float, float]:
    """See `Sizes`. The write is one more of somebody who is not the primary."""
    author = office.members[3]
    peers = len(office.members) - 1
    csn = author.log.csn
    request = requests(author.me, csn // len(office.members) + 1, contested)[-1]
    sent, records = office.bytes_sent, sum(member.record_bytes for member in office.members)
    author.submit([request])
    body = len(author.log.tail[-1].write.body)
    push = max(len(data) for _, _, data in office.messages)
    office.run_until(lambda: all(member.log.csn == csn + 1 for member in office.members))
    steps = (office.bytes_sent - sent) / peers
    journal = (sum(member.record_bytes for member in office.members) - records) / len(office.members)
    return push - body, steps - body, journal - body


def file_bytes(path: Path) -> tuple[int, int]:
    """The size of a closed journal's file, and that of the pages in use."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        page, count, free = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
    return path.stat().st_size, page * (count - free)
