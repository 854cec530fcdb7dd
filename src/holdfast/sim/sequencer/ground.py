"""What a run under the sequencer protocol has drawn for itself, and how it builds its cores."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from holdfast.kernel.contracts import App
from holdfast.kernel.machine import Machine
from holdfast.replication.sequencer import Sequencer, SequencerConfiguration, genesis_records
from holdfast.sim.disk import Disk
from holdfast.sim.trace import host_name

MODELS = ("three", "four", "roles", "beyond")
"""Three nodes or four, each in every role; or two front ends, two sequencers and three managers, all apart; or three
or four nodes of which more fail at once than the vote makes up for, and an operator who says whose replica is right."""

Roles = tuple[int, ...]


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """`limits`: drawn small, so that short runs cut journals, forget the order, jump and copy."""

    nodes: int
    front_ends: Roles
    sequencers: Roles
    managers: Roles
    limits: dict[str, int]
    app: Callable[[], App]
    is_beyond: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All nodes."""
        return tuple(host_name(number) for number in range(self.nodes))

    def configuration(self, number: int, disk: int) -> SequencerConfiguration:
        """What a node is told at its start."""
        return SequencerConfiguration(
            me=number,
            nodes=self.names,
            disk=disk_identity(disk),
            front_ends=self.front_ends,
            sequencers=self.sequencers,
            managers=self.managers,
            snapshot_rows_a_slice=4,
            **self.limits,
        )

    def core(self, number: int, disk: int) -> Sequencer:
        """A new process on that disk."""
        return Sequencer(Machine(self.app()), self.configuration(number, disk))

    def found(self, disk: Disk, number: int) -> None:
        """What the explicit first start of a site writes."""
        machine = Machine(self.app())
        disk.records = genesis_records(disk_identity(disk.id), machine.app.name, machine.store.snapshot())
        disk.fresh = False


def disk_identity(id: int) -> str:
    """The name of a disk."""
    return f"disk-{id}"


def draw_ground(source: random.Random, model: str, servers: int, app: Callable[[], App]) -> Ground:
    """Roles and limits for one run. `servers`: how many managers, 0 for what the model has."""
    count = servers or (source.choice((3, 3, 4)) if model == "beyond" else 4 if model == "four" else 3)
    limits = {
        "digest_every": source.choice((8, 20, 50)),
        "backlog_max": source.choice((20, 60, 20_000)),
        "kept_numbers_max": source.choice((20, 60, 50_000)),
        "snapshot_journal_bytes": source.choice((1_500, 4_000, 1 << 24)),
        "copy_rows_a_slice": source.choice((2, 5, 200)),
        "window_max": source.choice((6, 30, 5_000)),
        "batch_requests_max": source.choice((2, 512)),
        "execute_max": source.choice((1, 5, 500)),
        "suspect_us": source.choice((150_000, 500_000)),
        "suspect_us_max": 1_000_000,
        "deadline_us": 2_000_000,
    }
    if model != "roles":
        everybody = tuple(range(count))
        return Ground(
            nodes=count, front_ends=everybody, sequencers=everybody, managers=everybody, limits=limits, app=app,
            is_beyond=model == "beyond",
        )  # fmt: skip
    return Ground(
        nodes=4 + count, front_ends=(0, 1), sequencers=(2, 3), managers=tuple(range(4, 4 + count)),
        limits=limits, app=app,
    )  # fmt: skip
