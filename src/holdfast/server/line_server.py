"""The line protocol on a socket: a port that `nc` can talk to.

Replies leave in the order of their lines, all that are ready in one write. One connection may send
many lines without waiting; beyond a limit it is not read from until replies have left, and one that
does not read its replies is closed. A first byte of zero means a peer: the connection is handed on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

from holdfast.kernel.contracts import Person, Query, Refusal, Reply, Request
from holdfast.kernel.machine import NoticesAfter
from holdfast.kernel.replies import Forbidden, Malformed
from holdfast.people import Identity, People
from holdfast.server.grammar import (
    Control,
    Grammar,
    Help,
    Helped,
    Login,
    Mode,
    NoticesSince,
    Quit,
    Status,
    Use,
    json_line,
    line_too_long,
    text_line,
)

LINES_WAITING_MAX = 4096
"""Unanswered lines of one connection, beyond which it is not read from."""
CONNECTIONS_MAX = 10_000
UNREAD_BYTES_MAX = 4 * 1024 * 1024
"""Replies that a client leaves unread, beyond which its connection is closed."""
UNREAD_SECONDS_MAX = 30.0
"""How long a client may leave a full buffer of replies unread."""


class Service(Protocol):
    """What a line port needs of a replica."""

    def submit(self, waiter: Any, request: Request) -> None:
        """Take a command."""

    def ask(self, waiter: Any, request: Request) -> None:
        """Take a query."""


class Face:
    """One service as the line protocol shows it."""

    def __init__(self, name: str, service: Service, grammar: Grammar, identity: Identity) -> None:
        self.name = name
        self.service = service
        self.grammar = grammar
        self.identity: Identity = identity


class LineServer:
    """Everything that the connections of a node share."""

    def __init__(
        self,
        faces: dict[str, Face],
        people: People,
        status: Callable[[], bytes],
        accept_peer: Callable[[asyncio.Transport, bytes], None],
        *,
        connections_max: int = CONNECTIONS_MAX,
        unread_bytes_max: int = UNREAD_BYTES_MAX,
    ) -> None:
        self.faces = faces
        self.people = people
        self.status = status
        self.accept_peer = accept_peer
        self.connections_max = connections_max
        self.unread_bytes_max = unread_bytes_max
        self.connections: dict[Connection, None] = {}
        self.touched: list[Connection] = []
        self.nothing = Grammar()
        self.counters = dict.fromkeys(("connections", "refused", "lines", "malformed", "slow_readers"), 0)

    def flush(self) -> None:
        """Write the replies that have become ready in this turn."""
        touched, self.touched = self.touched, []
        for connection in touched:
            connection.flush()

    def close(self) -> None:
        """Close every connection once its written replies are out."""
        for connection in list(self.connections):
            connection.hang_up()


class Slot:
    """The place of one line's reply in its connection's order; the token of its request."""

    __slots__ = ("connection", "line")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.line: bytes | None = None

    def deliver(self, reply: Reply) -> None:
        """The reply has come."""
        connection = self.connection
        self.line = connection.write_reply(reply)
        if not connection.is_touched:
            connection.is_touched = True
            connection.server.touched.append(connection)


class Connection(asyncio.Protocol):
    """One client. `face` is the service that its lines speak to, None until `use`."""

    def __init__(self, server: LineServer, face: Face | None) -> None:
        self.server = server
        self.face = face
        self.grammar = server.nothing if face is None else face.grammar
        self.person: Person | None = None
        self.write_reply: Callable[[Reply], bytes] = text_line
        self.is_touched = False
        self._transport: asyncio.Transport | None = None
        self._slots: deque[Slot] = deque()
        self._rest = b""
        self._is_first = True
        self._skipping = False  # the rest of a line that was too long
        self._held: list[bytes] | None = None  # lines that wait for a login
        self._ending = False
        self._has_quit = False
        self._stalled: asyncio.TimerHandle | None = None
        self._login: asyncio.Task[None] | None = None

    # -- The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = self._transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it
        server = self.server
        transport.set_write_buffer_limits(high=server.unread_bytes_max // 4)
        if len(server.connections) >= server.connections_max:
            server.counters["refused"] += 1
            limit = f"too many connections: {server.connections_max} are open; close some or use another server."
            transport.write(text_line(Malformed(limit)))
            transport.close()
            return
        server.counters["connections"] += 1
        server.connections[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.pop(self, None)
        self._transport = None
        self._slots.clear()
        if self._stalled is not None:
            self._stalled.cancel()
        if self._login is not None:
            self._login.cancel()

    def data_received(self, data: bytes) -> None:
        if self._is_first:
            self._is_first = False
            if data[0] == 0:
                assert self._transport is not None
                self.server.connections.pop(self, None)
                self.server.accept_peer(self._transport, data)
                return
        if self._rest:
            data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if self._skipping and lines:
            self._skipping = False
            lines.pop(0)
        if len(self._rest) > self.grammar.line_bytes_max:
            if not self._skipping:
                self._take(lines)
                lines = []
                self._answer(line_too_long(self.grammar.line_bytes_max))
            self._skipping = True
        if self._skipping:
            self._rest = b""
        self._take(lines)
        self.server.flush()

    def eof_received(self) -> bool:
        """The client has said all it wants to say; it still gets its replies."""
        if self._rest:
            self._take([self._rest])
            self._rest = b""
        self._ending = True
        self.server.flush()
        self._end_if_done()
        return True

    def pause_writing(self) -> None:
        """The client does not read; it has a while to begin."""
        loop = asyncio.get_running_loop()
        self._stop_reading()
        self._stalled = loop.call_later(UNREAD_SECONDS_MAX, self._give_up)

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        self._read_on()

    def _give_up(self) -> None:
        self.server.counters["slow_readers"] += 1
        if self._transport is not None:
            self._transport.abort()

    def hang_up(self) -> None:
        """Close when what was written is out."""
        if self._transport is not None:
            self._transport.close()

    # -- Lines

    def _take(self, lines: list[bytes]) -> None:
        if self._has_quit:
            return
        if self._held is not None:
            self._held += lines
            return
        server, slots = self.server, self._slots
        server.counters["lines"] += len(lines)
        for index, line in enumerate(lines):
            parsed = self.grammar.parse(line, self.person)
            if type(parsed) is Request:
                face = self.face
                assert face is not None
                if self.person is None and face.identity == "token":
                    self._answer(Forbidden("this service wants to know who asks; write login ID TOKEN first."))
                    continue
                slot = Slot(self)
                slots.append(slot)
                if isinstance(parsed.command, Query):
                    face.service.ask(slot, parsed)
                else:
                    face.service.submit(slot, parsed)
            elif isinstance(parsed, Control):
                self._control(parsed)
                if isinstance(parsed, Quit):
                    break
                if isinstance(parsed, Login):  # what follows it waits for its outcome
                    self._held = lines[index + 1 :]
                    self._stop_reading()
                    break
            else:
                assert isinstance(parsed, Malformed)
                server.counters["malformed"] += 1
                self._answer(parsed)
        if len(slots) > LINES_WAITING_MAX:
            self._stop_reading()

    def _stop_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _answer(self, reply: Reply) -> None:
        """A reply that is known at once still waits for its turn."""
        slot = Slot(self)
        self._slots.append(slot)
        slot.deliver(reply)

    def _answer_line(self, line: bytes) -> None:
        self._answer(Helped(""))
        self._slots[-1].line = line

    def _control(self, control: Control) -> None:
        match control:
            case Use():
                self._use(control.service)
            case Login():
                slot = Slot(self)
                self._slots.append(slot)
                self._login = asyncio.get_running_loop().create_task(self._check_login(slot, control))
            case Mode():
                self.write_reply = json_line if control.mode == "json" else text_line
                self._answer(Helped(f"Replies are {control.mode} now."))
            case Status():
                self._answer_line(self.server.status() + b"\n")
            case NoticesSince():
                if self.face is None:
                    self._answer(Malformed("no service is chosen; write use SERVICE first."))
                    return
                slot = Slot(self)
                self._slots.append(slot)
                self.face.service.ask(slot, Request(NoticesAfter(control.after), person=self.person))
            case Help():
                self._answer(self.grammar.help(control.word))
            case Quit():
                self._answer(Helped("Bye."))
                self._has_quit = self._ending = True

    def _use(self, name: str) -> None:
        face = self.server.faces.get(name)
        if face is None:
            known = ", ".join(self.server.faces)
            self._answer(Malformed(f"no service {name!r} here; there are: {known}."))
            return
        self.face = face
        self.grammar = face.grammar
        self._answer(Helped(f"Using {name}."))

    async def _check_login(self, slot: Slot, login: Login) -> None:
        identity: Identity = "trusted" if self.face is None else self.face.identity
        found = await self.server.people.verify(login.id, login.token, identity=identity)
        if isinstance(found, Refusal):
            slot.deliver(found)
        else:
            self.person = found
            slot.deliver(Helped(f"Welcome, {found.first_name or found.id}."))
        held, self._held = self._held or [], None
        self._login = None
        self._take(held)
        self.server.flush()

    # -- Replies

    def flush(self) -> None:
        """Write every reply whose turn has come, in one piece."""
        self.is_touched = False
        slots, transport = self._slots, self._transport
        if transport is None:
            return
        ready: list[bytes] = []
        while slots and (line := slots[0].line) is not None:
            ready.append(line)
            slots.popleft()
        if ready:
            transport.write(ready[0] if len(ready) == 1 else b"".join(ready))
            if transport.get_write_buffer_size() > self.server.unread_bytes_max:
                self._give_up()
                return
        self._read_on()
        self._end_if_done()

    def _read_on(self) -> None:
        transport = self._transport
        if transport is None or self._stalled is not None or self._held is not None:
            return
        if not transport.is_reading():
            if len(self._slots) <= LINES_WAITING_MAX // 2 and not transport.is_closing():
                transport.resume_reading()

    def _end_if_done(self) -> None:
        if self._ending and not self._slots and self._transport is not None and self._held is None:
            self._transport.close()
