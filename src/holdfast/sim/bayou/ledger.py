"""What is watched at every step of a run under Bayou.

- What is committed at a number, at any replica at any time, is that write for ever; what users were
  told of it as final is its outcome for ever; and stores at equal numbers are equal.
- The primary commits no write while it holds, uncommitted, one with an earlier stamp.
- Whatever a write's author had before it comes before it in the committed order.

A commit counts when the disk of the replica that shows it has it: what a crash takes away was never said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from holdfast.kernel.contracts import Change
from holdfast.kernel.replies import Outcome
from holdfast.replication.bayou.log import Entry, WriteLog, id_of
from holdfast.replication.bayou.messages import CREATION, Write, decode_creation
from holdfast.sim.audit import Audit, Violation
from holdfast.sim.world import World

if TYPE_CHECKING:
    from holdfast.sim.bayou.office import Office, OfficeAttempt

CLOSE_MS = 5_000
"""Stamps may lie closer together than the clock goes, by so much in all."""
EVER_US = 1 << 62

Name = tuple[str, int]
Stamp = tuple[int, str, str]
Commit = tuple[int, int, Write]
"""Its number, the epoch it was made in, and what is committed."""


def stamp_of(write: Write) -> Stamp:
    """Its place in the tentative order."""
    return (write.ms, write.first_name, write.replica)


class Acknowledged(msgspec.Struct):
    """A write whose reply left its replica. `known`: what that had in its log when it took the write."""

    host: str
    disk: int
    client: str
    number: int
    known: dict[str, int]


class Assigned(NamedTuple):
    """When a primary gave writes their places: `deadline_ms` by the clock that it takes for deadlines, `names` of
    all that got one then, with their `stamps`, for how long each was in its log then (`here_us`; longer than it
    runs: `EVER_US`), and `ended`: the replicas that it waited for no longer."""

    deadline_ms: int
    names: tuple[Name, ...]
    stamps: tuple[Stamp, ...]
    here_us: tuple[int, ...]
    ended: tuple[str, ...]


class Seen:
    """How far the watch has come with one process. `came_us`: when a write came into its log. `fresh`: (number,
    epoch, write) committed in this step; `unsynced`: (things asked of the disk, those, the last number, the digest
    there) that a crash may yet take away, and `placing`: (things asked of the disk, the names that got a place) too."""

    __slots__ = ("assigned", "came_us", "csn", "epoch", "fresh", "members_changed", "places", "placing", "unsynced")

    def __init__(self) -> None:
        self.csn = 0
        self.epoch = 0
        self.members_changed = -1
        self.assigned: dict[Name, None] | None = None
        self.places = (0, 0, 0)
        self.came_us: dict[Name, int] = {}
        self.fresh: list[Commit] = []
        self.unsynced: list[tuple[int, list[Commit], tuple[int, int], bytes]] = []
        self.placing: list[tuple[int, list[tuple[Name, int]]]] = []


class Ledger(Audit):
    """The watch over all offices of a run. `may_lose`: an operator may accept the loss of commits.
    `most_ahead_ms(n)`: how far the clocks of more than half of `n` replicas ever were ahead, for who follows those;
    `fewest`: how few an office ever knew of. `promises`: of each replica the last one that has arrived somewhere, (up
    to where, the number of its last write before)."""

    def __init__(self, world: World, may_lose: bool) -> None:
        super().__init__(world)
        self.may_lose = may_lose
        self.most_ahead_ms: Callable[[int], int] = lambda _replicas: 0
        self.commits: dict[tuple[int, int], Write] = {}
        self.made: dict[tuple[int, int], Write] = {}
        self.numbers: dict[int, Write] = {}
        self.created_ms: dict[str, int] = {}
        self.stores: dict[tuple[int, int], tuple[bytes, str, int]] = {}
        self.told: dict[str, str] = {}
        self.acknowledged: dict[Name, Acknowledged] = {}
        self.assigned: dict[tuple[Name, int], list[Assigned]] = {}
        self.placed: dict[tuple[Name, int], None] = {}
        self.held: dict[int, dict[str, int]] = {}
        self.lost_disks: dict[int, None] = {}
        self.retired: dict[str, None] = {}
        self.offices: list[Office] = []
        self.promises: dict[str, tuple[int, int]] = {}
        self.fewest: dict[str, int] = {}
        self.figures: dict[str, int] = {}
        self._seen: dict[int, Seen] = {}

    # ---- every step ----

    def watch(self, office: Office, log: WriteLog) -> None:
        """A process begins: note every commit as it is made, for a log may be cut short at once; and every creation."""
        seen = self._seen[office.number] = Seen()
        commit, insert = log.commit, log.insert

        def inserted(writes: Sequence[Write], place: int) -> None:
            for write in writes:
                seen.came_us.setdefault((write.replica, write.number), office.now_us())
                if write.kind == CREATION:
                    node = decode_creation(write.body).node
                    self.created_ms[node] = max(write.ms, self.created_ms.get(node, 0))
            insert(writes, place)

        def noted(entries: Sequence[Entry], epoch: int) -> None:
            made = [(csn, epoch, entry.write) for csn, entry in enumerate(entries, log.csn + 1)]
            seen.fresh += made
            self.made.update({(csn, epoch): write for csn, epoch, write in made})
            commit(entries, epoch)

        setattr(log, "commit", noted)  # noqa: B010 (methods of one instance)
        setattr(log, "insert", inserted)  # noqa: B010

    def look(self, office: Office) -> None:
        """A core has returned a step."""
        seen = self._seen[office.number]
        replica, log = office.replica, office.replica.log
        if replica.epoch < seen.epoch:
            raise Violation("epoch", f"{office.name} went back from epoch {seen.epoch} to {replica.epoch}")
        seen.epoch = replica.epoch
        if log.members_changed != seen.members_changed and log.members:
            seen.members_changed = log.members_changed
            live = len(log.live)
            self.fewest[office.name] = min(live, self.fewest.get(office.name, live))
        made = seen.fresh
        if log.csn != seen.csn:
            self._on_commits(office, seen)
        if not replica.is_primary or seen.places[2] != replica.epoch:
            seen.assigned = None  # what it has adopted, others have placed
        if replica.is_primary and (
            seen.assigned is None or seen.places != (log.csn, len(replica.proposed), replica.epoch)
        ):
            seen.places = (log.csn, len(replica.proposed), replica.epoch)
            self._on_primary(office, seen, made)
        process = office.process
        while seen.unsynced and seen.unsynced[0][0] <= process.kept:
            _, writes, last, digest = seen.unsynced.pop(0)
            self._firm(office, writes, last, digest)
        while seen.placing and seen.placing[0][0] <= process.kept:
            self.placed.update(dict.fromkeys(seen.placing.pop(0)[1]))
        if process.kept == process.asked:
            held = self.held.setdefault(office.disk.id, {})
            for name, number in log.vector.items():
                if number > held.get(name, 0):
                    held[name] = number

    def _on_commits(self, office: Office, seen: Seen) -> None:
        log = office.replica.log
        if log.csn < seen.csn:
            if not self.may_lose:
                raise Violation("position", f"{office.name} went back from commit {seen.csn} to {log.csn}")
            seen.unsynced.clear()
        kept = (
            [] if seen.csn else [(n, log.epoch_at(n), write) for n, write in enumerate(log.committed, log.omitted + 1)]
        )
        fresh, seen.fresh = [*kept, *seen.fresh], []
        at = (log.csn, log.epoch_at(log.csn))
        seen.unsynced.append((office.process.asked, fresh, at, office.replica.views.digest()))
        seen.csn = log.csn

    def _firm(self, office: Office, commits: list[Commit], at: tuple[int, int], digest: bytes) -> None:
        """These commits lie on its disk, and its store as of commit `at` (number, epoch) has `digest`."""
        for csn, epoch, write in commits:
            before = self.commits.setdefault((csn, epoch), write)
            if not self.may_lose:
                before = self.numbers.setdefault(csn, write)
            if before != write:
                raise Violation(
                    "commit changed",
                    f"commit {csn} is {id_of(write)} at {office.name}, it was {id_of(before)}: {write}, {before}",
                )
        known = self.stores.setdefault(at if self.may_lose else (at[0], 0), (digest, office.name, self.world.now_us))
        if known[0] != digest:
            raise Violation(
                "digest",
                f"at commit {at} {office.name} has {digest.hex()} at {self.world.now_us} us, "
                f"{known[1]} had {known[0].hex()} at {known[2]} us",
            )

    def order(self, log: WriteLog) -> list[Write]:
        """The whole committed order, of which a replica keeps at least the epochs."""
        order = []
        for csn in range(1, log.csn + 1):
            # One that was synced as its process died, and dropped from the log with it, was never seen on a disk.
            write = self.commits.get((csn, log.epoch_at(csn))) or self.made.get((csn, log.epoch_at(csn)))
            if write is None:
                raise Violation(
                    "commit order", f"nobody was ever seen to make commit {csn} in epoch {log.epoch_at(csn)}"
                )
            order.append(write)
        return order

    def _on_primary(self, office: Office, seen: Seen, made: list[Commit]) -> None:
        """The primary gave places to writes: it may hold no other one with an earlier stamp. `made`: the commits of
        this step, some of which may be truncated already."""
        replica, log = office.replica, office.replica.log
        commits = {csn: (log.epoch_at(csn), write) for csn, write in enumerate(log.committed, log.omitted + 1)}
        commits |= {csn: (epoch, write) for csn, epoch, write in made}
        own = [write for _, (epoch, write) in sorted(commits.items()) if epoch >= replica.epoch]
        held = (*own, *(write for _, write in replica.proposed))  # not what a primary before it has placed
        places = {(write.replica, write.number): write for write in held}
        known, seen.assigned = seen.assigned, dict.fromkeys(places)
        ended = tuple(name for name, row in log.members.items() if row.state != "live")
        if known is None:
            self._placed_again(self._assigned(office, seen, places, ended), replica)
        fresh = {} if known is None else {name: write for name, write in places.items() if name not in known}
        if not fresh:
            return
        assigned = self._assigned(office, seen, fresh, ended)
        if list(assigned.stamps) != sorted(assigned.stamps):
            raise Violation(
                "stamp order", f"{office.name} gives places to {[id_of(write) for write in fresh.values()]}"
            )
        top = assigned.stamps[-1]
        labels = [(name, replica.epoch) for name in fresh]
        for label in labels:  # a crash may have taken an earlier write of that name away, and its place
            self.assigned[label] = [assigned]
        seen.placing.append((office.process.asked, labels))
        for entry in log.tail:
            write = entry.write
            if stamp_of(write) < top and (write.replica, write.number) not in places:
                raise Violation(
                    "earliest stamp",
                    f"{office.name} commits {id_of(max(fresh.values(), key=stamp_of))} stamped {top} "
                    f"while it holds {id_of(write)} stamped {stamp_of(write)}",
                )

    def _assigned(self, office: Office, seen: Seen, places: dict[Name, Write], ended: tuple[str, ...]) -> Assigned:
        now_us = office.now_us()
        here_us = tuple(now_us - seen.came_us.get(name, now_us - EVER_US) for name in places)
        stamps = tuple(map(stamp_of, places.values()))
        return Assigned(office.replica.deadline_ms, tuple(places), stamps, here_us, ended)

    def _placed_again(self, assigned: Assigned, replica: Any) -> None:
        """A process is the primary from its first step on: what it places then may have had a place before, which a
        crash took away; or it still has it, for a disk may keep what nobody was told of."""
        firm = {(write.replica, write.number) for write in self.numbers.values()}
        for label in [(name, replica.epoch) for name in assigned.names if name not in firm]:
            if label not in self.placed and label in self.assigned:
                self.assigned[label].append(assigned)

    # ---- what users are told ----

    def answered(self, office: Office, attempt: OfficeAttempt, client: str, number: int, outcome: Outcome) -> None:
        """The reply to a write leaves its replica."""
        name = parse(outcome.write)
        office.deadlines.told(attempt, outcome)
        self.acknowledged.setdefault(name, Acknowledged(office.name, attempt.disk, client, number, dict(attempt.known)))
        if outcome.firm == "committed":
            self._tell(office.name, outcome.write, outcome.reply.text())
        ahead_ms = office.replica.log.last_ms.get(name[0], 0) - office.true_ms
        followed_ms = self.most_ahead_ms(self.fewest[office.name]) + office.ground.forward_bound_ms  # then or since
        # Its creator's clock, which it must not precede; nor may the replica that a copy of its disk becomes.
        created_ms = self.created_ms.get(office.name, 0) - office.true_ms
        believed_ms = max(office.ahead_ms + office.ground.forward_bound_ms, followed_ms, created_ms) + CLOSE_MS
        if ahead_ms > believed_ms:
            raise Violation(
                "future", f"{outcome.write} of {office.name} is {ahead_ms} ms ahead of the time, not {believed_ms}"
            )

    def warned(self, office: Office, attempt: OfficeAttempt, outcome: Outcome) -> None:
        """An answer leaves: where the clock surely was off, before and after, it says so."""
        off_ms = office.clocks.off_ms
        if attempt.off_ms and off_ms and office.clocks.changes == attempt.clock_changes:
            way = "behind" if off_ms > 0 else "ahead of"
            if "this device's clock is" not in outcome.warning or f"{way} the others'" not in outcome.warning:
                raise Violation(
                    "warning", f"the clock of {office.name} is {off_ms} ms off, and nobody is told: {outcome.warning!r}"
                )

    def changed(self, office_name: str, change: Change) -> None:
        """A watcher is told."""
        if change.firm == "committed":
            self._tell(office_name, change.id, change.text)

    def _tell(self, office_name: str, id: str, text: str) -> None:
        first = self.told.setdefault(id, text)
        if first != text:
            if not self.may_lose:
                raise Violation("outcome changed", f"{id} is final at {office_name} as {text!r}, it was as {first!r}")
            self.told[id] = text

    # ---- disks ----

    def disk_lost(self, disk: int) -> None:
        """A disk is destroyed."""
        self.lost_disks[disk] = None


def parse(id: str) -> Name:
    """A write's author and number from its id."""
    replica, _, number = id.rpartition("-")
    return replica, int(number)
