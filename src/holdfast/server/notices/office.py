"""The notices of one node: those of its services go to the service that delivers them, wherever that is, and those
that other nodes bring are taken in where it has a replica here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from holdfast.kernel.contracts import PeerConnected, PeerDisconnected, PeerRefused, Reply, Request
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.forwarding import Forwarder
from holdfast.kernel.machine import Machine
from holdfast.kernel.notices import TakeNotices, TakenUpto
from holdfast.notices import carriers
from holdfast.server.asking import answer_of
from holdfast.server.calls import Calls, Message
from holdfast.server.face import Service
from holdfast.server.notices.carrying import Carrier, Put
from holdfast.server.notices.messages import CHANNEL, Answered, Carried, decode, encode
from holdfast.server.notices.receiving import Receiver
from holdfast.site import Service as SiteService
from holdfast.site import Site

LOOK_S = 0.2
"""How often it is looked whether there is anything to carry."""
ANSWER_S = 10.0
"""How long a replica here may take for its answer, at most: less than a forwarder's patience."""
ANOTHER_S = 5.0
"""The same of another node, until the next one is asked."""

logger = logging.getLogger(__name__)


class NoticeOffice:
    """Made in a running loop. `door(service)`: to its replica here. `machine(service)`: that one's state.
    `send(node, channel, payload)`: a datagram, which may be lost. `clock_us`: microseconds that never go back."""

    def __init__(
        self,
        site: Site,
        node: str,
        door: Callable[[str], Service],
        machine: Callable[[str], Machine],
        send: Callable[[str, str, bytes], object],
        clock_us: Callable[[], int],
    ) -> None:
        self._site = site
        self._node = node
        self._door = door
        self._machine = machine
        self._send = send
        self._clock_us = clock_us
        self._channel = f"{CHANNEL}/{site.notices}"
        self._calls = Calls(self._tell)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._receiver: Receiver | None = None
        self._carriers: dict[str, Carrier] = {}
        if not site.notices:
            return
        delivering = site.services[site.notices]
        if node in delivering.front_nodes:
            deadline_s = min(delivering.deadline_seconds, ANSWER_S)
            self._receiver = Receiver(door(delivering.name), self._may_bring, self._tell, self._spawn, deadline_s)
        for service in site.services_of(node):
            if service.name != site.notices and node in carriers(service):
                self._carriers[service.name] = self._carrier(service, delivering)

    def _carrier(self, service: SiteService, delivering: SiteService) -> Carrier:
        rank, receivers = carriers(service).index(self._node), delivering.front_nodes
        # The nearest first: this node itself, or each node another one.
        nearest = receivers.index(self._node) if self._node in receivers else rank % len(receivers)
        receivers = receivers[nearest:] + receivers[:nearest]
        name, is_holder = service.name, self._node in service.holders
        return Carrier(
            Forwarder(name, rank, len(receivers)),
            self._door(name),
            self._put(delivering, receivers),
            (lambda: self._machine(name).notice_first) if is_holder else None,
            self._spawn,
            self._clock_us,
            min(service.deadline_seconds, ANSWER_S),
        )

    # -- Life

    def start(self) -> None:
        """Begin to carry; the replicas have begun, and so have the datagrams."""
        if self._carriers:
            self._look()

    def close(self) -> None:
        """Carry no more."""
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        for carrier in self._carriers.values():
            carrier.look()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("node %s: carrying notices has raised an exception", self._node, exc_info=error)

    def on_event(self, node: str, event: PeerConnected | PeerDisconnected | PeerRefused) -> None:
        """What happened to the link with another node."""
        if not isinstance(event, PeerConnected):
            self._calls.gone(node)

    def status(self, service: str) -> dict[str, Any]:
        """What an operator wants to know of a service's notices."""
        carrier = self._carriers.get(service)
        return {
            "notices_waiting": self._machine(service).notices_waiting,
            "notices_complaint": "" if carrier is None else carrier.forwarder.complaint,
        }

    def totals(self, service: str) -> dict[str, int]:
        """What has happened since the start, by name."""
        carrier = self._carriers.get(service)
        return {} if carrier is None else {"notices_carried": carrier.forwarder.carried}

    # -- Between nodes

    def _put(self, delivering: SiteService, receivers: tuple[str, ...]) -> Put:
        """The way to the nodes of the service that delivers."""
        own, deadline_s = self._door(delivering.name), min(delivering.deadline_seconds, ANSWER_S)

        async def put(receiver: int, command: TakeNotices | TakenUpto) -> Reply | None:
            node = receivers[receiver]
            if node == self._node:
                return await answer_of(own, Request(command), deadline_s)
            answer = await self._calls.ask(node, partial(Carried, command=command), ANOTHER_S)
            return answer.outcome() if isinstance(answer, Answered) else None

        return put

    def _may_bring(self, node: str, source: str) -> bool:
        service = self._site.services.get(source)
        return service is not None and node in service.nodes and source != self._site.notices

    def on_datagram(self, node: str, channel: str, payload: bytes) -> None:
        """What another node says about notices. Raises `MalformedInput`."""
        message = decode(payload)
        if channel != self._channel:
            raise MalformedInput(f"node {node} speaks about notices in {channel!r}; compare the site files")
        if isinstance(message, Answered):
            self._calls.answered(node, message)
        elif self._receiver is not None:
            self._receiver.take(node, message)
        else:
            raise MalformedInput(
                f"node {node} brings notices to a node where nobody takes them; compare the site files"
            )

    def _tell(self, node: str, message: Message) -> None:
        self._send(node, self._channel, encode(message))
