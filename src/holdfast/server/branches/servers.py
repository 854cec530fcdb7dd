"""The branch servers of one service at one node, with all that they need."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from holdfast.apps.events import ListEventAvailability
from holdfast.branches import Branches
from holdfast.kernel.contracts import (
    App,
    PeerConnected,
    PeerDisconnected,
    PeerRefused,
    Person,
    Reply,
    Request,
)
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.replies import Malformed, Overloaded, Unavailable, Unknown
from holdfast.logfile import FIELD_CHARACTERS_MAX
from holdfast.server.asking import answer_of
from holdfast.server.branches.door import Lanes, Names, Operation
from holdfast.server.branches.gathering import Gathering
from holdfast.server.branches.keeper import Keeper, Place
from holdfast.server.branches.log import BranchLogs, entry_of
from holdfast.server.branches.messages import CHANNEL, AskPart, Beat, Notes, NotHere, Relay, Relayed, Wire
from holdfast.server.branches.notes import NoteBook
from holdfast.server.branches.requests import branch_of, cities_of, id_of, word_of
from holdfast.server.calls import Calls, Message
from holdfast.server.face import Service

RELAY_PATIENCE_S = 1.0
"""A branch's server that does not answer so soon is not waited for: its branch is acted for here."""
DEAF_S = 5.0
"""So long nothing more is passed on to a node that has not answered in time."""
NOBODY = "nobody"
"""The log of what is asked by people of no branch."""

logger = logging.getLogger(__name__)


class Settings(msgspec.Struct, frozen=True):
    """`folder`: of the logs. `deadline_s`: how long a request may take. `relays_max`: requests that may be on
    their way to other nodes."""

    service: str
    branches: Branches
    here: Place
    folder: Path
    deadline_s: float
    relays_max: int


class RelayWaiter:
    """Waits at a branch's server for the reply to what another node has passed on."""

    def __init__(self, servers: BranchServers, node: str, id: int) -> None:
        self._servers = servers
        self._node = node
        self._id = id

    def deliver(self, reply: Reply) -> None:
        """The reply has come: send it back."""
        self._servers.relayed(self._node, self._id, reply)


class BranchServers:
    """Made in a running loop. It is the `Service` that the line ports speak to; behind it is the replica's own.

    `replica`: the service's replica here. `directory`: that of the directory. `send(node, channel, payload)`:
    a datagram. `flush()` writes out replies that have come otherwise than from the replica. `is_able()`: whether
    the replica here serves. `places_questions`: whether its core does
    (see `kernel.placing`); otherwise every answer is given whole by whoever is asked.
    """

    def __init__(
        self,
        settings: Settings,
        app: App,
        replica: Service,
        directory: Service,
        send: Callable[[str, str, bytes], object],
        flush: Callable[[], None],
        is_able: Callable[[], bool],
        *,
        places_questions: bool,
    ) -> None:
        self.settings = settings
        self.counters = dict.fromkeys(("operations", "passed_on", "taken_in", "acted_for", "malformed"), 0)
        self.wire = Wire(app)
        self.logs = BranchLogs(settings.folder)
        self.calls = Calls(self._tell)
        here, branches = settings.here, settings.branches
        ask = partial(answer_of, directory)
        self.keeper = Keeper(settings.service, branches, here, ask, lambda node: self._tell(node, Beat(0)), is_able)
        self.gathering = Gathering(replica, self.wire, self.calls, here.node, self.keeper.node_of)
        self.notes = NoteBook(here.node, self.logs, self.keeper.node_of, self.calls.ask)
        self._replica = replica
        self._send = send
        self._flush = flush
        self._places_questions = places_questions
        self._channel = f"{CHANNEL}/{settings.service}"
        self._own = frozenset((*app.commands, *app.queries))
        self._lanes = Lanes(self._is_away, self._start, self._told)
        self._names = Names(here.node)
        self._deaf_until_s: dict[str, float] = {}
        self._under_way: dict[tuple[str, int], None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -- Life

    def start(self) -> None:
        """Begin to keep branches; the directory's replica has begun, and so have the datagrams."""
        self._spawn(self.keeper.beat())
        self._spawn(self.keeper.run())
        self._spawn(self.notes.run())

    def close(self) -> None:
        """Serve no more, and write the logs."""
        for task in list(self._tasks):
            task.cancel()
        self.logs.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: a branch server has raised an exception", self.settings.service, exc_info=error)

    def on_event(self, node: str, event: PeerConnected | PeerDisconnected | PeerRefused) -> None:
        """What happened to the link with another node."""
        if isinstance(event, PeerConnected):
            self.keeper.connected(node)
            return
        self.calls.gone(node)
        if isinstance(event, PeerRefused):
            self.keeper.refused(node)
        else:
            self.keeper.disconnected(node)

    def totals(self) -> dict[str, int]:
        """What has happened since the start, by name."""
        counters = self.counters | self.gathering.counters | self.keeper.counters | self.logs.counters
        counters |= self.notes.counters
        return {f"branch_{name}": value for name, value in counters.items()}

    # -- The door

    def submit(self, waiter: Any, request: Request) -> None:
        """See `server.face.Service`."""
        if type(request.command) in self._own:
            self._lanes.take(Operation(self._lanes, waiter, request, self._city(request.person), ""))
        else:
            self._replica.submit(waiter, request)

    def ask(self, waiter: Any, request: Request) -> None:
        """See `server.face.Service`."""
        if type(request.command) in self._own:
            self._lanes.take(Operation(self._lanes, waiter, request, self._city(request.person), ""))
        else:
            self._replica.ask(waiter, request)

    def malformed(self, person: Person | None, line: bytes, reply: Malformed) -> None:
        """A line that made no request, at a port here."""
        self.counters["malformed"] += 1
        text = line[:FIELD_CHARACTERS_MAX].decode("utf-8", "replace")
        self.logs.add(entry_of(self._city(person) or NOBODY, time.time(), id_of(person), "malformed", text, reply))

    def failed(self) -> None:
        """The replica here answers nobody who waits, and they have been told."""
        self._lanes.forget()
        self._under_way.clear()

    def _city(self, person: Person | None) -> str:
        """The branch of who asks; "" for people of none."""
        city = branch_of(person)
        return city if city in self.settings.branches.homes else ""

    def _is_away(self, operation: Operation) -> bool:
        node = self.keeper.node_of(operation.city)
        if node is None or node == self.settings.here.node or self.keeper.is_gone(node):
            return False
        return time.monotonic() >= self._deaf_until_s.get(node, 0.0)

    def _start(self, operation: Operation) -> None:
        if operation.is_away:
            self._spawn(self._pass_on(operation))
        else:
            self._here(operation)

    def _here(self, operation: Operation) -> None:
        """Serve it, as the branch's server or for it."""
        city, request = operation.city, operation.request
        if city and city not in self.keeper.served:
            self.counters["acted_for"] += 1
        if not operation.is_query:
            self._replica.submit(operation, request)
        elif type(request.command) is ListEventAvailability and city and self._places_questions:
            self._spawn(self._gather(operation))
        else:
            self._replica.ask(operation, request)

    async def _gather(self, operation: Operation) -> None:
        reply = await self.gathering.answer(operation.city, operation.request, self.settings.deadline_s)
        operation.deliver(reply)
        self._flush()

    def _told(self, operation: Operation, reply: Reply) -> None:
        """An operation has its reply: it goes into the log where it was carried out."""
        request = operation.request
        if operation.name is not None and not isinstance(reply, Unknown):
            self._names.give_back(operation.name)
        if operation.is_passed_on:
            return
        self.counters["operations"] += 1
        city, person, word = operation.city or NOBODY, id_of(request.person), word_of(request)
        entry = entry_of(city, operation.since_s, person, word, request.command, reply, operation.via)
        self.logs.add(entry)
        for other in cities_of(request):
            if other in self.settings.branches.homes and other != operation.city:
                self.notes.take(other, entry._replace(via=f"{city} at {self.settings.here.node}"))

    # -- To another node

    async def _pass_on(self, operation: Operation) -> None:
        """Let the branch's server carry it out; where that is gone, do it here."""
        node = self.keeper.node_of(operation.city)
        reply: Reply | None = None
        if not operation.is_query and not operation.request.client:
            operation.name = self._names.take()
            operation.request = operation.name.named(operation.request)
        if len(self._tasks) > self.settings.relays_max:
            reply = Overloaded(self.settings.relays_max)
        elif node is not None:
            self.counters["passed_on"] += 1
            ask = partial(Relay, city=operation.city, request=self.wire.encode(operation.request))
            answer = await self.calls.ask(node, ask, RELAY_PATIENCE_S)
            if answer is None:
                self._deaf_until_s[node] = time.monotonic() + DEAF_S
            reply = self._heard(answer)
        if reply is None:  # it may have begun: the request's name tells
            self._here(operation)
        else:
            operation.is_passed_on = True
            operation.deliver(reply)
            self._flush()

    def _heard(self, answer: Message | None) -> Reply | None:
        """What the branch's server answers; None where it has not served the request."""
        if not isinstance(answer, Relayed):
            return None
        try:
            reply = self.wire.reply(answer.reply)
        except MalformedInput as error:
            logger.error("%s", error)
            return None
        return None if isinstance(reply, Unavailable | Unknown) else reply

    # -- From another node

    def on_datagram(self, node: str, payload: bytes) -> None:
        """A message of another node's branch servers. Raises `MalformedInput`."""
        message = self.wire.message(payload)
        self.keeper.heard(node)
        if isinstance(message, Beat):
            return
        if isinstance(message, Relay):
            self._serve(node, message)
        elif isinstance(message, Notes):
            is_ours = message.city in self.keeper.served
            self._tell(node, self.notes.heard(node, message) if is_ours else NotHere(message.id))
        elif isinstance(message, AskPart):
            if message.city in self.keeper.served:
                self._spawn(self._give_part(node, message))
            else:
                self._tell(node, NotHere(message.id))
        else:
            self.calls.answered(node, message)

    def _serve(self, node: str, message: Relay) -> None:
        """Another node passes on what one of this branch's people asks there."""
        request = self.wire.request(message.request)
        if branch_of(request.person) != message.city:
            raise MalformedInput(f"{id_of(request.person)!r} is nobody of the branch {message.city!r}")
        if message.city not in self.keeper.served:
            self._tell(node, NotHere(message.id))
            return
        if (node, message.id) in self._under_way:
            return  # asked again because the answer takes long
        self._under_way[node, message.id] = None
        self.counters["taken_in"] += 1
        self._here(Operation(self._lanes, RelayWaiter(self, node, message.id), request, message.city, node))

    def relayed(self, node: str, id: int, reply: Reply) -> None:
        """The answer to what another node has passed on."""
        self._under_way.pop((node, id), None)
        self._tell(node, Relayed(id, self.wire.encode(reply)))

    async def _give_part(self, node: str, ask: AskPart) -> None:
        since_s = time.time()
        message, part = await self.gathering.give(ask)
        self._tell(node, message)
        if part is not None:
            via = f"{ask.asker} at {node}"
            self.logs.add(entry_of(ask.city, since_s, ask.person, ask.word, ask.parameters, part, via))

    def _tell(self, node: str, message: Message) -> None:
        self._send(node, self._channel, self.wire.encode(message))
