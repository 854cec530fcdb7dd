"""A theatre of scripted line servers on loopback: they answer, drop, fall silent, refuse, babble, on demand."""

from __future__ import annotations

import json
import shlex
import socket
import threading
from collections import deque
from collections.abc import Iterator

import pytest


class Theatre:
    """What the servers have in common: the seats, and the answer to every (client, number)."""

    def __init__(self) -> None:
        self.booked: dict[str, list[int]] = {}
        self.messages: list[str] = []
        self.read: list[int] = []
        self.answers: dict[str, dict[str, object]] = {}
        self.executions = 0
        self._turn = threading.Lock()

    def answer(self, name: str, words: list[str]) -> dict[str, object]:
        with self._turn:
            if name not in self.answers:
                self.executions += 1
                self.answers[name] = self._execute(words)
            return self.answers[name]

    def _execute(self, words: list[str]) -> dict[str, object]:
        if words[0] == "help":
            words = "reserve <name> <count>; search <name>; mode json|text; help [<word>]"
            return reply(True, f"{words}. A line may begin with @client:number to make a retry exact.", "helped")
        if words[0] == "echo":
            return reply(True, "; ".join(words[1:]), "echoed", words=words[1:])
        if words[0] == "send":
            self.messages.append(words[2])
            number = len(self.messages)
            return reply(True, "Sent.", "sent", conversation="a+b", number=number, id=f"1-{number}", to=words[1])
        if words[0] in ("devices", "since"):
            items = [item_of(text, number) for number, text in enumerate(self.messages, 1)]
            if words[0] == "devices":
                return reply(True, "No devices.", "devices", devices=[], last=len(items))
            return reply(True, "", "since", items=items[int(words[1]) :], last=len(items), more=False)
        if words[0] == "got":
            return reply(True, "", "got", device=words[1], cursor=int(words[2]))
        if words[0] == "seen":
            numbers = [int(number) for number in words[1]]
            self.read += numbers
            return reply(True, "", "shown", numbers=numbers, missing=[])
        taken = [seat for seats in self.booked.values() for seat in seats]
        if words[0] == "search":
            seats = self.booked.get(words[1])
            if seats is None:
                return reply(False, f"Failed: no reservation is made by {words[1]}.", "no_reservation", name=words[1])
        else:
            seats = [len(taken) + place + 1 for place in range(int(words[2]))]
            self.booked[words[1]] = self.booked.get(words[1], []) + seats
        return reply(True, ",".join(map(str, seats)), "reserved", name=words[1], seats=seats)


def item_of(text: str, number: int) -> dict[str, object]:
    """A message as it lies in an inbox."""
    where = {"number": number, "id": f"1-{number}", "conversation": "a+b", "message": number, "sender": "bob"}
    what = {"subject": "", "priority": "routine", "content": text, "sent_ms": 0, "repeats": 0}
    return {**where, **what, "read_ms": 0, "acked_ms": 0, "deleted_ms": 0, "firm": True}


def reply(ok: bool, text: str, type: str, **fields: object) -> dict[str, object]:
    return {"ok": ok, "text": text, "type": type, "reply": fields, "firm": "committed"}


def words_of(line: str) -> list[str]:
    """The words of a line, plain or of JSON."""
    return json.loads(line) if line.startswith("[") else shlex.split(line)


class LineServer:
    """One server process as its clients see it. `faults` are used up one a request line:

    `drop` (before executing), `drop-after`, `silence`, `silence-after`, `unavailable`, `overloaded`,
    `unknown`, `unknown-after`, `expired`, `garbage`, `` (none). `always` is the fault of every line.
    """

    def __init__(self, theatre: Theatre, *faults: str, always: str = "", login: str = "") -> None:
        self.theatre = theatre
        self.faults = deque(faults)
        self.always = always
        self.login = login
        self.more: dict[str, object] = {}
        self.refuses: list[str] = []
        self.lines: list[str] = []
        self.connections = 0
        self._heard = threading.Condition()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                for line in lines:
                    answer = self._answer(line.decode().rstrip("\n"))
                    if answer is None:
                        return
                    connection.sendall(answer)
            except OSError:
                return

    def _answer(self, line: str) -> bytes | None:
        with self._heard:
            self.lines.append(line)
            self._heard.notify_all()
        if line == "mode json":
            return json.dumps(reply(True, "Replies are JSON now.", "mode")).encode() + b"\n"
        word = line.partition(" ")[0]
        if word in ("view", "session", "watch"):
            ok = word not in self.refuses
            text = f"{line} it is." if ok else f"Failed: no {word} here."
            return json.dumps(reply(ok, text, "helped")).encode() + b"\n"
        if line.startswith("login "):
            ok = line == self.login
            return json.dumps(reply(ok, "Welcome." if ok else "Failed: unknown token.", "login")).encode() + b"\n"
        name, _, text = line[1:].partition(" ") if line.startswith("@") else (f"anonymous {len(self.lines)}", "", line)
        fault = self.always or (self.faults.popleft() if self.faults else "")
        answer: dict[str, object] = {}
        if fault in ("", "drop-after", "silence-after", "unknown-after"):
            answer = self.theatre.answer(name.partition("/")[0], words_of(text))
        kind = fault.removesuffix("-after")
        if kind == "drop":
            return None
        if kind == "silence":
            return b""
        if kind == "garbage":
            return b"HTTP/1.1 400 Bad Request\r\n"
        if kind:
            answer = reply(False, f"Failed: {kind}.", kind, why="scripted")
        return json.dumps({**answer, **self.more}).encode() + b"\n"

    def requests(self) -> list[str]:
        """The request lines it heard."""
        return [line for line in self.lines if line.startswith("@")]

    def hear(self, count: int) -> None:
        """Wait until it heard so many request lines."""
        with self._heard:
            assert self._heard.wait_for(lambda: len(self.requests()) >= count, timeout=5)

    def hear_line(self, line: str) -> None:
        """Wait until it heard this very line."""
        with self._heard:
            assert self._heard.wait_for(lambda: line in self.lines, timeout=5), self.lines

    def push(self, fields: dict[str, object]) -> None:
        """Say something unasked on every connection."""
        for connection in self._open:
            connection.sendall(json.dumps(fields, separators=(",", ":")).encode() + b"\n")

    def drop_connections(self) -> None:
        """End every open connection."""
        while self._open:
            connection = self._open.pop()
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # its client ended it before

    def stop(self) -> None:
        """As a crash: the port is closed and every connection ends."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        finally:
            self._listener.close()
        self.drop_connections()
        for thread in self._threads:
            thread.join(timeout=5)
            assert not thread.is_alive()


class House:
    """A theatre with as many servers as a test asks for."""

    def __init__(self) -> None:
        self.theatre = Theatre()
        self.servers: list[LineServer] = []

    def server(self, *faults: str, always: str = "", login: str = "") -> LineServer:
        self.servers.append(LineServer(self.theatre, *faults, always=always, login=login))
        return self.servers[-1]

    def addresses(self) -> list[tuple[str, int]]:
        return [server.address for server in self.servers]

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    house.stop()


@pytest.fixture
def dead_address() -> Iterator[tuple[str, int]]:
    """An address where nobody listens: bound, so that nobody else takes it, and refusing."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()
