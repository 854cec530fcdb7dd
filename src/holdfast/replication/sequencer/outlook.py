"""What a node knows of how the replicas stand, whatever its roles: for operators.

A manager knows it from its council. Any other node asks the managers, one after the other, and keeps the newest
that it hears: managers may be gone, or be behind, but tell nothing wrong.
"""

from __future__ import annotations

from holdfast.kernel.contracts import Peer
from holdfast.kernel.errors import MalformedInput
from holdfast.replication.sequencer.council import Council
from holdfast.replication.sequencer.messages import Inquire, Told
from holdfast.replication.sequencer.shared import Shared

NOBODY = -1
INQUIRE_US = 500_000
"""How often a node without a replica asks."""


class Outlook:
    """`told`: the newest that was heard; of a node without a replica."""

    def __init__(self, shared: Shared, council: Council) -> None:
        self.shared = shared
        self.council = council
        self.managers = shared.configuration.managers
        self.manages = shared.me in self.managers
        self.told = Told(lives=(0,) * len(self.managers))
        self._asked_us: int | None = None
        self._next = 0

    @property
    def now(self) -> Told:
        """As far as is known here."""
        council = self.council
        if not self.manages:
            return self.told
        return Told(
            position=council.position,
            lives=tuple(council.lives[manager] for manager in self.managers),
            copied=tuple(sorted(council.copies)),
            suspected=tuple(sorted(council.suspected)),
            trusted=NOBODY if council.trusted is None else council.trusted,
            is_undecided=council.is_undecided,
            replacements=council.replacements,
            restarts=council.restarts,
        )

    def names(self, nodes: tuple[int, ...]) -> tuple[str, ...]:
        """How people call them."""
        return tuple(map(self.shared.name, nodes))

    def on_inquire(self, peer: Peer, message: Inquire) -> None:
        """Somebody wants to know."""
        if self.manages:
            self.shared.send(peer, self.now)

    def on_told(self, peer: Peer, message: Told) -> None:
        """A manager has answered. Raises `MalformedInput` for what makes no sense here."""
        named = (*message.copied, *message.suspected, *([message.trusted] if message.trusted != NOBODY else []))
        if len(message.lives) != len(self.managers) or not set(named) <= set(self.managers):
            raise MalformedInput("it tells of other replicas than there are")
        if peer in self.managers and message.position >= self.told.position:
            self.told = message

    # -- Time

    @property
    def due_us(self) -> int | None:
        """When to ask again."""
        if self.manages:
            return None
        return self.shared.now_us if self._asked_us is None else self._asked_us + INQUIRE_US

    def tick(self) -> None:
        """Ask the next of the managers."""
        due_us = self.due_us
        if due_us is not None and self.shared.now_us >= due_us:
            self._asked_us = self.shared.now_us
            self.shared.send(self.managers[self._next % len(self.managers)], Inquire())
            self._next += 1
