"""Carriers: a forwarder at every node of the source, and the unreliable way to the nodes of the receiver."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.kernel.contracts import Query, Reply, Request
from holdfast.kernel.forwarding import Action, Carry, Forwarder, Own
from holdfast.sim.host import Host, machine_of
from holdfast.sim.notices.visitor import Put
from holdfast.sim.trace import render
from holdfast.sim.world import Event, World

POKE_US_MAX = 5_000
REFUSED = 0.5
"""How often a closed port is told at once; otherwise nobody answers."""


class Road(msgspec.Struct):
    """The way between two services. `cut`: pairs of nodes that do not reach each other; `loss` and `doubling`:
    shares of what is carried either way."""

    loss: float
    doubling: float
    slow_us_max: int
    cut: dict[tuple[int, int], None] = {}
    faultless: bool = False

    def delay_us(self, world: World) -> int:
        """How long one passage takes."""
        return world.between(100, 2_000 if self.faultless or world.chance(0.8) else self.slow_us_max)

    def passes(self, world: World, pair: tuple[int, int]) -> bool:
        """Whether what sets out now arrives."""
        return self.faultless or (pair not in self.cut and not world.chance(self.loss))


class Carrier:
    """The shell of one forwarder, as long as its process lives. `seen`: the first notice in its outbox, the last
    time that somebody looked."""

    def __init__(self, host: Host, forwarder: Forwarder, receivers: list[Host], road: Road) -> None:
        self.host = host
        self.world = host.world
        self.forwarder = forwarder
        self.receivers = receivers
        self.road = road
        self.ended = False
        self.seen: int | None = None
        self._timer: Event | None = None
        self.poke()

    def poke(self) -> None:
        """The outbox may have changed, or it is time."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.world.after(self.world.between(0, POKE_US_MAX), self._look)

    def end(self) -> None:
        """Its process is gone."""
        self.ended = True

    def _look(self) -> None:
        self._timer = None
        if self.ended:
            return
        if self.host.state != "up":
            self.world.after(100_000, self.poke)
            return
        now_us = self.host.now_us()
        self._do(self.forwarder.look(now_us, machine_of(self.host.core).notice_first))
        if self.forwarder.wake_us is not None and self._timer is None:
            self._timer = self.world.after(max(1, self.forwarder.wake_us - now_us), self._look)

    def _do(self, actions: list[Action]) -> None:
        for event in self.forwarder.events:
            if self.world.tracing:
                self.world.note(f"{self.host.name}    * {event}")
        self.forwarder.events.clear()
        for action in actions:
            if self.world.tracing:
                self.world.note(f"{self.host.name} forwards {action}")
            if isinstance(action, Own):
                self._own(action)
            else:
                self._carry(action)

    def _own(self, action: Own) -> None:
        put = Put(lambda reply: self.world.after(1, self._answered, action.id, reply))
        self.host.request(put, Request(action.command), isinstance(action.command, Query))

    def _answered(self, id: int, reply: Reply | None) -> None:
        if self.ended:
            return
        if self.host.state != "up":
            self.world.after(100_000, self._answered, id, reply)
            return
        if self.world.tracing:
            self.world.note(f"{self.host.name} forwarder:{id} <- {render(reply)}")
        self._do(self.forwarder.answered(self.host.now_us(), id, reply))
        self.poke()

    def _carry(self, action: Carry) -> None:
        """There and back; each way it may be lost, come twice or late."""
        place = (action.receiver + self.host.number) % len(self.receivers)
        pair, receiver, world = (self.host.number, place), self.receivers[place], self.world
        times = 2 if not self.road.faultless and world.chance(self.road.doubling) else 1
        for _ in range(times):
            if self.road.passes(world, pair):
                world.after(self.road.delay_us(world), self._arrives, action, receiver, pair)

    def _arrives(self, action: Carry, receiver: Host, pair: tuple[int, int]) -> None:
        def back(reply: Reply | None) -> None:
            if reply is not None and self.road.passes(self.world, pair):
                self.world.after(self.road.delay_us(self.world), self._answered, action.id, reply)

        command: Any = action.command
        if receiver.alive:
            receiver.request(Put(back), Request(command), isinstance(command, Query))
        elif self.world.chance(REFUSED):
            self.world.after(self.road.delay_us(self.world), self._answered, action.id, None)
