"""A session over blocking sockets: the shell of the synchronous client."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence

from holdfast.client.errors import LoginRefused
from holdfast.client.lines import LineBuffer
from holdfast.client.outcomes import Change, Server
from holdfast.client.session import Action, Call, Close, Connect, Idle, Send, Session, Wait

_RECEIVE_BYTES = 1 << 18
WAIT_S_MAX = 3600.0
"""No wait is longer: the system's clocks do not take any number."""
HEARD_S = 1.0
"""So long at once at most: what interrupts the program just before it begins to wait, or in another thread, is heard
only when the wait ends."""
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


def monotonic_us() -> int:
    """Now, in integer microseconds of a clock that never goes back."""
    return time.monotonic_ns() // 1000


class BlockingChannel:
    """Does what the session says. Threads take turns: one settles its calls, then the next."""

    def __init__(self, session: Session, on_note: Callable[[str], None] | None = None) -> None:
        self._session = session
        self._on_note = on_note
        self._socket: socket.socket | None = None
        self._buffer = LineBuffer()
        self._turn = threading.Lock()

    @property
    def server(self) -> Server | None:
        """Who gave the last answer."""
        return self._session.answered_by

    def settle(self, begin: Callable[[Session], Sequence[Call]]) -> Sequence[Call]:
        """Begin some calls and return them when each has its outcome, by its deadline at the latest."""
        with self._turn:
            self._notice_lost()
            calls = begin(self._session)
            try:
                while not self._turn_once():
                    pass
            finally:
                for call in calls:
                    self._session.abandon(call)
                self._tell()
        return calls

    def begin_watch(self, wait_s: float) -> bool:
        """For a session that watches: wait until a server tells its changes; False if none does so soon."""
        with self._turn:
            self._act_until(lambda: self._session.is_watching, wait_s)
            return self._session.is_watching

    def changes(self, wait_s: float = WAIT_S_MAX) -> list[Change]:
        """What has been pushed to a session that watches: waits for the first so long. Raises `LoginRefused`."""
        with self._turn:
            self._notice_lost()
            self._act_until(lambda: bool(self._session.changes), wait_s)
            arrived, self._session.changes = self._session.changes, []
            return arrived

    def _act_until(self, condition: Callable[[], bool], wait_s: float) -> None:
        until_us = monotonic_us() + int(wait_s * 1e6)
        while not condition():
            if self._session.denied:
                raise LoginRefused(self._session.denied)
            now_us = monotonic_us()
            action = self._session.act(now_us)
            self._tell()
            if isinstance(action, Wait):
                if now_us >= until_us:
                    return
                action = Wait(min(action.until_us, until_us))
            self._do(action)

    def close(self) -> None:
        """Close the connection. The next call opens one again."""
        with self._turn:
            self._drop()
            self._session.lost(monotonic_us(), "closed by the caller")

    def _turn_once(self) -> bool:
        """Do one thing; True when nothing is left to do."""
        action = self._session.act(monotonic_us())
        self._tell()
        self._do(action)
        return isinstance(action, Idle)

    def _do(self, action: Action) -> None:
        if isinstance(action, Connect):
            self._dial(action.server, action.until_us)
        elif isinstance(action, Send):
            self._send(action.data)
        elif isinstance(action, Wait):
            self._wait(action.until_us)
        elif isinstance(action, Close):
            self._drop()

    def _tell(self) -> None:
        notes, self._session.notes = self._session.notes, []
        if self._on_note is not None:
            for note in notes:
                self._on_note(note)

    def _dial(self, server: Server, until_us: int) -> None:
        seconds = max(0.001, (until_us - monotonic_us()) / 1e6)
        try:
            self._socket = socket.create_connection((server.host, server.port), timeout=seconds)
            prepare(self._socket)
        except TimeoutError:
            self._lose(f"no connection within {seconds:.3g} s")
        except OSError as error:
            self._lose(reason(error))
        else:
            self._buffer = LineBuffer()
            self._session.connected(monotonic_us())

    def _send(self, data: bytes) -> None:
        assert self._socket is not None
        try:
            self._socket.settimeout(self._session.timeout_us / 1e6)
            self._socket.sendall(data)
        except OSError as error:
            self._lose(reason(error))

    def _wait(self, until_us: int) -> None:
        seconds = min(HEARD_S, max(0.0001, (until_us - monotonic_us()) / 1e6))
        if self._socket is None:
            time.sleep(seconds)
            return
        self._socket.settimeout(seconds)
        try:
            self._take(self._socket.recv(_RECEIVE_BYTES))
        except TimeoutError:
            return  # the session sees by the clock that it is late
        except OSError as error:
            self._lose(reason(error))

    def _take(self, data: bytes) -> None:
        if not data:
            self._lose("it closed the connection")
            return
        now_us = monotonic_us()
        try:
            for line in self._buffer.feed(data):
                self._session.received(now_us, line)
        except ValueError as error:
            self._lose(str(error))

    def _notice_lost(self) -> None:
        """A connection that ended while nothing was asked is found out before anything is sent on it."""
        if self._socket is None:
            return
        self._socket.settimeout(0)
        try:
            self._take(self._socket.recv(_RECEIVE_BYTES))
        except BlockingIOError:
            return  # nothing arrived: it stands
        except OSError as error:
            self._lose(reason(error))

    def _lose(self, why: str) -> None:
        self._drop()
        self._session.lost(monotonic_us(), why)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def prepare(connection: socket.socket) -> None:
    """Nothing is held back, and a server whose machine has vanished is found out even while nothing is asked."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def reason(error: OSError) -> str:
    """Why a connection failed, in words."""
    if isinstance(error, socket.gaierror):
        return f"no such host ({error.strerror})"
    if error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__
