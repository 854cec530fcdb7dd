"""The ceiling: Lamport's order, stamps and syncs between three bare processes, with no app.

What any implementation of the same protocol on the same loop, journal and sockets can at best
reach: fixed frames from the clients are echoed once their batch is in Lamport's total order and synced
at all three nodes. No commands, no replies to remember, no failure handled, no state.

- Everything that waits while the journal is busy becomes one batch with one stamp.
- A batch leaves for the others before it is synced here; the acknowledgement of a batch leaves
  after the sync and tells how far each server's batches are synced at its sender.
- A batch is done when all three have synced it, no earlier stamp waits, and every other server has
  been heard with a later stamp.
- With `tells`, a client that sends a frame `=NNNNN` gets it back at once, and from then on every frame that begins
  with that number, from whichever server it came.

    python -m holdfast.bench.ceiling '{"me": 0, "clients": [7001, 7002, 7003], "peers": [7004, 7005, 7006], ...}'

runs one node until SIGTERM. It prints `ready` when it is linked to the others.
"""

from __future__ import annotations

import asyncio
import signal
import struct
import sys
from collections import deque
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from holdfast.kernel.gate import Group
from holdfast.runtime.journal_process import JournalWriter

HOST = "127.0.0.1"
SERVERS = 3
FRAME_BYTES = 48
HEAD = struct.Struct(">BQI")
"""Kind, Lamport time, length of what follows."""
NUMBER_BYTES = 5
"""Of a client that is told what is for it."""
REQUEST, ACKNOWLEDGE = 1, 2
CURSORS = struct.Struct(">QQQ")


class CeilingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Ports on the loopback address, one of each kind a server; `me` is this server's place in them."""

    me: int
    clients: tuple[int, int, int]
    peers: tuple[int, int, int]
    journal: str
    frame_bytes: int = FRAME_BYTES
    tells: bool = False


class Batch:
    """Frames under one stamp. `waiting`: whom to answer, at the server that made it."""

    __slots__ = ("frames", "number", "stamp", "waiting")

    def __init__(self, stamp: tuple[int, int], number: int, frames: bytes) -> None:
        self.stamp = stamp
        self.number = number
        self.frames = frames
        self.waiting: list[tuple[asyncio.Transport, bytes]] = []


class Node:
    """One server: its clock, the batches of each server in their order, and who has synced what."""

    def __init__(self, options: CeilingOptions) -> None:
        self.options = options
        self.me = options.me
        self.others = [server for server in range(SERVERS) if server != self.me]
        self.clock = 0
        self.heard = [0] * SERVERS
        self.queues: list[deque[Batch]] = [deque() for _ in range(SERVERS)]
        self.received = [0] * SERVERS
        self.synced = [[0] * SERVERS for _ in range(SERVERS)]
        """`synced[a][b]`: how many batches of b lie synced at a."""
        self.links: dict[int, asyncio.Transport] = {}
        self.linked = asyncio.Event()
        self.watching: dict[bytes, asyncio.Transport] = {}
        self.gathered: list[tuple[asyncio.Transport, bytes]] = []
        self.unwritten: list[bytes] = []
        self.writing = False
        self.turn_planned = False
        self.stopped = asyncio.Event()
        self.failure: Exception | None = None
        self.loop = asyncio.get_running_loop()
        self.journal = JournalWriter.open(Path(options.journal))
        self.journal.attach(self.fail)

    def fail(self, error: Exception) -> None:
        self.failure = error
        self.stopped.set()

    def plan_turn(self) -> None:
        """Once after everything that this wake-up brought."""
        if not self.turn_planned:
            self.turn_planned = True
            self.loop.call_soon(self.turn)

    def turn(self) -> None:
        self.turn_planned = False
        if not self.writing:
            if self.gathered:
                self.request()
            if self.unwritten:
                self.write()
        self.finish()

    def request(self) -> None:
        """Ask for the critical section for all that waits: one stamp, told to the others at once."""
        self.clock += 1
        self.received[self.me] += 1
        frames = b"".join([data for _, data in self.gathered])
        batch = Batch((self.clock, self.me), self.received[self.me], frames)
        batch.waiting, self.gathered = self.gathered, []
        self.queues[self.me].append(batch)
        self.unwritten.append(frames)
        self.tell(HEAD.pack(REQUEST, self.clock, len(frames)) + frames)

    def write(self) -> None:
        """One sync for everything received so far, of whichever server."""
        self.writing = True
        upto = list(self.received)
        group = Group(1)
        group.records, self.unwritten = self.unwritten, []
        self.journal.submit(group, lambda: self.written(upto))

    def written(self, upto: list[int]) -> None:
        self.writing = False
        self.synced[self.me] = upto
        self.clock += 1
        self.tell(HEAD.pack(ACKNOWLEDGE, self.clock, CURSORS.size) + CURSORS.pack(*upto))
        self.turn()

    def tell(self, message: bytes) -> None:
        for server in self.others:
            self.links[server].write(message)

    def receive(self, server: int, kind: int, time: int, data: bytes) -> None:
        self.clock = max(self.clock, time) + 1
        self.heard[server] = time
        if kind == REQUEST:
            self.received[server] += 1
            self.queues[server].append(Batch((time, server), self.received[server], data))
            self.unwritten.append(data)
        else:
            self.synced[server] = list(CURSORS.unpack(data))
        self.plan_turn()

    def finish(self) -> None:
        """Leave every critical section that is won and synced everywhere, in the order of the stamps."""
        while queues := [queue for queue in self.queues if queue]:
            queue = min(queues, key=lambda queue: queue[0].stamp)
            batch = queue[0]
            owner = batch.stamp[1]
            if any(row[owner] < batch.number for row in self.synced):
                return
            if any((self.heard[server], server) <= batch.stamp for server in self.others if server != owner):
                return
            queue.popleft()
            for transport, data in batch.waiting:
                transport.write(data)
            if self.watching:
                self.tell_clients(batch.frames)

    def tell_clients(self, frames: bytes) -> None:
        """Push each frame to the client here that it is for."""
        size = self.options.frame_bytes
        told: dict[bytes, list[bytes]] = {}
        for start in range(0, len(frames), size):
            told.setdefault(frames[start : start + NUMBER_BYTES], []).append(frames[start : start + size])
        for number, theirs in told.items():
            if (transport := self.watching.get(number)) is not None:
                transport.write(b"".join(theirs))

    async def run(self) -> None:
        """Link up with the others, serve until told to stop."""
        ports = self.options.peers
        await self.loop.create_server(lambda: PeerLink(self), HOST, ports[self.me])
        for server in self.others:
            if server < self.me:
                await self.dial(server)
        await self.linked.wait()
        await self.loop.create_server(lambda: ClientLink(self), HOST, self.options.clients[self.me])
        print("ready", flush=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self.stopped.set)
        await self.stopped.wait()
        self.journal.close()
        if self.failure is not None:
            raise self.failure

    async def dial(self, server: int) -> None:
        while True:
            try:
                await self.loop.create_connection(lambda: PeerLink(self, server), HOST, self.options.peers[server])
                return
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)


class PeerLink(asyncio.Protocol):
    """One side of the link between two servers; the dialling one says first who it is."""

    def __init__(self, node: Node, server: int | None = None) -> None:
        self.node = node
        self.dialled = server is not None
        self.server = server
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.server is not None:
            self.transport.write(bytes([self.node.me]))
            self.join(self.server)

    def join(self, server: int) -> None:
        self.server = server
        self.node.links[server] = self.transport
        if len(self.node.links) == SERVERS - 1:
            self.node.linked.set()

    def data_received(self, data: bytes) -> None:
        if self.server is None:
            self.join(data[0])
            data = data[1:]
        assert self.server is not None
        data = self.buffer + data if self.buffer else data
        start, end = 0, len(data)
        while end - start >= HEAD.size:
            kind, time, length = HEAD.unpack_from(data, start)
            if end - start - HEAD.size < length:
                break
            start += HEAD.size
            self.node.receive(self.server, kind, time, data[start : start + length])
            start += length
        self.buffer = data[start:]

    def connection_lost(self, error: Exception | None) -> None:
        self.node.stopped.set()


class ClientLink(asyncio.Protocol):
    """One client's connection: frames in, the same frames out."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self.buffer + data if self.buffer else data
        size = self.node.options.frame_bytes
        whole = len(data) // size * size
        self.buffer = data[whole:]
        if whole and self.node.options.tells and data[0] == ord("="):
            self.node.watching[data[1 : 1 + NUMBER_BYTES]] = self.transport
            self.transport.write(data[:whole])
        elif whole:
            self.node.gathered.append((self.transport, data[:whole]))
            self.node.plan_turn()


async def serve(options: CeilingOptions) -> None:
    """One node, until SIGTERM."""
    await Node(options).run()


def main() -> None:
    """Run the node that the one argument describes as JSON."""
    uvloop.run(serve(msgspec.json.decode(sys.argv[1], type=CeilingOptions)))


if __name__ == "__main__":
    main()
