"""A replica from its journal: from every prefix of it, and from snapshots."""

from __future__ import annotations

from typing import Any

import pytest
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.kernel.contracts import Recovered
from holdfast.kernel.machine import Machine
from holdfast.replication.bayou import Bayou, BayouConfiguration, make_machine
from holdfast.replication.bayou.messages import Committed, Identity, Logged, Write, decode_record, encode

HOUR_US = 3600 * SECOND_US


def book(hour: int, room: str = "Maple", day: str = "2026-12-01") -> str:
    return f"reserve {room} {day} {hour:02}:00 1h Meeting"


def lived(**options: Any) -> Replicas:
    """A site that has seen everything: commits of two epochs, tentative writes, a retirement, a creation, a fork."""
    replicas = Replicas("biology law music physics +attic", **options)
    for name in ("law", "music", "physics"):
        replicas.submit(name, book(9))
    replicas.wait(SECOND_US)
    replicas.book("biology", "hand-over law")
    replicas.restart("attic")
    replicas.wait(2 * SECOND_US)
    replicas.copy_disk("music")
    replicas.now_us += 1000
    replicas.book("music", book(10))
    replicas.book("physics", "retire")
    replicas.crash("music")
    replicas.put_copy("music")
    replicas.restart("music")
    replicas.wait(3 * SECOND_US)
    replicas.isolate("music")
    replicas.submit("music", book(11))
    replicas.submit("law", book(11))
    replicas.wait(SECOND_US)
    return replicas


def restarted(replicas: Replicas, name: str, records: tuple[bytes, ...]) -> Bayou:
    """A process on a disk that holds so much."""
    node = replicas[name]
    core = Bayou(
        make_machine(replicas.make_app()),
        BayouConfiguration(me=node.number, nodes=tuple(replicas.names), disk=node.identity, **replicas.options),
    )
    core.set_clock(replicas.now_us, replicas.unix_ms(node))
    recovered = Recovered(node.disk.snapshot, node.disk.first, records, not (records or node.disk.snapshot))
    step = core.recover(replicas.now_us, recovered)
    assert step.halt is None, step.halt
    return core


@pytest.mark.parametrize("options", [{}, {"voters": ("biology", "law", "music")}], ids=["one voter", "three voters"])
def test_it_starts_from_every_prefix_of_its_journal_and_catches_up(options: dict[str, Any]) -> None:
    replicas = lived(**options)
    for name in ("biology", "law", "music", "attic"):
        records = tuple(replicas[name].disk.records)
        assert len(records) > 8
        for length in range(1, len(records) + 1):
            core = restarted(replicas, name, records[:length])
            log = core.replica.log
            commits = sum(len(r.names) for r in map(decode_record, records[:length]) if isinstance(r, Committed))
            if not replicas[name].disk.snapshot:
                assert log.csn >= commits  # a primary may go on committing at once
            assert core.status()["state"] in ("active", "joining")
        running = replicas.core(name)
        assert core.replica.log.vector == running.replica.log.vector
        assert core.replica.views.digest() == running.replica.views.digest()
        assert [e.write for e in core.replica.log.tail] == [e.write for e in running.replica.log.tail]


@pytest.mark.parametrize("lost", [1, 2, 3, 5, 8])
def test_who_lost_the_end_of_its_journal_without_noticing_goes_on_under_another_id(lost: int) -> None:
    """It is an old copy of itself, then."""
    replicas = Replicas("biology law music")
    for hour in range(8, 13):
        replicas.now_us += 1000
        replicas.book("law", book(hour))
    replicas.crash("law")
    assert replicas["law"].disk.lose_tail(lost) == lost
    replicas.restart("law")
    replicas.wait(4 * SECOND_US)
    replicas.settled()
    replicas.book("law", book(13))
    replicas.wait(SECOND_US)
    replicas.settled()
    told = replicas.ask("music", "schedule 2026-12-01")
    assert all(f"Maple {hour:02}:00" in told for hour in range(8, 14))


def test_everything_acknowledged_is_there_after_a_crash_at_any_moment() -> None:
    replicas = Replicas("biology law music")
    for number in range(12):
        replicas.submit("law", book(8 + number % 9, "Maple" if number < 9 else "Oak"))
        for _ in range(number):
            for pair, channel in replicas.channels.items():
                if channel:
                    replicas.deliver(replicas.names[pair[0]], replicas.names[pair[1]])
        victim = replicas.names[number % 3]
        replicas.crash(victim)
        replicas.restart(victim)
    replicas.wait(5 * SECOND_US)
    replicas.settled()
    assert replicas.log("biology").committed_vector["law"] == 12
    assert len([reply for _, line, reply in replicas.replies if line.startswith("reserve")]) == 12


def test_what_was_promised_holds_after_a_restart_with_a_clock_set_back() -> None:
    """The primary has committed up to there; a stamp below would make the earliest entry lose."""
    replicas = Replicas("biology law music")
    replicas.book("law", book(9))
    promised = replicas.core("music").replica.promised_ms
    replicas.crash("music")
    replicas["music"].skew_ms = -HOUR_US // 1000
    replicas.restart("music")
    replicas.submit("music", book(10))
    assert replicas.log("music").last_ms["music"] > promised > 0


def test_a_slow_clock_that_restarts_stamps_above_everything_it_has_seen() -> None:
    replicas = Replicas("biology law music", snapshot_every_records=3)
    replicas["music"].skew_ms = -60_000
    for hour in range(8, 17):
        replicas.book("law", book(hour))
    replicas.wait(SECOND_US)
    seen = replicas.log("music").latest[0]
    replicas.crash("music")
    replicas.restart("music")
    replicas.submit("music", book(8, "Oak"))
    assert replicas.log("music").last_ms["music"] > seen


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([b"\x00garbage"], "does not replay"),
        ([], "no identity"),
        ([encode(Committed(5, 0, (("law", 1),)))], "commit 5 follows commit 0"),
        ([encode(Committed(1, 0, (("law", 1),)))], "not in the tail"),
        (
            [encode(Logged((Write(5, "", "law", 1, b""),), 5)), encode(Logged((Write(5, "", "law", 1, b""),), 5))],
            "twice",
        ),
    ],
)
def test_a_journal_that_makes_no_sense_halts(records: list[bytes], why: str) -> None:
    replicas = Replicas("biology law")
    replicas.crash("law")
    disk = replicas["law"].disk
    disk.records = [*disk.records[:1], *records] if records else []
    replicas.restart("law")
    assert why in replicas["law"].halted
    assert ("halt", f"law halts (damaged): {replicas['law'].halted}") in replicas.lines


def test_the_data_of_another_app_halts_with_what_to_do() -> None:
    replicas = Replicas("biology law")
    replicas.crash("law")
    disk = replicas["law"].disk
    identity = decode_record(disk.records[0])
    machine = Machine(replicas.make_app())
    disk.records = [encode(Identity("d", "tickets", machine.store.snapshot(), identity.members, 0))]
    replicas.restart("law")
    assert "the data is of the app 'tickets'" in replicas["law"].halted


def test_an_empty_disk_begins_with_an_identity_and_joins() -> None:
    replicas = Replicas("biology +law")
    replicas.isolate("law")
    replicas.restart("law")
    (record,) = replicas["law"].disk.records
    assert decode_record(record) == Identity("1law", "rooms", decode_record(record).created, (), 0)
    assert replicas.core("law").replica.state == "joining"
