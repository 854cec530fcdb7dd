"""The sequencer: gives each request the next number, once, and sends it to all replica managers.

The seed lets it never fail; ours may. It has no disk: all it must not forget lies in the managers'
journals. Whoever takes the role over has an epoch of its own, higher than all before, gets the promise
of a majority of the managers to follow no earlier one, and takes up the order of whichever of them
entered the latest epoch and has most of it: everything decided is in there, for a majority has it.
"""

from __future__ import annotations

from collections import deque

from holdfast.kernel.contracts import Peer, Request
from holdfast.kernel.errors import BrokenInvariant
from holdfast.kernel.machine import Advance
from holdfast.replication.sequencer.log import OrderLog
from holdfast.replication.sequencer.messages import (
    ADVANCE,
    REQUESTS,
    SEQUENCER_ORIGIN,
    Beat,
    Begin,
    Forwarded,
    Gap,
    Journaled,
    Missing,
    Order,
    Promised,
    Refused,
    Rejoin,
    Results,
    Row,
    Run,
    Seize,
    Stale,
    Submit,
)
from holdfast.replication.sequencer.shared import Shared

IDLE, SEIZING, LEADING = "idle", "seizing", "leading"
SENT_MAX = 2_000
"""Requests in one message that sends the order again."""
HELD_MAX = 256
"""Runs of one front end that came too early."""
ADVANCE_MS = 1_000
IDLE_ADVANCE_MS = 10_000
RESEND_DOUBLINGS_MAX = 4
UNHEARD_TAKEOVERS = 4
"""After how much silence of the managers a sequencer gives way, in times of `takeover_us`."""


class Follower:
    """What the sequencer knows of a manager: how far it has journaled, -1 before it has entered the epoch;
    when something was sent to it, or journaled by it, last; when it was heard; how often it was sent in vain."""

    __slots__ = ("heard_us", "resends", "sent_us", "upto")

    def __init__(self, now_us: int) -> None:
        self.upto = -1
        self.heard_us = now_us
        self.sent_us = now_us
        self.resends = 0


class Sequencer:
    """`streams`: of each node, the last submission that has a number; `decided_streams`: that is decided.
    `inherited`: where the order of earlier epochs ends. `rejoined`: managers with a new disk, to be let in."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.runs_here = shared.me in shared.configuration.sequencers
        self.state = IDLE
        self.epoch = 0
        self.log = OrderLog()
        self.streams: dict[int, tuple[int, int]] = {}
        self.decided_streams: dict[int, tuple[int, int]] = {}
        self.followers: dict[int, Follower] = {}
        self.rejoined: dict[int, str] = {}
        self.refused = 0
        self._life = 0
        self.inherited = 0
        self._promises: dict[int, Promised] = {}
        self._held: dict[int, dict[int, Run]] = {}
        self._fresh: list[Run] = []
        self._sent: deque[int] = deque()
        self._first = 0
        self._seized_us = 0
        self._rests_until_us = 0
        self._beat_us = 0
        self._advanced_ms = 0
        self._advances = 0

    # -- Taking the role over

    def seize(self) -> None:
        """Ask for the promises of the managers, in an epoch of this node's own."""
        shared = self.shared
        sequencers = shared.configuration.sequencers
        known = max(self.epoch, shared.epoch, self.refused)
        epoch = known + 1
        while sequencers[epoch % len(sequencers)] != shared.me:
            epoch += 1
        self.epoch = epoch
        self.state = SEIZING
        self._life = shared.incarnation
        self._promises = {}
        self._ask_promises()

    def _ask_promises(self) -> None:
        shared = self.shared
        self._seized_us = shared.now_us
        seize = Seize(self.epoch, self._life, tuple(sorted(self.rejoined.items())))
        for manager in shared.configuration.managers:
            if manager not in self._promises:
                shared.send(manager, seize)

    def on_promised(self, peer: Peer, message: Promised) -> None:
        """A manager follows no earlier sequencer any more."""
        if self.state != SEIZING or peer not in self.shared.configuration.managers:
            return
        if (message.epoch, message.life) != (self.epoch, self._life):
            return
        self._promises[peer] = message
        self._drop_lost()
        if len(self._promises) >= self.shared.configuration.majority:
            self._lead()

    def _drop_lost(self) -> None:
        """A promise that was given on a disk that has been lost since is forgotten by who gave it."""
        newest: dict[int, tuple[int, str]] = {}
        for promised in self._promises.values():
            for node, epoch, disk in promised.disks:
                newest[node] = max((epoch, disk), newest.get(node, (0, "")))
        for node, (_, disk) in newest.items():
            if node in self._promises and self._promises[node].disk != disk:
                del self._promises[node]

    def _lead(self) -> None:
        """Take up the best order, and begin it everywhere."""
        shared = self.shared

        def rank(promised: Promised) -> tuple[int, int]:
            return promised.entered, promised.decided + sum(run.count for run in promised.runs)

        best = max(self._promises.values(), key=rank)
        decided = max(promised.decided for promised in self._promises.values())
        self._promises = {}
        self.state = LEADING
        self.log = OrderLog()
        self.log.jump(best.decided)
        self.log.append(best.runs, 0)
        if decided > self.log.last:
            raise BrokenInvariant(f"the best order ends at {self.log.last}, but {decided} is decided")
        self.inherited = self.log.last
        self.decided_streams = {node: (incarnation, serial) for node, incarnation, serial in best.streams}
        self.streams = dict(self.decided_streams)
        for run in best.runs:
            self._note(self.streams, run)
        self._held.clear()
        self._fresh.clear()
        self._sent.clear()
        self.followers = {manager: Follower(shared.now_us) for manager in shared.configuration.managers}
        self._advanced_ms = 0
        shared.hear(self.epoch)
        self._decide(decided)
        for manager in self.followers:
            self._send_begin(manager)
        self._beat()

    @staticmethod
    def _note(streams: dict[int, tuple[int, int]], run: Run) -> None:
        if run.origin != SEQUENCER_ORIGIN:
            streams[run.origin] = (run.incarnation, run.serial + run.count - 1)

    def on_refused(self, message: Refused) -> None:
        """Somebody else has been promised what this one wants, or had."""
        self.refused = max(self.refused, message.promised)
        is_lost = message.promised == message.epoch == self.epoch and self.state == SEIZING
        is_over = message.promised > self.epoch or is_lost
        if is_over and self.state != IDLE:
            self.step_down()

    def step_down(self) -> None:
        """Another one is the sequencer, or becomes it."""
        self.state = IDLE
        self._fresh.clear()
        self._held.clear()
        self.rejoined.clear()
        self.shared.heard_us = self.shared.now_us

    def on_rejoin(self, peer: Peer, message: Rejoin) -> None:
        """A manager's disk was lost with its promises: it counts from the next epoch on, whose promises are asked
        for after this. A majority then knows that the disk before is gone, with what it had promised."""
        if self.state == LEADING and message.epoch == self.epoch and peer in self.followers:
            self.rejoined[peer] = message.disk
            self.seize()

    # -- Numbers

    def on_submit(self, peer: Peer, message: Submit) -> None:
        """Give numbers, in the order of the stream, each once."""
        if self.state != LEADING:
            return
        for run in message.runs:
            if run.origin != peer or run.count < 1:
                continue
            incarnation, last = self.streams.get(peer, (0, 0))
            if run.incarnation < incarnation:
                self.shared.send(peer, Stale(incarnation))
                return
            if run.incarnation > incarnation:
                last = 0
                self._held.pop(peer, None)
            if run.serial == last + 1:
                if not self._has_room():
                    return
                self._number(run)
                self._number_held(peer)
            elif run.serial > last:
                self._hold(peer, run, last)

    def _has_room(self) -> bool:
        """Whether more may be under way; else it comes again."""
        return self.log.last - self.log.decided < self.shared.configuration.window_max

    def _number(self, run: Run) -> None:
        if not self._fresh:
            self._first = self.log.last + 1
        if run.kind == REQUESTS and self.shared.wall_ms - self._advanced_ms >= ADVANCE_MS:
            self._put(self._advance())
        self._put(run)

    def _put(self, run: Run) -> None:
        self.log.append((run,), 0)
        self._note(self.streams, run)
        self._fresh.append(run)

    def _advance(self) -> Run:
        """The time, carried by the order."""
        self._advanced_ms = self.shared.wall_ms
        self._advances += 1
        batch = self.shared.machine.encode([Request(Advance(self._advanced_ms))])
        return Run(ADVANCE, SEQUENCER_ORIGIN, self.epoch, self._advances, 1, batch)

    def _hold(self, peer: Peer, run: Run, last: int) -> None:
        """It came before the one that precedes it."""
        held = self._held.setdefault(peer, {})
        if len(held) < HELD_MAX:
            held[run.serial] = run
        self.shared.send(peer, Gap(self.epoch, run.incarnation, last + 1))

    def _number_held(self, peer: Peer) -> None:
        held = self._held.get(peer)
        while held and self._has_room():
            incarnation, last = self.streams[peer]
            run = held.pop(last + 1, None)
            if run is None or run.incarnation != incarnation:
                return
            self._number(run)

    # -- What the managers have

    def on_journaled(self, peer: Peer, message: Journaled) -> None:
        """A manager holds the order up to there."""
        follower = self.followers.get(peer)
        if self.state != LEADING or follower is None or message.epoch != self.epoch:
            return
        follower.heard_us = self.shared.now_us
        if message.upto > follower.upto:
            follower.upto = message.upto
            follower.resends = 0
            follower.sent_us = self.shared.now_us
        self.rejoined.pop(peer, None)
        uptos = sorted((each.upto for each in self.followers.values()), reverse=True)
        decided = max(uptos[self.shared.configuration.majority - 1], message.decided)
        self._decide(min(decided, self.log.last))

    def _decide(self, upto: int) -> None:
        for _, run, _ in self.log.decide(upto):
            self._note(self.decided_streams, run)
        slowest = min(follower.upto for follower in self.followers.values())
        kept = max(0, self.log.decided - max(0, slowest))
        self.log.forget(min(kept, self.shared.configuration.kept_numbers_max))

    def on_missing(self, peer: Peer, message: Missing) -> None:
        """A manager has a gap, or has not begun this epoch."""
        if self.state != LEADING or message.epoch != self.epoch or peer not in self.followers:
            return
        if message.first <= self.log.floor:
            self._send_begin(peer)
        else:
            self._send_order(peer, message.first - 1)

    def _send_begin(self, peer: Peer) -> None:
        base = self.log.floor
        _, runs = self.log.after(base, SENT_MAX, self.log.last)
        self.followers[peer].sent_us = self.shared.now_us
        self.shared.send(peer, Begin(self.epoch, base, runs, self.inherited, tuple(sorted(self.rejoined.items()))))

    def _send_order(self, peer: Peer, upto: int) -> None:
        first, runs = self.log.after(upto, SENT_MAX, self.log.last)
        self.followers[peer].sent_us = self.shared.now_us
        self.shared.send(peer, Order(self.epoch, first, runs, self.log.decided))

    # -- Results

    def on_results(self, peer: Peer, message: Results) -> None:
        """Pass a replica's results back to the front ends."""
        by_origin: dict[int, list[Row]] = {}
        for row in message.rows:
            by_origin.setdefault(row[0], []).append(row)
        for origin, rows in by_origin.items():
            if 0 <= origin < len(self.shared.configuration.nodes):
                self.shared.send(origin, Forwarded(peer, tuple(rows)))

    # -- Time

    def flush(self) -> None:
        """At the end of an input: multicast what got its number. While some orders are under way the next
        ones gather: a message, a record and a sync for many cost little more than for one."""
        shared, sent = self.shared, self._sent
        while sent and sent[0] <= self.log.decided:
            sent.popleft()
        if self._fresh and self.state == LEADING and len(sent) < shared.configuration.in_flight_max:
            sent.append(self.log.last)
            order = Order(self.epoch, self._first, tuple(self._fresh), self.log.decided)
            for manager, follower in self.followers.items():
                shared.send(manager, order)
                if follower.upto >= self._first - 1:
                    follower.sent_us = shared.now_us
            self._fresh.clear()

    @property
    def patience_us(self) -> int:
        """After how much silence this one takes over: the one after the sequencer first, then the next."""
        shared = self.shared
        sequencers = shared.configuration.sequencers
        distance = (sequencers.index(shared.me) - shared.epoch) % len(sequencers)
        takeover_us = shared.configuration.takeover_us
        return takeover_us * distance if distance else takeover_us // 2

    @property
    def due_us(self) -> int | None:
        """When to beat, to send again or to take over."""
        shared = self.shared
        if not self.runs_here or not shared.has_begun:
            return None
        if self.state == LEADING:
            return self._beat_us + shared.configuration.beat_us
        if self.state == SEIZING:
            return self._seized_us + shared.configuration.resend_us
        return max(shared.heard_us + self.patience_us, self._rests_until_us)

    def tick(self) -> None:
        """Time has passed."""
        shared = self.shared
        due_us = self.due_us
        if due_us is None:
            return
        if self.state != IDLE and shared.epoch > self.epoch:
            self.step_down()
        elif self.state == IDLE:
            if shared.now_us >= due_us or (self._is_next_of_dead() and shared.now_us >= self._rests_until_us):
                self.seize()
        elif shared.now_us < due_us:
            return
        elif self.state == SEIZING:
            self._ask_promises()
        elif self._is_unheard():
            self._give_way()
        else:
            self._beat()
            self._resend()
            self._advanced_ms = min(self._advanced_ms, shared.wall_ms)  # the clock may have been set back
            if shared.wall_ms - self._advanced_ms >= IDLE_ADVANCE_MS and self._has_room():
                self._first = self.log.last + 1 if not self._fresh else self._first
                self._put(self._advance())

    def _is_unheard(self) -> bool:
        """Whether no majority of the managers has entered this epoch, or has been heard since for long."""
        shared = self.shared
        since_us = shared.now_us - UNHEARD_TAKEOVERS * shared.configuration.takeover_us
        heard = sum(follower.heard_us > since_us for follower in self.followers.values())
        return heard < shared.configuration.majority

    def _give_way(self) -> None:
        """A sequencer that cannot be heard, or hears nobody, must not keep the others patient with its beats; nor
        one whose order nobody can get. Another one may do better, and this one after a rest."""
        shared = self.shared
        shared.event("gives way as the sequencer: it does not hear a majority of the managers")
        self.step_down()
        sequencers = len(shared.configuration.sequencers)
        self._rests_until_us = shared.now_us + (sequencers + 1) * shared.configuration.takeover_us

    def _is_next_of_dead(self) -> bool:
        """Whether the sequencer, and all that would take over before this one, are proved to run no more."""
        shared = self.shared
        if not shared.epoch:
            return False
        sequencers = shared.configuration.sequencers
        place = shared.epoch % len(sequencers)
        while sequencers[place] != shared.me:
            if not shared.refused[sequencers[place]]:
                return False
            place = (place + 1) % len(sequencers)
        return sequencers[shared.epoch % len(sequencers)] != shared.me

    def _beat(self) -> None:
        shared = self.shared
        self._beat_us = shared.now_us
        for node in range(len(shared.configuration.nodes)):
            incarnation, serial = self.decided_streams.get(node, (0, 0))
            shared.send(node, Beat(self.epoch, self.log.last, self.log.decided, incarnation, serial))

    def _resend(self) -> None:
        """To managers that have not journaled what they were sent."""
        shared = self.shared
        for manager, follower in self.followers.items():
            wait_us = shared.configuration.resend_us << follower.resends
            if follower.upto >= self.log.last or shared.now_us - follower.sent_us < wait_us:
                continue
            follower.resends = min(follower.resends + 1, RESEND_DOUBLINGS_MAX)
            if follower.upto < max(0, self.log.floor):
                self._send_begin(manager)
            else:
                self._send_order(manager, follower.upto)
