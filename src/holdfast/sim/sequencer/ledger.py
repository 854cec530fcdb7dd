"""What is watched at every step of a run under the sequencer protocol.

The ledger reads every disk along, sees every message leave and every number being decided, and has a
replica of its own, which never fails: what is decided is executed there once, and tells what every
right replica must have as its state and every client must be told.

- What leaves is true: `Journaled`, `Promised` say what the disk holds, no more.
- A number has one content, at every manager and for ever; numbers have no gaps; each submission has
  one number, and those of a stream follow each other. A majority of the managers has it on its disk
  before any executes it.
- A client is told what the replica that never fails says.
- A replica in which nothing was planted has the right state at every position, and is never replaced.
- Where an operator's word that a replica is right is taken, its state is the right one from that number on: the
  replica that never fails takes it over, and goes on from there. Nobody is told otherwise before or after.
- Epochs and positions never go back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.kernel.contracts import App, Request
from holdfast.kernel.gate import Group
from holdfast.kernel.machine import Machine
from holdfast.kernel.replies import Expired, Forgotten
from holdfast.kernel.store import TupleStore
from holdfast.replication.sequencer.council import Council
from holdfast.replication.sequencer.messages import (
    QUERIES,
    REQUESTS,
    SEQUENCER_ORIGIN,
    Admitted,
    Entered,
    Journaled,
    Jumped,
    Ordered,
    Promise,
    Promised,
    Row,
    Run,
    decode_record,
)
from holdfast.replication.sequencer.replica import RIGHT, Batches, Replica
from holdfast.sim.audit import Audit, Violation
from holdfast.sim.history import Action
from holdfast.sim.linearizability import SequentialModel
from holdfast.sim.trace import host_name
from holdfast.sim.world import World


class Shelf:
    """What the disk of one node holds of the order. `runs`: by the number of their first request. `counts`: it says
    itself that it counts."""

    def __init__(self) -> None:
        self.counts = False
        self.promised = 0
        self.held: dict[int, int] = {}
        """By epoch: how far its order was on the disk before a later one was promised. So far may be said still."""
        self.entered = 0
        self.last = 0
        self.runs: dict[int, Run] = {}

    def keep(self, first: int, runs: tuple[Run, ...]) -> None:
        """Runs from number `first` on, of which the first ones may be here."""
        for run in runs:
            if first == self.last + 1:
                self.runs[first] = run
                self.last += run.count
            first += run.count

    def cut(self, keep: int) -> None:
        """Drop what follows a number."""
        self.runs = {first: run for first, run in self.runs.items() if first <= keep}
        self.last = min(self.last, keep)


def _action(request: Request) -> Action:
    """As the workloads write it: without what is left out at the end."""
    command = request.command
    who = () if request.person is None else (request.person.id,)
    fields = msgspec.structs.fields(command)
    values = [getattr(command, field.name) for field in fields]
    while values and values[-1] == fields[len(values) - 1].default:
        values.pop()
    return (command.__struct_config__.tag, *who, *values)


class Watched(msgspec.Struct):
    """What a process was seen to have: nothing of it may go back."""

    epoch: int = 0
    promised: int = 0
    entered: int = 0
    decided: int = 0


class Ledger(Audit):
    """`planted`: by node, the fault in its replica until it was begun anew. `figures`: what happened, counted.
    `installed`: as of which number each node's replica took its last copy.
    `awaited`: (node, number): its replica's state is the right one from that number on, once it has come there."""

    def __init__(self, world: World, managers: tuple[int, ...], app: Callable[[], App], agreeing: int = 2) -> None:
        super().__init__(world)
        self.managers = managers
        machine = Machine(app())
        self.right = Replica(machine, Batches(machine), 0)
        self.states: dict[int, bytes] = {0: machine.digest()}
        self.results: dict[int, bytes] = {}
        self.decided: dict[int, Run] = {}
        self.frontier = 0
        self.streams: dict[int, tuple[int, int]] = {}
        self.shelves: dict[int, Shelf] = {}
        self.holders: dict[tuple[int, Run], dict[int, None]] = {}
        self.jumped: dict[int, int] = {}
        self.processes: dict[int, Watched] = {}
        self.planted: dict[int, str] = {}
        self.planted_us: dict[int, int] = {}
        self.replaced: dict[tuple[int, int], None] = {}
        self.figures = dict.fromkeys(("epochs", "replaced", "trusted", "copies", "jumps", "numbers"), 0)
        self.slowest_cure_us = 0
        self.council = Council(managers, agreeing)
        self.awaited: tuple[int, int] | None = None
        self._later: list[tuple[int, Run]] = []
        self._former = b""
        self.installed: dict[int, int] = {}

    def _violated(self, kind: str, text: str) -> None:
        raise Violation(kind, f"{text}, at {self.world.now_us} us")

    # -- Disks and what leaves

    def new_disk(self, node: int, *, counts: bool = False) -> None:
        """An empty one; or one of the first start."""
        self.shelves[node] = Shelf()
        self.shelves[node].counts = counts

    def stored(self, node: int, group: Group) -> None:
        """The disk of `node` has these records."""
        shelf = self.shelves[node]
        for data in group.records:
            record = decode_record(data)
            if isinstance(record, Admitted):
                shelf.counts = True
            elif isinstance(record, Promise):
                shelf.promised = max(shelf.promised, record.epoch)
            elif isinstance(record, Entered):
                shelf.cut(record.keep)
                shelf.keep(record.keep + 1, record.runs)
                shelf.entered = record.epoch
                shelf.promised = max(shelf.promised, record.epoch)
                shelf.held[record.epoch] = shelf.last
            elif isinstance(record, Ordered):
                shelf.keep(record.first, record.runs)
                if shelf.entered >= shelf.promised:
                    shelf.held[shelf.entered] = shelf.last
            elif isinstance(record, Jumped) and record.decided > shelf.last:
                shelf.runs.clear()
                shelf.last = record.decided
                self.jumped[node] = max(self.jumped.get(node, 0), record.decided)
                self.figures["jumps"] += 1
            if isinstance(record, Entered | Ordered):
                first = record.keep + 1 if isinstance(record, Entered) else record.first
                for run in record.runs:
                    self.holders.setdefault((first, run), {})[node] = None
                    first += run.count

    def leaves(self, node: int, message: Any) -> None:
        """A message leaves `node`."""
        shelf = self.shelves[node]
        if isinstance(message, Journaled) and message.epoch:
            if shelf.entered < message.epoch or (shelf.entered == message.epoch and shelf.last < message.upto):
                has = f"its disk has epoch {shelf.entered} up to {shelf.last}"
                self._violated("false word", f"{host_name(node)} says {message}, but {has}")
            if message.epoch < shelf.promised and message.upto > max(shelf.held.get(message.epoch, 0), self.frontier):
                self._violated("broken promise", f"{host_name(node)} says {message} after it promised {shelf.promised}")
        elif isinstance(message, Promised) and (shelf.promised < message.epoch or shelf.entered < message.entered):
            self._violated("false word", f"{host_name(node)} says {message}, but its disk promises {shelf.promised}")

    # -- A core

    def watch(self, node: int, core: Any) -> None:
        """A process begins: see what it decides, believes and replaces."""
        manager, front, council = core.manager, core.front, core.manager.council
        self.processes[node] = Watched()
        deliver, agree, replace, install = manager._deliver, front._agree, council._replace, manager.copying._install
        reach = core.replica._reach

        def seen_deliver(placed: list[tuple[int, Run, int]]) -> None:
            for first, run, _ in placed:
                self._decides(node, first, run)
            deliver(placed)

        def seen_agree(pending: Any, row: Row) -> None:
            self._believed(node, row)
            agree(pending, row)

        def seen_replace(which: int, why: str) -> None:
            self._replaces(which, council.lives[which], why)
            replace(which, why)

        def seen_install(taking: Any) -> None:
            install(taking)
            self._cured(node)
            self.installed[node] = taking.copy.number
            self.figures["copies"] += 1

        def seen_reach() -> None:
            self._reached(node, core)
            reach()

        core.replica._reach = seen_reach
        manager._deliver, front._agree, council._replace = seen_deliver, seen_agree, seen_replace
        manager.copying._install = seen_install

    def _decides(self, node: int, first: int, run: Run) -> None:
        known = self.decided.get(first)
        if known is None and first == self.frontier + 1:
            self._extend(first, run)
        elif known != run:
            self._violated("number", f"{host_name(node)} has {run} at {first}, where {known} was decided")

    def _extend(self, first: int, run: Run) -> None:
        """A number is decided for the first time anywhere."""
        have = [other for other in self.managers if self._has(other, first, run)]
        if len(have) <= len(self.managers) // 2:
            names = ", ".join(map(host_name, have)) or "nobody"
            self._violated("majority", f"{first} is decided as {run}, which only {names} has journaled")
        if run.origin != SEQUENCER_ORIGIN:
            incarnation, serial = self.streams.get(run.origin, (0, 0))
            if run.incarnation > incarnation:
                serial = 0
            if run.incarnation < incarnation or run.serial != serial + 1:
                self._violated("stream", f"{run} has number {first}, after {(incarnation, serial)} of that node")
            self.streams[run.origin] = (run.incarnation, run.serial + run.count - 1)
        self.decided[first] = run
        self.frontier += run.count
        self.figures["numbers"] = self.frontier
        if self.awaited is None:
            self._execute(first, run)
        else:
            self._later.append((first, run))
        self._consider_word(first, run)

    def _execute(self, first: int, run: Run) -> None:
        """On the replica that never fails."""
        self.right.queue(first, run)
        while self.right.position < first + run.count - 1:
            for row in self.right.execute(0, 1):
                self.results[row[3]] = row[4]
        self.states[self.right.position] = self.right.machine.digest()

    # -- An operator's word

    def _consider_word(self, first: int, run: Run) -> None:
        """Is an operator's word taken, or over?"""
        before = self.council.word
        self.council.take(first, run)
        self.council.events.clear()
        word = self.council.word
        if word == before:
            return
        is_another = word is not None and (before is None or word.since != before.since)
        if before is not None and not before.until and (word is None or is_another):
            self._take_back(before.since)
        if word is not None and is_another:
            self.figures["trusted"] += 1
            self.awaited = (word.manager, word.since)
        if word is not None and word.until and self.awaited is not None:
            self._go_on()

    def _reached(self, node: int, core: Any) -> None:
        """A replica has come to a number. If it is the one that is waited for, its state is the right one."""
        if self.awaited == (node, core.replica.position) and core.replica.state == RIGHT:
            machine = self.right.machine
            self._former = machine.store.snapshot()
            machine.replace_store(TupleStore.restore(machine.rows, core.machine.store.snapshot()))
            self.states[self.right.position] = machine.digest()
            self._go_on()

    def _take_back(self, since: int) -> None:
        """What was right before that number is right again."""
        if self.awaited is None:
            machine, trusted = self.right.machine, self.states[since]
            machine.replace_store(TupleStore.restore(machine.rows, self._former))
            self.right = Replica(machine, self.right.batches, 0)
            self.right.restored(since)
            self.states[since] = machine.digest()
            for node, number in self.installed.items():
                if number >= since and trusted != self.states[since]:
                    self.plant(node, "misled")  # it has the state of the one that is trusted no more
            self._later = [(first, run) for first, run in self.decided.items() if first > since]
        self._go_on()

    def _go_on(self) -> None:
        later, self._later, self.awaited = self._later, [], None
        for first, run in later:
            self._execute(first, run)

    def _has(self, node: int, first: int, run: Run) -> bool:
        return self.jumped.get(node, 0) >= first or node in self.holders.get((first, run), {})

    def _believed(self, node: int, row: Row) -> None:
        if self.results.get(row[3]) != row[4]:
            self._violated("wrong answer", f"the front end of {host_name(node)} believes a wrong result of {row[3]}")

    def retold(self, model: SequentialModel) -> int:
        """Tell the model all requests in the order of their numbers: it must say what the clients were told. Who
        was answered before another asked has the lower number, so this is a linearization. How many there were."""
        state, told = model.initial(), 0
        known: dict[tuple[str, int], str] = {}
        for first, run in self.decided.items():
            if run.kind not in (REQUESTS, QUERIES):
                continue
            replies = self.right.batches.decode_replies(self.results[first], run.count)
            assert replies is not None
            for request, reply in zip(self.right.batches.decode(run), replies, strict=True):
                if isinstance(reply, Forgotten | Expired):
                    continue  # a client that was no longer waiting
                name = (request.client, request.number)
                if not request.client or name not in known:
                    state, known[name] = model.apply(state, _action(request))
                    told += 1
                if reply.text() != known[name]:
                    self._violated("order", f"number {first} says {reply.text()!r}, the model {known[name]!r}")
        return told

    # -- Replicas

    def plant(self, node: int, fault: str) -> None:
        """From now on the replica of `node` does not count as right."""
        self.planted[node] = fault
        self.planted_us[node] = self.world.now_us

    def _replaces(self, node: int, life: int, why: str) -> None:
        if (node, life) in self.replaced:
            return
        self.replaced[node, life] = None
        self.figures["replaced"] += 1
        if node not in self.planted:
            self._violated("right one replaced", f"the replica of {host_name(node)} is replaced: {why}")

    def _cured(self, node: int) -> None:
        if self.planted.pop(node, ""):
            self.slowest_cure_us = max(self.slowest_cure_us, self.world.now_us - self.planted_us[node])

    def look(self, node: int, core: Any) -> None:
        """A core has returned a step."""
        shared, manager, seen = core.shared, core.manager, self.processes[node]
        now = Watched(shared.epoch, manager.promised, manager.entered, manager.log.decided)
        for field in Watched.__struct_fields__:
            if getattr(now, field) < getattr(seen, field):
                self._violated("backwards", f"{host_name(node)} went from {seen} to {now}")
        self.processes[node] = now
        self.figures["epochs"] = max(self.figures["epochs"], shared.epoch)
        replica = core.replica
        if manager.manages and replica.state == RIGHT and node not in self.planted and not self.is_right(core):
            self._violated("state", f"the replica of {host_name(node)} is in a wrong state at {replica.position}")

    def is_right(self, core: Any) -> bool:
        """Whether its replica has the state that it must have where it is."""
        state: bytes = core.machine.digest()
        return self.states.get(core.replica.position) == state
