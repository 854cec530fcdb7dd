"""The Bayou core: inputs, timers, and the clients' requests.

The life of a booking: `submit` stamps it, journals it and puts it at the end of the log, where it is
executed: the tentative reply leaves when the disk has it, and so do the copies for all peers. The
primary (`primary`) commits it; `Reply` or `Released` brings the commit back, and the boundary of the
committed prefix moves over it. Everything else is anti-entropy (`antientropy`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.kernel.contracts import (
    Peer,
    PeerConnected,
    PeerDisconnected,
    PeerRefused,
    Recovered,
    Request,
    Step,
    Token,
)
from holdfast.kernel.errors import BrokenInvariant, MalformedInput, SnapshotError
from holdfast.kernel.machine import Advance, Machine
from holdfast.kernel.notices import QUERIES
from holdfast.kernel.replies import Behind, Malformed, Outcome, Overloaded, Unavailable
from holdfast.replication.bayou import messages, words
from holdfast.replication.bayou.antientropy import AntiEntropy
from holdfast.replication.bayou.configuration import ROLL_FORWARD_MAX, WRITE_BYTES_MAX, BayouConfiguration
from holdfast.replication.bayou.epochs import Epochs
from holdfast.replication.bayou.files import Files
from holdfast.replication.bayou.log import name_of, parse_id
from holdfast.replication.bayou.members import Members
from holdfast.replication.bayou.messages import APP, Have, Identity, StatePart, Write, encode
from holdfast.replication.bayou.primary import Primary
from holdfast.replication.bayou.recovery import recover
from holdfast.replication.bayou.replica import ACTIVE, HALTED, JOINING, STARTING, Replica
from holdfast.replication.bayou.snapshots import Snapshots
from holdfast.replication.bayou.transfer import Transfer

IDLE_US = 20_000
"""So long after a peer's last writes the tail is rolled forward, if nobody has asked for it before."""
BEHIND_US_MAX = 500_000
"""So long after the first of them at the latest, however many more may come."""


def genesis_records(nodes: Sequence[str], me: Peer, disk: str, app: str, primary: Peer, created: bytes) -> list[bytes]:
    """The first records of one replica's disk at the explicit first start of a site: every node has a
    replica of its own name. `created`: the store as the app created it."""
    return [encode(Identity(disk, app, created, tuple(nodes), primary))]


class Bayou:
    """See the package. One instance is one replica of one service."""

    messages = messages.AnyMessage
    commands = words.COMMANDS
    queries = words.QUERIES

    def __init__(self, machine: Machine, configuration: BayouConfiguration) -> None:
        self.configuration = configuration
        self.replica = Replica(machine, configuration)
        self.epochs = Epochs(self.replica)
        self.snapshots = Snapshots(self.replica)
        self.transfer = Transfer(self.replica, self.snapshots, self.epochs.learn, self.epochs.losses.undo)
        self.anti_entropy = AntiEntropy(self.replica, self.epochs, self.transfer)
        self.primary = Primary(self.replica, self.epochs, self.anti_entropy)
        self.members = Members(self.replica, self._write_own, lambda: self.epochs.is_claiming)
        self.files = Files(self.replica, self.anti_entropy, self.transfer, self.primary)
        self._reads: list[tuple[Token, Request]] = []
        self._news: list[Write] = []
        self._basis: dict[str, int] = {}
        self._served = (-1, False)  # which epoch, and whether as its primary
        self._behind_since_us: int | None = None
        self._insertions = 0
        self._inserted_us = 0
        self._tick_us = 0
        handlers: dict[type, Callable[[Peer, Any], Any]] = {
            messages.Have: self._on_have,
            messages.Updates: self.primary.on_updates,
            messages.Request: lambda peer, message: self.anti_entropy.on_updates(peer, message.updates),
            messages.Ask: self.primary.on_ask,
            messages.Promise: self.primary.on_promise,
            messages.Reply: self.primary.on_reply,
            messages.Release: lambda peer, message: self.primary.on_release(peer, message.csn),
            messages.Released: lambda peer, message: self.anti_entropy.on_updates(peer, message.updates),
            messages.StatePart: self._on_state_part,
            messages.StateNext: self.transfer.on_next,
            messages.Store: self.epochs.proposals.on_store,
            messages.Stored: self.epochs.proposals.on_stored,
            messages.Claim: self.epochs.on_claim,
            messages.Vow: self.epochs.on_vow,
            messages.ClaimRefused: lambda peer, message: self.epochs.on_claim_refused(message),
            messages.Yield: self.epochs.on_yield,
            messages.Undone: self.epochs.losses.on_undone,
            messages.Create: self.members.on_create,
            messages.Created: lambda peer, message: self.members.on_created(message),
            PeerConnected: self._on_connected,
            PeerDisconnected: self._on_disconnected,
            PeerRefused: self._on_disconnected,
        }
        self._handlers = handlers

    # -- Inputs

    def set_clock(self, now_us: int, unix_ms: int) -> None:
        """See `TimeKeeper`."""
        self.replica.set_clock(now_us, unix_ms)

    def recover(self, now_us: int, recovered: Recovered) -> Step:
        """Replay the journal."""
        replica = self._begin(now_us)
        try:
            recover(replica, self.epochs.proposals, self.members, recovered)
        except (BrokenInvariant, MalformedInput, SnapshotError) as error:
            replica.halt("damaged", f"the journal does not replay: {error}")
        replica.forget_news()
        self.snapshots.restarted()
        self.epochs.proposals.restarted()
        if replica.state != HALTED:
            replica.event(
                f"{replica.replica or 'a disk without an id'} is {replica.state}, {replica.log.csn} committed"
            )
        return self._end()

    def submit(self, now_us: int, requests: Sequence[tuple[Token, Request]]) -> Step:
        """Commands of clients, and operators' words."""

        def accept() -> None:
            for token, request in requests:
                if type(request.command) in self.commands:
                    self._operate(token, request.command)
                elif type(request.command) is not Advance:  # stamps are the time here
                    self._accept(token, request)

        return self._turn(now_us, accept)

    def ask(self, now_us: int, queries: Sequence[tuple[Token, Request]]) -> Step:
        """Queries of clients, and operators' questions."""

        def answer() -> None:
            for token, request in queries:
                if type(request.command) in self.queries:
                    self.replica.reply(token, self._tell(request.command))
                else:
                    self._reads.append((token, request))

        return self._turn(now_us, answer)

    def receive(self, now_us: int, peer: Peer, message: Any) -> Step:
        """A message of a peer, or an event about it."""

        def handle() -> None:
            replica = self.replica
            replica.tracing.received(replica.wall_ms, peer, message)
            try:
                self._handlers[type(message)](peer, message)
            except MalformedInput as error:
                replica.malformed += 1
                replica.event(f"dropped a {type(message).__name__} of {self.configuration.nodes[peer]}: {error}")

        return self._turn(now_us, handle)

    def synced(self, now_us: int, records: int) -> Step:
        """The first `records` records of this core's life are on the disk."""
        self.replica.records_synced = max(self.replica.records_synced, records)
        return self._turn(now_us, self.epochs.proposals.confirm)

    def wake(self, now_us: int) -> Step:
        """Time has passed."""
        return self._turn(now_us, lambda: None)

    # -- A turn

    def _turn(self, now_us: int, work: Callable[[], None]) -> Step:
        """One input. A broken invariant stops the replica: what it would do next cannot be trusted."""
        replica = self._begin(now_us)
        if replica.state in (STARTING, HALTED):
            return replica.step
        try:
            work()
            return self._end()
        except BrokenInvariant as error:
            replica.halt("invariant", str(error))
            return replica.step

    def _begin(self, now_us: int) -> Replica:
        replica = self.replica
        replica.now_us = max(now_us, replica.now_us)
        replica.step = Step()
        return replica

    def _end(self) -> Step:
        """What every input ends with: decisions of the primary, copies to the peers, reads, timers."""
        replica = self.replica
        if replica.state in (STARTING, HALTED):
            return replica.step
        if self._served != (replica.epoch, replica.is_primary):
            self._served = (replica.epoch, replica.is_primary)
            replica.log.collects = replica.is_primary
            self.primary.reset()
        if replica.now_us >= self._tick_us:
            self._tick_us = replica.now_us + self.configuration.tick_us
            self._tick()
        self.members.consider()
        self._push()
        self.primary.pump()
        if self.epochs.proposals.confirmed:
            self.primary.on_confirmed()
        self._roll_forward()
        self._serve_reads()
        self.snapshots.consider()
        replica.tell_news()
        replica.step.wake_us = self._next_wake_us()
        return replica.step

    def _tick(self) -> None:
        self.anti_entropy.tick()
        self.epochs.tick()
        self.epochs.proposals.tick()
        self.primary.tick()
        self.members.tick()
        self.transfer.tick()

    def _roll_forward(self) -> None:
        """At once where somebody waits for it, a little at a time; where nobody does, when it seems that for
        now no more writes come, which might belong in between."""
        replica = self.replica
        views = replica.views
        if views.caught_up:
            self._behind_since_us = None
            return
        if self._behind_since_us is None:
            self._behind_since_us = self._inserted_us = replica.now_us
        if self._insertions != views.insertions:
            self._insertions = views.insertions
            self._inserted_us = replica.now_us
        if self._wanted or replica.now_us >= self._forward_us:
            views.roll_forward(ROLL_FORWARD_MAX)

    @property
    def _wanted(self) -> bool:
        """Whether somebody waits for the full view."""
        return bool(self._reads) or bool(self.replica.waiting)

    @property
    def _forward_us(self) -> int:
        """When to roll forward though nobody waits."""
        since_us = self._behind_since_us if self._behind_since_us is not None else self.replica.now_us
        return min(self._inserted_us + IDLE_US, since_us + BEHIND_US_MAX)

    def _next_wake_us(self) -> int:
        replica = self.replica
        times = [self._tick_us]
        if not replica.views.caught_up:
            times.append(replica.now_us if self._wanted else max(replica.now_us, self._forward_us))
        if self.snapshots.due_us is not None:
            times.append(self.snapshots.due_us)
        if self.primary.due_us is not None:
            times.append(self.primary.due_us)
        return min(times)

    # -- Writes

    def _accept(self, token: Token, request: Request) -> None:
        """A user's write: refused before anything is logged, or logged at the end."""
        replica = self.replica
        reading = request.reading
        if replica.state != ACTIVE:
            replica.reply(token, self._unavailable())
            return
        if reading is not None and reading.guarantees:
            behind = self._behind(reading.guarantees, reading, ("writes-follow-reads", "monotonic-writes"))
            if behind is not None:
                replica.reply(token, behind)
                return
        known = replica.machine.recorded(request) if replica.views.caught_up else None
        if known is not None:  # a retry: what was done once is not written again
            with replica.views.committed():
                firm = "tentative" if replica.machine.recorded(request) is None else "committed"
            replica.reply(token, Outcome(known, firm, warning=replica.warning))
            return
        if len(replica.waiting) >= self.configuration.waiting_max:
            replica.reply(token, Overloaded(self.configuration.waiting_max))
            return
        body = replica.machine.encode_request(request)
        if len(body) > WRITE_BYTES_MAX:
            replica.reply(token, Malformed(f"a write has at most {WRITE_BYTES_MAX} bytes, this one {len(body)}."))
            return
        first_name = request.person.first_name if request.person is not None else ""
        write = self._write_own(APP, body, first_name)
        replica.waiting[name_of(write)] = (token, True)
        replica.tracing.step(replica.wall_ms, "user", "Write", (name_of(write),), "")

    def _write_own(self, kind: int, body: bytes, first_name: str = "") -> Write:
        """Stamp a write of this replica and put it at the end of the log."""
        replica = self.replica
        log = replica.log
        if not self._news:
            self._basis = log.known
        stamp = replica.clock.stamp(replica.wall_ms, first_name)
        number = log.vector.get(replica.replica, 0) + 1
        write = Write(stamp.milliseconds, first_name, replica.replica, number, body, kind)
        replica.log_writes((write,))
        self._news.append(write)
        return write

    def _push(self) -> None:
        """New writes of our own to every peer that is connected."""
        if self._news:
            news, self._news = self._news, []
            self.anti_entropy.push(news, self._basis)

    def _unavailable(self) -> Unavailable:
        replica = self.replica
        if replica.state == JOINING:
            what = "until a peer has created it" if not replica.replica else "until it has seen its own creation"
            return Unavailable(f"this replica has no id of its own yet and takes no writes {what}")
        return Unavailable(f"this replica is {replica.state}")

    # -- Reads

    def _serve_reads(self) -> None:
        """Queries of the full view wait until the whole log is executed, those of the committed one do not."""
        replica = self.replica
        if not self._reads:
            return
        later = []
        for token, request in self._reads:
            reading = request.reading
            about_notices = isinstance(request.command, QUERIES)  # nobody is told what may still be otherwise
            view = "committed" if about_notices else "full" if reading is None else reading.view
            if view == "full" and not replica.views.caught_up:
                later.append((token, request))
                continue
            if reading is not None and reading.guarantees:
                behind = self._behind(reading.guarantees, reading, ("read-your-writes", "monotonic-reads"), view)
                if behind is not None:
                    replica.reply(token, behind)
                    continue
            vector = replica.log.known if view == "full" else replica.log.committed_vector
            answer = replica.views.answer(request, view, replica.wall_ms)
            rests_on = tuple(sorted(vector.items())) if reading is not None else ()
            warning = self.epochs.losses.warning_to(request.person)
            replica.reply(token, Outcome(answer, view, vector=rests_on, warning=warning))
        self._reads = later

    def _behind(self, wanted: Sequence[str], reading: Any, kinds: Sequence[str], view: str = "full") -> Behind | None:
        """What this replica lacks of what the session has read or written, by the guarantees it asks for."""
        log = self.replica.log
        for guarantee in kinds:
            if guarantee not in wanted:
                continue
            vector = reading.written if guarantee in ("read-your-writes", "monotonic-writes") else reading.read
            if view == "committed":
                missing = [pair for pair in vector if not log.is_committed(pair)]
            else:
                missing = log.missing(vector)
            if missing:
                return Behind(guarantee, tuple(missing))
        return None

    # -- Peers

    def _on_connected(self, peer: Peer, event: Any) -> None:
        state = self.replica.peers[peer]
        state.connected = True
        state.pulled_us = None
        self.primary.connected(peer)
        self.epochs.losses.connected(peer)
        self.epochs.proposals.new_disk(peer)  # it may be: what a process there holds, it must say anew
        self.anti_entropy.pull(peer)

    def _on_disconnected(self, peer: Peer, event: Any) -> None:
        state = self.replica.peers[peer]
        state.connected = False
        self.replica.note_skew(peer, None)
        state.pulled_us = None

    def _on_have(self, peer: Peer, message: Have) -> None:
        if message.replica != self.replica.peers[peer].replica:
            self.epochs.proposals.new_disk(peer)
        self.anti_entropy.on_have(peer, message)
        self.epochs.on_have(peer, message)
        self.members.on_have(message)
        self.members.retired_known(message)

    def _on_state_part(self, peer: Peer, message: StatePart) -> None:
        state = self.replica.peers[peer]
        state.pulled_us = None
        if self.transfer.on_part(peer, message):
            self.anti_entropy.pull(peer)
        elif self.transfer.taking_from == peer:
            state.pulled_us = self.replica.now_us  # the pull is under way as long as pieces come

    # -- Operators

    def _operate(self, token: Token, command: Any) -> None:
        replica = self.replica
        nodes = self.configuration.nodes
        match command:
            case words.Import():
                replica.reply(token, self.files.take(command.part))
            case words.Retire():
                self.members.retire(token, command.replica)
            case words.HandOver() if command.node in nodes:
                self.epochs.hand_over(token, nodes.index(command.node))
            case words.HandOver():
                replica.reply(token, words.CannotDo(f"there is no node {command.node!r}, only {', '.join(nodes)}."))
            case words.TakeOver():
                if replica.state != ACTIVE:
                    replica.reply(token, self._unavailable())
                else:
                    self.epochs.take_over(token, command.loss == "--accept-loss")
            case words.Truncate():
                dropped = len(replica.log.committed)
                replica.log.truncate(0)
                self.snapshots.wanted = True
                replica.reply(token, words.Done(f"{dropped} committed writes were dropped from the log."))

    def _tell(self, query: Any) -> Any:
        replica = self.replica
        log = replica.log
        match query:
            case words.Stable():
                return self._stability(query.id)
            case words.Export():
                return self.files.export(query.cursor, query.bytes)
            case words.Trace():
                name = parse_id(query.id)
                return words.Traced(query.id, replica.tracing.about(name) if name else ())
            case words.Replicas():
                rows = tuple(
                    (
                        name,
                        log.vector.get(name, log.committed_vector.get(name, 0)),
                        self.primary.heard_ms(name),
                        row.state,
                    )
                    for name, row in sorted(log.members.items())
                )
                primary = self.configuration.nodes[replica.primary]
                return words.ReplicaList(primary, replica.epoch, log.csn, rows, tuple(sorted(log.vector.items())))

    def _stability(self, id: str) -> words.Stability:
        log = self.replica.log
        name = parse_id(id)
        if name in self.replica.renamed:  # made anew, by a disk that had to take another id
            id = "{}-{}".format(*self.replica.renamed[name])
            name = self.replica.renamed[name]
        entry = log.entries.get(name) if name is not None else None
        if entry is not None:
            return words.Stability(id, True, 0, *self.replica.firm_by(entry))
        if name is None or not log.is_committed(name):
            return words.Stability(id, False, 0, "")
        place = next((i for i, write in enumerate(log.committed, log.omitted + 1) if name_of(write) == name), -1)
        return words.Stability(id, True, place, "")

    def status(self) -> dict[str, Any]:
        """For operators."""
        replica = self.replica
        log = replica.log
        return {
            "protocol": "bayou",
            "model": self.configuration.policy,
            "state": replica.state,
            "replica": replica.replica,
            "view": log.live,
            "primary": self.configuration.nodes[replica.primary],
            "epoch": replica.epoch,
            "position": log.csn,
            "tentative": len(log.tail),
            "lag": len(log.tail),
            "digest": replica.views.digest().hex(),
            "full_digest": replica.machine.digest().hex() if replica.views.caught_up else "",
            "held": sum(len(writes) for writes in replica.held.values()),
            "executions": replica.views.executions,
            "warning": replica.warning,
            "waiting_for": self._waiting_for(),
            "accepted_loss": self.epochs.losses.status,
        }

    def _waiting_for(self) -> str:
        """What keeps bookings here from becoming firm, in words for the operator."""
        replica = self.replica
        if replica.state == JOINING:
            creator = "a peer that creates it (at a site's first start: `holdfast init`)"
            return creator if not replica.replica else "its own creation"
        if self.epochs.waiting_for:
            return self.epochs.waiting_for
        tail = replica.log.tail
        if not replica.is_primary or not tail or self.configuration.policy == "immediate":
            return ""
        missing = [
            name
            for name in replica.log.live
            if name != replica.replica and self.primary.heard_ms(name) < tail[0].write.ms
        ]
        return f"{', '.join(missing)} to be heard of" if missing else ""
