"""The front end: takes clients' requests, submits them, believes what enough replicas say alike, and
reports those that say something else or nothing (seed 003, "Front End").

Results are compared a run at a time, as bytes: equal states give equal bytes. Only where they differ
is each request looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from holdfast.kernel.contracts import Request, Token
from holdfast.kernel.placing import Placed
from holdfast.kernel.replies import Overloaded, Unavailable, Unknown
from holdfast.replication.sequencer.messages import QUERIES, REQUESTS, Forwarded, Recall, Row, Silent, Split, Wrong
from holdfast.replication.sequencer.shared import Shared
from holdfast.replication.sequencer.submitting import Submitter

TIMES_KEPT = 1_000
NUMBERS_A_REPORT_MAX = 256
RECALL_DOUBLINGS_MAX = 5
RECALL_RESENDS_MAX = 6
"""The longest wait between two recalls of a result, in times that anything is sent again."""
TICK_US = 20_000
LATE_KEPT = 2_000
LATE_BYTES_MAX = 8_000_000
"""Of so many runs and bytes of results what comes late is still compared."""


class Pending:
    """A run under way. `number`: its first, once known. `answers`: by manager. `agreed`: what is believed.
    `is_chased`: what was still missing then was asked for again."""

    __slots__ = ("agreed", "answers", "asked_us", "count", "is_chased", "number", "recalls", "serial", "since_us",
                 "tells_place", "tokens")  # fmt: skip

    def __init__(self, serial: int, tokens: list[Token], now_us: int) -> None:
        self.serial = serial
        self.tokens: list[Token] | None = tokens
        self.count = len(tokens)
        self.since_us = self.asked_us = now_us
        self.recalls = 0
        self.tells_place = False
        self.number = 0
        self.answers: dict[int, bytes] = {}
        self.agreed: bytes | None = None
        self.is_chased = False


class Tally:
    """What this front end has seen of one manager's replica. `is_off`: its last result was unlike the others'."""

    __slots__ = ("agreed", "differed", "is_off", "late")

    def __init__(self) -> None:
        self.is_off = False
        self.agreed = 0
        self.differed = 0
        self.late = 0


class FrontEnd:
    """`pending`: by serial, oldest first. `late`: those agreed on that somebody has not answered in time. `silent`:
    managers reported since they were last heard, and when."""

    def __init__(self, shared: Shared, submitter: Submitter) -> None:
        self.shared = shared
        self.submitter = submitter
        self.pending: dict[int, Pending] = {}
        self.late: dict[int, Pending] = {}
        self._late_bytes = 0
        self.waiting = 0
        self.tallies = {manager: Tally() for manager in shared.configuration.managers}
        self.silent: dict[int, int] = {}
        self._times_us: deque[int] = deque(maxlen=TIMES_KEPT)
        self._looked_us = 0
        self._split_us: int | None = None
        self._split_of: tuple[int, ...] = ()
        self.limit_us = shared.configuration.suspect_us
        self.serves = shared.me in shared.configuration.front_ends

    # -- Requests

    def take(self, requests: Sequence[tuple[Token, Request]], *, are_queries: bool, tells_place: bool = False) -> None:
        """Requests of clients: they become a run of the order. `tells_place`: see `kernel.placing`."""
        shared, configuration = self.shared, self.shared.configuration
        replies = shared.step.settled_replies
        if not self.serves:
            served = ", ".join(shared.name(node) for node in configuration.front_ends)
            elsewhere = Unavailable(f"{shared.name(shared.me)} is no front end; these are: {served}")
            replies += [(token, elsewhere) for token, _ in requests]
            return
        # What was given up at its deadline is in the stream all the same until it is decided.
        room = max(0, configuration.waiting_max - max(self.waiting, self.submitter.waiting))
        if len(requests) > room:
            overloaded = Overloaded(configuration.waiting_max)
            replies += [(token, overloaded) for token, _ in requests[room:]]
        most = configuration.batch_requests_max
        for begin in range(0, min(room, len(requests)), most):
            some = requests[begin : min(begin + most, room)]
            batch = shared.batches.encode([request for _, request in some])
            run = self.submitter.submit(QUERIES if are_queries else REQUESTS, len(some), batch)
            pending = Pending(run.serial, [token for token, _ in some], shared.now_us)
            pending.tells_place = tells_place
            self.pending[run.serial] = pending
            self.waiting += len(some)

    # -- Results

    def on_forwarded(self, message: Forwarded) -> None:
        """Results of one replica."""
        manager = message.manager
        if manager not in self.tallies:
            return
        for row in message.rows:
            pending = self.pending.get(row[2]) or self.late.get(row[2])
            if pending is not None and row[1] == self.shared.incarnation and manager not in pending.answers:
                self._answer(pending, manager, row)

    def _answer(self, pending: Pending, manager: int, row: Row) -> None:
        answers, data = pending.answers, row[4]
        answers[manager] = data
        pending.number = pending.number or row[3]
        self.silent.pop(manager, None)
        if pending.agreed is not None:
            self._compare(pending, manager)
        else:
            alike = [other for other in answers if answers[other] == data]
            if len(alike) >= self.shared.configuration.agreeing:
                self._agree(pending, row)
                for other in answers:
                    self._compare(pending, other)
        if len(answers) == len(self.tallies) and pending.agreed is not None:
            self._forget(pending.serial)

    def _keep_late(self, pending: Pending) -> None:
        """It is waited for no more; but what is both late and wrong must not go unseen."""
        assert pending.agreed is not None
        pending.answers = dict.fromkeys(pending.answers, b"")  # they were compared
        self.late[pending.serial] = pending
        self._late_bytes += len(pending.agreed)
        while self._late_bytes > LATE_BYTES_MAX or len(self.late) > LATE_KEPT:
            self._forget(next(iter(self.late)))

    def _forget(self, serial: int) -> None:
        if serial in self.pending:
            del self.pending[serial]
        elif (pending := self.late.pop(serial, None)) is not None and pending.agreed is not None:
            self._late_bytes -= len(pending.agreed)

    def _agree(self, pending: Pending, row: Row) -> None:
        """Enough say the same: believe it, and answer."""
        shared = self.shared
        pending.agreed, pending.number = row[4], row[3]
        self._split_of = ()
        self._times_us.append(shared.now_us - pending.since_us)
        self.submitter.open.pop(pending.serial, None)  # it is decided, or nobody had executed it
        replies = shared.batches.decode_replies(row[4], pending.count)
        if replies is None:
            shared.halt("defect", f"{shared.configuration.agreeing} replicas agree on results that mean nothing")
            return
        if pending.tokens is not None:
            if pending.tells_place:
                places = enumerate(replies, pending.number)
                replies = [Placed(*row[:3], number, reply) for number, reply in places]
            shared.step.settled_replies += zip(pending.tokens, replies, strict=True)
            self._answered(pending)

    def _answered(self, pending: Pending) -> None:
        pending.tokens = None
        self.waiting -= pending.count

    def _compare(self, pending: Pending, manager: int) -> None:
        """One replica's result against what is believed."""
        assert pending.agreed is not None
        found = pending.answers[manager]
        tally = self.tallies[manager]
        if found == pending.agreed:
            tally.agreed += pending.count
            tally.is_off = False
            return
        decode = self.shared.batches.decode_replies
        right, theirs = decode(pending.agreed, pending.count), decode(found, pending.count)
        assert right is not None
        numbers = [
            pending.number + place for place in range(pending.count) if theirs is None or theirs[place] != right[place]
        ] or [pending.number]
        if not tally.is_off:
            tally.is_off = True
            shared = self.shared
            shared.event(f"the replica of {shared.name(manager)} has answered number {numbers[0]} unlike the others")
        tally.differed += len(numbers)
        tally.agreed += pending.count - len(numbers)
        for begin in range(0, len(numbers), NUMBERS_A_REPORT_MAX):
            self.submitter.control(Wrong(manager, tuple(numbers[begin : begin + NUMBERS_A_REPORT_MAX])))

    # -- Time

    @property
    def due_us(self) -> int | None:
        """When to look again."""
        return self._looked_us + TICK_US if self.pending else None

    def tick(self) -> None:
        """Ask again for results that are missing, report who gives none, end what waits too long."""
        shared, configuration = self.shared, self.shared.configuration
        if self.due_us is None or shared.now_us < self.due_us:
            return
        self._looked_us = shared.now_us
        slowest_us = max(self._times_us, default=0)
        self.limit_us = min(max(configuration.suspect_us, 2 * slowest_us), configuration.suspect_us_max)
        for pending in list(self.pending.values()):
            age_us = shared.now_us - pending.since_us
            if age_us < configuration.resend_us:
                break
            if age_us >= self.limit_us and (pending.agreed is not None or pending.answers):
                self._suspect(pending)
            if pending.agreed is None and age_us >= self.limit_us:
                self._consider_split(pending)
            if pending.agreed is not None and age_us >= self.limit_us:
                self._keep_late(self.pending.pop(pending.serial))
                continue
            if pending.tokens is not None and age_us >= configuration.deadline_us:
                unknown = Unknown("the deadline passed before enough replicas had answered alike")
                shared.step.settled_replies += [(token, unknown) for token in pending.tokens]
                self._answered(pending)
            self._recall(pending, slowest_us)
            if pending.tokens is None and pending.agreed is None and age_us >= 2 * configuration.deadline_us:
                del self.pending[pending.serial]

    def _suspect(self, pending: Pending) -> None:
        """Some replicas have answered long ago; those that have not are reported, not all the time."""
        now_us = self.shared.now_us
        for manager, tally in self.tallies.items():
            reported_us = self.silent.get(manager)
            if manager in pending.answers or (reported_us is not None and now_us - reported_us < 2 * self.limit_us):
                continue
            self.silent[manager] = now_us
            tally.late += 1
            self.submitter.control(Silent(manager, pending.number))

    def _consider_split(self, pending: Pending) -> None:
        """Enough replicas have answered, and too few of them alike: that is reported, not all the time. No more may
        come, and then only an operator can tell who is right."""
        shared, now_us = self.shared, self.shared.now_us
        if len(pending.answers) < shared.configuration.agreeing:
            return
        if self._split_us is not None and now_us - self._split_us < 2 * self.limit_us:
            return
        self._split_us = now_us
        managers = tuple(sorted(pending.answers))
        if managers != self._split_of:
            self._split_of, names = managers, ", ".join(map(shared.name, managers))
            shared.event(f"the replicas of {names} have answered number {pending.number}, too few of them alike")
        self.submitter.control(Split(pending.number, managers))

    def _recall(self, pending: Pending, slowest_us: int) -> None:
        """Results may have been lost on the way: ask the managers for them."""
        shared = self.shared
        resend_us = shared.configuration.resend_us
        # Not as slow as the slowest: one late answer would put off the next repair, and that the one after it.
        wait_us = min(max(resend_us, slowest_us) << pending.recalls, RECALL_RESENDS_MAX * resend_us)
        if pending.agreed is not None:
            # Before somebody is reported as silent: the result may be lost only.
            if pending.is_chased or shared.now_us - pending.since_us < self.limit_us // 2:
                return
            pending.is_chased = True
        elif shared.now_us < pending.asked_us + wait_us:
            return
        pending.asked_us = shared.now_us
        pending.recalls = min(pending.recalls + 1, RECALL_DOUBLINGS_MAX)
        recall = Recall(shared.me, shared.incarnation, pending.serial, pending.serial)
        for manager in self.tallies:
            if manager not in pending.answers and (pending.agreed is None or manager not in self.silent):
                shared.send(manager, recall)

    def lost(self, why: str) -> None:
        """Nobody will answer what is under way: this life of the stream is over."""
        for pending in self.pending.values():
            if pending.tokens is not None:
                self.shared.step.settled_replies += [(token, Unknown(why)) for token in pending.tokens]
        self.pending.clear()
        self.late.clear()
        self._late_bytes = 0
        self.waiting = 0
