"""One run under Bayou: offices with their secretaries, days of faults, the calm, and the verdict.

The calm lasts until all is well, and at the latest as long as it may take: until no stamp is from
the future any more and every deadline has passed, and then `ROUNDS` meetings with random peers.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from holdfast.sim.audit import Violation
from holdfast.sim.bayou import bugs, verdict
from holdfast.sim.bayou.ground import DAY_US, HOUR_MS, HOUR_US, MINUTE_US, Ground, draw_ground
from holdfast.sim.bayou.ledger import Ledger
from holdfast.sim.bayou.office import Office
from holdfast.sim.bayou.operators import Operators
from holdfast.sim.bayou.promptness import Promptness
from holdfast.sim.bayou.secretaries import GUARANTEES, Habits, Secretary
from holdfast.sim.bayou.weather import JUMP_DAYS_MAX, Weather
from holdfast.sim.bayou.workloads import OFFICES, OfficeWork
from holdfast.sim.disk import Disk
from holdfast.sim.network import Network, NetworkOptions
from holdfast.sim.options import Options
from holdfast.sim.world import World

ERRANDS = 45
"""Of all secretaries together."""
ROUNDS = 60
FAR = 0.2
FAR_MS = 20 * 24 * HOUR_MS
"""In so many of the runs no horizon is near, so that nothing becomes firm by it."""
SMALL = (100, 400, 2_000)
OFTEN_SMALL = 0.5
"""In so many a message holds so few bytes of writes."""


class BayouSite:
    """All that takes part in one run."""

    def __init__(self, options: Options, seed: int, tracing: bool) -> None:
        self.options = options
        self.world = world = World(seed, tracing)
        source = world.random
        self.work = self._draw_work(source)
        self.ground: Ground = draw_ground(source, options.failure_model, options.servers, self.work)
        self._draw_apart(random.Random(f"{seed}: apart"))
        bug = self._find_bug()
        self.ground = msgspec.structs.replace(self.ground, app=bug.apps(self.ground.app))
        self.ledger = Ledger(world, self.ground.may_lose)
        self.network = Network(world, self.ground.servers, self._network_options(source), self._is_alive)
        self.network.deliver = self._deliver
        self.offices: list[Office] = []
        for number in range(self.ground.servers):
            disk = Disk(number + 1)
            self.ground.found(disk, number)
            self.offices.append(self._new_office(number, disk, bug))
        self.ledger.most_ahead_ms = self._most_ahead_ms
        self.span_us = source.choice((6 * HOUR_US, DAY_US, 2 * DAY_US, 3 * DAY_US))
        self.punctual = source.random() < 0.4
        self.operators = Operators(world, self.offices, self.ledger, self.ground)
        gap_us_max = self.span_us // source.choice((8, 20, 40))
        self.weather = Weather(
            world, self.network, self.offices, self.operators, self.ledger, self.ground, options.faults, gap_us_max,
            self.punctual and source.random() < 0.7,
        )  # fmt: skip
        self.promptness = Promptness(world, self.network, self.offices, self.ground)
        self.secretaries = self._secretaries(source)
        self.asked_last = False
        self.well = False

    def _draw_apart(self, source: random.Random) -> None:
        """What came later: drawn apart, so that nothing else is drawn otherwise for it."""
        ground = self.ground
        horizon_ms = FAR_MS if source.random() < FAR else ground.horizon_ms
        room = source.choice(SMALL) if source.random() < OFTEN_SMALL else ground.updates_bytes_max
        self.ground = msgspec.structs.replace(ground, horizon_ms=horizon_ms, updates_bytes_max=room)

    def _draw_work(self, source: random.Random) -> OfficeWork:
        return OFFICES[self.options.app](source)

    def _find_bug(self) -> bugs.Bug:
        return bugs.BUGS[self.options.bug] if self.options.bug else bugs.NO_BUG

    def _new_office(self, number: int, disk: Disk, bug: bugs.Bug) -> Office:
        return Office(number, self.world, self.network, self.ledger, self.ground, disk, bug)

    def _network_options(self, source: random.Random) -> NetworkOptions:
        return NetworkOptions(
            transport=self.options.transport,
            delay_us_max=source.choice((1_000, 50_000)),
            slow_us_max=source.choice((100_000, MINUTE_US)),
            redial_us_min=1_000_000,
            redial_us_max=10 * MINUTE_US,
        )

    def _secretaries(self, source: random.Random) -> list[Secretary]:
        people = self.work.people(len(self.offices))
        each = -(-ERRANDS // len(people))
        secretaries = []
        for home, person in enumerate(people):
            habits = Habits(
                errands=each,
                think_us_max=min(source.choice((MINUTE_US, HOUR_US, 6 * HOUR_US)), 2 * self.span_us // each),
                roaming=source.choice((0.0, 0.1, 0.4)),
                patience=source.choice((0.8, 0.95)),
                punctual=self.punctual,
                guarantees=tuple(word for word in GUARANTEES if source.random() < 0.4),
            )
            born_ms = "" if source.random() < 0.5 else f".{self.offices[home].wall_ms}"
            secretaries.append(
                Secretary(
                    f"{person.id}{born_ms}",
                    person,
                    home,
                    self.world,
                    self.offices,
                    self.ledger,
                    habits,
                    self.work.draw,
                    self.work.check,
                )
            )
        return secretaries

    def _most_ahead_ms(self, replicas: int) -> int:
        farthest = sorted((office.ahead_ms for office in self.offices), reverse=True)
        return farthest[min(replicas // 2, len(farthest) - 1)]

    def _is_alive(self, number: int) -> bool:
        return self.offices[number].alive

    def _deliver(self, target: int, source: int, payload: object) -> None:
        self.offices[target].receive(source, payload)

    # ---- what `run` asks for ----

    @property
    def faults(self) -> int:
        """How many were struck."""
        return self.weather.count

    @property
    def operations(self) -> int:
        """How many requests were answered."""
        return sum(secretary.done for secretary in self.secretaries)

    @property
    def figures(self) -> tuple[tuple[str, int], ...]:
        """Counted beside, for statistics."""
        return tuple(sorted(self.ledger.figures.items()))

    # ---- the parts ----

    def play(self) -> None:
        """Faults, calm, verdict. Raises `Violation`."""
        self.weather.begin(self.span_us)
        for secretary in self.secretaries:
            secretary.begin()
        self._look_at_promptness()
        self.world.run_until(self.span_us)
        self.world.note("calm begins")
        for secretary in self.secretaries:
            secretary.stop()
        self.weather.heal()
        self._await_calm()
        verdict.judge(self.ledger, self.offices, self.work, self.ground)

    @property
    def calm_us(self) -> int:
        """How long the calm may last."""
        ground = self.ground
        ahead_us = JUMP_DAYS_MAX * DAY_US + ground.horizon_ms * 1_000
        return ahead_us + ROUNDS * ground.sync_us + 20 * ground.patience_us + HOUR_US

    def _await_calm(self) -> None:
        until_us = self.world.now_us + self.calm_us
        self.world.after(MINUTE_US, self._look_around)
        self.world.run_until(until_us, lambda: self.well)
        why = self._why_not()
        if why:
            raise Violation("liveness", f"{self.calm_us // HOUR_US} h after all was healed {why}: {self._describe()}")

    def _look_at_promptness(self) -> None:
        """Not as often while anything may happen: it is seldom whole for long then."""
        self.promptness.look()
        self.world.after(self.ground.patience_us // (10 if self.weather.stopped else 2), self._look_at_promptness)

    def _look_around(self) -> None:
        """Every so often somebody looks whether all is well, and after what was left half done."""
        self.well = not self._why_not()
        if not self.well:
            self.operators.tend()
            self.world.after(self.ground.sync_us, self._look_around)

    def _why_not(self) -> str:
        """What is not well, or ""."""
        if not all(secretary.finished for secretary in self.secretaries):
            return "a secretary waits"
        offices = [office for office in self.offices if office.exists]
        replicas = [office.replica for office in offices if office.state == "up"]
        if len(replicas) < len(offices):
            return "a process is down"
        active = [replica for replica in replicas if replica.state != "retired"]
        if any(replica.state != "active" for replica in active):
            return "a replica does not serve"
        first = active[0].log
        if any(not first.is_committed(name) for replica in replicas for name in replica.log.entries):
            return "a write is tentative"  # at one that has retired too: somebody has to have taken it
        for replica in active:
            log = replica.log
            if log.tail or replica.held:
                return "a write waits"
            if (log.csn, log.committed_vector) != (first.csn, first.committed_vector):
                return f"{replica.replica} has {log.csn} commits, {first.csn} elsewhere"
            mine, others = _members(log), _members(first)
            if mine != others:
                return f"{replica.replica} knows other members: {_difference(mine, others)}"
        return ""

    def _describe(self) -> str:
        return "; ".join(_described(office) for office in self.offices)


def _members(log: Any) -> dict[str, tuple[str, str]]:
    """Who they are. By whom one was created, where two peers were asked, depends on which of them one heard first."""
    return {name: (row.node, row.state) for name, row in log.members.items()}


def _difference(mine: dict[str, Any], others: dict[str, Any]) -> str:
    names = [name for name in sorted({**mine, **others}) if mine.get(name) != others.get(name)]
    return "; ".join(f"{mine.get(name)}, {others.get(name)}" for name in names)


def _described(office: Office) -> str:
    replica: Any = office.replica
    if replica is None:
        return f"{office.name}: {office.state}{'' if office.halted is None else f' ({office.halted.text})'}"
    log = replica.log
    tail = ",".join(f"{entry.write.replica}-{entry.write.number}" for entry in log.tail[:5])
    return (
        f"{office.name}={replica.replica or '?'}: {office.state} {replica.state} e{replica.epoch} of {replica.primary} "
        f"csn {log.csn} tail {len(log.tail)} [{tail}] held {sorted(replica.held)} proposed {len(replica.proposed)}"
    )
