"""Who takes part: the change from one view to the next by a ballot.

A proposer picks a new epoch and *seals* all earlier ones: each server it asks promises (synced) to
acknowledge nothing in them, and shows its position and queue. From enough such promises the
proposer knows all that may ever have been acknowledged, and *installs* the new view with it; when
every member has synced that, the view is *activated* and its entries are executed. "Enough":

- `perfect`: every member of the newest view that has not crashed. After a start nobody is known to
  have crashed, so every member, with the disk that the view names.
- `majority`: more than half of the configured servers, each with the disk it was last admitted
  with. Two majorities share a server, so the newest sealed log among them is complete: an update
  is acknowledged only when every member of its view, itself a majority, has synced it.

Only a server whose own view is the newest among the promises may propose: what was executed
anywhere was acknowledged by every member of that view, so it is in the proposer's own log.
Epochs are ballots, `round * SERVERS_MAX + proposer`, so no two proposers share one.
"""

from __future__ import annotations

from holdfast.kernel.errors import BrokenInvariant, MalformedInput
from holdfast.kernel.replies import Unknown
from holdfast.replication.lamport.configuration import SERVERS_MAX
from holdfast.replication.lamport.exclusion import Exclusion
from holdfast.replication.lamport.messages import (
    Activate,
    Admit,
    Entry,
    Install,
    Installed,
    Nominate,
    Promised,
    Seal,
    Sealed,
    SealRefused,
    View,
    ViewInstalled,
)
from holdfast.replication.lamport.replica import ACTIVE, HALTED, SEALED, STARTING, Replica


class Ballot:
    """One proposal of this server: the promises so far, then the members and who has synced."""

    __slots__ = ("epoch", "install", "installed", "members", "sealed", "since_us")

    def __init__(self, epoch: int, now_us: int) -> None:
        self.epoch = epoch
        self.since_us = now_us
        self.sealed: dict[int, Sealed] = {}
        self.members: tuple[int, ...] = ()
        self.install: dict[int, Install] = {}
        self.installed: set[int] = set()


class Views:
    """View changes, as proposer and as member."""

    def __init__(self, replica: Replica, exclusion: Exclusion) -> None:
        self._replica = replica
        self._exclusion = exclusion
        self.ballot: Ballot | None = None
        self.joiners: dict[int, Admit] = {}
        self.sealed_us = 0
        self.round_least = 0
        self.waiting_for = ""

    # -- When to propose

    def consider(self) -> None:
        """Called after every input that may have changed who is there."""
        replica = self._replica
        if replica.view is None or replica.state in (STARTING, HALTED):
            return
        if replica.state == ACTIVE:
            dead = [server for server in replica.other_members if replica.dead(server)]
            if dead or self.joiners:
                self._propose_if_first(dead)
        elif self.ballot is not None:
            self._pursue()
        else:
            self._take_over_if_abandoned()

    def _propose_if_first(self, dead: list[int]) -> None:
        replica = self._replica
        assert replica.view is not None
        alive = [server for server in replica.view.members if server not in dead]
        if replica.me == alive[0]:
            if dead:
                replica.event(f"{replica.names(dead)} left view {replica.epoch}: {self._reasons(dead)}")
            self.propose()
        elif dead and not self.sealed_us:
            self.sealed_us = replica.now_us
        elif dead and self._patience_over():
            self.propose()

    def _reasons(self, dead: list[int]) -> str:
        replica = self._replica
        reasons = []
        for server in dead:
            if replica.peers[server].refused:
                reasons.append("connection refused")
            elif replica.silent(server):
                reasons.append("silent past the timeout")
            else:
                reasons.append("back under a new incarnation")
        return ", ".join(reasons)

    def _patience_over(self) -> bool:
        """Later servers wait longer, so that they do not outbid each other."""
        replica = self._replica
        rank = 1 + replica.me
        return replica.now_us - self.sealed_us > rank * replica.configuration.heartbeat_us

    def _take_over_if_abandoned(self) -> None:
        replica = self._replica
        if self._patience_over():
            self.propose()
            return
        proposer = replica.promised % SERVERS_MAX
        # Not `dead`: our view may be so old that the proposer has been reborn since.
        if proposer != replica.me and replica.may_exclude and replica.gone(proposer):
            alive = [server for server in replica.other_members if not replica.dead(server)]
            if all(replica.me < server for server in alive):
                self.propose()

    # -- Proposer

    def propose(self) -> None:
        """Start a ballot above everything seen; our own promise comes first."""
        replica = self._replica
        rounds = max(replica.promised, replica.epoch) // SERVERS_MAX + 1
        epoch = max(rounds, self.round_least) * SERVERS_MAX + replica.me
        self._promise(epoch)
        self.ballot = Ballot(epoch, replica.now_us)
        self.ballot.sealed[replica.me] = self._sealed()
        for server in self._asked():
            replica.promise(server, Seal(epoch, replica.history_base))
        self._pursue()

    def _asked(self) -> list[int]:
        """Whose promises we want: members and joiners; everybody if these may not be enough."""
        replica = self._replica
        assert replica.view is not None
        here = [server for server in replica.others if replica.current(server) is not None]
        wanted = [server for server in here if server in replica.view.members or server in self.joiners]
        enough = len(wanted) + 1 >= replica.configuration.majority or replica.configuration.model == "perfect"
        return wanted if replica.live and enough else here

    def _promise(self, epoch: int) -> None:
        replica = self._replica
        assert epoch > replica.promised
        replica.promised = epoch
        replica.record(Promised(epoch))
        if replica.state != HALTED:
            replica.state = SEALED
        self.sealed_us = replica.now_us
        self.ballot = None

    def _sealed(self) -> Sealed:
        replica = self._replica
        return Sealed(
            replica.promised,
            replica.epoch,
            replica.position,
            replica.released,
            replica.pending_entries(),
            replica.clock,
            replica.disk,
            replica.incarnation,
            replica.vouch(),
        )

    def on_sealed(self, server: int, message: Sealed) -> None:
        """A promise for our ballot."""
        replica = self._replica
        replica.note_acknowledged(server, message.number)
        ballot = self.ballot
        if ballot is None or message.epoch != ballot.epoch or ballot.members:
            return
        if message.installed > replica.epoch:
            if self._never_began(server, message.installed):
                return
            replica.event(f"{replica.name(server)} holds a newer view than we do and should propose")
            replica.promise(server, Nominate(ballot.epoch))
            self.ballot = None
            self.sealed_us = replica.now_us
            return
        ballot.sealed[server] = message

    def _never_began(self, server: int, epoch: int) -> bool:
        """A server that is back shows a view that needed us too, and that we never took before we promised
        more. Nobody served in it, and its owner, who knows of nobody's crash, could wait for ever: pass it over."""
        replica = self._replica
        presence = replica.peers[server].presence
        if replica.configuration.model != "perfect" or not replica.live or presence is None:
            return False
        return replica.reborn(server) and presence.epoch == epoch and replica.me in presence.members

    def on_seal_refused(self, message: SealRefused) -> None:
        """Somebody has promised more: bid above it when our turn comes, lest two outbid each other for ever."""
        ballot = self.ballot
        if ballot is not None and message.epoch == ballot.epoch and not ballot.members:
            self.round_least = message.promised // SERVERS_MAX + 1
            self.ballot = None
            self.sealed_us = self._replica.now_us

    def on_nominate(self, message: Nominate) -> None:
        """Another proposer found our log to be the newer one."""
        if self._replica.state == SEALED and self.ballot is None:
            self.round_least = message.above // SERVERS_MAX + 1
            self.propose()

    def _pursue(self) -> None:
        """Go on with our ballot: choose the members once enough have promised, activate once all
        of them have synced, begin anew when one of them is lost meanwhile."""
        replica, ballot = self._replica, self.ballot
        assert ballot is not None
        if not ballot.members:
            self.waiting_for = self._missing(ballot)
            if not self.waiting_for:
                self._install(ballot)
        elif replica.may_exclude and any(replica.dead(server) for server in ballot.members if server != replica.me):
            self.propose()
        if self.ballot is ballot and ballot.members and len(ballot.installed) == len(ballot.members):
            for server in ballot.members:
                if server != replica.me:
                    replica.promise(server, Activate(ballot.epoch))
            self.activate()

    def _missing(self, ballot: Ballot) -> str:
        """Which promises the ballot still needs, "" for none."""
        replica = self._replica
        configuration = replica.configuration
        assert replica.view is not None
        view = replica.view
        whole = [server for server, sealed in ballot.sealed.items() if self._is_whole(sealed, server)]
        losing = replica.accepts_loss
        if configuration.model == "majority" and not losing:
            if not self._is_quorum(whole):
                return f"{configuration.majority} of {len(replica.peers)} servers; here: {replica.names(sorted(whole))}"
            return self._late(ballot)
        if losing:
            needed = [server for server in view.members if self._is_present(server)]
        elif replica.live:
            needed = [server for server in view.members if not replica.dead(server)]
        else:
            needed = list(view.members)
        missing = [server for server in needed if server != replica.me and server not in whole]
        return replica.names(missing) if missing else self._late(ballot)

    def _late(self, ballot: Ballot) -> str:
        """Who was asked and is not strictly needed, but gets a moment to be taken in."""
        replica = self._replica
        late = [server for server in self._asked() if server not in ballot.sealed]
        patient = replica.now_us - ballot.since_us < replica.configuration.heartbeat_us
        return replica.names(late) if late and patient else ""

    def _is_present(self, server: int) -> bool:
        """The server is here with the disk that the view names."""
        presence = self._replica.current(server)
        return presence is not None and self._replica.is_whole(server, presence.disk, presence.epoch)

    def _is_quorum(self, servers: list[int]) -> bool:
        """A majority of the configured servers, or all of a view that an accepted loss left smaller."""
        replica = self._replica
        assert replica.view is not None
        members, majority = replica.view.members, replica.configuration.majority
        return len(servers) >= majority or (len(members) < majority and all(m in servers for m in members))

    def _is_whole(self, sealed: Sealed, server: int) -> bool:
        """The promise comes from the disk that was last admitted for this server, not an empty one."""
        return self._replica.is_whole(server, sealed.disk, sealed.installed)

    def _base_for(self, sealed: Sealed) -> int | None:
        """The position from which this server can take our entries; None: it must fetch first."""
        replica = self._replica
        if sealed.position >= replica.history_base:
            return min(sealed.position, replica.position)
        held = sum(1 for time, server, _ in sealed.pending if (time, server) <= replica.released)
        same_view = sealed.installed == replica.epoch
        return replica.position if same_view and sealed.position + held == replica.position else None

    def _install(self, ballot: Ballot) -> None:
        """Bring the logs to equality: the union of the queues of those who come from our view."""
        replica = self._replica
        assert replica.view is not None
        bases = {server: self._base_for(sealed) for server, sealed in ballot.sealed.items()}
        members = tuple(sorted(server for server, base in bases.items() if base is not None))
        if replica.configuration.model == "majority" and not self._is_quorum(list(members)):
            if not replica.accepts_loss:
                behind = sorted(server for server, base in bases.items() if base is None)
                self.waiting_for = f"{replica.names(behind)} to copy the state"
                return
        union: dict[tuple[int, int], Entry] = {}
        for sealed in ballot.sealed.values():
            if sealed.installed == replica.epoch:
                for entry in sealed.pending:
                    if entry[:2] > replica.released:
                        union[entry[:2]] = entry
        entries = tuple(union[stamp] for stamp in sorted(union))
        self._check_executed_elsewhere(ballot, entries)
        disks, incarnations = list(replica.view.disks), list(replica.view.incarnations)
        for server in members:
            disks[server] = ballot.sealed[server].disk
            incarnations[server] = ballot.sealed[server].incarnation
        view = View(ballot.epoch, members, tuple(disks), tuple(incarnations))
        time = max(sealed.time for sealed in ballot.sealed.values())
        ballot.members = members
        for server in members:
            base = bases[server]
            assert base is not None
            tail = (*replica.history_from(base), *entries)
            ballot.install[server] = Install(view, replica.epoch, replica.released, base, tail, time)
        for server in members:
            if server != replica.me:
                replica.promise(server, ballot.install[server])
        self._take(ballot.install[replica.me])
        ballot.installed.add(replica.me)

    def _check_executed_elsewhere(self, ballot: Ballot, entries: tuple[Entry, ...]) -> None:
        """What another server has executed beyond us must be the beginning of our entries."""
        replica = self._replica
        for server, sealed in ballot.sealed.items():
            ahead = sealed.position - replica.position
            if ahead == 0 and sealed.released != replica.released:
                raise BrokenInvariant(
                    f"at position {replica.position} {replica.name(server)} has executed {sealed.released} last, but "
                    f"{replica.name(replica.me)} {replica.released}: the logs differ; has a loss been accepted on both?"
                )
            if ahead > 0 and (len(entries) < ahead or entries[ahead - 1][:2] != sealed.released):
                raise BrokenInvariant(
                    f"{replica.name(server)} has executed {ahead} batches up to {sealed.released} "
                    f"that {replica.name(replica.me)} never accepted: the logs differ"
                )

    # -- Member

    def on_seal(self, server: int, message: Seal) -> None:
        """Promise, if it is the highest ballot; show what we hold. An active server listens only to
        members of its view: others have to ask for admission."""
        replica = self._replica
        if replica.state == ACTIVE and (replica.view is None or server not in replica.view.members):
            return
        if replica.configuration.model == "perfect" and replica.live and replica.reborn(server):
            # It cannot know who has crashed, so its ballot may wait for ever; ours, later, will not. But ours must
            # stand above it, for others have promised it: those who outbid each other would outbid us for ever.
            self.round_least = max(self.round_least, message.epoch // SERVERS_MAX + 1)
            if self.ballot is not None and self.ballot.epoch < message.epoch:
                self.propose()
            return
        if message.epoch < replica.promised or (message.epoch == replica.promised and replica.epoch >= message.epoch):
            replica.promise(server, SealRefused(message.epoch, replica.promised))
            return
        if message.epoch > replica.promised:
            self._promise(message.epoch)
        self.sealed_us = replica.now_us
        replica.promise(server, self._sealed())

    def on_install(self, server: int, message: Install) -> None:
        """Take the view, if it is the one promised; a repeated one is confirmed again."""
        replica = self._replica
        epoch = message.view.epoch
        servers = len(replica.peers)
        if len(message.view.disks) != servers or len(message.view.incarnations) != servers:
            raise MalformedInput(f"a view of {len(message.view.disks)} servers; here are {servers} configured")
        if epoch != replica.promised or epoch < replica.epoch or replica.state == HALTED:
            return
        if epoch > replica.epoch:
            self._take(message)
        if replica.state != HALTED:
            replica.promise(server, Installed(epoch, replica.vouch()))

    def _take(self, message: Install) -> None:
        """Sync the view and its entries; nothing of them is executed before activation."""
        replica = self._replica
        if message.previous == replica.epoch:
            replica.execute_upto(message.released)
        skip = replica.position - message.base
        if skip < 0:
            raise BrokenInvariant(f"view {message.view.epoch} begins at {message.base}, beyond {replica.position}")
        entries = message.entries[skip:]
        replica.observe(message.time)
        replica.view = message.view
        replica.state = SEALED
        self.sealed_us = replica.now_us
        for token in replica.replace_queue(list(entries)):
            replica.step.replies.append((token, Unknown("the view changed while the request was under way")))
        replica.record(ViewInstalled(message.view, replica.position, entries, replica.clock))
        for pending in replica.pending.values():
            pending.record = replica.records_written

    def on_installed(self, server: int, message: Installed) -> None:
        """A member has synced the view we proposed."""
        self._replica.note_acknowledged(server, message.number)
        if self.ballot is not None and message.epoch == self.ballot.epoch:
            self.ballot.installed.add(server)

    def on_activate(self, message: Activate) -> None:
        """All members have synced the view."""
        replica = self._replica
        if message.epoch == replica.epoch == replica.promised and replica.state == SEALED:
            self.activate()

    def activate(self) -> None:
        """Execute what the view began with, and serve."""
        replica = self._replica
        assert replica.view is not None
        self._exclusion.reset()
        self.ballot = None
        self.waiting_for = ""
        self.sealed_us = 0
        self.round_least = 0
        self.joiners.clear()  # who was not taken in asks again
        for server in replica.view.members:
            replica.peers[server].heard_us = replica.now_us
        replica.state = ACTIVE
        replica.live = True
        replica.accepts_loss = False
        if replica.queue:
            replica.execute_upto(replica.queue[-1])
        replica.event(f"view {replica.epoch} is active: {replica.names(replica.view.members)}")

    # -- Repetition

    def repeat_to(self, server: int) -> None:
        """Send again what the peer may have missed."""
        ballot = self.ballot
        if ballot is None:
            return
        if not ballot.members:
            if server not in ballot.sealed:
                self._replica.promise(server, Seal(ballot.epoch, self._replica.history_base))
        elif server in ballot.members and server not in ballot.installed:
            self._replica.promise(server, ballot.install[server])

    def on_admit(self, server: int, message: Admit) -> None:
        """A server that has caught up asks to be taken in."""
        replica = self._replica
        view = replica.view
        if replica.state != ACTIVE or view is None:
            return
        if server in view.members and not replica.is_reborn(server, message.disk, message.incarnation):
            return
        if not set(view.members) - {server} <= {*message.hears, server}:
            return
        self.joiners[server] = message
        self.round_least = max(self.round_least, message.promised // SERVERS_MAX + 1)
