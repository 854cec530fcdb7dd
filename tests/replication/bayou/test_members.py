"""Replicas come and go."""

from __future__ import annotations

import msgspec
import pytest
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.replication.bayou.messages import Create


def book(hour: int, room: str = "Maple") -> str:
    return f"reserve {room} 2026-12-01 {hour:02}:00 1h Meeting"


def events(replicas: Replicas) -> str:
    return "\n".join(text for kind, text in replicas.lines if kind == "event")


# -- Creation


def test_a_new_disk_takes_part_when_a_peer_has_created_it() -> None:
    replicas = Replicas("biology law +music")
    replicas.book("law", book(9))
    replicas.restart("music")
    replicas.wait(2 * SECOND_US)
    assert replicas.core("music").replica.replica == "music~1music"
    assert "music~1music-1" in replicas.book("music", book(10))
    replicas.wait(SECOND_US)
    replicas.settled()


def test_any_one_peer_will_do_also_one_that_does_not_see_the_primary() -> None:
    replicas = Replicas("biology law +music")
    replicas.isolate("biology")
    replicas.restart("music")
    replicas.wait(2 * SECOND_US)
    assert replicas.core("music").replica.state == "active"
    replicas.submit("music", book(9))
    replicas.heal()
    replicas.wait(2 * SECOND_US)
    replicas.settled()


def test_before_it_is_created_it_reads_and_takes_no_writes() -> None:
    replicas = Replicas("biology law +music")
    replicas.isolate("music")
    replicas.restart("music")
    assert "takes no writes until a peer has created it" in replicas.book("music", book(9))
    assert "all free" in replicas.ask("music", "schedule 2026-12-01")


def test_asked_again_a_peer_tells_again_and_creates_no_second_one() -> None:
    replicas = Replicas("biology law +music")
    replicas.isolate("music")
    for _ in range(3):
        replicas.hear("law", "music", Create("music", "1musi"))
    assert sorted(replicas.log("law").members) == ["biology", "law", "music~1musi"]
    assert len(replicas.log("law").tail) == 1


def test_a_node_asks_for_itself_only() -> None:
    replicas = Replicas("biology law +music")
    replicas.hear("law", "music", Create("biology", "thief"))
    assert sorted(replicas.log("law").members) == ["biology", "law"]


def test_the_id_outlives_a_restart_at_any_moment() -> None:
    replicas = Replicas("biology law +music")
    replicas.restart("music")
    seen = set()
    for _ in range(12):
        replicas.wait(100_000)
        replicas.crash("music")
        replicas.restart("music")
        seen.add(replicas.core("music").replica.replica)
    replicas.wait(3 * SECOND_US)
    assert seen | {replicas.core("music").replica.replica} <= {"", "music~1music"}
    replicas.submit("music", book(9))
    replicas.wait(SECOND_US)
    replicas.settled()


def test_created_by_a_peer_that_was_created_itself() -> None:
    replicas = Replicas("biology +law +music")
    replicas.restart("law")
    replicas.wait(2 * SECOND_US)
    replicas.isolate("biology")
    replicas.restart("music")
    replicas.wait(2 * SECOND_US)
    replicas.submit("music", book(9))
    replicas.heal()
    replicas.wait(3 * SECOND_US)
    replicas.settled()
    assert replicas.log("biology").live == ["biology", "law~1law", "music~1music"]


# -- A lost disk


def test_an_empty_disk_takes_the_place_of_the_lost_one_for_which_nobody_waits() -> None:
    replicas = Replicas("biology law music")
    replicas.book("law", book(9))
    replicas.crash("law")
    replicas.empty_disk("law")
    replicas.restart("law")
    replicas.wait(3 * SECOND_US)
    assert replicas.log("biology").live == ["biology", "law~2law", "music"]
    replicas.submit("law", book(10))
    replicas.wait(SECOND_US)
    replicas.settled()
    assert replicas.log("biology").csn == 3


def test_an_operator_takes_out_a_lost_replica_and_what_it_still_brings_is_welcome() -> None:
    replicas = Replicas("biology law music")
    replicas.isolate("music")
    replicas.submit("music", book(9, "Oak"))
    assert "waited for no longer" in replicas.book("law", "retire music")
    replicas.submit("law", book(9))
    replicas.wait(SECOND_US)
    assert replicas.log("law").csn == 2, "nobody waits for music"
    replicas.heal()
    replicas.wait(3 * SECOND_US)
    assert "Oak 09:00-10:00 Oscar" in replicas.ask("law", "schedule 2026-12-01")


@pytest.mark.parametrize(
    ("id", "why"), [("attic", "no replica 'attic'"), ("music", "is connected: say `retire` there")]
)
def test_who_is_there_or_never_was_is_not_taken_out(id: str, why: str) -> None:
    replicas = Replicas("biology law music")
    assert why in replicas.book("law", f"retire {id}")


# -- Retirement


def test_retired_is_told_from_never_heard_of() -> None:
    """music was created, wrote and retired while law was away; to physics, which was away too, all that is news."""
    replicas = Replicas("biology law physics +music")
    replicas.isolate("law")
    replicas.isolate("physics")
    replicas.restart("music")
    replicas.wait(2 * SECOND_US)
    replicas.submit("music", book(9))
    replicas.deliver_all()
    assert "has retired" in replicas.book("music", "retire")
    replicas.crash("music")
    replicas.connect("biology", "law")
    replicas.wait(2 * SECOND_US)
    replicas.connect("law", "physics")
    replicas.wait(2 * SECOND_US)
    replicas.heal()
    replicas.wait(2 * SECOND_US)
    replicas.settled()
    assert replicas.log("physics").csn == 3
    assert "music~1music" not in replicas.log("physics").vector
    sent = [text for kind, text in replicas.lines if kind == "Updates" and "music~1music-1" in text]
    receivers = [text.split()[2] for text in sent]
    assert receivers.count("law") == receivers.count("physics") == 1, "once each, not for ever"


def test_a_retired_replica_takes_no_writes_and_goes_when_a_peer_has_its_last() -> None:
    replicas = Replicas("biology law music")
    replicas.submit("music", "retire")
    assert replicas.told("retire") == []
    assert "retired" in replicas.book("music", book(9))
    replicas.wait(2 * SECOND_US)
    assert replicas.told("retire") == ["music has retired; its node may be stopped for good."]
    replicas.crash("music")
    replicas.restart("music")
    assert replicas.core("music").replica.state == "retired"


def test_who_is_asked_to_retire_again_says_how_far_it_is() -> None:
    """Whatever became of the first answer; its process may have begun again meanwhile, too."""
    replicas = Replicas("biology law music")
    replicas.submit("music", "retire")
    replicas.isolate("music")
    replicas.wait(5 * SECOND_US)
    assert "music is retiring: no peer that stays has its last writes yet" in replicas.told("retire")[0]
    replicas.submit("music", "retire")
    replicas.crash("music")
    replicas.restart("music")
    assert replicas.core("music").replica.state == "retired"
    replicas.submit("music", "retire", "retire")
    assert "asked once more" in replicas.told("retire")[1]
    replicas.heal()
    replicas.wait(2 * SECOND_US)
    assert replicas.told("retire")[2:] == ["music has retired; its node may be stopped for good."]


def test_the_last_writes_are_left_to_nobody_who_has_retired() -> None:
    replicas = Replicas("biology law music physics")
    replicas.isolate("law", "music")
    replicas.connect("law", "music")
    replicas.submit("music", "retire")
    replicas.wait(2 * SECOND_US)
    assert "has retired" in replicas.told("retire")[0]
    assert "connect one first" in replicas.book("law", "retire")
    replicas.connect("law", "physics")
    replicas.wait(2 * SECOND_US)
    assert "law has retired" in replicas.book("law", "retire")


def test_who_may_have_retired_meanwhile_is_no_heir() -> None:
    """music retires and tells law of what law had, before it tells that it has gone."""
    replicas = Replicas("biology law music")
    replicas.isolate("law", "music")
    replicas.connect("law", "music")
    replicas.submit("law", "retire")
    have = replicas.core("law").replica.have(2, wants=False)
    ahead = tuple((name, number + 1 if name == "music" else number) for name, number in have.vector)
    replicas.lose("law", "music")
    replicas.hear("law", "music", msgspec.structs.replace(have, replica="music", vector=ahead))
    assert replicas.told("retire") == []
    replicas.hear("law", "music", msgspec.structs.replace(have, replica="music"))
    assert "law has retired" in replicas.told("retire")[0]


def test_the_primary_does_not_retire_nor_does_who_is_alone() -> None:
    replicas = Replicas("biology law")
    assert "hand over first" in replicas.book("biology", "retire")
    replicas.isolate("law")
    assert "connect one first" in replicas.book("law", "retire")


def test_who_has_a_wrong_clock_sets_it_right_before_it_retires() -> None:
    """Its retirement would wait in the others' quarantine."""
    replicas = Replicas("biology law music")
    replicas["law"].skew_ms = 24 * 3_600_000
    replicas.wait(3 * SECOND_US)
    assert "set it right" in replicas.book("law", "retire")


# -- A copied disk


def forked(replicas: Replicas) -> None:
    """law goes on from a copy of its disk that lacks its newest write."""
    replicas.book("law", book(9))
    replicas.copy_disk("law")
    replicas.now_us += 1000
    replicas.book("law", book(10))
    replicas.crash("law")
    replicas.put_copy("law")


def test_an_old_copy_finds_out_and_makes_its_writes_anew_under_a_new_id() -> None:
    replicas = Replicas("biology law music")
    forked(replicas)
    replicas.isolate("law")
    replicas.restart("law")
    replicas.now_us += 1000
    replicas.submit("law", book(11))
    replicas.heal()
    replicas.wait(3 * SECOND_US)
    replicas.settled()
    assert "is an old copy" in events(replicas)
    told = replicas.ask("biology", "schedule 2026-12-01")
    assert all(f"Maple {hour:02}:00" in told for hour in (9, 10, 11)), "nothing is lost, of either life"
    assert "law-2 was made anew as law~1law.1-1" in events(replicas)


def test_a_copy_that_is_told_of_begins_under_a_new_id() -> None:
    replicas = Replicas("biology law music")
    forked(replicas)
    replicas.restart("law", is_copy=True)
    assert "takes no writes" in replicas.book("law", book(11))
    replicas.wait(3 * SECOND_US)
    assert replicas.core("law").replica.replica == "law~1law.1"
    replicas.settled()
    assert replicas.log("law").csn == 3


def test_what_is_to_be_made_anew_outlives_a_crash() -> None:
    replicas = Replicas("biology law music")
    forked(replicas)
    replicas.isolate("law")
    replicas.restart("law")
    replicas.now_us += 1000
    replicas.submit("law", book(11))
    replicas.connect("law", "biology")
    while replicas.channels[0, 1] and replicas.core("law").replica.state == "active":
        replicas.deliver("biology", "law")
    assert replicas.core("law").replica.state == "joining"
    replicas.crash("law")
    replicas.restart("law")
    replicas.heal()
    replicas.wait(3 * SECOND_US)
    replicas.settled()
    assert "Maple 11:00" in replicas.ask("biology", "schedule 2026-12-01")


def test_a_disk_that_forks_twice_takes_two_ids() -> None:
    replicas = Replicas("biology law music")
    for hour in (9, 11, 13):
        forked_id = replicas.core("law").replica.replica
        replicas.book("law", book(hour))
        replicas.copy_disk("law")
        replicas.now_us += 1000
        replicas.book("law", book(hour + 1))
        replicas.crash("law")
        replicas.put_copy("law")
        replicas.restart("law")
        replicas.wait(3 * SECOND_US)
        assert replicas.core("law").replica.replica != forked_id
    replicas.settled()
    told = replicas.ask("biology", "schedule 2026-12-01")
    assert all(f"Maple {hour:02}:00" in told for hour in range(9, 15))
