"""The world the cores are tried in: its clock, links and disks do what they promise, and their worst where they may."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.kernel.contracts import PeerConnected, PeerDisconnected, PeerRefused, SnapshotPart
from holdfast.kernel.gate import Group
from holdfast.sim.disk import Disk
from holdfast.sim.network import Network, NetworkOptions
from holdfast.sim.trace import render
from holdfast.sim.world import EVENTS_MAX, Endless, World

CONNECTED, DISCONNECTED, REFUSED = PeerConnected(), PeerDisconnected(), PeerRefused()


class Pair:
    """Two hosts and what arrives at them."""

    def __init__(self, seed: int = 1, **options: Any) -> None:
        self.world = World(seed)
        self.up = [True, True]
        self.network = Network(self.world, 2, NetworkOptions(**options), lambda host: self.up[host])
        self.arrived: list[tuple[int, Any]] = []
        self.network.deliver = lambda target, source, payload: self.arrived.append((target, payload))

    def connect(self) -> None:
        self.network.process_started(0)
        self.network.process_started(1)
        self.run()
        assert self.take() == [CONNECTED, CONNECTED]

    def run(self, duration_us: int = 1_000_000) -> None:
        self.world.run_until(self.world.now_us + duration_us)

    def take(self, target: int | None = None) -> list[Any]:
        taken = [payload for host, payload in self.arrived if target in (None, host)]
        self.arrived.clear()
        return taken

    def send(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.network.send(0, 1, payload)


def test_events_come_in_the_order_of_their_times_and_then_of_their_making() -> None:
    world, seen = World(1), []
    for name, time_us in (("c", 30), ("a", 10), ("b1", 20), ("b2", 20)):
        world.at(time_us, seen.append, name)
    world.at(25, seen.append, "cancelled").cancel()
    world.run_until(100)
    assert seen == ["a", "b1", "b2", "c"]
    assert world.now_us == 100


def test_a_core_that_talks_to_itself_without_end_is_stopped() -> None:
    world = World(1)

    def again() -> None:
        world.after(1, again)

    again()
    with pytest.raises(Endless):
        world.run_until(EVENTS_MAX * 10)


def test_a_stream_keeps_the_order_and_loses_nothing() -> None:
    for seed in range(20):
        pair = Pair(seed, slow_share=0.5)
        pair.connect()
        messages = [bytes([number]) for number in range(50)]
        pair.send(*messages)
        pair.run()
        assert pair.take() == messages


def test_what_is_in_flight_on_a_broken_link_is_lost_and_both_ends_are_told() -> None:
    pair = Pair()
    pair.connect()
    pair.send(b"lost")
    pair.network.break_pair(0, 1)
    pair.run()
    assert pair.take(1) == [DISCONNECTED, CONNECTED]
    pair.send(b"kept")
    pair.run()
    assert pair.take() == [b"kept"]


def test_a_dial_is_refused_only_on_the_same_host_and_only_while_the_process_is_down() -> None:
    for same_host in (True, False):
        pair = Pair(same_host=same_host)
        pair.connect()
        pair.up[0] = False
        pair.network.process_ended(0, silent=False)
        pair.run()
        heard = pair.take(1)
        assert heard[0] == DISCONNECTED
        assert (REFUSED in heard) is same_host
        pair.up[0] = True
        pair.run()
        assert pair.take(1)[-1] == CONNECTED
        pair.run()
        assert pair.take() == []


def test_nobody_is_told_when_a_machine_loses_power() -> None:
    pair = Pair()
    pair.connect()
    pair.up[0] = False
    pair.network.process_ended(0, silent=True)
    pair.run()
    assert pair.take() == []


def test_a_blocked_direction_holds_back_and_the_other_one_passes() -> None:
    pair = Pair()
    pair.connect()
    pair.network.block(0, 1)
    pair.send(b"one", b"two")
    pair.network.send(1, 0, b"passes")
    pair.run()
    assert pair.take() == [b"passes"]
    pair.network.mend(0, 1)
    pair.run()
    assert pair.take() == [b"one", b"two"]


def test_datagrams_get_lost_doubled_and_overtaken() -> None:
    pair = Pair(transport="datagram", loss=0.2, doubling=0.2)
    pair.connect()
    messages = [bytes([number]) for number in range(200)]
    pair.send(*messages)
    pair.run()
    arrived = pair.take()
    assert set(arrived) < set(messages)
    assert len(arrived) > len(set(arrived))
    assert arrived != sorted(arrived)


def test_a_disk_keeps_whole_groups_and_a_snapshot_cuts_them() -> None:
    disk = Disk(1)
    assert disk.recovered().fresh
    first, second, third = Group(1), Group(2), Group(3)
    first.records = [b"1", b"2", b"3"]
    second.snapshot = [SnapshotPart(2, 0, b"state ", False, 2)]
    third.snapshot = [SnapshotPart(2, 1, b"at 2", True, 2)]
    third.records = [b"4"]
    disk.write(first)
    disk.write(second)
    assert (disk.recovered().snapshot, disk.recovered().first) == (b"", 1)
    disk.write(third)
    found = disk.recovered()
    assert (found.snapshot, found.first, found.records, found.fresh) == (b"state at 2", 3, (b"3", b"4"), False)


def test_a_reset_begins_anew_after_its_snapshot() -> None:
    disk = Disk(1)
    old, reset = Group(1), Group(2)
    old.records = [b"old"]
    reset.reset = True
    reset.snapshot = [SnapshotPart(9, 0, b"copied", True, 41)]
    reset.records = [b"42"]
    disk.write(old)
    disk.write(reset)
    assert disk.recovered().first == 42
    assert disk.recovered().records == (b"42",)


def test_messages_are_shown_by_their_fields() -> None:
    part = SnapshotPart(7, 0, bytes(range(20)), True, 3)
    assert render(part) == "SnapshotPart id=7 index=0 data=20b:000102030405.. last=True upto=3"
