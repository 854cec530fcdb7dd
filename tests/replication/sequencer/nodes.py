"""A few nodes on a table, as the servers of `tests.replication.lamport.servers`, under the sequencer protocol.

Messages are datagrams: they need no link, and what is sent to a node that does not run is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from tests.replication.lamport.servers import Server, Servers
from tests.replication.sequencer.words import Words

from holdfast.apps.tickets import Tickets
from holdfast.kernel.contracts import PeerRefused
from holdfast.kernel.gate import Gate
from holdfast.kernel.machine import Machine
from holdfast.replication.sequencer import Sequencer, SequencerConfiguration, genesis_records
from holdfast.replication.sequencer.words import COMMANDS, QUERIES
from holdfast.server.grammar import Grammar

WALL_MS = 1_795_218_000_000
ROLES = ("front_ends", "sequencers", "managers")


class Nodes(Servers):
    """The nodes of one service. `options`: of the configuration; roles are given as names, `managers="a b c"`."""

    def __init__(
        self,
        names: str,
        *,
        seats: int = 20,
        gate: Callable[[], Any] = Gate,
        core: Callable[..., Any] = Sequencer,
        **options: Any,
    ) -> None:
        super().__init__(names, seats=seats, gate=gate, core=core)
        self.options = {"suspect_us": 200_000, **options}
        for role in ROLES:
            if role in options:
                self.options[role] = tuple(self.names.index(name) for name in options[role])
        machine = Machine(self.app())
        self.words = Words(self.names, machine)  # type: ignore[assignment]
        self.grammar = Grammar((*Tickets.commands, *COMMANDS), (*Tickets.queries, *QUERIES))
        self._decode = msgspec.msgpack.Decoder(Sequencer.messages).decode
        for server in self.servers:
            server.disk.records = genesis_records(server.identity, Tickets.name, machine.store.snapshot())

    def start_all(self) -> None:
        """All of them at once, until there is a sequencer and nothing is under way."""
        for name in self.names:
            self.restart(name)
        self.deliver_all()
        self.wait(300_000)

    def restart(self, name: str, **options: Any) -> None:
        """A process starts on the disk as it is."""
        server = self[name]
        assert server.core is None, f"{name} runs already"
        configuration = SequencerConfiguration(
            me=server.number, nodes=tuple(self.names), disk=server.identity, **(self.options | options)
        )
        server.gate = self.make_gate()
        server.core = self.make_core(Machine(self.app()), configuration)
        server.asked_records = server.synced_records = 0
        server.rests_on = {}
        server.halted = ""
        self._tell_time(server)
        self._take(server, server.core.recover(self.now_us, server.disk.recovered()))

    def crash(self, name: str) -> None:
        """The process dies. What it had sent is on its way; what is on its way to it is lost."""
        server = self[name]
        assert server.runs, f"{name} does not run"
        server.core = server.writing = None
        for other in self.servers:
            if other is not server:
                self.channels[other.number, server.number].clear()

    def connect(self, one: str, other: str) -> None:
        """What they send each other arrives again."""
        a, b = self[one].number, self[other].number
        self.cut[a, b] = self.cut[b, a] = False

    def disconnect(self, one: str, other: str) -> None:
        """What they send each other is lost from now on."""
        a, b = self[one].number, self[other].number
        self.cut[a, b] = self.cut[b, a] = True

    def refuse(self, name: str, about: str) -> None:
        """A dial is refused: no such process runs."""
        assert not self[about].runs, f"{about} runs"
        self._input(self[name], "receive", self[about].number, PeerRefused())

    def deliver_next(self, kind: str, one: str, other: str) -> None:
        """The first message of that kind on the channel arrives, before others."""
        channel = self.channels[self[one].number, self[other].number]
        place = next(place for place, data in enumerate(channel) if type(self._decode(data)).__name__ == kind)
        data = channel[place]
        del channel[place]
        self.say("receive", f"{other} receives {self.words.message(self._decode(data))}")
        self._arrive(self[one], self[other], data)

    def drop_kind(self, kind: str, one: str, other: str) -> None:
        """The messages of that kind on the channel are lost."""
        channel = self.channels[self[one].number, self[other].number]
        kept = [data for data in channel if type(self._decode(data)).__name__ != kind]
        lost = len(channel) - len(kept)
        assert lost, f"no {kind} is on its way from {one} to {other}"
        channel.clear()
        channel.extend(kept)
        self.say("receive", f"lost: {one} -> {other} {kind}{f', {lost} of them' if lost > 1 else ''}")

    def _tell_time(self, server: Server) -> None:
        server.core.set_clock(self.now_us, WALL_MS + self.now_us // 1000)

    def _input(self, server: Server, kind: str, *arguments: Any) -> None:
        if server.runs:
            self._tell_time(server)
        super()._input(server, kind, *arguments)

    def _send(self, server: Server, peer: int, message: Any) -> None:
        if not self.cut[server.number, peer] and self.servers[peer].runs:
            self.say(type(message).__name__, self.words.to(server.name, peer, message))
            self.channels[server.number, peer].append(msgspec.msgpack.encode(message))
