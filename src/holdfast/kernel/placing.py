"""Where a question stands in the order of a service, so that others can hear the very same answer.

For protocols that give questions a place in their order too: `Placing` asks one and tells its place with
the answer; with `Overhear` another node gets the answer to that very question, from the same state, and
believes it for reasons of its own. Both are asked by a node's own parts; no port knows these words.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from holdfast.kernel.contracts import Query, Refusal, Reply


class Placing(Query, frozen=True, tag="placing"):
    """Ask `question` as any, and tell its place. It is answered by `Placed`, or by what refuses any question."""

    question: Any


class Overhear(Query, frozen=True, tag="overhear"):
    """What was answered to the question at this place? It is answered by `Placed` or `NotHeard`."""

    origin: int
    incarnation: int
    serial: int


class Placed(Reply, frozen=True, tag="placed"):
    """An answer and its place: the `serial`th that the node `origin` submitted in its life `incarnation`, with
    `number` in the order of the service."""

    origin: int
    incarnation: int
    serial: int
    number: int
    reply: Any

    def text(self) -> str:
        answer: str = self.reply.text()
        return f"{answer} (number {self.number})"


class NotHeard(Refusal, frozen=True, tag="not_heard"):
    """Not enough replicas have told what they answered there; perhaps they do not keep it any more."""

    def text(self) -> str:
        return "Failed: what was answered there is not known."


@runtime_checkable
class Places(Protocol):
    """A core that understands `Placing` and `Overhear`."""

    places_questions: bool
