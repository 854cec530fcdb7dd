"""The site of a run: what takes part in it, and its three parts.

Faults while clients work; the calm, in which everything is healed and every request must be answered
within a stated time; and the last questions, put to every server, after which all of them must be equal.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from holdfast.kernel.contracts import Reply, Request
from holdfast.kernel.machine import Advance
from holdfast.kernel.replies import Advanced
from holdfast.sim import bugs
from holdfast.sim.audit import Audit, Violation
from holdfast.sim.clients import Client, ClientOptions
from holdfast.sim.disk import Disk
from holdfast.sim.history import Action, History
from holdfast.sim.host import DUE_LOOK_US, WALL_MS, Attempt, Host, Setup
from holdfast.sim.linearizability import check
from holdfast.sim.nemesis import Model, Nemesis, NemesisOptions
from holdfast.sim.network import Network, NetworkOptions
from holdfast.sim.options import Options
from holdfast.sim.protocols import PROTOCOLS, Ground
from holdfast.sim.workloads import WORKLOADS, Workload
from holdfast.sim.world import World

TIMEOUT_US = 1_000_000
"""The servers' failure timeout."""
CALM_US_MAX = 15 * TIMEOUT_US
"""The liveness bound: so long after everything is healed, every request is answered and all servers are equal."""
SEARCH_STEPS_MAX = 300_000


class _TimeAttempt(Attempt):
    """A server's node moves the replicated time."""

    def __init__(self, audit: Audit, asked_ms: int) -> None:
        self.audit = audit
        self.least_ms = max(audit.time_ms, asked_ms)

    def answered(self, reply: Reply) -> None:
        if isinstance(reply, Advanced):
            if reply.now_ms < self.least_ms:
                raise Violation("time", f"the replicated time is {reply.now_ms}, but it was {self.least_ms} already")
            self.audit.time_ms = max(self.audit.time_ms, reply.now_ms)

    def disconnected(self) -> None:
        """Nobody waits for it."""


class Site:
    """All that takes part in one run. What another app needs otherwise, a site of its own derives from here."""

    search_steps_max = SEARCH_STEPS_MAX

    def __init__(self, options: Options, seed: int, tracing: bool) -> None:
        self.options = options
        self.world = world = World(seed, tracing)
        source = world.random
        protocol = PROTOCOLS[options.protocol]
        self.workload = self._draw_workload(source)
        servers = options.servers or source.choice(protocol.servers)
        ground = Ground(options.failure_model, servers, TIMEOUT_US, source.random() < 0.5, self.workload.app)
        setup = self._plant(protocol.setup(ground))
        self.audit = self._new_audit()
        self.history = History()
        network_options = NetworkOptions(
            transport=options.transport,
            same_host=source.random() < 0.5,
            delay_us_max=source.choice((200, 1_000, 10_000)),
            slow_us_max=source.choice((2_000, 20_000, TIMEOUT_US // 20)),
        )
        self.network = Network(world, servers, network_options, lambda number: self.hosts[number].alive)
        self.hosts: list[Host] = []
        for number in range(servers):
            disk = Disk(number + 1)
            protocol.found(disk, number, ground)
            self.hosts.append(self._new_host(number, setup, disk))
        self.network.deliver = self._deliver
        model: Model = options.failure_model  # type: ignore[assignment]  # checked by Options
        self.nemesis = Nemesis(world, self.network, self.hosts, self._nemesis_options(model, source), self._advance)
        self.clients = self._clients(source)

    def _draw_workload(self, source: random.Random) -> Workload:
        return WORKLOADS[self.options.app](source)

    def _plant(self, setup: Setup) -> Setup:
        return bugs.plant(self.options.bug, setup)

    def _new_audit(self) -> Audit:
        return Audit(self.world)

    def _new_host(self, number: int, setup: Setup, disk: Disk) -> Host:
        host = Host(number, self.world, self.network, self.audit, setup, disk)
        host.due_look_us = DUE_LOOK_US
        return host

    def _nemesis_options(self, model: Model, source: random.Random) -> NemesisOptions:
        gap_us_max = source.choice((60_000, 250_000, 500_000, TIMEOUT_US))
        return NemesisOptions(model=model, timeout_us=TIMEOUT_US, faults=self.options.faults, gap_us_max=gap_us_max)

    def _clients(self, source: random.Random) -> list[Client]:
        count = source.randint(2, 5)
        options = ClientOptions(
            operations=40 // count,
            lanes=source.choice((1, 1, 2, 3)),
            think_us_max=source.choice((1_000, 10_000, 100_000, 500_000)),
            anonymous=source.choice((0.0, 0.1)),
            patience=source.choice((0.85, 0.97)),
        )
        names = [f"c{number}.{WALL_MS}" if source.random() < 0.5 else f"c{number}" for number in range(1, count + 1)]
        common = (self.world, self.hosts, self.history, self.audit, options, self._draw, self.workload.person)
        return [Client(name, *common) for name in names]

    def _deliver(self, target: int, source: int, payload: object) -> None:
        self.hosts[target].receive(source, payload)

    def _draw(self) -> tuple[Action, object, bool]:
        action = self.workload.draw()
        return action, *self.workload.command(action)

    def _advance(self, host: Host, skew_ms: int) -> None:
        if host.alive:
            now_ms = WALL_MS + self.world.now_us // 1000 + skew_ms
            host.request(_TimeAttempt(self.audit, now_ms), Request(Advance(now_ms)), False)

    # ---- what `run` asks for ----

    @property
    def faults(self) -> int:
        """How many were struck."""
        return self.nemesis.count

    @property
    def operations(self) -> int:
        """How many the history holds."""
        return len(self.history.operations)

    figures: tuple[tuple[str, int], ...] = ()

    # ---- the three parts ----

    def play(self) -> None:
        """Faults, calm, last questions, verdict. Raises `Violation`."""
        for host in self.hosts:
            self.nemesis.start_later(host, TIMEOUT_US // 10)
        for client in self.clients:
            client.begin()
        self.nemesis.begin()
        faults_until_us = self.world.between(2 * TIMEOUT_US, 12 * TIMEOUT_US)
        self.world.run_until(faults_until_us, self._clients_finished)
        self._calm()
        self._last_questions()
        self._judge()

    def _calm(self) -> None:
        self.world.note("calm begins")
        self.nemesis.heal()
        for client in self.clients:
            client.persist()
        self._await("every request is answered and every server serves", self._settled)

    def _last_questions(self) -> None:
        self.world.note("last questions")
        asker = self.clients[0]
        for client in self.clients:
            client.repeat()
        for host in self.hosts:
            for action in self.workload.final_questions():
                asker.run(action, *self.workload.command(action), target=host.number)
        self._await("the last questions are answered and all servers are equal", self._equal)

    def _await(self, what: str, done: Callable[[], bool]) -> None:
        until_us = self.world.now_us + CALM_US_MAX
        if not done():
            self.world.run_until(until_us, done)
        if not done():
            raise Violation(
                "liveness", f"{CALM_US_MAX} us after everything was healed it is not so that {what}: {self._describe()}"
            )

    def _clients_finished(self) -> bool:
        return all(client.finished for client in self.clients)

    def _settled(self) -> bool:
        return self._clients_finished() and all(
            host.state == "up" and host.setup.probe(host.core).state == "active" for host in self.hosts
        )

    def _equal(self) -> bool:
        if not self._settled():
            return False
        probes = [host.setup.probe(host.core) for host in self.hosts]
        return all((probe.position, probe.digest) == (probes[0].position, probes[0].digest) for probe in probes)

    def _describe(self) -> str:
        hosts = []
        for host in self.hosts:
            probe = host.probe()
            shown = f"{host.state}" if probe is None else f"{host.state} {probe.state} e{probe.epoch} p{probe.position}"
            hosts.append(f"{host.name}: {shown}{'' if host.halted is None else f' ({host.halted.text})'}")
        waiting = [f"{client.name} waits for {list(client.open)}" for client in self.clients if not client.finished]
        return "; ".join([*hosts, *waiting])

    def _judge(self) -> None:
        for operation in self.history.operations:
            if operation.text is not None:
                self.workload.check_answer(operation.action, operation.text)
        verdict = check(self.workload.model, self.history.operations, self.search_steps_max)
        if verdict.outcome != "linearizable":
            raise Violation(f"history {verdict.outcome}", verdict.explanation)
