"""A host: one process with a gate, a core and a machine, on a disk, with a clock of its own.

It does for a core what the real driver does (`kernel.contracts`, caller's duties), in virtual
time. It may die between any two of its acts: `mortality` counts them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from holdfast.kernel.contracts import Change, Halt, Peer, Reply, Request, Step, TimeKeeper, Timely
from holdfast.kernel.gate import Gate, Group
from holdfast.kernel.machine import Advance, Machine, PassTime
from holdfast.sim.audit import Audit, Probe, ProcessAudit
from holdfast.sim.disk import Disk
from holdfast.sim.network import Network
from holdfast.sim.trace import host_name, render
from holdfast.sim.world import Event, World

WALL_MS = 1_795_218_000_000
"""The time of day at the beginning of every run: 2026-11-20 23:40 UTC."""
ADVANCE_MS = 1_000
"""So far the replicated time may lie behind the clock before a batch brings it along, as in the driver."""

DUE_LOOK_US = 200_000
"""So often the driver looks whether its app has something to do because time has passed."""


class DiskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds until a group is synced, and how often that takes long."""

    sync_us_min: int = 80
    sync_us_max: int = 1_200
    slow_share: float = 0.03
    slow_us_max: int = 30_000


class Setup(msgspec.Struct, frozen=True):
    """How a process is built: `core(host)` makes its core, `gate()` its gate; `probe(core)` looks at one.
    `lying_disk`: a planted bug, a sync that only reaches a cache which a loss of power empties."""

    core: Callable[[Host], Any]
    probe: Callable[[Any], Probe]
    gate: Callable[[], Gate] = Gate
    lying_disk: bool = False


@cache
def _decoder_of(messages: Any) -> Callable[[bytes], Any]:
    """Decoders take long to make, and processes start often."""
    return msgspec.msgpack.Decoder(messages).decode


class Died(Exception):
    """Unwinds a process that is killed in the middle of an input."""


class Attempt(ABC):
    """One sending of one request to one host, as the host sees it: the token a core carries."""

    @abstractmethod
    def answered(self, reply: Reply) -> None:
        """The host let a reply go."""

    @abstractmethod
    def disconnected(self) -> None:
        """The connection to the host broke."""


class Unheard(Attempt):
    """What a node puts to its own replica without waiting for an answer."""

    def answered(self, reply: Reply) -> None:
        """Nobody waits for it."""

    def disconnected(self) -> None:
        """Nobody waits for it."""


def machine_of(core: Any) -> Machine:
    """The machine that a core runs."""
    machine: Machine = core.machine if hasattr(core, "machine") else core.replica.machine
    return machine


class Host:
    """`state` is "down", "up", "paused" or "halted". `whole` tells whether its disk holds all that it ever promised.
    `due_look_us`: how often it looks whether its app has something to do because time has passed, as the driver
    does; 0 for an app that minds no time."""

    due_look_us = 0

    def __init__(self, number: Peer, world: World, network: Network, audit: Audit, setup: Setup, disk: Disk) -> None:
        self.number = number
        self.name = host_name(number)
        self.world = world
        self.network = network
        self.audit = audit
        self.setup = setup
        self.disk = disk
        self.disk_options = DiskOptions()
        self.disk_stalled_until_us = 0
        self.clock_offset_us = world.between(0, 1_000_000_000)
        self.state = "down"
        self.whole = True
        self.incarnation = 0
        self.halted: Halt | None = None
        self.core: Any = None
        self.process = ProcessAudit(world, number)
        self.gate = setup.gate()
        self.mortality: int | None = None
        self.may_die: Callable[[Host], bool] = lambda _host: True
        self.on_halt: Callable[[Host], None] = lambda _host: None
        self._decode: Callable[[bytes], Any] = lambda _payload: None
        self._encode = msgspec.msgpack.Encoder().encode
        self._writing: Group | None = None
        self._cache: list[Group] = []
        self._waking: Event | None = None
        self._waking_us: int | None = None
        self._turn: Event | None = None
        self._arrived: list[tuple[Attempt, Request, bool]] = []
        self._looking: Event | None = None
        self._inbox: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._attempts: dict[Attempt, None] = {}

    # ---- life ----

    @property
    def alive(self) -> bool:
        """A process runs here, if only paused."""
        return self.state in ("up", "paused")

    def now_us(self) -> int:
        """This host's clock (CLOCK_BOOTTIME): it never goes back, and no two hosts agree."""
        return self.world.now_us + self.clock_offset_us

    @property
    def wall_ms(self) -> int:
        """The time of day by this host's clock, Unix milliseconds."""
        return WALL_MS + self.world.now_us // 1000

    def probe(self) -> Probe | None:
        """What its core shows, or None if no process runs."""
        return self.setup.probe(self.core) if self.core is not None else None

    def start(self) -> None:
        """A process starts on the disk and recovers."""
        assert not self.alive, f"{self.name} runs already"
        self.incarnation += 1
        self.state = "up"
        self.halted = None
        self.gate = self.setup.gate()
        self.core = self.setup.core(self)
        self._decode = _decoder_of(self.core.messages)
        self.process = ProcessAudit(self.world, self.number)
        if self.world.tracing:
            self.world.note(f"{self.name} starts, process {self.incarnation} on disk {self.disk.id}")
        self.network.process_started(self.number)
        self._input(self._recover)
        self._look_later()

    def _recover(self) -> None:
        self._take(self.core.recover(self.now_us(), self.disk.recovered()))

    def crash(self, silent: bool = False) -> None:
        """The process dies; what was not synced is lost. `silent`: its machine loses power, so nobody is told."""
        assert self.alive, f"{self.name} does not run"
        if self.world.tracing:
            self.world.note(f"{self.name} {'loses power' if silent else 'crashes'}")
        self._end("down", silent)

    def _end(self, state: str, silent: bool) -> None:
        self.state = state
        self.mortality = None
        for event in (self._waking, self._turn, self._looking):
            if event is not None:
                event.cancel()
        self._waking = self._turn = self._looking = None
        self._waking_us = None
        if self._writing is not None:
            if self.world.chance(0.5):
                self.disk.write(self._writing)
            self._writing = None
        if not silent:
            self._empty_cache()
        self._cache.clear()
        self.core = None
        unheard = [attempt for attempt, _, _ in self._arrived]
        self._arrived.clear()
        self._inbox.clear()
        attempts, self._attempts = [*self._attempts, *unheard], {}
        self.network.process_ended(self.number, silent)
        if not silent:
            for attempt in attempts:
                attempt.disconnected()

    def pause(self) -> None:
        """The process stops (a signal, a sleeping laptop); what reaches it waits."""
        assert self.state == "up", f"{self.name} is {self.state}"
        self.state = "paused"
        if self.world.tracing:
            self.world.note(f"{self.name} pauses")

    def resume(self) -> None:
        """It goes on, with all that waited, in order; but its timers may come before everything else."""
        if self.state != "paused":
            return
        self.state = "up"
        if self.world.tracing:
            self.world.note(f"{self.name} resumes, {len(self._inbox)} inputs wait")
        waited, self._inbox = self._inbox, deque()
        if self.world.chance(0.5):
            waited = deque(sorted(waited, key=lambda entry: entry[0] != self._wake))
        while waited and self.state == "up":
            handler, arguments = waited.popleft()
            self._input(handler, *arguments)

    def _input(self, handler: Callable[..., None], *arguments: Any) -> None:
        """Everything that happens to the process comes through here."""
        if self.state == "paused":
            self._inbox.append((handler, arguments))
        elif self.state == "up":
            try:
                self._mortal()
                self._prepare()
                handler(*arguments)
            except Died:
                self.crash()

    def _prepare(self) -> None:
        """What a core has to be told before any input. Here nothing."""

    def _mortal(self) -> None:
        """A moment at which the process may be killed."""
        if self.mortality is not None:
            self.mortality -= 1
            if self.mortality <= 0:
                self.mortality = None
                if self.may_die(self):
                    raise Died

    # ---- time ----

    def _look_later(self) -> None:
        if self.due_look_us and self.state == "up" and isinstance(machine_of(self.core).app, Timely):
            self._looking = self.world.after(self.due_look_us, self._input, self._look_at_time)

    def _look_at_time(self) -> None:
        """Let the replicated time move when the app has something to do then."""
        machine = machine_of(self.core)
        due_ms = machine.app.due_ms(machine.store) if isinstance(machine.app, Timely) else None
        if due_ms is not None and due_ms <= self.wall_ms:
            command = PassTime() if isinstance(self.core, TimeKeeper) else Advance(self.wall_ms)
            self._request(self._unheard(), Request(command), False)
        self._look_later()

    def _unheard(self) -> Attempt:
        return Unheard()

    # ---- inputs ----

    def receive(self, source: Peer, payload: Any) -> None:
        """Bytes of a peer, or a local event about it."""
        self._input(self._receive, source, payload)

    def _receive(self, source: Peer, payload: Any) -> None:
        message = self._decode(payload) if isinstance(payload, bytes) else payload
        if self.world.tracing:
            self.world.note(f"{host_name(source)} -> {self.name} {render(message)}")
        self._take(self.core.receive(self.now_us(), source, message))

    def request(self, attempt: Attempt, request: Request, is_query: bool) -> None:
        """A client's request arrives; what arrives in one turn is submitted together."""
        self._input(self._request, attempt, request, is_query)

    def _request(self, attempt: Attempt, request: Request, is_query: bool) -> None:
        self._arrived.append((attempt, request, is_query))
        if self._turn is None:
            self._turn = self.world.after(self.world.between(0, 300), self._turn_comes)

    def _turn_comes(self) -> None:
        self._turn = None
        self._input(self._submit)

    def _submit(self) -> None:
        arrived, self._arrived = self._arrived, []
        for attempt, _, _ in arrived:
            self._attempts[attempt] = None
        if self.world.tracing:
            for _, request, _ in arrived:
                self.world.note(f"{self.name} <- {request.client}:{request.number} {render(request.command)}")
        commands = [(attempt, request) for attempt, request, is_query in arrived if not is_query]
        queries = [(attempt, request) for attempt, request, is_query in arrived if is_query]
        if commands:
            self._take(self.core.submit(self.now_us(), commands))
        if queries and self.state == "up":
            self._mortal()
            self._take(self.core.ask(self.now_us(), queries))

    def _wake_comes(self) -> None:
        self._waking = None
        self._waking_us = None
        self._input(self._wake)

    def _wake(self) -> None:
        self._take(self.core.wake(self.now_us()))

    # ---- what comes out ----

    def _take(self, step: Step) -> None:
        self.process.step(step)
        self.gate.absorb(step)
        if self.world.tracing:
            for text in self.gate.events:
                self.world.note(f"{self.name}    * {text}")
        self.gate.events.clear()
        self._mortal()
        self._flush()
        self._schedule_wake()
        self._look()
        if self.gate.halt is not None:
            self.halted = self.gate.halt
            if self.world.tracing:
                self.world.note(f"{self.name} halts: {self.halted.text}")
            self._end("halted", silent=False)
            self.on_halt(self)

    def _look(self) -> None:
        """The core may be looked at: it has just returned a step."""
        self.audit.state(self.process, self.setup.probe(self.core))

    def _changed(self, change: Change) -> None:
        """An outcome that whoever watches is told. Here nobody watches."""

    def _missed(self) -> None:
        """Whoever watches is told that there were changes which nobody is told. Here nobody watches."""

    def _flush(self) -> None:
        gate = self.gate
        if gate.data:
            data, gate.data = gate.data, []
            for peer, message in data:
                self.network.send(self.number, peer, self._encode(message))
                self._mortal()
        if gate.promises:
            promises, gate.promises = gate.promises, []
            for promise in promises:
                self.process.leaves(promise)
                self.network.send(self.number, promise[0], self._encode(promise[1]))
                self._mortal()
        if gate.replies:
            replies, gate.replies = gate.replies, []
            for answer in replies:
                self.process.leaves(answer)
                attempt, reply = answer
                self._attempts.pop(attempt, None)
                attempt.answered(reply)
                self._mortal()
        if gate.changes:
            changes, gate.changes = gate.changes, []
            for change in changes:
                self.process.leaves(change)
                self._changed(change)
        if gate.missed:
            gate.missed = False
            self._missed()
        self._write()

    def _write(self) -> None:
        if self._writing is not None:
            return
        group = self.gate.next_group()
        if group is None:
            return
        self._writing = group
        options = self.disk_options
        top_us = options.slow_us_max if self.world.chance(options.slow_share) else options.sync_us_max
        synced_us = self.world.now_us + self.world.between(options.sync_us_min, top_us)
        self.world.at(max(synced_us, self.disk_stalled_until_us), self._synced, group, self.incarnation)

    def _synced(self, group: Group, incarnation: int) -> None:
        if self.incarnation != incarnation or not self.alive:
            return
        self._cache.append(group)
        if not self.setup.lying_disk:
            self._empty_cache()
        self.process.synced(group)
        self._writing = None
        self._input(self._written)

    def _empty_cache(self) -> None:
        for group in self._cache:
            self.disk.write(group)
        self._cache.clear()

    def _written(self) -> None:
        self.gate.written()
        self._take(self.core.synced(self.now_us(), self.gate.records_synced))
        self._flush()

    def _schedule_wake(self) -> None:
        wake_us = self.gate.wake_us
        if wake_us == self._waking_us:
            return
        if self._waking is not None:
            self._waking.cancel()
        self._waking = None
        self._waking_us = wake_us
        if wake_us is not None:
            late_us = self.world.between(0, 500)
            self._waking = self.world.at(wake_us - self.clock_offset_us + late_us, self._wake_comes)
