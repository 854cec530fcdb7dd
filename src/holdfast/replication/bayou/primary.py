"""What the primary does: it says when tentative writes become firm.

"The earliest entry prevails" and "commit at once" contradict each other, because an earlier entry may
still be on its way. So there are two policies:

- `immediate`, the papers' mode: what reaches the primary is committed, in stamp order among itself.
- `all-heard`: the primary asks every replica for a synced promise never to stamp at or below `t`, and
  for all its writes up to `t`. When all have answered, nothing earlier can come any more, and what is
  stamped up to `t` is committed in stamp order. While somebody is away, a write is committed at its
  deadline, but not before those who are there have had time to answer, with all that is stamped before
  it; whoever comes later stands behind them, "late". A primary that slept asks again when it wakes: the
  deadlines that it slept through are no reason not to hear who came in time.

Either way the commits leave the tail from its head, so an author's writes are committed in its order,
and a write that follows what its author saw follows it here too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from heapq import heapify, heappop, heappush

from holdfast.kernel.contracts import Peer
from holdfast.replication.bayou.antientropy import AntiEntropy, note_writes
from holdfast.replication.bayou.epochs import Epochs
from holdfast.replication.bayou.log import Entry, Stamp, name_of, stamp_of
from holdfast.replication.bayou.messages import Ask, Promise, Released, Reply, Updates
from holdfast.replication.bayou.replica import ACTIVE, Replica

NEVER_MS = 1 << 62
NEWS_BYTES_MAX = 16 * 1024
"""What a peer is told unasked. Where there is more it asks for the rest: in a heap there is much that others are
bringing it at the same time."""


class Primary:
    """Rounds of promises, deadlines, and steps 3 and 6."""

    def __init__(self, replica: Replica, epochs: Epochs, anti_entropy: AntiEntropy) -> None:
        self.replica = replica
        self.epochs = epochs
        self.anti_entropy = anti_entropy
        self.asked: dict[str, tuple[int, int, bool]] = {}  # of whom; when, up to where, and whether it has answered
        self.promises: dict[str, tuple[int, int]] = {}
        self.unreleased: dict[Peer, deque[tuple[int, int]]] = {}  # of its authors' node: (csn, since when)
        self.released_csn = 0
        self.due_us: int | None = None
        self._owes: dict[Peer, None] = {}  # primaries whose last reply was not all
        self._fresh: deque[tuple[int, Entry]] = deque()
        self._deadlines: list[tuple[int, Stamp, int, Entry]] = []
        self._noted = 0
        self._pumped_us = replica.now_us

    # -- The frontier

    def heard_ms(self, name: str) -> int:
        """Up to where everything that this replica stamped is here: by its promise, or because its stamps
        grow and its next one is known."""
        replica = self.replica
        log = replica.log
        heard = log.last_ms.get(name, 0)
        ms, number = self.promises.get(name, (0, 0))
        if log.vector.get(name, 0) >= number:
            heard = max(heard, ms)
        held = replica.held.get(name)
        return heard if held is None else max(heard, held[0].ms - 1)

    def frontier_ms(self) -> int:
        """Up to where everything is here, from every live replica."""
        replica = self.replica
        return min((self.heard_ms(name) for name in replica.log.live if name != replica.replica), default=NEVER_MS)

    # -- Deciding

    def pump(self) -> None:
        """Propose what may be firm, ask for promises where some are missing."""
        replica = self.replica
        self.due_us = None
        slept_us, self._pumped_us = replica.now_us - self._pumped_us, replica.now_us
        if slept_us > replica.configuration.slept_us:
            self._wait_anew()
        if not self.epochs.may_propose or replica.state != ACTIVE:
            return
        tail = replica.log.tail
        self._note_deadlines()
        if not tail:
            return
        count = self._firm_count()
        entries = tail[:count]
        if replica.proposed:
            proposed = {name_of(write) for _, write in replica.proposed}
            entries = [entry for entry in entries if entry.name not in proposed]
        if entries:
            self.epochs.proposals.propose(entries)
        self._ask_promises()
        self._find_deadline()

    def _firm_count(self) -> int:
        """How many entries at the head of the tail may be committed now."""
        replica = self.replica
        tail = replica.log.tail
        if replica.configuration.policy == "immediate":
            return len(tail)
        count = bisect_right(tail, self.frontier_ms(), key=_ms_of)
        due_ms = replica.deadline_ms
        while self._deadlines and self._deadlines[0][0] <= due_ms:
            entry = heappop(self._deadlines)[-1]
            if entry.name in replica.log.entries:
                count = max(count, bisect_right(tail, entry.stamp, key=stamp_of))
        return count

    def _note_deadlines(self) -> None:
        """Of what has come into the log, once those who are there have had time to answer: until then it waits for
        them also behind its deadline, whatever the clock on the wall says."""
        replica = self.replica
        arrived, replica.log.arrived = replica.log.arrived, []
        if replica.configuration.policy == "immediate":
            return
        from_us = replica.now_us + replica.configuration.patience_us
        self._fresh += [(from_us, entry) for entry in arrived]
        waited: list[Entry] = []
        while self._fresh and self._fresh[0][0] <= replica.now_us:
            waited.append(self._fresh.popleft()[1])
        # Numbered, because a write that was put back into the tail comes twice.
        noted = [
            (replica.firm_by_ms(entry), entry.stamp, number, entry)
            for number, entry in enumerate(waited, self._noted)
            if entry.name in replica.log.entries
        ]
        self._noted += len(waited)
        if len(noted) > len(self._deadlines):
            self._deadlines += noted
            heapify(self._deadlines)
        else:
            for row in noted:
                heappush(self._deadlines, row)

    def _find_deadline(self) -> None:
        """When the next one comes, or begins to count; what is committed meanwhile drops out."""
        replica = self.replica
        entries, fresh, deadlines = replica.log.entries, self._fresh, self._deadlines
        while fresh and fresh[0][1].name not in entries:
            fresh.popleft()
        while deadlines and deadlines[0][-1].name not in entries:
            heappop(deadlines)
        times = [fresh[0][0]] if fresh else []
        if deadlines:
            times.append(replica.now_us + max(0, deadlines[0][0] - replica.deadline_ms) * 1000)
        self.due_us = min(times, default=None)

    def _ask_promises(self) -> None:
        """Ask everybody who is not heard of up to the newest write, and is connected: again only after a
        while, or for a later stamp once the last round has been answered."""
        replica = self.replica
        tail = replica.log.tail
        if not tail or replica.configuration.policy == "immediate":
            return
        newest_ms = tail[-1].write.ms
        patience_us = replica.configuration.patience_us
        for name in replica.log.live:
            peer = replica.peer_of(name)
            if name == replica.replica or peer is None or not replica.peers[peer].connected:
                continue
            if self.heard_ms(name) >= newest_ms:
                continue
            asked = self.asked.get(name)
            is_later = asked is not None and asked[2] and newest_ms > asked[1]
            if asked is None or is_later or replica.now_us - asked[0] >= patience_us:
                self.asked[name] = (replica.now_us, newest_ms, False)
                replica.send(peer, Ask(newest_ms, replica.have(peer, wants=True)))

    # -- Promises, at the members and here

    def on_ask(self, peer: Peer, ask: Ask) -> None:
        """A member promises, unless the primary's clock is wrong, and sends what the primary lacks."""
        replica = self.replica
        if replica.state != ACTIVE or ask.have.csn < replica.log.omitted:
            self.anti_entropy.on_have(peer, ask.have)
            return
        # What lies beyond is not believed, nor may it carry this clock along: what has been stamped is promised then.
        ms = ask.ms if ask.ms <= replica.bound_ms else replica.stamped_ms
        replica.peers[peer].learn(ask.have)
        self.epochs.learn(ask.have.epoch, ask.have.primary)
        replica.promise(ms)
        number = replica.log.vector.get(replica.replica, 0)
        updates = self.anti_entropy.updates_for(dict(ask.have.vector), ask.have.csn, aside=ask.have.aside)
        replica.send(peer, Promise(ms, number, replica.have(peer, wants=False), updates))

    def on_promise(self, peer: Peer, promise: Promise) -> None:
        """A member has promised."""
        name = promise.have.replica
        self.replica.peers[peer].learn(promise.have)
        asked = self.asked.get(name)
        if asked is not None and promise.ms >= asked[1]:
            self.asked[name] = (asked[0], asked[1], True)
        self.note_promise(name, promise.ms, promise.number)
        self.anti_entropy.on_updates(peer, promise.updates)

    def note_promise(self, name: str, ms: int, number: int) -> None:
        """A replica's writes up to `ms` are those up to `number`. An older promise takes nothing back."""
        if ms >= self.promises.get(name, (0, 0))[0]:
            self.promises[name] = (ms, number)

    # -- Steps 3 to 6

    def on_confirmed(self) -> None:
        """Commits are firm: their authors' replicas get the reply, and all others when those have updated."""
        replica = self.replica
        proposals = self.epochs.proposals
        entries, proposals.confirmed = proposals.confirmed, []
        first = replica.log.csn - len(entries) + 1
        authors = dict.fromkeys(entry.write.replica for entry in entries)
        nodes = {author: replica.peer_of(author) for author in authors}
        replied: dict[Peer, None] = {}
        for csn, entry in enumerate(entries, first):
            peer = nodes[entry.write.replica]
            if peer is not None and peer != replica.me and replica.peers[peer].connected:
                self.unreleased.setdefault(peer, deque()).append((csn, replica.now_us))
                replied[peer] = None
        for peer in replied:
            replica.send(peer, Reply(self._news_for(peer)))
        self._release()

    def _news_for(self, peer: Peer) -> Updates:
        """What this peer lacks, as far as is known here; of a heap the beginning."""
        replica = self.replica
        state = replica.peers[peer]
        if state.vector is None or state.csn < replica.log.omitted:
            vector, csn = dict(replica.log.vector), max(replica.log.omitted, replica.log.csn - 1)
        else:
            vector, csn = dict(state.vector), min(state.csn, replica.log.csn)
        updates = self.anti_entropy.updates_for(vector, csn, bytes_max=NEWS_BYTES_MAX)
        if state.vector is not None:
            note_writes(state.vector, updates.writes)
        state.csn = max(state.csn, csn + len(updates.commits))
        return updates

    def on_reply(self, peer: Peer, message: Reply) -> None:
        """Steps 4 and 5 at the author's replica: update the own data, then release."""
        replica = self.replica
        own = tuple(name for name in message.updates.commits if name[0] == replica.replica)
        taken = self.anti_entropy.on_updates(peer, message.updates)
        if own and taken.commits:
            replica.tracing.step(replica.wall_ms, "", "Update", own, "confirmed")
        if message.updates.more:
            self._owes[peer] = None
        if replica.log.csn >= message.updates.csn + len(message.updates.commits):
            replica.release(peer)

    def on_updates(self, peer: Peer, updates: Updates) -> None:
        """Anti-entropy; with the rest of a reply that was too long, the release follows."""
        self.anti_entropy.on_updates(peer, updates)
        if peer in self._owes and updates.answers and not updates.more:
            del self._owes[peer]
            self.replica.release(peer)

    def on_release(self, peer: Peer, csn: int) -> None:
        """An author's replica has updated."""
        state = self.replica.peers[peer]
        state.csn = max(state.csn, min(csn, self.replica.log.csn))
        waiting = self.unreleased.get(peer)
        while waiting and waiting[0][0] <= csn:
            waiting.popleft()
        self._release()

    def _release(self) -> None:
        """Step 6: everybody may know what every author's replica knows, or has had time to."""
        replica = self.replica
        if not replica.is_primary:
            self.unreleased = {}
            return
        patience_us = replica.configuration.patience_us
        for peer, waiting in list(self.unreleased.items()):
            while waiting and replica.now_us - waiting[0][1] >= patience_us:
                waiting.popleft()
            if not waiting or not replica.peers[peer].connected:
                del self.unreleased[peer]
        upto = min((waiting[0][0] for waiting in self.unreleased.values()), default=replica.log.csn + 1) - 1
        if upto <= self.released_csn:
            return
        self.released_csn = upto
        for peer in replica.connected:
            state = replica.peers[peer]
            if state.vector == {}:  # a new disk, which knows no replicas yet: it gets the state
                continue
            if state.vector is None or state.csn < upto:
                news = self._news_for(peer)
                if news.commits or news.writes:
                    replica.send(peer, Released(news))

    def connected(self, peer: Peer) -> None:
        """A link stands again: what was asked over an older one may be lost."""
        self._owes.pop(peer, None)
        for name in [name for name in self.asked if self.replica.peer_of(name) == peer]:
            del self.asked[name]

    def tick(self) -> None:
        """Time has passed."""
        if self.unreleased:
            self._release()

    def reset(self) -> None:
        """This node is the primary of a new epoch, or no primary any more."""
        self.promises = {}
        self.asked = {}
        self.unreleased = {}
        self.released_csn = self.replica.log.csn
        self._wait_anew()

    def _wait_anew(self) -> None:
        """Nobody has had time to answer: of a new primary, and of one that was asleep."""
        self._fresh.clear()
        self._deadlines = []
        self.replica.log.arrived = list(self.replica.log.tail) if self.replica.is_primary else []


def _ms_of(entry: Entry) -> int:
    return entry.write.ms
