"""The asyncio shell around one core: clients, peers, the journal and the clock, one turn at a time.

Everything that arrives in one pass of the event loop is one *turn*: the core gets its inputs in
order, the gate gathers what they ask for, and what may leave leaves in one write to each peer. The
journal is written by a process of its own; meanwhile the next turns' records gather in the next group.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from holdfast.kernel.contracts import Change, Core, Halt, Peer, Recovered, Reply, Request, Timed, TimeKeeper, Timely
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.gate import Gate, Group
from holdfast.kernel.machine import Advance, Machine, PassTime
from holdfast.kernel.replies import Overloaded, Unavailable, Unknown

logger = logging.getLogger(__name__)

ADVANCE_MS = 1000
"""How far the replicated time may lag behind the clock before a batch of updates carries it on."""
IDLE_ADVANCE_MS = 10_000
"""The same when there are no updates."""
DUE_LOOK_S = 0.2
"""How often it is looked whether something is due, of an app that does something because time has passed."""

_encode = msgspec.msgpack.Encoder().encode


def clock_us() -> int:
    """Microseconds that also pass while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Waiter(Protocol):
    """Who waits for a reply: a token that the driver calls."""

    def deliver(self, reply: Reply) -> None:
        """The reply has come; called once."""


class Writer(Protocol):
    """What a driver needs of a journal; see `runtime.journal_process.JournalWriter`."""

    def recover(self) -> Recovered:
        """What the journal holds."""

    def attach(self, on_failure: Callable[[Exception], object]) -> None:
        """Begin to report to the running loop."""

    def submit(self, group: Group, on_done: Callable[[], object]) -> None:
        """Make a group durable, then call `on_done`."""

    def close(self) -> None:
        """Finish what was submitted."""


class Ignored:
    """The waiter of the driver's own commands."""

    def deliver(self, reply: Reply) -> None:
        """Nobody waits."""


class Driver:
    """Runs one replica. Made and used inside a running loop.

    `peers`: node names by peer number, this node's own among them. `send(node, payload)` queues for
    a link, `flush` writes what is queued. `on_turn` is called when a turn's replies were delivered
    (connections then write them).
    `on_halt(halt)` is called once, when the replica has stopped for good. `on_stall(reply)` is called
    again and again while the disk does not end a write: everybody who still waits then gets `reply`,
    for a request ends within `deadline_seconds` whatever the disk does; and the peers hear nothing.
    `room(node)`: how many bytes go in one piece (a datagram, so that they are not lost together, or a frame); more
    messages of a turn, or of a write that took long, than that leave divided.
    `on_change(change)` is called for each outcome that changes after its reply; `on_missed()` when there were
    some that nobody is told, as the replica has taken over a state.
    Beyond `waiting_max` replies that wait for the disk, requests are refused.
    """

    def __init__(
        self,
        service: str,
        core: Core,
        machine: Machine,
        message_type: Any,
        writer: Writer,
        peers: Sequence[str],
        send: Callable[[str, bytes], object],
        flush: Callable[[], None],
        on_turn: Callable[[], None],
        on_halt: Callable[[Halt], None],
        on_stall: Callable[[Reply], None],
        on_change: Callable[[Change], None] = lambda change: None,
        on_missed: Callable[[], None] = lambda: None,
        *,
        room: Callable[[str], int] | None = None,
        deadline_seconds: float = 10.0,
        waiting_max: int = 20_000,
    ) -> None:
        self.service = service
        self.core = core
        self.machine = machine
        self.halted: Halt | None = None
        self.counters = dict.fromkeys(("turns", "commands", "queries", "groups", "records", "messages", "malformed"), 0)
        self._decode = msgspec.msgpack.Decoder(list[message_type]).decode if message_type is not None else None
        self._peers = list(peers)
        self._numbers = {name: number for number, name in enumerate(peers)}
        self._send = send
        self._flush = flush
        self._on_turn = on_turn
        self._on_halt = on_halt
        self._on_stall = on_stall
        self._on_change = on_change
        self._on_missed = on_missed
        self._room = room
        self._time_keeper = core if isinstance(core, TimeKeeper) else None
        self._timed = machine.app if isinstance(machine.app, Timed) and self._time_keeper is None else None
        self._timely = machine.app if isinstance(machine.app, Timely) else None
        self._look_seconds = deadline_seconds / 2
        self._waiting_max = waiting_max
        self._loop = asyncio.get_running_loop()
        self._gate = Gate()
        self._writer = writer
        self._inbox: list[tuple[Peer, Any]] = []
        self._commands: list[tuple[Waiter, Request]] = []
        self._queries: list[tuple[Waiter, Request]] = []
        self._scheduled = True  # no turn before the start: what comes earlier waits
        self._timer: asyncio.TimerHandle | None = None
        self._timer_us = 0
        self._ignored = Ignored()
        self._under_way: Group | None = None
        self._seen_under_way: Group | None = None
        self._is_stuck = False
        self._look_timer: asyncio.TimerHandle | None = None
        self._due_timer: asyncio.TimerHandle | None = None

    # -- Life

    def start(self) -> None:
        """Replay the journal."""
        self._writer.attach(self._on_journal_failure)
        self._tell_time(clock_us())
        self._gate.absorb(self.core.recover(clock_us(), self._writer.recover()))
        self._finish()
        self._look()
        self._look_at_time()
        self._schedule()

    def close(self) -> None:
        """Stop: finish the write under way and close the journal. Blocks for that long."""
        for timer in (self._timer, self._look_timer, self._due_timer):
            if timer is not None:
                timer.cancel()
        self.halted = self.halted or Halt("closed", "the node is stopping")
        self._writer.close()

    # -- Inputs

    def submit(self, waiter: Waiter, request: Request) -> None:
        """A client's command."""
        self._commands.append((waiter, request))
        if not self._scheduled:
            self._schedule()

    def ask(self, waiter: Waiter, request: Request) -> None:
        """A client's query."""
        self._queries.append((waiter, request))
        if not self._scheduled:
            self._schedule()

    def on_frame(self, node: str, payload: bytes) -> None:
        """Messages of a peer. Raises `MalformedInput`, which drops the link."""
        peer = self._numbers.get(node)
        if peer is None or self._decode is None:
            self.counters["malformed"] += 1
            raise MalformedInput(f"node {node} has no replica of {self.service}")
        try:
            messages = self._decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self.counters["malformed"] += 1
            raise MalformedInput(f"messages of {node} for {self.service} do not decode: {error}") from error
        self.counters["messages"] += len(messages)
        self._inbox += [(peer, message) for message in messages]
        if not self._scheduled:
            self._schedule()

    def on_event(self, node: str, event: Any) -> None:
        """What happened to the link to a node."""
        if node in self._numbers:
            self._inbox.append((self._numbers[node], event))
            if not self._scheduled:
                self._schedule()

    # -- A turn

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self.halted is not None:
            self._refuse_all()
            return
        try:
            self._inputs()
        except Exception as error:
            self._on_defect(error)
        self._finish()

    def _inputs(self) -> None:
        now_us, core, absorb = clock_us(), self.core, self._gate.absorb
        self.counters["turns"] += 1
        self._tell_time(now_us)
        if self._inbox:
            inbox, self._inbox = self._inbox, []
            for peer, message in inbox:
                absorb(core.receive(now_us, peer, message))
        if self._queries and self._timed is not None and self._is_due(self._timed):
            self._commands.insert(0, (self._ignored, Request(Advance(time.time_ns() // 1_000_000))))
        if self._commands:
            waiting, self._commands = self._commands, []
            if commands := self._admitted(self._within_limit(waiting)):
                self._advance(commands)
                self.counters["commands"] += len(commands)
                absorb(core.submit(now_us, commands))
        if self._queries:
            waiting, self._queries = self._queries, []
            if queries := self._within_limit(waiting):
                self.counters["queries"] += len(queries)
                absorb(core.ask(now_us, queries))

    def _on_defect(self, error: Exception) -> None:
        """A core that raises has lost its step, and perhaps half a change: it must not go on. The report
        tells where; the replica halts like at any broken invariant."""
        logger.error("%s: its core has raised an exception", self.service, exc_info=error)
        self._gate.halt = Halt(
            "defect", f"a defect in this version: {type(error).__name__}: {error}; the log tells where"
        )

    def _tell_time(self, now_us: int) -> None:
        if self._time_keeper is not None:
            self._time_keeper.set_clock(now_us, time.time_ns() // 1_000_000)

    def _admitted(self, waiting: list[tuple[Waiter, Request]]) -> list[tuple[Waiter, Request]]:
        """Those that the app's door lets in; the others are told why not, and nothing is logged of them."""
        now_ms, admit = time.time_ns() // 1_000_000, self.machine.admit
        admitted = []
        for waiter, request in waiting:
            refusal = admit(request, now_ms)
            if refusal is None:
                admitted.append((waiter, request))
            else:
                waiter.deliver(refusal)
        if len(admitted) < len(waiting):
            self._on_turn()
        return admitted

    def _within_limit(self, waiting: list[tuple[Waiter, Request]]) -> list[tuple[Waiter, Request]]:
        """Those that may wait for the disk too; the others are refused."""
        room = max(0, self._waiting_max - self._gate.replies_held)
        if len(waiting) <= room:
            return waiting
        for waiter, _ in waiting[room:]:
            waiter.deliver(Overloaded(self._waiting_max))
        self._on_turn()
        return waiting[:room]

    def _advance(self, commands: list[tuple[Waiter, Request]]) -> None:
        """Let the replicated time follow the clock, carried by a batch that goes anyway."""
        if self._time_keeper is not None:
            return
        now_ms = time.time_ns() // 1_000_000
        if now_ms - self.machine.now_ms >= ADVANCE_MS:
            commands.insert(0, (self._ignored, Request(Advance(now_ms))))

    def _look_at_time(self) -> None:
        """Let the replicated time move when the app has something to do then."""
        if self._timely is None or self.halted is not None:
            return
        due_ms, now_ms = self._timely.due_ms(self.machine.store), time.time_ns() // 1_000_000
        if due_ms is not None and due_ms <= now_ms:
            self.submit(self._ignored, Request(Advance(now_ms) if self._time_keeper is None else PassTime()))
        self._due_timer = self._loop.call_later(DUE_LOOK_S, self._look_at_time)

    def _is_due(self, timed: Timed) -> bool:
        """Whether the replicated time lies behind something that has happened by the clock."""
        due_ms = timed.due_ms(self.machine.store)
        return due_ms is not None and self.machine.now_ms < due_ms <= time.time_ns() // 1_000_000

    def _wake(self) -> None:
        self._timer = None
        if self.halted is not None:
            return
        now_us = clock_us()
        self._tell_time(now_us)
        try:
            self._gate.absorb(self.core.wake(now_us))
        except Exception as error:
            self._on_defect(error)
        if self._time_keeper is not None:
            self._finish()
            return
        if time.time_ns() // 1_000_000 - self.machine.now_ms >= IDLE_ADVANCE_MS and not self._commands:
            now_ms = time.time_ns() // 1_000_000
            self.submit(self._ignored, Request(Advance(now_ms)))
        self._finish()

    def _finish(self) -> None:
        """Let leave what may leave, write what is to be written."""
        gate = self._gate
        if gate.events:
            for event in gate.events:
                logger.info("%s: %s", self.service, event)
            gate.events.clear()
        self._release()
        group = gate.next_group()
        if group is not None:
            self._write(group)
        if gate.halt is not None and self.halted is None:
            self._halt(gate.halt)
            return
        if gate.wake_us is not None:
            self._set_timer(gate.wake_us)

    def _release(self) -> None:
        gate = self._gate
        if self._is_stuck:  # silence, so that the peers go on without it; to them it is as if messages were lost
            gate.data.clear()
            gate.promises.clear()
        elif gate.data or gate.promises:
            outgoing: dict[Peer, list[Any]] = {}
            for peer, message in gate.data:
                outgoing.setdefault(peer, []).append(message)
            for peer, message in gate.promises:
                outgoing.setdefault(peer, []).append(message)
            gate.data.clear()
            gate.promises.clear()
            for peer, messages in outgoing.items():
                self._post(self._peers[peer], messages)
            self._flush()  # before the journal's turn: what may leave should be on its way
        if gate.replies:
            for waiter, reply in gate.replies:
                waiter.deliver(reply)
            gate.replies.clear()
            self._on_turn()
        if gate.changes or gate.missed:
            for change in gate.changes:
                self._on_change(change)
            gate.changes.clear()
            if gate.missed:
                gate.missed = False
                self._on_missed()
            self._on_turn()

    def _post(self, node: str, messages: list[Any]) -> None:
        payload = _encode(messages)
        if self._room is not None and len(messages) > 1 and len(payload) > self._room(node):
            half = len(messages) // 2
            self._post(node, messages[:half])
            self._post(node, messages[half:])
        else:
            self._send(node, payload)

    def _set_timer(self, wake_us: int) -> None:
        timer = self._timer
        if timer is not None:
            if self._timer_us == wake_us:
                return
            timer.cancel()
        self._timer_us = wake_us
        self._timer = self._loop.call_later(max(0, wake_us - clock_us()) / 1e6, self._wake)

    # -- The journal

    def _write(self, group: Group) -> None:
        self.counters["groups"] += 1
        self.counters["records"] += len(group.records)
        self._under_way = group
        self._writer.submit(group, self._written)

    def _written(self) -> None:
        if self.halted is not None:
            return
        self._under_way = None
        self._tell_time(clock_us())
        if self._is_stuck:
            self._is_stuck = False
            logger.warning("%s: the disk goes on", self.service)
        self._gate.written()
        try:
            self._gate.absorb(self.core.synced(clock_us(), self._gate.records_synced))
        except Exception as error:
            self._on_defect(error)
        self._finish()

    def _look(self) -> None:
        """A write that is under way at two looks is stuck, however long this process itself was paused."""
        if self.halted is not None:
            return
        if self._under_way is not None and self._under_way is self._seen_under_way:
            why = f"the disk of {self.service} here has not ended a write for {self._look_seconds:g} s"
            if not self._is_stuck:
                self._is_stuck = True
                logger.error("%s", why)
            self._on_stall(Unknown(why))
        self._seen_under_way = self._under_way
        self._look_timer = self._loop.call_later(self._look_seconds, self._look)

    def _on_journal_failure(self, error: Exception) -> None:
        self._halt(Halt("disk", str(error)))

    def _halt(self, halt: Halt) -> None:
        if self.halted is not None:
            return
        self.halted = halt
        logger.critical("%s halts (%s): %s", self.service, halt.code, halt.text)
        self._refuse_all()
        self._on_halt(halt)

    def _refuse_all(self) -> None:
        """A halted replica answers what still comes in."""
        assert self.halted is not None
        waiting = [*self._commands, *self._queries]
        self._commands, self._queries, self._inbox = [], [], []
        for waiter, _ in waiting:
            waiter.deliver(Unavailable(f"{self.service} has halted here: {self.halted.text}"))
        self._on_turn()

    def status(self) -> dict[str, Any]:
        """For operators."""
        status = self.core.status()
        if self.halted is not None:
            status["state"] = "halted"
            status["waiting_for"] = self.halted.text
        elif self._is_stuck:
            status["waiting_for"] = "its disk, which does not end a write"
        return {**status, "counters": self.counters}
