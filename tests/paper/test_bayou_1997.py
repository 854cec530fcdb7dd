"""K. Petersen et al., "Flexible Update Propagation for Weakly Consistent Replication", SOSP 1997: its
algorithms and scenarios by name, on replicas that run the whole protocol. Section numbers are the paper's."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.replication.bayou.replicas import SECOND_US, Replicas
from tests.replication.bayou.story import GOLDEN, Story

EXAMPLES = settings().max_examples // 5
"""Each founds a site."""
HOUR_US = 3600 * SECOND_US


def book(hour: int, room: str = "Maple", *others: str) -> str:
    return f"reserve {room} 2026-12-01 {hour:02}:00 1h Meeting" + "".join(f" --or {other}" for other in others)


def told(story: str, *phrases: str) -> None:
    """The golden trace of this name says so, in this order, as it is told now."""
    text = Story((GOLDEN / f"{story}.txt").read_text()).tell()
    place = 0
    for phrase in phrases:
        place = text.find(phrase, place)
        assert place >= 0, f"{story} does not say {phrase!r} in its turn"


def meet(replicas: Replicas, one: str, other: str) -> None:
    """One anti-entropy session, both ways, and apart again."""
    replicas.connect(one, other)
    replicas.wait(SECOND_US)
    replicas.disconnect(one, other)


def apart(names: str, **options: object) -> Replicas:
    replicas = Replicas(names, **options)  # type: ignore[arg-type]
    for name in replicas.names:
        replicas.isolate(name)
    return replicas


def sent(replicas: Replicas, kind: str = "Updates") -> list[str]:
    return [text for said, text in replicas.lines if said == kind]


# -- 3, the basic anti-entropy algorithm


def test_3_1_figure_1_the_receiver_s_vector_tells_what_it_lacks_and_only_that_is_sent() -> None:
    told(
        "10_anti_entropy",
        "law -> music Have law 1; 0 committed, wants",
        "music -> law Updates after law 1: music-1 at 08:00:00.000, music-2 at 08:00:00.001",
        "law receives Updates after music 2: music-3",
        "law -> music Have law 1; 0 committed, wants",
        "law writes Logged music-1 at 08:00:00.000, music-2 at 08:00:00.001, music-3 at 08:00:00.002",
    )


@settings(max_examples=EXAMPLES)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["biology", "law", "music", "physics"]),
            st.tuples(st.sampled_from(["biology", "law", "music", "physics"]), st.booleans()),
        ),
        max_size=25,
    )
)
def test_3_1_the_prefix_property_holds_at_every_moment(plan: list[object]) -> None:
    """Who has a write has all that its author had accepted before it; also what the author had seen by then."""
    replicas = apart("biology law music physics")
    ring = replicas.names
    for act in plan:
        replicas.now_us += 1000
        if isinstance(act, str):
            replicas.submit(act, book(9))
        else:
            name, breaks_off = act
            other = ring[(ring.index(name) + 1) % 4]
            replicas.connect(name, other)
            if not breaks_off:
                replicas.deliver_all()
            elif replicas.channels[ring.index(name), ring.index(other)]:
                replicas.deliver(name, other)
            replicas.disconnect(name, other)
        for each in ring:
            log = replicas.log(each)
            have = Counter(write.replica for write in log.committed)
            have.update(entry.write.replica for entry in log.tail)
            assert have == Counter({replica: number for replica, number in log.vector.items() if number})


def test_3_2_anti_entropy_is_one_way_pairwise_and_reaches_everyone_through_others() -> None:
    """biology's writes come to physics through law and music; physics and biology never meet."""
    replicas = apart("biology law music physics")
    replicas.submit("biology", book(9))
    for one, other in (("biology", "law"), ("law", "music"), ("music", "physics")):
        meet(replicas, one, other)
    assert "Fatima" in replicas.ask("physics", "schedule 2026-12-01")


def test_3_2_a_session_that_is_cut_short_has_not_been_in_vain() -> None:
    """Every message that arrived counts; the next session begins where that one stopped."""
    replicas = apart("biology law music")
    filler = "x" * 150
    for hour in range(8, 17):
        for room in ("Ash", "Elm", "Oak", "Maple"):
            replicas.submit(
                "law", *[f"reserve {room} 2026-12-{day:02} {hour:02}:00 1h {filler}" for day in range(1, 29)]
            )
    total = replicas.log("law").vector["law"]
    got = [0]
    while got[-1] < total:
        replicas.connect("law", "music")
        replicas.deliver("music", "law")  # what music has, and wants
        while replicas.channels[1, 2] and replicas.log("music").vector["law"] == got[-1]:
            replicas.deliver("law", "music")  # one message with writes
        replicas.disconnect("law", "music")
        got.append(replicas.log("music").vector["law"])
    assert len(got) >= 3
    assert got == sorted(set(got)), "each session brought something"


# -- 4, effective write-log management


def test_4_1_figure_2_a_stable_write_is_sent_as_a_commit_notification_to_who_has_it() -> None:
    told(
        "11_commit_notice", "biology -> law Reply commit 1 law-1, 2 music-1", "biology -> music Updates commit 1 law-1"
    )


def test_4_1_commit_notifications_are_short() -> None:
    replicas = apart("biology law music")
    for hour in range(8, 17):
        replicas.submit("law", book(hour))
    vector = dict(replicas.log("law").vector)
    replicas.connect("biology", "law")
    replicas.connect("biology", "music")
    replicas.wait(SECOND_US)
    updates = replicas.core("biology").anti_entropy.updates_for(vector, 0)
    assert (len(updates.commits), updates.writes) == (9, ())
    bare = replicas.core("biology").anti_entropy.updates_for(vector, 9)
    notices = len(msgspec.msgpack.encode(updates)) - len(msgspec.msgpack.encode(bare))
    assert notices / 9 < 12, "bytes for each"


def test_4_1_committed_writes_travel_before_tentative_ones_in_the_committed_order() -> None:
    replicas = Replicas("biology law music", policy="immediate")
    replicas.isolate("music")
    replicas.submit("law", book(9))
    replicas.wait(SECOND_US)
    replicas.submit("music", book(10))
    replicas.connect("music", "biology")
    replicas.wait(SECOND_US)
    replicas.isolate("law")
    replicas.submit("law", book(11))
    log = replicas.log("law")
    updates = replicas.core("law").anti_entropy.updates_for({"biology": 0, "law": 0, "music": 0}, 0)
    assert [(write.replica, write.number) for write in updates.writes[: log.csn]] == list(updates.commits)
    assert updates.writes[-1].number == log.vector["law"]


def test_4_2_figure_3_a_receiver_below_the_truncated_log_gets_the_full_database() -> None:
    told(
        "12_truncation",
        "biology answers `truncate`: 2 committed writes were dropped from the log.",
        "biology -> music StatePart as of commit 2, part 0, the last",
        "music: took over the state as of commit 2 from a peer, and kept 1 writes",
        "music tells that music-1 is committed: Oak",
    )


def test_4_2_servers_truncate_independently_and_any_time_and_all_come_to_the_same() -> None:
    replicas = Replicas("biology law music physics")
    for number in range(9):
        replicas.submit(replicas.names[number % 4], book(8 + number))
        replicas.wait(SECOND_US // 2)
        replicas.submit(replicas.names[(number * 3) % 4], "truncate")
        name = replicas.names[1 + number % 3]
        replicas.isolate(name) if number % 2 else replicas.heal()
    replicas.heal()
    replicas.wait(3 * SECOND_US)
    replicas.settled()
    assert len({replicas.log(name).omitted for name in replicas.names}) > 1


# -- 5, creation and retirement


def test_5_a_new_server_is_created_through_any_one_server() -> None:
    told(
        "13_creation",
        "law: created the replica music~1music",
        "law writes Logged law-2 at 08:00:00.250 (a creation)",
        "music: music~1music takes part",
        "music~1music live, known up to 1",
    )


def test_5_a_server_retires_by_a_write_and_is_told_from_one_never_heard_of() -> None:
    told(
        "14_retirement",
        "music-2 at 08:00:00.001 (a retirement)",
        "music answers `retire`: music has retired; its node may be stopped for good.",
        "biology -> law Updates after music 1: music-2",
        "music gone, known up to 2",
    )


@pytest.mark.parametrize("informed", [True, False], ids=["knows that it retired", "has never heard of it"])
def test_5_the_missing_entry_in_a_vector_means_one_of_two_things(informed: bool) -> None:
    """The sender decides by the creation's own stamp: who has that write has heard of the replica."""
    replicas = Replicas("biology law physics +music")
    if not informed:
        replicas.isolate("physics")
    replicas.restart("music")
    if not informed:
        replicas.disconnect("physics", "music")
    replicas.wait(2 * SECOND_US)
    replicas.submit("music", book(9))
    replicas.wait(SECOND_US)
    assert "has retired" in replicas.book("music", "retire")
    replicas.wait(SECOND_US)
    replicas.crash("music")
    if not informed:
        replicas.core("biology").anti_entropy.pull(1)
    log = replicas.log("law")
    assert ("music~1music" in replicas.log("physics").vector) is False
    lacks = log.lacking(dict(replicas.log("physics").vector))
    assert ("music~1music" in lacks) is not informed
    replicas.heal()
    replicas.wait(26 * SECOND_US)
    assert replicas.log("physics").includes((("music~1music", 2),))


def test_5_a_primary_may_hand_its_role_to_another() -> None:
    told("17_hand_over", "biology -> law Yield epoch 0", "law is the primary of epoch 65", "commit")


# -- 6, policies: when, with whom, and over what


def test_6_anti_entropy_over_transportable_media() -> None:
    told(
        "15_transport_media",
        "music writes stick, in 1 part",
        "law is told: 1 new writes, 0 new commits.",
        "law is told: 0 new writes, 0 new commits.",
        "music is told: 1 new writes, 2 new commits.",
        '"Rehearsal" confirmed music-1',
    )


def test_6_at_once_after_a_write_on_a_timer_otherwise_and_with_a_peer_chosen_at_random() -> None:
    replicas = Replicas("biology law music physics", sync_us=SECOND_US)
    replicas.lines.clear()
    replicas.submit("law", book(9))
    assert {text.split()[2] for text in (*sent(replicas), *sent(replicas, "Request"))} == {
        "biology",
        "music",
        "physics",
    }
    replicas.deliver_all()
    replicas.lines.clear()
    replicas.wait(60 * SECOND_US)
    asked = Counter(text.split()[2] for text in sent(replicas, "Have") if text.startswith("law ->"))
    assert set(asked) == {"biology", "music", "physics"}
    assert all(count >= 8 for count in asked.values()), asked


def test_6_between_equals_a_session_costs_next_to_nothing() -> None:
    """Ten members: under 1 KB for what both say."""
    names = "biology chemistry computing economics history law mathematics medicine music physics"
    replicas = Replicas(names)
    for name in replicas.names:
        replicas.book(name, book(9, "Maple", "Oak@09:00"))
    replicas.wait(3 * SECOND_US)
    replicas.settled()
    for one, other in (("law", "music"), ("music", "law")):
        replicas.disconnect(one, other)
    replicas.connect("law", "music")
    said = 0
    law, music = replicas["law"].number, replicas["music"].number
    while replicas.channels[law, music] or replicas.channels[music, law]:
        for one, other in ((law, music), (music, law)):
            if replicas.channels[one, other]:
                said += len(replicas.channels[one, other][0])
                replicas.deliver(replicas.names[one], replicas.names[other])
    assert 0 < said < 1024


def test_6_the_overhead_of_a_write_is_at_most_100_bytes_beyond_its_body() -> None:
    replicas = apart("biology law")
    for hour in range(8, 17):
        replicas.submit("law", book(hour))
    updates = replicas.core("law").anti_entropy.updates_for({"biology": 0, "law": 0}, 0)
    bare = replicas.core("law").anti_entropy.updates_for(dict(replicas.log("law").vector), 0)
    bodies = sum(len(write.body) for write in updates.writes)
    overhead = len(msgspec.msgpack.encode(updates)) - len(msgspec.msgpack.encode(bare)) - bodies
    assert overhead / len(updates.writes) <= 100


def test_6_the_causal_order_of_writes_is_kept_whatever_the_clocks_say() -> None:
    """Section 3.3's accept stamps: what a server accepts is stamped later than all that it has seen."""
    replicas = Replicas("biology law music")
    replicas["music"].skew_ms = -90_000
    for number in range(6):
        replicas.book("law" if number % 2 else "music", book(8 + number))
        replicas.wait(SECOND_US // 10)
    replicas.wait(SECOND_US)
    replicas.settled()
    assert [write.replica for write in replicas.log("biology").committed] == ["music", "law"] * 3
