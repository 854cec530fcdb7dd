"""One connection between two nodes, from its greeting to its end. Made and owned by `Links`."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

from holdfast.kernel.errors import MalformedInput
from holdfast.runtime.frames import FrameParser
from holdfast.runtime.greeting import Ear, Hello, Knock, OtherVersion, Proof, Refused, Word, spoken
from holdfast.runtime.proofs import KEYLESS, UNPROVED, Proofs, Role, fresh_nonce

if TYPE_CHECKING:
    from holdfast.runtime.links import Links

GREETING_TIMEOUT_S = 5.0
SETTLED_AFTER_S = 1.0
UNACKNOWLEDGED_MS_MAX = 5_000
"""After a split the kernel would try the old connection again only after minutes; a new link comes within a second."""


class Link(asyncio.Protocol):
    """`peer`: who was dialled, or None until an accepted connection has said who it is, and proved it where the site
    has a key. `claimed`: who it says it is, meanwhile."""

    def __init__(self, links: Links, peer: str | None) -> None:
        self.peer = peer
        self.claimed = ""
        self._links = links
        self._dialled = peer is not None
        self._nonce = b"" if links.proofs is None else fresh_nonce()
        self._opening: Hello | Knock | None = None  # of a caller that owes its proof
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
            transport.write(spoken(self._links.opening(self.peer, self._nonce)))

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
        """Words, until there are frames or nothing more is to be heard."""
        while self._ear is not None and self._transport is not None and not self._transport.is_closing():
            try:
                word = ear.hear(data)
            except OtherVersion as error:
                self._refuse(str(error))
                return
            if word is None:
                return
            self._hear(word, ear)
            data = b""

    def _hear(self, word: Word, ear: Ear) -> None:
        links = self._links
        if isinstance(word, Refused):
            links.counters["refusals"] += 1
            self.drop(f"it refused the link: {word.why}")
        elif isinstance(word, Proof) or self._opening is not None:
            self._conclude(word, ear)
        elif (why := links.objection(word, self.peer)) is not None:
            self._refuse(why)
        elif len(word.nonce) != len(self._nonce):
            self._doubt(word.node)
        elif links.proofs is not None:
            self._prove(links.proofs, word, ear)
        else:
            self._agree(word, ear)

    def _prove(self, proofs: Proofs, word: Hello | Knock, ear: Ear) -> None:
        """The other side's nonce is here: answer it, and look at its own answer where it is the one that was called."""
        me, node = self._links.me, word.node
        if not self._dialled:
            self._opening, self.claimed = word, node
            answer = proofs.make("answer", me, node, (word.nonce, self._nonce))
            self._say(Hello(self._links.site, me, node, self._nonce, answer))
            return
        nonces = (self._nonce, word.nonce)
        if not isinstance(word, Hello) or not proofs.hold(word.proof, "answer", node, me, nonces):
            self._doubt(node)
            return
        knocks = self._links.knocks(node)
        self._say(Proof(proofs.make("knock" if knocks else "hello", me, node, nonces)))
        if knocks:
            self.hang_up()
        else:
            self._stand(node, ear.rest)

    def _conclude(self, word: Word, ear: Ear) -> None:
        """What a caller says to the answer: only the right proof will do."""
        opening, proofs = self._opening, self._links.proofs
        if opening is None or proofs is None or not isinstance(word, Proof):
            raise MalformedInput(f"a {type(word).__name__} where none belongs")
        role: Role = "hello" if isinstance(opening, Hello) else "knock"
        nonces = (opening.nonce, self._nonce)
        if proofs.hold(word.proof, role, opening.node, self._links.me, nonces):
            self._agree(opening, ear)
        else:
            self._doubt(opening.node)

    def _agree(self, word: Hello | Knock, ear: Ear) -> None:
        """It is who it says it is, or there is no key that could tell."""
        if isinstance(word, Knock):
            self._links.answer_knock(word.node)
            self.hang_up()
            return
        if not self._dialled and self._links.proofs is None:
            self._say(Hello(self._links.site, self._links.me, word.node))
        self._stand(word.node, ear.rest)

    def _say(self, word: Word) -> None:
        if self._transport is not None:
            self._transport.write(spoken(word))

    def _stand(self, node: str, rest: bytes) -> None:
        """All is said: from now on there are frames."""
        self.peer = node
        self._ear = None
        self._since_s = self._links.loop.time()
        if self._timer is not None:
            self._timer.cancel()
        self._links.stand(node, self)
        self.greeted.set()
        if rest and self._transport is not None:
            self._take(rest)

    def _doubt(self, node: str) -> None:
        """It may be a stranger."""
        self.claimed = node
        self._links.counters["unproved"] += 1
        self._refuse(KEYLESS if self._links.proofs is None else UNPROVED)

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
