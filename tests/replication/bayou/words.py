"""Messages and records in words, short enough that a person reads a whole exchange.

A write is written `law-3`, with its stamp where it is sent: `law-3 at 08:00:01.250`. A vector tells
of each replica how many of its writes are known: `biology 2, law 3`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from holdfast.kernel.contracts import PeerConnected, PeerDisconnected
from holdfast.kernel.gate import Group
from holdfast.kernel.machine import Machine
from holdfast.replication.bayou import messages
from holdfast.replication.bayou.messages import CREATION, RETIREMENT, Updates, Write, decode_record

DAY_MS = round(datetime(2026, 11, 30, 8, tzinfo=UTC).timestamp() * 1000) - 1000
"""A second before every story begins: it is Monday, eight o'clock."""
FAR_MS = 1 << 47
"""Some year beyond the calendar's last."""


def _listed(names: Any) -> str:
    return ", ".join(f"{replica}-{number}" for replica, number in names)


class Words:
    """The words for a service whose nodes have these names and whose writes this machine reads."""

    def __init__(self, names: list[str], machine: Machine) -> None:
        self._names = names
        self._machine = machine
        self._details: dict[type, Callable[[Any], str]] = {
            messages.Have: lambda m: f"{self.vector(m.vector)}; {m.csn} committed{', wants' if m.wants else ''}",
            messages.Updates: self.updates,
            messages.Request: lambda m: self.updates(m.updates),
            messages.Reply: lambda m: self.updates(m.updates),
            messages.Released: lambda m: self.updates(m.updates),
            messages.Ask: lambda m: f"up to {self.time(m.ms)}",
            messages.Promise: lambda m: f"never at or below {self.time(m.ms)}; {self.updates(m.updates)}",
            messages.Release: lambda m: f"{m.csn} committed",
            messages.StatePart: lambda m: f"as of commit {m.csn}, part {m.index}{', the last' if m.last else ''}",
            messages.StateNext: lambda m: f"as of commit {m.csn}, part {m.index}",
            messages.Store: lambda m: f"epoch {m.epoch}, {self.proposals(m.csn, m.proposals)}, {m.confirmed} confirmed",
            messages.Stored: lambda m: f"epoch {m.epoch}, up to {m.csn}{'' if m.accepted else ', refused'}",
            messages.Claim: lambda m: f"epoch {m.epoch}, has {m.csn}",
            messages.Vow: lambda m: f"epoch {m.epoch}, {self.proposals(m.csn, m.proposals)}",
            messages.ClaimRefused: lambda m: f"for epoch {m.epoch}",
            messages.Yield: lambda m: f"epoch {m.epoch}",
            messages.Undone: lambda m: _listed(m.names),
            messages.Create: lambda m: f"for {m.node}",
            messages.Created: lambda m: f"{m.replica} by {m.creator}-{m.number}",
            PeerConnected: lambda m: "",
            PeerDisconnected: lambda m: "",
            messages.Identity: lambda m: f"{m.disk} of {m.app}",
            messages.Named: lambda m: f"{m.replica} by {m.creator}-{m.number}",
            messages.Logged: lambda m: self.writes(m.writes),
            messages.Committed: lambda m: self.commits(m.first - 1, m.names),
            messages.Promised: lambda m: f"never at or below {self.time(m.ms)}",
            messages.Proposed: lambda m: f"epoch {m.epoch}, {self.proposals(m.first - 1, m.proposals)}",
            messages.Vowed: lambda m: f"epoch {m.epoch}",
            messages.Enthroned: lambda m: f"{self._names[m.primary]}, epoch {m.epoch}",
            messages.Forked: lambda m: f"{m.replica} after {m.number}",
            messages.MadeAnew: lambda m: "",
            messages.Admitted: lambda m: "",
            messages.LossTold: lambda m: f"after commit {m.loss.csn}, undone {_listed(m.loss.undone)}",
        }

    @staticmethod
    def time(ms: int) -> str:
        """`08:00:01.250` on the first day, with the day on others."""
        if not 0 <= ms < 2**45:
            return f"{ms} ms"
        if not 0 <= ms < FAR_MS:
            return f"{ms} ms"
        moment = datetime.fromtimestamp(ms / 1000, UTC)
        day = "" if ms - DAY_MS < 16 * 3_600_000 and ms >= DAY_MS else f"{moment:%m-%d} "
        return f"{day}{moment:%H:%M:%S}.{ms % 1000:03}"

    def write(self, write: Write) -> str:
        """A write with its stamp."""
        kind = {CREATION: " (a creation)", RETIREMENT: " (a retirement)"}.get(write.kind, "")
        return f"{write.replica}-{write.number} at {self.time(write.ms)}{kind}"

    def writes(self, writes: Iterable[Write]) -> str:
        """Several, in order."""
        return ", ".join(map(self.write, writes))

    @staticmethod
    def commits(csn: int, names: Iterable[tuple[str, int]]) -> str:
        """`1 law-1, 2 biology-1`: commit numbers and the writes."""
        return ", ".join(f"{number} {name}-{count}" for number, (name, count) in enumerate(names, csn + 1))

    def proposals(self, csn: int, proposals: Iterable[tuple[int, Write]]) -> str:
        """What stands behind commit `csn`."""
        return self.commits(csn, ((write.replica, write.number) for _, write in proposals)) or f"nothing after {csn}"

    @staticmethod
    def vector(vector: Iterable[tuple[str, int]]) -> str:
        """Those of which something is known."""
        return ", ".join(f"{name} {number}" for name, number in vector if number) or "nothing"

    def updates(self, updates: Updates) -> str:
        """What it brings, and what must be there before it."""
        parts = []
        if updates.writes:
            parts.append(f"after {self.vector(updates.basis)}: {self.writes(updates.writes)}")
        if updates.commits:
            parts.append(f"commit {self.commits(updates.csn, updates.commits)}")
        return "; ".join(parts) or "nothing new"

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
