"""What operators say to a node itself under the sequencer protocol, whatever its app, and what it answers."""

from __future__ import annotations

from typing import Literal

from holdfast.kernel.contracts import Command, Query, Refusal, Reply

FaultKind = Literal["none", "wrong", "state", "garbage", "silent", "slow", "crash"]
"""`wrong`: other results; `state`: right results over a wrong state; `garbage`: bytes that mean nothing;
`silent`: no results; `slow`: late ones; `crash`: the replica is gone; `none`: as before, if it is still there."""


OPERATOR = "operator"
"""The role of those who may plant faults, where people have to say who they are."""


class Fault(Command, frozen=True, tag="fault"):
    """Plant a fault in this node's replica, to see that it is found out and replaced."""

    kind: FaultKind


class Trust(Command, frozen=True, tag="trust"):
    """Say that this node's replica is right, where the vote cannot decide any more: others are begun anew from it."""

    node: str


class Votes(Query, frozen=True, tag="votes"):
    """Tell who is the sequencer, how the replicas have voted, which are suspected, and what was replaced."""


class FaultPlanted(Reply, frozen=True, tag="fault_planted"):
    """The replica here behaves so from now on."""

    node: str
    kind: str

    def text(self) -> str:
        if self.kind == "none":
            return f"The replica of {self.node} works as it should again."
        return f"The replica of {self.node} is made {self.kind} from now on."


class NotNow(Refusal, frozen=True, tag="not_now"):
    """A replica that is not there cannot be made to fail otherwise."""

    node: str
    state: str

    def text(self) -> str:
        return f"Failed: the replica of {self.node} is {self.state} already; try again when it is right."


class NoReplica(Refusal, frozen=True, tag="no_replica"):
    """Only a node that manages a replica can have a fault planted."""

    node: str

    def text(self) -> str:
        return f"Failed: {self.node} manages no replica; name a node that does."


class Trusted(Reply, frozen=True, tag="trusted"):
    """The replica of `node` is taken to be right from `number` on; `anew`: those that are begun anew from it."""

    node: str
    number: int
    anew: tuple[str, ...]

    def text(self) -> str:
        anew = f"; begun anew from it: {', '.join(self.anew)}" if self.anew else ""
        return f"The replica of {self.node} is taken to be right from number {self.number} on{anew}."


class NotTrusted(Refusal, frozen=True, tag="not_trusted"):
    """The word of an operator has no place now."""

    node: str
    why: str

    def text(self) -> str:
        return f"Failed: the replica of {self.node} is not trusted: {self.why}."


class VoteRow(Reply, frozen=True, tag="vote_row"):
    """One manager's replica. `state`: "right", "copying" or "crashed", as its manager or the order says;
    `life`: how often it was begun anew; `agreed`, `differed`, `late`: of the results that this node's front
    end has seen."""

    node: str
    state: str
    life: int
    agreed: int
    differed: int
    late: int

    def text(self) -> str:
        again = f", life {self.life}" if self.life else ""
        return f"{self.node} {self.state}{again}: {self.agreed} agreed, {self.differed} differed, {self.late} late"


class VotesCounted(Reply, frozen=True, tag="votes_counted"):
    """The answer to `votes`. `trusted`: whose replica is right because an operator says so, or ""; `suspected`:
    whose replicas give no results. A node without a replica knows of that, and of what was replaced, from others."""

    sequencer: str
    epoch: int
    number: int
    replacements: int
    restarts: int
    rows: tuple[VoteRow, ...]
    trusted: str = ""
    suspected: tuple[str, ...] = ()

    def text(self) -> str:
        rows = "; ".join(row.text() for row in self.rows)
        return (
            f"Sequencer {self.sequencer or 'none'} (epoch {self.epoch}), {self.number} requests decided, "
            f"{self.replacements} replicas replaced, {self.restarts} restarted. {rows}."
            + (f" Suspected: {', '.join(self.suspected)}." if self.suspected else "")
            + (f" Trusted: {self.trusted}." if self.trusted else "")
        )


COMMANDS: tuple[type[Command], ...] = (Fault, Trust)
QUERIES: tuple[type[Query], ...] = (Votes,)
