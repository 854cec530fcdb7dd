"""What operators and devices say to a Bayou replica itself, whatever its app, and what it answers.

They are words of the line protocol like an app's, but the core carries them out; none is a write
of the log, except that a retirement makes one.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from holdfast.kernel.contracts import Command, Query, Refusal, Reply, Vector

WriteId = Annotated[str, Meta(min_length=1, max_length=96)]
"""`biology-42`: the replica, and how many writes it had accepted with this one."""
PART_BYTES_MAX = 60_000
PART_BYTES_MIN = 500
"""The smallest bound that may be set on a part: each tells what must be there before it."""
Part = Annotated[str, Meta(min_length=1, max_length=PART_BYTES_MAX)]


class Import(Command, frozen=True, tag="import"):
    """Take in one part of an export, as it was written."""

    part: Part


class Retire(Command, frozen=True, tag="retire"):
    """Take this replica (or a lost one, by its id) out of the service for good."""

    replica: Annotated[str, Meta(min_length=1, max_length=64)] = ""  # a word that is given is never taken for this one


class HandOver(Command, frozen=True, tag="hand-over"):
    """Make another node the primary. Said to the primary; nothing is lost."""

    node: Annotated[str, Meta(min_length=1, max_length=64)]


class TakeOver(Command, frozen=True, tag="take-over"):
    """Make this node the primary when the old one is gone. Needs a majority of the voters, or --accept-loss."""

    loss: Literal["", "--accept-loss"] = ""


class Truncate(Command, frozen=True, tag="truncate"):
    """Drop all committed writes from the log; peers that lack some get the tuple store."""


class Stable(Query, frozen=True, tag="stable"):
    """Tell whether a write is committed."""

    id: WriteId


class Export(Query, frozen=True, tag="export"):
    """Give the next part of everything this replica has, for a file. Begin without a cursor. With --bytes, parts
    of no more than that, as far as one write allows it."""

    cursor: Annotated[str, Meta(max_length=4096)] = ""
    bytes: Annotated[int, Meta(ge=PART_BYTES_MIN, le=PART_BYTES_MAX, extra={"option": "bytes"})] = PART_BYTES_MAX


class Trace(Query, frozen=True, tag="trace"):
    """Tell the messages about a write that this replica sent or got, as far as it remembers."""

    id: WriteId


class Replicas(Query, frozen=True, tag="replicas"):
    """List the replicas, what is known of each, and the primary."""


class Done(Reply, frozen=True, tag="done"):
    """An operator's word was carried out."""

    what: str

    def text(self) -> str:
        return self.what


class Stability(Reply, frozen=True, tag="stability"):
    """`number`: the write's place in the committed order, 0 while it is tentative. `known`: whether it is here.
    `overdue`: the time that it was to be firm by has passed, and nothing has been heard here of what came of it."""

    id: str
    known: bool
    number: int
    firm_by: str
    overdue: bool = False

    def text(self) -> str:
        if not self.known:
            return f"{self.id} is not known here: not made yet, or not heard of."
        if self.number:
            return f"{self.id} is committed, as number {self.number}."
        by = f", firm by {self.firm_by} at the latest" if self.firm_by else ""
        if self.overdue:
            by = f"; it was to be firm by {self.firm_by}, and what came of it has not been heard here"
        return f"{self.id} is tentative{by}."


class Exported(Reply, frozen=True, tag="exported"):
    """One part of an export; `cursor` asks for the next, "" after the last."""

    part: str
    cursor: str

    def text(self) -> str:
        return f"{self.part} {self.cursor}".rstrip()


class Imported(Reply, frozen=True, tag="imported"):
    """What an imported part brought: writes and commits that were new here. `heard`, at the primary: up to when all
    that the part's author has written is here by now, in words; "" if that is nothing new. `held`: writes that are
    kept in quarantine, as they are stamped too far ahead."""

    writes: int
    commits: int
    heard: str = ""
    held: int = 0

    def text(self) -> str:
        held = f" {self.held} wait, for they are stamped too far ahead." if self.held else ""
        return f"{self.writes} new writes, {self.commits} new commits.{held} {self.heard}".rstrip()


class TraceRow(msgspec.Struct, frozen=True):
    """One message about a write: `unix_ms` by this replica's clock, `order` its place among this
    replica's; `source` and `target` are nodes ("user" for a person); `is_sent`: told by the sender."""

    unix_ms: int
    order: int
    source: str
    target: str
    message: str
    note: str
    is_sent: bool

    def text(self) -> str:
        """For a line of text."""
        return f"{self.unix_ms} {self.source} -> {self.target}: {self.message} {self.note}".rstrip()


class Traced(Reply, frozen=True, tag="traced"):
    """Everything remembered about a write, oldest first."""

    id: str
    rows: tuple[TraceRow, ...]

    def text(self) -> str:
        return "; ".join(row.text() for row in self.rows) or f"Nothing is remembered of {self.id} here."


class ReplicaList(Reply, frozen=True, tag="replica_list"):
    """`rows`: (replica, its last write known here, the time up to which the primary has its promise in
    Unix milliseconds or 0, its state: "live", "retired", "replaced" by a new disk or taken out, or
    "gone", which is retired and committed)."""

    primary: str
    epoch: int
    committed: int
    rows: tuple[tuple[str, int, int, str], ...]
    vector: Vector

    def text(self) -> str:
        rows = "; ".join(f"{replica} {state}, known up to {number}" for replica, number, _, state in self.rows)
        return f"Primary {self.primary} (epoch {self.epoch}), {self.committed} committed. {rows}."


class CannotDo(Refusal, frozen=True, tag="cannot_do"):
    """An operator's word that cannot be carried out here and now; nothing was changed."""

    why: str

    def text(self) -> str:
        return f"Failed: {self.why}"


COMMANDS: tuple[type[Command], ...] = (Import, Retire, HandOver, TakeOver, Truncate)
QUERIES: tuple[type[Query], ...] = (Stable, Export, Trace, Replicas)
FOR_OPERATORS: tuple[type[Command], ...] = (Retire, HandOver, TakeOver, Truncate)
"""Those that change what is others', so that they take the role of an operator where people prove who they are. What an
import brings speaks for itself, and a laptop's user carries it."""
