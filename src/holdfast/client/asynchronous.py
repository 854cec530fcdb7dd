"""A session over asyncio: the shell of the asynchronous client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from holdfast.client.blocking import WAIT_S_MAX, monotonic_us, prepare, reason
from holdfast.client.errors import LoginRefused
from holdfast.client.lines import LineBuffer
from holdfast.client.outcomes import Change, Server
from holdfast.client.session import Call, Close, Connect, Idle, Send, Session, Wait


class _LineProtocol(asyncio.Protocol):
    """Hands lines to the session as long as this is the channel's connection."""

    def __init__(self, channel: AsyncChannel) -> None:
        self._channel = channel
        self._buffer = LineBuffer()

    def data_received(self, data: bytes) -> None:
        self._channel.take(self, self._buffer, data)

    def connection_lost(self, error: Exception | None) -> None:
        self._channel.lose(self, reason(error) if isinstance(error, OSError) else "it closed the connection")


class AsyncChannel:
    """Does what the session says, in one task while there is something to do. For one event loop."""

    def __init__(self, session: Session, on_note: Callable[[str], None] | None = None) -> None:
        self._session = session
        self._on_note = on_note
        self._transport: asyncio.Transport | None = None
        self._protocol: _LineProtocol | None = None
        self._changed = asyncio.Event()
        self._pushed = asyncio.Event()
        self._driver: asyncio.Task[None] | None = None
        self._waiters: dict[Call, asyncio.Future[None]] = {}

    @property
    def server(self) -> Server | None:
        """Who gave the last answer."""
        return self._session.answered_by

    @property
    def denied(self) -> str:
        """Why the login was refused, if it was."""
        return self._session.denied

    async def settle(self, begin: Callable[[Session], Sequence[Call]]) -> Sequence[Call]:
        """Begin some calls and return them when each has its outcome, by its deadline at the latest."""
        calls = begin(self._session)
        loop = asyncio.get_running_loop()
        waiters = [self._waiters.setdefault(call, loop.create_future()) for call in calls]
        self._changed.set()
        self._start()
        try:
            await asyncio.gather(*waiters)
        finally:
            for call in calls:
                self._session.abandon(call)
                self._waiters.pop(call, None)
        return calls

    def _start(self) -> asyncio.Task[None]:
        if self._driver is None or self._driver.done():
            self._driver = asyncio.get_running_loop().create_task(self._drive())
        return self._driver

    async def changes(self) -> AsyncIterator[Change]:
        """What is pushed to a session that watches, until the channel is closed. Raises `LoginRefused`."""
        driver = self._start()
        driver.add_done_callback(lambda _: self._pushed.set())
        while not driver.done():
            await self._pushed.wait()
            self._pushed.clear()
            if self._session.denied:
                raise LoginRefused(self._session.denied)
            arrived, self._session.changes = self._session.changes, []
            for change in arrived:
                yield change
        if not driver.cancelled() and (error := driver.exception()) is not None:
            raise error

    async def close(self) -> None:
        """Close the connection. Calls under way end as if abandoned."""
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)
            self._driver = None
        self._drop()
        self._session.lost(monotonic_us(), "closed by the caller")
        for call in list(self._waiters):
            self._session.abandon(call)
        self._wake_waiters()

    async def _drive(self) -> None:
        try:
            while not isinstance(action := self._session.act(monotonic_us()), Idle):
                self._changed.clear()
                await self._do(action)
                self._wake_waiters()
        except Exception as error:
            for waiter in self._waiters.values():
                if not waiter.done():
                    waiter.set_exception(error)
            if not self._waiters:
                raise
        finally:
            self._wake_waiters()

    async def _do(self, action: Connect | Send | Wait | Close) -> None:
        if isinstance(action, Connect):
            await self._dial(action.server, action.until_us)
        elif isinstance(action, Send):
            assert self._transport is not None
            self._transport.write(action.data)
        elif isinstance(action, Wait):
            await self._wait(action.until_us)
        else:
            self._drop()

    def _wake_waiters(self) -> None:
        if self._session.changes or self._session.denied:
            self._pushed.set()
        notes, self._session.notes = self._session.notes, []
        if self._on_note is not None:
            for note in notes:
                self._on_note(note)
        for call in [call for call in self._waiters if call.outcome is not None]:
            waiter = self._waiters.pop(call)
            if not waiter.done():
                waiter.set_result(None)

    async def _dial(self, server: Server, until_us: int) -> None:
        seconds = max(0.001, (until_us - monotonic_us()) / 1e6)
        protocol = _LineProtocol(self)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                transport, _ = await loop.create_connection(lambda: protocol, server.host, server.port)
        except TimeoutError:
            self._session.lost(monotonic_us(), f"no connection within {seconds:.3g} s")
        except OSError as error:
            self._session.lost(monotonic_us(), reason(error))
        else:
            prepare(transport.get_extra_info("socket"))
            self._transport, self._protocol = transport, protocol
            self._session.connected(monotonic_us())
            if transport.is_closing():  # it ended before it was ours to hear of
                self.lose(protocol, "it closed the connection")

    async def _wait(self, until_us: int) -> None:
        try:
            async with asyncio.timeout(min(WAIT_S_MAX, max(0.0001, (until_us - monotonic_us()) / 1e6))):
                await self._changed.wait()
        except TimeoutError:
            return  # the session sees by the clock that it is late

    def take(self, protocol: _LineProtocol, buffer: LineBuffer, data: bytes) -> None:
        """Lines arrived on a connection; those of one already left are of no interest."""
        if protocol is not self._protocol:
            return
        now_us = monotonic_us()
        try:
            for line in buffer.feed(data):
                self._session.received(now_us, line)
        except ValueError as error:
            self.lose(protocol, str(error))
        self._changed.set()

    def lose(self, protocol: _LineProtocol, why: str) -> None:
        """A connection ended."""
        if protocol is not self._protocol:
            return
        self._drop()
        self._session.lost(monotonic_us(), why)
        self._changed.set()

    def _drop(self) -> None:
        transport, self._transport, self._protocol = self._transport, None, None
        if transport is not None:
            transport.abort()
