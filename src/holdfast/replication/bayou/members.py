"""Replicas come and go: creations and retirements are writes, made through any one replica.

A disk without an id asks some peer to create one; with the creation it has its first entry in every
vector. Retiring is a replica's last write; it leaves when one peer has it. A disk that was lost is
taken out by its successor at the same node, or by an operator: nobody waits for it any more, but what
it wrote stays welcome. A disk that finds its id used elsewhere (it is an old copy) takes a new one and
makes its own writes anew. (Petersen et al. 1997, section 5.)
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.kernel.contracts import Change, Peer, Token
from holdfast.kernel.replies import Unknown
from holdfast.replication.bayou.log import id_of, name_of
from holdfast.replication.bayou.messages import (
    CREATION,
    RETIREMENT,
    Create,
    Created,
    Creation,
    Forked,
    Have,
    MadeAnew,
    MemberRow,
    Named,
    Retirement,
    Write,
    encode,
)
from holdfast.replication.bayou.replica import ACTIVE, JOINING, RETIRED, Replica
from holdfast.replication.bayou.words import CannotDo, Done

CREATION_PATIENCE = 4
"""So many times the patience a creation is waited for, before another is asked for."""
NAME_CHARACTERS = 6
"""Of the disk's identity, in a replica's id."""


class Members:
    """See the module. `write(kind, body[, first_name])` accepts a write of this replica; `is_claiming()`:
    whether this node wants to be the primary."""

    def __init__(self, replica: Replica, write: Callable[..., Write], is_claiming: Callable[[], bool]) -> None:
        self.replica = replica
        self._write = write
        self._asked: tuple[Peer, int] | None = None
        self.is_claiming = is_claiming
        self._looked_at = -1
        self.retiring: Token | None = None  # who waits for our last writes to be with a peer
        self._retiring_us = 0

    # -- Joining

    def tick(self) -> None:
        """Ask somebody for an id, while there is none; or once more, when the creation does not come: it may have
        gone with its creator's disk. Tell who waits for us to have retired that nobody has our last writes yet."""
        replica = self.replica
        if self.retiring is not None and replica.now_us - self._retiring_us >= 2 * replica.configuration.patience_us:
            self._tell_retiring("no peer that stays has its last writes yet; keep its node running, and ask again.")
        if replica.state != JOINING:
            return
        patience_us = replica.configuration.patience_us * (CREATION_PATIENCE if replica.replica else 1)
        if self._asked is not None and replica.now_us - self._asked[1] < patience_us:
            return
        creators = self._creators()
        if creators:
            last = -1 if self._asked is None else self._asked[0]
            peer = next((peer for peer in creators if peer > last), creators[0])
            self._asked = (peer, replica.now_us)
            replica.send(peer, Create(replica.configuration.name, self._disk_name()))

    def _creators(self) -> list[Peer]:
        """Those to ask: with the clock that most have, if there is one, for what is written here will be stamped
        later than the creation."""
        replica = self.replica
        bound_ms = replica.configuration.forward_bound_ms
        heard = {peer: replica.peers[peer].skew_ms for peer in replica.connected}
        right = [peer for peer, ms in heard.items() if ms is not None and abs(ms - replica.skew_ms) <= bound_ms]
        return right or [peer for peer, ms in heard.items() if ms is not None]

    def _disk_name(self) -> str:
        """Of this disk, and of each life that it began as a copy."""
        replica = self.replica
        if not replica.forks:
            return replica.identity.disk[:NAME_CHARACTERS]
        # The identity, and how often it forked, may have been copied along with everything else.
        return f"{replica.configuration.disk[:NAME_CHARACTERS]}.{replica.forks}"

    def on_create(self, peer: Peer, message: Create) -> None:
        """Create a replica for a peer's disk; asked again, tell again. Its node's earlier ones are gone."""
        replica = self.replica
        if replica.state != ACTIVE or message.node != replica.configuration.nodes[peer]:
            return
        id = first = f"{message.node}~{message.disk}"
        lives = 1
        while id in replica.log.members and replica.log.members[id].state != "live":
            id = f"{first}+{lives}"  # that one is over: this must be an old copy of its disk
            lives += 1
        member = replica.log.members.get(id)
        if member is None:
            replaces = tuple(
                name
                for name, row in sorted(replica.log.members.items())
                if row.node == message.node and row.state == "live"
            )
            write = self._write(CREATION, encode(Creation(id, message.node, replaces)))
            replica.event(f"created the replica {id}" + (f" in the place of {', '.join(replaces)}" if replaces else ""))
            replica.send(peer, Created(id, write.replica, write.number, write.ms))
        elif member.creator:
            replica.send(peer, Created(id, member.creator, member.number, self._created_ms(member)))

    def _created_ms(self, member: MemberRow) -> int:
        """The stamp of its creation; where that is no longer in the log, a later one of its creator's."""
        log = self.replica.log
        entry = log.entries.get((member.creator, member.number))
        if entry is not None:
            return entry.write.ms
        known = (write.ms for write in log.committed if name_of(write) == (member.creator, member.number))
        return next(known, log.last_ms.get(member.creator, 0))

    def on_created(self, message: Created) -> None:
        """This disk has its id; it takes part once it has seen its creation."""
        replica = self.replica
        if replica.state != JOINING or self._is_known(message):
            return
        if message.replica.partition("+")[0] != f"{replica.configuration.name}~{self._disk_name()}":
            return  # late, for an id that this disk has given up
        replica.record(Named(message.replica, message.creator, message.number, message.ms))
        self.named(message)
        replica.event(f"this replica is {message.replica}")

    def _is_known(self, message: Created) -> bool:
        known = (self.replica.replica, *self.replica.created_by)
        return known == (message.replica, message.creator, message.number)

    def named(self, message: Created | Named) -> None:
        """Also from the journal."""
        replica = self.replica
        replica.replica = message.replica
        replica.clock.replica = message.replica
        replica.created_by = (message.creator, message.number)
        replica.clock.observe(message.ms)  # whatever this clock says: the primary may count on it

    def consider(self) -> None:
        """Begin to take part when the own creation is in the log."""
        replica = self.replica
        if replica.state == ACTIVE:
            self._look_at_own_node()
        elif replica.state == JOINING and replica.replica and replica.log.includes((replica.created_by,)):
            replica.state = ACTIVE
            replica.own_at_start = replica.log.vector.get(replica.replica, 0)
            replica.event(f"{replica.replica} takes part")
            for peer in replica.connected:  # a voter's word counts where it is known whose it is
                replica.send(peer, replica.have(peer, wants=False))
        if replica.state == ACTIVE and replica.anew:
            self._make_anew()

    def _make_anew(self) -> None:
        """Write again, as this replica, what was written under an id that is over."""
        replica = self.replica
        anew, replica.anew = replica.anew, []
        renamed = []
        for write in anew:
            fresh = self._write(write.kind, write.body, write.first_name)
            replica.event(f"{id_of(write)} was made anew as {id_of(fresh)}")
            renamed.append((name_of(write), name_of(fresh)))
            what = Done(f"made anew as {id_of(fresh)}, because the id {write.replica} is over")
            replica.step.changes.append(Change(id_of(write), "", "tentative", what))
        replica.renamed.update(renamed)
        replica.record(MadeAnew(tuple(renamed)))

    def _look_at_own_node(self) -> None:
        """A node has one disk. Of two replicas created for it, the one that takes part says that the other is
        gone; and if somebody has said so of this one, it comes back under a new id, with all it has."""
        replica = self.replica
        members = replica.log.members
        if self._looked_at == replica.log.members_changed:
            return
        self._looked_at = replica.log.members_changed
        own = members.get(replica.replica)
        if own is not None and own.state == "replaced":
            self.leave()
            return
        for name, row in sorted(members.items()):
            if row.node == replica.configuration.name and row.state == "live" and name != replica.replica:
                self._write(RETIREMENT, encode(Retirement(name)))

    def leave(self) -> None:
        """Others take this replica for gone: go on under a new id, and keep what was written under the old."""
        replica = self.replica
        number = replica.log.vector.get(replica.replica, 0)
        replica.event(f"{replica.replica} was taken out of the service; this disk takes a new id")
        replica.record(Forked(replica.replica, number, False))
        self.forget_own(replica.replica, number, is_copy=False)

    # -- An old copy of a disk

    def on_have(self, have: Have) -> None:
        """Does a peer know a write of ours that we never made? Then this disk is an old copy, or has one."""
        replica = self.replica
        if not replica.replica or replica.state not in (ACTIVE, RETIRED):
            return
        in_log = dict(have.vector).get(replica.replica, 0)
        theirs = max(in_log, dict(have.aside).get(replica.replica, 0))
        mine = replica.log.vector.get(replica.replica)
        if mine is None:
            return
        last_ms = replica.log.last_ms.get(replica.replica, 0)
        differs = in_log == mine and have.yours == replica.replica and have.yours_ms not in (0, last_ms)
        if theirs > mine or differs:
            self.fork()

    def fork(self) -> None:
        """Give up the id: what was written since this start is made anew under another."""
        replica = self.replica
        old, number = replica.replica, replica.own_at_start
        replica.event(f"this disk is an old copy: others know another history of {old}; it takes a new id")
        replica.record(Forked(old, number, True))
        self.forget_own(old, number, is_copy=True)
        for token, _ in replica.waiting.values():
            replica.reply(token, Unknown("this disk was found to be a copy; the write is being made anew"))
        replica.waiting = {}

    def forget_own(self, old: str, number: int, *, is_copy: bool) -> None:
        """Take the writes of `old` above `number` out of the tail, to be made anew; also from the journal."""
        replica = self.replica
        log = replica.log
        mine = [entry.write for entry in log.tail if entry.write.replica == old and entry.write.number > number]
        if mine:
            first = next(place for place, entry in enumerate(log.tail) if entry.write is mine[0])
            others = [entry.write for entry in replica.views.cut_tail(first)]
            log.vector[old] = number
            kept = [write for write in others if write.replica != old or write.number <= number]
            if kept:
                log.insert(kept, first)
            before = log.committed_ms.get(old, 0)  # the other history's next write may bear an earlier stamp
            log.last_ms[old] = max((entry.write.ms for entry in log.tail if entry.write.replica == old), default=before)
        replica.give_up_id(mine, is_copy=is_copy)

    # -- Retiring

    def retire(self, token: Token, id: str) -> None:
        """An operator takes out this replica, or a lost one."""
        replica = self.replica
        if replica.state == RETIRED and id in ("", replica.replica):
            self._await_peer(token)  # once more: the first answer may be lost
        elif replica.state != ACTIVE:
            replica.reply(token, CannotDo("this replica takes no part now; nothing was changed."))
        elif not id or id == replica.replica:
            self._retire_itself(token)
        else:
            self._retire_other(token, id)

    def _retire_itself(self, token: Token) -> None:
        replica = self.replica
        if replica.is_primary or self.is_claiming():
            replica.reply(token, CannotDo("this node is the primary, or about to be; hand over first."))
        elif not any(self._stays(replica.peers[peer].replica) for peer in replica.connected):
            replica.reply(token, CannotDo("no peer is connected that could take its last writes; connect one first."))
        elif replica.clock_warning:
            replica.reply(token, CannotDo(f"{replica.clock_warning}; retire when that is over."))
        else:
            self._write(RETIREMENT, encode(Retirement(replica.replica)))
            replica.state = RETIRED
            self._await_peer(token)

    def _await_peer(self, token: Token) -> None:
        if self.retiring is not None:
            self._tell_retiring("it was asked once more, and that is answered.")
        self.retiring, self._retiring_us = token, self.replica.now_us

    def _tell_retiring(self, what: str) -> None:
        replica, token = self.replica, self.retiring
        assert token is not None, "somebody waits"
        self.retiring = None
        replica.reply(token, CannotDo(f"{replica.replica} is retiring: {what}"))

    def _retire_other(self, token: Token, id: str) -> None:
        replica = self.replica
        member = replica.log.members.get(id)
        peer = replica.peer_of(id)
        if member is None or member.state != "live":
            replica.reply(token, CannotDo(f"there is no replica {id!r} that takes part; `replicas` lists them."))
        elif peer is not None and replica.peers[peer].connected and replica.peers[peer].replica == id:
            replica.reply(token, CannotDo(f"{id} is connected: say `retire` there, and it leaves with all it has."))
        else:
            self._write(RETIREMENT, encode(Retirement(id)))
            replica.reply(token, Done(f"{id} is waited for no longer; what it may still bring stays welcome."))

    def retired_known(self, have: Have) -> None:
        """A peer has our last write: we may go. Not so one that has retired itself, or may have: of that its last write
        would tell."""
        replica = self.replica
        if self.retiring is None or not self._stays(have.replica):
            return
        log, name = replica.log, replica.replica
        vector = dict(have.vector)
        number = max(log.vector.get(name, 0), log.committed_vector.get(name, 0))
        is_known = vector.get(have.replica, 0) <= log.vector.get(have.replica, 0)
        if is_known and vector and log.known_to(vector, name, number):
            token, self.retiring = self.retiring, None
            replica.reply(token, Done(f"{name} has retired; its node may be stopped for good."))

    def _stays(self, id: str) -> bool:
        """Whether a replica takes part, as far as is known."""
        member = self.replica.log.members.get(id)
        return member is not None and member.state == "live"
