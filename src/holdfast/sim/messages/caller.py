"""A client that keeps what it is told: each answer is judged at the end, and looked at when it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.kernel.contracts import Reply
from holdfast.sim.clients import Client, ClientAttempt
from holdfast.sim.history import Operation

if TYPE_CHECKING:
    from holdfast.sim.messages.crowd import Crowd


class Heard(msgspec.Struct):
    """An operation with who asked under which number, and the last answer. The action is (person, command)."""

    operation: Operation
    client: str
    number: int
    is_query: bool
    reply: Reply


class Caller(Client):
    """See the module. `heard`: the last answer; `record`: where all are kept, by the operation's identity."""

    crowd: Crowd
    record: dict[int, Heard]
    heard: Reply | None = None

    def reply_arrives(self, attempt: ClientAttempt, reply: Reply) -> None:
        """See `Client`."""
        errand = attempt.errand
        operation = errand.operation
        if errand.attempt is attempt and operation is not None:
            self.heard = reply
            person: Any = errand.action[0]
            self.crowd.shown(person, reply)
            if errand.is_query:
                self.crowd.answered(person, errand.command, reply)
            if errand.history is self.history:  # not what is repeated in the end, which the audit looks at
                heard = Heard(operation, self.name, errand.number, errand.is_query, reply)
                self.record[id(operation)] = heard
        super().reply_arrives(attempt, reply)
