"""What a run under Bayou has drawn for itself, and how it builds its cores.

Time here is counted in hours and days, so that a laptop can be away for long; the times that the
cores are given (how often to sync, how long to be patient) are drawn to match.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from holdfast.kernel.contracts import App
from holdfast.replication.bayou import Bayou, genesis_records, make_machine
from holdfast.replication.bayou.configuration import UPDATES_BYTES_MAX, BayouConfiguration, Policy
from holdfast.sim.disk import Disk
from holdfast.sim.trace import host_name

if TYPE_CHECKING:
    from holdfast.sim.bayou.workloads import OfficeWork

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
STROKE_US = 10 * MINUTE_US
"""The punctual act on the stroke of the clock, and faults may fall right after it."""
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

MODELS = ("all-heard", "immediate", "accept-loss")
"""The two policies; and a class of its own: one voter, who is lost, and an operator who accepts what that loses."""

SMALL_FAULTS = ("crash", "power", "moment", "pause", "slow-disk")
FAULTS = (
    *SMALL_FAULTS,
    *("break", "slow", "split", "one-way", "offline"),
    *("skew", "jump", "battery"),
    *("empty-disk", "restored-disk"),
    *("new", "retire", "truncate", "hand-over", "take-over", "usurp", "file"),
)
"""Every kind of fault, and of what operators do."""


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """`founders`: how many nodes exist from the beginning; the others come later, with empty disks. `wanted_ms`: when
    what a command is about must be final, by what is required of its app; `clock_text`: how its people read a time;
    `updates_bytes_max`: of the bodies in one message, where nothing else limits them."""

    policy: Policy
    may_lose: bool
    servers: int
    founders: int
    voters: int
    horizon_ms: int
    forward_bound_ms: int
    sync_us: int
    patience_us: int
    committed_kept_max: int
    snapshot_every_records: int
    app: Callable[[], App]
    wanted_ms: Callable[[Any], int | None]
    clock_text: Callable[[int], str]
    updates_bytes_max: int = UPDATES_BYTES_MAX

    @property
    def nodes(self) -> tuple[str, ...]:
        """All that may ever be, by their names."""
        return tuple(host_name(number) for number in range(self.servers))

    def is_voter(self, number: int) -> bool:
        """Whether commits lie on this node's disk for safety."""
        return number < max(1, self.voters)

    def configuration(self, number: int, disk: int, is_copy: bool) -> BayouConfiguration:
        """What the replica on this node is told."""
        return BayouConfiguration(
            me=number,
            nodes=self.nodes,
            disk=disk_identity(disk),
            is_copy=is_copy,
            voters=self.nodes[: self.voters] if self.voters > 1 else (),
            policy=self.policy,
            horizon_ms=self.horizon_ms,
            forward_bound_ms=self.forward_bound_ms,
            sync_us=self.sync_us,
            patience_us=self.patience_us,
            committed_kept_max=self.committed_kept_max,
            snapshot_every_records=self.snapshot_every_records,
            snapshot_rows_a_slice=20,
        )

    def core(self, number: int, disk: int, is_copy: bool) -> Bayou:
        """A core for a new process."""
        core = Bayou(make_machine(self.app()), self.configuration(number, disk, is_copy))
        updates_for = partial(core.anti_entropy.updates_for, bytes_max=self.updates_bytes_max)
        setattr(core.anti_entropy, "updates_for", updates_for)  # noqa: B010 (a method of one instance)
        return core

    def found(self, disk: Disk, number: int) -> None:
        """Write what `holdfast init` writes, if the node exists from the beginning."""
        if number < self.founders:
            app = self.app()
            created = make_machine(app).store.snapshot()
            founders = self.nodes[: self.founders]
            disk.records = genesis_records(founders, number, disk_identity(disk.id), app.name, 0, created)
            disk.fresh = False


def disk_identity(id: int) -> str:
    """A disk's name; replicas that are created on it take a part of it."""
    return f"{id:04d}"


def draw_ground(source: random.Random, model: str, servers: int, work: OfficeWork) -> Ground:
    """The sizes and times of one run."""
    servers = servers or source.choice((3, 3, 4, 5, 5, 6, 8, 10))
    founders = max(min(servers, 3), servers - source.choice((0, 0, 1, 2)))
    policy: Literal["all-heard", "immediate"] = "all-heard"
    if model == "immediate" or (model == "accept-loss" and source.random() < 0.5):
        policy = "immediate"
    return Ground(
        policy=policy,
        may_lose=model == "accept-loss",
        servers=servers,
        founders=founders,
        voters=1 if model == "accept-loss" else source.choice((1, 3)),
        horizon_ms=source.choice((1, 4, 12, 24)) * HOUR_MS,
        forward_bound_ms=source.choice((1, 5, 30)) * MINUTE_MS,
        sync_us=source.choice((10, 30, 60)) * MINUTE_US,
        patience_us=source.choice((10, 20, 60)) * MINUTE_US,
        committed_kept_max=source.choice((3, 20, 10_000)),
        snapshot_every_records=source.choice((15, 60, 20_000)),
        app=work.app,
        wanted_ms=work.wanted_ms,
        clock_text=work.clock_text,
    )
