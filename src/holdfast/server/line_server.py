"""The line protocol on a socket: a port that `nc` can talk to.

Replies leave in the order of their lines, all that are ready in one write. One connection may send
many lines without waiting, and they take effect in their order too: a question that follows an
update, or an update that follows a question, is handed on when what stands before it is answered.
Beyond a limit a connection is not read from until replies have left, and one that does not read its
replies is closed. A first byte of zero means a peer: the connection is handed on.

A connection that watches also gets lines that nobody asked for, between its replies; they are
dropped, and counted for it, while it does not read.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import cast

import msgspec

from holdfast.kernel.contracts import Change, Person, Query, Refusal, Reply, Request
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.notices import NoticesAfter
from holdfast.kernel.replies import Forbidden, Malformed
from holdfast.people import ADMINISTRATOR, Identity, People
from holdfast.server.controls import (
    Control,
    Help,
    Helped,
    Login,
    Mode,
    NoticesSince,
    Quit,
    Session,
    Status,
    Use,
    View,
    Watch,
)
from holdfast.server.face import Face, Service
from holdfast.server.grammar import LINE_BYTES_MAX, Grammar
from holdfast.server.reading import ReadingSession, SessionTold
from holdfast.server.reply_lines import ChangeLines, json_line, text_line
from holdfast.server.watching import Unasked, Watchers

__all__ = ["Connection", "Face", "LineServer", "Service"]

LINES_WAITING_MAX = 512
"""Unanswered lines of one connection, beyond which it is not read from."""
CONNECTIONS_MAX = 10_000
UNREAD_BYTES_MAX = 4 * 1024 * 1024
"""Replies that a client leaves unread, beyond which no more of its lines are taken."""
UNREAD_SECONDS_MAX = 30.0
"""How long a client may leave so many replies unread until its connection is closed."""
FIRST_BYTE_SECONDS_MAX = 1.0
"""Where no more clients are taken: how long a caller has to show that it is a peer."""
NO_SERVICE = "no service is chosen; write use SERVICE first."
WHO_ASKS = "this service wants to know who asks; write login ID TOKEN first."
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
"""A client whose machine has vanished is found out after two minutes; an idle one may stay for ever."""


class LineServer:
    """Everything that the connections of a node share."""

    def __init__(
        self,
        faces: dict[str, Face],
        people: People,
        status: Callable[[], bytes],
        accept_peer: Callable[[asyncio.Transport, bytes], None],
        *,
        line_bytes_max: int = LINE_BYTES_MAX,
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
        self.watchers = Watchers()
        self.nothing = Grammar(line_bytes_max=line_bytes_max)
        self.counters = dict.fromkeys(("connections", "refused", "lines", "malformed", "slow_readers"), 0)

    def flush(self) -> None:
        """Write the replies that have become ready in this turn."""
        touched, self.touched = self.touched, []
        for connection in touched:
            connection.flush()

    def tell(self, service: str, change: Change) -> None:
        """An outcome of this service has changed or become final; it leaves with the next `flush`."""
        self.watchers.tell(service, change)

    def tell_missed(self, service: str) -> None:
        """The replica of this service has taken over a state, and what led to it is not told; likewise."""
        self.watchers.tell_missed(service)

    def fail(self, service: str, reply: Reply) -> None:
        """The replica of this service is gone: answer every request that it had taken and not answered."""
        for connection in list(self.connections):
            connection.fail(service, reply)
        self.flush()

    def close(self) -> None:
        """Close every connection once its written replies are out."""
        for connection in list(self.connections):
            connection.hang_up()


class Slot:
    """The place of one line's reply in its connection's order; the token of its request. The line is
    written when its turn has come, so that what a session has learnt grows in the order of its lines."""

    __slots__ = ("connection", "face", "reply", "write_reply")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.face = connection.face
        self.write_reply = connection.write_reply  # as the mode was when the line came
        self.reply: Reply | None = None

    def deliver(self, reply: Reply) -> None:
        """The reply has come."""
        if self.reply is not None:
            return  # it was given up before
        connection = self.connection
        self.reply = reply
        if not connection.is_touched:
            connection.touch()


class Connection(asyncio.Protocol):
    """One client. `face` is the service that its lines speak to, None until `use`."""

    def __init__(self, server: LineServer, face: Face | None) -> None:
        self.server = server
        self.face = face
        self.grammar = server.nothing if face is None else face.grammar
        self.person: Person | None = None
        self.write_reply: Callable[[Reply], bytes] = text_line
        self.is_touched = False
        self._is_json = False
        self._session: ReadingSession | None = None  # only once a view or a session was chosen
        self._unasked = Unasked(server.unread_bytes_max)
        self._is_proved = False  # the person has shown a token
        self._transport: asyncio.Transport | None = None
        self._lines: deque[bytes] = deque()  # not looked at yet
        self._slots: deque[Slot] = deque()
        self._lane: tuple[Face, bool] | None = None  # the service of the newest request, and whether it is a query
        self._rest = b""
        self._is_first = True
        self._skipping = False  # the rest of a line that was too long
        self._ending = False
        self._goes_on = False
        self._surplus: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._login: asyncio.Task[None] | None = None

    # -- The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = self._transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it
        server = self.server
        transport.set_write_buffer_limits(high=server.unread_bytes_max)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        if len(server.connections) >= server.connections_max:  # a peer must get in all the same
            self._surplus = asyncio.get_running_loop().call_later(FIRST_BYTE_SECONDS_MAX, self._turn_away)
            return
        server.counters["connections"] += 1
        server.connections[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.pop(self, None)
        self.server.watchers.remove(self)
        self._transport = None
        self._lines.clear()
        self._slots.clear()
        for timer in (self._surplus, self._stalled):
            if timer is not None:
                timer.cancel()
        if self._login is not None:
            self._login.cancel()

    def data_received(self, data: bytes) -> None:
        if self._is_first:
            self._is_first = False
            if data[0] == 0:
                self._hand_on(data)
                return
            if self._surplus is not None:
                self._turn_away()
        if self._ending:
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
                lines.append(self._rest[: self.grammar.line_bytes_max + 1])  # enough for its refusal
            self._skipping = True
        if self._skipping:
            self._rest = b""
        self._lines += lines
        self._work()
        self.server.flush()

    def _hand_on(self, first_bytes: bytes) -> None:
        """It is a peer."""
        assert self._transport is not None
        self.server.connections.pop(self, None)
        if self._surplus is not None:
            self._surplus.cancel()
        self.server.accept_peer(self._transport, first_bytes)

    def _turn_away(self) -> None:
        """It is one client too many."""
        if self._ending:
            return
        self._ending = True
        self.server.counters["refused"] += 1
        if self._transport is not None:
            limit = f"too many connections: {self.server.connections_max} are open; close some or use another server."
            self._transport.write(text_line(Malformed(limit)))
            self._transport.close()

    def eof_received(self) -> bool:
        """The client has said all it wants to say; it still gets its replies."""
        if self._surplus is not None:
            self._turn_away()
        if self._rest:
            self._lines.append(self._rest)
            self._rest = b""
        self._ending = True
        self._work()
        self.server.flush()
        self._end_if_done()
        return True

    def pause_writing(self) -> None:
        """The client does not read; it has a while to begin."""
        self._stalled = asyncio.get_running_loop().call_later(UNREAD_SECONDS_MAX, self._give_up)
        self._pace()

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        if self._unasked:
            self.touch()
        self._work()
        self.server.flush()

    def _give_up(self) -> None:
        self.server.counters["slow_readers"] += 1
        if self._transport is not None:
            self._transport.abort()

    def hang_up(self) -> None:
        """Close when what was written is out."""
        if self._transport is not None:
            self._transport.close()

    # -- Lines

    def _work(self) -> None:
        """Take lines as far as their order and the limits allow."""
        lines, slots, counters = self._lines, self._slots, self.server.counters
        while lines and len(slots) < LINES_WAITING_MAX and self._login is None and self._stalled is None:
            parsed = self.grammar.parse(lines[0], self.person)
            if isinstance(parsed, NoticesSince):
                parsed = self._about_notices(parsed)
            if type(parsed) is Request:
                if not self._hand_in(parsed):
                    break
            elif slots and isinstance(parsed, View | Session):
                break  # what stands before it belongs to the session as it was
            line = lines.popleft()
            counters["lines"] += 1
            if isinstance(parsed, Control):
                self._control(parsed)
            elif isinstance(parsed, Malformed):
                counters["malformed"] += 1
                self._answer(parsed)
                if self.face is not None and self.face.on_malformed is not None:
                    self.face.on_malformed(self.person, line, parsed)
        self._pace()

    def _pace(self) -> None:
        """Read on only when every line that was read is taken."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._lines or self._stalled is not None:
            if transport.is_reading():
                transport.pause_reading()
        elif not transport.is_reading():
            transport.resume_reading()

    def _hand_in(self, request: Request) -> bool:
        """Hand a request to its service; False if it has to wait for the replies to those before it."""
        face = self.face
        assert face is not None
        if face.identity == "token" and not self._is_proved:
            self._answer(Forbidden(WHO_ASKS))
            return True
        is_query = isinstance(request.command, Query)
        lane = self._lane
        if lane is None or lane[0] is not face or lane[1] is not is_query:
            if self._slots:
                return False
            self._lane = (face, is_query)
        if self._session is not None and face.tentative:
            request = msgspec.structs.replace(request, reading=self._session.reading)
        slot = Slot(self)
        self._slots.append(slot)
        if is_query:
            face.service.ask(slot, request)
        else:
            face.service.submit(slot, request)
        return True

    def _answer(self, reply: Reply) -> None:
        """A reply that is known at once still waits for its turn."""
        slot = Slot(self)
        self._slots.append(slot)
        slot.deliver(reply)

    def _answer_line(self, line: bytes) -> None:
        self._answer(Helped(""))
        self._slots[-1].write_reply = lambda _: line

    def _control(self, control: Control) -> None:
        match control:
            case Use():
                self._use(control.service)
            case Login():
                slot = Slot(self)
                self._slots.append(slot)
                self._login = asyncio.get_running_loop().create_task(self._check_login(slot, control))
            case Mode():
                self._is_json = control.mode == "json"
                self._choose_writer()
                self._answer(Helped(f"Replies are {control.mode} now."))
            case Status():
                self._answer_line(self.server.status() + b"\n")
            case View() | Session() | Watch():
                self._answer(self._choose(control))
            case Help():
                self._answer(self.grammar.help(control.word))
            case Quit():
                self._answer(Helped("Bye."))
                self._lines.clear()
                self._ending = True

    def _about_notices(self, control: NoticesSince) -> Request | Malformed:
        face, person = self.face, self.person
        if face is None or face.private:
            return Malformed(NO_SERVICE if face is None else f"{face.name} shows its outbox to nobody.")
        whose = "" if person is None or ADMINISTRATOR in person.roles else person.id
        return Request(NoticesAfter(control.after, whose), person=person)

    def _use(self, name: str) -> None:
        face = self.server.faces.get(name)
        if face is None:
            known = ", ".join(self.server.faces)
            self._answer(Malformed(f"no service {name!r} here; there are: {known}."))
            return
        self.face = face
        self.grammar = face.grammar
        self._session = None  # what it has seen is of another service
        self.server.watchers.remove(self)
        self._choose_writer()
        self._answer(Helped(f"Using {name}."))

    def _choose_writer(self) -> None:
        write_reply: Callable[[Reply], bytes] = json_line if self._is_json else text_line
        if self._session is not None:
            write_reply = self._session.writer(write_reply, as_json=self._is_json)
        self.write_reply = write_reply

    def _choose(self, control: View | Session | Watch) -> Reply:
        """What this connection sees, is promised and is told."""
        face = self.face
        if face is None:
            return Malformed(NO_SERVICE)
        if face.identity == "token" and not self._is_proved:
            return Forbidden(WHO_ASKS)
        if isinstance(control, Watch):
            return self._watch(face, control.whose)
        session = self._session = self._session or ReadingSession(face.name)
        self._choose_writer()
        if isinstance(control, View):
            session.see(control.view)
            more = "" if face.tentative else f"; of {face.name} both views are one, for all that it answers is final"
            return Helped(f"Questions see the {control.view} view now{more}.")
        if control.guarantees:
            try:
                session.begin(control.guarantees, control.token)
            except MalformedInput as error:
                return Malformed(f"{error}.")
        return SessionTold(session.guarantees, session.token)

    def _watch(self, face: Face, whose: str) -> Reply:
        self.server.watchers.remove(self)
        if whose == "none":
            return Helped("Changes are told no more.")
        mine = whose == "mine" or face.private
        if mine and self.person is None:
            return Malformed("nobody has said who you are; write login ID first.")
        if not (face.private or face.tentative):
            return Helped(f"There will be none: all that {face.name} answers is final.")
        if not face.tells:
            return Helped(f"{face.name} tells nothing unasked, under the protocol that it has here; ask now and then.")
        self.server.watchers.add(self, face.name, mine=mine)
        if face.private:
            return Helped(f"What {face.name} has for you is told from now on.")
        return Helped(f"{'Your' if whose == 'mine' else 'All'} changes of {face.name} are told from now on.")

    async def _check_login(self, slot: Slot, login: Login) -> None:
        """What follows in the connection waits for the outcome."""
        faces = self.server.faces.values() if self.face is None else (self.face,)
        identity: Identity = "token" if any(face.identity == "token" for face in faces) else "trusted"
        found = await self.server.people.verify(login.id, login.token, identity=identity)
        if isinstance(found, Refusal):
            slot.deliver(found)
        else:
            self.person, self._is_proved = found, identity == "token"
            self.server.watchers.renamed(self)
            slot.deliver(Helped(f"Welcome, {found.first_name or found.id}."))
        self._login = None
        self._work()
        self.server.flush()

    # -- Replies

    def fail(self, service: str, reply: Reply) -> None:
        """Give this reply to whatever the service has not answered."""
        for slot in self._slots:
            if slot.face is not None and slot.face.name == service:
                slot.deliver(reply)

    def touch(self) -> None:
        """There is something to write at the end of this turn."""
        if not self.is_touched:
            self.is_touched = True
            self.server.touched.append(self)

    def push(self, lines: ChangeLines) -> None:
        """A line that nobody asked for. While the client does not read, it misses what there is to tell."""
        line = lines.for_programs if self._is_json else lines.for_people
        if self._unasked.add(line, is_read=self._stalled is None):
            self.touch()

    def push_missed(self) -> None:
        """It has missed something, whether it reads or not."""
        self._unasked.fall_behind()
        self.touch()

    def flush(self) -> None:
        """Write every reply whose turn has come, and what there is to tell, in one piece."""
        self.is_touched = False
        slots, transport = self._slots, self._transport
        if transport is None:
            return
        ready: list[bytes] = []
        while slots and (reply := slots[0].reply) is not None:
            ready.append(slots.popleft().write_reply(reply))
        if self._unasked:
            ready += self._unasked.take(as_json=self._is_json, is_read=self._stalled is None)
        if ready:
            transport.write(ready[0] if len(ready) == 1 else b"".join(ready))
        if self._lines and not self._goes_on:  # in the next turn, so that others get theirs
            self._goes_on = True
            asyncio.get_running_loop().call_soon(self._go_on)
        self._end_if_done()

    def _go_on(self) -> None:
        self._goes_on = False
        self._work()
        self.server.flush()

    def _end_if_done(self) -> None:
        if self._ending and not self._slots and not self._lines and self._transport is not None:
            self._transport.close()
