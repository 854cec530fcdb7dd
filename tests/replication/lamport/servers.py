"""A few servers on a table: cores, gates and disks joined by channels that a test works by hand.

Nothing happens by itself. A message waits on its channel until it is delivered or dropped, a write
waits until it is synced, time stands until it is told to pass. What happens is said in `lines`.
Whether a promise leaves only after what it rests on is synced is checked here, without the gate's word.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from tests.replication.lamport.words import Words

from holdfast.apps.tickets import Tickets
from holdfast.kernel.contracts import PeerConnected, PeerDisconnected, PeerRefused, Request, Step
from holdfast.kernel.gate import Gate, Group
from holdfast.kernel.machine import Machine
from holdfast.replication.lamport import Lamport, LamportConfiguration, genesis_records
from holdfast.replication.lamport.messages import Presence
from holdfast.server.grammar import Grammar
from holdfast.sim.disk import Disk

DELIVERIES_MAX = 20_000
"""More than this in one go is servers that talk in circles."""


class Server:
    """One place in the list: its disk, and the process on it while one runs."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.disk = Disk(1)
        self.core: Any = None
        self.gate: Any = None
        self.writing: Group | None = None
        self.halted = ""
        self.asked_records = 0
        self.synced_records = 0
        self.rests_on: dict[int, int] = {}

    @property
    def identity(self) -> str:
        """The identity of the disk that it has now."""
        return f"disk-{self.name}-{self.disk.id}"

    @property
    def runs(self) -> bool:
        """A process is there."""
        return self.core is not None


class Servers:
    """The servers of one service. `lines` gathers (kind, text) of all that happened; `replies` what
    clients were told: (server, line, text)."""

    def __init__(
        self,
        names: str,
        *,
        model: str = "perfect",
        seats: int = 10,
        gate: Callable[[], Any] = Gate,
        core: Callable[..., Any] = Lamport,
        **options: Any,
    ) -> None:
        self.names = names.split()
        self.model = model
        self.options = options
        self.app = lambda: Tickets(seats)
        self.make_gate = gate
        self.make_core = core
        self.servers = [Server(number, name) for number, name in enumerate(self.names)]
        self.channels: dict[tuple[int, int], deque[Any]] = {
            (a, b): deque() for a in range(len(self.names)) for b in range(len(self.names)) if a != b
        }
        self.linked: dict[tuple[int, int], bool] = dict.fromkeys(self.channels, False)
        self.cut: dict[tuple[int, int], bool] = dict.fromkeys(self.channels, False)
        self.now_us = 1_000_000
        self.autosync = True
        self.paused: Server | None = None
        self.lines: list[tuple[str, str]] = []
        self.replies: list[tuple[str, str, str]] = []
        self.words = Words(self.names, Machine(self.app()))
        self.grammar = Grammar(Tickets.commands, Tickets.queries)
        self._decode = msgspec.msgpack.Decoder(Lamport.messages).decode
        disks = [server.identity for server in self.servers]
        for server in self.servers:
            server.disk.records = genesis_records(len(self.names), server.identity, Tickets.name, disks)
            server.disk.fresh = False

    def __getitem__(self, name: str) -> Server:
        return self.servers[self.names.index(name)]

    def core(self, name: str) -> Any:
        """The core of a server that runs."""
        core = self[name].core
        assert core is not None, f"{name} does not run"
        return core

    def say(self, kind: str, text: str) -> None:
        """Something happened."""
        self.lines.append((kind, text))

    # -- Life and death

    def start_all(self) -> None:
        """All of them at once, until they have agreed on a view and nothing is under way."""
        for name in self.names:
            self.restart(name)
        self.deliver_all()
        self.wait(50_000)

    def restart(self, name: str, **options: Any) -> None:
        """A process starts on the disk as it is, and finds those who run."""
        server = self[name]
        assert server.core is None, f"{name} runs already"
        configuration = LamportConfiguration(
            me=server.number,
            servers=tuple(self.names),
            model=self.model,  # type: ignore[arg-type]
            disk=server.identity,
            **(self.options | options),
        )
        server.gate = self.make_gate()
        server.core = self.make_core(Machine(self.app()), configuration)
        server.asked_records = server.synced_records = 0
        server.rests_on = {}
        server.halted = ""
        self._take(server, server.core.recover(self.now_us, server.disk.recovered()))
        for other in self.servers:
            if server.runs and other is not server and other.runs and not self.cut[server.number, other.number]:
                self._link(server, other)

    def empty_disk(self, name: str) -> None:
        """Somebody puts an empty disk in place of the server's."""
        server = self[name]
        server.disk = Disk(server.disk.id + 1)

    def crash(self, name: str) -> None:
        """The process dies. What it had sent is on its way; what was not synced is gone."""
        server = self[name]
        assert server.runs, f"{name} does not run"
        server.core = server.writing = None
        for other in self.servers:
            if other is not server:
                self.channels[other.number, server.number].clear()
                if self.linked[server.number, other.number]:
                    self._unlink(server, other)
                    self.channels[server.number, other.number].append(PeerDisconnected())

    def refuse(self, name: str, about: str) -> None:
        """A dial is refused: on this host no such process runs."""
        assert not self[about].runs, f"{about} runs"
        self._input(self[name], "receive", self[about].number, PeerRefused())

    # -- Links

    def _link(self, one: Server, other: Server) -> None:
        for a, b in ((one, other), (other, one)):
            self.linked[a.number, b.number] = True
            self._input(a, "receive", b.number, PeerConnected())

    def _unlink(self, one: Server, other: Server) -> None:
        self.linked[one.number, other.number] = self.linked[other.number, one.number] = False

    def connect(self, one: str, other: str) -> None:
        """The cable is whole again."""
        a, b = self[one], self[other]
        self.cut[a.number, b.number] = self.cut[b.number, a.number] = False
        if a.runs and b.runs:
            self._link(a, b)

    def disconnect(self, one: str, other: str) -> None:
        """The cable is cut: what is on its way is lost, both hear that the link is gone."""
        a, b = self[one], self[other]
        self._unlink(a, b)
        for x, y in ((a, b), (b, a)):
            self.cut[x.number, y.number] = True
            self.channels[x.number, y.number].clear()
            if x.runs:
                self._input(x, "receive", y.number, PeerDisconnected())

    def drop(self, one: str, other: str) -> None:
        """The next message on the channel is lost."""
        message = self._next(self[one], self[other])
        self.say("receive", f"lost: {one} -> {other} {self.words.message(message)}")

    def lose(self, one: str, other: str) -> None:
        """All messages on the channel are lost; what the receiver's own host tells it is not."""
        channel = self.channels.get((self[one].number, self[other].number), deque())
        told = [item for item in channel if not isinstance(item, bytes)]
        channel.clear()
        channel.extend(told)

    def _next(self, one: Server, other: Server) -> Any:
        channel = self.channels[one.number, other.number]
        while channel and isinstance(channel[0], bytes) and isinstance(self._decode(channel[0]), Presence):
            self._arrive(one, other, channel.popleft())
        assert channel, f"nothing is on its way from {one.name} to {other.name}"
        data = channel.popleft()
        return self._decode(data) if isinstance(data, bytes) else data

    def deliver(self, one: str, other: str) -> None:
        """The next message on the channel arrives; presence on the way to it arrives unmentioned."""
        message = self._next(self[one], self[other])
        self.say("receive", f"{other} receives {self.words.message(message)}")
        self._arrive(self[one], self[other], message)

    def deliver_any(self, one: str, other: str) -> None:
        """Whatever is next on the channel arrives, if there is anything."""
        channel = self.channels[self[one].number, self[other].number]
        if channel:
            self._arrive(self[one], self[other], channel.popleft())

    def deliver_all(self) -> None:
        """Everything arrives, one message of each channel in turn, until nothing is on its way."""
        for _ in range(DELIVERIES_MAX):
            ready = [pair for pair, channel in self.channels.items() if channel and self._hears(pair[1])]
            if not ready:
                return
            for one, other in ready:
                if self.channels[one, other]:
                    data = self.channels[one, other].popleft()
                    self._arrive(self.servers[one], self.servers[other], data)
        raise AssertionError("the servers talk in circles")

    def _hears(self, number: int) -> bool:
        return self.servers[number].runs and self.servers[number] is not self.paused

    def _arrive(self, one: Server, other: Server, data: Any) -> None:
        message = self._decode(data) if isinstance(data, bytes) else data
        self._input(other, "receive", one.number, message)

    # -- Clients

    def submit(self, name: str, *lines: str) -> None:
        """Clients' commands, all that arrive in one turn."""
        self._input(self[name], "submit", [(line, self._request(line)) for line in lines])

    def ask(self, name: str, *lines: str) -> None:
        """Clients' questions, all that arrive in one turn."""
        self._input(self[name], "ask", [(line, self._request(line)) for line in lines])

    def _request(self, line: str) -> Request:
        request = self.grammar.parse(line.encode())
        assert isinstance(request, Request), f"no request: {line}: {request}"
        return request

    def told(self, line: str) -> list[str]:
        """What clients who sent this line were told, in order."""
        return [text for _, asked, text in self.replies if asked == line]

    # -- Time

    def wait(self, duration_us: int) -> None:
        """Time passes; who is due is woken, and what is sent arrives."""
        end_us = self.now_us + duration_us
        while True:
            due = [
                (server.gate.wake_us, server.number)
                for server in self.servers
                if self._hears(server.number) and server.gate.wake_us is not None and server.gate.wake_us <= end_us
            ]
            if not due:
                break
            wake_us, number = min(due)
            self.now_us = max(self.now_us, wake_us)
            self._input(self.servers[number], "wake")
            self.deliver_all()
        self.now_us = end_us

    # -- Inputs and what comes of them

    def _input(self, server: Server, kind: str, *arguments: Any) -> None:
        if server.runs:
            self._take(server, getattr(server.core, kind)(self.now_us, *arguments))

    def _take(self, server: Server, step: Step) -> None:
        for text in step.events:
            self.say("event", f"{server.name}: {text}")
        server.asked_records += len(step.records)
        for item in (*step.promises, *step.replies):
            server.rests_on[id(item)] = server.asked_records
        for item in (*step.settled_promises, *step.settled_replies):
            server.rests_on[id(item)] = step.settled_records
        server.gate.absorb(step)
        server.gate.events.clear()
        leaving = [id(item) for item in server.gate.promises]
        self._flush(server)
        self._write(server)
        for item in (*step.promises, *step.settled_promises):
            if not self.autosync and id(item) not in leaving and not isinstance(item[1], Presence):
                self.say("held", f"{server.name} holds back, until synced: {self.words.to(server.name, *item)}")
        if step.halt is not None:
            self.say("halt", f"{server.name} halts ({step.halt.code}): {step.halt.text}")
            server.halted = step.halt.text
            self.crash(server.name)

    def _write(self, server: Server) -> None:
        """One write at a time; with `autosync` it is done at once."""
        while server.runs and server.writing is None:
            group = server.gate.next_group()
            if group is None:
                return
            server.writing = group
            how = "" if self.autosync else ", not synced yet"
            for text in self.words.group(group):
                self.say("journal", f"{server.name} writes {text}{how}")
            if not self.autosync:
                return
            self._synced(server)

    def sync(self, name: str) -> None:
        """The write in progress is on the disk."""
        server = self[name]
        assert server.writing is not None, f"{name} writes nothing"
        self.say("journal", f"{name} has synced")
        self._synced(server)
        self._write(server)

    def _synced(self, server: Server) -> None:
        group, server.writing = server.writing, None
        assert group is not None
        server.disk.write(group)
        server.synced_records += len(group.records)
        server.gate.written()
        self._flush(server)
        if server.runs:
            self._take(server, server.core.synced(self.now_us, server.gate.records_synced))

    def _flush(self, server: Server) -> None:
        gate = server.gate
        data, promises, replies = gate.data, gate.promises, gate.replies
        gate.data, gate.promises, gate.replies = [], [], []
        for item in (*promises, *replies):
            rests_on = server.rests_on.pop(id(item))
            assert rests_on <= server.synced_records, f"{server.name} promises what is not on its disk: {item}"
        for peer, message in (*data, *promises):
            self._send(server, peer, message)
        for line, reply in replies:
            self.replies.append((server.name, line, reply.text()))
            self.say("reply", f"{server.name} answers `{line}`: {reply.text()}")

    def _send(self, server: Server, peer: int, message: Any) -> None:
        if self.linked[server.number, peer]:
            kind = "presence" if isinstance(message, Presence) else type(message).__name__
            self.say(kind, self.words.to(server.name, peer, message))
            self.channels[server.number, peer].append(msgspec.msgpack.encode(message))
