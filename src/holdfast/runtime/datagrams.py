"""Datagrams between the nodes of a site: what carries the messages of protocols that live with loss.

One UDP socket a node, at the number of its `peer_port` (TCP and UDP have ports of their own). A message
may be lost, doubled and overtaken, and a sender hears nothing of it: the protocol above repairs that.

What is authenticated (`seals`): that a message was sent by that node of this site to this one, as it is.
What is not: that it is new. A recorded datagram can be played again, also after a restart; a protocol
takes a repeated message as a repeat, as it must for UDP's own doubles. What does not open is dropped and
counted. Nothing is encrypted: where others can read on the way, put a tunnel between the machines.

Small messages of one turn to one node share datagrams; a message too large for one goes in fragments
(`fragments`), at a pace that a receiver's socket can hold while its process is busy for a moment.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from holdfast.kernel.errors import BrokenInvariant, MalformedInput
from holdfast.runtime.fragments import (
    CHANNEL_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    Body,
    Bundler,
    Reassembly,
    cut,
    entry_bytes,
    is_fragment,
    payload_bytes_max,
)
from holdfast.runtime.links import Address, OnFrame
from holdfast.runtime.seals import LIFE_BYTES, Seals

DATAGRAM_BYTES_MAX = 1200
"""To other machines: with its headers within IPv6's least MTU, 1,280, so that no network on the way cuts it,
which would lose all of it with any piece (QUIC chose the same number)."""
LOOPBACK_DATAGRAM_BYTES_MAX = 32_768
"""Between loopback addresses, whose MTU is 65,536: large, as a call costs more than its bytes; not the largest, as the
receiver's buffer holds few of those."""
BUFFER_BYTES = 8 << 20
"""Of the socket, each way; the system gives as much of it as it allows (on Linux `net.core.rmem_max`)."""
PACE_BYTES = 64 << 10
PACE_S = 0.001
"""Fragments to one peer leave at most this fast, 64 MB/s: a process that is busy for some milliseconds loses nothing
even with the 208 KiB that Linux allows a socket by default."""
WAITING_BYTES_MAX = 32 << 20
"""What may wait for that pace, a peer. Beyond it large messages are lost here."""
READS_MAX = 64
"""Datagrams read in a row, before others get their turn."""
RESOLVE_S = 30.0
"""So often a peer's host name is looked up again."""
SWEEP_S = 5.0
"""So often unfinished messages are looked at while there are any."""
COMPLAINTS_MAX = 20
"""Lines in the log in a minute, one at most for each sender: anybody can send anything."""
_COUNTERS = (
    *("sent", "received", "bytes_sent", "bytes_received", "messages_sent", "messages_received"),
    *("fragments_sent", "fragments_received", "unauthenticated", "malformed", "incomplete", "unsent"),
)
_RECEIVE_BYTES = 65_536

logger = logging.getLogger(__name__)


class _Peer:
    """One node of the site, this one too. `place`: its socket address, None until its name is known."""

    def __init__(self, name: str, address: Address, counters: dict[str, int]) -> None:
        self.name = name
        self.address = address
        self.reassembly = Reassembly(counters)
        self.bundler = Bundler(0)
        self.place: tuple[Any, ...] | None = None
        self.is_queued = False
        self.pieces: deque[tuple[Iterator[Body], int]] = deque()
        """Large messages on their way out: what is left of each, and its length."""
        self.waiting_bytes = 0
        self.allowance_bytes = PACE_BYTES

    def settle(self, place: tuple[Any, ...], overhead_bytes: int) -> None:
        """It is to be reached there from now on."""
        if place != self.place:
            most = LOOPBACK_DATAGRAM_BYTES_MAX if ip_address(place[0]).is_loopback else DATAGRAM_BYTES_MAX
            self.place = place
            self.bundler.room = most - overhead_bytes


class Datagrams:
    """All datagrams of one node. Made inside a running loop; `send` counts as loss until `start`.

    `me`: its name. `peers`: the site's nodes by name, with this one's own address; a node may send to itself.
    `on_frame(node, channel, payload)` is called within the reading of the socket, for every message
    that has no handler of its own; it may raise `MalformedInput`, which is counted.

    `handlers`: who else hears messages, by the part of the channel before its first "/". With
    `datagrams.handlers["branch"] = on_branch`, what a peer sends by `send(node, "branch/TOR", payload)`
    comes as `on_branch(its_name, "branch/TOR", payload)`. Services' names have no "/".

    `counters` is a plain dict; `unsent` are messages or datagrams that were lost here, for whatever reason.
    """

    def __init__(
        self,
        me: str,
        peers: dict[str, Address],
        site: str,
        secret: bytes,
        on_frame: OnFrame,
    ) -> None:
        self.me = me
        self.on_frame = on_frame
        self.handlers: dict[str, OnFrame] = {}
        self.loop = asyncio.get_running_loop()
        self.counters = dict.fromkeys(_COUNTERS, 0)
        self._seals = Seals(secret, site, me, peers, os.urandom(LIFE_BYTES))
        self._peers = {name: _Peer(name, address, self.counters) for name, address in peers.items()}
        self._senders = {name.encode(): peer for name, peer in self._peers.items()}
        self._channels: dict[str, bytes] = {}
        self._unflushed: list[_Peer] = []
        self._numbers = 0
        self._socket: socket.socket | None = None
        self._view = memoryview(bytearray(_RECEIVE_BYTES))
        self._pacer: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._resolver: asyncio.Task[None] | None = None
        self._minute = 0
        self._complained: set[str] = set()

    # -- Life

    async def start(self) -> None:
        """Bind the socket and begin to read it. Raises `OSError` if that cannot be."""
        host, port = self._peers[self.me].address
        found = await self.loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, place = min(found, key=lambda choice: choice[0] != socket.AF_INET)
        own = socket.socket(family, kind, protocol)
        try:
            own.setblocking(False)
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            own.bind(place)
        except OSError:
            own.close()
            raise
        self._socket = own
        named = [peer for peer in self._peers.values() if not self._is_literal(peer)]
        if named:
            self._resolver = self.loop.create_task(self._resolve_names(named, family))
        self.loop.add_reader(own, self._readable)

    def close(self) -> None:
        """Send what was queued in this turn, and end."""
        self.flush()
        for timer in (self._pacer, self._sweeper, self._resolver):
            if timer is not None:
                timer.cancel()
        if self._socket is not None:
            self.loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _is_literal(self, peer: _Peer) -> bool:
        """Whether its host is an IP address; then nothing needs to be looked up."""
        try:
            ip_address(peer.address.host)
        except ValueError:
            return False
        peer.settle(tuple(peer.address), self._seals.overhead_bytes)
        return True

    async def _resolve_names(self, peers: list[_Peer], family: int) -> None:
        """Look up the hosts that have names, again and again, for they may move."""
        while True:
            for peer in peers:
                try:
                    found = await self.loop.getaddrinfo(*peer.address, family=family, type=socket.SOCK_DGRAM)
                    peer.settle(found[0][4], self._seals.overhead_bytes)
                except OSError as error:
                    self._complain(peer.name, f"its host {peer.address.host}: {error}")
            await asyncio.sleep(RESOLVE_S)

    # -- Out

    def room(self, node: str, channel: str) -> int:
        """How long a payload may be that goes to it in a single datagram."""
        return payload_bytes_max(channel.encode(), self._peers[node].bundler.room)

    def send(self, node: str, channel: str, payload: bytes) -> bool:
        """Queue for `flush`, which the loop calls right after this turn if nobody does before. False, and counted,
        if it is lost here already."""
        peer = self._peers[node]
        name = self._channels.get(channel) or self._channel(channel)
        if len(payload) > MESSAGE_BYTES_MAX:
            raise BrokenInvariant(
                f"{channel} sends a message of {len(payload)} bytes; it must cut it into smaller ones"
            )
        if peer.place is None or self._socket is None:
            self.counters["unsent"] += 1
            return False
        if not peer.bundler.add(name, payload):
            length = entry_bytes(name, payload)
            if peer.waiting_bytes + length > WAITING_BYTES_MAX:
                self.counters["unsent"] += 1
                return False
            self._numbers += 1
            peer.pieces.append((cut(self._numbers, name, payload, peer.bundler.room), length))
            peer.waiting_bytes += length
        self.counters["messages_sent"] += 1
        if not peer.is_queued:
            if not self._unflushed:
                self.loop.call_soon(self.flush)
            peer.is_queued = True
            self._unflushed.append(peer)
        return True

    def flush(self) -> None:
        """Send now what was queued in this turn."""
        unflushed, self._unflushed = self._unflushed, []
        for peer in unflushed:
            peer.is_queued = False
            for body in peer.bundler.take():
                self._emit(peer, body)
            if peer.pieces:
                self._pace(peer)

    def _channel(self, channel: str) -> bytes:
        name = channel.encode()
        if len(name) > CHANNEL_BYTES_MAX:
            raise BrokenInvariant(f"the channel name {channel!r} is longer than {CHANNEL_BYTES_MAX} bytes")
        self._channels[channel] = name
        return name

    def _pace(self, peer: _Peer) -> None:
        """Send fragments, as many as the pace allows now."""
        while peer.pieces and peer.allowance_bytes > 0:
            bodies, length = peer.pieces[0]
            body = next(bodies, None)
            if body is None:
                peer.pieces.popleft()
                peer.waiting_bytes -= length
                continue
            self.counters["fragments_sent"] += 1
            peer.allowance_bytes -= sum(map(len, body))
            self._emit(peer, body)
        if self._pacer is None:
            self._pacer = self.loop.call_later(PACE_S, self._refill)

    def _refill(self) -> None:
        self._pacer = None
        for peer in self._peers.values():
            peer.allowance_bytes = PACE_BYTES
            if peer.pieces:
                self._pace(peer)

    def _emit(self, peer: _Peer, body: Body) -> None:
        """One datagram. Whatever the system does not take is lost, as it could be on the way."""
        if self._socket is None or peer.place is None:
            return
        datagram = self._seals.seal(peer.name, body)
        try:
            self._socket.sendto(datagram, peer.place)
        except OSError as error:
            self.counters["unsent"] += 1
            if not isinstance(error, BlockingIOError):
                self._complain(peer.name, f"a datagram cannot be sent: {error.strerror or error}")
            return
        self.counters["sent"] += 1
        self.counters["bytes_sent"] += len(datagram)

    # -- In

    def _readable(self) -> None:
        own = self._socket
        assert own is not None
        receive, view = own.recvfrom_into, self._view
        for _ in range(READS_MAX):
            try:
                size, address = receive(view)
            except BlockingIOError:
                return
            except OSError:  # what a datagram sent earlier has met
                self.counters["unsent"] += 1
                continue
            self._take(view[:size], address[0])
            if self._socket is not own:
                return  # closed by what it brought

    def _take(self, datagram: memoryview, host: str) -> None:
        counters = self.counters
        counters["received"] += 1
        counters["bytes_received"] += len(datagram)
        opened = self._seals.open(datagram)
        if opened is None:
            counters["unauthenticated"] += 1
            self._complain(host, "a datagram does not verify; has it the same key, site name and version?")
            return
        sender, life, body = opened
        peer = self._senders.get(sender)
        if peer is None:
            counters["malformed"] += 1
            self._complain(host, f"node {self.me!r} knows no node {sender!r}; compare the site files")
            return
        try:
            messages = peer.reassembly.messages(life, body, self.loop.time())
        except MalformedInput as error:
            counters["malformed"] += 1
            self._complain(peer.name, str(error))
            return
        if is_fragment(body):
            self._count_fragment()
        for channel, payload in messages:
            self._deliver(peer, channel, payload)

    def _count_fragment(self) -> None:
        self.counters["fragments_received"] += 1
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now_s = self.loop.time()
        for peer in self._peers.values():
            peer.reassembly.expire(now_s)
        if any(len(peer.reassembly) for peer in self._peers.values()):
            self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)

    def _deliver(self, peer: _Peer, channel: bytes, payload: bytes) -> None:
        self.counters["messages_received"] += 1
        try:
            name = channel.decode()
            self.handlers.get(name.partition("/")[0], self.on_frame)(peer.name, name, payload)
        except (MalformedInput, UnicodeDecodeError) as error:
            self.counters["malformed"] += 1
            self._complain(peer.name, str(error))

    def _complain(self, whom: str, why: str) -> None:
        """One line a minute about each, and no more altogether than people read."""
        minute = int(self.loop.time() // 60)
        if minute != self._minute:
            self._minute, self._complained = minute, set()
        if whom not in self._complained and len(self._complained) < COMPLAINTS_MAX:
            self._complained.add(whom)
            logger.error("node %s, datagrams, %s: %s", self.me, whom, why)
