"""What was answered to a question at one node is heard at another, from the same number and voted there too."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from holdfast.apps.events import AddEvent, Availability, Events, ListEventAvailability
from holdfast.apps.events.replies import EventAdded, ManagersOnly
from holdfast.kernel.contracts import Person, Recovered, Request, Step
from holdfast.kernel.machine import Machine
from holdfast.kernel.placing import NotHeard, Overhear, Placed, Places, Placing
from holdfast.replication.sequencer import Sequencer, SequencerConfiguration, genesis_records
from holdfast.replication.sequencer.words import Fault

MANAGER = Person("TORM1000")
RESEND_US = 40_000


class Trio:
    """Three nodes in all roles; their disks take no time. `lost(sender, receiver, message)` says what is dropped."""

    def __init__(self) -> None:
        self.now_us = 0
        self.replies: dict[str, Any] = {}
        self.wire: deque[tuple[int, int, Any]] = deque()
        self.lost = lambda sender, receiver, message: False
        self.nodes = [self._node(me) for me in range(3)]
        self.due_us: dict[int, int | None] = {}
        for me, node in enumerate(self.nodes):
            records = genesis_records(f"disk {me}", "events", Machine(Events()).store.snapshot())
            node.set_clock(0, 1_000_000)
            self._take(me, node.recover(0, Recovered(b"", 1, records, fresh=False)))

    def _node(self, me: int) -> Sequencer:
        configuration = SequencerConfiguration(me=me, nodes=("a", "b", "c"), disk=f"disk {me}", resend_us=RESEND_US)
        return Sequencer(Machine(Events()), configuration)

    def _take(self, me: int, step: Step) -> None:
        assert step.halt is None, step.halt
        self.wire += [(me, to, message) for to, message in (*step.data, *step.promises)]
        self.replies.update((*step.replies, *step.settled_replies))
        self.due_us[me] = step.wake_us
        if step.records:
            node = self.nodes[me]
            self._take(me, node.synced(self.now_us, node.shared.records_written))

    def _deliver(self) -> None:
        while self.wire:
            sender, to, message = self.wire.popleft()
            if not self.lost(sender, to, message):
                self._take(to, self.nodes[to].receive(self.now_us, sender, message))

    def run_until(self, token: str) -> Any:
        """Let time pass until the reply to this token has come."""
        for _ in range(20_000):
            self._deliver()
            if token in self.replies:
                return self.replies[token]
            self.now_us += 1000
            for me, node in enumerate(self.nodes):
                due_us = self.due_us[me]
                if due_us is not None and self.now_us >= due_us:
                    self._take(me, node.wake(self.now_us))
        raise AssertionError(f"no reply to {token}")

    def submit(self, me: int, token: str, command: Any) -> Any:
        self._take(me, self.nodes[me].submit(self.now_us, [(token, Request(command, person=MANAGER))]))
        return self.run_until(token)

    def ask(self, me: int, token: str, query: Any, person: Person = MANAGER) -> Any:
        self._take(me, self.nodes[me].ask(self.now_us, [(token, Request(query, person=person))]))
        return self.run_until(token)


@pytest.fixture
def trio() -> Trio:
    trio = Trio()
    added = trio.submit(0, "first", AddEvent("TORM180519", "Seminars", 3))
    assert isinstance(added, EventAdded)
    return trio


QUESTION = Placing(ListEventAvailability("Seminars"))
THREE_LEFT = Availability("Seminars", (("MTL", ()), ("OTW", ()), ("TOR", (("TORM180519", 3),))))


def overhear(placed: Placed) -> Overhear:
    return Overhear(placed.origin, placed.incarnation, placed.serial)


def test_the_answer_is_the_one_of_its_number_whatever_came_after(trio: Trio) -> None:
    assert all(isinstance(node, Places) for node in trio.nodes)
    placed = trio.ask(0, "asked", QUESTION)
    assert isinstance(placed, Placed)
    assert placed.reply == THREE_LEFT
    trio.submit(1, "later", AddEvent("TORM180519", "Seminars", 9))
    for me in range(3):
        assert trio.ask(me, f"heard at {me}", overhear(placed)) == placed
    assert not any(node.overhearing.wanted for node in trio.nodes)


def test_a_refusal_has_its_place_too(trio: Trio) -> None:
    placed = trio.ask(2, "asked", QUESTION, Person("TORC1000"))
    assert placed.reply == ManagersOnly("TORC1000", "listEventAvailability")
    assert trio.ask(1, "heard", overhear(placed)) == placed


@pytest.mark.parametrize("kind", ["wrong", "garbage", "silent"])
def test_a_wrong_replica_is_outvoted_where_it_is_overheard(trio: Trio, kind: Any) -> None:
    trio.submit(1, "fault", Fault(kind))
    placed = trio.ask(0, "asked", QUESTION)
    assert trio.ask(1, "heard", overhear(placed)) == placed
    assert placed.reply == THREE_LEFT


def test_what_is_lost_is_asked_again_until_the_deadline(trio: Trio) -> None:
    placed = trio.ask(0, "asked", QUESTION)
    dropped: list[Any] = []

    def first_ones(sender: int, receiver: int, message: Any) -> bool:
        if type(message).__name__ in ("Listen", "Heard") and len(dropped) < 6:
            dropped.append(message)
            return True
        return False

    trio.lost = first_ones
    began_us = trio.now_us
    assert trio.ask(1, "heard", overhear(placed)) == placed
    assert RESEND_US <= trio.now_us - began_us < 10 * RESEND_US
    assert len(dropped) == 6
    unknown = Overhear(0, placed.incarnation, placed.serial + 1_000)
    assert trio.ask(1, "never", unknown) == NotHeard()
    assert not trio.nodes[1].overhearing.wanted
