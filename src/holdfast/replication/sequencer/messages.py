"""What the nodes say to each other, what they write to their journals, and the entries of the order.

Every message may be lost, doubled or overtaken: what is cumulative is sent again until it is
acknowledged, what is not has a number that tells a repeat. The order is of *numbers*, one for each
request; a *run* is a stretch of them that one front end submitted together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from holdfast.kernel.codec import decoder

REQUESTS, QUERIES, ADVANCE, CONTROL = range(4)
"""Kinds of runs: commands of clients, questions of clients, the time, and what the roles agree on."""

SEQUENCER_ORIGIN = -1
"""Of a run that the sequencer makes itself: an advance of the time."""

Number = Annotated[int, Meta(ge=0, le=1 << 60)]
"""A place in the order, an epoch, an incarnation, a serial, or how many: far from where sums overflow."""
Count = Annotated[int, Meta(ge=1, le=1 << 16)]
"""Of the requests in a run."""
Disk = tuple[Number, Number, str]
"""(node, epoch, disk): the sequencer of that epoch knew that the node had come back with this new disk."""
Stream = tuple[Number, Number, Number]
"""(node, incarnation, serial): the last of a node's submissions that is in the order."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all messages between nodes."""


class Run(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`count` requests that the node `origin` submitted together in its life `incarnation`, the first of
    them its `serial`th there. `batch`: the requests as the machine encodes them, or one `Control`."""

    kind: int
    origin: int
    incarnation: Number
    serial: Number
    count: Count
    batch: bytes


# -- A front end and the sequencer


class Submit(Message, frozen=True, tag="submit"):
    """Give these the next numbers."""

    runs: tuple[Run, ...]


class Gap(Message, frozen=True, tag="gap"):
    """The sequencer of `epoch` lacks what this incarnation submitted from `serial` on."""

    epoch: Number
    incarnation: Number
    serial: Number


class Stale(Message, frozen=True, tag="stale"):
    """The order knows a later incarnation of the node: take one above it."""

    incarnation: Number


Row = tuple[int, Number, Number, Number, bytes]
"""(origin, incarnation, serial, number, replies): a run's results at one replica; the replies encoded together."""


class Results(Message, frozen=True, tag="results"):
    """What a replica answers to runs; the sequencer passes it back to their front ends."""

    rows: tuple[Row, ...]


class Forwarded(Message, frozen=True, tag="forwarded"):
    """Results of the replica below `manager`, passed on by the sequencer."""

    manager: int
    rows: tuple[Row, ...]


class Recall(Message, frozen=True, tag="recall"):
    """A front end still lacks results of its runs in the order from `serial` to `upto`: give them again."""

    origin: int
    incarnation: Number
    serial: Number
    upto: Number


class Listen(Message, frozen=True, tag="listen"):
    """Any node: what has your replica answered to the run that begins at this place?"""

    origin: int
    incarnation: Number
    serial: Number


class Heard(Message, frozen=True, tag="heard"):
    """The answer to `Listen`."""

    row: Row


# -- The sequencer and the replica managers


class Order(Message, frozen=True, tag="order"):
    """The runs that begin at number `first`; `decided`: up to where a majority is known to have journaled."""

    epoch: Number
    first: Number
    runs: tuple[Run, ...]
    decided: Number


class Beat(Message, frozen=True, tag="beat"):
    """The sequencer of this epoch is here. Of what the receiver's `incarnation` submitted, everything up to
    `serial` is decided."""

    epoch: Number
    last: Number
    decided: Number
    incarnation: Number
    serial: Number


class Journaled(Message, frozen=True, tag="journaled"):
    """This manager's journal holds the order of `epoch` up to a number."""

    epoch: Number
    upto: Number
    decided: Number


class Missing(Message, frozen=True, tag="missing"):
    """A gap: send the order again from this number."""

    epoch: Number
    first: Number


class Seize(Message, frozen=True, tag="seize"):
    """A new sequencer asks for the promise to follow no earlier one. `life`: the incarnation of its node, for a
    process that was restarted may not lead an epoch that it has begun before. `rejoined`: (node, disk) of managers
    that have come back with an empty disk: whoever promises will count no promise of the disk before."""

    epoch: Number
    life: Number
    rejoined: tuple[tuple[Number, str], ...]


class Promised(Message, frozen=True, tag="promised"):
    """Synced: nothing of an earlier epoch is taken any more, nor of this one by a sequencer of another `life`.
    `entered`: the epoch whose order this journal holds; `runs`: of that order, what follows `decided`; `streams`:
    as of `decided`. `disk`: whose promise it is; `disks`: what is known here of the disks of others."""

    epoch: Number
    life: Number
    entered: Number
    decided: Number
    streams: tuple[Stream, ...]
    runs: tuple[Run, ...]
    disk: str
    disks: tuple[Disk, ...]


class Refused(Message, frozen=True, tag="refused"):
    """What came from `epoch` is not taken: a later sequencer has been promised that."""

    promised: Number
    epoch: Number


class Begin(Message, frozen=True, tag="begin"):
    """The order of this epoch: everything up to `base` is decided, and these runs follow it. Up to
    `inherited` it comes from the epochs before: whoever enters must have all of that. `rejoined`: (node, disk)
    of managers that came back with an empty disk before this epoch was begun."""

    epoch: Number
    base: Number
    runs: tuple[Run, ...]
    inherited: Number
    rejoined: tuple[tuple[Number, str], ...]


class Rejoin(Message, frozen=True, tag="rejoin"):
    """A manager's disk is empty: what it had promised is forgotten, so it may count only in a later epoch than
    this one."""

    epoch: Number
    disk: str


# -- Between replica managers


class Fetch(Message, frozen=True, tag="fetch"):
    """Send what is decided from this number on."""

    first: Number


class Tail(Message, frozen=True, tag="tail"):
    """Decided runs that begin at number `first`, of all up to `decided`. `epoch`: entered by the sender; a manager
    that is before that one may hold something else after its own last decided number."""

    epoch: Number
    first: Number
    runs: tuple[Run, ...]
    decided: Number


class Jump(Message, frozen=True, tag="jump"):
    """What was asked for is not kept any more: go on after number `decided`, with what the managers have
    agreed on by then (see `council`). `epoch`: as in `Tail`."""

    epoch: Number
    decided: Number
    standing: bytes


class FetchState(Message, frozen=True, tag="fetch_state"):
    """Send a slice of the state as of this number."""

    number: Number
    index: Number


class StatePart(Message, frozen=True, tag="state_part"):
    """One slice of the state as of `number`."""

    number: Number
    index: Number
    data: bytes
    last: bool


class Inquire(Message, frozen=True, tag="inquire"):
    """A node that manages no replica: how do they stand?"""


class Told(Message, frozen=True, tag="told"):
    """A manager: what the managers had agreed on as of a number. `lives`: in the order of the managers, how often each
    one's replica was begun anew; `copied`: those that are being copied; `trusted`: whose is right because an operator
    says so, -1 if nobody's; `is_undecided`: the vote cannot decide by itself."""

    position: Number = 0
    lives: tuple[Number, ...] = ()
    copied: tuple[int, ...] = ()
    suspected: tuple[int, ...] = ()
    trusted: int = -1
    is_undecided: bool = False
    replacements: Number = 0
    restarts: Number = 0


AnyMessage = (
    Submit
    | Gap
    | Stale
    | Results
    | Forwarded
    | Recall
    | Listen
    | Heard
    | Order
    | Beat
    | Journaled
    | Missing
    | Seize
    | Promised
    | Refused
    | Begin
    | Rejoin
    | Fetch
    | Tail
    | Jump
    | FetchState
    | StatePart
    | Inquire
    | Told
)


# -- What the roles agree on, in the order itself


class Control(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of the entries that are about the replicas."""


class Wrong(Control, frozen=True, tag="wrong"):
    """A front end: this manager's replica answered these numbers otherwise than the others."""

    manager: int
    numbers: tuple[int, ...]


class Silent(Control, frozen=True, tag="silent"):
    """A front end: this manager's replica has given no result in time; the first number it lacks."""

    manager: int
    number: int


class DigestAt(Control, frozen=True, tag="digest"):
    """A manager: the digest of its replica's state as of a number, in its life so far."""

    manager: int
    life: int
    number: int
    digest: bytes


class NeedCopy(Control, frozen=True, tag="need_copy"):
    """A manager: its replica has crashed or could not be copied and needs the state (`is_lost`); or it lags far
    behind, and keeps the state that it has until a copy has come."""

    manager: int
    life: int
    why: str
    is_lost: bool


class Restored(Control, frozen=True, tag="restored"):
    """A manager: its replica has the agreed state as of a number, and goes on from there."""

    manager: int
    life: int
    number: int


class Split(Control, frozen=True, tag="split"):
    """A front end: these managers' replicas have answered that number, and too few of them alike to be believed."""

    number: int
    managers: tuple[int, ...]


class Trust(Control, frozen=True, tag="trust"):
    """An operator: this manager's replica is right, whatever the others say."""

    manager: int


AnyControl = Wrong | Silent | DigestAt | NeedCopy | Restored | Split | Trust


# -- Journal records


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all journal records."""


class Identity(Record, frozen=True, tag="identity"):
    """The first record: which disk this is, of which app, and what the app puts into an empty store."""

    disk: str
    app: str
    created: bytes


class Admitted(Record, frozen=True, tag="admitted"):
    """This disk counts among the managers': of a site's first start, or since it was let in again."""


class Started(Record, frozen=True, tag="started"):
    """A process has begun on this disk."""

    incarnation: int


class Promise(Record, frozen=True, tag="promise"):
    """See `Promised`. `disks`: what came to be known with it."""

    epoch: int
    life: int
    disks: tuple[Disk, ...]


class Entered(Record, frozen=True, tag="entered"):
    """The order of this epoch holds here: what followed number `keep` is replaced by these runs."""

    epoch: int
    keep: int
    runs: tuple[Run, ...]


class Ordered(Record, frozen=True, tag="ordered"):
    """Runs of the order that follow what is here."""

    first: int
    runs: tuple[Run, ...]
    decided: int


class Jumped(Record, frozen=True, tag="jumped"):
    """See `Jump`: the replica's state was left behind, and is to be copied."""

    decided: int
    standing: bytes


AnyRecord = Identity | Admitted | Started | Promise | Entered | Ordered | Jumped


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The head of a snapshot: everything durable beside the store, as of number `position`. `standing`:
    what the managers had agreed on by then (see `council`). The records that are kept begin after number
    `floor`, for managers that are behind may need what lies between."""

    disk: str
    app: str
    admitted: bool
    incarnation: int
    promised: int
    promised_life: int
    disks: tuple[Disk, ...]
    entered: int
    floor: int
    position: int
    standing: bytes


encode_record: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
decode_record: Callable[[bytes], Any] = decoder(AnyRecord, "record of a sequencer's journal")
encode_control = encode_record
decode_control: Callable[[bytes], Any] = decoder(AnyControl, "control entry")
