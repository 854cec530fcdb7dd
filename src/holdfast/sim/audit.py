"""What is watched at every step of a run, beside the history that is judged at its end.

- A promise or reply leaves only when all that its core wrote up to it is on the disk. This is counted here anew, from
  the steps and from the disk, not taken from the gate.
- Within a process, epoch and position never go back.
- Replicas at the same position have the same digest, across all hosts, restarts and times.
- A retry gets the text of the first answer; the replicated time never goes back.
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.kernel.contracts import Peer, Step
from holdfast.kernel.gate import Group
from holdfast.sim.trace import host_name, render
from holdfast.sim.world import World


class Violation(Exception):
    """A law is broken. `kind` names it in a word or two; the text says where, what and when."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Probe(msgspec.Struct, frozen=True):
    """What a core shows of itself after an input. `alone`: nobody but its own disk holds what it has
    executed, so its position is firm only when all it asked for is synced."""

    state: str
    epoch: int
    position: int
    digest: bytes
    alone: bool = False


def durables(work: Step | Group) -> int:
    """How many things this asks the disk to keep."""
    return len(work.records) + len(work.snapshot) + (1 if work.reset else 0)


class ProcessAudit:
    """Counts what one process asked its disk to keep and what its disk kept: all things, and the records among them."""

    def __init__(self, world: World, host: Peer) -> None:
        self.world = world
        self.name = host_name(host)
        self.asked = 0
        self.kept = 0
        self.records_kept = 0
        self.last: Probe | None = None
        self._needs: dict[int, tuple[Any, int, int]] = {}

    def step(self, step: Step) -> None:
        """A core returned `step`: note what each promise and reply in it rests on."""
        self.asked += durables(step)
        if self.kept < self.asked:
            for item in (*step.promises, *step.replies, *step.changes):
                self._needs[id(item)] = (item, self.asked, 0)
            for item in (*step.settled_promises, *step.settled_replies, *step.settled_changes):
                self._needs[id(item)] = (item, 0, step.settled_records)

    def synced(self, group: Group) -> None:
        """The disk holds `group`."""
        self.kept += durables(group)
        self.records_kept += len(group.records)

    def leaves(self, item: Any) -> None:
        """A promise, reply or change is let go."""
        _, things, records = self._needs.pop(id(item), (None, 0, 0))
        missing = max(things - self.kept, records - self.records_kept)
        if missing > 0:
            raise Violation(
                "promise before sync",
                f"{self.name} at {self.world.now_us} us lets go {render(item[1] if isinstance(item, tuple) else item)} "
                f"while {missing} of the things it rests on are not synced",
            )


class Audit:
    """The watch over all hosts of a run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.digests: dict[int, tuple[bytes, str, int]] = {}
        self.answers: dict[tuple[str, int], str] = {}
        self.acknowledged_position = 0
        self.time_ms = 0

    def state(self, process: ProcessAudit, probe: Probe) -> None:
        """A core shows `probe`."""
        last = process.last
        if last is not None:
            if probe.epoch < last.epoch:
                raise Violation("epoch", f"{process.name} went back from epoch {last.epoch} to {probe.epoch}")
            if probe.position < last.position:
                where = f"from position {last.position} to {probe.position}"
                raise Violation("position", f"{process.name} went back {where}")
            if probe == last and not probe.alone:
                process.last = probe
                return
        process.last = probe
        if probe.alone and process.kept < process.asked:
            return
        known = self.digests.get(probe.position)
        if known is None:
            self.digests[probe.position] = (probe.digest, process.name, self.world.now_us)
        elif known[0] != probe.digest:
            raise Violation(
                "digest",
                f"at position {probe.position} {process.name} has {probe.digest.hex()} at {self.world.now_us} us, "
                f"{known[1]} had {known[0].hex()} at {known[2]} us",
            )

    def answer(self, client: str, number: int, text: str) -> None:
        """Request (client, number) was answered for good: every answer to it must be this one."""
        first = self.answers.setdefault((client, number), text)
        if first != text:
            raise Violation("exactly once", f"request {number} of {client} was answered {first!r}, then {text!r}")
