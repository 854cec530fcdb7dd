"""An operator's word that a replica is right, where the vote cannot decide any more (`council`).

It is an entry of the order like everything else about replicas, so all managers take it, or refuse it, at the
same number. Whoever said it hears what became of it when it has been taken in here.
"""

from __future__ import annotations

from holdfast.kernel.contracts import Reply, Token
from holdfast.kernel.replies import Unknown
from holdfast.replication.sequencer.council import Council
from holdfast.replication.sequencer.messages import Run, Trust
from holdfast.replication.sequencer.shared import Shared
from holdfast.replication.sequencer.submitting import Submitter
from holdfast.replication.sequencer.words import NotTrusted, Trusted


class Trusting:
    """`asked`: of words under way, by (incarnation, serial): who waits, since when, and whose replica it is about."""

    def __init__(self, shared: Shared, council: Council, submitter: Submitter) -> None:
        self.shared = shared
        self.council = council
        self.submitter = submitter
        self.asked: dict[tuple[int, int], tuple[Token, int, int]] = {}

    def take(self, token: Token, manager: int) -> None:
        """An operator says it."""
        run = self.submitter.control(Trust(manager))
        self.asked[run.incarnation, run.serial] = (token, self.shared.now_us, manager)

    def on_taken(self, run: Run) -> None:
        """An entry about the replicas was taken in: one of ours?"""
        if run.origin == self.shared.me and (waiting := self.asked.pop((run.incarnation, run.serial), None)):
            token, _, manager = waiting
            self.shared.step.settled_replies.append((token, self._answer(manager)))

    def _answer(self, manager: int) -> Reply:
        council, name = self.council, self.shared.name
        if council.refusal or council.word is None:
            return NotTrusted(name(manager), council.refusal)
        return Trusted(name(manager), council.word.since, tuple(map(name, sorted(council.copies))))

    # -- Time

    @property
    def due_us(self) -> int | None:
        """When somebody has waited too long."""
        oldest = next(iter(self.asked.values()), None)
        return None if oldest is None else oldest[1] + self.shared.configuration.deadline_us

    def tick(self) -> None:
        """Without a majority of the managers, nothing is decided."""
        while (due_us := self.due_us) is not None and self.shared.now_us >= due_us:
            token, _, _ = self.asked.pop(next(iter(self.asked)))
            unknown = Unknown("the deadline passed before a majority of the managers had taken it in")
            self.shared.step.settled_replies.append((token, unknown))
