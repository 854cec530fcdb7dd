"""A few Bayou replicas on a table: cores, gates and disks joined by channels that a test works by hand.

Nothing happens by itself. A message waits on its channel until it is delivered or dropped, a write
waits until it is synced, time stands until it is told to pass. What happens is said in `lines`.
Whether a message or a reply leaves only after what it rests on is synced is checked here, without
the gate's word.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from tests.replication.bayou.words import DAY_MS, Words

from holdfast.apps.rooms import DEPARTMENTS, Rooms
from holdfast.apps.tickets import Tickets
from holdfast.kernel.contracts import PeerConnected, PeerDisconnected, Person, Reading, Reply, Request, Step
from holdfast.kernel.gate import Gate, Group
from holdfast.kernel.machine import Machine
from holdfast.kernel.notices import NoticesAfter
from holdfast.replication.bayou import RETENTION_MS, Bayou, BayouConfiguration, genesis_records
from holdfast.server.grammar import Grammar
from holdfast.sim.disk import Disk

DELIVERIES_MAX = 20_000
"""More than this in one go is replicas that talk in circles."""
SECOND_US = 1_000_000
FIRST_NAMES = ("Fatima", "Georg", "Ines", "Jonas", "Hana", "Liam", "Maria", "Nadia", "Oscar", "Priya")
SECRETARIES = dict(zip(DEPARTMENTS, FIRST_NAMES, strict=True))
"""The departments, each with its secretary."""


class Watched(Machine):
    """A machine that tells what it executes."""

    def __init__(self, app: Any, tell: Callable[[str, str], None]) -> None:
        super().__init__(app, RETENTION_MS, in_order=False)
        self._tell = tell

    def execute_write(self, request: Request, stamp: tuple[int, str, str], name: str, late: bool) -> Reply:
        reply = super().execute_write(request, stamp, name, late)
        self._tell(f"{name}{' late' if late else ''}", reply.text())
        return reply


class Node:
    """One place in the list: its disk, and the process on it while one runs. `skew_ms`: how far its clock is ahead."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.disk = Disk(1)
        self.core: Any = None
        self.gate: Any = None
        self.writing: Group | None = None
        self.halted = ""
        self.skew_ms = 0
        self.asked_records = 0
        self.synced_records = 0
        self.rests_on: dict[int, int] = {}
        self.copied: Disk | None = None

    @property
    def identity(self) -> str:
        """The identity of the disk that it has now."""
        return f"{self.disk.id}{self.name}"

    @property
    def runs(self) -> bool:
        """A process is there."""
        return self.core is not None


class Replicas:
    """The replicas of one service. `lines` gathers (kind, text) of all that happened; `replies` what
    users were told: (node, line, reply). A name that begins with + is of a node that comes later."""

    def __init__(
        self,
        names: str,
        *,
        app: str = "rooms",
        gate: Callable[[], Any] = Gate,
        core: Callable[..., Any] = Bayou,
        start: bool = True,
        **options: Any,
    ) -> None:
        self.names = [name.removeprefix("+") for name in names.split()]
        self.options = options
        self.make_app = {"rooms": Rooms, "tickets": lambda: Tickets(4)}[app]
        self.make_gate, self.make_core = gate, core
        self.nodes = [Node(number, name) for number, name in enumerate(self.names)]
        self.channels: dict[tuple[int, int], deque[bytes]] = {
            (a, b): deque() for a in range(len(self.names)) for b in range(len(self.names)) if a != b
        }
        self.linked: dict[tuple[int, int], bool] = dict.fromkeys(self.channels, False)
        self.cut: dict[tuple[int, int], bool] = dict.fromkeys(self.channels, False)
        self.now_us = SECOND_US
        self.autosync = True
        self.lines: list[tuple[str, str]] = []
        self.replies: list[tuple[str, str, Reply]] = []
        made: Any = self.make_app()
        machine = Machine(made, RETENTION_MS)
        self.words = Words(self.names, machine)
        self.grammar = Grammar((*made.commands, *Bayou.commands), (*made.queries, *Bayou.queries))
        self._decode = msgspec.msgpack.Decoder(Bayou.messages).decode
        first = [name for name in names.split() if not name.startswith("+")]
        for node in self.nodes[: len(first)]:
            created = machine.store.snapshot()
            node.disk.records = genesis_records(first, node.number, node.identity, made.name, 0, created)
            node.disk.fresh = False
        if start:
            for name in first:
                self.restart(name)
            self.deliver_all()

    def __getitem__(self, name: str) -> Node:
        return self.nodes[self.names.index(name)]

    def core(self, name: str) -> Any:
        """The core of a node that runs."""
        core = self[name].core
        assert core is not None, f"{name} does not run"
        return core

    def log(self, name: str) -> Any:
        """Its write log."""
        return self.core(name).replica.log

    @property
    def running(self) -> list[Node]:
        """Those whose process runs."""
        return [node for node in self.nodes if node.runs]

    def say(self, kind: str, text: str) -> None:
        """Something happened."""
        self.lines.append((kind, text))

    # -- Life and death

    def restart(self, name: str, **options: Any) -> None:
        """A process starts on the disk as it is, and finds those who run."""
        node = self[name]
        assert node.core is None, f"{name} runs already"
        settings = {**self.options, **options}
        configuration = BayouConfiguration(me=node.number, nodes=tuple(self.names), disk=node.identity, **settings)
        node.gate = self.make_gate()

        def executed(what: str, came_of_it: str) -> None:
            self.say("execute", f"{name} executes {what}: {came_of_it}")

        node.core = self.make_core(Watched(self.make_app(), executed), configuration)
        node.asked_records = node.synced_records = 0
        node.rests_on = {}
        node.halted = ""
        node.core.set_clock(self.now_us, self.unix_ms(node))
        self._take(node, node.core.recover(self.now_us, node.disk.recovered()))
        for other in self.nodes:
            if node.runs and other is not node and other.runs and not self.cut[node.number, other.number]:
                self._link(node, other)

    def crash(self, *names: str) -> None:
        """The processes die. What they had sent is on its way; what was not synced is gone."""
        for name in names:
            node = self[name]
            assert node.runs, f"{name} does not run"
            node.core = node.writing = None
            for other in self.nodes:
                if other is not node:
                    self.channels[other.number, node.number].clear()
                    if self.linked[node.number, other.number]:
                        self._unlink(node, other)
                        self._input(other, "receive", node.number, PeerDisconnected())

    def empty_disk(self, name: str) -> None:
        """Somebody puts an empty disk in place of the node's."""
        self[name].disk = Disk(self[name].disk.id + 1)

    def copy_disk(self, name: str) -> None:
        """Somebody makes a copy of the disk as it is now."""
        self[name].copied = copy.deepcopy(self[name].disk)

    def put_copy(self, name: str) -> None:
        """The copy is put back in."""
        copied = self[name].copied
        assert copied is not None
        self[name].disk = copied

    # -- Links

    def _link(self, one: Node, other: Node) -> None:
        for a, b in ((one, other), (other, one)):
            self.linked[a.number, b.number] = True
        for a, b in ((one, other), (other, one)):
            self._input(a, "receive", b.number, PeerConnected())

    def _unlink(self, one: Node, other: Node) -> None:
        self.linked[one.number, other.number] = self.linked[other.number, one.number] = False

    def connect(self, one: str, other: str) -> None:
        """The cable is whole again."""
        a, b = self[one], self[other]
        self.cut[a.number, b.number] = self.cut[b.number, a.number] = False
        if a.runs and b.runs and not self.linked[a.number, b.number]:
            self._link(a, b)

    def disconnect(self, one: str, other: str) -> None:
        """The cable is cut: what is on its way is lost, both hear that the link is gone."""
        a, b = self[one], self[other]
        self._unlink(a, b)
        for x, y in ((a, b), (b, a)):
            self.cut[x.number, y.number] = True
            self.channels[x.number, y.number].clear()
            self._input(x, "receive", y.number, PeerDisconnected())

    def isolate(self, *names: str) -> None:
        """These are cut off from all others, and stay joined to each other."""
        for one in names:
            for other in self.names:
                if other not in names:
                    self.disconnect(one, other)

    def heal(self) -> None:
        """All cables are whole again, and everything arrives."""
        for number, one in enumerate(self.names):
            for other in self.names[:number]:
                self.connect(one, other)
        self.deliver_all()

    def lose(self, one: str, other: str) -> None:
        """All messages on the channel are lost."""
        self.channels[self[one].number, self[other].number].clear()

    def _next(self, one: str, other: str) -> tuple[bytes, Any]:
        channel = self.channels[self[one].number, self[other].number]
        assert channel, f"nothing is on its way from {one} to {other}"
        data = channel.popleft()
        return data, self._decode(data)

    def drop(self, one: str, other: str) -> None:
        """The next message on the channel is lost."""
        _, message = self._next(one, other)
        self.say("receive", f"lost: {one} -> {other} {self.words.message(message)}")

    def deliver(self, one: str, other: str) -> None:
        """The next message on the channel arrives."""
        _, message = self._next(one, other)
        self.say("receive", f"{other} receives {self.words.message(message)}")
        self._input(self[other], "receive", self[one].number, message)

    def repeat(self, one: str, other: str) -> None:
        """The next message on the channel arrives, and will arrive once more."""
        data, message = self._next(one, other)
        self.say("receive", f"{other} receives, and will again, {self.words.message(message)}")
        self._input(self[other], "receive", self[one].number, message)
        self.channels[self[one].number, self[other].number].append(data)

    def deliver_all(self) -> None:
        """Everything arrives, one message of each channel in turn, until nothing is on its way."""
        for _ in range(DELIVERIES_MAX):
            ready = [pair for pair, channel in self.channels.items() if channel and self.nodes[pair[1]].runs]
            if not ready:
                return
            for one, other in ready:
                if self.channels[one, other]:
                    message = self._decode(self.channels[one, other].popleft())
                    self._input(self.nodes[other], "receive", one, message)
        raise AssertionError("the replicas talk in circles")

    def hear(self, name: str, source: str, message: Any) -> None:
        """A message arrives that nobody sent, over the wire all the same."""
        self._input(self[name], "receive", self[source].number, self._decode(msgspec.msgpack.encode(message)))

    def on_the_way(self, one: str, other: str) -> list[Any]:
        """The messages on the channel, in order."""
        return [self._decode(data) for data in self.channels[self[one].number, self[other].number]]

    def wake(self, name: str) -> None:
        """A node's timer goes off, due or not."""
        self._input(self[name], "wake")

    # -- Users

    def person(self, name: str) -> Person | None:
        """The secretary who sits at this node, if it is a department's."""
        first_name = SECRETARIES.get(name)
        return first_name and Person(first_name.lower(), first_name, ("secretary",), name)

    def request(self, name: str, line: str, reading: Reading | None = None) -> Request:
        """A line as the node's own user writes it."""
        if line == "notices":  # of the machine, and asked for by a word of the port
            return Request(NoticesAfter(), person=self.person(name), reading=reading)
        request = self.grammar.parse(line.encode(), self.person(name))
        assert isinstance(request, Request), f"no request: {line}: {request}"
        return msgspec.structs.replace(request, reading=reading)

    def submit(self, name: str, *lines: str, reading: Reading | None = None) -> None:
        """Users' commands, all that arrive in one turn; the door refuses as the node's does."""
        node, admitted = self[name], []
        for line in lines:
            request = self.request(name, line, reading)
            refusal = self.core(name).replica.machine.admit(request, self.unix_ms(node))
            if refusal is None:
                admitted.append((line, request))
            else:
                self._answered(node, line, refusal)
        self._input(node, "submit", admitted)

    def ask(self, name: str, line: str, view: str = "full", reading: Reading | None = None) -> str:
        """A user's question; what it is answered."""
        before = len(self.replies)
        self._input(self[name], "ask", [(line, self.request(name, line, reading or Reading(view)))])
        while len(self.replies) == before:  # the log is executed a little at a time
            assert self[name].runs, f"{name} has halted: {self[name].halted}"
            self._input(self[name], "wake")
        return self.replies[-1][2].text()

    def book(self, name: str, line: str) -> str:
        """A command, carried on until it is answered; its first reply."""
        before = len(self.replies)
        self.submit(name, line)
        self.deliver_all()
        for _ in range(60):
            for node, asked, reply in self.replies[before:]:
                if (node, asked) == (name, line):
                    return reply.text()
            self.wait(SECOND_US // 4)
        raise AssertionError(f"{name} does not answer {line}")

    def told(self, line: str) -> list[str]:
        """What users who wrote this line were told, in order."""
        return [reply.text() for _, asked, reply in self.replies if asked == line]

    def export(self, name: str) -> list[str]:
        """Everything this node has, in parts."""
        parts: list[str] = []
        cursor = ""
        while not parts or cursor:
            self.ask(name, f"export {cursor}".rstrip())
            reply: Any = self.replies.pop()[2]
            parts.append(reply.part)
            cursor = reply.cursor
        return parts

    def take(self, name: str, part: str) -> str:
        """Import one part; what came of it."""
        self.submit(name, f"import {part}")
        _, _, reply = self.replies.pop()
        return reply.text()

    # -- Time

    def unix_ms(self, node: Node) -> int:
        """What the node's clock shows."""
        return DAY_MS + self.now_us // 1000 + node.skew_ms

    def wait(self, duration_us: int) -> None:
        """Time passes; who is due is woken, and what is sent arrives."""
        end_us = self.now_us + duration_us
        self.deliver_all()
        while True:
            due = [
                (node.gate.wake_us, node.number)
                for node in self.running
                if node.gate.wake_us is not None and node.gate.wake_us <= end_us
            ]
            if not due:
                break
            wake_us, number = min(due)
            self.now_us = max(self.now_us, wake_us)
            self._input(self.nodes[number], "wake")
            self.deliver_all()
        self.now_us = end_us

    def jump(self, duration_us: int) -> None:
        """So much time has passed, and nobody was awake meanwhile."""
        self.now_us += duration_us
        for node in self.running:
            self._input(node, "wake")
        self.deliver_all()

    # -- What is

    def settled(self) -> None:
        """All who run are active, with equal logs and stores and nothing tentative."""
        self.wait(0)
        for node in self.running:
            self._input(node, "wake")
        rows = {
            (status["state"], status["position"], status["digest"], status["tentative"])
            for status in (node.core.status() for node in self.running)
        }
        assert len(rows) == 1, sorted(rows)
        assert {(row[0], row[3]) for row in rows} == {("active", 0)}

    def agree(self) -> None:
        """All who run have the same full view."""
        digests = set()
        for node in self.running:
            while not node.core.replica.views.caught_up:
                node.core.replica.views.roll_forward(1000)
            digests.add(node.core.status()["full_digest"])
        assert len(digests) == 1

    # -- Inputs and what comes of them

    def _input(self, node: Node, kind: str, *arguments: Any) -> None:
        if node.runs:
            node.core.set_clock(self.now_us, self.unix_ms(node))
            self._take(node, getattr(node.core, kind)(self.now_us, *arguments))

    def _take(self, node: Node, step: Step) -> None:
        for text in step.events:
            self.say("event", f"{node.name}: {text}")
        node.asked_records += len(step.records)
        for item in (*step.promises, *step.replies):
            node.rests_on[id(item)] = node.asked_records
        node.gate.absorb(step)
        node.gate.events.clear()
        leaving = [id(item) for item in (*node.gate.promises, *node.gate.replies)]
        self._flush(node)
        self._write(node)
        for item in step.promises if not self.autosync else ():
            if id(item) not in leaving:
                self.say("held", f"{node.name} holds back, until synced: {self.words.to(node.name, *item)}")
        if step.halt is not None:
            self.say("halt", f"{node.name} halts ({step.halt.code}): {step.halt.text}")
            self.crash(node.name)
            node.halted = step.halt.text

    def _write(self, node: Node) -> None:
        """One write at a time; with `autosync` it is done at once."""
        while node.runs and node.writing is None:
            group = node.gate.next_group()
            if group is None:
                return
            node.writing = group
            how = "" if self.autosync else ", not synced yet"
            for text in self.words.group(group):
                self.say("journal", f"{node.name} writes {text}{how}")
            if not self.autosync:
                return
            self._synced(node)

    def sync(self, name: str) -> None:
        """The write in progress is on the disk."""
        node = self[name]
        assert node.writing is not None, f"{name} writes nothing"
        self.say("journal", f"{name} has synced")
        self._synced(node)
        self._write(node)

    def _synced(self, node: Node) -> None:
        group, node.writing = node.writing, None
        assert group is not None
        node.disk.write(group)
        node.synced_records += len(group.records)
        node.gate.written()
        self._flush(node)
        self._input(node, "synced", node.gate.records_synced)

    def _flush(self, node: Node) -> None:
        gate = node.gate
        data, promises, replies, changes = gate.data, gate.promises, gate.replies, gate.changes
        gate.data, gate.promises, gate.replies, gate.changes = [], [], [], []
        for item in (*promises, *replies):
            rests_on = node.rests_on.pop(id(item))
            assert rests_on <= node.synced_records, f"{node.name} promises what is not on its disk: {item}"
        for peer, message in (*data, *promises):
            self._send(node, peer, message)
        for line, reply in replies:
            self._answered(node, line, reply)
        for change in changes:
            self.say("change", f"{node.name} tells that {change.id} is {change.firm}: {change.text}")

    def _answered(self, node: Node, line: str, reply: Reply) -> None:
        self.replies.append((node.name, line, reply))
        if not line.startswith(("import ", "export")):
            self.say("reply", f"{node.name} answers `{line}`: {reply.text()}")

    def _send(self, node: Node, peer: int, message: Any) -> None:
        if self.linked[node.number, peer]:
            self.say(type(message).__name__, self.words.to(node.name, peer, message))
            self.channels[node.number, peer].append(msgspec.msgpack.encode(message))
