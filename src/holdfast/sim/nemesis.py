"""The one who breaks things, within what the failure model tolerates.

Each seed draws the kinds of fault it uses and how often (few kinds at a time find more than all at
once), then one fault after the other at random moments until the calm begins.

What `perfect` tolerates: processes stop and start again; links break and come back well within the
timeout; a pause is either short against the timeout or makes the server act as restarted; no
splits. A disk may be lost while another server serves, and until its owner serves again the last
one that serves stays up; or all may stop, and all come back with their disks.

What `majority` tolerates: everything, as long as the disks of a majority of the servers are whole.
A damaged or emptied disk counts as whole again when its server is active in a view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Literal

import msgspec

from holdfast.sim.disk import Disk
from holdfast.sim.host import Host
from holdfast.sim.network import Network
from holdfast.sim.world import World

Model = Literal["alone", "perfect", "majority"]

BETWEEN_HOSTS = ("break", "slow", "split", "one-way")
"""Faults that take two."""

FAULTS: dict[str, tuple[Model, ...]] = {
    "crash": ("alone", "perfect", "majority"),
    "power": ("alone", "perfect", "majority"),
    "moment": ("alone", "perfect", "majority"),
    "crash-all": ("alone", "perfect", "majority"),
    "pause": ("alone", "perfect", "majority"),
    "long-pause": ("alone", "perfect", "majority"),
    "break": ("perfect", "majority"),
    "slow": ("perfect", "majority"),
    "slow-disk": ("alone", "perfect", "majority"),
    "empty-disk": ("perfect", "majority"),
    "damaged-disk": ("perfect", "majority"),
    "short-journal": ("majority",),
    "skew": ("alone", "perfect", "majority"),
    "split": ("majority",),
    "one-way": ("majority",),
}
"""Every kind of fault, and the models that tolerate it. `alone` is a service of one process."""


class NemesisOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`faults`: the kinds to draw from (none: all that the model tolerates). Times in microseconds."""

    model: Model
    timeout_us: int
    faults: tuple[str, ...] = ()
    gap_us_max: int = 400_000


class Nemesis:
    """Strikes again and again until `stop`. `known`: the kinds of fault, and the models that tolerate each."""

    known: ClassVar[dict[str, tuple[Model, ...]]] = FAULTS

    def __init__(
        self,
        world: World,
        network: Network,
        hosts: list[Host],
        options: NemesisOptions,
        advance: Callable[[Host, int], None],
    ) -> None:
        self.world = world
        self.network = network
        self.hosts = hosts
        self.options = options
        self.advance = advance
        self.count = 0
        self.stopped = False
        self.quiet: Host | None = None
        """While this server comes back, nothing else is struck."""
        self.disks = len(hosts)
        self.calm_us = [0] * len(hosts)
        """Until when the perfect model wants a server left alone, so that silence means a crash."""
        tolerated = [kind for kind, models in self.known.items() if options.model in models]
        possible = [kind for kind in tolerated if len(hosts) > 1 or kind not in BETWEEN_HOSTS]
        kinds = [kind for kind in possible if not options.faults or kind in options.faults]
        drawn = [kind for kind in kinds if world.chance(0.5)] or kinds
        self.kinds = drawn
        for host in hosts:
            host.may_die = self.may_stop
            host.on_halt = self._halted

    def begin(self) -> None:
        """Strike for the first time soon."""
        if self.kinds:
            self.world.after(self.world.between(0, self.options.gap_us_max), self._strike)

    def stop(self) -> None:
        """No more faults. What is broken stays so until `heal`."""
        self.stopped = True
        for host in self.hosts:
            host.mortality = None

    def heal(self) -> None:
        """Everything works again: the network, the processes, the disks."""
        self.stop()
        self.network.heal()
        for host in self.hosts:
            host.resume()
            host.disk_stalled_until_us = 0
            self._start(host)

    def _strike(self) -> None:
        if self.stopped:
            return
        if self.quiet is not None and not self._active(self.quiet):
            self.world.after(self.options.gap_us_max, self._strike)
            return
        self.quiet = None
        kind = self.world.random.choice(self.kinds)
        host = self.world.random.choice(self.hosts)
        getattr(self, "_" + kind.replace("-", "_"))(host)
        self.world.after(self.world.between(1_000, self.options.gap_us_max), self._strike)

    def _struck(self, text: str) -> None:
        self.count += 1
        if self.world.tracing:
            self.world.note(f"   ! {text}")

    # ---- what the model tolerates ----

    def _active(self, host: Host) -> bool:
        probe = host.probe() if host.state == "up" else None
        return probe is not None and probe.state == "active"

    def _note_whole(self) -> None:
        for host in self.hosts:
            if not host.whole and self._active(host):
                host.whole = True

    def may_stop(self, host: Host) -> bool:
        """Whether the model lets this host stop now, its disk kept."""
        self._note_whole()
        if self.options.model != "perfect" or all(other.whole for other in self.hosts):
            return not self.stopped
        return not self.stopped and any(
            other is not host and other.whole and self._active(other) for other in self.hosts
        )

    def _may_lose_disk(self, host: Host) -> bool:
        self._note_whole()
        others = [other for other in self.hosts if other is not host and other.whole]
        if self.options.model == "perfect":
            return any(self._active(other) for other in others) and self.may_stop(host)
        return len(others) > len(self.hosts) // 2

    # ---- processes ----

    def _crash(self, host: Host) -> None:
        if host.alive and self.may_stop(host):
            self._struck(f"crash {host.name}")
            host.crash()
            self.start_later(host)

    def _power(self, host: Host) -> None:
        if host.alive and self.may_stop(host):
            self._struck(f"power {host.name}")
            host.crash(silent=True)
            self.start_later(host)

    def _moment(self, host: Host) -> None:
        """The process dies at some act soon: between a step and its messages, between two messages, at a sync."""
        if host.alive and host.mortality is None:
            self._struck(f"moment {host.name}")
            host.mortality = self.world.between(1, 60)
            self.start_later(host)

    def _crash_all(self, _host: Host) -> None:
        if all(host.whole for host in self.hosts) or self.options.model == "majority":
            self._struck("crash all")
            for host in self.hosts:
                if host.alive:
                    host.crash(silent=self.world.chance(0.3))
                self.start_later(host)

    def start_later(self, host: Host, longest_us: int = 0) -> None:
        """Start its process; if no time is given, sometimes at once, sometimes only after everybody has noticed."""
        longest_us = longest_us or self.options.timeout_us * self.world.random.choice((1, 2, 20, 60)) // 20
        self.world.after(self.world.between(1_000, longest_us), self._start, host)

    def _start(self, host: Host) -> None:
        if not host.alive:
            host.start()
        elif host.mortality is not None:
            host.mortality = None

    def _halted(self, host: Host) -> None:
        """A replica that says its disk is damaged gets an empty one, if it was."""
        assert host.halted is not None
        if host.halted.code == "damaged" and not host.whole:
            self._replace_disk(host)
            self.start_later(host)

    # ---- pauses and clocks ----

    def _pause(self, host: Host) -> None:
        self._pause_for(host, self.options.timeout_us // 1_000, self.options.timeout_us * 2 // 5)

    def _long_pause(self, host: Host) -> None:
        self._pause_for(host, self.options.timeout_us * 3 // 5, self.options.timeout_us * 3)

    def _pause_for(self, host: Host, least_us: int, most_us: int) -> None:
        pause_us = self.world.between(least_us, most_us)
        if host.state != "up" or not self.may_stop(host) or not self._undisturbed([host], pause_us):
            return
        self._struck(f"pause {host.name} for {pause_us} us")
        host.pause()
        self.world.after(pause_us, host.resume)

    def _skew(self, host: Host) -> None:
        """A server whose wall clock is wrong moves the replicated time."""
        self._struck(f"skew {host.name}")
        self.advance(host, self.world.between(-3_600_000, 3_600_000))

    def _slow_disk(self, host: Host) -> None:
        self._struck(f"slow disk {host.name}")
        host.disk_stalled_until_us = self.world.now_us + self.world.between(1_000, self.options.timeout_us // 3)

    # ---- links ----

    def _other(self, host: Host) -> Host:
        return self.world.random.choice([other for other in self.hosts if other is not host])

    def _undisturbed(self, hosts: Iterable[Host], duration_us: int) -> bool:
        """In the perfect model, one disturbance after another must not add up to silence past the timeout."""
        if self.options.model != "perfect":
            return True
        hosts = list(hosts)
        if any(self.world.now_us < self.calm_us[host.number] for host in hosts):
            return False
        for host in hosts:
            self.calm_us[host.number] = self.world.now_us + duration_us + self.options.timeout_us
        return True

    def _break(self, host: Host) -> None:
        other = self._other(host)
        if self._undisturbed([host, other], self.options.timeout_us // 10):
            self._struck(f"break {host.name} {other.name}")
            self.network.break_pair(host.number, other.number)

    def _slow(self, host: Host) -> None:
        other = self._other(host)
        self._struck(f"slow {host.name} to {other.name}")
        until_us = self.world.now_us + self.world.between(1_000, self.options.timeout_us)
        self.network.links[host.number, other.number].slow_until_us = until_us

    def _split(self, _host: Host) -> None:
        """Two sides that do not hear each other; a link may stand, full of what is held back, or break."""
        side = [host for host in self.hosts if self.world.chance(0.5)]
        rest = [host for host in self.hosts if host not in side]
        pairs = [(one.number, other.number) for one in side for other in rest]
        if not pairs:
            return
        self._struck(f"split {''.join(host.name for host in side)} | {''.join(host.name for host in rest)}")
        for one, other in pairs:
            if self.world.chance(0.5):
                self.network.sever(one, other)
            else:
                self.network.block(one, other)
                self.network.block(other, one)
        self.world.after(self.world.between(1_000, self.options.timeout_us * 4), self._mend, pairs)

    def _one_way(self, host: Host) -> None:
        """What this host sends to another does not arrive; what it hears does."""
        other = self._other(host)
        self._struck(f"one way {host.name} to {other.name} blocked")
        self.network.block(host.number, other.number)
        self.world.after(
            self.world.between(1_000, self.options.timeout_us * 4), self._mend, [(host.number, other.number)]
        )

    def _mend(self, pairs: list[tuple[int, int]]) -> None:
        for one, other in pairs:
            if not self.stopped and self.world.chance(0.3):
                self.network.break_pair(one, other)
            self.network.mend(one, other)

    # ---- disks ----

    def _replace_disk(self, host: Host) -> None:
        self.disks += 1
        host.whole = False
        host.disk = Disk(self.disks)

    def _empty_disk(self, host: Host) -> None:
        self._lose_disk(host, "empty disk")

    def _damaged_disk(self, host: Host) -> None:
        """A flipped bit: the journal fails its checks at the next start, and the operator puts in an empty disk."""
        self._lose_disk(host, "damaged disk")

    def _lose_disk(self, host: Host, name: str) -> None:
        if self._may_lose_disk(host):
            if host.alive:
                host.crash(silent=self.world.chance(0.3))
            self._struck(f"{name} {host.name}")
            self._replace_disk(host)
            self.start_later(host)

    def _short_journal(self, host: Host) -> None:
        """Synced records vanish from the end, and the journal looks as if they had never been. Only the
        peers can know what this process promised, so they must all be there until it has started again."""
        others = [other for other in self.hosts if other is not host]
        if not (self._may_lose_disk(host) and all(self._active(other) for other in others)):
            return
        if any(other.mortality is not None for other in others) or not self.network.passable():
            return
        written = host.process.records_kept - 2 if host.alive else 0
        if written <= 0:
            return
        host.crash()
        lost = host.disk.lose_tail(self.world.between(1, min(5, written)))
        self._struck(f"short journal {host.name}, {lost} records gone")
        host.whole = False
        self.quiet = host
        self.start_later(host, 10_000)
