"""The one who breaks things under the sequencer protocol, within what it tolerates.

Processes may stop, and links break, as they like: what is on the disks comes back. But a replica that
is wrong, or has no state, leaves the others to be believed: of three managers one at a time may be
so, and meanwhile no other may stop; of four one that is wrong and one that has lost its disk. Nothing
of that kind strikes unless all others are there, and have the state as of the last number; and it
counts until it is whole again.

Beyond that, one replica after the other may go wrong or lose its state, as long as one is left that is right, and no
two that are wrong say the same; and now and then an operator says whose replica is right, who mostly knows.
"""

from __future__ import annotations

from holdfast.kernel.contracts import Reply, Request
from holdfast.replication.sequencer.replica import RIGHT
from holdfast.replication.sequencer.words import Fault, Trust
from holdfast.sim.audit import Violation
from holdfast.sim.host import Attempt, Host
from holdfast.sim.nemesis import Nemesis, NemesisOptions
from holdfast.sim.network import Network
from holdfast.sim.sequencer.ledger import Ledger
from holdfast.sim.sequencer.station import Station
from holdfast.sim.world import World

STOPS = ("crash", "power", "moment", "crash-all", "depose", "pause", "long-pause", "slow-disk", "skew", "empty-disk")
LINKS = ("break", "slow", "split", "one-way")
PLANTS = ("wrong", "state", "garbage", "silent", "late", "dead", "raise", "flicker")
"""What may be planted in a replica."""
FAULTS = (*STOPS, *LINKS, *PLANTS)
"""Every kind."""
SKEW_MS_MAX = 3_600_000
ALIKE = (("wrong", "flicker"), ("garbage",), ("state",))
"""Two replicas that are wrong in the same of these ways could be believed."""
WORD_US_MAX = 2_000_000
"""An operator says something about that often."""
DOUBT_US = 3_000_000
"""So long after a restart has healed a replica, what it said before may still be on its way."""


class _Operator(Attempt):
    """Says a word of operators."""

    def answered(self, reply: Reply) -> None:
        """It is done."""

    def disconnected(self) -> None:
        """It may be done."""


class Weather(Nemesis):
    """See the module."""

    hosts: list[Station]  # type: ignore[assignment]  # they are all stations here
    known = dict.fromkeys(FAULTS, ("majority",))

    def __init__(
        self, world: World, network: Network, hosts: list[Station], options: NemesisOptions, ledger: Ledger
    ) -> None:
        super().__init__(world, network, list(hosts), options, lambda host, ms: None)
        self.ledger = ledger
        self.managers = [host for host in hosts if host.manages]
        self.wrong_max = hosts[0].ground.configuration(0, 0).wrong_max
        self.healed_us: dict[int, int] = {}
        self.is_beyond = hosts[0].ground.is_beyond
        self.does_err = self.is_beyond and world.chance(0.3)
        """Whether the operator may take a wrong replica for right."""

    def begin(self) -> None:
        super().begin()
        if self.is_beyond:
            self.world.after(self.world.between(0, WORD_US_MAX), self._say_whom_to_trust)

    # ---- who is whole ----

    def healthy(self, host: Station) -> bool:
        """It runs, counts, and its replica has the right state and is not meant to do otherwise."""
        if host.state != "up" or host.core is None:
            return False
        manager, replica = host.core.manager, host.core.replica
        is_well = replica.state == RIGHT and replica.fault in ("none", "slow") and self.ledger.is_right(host.core)
        will_raise = "_replies" in vars(replica)  # see `_raise`: it may be long until the next request
        counts = manager.admitted and self.ledger.shelves[host.number].counts  # and would after a restart
        return bool(is_well and not will_raise and counts and host.number not in manager.council.copies)

    def _look_after(self) -> None:
        """Who is whole again, by a copy or because its process was restarted?"""
        for host in self.managers:
            if not self.healthy(host):
                self.healed_us.pop(host.number, None)
                continue
            since_us = self.healed_us.setdefault(host.number, self.world.now_us)
            host.whole = host.whole or host.number not in self.ledger.planted
            if host.core.replica.fault == "none" and self.world.now_us - since_us > DOUBT_US:
                self.ledger.planted.pop(host.number, None)

    def _may_fail(self, host: Station, *, is_plant: bool) -> bool:
        """Whether the model lets this replica go wrong or lose its state now."""
        self._look_after()
        planted = [other for other in self.managers if other.number in self.ledger.planted]
        lost = [other for other in self.managers if not other.whole]
        if self.stopped or self.wrong_max == 0 or host in planted or host in lost:
            return False
        if (planted or lost or len(self.managers) <= 3 or self.is_beyond) and not self._are_joined(host):
            return False  # who is cut off fails too: the others may forget what it lacks
        if self.is_beyond:
            others = [other for other in self.managers if other is not host and other not in (*planted, *lost)]
            is_one_left = any(self.healthy(other) and self._is_level(other) for other in others)
            return is_one_left and (is_plant or not lost)
        if len(planted) + len(lost) >= (2 if len(self.managers) > 3 else 1) or (planted if is_plant else lost):
            return False
        others = [other for other in self.managers if other is not host and other not in (*planted, *lost)]
        return all(self.healthy(other) and self._is_level(other) for other in others)

    def _are_joined(self, without: Host) -> bool:
        """Every manager but this one can reach every other one."""
        numbers = [host.number for host in self.managers if host is not without]
        return all(self.network.are_joined(a, b) for a in numbers for b in numbers if a < b)

    def _is_level(self, host: Station) -> bool:
        """It has executed everything, and would again after a restart."""
        frontier = self.ledger.frontier
        return bool(host.core.replica.position == frontier and self.ledger.shelves[host.number].last >= frontier)

    @property
    def is_weak(self) -> bool:
        """Of three managers one is wrong or has no state: the others are all that there is."""
        self._look_after()
        failing = any(not host.whole or host.number in self.ledger.planted for host in self.managers)
        return failing and (2 < len(self.managers) <= 3 or self.is_beyond)

    def may_stop(self, host: Host) -> bool:
        """A process may stop, for its disk is kept; but of three managers, only one at a time may fail in any way."""
        return not self.stopped and not (host.number in [one.number for one in self.managers] and self.is_weak)

    def _crash_all(self, host: Host) -> None:
        if not self.is_weak:
            super()._crash_all(host)

    def _split(self, host: Host) -> None:
        if not self.is_weak:
            super()._split(host)

    def _one_way(self, host: Host) -> None:
        if not self.is_weak:
            super()._one_way(host)

    def _halted(self, host: Host) -> None:
        assert host.halted is not None
        raise Violation("halted", f"{host.name} halts: {host.halted.text}")

    # ---- processes and clocks ----

    def _depose(self, _host: Host) -> None:
        """The sequencer crashes, and perhaps whoever takes over, soon after."""
        cores = [host.core for host in self.hosts if host.state == "up"]
        known = max(cores, key=lambda core: core.shared.epoch, default=None)
        if known is None or known.shared.sequencer is None:
            return
        sequencer = self.hosts[known.shared.sequencer]
        if sequencer.alive and self.may_stop(sequencer):
            self._struck(f"depose {sequencer.name}")
            sequencer.crash(silent=self.world.chance(0.3))
            self.start_later(sequencer)
            if self.world.chance(0.5):
                self.world.after(self.world.between(1_000, 500_000), self._depose, sequencer)

    def _skew(self, host: Host) -> None:
        """A clock on the wall is set, and not right."""
        assert isinstance(host, Station)
        host.wall_offset_ms = self.world.random.choice((0, 1, -1)) * self.world.between(1, SKEW_MS_MAX)
        self._struck(f"skew {host.name} by {host.wall_offset_ms} ms")

    # ---- disks ----

    def _replace_disk(self, host: Host) -> None:
        assert isinstance(host, Station)
        self.disks += 1
        host.whole = not host.manages
        host.put_disk(self.disks)

    def _may_lose_disk(self, host: Host) -> bool:
        assert isinstance(host, Station)
        return not self.stopped and (not host.manages or self._may_fail(host, is_plant=False))

    # ---- replicas ----

    def _plant(self, kind: str, fault: str) -> Station | None:
        """Plant it in some manager's replica, if the model lets one go wrong now; in which."""
        host = self.world.random.choice(self.managers)
        if host.state != "up" or not self._may_fail(host, is_plant=True):
            return None
        if any(kind in alike and other in alike for alike in ALIKE for other in self.ledger.planted.values()):
            return None
        self._struck(f"{kind} replica {host.name}")
        self.ledger.plant(host.number, kind)
        self.healed_us.pop(host.number, None)
        host.request(_Operator(), Request(Fault(fault)), False)  # type: ignore[arg-type]
        return host if host.state == "up" else None  # that input may have been its last

    def _wrong(self, _host: Host) -> None:
        self._plant("wrong", "wrong")

    def _state(self, _host: Host) -> None:
        self._plant("state", "state")

    def _garbage(self, _host: Host) -> None:
        self._plant("garbage", "garbage")

    def _silent(self, _host: Host) -> None:
        self._plant("silent", "silent")

    def _late(self, _host: Host) -> None:
        self._plant("late", "slow")

    def _dead(self, _host: Host) -> None:
        self._plant("dead", "crash")

    def _raise(self, _host: Host) -> None:
        """A real bug in the app: its next request raises."""
        host = self._plant("raise", "none")
        if host is not None:
            replica = host.core.replica

            def raises(first: int, run: object) -> list[Reply]:
                del replica._replies  # once
                raise RuntimeError("a planted bug of the app")

            replica._replies = raises

    def _flicker(self, _host: Host) -> None:
        """Wrong for a moment, and right again by itself."""
        host = self._plant("flicker", "wrong")
        if host is not None:
            self.world.after(self.world.between(1_000, 300_000), self._right_again, host)

    def _right_again(self, host: Station) -> None:
        if host.state == "up" and host.core.replica.fault == "wrong":
            host.request(_Operator(), Request(Fault("none")), False)

    # ---- operators ----

    def _say_whom_to_trust(self) -> None:
        """Again and again, also in the calm, whether or not it is of use; at any node."""
        running = [host for host in self.managers if host.state == "up"]
        right = [host for host in running if self.healthy(host)]
        if self.does_err and not self.stopped and self.world.chance(0.3):
            right = running
        if right:
            trusted, told = self.world.random.choice(right), self.world.random.choice(running)
            if self.world.tracing:
                self.world.note(f"   ! the operator says to {told.name} that the replica of {trusted.name} is right")
            told.request(_Operator(), Request(Trust(trusted.name)), False)
        self.world.after(self.world.between(1_000, WORD_US_MAX), self._say_whom_to_trust)
