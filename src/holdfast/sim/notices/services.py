"""The two kinds of service in a run of notices: one of `lamport` or `solo`, and one of `bayou`, with their faults.

Each is what its own site makes of it, hosts, network, audit and verdict; only that days under `bayou` are
seconds here, so that both sides live in the same time.
"""

from __future__ import annotations

from typing import Any

from holdfast.kernel.contracts import Request
from holdfast.kernel.machine import Advance
from holdfast.sim.bayou import verdict as bayou_verdict
from holdfast.sim.bayou.bugs import Bug as OfficeBug
from holdfast.sim.bayou.ground import Ground as OfficeGround
from holdfast.sim.bayou.ledger import Ledger
from holdfast.sim.bayou.office import Office
from holdfast.sim.bayou.operators import Operators
from holdfast.sim.bayou.weather import Weather
from holdfast.sim.bayou.workloads import OfficeWork
from holdfast.sim.disk import Disk
from holdfast.sim.host import Host, Setup, machine_of
from holdfast.sim.messages.post import Book, Post
from holdfast.sim.messages.wing import Wing
from holdfast.sim.nemesis import Model, Nemesis, NemesisOptions
from holdfast.sim.network import Network, NetworkOptions
from holdfast.sim.notices.carrier import Carrier
from holdfast.sim.notices.visitor import Put
from holdfast.sim.protocols import PROTOCOLS, Ground
from holdfast.sim.world import World

TIMEOUT_US = 1_000_000
SECOND_US = 1_000_000
OFFICE_FAULTS = (
    *("crash", "power", "moment", "pause", "slow-disk", "break", "slow", "split", "one-way", "offline"),
    *("skew", "empty-disk", "restored-disk", "truncate", "file"),
)
"""What strikes a service under `bayou` here."""


class Staffed:
    """Where the service is a source, `employ(host)` makes a carrier for each process."""

    def __init__(self) -> None:
        self.carriers: dict[int, Carrier] = {}
        self.employ: Any = None

    def started(self, host: Host) -> None:
        """A process has started."""
        if self.employ is not None and host.alive:
            self.carriers[host.number] = self.employ(host)

    def looked(self, host: Host) -> None:
        """Its core has done something."""
        carrier = self.carriers.get(host.number)
        if carrier is not None and machine_of(host.core).notice_first != carrier.seen:
            carrier.seen = machine_of(host.core).notice_first
            carrier.poke()

    def ended(self, host: Host) -> None:
        """Its process is gone, and the carrier with it."""
        carrier = self.carriers.pop(host.number, None)
        if carrier is not None:
            carrier.end()


class Manned(Host):
    """A host of a service that may be a source."""

    service: Staffed

    def start(self) -> None:
        """See `Host`."""
        super().start()
        self.service.started(self)

    def _look(self) -> None:
        super()._look()
        self.service.looked(self)

    def _end(self, state: str, silent: bool) -> None:
        super()._end(state, silent)
        self.service.ended(self)


class StrictHost(Manned, Post):
    """A host of a service under `lamport` or `solo`."""


class LooseHost(Manned, Wing):
    """A host of a service under `bayou`."""

    due_look_us = 0


class StrictService(Staffed):
    """Under `lamport` or `solo`."""

    def __init__(self, world: World, protocol: str, work: OfficeWork, bend: Any, faults: tuple[str, ...]) -> None:
        super().__init__()
        source = world.random
        self.world = world
        self.work = work
        self.protocol = PROTOCOLS[protocol]
        model: Model = "alone" if protocol == "solo" else source.choice(("perfect", "majority"))
        servers = 1 if protocol == "solo" else source.choice((2, 3, 3, 4))
        self.ground = Ground(model, servers, TIMEOUT_US, source.random() < 0.5, work.app)
        self.book = Book(world)
        setup = _bent(self.protocol.setup(self.ground), bend)
        self.network = Network(
            world, servers, NetworkOptions(delay_us_max=2_000), lambda number: self.hosts[number].alive
        )
        self.network.deliver = self._deliver
        self.hosts: list[StrictHost] = []
        for number in range(servers):
            disk = Disk(number + 1)
            self.protocol.found(disk, number, self.ground)
            host = StrictHost(number, world, self.network, self.book, setup, disk)
            host.service = self
            self.hosts.append(host)
        options = NemesisOptions(
            model=model, timeout_us=TIMEOUT_US, faults=faults, gap_us_max=source.choice((300_000, 2_000_000))
        )
        self.nemesis = Nemesis(world, self.network, self.hosts, options, self._advance)  # type: ignore[arg-type]

    def _deliver(self, target: int, source: int, payload: object) -> None:
        self.hosts[target].receive(source, payload)

    def _advance(self, host: Host, skew_ms: int) -> None:
        if host.alive:
            host.request(Put(lambda _reply: None), Request(Advance(host.wall_ms + skew_ms)), False)

    @property
    def faults(self) -> int:
        """How many were struck."""
        return self.nemesis.count

    def begin(self, until_us: int) -> None:
        """Start the processes, and the faults."""
        for host in self.hosts:
            self.nemesis.start_later(host, TIMEOUT_US // 10)
        self.nemesis.begin()

    def down(self, for_us: int) -> None:
        """The whole service is down for a while, if its model lets it stop."""
        if all(host.whole for host in self.hosts):
            for host in self.hosts:
                if host.alive:
                    host.crash()
                self.world.after(for_us, self.nemesis._start, host)

    def heal(self) -> None:
        """Everything works again."""
        self.nemesis.heal()

    def why_not(self) -> str:
        """What is not well, or ""."""
        for host in self.hosts:
            if host.state != "up" or self.protocol.setup(self.ground).probe(host.core).state != "active":
                return f"{host.name} does not serve"
        probes = [host.setup.probe(host.core) for host in self.hosts]
        if any((probe.position, probe.digest) != (probes[0].position, probes[0].digest) for probe in probes):
            return "the replicas are not equal"
        return ""


class Squalls(Weather):
    """The weather of offices, but in seconds."""

    def begin(self, until_us: int) -> None:
        """All are founders, and start soon."""
        for office in self.offices:
            self.world.after(self.world.between(0, SECOND_US), self._start, office)
        self.world.after(self.world.between(0, self.gap_us_max), self._strike)

    def _some_time(self) -> int:
        return self.world.between(1_000, self.world.random.choice((SECOND_US, 5 * SECOND_US, 15 * SECOND_US)))

    def _skew(self, office: Office) -> str:
        office.set_wall(self.world.between(-3_000, self.ground.forward_bound_ms * 9 // 10))
        return f"clock of {office.name} off by {office.wall_offset_ms} ms"

    def _retire_lost(self, replica: str) -> None:
        """Nobody gives a lost replica up so soon."""


class LooseService(Staffed):
    """Under `bayou`."""

    def __init__(self, world: World, work: OfficeWork, bend: Any, faults: tuple[str, ...]) -> None:
        super().__init__()
        source = world.random
        self.world = world
        self.work = work
        servers = source.choice((2, 3, 3, 4))
        self.ground = OfficeGround(
            policy=source.choice(("all-heard", "immediate")),
            may_lose=False,
            servers=servers,
            founders=servers,
            voters=1 if servers < 3 else source.choice((1, 3)),
            horizon_ms=source.choice((5_000, 30_000)),
            forward_bound_ms=5_000,
            sync_us=source.choice((1, 3)) * SECOND_US,
            patience_us=source.choice((2, 5)) * SECOND_US,
            committed_kept_max=source.choice((3, 10_000)),
            snapshot_every_records=source.choice((15, 20_000)),
            app=work.app,
            wanted_ms=work.wanted_ms,
            clock_text=work.clock_text,
        )
        self.ledger = Ledger(world, False)
        options = NetworkOptions(delay_us_max=5_000, slow_us_max=SECOND_US, redial_us_max=SECOND_US)
        self.network = Network(world, servers, options, lambda number: self.hosts[number].alive)
        self.network.deliver = self._deliver
        self.hosts: list[LooseHost] = []
        for number in range(servers):
            disk = Disk(number + 1)
            self.ground.found(disk, number)
            host = LooseHost(number, world, self.network, self.ledger, self.ground, disk, OfficeBug(bend))
            host.service = self
            self.hosts.append(host)
        self.ledger.most_ahead_ms = lambda _replicas: max(host.ahead_ms for host in self.hosts)
        offices: list[Any] = list(self.hosts)
        self.operators = Operators(world, offices, self.ledger, self.ground)
        gap_us_max = source.choice((500_000, 3_000_000))
        kinds = tuple(kind for kind in faults if kind in OFFICE_FAULTS) or OFFICE_FAULTS
        self.weather = Squalls(
            world, self.network, offices, self.operators, self.ledger, self.ground, kinds, gap_us_max, False
        )

    def _deliver(self, target: int, source: int, payload: object) -> None:
        self.hosts[target].receive(source, payload)

    @property
    def faults(self) -> int:
        """How many were struck."""
        return self.weather.count

    def begin(self, until_us: int) -> None:
        """As the other kind."""
        self.weather.begin(until_us)

    def down(self, for_us: int) -> None:
        """The whole service is down for a while."""
        for host in self.hosts:
            if host.alive:
                host.crash()
            self.world.after(for_us, self.weather._start, host)

    def heal(self) -> None:
        """As the other kind."""
        self.weather.heal()

    def why_not(self) -> str:
        """As the other kind."""
        if any(host.state != "up" for host in self.hosts):
            return "a process is down"
        active = [host.replica for host in self.hosts if host.replica.state != "retired"]
        if any(replica.state != "active" for replica in active):
            return "a replica does not serve"
        first = active[0].log
        for replica in active:
            log = replica.log
            if log.tail or replica.held:
                return f"a write is tentative at {replica.replica}"
            if (log.csn, log.committed_vector) != (first.csn, first.committed_vector):
                return f"{replica.replica} has {log.csn} commits, {first.csn} elsewhere"
        return ""

    def judge(self) -> None:
        """The verdict of the offices, and of the work."""
        bayou_verdict.judge(self.ledger, list(self.hosts), self.work, self.ground)


def _bent(setup: Setup, bend: Any) -> Setup:
    def core(host: Host) -> Any:
        made = setup.core(host)
        bend(made)
        return made

    return Setup(core, setup.probe)
