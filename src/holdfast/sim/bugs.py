"""Planted bugs: each breaks one law in one small place, to prove that the simulator finds it.

Nothing here is in the product. A bug wraps what a `Setup` builds: the gate, or a core whose parts
it bends after they were made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.kernel.contracts import Recovered, Step
from holdfast.kernel.gate import Gate
from holdfast.kernel.machine import Machine
from holdfast.replication.lamport import Lamport
from holdfast.replication.lamport.replica import ACTIVE, SEALED, Pending, Replica
from holdfast.sim.host import Host, Setup

Bend = Callable[[Lamport], None]


class HastyGate(Gate):
    """Lets promises and replies go at once."""

    def absorb(self, step: Step) -> None:
        super().absorb(step)
        self._held.clear()
        self._settled.clear()
        self.promises = [*self.promises, *(item for item in step.promises if item not in self.promises)]
        self.promises += [item for item in step.settled_promises if item not in self.promises]
        known = [token for token, _ in self.replies]
        self.replies += [item for item in (*step.replies, *step.settled_replies) if item[0] not in known]


def _hasty_gate(setup: Setup) -> Setup:
    return msgspec.structs.replace(setup, gate=HastyGate)


def _lying_disk(setup: Setup) -> Setup:
    """A sync that only reaches the cache: a power failure loses what was reported as durable."""
    return msgspec.structs.replace(setup, lying_disk=True)


def _bent(bend: Bend) -> Callable[[Setup], Setup]:
    """A bug in the Lamport core."""

    def plant_in(setup: Setup) -> Setup:
        def core(host: Host) -> Any:
            made = setup.core(host)
            bend(made)
            return made

        return msgspec.structs.replace(setup, core=core)

    return plant_in


def _early_reply(core: Lamport) -> None:
    """Takes the critical section for granted without rule 5 (ii), the acknowledgements."""
    setattr(core.exclusion, "granted", lambda: bool(core.replica.queue))  # noqa: B010 (a method of one instance)


def _lost_release(core: Lamport) -> None:
    """Waits for the holder's release (rule 4), and sends none of its own (rule 3)."""
    exclusion, replica = core.exclusion, core.replica
    original = exclusion.granted

    def granted() -> bool:
        return bool(replica.queue) and replica.queue[0][1] == replica.me and original()

    def release_to(servers: list[int]) -> None:
        """Nobody is told."""

    setattr(exclusion, "granted", granted)  # noqa: B010
    setattr(exclusion, "release_to", release_to)  # noqa: B010


def _stale_read(core: Lamport) -> None:
    """Answers reads from what it has, without barrier and round."""
    reads, replica = core.reads, core.replica

    def pump() -> None:
        waiting, reads.waiting = reads.waiting, []
        replica.step.replies += [(read.token, replica.machine.answer(read.request)) for read in waiting]

    setattr(reads, "pump", pump)  # noqa: B010


def _ignored_pause(core: Lamport) -> None:
    """Goes on after a pause as if nothing had been."""

    def begin(now_us: int) -> Replica:
        replica = core.replica
        replica.now_us = now_us
        replica.step = Step()
        return replica

    setattr(core, "_begin", begin)  # noqa: B010


def _double_apply(core: Lamport) -> None:
    """Executes a retry again."""
    machine: Machine = core.replica.machine

    def execute_once(request: Any) -> Any:
        context = machine._context
        context.person, context.client = request.person, request.client
        return machine.app.apply(machine.store, request.command, context)

    setattr(machine, "_execute_once", execute_once)  # noqa: B010


def _forgotten_journal(core: Lamport) -> None:
    """Comes back with the first records only, under a number that hides it."""
    original = core.recover

    def recover(now_us: int, recovered: Recovered) -> Step:
        kept = recovered.records[:2] if not recovered.snapshot else ()
        step = original(now_us, msgspec.structs.replace(recovered, records=kept))
        core.replica.number = recovered.first + len(recovered.records)
        core.replica.promised = max(core.replica.promised, 0)
        return step

    setattr(core, "recover", recover)  # noqa: B010


def _live_excluded(core: Lamport) -> None:
    """Takes a broken link for a crash."""
    replica = core.replica
    setattr(replica, "gone", lambda server: not replica.peers[server].connected)  # noqa: B010


def _sealed_epoch(core: Lamport) -> None:
    """Acknowledges and executes in an epoch that it has promised to leave."""
    replica = core.replica

    def is_in_view(peer: int, epoch: int) -> bool:
        members = () if replica.view is None else replica.view.members
        return epoch == replica.epoch and peer in members and replica.state in (ACTIVE, SEALED)

    setattr(core, "_is_in_view", is_in_view)  # noqa: B010


def _lost_queue(core: Lamport) -> None:
    """Shows an empty queue at a view change."""
    setattr(core.replica, "pending_entries", lambda: ())  # noqa: B010


def _order_of_arrival(core: Lamport) -> None:
    """Queues requests as they come, not by their stamps."""
    replica = core.replica
    original = replica.enqueue

    def enqueue(pending: Pending) -> None:
        original(pending)
        stamp = (pending.time, pending.server)
        replica.queue.remove(stamp)
        replica.queue.append(stamp)

    def execute_upto(stamp: tuple[int, int]) -> None:
        while stamp in replica.queue:
            replica._execute(replica.pending.pop(replica.queue.pop(0)))

    setattr(replica, "enqueue", enqueue)  # noqa: B010
    setattr(replica, "execute_upto", execute_upto)  # noqa: B010


def _empty_vote(core: Lamport) -> None:
    """Counts any disk as the one that was admitted, even an empty one."""
    setattr(core.replica, "is_whole", lambda server, disk, installed: True)  # noqa: B010


BUGS: dict[str, Callable[[Setup], Setup]] = {
    "promise-before-sync": _hasty_gate,
    "skipped-sync": _lying_disk,
    "early-reply": _bent(_early_reply),
    "lost-release": _bent(_lost_release),
    "stale-read": _bent(_stale_read),
    "ignored-pause": _bent(_ignored_pause),
    "double-apply": _bent(_double_apply),
    "forgotten-journal": _bent(_forgotten_journal),
    "live-excluded": _bent(_live_excluded),
    "sealed-epoch": _bent(_sealed_epoch),
    "lost-queue": _bent(_lost_queue),
    "order-of-arrival": _bent(_order_of_arrival),
    "empty-vote": _bent(_empty_vote),
}
"""By name."""


def plant(name: str, setup: Setup) -> Setup:
    """`setup` with the bug in it; "" plants none."""
    return BUGS[name](setup) if name else setup
