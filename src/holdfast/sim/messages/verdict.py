"""The verdict on messages: the order that the replicas executed, told to a model, makes every answer right.

The order is a witness. A command's answer is the model's at its place. A question's answer is the model's
after some batch, and the places chosen agree with time: who had an answer before another one asked stands
before it. For questions the earliest place that fits is taken, which leaves the most to the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.kernel.contracts import Reply, Request
from holdfast.kernel.machine import Advance
from holdfast.kernel.notices import DropNotices, TakeNotices
from holdfast.kernel.replies import Forgotten
from holdfast.sim.audit import Violation
from holdfast.sim.messages.asked import ask, is_right
from holdfast.sim.messages.caller import Heard
from holdfast.sim.messages.post import Batch, Tells
from holdfast.sim.messages.ward import Told, Ward
from holdfast.sim.trace import render


class Court:
    """Goes through the order once. `sources`: of each service that gives notices, how far they are in. `_finished`: of
    each client, the lowest number for which it may still wait, as what was executed has said."""

    def __init__(self, ward: Ward, heard: Sequence[Heard]) -> None:
        self.ward = ward
        self.now_ms = 0
        self.sources: dict[str, tuple[int, int]] = {}
        answered = [one for one in heard if one.operation.text is not None]
        self.commands = {(one.client, one.number): one for one in answered if not one.is_query}
        self.waiting = sorted((one for one in answered if one.is_query), key=lambda one: one.operation.call_us)
        self._placed: dict[int, int] = {}
        self._before = {id(one): _before(one, answered) for one in answered}
        self._done: dict[tuple[str, int], None] = {}
        self._finished: dict[str, int] = {}

    def judge(self, batches: dict[int, Batch]) -> None:
        """Raise `Violation` for the first answer, or the first thing told, that is wrong."""
        self._place_questions(0)
        for position in range(1, max(batches, default=0) + 1):
            if position not in batches:
                raise Violation("order", f"nobody was ever seen to execute position {position}")
            self._execute(position, batches[position])
            self._place_questions(position)
        if self.commands:
            key, lost = next(iter(self.commands.items()))
            raise Violation("lost", f"{key} was answered {render(lost.reply)}, and was never executed")
        if self.waiting:
            one = self.waiting[0]
            person, query = one.operation.action
            raise Violation(
                "answer",
                f"{person} asked {render(query)} from {one.operation.call_us} to {one.operation.return_us} us and was "
                f"told {render(one.reply)}; at no place in the order is this right. At last it is "
                f"{_last(self.ward, person, query)}",
            )

    def _execute(self, position: int, batch: Batch) -> None:
        time, server = batch.stamp
        for place, (request, reply) in enumerate(zip(batch.requests, batch.replies, strict=True)):
            self._one(request, reply, f"{time}-{server}-{place}", position)
        check_told(batch.told, self.ward.take_told(), f"position {position}")

    def _one(self, request: Request, reply: Reply, id: str, position: int) -> None:
        command = request.command
        if isinstance(command, Advance):
            if command.now_ms > self.now_ms:
                self.now_ms = command.now_ms
                self.ward.pass_time(self.now_ms)
            return
        if isinstance(command, DropNotices):
            return
        if isinstance(command, TakeNotices):
            take(self.ward, self.sources, command, id, self.now_ms)
            return
        key = (request.client, request.number)
        if request.client and key in self._done:
            return  # a retry
        if request.number < self._finished.get(request.client, 0):
            _check_forgotten(request, reply)
            return
        self._done[key] = None
        self._finished[request.client] = max(self._finished.get(request.client, 0), min(request.lowest, request.number))
        assert request.person is not None
        answer = self.ward.do(request.person, command, id, self.now_ms)
        if not answer.fits(reply):
            raise Violation("model", f"{request.person.id} said {render(command)}: {render(reply)}, not {answer}")
        heard = self.commands.pop(key, None)
        if heard is not None:
            if heard.reply != reply:
                raise Violation("answer", f"{key} was told {render(heard.reply)}, the order makes {render(reply)}")
            self._place(heard, position, position - 1)

    def _place(self, one: Heard, position: int, behind: int) -> None:
        """`behind`: the last place at which what had been answered before may stand."""
        for other in self._before[id(one)]:
            if self._placed.get(id(other), position) > behind:
                raise Violation(
                    "order",
                    f"{render(other.operation.action[1])} was answered {render(other.reply)} before "
                    f"{render(one.operation.action[1])} was asked, and stands behind it in the order",
                )
        self._placed[id(one)] = position

    def _place_questions(self, position: int) -> None:
        left = []
        for one in self.waiting:
            person, query = one.operation.action
            may = all(id(other) in self._placed for other in self._before[id(one)])
            if may and is_right(self.ward, person, query, one.reply):  # type: ignore[arg-type]
                self._place(one, position, position)
            else:
                left.append(one)
        self.waiting = left


def _check_forgotten(request: Request, reply: Reply) -> None:
    """Its client had gone on to later numbers when it came, and has said that it waits for this one no longer."""
    if not isinstance(reply, Forgotten):
        raise Violation(
            "exactly once",
            f"{request.client} was done with {request.number}, and it is executed all the same: {render(reply)}",
        )


def _before(one: Heard, answered: Sequence[Heard]) -> list[Heard]:
    call_us = one.operation.call_us
    return [
        other for other in answered if other.operation.return_us is not None and other.operation.return_us < call_us
    ]


def _last(ward: Ward, person: Any, query: Any) -> str:
    return str(ask(ward, person, query)) if type(query).__name__ != "AskAudit" else "another log"


def take(ward: Ward, sources: dict[str, tuple[int, int]], command: TakeNotices, id: str, now_ms: int) -> None:
    """Notices come in once, in their order; from one that is not known, whatever comes first."""
    life, upto = sources.get(command.source, (-1, 0))
    if life > command.since_ms:
        return
    if life != command.since_ms:
        upto = command.first - 1
    if command.first > upto + 1 and not command.after_loss:
        return
    for number, (to, text) in enumerate(command.notices, command.first):
        if number > upto:
            ward.notice(command.source, to, text, f"{id}/{number}", now_ms)
            upto = number
    sources[command.source] = (command.since_ms, upto)


def check_told(told: Tells, expected: list[Told], where: str) -> None:
    """What the app tells watchers is what the model says, in any order."""
    left = list(expected)
    for to, id, reply in told:
        match = next((one for one in left if (one[0], one[1]) == (to, id) and one[2].fits(reply)), None)
        if match is None:
            raise Violation("told", f"at {where} {to} is told {render(reply)}; to be told are {left}")
        left.remove(match)
    if left:
        raise Violation("told", f"at {where} nobody told {left}")
