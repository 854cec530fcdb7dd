"""What Bayou replicas say to each other, and what they write to their journals.

Names of the six steps are those of seed 000 (Write, Request, Reply, Update, Release, Release to all);
`Have` and `Updates` are anti-entropy (Petersen et al. 1997, figures 1 to 3): pairwise, one-way, and
resumable at any point, because each `Updates` says what its receiver must have before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.kernel.codec import decoder
from holdfast.kernel.contracts import Vector

APP, CREATION, RETIREMENT = 0, 1, 2
"""Kinds of writes: a command of the app; a replica's creation; a replica's retirement."""

Name = tuple[str, int]
"""A write, by its author and how many writes that one had made with it."""


class Write(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One write. `ms`, `first_name`, `replica`: its accept stamp. `number`: the author's count of its
    own writes with this one. `body`: the request as the machine encodes it, or `Creation`, `Retirement`."""

    ms: int
    first_name: str
    replica: str
    number: int
    body: bytes
    kind: int = APP


class Creation(msgspec.Struct, frozen=True, array_like=True):
    """The body of a creation: a new replica at a node, and those of that node that it takes the place of."""

    replica: str
    node: str
    replaces: tuple[str, ...]


class Retirement(msgspec.Struct, frozen=True, array_like=True):
    """The body of a retirement. Made by the replica itself it is its last write."""

    replica: str


# -- Anti-entropy


class Message(msgspec.Struct, frozen=True, array_like=True):
    """Base of all messages."""


class Have(Message, frozen=True, tag="have"):
    """What the sender has. `vector`: what is in its log, and so on its disk; `aside`: what it keeps in
    quarantine besides, in memory only. `wants`: please send what it lacks. `csn`: how many commits it has, the last of
    them in epoch `at`; `epoch`, `primary`: the newest it knows of; `vowed`: see `Vow`, -1 where the disk
    does not vote.
    `yours_ms`: the stamp of the last write of `yours` that it has, 0 for none; `yours` is the receiver, as
    far as the sender knows who that is. `unix_ms`: its time of day. `voters`: those that its site file names."""

    replica: str
    vector: Vector
    aside: Vector
    csn: int
    at: int
    epoch: int
    primary: int
    vowed: int
    yours: str
    yours_ms: int
    unix_ms: int
    wants: bool
    voters: tuple[int, ...] = ()


class Updates(Message, frozen=True, tag="updates"):
    """Writes in the sender's log order, then commits in theirs.

    To be taken in only by a replica that has everything in `basis` and all commits up to `csn`, which was made
    in epoch `at`; the commits that follow are `commits`, numbered from `csn` + 1. `epochs`: (first csn, epoch) of
    them. `more`: the sender has more; ask again when these are stored. `answers`: it answers a `Have`.
    """

    basis: Vector
    writes: tuple[Write, ...]
    csn: int
    commits: tuple[Name, ...]
    epochs: tuple[tuple[int, int], ...]
    epoch: int
    primary: int
    more: bool = False
    answers: bool = False
    at: int = 0


class StatePart(Message, frozen=True, tag="state"):
    """A piece of the tuple store and all that belongs to it, as of commit `csn`, for a replica that is
    below the sender's log; `epoch` tells histories apart."""

    csn: int
    epoch: int
    index: int
    last: bool
    data: bytes


class StateNext(Message, frozen=True, tag="state_next"):
    """The next piece, please."""

    csn: int
    epoch: int
    index: int


# -- The six steps, and the promises between the second and the third


class Request(Message, frozen=True, tag="request"):
    """Step 2: a replica has accepted these writes and asks the primary to commit them."""

    updates: Updates


class Ask(Message, frozen=True, tag="ask"):
    """The primary asks for a promise never to stamp at or below `ms`, and for all writes up to it."""

    ms: int
    have: Have


class Promise(Message, frozen=True, tag="promise"):
    """Given, and synced: the replica's writes up to `ms` are those up to `number`. `have`: what it has, so
    that it is told of its commits only what it lacks."""

    ms: int
    number: int
    have: Have
    updates: Updates


class Reply(Message, frozen=True, tag="reply"):
    """Step 3: committed."""

    updates: Updates


class Release(Message, frozen=True, tag="release"):
    """Step 5: the author has updated its own data (step 4), up to this commit."""

    csn: int


class Released(Message, frozen=True, tag="released"):
    """Step 6: the primary lets all others know."""

    updates: Updates


# -- Epochs: who is the primary, and what its voters store


Proposal = tuple[int, Write]
"""A write to be committed, and the epoch in which it was first proposed for its place: a later primary
that adopts it leaves that as it is, so that every replica says the same of each commit."""


class Store(Message, frozen=True, tag="store"):
    """The primary of `epoch` proposes to commit these after `csn`; all up to `confirmed` is confirmed."""

    epoch: int
    primary: int
    csn: int
    proposals: tuple[Proposal, ...]
    confirmed: int


class Stored(Message, frozen=True, tag="stored"):
    """A voter's disk, that of `replica`, has stored the proposals of `epoch` up to `csn`. Not `accepted`: it
    lacks what comes before, and has everything up to `csn`; or it has promised itself to the later `epoch`."""

    replica: str
    epoch: int
    csn: int
    accepted: bool


class Claim(Message, frozen=True, tag="claim"):
    """A node wants to be the primary of `epoch`, as far as it knows the next one after `present`."""

    epoch: int
    csn: int
    present: int = 0


class Vow(Message, frozen=True, tag="vow"):
    """A voter will store nothing of an earlier epoch any more. It has `csn` confirmed commits, and beyond
    them it has stored `proposals`, each sent last by the primary of the epoch in `ballots`."""

    epoch: int
    csn: int
    proposals: tuple[Proposal, ...]
    ballots: tuple[int, ...]


class ClaimRefused(Message, frozen=True, tag="claim_refused"):
    """A voter has made a vow to this later epoch already, or (0) cannot vow: its disk is not a first one."""

    epoch: int


class Yield(Message, frozen=True, tag="yield"):
    """The primary hands over: the receiver shall claim the next epoch."""

    epoch: int


# -- Creation and retirement


class Create(Message, frozen=True, tag="create"):
    """A disk without a replica id asks any one replica to create one for it."""

    node: str
    disk: str


class Created(Message, frozen=True, tag="created"):
    """The new id, and the write that created it, stamped `ms`: what the new replica writes is stamped later."""

    replica: str
    creator: str
    number: int
    ms: int


class Undone(Message, frozen=True, tag="undone"):
    """Told to the primary: the sender had these as confirmed, and has taken over a history without them."""

    names: tuple[Name, ...]


AnyMessage = (
    Have | Updates | StatePart | StateNext | Request | Ask | Promise | Reply | Release | Released
    | Store | Stored | Claim | Vow | ClaimRefused | Yield | Create | Created | Undone
)  # fmt: skip


# -- Records of the journal


class Record(msgspec.Struct, frozen=True, array_like=True):
    """Base of all records."""


class Identity(Record, frozen=True, tag="identity"):
    """The first record: the disk, the app, the store as the app created it, the first replicas (id = node)
    and the first primary. `members` is empty on a disk that has yet to join."""

    disk: str
    app: str
    created: bytes
    members: tuple[str, ...]
    primary: int


class Named(Record, frozen=True, tag="named"):
    """This disk's replica has this id from now on, created by that write, stamped `ms`."""

    replica: str
    creator: str
    number: int
    ms: int


class Logged(Record, frozen=True, tag="logged"):
    """Writes that came into the log, from a user or a peer. `clock_ms`: the replica's clock when they had,
    so that it never goes back, whatever the device's does."""

    writes: tuple[Write, ...]
    clock_ms: int


class Committed(Record, frozen=True, tag="committed"):
    """Writes in the log that are committed now, from csn `first` on, in `epoch`."""

    first: int
    epoch: int
    names: tuple[Name, ...]


class Promised(Record, frozen=True, tag="promised"):
    """No write of this replica will be stamped at or below `ms`."""

    ms: int


class Proposed(Record, frozen=True, tag="proposed"):
    """What a voter has stored from csn `first` on, as the primary of `epoch` sent it; see `proposals.put`."""

    epoch: int
    first: int
    proposals: tuple[Proposal, ...]


class Vowed(Record, frozen=True, tag="vowed"):
    """Nothing of an epoch below this one will be stored; or, at who is no voter, this disk has claimed it."""

    epoch: int


class Enthroned(Record, frozen=True, tag="enthroned"):
    """The newest epoch known, and its primary."""

    epoch: int
    primary: int


class Forked(Record, frozen=True, tag="forked"):
    """This disk gives its id up. Its writes above `number` are made anew: with `is_copy` they clash with
    others of the same id, and what it vowed and stored since it was copied is forgotten."""

    replica: str
    number: int
    is_copy: bool


class MadeAnew(Record, frozen=True, tag="made_anew"):
    """They were: (old name, new name) of each."""

    renamed: tuple[tuple[Name, Name], ...]


class Admitted(Record, frozen=True, tag="admitted"):
    """This disk came later than the first ones; it has learnt what a majority of the other voters know, and votes."""


class MemberRow(msgspec.Struct, frozen=True, array_like=True):
    """A replica as the log tells of it. `creator`, `number`: the write that created it ("" at genesis).
    `state`: "live", "retired" (by itself), "replaced" (its disk is gone) or "gone" (retired, committed)."""

    replica: str
    node: str
    creator: str
    number: int
    state: str


class AcceptedLoss(msgspec.Struct, frozen=True, array_like=True):
    """A take-over here, without the word of `primary`: it began `epoch` after commit `csn`. `tentative`: some of the
    users' writes that were tentative then, of `tentative_count`. `undone`: which commits are known to have been undone.
    `met_ms`: when the old primary was met, 0 if it was not."""

    epoch: int
    primary: int
    csn: int
    tentative: tuple[Name, ...]
    tentative_count: int
    undone: tuple[Name, ...]
    met_ms: int


class LossTold(Record, frozen=True, tag="loss_told"):
    """What is known here of an accepted loss."""

    loss: AcceptedLoss


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The head of a snapshot of the journal: all that is durable beside the committed store."""

    identity: Identity
    replica: str
    created_by: Name
    clock_ms: int
    csn: int
    committed_vector: Vector
    committed_ms: Vector
    latest: tuple[int, str, str]
    members: tuple[MemberRow, ...]
    epochs: tuple[tuple[int, int], ...]
    epoch: int
    primary: int
    vowed: int
    votes: bool
    forks: int
    anew: tuple[Write, ...]
    renamed: tuple[tuple[Name, Name], ...]
    promised_ms: int
    proposed: tuple[Proposal, ...]
    ballots: tuple[int, ...]
    kept: tuple[Write, ...]
    tail: tuple[Write, ...]
    loss: AcceptedLoss | None = None
    undone: tuple[tuple[Name, tuple[str, int]], ...] = ()


AnyRecord = (
    Identity
    | Named
    | Logged
    | Committed
    | Promised
    | Proposed
    | Vowed
    | Enthroned
    | Forked
    | MadeAnew
    | Admitted
    | LossTold
)

encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
decode_record: Callable[[bytes], Any] = decoder(AnyRecord, "record of a Bayou journal")
decode_checkpoint: Callable[[bytes], Checkpoint] = decoder(Checkpoint, "head of a Bayou snapshot")
decode_creation: Callable[[bytes], Creation] = decoder(Creation, "creation of a replica")
decode_retirement: Callable[[bytes], Retirement] = decoder(Retirement, "retirement of a replica")
