"""The Lamport core: inputs, timers, and the clients' requests.

The life of an update: `submit` puts it among those that wait; `_pump` makes one request for the
critical section of all of them (`exclusion`, rule 1); when it is granted it is executed and the
reply leaves through the gate. While no view is active, requests wait until their deadline, or are
refused at once where nothing can be expected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

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
from holdfast.kernel.replies import Overloaded, Unavailable, Unknown
from holdfast.replication.lamport import messages
from holdfast.replication.lamport.configuration import LamportConfiguration
from holdfast.replication.lamport.exclusion import Exclusion
from holdfast.replication.lamport.joining import Joining
from holdfast.replication.lamport.messages import Identity, Seal, Started, View, ViewInstalled, encode_record
from holdfast.replication.lamport.reads import Reads
from holdfast.replication.lamport.recovery import recover
from holdfast.replication.lamport.replica import ACTIVE, HALTED, SEALED, STARTING, PeerState, Replica
from holdfast.replication.lamport.snapshots import Snapshots
from holdfast.replication.lamport.views import Views

Waiting = tuple[int, Token, Request]
"""(since, token, request) of a request that has not been made yet."""


def genesis_records(servers: int, disk: str, app: str, disks: Sequence[str], created: bytes = b"") -> list[bytes]:
    """The first records of one server's disk at the explicit first start of a site: a view of all
    servers, which none but them can begin. `disks`: the identities of all, "" where not known.
    `created`: see `Identity`."""
    view = View(0, tuple(range(servers)), tuple(disks), (0,) * servers)
    return [encode_record(Identity(disk, app, created)), encode_record(ViewInstalled(view, 0, (), 0))]


class Lamport:
    """See the package. One instance is one server's replica of one service."""

    messages = messages.AnyMessage
    """What peers may send: the union to decode with."""

    def __init__(self, machine: Machine, configuration: LamportConfiguration) -> None:
        self.configuration = configuration
        self.replica = Replica(machine, configuration)
        self.exclusion = Exclusion(self.replica)
        self.reads = Reads(self.replica)
        self.snapshots = Snapshots(self.replica)
        self.views = Views(self.replica, self.exclusion)
        self.joining = Joining(self.replica, self.views, self.snapshots)
        self.waiting: deque[Waiting] = deque()
        self.malformed = 0
        self._heartbeat_us = 0
        self._is_first_input = True
        self._told_waiting_for = ""
        self._epoch_served = -1
        in_view = {
            messages.RequestResource: self.exclusion.on_request,
            messages.Acknowledge: self.exclusion.on_acknowledge,
            messages.ReleaseResource: self.exclusion.on_release,
            messages.Confirm: self.reads.on_confirm,
            messages.Confirmed: self.reads.on_confirmed,
        }
        between_views = {
            messages.Presence: self.joining.on_presence,
            messages.Seal: self._on_seal,
            messages.Sealed: self.views.on_sealed,
            messages.SealRefused: lambda server, message: self.views.on_seal_refused(message),
            messages.Nominate: lambda server, message: self.views.on_nominate(message),
            messages.Install: self.views.on_install,
            messages.Installed: self.views.on_installed,
            messages.Activate: lambda server, message: self.views.on_activate(message),
            messages.Fetch: self.joining.on_fetch,
            messages.Tail: self.joining.on_tail,
            messages.StatePart: self.joining.on_state,
            messages.Admit: self.views.on_admit,
            PeerConnected: self._on_connected,
            PeerDisconnected: self._on_disconnected,
            PeerRefused: self._on_refused,
        }
        self._in_view: dict[type, Callable[[int, Any], None]] = in_view  # type: ignore[assignment]
        self._between_views: dict[type, Callable[[int, Any], None]] = between_views  # type: ignore[assignment]

    # -- Inputs

    def recover(self, now_us: int, recovered: Recovered) -> Step:
        """Replay the journal and begin a new incarnation."""
        replica = self.replica
        replica.now_us = now_us
        replica.step = Step()
        try:
            recover(replica, recovered)
        except (BrokenInvariant, MalformedInput, SnapshotError) as error:
            replica.halt("damaged", f"the journal does not replay: {error}")
        if replica.state == HALTED:
            return replica.step
        replica.step.settled_changes.clear()  # they were told when they were made
        self._restart(now_us)
        return self._end()

    def submit(self, now_us: int, requests: Sequence[tuple[Token, Request]]) -> Step:
        """Commands of clients."""
        replica = self._begin(now_us)
        refusal = self._refusal()
        for token, request in requests:
            if refusal is not None:
                replica.step.replies.append((token, refusal))
            elif len(self.waiting) >= self.configuration.waiting_max:
                replica.step.replies.append((token, Overloaded(self.configuration.waiting_max)))
            else:
                self.waiting.append((now_us, token, request))
        return self._end()

    def ask(self, now_us: int, queries: Sequence[tuple[Token, Request]]) -> Step:
        """Queries of clients."""
        replica = self._begin(now_us)
        refusal = self._refusal()
        for token, request in queries:
            if refusal is not None:
                replica.step.replies.append((token, refusal))
            elif len(self.reads.waiting) >= self.configuration.waiting_max:
                replica.step.replies.append((token, Overloaded(self.configuration.waiting_max)))
            else:
                self.reads.add(token, request)
        return self._end()

    def receive(self, now_us: int, peer: Peer, message: Any) -> Step:
        """A message of a peer, or what happened to the link to it. What no peer in its right mind
        sends is dropped, counted and told."""
        replica = self._begin(now_us)
        if replica.state == HALTED:
            return self._end()
        kind = type(message)
        try:
            handler = self._in_view.get(kind)
            if handler is not None:
                replica.peers[peer].heard_us = now_us
                if self._is_in_view(peer, message.epoch):
                    handler(peer, message)
            else:
                if kind not in (PeerConnected, PeerDisconnected, PeerRefused):
                    replica.peers[peer].heard_us = now_us
                self._between_views[kind](peer, message)
                self._consider()
        except MalformedInput as error:
            self.malformed += 1
            replica.event(f"dropped a message of {replica.name(peer)}: {error}")
        except BrokenInvariant as error:
            replica.halt("invariant", f"{error}; keep the journals of all servers and report this")
        return self._end()

    def synced(self, now_us: int, records: int) -> Step:
        """The disk has kept up to here: acknowledge what it holds."""
        replica = self._begin(now_us)
        replica.records_synced = records
        self.exclusion.on_synced()
        return self._end()

    def wake(self, now_us: int) -> Step:
        """Timers: presence, repetition, deadlines, suspicion, snapshots."""
        replica = self._begin(now_us)
        if replica.state == HALTED:
            return self._end()
        if now_us >= self._heartbeat_us:
            self._heartbeat_us = now_us + self.configuration.heartbeat_us
            self._heartbeat()
        try:
            self._consider()
        except BrokenInvariant as error:
            replica.halt("invariant", f"{error}; keep the journals of all servers and report this")
        self.snapshots.consider()
        return self._end()

    def status(self) -> dict[str, Any]:
        """For operators."""
        replica = self.replica
        view = replica.view
        positions = [peer.presence.position for peer in replica.peers if peer.presence is not None]
        return {
            "protocol": "lamport",
            "model": self.configuration.model,
            "state": replica.state,
            "waiting_for": self._waiting_for(),
            "view": [] if view is None else [replica.name(member) for member in view.members],
            "epoch": replica.epoch,
            "position": replica.position,
            "digest": replica.machine.digest().hex(),
            "lag": max(0, max(positions, default=0) - replica.position),
            "queue": len(replica.queue),
            "waiting": len(self.waiting),
            "incarnation": replica.incarnation,
            "dropped": self.exclusion.dropped,
            "malformed": self.malformed,
        }

    # -- Around every input

    def _begin(self, now_us: int) -> Replica:
        """A gap of half the timeout means that this server was paused, and may have been excluded."""
        replica = self.replica
        gap_us = now_us - replica.now_us
        assert gap_us >= 0, f"time went back by {-gap_us} us"
        replica.now_us = now_us
        replica.step = Step()
        if self._is_first_input:  # the replay of the journal before it took its time; that was no pause
            self._is_first_input = False
            self._begin_to_listen()
        elif gap_us > self.configuration.timeout_us // 2 and replica.state != HALTED:
            replica.event(f"paused for {gap_us // 1000} ms; acting as restarted")
            self._restart(now_us)
        return replica

    def _end(self) -> Step:
        replica = self.replica
        step = replica.step
        if replica.state == ACTIVE:
            if self._epoch_served != replica.epoch:
                self._epoch_served = replica.epoch
                self.reads.reset()
            if self.waiting:
                self._pump()
            if self.reads.waiting:
                self.reads.pump()
        if replica.state == HALTED:
            return step
        due_us = self.snapshots.due_us
        step.wake_us = self._heartbeat_us if due_us is None else min(self._heartbeat_us, due_us)
        return step

    def _pump(self) -> None:
        """One request for the critical section serves the whole batch that waits."""
        waiting = self.waiting
        if not self.exclusion.may_request():
            return
        requests: list[Request] = []
        tokens: list[Token] = []
        while waiting and len(requests) < self.configuration.batch_requests_max:
            _, token, request = waiting.popleft()
            requests.append(request)
            tokens.append(token)
        self.exclusion.request(requests, tokens)

    def _restart(self, now_us: int) -> None:
        """A new incarnation: nothing that was seen of the others counts any longer."""
        replica = self.replica
        replica.incarnation += 1
        replica.record(Started(replica.incarnation))
        replica.state = STARTING
        replica.live = False
        connected = [peer.connected for peer in replica.peers]
        replica.peers = [PeerState(now_us) for _ in replica.peers]
        for peer, was in zip(replica.peers, connected, strict=True):
            peer.connected = was
        self.views.ballot = None
        self.views.joiners.clear()
        self.snapshots.forget_incoming()
        self._epoch_served = -1
        self._begin_to_listen()
        for _, token, _ in self.waiting:
            replica.step.replies.append((token, Unavailable(f"{replica.name(replica.me)} was paused")))
        self.waiting.clear()
        if not replica.others:
            self._consider()

    def _begin_to_listen(self) -> None:
        """From now on the silence of others counts."""
        replica = self.replica
        for peer in replica.peers:
            peer.heard_us = replica.now_us
        self.joining.restart()
        self._heartbeat_us = replica.now_us

    def _consider(self) -> None:
        self.joining.consider()
        self.views.consider()

    def _is_in_view(self, peer: Peer, epoch: int) -> bool:
        """Whether the message belongs to the view we serve. One of a view that we have synced, and
        whose activation we have not heard of yet, is that news itself."""
        replica = self.replica
        if epoch != replica.epoch or replica.view is None or peer not in replica.view.members:
            return False
        if replica.state == SEALED and replica.promised == epoch:
            self.views.activate()
        return replica.state == ACTIVE

    def _refusal(self) -> Reply | None:
        """What to answer at once where waiting is in vain."""
        replica = self.replica
        if replica.state == STARTING:
            return Unavailable(f"{replica.name(replica.me)} waits for {self.joining.waiting_for or 'its peers'}")
        if replica.state == HALTED:
            return Unavailable(f"{replica.name(replica.me)} has halted")
        if replica.state == SEALED and self.views.ballot is not None:
            stuck = replica.now_us - self.views.ballot.since_us > self.configuration.heartbeat_us
            if stuck and self.views.waiting_for:
                return Unavailable(f"{replica.name(replica.me)} needs {self.views.waiting_for}")
        return None

    # -- Links

    def _on_connected(self, peer: Peer, event: PeerConnected) -> None:
        state = self.replica.peers[peer]
        state.connected = True
        state.refused = False
        self._show_to(peer)

    def _show_to(self, peer: Peer) -> None:
        """Presence, and again whatever may have been lost."""
        self.replica.promise(peer, self.joining.presence())
        self.views.repeat_to(peer)
        if self.replica.state == ACTIVE and peer in self.replica.other_members:
            self.exclusion.repeat_to(peer)
            self.reads.ask([peer])

    def _on_disconnected(self, peer: Peer, event: PeerDisconnected) -> None:
        self.replica.peers[peer].connected = False

    def _on_refused(self, peer: Peer, event: PeerRefused) -> None:
        self.replica.peers[peer].refused = True
        self.replica.peers[peer].connected = False

    def _on_seal(self, peer: Peer, message: Seal) -> None:
        self.views.on_seal(peer, message)
        self.joining.on_seal(peer, message.floor)

    # -- Time

    def _heartbeat(self) -> None:
        replica = self.replica
        for peer in replica.others:
            if replica.peers[peer].connected:
                self._show_to(peer)
        self._expire()
        waiting_for = self._waiting_for()
        if waiting_for != self._told_waiting_for:
            self._told_waiting_for = waiting_for
            if waiting_for:
                replica.event(f"waits for {waiting_for}")

    def _waiting_for(self) -> str:
        return "" if self.replica.state == ACTIVE else self.views.waiting_for or self.joining.waiting_for

    def _expire(self) -> None:
        """Every request ends within its deadline."""
        replica = self.replica
        oldest_us = replica.now_us - self.configuration.deadline_us
        refusal = self._refusal()
        late = Unavailable("the deadline passed before its turn came")
        while self.waiting and (refusal is not None or self.waiting[0][0] < oldest_us):
            replica.step.replies.append((self.waiting.popleft()[1], refusal or late))
        for read in [read for read in self.reads.waiting if refusal is not None or read.since_us < oldest_us]:
            self.reads.waiting.remove(read)
            replica.step.replies.append((read.token, refusal or late))
        for stamp in replica.queue:
            pending = replica.pending[stamp]
            if pending.tokens is not None and pending.since_us < oldest_us:
                unknown = Unknown("the deadline passed while it was under way")
                replica.step.replies += [(token, unknown) for token in pending.tokens]
                pending.tokens = None
