"""Hearing what was answered to a question that another front end has asked (`kernel.placing`).

The replicas are asked for what they have answered at that place; it is believed here, as by any front
end, when enough of them say the same.
"""

from __future__ import annotations

from holdfast.kernel.contracts import Peer, Token
from holdfast.kernel.placing import NotHeard, Overhear, Placed
from holdfast.replication.sequencer.messages import Heard, Listen, Stream
from holdfast.replication.sequencer.replica import Replica
from holdfast.replication.sequencer.shared import Shared

WANTED_MAX = 10_000
"""Places that are asked about at once."""


class Wanted:
    """Who waits for the answer at one place. `answers`: (number, replies) by manager."""

    __slots__ = ("answers", "asked_us", "since_us", "tokens")

    def __init__(self, now_us: int) -> None:
        self.tokens: list[Token] = []
        self.since_us = self.asked_us = now_us
        self.answers: dict[int, tuple[int, bytes]] = {}


class Overhearing:
    """`wanted`: by place, oldest first."""

    def __init__(self, shared: Shared, replica: Replica) -> None:
        self.shared = shared
        self.replica = replica
        self.wanted: dict[Stream, Wanted] = {}

    def take(self, token: Token, question: Overhear) -> None:
        """Somebody here wants to know."""
        shared, place = self.shared, (question.origin, question.incarnation, question.serial)
        wanted = self.wanted.get(place)
        if wanted is None:
            if len(self.wanted) >= WANTED_MAX:
                shared.step.settled_replies.append((token, NotHeard()))
                return
            wanted = self.wanted[place] = Wanted(shared.now_us)
            shared.send_all(shared.configuration.managers, Listen(*place))
        wanted.tokens.append(token)

    def on_listen(self, peer: Peer, message: Listen) -> None:
        """Tell what the replica here has answered, if it has."""
        for row in self.replica.recall(message.origin, message.incarnation, message.serial, message.serial):
            self.shared.send(peer, Heard(row))

    def on_heard(self, manager: Peer, message: Heard) -> None:
        """One replica's answer: enough that are alike are believed."""
        shared = self.shared
        origin, incarnation, serial, number, data = message.row
        place, said = (origin, incarnation, serial), (number, data)
        wanted = self.wanted.get(place)
        if wanted is None or manager not in shared.configuration.managers:
            return
        wanted.answers[manager] = said
        if sum(other == said for other in wanted.answers.values()) < shared.configuration.agreeing:
            return
        replies = shared.batches.decode_replies(data, 1)  # such a question is a run of its own
        self._end(place, NotHeard() if replies is None else Placed(*place, number, replies[0]))

    def _end(self, place: Stream, reply: Placed | NotHeard) -> None:
        wanted = self.wanted.pop(place)
        self.shared.step.settled_replies += [(token, reply) for token in wanted.tokens]

    # -- Time

    @property
    def due_us(self) -> int | None:
        """When to ask again."""
        oldest = min((wanted.asked_us for wanted in self.wanted.values()), default=None)
        return None if oldest is None else oldest + self.shared.configuration.resend_us

    def tick(self) -> None:
        """Ask again, as a message may be lost, or a replica come to it only now; and not for ever."""
        shared, configuration = self.shared, self.shared.configuration
        for place, wanted in list(self.wanted.items()):
            if shared.now_us - wanted.since_us >= configuration.deadline_us:
                self._end(place, NotHeard())
            elif shared.now_us - wanted.asked_us >= configuration.resend_us:
                wanted.asked_us = shared.now_us
                shared.send_all(configuration.managers, Listen(*place))
