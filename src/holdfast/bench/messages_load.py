"""The load on the messages: pairs of people, one of whom sends while the other watches, in a process of their own.

The sender's connection and the watcher's are at different servers. A sender keeps `window` numbered messages
on their way, the next when one is answered; nobody asks for what came: it must be pushed. Every answer and
every push is checked: each carries the next number of its pair, so nothing is missing, double or out of order.
At the end each inbox is asked for at a third server, and must hold just what was sent.

The clock is read once per wake-up, before anything of it is read, and what is sent counts as sent at that
moment, so times are overstated rather than understated.

    python -m holdfast.bench.messages_load '{"servers": [["127.0.0.1", 7101]], "pairs": 1}'

prints one JSON object, a `MessagesResult`.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from io import BufferedRWPair
from typing import Any

import msgspec

from holdfast.bench.load import LoadError, cpu_seconds, quantile_ms

DRAIN_SECONDS = 20.0
CONNECT_SECONDS = 30.0
TOKEN = "bench"
TEXT = "The potassium of bed 12 is 5.9, please look at it before the round. "
RECEIVE_BYTES = 65_536


class MessagesLoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`first`: the number of the first pair; its people must not have written before. `window`: messages that a
    sender keeps on their way. `as_json`: requests, replies and pushes in the form for programs. `frame_bytes`:
    frames of this size instead of lines, for the ceiling. Times are in seconds."""

    servers: tuple[tuple[str, int], ...]
    pairs: int = 64
    first: int = 0
    window: int = 1
    as_json: bool = False
    frame_bytes: int = 0
    seconds: float = 4.0
    warmup_seconds: float = 1.0


class MessagesResult(msgspec.Struct, frozen=True, kw_only=True):
    """`accepted`, `delivered`: messages answered and pushed in the measured time; `sent`: in all. `p50_ms`, `p99_ms`,
    `max_ms`: from `send` until it is pushed; `answered_p50_ms`: until it is answered. `pause_ms`: the longest time
    without any push. `cpu_share`: of one CPU, of this process; `cpu_seconds`: in all, since all were connected."""

    accepted: int
    delivered: int
    sent: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    answered_p50_ms: float
    pause_ms: float
    cpu_share: float
    cpu_seconds: float
    errors: int = 0
    first_error: str = ""
    unfinished: int = 0

    @property
    def per_second(self) -> float:
        """Messages both accepted and delivered."""
        return min(self.accepted, self.delivered) / self.seconds


def sender_of(pair: int) -> str:
    """The id of who sends."""
    return f"s{pair:05}"


def watcher_of(pair: int) -> str:
    """The id of who watches."""
    return f"w{pair:05}"


class Lines:
    """What a pair says and hears on the line protocol, as text for people."""

    greeting: tuple[str, ...] = ()

    def __init__(self, pair: int, stamp_ms: int) -> None:
        sender, watcher = sender_of(pair), watcher_of(pair)
        self.watching = (*self.greeting, f"login {watcher} {TOKEN}", "watch mine")
        self.sending = (*self.greeting, f"login {sender} {TOKEN}")
        self.client = f"{sender}.{stamp_ms}".encode()
        self.said = f"send {watcher} {TEXT}".encode()
        self.sent = f"Sent to {watcher}, as ".encode()
        self.told = f" in {sender}+{watcher} ".encode()

    def request(self, number: int, lowest: int) -> bytes:
        """The message with this number."""
        return b"@%b:%d/%d %b%010d\n" % (self.client, number, lowest, self.said, number)

    def is_sent(self, number: int, line: bytes) -> bool:
        """Whether the line answers it: it stands in the conversation under its number."""
        return line.startswith(b"%b%d of " % (self.sent, number))

    def is_told(self, number: int, line: bytes) -> bool:
        """Whether the line pushes it."""
        return (
            line.startswith(b"* changed ")
            and line.endswith(b" %010d" % number)
            and b" committed: %d%b" % (number, self.told) in line
        )


class Json(Lines):
    """The same, as programs speak: the request is JSON too."""

    greeting = ("mode json",)

    def __init__(self, pair: int, stamp_ms: int) -> None:
        super().__init__(pair, stamp_ms)
        self.said = f'["send","{watcher_of(pair)}","{TEXT}'.encode()

    def request(self, number: int, lowest: int) -> bytes:
        return b'@%b:%d/%d %b%010d"]\n' % (self.client, number, lowest, self.said, number)

    def is_sent(self, number: int, line: bytes) -> bool:
        return line.startswith(b'{"ok":true,') and b'"type":"sent"' in line and b'"number":%d,' % number in line

    def is_told(self, number: int, line: bytes) -> bool:
        return (
            line.startswith(b'{"change":{')
            and b'"reply":{"number":%d,' % number in line
            and b'%010d","sent_ms"' % number in line
        )


class Frames:
    """The same at the ceiling: a frame names its addressee and comes back as it is, and to the addressee."""

    def __init__(self, pair: int, size: int) -> None:
        self.watching: tuple[str, ...] = (f"={pair:05} ".ljust(size - 1, "."),)
        self.sending: tuple[str, ...] = ()
        self._head = f"{pair:05} ".encode().ljust(size - 11, b".")

    def request(self, number: int, lowest: int) -> bytes:
        return b"%b%010d\n" % (self._head, number)

    def is_sent(self, number: int, line: bytes) -> bool:
        return line == b"%b%010d" % (self._head, number)

    is_told = is_sent


class Pair:
    """One who sends and one who watches. `sent`, `answered`, `told`: how many so far."""

    __slots__ = (
        "answered", "asked_at", "form", "number", "rest", "sent", "sent_at", "socket", "told", "unheard", "watching",
    )  # fmt: skip

    def __init__(self, number: int, form: Lines | Frames) -> None:
        self.number = number
        self.form = form
        self.sent = self.answered = self.told = 0
        self.sent_at: deque[float] = deque()
        """When those were sent that are not answered, ..."""
        self.asked_at: deque[float] = deque()
        """... and those that are not pushed."""
        self.rest = b""
        self.unheard = b""
        self.socket: socket.socket
        self.watching: socket.socket


class MessagesLoad:
    """All pairs, in one loop."""

    def __init__(self, options: MessagesLoadOptions) -> None:
        self.options = options
        self.epoll = select.epoll()
        stamp_ms = time.time_ns() // 1_000_000
        self.pairs = [Pair(number, self._form(number, stamp_ms)) for number in self._numbers]
        self.by_descriptor: dict[int, tuple[Pair, bool]] = {}
        self.times: list[float] = []
        self.answer_times: list[float] = []
        self.finishing = False
        self.longest_pause = 0.0
        self.last_told = 0.0
        self.errors = 0
        self.first_error = ""

    @property
    def _numbers(self) -> range:
        return range(self.options.first, self.options.first + self.options.pairs)

    def _form(self, number: int, stamp_ms: int) -> Lines | Frames:
        if self.options.frame_bytes:
            return Frames(number, self.options.frame_bytes)
        return (Json if self.options.as_json else Lines)(number, stamp_ms)

    def run(self) -> MessagesResult:
        """Warm up, measure, drain, look into the inboxes."""
        clock = time.perf_counter
        for place, pair in enumerate(self.pairs):
            pair.watching = self._connect(place + 1, pair.form.watching)
            self.by_descriptor[pair.watching.fileno()] = (pair, True)
            pair.socket = self._connect(place, pair.form.sending)
            self.by_descriptor[pair.socket.fileno()] = (pair, False)
        for descriptor in self.by_descriptor:
            self.epoll.register(descriptor, select.EPOLLIN)
        gc.collect()
        gc.disable()
        started = cpu_seconds()
        for pair in self.pairs:
            self._send(pair, self.options.window, clock())
        self._turn_until(clock() + self.options.warmup_seconds)
        self.times.clear()
        self.answer_times.clear()
        begin, cpu_begin, self.last_told, self.longest_pause = clock(), cpu_seconds(), clock(), 0.0
        self._turn_until(begin + self.options.seconds)
        seconds, cpu = clock() - begin, cpu_seconds() - cpu_begin
        result = self._result(seconds, cpu)
        self._finish(clock() + DRAIN_SECONDS)
        cpu_in_all = cpu_seconds() - started
        if not self.options.frame_bytes:
            self._look()
        return msgspec.structs.replace(
            result,
            sent=sum(pair.sent for pair in self.pairs),
            cpu_seconds=cpu_in_all,
            errors=self.errors,
            first_error=self.first_error,
            unfinished=sum(not pair.sent == pair.answered == pair.told for pair in self.pairs),
        )

    def _result(self, seconds: float, cpu: float) -> MessagesResult:
        ascending = sorted(self.times)
        return MessagesResult(
            accepted=len(self.answer_times),
            delivered=len(ascending),
            sent=0,
            seconds=seconds,
            p50_ms=quantile_ms(ascending, 0.5),
            p99_ms=quantile_ms(ascending, 0.99),
            max_ms=quantile_ms(ascending, 1.0),
            answered_p50_ms=quantile_ms(sorted(self.answer_times), 0.5),
            pause_ms=self.longest_pause * 1e3,
            cpu_share=round(cpu / seconds, 3),
            cpu_seconds=0.0,
        )

    def _turn_until(self, deadline: float) -> None:
        while time.perf_counter() < deadline:
            self._turn()

    def _finish(self, deadline: float) -> None:
        """Nobody sends any more; what was sent is answered and pushed."""
        self.finishing = True
        while time.perf_counter() < deadline and any(pair.sent_at or pair.asked_at for pair in self.pairs):
            self._turn()

    def _turn(self) -> None:
        """One wake-up: everything that can be read."""
        events = self.epoll.poll(0.05)
        now = time.perf_counter()
        for descriptor, _ in events:
            pair, is_watching = self.by_descriptor[descriptor]
            data = (pair.watching if is_watching else pair.socket).recv(RECEIVE_BYTES)
            if not data:
                raise LoadError(f"the server closed a connection of pair {pair.number}")
            if is_watching:
                self._hear(pair, data, now)
            else:
                self._take(pair, data, now)

    def _take(self, pair: Pair, data: bytes, now: float) -> None:
        """Check the answers in `data`, and send as many new messages."""
        lines = (pair.rest + data).split(b"\n")
        pair.rest = lines.pop()
        for line in lines:
            pair.answered += 1
            if not pair.sent_at or not pair.form.is_sent(pair.answered, line):
                self._fail(f"message {pair.answered} of pair {pair.number} was answered {line!r}")
                continue
            self.answer_times.append(now - pair.sent_at.popleft())
        if lines and not self.finishing:
            self._send(pair, len(lines), now)

    def _hear(self, pair: Pair, data: bytes, now: float) -> None:
        """Check that what was pushed are the next messages, and no others."""
        lines = (pair.unheard + data).split(b"\n")
        pair.unheard = lines.pop()
        for line in lines:
            pair.told += 1
            if not pair.asked_at or not pair.form.is_told(pair.told, line):
                self._fail(f"instead of message {pair.told} pair {pair.number} was told {line!r}")
                continue
            self.times.append(now - pair.asked_at.popleft())
        if lines and now > self.last_told:
            self.longest_pause = max(self.longest_pause, now - self.last_told)
            self.last_told = now

    def _send(self, pair: Pair, count: int, now: float) -> None:
        request, lowest = pair.form.request, pair.answered + 1
        numbers = range(pair.sent + 1, pair.sent + count + 1)
        data = b"".join([request(number, lowest) for number in numbers])
        pair.sent += count
        pair.sent_at.extend([now] * count)
        pair.asked_at.extend([now] * count)
        if pair.socket.send(data) != len(data):
            raise LoadError("the messages did not fit the socket's buffer: the window is too large")

    def _look(self) -> None:
        """Each inbox, at a server where neither of the pair is: all is there, once, under its number."""
        for place, pair in enumerate(self.pairs):
            connection = self._connect(place + 2, ("mode json", f"login {watcher_of(pair.number)} {TOKEN}"))
            connection.setblocking(True)
            with connection, connection.makefile("rwb") as stream:
                inbox = _asked(stream, "inbox")
                since = _asked(stream, f"since {max(0, pair.sent - len(inbox['items']))}")
            numbers = [item["number"] for item in reversed(inbox["items"])]
            newest = [(item["number"], item["content"]) for item in since["items"]]
            wanted = [(number, f"{TEXT}{number:010}") for number in range(pair.sent - len(numbers) + 1, pair.sent + 1)]
            is_whole = newest == wanted and numbers == [number for number, _ in wanted]
            if inbox["unread"] != pair.sent or not is_whole or not newest:
                self._fail(f"the inbox of pair {pair.number} has {inbox['unread']} messages, not {pair.sent}")

    def _connect(self, server: int, lines: Sequence[str]) -> socket.socket:
        """A connection to the server on which these lines were answered, none of them with a refusal."""
        servers = self.options.servers
        connection = socket.create_connection(servers[server % len(servers)], CONNECT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb", buffering=0) as replies:
            for line in lines:
                connection.sendall(line.encode() + b"\n")
                reply = replies.readline()
                if not reply or reply.startswith((b"Failed", b'{"ok":false')):
                    raise LoadError(f"{line!r} was answered {reply!r}")
        connection.setblocking(False)
        return connection

    def _fail(self, text: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or text


def _asked(stream: BufferedRWPair, line: str) -> dict[str, Any]:
    """The fields of the answer to a line, in JSON."""
    stream.write(line.encode() + b"\n")
    stream.flush()
    reply: dict[str, Any] = json.loads(stream.readline())["reply"]
    return reply


def main() -> None:
    """Apply the load that the one argument describes as JSON, print what came of it."""
    try:
        result = MessagesLoad(msgspec.json.decode(sys.argv[1], type=MessagesLoadOptions)).run()
    except (LoadError, OSError, msgspec.ValidationError, IndexError) as error:
        sys.exit(f"messages_load: {error}")
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
