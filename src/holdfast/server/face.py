"""What a line port needs of a replica."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from holdfast.kernel.contracts import Person, Request
from holdfast.kernel.replies import Malformed
from holdfast.people import Identity
from holdfast.server.grammar import Grammar


class Service(Protocol):
    """What a line port needs of a replica."""

    def submit(self, waiter: Any, request: Request) -> None:
        """Take a command."""

    def ask(self, waiter: Any, request: Request) -> None:
        """Take a query."""


class Face:
    """One service as the line protocol shows it. `tentative`: its replies need not be final, so that it
    matters which view a question sees, and what a session has seen before. `private`: whatever it has to tell is
    somebody's, so that nobody watches but for what is theirs, and its outbox is not shown. `tells`: whether it says
    anything unasked."""

    def __init__(
        self,
        name: str,
        service: Service,
        grammar: Grammar,
        identity: Identity,
        *,
        tentative: bool = False,
        private: bool = False,
        tells: bool = True,
    ) -> None:
        self.name = name
        self.service = service
        self.grammar = grammar
        self.identity: Identity = identity
        self.tentative = tentative
        self.private = private
        self.tells = tells
        self.on_malformed: Callable[[Person | None, bytes, Malformed], object] | None = None
        """Hears of lines that make no request: who sent one, the line, and its refusal."""
