"""Messages and records in words, short enough that a person reads a whole exchange.

A stamp is written `5:a` (Lamport's `Tm:Pi`), a batch as its command lines in brackets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from holdfast.kernel.contracts import PeerConnected, PeerDisconnected, PeerRefused, Request
from holdfast.kernel.gate import Group
from holdfast.kernel.machine import Machine
from holdfast.replication.lamport import messages
from holdfast.replication.lamport.messages import Entry, View, decode_record


class Words:
    """The words for a service whose servers have these names and whose batches this machine reads."""

    def __init__(self, names: list[str], machine: Machine) -> None:
        self._names = names
        self._machine = machine
        self._details: dict[type, Callable[[Any], str]] = {
            messages.RequestResource: lambda m: f"time={m.time}{self._after(m.previous)} {self.batch(m.batch)}",
            messages.Acknowledge: lambda m: f"time={m.time} upto={self._upto(m.upto)}",
            messages.ReleaseResource: lambda m: f"time={m.time} upto={self.stamp(m.upto_time, m.upto_server)}",
            messages.Confirm: lambda m: f"round={m.round}",
            messages.Confirmed: lambda m: f"round={m.round}",
            messages.Presence: lambda m: f"{m.state}, view {m.epoch}, position {m.position}",
            messages.Seal: lambda m: f"{m.epoch}",
            messages.Sealed: lambda m: (
                f"{m.epoch}, holding view {m.installed}, position {m.position}"
                + (f", queue {self.entries(m.pending)}" if m.pending else "")
            ),
            messages.SealRefused: lambda m: f"{m.epoch}, promised {m.promised}",
            messages.Nominate: lambda m: f"above {m.above}",
            messages.Install: lambda m: f"{self.view(m.view)} from position {m.base}{self._with(m.entries)}",
            messages.Installed: lambda m: f"{m.epoch}",
            messages.Activate: lambda m: f"{m.epoch}",
            messages.Fetch: lambda m: f"from position {m.position}" + (f", part {m.index}" if m.index else ""),
            messages.Tail: lambda m: f"from position {m.base}{self._with(m.entries)}",
            messages.StatePart: lambda m: (
                f"at position {m.position}, part {m.index}" + (", the last" if m.last else "")
            ),
            messages.Admit: lambda m: f"at position {m.position}, incarnation {m.incarnation}",
            PeerConnected: lambda m: "",
            PeerDisconnected: lambda m: "",
            PeerRefused: lambda m: "",
            messages.Identity: lambda m: f"{m.disk} of {m.app}",
            messages.Started: lambda m: f"incarnation {m.incarnation}",
            messages.Promised: lambda m: f"{m.epoch}",
            messages.Accepted: lambda m: f"{self.stamp(m.time, m.server)} {self.batch(m.batch)}",
            messages.ViewInstalled: lambda m: f"{self.view(m.view)} from position {m.base}{self._with(m.entries)}",
            messages.Copied: lambda m: f"from position {m.base}{self._with(m.entries)}",
        }

    @staticmethod
    def _after(previous: int) -> str:
        return f" previous={previous}" if previous else ""

    def _upto(self, times: tuple[int, ...]) -> str:
        return ",".join(self.stamp(time, server) for server, time in enumerate(times) if time) or "0"

    def _with(self, entries: Iterable[Entry]) -> str:
        return f" with {self.entries(entries)}" if entries else ""

    def stamp(self, time: int, server: int) -> str:
        """`5:a`; `0` for the stamp before all others."""
        return f"{time}:{self._names[server]}" if server >= 0 else str(time)

    def view(self, view: View) -> str:
        """`view 64 of a, b, c`."""
        return f"view {view.epoch} of {', '.join(self._names[member] for member in view.members)}"

    def entries(self, entries: Iterable[Entry]) -> str:
        """Stamped batches, in order."""
        return ", ".join(f"{self.stamp(time, server)} {self.batch(batch)}" for time, server, batch in entries)

    def batch(self, batch: bytes) -> str:
        """`[reserve bob 3; @phone:1 delete ann]`."""
        return f"[{'; '.join(self.line(request) for request in self._machine.decode(batch))}]"

    @staticmethod
    def line(request: Request) -> str:
        """A request as its client wrote it."""
        command = request.command
        fields = [getattr(command, name) for name in command.__struct_fields__]
        values = [",".join(map(str, field)) if isinstance(field, tuple) else str(field) for field in fields]
        word = str(command.__struct_config__.tag)
        lowest = f"/{request.lowest}" if request.lowest else ""
        who = [f"@{request.client}:{request.number}{lowest}"] if request.client else []
        return " ".join([*who, word, *values])

    def message(self, message: Any) -> str:
        """A message, local event or record: its kind and what matters of it."""
        return f"{type(message).__name__} {self._details[type(message)](message)}".rstrip()

    def to(self, sender: str, peer: int, message: Any) -> str:
        """A message on its way."""
        return f"{sender} -> {self._names[peer]} {self.message(message)}"

    def group(self, group: Group) -> list[str]:
        """What one write makes durable."""
        reset = ["a journal begun anew"] if group.reset else []
        whole = [f"a snapshot up to record {part.upto}" for part in group.snapshot if part.last]
        return [*reset, *whole, *(self.message(decode_record(record)) for record in group.records)]
