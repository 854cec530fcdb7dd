"""Files between offices: what an export holds, and what an import must have brought.

Whoever has taken in all parts of a file has everything that its giver had when the export began, and as
much of it committed, unless some part was refused. What waits in quarantine has come, too.
"""

from __future__ import annotations

from typing import Any

from holdfast.replication.bayou.words import Exported, Imported
from holdfast.sim.audit import Violation
from holdfast.sim.bayou.office import Office, OfficeAttempt

PARTS_MAX = 200
"""An export of so many parts has no end."""

Known = dict[str, int]


class File:
    """The parts of one export, as they were given. `known`, `firm`: what the giver had, and had committed, when it
    gave the first one. `is_whole`: one process has given all of them."""

    def __init__(self, source: Office) -> None:
        self.source = source
        self.parts: list[str] = []
        self.known: Known = {}
        self.firm: Known = {}
        self.is_whole = False
        self._life = source.incarnation

    def add(self, asked: OfficeAttempt, reply: Exported) -> None:
        """The next part is given."""
        if not self.parts:
            self.known, self.firm, self._life = asked.known, asked.firm, self.source.incarnation
        self.parts.append(reply.part)
        assert len(self.parts) < PARTS_MAX, f"an export of {self.source.name} has {len(self.parts)} parts and no end"
        self.is_whole = not reply.cursor and self._life == self.source.incarnation


class Delivery:
    """A file at one office: which of its parts one life of a process there has taken in."""

    def __init__(self, file: File, target: Office) -> None:
        self.file = file
        self.target = target
        self._life: tuple[Any, ...] = ()
        self._taken: dict[str, None] = {}
        self._aside: Known = {}

    def answered(self, part: str, reply: Any) -> None:
        """The answer to an import leaves. Raises `Violation` if by now something should be here, and is not."""
        target, file = self.target, self.file
        replica = target.replica
        life = (target.incarnation, replica.replica)
        if life != self._life:
            self._life, self._taken, self._aside = life, {}, {}
        if not isinstance(reply, Imported):
            return
        self._taken[part] = None
        for name, number in replica.aside().items():
            self._aside[name] = max(number, self._aside.get(name, 0))
        if not file.is_whole or len(self._taken) < len(set(file.parts)) or target.ground.may_lose:
            return
        log = replica.log
        for name, number in file.known.items():
            here = max(log.vector.get(name, 0), log.committed_vector.get(name, 0), self._aside.get(name, 0))
            if here < number:
                raise Violation("import", f"{self._text}, and lacks {name}-{number} of it: it has {name} up to {here}")
        for name, number in file.firm.items():
            here = log.committed_vector.get(name, 0)
            if here < number:
                raise Violation("import", f"{self._text}, where {name}-{number} is committed, and here {name}-{here}")

    @property
    def _text(self) -> str:
        return f"{self.target.name} has taken in all of a file from {self.file.source.name}"
