"""Epochs: who the primary is, and what makes a commit firm.

The papers leave the change of the primary open. Here a commit is confirmed when a majority of the
voters have stored it under the primary's epoch; with one voter, the primary itself, that is the
papers' mode. Who wants to be the primary claims a later epoch; a majority of the voters vow to store
nothing of an earlier one, and tell what they hold beyond the confirmed commits; the claimant adopts
the proposals of the latest epoch among them, and proposes them again. So what may have been confirmed
survives, and a primary that was cut off can confirm nothing more (the synod of L. Lamport, *The
Part-Time Parliament*, TOCS 1998, for a whole suffix of the log at once).

All proposals that a voter holds came from one primary in one epoch and begin right after its confirmed
commits: when a Store of a later epoch does not, the voter asks to be sent from there.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.kernel.contracts import Peer, Token
from holdfast.kernel.errors import BrokenInvariant
from holdfast.replication.bayou.log import Entry, name_of
from holdfast.replication.bayou.messages import (
    Admitted,
    Claim,
    ClaimRefused,
    Enthroned,
    Have,
    Proposal,
    Proposed,
    Store,
    Stored,
    Vow,
    Vowed,
    Write,
    Yield,
)
from holdfast.replication.bayou.replica import ACTIVE, Replica
from holdfast.replication.bayou.words import CannotDo, Done

EPOCH_NODES = 64
"""Epochs of one node are this far apart, so that no two nodes claim the same."""
STORE_WRITES_MAX = 500


class Voter:
    """What the primary knows of another voter: how far it has stored the proposals of this epoch, and
    what has been sent to it and when."""

    __slots__ = ("sent", "sent_us", "stored")

    def __init__(self, stored: int) -> None:
        self.stored = stored
        self.sent = stored
        self.sent_us = 0


class Epochs:
    """Claims, vows, and the confirmation of proposals. `on_confirmed(entries)` is called with what has
    become committed at the primary."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.voters: dict[Peer, Voter] = {}
        self.own_stored: list[tuple[int, int]] = []  # (record of our journal, csn stored by it)
        self.claimed = 0
        self.claimed_us = 0
        self.vows: dict[Peer, Vow] = {}
        self.asked: list[tuple[Token, int, int]] = []  # (who waits, node to become primary, since)
        self.yielded_us: int | None = None
        self.confirmed: list[Entry] = []
        self.learnt: dict[Peer, int] = {}
        self.overtaken = 0  # the latest epoch that a voter has refused our proposals for
        self._overtaken_us: int | None = None
        self._reminded_us = 0
        self._accepts_loss = False

    # -- Who is the primary

    def learn(self, epoch: int, primary: Peer) -> None:
        """A peer knows of this epoch."""
        replica = self.replica
        if epoch <= replica.epoch:
            return
        if not 0 <= primary < len(replica.peers):
            return
        self._enthrone(epoch, primary)

    def _enthrone(self, epoch: int, primary: Peer) -> None:
        replica = self.replica
        replica.record(Enthroned(epoch, primary))
        replica.epoch, replica.primary = epoch, primary
        if primary == replica.me and self.claimed == epoch and not replica.votes:
            replica.record(Admitted())
            replica.votes = True
        self.voters = {}
        self.own_stored = []
        self.yielded_us = None
        self._overtaken_us = None
        self.claimed = 0
        self.vows = {}
        replica.event(f"{replica.configuration.nodes[primary]} is the primary of epoch {epoch}")
        for token, node, _ in self.asked:
            what = replica.configuration.nodes[primary]
            done = Done(f"{what} is the primary now, in epoch {epoch}.")
            replica.reply(token, done if node == primary else CannotDo(f"{what} has become the primary instead."))
        self.asked = []
        if primary == replica.me:
            for peer in replica.connected:
                replica.send(peer, replica.have(peer, wants=False))

    def on_have(self, peer: Peer, have: Have) -> None:
        """A voter whose disk is not a first one has forgotten what an earlier disk there vowed and stored. It
        votes when it has all that a majority of the voters, without itself, have committed, and has made
        their vows its own: whatever that disk took part in, one of them knows of."""
        replica = self.replica
        if replica.votes or replica.me not in replica.voters or peer not in replica.voters:
            return
        if (
            replica.primary == replica.me
        ):  # what an earlier disk here proposed in this epoch is not known: claim a new one
            return
        if replica.state != ACTIVE or have.csn > replica.log.csn:
            return
        self.learnt[peer] = have.vowed
        if 2 * len(self.learnt) > len(replica.voters):
            vowed = max(*self.learnt.values(), replica.vowed, replica.epoch)
            replica.record(Vowed(vowed))
            replica.record(Admitted())
            replica.vowed, replica.votes = vowed, True
            self.learnt = {}
            replica.event("this disk votes now: it has learnt what the other voters know")

    # -- Changing it

    def hand_over(self, token: Token, peer: Peer) -> None:
        """Planned: the primary lets another node claim the next epoch. Nothing is lost: the vow of this
        very node carries all that it has proposed."""
        replica = self.replica
        name = replica.configuration.nodes[peer]
        if not replica.is_primary:
            now = replica.configuration.nodes[replica.primary]
            replica.reply(token, CannotDo(f"{now} is the primary; say it there."))
        elif peer == replica.me:
            replica.reply(token, Done(f"{name} is the primary already."))
        elif not replica.peers[peer].connected:
            replica.reply(token, CannotDo(f"there is no connection to {name} now; nothing was changed."))
        elif not self._may_lead(peer):
            replica.reply(token, CannotDo(f"{name} is none of the voters, {self._voter_names()}."))
        else:
            self.asked.append((token, peer, replica.now_us))
            self.yielded_us = replica.now_us
            replica.send(peer, Yield(replica.epoch))

    def take_over(self, token: Token, accept_loss: bool) -> None:
        """Forced: this node claims the next epoch. With the primary as the one voter, and that one gone,
        nobody can tell what it has confirmed: then it takes the operator's word."""
        replica = self.replica
        alone = len(replica.voters) == 1
        if replica.is_primary and replica.vowed <= replica.epoch:
            replica.reply(token, Done("this node is the primary already."))
        elif not self._may_lead(replica.me):
            replica.reply(token, CannotDo(f"this node is none of the voters, {self._voter_names()}."))
        elif alone and not accept_loss and (replica.is_primary or not replica.peers[replica.primary].connected):
            name = replica.configuration.nodes[replica.primary]
            why = "has been given away to a node that has not claimed it" if replica.is_primary else "cannot be reached"
            text = f"{name} is the one voter, and its word {why}; if it is gone for good: take-over --accept-loss"
            replica.reply(token, CannotDo(text))
        else:
            self.asked.append((token, replica.me, replica.now_us))
            self._accepts_loss = alone and accept_loss
            if self._accepts_loss and (replica.is_primary or not replica.peers[replica.primary].connected):
                self._take_with_loss()
            else:
                self._claim(self._next_epoch())

    def _take_with_loss(self) -> None:
        """The one voter cannot vow, and the operator accepts what that means."""
        replica = self.replica
        epoch = self._next_epoch()
        replica.event(
            f"take-over with accepted loss after commit {replica.log.csn}: what the old primary has confirmed "
            "since, and this replica has not seen, may come out otherwise; it is reported when they meet"
        )
        replica.record(Vowed(epoch))
        replica.vowed = self.claimed = epoch
        self._accepts_loss = False
        self._enthrone(epoch, replica.me)

    def _may_lead(self, peer: Peer) -> bool:
        """Whoever proposes must be able to confirm: one of the voters, where there are several."""
        return len(self.replica.voters) == 1 or peer in self.replica.voters

    def _voter_names(self) -> str:
        return ", ".join(self.replica.configuration.nodes[peer] for peer in self.replica.voters)

    def on_yield(self, peer: Peer, message: Yield) -> None:
        """The primary hands over to this node."""
        if message.epoch == self.replica.epoch and peer == self.replica.primary and self.replica.state == ACTIVE:
            self._claim(self._next_epoch())

    def _next_epoch(self) -> int:
        replica = self.replica
        highest = max(replica.epoch, replica.vowed, self.overtaken)
        return (highest // EPOCH_NODES + 1) * EPOCH_NODES + replica.me

    def _claim(self, epoch: int) -> None:
        replica = self.replica
        self.claimed = epoch
        self.claimed_us = replica.now_us
        self.vows = {}
        for voter in replica.voters:
            if voter == replica.me and not replica.votes:
                continue
            if voter == replica.me:
                self._vow(self.claimed)
                self.vows[voter] = self._own_vow(self.claimed)
            else:
                replica.send(voter, Claim(self.claimed, replica.log.csn))
        self._consider_vows()

    def _vow(self, epoch: int) -> None:
        self.replica.record(Vowed(epoch))
        self.replica.vowed = epoch

    def _own_vow(self, epoch: int) -> Vow:
        replica = self.replica
        return Vow(epoch, replica.log.csn, replica.proposed_epoch, tuple(replica.proposed))

    def on_claim(self, peer: Peer, claim: Claim) -> None:
        """Vow, unless a later epoch was vowed to already. A repeated claim gets the same vow again."""
        replica = self.replica
        if not replica.votes:
            replica.send(peer, ClaimRefused(0))
            return
        given_away = len(replica.voters) == 1 and replica.vowed > replica.epoch and claim.epoch != replica.vowed
        if given_away:  # the vow of a lone voter makes a primary at once: there can be only one
            replica.send(peer, ClaimRefused(replica.vowed))
            return
        if claim.epoch < replica.vowed or claim.epoch <= replica.epoch or replica.me not in replica.voters:
            replica.send(peer, ClaimRefused(max(replica.vowed, replica.epoch)))
            return
        if claim.epoch > replica.vowed:
            self._vow(claim.epoch)
        replica.send(peer, self._own_vow(claim.epoch))

    def on_claim_refused(self, message: ClaimRefused) -> None:
        """A later claim is under way, or was; or (epoch 0) that disk has forgotten what an earlier one vowed."""
        if not self.claimed or 0 < message.epoch <= self.claimed:
            return
        why = f"a later epoch, {message.epoch}, is known; try again."
        if not message.epoch:
            if len(self.replica.voters) > 1:
                return  # it will have learnt from the others, and the claim is made again
            if self._accepts_loss:
                self._take_with_loss()
                return
            why = "the one voter's disk is a new one, which cannot know what the old one has confirmed: --accept-loss"
        self.claimed = 0
        for token, _, _ in self.asked:
            self.replica.reply(token, CannotDo(why))
        self.asked = []

    def on_vow(self, peer: Peer, vow: Vow) -> None:
        """A voter is with us. A claim that a restart made this node forget is taken up again: its epoch is ours."""
        replica = self.replica
        forgotten = not self.claimed and vow.epoch > replica.epoch and vow.epoch % EPOCH_NODES == replica.me
        if forgotten and replica.state == ACTIVE and vow.epoch >= replica.vowed:
            self._claim(vow.epoch)
        if vow.epoch == self.claimed and peer in replica.voters:
            self.vows[peer] = vow
            self._consider_vows()

    def _consider_vows(self) -> None:
        """With a majority: adopt the proposals of the latest epoch among them, once every commit that one of
        them knows as confirmed is here (anti-entropy brings it)."""
        replica = self.replica
        if not self.claimed or 2 * len(self.vows) <= len(replica.voters):
            return
        if max(vow.csn for vow in self.vows.values()) > replica.log.csn:
            return
        best = max(self.vows.values(), key=lambda vow: (vow.stored_epoch, vow.csn + len(vow.proposals)))
        adopted = best.proposals[replica.log.csn - best.csn :]
        epoch = self.claimed
        self.vows = {}
        fresh = self._fresh([write for _, write in adopted])
        if fresh is None:
            raise BrokenInvariant("proposals that a voter had stored do not follow what is confirmed")
        if fresh:
            replica.log_writes(fresh)
        self._enthrone(epoch, replica.me)
        self._hold(list(adopted))

    # -- Proposing and confirming

    @property
    def may_propose(self) -> bool:
        """Not while another one is about to take over."""
        return self.replica.is_primary and self.yielded_us is None and self.replica.vowed <= self.replica.epoch

    @property
    def pending(self) -> int:
        """Proposals that are not confirmed yet."""
        return len(self.replica.proposed)

    def propose(self, entries: Sequence[Entry]) -> None:
        """The primary wants these to be the next commits. Alone, its own word makes them so."""
        replica = self.replica
        if len(replica.voters) == 1:
            assert not replica.proposed, "a lone voter confirms at once"
            self.confirmed += replica.commit([name_of(entry.write) for entry in entries], replica.epoch)
        else:
            self._hold([*replica.proposed, *((replica.epoch, entry.write) for entry in entries)])

    def _hold(self, proposals: list[Proposal]) -> None:
        """The primary's own store of proposals: all of them, or what was added."""
        replica = self.replica
        if len(replica.voters) == 1:
            replica.proposed = []
            self._confirm(proposals)
            return
        old = len(replica.proposed) if replica.proposed_epoch == replica.epoch else 0
        replica.record(Proposed(replica.epoch, replica.log.csn + old + 1, tuple(proposals[old:])))
        replica.proposed_epoch = replica.epoch
        replica.proposed = proposals
        self.own_stored.append((replica.records_written, replica.log.csn + len(proposals)))
        self._send_stores()

    def _send_stores(self, again: bool = False) -> None:
        replica = self.replica
        csn = replica.log.csn
        last = csn + len(replica.proposed)
        for peer in replica.voters:
            if peer == replica.me or not replica.peers[peer].connected:
                continue
            voter = self.voters.get(peer)
            if voter is None:
                voter = self.voters[peer] = Voter(csn)
            patience_us = replica.configuration.patience_us
            if again and voter.stored < last and replica.now_us - voter.sent_us >= patience_us:
                voter.sent = max(csn, voter.stored)
            begin = max(csn, voter.sent)
            if begin < last:
                proposals = tuple(replica.proposed[begin - csn : begin - csn + STORE_WRITES_MAX])
                voter.sent = begin + len(proposals)
                voter.sent_us = replica.now_us
                replica.send(peer, Store(replica.epoch, replica.me, begin, proposals, csn))

    def on_store(self, peer: Peer, store: Store) -> None:
        """A voter stores what the primary proposes."""
        replica = self.replica
        if not replica.votes:
            return
        if store.epoch < max(replica.vowed, replica.epoch):
            replica.send(peer, Stored(max(replica.vowed, replica.epoch), 0, False))
            return
        self.learn(store.epoch, store.primary)
        log = replica.log
        is_same = replica.proposed_epoch == store.epoch
        end = log.csn + (len(replica.proposed) if is_same else 0)
        if store.csn > end or (store.csn < log.csn and store.csn + len(store.proposals) <= log.csn):
            replica.send(peer, Stored(store.epoch, end, False))
            return
        proposals = store.proposals[max(0, log.csn - store.csn) :]
        first = max(store.csn, log.csn) + 1
        fresh = self._fresh([write for _, write in proposals])
        if fresh is None:
            replica.send(peer, Stored(store.epoch, end, False))
            return
        if fresh:
            replica.log_writes(fresh)
        replica.record(Proposed(store.epoch, first, proposals))
        self.store_proposals(store.epoch, first, proposals)
        replica.send(peer, Stored(store.epoch, log.csn + len(replica.proposed), True))
        self._confirm_stored(store.confirmed)

    def _fresh(self, writes: Sequence[Write]) -> list[Write] | None:
        """Those of the proposed writes that are not here; None if one does not follow its author's last."""
        log = self.replica.log
        known = dict(log.vector)
        fresh = []
        for write in writes:
            if name_of(write) in log.entries:
                continue
            if write.number != known.get(write.replica, 0) + 1 or write.replica not in log.members:
                return None
            known[write.replica] = write.number
            fresh.append(write)
        return fresh

    def store_proposals(self, epoch: int, first: int, proposals: Sequence[Proposal]) -> None:
        """Also from the journal: put these in their places; those of an earlier epoch are replaced."""
        replica = self.replica
        held = replica.proposed if replica.proposed_epoch == epoch else []
        keep = first - 1 - replica.log.csn
        if keep < 0:  # committed since
            proposals, keep = proposals[-keep:], 0
        # Of one epoch never fewer: what was answered for stays, though it be sent again or late.
        replica.proposed = [*held[:keep], *proposals, *held[keep + len(proposals) :]]
        replica.proposed_epoch = epoch

    def _confirm_stored(self, confirmed: int) -> None:
        """What this voter has stored and the primary knows to be confirmed."""
        replica = self.replica
        count = min(confirmed - replica.log.csn, len(replica.proposed))
        if count > 0:
            self._confirm(replica.proposed[:count])

    def on_stored(self, peer: Peer, stored: Stored) -> None:
        """A voter answers."""
        replica = self.replica
        if not stored.accepted:
            self.overtaken = max(self.overtaken, stored.epoch)
        if not replica.is_primary or stored.epoch != replica.epoch:
            return
        voter = self.voters.setdefault(peer, Voter(replica.log.csn))
        if not stored.accepted:
            voter.sent = stored.csn
            if stored.csn < replica.log.csn:  # anti-entropy brings it what is confirmed
                replica.send(peer, replica.have(peer, wants=False))
                voter.sent_us = replica.now_us
            else:
                self._send_stores()
            return
        voter.stored = max(voter.stored, stored.csn)
        self.confirm()

    def confirm(self) -> None:
        """Commit what a majority of the voters have stored, this one too when its disk has."""
        replica = self.replica
        if not replica.is_primary or not replica.proposed:
            return
        mine = replica.log.csn
        for record, csn in self.own_stored:
            if record <= replica.records_synced:
                mine = max(mine, csn)
        stored = [mine if peer == replica.me else self._stored_by(peer) for peer in replica.voters]
        majority = sorted(stored, reverse=True)[len(stored) // 2]
        count = min(majority - replica.log.csn, len(replica.proposed))
        if count > 0:
            self._confirm(replica.proposed[:count])
            self.own_stored = [(record, csn) for record, csn in self.own_stored if csn > replica.log.csn]

    def _stored_by(self, peer: Peer) -> int:
        voter = self.voters.get(peer)
        return voter.stored if voter is not None else 0

    def _confirm(self, proposals: Sequence[Proposal]) -> None:
        replica = self.replica
        place = 0
        while place < len(proposals):
            label = proposals[place][0]
            end = next((i for i in range(place, len(proposals)) if proposals[i][0] != label), len(proposals))
            names = [name_of(write) for _, write in proposals[place:end]]
            self.confirmed += replica.commit(names, label)
            place = end

    # -- Time

    def tick(self) -> None:
        """Send again what was not answered; give up what nobody answers."""
        replica = self.replica
        patience_us = replica.configuration.patience_us
        if replica.is_primary and replica.proposed:
            self._send_stores(again=True)
        if self.claimed:
            self._consider_vows()
        if self.claimed and replica.now_us - self.claimed_us >= patience_us:
            self.claimed_us = replica.now_us
            for voter in replica.voters:
                if voter != replica.me and voter not in self.vows:
                    replica.send(voter, Claim(self.claimed, replica.log.csn))
        is_overtaken = max(replica.vowed, self.overtaken) > replica.epoch
        if replica.primary == replica.me and replica.votes and is_overtaken and not self.claimed:
            self._remind()
        if self.yielded_us is not None and replica.now_us - self.yielded_us >= 2 * patience_us:
            self.yielded_us = None
        for token, _, since_us in self.asked:
            if replica.now_us - since_us >= 4 * patience_us:
                why = "no majority of the voters has answered" if self.claimed else "the new primary has not claimed"
                replica.reply(token, CannotDo(f"{why} in time; it may still happen: ask `replicas`."))
        self.asked = [row for row in self.asked if replica.now_us - row[2] < 4 * patience_us]

    def _remind(self) -> None:
        """A voter, perhaps this very primary, has vowed to a later epoch, so nothing can be confirmed until
        that begins. Its claimant may have forgotten, and is reminded; if it is away for long, a primary
        among several voters claims a later one yet. (Alone, its vow was its last word.)"""
        replica = self.replica
        patience_us = replica.configuration.patience_us
        target = max(replica.vowed, self.overtaken)
        claimant = target % EPOCH_NODES
        if self._overtaken_us is None:
            self._overtaken_us = replica.now_us
        if replica.now_us - self._reminded_us < patience_us:
            return
        if claimant < len(replica.peers) and replica.peers[claimant].connected:
            self._reminded_us = replica.now_us
            if replica.vowed < target:
                self._vow(target)
            replica.send(claimant, self._own_vow(replica.vowed))
        elif len(replica.voters) > 1 and replica.now_us - self._overtaken_us >= 4 * patience_us:
            self._claim(self._next_epoch())
