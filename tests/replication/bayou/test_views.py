"""Executing the log: the two views, and how often a write is executed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.kernel.errors import BrokenInvariant
from holdfast.replication.bayou.configuration import ROLL_FORWARD_MAX
from holdfast.replication.bayou.core import IDLE_US

EXAMPLES = settings().max_examples // 4
"""Each founds a site."""


def book(hour: int, room: str = "Maple", *others: str) -> str:
    return f"reserve {room} 2026-12-01 {hour:02}:00 1h Meeting" + "".join(f" --or {other}" for other in others)


def executions(replicas: Replicas) -> Counter[str]:
    """How often each replica executed each write, the most of all."""
    return Counter(" ".join(text.split()[:3]).rstrip(":") for kind, text in replicas.lines if kind == "execute")


def test_a_write_is_executed_once_where_it_is_accepted_and_its_commit_executes_nothing() -> None:
    replicas = Replicas("biology law")
    for hour in range(8, 17):
        replicas.book("law", book(hour))
    assert set(executions(replicas).values()) == {1}
    replicas.settled()


def test_ten_peers_who_bring_their_writes_one_after_the_other_cost_one_execution_not_ten() -> None:
    """The full view is rolled forward when somebody asks for it, not with each insertion."""
    names = "biology chemistry computing economics history law mathematics medicine music physics"
    replicas = Replicas(names)
    replicas.isolate("biology")
    for name in replicas.names[1:]:
        replicas.isolate(name)
    for hour in range(8, 17):
        for name in replicas.names:  # the same slots everywhere, one millisecond apart
            replicas.now_us += 1000
            replicas.submit(name, book(hour, "Maple", f"Oak@{hour:02}:00"))
    replicas.lines.clear()
    for name in reversed(replicas.names[1:-1]):
        replicas.connect("physics", name)
    replicas.deliver_all()
    replicas.ask("physics", "schedule 2026-12-01")
    counts = executions(replicas)
    assert max(counts.values()) == 1
    assert sum(count for what, count in counts.items() if what.startswith("physics ")) == 81


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(st.sampled_from(["biology", "law", "music"]), st.integers(8, 11)), max_size=25))
def test_no_write_is_executed_more_than_twice_when_the_offline_come_back(plan: list[tuple[str, int]]) -> None:
    replicas = Replicas("biology law music")
    replicas.isolate("law")
    replicas.isolate("music")
    for name, hour in plan:
        replicas.now_us += 7_000
        replicas.submit(name, book(hour, "Maple", f"Oak@{hour:02}:00"))
    replicas.heal()
    replicas.wait(3 * SECOND_US)
    replicas.settled()
    assert max(executions(replicas).values(), default=0) <= 2


def test_nothing_is_executed_before_somebody_asks_or_the_replica_is_idle() -> None:
    replicas = Replicas("biology law music")
    replicas.isolate("law", "music")
    replicas.submit("law", book(9))
    replicas.deliver("law", "music")
    views = replicas.core("music").replica.views
    assert not views.caught_up
    replicas.wait(IDLE_US - 1000)
    assert not views.caught_up
    replicas.wait(2000)
    assert views.caught_up


def test_a_reader_of_the_full_view_waits_for_it_and_one_of_the_committed_view_does_not() -> None:
    replicas = Replicas("biology law music")
    replicas.isolate("law", "music")
    count = 2 * ROLL_FORWARD_MAX + 100
    replicas.submit("law", *["cancel law-1"] * count)
    replicas.deliver("law", "music")
    music = replicas["music"]
    replicas._input(music, "ask", [("full", replicas.request("music", "schedule 2026-12-01"))])
    executed = replicas.core("music").replica.views.executed
    assert 0 < executed <= ROLL_FORWARD_MAX
    assert replicas.told("full") == []
    assert "all free" in replicas.ask("music", "schedule 2026-12-01", "committed")
    turns = 0
    while not replicas.told("full"):
        replicas.wake("music")
        turns += 1
    assert 1 <= turns <= count // ROLL_FORWARD_MAX + 1
    assert replicas.core("music").replica.views.caught_up


def test_the_committed_view_executes_nothing_and_leaves_the_store_as_it_was() -> None:
    replicas = Replicas("biology law music")
    replicas.book("law", book(9))
    replicas.isolate("law")
    replicas.submit("law", "cancel law-1", book(10))
    views = replicas.core("law").replica.views
    before, executed = replicas.core("law").replica.machine.digest(), views.executions
    assert "Maple 09:00" in replicas.ask("law", "schedule 2026-12-01", "committed")
    assert "Maple 10:00" in replicas.ask("law", "schedule 2026-12-01")
    assert replicas.core("law").replica.machine.digest() == before
    assert views.executions == executed
    assert views.digest() == replicas.core("biology").replica.views.digest()


def test_what_is_tentative_is_told_apart_from_what_is_confirmed_in_one_answer() -> None:
    replicas = Replicas("biology law music")
    replicas.book("law", book(9))
    replicas.isolate("law")
    replicas.submit("law", book(10))
    told = replicas.ask("law", "schedule 2026-12-01")
    assert 'Maple 09:00-10:00 Liam (law) "Meeting" confirmed law-1' in told
    assert 'Maple 10:00-11:00 Liam (law) "Meeting" tentative law-2' in told


def test_notices_tell_only_what_is_final() -> None:
    replicas = Replicas("biology law music")
    replicas.isolate("law", "music")
    replicas.submit("law", book(9))
    replicas.deliver_all()
    replicas.submit("music", book(9))
    replicas.deliver_all()
    assert replicas.ask("music", "notices") == "No notices."
    replicas.heal()
    replicas.wait(SECOND_US)
    assert "oscar: music-1 is not granted" in replicas.ask("music", "notices")


def test_a_commit_from_within_the_tail_is_executed_before_what_stood_before_it() -> None:
    """Policy `immediate`: the tentative order and the committed order differ."""
    replicas = Replicas("biology law music", policy="immediate")
    replicas.isolate("music")
    replicas.submit("music", book(9))
    replicas.wait(SECOND_US)
    replicas.submit("law", book(9))
    replicas.deliver_all()
    replicas.connect("music", "law")
    replicas.deliver_all()
    assert "Liam" in replicas.ask("music", "schedule 2026-12-01")
    assert [entry.late for entry in replicas.log("music").tail] == [True]
    replicas.heal()
    replicas.wait(SECOND_US)
    replicas.settled()


def test_a_commit_of_a_write_that_is_not_there_is_a_broken_invariant() -> None:
    replicas = Replicas("biology law")
    replicas.isolate("law")
    replicas.submit("law", book(9))
    with pytest.raises(BrokenInvariant):
        replicas.core("law").replica.views.commit([("law", 2)], 0)


def test_undone_and_done_again_is_the_same_store() -> None:
    replicas = Replicas("biology law")
    replicas.isolate("law")
    for hour in range(8, 17):
        replicas.submit("law", book(hour))
    views = replicas.core("law").replica.views
    digest = replicas.core("law").replica.machine.digest()
    for place in (8, 3, 0):
        views.roll_back(place)
        assert views.executed == place
        views.roll_forward(100)
        assert replicas.core("law").replica.machine.digest() == digest
