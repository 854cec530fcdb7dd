"""What a manager takes in of another epoch than its own, and what not."""

from __future__ import annotations

from typing import Any

from tests.replication.sequencer.nodes import Nodes

from holdfast.replication.sequencer.messages import Begin, Jump, Order, Run, Seize, Tail


def control(nodes: Nodes, serial: int, text: str) -> Run:
    """A run of node a that nobody else has."""
    return Run(7, 0, nodes.core("a").shared.incarnation, serial, 1, text.encode())


def with_a_tail(**options: int) -> tuple[Nodes, Any, int]:
    """b holds two numbers that nobody has decided; the last that is."""
    nodes = Nodes("a b c", **options)
    nodes.start_all()
    core = nodes.core("b")
    last = core.manager.log.last
    order = Order(core.manager.entered, last + 1, (control(nodes, 1, "x"), control(nodes, 2, "y")), last)
    core.receive(nodes.now_us, 0, order)
    assert (core.manager.log.decided, core.manager.log.last) == (last, last + 2)
    return nodes, core, last


def test_what_is_decided_in_a_later_epoch_is_not_put_behind_what_is_not_decided_here() -> None:
    nodes, core, last = with_a_tail()
    tail = Tail(
        core.manager.entered + 3, last + 1, tuple(control(nodes, serial, "z") for serial in (1, 2, 3)), last + 3
    )
    core.receive(nodes.now_us, 2, tail)
    assert (core.manager.log.decided, core.manager.log.last) == (last, last + 2)


def test_what_is_decided_in_the_same_epoch_is_taken_in_and_no_more_is_decided_by_it() -> None:
    nodes, core, last = with_a_tail()
    core.receive(nodes.now_us, 2, Tail(core.manager.entered, last + 1, (control(nodes, 1, "x"),), last + 1))
    assert (core.manager.log.decided, core.manager.log.last) == (last + 1, last + 2)


def test_a_jump_of_a_later_epoch_is_none_of_ours() -> None:
    nodes, core, last = with_a_tail()
    standing = core.manager.council.standing()
    core.receive(nodes.now_us, 2, Jump(core.manager.entered + 3, last + 9, standing))
    assert core.manager.log.last == last + 2


def test_the_own_order_stays_until_all_that_the_epoch_inherited_is_here() -> None:
    nodes, core, last = with_a_tail()
    epoch = core.manager.entered + 3
    inherited = tuple(control(nodes, serial, "z") for serial in (1, 2, 3))
    core.receive(nodes.now_us, 0, Begin(epoch, last, inherited[:1], last + 3, ()))
    assert core.manager.entered < epoch
    assert core.manager.log.undecided == (control(nodes, 1, "x"), control(nodes, 2, "y"))
    step = core.receive(nodes.now_us, 0, Seize(epoch + 3, 1, ()))
    (promised,) = [message for _, message in step.promises if type(message).__name__ == "Promised"]
    assert promised.runs == core.manager.log.undecided


def test_an_epoch_that_comes_in_pieces_is_entered_with_the_last_of_them() -> None:
    nodes, core, last = with_a_tail()
    epoch = core.manager.entered + 3
    inherited = tuple(control(nodes, serial, "z") for serial in (1, 2, 3))
    core.receive(nodes.now_us, 0, Begin(epoch, last, inherited[:1], last + 3, ()))
    core.receive(nodes.now_us, 0, Order(epoch, last + 3, inherited[2:], last))
    assert core.manager.entered < epoch
    core.receive(nodes.now_us, 0, Order(epoch, last + 2, inherited[1:], last))
    assert core.manager.entered == epoch
    assert core.manager.log.undecided == inherited


def test_after_a_promise_nothing_that_was_held_back_comes_in() -> None:
    nodes, core, last = with_a_tail()
    epoch = core.manager.entered
    core.receive(nodes.now_us, 0, Order(epoch, last + 4, (control(nodes, 4, "late"),), last))
    core.receive(nodes.now_us, 2, Seize(epoch + 3, 1, ()))
    core.receive(nodes.now_us, 2, Tail(epoch, last + 3, (control(nodes, 3, "between"),), last + 3))
    assert core.manager.log.last == last + 3


def test_an_epoch_is_promised_to_one_life_of_its_sequencer() -> None:
    nodes, core, _ = with_a_tail()
    epoch = core.manager.entered + 3
    kinds = []
    for life in (5, 5, 6):
        step = core.receive(nodes.now_us, 0, Seize(epoch, life, ()))
        kinds.append(next(type(message).__name__ for _, message in (*step.promises, *step.data)))
    assert kinds == ["Promised", "Promised", "Refused"]
