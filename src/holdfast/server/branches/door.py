"""Where a request goes: to the branch of who asks, be it served at this node or at another.

The order of one connection's requests holds all the same: what goes to another node goes alone, and what
comes behind it waits. A command that goes away gets a name if it has none (see `kernel.sessions`), so that
it can be asked again, and done here where the branch's server is gone, without ever being done twice.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.kernel.contracts import Query, Reply, Request

NAME_S_MAX = 12 * 3600.0
"""A name is used for so long, half of what replicas remember it for."""


class Name:
    """A client id of this node's own; one request at a time goes under it."""

    def __init__(self, node: str) -> None:
        self.born_s = time.time()
        self.client = f"{node}-{secrets.token_hex(5)}.{int(self.born_s * 1000):013d}"
        self.number = 0

    def named(self, request: Request) -> Request:
        """The request under this name."""
        self.number += 1
        return msgspec.structs.replace(request, client=self.client, number=self.number, lowest=self.number)


class Names:
    """Names that are not in use."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._free: list[Name] = []

    def take(self) -> Name:
        """One that nobody uses."""
        while self._free:
            name = self._free.pop()
            if time.time() - name.born_s < NAME_S_MAX:
                return name
        return Name(self._node)

    def give_back(self, name: Name) -> None:
        """Its last request has a certain outcome."""
        self._free.append(name)


class Lane:
    """One connection's requests: so many are under way here and away, and the others wait for their turn."""

    __slots__ = ("away", "here", "waiting")

    def __init__(self) -> None:
        self.here = 0
        self.away = 0
        self.waiting: deque[Operation] = deque()


class Operation:
    """One request at the door: the token under which it is handed on, and who waits for its reply. `is_away`: it
    was to go to another node; `is_passed_on`: that one has answered it. `name`: the one that it was given."""

    __slots__ = ("_lanes", "city", "is_away", "is_passed_on", "key", "lane", "name", "request", "since_s", "via",
                 "waiter")  # fmt: skip

    def __init__(self, lanes: Lanes, waiter: Any, request: Request, city: str, via: str) -> None:
        self._lanes = lanes
        self.waiter = waiter
        self.request = request
        self.city = city
        self.via = via
        self.since_s = time.time()
        self.key = getattr(waiter, "connection", None)
        self.lane: Lane | None = None
        self.name: Name | None = None
        self.is_away = False
        self.is_passed_on = False

    @property
    def is_query(self) -> bool:
        return isinstance(self.request.command, Query)

    def deliver(self, reply: Reply) -> None:
        """The reply has come."""
        self._lanes.done(self, reply)


class Lanes:
    """Keeps every connection's requests in order. `is_away(operation)`: whether it goes to another node;
    `start(operation)` sends it on its way; `told(operation, reply)` hears of each end."""

    def __init__(
        self,
        is_away: Callable[[Operation], bool],
        start: Callable[[Operation], None],
        told: Callable[[Operation, Reply], None],
    ) -> None:
        self._is_away = is_away
        self._start = start
        self._told = told
        self._lanes: dict[Any, Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    def take(self, operation: Operation) -> None:
        """A new request. One that comes over no connection has nothing to wait for."""
        key = operation.key
        if key is None:
            operation.is_away = self._is_away(operation)
            self._start(operation)
            return
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane()
        operation.lane = lane
        if lane.waiting or not self._goes(operation, lane):
            lane.waiting.append(operation)

    def _goes(self, operation: Operation, lane: Lane) -> bool:
        """Start it if its turn has come."""
        is_away = self._is_away(operation)
        if lane.away or (is_away and lane.here):
            return False
        operation.is_away = is_away
        if is_away:
            lane.away += 1
        else:
            lane.here += 1
        self._start(operation)
        return True

    def done(self, operation: Operation, reply: Reply) -> None:
        """It has its reply."""
        self._told(operation, reply)
        operation.waiter.deliver(reply)
        lane = operation.lane
        if lane is None:
            return
        if operation.is_away:
            lane.away -= 1
        else:
            lane.here -= 1
        while lane.waiting and self._goes(lane.waiting[0], lane):
            lane.waiting.popleft()
        if not lane.here and not lane.away and not lane.waiting and self._lanes.get(operation.key) is lane:
            del self._lanes[operation.key]

    def forget(self) -> None:
        """Everybody who waits has been told that the outcome is unknown: begin anew."""
        for lane in self._lanes.values():
            lane.waiting.clear()
        self._lanes.clear()
