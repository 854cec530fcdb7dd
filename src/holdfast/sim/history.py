"""What clients saw: the operations of a run with the virtual times of their invocation and response.

A checker judges nothing but this record: it was written by the clients, who know neither replicas
nor protocols.
"""

from __future__ import annotations

import msgspec

Action = tuple[object, ...]
"""What was asked, in plain values: (word, argument, ...), as on the line protocol."""


class Operation(msgspec.Struct):
    """One action of one client, from its first invocation to its answer.

    `return_us` and `text` are None while the outcome is unknown: the action may have taken effect
    at any time after `call_us`, may still do so, or never will.
    """

    client: str
    action: Action
    call_us: int
    return_us: int | None = None
    text: str | None = None


class History:
    """All operations of a run, in the order of their invocation."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def invoke(self, now_us: int, client: str, action: Action) -> Operation:
        """Note that `client` has just sent `action`."""
        operation = Operation(client, action, now_us)
        self.operations.append(operation)
        return operation

    def respond(self, now_us: int, operation: Operation, text: str) -> None:
        """Note the answer, once."""
        assert operation.return_us is None, f"answered twice: {operation}"
        operation.return_us = now_us
        operation.text = text

    def drop(self, operation: Operation) -> None:
        """Forget an operation that certainly had no effect (a question without an answer, a refusal to execute)."""
        for index in range(len(self.operations) - 1, -1, -1):
            if self.operations[index] is operation:
                del self.operations[index]
                return
        raise LookupError(f"not in this history: {operation}")
