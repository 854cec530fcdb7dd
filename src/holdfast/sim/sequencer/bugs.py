"""Planted bugs: each breaks one law of the sequencer protocol in one small place, to prove that the simulator finds it.

Nothing here is in the product. A bug bends the parts of a core after they were made, or takes another gate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.kernel.gate import Gate
from holdfast.replication.sequencer.copying import Donation
from holdfast.replication.sequencer.core import Sequencer
from holdfast.replication.sequencer.entering import Entering
from holdfast.replication.sequencer.messages import Forwarded, Promised, Row, Run, Seize, Submit, Tail
from holdfast.sim.bugs import HastyGate


class Bug(msgspec.Struct, frozen=True):
    """How it is planted."""

    bend: Callable[[Sequencer], None]
    gate: Callable[[], Gate] = Gate


def _put(owner: object, name: str, method: Callable[..., Any]) -> None:
    """Put a method of one instance in the place of its class's."""
    setattr(owner, name, method)


def _nothing(_core: Sequencer) -> None:
    """The bug is elsewhere, or nowhere."""


def _one_is_enough(core: Sequencer) -> None:
    """The front end believes the first result that comes."""
    front = core.front
    answer = front._answer

    def bent(pending: Any, manager: int, row: Row) -> None:
        if pending.agreed is None:
            front._agree(pending, row)
        answer(pending, manager, row)

    _put(front, "_answer", bent)


def _same_one_twice(core: Sequencer) -> None:
    """Two equal answers are enough, though both are of the same replica."""
    front = core.front
    counts: dict[tuple[int, bytes], int] = {}

    def bent(_peer: int, message: Forwarded) -> None:
        for row in message.rows:
            pending = front.pending.get(row[2])
            counts[row[2], row[4]] = counts.get((row[2], row[4]), 0) + 1
            if pending is not None and pending.agreed is None and counts[row[2], row[4]] == 2:
                front._agree(pending, row)
        front.on_forwarded(message)

    core._handlers[Forwarded] = bent


def _unjournaled(core: Sequencer) -> None:
    """What is in the own journal is taken for decided."""
    manager = core.manager
    _put(manager, "consider_decided", lambda: manager.decide(min(manager._own_upto, manager.log.last)))


def _said_early(core: Sequencer) -> None:
    """Says that it has journaled before it has."""
    manager, shared = core.manager, core.shared
    tell, promise = manager._tell, shared.promise

    def bent() -> None:
        _put(shared, "promise", shared.send)
        tell()
        _put(shared, "promise", promise)

    _put(manager, "_tell", bent)


def _longest_adopted(core: Sequencer) -> None:
    """A new sequencer takes up the longest order, of whatever epoch."""
    sequencer = core.sequencer
    core._handlers[Promised] = lambda peer, message: sequencer.on_promised(
        peer, msgspec.structs.replace(message, entered=0)
    )


def _streams_forgotten(core: Sequencer) -> None:
    """A new sequencer does not know what has a number already."""
    sequencer = core.sequencer
    lead = sequencer._lead

    def bent() -> None:
        lead()
        sequencer.streams.clear()

    _put(sequencer, "_lead", bent)


def _entered_early(core: Sequencer) -> None:
    """An epoch is entered before all is there that it inherited."""
    manager = core.manager

    def bent(entering: Entering) -> None:
        manager._enter(entering)

    _put(manager, "_enter_or_ask", bent)


def _empty_promises(core: Sequencer) -> None:
    """A manager whose disk is empty counts like any other."""
    core.manager.admitted = True


def _wrong_remembered(core: Sequencer) -> None:
    """What a replica did before it was begun anew is held against it."""
    council = core.manager.council
    begin = council._begin_copy

    def bent(manager: int, why: str, **how: bool) -> None:
        known = council.wrong[manager]
        begin(manager, why, **how)
        council.wrong[manager], council.begun[manager] = known[-2:], 0

    _put(council, "_begin_copy", bent)


def _unchecked_copy(core: Sequencer) -> None:
    """A copy is taken for good whatever its digest."""
    copying = core.manager.copying

    def bent() -> None:
        if copying.taking is not None and copying.taking.is_whole:
            copying._install(copying.taking)

    _put(copying, "compare", bent)


def _another_number(core: Sequencer) -> None:
    """The donor gives the state that it has, not the one as of the number asked for, and nobody checks."""
    _unchecked_copy(core)
    copying = core.manager.copying

    def bent(to: int, number: int) -> None:
        copying._end_donation()
        copying.donation = Donation(to, number)
        copying.donation.used_us = core.shared.now_us
        copying._open(copying.donation)

    _put(copying, "donate", bent)


def _two_in_an_epoch(core: Sequencer) -> None:
    """An epoch is promised to a sequencer that was restarted, though it may have led it before."""
    manager, shared = core.manager, core.shared
    promise = shared.promise

    def bent(peer: int, message: Seize) -> None:
        entered = manager.entered
        if message.epoch == manager.promised:
            manager.promised_life, manager.entered = message.life, -1
        _put(shared, "promise", lambda to, said: promise(to, msgspec.structs.replace(said, entered=entered)))
        manager.on_seize(peer, message)
        _put(shared, "promise", promise)
        manager.entered = entered

    core._handlers[Seize] = bent


def _decided_by_hearsay(core: Sequencer) -> None:
    """When decided runs are fetched, all that stands before them here is taken for decided."""
    manager = core.manager

    def bent(_peer: int, message: Tail) -> None:
        manager.on_tail(message)
        manager.decide(manager.log.last)

    core._handlers[Tail] = bent


def _gaps_ignored(core: Sequencer) -> None:
    """The sequencer gives a number to whatever comes."""
    sequencer = core.sequencer

    def bent(peer: int, message: Submit) -> None:
        runs: list[Run] = []
        for run in message.runs:
            incarnation, last = sequencer.streams.get(peer, (0, 0))
            if run.incarnation == incarnation and run.serial > last + 1:
                sequencer.streams[peer] = (incarnation, run.serial - 1)
            runs.append(run)
        sequencer.on_submit(peer, Submit(tuple(runs)))

    core._handlers[Submit] = bent


def _held_back(core: Sequencer) -> None:
    """What an earlier sequencer has said, and was held back, comes in although a later one was promised more."""
    manager = core.manager
    promise = manager.promise

    def bent(epoch: int, life: int) -> None:
        held, manager._held = manager._held, {}
        promise(epoch, life)
        manager._held = held

    _put(manager, "promise", bent)


def _order_forgotten(core: Sequencer) -> None:
    """Of the order only a few numbers are kept, whether or not enough replicas are beyond them."""
    log = core.manager.log
    forget = log.forget
    _put(log, "forget", lambda keep: forget(min(keep, 3)))


def _word_outlives(core: Sequencer) -> None:
    """Whom an operator has once said to be right is trusted for ever."""
    _put(core.manager.council, "_end_word", lambda _why: None)


BUGS: dict[str, Bug] = {
    "hasty-gate": Bug(_nothing, HastyGate),
    "one-is-enough": Bug(_one_is_enough),
    "same-one-twice": Bug(_same_one_twice),
    "unjournaled": Bug(_unjournaled),
    "said-early": Bug(_said_early),
    "longest-adopted": Bug(_longest_adopted),
    "streams-forgotten": Bug(_streams_forgotten),
    "entered-early": Bug(_entered_early),
    "empty-promises": Bug(_empty_promises),
    "wrong-remembered": Bug(_wrong_remembered),
    "unchecked-copy": Bug(_unchecked_copy),
    "another-number": Bug(_another_number),
    "two-in-an-epoch": Bug(_two_in_an_epoch),
    "decided-by-hearsay": Bug(_decided_by_hearsay),
    "gaps-ignored": Bug(_gaps_ignored),
    "held-back": Bug(_held_back),
    "order-forgotten": Bug(_order_forgotten),
    "word-outlives": Bug(_word_outlives),
}
"""By name."""

NO_BUG = Bug(_nothing)
