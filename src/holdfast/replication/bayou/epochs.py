"""Epochs: who the primary is.

The papers leave the change of the primary open. Here who wants to be the primary claims a later
epoch; a majority of the voters vow to store nothing of an earlier one, and tell what they hold beyond
the confirmed commits (`proposals`); the claimant adopts what may have been confirmed, and proposes it
again. So what was confirmed survives, and a primary that was cut off can confirm nothing more. With
one voter, the primary itself (the papers' mode), its vow is needed, and it gives only one.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from holdfast.kernel.contracts import Peer, Token
from holdfast.kernel.errors import BrokenInvariant, MalformedInput
from holdfast.replication.bayou.losses import Losses
from holdfast.replication.bayou.messages import (
    Admitted,
    Claim,
    ClaimRefused,
    Enthroned,
    Have,
    Vow,
    Vowed,
    Yield,
)
from holdfast.replication.bayou.proposals import Proposals, adopted
from holdfast.replication.bayou.replica import ACTIVE, Replica
from holdfast.replication.bayou.words import CannotDo, Done

EPOCH_NODES = 64
"""Epochs of one node are this far apart, so that no two nodes claim the same."""


class Epochs:
    """Claims and vows."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.proposals = Proposals(replica, self.learn)
        self.losses = Losses(replica)
        self.claimed = 0
        self.claimed_us = self._begun_us = 0  # when it was sent last, and first
        self.vows: dict[Peer, Vow] = {}
        self.asked: list[tuple[Token, int, int]] = []  # (who waits, node to become primary, since)
        self.yielded_us: int | None = None
        self.learnt: dict[Peer, int] = {}
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
        if epoch <= replica.epoch:
            raise BrokenInvariant(f"epoch {epoch} begins, and {replica.epoch} has begun")
        replica.record(Enthroned(epoch, primary))
        replica.begin_epoch(epoch, primary)
        if primary == replica.me and self.claimed == epoch and not replica.votes:
            replica.record(Admitted())
            replica.votes = True
        self.proposals.begin_epoch()
        self.yielded_us = None
        self._overtaken_us = None
        self._forget_claim()
        self.learnt = {}
        replica.event(f"{replica.configuration.nodes[primary]} is the primary of epoch {epoch}")
        for token, node, _ in self.asked:
            what = replica.configuration.nodes[primary]
            loss = self.losses.answer() if replica.loss is not None and replica.loss.epoch == epoch else ""
            done = Done(f"{what} is the primary now, in epoch {epoch}. {loss}".rstrip())
            replica.reply(token, done if node == primary else CannotDo(f"{what} has become the primary instead."))
        self.asked = []
        if primary == replica.me:
            for peer in replica.connected:
                replica.send(peer, replica.have(peer, wants=False))

    def on_have(self, peer: Peer, have: Have) -> None:
        """A voter whose disk is not a first one has forgotten what an earlier disk there vowed and stored. It
        votes when it has all that a majority of the voters, none of which has forgotten, have committed, and has
        made their vows its own: whatever that disk took part in, one of them knows of."""
        replica = self.replica
        self.losses.on_have(peer, have)
        if replica.votes or replica.me not in replica.voters or peer not in replica.voters:
            return
        if have.vowed < 0:
            self.learnt.pop(peer, None)
            return
        if replica.primary == replica.me:  # an earlier disk's proposals of this epoch are not known: claim a new one
            return
        if have.epoch < replica.epoch:
            return
        if replica.state != ACTIVE or have.csn > replica.log.csn:
            return
        self.learnt[peer] = have.vowed
        # The primary among them: it has heard of this disk by now, and gives it no credit for the old one.
        if 2 * len(self.learnt) > len(replica.voters) and replica.primary in self.learnt:
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
        elif accept_loss and not alone:
            why = "--accept-loss goes on without the word of a lone voter, and here are several"
            replica.reply(token, CannotDo(f"{why}: take-over needs a majority of {self._voter_names()}."))
        elif 2 * len(away := self._voters_away()) >= len(replica.voters) and not alone:
            why = f"it takes a majority of the voters, and there is no connection to {self._names(away)} now"
            replica.reply(token, CannotDo(f"{why}; nothing was changed."))
        elif alone and not accept_loss and (replica.is_primary or not replica.peers[replica.primary].connected):
            name = replica.configuration.nodes[replica.primary]
            why = "has been given away to a node that has not claimed it" if replica.is_primary else "cannot be reached"
            text = f"{name} is the one voter, and its word {why}; if it is gone for good: take-over --accept-loss"
            replica.reply(token, CannotDo(text))
        else:
            self.asked.append((token, replica.me, replica.now_us))
            if accept_loss and (replica.is_primary or not replica.peers[replica.primary].connected):
                self._take_with_loss()
            else:
                self._claim(self._epoch_to_claim(), accepts_loss=accept_loss)

    def _take_with_loss(self) -> None:
        """The one voter cannot vow, and the operator accepts what that means."""
        replica = self.replica
        epoch = self._next_epoch()
        self.losses.accept(epoch)
        replica.record(Vowed(epoch))
        replica.vowed = self.claimed = epoch
        self._enthrone(epoch, replica.me)

    def _may_lead(self, peer: Peer) -> bool:
        """Whoever proposes must be able to confirm: one of the voters, where there are several."""
        return len(self.replica.voters) == 1 or peer in self.replica.voters

    def _voter_names(self) -> str:
        return self._names(self.replica.voters)

    def _names(self, peers: Iterable[Peer]) -> str:
        return ", ".join(self.replica.configuration.nodes[peer] for peer in peers)

    def _voters_away(self) -> list[Peer]:
        """Those that cannot be asked now; this node too, if it cannot give its own word."""
        replica = self.replica
        return [
            peer
            for peer in replica.voters
            if not (replica.votes if peer == replica.me else replica.peers[peer].connected)
        ]

    def on_yield(self, peer: Peer, message: Yield) -> None:
        """The primary hands over to this node."""
        if message.epoch == self.replica.epoch and peer == self.replica.primary and self.replica.state == ACTIVE:
            self._claim(self._epoch_to_claim())

    def _next_epoch(self) -> int:
        """A later one than all that are known here, of this very disk: those in turn at one node do not know of
        each other's, so all but the first leave out as many as their ids say."""
        replica = self.replica
        rounds = 1
        if replica.replica != replica.configuration.name:
            rounds += int.from_bytes(blake2b(replica.replica.encode(), digest_size=2).digest(), "big")
        highest = max(replica.epoch, replica.vowed, self.proposals.overtaken)
        return (highest // EPOCH_NODES + rounds) * EPOCH_NODES + replica.me

    def _epoch_to_claim(self) -> int:
        """The next one; but a lone voter gives its word once, and it may have given it to our last claim."""
        replica = self.replica
        return replica.vowed if len(replica.voters) == 1 and self._is_own_claim(replica.vowed) else self._next_epoch()

    @property
    def is_claiming(self) -> bool:
        """Whether this node may be the primary soon, as far as it knows."""
        return bool(self.claimed) or (len(self.replica.voters) == 1 and self._is_own_claim(self.replica.vowed))

    def _is_own_claim(self, epoch: int) -> bool:
        """Whether this disk has claimed that epoch, and it has not begun."""
        replica = self.replica
        return epoch == replica.vowed > replica.epoch and epoch % EPOCH_NODES == replica.me

    def _claim(self, epoch: int, *, accepts_loss: bool = False) -> None:
        """`accepts_loss`: the operator's word for this claim, and for no later one."""
        replica = self.replica
        self.claimed = epoch
        self._accepts_loss = accepts_loss
        self.claimed_us = self._begun_us = replica.now_us
        self.vows = {}
        if len(replica.voters) == 1 and epoch > replica.vowed:
            self._vow(epoch)  # so that a restart does not forget it
        for voter in replica.voters:
            if voter != replica.me:
                replica.send(voter, Claim(self.claimed, replica.log.csn, replica.epoch))
        self._consider_vows()

    def _vow(self, epoch: int) -> None:
        self.replica.record(Vowed(epoch))
        self.replica.vowed = epoch

    def _own_vow(self, epoch: int) -> Vow:
        replica = self.replica
        return Vow(epoch, replica.log.csn, tuple(replica.proposed), tuple(replica.ballots))

    def on_claim(self, peer: Peer, claim: Claim) -> None:
        """Vow, unless a later epoch was vowed to already. A repeated claim gets the same vow again."""
        replica = self.replica
        if replica.me not in replica.voters:  # one of the two has yet to hear of a primary
            return
        if not replica.votes:
            replica.send(peer, ClaimRefused(0))
            return
        if len(replica.voters) == 1 and claim.present < replica.epoch:
            replica.send(
                peer, replica.have(peer, wants=False)
            )  # it has not heard of this epoch: its claim is void then
            return
        given_away = len(replica.voters) == 1 and replica.vowed > replica.epoch and claim.epoch != replica.vowed
        if given_away:  # the vow of a lone voter makes a primary at once: there can be only one
            replica.send(peer, ClaimRefused(replica.vowed))
            return
        if claim.epoch < replica.vowed or claim.epoch <= replica.epoch:
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
        self._give_up(why)

    def on_vow(self, peer: Peer, vow: Vow) -> None:
        """A voter is with us. A claim that a restart made this node forget is taken up again: its epoch is ours."""
        replica = self.replica
        if len(vow.proposals) != len(vow.ballots):
            raise MalformedInput(f"a vow with {len(vow.proposals)} proposals and {len(vow.ballots)} ballots")
        if not self.claimed and replica.state == ACTIVE and self._is_own_claim(vow.epoch):
            self._claim(vow.epoch)
        if replica.state != ACTIVE:
            self._forget_claim()
        if vow.epoch == self.claimed and peer in replica.voters:
            self.vows[peer] = vow
            self._consider_vows()

    def _consider_vows(self) -> None:
        """With a majority: adopt the proposals of the latest epoch among them, once every commit that one of
        them knows as confirmed is here (anti-entropy brings it). This node's own vow is the last of them: until
        then it has given no word to this claim, and may give it up."""
        replica = self.replica
        if not self._has_majority or max((vow.csn for vow in self.vows.values()), default=0) > replica.log.csn:
            return
        epoch, vows = self.claimed, list(self.vows.values())
        if replica.me in replica.voters and replica.votes:
            if replica.vowed > epoch:  # to another's later claim, which knows nothing of what would be adopted now
                self._give_up(f"a later epoch, {replica.vowed}, has been claimed; try again.")
                return
            if replica.vowed < epoch:
                self._vow(epoch)
            vows.append(self._own_vow(epoch))
        proposals = adopted(vows, replica.log)
        fresh = self.proposals.fresh(write for _, write in proposals)
        if fresh is None:
            raise BrokenInvariant("proposals that a voter had stored do not follow what is confirmed")
        if fresh:
            replica.log_writes(fresh)
        self._enthrone(epoch, replica.me)
        if proposals:
            self.proposals.store_own(replica.log.csn + 1, proposals)

    @property
    def _has_majority(self) -> bool:
        """Whether a majority of the voters is with us, this one counted."""
        replica = self.replica
        count = len(self.vows) + (replica.me in replica.voters and replica.votes)
        return bool(self.claimed) and 2 * count > len(replica.voters)

    def _give_up(self, why: str) -> None:
        """This claim; who waits for it is told."""
        self._forget_claim()
        for token, _, _ in self.asked:
            self.replica.reply(token, CannotDo(why))
        self.asked = []

    def _forget_claim(self) -> None:
        """It has been taken up, or given up; and with it the operator's word for it, and the voters'."""
        self.claimed = 0
        self._accepts_loss = False
        self.vows = {}

    @property
    def may_propose(self) -> bool:
        """Not while another one is about to take over."""
        return self.replica.is_primary and self.yielded_us is None and self.replica.vowed <= self.replica.epoch

    # -- Time

    def tick(self) -> None:
        """Claim again where nobody has answered; give up what nobody answers."""
        replica = self.replica
        patience_us = replica.configuration.patience_us
        if self.claimed:
            self._consider_vows()
        is_unheard = self._accepts_loss and not self.vows  # with its vow in hand, what it has confirmed will come
        if self.claimed and is_unheard and replica.now_us - self.claimed_us >= patience_us:
            self._take_with_loss()  # connected or not, the one voter does not answer
        alone = len(replica.voters) == 1
        if self.claimed and not alone and not self._has_majority and replica.now_us - self._begun_us >= 2 * patience_us:
            self._give_up(
                f"it takes a majority of the voters, and {self._silent()} did not answer; the claim is given up."
            )
        if self.claimed and replica.now_us - self.claimed_us >= patience_us:
            self.claimed_us = replica.now_us
            for voter in replica.voters:
                if voter != replica.me and voter not in self.vows:
                    replica.send(voter, Claim(self.claimed, replica.log.csn, replica.epoch))
        is_overtaken = max(replica.vowed, self.proposals.overtaken) > replica.epoch
        if replica.primary == replica.me and replica.votes and is_overtaken and not self.claimed:
            self._remind()
        if self.yielded_us is not None and replica.now_us - self.yielded_us >= 2 * patience_us:
            self.yielded_us = None
        late = [row for row in self.asked if replica.now_us - row[2] >= 2 * patience_us]  # clients wait little longer
        for token, node, _ in late:
            replica.reply(token, CannotDo(self._why_late(node)))
        self.asked = [row for row in self.asked if row not in late]

    def _silent(self) -> str:
        """The voters that have not answered this claim."""
        return self._names(peer for peer in self.replica.voters if peer != self.replica.me and peer not in self.vows)

    def _why_late(self, node: Peer) -> str:
        """Why there is no new primary yet, and that there will be one: what was vowed cannot be taken back."""
        replica = self.replica
        if node != replica.me:
            return f"{replica.configuration.nodes[node]} has not claimed in time; it may still happen: ask `replicas`."
        if not self._has_majority:  # of several voters the claim would have been given up
            why = f"{self._voter_names()} did not answer; it gives its word once, and may have given it to this claim"
        elif len(replica.voters) == 1:
            why = f"{self._voter_names()} agrees, and what it has confirmed has not all come here yet"
        else:
            why = "a majority of the voters agrees, and what they have confirmed has not all come here yet"
        return f"{why}. So the claim stands: this node becomes the primary when that comes; `status` says so."

    @property
    def waiting_for(self) -> str:
        """What a change of the primary, or a primary of another disk, waits for; in words for the operator."""
        replica = self.replica
        if replica.primary == replica.me and not replica.votes:
            return (
                "an operator: the primary's disk was another one; take-over --accept-loss here, or take-over elsewhere"
            )
        if not self.is_claiming:
            return ""
        what = "what the voters have confirmed" if self._has_majority else f"the word of {self._silent()}"
        return f"{what}, to become the primary"

    def _remind(self) -> None:
        """A voter, perhaps this very primary, has vowed to a later epoch, so little can be confirmed until one
        begins. A primary among several voters claims a later one if that claim comes to nothing. Alone, its vow was
        its last word: the claimant may have forgotten, and is reminded."""
        replica = self.replica
        patience_us = replica.configuration.patience_us
        target = max(replica.vowed, self.proposals.overtaken)
        claimant = target % EPOCH_NODES
        if self._overtaken_us is None:
            self._overtaken_us = replica.now_us
        if replica.now_us - self._reminded_us < patience_us:
            return
        if len(replica.voters) > 1:
            if replica.now_us - self._overtaken_us >= 4 * patience_us:
                self._claim(self._next_epoch())
        elif claimant < len(replica.peers) and replica.peers[claimant].connected:
            self._reminded_us = replica.now_us
            if replica.vowed < target:
                self._vow(target)
            replica.send(claimant, self._own_vow(replica.vowed))
