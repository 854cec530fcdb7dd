"""Anti-entropy: what is sent, what is taken in, and what happens to messages that are lost, doubled or exchanged."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.replication.bayou import antientropy
from holdfast.replication.bayou.messages import Updates, Write

EXAMPLES = settings().max_examples // 4
"""Each founds a site."""


def book(hour: int, room: str = "Maple") -> str:
    return f"reserve {room} 2026-12-01 {hour:02}:00 1h Meeting"


@pytest.fixture
def two() -> Replicas:
    """law has nine tentative writes and five that are committed; music has none of them, and no link to anybody."""
    replicas = Replicas("biology law music")
    replicas.isolate("music")
    replicas.core("biology").replica.log.members.pop("music")  # nobody waits for it
    for hour in range(8, 13):
        replicas.submit("law", book(hour))
        replicas.deliver_all()
    replicas.isolate("law")
    for hour in range(8, 17):
        replicas.submit("law", book(hour, "Oak"))
    assert (replicas.log("law").csn, len(replicas.log("law").tail)) == (5, 9)
    return replicas


def updates_of(replicas: Replicas, name: str, vector: dict[str, int], csn: int, **options: Any) -> Updates:
    made: Updates = replicas.core(name).anti_entropy.updates_for(vector, csn, **options)
    return made


def take(replicas: Replicas, name: str, updates: Updates) -> tuple[bool, int, int]:
    core = replicas.core(name)
    core._begin(replicas.now_us)
    taken = core.anti_entropy.take(updates)
    core._end()
    return (taken.fits, taken.writes, taken.commits)


def test_committed_writes_come_first_then_the_tentative_ones(two: Replicas) -> None:
    vector = dict.fromkeys(two.names, 0)
    updates = updates_of(two, "law", vector, 0)
    assert [write.number for write in updates.writes] == list(range(1, 15))
    assert updates.commits == tuple(("law", number) for number in range(1, 6))
    assert not updates.more
    assert take(two, "music", updates) == (True, 14, 5)
    assert two.log("music").vector == two.log("law").vector


def test_what_a_peer_has_as_a_tentative_write_is_sent_as_the_notice_of_its_commit_only(two: Replicas) -> None:
    updates = updates_of(two, "law", {"biology": 0, "law": 3, "music": 0}, 0)
    assert [write.number for write in updates.writes] == list(range(4, 15))
    assert len(updates.commits) == 5
    body = two.log("law").committed[0].body
    with_body, without = (
        len(msgspec.msgpack.encode(updates_of(two, "law", {"biology": 0, "law": number, "music": 0}, 0)))
        for number in (0, 5)
    )
    assert with_body - without > 5 * len(body)


def test_between_equals_next_to_nothing_is_sent(two: Replicas) -> None:
    log = two.log("law")
    updates = updates_of(two, "law", log.vector, log.csn)
    assert (updates.writes, updates.commits, updates.epochs) == ((), (), ())
    assert len(msgspec.msgpack.encode(updates)) < 100


@pytest.mark.parametrize("bytes_max", [1, 100, 300])
def test_a_session_that_breaks_off_anywhere_goes_on_from_there(two: Replicas, bytes_max: int) -> None:
    """However small the messages; each is enough for the next."""
    messages = 0
    while True:
        log = two.log("music")
        updates = updates_of(two, "law", dict(log.vector), log.csn, bytes_max=bytes_max)
        assert take(two, "music", updates)[0]
        messages += 1
        if messages == 3:
            two.crash("music")
            two.restart("music")
        if not updates.more:
            break
    assert messages > 3
    assert two.log("music").vector == two.log("law").vector
    assert two.log("music").csn == 5


def test_what_does_not_follow_is_dropped_and_asked_for(two: Replicas) -> None:
    gap = updates_of(two, "law", {"biology": 0, "law": 3, "music": 0}, 3)
    assert take(two, "music", gap) == (False, 0, 0)
    assert two.log("music").vector["law"] == 0
    no_commits = updates_of(two, "law", {"biology": 0, "law": 0, "music": 0}, 3)
    assert take(two, "music", no_commits) == (False, 0, 0)


def test_what_comes_twice_is_no_harm(two: Replicas) -> None:
    updates = updates_of(two, "law", dict.fromkeys(two.names, 0), 0)
    assert take(two, "music", updates) == (True, 14, 5)
    written = two.core("music").replica.records_written
    assert take(two, "music", updates) == (True, 0, 0)
    older = msgspec.structs.replace(updates, commits=updates.commits[:2])
    assert take(two, "music", older) == (True, 0, 0)
    assert two.core("music").replica.records_written == written


def test_commits_whose_writes_are_not_here_wait(two: Replicas) -> None:
    updates = updates_of(two, "law", dict.fromkeys(two.names, 0), 0)
    shortened = msgspec.structs.replace(updates, writes=updates.writes[:3])
    assert take(two, "music", shortened) == (False, 3, 3)
    assert take(two, "music", updates) == (True, 11, 2)


def test_a_new_write_goes_to_every_connected_peer_at_once() -> None:
    replicas = Replicas("biology law music")
    replicas.lines.clear()
    replicas.submit("law", book(9))
    assert [(kind, text.split()[2]) for kind, text in replicas.lines if kind in ("Request", "Updates")] == [
        ("Request", "biology"),
        ("Updates", "music"),
    ]


def test_a_peer_is_asked_again_when_its_answer_does_not_come() -> None:
    replicas = Replicas("biology law")
    replicas.disconnect("biology", "law")
    replicas.submit("law", book(9))
    replicas.connect("biology", "law")
    replicas.lose("biology", "law")
    replicas.lose("law", "biology")
    replicas.wait(4 * SECOND_US)
    replicas.settled()
    assert replicas.log("biology").csn == 1


def test_in_time_everybody_has_everything_although_some_never_see_each_other() -> None:
    """A line of replicas: each talks to its neighbours only."""
    replicas = Replicas("biology law music physics")
    for number, one in enumerate(replicas.names):
        for other in replicas.names[number + 2 :]:
            replicas.disconnect(one, other)
    for name in replicas.names:
        replicas.submit(name, book(9))
    replicas.wait(10 * SECOND_US)
    assert len({tuple(sorted(replicas.log(name).vector.items())) for name in replicas.names}) == 1
    replicas.agree()


acts = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from(["biology", "law", "music"]), st.integers(8, 10)),
    st.tuples(
        st.sampled_from(["deliver", "drop", "repeat", "swap"]),
        st.sampled_from(["biology", "law", "music"]),
        st.sampled_from(["biology", "law", "music"]),
    ),
    st.tuples(st.just("wait"), st.integers(1, 900), st.just(0)),
)


@settings(max_examples=EXAMPLES)
@given(st.lists(acts, max_size=60))
def test_whatever_is_lost_doubled_or_exchanged_all_end_with_the_same(plan: list[tuple[Any, Any, Any]]) -> None:
    replicas = Replicas("biology law music")
    for act, one, other in plan:
        if act == "submit":
            replicas.submit(one, book(other))
        elif act == "wait":
            replicas.now_us += one * 1000
        elif one != other:
            channel = replicas.channels[replicas[one].number, replicas[other].number]
            if act == "swap" and len(channel) > 1:
                channel.rotate(1)
            elif act != "swap" and channel:
                getattr(replicas, act)(one, other)
    replicas.wait(8 * SECOND_US)
    replicas.settled()
    assert all(replicas.core(name).replica.malformed == 0 for name in replicas.names)
    committed = replicas.log("biology").committed
    writes = sum(1 for act, _, _ in plan if act == "submit")
    assert len(committed) == writes
    assert committed == sorted(committed, key=lambda write: (write.ms, write.first_name, write.replica))
    assert all(replicas.log(name).committed == committed for name in replicas.names)


def test_a_write_that_contradicts_its_authors_order_is_refused() -> None:
    replicas = Replicas("biology law")
    replicas.disconnect("biology", "law")
    basis = (("biology", 0), ("law", 0))
    for write in (Write(5, "", "law", 2, b""), Write(0, "", "law", 1, b""), Write(5, "", "nobody", 1, b"")):
        replicas.hear("biology", "law", Updates(basis, (write,), 0, (), (), 0, 0))
    assert replicas.core("biology").replica.malformed == 3
    assert replicas.log("biology").tail == []


def test_what_is_tentative_follows_when_all_that_is_confirmed_was_sent(
    two: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More commits than one message holds: an author's next writes would come behind a gap."""
    monkeypatch.setattr(antientropy, "COMMITS_MAX", 3)
    two.connect("law", "music")
    two.deliver_all()
    assert two.core("music").replica.malformed == 0
    assert (two.log("music").csn, two.log("music").vector["law"]) == (5, 14)
