"""A service as its callers see it: `tickets.reserve("bob", 3)`, blocking or awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from holdfast.client.blocking import BlockingChannel, monotonic_us
from holdfast.client.errors import DeadlineExceeded, LoginRefused, Misuse, NotExecuted, OutcomeUnknown
from holdfast.client.lines import Word, checked_line, request_line
from holdfast.client.outcomes import Answer, Change, Denied, Server, Unknown
from holdfast.client.session import Call, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from holdfast.client.asynchronous import AsyncChannel
    from holdfast.client.branches import BranchChannel
    from holdfast.client.branches_async import AsyncBranchChannel


VIEWS = ("full", "committed")


def checked_view(view: str) -> str:
    """The view; raises `Misuse` when there is no such one."""
    if view not in VIEWS:
        raise Misuse(f"there is no view {view!r}; there are {' and '.join(VIEWS)}")
    return view


def submissions(lines: Iterable[Sequence[Word]], deadline_s: float, view: str) -> Callable[[Session], Sequence[Call]]:
    """What submits these requests, quoted and checked before the first of them is sent."""
    return submission([request_line(words) for words in lines], deadline_s, view)


def submission(texts: Sequence[str], deadline_s: float, view: str) -> Callable[[Session], Sequence[Call]]:
    """What submits these lines, quoted already. `view`: what questions among them see."""

    def begin(session: Session) -> Sequence[Call]:
        deadline_us = monotonic_us() + int(deadline_s * 1e6)
        return [session.submit(text, deadline_us, view) for text in texts]

    return begin


def repetition(
    line: str, client: str, number: int, deadline_s: float, lowest: int = 0, *, is_new: bool = False
) -> Callable[[Session], Sequence[Call]]:
    """What submits a request under a name given by the caller; see `Session.repeat`."""

    def begin(session: Session) -> Sequence[Call]:
        deadline_us = monotonic_us() + int(deadline_s * 1e6)
        return [session.repeat(line, client, number, deadline_us, lowest, is_new=is_new)]

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


class Watch:
    """The changes of a service as they come: iterate over it, and close it, or use it with `with`."""

    def __init__(self, channel: BlockingChannel) -> None:
        self._channel = channel

    def arrived(self, wait_s: float = 0.0) -> list[Change]:
        """Those that have come since the last look; waits so long for a first one."""
        return self._channel.changes(wait_s)

    def close(self) -> None:
        """Watch no more."""
        self._channel.close()

    def __iter__(self) -> Iterator[Change]:
        while True:
            yield from self._channel.changes()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Service:
    """One service of a site, over one connection that moves to another server when it must.

    Every command and query of the service's app is a method: `tickets.search("bob")` is
    `tickets.call("search", "bob")`. Several threads may share it; they take turns.
    """

    def __init__(
        self,
        name: str,
        channel: BlockingChannel | BranchChannel,
        deadline_s: float,
        view: str = "full",
        watching: Callable[[str], BlockingChannel] | None = None,
    ) -> None:
        """`watching` opens a channel for changes, of "mine", "all", or "" for whichever fits."""
        self.name = name
        self._channel = channel
        self._deadline_s = deadline_s
        self._view = view
        self._watching = watching

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
        return self._settled(submissions(lines, self._deadline_s, self._view))

    def line(self, text: str) -> Answer:
        """Send a line as a person types it on the line protocol: `reserve "Mary Ann" 3`."""
        return answered(self._settled(submission([checked_line(text)], self._deadline_s, self._view))[0])

    def repeat(self, client: str, number: int, *words: Word, lowest: int = 0) -> Answer:
        """Learn the outcome of request `number` of `client`, an earlier process that could not. `lowest`: nothing
        below is wanted any more, and what of it has not been executed is refused from now on."""
        return answered(self._settled(repetition(request_line(words), client, number, self._deadline_s, lowest))[0])

    @property
    def server(self) -> Server | None:
        """The server that gave the last answer; None before the first."""
        return self._channel.server

    def view(self, view: str) -> Service:
        """The same service over the same connection, whose questions see this view: "full" or "committed"."""
        return Service(self.name, self._channel, self._deadline_s, checked_view(view), self._watching)

    def within(self, deadline_s: float) -> Service:
        """The same service over the same connection, whose requests may take so long, and no longer than before."""
        return Service(self.name, self._channel, min(deadline_s, self._deadline_s), self._view, self._watching)

    def watch(self, whose: str = "") -> Watch:
        """The changes of outcomes from now on, over a connection of its own: `whose` is "mine" or "all",
        or as it is: one's own where it is known who asks, otherwise all. Raises `LoginRefused`, `NotExecuted`."""
        assert self._watching is not None
        channel = self._watching(whose)
        if not channel.begin_watch(self._deadline_s):
            channel.close()
            raise NotExecuted(f"no server of {self.name} tells its changes: none was reached in time")
        return Watch(channel)

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

    def __init__(
        self,
        name: str,
        channel: AsyncChannel | AsyncBranchChannel,
        deadline_s: float,
        view: str = "full",
        watching: Callable[[str], AsyncChannel] | None = None,
    ) -> None:
        """`watching` opens a channel for changes, of "mine", "all", or "" for whichever fits."""
        self.name = name
        self._channel = channel
        self._deadline_s = deadline_s
        self._view = view
        self._watching = watching

    @property
    def denied(self) -> str:
        """Why the servers refused the login the last time, or ""."""
        return self._channel.denied

    async def call(self, *words: Word) -> Answer:
        """See `Service.call`."""
        return answered((await self.call_many([words]))[0])

    async def call_many(self, lines: Iterable[Sequence[Word]]) -> list[Answer | DeadlineExceeded]:
        """See `Service.call_many`."""
        return await self._settled(submissions(lines, self._deadline_s, self._view))

    async def repeat(self, client: str, number: int, *words: Word, lowest: int = 0, is_new: bool = False) -> Answer:
        """See `Service.repeat`. `lowest`: all numbers below are answered. `is_new`: it was never sent before."""
        line = request_line(words)
        begin = repetition(line, client, number, self._deadline_s, lowest, is_new=is_new)
        return answered((await self._settled(begin))[0])

    def view(self, view: str) -> AsyncService:
        """See `Service.view`."""
        return AsyncService(self.name, self._channel, self._deadline_s, checked_view(view), self._watching)

    def within(self, deadline_s: float) -> AsyncService:
        """The same service over the same connection, whose requests may take so long."""
        return AsyncService(self.name, self._channel, deadline_s, self._view, self._watching)

    async def watch(self, whose: str = "") -> AsyncIterator[Change]:
        """See `Service.watch`: `async for change in rooms.watch()`. Begins with its first step, and ends
        with its task, or with `aclose`."""
        assert self._watching is not None
        channel = self._watching(whose)
        try:
            async for change in channel.changes():
                yield change
        finally:
            await channel.close()

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
