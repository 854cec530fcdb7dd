"""The load on a vendor: closed-loop clients of its HTTP API on keep-alive connections, in a process of their own.

Each client holds its slot, gives it back, and so on (`book`), asks what it holds (`ask`), or asks for what
there is not (`refuse`), the next when the one before is answered. Every answer's status is checked.

    python -m holdfast.bench.slots_load '{"port": 8001, "clients": 64}'

prints one JSON object, a `holdfast.bench.load.LoadResult`.
"""

from __future__ import annotations

import asyncio
import gc
import re
import resource
import sys
import time
from functools import partial
from typing import cast

import msgspec

from holdfast.bench.load import LoadResult, quantile_ms

HOST = "127.0.0.1"
DRAIN_SECONDS = 8.0
KINDS = {
    "book": ((b"POST", b"reservation/%d", 200), (b"DELETE", b"reservation/%d", 200)),
    "ask": ((b"GET", b"reservation", 200),),
    "refuse": ((b"POST", b"reservation/none", 400),),
}
"""What each kind of client sends in turn: method, path behind the vendor's address, the right status."""
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")


def key(client: int) -> str:
    """The key of a client of the benchmark."""
    return f"bench-key-{client}"


class SlotsLoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`kind`: one of `KINDS`. Times are in seconds."""

    port: int
    clients: int
    kind: str = "book"
    seconds: float = 4.0
    warmup_seconds: float = 1.0


class _Load:
    """What the clients have in common."""

    def __init__(self, options: SlotsLoadOptions) -> None:
        self.begin = time.perf_counter() + options.warmup_seconds
        self.end = self.begin + options.seconds
        self.waiting = options.clients
        self.latencies: list[float] = []
        self.errors: list[str] = []
        self.last = self.begin
        self.pause = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(self, sent: float, now: float) -> None:
        """One answer came."""
        if self.begin <= now <= self.end:
            self.latencies.append(now - sent)
            self.pause, self.last = max(self.pause, now - self.last), now

    def done(self) -> None:
        """One client has had its last answer."""
        self.waiting -= 1
        if not self.waiting and not self.ended.done():
            self.ended.set_result(None)


class _Client(asyncio.Protocol):
    def __init__(self, load: _Load, number: int, kind: str) -> None:
        self._load = load
        slot = number + 1
        self._script = [
            (
                b"%b /hotel/api/%b HTTP/1.1\r\nHost: %b\r\nAuthorization: Bearer %b\r\nContent-Length: 0\r\n\r\n"
                % (method, path % slot if b"%" in path else path, HOST.encode(), key(number).encode()),
                b"HTTP/1.1 %d " % status,
            )
            for method, path, status in KINDS[kind]
        ]
        self._place = 0
        self._sent = 0.0
        self._partial = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._script[self._place][0])

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        answer = self._partial + data if self._partial else data
        head = answer.find(b"\r\n\r\n")
        length = _LENGTH.search(answer) if head >= 0 else None
        if length is None or len(answer) < head + 4 + int(length[1]):
            self._partial = answer
            return
        self._partial = b""
        if not answer.startswith(self._script[self._place][1]):
            self._load.errors.append(repr(answer[:200]))
        self._load.answered(self._sent, now)
        self._place = (self._place + 1) % len(self._script)
        if now < self._load.end or self._place:  # what is held is given back before the end
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if time.perf_counter() < self._load.end:
            self._load.errors.append(f"a connection ended: {error}")
        self._load.done()


async def apply(options: SlotsLoadOptions) -> LoadResult:
    """Apply the load, and measure."""
    load, loop = _Load(options), asyncio.get_running_loop()
    for number in range(options.clients):
        await loop.create_connection(partial(_Client, load, number, options.kind), HOST, options.port)
    await asyncio.sleep(max(0.0, load.begin - time.perf_counter()))
    used = _cpu_seconds()
    await asyncio.sleep(max(0.0, load.end - time.perf_counter()))
    used = _cpu_seconds() - used
    await asyncio.wait((load.ended,), timeout=DRAIN_SECONDS)
    latencies = sorted(load.latencies)
    return LoadResult(
        operations=len(latencies),
        seconds=options.seconds,
        per_second=len(latencies) / options.seconds,
        p50_ms=quantile_ms(latencies, 0.5),
        p99_ms=quantile_ms(latencies, 0.99),
        max_ms=quantile_ms(latencies, 1.0),
        pause_ms=load.pause * 1e3,
        cpu_share=round(used / options.seconds, 3),
        errors=len(load.errors),
        first_error=load.errors[0] if load.errors else "",
        unanswered=load.waiting,
    )


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """The process."""
    import uvloop

    gc.set_threshold(100_000, 20, 100)
    options = msgspec.json.decode(sys.argv[1], type=SlotsLoadOptions)
    sys.stdout.write(msgspec.json.encode(uvloop.run(apply(options))).decode() + "\n")


if __name__ == "__main__":
    main()
