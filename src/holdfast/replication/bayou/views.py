"""The tuple store at the end of the log, and as of its committed prefix.

The life of a write here: it is executed when it is accepted from its user, at the end of the log. A
write from a peer goes to its place: everything behind that is rolled back by the undo log, and rolled
forward again later, when somebody asks or the replica is idle (`roll_forward`), so that ten peers who
bring their writes one after the other cost one execution, not ten. A commit that finds its write at
the head of the tail, executed under the same conditions, executes nothing: the boundary moves. So a
write is executed at most twice on the usual path: once as the newest of its own author, once where it
ends up.

A dependency check that came out otherwise this time gives another outcome: that is what users see as
a meeting that moves while it is tentative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from holdfast.kernel.contracts import Change, Reply, Request
from holdfast.kernel.errors import BrokenInvariant, MalformedInput
from holdfast.kernel.machine import Machine
from holdfast.kernel.replies import Malformed
from holdfast.replication.bayou.log import Entry, Stamp, WriteLog
from holdfast.replication.bayou.messages import APP, Name, Write
from holdfast.replication.bayou.words import Done

MEMBERSHIP = Done("The replicas have changed.")


class Views:
    """Executes the log. The first `executed` entries of the tail are in the store.

    `executions`: how many times a write was executed since the start; `insertions`: how many times
    some came into the log. `told`: what its users are to be told, once of each write (see `Context.tell`);
    the replica takes it away. `on_outcome(entry, reply, before)`: a write was executed in the tail,
    `before` is its last outcome or None. `firm_by`: see `Context`.
    """

    def __init__(
        self,
        machine: Machine,
        log: WriteLog,
        on_outcome: Callable[[Entry, Reply, Reply | None], None],
        firm_by: Callable[[str], tuple[str, bool]],
    ):
        self.machine = machine
        self.log = log
        self.executed = 0
        self.executions = 0
        self.insertions = 0
        self.told: list[Change] = []
        self._on_outcome = on_outcome
        self._firm_by = firm_by
        self._decode = machine.decode_request

    @property
    def caught_up(self) -> bool:
        """Whether the store shows the whole log."""
        return self.executed == len(self.log.tail)

    # -- Executing

    def request_of(self, write: Write) -> Request | None:
        """The request in a write; None if it is no command of this app in this version."""
        if write.kind != APP:
            return None
        try:
            return self._decode(write.body)
        except MalformedInput:
            return None

    def wanted_by(self, entry: Entry) -> Request | None:
        """The same of an entry, which keeps it."""
        if entry.request is None:
            entry.request = self.request_of(entry.write)
        request: Request | None = entry.request
        return request

    def _execute(self, entry: Entry, latest: Stamp) -> Reply:
        """Run one entry behind commits, the highest stamp among them being `latest`."""
        write = entry.write
        self.executions += 1
        entry.late = late = entry.stamp < latest
        if not entry.id:
            entry.id = f"{write.replica}-{write.number}"
        if write.kind != APP:
            return MEMBERSHIP
        request = entry.request
        if request is None:
            try:
                request = entry.request = self._decode(write.body)
            except MalformedInput as error:  # the same at every replica of this version
                return Malformed(str(error))
        if request.person is not None:
            entry.person = request.person.id
        reply = self.machine.execute_write(request, entry.stamp, entry.id, late)
        told = self.machine.take_told("tentative")
        if entry.reply is None:
            self.told += told
        return reply

    def roll_forward(self, writes_max: int) -> bool:
        """Execute the next entries of the tail, at most so many. Whether all are."""
        tail, mark, latest = self.log.tail, self.machine.store.mark, self.log.latest
        upto = min(len(tail), self.executed + writes_max)
        for entry in tail[self.executed : upto]:
            entry.mark = mark()
            before = entry.reply
            entry.reply = reply = self._execute(entry, latest)
            self.executed += 1
            self._on_outcome(entry, reply, before)
        return self.executed == len(tail)

    def roll_back(self, place: int) -> None:
        """Undo the tail from this place on."""
        if place < self.executed:
            entry = self.log.tail[place]
            self.machine.store.rollback(entry.mark)
            if place == 0:
                self.machine.store.forget()
            self.executed = place

    def insert(self, writes: Sequence[Write]) -> None:
        """Put writes into the log at their places."""
        self.insertions += 1
        place = self.log.place(writes)
        self.roll_back(place)
        self.log.insert(writes, place)

    def cut_tail(self, place: int) -> list[Entry]:
        """Take the tail from this place on out of the log."""
        self.roll_back(place)
        return self.log.remove_tail(place)

    # -- Committing

    def commit(self, names: Sequence[Name], epoch: int) -> list[Entry]:
        """Commit writes of the tail, in this order. Each entry has its final reply afterwards."""
        log = self.log
        matching = log.leading(names)
        committed = self._commit_head(matching) if matching else []
        if matching < len(names):
            committed += self._commit_elsewhere(names[matching:], epoch, committed)
        else:
            log.commit(committed, epoch)
        return committed

    def _commit_head(self, count: int) -> list[Entry]:
        """The first entries of the tail, in its order: those that are executed stay as they are. Their
        being late or not cannot have changed: nothing was committed since but what stood before them."""
        tail, store = self.log.tail, self.machine.store
        head = tail[:count]
        if self.executed > count:
            store.forget(tail[count].mark)
        elif self.executed:
            store.forget()
        latest, entries = self.log.latest, self.log.entries
        with self.machine.run():
            for entry in head[self.executed :]:
                entry.reply = self._execute(entry, latest)
        del tail[:count]
        for entry in head:
            del entries[entry.name]
        self.executed = max(0, self.executed - count)
        return head

    def _commit_elsewhere(self, names: Sequence[Name], epoch: int, head: list[Entry]) -> list[Entry]:
        """Entries from within the tail: those that stood before them are executed after them now."""
        log = self.log
        self.roll_back(0)
        log.commit(head, epoch)
        taken: list[Entry] = []
        latest = log.latest
        with self.machine.run():
            for name in names:
                entry = log.entries.pop(name, None)
                if entry is None:
                    raise BrokenInvariant(f"write {name} is to be committed and is not in the tail")
                entry.reply = self._execute(entry, latest)
                latest = max(latest, entry.stamp)
                taken.append(entry)
        log.commit(taken, epoch)
        gone = {id(entry) for entry in taken}
        log.tail[:] = [entry for entry in log.tail if id(entry) not in gone]
        return taken

    # -- Reading

    def committed(self) -> AbstractContextManager[None]:
        """The store as of the committed prefix, for reading; nothing is executed again."""
        if not self.executed:
            return nullcontext()
        return self.machine.store.rewound(self.log.tail[0].mark)

    def is_committed(self, id: str) -> bool:
        """See `Context.is_committed`."""
        replica, _, digits = id.rpartition("-")
        return self.log.committed_vector.get(replica, 0) >= int(digits) if digits.isdigit() else False

    def answer(self, request: Request, view: str, now_ms: int) -> Reply:
        """Answer a query from one of the two views, at the time of day `now_ms`."""
        if view == "committed":
            with self.committed():
                return self.machine.answer(request, self.is_committed, now_ms, self._firm_by)
        return self.machine.answer(request, self.is_committed, now_ms, self._firm_by)

    def digest(self) -> bytes:
        """Of the committed store."""
        with self.committed():
            return self.machine.digest()
