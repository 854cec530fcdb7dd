"""An answer of which each branch gives its own part, all at one number of the order.

The question gets one number. The branch that was asked has the voted answer to it; it asks the server
of every other branch at the same time for that one's part, and each of them gives what it has
heard as the voted answer to that very number, from the replicas, not from who asks. A part that does
not come in time is taken from the asker's own answer, which is as good: nobody gets half an answer
because a server is down. It is counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from holdfast.kernel.contracts import Reply, Request
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.placing import Overhear, Placed, Placing
from holdfast.logfile import parameters_of
from holdfast.server.asking import answer_of
from holdfast.server.branches.messages import AskPart, NotHere, Part, Wire
from holdfast.server.branches.requests import id_of, word_of
from holdfast.server.calls import Calls, Message
from holdfast.server.face import Service

PART_PATIENCE_S = 0.5
"""How long the others' parts are waited for."""
HEAR_PATIENCE_S = 0.4
"""How long a branch may take to hear its own."""

logger = logging.getLogger(__name__)


def has_parts(reply: Reply) -> bool:
    """Whether a reply is made of the branches' parts, `parts`: (city, part) of each."""
    return isinstance(getattr(reply, "parts", None), tuple)


def part_of(reply: Any, city: str) -> Any:
    """One branch's part of a whole answer; () if it has none."""
    return next((part for known, part in reply.parts if known == city), ())


class Gathering:
    """Gathers answers at one node, and gives its branches' parts to others. `node_of(city)`: who serves a branch."""

    def __init__(
        self, service: Service, wire: Wire, calls: Calls, here: str, node_of: Callable[[str], str | None]
    ) -> None:
        self.counters = dict.fromkeys(("parts_asked", "parts_given", "parts_missing", "parts_differing"), 0)
        self._service = service
        self._wire = wire
        self._calls = calls
        self._here = here
        self._node_of = node_of

    async def answer(self, city: str, request: Request, deadline_s: float) -> Reply:
        """The whole answer to a question that was asked at this branch."""
        question = msgspec.structs.replace(request, command=Placing(request.command))
        placed = await answer_of(self._service, question, deadline_s)
        if not isinstance(placed, Placed):
            return placed
        whole: Any = placed.reply
        if not has_parts(whole):
            refusal: Reply = whole
            return refusal
        cities = [known for known, _ in whole.parts]
        parts = await asyncio.gather(*(self._part(known, city, request, placed) for known in cities))
        gathered: Reply = msgspec.structs.replace(whole, parts=tuple(zip(cities, parts, strict=True)))
        return gathered

    async def _part(self, city: str, asker: str, request: Request, placed: Placed) -> Any:
        """A branch's part, by that branch's server if there is one."""
        own, node = part_of(placed.reply, city), self._node_of(city)
        if city == asker or node is None or node == self._here:
            return own
        self.counters["parts_asked"] += 1
        ask = partial(
            AskPart,
            city=city,
            origin=placed.origin,
            incarnation=placed.incarnation,
            serial=placed.serial,
            asker=asker,
            person=id_of(request.person),
            word=word_of(request),
            parameters=parameters_of(request.command),
        )
        answer = await self._calls.ask(node, ask, PART_PATIENCE_S)
        part = self._told(answer, city, placed)
        if part is None:
            self.counters["parts_missing"] += 1
            return own
        if part != own:  # more replicas are wrong than may be: what is voted here is what is answered
            self.counters["parts_differing"] += 1
            logger.error("number %d of the order: %s at %s says another part than is voted", placed.number, city, node)
            return own
        return part

    def _told(self, answer: Message | None, city: str, placed: Placed) -> Any:
        """The part in what the branch's server says; None if there is none."""
        if not isinstance(answer, Part) or answer.number != placed.number:
            return None
        try:
            reply = self._wire.reply(answer.reply)
        except MalformedInput as error:
            logger.error("%s", error)
            return None
        return part_of(reply, city) if has_parts(reply) else None

    async def give(self, ask: AskPart) -> tuple[Message, Reply | None]:
        """This node's part of an answer that another branch gathers: the message, and what it says."""
        heard = await answer_of(
            self._service, Request(Overhear(ask.origin, ask.incarnation, ask.serial)), HEAR_PATIENCE_S
        )
        if not isinstance(heard, Placed) or not has_parts(heard.reply):
            return NotHere(ask.id), None
        self.counters["parts_given"] += 1
        whole: Any = heard.reply
        part: Reply = msgspec.structs.replace(whole, parts=((ask.city, part_of(whole, ask.city)),))
        return Part(ask.id, heard.number, self._wire.encode(part)), part
