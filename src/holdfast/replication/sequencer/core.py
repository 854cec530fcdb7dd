"""The sequencer core: inputs, timers and the roles of one node.

The life of a request: the front end makes it part of a run and submits that; the sequencer gives it a
number and multicasts it; each manager journals it and says so to all others; when a majority has, every
replica executes it, and its result goes back by way of the sequencer; the front end answers as soon as
enough results are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from holdfast.kernel.contracts import (
    Peer,
    PeerConnected,
    PeerDisconnected,
    PeerRefused,
    Recovered,
    Reply,
    Request,
    Step,
    Token,
)
from holdfast.kernel.errors import BrokenInvariant, MalformedInput, SnapshotError
from holdfast.kernel.machine import Machine
from holdfast.kernel.placing import Overhear, Placing
from holdfast.kernel.replies import Forbidden
from holdfast.replication.sequencer import messages, words
from holdfast.replication.sequencer.configuration import SequencerConfiguration
from holdfast.replication.sequencer.front import FrontEnd
from holdfast.replication.sequencer.manager import Manager
from holdfast.replication.sequencer.messages import (
    Admitted,
    Beat,
    Identity,
    Journaled,
    Stale,
    encode_record,
)
from holdfast.replication.sequencer.outlook import NOBODY, Outlook
from holdfast.replication.sequencer.overhearing import Overhearing
from holdfast.replication.sequencer.recovery import recover
from holdfast.replication.sequencer.replica import COPYING, CRASHED, RIGHT, Replica
from holdfast.replication.sequencer.sequencing import Sequencer as SequencerRole
from holdfast.replication.sequencer.shared import ACTIVE, HALTED, STARTING, Shared
from holdfast.replication.sequencer.submitting import Submitter
from holdfast.replication.sequencer.words import (
    OPERATOR,
    Fault,
    FaultPlanted,
    NoReplica,
    NotNow,
    VoteRow,
    VotesCounted,
)


def genesis_records(disk: str, app: str, created: bytes) -> list[bytes]:
    """The first records of one node's disk at the explicit first start of a site: it counts from the beginning.
    `created`: a snapshot of what the app puts into an empty store."""
    return [encode_record(Identity(disk, app, created)), encode_record(Admitted())]


class Sequencer:
    """See the package. One instance is one node of one service, in all its roles."""

    messages = messages.AnyMessage
    """What peers may send: the union to decode with."""
    commands = words.COMMANDS
    queries = words.QUERIES
    places_questions = True
    """See `kernel.placing`."""

    def __init__(self, machine: Machine, configuration: SequencerConfiguration) -> None:
        self.configuration = configuration
        self.machine = machine
        self.shared = Shared(machine, configuration)
        self.submitter = Submitter(self.shared)
        self.front = FrontEnd(self.shared, self.submitter)
        self.replica = Replica(machine, self.shared.batches, configuration.slow_us)
        self.manager = Manager(self.shared, self.submitter, self.replica)
        self.sequencer = SequencerRole(self.shared)
        self.overhearing = Overhearing(self.shared, self.replica)
        self.outlook = Outlook(self.shared, self.manager.council)
        manager, sequencer, front, copying = self.manager, self.sequencer, self.front, self.manager.copying
        handlers: dict[type, Callable[[int, Any], None]] = {
            messages.Submit: sequencer.on_submit,
            messages.Gap: lambda peer, message: self.submitter.on_gap(message),
            messages.Stale: lambda peer, message: self._on_stale(message),
            messages.Results: sequencer.on_results,
            messages.Forwarded: lambda peer, message: front.on_forwarded(message),
            messages.Recall: lambda peer, message: manager.on_recall(message),
            messages.Listen: self.overhearing.on_listen,
            messages.Heard: self.overhearing.on_heard,
            messages.Order: manager.on_order,
            messages.Beat: lambda peer, message: self._on_beat(message),
            messages.Journaled: self._on_journaled,
            messages.Missing: sequencer.on_missing,
            messages.Seize: manager.on_seize,
            messages.Promised: sequencer.on_promised,
            messages.Refused: lambda peer, message: sequencer.on_refused(message),
            messages.Begin: manager.on_begin,
            messages.Rejoin: sequencer.on_rejoin,
            messages.Fetch: manager.on_fetch,
            messages.Tail: lambda peer, message: manager.on_tail(message),
            messages.Jump: manager.on_jump,
            messages.FetchState: copying.on_fetch_state,
            messages.StatePart: copying.on_part,
            messages.Inquire: self.outlook.on_inquire,
            messages.Told: self.outlook.on_told,
            PeerConnected: self._on_connected,
            PeerDisconnected: self._on_disconnected,
            PeerRefused: self._on_refused,
        }
        self._handlers = handlers

    # -- Inputs

    def set_clock(self, now_us: int, unix_ms: int) -> None:
        """The time of day, see `TimeKeeper`: it numbers this node's lives, and goes into the order."""
        self.shared.set_clock(now_us, unix_ms)

    def recover(self, now_us: int, recovered: Recovered) -> Step:
        """First input. Replays the journal; an empty disk has to be let in by the others."""
        shared = self._begin(now_us)
        shared.heard_us = now_us
        try:
            problem = recover(shared, self.manager, recovered)
        except (MalformedInput, SnapshotError, BrokenInvariant) as error:
            shared.halt("damaged", f"the journal of {shared.name(shared.me)} cannot be replayed: {error}")
            return shared.step
        if problem is not None:
            shared.halt("configuration", f"{shared.name(shared.me)} cannot start on this disk: {problem}")
            return shared.step
        if recovered.fresh:
            shared.record(Identity(shared.disk, self.machine.app.name, b""))
            shared.event(f"{shared.name(shared.me)} begins on an empty disk, {shared.disk}")
        shared.begin_life(shared.incarnation)
        shared.state = ACTIVE
        self.manager.restarted()
        return self._finish()

    def submit(self, now_us: int, requests: Sequence[tuple[Token, Request]]) -> Step:
        """Commands of clients; those about this node itself are carried out here."""
        shared = self._begin(now_us)
        ordered = []
        for token, request in requests:
            if isinstance(request.command, Fault | words.Trust):
                reply = self._refused(request) or self._fault_or_trust(token, request.command)
                shared.step.settled_replies += [] if reply is None else [(token, reply)]
            else:
                ordered.append((token, request))
        if ordered:
            self.front.take(ordered, are_queries=False)
        return self._finish()

    def ask(self, now_us: int, queries: Sequence[tuple[Token, Request]]) -> Step:
        """Questions of clients: they have their number too, so that all replicas answer from the same state."""
        shared = self._begin(now_us)
        ordered = []
        for token, request in queries:
            command = request.command
            if isinstance(command, words.Votes):
                shared.step.settled_replies.append((token, self._votes()))
            elif isinstance(command, Placing):
                question = msgspec.structs.replace(request, command=command.question)
                self.front.take([(token, question)], are_queries=True, tells_place=True)
            elif isinstance(command, Overhear):
                self.overhearing.take(token, command)
            else:
                ordered.append((token, request))
        if ordered:
            self.front.take(ordered, are_queries=True)
        return self._finish()

    def receive(self, now_us: int, peer: Peer, message: Any) -> Step:
        """A message, or an event of a link."""
        shared = self._begin(now_us)
        if shared.state != ACTIVE:
            return shared.step
        self._handle(peer, message)
        return self._finish()

    def synced(self, now_us: int, records: int) -> Step:
        """Records are on the disk: what this manager has journaled counts."""
        shared = self._begin(now_us)
        shared.synced(records)
        if shared.state != ACTIVE:
            return shared.step
        self.manager.synced()
        return self._finish()

    def wake(self, now_us: int) -> Step:
        """The time asked for has come."""
        self._begin(now_us)
        return self._finish()

    # -- One input

    def _begin(self, now_us: int) -> Shared:
        self.shared.now_us = now_us
        self.shared.step = Step()
        return self.shared

    def _handle(self, peer: Peer, message: Any) -> None:
        try:
            self._handlers[type(message)](peer, message)
        except MalformedInput as error:
            self.shared.malformed += 1
            self.shared.event(f"dropped a message of {self.shared.name(peer)}: {error}")
        except BrokenInvariant as error:
            self.shared.halt("invariant", f"a message of {self.shared.name(peer)} breaks the order: {error}")

    def _finish(self) -> Step:
        """What follows from the input, messages to this node itself included."""
        shared = self.shared
        if shared.state == ACTIVE:
            self.sequencer.tick()
            self.manager.tick()
            self.front.tick()
            self.overhearing.tick()
            self.outlook.tick()
            self.manager.execute()
            self._flush()
            shared.release()
            while shared.local and shared.state == ACTIVE:
                while shared.local:
                    self._handle(shared.me, shared.local.popleft())
                self.manager.execute()
                self._flush()
                shared.release()
            parts = (self.sequencer, self.manager, self.front, self.overhearing, self.outlook, self.submitter)
            times = (part.due_us for part in parts)
            shared.step.wake_us = min((due_us for due_us in times if due_us is not None), default=None)
        return shared.step

    def _flush(self) -> None:
        self.submitter.flush()
        self.sequencer.flush()
        self.manager.flush()

    # -- What concerns several roles

    def _on_journaled(self, peer: Peer, message: Journaled) -> None:
        self.manager.on_journaled(peer, message)
        self.sequencer.on_journaled(peer, message)

    def _on_beat(self, message: Beat) -> None:
        if self.shared.hear(message.epoch):
            self.submitter.decided_upto(message.incarnation, message.serial)
            self.manager.on_beat(message)

    def _on_stale(self, message: Stale) -> None:
        if self.submitter.on_stale(message):
            self.front.lost("this node had to begin a new life")

    def _on_connected(self, peer: Peer, event: PeerConnected) -> None:
        self.shared.connected[peer] = True
        self.shared.refused[peer] = False

    def _on_disconnected(self, peer: Peer, event: PeerDisconnected) -> None:
        self.shared.connected[peer] = False

    def _on_refused(self, peer: Peer, event: PeerRefused) -> None:
        self.shared.connected[peer] = False
        self.shared.refused[peer] = True

    # -- Words of operators

    def _refused(self, request: Request) -> Reply | None:
        """Where people have to say who they are, only operators may."""
        person = request.person
        if person is not None and OPERATOR not in person.roles:
            return Forbidden(f"only people with the role {OPERATOR} may do that, and {person.id} has it not.")
        return None

    def _fault_or_trust(self, token: Token, command: Fault | words.Trust) -> Reply | None:
        """The answer, if there is one already."""
        return self._fault(command) if isinstance(command, Fault) else self._trust(token, command.node)

    def _trust(self, token: Token, node: str) -> Reply | None:
        """It is answered when its number has come: see `trusting`."""
        shared, nodes = self.shared, self.configuration.nodes
        if node not in [nodes[manager] for manager in self.configuration.managers]:
            return NoReplica(node)
        if not self.manager.manages:
            return words.NotTrusted(node, f"{shared.name(shared.me)} manages no replica itself; say it at {node}")
        self.manager.tending.trusting.take(token, nodes.index(node))
        return None

    def _fault(self, command: Fault) -> Reply:
        shared = self.shared
        if not self.manager.manages:
            return NoReplica(shared.name(shared.me))
        if self.replica.state != RIGHT:
            return NotNow(shared.name(shared.me), self.replica.state)
        shared.event(f"an operator makes the replica here {command.kind}")
        if command.kind == "crash":
            self.replica.crash("an operator has planted it")
        else:
            self.replica.fault = command.kind
        return FaultPlanted(shared.name(shared.me), command.kind)

    def _state_of(self, manager: int) -> str:
        """Of a manager's replica, as far as it is known here."""
        if manager == self.shared.me and self.replica.state == CRASHED:
            return CRASHED
        return COPYING if manager in self.outlook.now.copied else RIGHT

    def _votes(self) -> VotesCounted:
        shared, told = self.shared, self.outlook.now
        rows = []
        for manager, life in zip(self.configuration.managers, told.lives, strict=True):
            tally = self.front.tallies[manager]
            counts = (tally.agreed, tally.differed, tally.late)
            rows.append(VoteRow(shared.name(manager), self._state_of(manager), life, *counts))
        return VotesCounted(
            "" if shared.sequencer is None else shared.name(shared.sequencer),
            shared.epoch,
            told.position,
            told.replacements,
            told.restarts,
            tuple(rows),
            self._trusted,
            self.outlook.names(told.suspected),
        )

    @property
    def _trusted(self) -> str:
        trusted = self.outlook.now.trusted
        return "" if trusted == NOBODY else self.shared.name(trusted)

    def status(self) -> dict[str, Any]:
        """For operators."""
        shared, manager, told = self.shared, self.manager, self.outlook.now
        configuration = self.configuration
        roles = [
            role
            for role, nodes in (
                ("front end", configuration.front_ends),
                ("sequencer", configuration.sequencers),
                ("manager", configuration.managers),
            )
            if shared.me in nodes
        ]
        waiting_for = ""
        if shared.state == ACTIVE and shared.sequencer is None:
            waiting_for = "a sequencer, which needs a majority of the managers"
        elif manager.manages and not manager.admitted:
            waiting_for = "the sequencer to let its empty disk in"
        elif told.is_undecided and told.trusted == NOBODY:
            waiting_for = "replicas that agree; if none come, for an operator's word: trust NODE"
        return {
            "protocol": "sequencer",
            "model": f"{configuration.wrong_max} wrong",
            "state": shared.state if shared.state in (STARTING, HALTED) or not waiting_for else "waiting",
            "roles": roles,
            "view": [shared.name(node) for node in configuration.managers],
            "sequencer": "" if shared.sequencer is None else shared.name(shared.sequencer),
            "epoch": shared.epoch,
            "position": told.position,
            "executed": self.replica.position,
            "health": self._state_of(shared.me) if manager.manages else "",
            "fault": self.replica.fault,
            "votes": [
                {"node": row.node, "state": row.state, "life": row.life, "agreed": row.agreed,
                 "differed": row.differed, "late": row.late}
                for row in self._votes().rows
            ],
            "suspected": list(self.outlook.names(told.suspected)),
            "trusted": self._trusted,
            "replacements": told.replacements,
            "restarts": told.restarts,
            "digest": self.machine.digest().hex() if manager.manages else "",
            "lag": self.replica.backlog,
            "waiting_for": waiting_for,
        }  # fmt: skip
