"""The replica manager: journals the order, lets its replica execute what is decided, and looks after it.

A number is decided when a majority of the managers has journaled it in the same epoch; then the
council takes it in at once, and the replica when it comes to it. What a manager lacks it fetches from
the others: runs, or, where those are not kept any more, it jumps to where they are and has its
replica copied (`copying`).
"""

from __future__ import annotations

from collections import deque

from holdfast.kernel.contracts import Peer
from holdfast.replication.sequencer.council import Council
from holdfast.replication.sequencer.entering import Entering, Offers
from holdfast.replication.sequencer.log import OrderLog, Placed, fresh_after
from holdfast.replication.sequencer.messages import (
    CONTROL,
    Admitted,
    Beat,
    Begin,
    Disk,
    Entered,
    Fetch,
    Journaled,
    Jump,
    Jumped,
    Missing,
    Order,
    Ordered,
    Promise,
    Promised,
    Recall,
    Refused,
    Rejoin,
    Results,
    Row,
    Run,
    Seize,
    Tail,
)
from holdfast.replication.sequencer.replica import Replica
from holdfast.replication.sequencer.shared import Shared
from holdfast.replication.sequencer.submitting import Submitter
from holdfast.replication.sequencer.tending import Tending

FETCHED_MAX = 2_000
"""Requests in one answer to a fetch."""
HELD_MAX = 1_000
"""Orders that came too early."""
OFFER_RESENDS = 8
"""How long another manager may take to send what a first one does not keep any more, in times that it is asked."""


class Manager:
    """`promised`: follow no sequencer before this epoch, nor in it one of another life than `promised_life`;
    `entered`: whose order the log holds. `acknowledged`: up to where each manager has journaled that order.
    `admitted`: this disk counts. `disks`: of managers that came back with a new one, (epoch, disk)."""

    def __init__(self, shared: Shared, submitter: Submitter, replica: Replica) -> None:
        configuration = shared.configuration
        self.shared = shared
        self.submitter = submitter
        self.replica = replica
        self.log = OrderLog()
        self.council = Council(configuration.managers, configuration.agreeing, shared.name)
        self.tending = Tending(shared, self, submitter, replica)
        self.copying = self.tending.copying
        self.manages = shared.me in configuration.managers
        self.others = tuple(manager for manager in configuration.managers if manager != shared.me)
        self.admitted = False
        self.disks: dict[int, tuple[int, str]] = {}
        self.promised = 0
        self.promised_life = 0
        self.entered = 0
        self.acknowledged: dict[int, int] = {}
        self.rows: list[Row] = []
        self._own: deque[tuple[int, int]] = deque()
        self._own_upto = 0
        self._is_news = False
        self._held: dict[int, tuple[Run, ...]] = {}
        self.entering: Entering | None = None
        self._offers = Offers()
        self._asked_us = 0
        self._appended_us = 0
        self._donor = 0
        self._told_us = 0

    # -- A new sequencer

    def on_seize(self, peer: Peer, message: Seize) -> None:
        """Promise to follow no earlier one, and show what is here. A disk that was lost has nothing to say."""
        shared, log = self.shared, self.log
        is_another = message.life != self.promised_life or message.epoch == self.entered
        if message.epoch < self.promised or (message.epoch == self.promised and is_another):
            shared.send(peer, Refused(self.promised, message.epoch))
            return
        if not self.admitted:
            return
        if message.epoch > self.promised:
            shared.heard_us = shared.now_us  # give it the time to begin; but not again each time that it asks
            self.promise(message.epoch, message.life)
            disks = tuple((node, message.epoch, disk) for node, disk in message.rejoined)
            self.learn(disks)
            shared.record(Promise(message.epoch, message.life, disks))
        streams = tuple((node, *stream) for node, stream in sorted(self.council.streams.items()))
        shared.promise(
            peer,
            Promised(
                message.epoch, message.life, self.entered, log.decided, streams, log.undecided, shared.disk,
                self.known_disks,
            ),
        )  # fmt: skip

    def promise(self, epoch: int, life: int) -> None:
        """Follow no earlier one: nor is taken in what it has said, and was held back."""
        if epoch > self.promised:
            self.promised, self.promised_life = epoch, life
            self._held.clear()

    def learn(self, disks: tuple[Disk, ...]) -> None:
        """These managers have come back with new disks."""
        for node, epoch, disk in disks:
            self.disks[node] = max((epoch, disk), self.disks.get(node, (0, "")))

    @property
    def known_disks(self) -> tuple[Disk, ...]:
        """All that was learnt, as it is sent."""
        return tuple((node, *self.disks[node]) for node in sorted(self.disks))

    def on_begin(self, peer: Peer, message: Begin) -> None:
        """The order of a new epoch, or the next stretch of it."""
        shared = self.shared
        if message.epoch < self.promised or not shared.hear(message.epoch):
            shared.send(peer, Refused(max(self.promised, shared.epoch), message.epoch))
            return
        if not self.admitted and (shared.me, shared.disk) not in message.rejoined:
            shared.send(peer, Rejoin(message.epoch, shared.disk))
        elif message.epoch == self.entered:
            if message.base > self.log.last:
                self._fetch(self.log.last + 1)
            self._append(message.base + 1, message.runs, message.base)
        else:
            if self.entering is None or self.entering.epoch != message.epoch:
                before, decided = self.entering, self.log.decided
                self.entering = Entering(message.epoch, message.inherited, message.base, decided, before)
            self.entering.base = max(self.entering.base, message.base)
            self.entering.take(message.base + 1, message.runs)
            self._enter_or_ask(self.entering)

    def _enter_or_ask(self, entering: Entering) -> None:
        """Enter the epoch when everything it inherited is here; else ask for what comes next: whoever
        has it of what is decided, and the sequencer of what follows."""
        if entering.is_whole:
            self._enter(entering)
        elif entering.last < entering.base:
            self._fetch(entering.last + 1)
        else:
            self._ask(Missing(entering.epoch, entering.last + 1))

    def _enter(self, entering: Entering) -> None:
        """At one stroke, for what gives way may have been counted on: its place is taken by an order that holds
        everything that can have been decided."""
        shared, log = self.shared, self.log
        self.entering = None
        if entering.epoch < self.promised:
            return
        jumped = entering.jumped
        is_behind = jumped is not None and jumped.decided > log.decided
        if jumped is not None and is_behind:
            shared.record(jumped)
            self.jump(jumped.decided, jumped.standing)
            shared.event(f"went on after number {jumped.decided}; the replica here is to be copied")
        if not self.admitted:
            self.admitted = True
            shared.record(Admitted())
            shared.event("this disk counts among the managers' again")
        self.promise(entering.epoch, 0)
        self.entered = entering.epoch
        log.cut()
        runs = fresh_after(entering.first, entering.runs, log.decided)
        assert runs is not None
        shared.record(Entered(entering.epoch, log.decided, runs))
        log.append(runs, shared.number)
        self.acknowledged = {}
        self._held.clear()
        self._own = deque(((shared.records_written, log.last),))
        self._own_upto = 0
        self._is_news = True
        if is_behind:
            self.tending.need_copy(self.replica.why_crashed)

    # -- The order

    def on_order(self, peer: Peer, message: Order) -> None:
        """The sequencer's multicast."""
        shared = self.shared
        if message.epoch < self.promised or not shared.hear(message.epoch):
            shared.send(peer, Refused(max(self.promised, shared.epoch), message.epoch))
        elif message.epoch == self.entered:
            self._append(message.first, message.runs, message.decided)
        elif self.entering is not None and self.entering.epoch == message.epoch:
            self.entering.take(message.first, message.runs)
            self._enter_or_ask(self.entering)
        else:
            self._ask(Missing(message.epoch, 0))

    def on_beat(self, message: Beat) -> None:
        """The sequencer tells what is decided; and that there is an epoch to enter."""
        if message.epoch == self.entered and message.epoch:
            self.decide(min(message.decided, self.log.last))
        elif self.manages and message.epoch > self.entered and self.entering is None:
            self._ask(Missing(message.epoch, 0))

    def _append(self, first: int, runs: tuple[Run, ...], decided: int) -> bool:
        """Runs of the entered epoch: in order, or held back until the gap before them is filled.
        Whether some are new."""
        shared, log = self.shared, self.log
        fresh = fresh_after(first, runs, log.last)
        if fresh is None:
            if len(self._held) < HELD_MAX and first > log.last:
                self._held[first] = runs
            if decided >= first:  # the sequencer does not keep what is missing before
                self._fetch(log.last + 1)
            self._ask(Missing(self.entered, log.last + 1))
        elif fresh:
            while (early := self._held.pop(log.last + sum(run.count for run in fresh) + 1, None)) is not None:
                fresh += early
            shared.record(Ordered(log.last + 1, fresh, log.decided))
            log.append(fresh, shared.number)
            if self._held:
                self._held = {begin: early for begin, early in self._held.items() if begin > log.last}
            self._own.append((shared.records_written, log.last))
            self._appended_us = shared.now_us
            self._is_news = True
        self.decide(min(decided, log.last))
        return bool(fresh)

    def _ask(self, message: Missing) -> None:
        """Tell the sequencer of a gap, not more often than it can be filled."""
        shared = self.shared
        if shared.sequencer is not None and shared.now_us - self._asked_us >= shared.configuration.resend_us // 4:
            self._asked_us = shared.now_us
            shared.send(shared.sequencer, message)

    def on_journaled(self, peer: Peer, message: Journaled) -> None:
        """Another manager holds the order up to there."""
        if message.epoch != self.entered or message.epoch == 0:
            return
        if (
            message.decided > self.log.last
            and self.shared.now_us - self._appended_us > self.shared.configuration.resend_us
        ):
            self._fetch(self.log.last + 1)
        if message.upto > self.acknowledged.get(peer, 0):
            self.acknowledged[peer] = message.upto
        self.decide(min(message.decided, self.log.last))
        self.consider_decided()

    def synced(self) -> None:
        """Records are on the disk: this manager's own word counts now."""
        synced = self.shared.records_synced
        while self._own and self._own[0][0] <= synced:
            self._own_upto = self._own.popleft()[1]
        self.tending.cast_votes()
        self.consider_decided()

    def consider_decided(self) -> None:
        """Count who has journaled what."""
        known = self.acknowledged
        uptos = [known.get(manager, 0) for manager in self.others]
        uptos.append(self._own_upto)
        uptos.sort(reverse=True)
        upto = uptos[self.shared.configuration.majority - 1]
        if upto > self.log.decided:
            self.decide(min(upto, self.log.last))

    def decide(self, upto: int) -> None:
        """These numbers will never change: the council and the replica get them."""
        if upto <= self.log.decided:
            return
        self._deliver(self.log.decide(upto))

    def _deliver(self, placed: list[Placed]) -> None:
        council, replica = self.council, self.replica
        every = self.shared.configuration.digest_every
        for first, run, _ in placed:
            if first <= council.position:
                continue  # read from the journal: the snapshot holds it
            before = council.position // every
            replica.queue(first, run)
            if run.kind == CONTROL:
                copies = dict(council.copies)
                council.take(first, run)
                self.tending.after_control(copies, run)
            else:
                council.take(first, run)
            if council.position // every > before:
                self.tending.vote(council.position)
        # What follows the last state on which enough agreed is kept, however much it is: see `Council.stable`.
        kept = self.shared.configuration.kept_numbers_max
        self.log.forget(max(kept, self.log.decided - council.stable))

    def restarted(self) -> None:
        """The journal was read: what it holds counts."""
        self._own_upto = self.log.last
        self.tending.restarted()

    # -- What is missing here

    def _fetch(self, first: int) -> None:
        """Ask the next of the others for what is decided and not here; who has said that it keeps nothing of it
        is passed over."""
        shared, others = self.shared, self.others
        if not others or shared.now_us - self._asked_us < shared.configuration.resend_us // 4:
            return
        self._asked_us = shared.now_us
        lacking = self._offers.made_by(first - 1)
        for _ in others:
            self._donor = (self._donor + 1) % len(others)
            if others[self._donor] not in lacking:
                break
        shared.send(others[self._donor], Fetch(first))

    def on_fetch(self, peer: Peer, message: Fetch) -> None:
        """Send what is decided; or say how to go on without. Who has gone on so itself leaves that to the others,
        who keep what is needed while too few replicas are beyond it."""
        shared, log = self.shared, self.log
        if message.first > log.decided or not self.admitted:
            return
        if message.first <= log.floor:
            if log.floor <= self.council.stable:
                shared.send(peer, Jump(self.entered, log.decided, self.council.standing()))
            return
        first, runs = log.after(message.first - 1, FETCHED_MAX, log.decided)
        shared.send(peer, Tail(self.entered, first, runs, log.decided))

    def on_tail(self, message: Tail) -> None:
        """Decided runs: on the way into an epoch, or to catch up with the others in this one. Who has entered a
        later epoch may hold as decided what differs from what is not decided here."""
        entering = self.entering
        if entering is not None:
            if message.epoch <= entering.epoch and entering.take(message.first, message.runs):
                entering.base = max(entering.base, message.decided)
                self._asked_us = 0
                self._enter_or_ask(entering)
        elif 0 < message.epoch <= self.entered and self._append(message.first, message.runs, message.decided):
            if self.log.last < message.decided:
                self._asked_us = 0
                self._fetch(self.log.last + 1)

    @property
    def _reached(self) -> int:
        """The last number that is here, on the way into an epoch or in it."""
        return self.log.last if self.entering is None else self.entering.last

    def on_jump(self, peer: Peer, message: Jump) -> None:
        """That one does not keep what this manager lacks. Perhaps another does: the jump is taken when nobody else
        has sent it for a while."""
        entering, reached = self.entering, self._reached
        Council(self.shared.configuration.managers, 0).adopt(message.standing)  # or it is dropped
        is_of_use = message.epoch <= entering.epoch if entering is not None else 0 < message.epoch <= self.entered
        if not is_of_use or message.decided <= reached:
            return
        if self._offers.note(reached, peer, message, self.shared.now_us):
            self._asked_us = 0
        self._consider_offers()

    def _consider_offers(self) -> None:
        """Take a jump, or ask those who have not offered one."""
        shared, offered = self.shared, self._offers.made_by(self._reached)
        if not offered:
            return
        resend_us = shared.configuration.resend_us
        is_over = shared.now_us - self._offers.since_us >= OFFER_RESENDS * resend_us
        if is_over or len(offered) == len(self.others):
            self._take_jump(self._offers.best())
        elif shared.now_us - self._asked_us >= resend_us:
            self._fetch(self._reached + 1)

    def _take_jump(self, message: Jump) -> None:
        """Nobody in reach keeps what this manager lacks: go on after it, with a copy of the state."""
        shared, entering = self.shared, self.entering
        if entering is not None:
            entering.jump(message.decided, message.standing)
            self._asked_us = 0
            self._enter_or_ask(entering)
            return
        shared.record(Jumped(message.decided, message.standing))
        self.jump(message.decided, message.standing)
        self._own.append((shared.records_written, message.decided))
        self._is_news = True
        shared.event(f"went on after number {message.decided}; the replica here is to be copied")
        self.tending.need_copy(self.replica.why_crashed)

    def jump(self, decided: int, standing: bytes) -> None:
        """Go on after that number; also from the journal."""
        self.log.jump(decided)
        self._held.clear()
        self._own.clear()
        self.council.adopt(standing)
        self.copying.abandon()
        self.replica.crash("its manager lacked a stretch of the order")
        self.replica.forget()

    # -- Results

    def on_recall(self, message: Recall) -> None:
        """A front end lacks results of ours."""
        self.rows += self.replica.recall(message.origin, message.incarnation, message.serial, message.upto)

    def execute(self) -> None:
        """Let the replica go on."""
        self.tending.execute(self.rows)

    # -- Time

    def flush(self) -> None:
        """At the end of an input: tell everybody what is journaled, and the sequencer the results."""
        shared = self.shared
        if self._is_news:
            self._is_news = False
            self._tell()
        if self.rows and shared.sequencer is not None:
            rows, self.rows = self.rows, []
            shared.send(shared.sequencer, Results(tuple(rows)))

    def _tell(self) -> None:
        shared = self.shared
        self._told_us = shared.now_us
        journaled = Journaled(self.entered, self.log.last, self.log.decided)
        for manager in self.others:
            shared.promise(manager, journaled)
        if shared.sequencer is not None and shared.sequencer not in self.others:
            shared.promise(shared.sequencer, journaled)

    @property
    def due_us(self) -> int | None:
        """When to say again what is journaled, or to fetch again, or to execute more."""
        times = []
        if self.entered:
            wait_us = self.shared.configuration.resend_us
            times.append(self._told_us + (wait_us if self.log.last > self.log.decided else 4 * wait_us))
        if self.entering is not None or self._offers.made_by(self._reached):
            times.append(self._asked_us + self.shared.configuration.resend_us)
        if (due_us := self.tending.due_us) is not None:
            times.append(due_us)
        return min(times, default=None)

    def tick(self) -> None:
        """Time has passed."""
        shared = self.shared
        resend_us = shared.configuration.resend_us
        if self.entered:
            wait_us = resend_us if self.log.last > self.log.decided else 4 * resend_us
            if shared.now_us - self._told_us >= wait_us:
                self._is_news = True
        if self.entering is not None and shared.now_us - self._asked_us >= resend_us:
            self._fetch(self.entering.last + 1)
        self._consider_offers()
        self.tending.tick()
