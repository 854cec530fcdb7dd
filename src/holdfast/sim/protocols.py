"""How the simulator builds each protocol's cores, and what it looks at in them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdfast.kernel.contracts import App
from holdfast.kernel.machine import Machine
from holdfast.replication.lamport import Lamport, LamportConfiguration, genesis_records
from holdfast.replication.solo import Solo
from holdfast.sim.audit import Probe
from holdfast.sim.disk import Disk
from holdfast.sim.host import Host, Setup
from holdfast.sim.trace import host_name


class Ground(msgspec.Struct, frozen=True):
    """What a run has drawn for its protocol. `snapshots`: cut journals early, so that it happens in short runs."""

    model: str
    servers: int
    timeout_us: int
    snapshots: bool
    app: Callable[[], App]


class Protocol(msgspec.Struct, frozen=True):
    """`servers`: the sizes to draw from. `found(disk, number, ground)` writes what a site's first start writes."""

    models: tuple[str, ...]
    servers: tuple[int, ...]
    setup: Callable[[Ground], Setup]
    found: Callable[[Disk, int, Ground], None]


def _solo(ground: Ground) -> Setup:
    every = 8 if ground.snapshots else 100_000
    return Setup(
        core=lambda host: Solo(
            Machine(ground.app()),
            disk=_disk_identity(host.disk.id),
            name=host.name,
            snapshot_every_records=every,
            snapshot_rows_a_slice=4,
        ),
        probe=lambda core: Probe(core.state, 0, core.position, core.machine.digest(), alone=True),
    )


def _nothing_written(_disk: Disk, _number: int, _ground: Ground) -> None:
    """An empty disk is all it needs."""


SMALL = {"snapshot_journal_bytes": 3_000, "snapshot_rows_a_slice": 4, "history_bytes_max": 400}
"""Limits that make a short run cut its journals and copy whole states."""


def _lamport(ground: Ground) -> Setup:
    names = tuple(host_name(number) for number in range(ground.servers))

    def core(host: Host) -> Lamport:
        configuration = LamportConfiguration(
            me=host.number,
            servers=names,
            model="perfect" if ground.model == "perfect" else "majority",
            disk=_disk_identity(host.disk.id),
            timeout_us=ground.timeout_us,
            deadline_us=2 * ground.timeout_us,
        )
        if ground.snapshots:
            configuration = msgspec.structs.replace(configuration, **SMALL)
        return Lamport(Machine(ground.app()), configuration)

    return Setup(core, _probe_lamport)


def _probe_lamport(core: Lamport) -> Probe:
    replica = core.replica
    alone = not replica.other_members
    return Probe(replica.state, replica.epoch, replica.position, replica.machine.digest(), alone)


def _lamport_genesis(disk: Disk, number: int, ground: Ground) -> None:
    disks = [_disk_identity(other + 1) for other in range(ground.servers)]
    disk.records = genesis_records(ground.servers, disks[number], ground.app().name, disks)
    disk.fresh = False


def _disk_identity(id: int) -> str:
    return f"disk-{id}"


PROTOCOLS: dict[str, Protocol] = {
    "lamport": Protocol(("perfect", "majority"), (1, 2, 3, 3, 3, 3, 4, 5), _lamport, _lamport_genesis),
    "solo": Protocol(("alone",), (1,), _solo, _nothing_written),
}
"""By the protocol's name."""
