"""One connection between two nodes, from its greeting to its end. Made and owned by `Links`."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

from holdfast.kernel.errors import MalformedInput
from holdfast.runtime.frames import FrameParser
from holdfast.runtime.greeting import Ear, Knock, OtherVersion, Refused, Word, spoken

if TYPE_CHECKING:
    from holdfast.runtime.links import Links

GREETING_TIMEOUT_S = 5.0
SETTLED_AFTER_S = 1.0
UNACKNOWLEDGED_MS_MAX = 5_000
"""After a split the kernel would try the old connection again only after minutes; a new link comes within a second."""


class Link(asyncio.Protocol):
    """`peer`: who was dialled, or None until an accepted connection has said who it is."""

    def __init__(self, links: Links, peer: str | None) -> None:
        self.peer = peer
        self._links = links
        self._dialled = peer is not None
        self._ear: Ear | None = Ear()
        self._parser = FrameParser(links.frame_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._since_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.greeted = asyncio.Event()
        """Set when the link stands or is gone."""
        self.ended = asyncio.Event()
        """Set when it is gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = self._transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it
        self._timer = self._links.loop.call_later(GREETING_TIMEOUT_S, self.drop, "no greeting came in time")
        set_options(transport.get_extra_info("socket"))
        if self.peer is not None:
            transport.write(spoken(self._links.hello(self.peer)))

    def data_received(self, data: bytes) -> None:
        try:
            if self._ear is None:
                self._take(data)
            else:
                self._greet(self._ear, data)
        except MalformedInput as error:
            self._links.counters["malformed"] += 1
            self.drop(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        self._end()

    def drop(self, why: str | None = None) -> None:
        """Close at once; what was not sent is lost. `why` goes into the log."""
        if why is not None:
            self._links.complain(self, why)
        if self._transport is not None:
            transport = self._transport
            self._end()
            transport.abort()

    def hang_up(self, word: Word | None = None) -> None:
        """Close after what was written, and after a last word."""
        if self._transport is not None:
            if word is not None:
                self._transport.write(spoken(word))
            self._transport.close()

    @property
    def host(self) -> str:
        """Where the other side is, for the log."""
        name = None if self._transport is None else self._transport.get_extra_info("peername")
        return name[0] if name else "an address unknown"

    @property
    def settled(self) -> bool:
        """Has it stood for a while, so that the other side must know it?"""
        return self._ear is None and self._links.loop.time() - self._since_s > SETTLED_AFTER_S

    def queue(self, head: bytes, payload: bytes) -> bool:
        """Append to this turn's write. True if it is the first of it."""
        self._waiting += (head, payload)
        return len(self._waiting) == 2

    def flush(self) -> None:
        """Write what this turn has queued."""
        if self._transport is None:
            return
        data = b"".join(self._waiting)
        self._waiting.clear()
        if self._transport.get_write_buffer_size() + len(data) > self._links.write_buffer_bytes_max:
            self._links.counters["overflows"] += 1
            self.drop(f"it does not read: more than {self._links.write_buffer_bytes_max} bytes wait for it")
            return
        self._links.counters["bytes_sent"] += len(data)
        self._transport.write(data)

    def _take(self, data: bytes) -> None:
        """Frames of a standing link."""
        assert self.peer is not None
        counters, on_frame = self._links.counters, self._links.on_frame
        counters["bytes_received"] += len(data)
        for payload in self._parser.feed(data):
            if self._transport is None:
                return  # dropped by what an earlier frame caused
            end = payload[0] + 1 if payload else 1
            if end > len(payload):
                raise MalformedInput("a frame without a whole service name")
            try:
                service = payload[1:end].decode()
            except UnicodeDecodeError as error:
                raise MalformedInput("a frame with a service name that is not text") from error
            counters["frames_received"] += 1
            on_frame(self.peer, service, payload[end:])

    def _greet(self, ear: Ear, data: bytes) -> None:
        try:
            word = ear.hear(data)
        except OtherVersion as error:
            self._refuse(str(error))
            return
        if word is None:
            return
        if isinstance(word, Refused):
            self._links.counters["refusals"] += 1
            self.drop(f"it refused the link: {word.why}")
        elif (why := self._links.objection(word, self.peer)) is not None:
            self._refuse(why)
        elif isinstance(word, Knock):
            self._links.answer_knock(word.node)
            self.hang_up()
        else:
            self._stand(word.node, ear.rest)

    def _stand(self, node: str, rest: bytes) -> None:
        """Both hellos are said: from now on there are frames."""
        self.peer = node
        if not self._dialled and self._transport is not None:
            self._transport.write(spoken(self._links.hello(node)))
        self._ear = None
        self._since_s = self._links.loop.time()
        if self._timer is not None:
            self._timer.cancel()
        self._links.stand(node, self)
        self.greeted.set()
        if rest and self._transport is not None:
            self._take(rest)

    def _refuse(self, why: str) -> None:
        self._links.counters["refusals"] += 1
        self._links.complain(self, f"link refused: {why}")
        self.hang_up(Refused(why))

    def _end(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        self.greeted.set()
        self._transport = None
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._links.lose(self)


def set_options(connection: socket.socket) -> None:
    """Send at once; no keepalive; give up a connection whose other side acknowledges nothing."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)
