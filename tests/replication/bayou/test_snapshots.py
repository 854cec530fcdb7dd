"""Snapshots of the journal, taken in slices while writes go on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.replication.bayou.replicas import SECOND_US, Replicas

EXAMPLES = settings().max_examples // 5
"""Each founds a site."""


def book(number: int, room: str = "Maple") -> str:
    return f"reserve {room} 2026-12-{1 + number // 9:02} {8 + number % 9:02}:00 1h Meeting"


def taken(replicas: Replicas, name: str) -> int:
    """How many whole snapshots this disk was given."""
    return sum(1 for kind, text in replicas.lines if kind == "journal" and text.startswith(f"{name} writes a snapshot"))


def test_the_journal_is_cut_when_it_has_grown() -> None:
    replicas = Replicas("biology law", snapshot_every_records=10, snapshot_rows_a_slice=5)
    for number in range(40):
        replicas.book("law", book(number))
        replicas.wait(SECOND_US // 10)
    assert taken(replicas, "law") >= 3
    assert len(replicas["law"].disk.records) < 40
    digest = replicas.core("law").replica.views.digest()
    replicas.crash("law")
    replicas.restart("law")
    assert replicas.core("law").replica.views.digest() == digest
    replicas.wait(SECOND_US)
    replicas.settled()


@settings(max_examples=EXAMPLES)
@given(st.lists(st.sampled_from(["own", "peer", "time", "deliver", "crash", "truncate"]), max_size=60))
def test_writes_go_on_while_it_is_taken_and_a_crash_at_any_moment_loses_nothing(acts: list[str]) -> None:
    """Slices of one row: many of them, with roll backs and commits in between."""
    replicas = Replicas("biology law", snapshot_every_records=6, snapshot_rows_a_slice=1)
    for number in range(6):
        replicas.book("law", book(number))
    written = 6
    for act in acts:
        if act in ("own", "peer"):
            replicas.now_us += 1000
            replicas.submit("law" if act == "own" else "biology", book(written))
            written += 1
        elif act == "time":
            replicas.now_us += 4_000
            replicas.wake("law")
        elif act == "deliver":
            replicas.deliver_all()
        elif act == "truncate":
            replicas.submit("law", "truncate")
        else:
            replicas.crash("law")
            replicas.restart("law")
    replicas.wait(4 * SECOND_US)
    replicas.settled()
    assert replicas.log("law").csn == written
    assert sum(replicas.log("law").committed_vector.values()) == written


def test_the_committed_store_is_what_it_holds_with_the_tail_beside_it() -> None:
    """A tentative booking is no part of the store in a snapshot; it is executed again after the restart."""
    replicas = Replicas("biology law", snapshot_rows_a_slice=3)
    replicas.book("law", book(1))
    replicas.isolate("law")
    replicas.submit("law", book(2), "cancel law-1")
    replicas.submit("law", "truncate")
    replicas.wait(SECOND_US)
    assert taken(replicas, "law") == 1
    assert len(replicas["law"].disk.records) == 0
    replicas.crash("law")
    replicas.restart("law")
    assert (replicas.log("law").csn, len(replicas.log("law").tail)) == (1, 2)
    assert "law-1" in replicas.ask("law", "schedule 2026-12-01", "committed")
    assert "law-1" not in replicas.ask("law", "schedule 2026-12-01")
    replicas.heal()
    replicas.wait(2 * SECOND_US)
    replicas.settled()


@pytest.mark.parametrize("name", ["biology", "law"])
def test_the_last_committed_writes_outlive_a_restart_for_peers_that_lack_them(name: str) -> None:
    replicas = Replicas("biology law music", kept_in_snapshot=5, snapshot_every_records=8)
    for number in range(20):
        replicas.book("law", book(number))
        replicas.wait(SECOND_US // 10)
    replicas.crash(name)
    replicas.restart(name)
    log = replicas.log(name)
    assert log.csn == 20
    assert 0 < log.omitted <= 15


def test_a_store_whose_writes_are_all_committed_takes_little_more_than_its_content() -> None:
    replicas = Replicas("biology")
    for number in range(300):
        replicas.submit("biology", book(number % 270, "Maple" if number < 270 else "Oak"))
    content = len(replicas.core("biology").replica.machine.store.snapshot())
    replicas.submit("biology", "truncate")
    replicas.wait(SECOND_US)
    disk = replicas["biology"].disk
    assert disk.records == []
    assert len(disk.snapshot) <= 1.1 * content
