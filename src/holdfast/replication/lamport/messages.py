"""What servers say to each other, and what they write to their journals.

Every message of the mutual exclusion carries its view's epoch; what belongs to another epoch is
dropped. Messages may be lost when a link breaks, repeated, and (over datagrams) reordered:
`RequestResource.previous` restores the FIFO order that Lamport's algorithm assumes, everything
else is cumulative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.kernel.codec import decoder

Stamp = tuple[int, int]
"""(Lamport time, server): Lamport's total order `=>`, servers break ties."""

Entry = tuple[int, int, bytes]
"""A batch with its stamp: (time, server, batch)."""

NO_STAMP: Stamp = (0, -1)


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all messages between servers."""


class View(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The set of servers that take part in the mutual exclusion, and which disks count.

    `epoch` orders views; it is a ballot, unique to its proposer. `members` ascending.
    `disks` and `incarnations`: of every configured server as last admitted ("" and 0: never).
    """

    epoch: int
    members: tuple[int, ...]
    disks: tuple[str, ...]
    incarnations: tuple[int, ...]


# -- The mutual exclusion (Lamport 1978, "Time, Clocks...", section "Ordering the Events Totally")


class RequestResource(Message, frozen=True, tag="request"):
    """`Tm:Pi requests resource`, rule 1, with the updates that Pi will make in its critical section.

    Data: it may leave before it is synced. `previous` is the time of the sender's request before
    this one in the same epoch (0: none).
    """

    epoch: int
    time: int
    previous: int
    batch: bytes


class Acknowledge(Message, frozen=True, tag="acknowledge"):
    """Rule 2's acknowledgement, told to everybody: for each server, the time up to which its requests
    are synced at the sender, whose journal reaches `number`. `requested` is the time of the sender's
    own last request, which in FIFO order comes before this."""

    epoch: int
    time: int
    upto: tuple[int, ...]
    number: int
    requested: int


class ReleaseResource(Message, frozen=True, tag="release"):
    """Rule 3's release, of everything stamped up to (`upto_time`, `upto_server`): all of it is
    synced at every member. `position` batches were executed up to there."""

    epoch: int
    time: int
    upto_time: int
    upto_server: int
    position: int


# -- Reads


class Confirm(Message, frozen=True, tag="confirm"):
    """Is this still your view? Asked once for all reads that wait."""

    epoch: int
    round: int


class Confirmed(Message, frozen=True, tag="confirmed"):
    """At the moment of sending, the sender takes part in no later view."""

    epoch: int
    round: int


# -- Presence


class Presence(Message, frozen=True, tag="presence"):
    """Sent at every heartbeat and when a link comes up.

    `epoch`, `members`: of the newest view the sender stored (-1 and () for an empty disk).
    `acknowledged`: for every server, the disk and the journal number the sender last heard it
    acknowledge; a journal that ends below is damaged. `digest` is of the state at `position`.
    `origin` is the digest of what the sender's app, as configured, puts into an empty store.
    """

    incarnation: int
    disk: str
    state: str
    epoch: int
    members: tuple[int, ...]
    promised: int
    position: int
    digest: bytes
    released: Stamp
    time: int
    acknowledged: tuple[tuple[str, int], ...]
    origin: bytes


# -- View change


class Seal(Message, frozen=True, tag="seal"):
    """Promise to acknowledge nothing in any epoch below `epoch`, and show what you hold. Who stands
    below position `floor` must fetch first: the sender's recent history begins there."""

    epoch: int
    floor: int


class Sealed(Message, frozen=True, tag="sealed"):
    """The promise, synced, with the sender's newest view, its position and what it holds beyond it."""

    epoch: int
    installed: int
    position: int
    released: Stamp
    pending: tuple[Entry, ...]
    time: int
    disk: str
    incarnation: int
    number: int


class SealRefused(Message, frozen=True, tag="seal-refused"):
    """The receiver of a seal has promised a later epoch already."""

    epoch: int
    promised: int


class Nominate(Message, frozen=True, tag="nominate"):
    """The sender found the receiver's log newer than its own: the receiver should propose."""

    above: int


class Install(Message, frozen=True, tag="install"):
    """Take this view. `entries` begin at position `base`; they are all that may have been
    acknowledged in any earlier epoch, in the order in which all execute them. Who comes from view
    `previous` may first execute its own queue up to `released`, as the sender has."""

    view: View
    previous: int
    released: Stamp
    base: int
    entries: tuple[Entry, ...]
    time: int


class Installed(Message, frozen=True, tag="installed"):
    """The view and its entries are synced at the sender."""

    epoch: int
    number: int


class Activate(Message, frozen=True, tag="activate"):
    """Every member has synced the view: execute its entries and serve."""

    epoch: int


# -- State transfer


class Fetch(Message, frozen=True, tag="fetch"):
    """Send what was executed from `position` on, or continue snapshot `snapshot` at `index`."""

    position: int
    snapshot: int
    index: int


class Tail(Message, frozen=True, tag="tail"):
    """Executed batches from `base` on; `position` is where the sender stands."""

    base: int
    entries: tuple[Entry, ...]
    position: int
    time: int


class StatePart(Message, frozen=True, tag="state"):
    """Slice `index` of snapshot `snapshot`: the state after `position` batches, the last `released`."""

    snapshot: int
    index: int
    data: bytes
    last: bool
    position: int
    released: Stamp
    time: int


class Admit(Message, frozen=True, tag="admit"):
    """The sender has caught up to `position` and asks to be taken into the view. `hears`: the servers
    it hears itself; whom a member cannot hear would only be excluded again."""

    position: int
    incarnation: int
    disk: str
    promised: int
    hears: tuple[int, ...]


AnyMessage = (
    RequestResource
    | Acknowledge
    | ReleaseResource
    | Confirm
    | Confirmed
    | Presence
    | Seal
    | Sealed
    | SealRefused
    | Nominate
    | Install
    | Installed
    | Activate
    | Fetch
    | Tail
    | StatePart
    | Admit
)


# -- Journal records


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all journal records."""


class Identity(Record, frozen=True, tag="identity"):
    """The first record of a disk. `created`: what the app wrote into the empty store (a snapshot),
    which tells its configuration: the records after it make sense under no other."""

    disk: str
    app: str
    created: bytes = b""


class Started(Record, frozen=True, tag="started"):
    """A new incarnation: a start of the process, or its waking from a pause."""

    incarnation: int


class Promised(Record, frozen=True, tag="promised"):
    """A sealed epoch."""

    epoch: int


class Accepted(Record, frozen=True, tag="accepted"):
    """A request in the queue. `released`: what was executed when it was written, so that a restart
    knows without a record of its own. `acknowledged`: as in `Presence`."""

    epoch: int
    time: int
    server: int
    batch: bytes
    released: Stamp
    acknowledged: tuple[tuple[str, int], ...]


class ViewInstalled(Record, frozen=True, tag="view"):
    """A view and the queue it begins with, from the journal owner's position `base` on."""

    view: View
    base: int
    entries: tuple[Entry, ...]
    time: int


class Copied(Record, frozen=True, tag="copied"):
    """Batches executed elsewhere and fetched, from position `base` on."""

    base: int
    entries: tuple[Entry, ...]


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The head of a snapshot: everything durable beside the tuple store, as of the same moment."""

    disk: str
    app: str
    incarnation: int
    promised: int
    view: View | None
    position: int
    released: Stamp
    time: int
    pending: tuple[Entry, ...]
    acknowledged: tuple[tuple[str, int], ...]


AnyRecord = Identity | Started | Promised | Accepted | ViewInstalled | Copied

encode_record = msgspec.msgpack.Encoder().encode
decode_record: Callable[[bytes], Any] = decoder(AnyRecord, "journal record")
