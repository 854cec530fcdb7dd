"""Coming back: what a server does that takes part in no view.

It shows its presence and looks at that of the others. If one of them holds a newer or longer log,
it copies what it lacks: the tail of executed batches if that is still remembered there, else the
whole state in slices. Once it has caught up with an active server it asks to be admitted. If no
server is active, the site is starting again: then the members of the newest view that anybody
stored decide by a ballot (`views`), and until they are all there, those who wait name who is
missing.
"""

from __future__ import annotations

from holdfast.kernel.errors import MalformedInput
from holdfast.replication.lamport.messages import Admit, Copied, Fetch, Presence, StatePart, Tail
from holdfast.replication.lamport.replica import ACTIVE, HALTED, SEALED, STARTING, Replica
from holdfast.replication.lamport.snapshots import Snapshots
from holdfast.replication.lamport.views import Views

TAIL_BYTES_MAX = 1024 * 1024
FETCH_AGAIN_US = 300_000
NO_STATE = "a server that has the state (a first start must be told: holdfast init, or --init)"
NEAR = 64
"""So few batches behind, a server may ask for admission: the view change carries the rest."""


class Joining:
    """Presence, catching up, and starting again."""

    def __init__(self, replica: Replica, views: Views, snapshots: Snapshots) -> None:
        self._replica = replica
        self._views = views
        self._snapshots = snapshots
        self._fetched_us = -FETCH_AGAIN_US
        self._idle_position = -1
        self._started_us = 0
        self.waiting_for = ""

    def restart(self) -> None:
        """The server has (re)started."""
        self.waiting_for = ""
        self._started_us = self._replica.now_us
        self._fetched_us = -FETCH_AGAIN_US

    # -- Presence

    def presence(self) -> Presence:
        """What this server shows of itself. The digest only when idle: under load positions differ
        from server to server anyway, and it has its price."""
        replica = self._replica
        idle = replica.state == ACTIVE and not replica.queue and self._idle_position == replica.position
        self._idle_position = replica.position
        return Presence(
            replica.incarnation,
            replica.disk,
            replica.state,
            replica.epoch,
            () if replica.view is None else replica.view.members,
            replica.promised,
            replica.position,
            replica.machine.digest() if idle else b"",
            replica.released,
            replica.clock,
            tuple(replica.acknowledged),
            replica.origin,
        )

    def on_presence(self, server: int, message: Presence) -> None:
        """Look at another server, and at ourselves through its eyes."""
        replica = self._replica
        peer = replica.peers[server]
        known = peer.presence
        if known is not None and known.disk == message.disk and message.incarnation < known.incarnation:
            return
        if len(message.acknowledged) != len(replica.peers) or not set(message.members) <= set(
            range(len(replica.peers))
        ):
            raise MalformedInput(f"it speaks of other servers than the {len(replica.peers)} configured here")
        if message.origin != replica.origin:
            self._meet_stranger(server)
            return
        peer.presence = message
        peer.refused = False
        if self._is_damaged(server, message) or self._differs(server, message):
            return
        if message.state != ACTIVE:
            return
        if message.epoch == replica.epoch and replica.state == SEALED and replica.promised == replica.epoch:
            self._views.activate()  # the sender knows that every member has synced it
        elif message.epoch > replica.epoch and replica.me not in message.members and replica.state != HALTED:
            if replica.state != STARTING:
                replica.event(f"view {message.epoch} goes on without us; joining again")
            self._views.ballot = None
            replica.state = STARTING
            replica.live = False  # what it knew of crashes is of a view that is over

    def _meet_stranger(self, server: int) -> None:
        """The other server's app is configured otherwise, so equal updates would give other states.
        Who serves goes on without it; who does not must not begin."""
        replica = self._replica
        name = replica.name(server)
        if replica.state == ACTIVE:
            raise MalformedInput(f"{name} has another configuration of {replica.machine.app.name}")
        replica.halt(
            "configuration",
            f"the configuration of {replica.machine.app.name} here is not that of {name}; "
            "compare the service's options in both site files (or the --seats of both servers)",
        )

    def _is_damaged(self, server: int, message: Presence) -> bool:
        """Our journal must reach at least as far as it was when we last promised anything."""
        replica = self._replica
        if message.state == ACTIVE and 0 <= replica.epoch < message.epoch and replica.me in message.members:
            replica.halt(
                "damaged",
                f"the newest view here is {replica.epoch}, but {replica.name(server)} serves in view {message.epoch}, "
                "which every member has synced, this server among them: what was synced is gone",
            )
            return True
        disk, number = message.acknowledged[replica.me]
        if disk != replica.disk or number <= replica.vouched:
            return False
        replica.halt(
            "damaged",
            f"the journal ended at record {replica.vouched}, but {replica.name(server)} has seen it acknowledge "
            f"record {number}: what was synced is gone",
        )
        return True

    def _differs(self, server: int, message: Presence) -> bool:
        replica = self._replica
        if not message.digest or message.position != replica.position or message.released != replica.released:
            return False
        ours = replica.machine.digest()
        if ours == message.digest:
            return False
        replica.halt(
            "invariant",
            f"at position {replica.position} the state here has digest {ours.hex()}, but {message.digest.hex()} "
            f"at {replica.name(server)}: equal batches gave different states; keep both journals and report this",
        )
        return True

    # -- Deciding

    def consider(self) -> None:
        """Called while not active, after every input that may matter."""
        replica = self._replica
        if replica.state in (ACTIVE, HALTED):
            return
        source = self._source()
        if source is not None:
            self.waiting_for = f"state from {replica.name(source)}"
            self._fetch(source)
        elif replica.state == STARTING:
            self._start_again()

    def _source(self) -> int | None:
        """Whom to copy from: an active server that goes on without us, the lowest of them."""
        replica = self._replica
        for server in replica.others:
            presence = replica.current(server)
            if presence is not None and presence.state == ACTIVE and replica.state == STARTING:
                return server
        return None

    def _fetch(self, server: int) -> None:
        replica = self._replica
        if replica.now_us - self._fetched_us < FETCH_AGAIN_US:
            return
        self._fetched_us = replica.now_us
        snapshot, index = self._snapshots.incoming
        replica.step.data.append((server, Fetch(replica.position, snapshot, index)))

    def on_seal(self, server: int, floor: int) -> None:
        """A proposer remembers too little to bring us to equality: copy from it first."""
        if self._replica.position < floor and self._replica.state != ACTIVE:
            self._fetch(server)

    def _start_again(self) -> None:
        """Nobody is active. The lowest member of the newest stored view proposes when all that the
        failure model needs are there."""
        replica = self._replica
        here = {server: presence for server in replica.others if (presence := replica.current(server)) is not None}
        newest = max((presence.epoch for presence in here.values()), default=-1)
        if replica.view is None or newest > replica.epoch:
            ahead = [server for server, presence in here.items() if presence.epoch == newest >= 0]
            self.waiting_for = f"{replica.names(ahead)} to become active" if ahead else NO_STATE
            return
        if replica.configuration.model == "majority":
            self._start_majority(here)
        else:
            self._start_perfect(here)

    def _start_majority(self, here: dict[int, Presence]) -> None:
        replica = self._replica
        assert replica.view is not None
        whole = [server for server, presence in here.items() if self._is_whole(server, presence)]
        count = len(whole) + 1
        needed = replica.configuration.majority
        gone = [server for server in here if server not in whole]
        if count >= needed or replica.accepts_loss:
            equal = [server for server in whole if here[server].epoch == replica.epoch]
            losing = count < needed
            if all(replica.me < server for server in equal) and self._all_had_time(len(here), losing=losing):
                if losing:
                    self._tell_of_loss([server for server in replica.others if server not in whole])
                self._views.propose()
        elif len(replica.peers) - len(gone) < needed:
            self._halt_lost(gone)
        else:
            self.waiting_for = f"{needed} of {len(replica.peers)} servers with their disks; here are {count}"

    def _all_had_time(self, here: int, *, losing: bool = False) -> bool:
        """Do not leave out at the start who is only a moment late; nor, with a whole timeout's
        patience, accept the loss of one."""
        replica, configuration = self._replica, self._replica.configuration
        patience_us = configuration.timeout_us if losing else 2 * configuration.heartbeat_us
        return (here == len(replica.others) and not losing) or replica.now_us - self._started_us > patience_us

    def _tell_of_loss(self, lost: list[int]) -> None:
        self._replica.event(f"accepting loss: going on without {self._replica.names(lost)}, as ordered")

    def _start_perfect(self, here: dict[int, Presence]) -> None:
        replica = self._replica
        view = replica.view
        assert view is not None
        needed = [server for server in view.members if server != replica.me]
        missing = [server for server in needed if server not in here]
        gone = [server for server in needed if server in here and not self._is_whole(server, here[server])]
        if replica.accepts_loss and (missing or gone) and self._all_had_time(len(here), losing=True):
            self._tell_of_loss([*missing, *gone])
            self._views.propose()
        elif gone and len(here) == len(replica.others) and not replica.accepts_loss:
            self._halt_lost(gone)
        elif gone:
            absent = [server for server in replica.others if server not in here]
            self.waiting_for = (
                f"{replica.names(absent)}, who may know a view without the lost disk of {replica.names(gone)}"
            )
        elif missing:
            self.waiting_for = f"{replica.names(missing)}, which view {view.epoch} needs"
        else:
            # Who has an older view cannot propose: the newest one may never have reached it.
            equal = [server for server in needed if here[server].epoch == view.epoch]
            if all(replica.me < server for server in equal):
                self._views.propose()
            else:
                self.waiting_for = f"{replica.name(min(equal))} to propose a view"

    def _is_whole(self, server: int, presence: Presence) -> bool:
        return self._replica.is_whole(server, presence.disk, presence.epoch)

    def _halt_lost(self, gone: list[int]) -> None:
        """Unless somebody is in the middle of a view change: it knows more than this server does."""
        replica = self._replica
        sealed = [server for server in replica.others if (seen := replica.current(server)) and seen.state == SEALED]
        if sealed:
            self.waiting_for = f"{replica.names(sealed)} to end a view change"
            return
        replica.halt(
            "lost",
            f"the disk of {replica.names(gone)} that view {replica.epoch} needs is gone, with updates that may have "
            "been acknowledged only there; bring it back, or start with --accept-loss to go on without it",
        )

    # -- Copying

    def on_fetch(self, server: int, message: Fetch) -> None:
        """Give what was asked for: what is executed is stable, so any server may give it."""
        replica = self._replica
        if message.position >= replica.history_base and message.index == 0:
            entries, size = [], 0
            for entry in replica.history_from(message.position):
                entries.append(entry)
                size += len(entry[2])
                if size > TAIL_BYTES_MAX:
                    break
            tail = Tail(message.position, tuple(entries), replica.position, replica.clock)
            replica.promise(server, tail)
            return
        part = self._snapshots.part_for(server, message)
        if part is not None:
            replica.promise(server, part)

    def on_tail(self, server: int, message: Tail) -> None:
        """Execute what we lack; ask for more, or for admission."""
        replica = self._replica
        skip = replica.position - message.base
        if replica.state == ACTIVE or skip < 0:
            return
        entries = message.entries[skip:]
        if entries:
            replica.record(Copied(replica.position, entries))
            for entry in entries:
                replica.execute_entry(entry)
        replica.observe(message.time)
        self._go_on(server, message.position)

    def on_state(self, server: int, message: StatePart) -> None:
        """The next slice of a whole state."""
        replica = self._replica
        if replica.state == ACTIVE:
            return
        if message.position <= replica.position:  # batches have brought us further since
            if message.snapshot == self._snapshots.incoming[0]:
                self._snapshots.forget_incoming()
            return
        expected = self._snapshots.incoming
        done = self._snapshots.take(message)
        if not done and self._snapshots.incoming == expected:
            return  # a repeated slice: the request for the next one is on its way
        if done:
            replica.event(f"copied the state at position {replica.position} from {replica.name(server)}")
        if replica.state != HALTED:
            self._fetched_us = -FETCH_AGAIN_US
            self._go_on(server, message.position if not done else message.position + NEAR + 1)

    def _go_on(self, server: int, their_position: int) -> None:
        replica = self._replica
        presence = replica.current(server)
        behind = their_position - replica.position
        if behind > NEAR or self._snapshots.incoming[0] >= 0:
            self._fetched_us = -FETCH_AGAIN_US
            self._fetch(server)
        elif presence is not None and presence.state == ACTIVE and replica.state == STARTING:
            self._ask_admission(presence)

    def _ask_admission(self, presence: Presence) -> None:
        """Every member hears it; the first that lives acts on it."""
        replica = self._replica
        self.waiting_for = "admission to the view"
        hears = tuple(server for server in replica.others if replica.current(server) is not None)
        message = Admit(replica.position, replica.incarnation, replica.disk, replica.promised, hears)
        for member in presence.members:
            if member != replica.me:
                replica.promise(member, message)
