"""One run under the sequencer protocol: stations in their roles, clients, faults, the calm, and the verdict."""

from __future__ import annotations

import random

from holdfast.sim.audit import Violation
from holdfast.sim.clients import Client, ClientOptions
from holdfast.sim.history import History
from holdfast.sim.host import WALL_MS, Host
from holdfast.sim.nemesis import NemesisOptions
from holdfast.sim.network import Network, NetworkOptions
from holdfast.sim.options import Options
from holdfast.sim.sequencer import bugs
from holdfast.sim.sequencer.ground import draw_ground
from holdfast.sim.sequencer.ledger import Ledger
from holdfast.sim.sequencer.station import Station
from holdfast.sim.sequencer.weather import Weather
from holdfast.sim.site import TIMEOUT_US, Site
from holdfast.sim.workloads import WORKLOADS
from holdfast.sim.world import World

PATIENCE_US = 250_000
"""After so long without a word of the sequencer another one takes over; faults are measured by it."""
VISITS_US = 20_000
"""In the calm somebody asks that often, so that a wrong replica is found."""


class SequencerSite(Site):
    """All that takes part in one run."""

    search_steps_max = 20_000
    """A history that is harder to decide has its order as a witness: see `_judge`."""

    def __init__(self, options: Options, seed: int, tracing: bool) -> None:
        self.options = options
        self.world = world = World(seed, tracing)
        source = world.random
        self.workload = WORKLOADS[options.app](source)
        self.ground = ground = draw_ground(source, options.failure_model, options.servers, self.workload.app)
        self.audit = self.ledger = Ledger(world, ground.managers, ground.app, ground.configuration(0, 0).agreeing)
        self.history = History()
        self.network = Network(world, ground.nodes, self._network_options(source), self._is_alive)
        bug = bugs.BUGS[options.bug] if options.bug else bugs.NO_BUG
        self.stations = [
            Station(number, world, self.network, self.ledger, ground, bug) for number in range(ground.nodes)
        ]
        self.hosts: list[Host] = list(self.stations)
        self.network.deliver = self._deliver
        gap_us_max = source.choice((30_000, 120_000, 400_000))
        weather_options = NemesisOptions(
            model="majority", timeout_us=PATIENCE_US, faults=options.faults, gap_us_max=gap_us_max
        )
        self.nemesis = self.weather = Weather(world, self.network, self.stations, weather_options, self.ledger)
        self.doors = [self.hosts[number] for number in ground.front_ends]
        self.clients = self._clients(source)
        self.visitor = self._client("visitor", ClientOptions(operations=0), History())
        self._is_visited = False

    def _network_options(self, source: random.Random) -> NetworkOptions:
        transport = self.options.transport
        loss = source.choice((0.0, 0.02, 0.1, 0.3))
        return NetworkOptions(
            transport=transport,
            same_host=source.random() < 0.5,
            delay_us_max=source.choice((200, 1_000, 10_000)),
            slow_us_max=source.choice((2_000, 20_000, PATIENCE_US // 3)),
            loss=loss,
            doubling=source.choice((0.0, 0.05, 0.2)),
            apart=transport == "datagram",
            late_us_max=source.choice((0, 20_000, 1_000_000)) if transport == "datagram" else 0,
        )

    def _is_alive(self, number: int) -> bool:
        return self.stations[number].alive

    def _clients(self, source: random.Random) -> list[Client]:
        count = source.randint(2, 5)
        options = ClientOptions(
            operations=40 // count,
            lanes=source.choice((1, 1, 2, 3)),
            think_us_max=source.choice((1_000, 10_000, 100_000, 400_000)),
            anonymous=source.choice((0.0, 0.04)),
            patience=source.choice((0.96, 0.99)),
        )
        names = [f"c{number}.{WALL_MS}" if source.random() < 0.5 else f"c{number}" for number in range(1, count + 1)]
        return [self._client(name, options, self.history) for name in names]

    def _client(self, name: str, options: ClientOptions, history: History) -> Client:
        common = (options, self._draw, self.workload.person)
        return Client(name, self.world, self.doors, history, self.audit, *common)

    @property
    def figures(self) -> tuple[tuple[str, int], ...]:  # type: ignore[override]
        """What happened, counted; the slowest cure of a wrong replica in milliseconds is not to be summed."""
        return tuple(self.ledger.figures.items())

    # ---- the parts ----

    def play(self) -> None:
        """Faults, calm, last questions, verdict. Raises `Violation`."""
        for host in self.hosts:
            self.nemesis.start_later(host, PATIENCE_US // 5)
        for client in self.clients:
            client.begin()
        self.nemesis.begin()
        least_us = self.world.between(TIMEOUT_US, 4 * TIMEOUT_US)
        self.world.run_until(least_us)
        self.world.run_until(least_us + 6 * TIMEOUT_US, self._clients_finished)
        self._calm()
        self._last_questions()
        self._judge()

    def _calm(self) -> None:
        self._is_visited = True
        self._visit()
        super()._calm()
        self._is_visited = False

    def _visit(self) -> None:
        """Somebody asks something, again and again."""
        if self._is_visited:
            if self.visitor.busy < 3:
                action = self.workload.final_questions()[0]
                self.visitor.run(action, *self.workload.command(action))
            self.world.after(self.world.between(1_000, VISITS_US), self._visit)

    def _last_questions(self) -> None:
        self.world.note("last questions")
        asker = self.clients[0]
        for client in self.clients:
            client.repeat()
        for door in range(len(self.doors)):
            for action in self.workload.final_questions():
                asker.run(action, *self.workload.command(action), target=door)
        self._await("the last questions are answered and all managers are equal", self._equal)

    def _settled(self) -> bool:
        if not self._clients_finished() or not all(host.state == "up" for host in self.hosts):
            return False
        return all(self.weather.healthy(host) for host in self.weather.managers)

    def _equal(self) -> bool:
        if not self._settled() or self.visitor.busy:
            return False
        return all(host.core.replica.position == self.ledger.frontier for host in self.weather.managers)

    def _describe(self) -> str:
        said = super()._describe()
        for host in self.weather.managers:
            if host.core is not None:
                replica, manager = host.core.replica, host.core.manager
                said += (
                    f"; {host.name}: {replica.state} {replica.fault} at {replica.position}, "
                    f"decided {manager.log.decided}, last {manager.log.last}, floor {manager.log.floor}, "
                    f"entered {manager.entered}, promised {manager.promised}, "
                    f"entering {manager.entering is not None}, copies {manager.council.copies}"
                )
        return f"{said}; {self.ledger.frontier} decided; planted {self.ledger.planted}"

    def _judge(self) -> None:
        self.ledger.retold(self.workload.model)
        try:
            super()._judge()
        except Violation as violation:
            if violation.kind != "history undecided":  # too many unknown outcomes to search; the order has told
                raise
        undone = {node: kind for node, kind in self.ledger.planted.items() if kind in ("wrong", "garbage", "dead")}
        for host in self.weather.managers:
            if host.number in undone and not self.weather.healthy(host):
                raise Violation("not replaced", f"the replica of {host.name} is {undone[host.number]} still")
