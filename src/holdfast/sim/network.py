"""Links between hosts: streams that delay, break and stall, or datagrams that get lost, doubled and overtaken.

A *stream* link is what a TCP connection is: in order, nothing lost while it stands. When it breaks,
what is in flight is lost and each end learns of it in its own time; when it stands again, both ends
are told, before anything that travels on it. A *lossy* stream also drops and doubles single
messages; *datagrams* arrive in any order besides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.kernel.contracts import Peer, PeerConnected, PeerDisconnected, PeerRefused
from holdfast.sim.trace import host_name
from holdfast.sim.world import World

Deliver = Callable[[Peer, Peer, Any], None]
"""deliver(to, from, message bytes or a local event)."""


class NetworkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Times in microseconds. `same_host`: all servers share a machine, so a dial to a dead process
    is refused at once. `transport`: "stream", "lossy" or "datagram". `apart`: datagrams need no connection,
    which tells of processes only. `late_us_max`: how late the second of two equal ones may come."""

    transport: str = "stream"
    same_host: bool = False
    delay_us_min: int = 30
    delay_us_max: int = 400
    slow_share: float = 0.02
    slow_us_max: int = 20_000
    redial_us_min: int = 1_000
    redial_us_max: int = 60_000
    loss: float = 0.05
    doubling: float = 0.05
    apart: bool = False
    late_us_max: int = 0


class Link:
    """One direction of a pair of hosts."""

    __slots__ = ("arrival_us", "blocked", "held", "slow_until_us", "told")

    def __init__(self) -> None:
        self.arrival_us = 0
        self.blocked = False
        self.held: list[tuple[int, Any]] = []
        self.slow_until_us = 0
        self.told: int | None = None
        """The connection this direction's *sender* believes to stand."""


class Network:
    """All links of a run. `alive(host)` tells whether a process runs there."""

    def __init__(self, world: World, hosts: int, options: NetworkOptions, alive: Callable[[Peer], bool]) -> None:
        self.world = world
        self.options = options
        self.hosts = hosts
        self.alive = alive
        self.deliver: Deliver = _nobody
        self.faultless = False
        self.links = {(a, b): Link() for a in range(hosts) for b in range(hosts) if a != b}
        self.connection = {(a, b): 0 for a in range(hosts) for b in range(a + 1, hosts)}
        """The number of the connection that stands or stood last."""
        self.standing = dict.fromkeys(self.connection, False)
        self.cut = dict.fromkeys(self.connection, False)
        self.dialling = dict.fromkeys(self.connection, False)

    # ---- sending ----

    def send(self, source: Peer, target: Peer, payload: bytes) -> None:
        """Let `payload` travel, if the sender believes the link to stand."""
        link = self.links[source, target]
        pair = _pair(source, target)
        apart = self.options.apart
        if not apart and (not self.standing[pair] or link.told != self.connection[pair]):
            return
        if self.options.transport != "stream" and not self.faultless:
            if self.world.chance(self.options.loss):
                return
            if self.world.chance(self.options.doubling):
                late_us = self.world.between(0, self.options.late_us_max) if self.world.chance(0.2) else 0
                self._travel(source, target, link, payload, late_us)
        self._travel(source, target, link, payload)

    def _travel(self, source: Peer, target: Peer, link: Link, payload: Any, late_us: int = 0) -> None:
        connection = self.connection[_pair(source, target)]
        if link.blocked:
            if self.options.transport != "datagram":
                link.held.append((connection, payload))
            return
        arrival_us = self.world.now_us + self._delay_us(link) + late_us
        if self.options.transport != "datagram":
            arrival_us = link.arrival_us = max(arrival_us, link.arrival_us + 1)
        self.world.at(arrival_us, self._arrive, source, target, connection, payload)

    def _delay_us(self, link: Link) -> int:
        options, world = self.options, self.world
        if not self.faultless and (world.now_us < link.slow_until_us or world.chance(options.slow_share)):
            return world.between(options.delay_us_min, options.slow_us_max)
        return world.between(options.delay_us_min, options.delay_us_max)

    def _arrive(self, source: Peer, target: Peer, connection: int, payload: Any) -> None:
        pair = _pair(source, target)
        link = self.links[source, target]
        if not self.alive(target) or (self.options.apart and self.cut[pair]):
            return
        if not self.options.apart and (connection != self.connection[pair] or not self.standing[pair]):
            return
        if link.blocked:
            if self.options.transport != "datagram":
                link.held.append((connection, payload))
            return
        self.deliver(target, source, payload)

    # ---- connections ----

    def dial(self, a: Peer, b: Peer, delay_us: int | None = None) -> None:
        """Try to connect the pair, again and again until it stands."""
        pair = _pair(a, b)
        if self.dialling[pair] or self.standing[pair]:
            return
        self.dialling[pair] = True
        if delay_us is None:
            delay_us = self.world.between(self.options.redial_us_min, self.options.redial_us_max)
        self.world.after(delay_us, self._dialled, pair)

    def _dialled(self, pair: tuple[Peer, Peer]) -> None:
        self.dialling[pair] = False
        a, b = pair
        ups = [host for host in pair if self.alive(host)]
        if len(ups) == 2 and not self._passable(pair):
            self.dial(a, b)
        elif len(ups) == 2:
            self._connect(pair)
        elif len(ups) == 1:
            (living,) = ups
            dead = b if living == a else a
            if self.options.same_host and not self.cut[pair]:
                self._tell(living, dead, PeerRefused())
            self.dial(a, b)

    def passable(self) -> bool:
        """Every host can reach every other one."""
        return all(self._passable(pair) for pair in self.connection)

    def are_joined(self, a: Peer, b: Peer) -> bool:
        """These two can reach each other. `a` is the lower number."""
        return self._passable((a, b))

    def _passable(self, pair: tuple[Peer, Peer]) -> bool:
        a, b = pair
        return not (self.cut[pair] or self.links[a, b].blocked or self.links[b, a].blocked)

    def _connect(self, pair: tuple[Peer, Peer]) -> None:
        self.connection[pair] += 1
        self.standing[pair] = True
        connection = self.connection[pair]
        if self.world.tracing:
            self.world.note(f"{host_name(pair[0])} -- {host_name(pair[1])} connected")
        for end, other in (pair, pair[::-1]):
            incoming = self.links[other, end]
            incoming.arrival_us = max(incoming.arrival_us, self.world.now_us + self.world.between(1, 200))
            self.world.at(incoming.arrival_us, self._connected, end, other, connection)

    def _connected(self, end: Peer, other: Peer, connection: int) -> None:
        pair = _pair(end, other)
        if self.connection[pair] == connection and self.standing[pair] and self.alive(end):
            self.links[end, other].told = connection
            self._tell(end, other, PeerConnected())

    def break_pair(self, a: Peer, b: Peer, silent: bool = False) -> None:
        """The connection is gone with all that was in flight; the living ends learn of it soon, or
        (`silent`, as when a machine loses power) only when it is made anew. It is redialled."""
        pair = _pair(a, b)
        if self.standing[pair]:
            self.standing[pair] = False
            for end, other in (pair, pair[::-1]):
                self.links[end, other].held.clear()
                connection = self.links[end, other].told
                self.links[end, other].told = None
                if connection is not None and self.alive(end) and not silent:
                    self._disconnect_after(end, other, self.world.between(1, 2_000))
        self.dial(a, b)

    def _disconnect_after(self, end: Peer, other: Peer, delay_us: int) -> None:
        incoming = self.links[other, end]
        incoming.arrival_us = max(incoming.arrival_us + 1, self.world.now_us + delay_us)
        self.world.at(incoming.arrival_us, self._disconnected, end, other)

    def _disconnected(self, end: Peer, other: Peer) -> None:
        if self.alive(end) and self.links[end, other].told is None:
            self._tell(end, other, PeerDisconnected())

    def _tell(self, end: Peer, other: Peer, event: Any) -> None:
        if self.alive(end):
            self.deliver(end, other, event)

    # ---- processes ----

    def process_ended(self, host: Peer, silent: bool) -> None:
        """The process is gone (its kernel closes its links), or its machine is (`silent`: nobody is told)."""
        for other in self._others(host):
            self.break_pair(host, other, silent)

    def process_started(self, host: Peer) -> None:
        """It dials everybody soon."""
        for other in self._others(host):
            self.dial(host, other)

    def _others(self, host: Peer) -> list[Peer]:
        return [other for other in range(self.hosts) if other != host]

    # ---- faults ----

    def block(self, source: Peer, target: Peer) -> None:
        """Nothing passes in this direction; a stream holds it back until `unblock`."""
        self.links[source, target].blocked = True

    def unblock(self, source: Peer, target: Peer) -> None:
        """What was held back arrives, in order."""
        link = self.links[source, target]
        link.blocked = False
        held, link.held = link.held, []
        pair = _pair(source, target)
        for connection, payload in held:
            if connection == self.connection[pair] and self.standing[pair]:
                self._travel(source, target, link, payload)

    def sever(self, a: Peer, b: Peer) -> None:
        """The pair cannot reach each other, and its connection breaks."""
        self.cut[_pair(a, b)] = True
        self.break_pair(a, b)

    def mend(self, a: Peer, b: Peer) -> None:
        """The pair can reach each other again, both ways."""
        self.cut[_pair(a, b)] = False
        self.unblock(a, b)
        self.unblock(b, a)

    def heal(self) -> None:
        """All faults of the network end, for good."""
        self.faultless = True
        for a, b in self.connection:
            self.mend(a, b)
            self.links[a, b].slow_until_us = self.links[b, a].slow_until_us = 0


def _pair(a: Peer, b: Peer) -> tuple[Peer, Peer]:
    return (a, b) if a < b else (b, a)


def _nobody(_target: Peer, _source: Peer, _payload: Any) -> None:
    raise AssertionError("the network has nobody to deliver to")
