"""The whole state for a peer that is below our log: what it lacks has been truncated here.

The giver freezes the state once and keeps it while somebody fetches it, piece by piece; the taker puts
it in the place of its own committed prefix and keeps its own tentative writes. (Petersen et al. 1997,
section 4.2.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from holdfast.kernel.contracts import Peer
from holdfast.kernel.errors import MalformedInput, SnapshotError
from holdfast.kernel.replies import Unknown
from holdfast.kernel.store import TupleStore
from holdfast.replication.bayou.configuration import STATE_PART_BYTES
from holdfast.replication.bayou.log import Entry, entry_of, id_of, name_of
from holdfast.replication.bayou.messages import CREATION, Checkpoint, StateNext, StatePart, Write, decode_creation
from holdfast.replication.bayou.replica import JOINING, Replica
from holdfast.replication.bayou.snapshots import Snapshots, checkpoint_of, head_of, restore, split_head

KEPT_US = 30_000_000
"""A state that nobody fetches any more is dropped after so long."""


class Given:
    """A state as of one commit, cut into pieces."""

    __slots__ = ("csn", "epoch", "parts", "used_us")

    def __init__(self, csn: int, epoch: int, data: bytes, now_us: int, part_bytes: int) -> None:
        self.csn = csn
        self.epoch = epoch
        self.parts = [data[at : at + part_bytes] for at in range(0, len(data), part_bytes)]
        self.used_us = now_us

    def part(self, index: int) -> StatePart:
        """One piece."""
        return StatePart(self.csn, self.epoch, index, index == len(self.parts) - 1, self.parts[index])


class Transfer:
    """Gives states, and takes them. `learn(epoch, primary)`: see `Epochs.learn`; `undo`: see `Losses`."""

    def __init__(
        self,
        replica: Replica,
        snapshots: Snapshots,
        learn: Callable[[int, Peer], None],
        undo: Callable[[Sequence[Entry]], None],
    ) -> None:
        self.replica = replica
        self.snapshots = snapshots
        self._learn = learn
        self._undo = undo
        self._given: Given | None = None
        self._taking: tuple[int, int, int] = (0, 0, 0)  # peer, csn, epoch of the state that comes in
        self._parts: list[bytes] = []
        self._taken_us = 0

    # -- Giving

    def offer(self, peer: Peer) -> None:
        """The first piece; the peer asks for the others. Who has yet to learn who takes part has nothing to give."""
        if self.replica.log.members:
            self.replica.send(peer, self.given().part(0))

    def given(self) -> Given:
        """The state to give: the one that is being fetched, or that of now."""
        replica = self.replica
        log = replica.log
        given = self._given
        if given is not None and given.csn >= log.omitted and given.epoch == log.epoch_at(given.csn):
            given.used_us = replica.now_us
            return given
        self._given = self.freeze(STATE_PART_BYTES)
        return self._given

    def freeze(self, part_bytes: int) -> Given:
        """The state as of now."""
        replica = self.replica
        log = replica.log
        head = head_of(checkpoint_of(replica, 0))
        with replica.views.committed():
            data = head + replica.machine.store.snapshot()
        return Given(log.csn, log.epoch_at(log.csn), data, replica.now_us, part_bytes)

    def on_next(self, peer: Peer, message: StateNext) -> None:
        """A peer wants the next piece; of a state that is not kept any more, it gets a later one's first."""
        given = self._given
        if given is None or (given.csn, given.epoch) != (message.csn, message.epoch):
            self.offer(peer)
        elif 0 <= message.index < len(given.parts):
            given.used_us = self.replica.now_us
            self.replica.send(peer, given.part(message.index))

    def tick(self) -> None:
        """Drop what nobody wants."""
        if self._given is not None and self.replica.now_us - self._given.used_us > KEPT_US:
            self._given = None

    # -- Taking

    def on_part(self, peer: Peer, part: StatePart) -> bool:
        """A piece has come. True when the state was complete and is in its place."""
        if not self.wants(part.csn, part.epoch):
            return False
        is_quiet = self.replica.now_us - self._taken_us >= self.replica.configuration.patience_us
        if part.index == 0 and (is_quiet or self.taking_from is None):
            self._taking, self._parts = (peer, part.csn, part.epoch), []
        if self._taking != (peer, part.csn, part.epoch) or part.index != len(self._parts):
            return False
        self._parts.append(part.data)
        self._taken_us = self.replica.now_us
        if not part.last:
            self.replica.send(peer, StateNext(part.csn, part.epoch, len(self._parts)))
            return False
        data, self._parts = b"".join(self._parts), []
        self.install(data)
        return True

    @property
    def taking_from(self) -> Peer | None:
        """From whom a state is being fetched."""
        return self._taking[0] if self._parts else None

    def wants(self, csn: int, epoch: int) -> bool:
        """Whether a state is ahead of this replica: its last commit was made in a later epoch, or it has more of the
        same. A new disk, which knows of no replica yet, wants any, also one before the first commit."""
        log = self.replica.log
        return not log.members or (epoch, csn) > (log.epoch_at(log.csn), log.csn)

    def install(self, data: bytes) -> None:
        """Put a peer's committed state in the place of ours; our own tentative writes stay. Raises
        `MalformedInput` for what is no state of this app."""
        replica = self.replica
        checkpoint, content = split_head(data)
        if checkpoint.identity.app != replica.machine.app.name:
            raise MalformedInput(f"a state of the app {checkpoint.identity.app!r} for {replica.machine.app.name!r}")
        try:
            store = TupleStore.restore(replica.machine.rows, content)
        except SnapshotError as error:
            raise MalformedInput(f"a peer's state cannot be restored: {error}") from error
        csn_before = replica.log.csn
        mine = self._beyond(checkpoint)
        replica.views.roll_back(0)
        wrong = restore(replica, _bare(checkpoint), store)
        if wrong is not None:
            replica.halt("configuration", wrong)
            return
        self._put_back(mine)
        self._keep_held()
        self._keep_proposals(checkpoint.csn - csn_before)
        self._learn(checkpoint.epoch, checkpoint.primary)
        self._answer_waiting()
        self.snapshots.write_whole()
        replica.event(f"took over the state as of commit {checkpoint.csn} from a peer, and kept {len(mine)} writes")

    def _beyond(self, checkpoint: Checkpoint) -> list[Entry]:
        """Our writes that are not in the state: tentative ones, and commits that its history does not have."""
        log = self.replica.log
        theirs = dict(checkpoint.committed_vector)
        lost = [entry_of(write) for write in log.committed if write.number > theirs.get(write.replica, 0)]
        if lost:
            self._undo(lost)
            self.replica.event(
                "these were confirmed under a primary whose loss was accepted, and may come out otherwise now: "
                + ", ".join(id_of(entry.write) for entry in lost)
            )
        tail = (entry for entry in log.tail if entry.write.number > theirs.get(entry.write.replica, 0))
        return self._that_follow([*lost, *tail], checkpoint)

    def _that_follow(self, entries: list[Entry], checkpoint: Checkpoint) -> list[Entry]:
        """Those that follow the state: their authors are known by then, and none of their writes is missing. What
        came before the others was confirmed under the lost primary, and truncated here. They are made anew."""
        replica = self.replica
        last = dict(checkpoint.committed_vector)
        created = {row.replica: None for row in checkpoint.members}
        kept: list[Entry] = []
        behind: list[Write] = []
        for entry in entries:  # each behind all that its author had seen
            write = entry.write
            if write.replica not in created or write.number != last.get(write.replica, 0) + 1:
                behind.append(write)
                continue
            last[write.replica] = write.number
            kept.append(entry)
            if write.kind == CREATION:
                created[decode_creation(write.body).replica] = None
        creator, number = replica.created_by
        is_created = replica.replica in created and (not creator or last.get(creator, 0) >= number)
        is_whole = replica.log.vector.get(replica.replica, 0) <= last.get(replica.replica, 0)
        self._make_anew(behind, is_ours_lost=replica.state != JOINING and not (is_created and is_whole))
        return kept

    def _make_anew(self, behind: list[Write], *, is_ours_lost: bool) -> None:
        """Our own writes under a new id; and others', whose disks may be gone, as ours: of many copies of a
        request one is executed. (Not where it has no number, for then each would be.)"""
        replica = self.replica
        others = [write for write in behind if write.replica != replica.replica]
        if is_ours_lost:
            replica.event(f"writes of {replica.replica} were lost with the accepted loss; this disk takes a new id")
            own = [write for write in behind if write.replica == replica.replica]
            replica.give_up_id(own, is_copy=False)
        for write in others:
            request = replica.views.request_of(write)
            if request is not None and request.client:
                replica.anew.append(write)
            elif request is not None:
                replica.event(f"{id_of(write)} was lost with the accepted loss, unless its author makes it anew")

    def _keep_held(self) -> None:
        """What waits in quarantine, if it follows the state: it may have come by a file that nobody brings again."""
        replica = self.replica
        log, held = replica.log, replica.held
        replica.held = {}
        for name, writes in held.items():
            number = max(log.vector.get(name, 0), log.committed_vector.get(name, 0))
            left = [write for write in writes if write.number > number]
            follows = bool(left) and left[0].number == number + 1 and left[0].ms > log.last_ms.get(name, 0)
            if follows and name in log.members:
                replica.held[name] = left

    def _keep_proposals(self, skipped: int) -> None:
        """What this voter has stored behind the state, if the state holds what was before it."""
        replica = self.replica
        before = replica.proposed[: max(0, skipped)]
        if skipped >= 0 and all(replica.log.is_committed(name_of(write)) for _, write in before):
            del replica.proposed[:skipped], replica.ballots[:skipped]
        else:
            replica.proposed, replica.ballots = [], []

    def _answer_waiting(self) -> None:
        """Writes whose users still wait, and which the state holds already: their outcome is a matter of asking."""
        replica = self.replica
        for name in [name for name in replica.waiting if replica.log.is_committed(name)]:
            token, _ = replica.waiting.pop(name)
            replica.reply(token, Unknown(f"{name[0]}-{name[1]} is committed; ask what came of it"))

    def _put_back(self, entries: list[Entry]) -> None:
        """Entries of the old log that stay tentative, in stamp order."""
        replica = self.replica
        if not entries:
            return
        writes = sorted((entry.write for entry in entries), key=lambda w: (w.ms, w.first_name, w.replica))
        replies = {(entry.write.replica, entry.write.number): entry.reply for entry in entries}
        replica.log.insert(writes, 0)
        for entry in replica.log.tail:
            entry.reply = replies.get((entry.write.replica, entry.write.number), entry.reply)


def _bare(checkpoint: Checkpoint) -> Checkpoint:
    """Only what belongs to the committed state: a peer's own tail comes by anti-entropy."""
    return msgspec.structs.replace(checkpoint, kept=(), tail=())
