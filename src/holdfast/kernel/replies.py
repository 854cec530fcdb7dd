"""The replies every service can give, whatever its app: the refusals of the machine and of the node.

Each says what the sender may do next. `Unavailable` and `Overloaded` mean *not executed*: safe to
send again, anywhere. `Unknown` means it may or may not be executed: safe to send again with the
same (client, number), and only so.
"""

from __future__ import annotations

from typing import Any

from holdfast.kernel.contracts import Refusal, Reply, Vector


class Malformed(Refusal, frozen=True, tag="malformed"):
    """The line or its values make no command. Never logged, nothing changed."""

    why: str

    def text(self) -> str:
        return f"Failed: {self.why}"


class Unavailable(Refusal, frozen=True, tag="unavailable"):
    """Not executed: this replica serves nobody now."""

    why: str

    def text(self) -> str:
        return f"Failed: not served here now, nothing was changed, try again or elsewhere: {self.why}"


class Overloaded(Refusal, frozen=True, tag="overloaded"):
    """Not executed: more requests wait than the stated limit."""

    limit: int

    def text(self) -> str:
        return f"Failed: overloaded, {self.limit} requests wait already; nothing was changed, try again later."


class Unknown(Refusal, frozen=True, tag="unknown"):
    """The deadline passed before the outcome was certain."""

    why: str

    def text(self) -> str:
        return (
            "Failed: outcome unknown, it may or may not be done; "
            f"send the same @client:number again to learn it: {self.why}"
        )


class Forgotten(Refusal, frozen=True, tag="forgotten"):
    """The request number lies below what its client declared answered, or below the kept window."""

    client: str
    number: int
    lowest: int

    def text(self) -> str:
        return (
            f"Failed: request {self.number} of {self.client} is too old to be known "
            f"(kept from {self.lowest} on) and was not executed again."
        )


class Expired(Refusal, frozen=True, tag="expired"):
    """The client's session is over (or its stamp is not of this time); nothing was executed."""

    client: str

    def text(self) -> str:
        return f"Failed: the session of {self.client} has expired; nothing was executed; use a new client id."


class OutOfClients(Refusal, frozen=True, tag="out_of_clients"):
    """Nothing was executed: so many client ids without a birth are kept for good, and this would be one more.
    `owner`: whose they are, "" for those of all together."""

    owner: str
    count: int

    def text(self) -> str:
        whose = f"{self.owner} has {self.count}" if self.owner else f"there are {self.count}"
        return (
            f"Failed: {whose} client ids without a birth here, and they are kept for good; nothing was executed; "
            "use one of those again (a folder or a device that has sent before), or an id that ends in "
            ".<Unix milliseconds>."
        )


class Forbidden(Refusal, frozen=True, tag="forbidden"):
    """Who asks may not do this."""

    why: str

    def text(self) -> str:
        return f"Failed: {self.why}"


class Advanced(Reply, frozen=True, tag="advanced"):
    """The replicated time after an `Advance`, Unix milliseconds."""

    now_ms: int

    def text(self) -> str:
        return f"The time is {self.now_ms}."


class Behind(Refusal, frozen=True, tag="behind"):
    """Not executed: this replica has not yet seen what the session has read or written elsewhere."""

    guarantee: str
    missing: Vector

    def text(self) -> str:
        what = ", ".join(f"{replica} up to {number}" for replica, number in self.missing)
        return (
            f"Failed: this replica is behind your session ({self.guarantee}): it lacks writes of {what}; "
            "try again when it has caught up, use another replica, or give the guarantee up."
        )


class Outcome(Reply, frozen=True, tag="outcome"):
    """A reply and how firm it is, from a protocol whose replies need not be final.

    `firm`: "tentative" or "committed", or for a query the view that was read. `write`: the id of the
    command, "" for a query. `firm_by`: when it is final at the latest, as people read it, or "".
    `vector`: what the answer rests on (a query), or the write itself: for session guarantees.
    `warning`: what the person should know beside it (a wrong clock), or "".
    """

    reply: Any
    firm: str
    write: str = ""
    firm_by: str = ""
    vector: Vector = ()
    warning: str = ""

    @property
    def failed(self) -> bool:  # type: ignore[override]
        """As the reply inside."""
        return bool(self.reply.failed)

    def text(self) -> str:
        notes = [self.firm] if self.write or self.firm == "tentative" else []
        notes += [self.write] if self.write else []
        notes += [f"firm by {self.firm_by} at the latest"] if self.firm_by else []
        notes += [self.warning] if self.warning else []
        text: str = self.reply.text()
        return f"{text} [{', '.join(notes)}]" if notes else text
