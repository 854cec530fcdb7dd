"""A service as its callers see it: `tickets.reserve("bob", 3)`, blocking or awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from holdfast.client.blocking import BlockingChannel, monotonic_us
from holdfast.client.errors import DeadlineExceeded, LoginRefused, NotExecuted, OutcomeUnknown
from holdfast.client.lines import Word, checked_line, request_line
from holdfast.client.outcomes import Answer, Denied, Unknown
from holdfast.client.session import Call, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from holdfast.client.asynchronous import AsyncChannel


def submissions(lines: Iterable[Sequence[Word]], deadline_s: float) -> Callable[[Session], Sequence[Call]]:
    """What submits these requests, quoted and checked before the first of them is sent."""
    return submission([request_line(words) for words in lines], deadline_s)


def submission(texts: Sequence[str], deadline_s: float) -> Callable[[Session], Sequence[Call]]:
    """What submits these lines, quoted already."""

    def begin(session: Session) -> Sequence[Call]:
        deadline_us = monotonic_us() + int(deadline_s * 1e6)
        return [session.submit(text, deadline_us) for text in texts]

    return begin


def resumption(call: Call, deadline_s: float) -> Callable[[Session], Sequence[Call]]:
    """What takes up a call again whose outcome is unknown."""

    def begin(session: Session) -> Sequence[Call]:
        session.resume(call, monotonic_us() + int(deadline_s * 1e6))
        return [call]

    return begin


def result(call: Call, retry: Callable[[], Any]) -> Answer | DeadlineExceeded:
    """What a settled call comes to. A refused login is raised: no other request can fare better."""
    outcome = call.outcome
    assert outcome is not None, "a settled call has an outcome"
    if isinstance(outcome, Answer):
        return outcome
    if isinstance(outcome, Denied):
        raise LoginRefused(outcome.why)
    if isinstance(outcome, Unknown):
        text = f"the outcome of {call.line!r} is unknown: it may or may not be done. Last heard: {outcome.why}"
        return OutcomeUnknown(text, call.identity.client, call.number, retry)
    return NotExecuted(f"{call.line!r} was not executed: no server took it in time. Last heard: {outcome.why}")


def answered(value: Answer | DeadlineExceeded) -> Answer:
    """The answer, or its failure raised."""
    if isinstance(value, DeadlineExceeded):
        raise value
    return value


class Service:
    """One service of a site, over one connection that moves to another server when it must.

    Every command and query of the service's app is a method: `tickets.search("bob")` is
    `tickets.call("search", "bob")`. Several threads may share it; they take turns.
    """

    def __init__(self, name: str, channel: BlockingChannel, deadline_s: float) -> None:
        self.name = name
        self._channel = channel
        self._deadline_s = deadline_s

    def call(self, *words: Word) -> Answer:
        """Send one command or query and wait for its answer.

        Raises `OutcomeUnknown` or `NotExecuted` at the deadline, `LoginRefused`, `Misuse`.
        """
        return answered(self.call_many([words])[0])

    def call_many(self, lines: Iterable[Sequence[Word]]) -> list[Answer | DeadlineExceeded]:
        """Send many without waiting for each; the results stand in the same order.

        A result that did not come by the deadline is the exception that `call` would have raised.
        They execute in order, except that one which a server did not take may be sent again later.
        """
        return self._settled(submissions(lines, self._deadline_s))

    def line(self, text: str) -> Answer:
        """Send a line as a person types it on the line protocol: `reserve "Mary Ann" 3`."""
        return answered(self._settled(submission([checked_line(text)], self._deadline_s))[0])

    def repeat(self, client: str, number: int, *words: Word) -> Answer:
        """Learn the outcome of request `number` of `client`, an earlier process that could not."""
        line = request_line(words)

        def begin(session: Session) -> Sequence[Call]:
            return [session.repeat(line, client, number, monotonic_us() + int(self._deadline_s * 1e6))]

        return answered(self._settled(begin)[0])

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._channel.close()

    def _settled(self, begin: Callable[[Session], Sequence[Call]]) -> list[Answer | DeadlineExceeded]:
        return [result(call, partial(self._retry, call)) for call in self._channel.settle(begin)]

    def _retry(self, call: Call) -> Answer:
        return answered(self._settled(resumption(call, self._deadline_s))[0])

    def __getattr__(self, word: str) -> Callable[..., Answer]:
        if word.startswith("_"):
            raise AttributeError(word)
        return lambda *words: self.call(word, *words)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncService:
    """As `Service`, awaited. Calls of many tasks share the connection without waiting for each other."""

    def __init__(self, name: str, channel: AsyncChannel, deadline_s: float) -> None:
        self.name = name
        self._channel = channel
        self._deadline_s = deadline_s

    async def call(self, *words: Word) -> Answer:
        """See `Service.call`."""
        return answered((await self.call_many([words]))[0])

    async def call_many(self, lines: Iterable[Sequence[Word]]) -> list[Answer | DeadlineExceeded]:
        """See `Service.call_many`."""
        return await self._settled(submissions(lines, self._deadline_s))

    async def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        await self._channel.close()

    async def _settled(self, begin: Callable[[Session], Sequence[Call]]) -> list[Answer | DeadlineExceeded]:
        calls = await self._channel.settle(begin)
        return [result(call, partial(self._retry, call)) for call in calls]

    async def _retry(self, call: Call) -> Answer:
        return answered((await self._settled(resumption(call, self._deadline_s)))[0])

    def __getattr__(self, word: str) -> Callable[..., Any]:
        if word.startswith("_"):
            raise AttributeError(word)
        return lambda *words: self.call(word, *words)

    async def __aenter__(self) -> AsyncService:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
