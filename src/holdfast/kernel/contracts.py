"""The contracts every part of Holdfast stands on: what an app is, what a core is, what they exchange.

An *app* is a pure, deterministic state machine over a tuple store. A *core* is a replication
protocol without I/O: time, messages and client requests go in, a `Step` comes out. Neither reads
a clock, a socket, the environment or randomness; the same inputs give the same bytes everywhere.

Caller's duties towards a core (after etcd/raft's list, and `aioquic`'s seam):

1. Call `recover` once, first, with everything the journal holds.
2. Call one input at a time, `now_us` never going backwards (microseconds, `CLOCK_BOOTTIME`).
3. Send `Step.data` at once; append `Step.records` and `Step.snapshot` to the journal in order.
4. Let `Step.promises` and `Step.replies` leave only when every record of this and of all
   earlier steps is synced; those that are `settled` when the first
   `Step.settled_records` records of this core's life are. `kernel.gate.Gate` does this.
5. Call `synced` when a write of the journal is done, with how many records that makes since the
   core was made.
6. Call `wake` at `Step.wake_us` or soon after.
7. When `Step.halt` is set, stop the replica and tell the operator its text.
8. Where the core has `set_clock` (it `keeps_time`), call it before the inputs of each turn: it is
   the only way the time of day comes in, and such a core's commands carry no `Advance`.
9. Tell `Step.changes` to whoever watches, under the same rule as `Step.replies`; and when a `Step.reset` is
   on the disk, that there were changes which nobody is told.
10. When an app is `Timely` and something is due, submit `Advance` (to a core that `keeps_time`, `PassTime`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import msgspec

from holdfast.kernel.errors import BrokenInvariant
from holdfast.kernel.stamps import utc_text

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

Token = Any
"""What a shell hands in with a request to recognise its reply by; a core only carries it."""

Peer = int
"""A server's number: its place in the configured list, from 0. Orders equal Lamport times."""


class Person(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who asks. It travels inside the request, so that every replica checks the same person."""

    id: str
    first_name: str = ""
    roles: tuple[str, ...] = ()
    department: str = ""
    unit: str = ""


class Command(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of every command that changes state. A subclass sets `tag="word"`, its line-protocol word.

    Fields are positional on the line protocol, in order; `msgspec.Meta` constraints on them are
    checked at the door, before anything is logged.
    """


class Query(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of every question that changes nothing. Same rules as `Command`."""


class Reply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of every answer. `text()` is the one line that people and `nc` see."""

    failed: ClassVar[bool] = False

    def text(self) -> str:  # not abstract: a decoder would not look, and isinstance of a reply would take twice as long
        raise NotImplementedError(type(self).__name__)


class Refusal(Reply, frozen=True):
    """Base of every typed refusal. `text()` begins with `Failed: `. A refusal replicates like any reply."""

    failed: ClassVar[bool] = True


Vector = tuple[tuple[str, int], ...]
"""What is known of each replica: (replica, the number of its last write known), by replica."""


class Reading(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a session wants to be served, for protocols that may answer from a tentative state.

    `view`: "full" (with what is tentative) or "committed". `guarantees`: the words that the session
    asks for, of "read-your-writes", "monotonic-reads", "writes-follow-reads", "monotonic-writes"
    (D. Terry et al., *Session Guarantees for Weakly Consistent Replicated Data*, PDIS 1994). `read`
    and `written`: what the session has read and written so far.
    """

    view: str = "full"
    guarantees: tuple[str, ...] = ()
    read: Vector = ()
    written: Vector = ()


class Request(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One command on its way, with what makes a retry exact.

    `client` "" means anonymous: such a request is executed once where it was accepted, and its
    sender cannot ask again. Otherwise (client, number) names the request forever, and everything
    below `lowest` has been answered and may be forgotten. `reading` is for the replica that is
    asked; it is never logged.
    """

    command: Any
    client: str = ""
    number: int = 0
    lowest: int = 0
    person: Person | None = None
    reading: Reading | None = None


class Context:
    """What an app may know besides its store and the command. Owned and refilled by the machine.

    `now_ms`: the replicated time (Unix milliseconds), moved only by `Advance`.
    `person`: who asks, or None. `client`: the client id or "".
    `stamp`: the fencing token of everything written now: (time, server) of the batch, ever growing;
    under `bayou` the accept stamp (milliseconds, first name, replica).
    `id`: the name of this command's execution, the same at every replica and each time it is executed.
    `late`: it came after commands with later stamps had been committed, and stands behind them.
    `is_committed(id)`: whether what that command did is final. For answers only: `apply` must not ask.
    `firm_by(id)`: of what is not final, when it will be at the latest, as people read it ("" where nobody can say), and
    whether that is over without a word of what came of it. For answers only, too.
    `notify(to, text)`: puts a notice into the outbox, addressed to a person's id.
    `tell(to, id, reply)`: whoever watches as that person, at whichever replica, is told at once (as a `Change`).
    Nothing is kept of it: who was away asks for what there is.
    """

    __slots__ = (
        *("client", "firm_by", "index", "is_committed", "late", "name", "notify", "now_ms", "person", "stamp", "tell"),
    )

    def __init__(self) -> None:
        self.now_ms = 0
        self.person: Person | None = None
        self.client = ""
        self.stamp: tuple[Any, ...] = (0, 0)
        self.index = 0
        self.name = ""
        self.late = False
        self.is_committed: Callable[[str], bool] = _always
        self.firm_by: Callable[[str], tuple[str, bool]] = _nobody_says
        self.notify: Callable[[str, str], None] = _no_outbox
        self.tell: Callable[[str, str, Reply], None] = _no_watchers

    @property
    def id(self) -> str:
        """See the class. A write of `bayou` brings its name; otherwise it is the place in the order."""
        return self.name or f"{self.stamp[0]}-{self.stamp[1]}-{self.index}"


def _always(id: str) -> bool:
    return True


def _nobody_says(id: str) -> tuple[str, bool]:
    return "", False


def _no_outbox(to: str, text: str) -> None:
    raise BrokenInvariant(f"a notice to {to} outside a machine: {text}")


def _no_watchers(to: str, id: str, reply: Reply) -> None:
    raise BrokenInvariant(f"something to tell {to} outside a machine: {reply.text()}")


class App(Protocol):
    """A state machine. Everything it knows lies in the store; it may keep only its configuration.

    One that derives from this class has nothing to create, to check and to refuse at the door, minds no
    time and reads UTC, unless it says otherwise.
    """

    name: str
    rows: tuple[type, ...]
    """The row types (see `kernel.store.Row`), one table each."""
    commands: tuple[type[Command], ...]
    queries: tuple[type[Query], ...]
    replies: tuple[type[Reply], ...]

    def create(self, store: TupleStore) -> None:
        """Write the first rows (sizes, configuration) into an empty store."""
        return

    def check(self, store: TupleStore) -> str | None:
        """None if this configuration fits the data in the store, else what differs and what to do."""
        return None

    def admit(self, command: Any, person: Person | None, now_ms: int) -> Refusal | None:
        """What the door refuses at once and never logs: a command that can make no sense, by the
        configuration and the time of day (Unix milliseconds, at the replica that is asked). May use
        what replicas need not agree on, as the rules of time zones; `apply` may not."""
        return None

    def firm_by_ms(self, command: Any) -> int | None:
        """When (Unix milliseconds) its outcome must be final at the latest, or None if the app does not
        mind. Asked by the replica that commits, never by `apply`."""
        return None

    def time_text(self, ms: int) -> str:
        """A time (Unix milliseconds) as the people of this app read it, for texts only."""
        return utc_text(ms)

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        """Execute one command. Total: every decodable command gets a reply, none raises."""

    def answer(self, store: TupleStore, query: Any, context: Context) -> Reply:
        """Answer one query without changing anything."""


class SnapshotPart(msgspec.Struct, frozen=True, array_like=True):
    """One slice of a snapshot that is being written, in order; the journal stores it with the
    records of its turn. When `last` is stored, records up to number `upto` are no longer needed.
    `id` tells one snapshot from the next (it grows)."""

    id: int
    index: int
    data: bytes
    last: bool
    upto: int


class Recovered(msgspec.Struct, frozen=True):
    """What a journal held: the newest complete snapshot (parts' data joined, b"" for none) and the
    records after its `upto`, the first of them numbered `first`. `fresh` tells an empty disk."""

    snapshot: bytes
    first: int
    records: Sequence[bytes]
    fresh: bool


class Halt(msgspec.Struct, frozen=True):
    """The replica must stop. `code`: "damaged" (set the disk aside, start again as an empty one),
    "lost" (a needed disk is gone), "invariant", "configuration"."""

    code: str
    text: str


class Change(msgspec.Struct, frozen=True, gc=False):
    """What became of a command that was answered before it was final: its outcome is another one, or
    firm now; or what an app tells a person (`Context.tell`). `id`: the write, or what the app names it by;
    `person`: whose, or ""; `firm`: "tentative" or "committed"; `reply`: the outcome, or what is told."""

    id: str
    person: str
    firm: str
    reply: Reply

    @property
    def text(self) -> str:
        """The outcome in words."""
        return self.reply.text()


class Step:
    """What a core wants done after one input. See the caller's duties above.

    `records`: journal records, in order. `data`: (peer, message) that may leave at once.
    `promises`: (peer, message) that leave once the records are synced. `replies`: (token, reply),
    also then. `settled_promises`, `settled_replies`, `settled_changes`: the same, but they rest on
    older records only, the first `settled_records` that this core has asked for since it was made; so
    they need not wait for what is being written now. `snapshot`: slices for the journal. `reset`: the
    journal is to be emptied first and begun anew with this step's `snapshot` and `records` (a state
    copied from a peer replaces it); what led to that state is not among the `changes`. `wake_us`: when
    to call `wake`, or None. `events`: what operators should read, one line each. `changes`: for whoever
    watches: outcomes that have changed or become firm, and what an app tells.
    """

    __slots__ = ("changes", "data", "events", "halt", "promises", "records", "replies", "reset",
                 "settled_changes", "settled_promises", "settled_records", "settled_replies", "snapshot",
                 "wake_us")  # fmt: skip

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.data: list[tuple[Peer, Any]] = []
        self.promises: list[tuple[Peer, Any]] = []
        self.replies: list[tuple[Token, Reply]] = []
        self.settled_records = 0
        self.settled_promises: list[tuple[Peer, Any]] = []
        self.settled_replies: list[tuple[Token, Reply]] = []
        self.settled_changes: list[Change] = []
        self.snapshot: list[SnapshotPart] = []
        self.reset = False
        self.wake_us: int | None = None
        self.events: list[str] = []
        self.changes: list[Change] = []
        self.halt: Halt | None = None


class PeerConnected(msgspec.Struct, frozen=True):
    """Local event: a link to the peer stands (again); what was in flight on an older link may be lost."""


class PeerDisconnected(msgspec.Struct, frozen=True):
    """Local event: the link is gone. Proves nothing."""


class PeerRefused(msgspec.Struct, frozen=True):
    """Local event: a dial to the peer, on this same host, was refused: no such process runs."""


@runtime_checkable
class TimeKeeper(Protocol):
    """A core whose stamps follow the time of day."""

    def set_clock(self, now_us: int, unix_ms: int) -> None:
        """The time of day at `now_us`. It may jump either way; what was promised holds all the same."""


@runtime_checkable
class Timed(Protocol):
    """An app of which a question may be answered otherwise because time has passed, with no command in between."""

    def due_ms(self, store: TupleStore) -> int | None:
        """When that is the case next (Unix milliseconds, by the replicated time), None if never."""


@runtime_checkable
class Timely(Timed, Protocol):
    """An app that does something because time has passed."""

    def pass_time(self, store: TupleStore, context: Context) -> None:
        """Do what is due by `context.now_ms`, a bounded part of it: `due_ms` says whether there is more. It is
        called when the replicated time has moved, with nobody as the one who asks, and as often as it may be."""


class Core(Protocol):
    """A replication protocol, sans I/O. Every input returns a fresh `Step`."""

    def recover(self, now_us: int, recovered: Recovered) -> Step:
        """First input. Replays the journal."""

    def submit(self, now_us: int, requests: Sequence[tuple[Token, Request]]) -> Step:
        """Commands of clients, all that arrived in one turn."""

    def ask(self, now_us: int, queries: Sequence[tuple[Token, Request]]) -> Step:
        """Queries of clients (`Request.command` is a `Query`)."""

    def receive(self, now_us: int, peer: Peer, message: Any) -> Step:
        """A decoded message of a peer, or a local event about it."""

    def synced(self, now_us: int, records: int) -> Step:
        """The first `records` records that this core has asked for are on the disk."""

    def wake(self, now_us: int) -> Step:
        """The time asked for has come."""

    def status(self) -> dict[str, Any]:
        """For operators: protocol, view, epoch, position, digest, lag, state; JSON-able."""
