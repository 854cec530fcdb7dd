"""The state in slices: to cut the journal, and to begin a replica anew with the state of a right one.

Which number, and whose copy, the council says; what is copied counts only if its digest is the one on
which enough replicas agree as of that number. Stores are read copy-on-write, a bounded number of rows
at a time, so service never pauses. Only one snapshot is read at a time; a copy goes before the journal's.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from holdfast.kernel.contracts import Peer, SnapshotPart
from holdfast.kernel.errors import SnapshotError
from holdfast.kernel.snapshot import Restorer, SlicedSnapshot
from holdfast.kernel.store import TupleStore
from holdfast.replication.sequencer.council import NO_DONOR, Copy
from holdfast.replication.sequencer.messages import Checkpoint, FetchState, Restored, StatePart
from holdfast.replication.sequencer.recovery import head_of
from holdfast.replication.sequencer.replica import CRASHED, RIGHT
from holdfast.replication.sequencer.shared import Shared
from holdfast.replication.sequencer.submitting import Submitter

if TYPE_CHECKING:
    from holdfast.replication.sequencer.manager import Manager

SLICE_PAUSE_US = 4_000
"""Between two slices for the journal: service first."""
WINDOW = 4
"""Slices asked for at once."""
PARTS_KEPT = 64
PATIENCE_DOUBLINGS_MAX = 5
PATIENCE_US = 1_000_000
"""A donor that gives nothing for so long is given up, and so is a copy that nobody goes on with."""


class Donation:
    """A copy on its way to other managers' replicas."""

    def __init__(self, to: int, number: int) -> None:
        self.to = [to]
        self.number = number
        self.reader: SlicedSnapshot | None = None
        self.parts: dict[int, StatePart] = {}
        self.next = 0
        self.used_us = 0


class Taking:
    """A copy coming in. Its slices are the journal's next snapshot, once it is whole."""

    def __init__(self, copy: Copy, store: TupleStore, now_us: int) -> None:
        self.copy = copy
        self.store = store
        self.restorer = Restorer(store)
        self.next = 0
        self.early: dict[int, StatePart] = {}
        self.is_whole = False
        self.heard_us = self.asked_us = now_us


class Copying:
    """All that reads and writes whole states at one manager."""

    def __init__(self, shared: Shared, manager: Manager, submitter: Submitter) -> None:
        self.shared = shared
        self.manager = manager
        self.submitter = submitter
        self.donation: Donation | None = None
        self._attempts = 0
        self.taking: Taking | None = None
        self._reader: SlicedSnapshot | None = None
        self._id = 0
        self._index = 0
        self._upto = 0
        self._slice_us = 0
        self._written_bytes = 0
        self._restored_life = -1

    # -- The journal's own snapshot

    def consider(self) -> None:
        """Begin one when the journal has grown enough; read the next slice when it is due."""
        shared = self.shared
        if self._reader is not None:
            if shared.now_us >= self._slice_us:
                data = self._reader.take(shared.configuration.snapshot_rows_a_slice)
                self._emit(data or b"", last=data is None)
                if data is None:
                    self._reader = None
            return
        enough = max(shared.configuration.snapshot_journal_bytes, self._written_bytes // 2)
        is_free = self.donation is None and self.taking is None and self.manager.replica.state == RIGHT
        if shared.journal_bytes > enough and is_free and self.manager.admitted:
            self._begin_snapshot()

    def _begin_snapshot(self) -> None:
        """As of what the replica has executed; the council may be ahead of it, so it is read again from there."""
        shared, manager = self.shared, self.manager
        if manager.replica.position != manager.council.position:
            return  # a moment later
        self._reader = shared.machine.store.begin_snapshot()
        checkpoint = self._checkpoint(manager.replica.position)
        self._begin_parts(manager.log.record_before(checkpoint.floor, shared.number))
        self._written_bytes = shared.journal_bytes = 0
        self._emit(head_of(checkpoint), last=False)

    def _begin_parts(self, upto: int) -> None:
        self._id = max(self._id + 1, self.shared.number)
        self._index = 0
        self._upto = upto

    def _checkpoint(self, position: int) -> Checkpoint:
        shared, manager = self.shared, self.manager
        assert manager.council.position == position
        return Checkpoint(
            shared.disk,
            shared.machine.app.name,
            manager.admitted,
            shared.incarnation,
            manager.promised,
            manager.promised_life,
            manager.known_disks,
            manager.entered,
            min(position, max(manager.log.floor, manager.council.stable)),
            position,
            manager.council.standing(),
        )

    def _emit(self, data: bytes, *, last: bool) -> None:
        self.shared.step.snapshot.append(SnapshotPart(self._id, self._index, data, last, self._upto))
        self._index += 1
        self._written_bytes += len(data)
        self._slice_us = self.shared.now_us + SLICE_PAUSE_US

    def _stop_snapshot(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
            self.shared.journal_bytes += self.shared.configuration.snapshot_journal_bytes  # it is still to be cut

    # -- Giving

    def donate(self, to: int, number: int) -> None:
        """Another replica is to have our state as of that number; perhaps several."""
        if self.donation is not None and self.donation.number == number:
            self.donation.to.append(to)
            return
        self._end_donation()
        self.donation = donation = Donation(to, number)
        donation.used_us = self.shared.now_us
        self.manager.replica.at(number, partial(self._open, donation))

    def _open(self, donation: Donation) -> None:
        """The replica has come there."""
        if self.donation is donation:
            self._stop_snapshot()
            donation.used_us = self.shared.now_us
            donation.reader = self.shared.machine.store.begin_snapshot()

    def on_fetch_state(self, peer: Peer, message: FetchState) -> None:
        """The next slice, or one of the last once more."""
        donation = self.donation
        if donation is None or donation.number != message.number or donation.reader is None:
            return
        if peer not in donation.to:
            return
        if message.index >= donation.next + 2 * WINDOW:
            return
        donation.used_us = self.shared.now_us
        while donation.next <= message.index and not donation.reader.done:
            data = donation.reader.take(self.shared.configuration.copy_rows_a_slice) or b""
            donation.parts[donation.next] = StatePart(donation.number, donation.next, data, donation.reader.done)
            donation.parts.pop(donation.next - PARTS_KEPT, None)
            donation.next += 1
        part = donation.parts.get(message.index)
        if part is not None:
            self.shared.send(peer, part)

    def _end_donation(self) -> None:
        if self.donation is not None and self.donation.reader is not None:
            self.donation.reader.close()
        self.donation = None

    # -- Taking

    def begin(self, copy: Copy) -> None:
        """The replica here is begun anew."""
        shared, manager = self.shared, self.manager
        self.abandon()
        self.taking = Taking(copy, TupleStore(shared.machine.rows), shared.now_us)
        checkpoint = self._checkpoint(copy.number)
        self._begin_parts(manager.log.record_before(checkpoint.floor, shared.number))
        self._emit(head_of(checkpoint), last=False)
        if copy.donor != NO_DONOR:
            shared.event(f"takes the state as of {copy.number} from {shared.name(copy.donor)}")
            self._ask(0, WINDOW)

    def _ask(self, first: int, upto: int) -> None:
        taking = self.taking
        assert taking is not None
        taking.asked_us = self.shared.now_us
        for index in range(first, upto):
            self.shared.send(taking.copy.donor, FetchState(taking.copy.number, index))

    def on_part(self, peer: Peer, part: StatePart) -> None:
        """Put together, in order."""
        taking = self.taking
        if taking is None or (part.number, peer) != (taking.copy.number, taking.copy.donor) or taking.is_whole:
            return
        if not taking.next <= part.index < taking.next + 2 * WINDOW or part.index in taking.early:
            return
        taking.heard_us = self.shared.now_us
        taking.early[part.index] = part
        before = taking.next
        while (ready := taking.early.pop(taking.next, None)) is not None:
            taking.next += 1
            try:
                taking.restorer.feed(ready.data)
                if ready.last:
                    taking.restorer.finish()
                    taking.is_whole = True
            except SnapshotError as error:
                self._give_up(f"the copy of {self.shared.name(peer)} is damaged: {error}")
                return
            self._emit(ready.data, last=False)
        if taking.is_whole:
            self.compare()
        elif taking.next > before:
            self._ask(before + WINDOW, taking.next + WINDOW)

    def compare(self) -> None:
        """A copy is worth something only if enough replicas had that state; and nothing to one that lagged, and
        has come there itself meanwhile."""
        taking, manager = self.taking, self.manager
        if taking is None or manager.replica.state == CRASHED:
            return
        if manager.replica.state == RIGHT and manager.replica.position >= taking.copy.number:
            self.taking = None
            self.say_restored(taking.copy)
            return
        if not taking.is_whole:
            return
        agreed = manager.council.agreed(taking.copy.number)
        if agreed is None:
            return
        if taking.store.digest() != agreed:
            self._give_up(f"the state of {self.shared.name(taking.copy.donor)} is not what the others agree on")
            return
        self._install(taking)

    def _install(self, taking: Taking) -> None:
        shared, manager = self.shared, self.manager
        self._emit(b"", last=True)
        shared.journal_bytes = 0
        self.taking = None
        problem = shared.machine.replace_store(taking.store)
        if problem is not None:
            shared.halt("configuration", problem)
            return
        self._attempts = 0
        manager.replica.restored(taking.copy.number)
        self.say_restored(taking.copy)

    def say_restored(self, copy: Copy) -> None:
        """The replica here has the agreed state as of the copy's number."""
        me = self.shared.me
        self._restored_life = self.manager.council.lives[me]
        self.submitter.control(Restored(me, self._restored_life, copy.number))

    def is_on_its_way(self, life: int) -> bool:
        """Whether the copy for that life is being taken, or was taken and the others are being told."""
        return self.taking is not None or self._restored_life == life

    def _give_up(self, why: str) -> None:
        self.taking = None
        self.manager.tending.need_copy(why)

    # -- Time

    @property
    def patience_us(self) -> int:
        """Longer with every copy that came to nothing: who is to vote on it may lag behind its number."""
        return PATIENCE_US << min(self._attempts, PATIENCE_DOUBLINGS_MAX)

    def abandon(self) -> None:
        """What was being read or taken is void: the state here is another one now."""
        self._stop_snapshot()
        self._end_donation()
        self.taking = None

    @property
    def due_us(self) -> int | None:
        """When to go on."""
        if self.taking is not None:
            return min(
                self.taking.asked_us + self.shared.configuration.resend_us, self.taking.heard_us + self.patience_us
            )
        if self.donation is not None and self.donation.reader is not None:
            return self.donation.used_us + 2 * PATIENCE_US
        return self._slice_us if self._reader is not None else None

    def tick(self) -> None:
        """Time has passed."""
        shared, taking = self.shared, self.taking
        if taking is not None:
            self.compare()
            taking = self.taking
        if taking is not None and shared.now_us - taking.heard_us >= self.patience_us:
            taking.heard_us = shared.now_us
            self._attempts += 1
            self.manager.tending.need_copy("its copy does not come")
        elif taking is not None and shared.now_us - taking.asked_us >= shared.configuration.resend_us:
            taking.asked_us = shared.now_us
            if not taking.is_whole and taking.copy.donor != NO_DONOR:
                self._ask(taking.next, taking.next + WINDOW)
        donation = self.donation
        if donation is not None and donation.reader and shared.now_us - donation.used_us >= 2 * PATIENCE_US:
            self._end_donation()
        self.consider()
