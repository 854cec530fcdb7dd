"""Links between the nodes of a site: one TCP connection for each pair.

The node whose name sorts lower dials; the other one, while it has no link, knocks: it dials, asks to
be dialled and hangs up. Whoever is refused by a peer on this same host has proof that no such
process runs (`PeerRefused`); nothing else proves anything.

Where the site has a key, both ends of a connection prove that they have it (`proofs`) before anything else is said or
believed; a stranger neither gets a link nor disturbs one. What follows on a link is neither sealed nor encrypted.

The listening is the node's: it tells links from clients by the first byte and hands a connection
over with `Links.accept`. Listen before `Links.start`, or peers see a live node refuse.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, NamedTuple

from holdfast.kernel.contracts import PeerConnected, PeerDisconnected, PeerRefused
from holdfast.kernel.errors import BrokenInvariant
from holdfast.runtime.frames import FRAME_BYTES_MAX, LENGTH
from holdfast.runtime.greeting import MAGIC, Hello, Knock, Word, spoken
from holdfast.runtime.link import Link, set_options
from holdfast.runtime.proofs import Proofs

__all__ = ["MAGIC", "Address", "Event", "Link", "Links"]

CONNECT_TIMEOUT_S = 1.0
QUICK_REDIALS = 5
QUICK_REDIAL_S = 0.010
REDIAL_S_MAX = 0.5
WRITE_BUFFER_BYTES_MAX = 128 << 20
SERVICE_NAME_BYTES_MAX = 255
_REMEMBERED_COMPLAINTS_MAX = 1000
_COUNTERS = (
    *("connects", "disconnects", "dials", "dials_refused", "knocks", "refusals", "malformed", "overflows", "unsent"),
    "unproved",
    *("frames_sent", "frames_received", "bytes_sent", "bytes_received"),
)

Event = PeerConnected | PeerDisconnected | PeerRefused
OnFrame = Callable[[str, str, bytes], None]
OnEvent = Callable[[str, Event], None]
logger = logging.getLogger(__name__)


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int


class _Peer:
    """What is known of one other node."""

    def __init__(self, name: str, address: Address) -> None:
        self.name = name
        self.address = address
        self.link: Link | None = None
        self.stirred = asyncio.Event()
        """It has knocked, or its link stands: no need to wait any longer."""


class Links:
    """All links of one node. Made inside a running loop.

    `me`: its name. `peers`: the site's nodes by name; this node's own address may be among them and
    tells which peers share its host. `secret`: the site's key, or None where it has none.
    `on_frame(node, service, payload)` is called within the reading of the data; it may raise
    `MalformedInput`, which drops the link. `on_event(node, event)`: a replaced link is reported lost
    before the new one stands, and every refused dial is reported.
    `flushes_itself`: False where the caller calls `flush` at the end of its turns, which spares the
    loop a round for each.
    `counters` is a plain dict.
    """

    def __init__(
        self,
        me: str,
        peers: dict[str, Address],
        site: str,
        on_frame: OnFrame,
        on_event: OnEvent,
        *,
        secret: bytes | None = None,
        frame_bytes_max: int = FRAME_BYTES_MAX,
        write_buffer_bytes_max: int = WRITE_BUFFER_BYTES_MAX,
        flushes_itself: bool = True,
    ) -> None:
        self.me = me
        self.site = site
        self.proofs = None if secret is None else Proofs(secret, site)
        self.on_frame = on_frame
        self.on_event = on_event
        self.frame_bytes_max = frame_bytes_max
        self.write_buffer_bytes_max = write_buffer_bytes_max
        self.flushes_itself = flushes_itself
        self.loop = asyncio.get_running_loop()
        self.counters = dict.fromkeys(_COUNTERS, 0)
        self._own_host = peers[me].host if me in peers else None
        self._peers = {name: _Peer(name, address) for name, address in peers.items() if name != me}
        self._heads: dict[str, bytes] = {}
        self._unflushed: list[Link] = []
        self._connections: dict[Link, None] = {}
        self._complaints: dict[str, str] = {}
        self._keepers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to dial and to knock. The node listens already."""
        self._keepers = [self.loop.create_task(self._keep(peer)) for peer in self._peers.values()]
        for keeper in self._keepers:
            keeper.add_done_callback(self._report)

    async def close(self) -> None:
        """Send what is queued, close every connection, and wait until they are closed."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self.flush()
        connections = list(self._connections)
        for link in connections:
            link.hang_up()
        await asyncio.gather(*(link.ended.wait() for link in connections))

    def accept(self, transport: asyncio.Transport, first_bytes: bytes) -> None:
        """Take over an accepted connection whose first byte is that of `MAGIC`, with what was read of it."""
        link = Link(self, None)
        self._connections[link] = None
        transport.set_protocol(link)
        link.connection_made(transport)
        link.data_received(first_bytes)

    def room(self, node: str, service: str) -> int:
        """How long a payload may be that goes to it in a single frame."""
        return self.frame_bytes_max - len(self._head(service))

    def _head(self, service: str) -> bytes:
        name = self._heads.get(service)
        if name is None:
            name = self._heads[service] = _service_head(service)
        return name

    def send(self, node: str, service: str, payload: bytes) -> bool:
        """Queue for the write at the end of this turn. False, and counted, if there is no link."""
        link = self._peers[node].link
        if link is None:
            self.counters["unsent"] += 1
            return False
        name = self._heads.get(service) or self._head(service)
        length = len(name) + len(payload)
        if length > self.frame_bytes_max:
            raise BrokenInvariant(
                f"{service} sends a message of {len(payload)} bytes; it must cut it into smaller ones"
            )
        self.counters["frames_sent"] += 1
        if link.queue(LENGTH.pack(length) + name, payload):
            if not self._unflushed and self.flushes_itself:
                self.loop.call_soon(self.flush)
            self._unflushed.append(link)
        return True

    def flush(self) -> None:
        """Write now what was queued in this turn; without it the loop does so right after the turn."""
        links, self._unflushed = self._unflushed, []
        for link in links:
            link.flush()

    def connected(self, node: str) -> bool:
        """Does a link to it stand?"""
        return self._peers[node].link is not None

    def drop(self, node: str, why: str) -> None:
        """Close the link to a node that misbehaves; it will be dialled again."""
        link = self._peers[node].link
        if link is not None:
            link.drop(why)

    # What follows is for `Link`.

    def opening(self, to: str, nonce: bytes) -> Hello | Knock:
        """What this node begins a connection with."""
        return (Knock if self.knocks(to) else Hello)(self.site, self.me, to, nonce)

    def knocks(self, at: str) -> bool:
        """Does this node wait to be dialled by that one?"""
        return self.me > at

    def objection(self, word: Word, dialled: str | None) -> str | None:
        """Why there can be no link with who says this, or None."""
        assert isinstance(word, Hello | Knock)
        if word.site != self.site:
            return f"it belongs to site {word.site!r}, but node {self.me!r} to site {self.site!r}"
        if dialled is not None and word.node != dialled:
            return f"it is node {word.node!r}, not {dialled!r}; compare the addresses in the site files"
        if word.to != self.me:
            return f"it wants node {word.to!r}, but this is {self.me!r}; compare the addresses in the site files"
        if word.node not in self._peers:
            return f"node {self.me!r} knows no node {word.node!r}; compare the site files"
        if dialled is None and isinstance(word, Hello) != (word.node < self.me):
            low, high = sorted((word.node, self.me))
            return f"node {low!r} dials node {high!r}, never the other way round"
        return None

    def stand(self, node: str, link: Link) -> None:
        peer = self._peers[node]
        if peer.link is not None:
            peer.link.drop()
        peer.link = link
        peer.stirred.set()
        self._complaints.pop(node, None)
        self.counters["connects"] += 1
        self.on_event(node, PeerConnected())

    def lose(self, link: Link) -> None:
        self._connections.pop(link, None)
        peer = None if link.peer is None else self._peers[link.peer]
        if peer is not None and peer.link is link:
            peer.link = None
            self.counters["disconnects"] += 1
            self.on_event(peer.name, PeerDisconnected())

    def answer_knock(self, node: str) -> None:
        """The other side has no link. If there is one here that is not brand-new, it is dead."""
        self.counters["knocks"] += 1
        peer = self._peers[node]
        peer.stirred.set()
        if peer.link is not None and peer.link.settled:
            peer.link.drop("it has lost the link")

    def complain(self, link: Link, why: str) -> None:
        """One line in the log, not one at every attempt."""
        whom = link.peer or f"a caller from {link.host}" + (f" as {link.claimed!r}" if link.claimed else "")
        if self._complaints.get(whom) == why:
            return
        if len(self._complaints) >= _REMEMBERED_COMPLAINTS_MAX:
            self._complaints.clear()
        self._complaints[whom] = why
        where = f" at {self._peers[whom].address}" if whom in self._peers else ""
        logger.error("node %s, link with %s%s: %s", self.me, whom, where, why)

    # Dialling and knocking.

    async def _keep(self, peer: _Peer) -> None:
        """Dial or knock until a link stands, and again whenever it is lost."""
        attempts = flaps = 0
        while True:
            peer.stirred.clear()
            await self._try(peer)
            if peer.link is None:
                await _wait(peer.stirred, _redial_delay_s(attempts))
                attempts += 1
            while (link := peer.link) is not None:
                await link.ended.wait()
                attempts = 0
                if link.settled:
                    flaps = 0
                else:  # a link that never lasts must not become a busy loop
                    await asyncio.sleep(_redial_delay_s(flaps))
                    flaps += 1

    def _report(self, keeper: asyncio.Task[None]) -> None:
        """A keeper ends only when cancelled; anything else is a fault of ours and must be seen."""
        if not keeper.cancelled():
            self.loop.call_exception_handler({"message": "a link's keeper failed", "exception": keeper.exception()})

    async def _try(self, peer: _Peer) -> None:
        """One dial or knock; `PeerRefused` if every address of the peer is on this host and refuses."""
        self.counters["dials"] += 1
        proofs: list[bool] = []
        try:
            places = await self.loop.getaddrinfo(*peer.address, type=socket.SOCK_STREAM)
            for family, kind, protocol, _, place in places:
                with socket.socket(family, kind, protocol) as connection:
                    try:
                        await self._connect(connection, place)
                    except ConnectionRefusedError:
                        proofs.append(place[0] == self._own_host or ip_address(place[0]).is_loopback)
                        continue
                    await self._speak(peer, connection)
                break
            else:
                self.counters["dials_refused"] += 1
                if all(proofs) and peer.link is None:
                    self.on_event(peer.name, PeerRefused())
        except OSError as error:
            logger.debug("node %s, dialling %s at %s: %s", self.me, peer.name, peer.address, error)

    async def _connect(self, connection: socket.socket, place: tuple[Any, ...]) -> None:
        connection.setblocking(False)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await self.loop.sock_connect(connection, place)
        if connection.getsockname() == connection.getpeername():
            raise ConnectionRefusedError("nobody listens; TCP has connected this socket with itself")

    async def _speak(self, peer: _Peer, connection: socket.socket) -> None:
        if self.proofs is None and self.knocks(peer.name):
            set_options(connection)
            await self.loop.sock_sendall(connection, spoken(self.opening(peer.name, b"")))
            return
        _, link = await self.loop.create_connection(lambda: Link(self, peer.name), sock=connection.dup())
        if not link.ended.is_set():
            self._connections[link] = None
            await link.greeted.wait()


def _redial_delay_s(attempts: int) -> float:
    """At first every 10 ms, then ever longer."""
    return min(REDIAL_S_MAX, QUICK_REDIAL_S * 2.0 ** max(0, min(attempts, 20) - QUICK_REDIALS))


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return


def _service_head(service: str) -> bytes:
    name = service.encode()
    if len(name) > SERVICE_NAME_BYTES_MAX:
        raise BrokenInvariant(f"the service name {service!r} is longer than {SERVICE_NAME_BYTES_MAX} bytes")
    return bytes((len(name),)) + name
