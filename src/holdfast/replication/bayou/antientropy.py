"""Anti-entropy: two replicas meet, and one sends what the other lacks.

Pairwise, one-way, incremental: `Have` tells what is there, `Updates` brings what is not, committed
writes first. Each `Updates` names what its receiver must have before it, so a session may break off
anywhere and messages may be lost, doubled or exchanged: what does not fit is dropped, and asked for
again. (Petersen et al. 1997, figures 1 to 3 and section 4.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

from holdfast.kernel.contracts import Peer, Vector
from holdfast.kernel.errors import MalformedInput
from holdfast.replication.bayou.configuration import UPDATES_BYTES_MAX, WRITE_BYTES_MAX
from holdfast.replication.bayou.epochs import Epochs
from holdfast.replication.bayou.log import Entry, as_vector, id_of
from holdfast.replication.bayou.messages import Have, Name, Request, Updates, Write
from holdfast.replication.bayou.replica import ACTIVE, JOINING, RETIRED, PeerState, Replica
from holdfast.replication.bayou.transfer import Transfer

COMMITS_MAX = 5_000
"""Commits in one message."""
ALL = 1 << 62
"""More writes than anybody makes."""
SCANNED = 500
"""Entries looked through at once for what a peer lacks."""


class Taken:
    """What an `Updates` brought: writes and commits that were new. `fits`: it could be taken in at all."""

    __slots__ = ("commits", "fits", "writes")

    def __init__(self, fits: bool, writes: int = 0, commits: int = 0) -> None:
        self.fits = fits
        self.writes = writes
        self.commits = commits


class AntiEntropy:
    """See the module."""

    def __init__(self, replica: Replica, epochs: Epochs, transfer: Transfer) -> None:
        self.replica = replica
        self.epochs = epochs
        self.transfer = transfer
        self.sync_at_us = 0
        self._drawn = 0
        self._later: dict[Peer, None] = {}
        self.skipped = 0

    # -- Asking

    def pull(self, peer: Peer) -> None:
        """Ask a peer for what is lacking here: now, or when those have answered who were asked before. One
        at a time, because two who are asked at once send the same writes."""
        self._later.setdefault(peer)
        self._pull_next()

    def _pull_next(self) -> None:
        """Ask the next peer, unless one has been asked that may still answer."""
        replica = self.replica
        if not self._later or replica.state not in (ACTIVE, JOINING, RETIRED):
            return
        patience_us = replica.configuration.patience_us
        for state in replica.peers:
            if state.connected and state.pulled_us is not None and replica.now_us - state.pulled_us < patience_us:
                return
        while self._later:
            peer = next(iter(self._later))
            del self._later[peer]
            state = replica.peers[peer]
            if state.connected:
                state.pulled_us = replica.now_us
                replica.send(peer, replica.have(peer, wants=True))
                return

    def tick(self) -> None:
        """Meet some peer, when it is time."""
        replica = self.replica
        self._pull_next()
        if replica.now_us < self.sync_at_us:
            return
        self.sync_at_us = replica.now_us + replica.configuration.sync_us
        self.release_held()
        connected = replica.connected
        if connected:
            self.pull(connected[self._draw(len(connected))])

    def _draw(self, choices: int) -> int:
        """A number below `choices`, by chance as far as the peers are concerned, and yet repeatable."""
        self._drawn += 1
        seed = f"{replica_seed(self.replica)}:{self._drawn}".encode()
        return int.from_bytes(blake2b(seed, digest_size=8).digest(), "big") % choices

    # -- Answering

    def on_have(self, peer: Peer, have: Have) -> None:
        """A peer tells what it has."""
        replica = self.replica
        state = replica.peers[peer]
        state.learn(have)
        replica.note_skew(peer, have.unix_ms - replica.wall_ms)
        replica.note_voters(peer, have.voters)
        self.epochs.learn(have.epoch, have.primary)
        if replica.state not in (ACTIVE, RETIRED, JOINING):
            return
        log = replica.log
        if self._is_other_history(have):
            self._on_other_history(peer, is_ours_later=have.at < log.epoch_at(log.csn))
            return
        if have.wants:
            if have.csn < log.omitted or not have.vector:  # a new disk knows no replicas yet
                self.transfer.offer(peer)
            else:
                updates = self.updates_for(dict(have.vector), have.csn, aside=have.aside, answers=True)
                _note(state, updates)
                replica.send(peer, updates)
        lacks = log.missing(have.vector, replica.aside())
        if lacks or have.csn > log.csn:
            self.pull(peer)

    def _is_other_history(self, have: Have) -> bool:
        """Whether the peer has commits that were made under another primary than ours of the same numbers: a
        take-over accepted their loss. The number of a commit and its epoch name all that was committed up to it,
        and epochs never go back along the commits. So of two replicas the one with fewer commits, if its last
        one was made in the same epoch at the other, has the beginning of the other's."""
        log = self.replica.log
        if have.csn <= log.csn:
            return have.at != log.epoch_at(have.csn)
        return have.at < log.epoch_at(log.csn)  # whether ours is the beginning of its, the peer can tell

    def _on_other_history(self, peer: Peer, *, is_ours_later: bool) -> None:
        """Of two histories the one whose last commit was made in the later epoch stands."""
        if is_ours_later:
            self.transfer.offer(peer)
        else:
            self.pull(peer)

    def updates_for(
        self,
        vector: dict[str, int],
        csn: int,
        *,
        aside: Vector = (),
        answers: bool = False,
        bytes_max: int = UPDATES_BYTES_MAX,
    ) -> Updates:
        """What a peer with this vector and so many commits lacks, in our log's order, as far as it fits. What it
        has `aside` it need not get again; but a creation there says nothing: it has not heard of that replica."""
        replica = self.replica
        log = replica.log
        writes: list[Write] = []
        commits: list[Name] = []
        room = bytes_max
        more = False
        known = log.lacking(vector)
        for name, number in aside:
            if name in known:
                known[name] = max(number, known[name])
        for write in log.after(csn) if csn < log.csn else ():
            if room <= 0 or len(commits) >= COMMITS_MAX:
                more = True
                break
            commits.append((write.replica, write.number))
            if write.number > known.get(write.replica, ALL):
                writes.append(write)
                room -= len(write.body) + 40
            else:
                room -= 12
        if known and not more:
            for write in lacking_in(log.tail, known):
                if room <= 0:
                    more = True
                    break
                writes.append(write)
                room -= len(write.body) + 40
        epochs, at = (log.epochs_from(csn), log.epoch_at(csn)) if commits else ((), 0)
        return Updates(
            as_vector(vector), tuple(writes), csn, tuple(commits), epochs, replica.epoch, replica.primary,
            more, answers, at,
        )  # fmt: skip

    # -- Pushing

    def push(self, writes: Sequence[Write], basis: dict[str, int]) -> None:
        """New writes of our own users go to every peer at once, to the primary as a request."""
        replica = self.replica
        updates = Updates(
            as_vector(basis), tuple(writes), 0, (), (), replica.epoch, replica.primary
        )  # no commits, so any number of them will do
        for peer in replica.connected:
            replica.send(peer, Request(updates) if peer == replica.primary else updates)

    # -- Taking in

    def on_updates(self, peer: Peer, updates: Updates) -> Taken:
        """A peer sends writes and commits. Raises `MalformedInput` if they make no sense."""
        replica = self.replica
        state = replica.peers[peer]
        if updates.answers:
            state.pulled_us = None
        if state.vector is not None:  # what it sends, it has: it need not get that back
            note_writes(state.vector, updates.writes)
        taken = self.take(updates)
        if updates.answers and not (taken.writes or taken.commits):
            self._pull_next()  # nothing came of it: asked again at once, it would come to the same
        elif not taken.fits or updates.more:
            self.pull(peer)
        elif updates.answers:
            self._pull_next()
        return taken

    def take(self, updates: Updates) -> Taken:
        """Take in what fits here: everything in the basis must be here, and the commits before. Who knows of a later
        epoch is believed first, whatever way it comes: a primary that was replaced confirms nothing any more."""
        replica = self.replica
        log = replica.log
        self.epochs.learn(updates.epoch, updates.primary)
        self.release_held()  # what comes now may follow from what is ripe: not before it
        beside = replica.aside()
        if not log.members:  # a new disk learns from a state who takes part, before anything else
            return Taken(False)
        if (updates.commits and updates.csn > log.csn) or not log.includes(updates.basis, beside):
            self.skipped += 1
            return Taken(False)
        commits = updates.commits[log.csn - updates.csn :] if updates.commits else ()
        if updates.commits and not self._same_history(updates):
            self.skipped += 1
            return Taken(False)
        held = {name: list(writes) for name, writes in replica.held.items()}
        try:
            fresh = self._fresh(updates.writes, commits)
        except MalformedInput:
            replica.held = held  # all or nothing
            raise
        if fresh:
            replica.log_writes(fresh)
        done = self._take_commits(commits, updates)
        return Taken(done == len(commits), len(fresh), done)

    def _same_history(self, updates: Updates) -> bool:
        """Whether the last commit that both have was made in the same epoch: then so were all before it."""
        log = self.replica.log
        last = min(log.csn, updates.csn + len(updates.commits))
        theirs = updates.at
        for first, epoch in updates.epochs:
            if first <= last:
                theirs = epoch
        return theirs == log.epoch_at(last)

    def _fresh(self, writes: Sequence[Write], commits: Sequence[Name]) -> list[Write]:
        """Those that are not here yet, checked; what is stamped too far ahead goes into quarantine, and
        what its author wrote after it too, unless it is committed: then its place does not rest on its stamp."""
        replica = self.replica
        log, held = replica.log, replica.held
        bound_ms = replica.bound_ms
        firm = frozenset(commits) if held or any(write.ms > bound_ms for write in writes) else frozenset()
        fresh: list[Write] = []
        known: dict[str, int] = {}
        last_ms: dict[str, int] = {}
        created = self._created_aside() if held else {}
        if firm:  # what waits in quarantine comes before what its author wrote after it
            fresh += self._committed_held(commits, known, last_ms, created)
        for write in writes:
            name = write.replica
            number = known.get(name)
            if number is None:
                number = known[name] = max(log.vector.get(name, 0), log.committed_vector.get(name, 0))
                last_ms[name] = log.last_ms.get(name, 0)
            if write.number <= number:
                continue
            if firm and (name, write.number) in firm:
                self._unhold(name, write.number)
            elif write.ms > bound_ms or name in held:
                self._hold(write, number, last_ms[name], created)
                continue
            self._check(write, number, last_ms[name], created)
            known[name] = write.number
            last_ms[name] = write.ms
            fresh.append(write)
        if firm:
            fresh += self._committed_held(commits, known, last_ms, created)
        return fresh

    def _check(self, write: Write, number: int, last_ms: int, created: dict[str, int]) -> None:
        if write.number != number + 1:
            raise MalformedInput(f"{id_of(write)} comes after number {number} of its author: one is missing")
        if write.ms <= last_ms:
            raise MalformedInput(f"{id_of(write)} is stamped {write.ms}, but its author had stamped {last_ms} before")
        if len(write.body) > WRITE_BYTES_MAX:
            raise MalformedInput(f"{id_of(write)} has {len(write.body)} bytes, more than {WRITE_BYTES_MAX}")
        if write.replica not in self.replica.log.members and write.replica not in created:
            raise MalformedInput(f"{id_of(write)} is of a replica that was never created")
        if write.kind:
            self.replica.check_body(write, created)

    def _take_commits(self, commits: Sequence[Name], updates: Updates) -> int:
        """The next commits, as far as their writes are here; how many."""
        replica = self.replica
        log = replica.log
        done = 0
        while done < len(commits):
            csn = log.csn + 1
            epoch = max((pair for pair in updates.epochs if pair[0] <= csn), default=(0, 0))[1]
            end = min((first for first, _ in updates.epochs if first > csn), default=csn + len(commits) - done)
            names = commits[done : done + end - csn]
            here = log.leading(names)
            here += next((i for i, name in enumerate(names[here:]) if name not in log.entries), len(names) - here)
            if here:
                replica.commit(names[:here], epoch)
            done += here
            if here < len(names):
                break
        return done

    # -- Quarantine

    def _hold(self, write: Write, number: int, last_ms: int, created: dict[str, int]) -> None:
        """Keep aside a write from the future, and all that its author writes after it; checked like any other."""
        held = self.replica.held.get(write.replica, [])
        if held:
            number, last_ms = held[-1].number, held[-1].ms
        if write.number <= number:
            return
        self._check(write, number, last_ms, created)
        self.replica.held[write.replica] = held
        if not held:
            ahead_s = (write.ms - self.replica.wall_ms) // 1000
            self.replica.event(
                f"{id_of(write)} is stamped {ahead_s} s ahead of this clock; it and what follows it wait aside"
            )
        held.append(write)

    def _created_aside(self) -> dict[str, int]:
        """Whose creation waits in quarantine: what they write comes in after it."""
        created: dict[str, int] = {}
        for writes in self.replica.held.values():
            for write in writes:
                if write.kind:
                    self.replica.check_body(write, created)
        return created

    def _unhold(self, replica: str, number: int) -> None:
        held = self.replica.held.get(replica)
        if held is not None:
            held[:] = [write for write in held if write.number > number]
            if not held:
                del self.replica.held[replica]

    def _committed_held(
        self, commits: Sequence[Name], known: dict[str, int], last_ms: dict[str, int], created: dict[str, int]
    ) -> list[Write]:
        """Writes from the quarantine that are committed by now."""
        fresh = []
        for name, number in commits:
            for write in self.replica.held.get(name, ()):
                if write.number == number == known.get(name, self.replica.log.vector.get(name, 0)) + 1:
                    known[name], last_ms[name] = number, write.ms
                    if write.kind:
                        self.replica.check_body(write, created)
                    fresh.append(write)
        for write in fresh:
            self._unhold(write.replica, write.number)
        return fresh

    def release_held(self) -> None:
        """Let in from the quarantine what is not from the future any more."""
        replica = self.replica
        for name in sorted(replica.held):
            ripe = []
            known = max(replica.log.vector.get(name, 0), replica.log.committed_vector.get(name, 0))
            for write in replica.held[name]:
                if write.ms > replica.bound_ms:
                    break
                ripe.append(write)
            if ripe:
                self._unhold(name, ripe[-1].number)
                fresh = [
                    write for write in ripe if write.number > known
                ]  # others came another way: as proposals, in a state
                if fresh:
                    replica.log_writes(fresh)


def lacking_in(tail: Sequence[Entry], known: dict[str, int]) -> Iterator[Write]:
    """The writes of a tail above the numbers known of their authors; of other authors none."""
    number_of = known.get
    for begin in range(0, len(tail), SCANNED):
        entries = tail[begin : begin + SCANNED]
        yield from [write for entry in entries if (write := entry.write).number > number_of(write.replica, ALL)]


def _note(state: PeerState, updates: Updates) -> None:
    """The peer has sent these, or will have them: as far as is known, for an answer may be lost. Its next
    `Have` tells how it is; until then, at worst, it is sent something that does not fit, and asks."""
    if state.vector is None:
        return
    note_writes(state.vector, updates.writes)
    state.csn = max(state.csn, updates.csn + len(updates.commits))


def note_writes(vector: dict[str, int], writes: Sequence[Write]) -> None:
    """A vector takes these in; of each author the last one counts."""
    for replica, number in {write.replica: write.number for write in writes}.items():
        if number > vector.get(replica, 0):
            vector[replica] = number


def replica_seed(replica: Replica) -> str:
    """What tells one replica's chance from another's."""
    return f"{replica.identity.disk}:{replica.me}"
