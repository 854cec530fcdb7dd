"""The replies every service can give, whatever its app: the refusals of the machine and of the node.

Each says what the sender may do next. `Unavailable` and `Overloaded` mean *not executed*: safe to
send again, anywhere. `Unknown` means it may or may not be executed: safe to send again with the
same (client, number), and only so.
"""

from __future__ import annotations

from holdfast.kernel.contracts import Refusal, Reply


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


class Notices(Reply, frozen=True, tag="notices"):
    """Rows of the outbox: (number, addressee, text)."""

    rows: tuple[tuple[int, str, str], ...]

    def text(self) -> str:
        return "; ".join(f"{number} {to}: {text}" for number, to, text in self.rows) or "No notices."
