"""Messages and records in words, short enough that a person reads a whole exchange.

A run is written `a.1/3 [reserve bob 3]`: what node a submitted in its first life, from its serial 3 on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from holdfast.kernel.contracts import PeerConnected, PeerDisconnected, PeerRefused, Request
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.gate import Group
from holdfast.kernel.machine import Machine
from holdfast.replication.sequencer import messages
from holdfast.replication.sequencer.messages import (
    ADVANCE,
    CONTROL,
    SEQUENCER_ORIGIN,
    Row,
    Run,
    decode_control,
    decode_record,
)
from holdfast.replication.sequencer.replica import Batches


class Words:
    """The words for a service whose nodes have these names and whose batches this machine reads."""

    def __init__(self, names: list[str], machine: Machine) -> None:
        self._names = names
        self._batches = Batches(machine)
        self._lives: dict[int, list[int]] = {}
        m = messages
        self._details: dict[type, Callable[[Any], str]] = {
            m.Submit: lambda x: self.runs(x.runs),
            m.Gap: lambda x: f"from serial {x.serial}",
            m.Stale: lambda x: "",
            m.Results: lambda x: self.rows(x.rows),
            m.Forwarded: lambda x: f"of {self.name(x.manager)}: {self.rows(x.rows)}",
            m.Recall: lambda x: f"serial {x.serial}",
            m.Order: lambda x: f"{x.epoch}: from {x.first} {self.runs(x.runs)}, {x.decided} decided",
            m.Beat: lambda x: f"{x.epoch}: {x.last} ordered, {x.decided} decided",
            m.Journaled: lambda x: f"{x.epoch}: up to {x.upto}, {x.decided} decided",
            m.Missing: lambda x: f"{x.epoch}: from {x.first}",
            m.Seize: lambda x: f"{x.epoch}{self.disks(x.rejoined)}",
            m.Promised: lambda x: f"{x.epoch}, entered {x.entered}, {x.decided} decided, then {self.runs(x.runs)}",
            m.Refused: lambda x: f"promised {x.promised}",
            m.Begin: lambda x: f"{x.epoch}: after {x.base} {self.runs(x.runs)}{self.disks(x.rejoined)}",
            m.Rejoin: lambda x: x.disk,
            m.Fetch: lambda x: f"from {x.first}",
            m.Tail: lambda x: f"from {x.first} {self.runs(x.runs)}, {x.decided} decided",
            m.Jump: lambda x: f"after {x.decided}",
            m.FetchState: lambda x: f"as of {x.number}, part {x.index}",
            m.StatePart: lambda x: f"as of {x.number}, part {x.index}{', the last' if x.last else ''}",
            m.Inquire: lambda x: "",
            m.Told: lambda x: f"{x.position}: {x.replacements} replaced, {x.restarts} restarted",
            m.Identity: lambda x: f"{x.disk} of {x.app}",
            m.Admitted: lambda x: "",
            m.Started: lambda x: "",
            m.Promise: lambda x: f"{x.epoch}",
            m.Entered: lambda x: f"{x.epoch}: after {x.keep} {self.runs(x.runs)}",
            m.Ordered: lambda x: f"from {x.first} {self.runs(x.runs)}, {x.decided} decided",
            m.Jumped: lambda x: f"after {x.decided}",
            PeerConnected: lambda x: "",
            PeerDisconnected: lambda x: "",
            PeerRefused: lambda x: "",
        }

    def name(self, node: int) -> str:
        """Of a node."""
        return self._names[node]

    def disks(self, rejoined: Iterable[tuple[int, str]]) -> str:
        """Who has come back with which new disk."""
        told = ", ".join(f"{self.name(node)} with {disk}" for node, disk in rejoined)
        return f", letting in {told}" if told else ""

    def place(self, origin: int, incarnation: int, serial: int) -> str:
        """`a.1/3`."""
        if origin == SEQUENCER_ORIGIN:
            return "time"
        lives = self._lives.setdefault(origin, [])
        if incarnation not in lives:
            lives.append(incarnation)
        return f"{self.name(origin)}.{lives.index(incarnation) + 1}/{serial}"

    def runs(self, runs: Iterable[Run]) -> str:
        """In order."""
        return "; ".join(self.run(run) for run in runs) or "nothing"

    def run(self, run: Run) -> str:
        """One, with what it asks for."""
        if run.kind == ADVANCE:
            return "[time]"
        place = self.place(run.origin, run.incarnation, run.serial)
        try:
            if run.kind == CONTROL:
                return f"{place} [{self.control(decode_control(run.batch))}]"
            return f"{place} [{'; '.join(self.line(request) for request in self._batches.decode(run))}]"
        except MalformedInput:
            return f"{place} [nonsense]"

    def control(self, control: Any) -> str:
        """What the roles agree on."""
        if isinstance(control, messages.Split):
            return f"too few alike of {','.join(map(self.name, control.managers))} at {control.number}"
        who, kind = self.name(control.manager), type(control).__name__
        if isinstance(control, messages.Trust):
            return f"{who} is right"
        if isinstance(control, messages.Wrong):
            return f"{who} was wrong at {','.join(map(str, control.numbers))}"
        if isinstance(control, messages.Silent):
            return f"{who} is silent at {control.number}"
        if isinstance(control, messages.DigestAt):
            return f"{who}'s state as of {control.number} is {control.digest.hex()[:6]}"
        if isinstance(control, messages.NeedCopy):
            return f"{who} needs a copy"
        assert isinstance(control, messages.Restored), kind
        return f"{who} has the state of {control.number}"

    def rows(self, rows: Iterable[Row]) -> str:
        """Results: by number."""
        return "; ".join(f"{number} {self.replies(data)}" for _, _, _, number, data in rows)

    def replies(self, data: bytes) -> str:
        """What a replica said, or that it makes no sense."""
        try:
            found: list[Any] = msgspec.msgpack.decode(data)
        except msgspec.DecodeError:
            return "garbage"
        replies = self._batches.decode_replies(data, len(found))
        return "garbage" if replies is None else " / ".join(reply.text() for reply in replies)

    @staticmethod
    def line(request: Request) -> str:
        """A request as its client wrote it."""
        command = request.command
        fields = [getattr(command, name) for name in command.__struct_fields__]
        values = [",".join(map(str, field)) if isinstance(field, tuple) else str(field) for field in fields]
        who = [f"@{request.client}:{request.number}"] if request.client else []
        return " ".join([*who, str(command.__struct_config__.tag), *values])

    def message(self, message: Any) -> str:
        """A message, local event or record: its kind and what matters of it."""
        return f"{type(message).__name__} {self._details[type(message)](message)}".rstrip()

    def to(self, sender: str, peer: int, message: Any) -> str:
        """A message on its way."""
        return f"{sender} -> {self._names[peer]} {self.message(message)}"

    def group(self, group: Group) -> list[str]:
        """What one write makes durable."""
        whole = [f"a snapshot up to record {part.upto}" for part in group.snapshot if part.last]
        return [*whole, *(self.message(decode_record(record)) for record in group.records)]
