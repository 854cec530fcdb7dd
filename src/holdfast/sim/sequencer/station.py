"""A station: a host with a clock on its wall and a disk that is read along by the ledger."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.kernel.contracts import Peer
from holdfast.kernel.gate import Group
from holdfast.sim.audit import Probe
from holdfast.sim.disk import Disk
from holdfast.sim.host import Host, Setup
from holdfast.sim.network import Network
from holdfast.sim.sequencer.bugs import Bug
from holdfast.sim.sequencer.ground import Ground
from holdfast.sim.sequencer.ledger import Ledger
from holdfast.sim.world import World

WALL_MS = 1_795_218_000_000
"""The time of day at the beginning of every run."""


class ReadDisk(Disk):
    """Tells the ledger what it keeps. `owner`: the node in which it is."""

    def __init__(self, id: int, owner: int, ledger: Ledger) -> None:
        super().__init__(id)
        self.owner = owner
        self.ledger = ledger

    def write(self, group: Group) -> None:
        super().write(group)
        self.ledger.stored(self.owner, group)


class Station(Host):
    """See the module. `wall_offset_ms`: how wrong its clock is."""

    def __init__(self, number: Peer, world: World, network: Network, ledger: Ledger, ground: Ground, bug: Bug) -> None:
        setup = Setup(core=self._core, probe=probe, gate=bug.gate)
        self.ledger = ledger
        self.ground = ground
        self.bug = bug
        self.manages = number in ground.managers
        self.wall_offset_ms = 0
        disk = ReadDisk(number + 1, number, ledger)
        ground.found(disk, number)
        ledger.new_disk(number, counts=True)
        super().__init__(number, world, network, ledger, setup, disk)
        self._encode = self._encode_seen

    def _encode_seen(self, message: Any) -> bytes:
        self.ledger.leaves(self.number, message)
        return msgspec.msgpack.encode(message)

    def _core(self, _host: Host) -> Any:
        core = self.ground.core(self.number, self.disk.id)
        self.bug.bend(core)
        self.ledger.watch(self.number, core)
        return core

    def _prepare(self) -> None:
        self.core.set_clock(self.now_us(), WALL_MS + self.world.now_us // 1000 + self.wall_offset_ms)

    def _look(self) -> None:
        self.ledger.look(self.number, self.core)

    def put_disk(self, id: int) -> None:
        """An empty disk in place of the one before."""
        assert not self.alive, f"{self.name} runs"
        self.disk = ReadDisk(id, self.number, self.ledger)
        self.ledger.new_disk(self.number)


def probe(core: Any) -> Probe:
    """What a core shows of itself."""
    state = core.status()["state"]
    return Probe(state, core.shared.epoch, core.manager.log.decided, core.machine.digest())
