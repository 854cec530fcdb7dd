"""Who may plant a fault in a replica, and when."""

from __future__ import annotations

from holdfast.apps.tickets import Tickets
from holdfast.kernel.contracts import Person, Recovered, Reply, Request
from holdfast.kernel.machine import Machine
from holdfast.kernel.replies import Forbidden
from holdfast.replication.sequencer import Sequencer, SequencerConfiguration, genesis_records
from holdfast.replication.sequencer.words import OPERATOR, Fault, FaultPlanted, NoReplica, NotNow


def node(*, manages: bool = True) -> Sequencer:
    """One of two nodes, just started."""
    machine = Machine(Tickets(seats=5))
    managers = (0, 1) if manages else (1,)
    core = Sequencer(machine, SequencerConfiguration(me=0, nodes=("a", "b"), disk="disk", managers=managers))
    first = genesis_records("disk", "tickets", machine.store.snapshot())
    assert core.recover(1, Recovered(b"", 1, tuple(first), False)).halt is None
    return core


def plant(core: Sequencer, kind: str, person: Person | None = None) -> Reply:
    """What the node answers."""
    request = Request(Fault(kind), person=person)  # type: ignore[arg-type]
    ((_, reply),) = core.submit(2, [("token", request)]).settled_replies
    return reply


def test_where_people_say_who_they_are_only_operators_plant_faults() -> None:
    core = node()
    assert isinstance(plant(core, "wrong", Person("TORC2345")), Forbidden)
    assert core.replica.fault == "none"
    assert isinstance(plant(core, "wrong", Person("olga", roles=(OPERATOR,))), FaultPlanted)
    assert core.replica.fault == "wrong"


def test_a_replica_that_is_gone_is_not_made_wrong_and_a_node_without_one_says_so() -> None:
    core = node()
    assert isinstance(plant(core, "crash"), FaultPlanted)
    assert plant(core, "wrong") == NotNow("a", "crashed")
    assert isinstance(plant(node(manages=False), "wrong"), NoReplica)
