"""The replica below a manager: the machine that executes the order, and how it may fail.

The manager hands it what is decided; it executes a bounded number of requests in one go, so that
neither a long backlog nor a slow replica stops anything else. It may answer wrongly, be in a wrong
state, be slow or crash: that is what the vote is for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Union

import msgspec

from holdfast.kernel import notices
from holdfast.kernel.contracts import Reply, Request
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.machine import KERNEL_REPLIES, Machine
from holdfast.kernel.notices import Notice
from holdfast.kernel.replies import Malformed
from holdfast.replication.sequencer.messages import ADVANCE, CONTROL, QUERIES, REQUESTS, Row, Run

RIGHT, COPYING, CRASHED = "right", "copying", "crashed"
GARBAGE = b"\xc1\xc1\xc1"
"""No MessagePack begins so."""
PLANTED = "a planted fault"
RESULTS_KEPT = 4_000
"""Runs whose results can be told again."""
RECALLED_MAX = 1_000
"""Serials in one recall."""


class Batches:
    """How runs are written: commands and questions of one app alike. `decode(batch)` raises `MalformedInput`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        app = machine.app
        queries: Any = Union[(*app.queries, *notices.QUERIES)]
        question = msgspec.defstruct("Question", [("command", queries)], bases=(Request,), frozen=True, gc=False)
        self._decode_queries = msgspec.msgpack.Decoder(list[question]).decode  # type: ignore[valid-type]
        answers: Any = Union[(*app.replies, *notices.ANSWERS, *KERNEL_REPLIES)]
        self._decode_replies = msgspec.msgpack.Decoder(list[answers]).decode
        self._encode = msgspec.msgpack.Encoder().encode

    def encode(self, requests: Sequence[Request]) -> bytes:
        """As they are sent and journaled; what the node that was asked keeps to itself is left out."""
        return self._encode([_bare(request) for request in requests])

    def decode(self, run: Run) -> list[Any]:
        """The requests of a run. Raises `MalformedInput`."""
        if run.kind in (REQUESTS, ADVANCE):
            requests: list[Any] = self.machine.decode(run.batch)
        else:
            try:
                requests = self._decode_queries(run.batch)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise MalformedInput(f"questions for {self.machine.app.name} do not decode: {error}") from error
        if len(requests) != run.count:
            raise MalformedInput(f"a run of {run.count} requests holds {len(requests)}")
        return requests

    def encode_replies(self, replies: Sequence[Reply]) -> bytes:
        """A run's results."""
        return self._encode(replies)

    def decode_replies(self, data: bytes, count: int) -> list[Reply] | None:
        """The inverse; None for what makes no sense, as a broken replica's may not."""
        try:
            replies: list[Reply] = self._decode_replies(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return replies if len(replies) == count else None


def _bare(request: Request) -> Request:
    return request if request.reading is None else msgspec.structs.replace(request, reading=None)


Mark = Callable[[], None]


class Replica:
    """`position`: the last number executed. `state`: RIGHT, COPYING or CRASHED. `fault`: what was planted.

    `results`: by (origin, serial), the newest ones, for whoever lost theirs; of all numbers after
    `results_after`. `allowance`: what may wait beside the backlog allowed, for it came with a copy.
    """

    def __init__(self, machine: Machine, batches: Batches, slow_us: int) -> None:
        self.machine = machine
        self.batches = batches
        self.slow_us = slow_us
        self.position = 0
        self.state = RIGHT
        self.fault = "none"
        self.why_crashed = ""
        self.results: dict[tuple[int, int, int], Row] = {}
        self.results_after = 0
        self.allowance = 0
        self.due_us: int | None = None
        self._may_return = False
        self._queue: deque[tuple[int, Run]] = deque()
        self._marks: deque[tuple[int, Mark]] = deque()

    # -- What is to be executed

    @property
    def backlog(self) -> int:
        """Numbers that wait."""
        if not self._queue:
            return 0
        last, run = self._queue[-1]
        return last + run.count - self._queue[0][0]

    @property
    def lag(self) -> int:
        """Numbers that wait although there was time for them."""
        backlog = self.backlog
        self.allowance = min(self.allowance, backlog)
        return backlog - self.allowance

    def is_mute(self, number: int) -> bool:
        """Whether it has gone past that client's request, and has no result of it."""
        if self.state != RIGHT or not self.results_after < number <= self.position:
            return False
        return all(row[3] != number for row in self.results.values())

    def queue(self, first: int, run: Run) -> None:
        """The next run of the order."""
        self._queue.append((first, run))

    def at(self, number: int, mark: Mark) -> None:
        """Do this when exactly everything up to `number` is executed (never, if the replica is begun anew before)."""
        self._marks.append((number, mark))

    def begin_copy(self, *, may_return: bool = False) -> None:
        """Whatever it was, it is dropped; what is decided meanwhile waits. `may_return`: unless it is taken back."""
        self._may_return = may_return and (self.state == RIGHT or self._may_return)
        self.state = COPYING
        self.fault = "none"
        self._marks.clear()
        self.results.clear()

    def go_on(self) -> bool:
        """No copy comes: it has what it had, and all that was decided since; if it still has that."""
        if self.state == COPYING and self._may_return:
            self.state = RIGHT
            self.results_after = self.position
            self.allowance = self.backlog
        return self.state == RIGHT

    def crash(self, why: str) -> None:
        """It is gone."""
        self._may_return = False
        self.state = CRASHED
        self.why_crashed = why
        self._marks.clear()
        self.results.clear()

    def forget(self) -> None:
        """What waits leads to no state any more: the order goes on elsewhere."""
        self._queue.clear()

    def shed(self, numbers_max: int) -> bool:
        """Of a replica that is gone, keep no endless backlog: a later copy will do. Whether it came to that."""
        if self.backlog <= numbers_max:
            return False
        self._queue.clear()
        self.crash(f"more than {numbers_max} numbers were decided without it")
        return True

    def restored(self, number: int) -> None:
        """The machine has the state as of that number."""
        self.state = RIGHT
        self.position = self.results_after = number
        while self._queue and self._queue[0][0] <= number:
            self._queue.popleft()
        self.allowance = self.backlog

    # -- Executing

    def execute(self, now_us: int, requests_max: int) -> list[Row]:
        """Execute what waits, at most about so many requests; the results for the front ends. `due_us`: when to
        go on, if something waits that may be executed."""
        rows: list[Row] = []
        if self.state != RIGHT:
            self.due_us = None
            return rows
        if self.fault == "slow" and self._queue:
            if self.due_us is None:
                self.due_us = now_us + self._slow_us()
            if now_us < self.due_us:
                return rows
        left = 1 if self.fault == "slow" else requests_max
        self._reach()
        while self._queue and left > 0 and self.state == RIGHT:
            first, run = self._queue.popleft()
            if run.kind != CONTROL:
                left -= run.count
                self._execute(first, run, rows)
            self.position = first + run.count - 1
            self._reach()
        self.due_us = None
        if self._queue and self.state == RIGHT:
            self.due_us = now_us + (self._slow_us() if self.fault == "slow" else 0)
        return rows

    def _slow_us(self) -> int:
        """How long a slow replica takes for the next run: so long for each request in it."""
        run = self._queue[0][1]
        return 0 if run.kind == CONTROL else self.slow_us * run.count

    def _reach(self) -> None:
        while self._marks and self._marks[0][0] <= self.position:
            number, mark = self._marks.popleft()
            if number == self.position and self.state == RIGHT:
                mark()

    def _execute(self, first: int, run: Run, rows: list[Row]) -> None:
        try:
            replies = self._replies(first, run)
        except MalformedInput as error:  # the same at every replica of this version
            replies = [Malformed(str(error))] * run.count
        except Exception as error:  # the app's own fault: its manager goes on, and says so
            self.crash(f"number {first} raised {type(error).__name__}: {error}")
            return
        data = self.batches.encode_replies(replies)
        if self.fault != "none":
            data = self._spoiled(data, run)
        if run.kind == ADVANCE or self.fault == "silent":
            return
        row = (run.origin, run.incarnation, run.serial, first, data)
        rows.append(row)
        self.results[run.origin, run.incarnation, run.serial] = row
        if len(self.results) > RESULTS_KEPT:
            self.results_after = self.results.pop(next(iter(self.results)))[3]

    def _replies(self, first: int, run: Run) -> list[Reply]:
        requests = self.batches.decode(run)
        if run.kind == QUERIES:
            return [self.machine.answer(request) for request in requests]
        replies = self.machine.execute(requests, (first, 0))
        self.machine.take_told()  # one replica alone is not to be believed, so nothing is told
        return replies

    def _spoiled(self, data: bytes, run: Run) -> bytes:
        """What a wrong replica gives instead."""
        if self.fault == "wrong":
            return self.batches.encode_replies([Malformed(PLANTED)] * run.count)
        if self.fault == "garbage":
            return GARBAGE
        if self.fault == "state":
            self.machine.store.table(Notice).put(Notice(-1 - self.position, PLANTED, PLANTED))
        return data

    def recall(self, origin: int, incarnation: int, serial: int, upto: int) -> list[Row]:
        """The results of that stream's runs that begin from `serial` to `upto`, as far as they are kept."""
        serials = range(serial, min(upto + 1, serial + RECALLED_MAX))
        found = (self.results.get((origin, incarnation, number)) for number in serials)
        return [row for row in found if row is not None]
