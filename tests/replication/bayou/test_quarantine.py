"""Stamps from the future, and clocks that are wrong."""

from __future__ import annotations

import msgspec
import pytest
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.replication.bayou.messages import Updates

HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS


def book(hour: int, room: str = "Maple", day: str = "2026-12-01") -> str:
    return f"reserve {room} {day} {hour:02}:00 1h Meeting"


@pytest.fixture
def three() -> Replicas:
    """law's clock is a year ahead, and it has written."""
    replicas = Replicas("biology law music")
    replicas["law"].skew_ms = YEAR_MS
    replicas.submit("law", book(9, day="2027-12-01"))
    replicas.deliver_all()
    return replicas


def held(replicas: Replicas, name: str) -> list[int]:
    return [write.number for writes in replicas.core(name).replica.held.values() for write in writes]


def test_a_write_from_the_future_is_kept_aside_and_the_rest_goes_on(three: Replicas) -> None:
    three.submit("music", book(9))
    three.wait(2 * SECOND_US)
    assert [held(three, name) for name in three.names] == [[1], [], [1]]
    assert three.core("biology").status()["position"] == 1, "music's booking was confirmed meanwhile"


def test_what_its_author_writes_later_is_kept_aside_too_whatever_its_stamp(three: Replicas) -> None:
    """Its author's writes are never taken in out of their order."""
    three["law"].skew_ms = 0
    three.submit("law", book(10))
    three.wait(2 * SECOND_US)
    assert held(three, "biology") == [1, 2]
    assert three.log("biology").vector["law"] == 0


def test_a_stamp_within_the_bound_is_believed_and_followed(three: Replicas) -> None:
    replicas = Replicas("biology law")
    replicas["law"].skew_ms = 4 * 60_000
    replicas.submit("law", book(9))
    replicas.deliver_all()
    replicas.submit("biology", book(9))
    stamps = [write.ms for write in replicas.log("biology").committed]
    stamps += [entry.write.ms for entry in replicas.log("biology").tail]
    assert stamps == sorted(stamps)
    assert stamps[1] > stamps[0] > replicas.unix_ms(replicas["biology"]), "whoever has seen a stamp stamps later"


def test_a_stamp_beyond_the_bound_carries_no_clock_away(three: Replicas) -> None:
    three.submit("music", book(9))
    three.wait(SECOND_US)
    assert three.log("music").last_ms["music"] < three.unix_ms(three["music"]) + 1000


def test_it_comes_in_when_its_time_has_come(three: Replicas) -> None:
    three["law"].skew_ms = 0
    three.jump(YEAR_MS * 1000)
    three.wait(3 * SECOND_US)
    assert [held(three, name) for name in three.names] == [[], [], []]
    three.settled()


def test_it_comes_in_when_it_is_committed(three: Replicas) -> None:
    """Its place does not rest on its stamp any more. Here biology's clock is as wrong as law's and commits it."""
    three["biology"].skew_ms = YEAR_MS
    three.wait(5 * SECOND_US)
    three.jump(25 * HOUR_MS * 1000)
    three.wait(3 * SECOND_US)
    assert three.log("music").is_committed(("law", 1))
    assert held(three, "music") == []
    three.settled()


def test_a_quarantine_does_not_outlive_a_restart_but_is_filled_again(three: Replicas) -> None:
    three.crash("music")
    three.restart("music")
    assert held(three, "music") == []
    three.wait(2 * SECOND_US)
    assert held(three, "music") == [1]


def test_the_device_with_the_wrong_clock_is_told_and_nobody_else(three: Replicas) -> None:
    three.wait(3 * SECOND_US)
    warnings = {name: three.core(name).status()["warning"] for name in three.names}
    assert warnings == {
        "biology": "",
        "law": "this device's clock is 365 days ahead of the others'; set it right",
        "music": "",
    }
    assert "set it right" in three.book("law", book(10, day="2027-12-02"))


def test_a_clock_that_is_behind_is_told_too() -> None:
    replicas = Replicas("biology law music")
    replicas["law"].skew_ms = -3 * HOUR_MS
    replicas.wait(3 * SECOND_US)
    assert "3 h behind the others'" in replicas.core("law").status()["warning"]
    assert replicas.core("biology").status()["warning"] == ""


def test_of_two_that_differ_both_are_told() -> None:
    replicas = Replicas("biology law")
    replicas["law"].skew_ms = HOUR_MS
    replicas.wait(3 * SECOND_US)
    for name, way, other in (("biology", "behind", "law"), ("law", "ahead of", "biology")):
        told = replicas.core(name).status()["warning"]
        assert told.startswith(f"this device's clock is 60 min {way} that of {other}, and as many are like the one")
        assert told.endswith("set the wrong one right"), "its own may be the right one"


def test_a_clock_that_is_set_right_is_not_complained_of(three: Replicas) -> None:
    """But who enters something there is told that it is stamped far ahead, until that time has come."""
    three.wait(3 * SECOND_US)
    three["law"].skew_ms = 0
    three.wait(5 * SECOND_US)
    assert "clock" not in three.book("music", book(9))
    told = three.book("law", book(10))
    assert "set it right" not in told
    assert "was ahead: what is entered here is stamped 2027-11-30 08:00 or later" in told
    assert "was ahead" in three.book("law", "retire"), "nobody would take in its last writes"
    three.jump(YEAR_MS * 1000)
    three.wait(5 * SECOND_US)
    assert three.core("law").status()["warning"] == ""
    assert "has retired" in three.book("law", "retire")


def test_a_primary_whose_clock_is_ahead_carries_nobody_along() -> None:
    """It asks for promises up to its own stamps; the others' go on as their clocks do."""
    replicas = Replicas("biology law music")
    replicas["biology"].skew_ms = 30 * HOUR_MS
    replicas.submit("biology", "reserve Oak 2026-12-09 10:00 1h Meeting")
    replicas.deliver_all()
    for name in ("law", "music"):
        replicas.now_us += 1_000
        replicas.submit(name, "reserve Elm 2026-12-09 10:00 1h Meeting")
        replicas.deliver_all()
        assert replicas.log(name).last_ms[name] == replicas.unix_ms(replicas[name])
    replicas.wait(3 * SECOND_US)
    assert "law-1" in replicas.ask("music", "schedule 2026-12-09")


def test_a_clock_that_goes_back_never_stamps_below_what_it_has_stamped_or_seen() -> None:
    replicas = Replicas("biology law")
    first = [replicas.book("law", book(9)), replicas.book("biology", book(10))]
    replicas["law"].skew_ms = -HOUR_MS
    replicas.submit("law", book(11))
    log = replicas.log("law")
    assert first
    assert log.last_ms["law"] > log.latest[0]


def test_a_message_that_makes_no_sense_takes_nothing_out_of_the_quarantine(three: Replicas) -> None:
    (write,) = three.core("biology").replica.held["law"]
    basis = tuple((name, 0) for name in sorted(three.names))
    behind_a_gap = msgspec.structs.replace(write, replica="music", number=2, ms=1)
    three.hear("biology", "music", Updates(basis, (behind_a_gap,), 0, (("law", 1),), ((1, 0),), 0, 0))
    assert three.core("biology").replica.malformed == 1
    assert held(three, "biology") == [1]
    three.hear("biology", "music", Updates(basis, (), 0, (("law", 1),), ((1, 0),), 0, 0))
    assert (held(three, "biology"), three.log("biology").csn) == ([], 1)


def test_what_a_replica_writes_whose_creation_waits_in_quarantine_waits_there_too() -> None:
    replicas = Replicas("biology law music +physics")
    replicas["law"].skew_ms = replicas["physics"].skew_ms = HOUR_MS
    replicas.isolate("law", "physics")
    replicas.restart("physics")
    replicas.wait(2 * SECOND_US)
    replicas.connect("law", "music")
    replicas.wait(2 * SECOND_US)
    replicas.isolate("music")
    assert sorted(replicas.core("music").replica.held) == ["law"]
    replicas.book("physics", book(9))
    replicas.connect("physics", "music")
    replicas.wait(2 * SECOND_US)
    assert sorted(replicas.core("music").replica.held) == ["law", "physics~1physi"]
    replicas["law"].skew_ms = replicas["physics"].skew_ms = 0
    replicas.heal()
    replicas.jump(2 * HOUR_MS * 1000)
    replicas.wait(5 * SECOND_US)
    replicas.settled()
    assert "Maple 09:00-10:00" in replicas.ask("music", "schedule 2026-12-01", "committed")


def test_a_new_disk_counts_its_own_clock_before_it_follows_most_others() -> None:
    replicas = Replicas("biology law music +physics")
    replicas["law"].skew_ms = HOUR_MS
    replicas["music"].skew_ms = 2 * HOUR_MS
    replicas.isolate("biology")
    replicas.restart("physics")
    replicas.deliver_all()
    assert len(replicas.core("physics").replica.log.live) == 3, "it is none of them yet"
    assert replicas.core("physics").replica.follows_ms == 0


def test_what_comes_beside_a_committed_write_of_the_future_is_observed() -> None:
    """A write stamped in three days is committed, and comes in one message with music's, which is minutes ahead."""
    replicas = Replicas("biology law music physics")
    replicas.isolate("biology")
    replicas.disconnect("law", "music")
    replicas.isolate("physics")
    replicas["biology"].skew_ms = 3 * 24 * HOUR_MS
    replicas.submit("biology", "reserve Oak 2026-12-04 14:00 1h Meeting")
    replicas.jump(25 * HOUR_MS * 1000)
    replicas.wait(3 * SECOND_US)
    assert replicas.log("biology").csn == 1
    replicas["biology"].skew_ms = 0
    replicas["music"].skew_ms = 4 * 60_000
    replicas.connect("biology", "music")
    replicas.wait(5 * SECOND_US)
    replicas.submit("music", book(9, day="2026-12-20"))
    replicas.wait(SECOND_US)
    replicas.connect("music", "law")
    log = replicas.log("law")
    while not log.last_ms.get("music"):
        for one, other in (("law", "music"), ("music", "law")):
            if replicas.on_the_way(one, other):
                replicas.deliver(one, other)
    assert log.csn == 1
    replicas.submit("law", book(9, day="2026-12-20"))
    assert log.last_ms["law"] > log.last_ms["music"]
