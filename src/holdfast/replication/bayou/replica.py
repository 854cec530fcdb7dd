"""What a Bayou replica knows: the state that the parts of the protocol share, and elementary changes to it.

Durable, by the records it writes: its id, the log, its promises, the epochs. Volatile: the peers as
they appear, who waits for which reply, what is in quarantine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.kernel.contracts import Change, Halt, Reply, Step, Token
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.machine import Machine
from holdfast.kernel.replies import Outcome
from holdfast.kernel.stamps import HybridClock
from holdfast.replication.bayou.configuration import BayouConfiguration
from holdfast.replication.bayou.log import Entry, WriteLog, as_vector, id_of, parse_id
from holdfast.replication.bayou.messages import (
    APP,
    CREATION,
    RETIREMENT,
    AcceptedLoss,
    Committed,
    Have,
    Identity,
    Logged,
    Name,
    Promised,
    Proposal,
    Release,
    Write,
    decode_creation,
    decode_retirement,
    encode,
)
from holdfast.replication.bayou.tracing import Tracing
from holdfast.replication.bayou.views import Views

STARTING = "starting"
JOINING = "joining"
"""Has no replica id yet, or has not seen its own creation: serves reads of what it has, no writes."""
ACTIVE = "active"
RETIRED = "retired"
HALTED = "halted"


class PeerState:
    """What is known of another node since this start. `pulled_us`: since when an answer to our `Have` is
    waited for; `skew_ms`: how far its clock is ahead of ours."""

    __slots__ = ("connected", "csn", "pulled_us", "replica", "skew_ms", "vector")

    def __init__(self) -> None:
        self.connected = False
        self.replica = ""
        self.vector: dict[str, int] | None = None
        self.csn = 0
        self.pulled_us: int | None = None
        self.skew_ms: int | None = None

    def learn(self, have: Have) -> None:
        """What it says of itself."""
        self.replica = have.replica
        self.vector = dict(have.vector)
        self.csn = have.csn


class Replica:
    """State and its elementary changes; no decisions. One `Step` gathers what an input asks for."""

    def __init__(self, machine: Machine, configuration: BayouConfiguration) -> None:
        self.machine = machine
        self.configuration = configuration
        self.me = configuration.me
        named = tuple(configuration.nodes.index(name) for name in configuration.voters)
        self._named_voters = named if len(named) > 1 else ()
        self._unlike: dict[int, None] = {}
        self.step = Step()
        self.now_us = 0
        self.unix_ms = 0
        self.unix_at_us = 0
        self.state = STARTING
        self.identity = Identity("", machine.app.name, b"", (), 0)
        self.replica = ""
        self.created_by: Name = ("", 0)
        self.log = WriteLog()
        self.views = Views(machine, self.log, self._on_outcome, self._firm_by_of)
        self.clock = HybridClock("")
        self.promised_ms = 0
        self.own_at_start = 0
        self.skew_ms = 0
        self.follows_ms = 0
        self.held: dict[str, list[Write]] = {}
        self.epoch = 0
        self.primary = 0
        self.vowed = 0
        self.votes = True
        self.forks = 0
        self.anew: list[Write] = []
        self.renamed: dict[Name, Name] = {}
        self.proposed: list[Proposal] = []
        self.ballots: list[int] = []
        self.loss: AcceptedLoss | None = None
        self.undone: dict[Name, tuple[str, int]] = {}
        """Commits that are none any more (see `losses`): whose, and when that was found."""
        self.peers = [PeerState() for _ in configuration.nodes]
        self.waiting: dict[Name, tuple[Token, bool]] = {}
        self.tracing = Tracing(configuration.nodes, self.me)
        self.records_written = 0
        self.records_synced = 0
        self.number = 0
        self.malformed = 0

    # -- Time

    def set_clock(self, now_us: int, unix_ms: int) -> None:
        """The time of day, see `TimeKeeper`. When it jumps, the peers' clocks have not: what was known of them
        is corrected at once."""
        jump_ms = unix_ms - self.unix_ms - (now_us - self.unix_at_us) // 1000 if self.unix_ms else 0
        if abs(jump_ms) > self.configuration.forward_bound_ms:
            for peer in self.others:
                skew_ms = self.peers[peer].skew_ms
                self.note_skew(peer, None if skew_ms is None else skew_ms - jump_ms)
        self.unix_ms = unix_ms
        self.unix_at_us = now_us

    @property
    def wall_ms(self) -> int:
        """The time of day now, Unix milliseconds."""
        return self.unix_ms + (self.now_us - self.unix_at_us) // 1000

    @property
    def deadline_ms(self) -> int:
        """What is due by now. A device ahead of most of its peers measures by them: else a wrong clock would
        commit everything that waits for somebody who is away. Of two clocks nobody can tell which is right: then
        the one that is behind counts, and both devices are told."""
        return self.wall_ms + min(0, self.skew_ms)

    @property
    def bound_ms(self) -> int:
        """Stamps beyond this are not believed. A device that is behind more than half of all replicas measures by
        them: else it would take everything for the future, and its own stamps would come before all of it."""
        return self.wall_ms + self.follows_ms + self.configuration.forward_bound_ms

    @property
    def stamped_ms(self) -> int:
        """Up to where stamps here lie by now, by the clock or by what was seen: to promise so much moves no clock."""
        return min(self.bound_ms, max(self.deadline_ms, self.clock.milliseconds))

    def observe(self, ms: int) -> None:
        """A stamp was seen: what is written here from now on is stamped later. Not so beyond the forward
        bound, or one wrong clock would carry all others away."""
        if ms <= self.bound_ms:
            self.clock.observe(ms)

    def promise(self, ms: int) -> None:
        """Never again stamp at or below `ms`."""
        if ms > self.promised_ms:
            self.promised_ms = ms
            self.clock.observe(ms)
            self.record(Promised(ms))

    def time_text(self, ms: int) -> str:
        """As the app's people read it."""
        return self.machine.app.time_text(ms)

    # -- Names

    @property
    def is_primary(self) -> bool:
        """Whether this node is the primary of the newest epoch it knows. Not so if that was an earlier disk
        here: nobody else may know what that one has confirmed."""
        return self.primary == self.me and self.votes and self.state in (ACTIVE, RETIRED)

    @property
    def others(self) -> list[int]:
        """All configured nodes but this one."""
        return [peer for peer in range(len(self.peers)) if peer != self.me]

    @property
    def connected(self) -> list[int]:
        """Those of them that a link stands to."""
        return [peer for peer in self.others if self.peers[peer].connected]

    @property
    def voters(self) -> list[int]:
        """The nodes that vote: the configured ones, or else the primary alone (the papers' mode)."""
        return list(self._named_voters) or [self.primary]

    def note_voters(self, peer: int, voters: tuple[int, ...]) -> None:
        """Which voters a peer's site file names. Where that is not what ours says, each may follow a primary of its
        own, and both confirm: people at either are told."""
        if sorted(voters) == sorted(self._named_voters):
            self._unlike.pop(peer, None)
        elif peer not in self._unlike:
            self._unlike[peer] = None
            self.event(self._unlike_voters())

    def _unlike_voters(self) -> str:
        if not self._unlike:
            return ""
        names = ", ".join(self.configuration.nodes[peer] for peer in self._unlike)
        what = "make them alike, or two primaries may confirm"
        return f"the site file of {names} names other voters than the one here: {what}"

    def begin_epoch(self, epoch: int, primary: int) -> None:
        """There is a later primary. The word of a lone voter, and a claim to it, were for the next epoch only."""
        self.epoch, self.primary = epoch, primary
        if len(self.voters) == 1:
            self.vowed = min(self.vowed, epoch)

    def peer_of(self, replica: str) -> int | None:
        """The node of a replica, if it is configured here."""
        member = self.log.members.get(replica)
        nodes = self.configuration.nodes
        return nodes.index(member.node) if member is not None and member.node in nodes else None

    # -- What an input asks for

    def record(self, record: Any) -> None:
        """Append to the journal."""
        self.number += 1
        self.records_written += 1
        self.step.records.append(encode(record))

    def send(self, peer: int, message: Any) -> None:
        """A message that leaves when everything recorded so far is synced: what others have heard of
        must not be forgotten here."""
        self.tracing.sent(self.wall_ms, peer, message)
        self.step.promises.append((peer, message))

    def reply(self, token: Token, reply: Reply) -> None:
        """Answer a client, when everything recorded so far is synced."""
        self.step.replies.append((token, reply))

    def event(self, text: str) -> None:
        """Tell the operator."""
        self.step.events.append(text)

    def release(self, peer: int) -> None:
        """Step 5: tell the primary how far this replica has updated."""
        self.send(peer, Release(self.log.csn))

    def halt(self, code: str, text: str) -> None:
        """Stop for good."""
        self.state = HALTED
        if self.step.halt is None:
            self.step.halt = Halt(code, text)

    # -- The log

    def log_writes(self, writes: Sequence[Write]) -> None:
        """Writes, checked, come into the log: journaled, and put in their places."""
        self.take_in(writes)
        self.record(Logged(tuple(writes), self.clock.milliseconds))

    def take_in(self, writes: Sequence[Write]) -> None:
        """The same without the journal."""
        self.views.insert(writes)
        # A committed one may be stamped beyond what is believed; the others beside it are observed all the same.
        self.observe(max((write.ms for write in writes if write.ms <= self.bound_ms), default=0))

    def commit(self, names: Sequence[Name], epoch: int) -> list[Entry]:
        """The next commits: journaled, executed; whoever follows the outcomes is told."""
        self.record(Committed(self.log.csn + 1, epoch, tuple(names)))
        return self.apply_commits(names, epoch)

    def apply_commits(self, names: Sequence[Name], epoch: int) -> list[Entry]:
        """The same without the journal."""
        entries = self.views.commit(names, epoch)
        if self.proposed:
            self._drop_proposals(names, epoch)
        for entry in entries:
            self._settle(entry)
        self.log.truncate(self.configuration.committed_kept_max)
        return entries

    def _drop_proposals(self, names: Sequence[Name], epoch: int) -> None:
        """The proposals held begin right after the commits. One that was not confirmed takes all behind it along."""
        for (label, write), name in zip(self.proposed, names, strict=False):
            if label != epoch or (write.replica, write.number) != name:
                self.proposed, self.ballots = [], []
                return
        del self.proposed[: len(names)], self.ballots[: len(names)]

    def aside(self) -> dict[str, int]:
        """Of whom writes wait in quarantine, and up to which."""
        return {name: writes[-1].number for name, writes in self.held.items()}

    def have(self, peer: int, wants: bool) -> Have:
        """What this replica has, for one peer."""
        log = self.log
        theirs = self.peers[peer].replica
        yours_ms = log.last_ms.get(theirs, 0)
        at = log.epoch_at(log.csn)
        return Have(
            self.replica,
            as_vector(log.vector),
            as_vector(self.aside()),
            log.csn,
            at,
            self.epoch,
            self.primary,
            self.vowed if self.votes else -1,
            theirs,
            yours_ms,
            self.wall_ms,
            wants,
            self._named_voters,
        )

    def check_body(self, write: Write, created: dict[str, int]) -> None:
        """A peer's write about replicas: raises `MalformedInput`, notes whom it creates."""
        if write.kind == CREATION:
            created[decode_creation(write.body).replica] = write.number
        elif write.kind == RETIREMENT:
            decode_retirement(write.body)
        else:
            raise MalformedInput(f"{id_of(write)} is of the unknown kind {write.kind}: of a later version?")

    def give_up_id(self, writes: Sequence[Write], *, is_copy: bool) -> None:
        """This disk takes a new id, and makes these writes anew under it. As a voter a copy has to learn again;
        and what it has claimed, the other one may have begun."""
        self.anew += [write for write in writes if write.kind == APP]
        self.forks += 1
        if is_copy:
            self.votes = False
            self.vowed = 0
        self.replica = ""
        self.state = JOINING

    # -- Outcomes

    def _on_outcome(self, entry: Entry, reply: Reply, before: Reply | None) -> None:
        """A write was executed in the tail: its user gets the reply; who watches hears of changes."""
        if self.waiting and entry.name in self.waiting:
            token, _ = self.waiting.pop(entry.name)
            self.reply(token, self.outcome(entry, "tentative"))
        elif before is not None and before != reply and entry.write.kind == 0:
            self._change(entry, "tentative")

    def tell_news(self) -> None:
        """What the writes executed now have to tell people (see `Context.tell`)."""
        if self.views.told:
            self.step.changes += self.views.told
            self.views.told = []

    def forget_news(self) -> None:
        """What is executed again after a restart was told when it was new."""
        self.step.changes.clear()
        self.views.told.clear()

    def _settle(self, entry: Entry) -> None:
        """A write is committed."""
        if self.waiting and entry.name in self.waiting:
            token, _ = self.waiting.pop(entry.name)
            self.reply(token, self.outcome(entry, "committed"))
        elif entry.write.kind == 0:
            self._change(entry, "committed")

    def _change(self, entry: Entry, firm: str) -> None:
        self.step.changes.append(Change(entry.id or id_of(entry.write), entry.person, firm, entry.reply))

    def outcome(self, entry: Entry, firm: str) -> Outcome:
        """What the user hears of a write."""
        write = entry.write
        firm_by, warning = "", self.warning
        if firm == "tentative":
            firm_by, is_overdue = self.firm_by(entry)
            if is_overdue:
                unheard = f"it was to be firm by {firm_by}, and what came of it has not been heard here"
                firm_by, warning = "", f"{warning}; {unheard}" if warning else unheard
        vector = ((write.replica, write.number),)
        return Outcome(entry.reply, firm, id_of(write), firm_by, vector, warning)

    def firm_by(self, entry: Entry) -> tuple[str, bool]:
        """The same as people read it, and whether it is over by now: then this replica is cut off from the primary.
        Nothing where a write has no deadline, but is firm as soon as the primary has it."""
        if self.configuration.policy == "immediate":
            return "", False
        ms = self.firm_by_ms(entry)
        return self.time_text(ms), self.wall_ms > ms + self.configuration.patience_us // 1000

    def _firm_by_of(self, id: str) -> tuple[str, bool]:
        """The same by the write's id; nothing where that is no tentative one."""
        entry = self.log.entries.get(parse_id(id) or ("", 0))
        return ("", False) if entry is None else self.firm_by(entry)

    def firm_by_ms(self, entry: Entry) -> int:
        """When the primary commits a write at the latest, whoever is away: the earlier of its stamp and the
        horizon, and what the app says; but those who are there are given the time to answer."""
        if entry.firm_by_ms is None:
            entry.firm_by_ms = entry.write.ms + self.configuration.horizon_ms
            request = self.views.wanted_by(entry)
            wanted = None if request is None else self.machine.firm_by_ms(request)
            if wanted is not None:
                patience_ms = self.configuration.patience_us // 1000
                entry.firm_by_ms = min(entry.firm_by_ms, max(wanted, entry.write.ms + patience_ms))
        return entry.firm_by_ms

    # -- A wrong clock

    def note_skew(self, peer: int, skew_ms: int | None) -> None:
        """How far a peer's clock is ahead of ours, or that it is not connected any more. What counts is the
        middle of all, our own among them, if that lies beyond the forward bound: a few wrong clocks move nothing."""
        self.peers[peer].skew_ms = skew_ms
        skews = sorted((0, *(state.skew_ms for state in self.peers if state.skew_ms is not None)))
        middle = max(skews[(len(skews) - 1) // 2], skews[len(skews) // 2], key=abs)
        self.skew_ms = middle if abs(middle) > self.configuration.forward_bound_ms else 0
        self.follows_ms = 0
        live = self.log.live
        ahead = [s for s in self.peers if s.skew_ms is not None and s.skew_ms >= self.skew_ms > 0 and s.replica in live]
        if 2 * len(ahead) > len(live) + (self.replica not in live):  # our own clock counts, also before we take part
            self.follows_ms = self.skew_ms

    @property
    def warning(self) -> str:
        """What this device's people should know beside an answer."""
        return "; ".join(filter(None, (self.clock_warning, self._unlike_voters())))

    @property
    def clock_warning(self) -> str:
        """What this device's people should know of its clock: how far it is from most of its peers'. Where as
        many clocks are right as are wrong, its own among them, nobody can tell which."""
        if not self.skew_ms:
            return self._unbelieved()
        way = "behind" if self.skew_ms > 0 else "ahead of"
        off = f"this device's clock is {spoken(abs(self.skew_ms))} {way}"
        bound_ms = self.configuration.forward_bound_ms
        known = {peer: state.skew_ms for peer, state in enumerate(self.peers) if state.skew_ms is not None}
        other = [peer for peer, ms in known.items() if abs(ms) > bound_ms]
        if 2 * len(other) > len(known) + 1:
            return f"{off} the others'; set it right"
        names = ", ".join(self.configuration.nodes[peer] for peer in other)
        return f"{off} that of {names}, and as many are like the one as like the other; set the wrong one right"

    def _unbelieved(self) -> str:
        """Of a clock that was ahead, and is right again: what was stamped then goes on waiting at the others."""
        ms = self.log.last_ms.get(self.replica, 0)
        if ms <= self.bound_ms:
            return ""
        return (
            f"this device's clock was ahead: what is entered here is stamped {self.time_text(ms)} or later, and others "
            "take it in only when their clocks are near that"
        )


def spoken(ms: int) -> str:
    """A span of time for people."""
    minutes = ms // 60_000
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
