"""How a manager looks after its replica: it votes on its state, asks for a copy where it has none, and
does what the managers have agreed on about it (`council`).
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from holdfast.replication.sequencer.copying import Copying
from holdfast.replication.sequencer.council import Copy
from holdfast.replication.sequencer.messages import DigestAt, NeedCopy, Ordered, Row, Run
from holdfast.replication.sequencer.replica import COPYING, CRASHED, RIGHT, Replica
from holdfast.replication.sequencer.shared import STARTING, Shared
from holdfast.replication.sequencer.submitting import Submitter
from holdfast.replication.sequencer.trusting import Trusting

if TYPE_CHECKING:
    from holdfast.replication.sequencer.manager import Manager

COPYING_BACKLOGS = 8
"""So many times the backlog allowed may wait for a copy: while it is on its way, nothing is executed."""
NEED_AGAIN_US = 1_000_000


class Tending:
    """`recovered_copy`: that with which the snapshot began that this process has read."""

    def __init__(self, shared: Shared, manager: Manager, submitter: Submitter, replica: Replica) -> None:
        self.shared = shared
        self.manager = manager
        self.council = manager.council
        self.submitter = submitter
        self.replica = replica
        self.copying = Copying(shared, manager, submitter)
        self.trusting = Trusting(shared, manager.council, submitter)
        self.recovered_copy: Copy | None = None
        self._votes: deque[tuple[int, DigestAt]] = deque()
        self._needs: tuple[int, int] | None = None
        self._needed_us = 0
        self._seen_us = 0
        self._need_serial = 0
        self._cleared = -1

    # -- What the managers agree on

    def after_control(self, before: dict[int, Copy], run: Run) -> None:
        """Somebody is to be copied, or was."""
        shared, council = self.shared, self.council
        texts = list(council.events)
        council.events.clear()
        if shared.state == STARTING:
            return  # from the journal, and told when it happened: see `restarted`
        for text in texts:
            shared.event(text)
        self.trusting.on_taken(run)
        if shared.me in before and shared.me not in council.copies:
            self._is_not_copied()
        for manager, copy in council.copies.items():
            if before.get(manager) == copy:
                continue
            if manager == shared.me:
                if copy.keeps and self.replica.state == RIGHT:
                    self.vote(copy.number)  # it may come there before its copy does, and the others may differ
                else:
                    self.replica.begin_copy(may_return=self._may_return)
                self.copying.begin(copy)
            elif council.has_state(shared.me):
                self.vote(copy.number)
                if copy.donor == shared.me:
                    self.copying.donate(manager, copy.number)
        if shared.me in council.suspected:
            self._examine(council.suspected[shared.me])
        else:
            self._cleared = -1  # who is suspected again, for the same number even, has to say so again

    @property
    def _may_return(self) -> bool:
        """Whether the replica here is begun anew at an operator's word only, which may be taken back."""
        word, me = self.council.word, self.shared.me
        return word is not None and not word.until and me in word.kept

    def _is_not_copied(self) -> None:
        """The order says so. Its copy has come; or it is right as it is, by an operator's word, or its end; or it was
        restored on a disk that is gone."""
        if self.copying.taking is not None:
            self.copying.abandon()
        self.replica.go_on()

    def _examine(self, number: int) -> None:
        """A front end has had no result of ours for that number, or others: is the replica still there? If so, its
        vote tells everybody."""
        if self.replica.is_mute(number):
            self.replica.crash(f"it has passed number {number} and gives no result")
        if self.replica.state == CRASHED:
            self.need_copy(self.replica.why_crashed)
        elif self.replica.state == RIGHT and self._cleared != number and not self._votes:
            self._cleared = number
            self.vote(self.council.position)

    def restarted(self) -> None:
        """The journal was read, and what it holds is executed. A copy that had not come in whole is to be taken
        anew, for nobody has waited; one that had is as good as before."""
        shared, replica = self.shared, self.replica
        self._seen_us = shared.now_us
        replica.execute(shared.now_us, max(1, replica.backlog))
        copy = self.council.copies.get(shared.me)
        if replica.state == CRASHED:
            self.need_copy(replica.why_crashed)
        elif copy is not None and (copy.keeps or copy == self.recovered_copy):
            self.copying.say_restored(copy)
        elif copy is not None:
            replica.begin_copy(may_return=self._may_return)
            self.need_copy("its manager was restarted")
        elif shared.me in self.council.suspected:
            self._examine(self.council.suspected[shared.me])

    # -- Votes

    def vote(self, number: int) -> None:
        """Say what the state is as of that number, once the replica has come there."""
        self.replica.at(number, partial(self._vote, self.council.lives[self.shared.me], number))

    def _vote(self, life: int, number: int) -> None:
        """A restart must come to that state again: the vote waits until the journal tells that all up to there
        is decided."""
        shared, log = self.shared, self.manager.log
        shared.record(Ordered(log.last + 1, (), log.decided))
        self._votes.append((shared.records_written, DigestAt(shared.me, life, number, shared.machine.digest())))

    def cast_votes(self) -> None:
        """Those whose time has come."""
        while self._votes and self._votes[0][0] <= self.shared.records_synced:
            self.submitter.control(self._votes.popleft()[1])

    # -- What it needs

    def need_copy(self, why: str) -> None:
        """Ask for the state, once in each life of the replica, and again only after a while. Who has one, only
        too far behind, keeps it until the copy has come."""
        me, now_us = self.shared.me, self.shared.now_us
        life = self.council.lives[me]
        copy = self.council.copies.get(me)
        about = (life, copy.number if copy is not None else 0)
        is_due = self._needs != about or now_us - self._needed_us >= NEED_AGAIN_US
        if is_due and not self._is_asked:
            self._needs, self._needed_us = about, now_us
            need = NeedCopy(me, life, why, self.replica.state != RIGHT)
            self._need_serial = self.submitter.control(need).serial

    @property
    def _is_asked(self) -> bool:
        """What was asked for is not decided yet: once is enough."""
        return self._need_serial in self.submitter.open

    @property
    def _is_there(self) -> bool:
        """Whether the replica has a state, or one is on its way. Whatever made it stop may not have been seen here."""
        me, copying = self.shared.me, self.copying
        if self.replica.state != RIGHT:
            return self.replica.state == COPYING and copying.taking is not None
        return me not in self.council.copies or copying.is_on_its_way(self.council.lives[me])

    @property
    def _look_us(self) -> int:
        """When to do something about a replica that is not there: it may only have been asked for just now."""
        return max(self._seen_us + self.shared.configuration.suspect_us, self._needed_us + NEED_AGAIN_US)

    def _look(self) -> None:
        """Look at the replica, also where nobody asks for anything and no front end misses a result."""
        shared = self.shared
        if self._is_there or self._is_asked:
            self._seen_us = shared.now_us
        elif shared.now_us >= self._look_us:
            self.need_copy(self.replica.why_crashed if self.replica.state == CRASHED else "its copy does not come")

    def execute(self, rows: list[Row]) -> None:
        """Let the replica go on; its results are put to these. See to it if it has crashed or lags."""
        shared, replica = self.shared, self.replica
        was = replica.state
        rows += replica.execute(shared.now_us, shared.configuration.execute_max)
        if replica.state == CRASHED and was != CRASHED:
            shared.event(f"the replica here has crashed: {replica.why_crashed}")
            self.need_copy(replica.why_crashed)
        most = shared.configuration.backlog_max
        if replica.state != RIGHT:
            if replica.shed(COPYING_BACKLOGS * most):
                self.copying.abandon()
                self.need_copy(replica.why_crashed)
        elif replica.lag > most and shared.me not in self.council.copies:
            self.need_copy(f"it lags {replica.lag} numbers behind")

    # -- Time

    @property
    def due_us(self) -> int | None:
        """When to go on."""
        times = [due_us for due_us in (self.replica.due_us, self.copying.due_us) if due_us is not None]
        if (due_us := self.trusting.due_us) is not None:
            times.append(due_us)
        if not (self._is_there or self._is_asked):
            times.append(self._look_us)
        return min(times, default=None)

    def tick(self) -> None:
        """Time has passed."""
        self._look()
        self.trusting.tick()
        self.copying.tick()
