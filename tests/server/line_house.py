"""A line server on a real socket, before a service that answers when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from tests.waiting import until

from holdfast.apps.tickets import Tickets
from holdfast.kernel.contracts import Person, Query, Reply, Request
from holdfast.kernel.replies import Outcome
from holdfast.people import Identity, People, TokenHash
from holdfast.server.grammar import Grammar
from holdfast.server.line_server import Connection, Face, LineServer

PATIENCE_S = 20.0
TOKEN = "correct horse"


class Echoed(Reply, frozen=True, tag="echoed"):
    """What was asked, in words."""

    words: str

    def text(self) -> str:
        return self.words


class Echo:
    """A service that answers every request with itself: at once, or when the test lets it."""

    def __init__(self, *, holds: bool = False) -> None:
        self.holds = holds
        self.waiting: list[tuple[Any, Request]] = []
        self.heard: list[Request] = []
        self.flush: Callable[[], None] = lambda: None
        self.size = 0

    def submit(self, waiter: Any, request: Request) -> None:
        self.heard.append(request)
        self.waiting.append((waiter, request))
        if not self.holds:
            asyncio.get_running_loop().call_soon(self.release)

    def ask(self, waiter: Any, request: Request) -> None:
        self.submit(waiter, request)

    def release(self, *places: int) -> None:
        """Answer the waiting requests at these places, all when none is named."""
        chosen = [self.waiting[place] for place in places] if places else list(self.waiting)
        for item in chosen:
            self.waiting.remove(item)
            item[0].deliver(Echoed(said(item[1]) + " " * self.size + "." * bool(self.size)))
        self.flush()


def said(request: Request) -> str:
    """A request's words, with who asks."""
    command = request.command
    values = [str(getattr(command, name)) for name in command.__struct_fields__]
    who = [request.person.id] if request.person else []
    return " ".join([command.__struct_config__.tag, *values, *who])


class Replica(Echo):
    """A service whose replies need not be final: writes are numbered, questions rest on all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.vector = {"x": 0, "y": 7}

    def release(self, *places: int) -> None:
        for waiter, request in self.waiting:
            reply: Reply = Echoed(said(request))
            if isinstance(request.command, Query):
                view = request.reading.view if request.reading else "full"
                waiter.deliver(Outcome(reply, view, vector=tuple(self.vector.items())))
            else:
                self.vector["x"] += 1
                name = f"x-{self.vector['x']}"
                waiter.deliver(
                    Outcome(reply, "tentative", name, "2026-12-01 08:00", (("x", self.vector["x"]),), "clock")
                )
        self.waiting.clear()
        self.flush()


class House:
    """A line server on a free port of this loop. `tentative`: before a `Replica`. `private`, `tells`: see `Face`."""

    def __init__(
        self,
        *,
        identity: Identity = "trusted",
        holds: bool = False,
        tentative: bool = False,
        private: bool = False,
        tells: bool = True,
        **limits: int,
    ) -> None:
        app = Tickets(seats=10)
        self.echo = Replica() if tentative else Echo(holds=holds)
        self.other = Echo()
        grammar = Grammar(app.commands, app.queries, line_bytes_max=limits.get("line_bytes_max", 1000))
        self.face = Face("tickets", self.echo, grammar, identity, tentative=tentative, private=private, tells=tells)
        faces = {"tickets": self.face, "open": Face("open", self.other, grammar, "trusted")}
        people = People([Person("ann", "Ann"), Person("bob", "Bob")], {"ann": TokenHash.of(TOKEN)})
        self.peers: list[bytes] = []
        self.lines = LineServer(faces, people, lambda: b'{"node": "a"}', self._take_peer, **limits)
        self.people = people
        self.echo.flush = self.other.flush = self.lines.flush
        self._servers: list[asyncio.Server] = []

    def _take_peer(self, transport: asyncio.Transport, first_bytes: bytes) -> None:
        self.peers.append(first_bytes)
        transport.close()

    async def listen(self, face: Face | None) -> int:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(self.lines, face), "127.0.0.1", 0, backlog=1024)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self.lines.close()
        self.people.close()
        await until(lambda: not self.lines.connections)


class Client:
    """One connection, as `nc` has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, text: str | bytes) -> None:
        self.writer.write(text if isinstance(text, bytes) else text.encode())
        await self.writer.drain()

    async def line(self) -> str:
        async with asyncio.timeout(PATIENCE_S):
            return (await self.reader.readline()).decode().removesuffix("\n")

    async def lines(self, count: int) -> list[str]:
        return [await self.line() for _ in range(count)]

    async def rest(self, *, half_close: bool = True) -> list[str]:
        """Close the writing side, and all that still comes."""
        if half_close:
            self.writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            return (await self.reader.read()).decode().splitlines()


Scenario = Callable[[House, Any], Awaitable[None]]


def play(scenario: Scenario, *, common: bool = False, **options: Any) -> None:
    """Run a scenario against a house; its end closes everything. `common`: the port has no service of its own."""

    async def run() -> None:
        house = House(**options)
        port = await house.listen(None if common else house.face)
        clients: list[Client] = []

        async def connect(limit: int = 1 << 20) -> Client:
            clients.append(Client(*await asyncio.open_connection("127.0.0.1", port, limit=limit)))
            return clients[-1]

        try:
            await scenario(house, connect)
        finally:
            for client in clients:
                client.writer.close()
            await house.close()

    uvloop.run(run())
