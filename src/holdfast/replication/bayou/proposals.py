"""What makes a commit firm: a majority of the voters has stored it under the primary's epoch.

Each voter holds, right behind its confirmed commits, the proposals it has stored, and of each the
epoch of the primary that sent it last (its *ballot*). A later primary sends what it has adopted once
more: an equal proposal gets the later ballot, and what follows it stays; one that differs replaces it
and all that follows, for nothing of those can have been confirmed. So of each place the proposal with
the latest ballot among a majority is the one that may have been confirmed (the synod of L. Lamport,
*The Part-Time Parliament*, TOCS 1998, once for each place of the log).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from holdfast.kernel.contracts import Peer
from holdfast.replication.bayou.log import Entry, WriteLog, name_of
from holdfast.replication.bayou.messages import Proposal, Proposed, Store, Stored, Vow, Write
from holdfast.replication.bayou.replica import Replica

STORE_WRITES_MAX = 500


class Voter:
    """What the primary knows of another voter: how far it has stored the proposals of this epoch, what has
    been sent to it and when, and from where on the last time."""

    __slots__ = ("begun", "sent", "sent_us", "stored")

    def __init__(self, stored: int) -> None:
        self.stored = stored
        self.begun = -1
        self.sent = stored
        self.sent_us = 0


class Proposals:
    """Proposing at the primary, storing at the voters, confirming at both. `confirmed` gathers the entries
    that have become committed at the primary; `overtaken` is the latest epoch that a voter has refused
    our proposals for. `learn(epoch, primary)`: see `Epochs.learn`."""

    def __init__(self, replica: Replica, learn: Callable[[int, Peer], None]) -> None:
        self.replica = replica
        self._learn = learn
        self.voters: dict[Peer, Voter] = {}
        self.own_stored: list[tuple[int, int]] = []  # (record of our journal, csn stored by it)
        self.confirmed: list[Entry] = []
        self.overtaken = 0

    def restarted(self) -> None:
        """The journal was replayed: what this disk holds of its own epoch, it has stored."""
        self.own_stored = [(0, self.stored_upto(self.replica.epoch))]

    def begin_epoch(self) -> None:
        """There is a new primary, perhaps this one: nobody has stored anything of it."""
        self.voters = {}
        self.own_stored = []

    def new_disk(self, peer: Peer) -> None:
        """What a voter has stored is gone with its disk."""
        self.voters.pop(peer, None)

    # -- What this voter holds

    def stored_upto(self, epoch: int) -> int:
        """How far this disk has stored the proposals of an epoch, as a csn."""
        ballots = self.replica.ballots
        count = next((place for place, ballot in enumerate(ballots) if ballot != epoch), len(ballots))
        return self.replica.log.csn + count

    def put(self, epoch: int, first: int, proposals: Sequence[Proposal]) -> None:
        """Hold these from csn `first` on; also from the journal."""
        replica = self.replica
        held, ballots = replica.proposed, replica.ballots
        place = first - 1 - replica.log.csn
        for proposal in proposals[max(0, -place) :]:  # some may have been committed since
            at = max(0, place)
            if at < len(held) and not is_same(held[at], proposal):
                del held[at:], ballots[at:]
            if at < len(held):
                held[at], ballots[at] = proposal, max(epoch, ballots[at])
            else:
                held.append(proposal)
                ballots.append(epoch)
            place = at + 1

    def fresh(self, writes: Iterable[Write]) -> list[Write] | None:
        """Those of proposed writes that are not in the log; None if one does not follow its author's last."""
        log = self.replica.log
        known = dict(log.vector)
        created: dict[str, int] = {}
        fresh = []
        for write in writes:
            if name_of(write) in log.entries:
                continue
            is_known = write.replica in log.members or write.replica in created
            if write.number != known.get(write.replica, 0) + 1 or not is_known:
                return None
            if write.kind:
                self.replica.check_body(write, created)
            known[write.replica] = write.number
            fresh.append(write)
        return fresh

    # -- Proposing

    def propose(self, entries: Sequence[Entry]) -> None:
        """The primary wants these to be the next commits. Alone, its own word makes them so."""
        replica = self.replica
        if len(replica.voters) == 1:
            self.confirmed += replica.commit([entry.name for entry in entries], replica.epoch)
        else:
            first = replica.log.csn + len(replica.proposed) + 1
            self.store_own(first, [(replica.epoch, entry.write) for entry in entries])

    def store_own(self, first: int, proposals: Sequence[Proposal]) -> None:
        """The primary is a voter too."""
        replica = self.replica
        if len(replica.voters) == 1:
            replica.proposed, replica.ballots = [], []
            self._commit(proposals)
            return
        replica.record(Proposed(replica.epoch, first, tuple(proposals)))
        self.put(replica.epoch, first, proposals)
        self.own_stored.append((replica.records_written, self.stored_upto(replica.epoch)))
        self._send()

    def _send(self, again: bool = False) -> None:
        """To each voter what has not been sent to it; `again` also what it has not answered for long."""
        replica = self.replica
        csn = replica.log.csn
        last = csn + len(replica.proposed)
        for peer in replica.voters:
            if peer == replica.me or not replica.peers[peer].connected:
                continue
            voter = self.voters.setdefault(peer, Voter(csn))
            is_overdue = replica.now_us - voter.sent_us >= replica.configuration.patience_us
            if again and voter.stored < last and is_overdue:
                voter.sent = voter.stored
            begin = max(csn, voter.sent)
            if begin < last:
                proposals = tuple(replica.proposed[begin - csn : begin - csn + STORE_WRITES_MAX])
                voter.begun, voter.sent = begin, begin + len(proposals)
                voter.sent_us = replica.now_us
                replica.send(peer, Store(replica.epoch, replica.me, begin, proposals, csn))

    # -- Storing

    def on_store(self, peer: Peer, store: Store) -> None:
        """A voter stores what the primary proposes, unless it has vowed otherwise or lacks what is before."""
        replica = self.replica
        if not replica.votes:
            return
        newest = max(replica.vowed, replica.epoch)
        if store.epoch < newest:
            replica.send(peer, Stored(replica.replica, newest, 0, False))
            return
        self._learn(store.epoch, store.primary)
        log = replica.log
        end = self.stored_upto(store.epoch)
        is_past = store.csn < log.csn and store.csn + len(store.proposals) <= log.csn
        proposals = store.proposals[max(0, log.csn - store.csn) :]
        fresh = None if store.csn > end or is_past else self.fresh(write for _, write in proposals)
        if fresh is None:
            replica.send(peer, Stored(replica.replica, store.epoch, end, False))
            return
        if fresh:
            replica.log_writes(fresh)
        first = max(store.csn, log.csn) + 1
        replica.record(Proposed(store.epoch, first, proposals))
        self.put(store.epoch, first, proposals)
        end = self.stored_upto(store.epoch)
        replica.send(peer, Stored(replica.replica, store.epoch, end, True))
        count = min(store.confirmed, end) - log.csn
        if count > 0:
            self._commit(replica.proposed[:count])

    # -- Confirming

    def on_stored(self, peer: Peer, stored: Stored) -> None:
        """A voter answers."""
        replica = self.replica
        if not stored.accepted:
            self.overtaken = max(self.overtaken, stored.epoch)
        if not replica.is_primary or stored.epoch != replica.epoch:
            return
        if stored.replica != replica.peers[peer].replica:  # of an earlier disk there, or of one not met yet
            return
        voter = self.voters.setdefault(peer, Voter(replica.log.csn))
        if stored.accepted:
            voter.stored = max(voter.stored, stored.csn)
            self.confirm()
            return
        voter.sent = stored.csn
        if stored.csn < replica.log.csn or stored.csn == voter.begun:  # anti-entropy brings it what it lacks
            replica.send(peer, replica.have(peer, wants=False))
            voter.sent_us = replica.now_us
        else:
            self._send()

    def confirm(self) -> None:
        """Commit what a majority of the voters have stored, this one too when its disk has."""
        replica = self.replica
        if not replica.is_primary or not replica.proposed:
            return
        csn = replica.log.csn
        mine = max((upto for record, upto in self.own_stored if record <= replica.records_synced), default=csn)
        stored = [
            mine if peer == replica.me else self.voters[peer].stored if peer in self.voters else 0
            for peer in replica.voters
        ]
        majority = sorted(stored, reverse=True)[len(stored) // 2]
        count = min(majority - csn, len(replica.proposed))
        if count > 0:
            self._commit(replica.proposed[:count])
            self.own_stored = [row for row in self.own_stored if row[1] > replica.log.csn]

    def _commit(self, proposals: Sequence[Proposal]) -> None:
        replica = self.replica
        place = 0
        while place < len(proposals):
            label = proposals[place][0]
            end = next((i for i in range(place, len(proposals)) if proposals[i][0] != label), len(proposals))
            entries = replica.commit([name_of(write) for _, write in proposals[place:end]], label)
            if replica.is_primary:
                self.confirmed += entries
            place = end

    def tick(self) -> None:
        """Send again what was not answered."""
        if self.replica.is_primary and self.replica.proposed:
            self._send(again=True)


def adopted(vows: Iterable[Vow], log: WriteLog) -> list[Proposal]:
    """What may have been confirmed after the commits of `log`, by what a majority of the voters hold: place by
    place the proposal with the latest ballot. A voter that holds another one there, or in a place that is
    confirmed since, has nothing to say of the places behind it: what follows a proposal that was not
    confirmed was not confirmed either. (Its place and first epoch tell a proposal from all others.)"""
    lists = []
    for vow in vows:
        count = log.csn - vow.csn
        before = enumerate(vow.proposals[:count], vow.csn + 1)
        if all(first_epoch == log.epoch_at(csn) for csn, (first_epoch, _) in before):
            lists.append((vow.proposals[count:], vow.ballots[count:]))
    chosen: list[Proposal] = []
    while True:
        place = len(chosen)
        lists = [pair for pair in lists if place < len(pair[0])]
        if not lists:
            return chosen
        best = max(lists, key=lambda pair: pair[1][place])[0][place]
        chosen.append(best)
        lists = [pair for pair in lists if is_same(pair[0][place], best)]


def is_same(one: Proposal, other: Proposal) -> bool:
    """The same write, first proposed in the same epoch: then what was confirmed before it is the same, too."""
    return one[0] == other[0] and name_of(one[1]) == name_of(other[1])
