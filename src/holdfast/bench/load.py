"""The load generator: closed-loop clients of the line protocol, in a process of their own.

One `epoll`, plain non-blocking sockets, every request and the beginning of every reply made before
the clock starts: a request costs about nine microseconds here, seven of them in the kernel, a few
percent less than the same clients as uvloop protocols.

Each client alternates `reserve NAME 1` and `delete NAME`, the next when the one before is answered;
with a window of W it keeps W lines on their way. Every reply is checked; a wrong one is an error.
The clock is read once per wake-up, before the replies of that wake-up are read, and the next
requests count as sent at that moment, so latencies are overstated rather than understated.

    python -m holdfast.bench.load '{"servers": [["127.0.0.1", 7101]], "clients": 16}'

prints one JSON object, a `LoadResult`.
"""

from __future__ import annotations

import gc
import math
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import deque
from datetime import date, timedelta

import msgspec

DRAIN_SECONDS = 8.0
RETRY_PAUSE_SECONDS = 0.002
CONNECT_TIMEOUT_SECONDS = 1.0
RETRIED = (b"Failed: not served here", b"Failed: overloaded", b"Failed: outcome unknown")
"""Refusals after which the same request is sent again, in exact mode only."""


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`home`: the server all clients start at, None to spread them evenly. `exact`: requests carry
    `@client:number/lowest`, so that a client whose server dies repeats its request elsewhere and must
    get the right reply. `frame_bytes`: frames of this size instead of commands, echoed by the ceiling.
    `kill_pid`: a process to kill with SIGKILL, `kill_after_seconds` into the measured time; needs `exact`.
    `people`: customers of `events`, who log in and book places in their own city instead of seats, one a client.
    `fill`: instead of measuring for `seconds`, make so many bookings, each for a name of its own, and
    delete none; `seconds` is then the time limit."""

    servers: tuple[tuple[str, int], ...]
    clients: int = 1
    window: int = 1
    seconds: float = 5.0
    warmup_seconds: float = 1.0
    home: int | None = None
    exact: bool = False
    frame_bytes: int = 0
    kill_pid: int = 0
    kill_after_seconds: float = 1.0
    fill: int = 0
    tag: str = "b"
    people: tuple[str, ...] = ()


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """Operations are single reservations or deletions. `served_again_ms`: the longest that any client
    went without a reply, counted from the kill on. `pause_ms`: the longest time in which nobody got
    any. `cpu_share`: of one CPU, user and system time of this process.
    """

    operations: int
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    pause_ms: float
    cpu_share: float
    errors: int = 0
    first_error: str = ""
    unanswered: int = 0
    retries: int = 0
    reconnects: int = 0
    served_again_ms: float | None = None


class LoadError(Exception):
    """The load cannot be applied at all: no server to connect to, or options that contradict each other."""


class Client:
    """One connection and its endless script of requests."""

    __slots__ = (
        "checked", "id", "last_reply", "longest_gap", "number", "partial", "person", "replies", "requests",
        "script", "sent", "server", "socket",
    )  # fmt: skip

    def __init__(self, index: int, options: LoadOptions, stamp_ms: int) -> None:
        self.id = f"{options.tag}{index}.{stamp_ms:013}".encode()
        self.person = options.people[index % len(options.people)] if options.people else ""
        self.server = index if options.home is None else options.home
        self.requests, self.replies = script(index, options)
        self.script = 0
        """Place of the next request to send."""
        self.checked = 0
        """Place of the next reply to check."""
        self.number = 0
        self.sent: deque[tuple[float, int]] = deque()
        """(when, how many lines) still unanswered, oldest first."""
        self.partial = b""
        self.last_reply = 0.0
        self.longest_gap = 0.0
        self.socket: socket.socket | None = None


def script(index: int, options: LoadOptions) -> tuple[list[bytes], list[bytes]]:
    """One round of requests, each with its newline, and the beginnings of the right replies."""
    if options.people:
        return bookings(index, options)
    names = [f"{options.tag}{index}x{number}" for number in range(max(1, options.window // 2))]
    if options.frame_bytes:
        frames = [f"{name} {'.' * options.frame_bytes}"[: options.frame_bytes - 1] for name in names]
        return [f"{frame}\n".encode() for frame in frames], [f"{name} ".encode() for name in names]
    if options.fill:
        names = [f"{options.tag}{index}x{number}" for number in range(index, options.fill, options.clients)]
    requests = [f"reserve {name} 1\n" for name in names]
    replies = [f"The seats have been reserved for {name}: " for name in names]
    if not options.fill:
        requests += [f"delete {name}\n" for name in names]
        replies += ["1 seats have been released. "] * len(names)
    return [text.encode() for text in requests], [text.encode() for text in replies]


def bookings(index: int, options: LoadOptions) -> tuple[list[bytes], list[bytes]]:
    """As `script`, for a customer of `events`: book in the own city and cancel, or only book."""
    person = options.people[index % len(options.people)]
    count = max(1, options.fill // options.clients if options.fill else options.window // 2)
    events = [event_of(person[:3], number) for number in range(count)]
    requests = [f"bookEvent {person} {event}\n" for event in events]
    replies = [f"{event} is booked for {person}." for event in events]
    if not options.fill:
        requests += [f"cancelEvent {person} {event}\n" for event in events]
        replies += [f"{event} is cancelled for {person}." for event in events]
    return [text.encode() for text in requests], [text.encode() for text in replies]


def event_of(city: str, number: int) -> str:
    """Id and type of the city's event with this number, from 0: two types and three slots a day, from 2030 on."""
    day = date(2030, 1, 1) + timedelta(days=number // 6)
    return f"{city}{'MAE'[number // 2 % 3]}{day:%d%m%y} {('Conferences', 'Seminars')[number % 2]}"


class Load:
    """All clients, in one loop."""

    def __init__(self, options: LoadOptions) -> None:
        if options.kill_pid and not options.exact:
            raise LoadError("kill_pid needs exact: only numbered requests can be repeated elsewhere")
        if options.exact and options.window != 1:
            raise LoadError("exact needs a window of 1: a repeated line would overtake the later ones")
        self.options = options
        self.epoll = select.epoll()
        stamp_ms = time.time_ns() // 1_000_000
        self.clients = [Client(index, options, stamp_ms) for index in range(options.clients)]
        self.by_descriptor: dict[int, Client] = {}
        self.latencies: list[float] = []
        self.again: list[tuple[float, Client]] = []
        self.finishing = False
        """Whether each client only goes on to the end of its script."""
        self.last_turn = 0.0
        self.longest_pause = 0.0
        self.receive_bytes = 65536 if options.window > 1 else 4096
        self.errors = 0
        self.first_error = ""
        self.retries = 0
        self.reconnects = 0
        self.killed_at = 0.0

    def run(self) -> LoadResult:
        """Warm up, measure, drain."""
        clock = time.perf_counter
        for client in self.clients:
            self.connect(client)
        for client in self.clients:
            self.send_next(client, min(self.options.window, len(client.requests)), clock())
        gc.collect()
        gc.disable()
        if not self.options.fill:
            self.turn_until(clock() + self.options.warmup_seconds)
            self.latencies.clear()
        begin, cpu_begin = clock(), cpu_seconds()
        self.last_turn = begin
        self.longest_pause = 0.0
        self.measure(begin)
        end, cpu_end = clock(), cpu_seconds()
        result = self.result(end - begin, cpu_end - cpu_begin)
        self.finish(end + DRAIN_SECONDS)
        return self.complete(result)

    def measure(self, begin: float) -> None:
        if self.options.fill:
            self.finish(begin + self.options.seconds)
            return
        if self.options.kill_pid:
            self.turn_until(begin + self.options.kill_after_seconds)
            os.kill(self.options.kill_pid, signal.SIGKILL)
            self.killed_at = time.perf_counter()
        self.turn_until(begin + self.options.seconds)

    def finish(self, deadline: float) -> None:
        """Let every client go on to the end of its script: each reply is checked, nothing stays reserved."""
        self.finishing = True
        for client in self.clients:
            if not client.sent:
                self.send_next(client, self.options.window, time.perf_counter())
        while any(client.sent for client in self.clients) and time.perf_counter() < deadline:
            self.turn()

    def turn_until(self, deadline: float) -> None:
        while time.perf_counter() < deadline:
            self.turn()

    def turn(self) -> None:
        """One wake-up: everything that can be read."""
        events = self.epoll.poll(RETRY_PAUSE_SECONDS if self.again else 0.05)
        now = time.perf_counter()
        if events:
            self.longest_pause = max(self.longest_pause, now - self.last_turn)
            self.last_turn = now
        if self.again:
            self.send_again(now)
        by_descriptor, take, size = self.by_descriptor, self.take, self.receive_bytes
        if self.options.window == 1 and not self.options.exact and not self.finishing:
            take = self.take_one
        for descriptor, _ in events:
            client = by_descriptor.get(descriptor)
            if client is None or client.socket is None:
                continue
            try:
                data = client.socket.recv(size)
            except OSError:
                data = b""
            if data:
                take(client, data, now)
            else:
                self.lose(client, now)

    def take_one(self, client: Client, data: bytes, now: float) -> None:
        """As `take`, for the usual case: one right reply to the only line on its way."""
        place = client.checked
        if (
            not client.sent
            or client.partial
            or not data.startswith(client.replies[place])
            or data.find(b"\n") != len(data) - 1
        ):
            self.take(client, data, now)
            return
        self.latencies.append(now - client.sent[0][0])
        client.sent[0] = (now, 1)
        client.checked = place = client.script
        client.script = (place + 1) % len(client.requests)
        self.write(client, client.requests[place])

    def take(self, client: Client, data: bytes, now: float) -> None:
        """Check the replies in `data`, and send as many new requests as were answered."""
        if client.partial:
            data = client.partial + data
            client.partial = b""
        if not data.endswith(b"\n"):
            whole, _, client.partial = data.rpartition(b"\n")
            data = whole + b"\n" if whole else b""
        replies = client.replies
        count = 0
        for line in data.splitlines():
            if not line.startswith(replies[client.checked]):
                if self.excuse(client, line, now):
                    return
                self.fail(f"{client.requests[client.checked]!r} was answered {line!r}")
            client.checked = (client.checked + 1) % len(replies)
            count += 1
        if not count:
            return
        self.note_times(client, count, now)
        self.send_next(client, count, now)

    def note_times(self, client: Client, count: int, now: float) -> None:
        sent = client.sent
        if self.killed_at:
            self.note_gap(client, now)
        client.last_reply = now
        while count and sent:
            when, lines = sent[0]
            answered = min(lines, count)
            self.latencies.extend([now - when] * answered)
            count -= answered
            if answered == lines:
                sent.popleft()
            else:
                sent[0] = (when, lines - answered)
        if count:
            self.fail(f"{count} replies to nothing")

    def note_gap(self, client: Client, now: float) -> None:
        if self.killed_at:
            client.longest_gap = max(client.longest_gap, now - max(client.last_reply, self.killed_at))

    def send_next(self, client: Client, count: int, now: float) -> None:
        """Send the next `count` lines of the script in one write."""
        requests = client.requests
        start = client.script
        if self.finishing:
            count = min(count, (len(requests) - start) % len(requests))
            if not count:
                return
        client.script = (start + count) % len(requests)
        if count == 1:
            data = requests[start]
        else:
            data = b"".join([requests[(start + place) % len(requests)] for place in range(count)])
        if self.options.exact:
            client.number += 1
            data = b"@%b:%d/%d %b" % (client.id, client.number, client.number, data)
        client.sent.append((now, count))
        self.write(client, data)

    def write(self, client: Client, data: bytes) -> None:
        if client.socket is None:
            raise LoadError(f"client {client.id!r} writes without a connection")
        try:
            if client.socket.send(data) != len(data):
                raise LoadError("a request did not fit the socket's buffer: the window is too large")
        except (BrokenPipeError, ConnectionResetError):
            return  # the loop reads the end of this connection next, and `lose` sends the request again

    def excuse(self, client: Client, line: bytes, now: float) -> bool:
        """True where the line says that the same request is to be sent again."""
        if not self.options.exact or not line.startswith(RETRIED):
            return False
        self.retries += 1
        self.again.append((now + RETRY_PAUSE_SECONDS, client))
        return True

    def send_again(self, now: float) -> None:
        due = [client for when, client in self.again if when <= now]
        self.again = [(when, client) for when, client in self.again if when > now]
        for client in due:
            self.repeat(client)

    def repeat(self, client: Client) -> None:
        request = client.requests[client.checked]
        self.write(client, b"@%b:%d/%d %b" % (client.id, client.number, client.number, request))

    def lose(self, client: Client, now: float) -> None:
        """The connection ended: in exact mode go to the next server at once and repeat the request."""
        self.disconnect(client)
        self.again = [(when, waiting) for when, waiting in self.again if waiting is not client]
        if not self.options.exact:
            raise LoadError(f"the server closed the connection of client {client.id.decode()}")
        self.reconnects += 1
        client.server += 1
        self.connect(client)
        if client.sent:
            self.repeat(client)

    def disconnect(self, client: Client) -> None:
        if client.socket is not None:
            self.epoll.unregister(client.socket)
            del self.by_descriptor[client.socket.fileno()]
            client.socket.close()
        client.socket = None
        client.partial = b""

    def connect(self, client: Client) -> None:
        """Connect to the client's server or the first of the next ones that takes it."""
        servers = self.options.servers
        for _ in servers:
            try:
                connection = socket.create_connection(servers[client.server % len(servers)], CONNECT_TIMEOUT_SECONDS)
            except OSError:
                client.server += 1
                continue
            if client.person:
                log_in(connection, client.person)
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.socket = connection
            self.by_descriptor[connection.fileno()] = client
            self.epoll.register(connection, select.EPOLLIN)
            return
        raise LoadError(f"none of the servers takes connections: {servers}")

    def fail(self, text: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or text

    def result(self, seconds: float, cpu: float) -> LoadResult:
        """What was measured, before the scripts are finished."""
        latencies = sorted(self.latencies)
        return LoadResult(
            operations=len(latencies),
            seconds=seconds,
            per_second=len(latencies) / seconds,
            p50_ms=quantile_ms(latencies, 0.5),
            p99_ms=quantile_ms(latencies, 0.99),
            max_ms=quantile_ms(latencies, 1.0),
            pause_ms=self.longest_pause * 1000,
            cpu_share=cpu / seconds,
        )

    def complete(self, result: LoadResult) -> LoadResult:
        """What can be said only at the very end."""
        now = time.perf_counter()
        for client in self.clients:
            if client.sent:
                self.note_gap(client, now)
        return msgspec.structs.replace(
            result,
            errors=self.errors,
            first_error=self.first_error,
            unanswered=sum(bool(client.sent) for client in self.clients),
            retries=self.retries,
            reconnects=self.reconnects,
            served_again_ms=max(client.longest_gap for client in self.clients) * 1000 if self.killed_at else None,
        )


def log_in(connection: socket.socket, person: str) -> None:
    """Say who asks, and wait until that is known. Raises `LoadError`."""
    connection.sendall(f"login {person}\n".encode())
    welcome = connection.makefile("rb", buffering=0).readline()
    if not welcome.startswith(b"Welcome"):
        raise LoadError(f"login of {person} was answered {welcome!r}")


def quantile_ms(ascending: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; 0 of none."""
    if not ascending:
        return 0.0
    return ascending[max(1, math.ceil(share * len(ascending))) - 1] * 1000


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Apply the load that the one argument describes as JSON, print what came of it."""
    try:
        result = Load(msgspec.json.decode(sys.argv[1], type=LoadOptions)).run()
    except (LoadError, msgspec.ValidationError, IndexError) as error:
        sys.exit(f"load: {error}")
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
