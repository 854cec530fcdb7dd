"""Session guarantees at a replica: served where it knows enough, refused in words where it does not."""

from __future__ import annotations

import itertools

import pytest
from tests.replication.bayou.replicas import SECOND_US, Replicas
from tests.replication.bayou.sessions import Session

from holdfast.kernel.replies import Behind

GUARANTEES = ("read-your-writes", "monotonic-reads", "writes-follow-reads", "monotonic-writes")
SCHEDULE = "schedule 2026-12-01"


def book(hour: int, room: str = "Maple") -> str:
    return f"reserve {room} 2026-12-01 {hour:02}:00 1h Meeting"


@pytest.fixture
def apart() -> Replicas:
    """law and music do not see each other, nor the primary."""
    replicas = Replicas("biology law music")
    replicas.isolate("law")
    replicas.isolate("music")
    return replicas


def join(replicas: Replicas) -> None:
    replicas.connect("law", "music")
    replicas.wait(SECOND_US)


BREAKS = {  # what is done at law, and then at music, that would break each guarantee
    "read-your-writes": (book(9), SCHEDULE),
    "monotonic-reads": (SCHEDULE, SCHEDULE),
    "writes-follow-reads": (SCHEDULE, book(10)),
    "monotonic-writes": (book(9), book(10)),
}


def do(session: Session, name: str, line: str) -> str:
    return session.ask(name, line) if line == SCHEDULE else session.submit(name, line)


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_each_guarantee_is_refused_where_the_replica_is_behind_and_kept_when_it_has_caught_up(
    apart: Replicas, guarantee: str
) -> None:
    first, then = BREAKS[guarantee]
    apart.submit("law", book(8))
    session = Session(apart, guarantee)
    do(session, "law", first)
    logged = len(apart.log("music").tail)
    told = do(session, "music", then)
    assert told.startswith(f"Failed: this replica is behind your session ({guarantee}): it lacks writes of law up to ")
    assert len(apart.log("music").tail) == logged, "a refused write is never logged"
    join(apart)
    assert not do(session, "music", then).startswith("Failed: this replica")


@pytest.mark.parametrize(("asked", "broken"), list(itertools.permutations(GUARANTEES, 2)))
def test_a_guarantee_that_was_not_asked_for_refuses_nothing(apart: Replicas, asked: str, broken: str) -> None:
    first, then = BREAKS[broken]
    apart.submit("law", book(8))
    session = Session(apart, asked)
    do(session, "law", first)
    assert "is behind your session" not in do(session, "music", then)


def test_at_one_replica_every_guarantee_holds_by_itself(apart: Replicas) -> None:
    session = Session(apart, "all")
    for hour in range(8, 17):
        assert not session.submit("law", book(hour)).startswith("Failed")
        assert f"{hour:02}:00" in session.ask("law", SCHEDULE)


def test_what_is_lacking_is_told_by_replica_and_number(apart: Replicas) -> None:
    apart.submit("law", book(9), book(10))
    session = Session(apart, "all")
    session.ask("law", SCHEDULE)
    session.ask("music", SCHEDULE)
    reply = apart.replies[-1][2]
    assert isinstance(reply, Behind)
    assert (reply.guarantee, reply.missing) == ("monotonic-reads", (("law", 2),))


def test_the_committed_view_is_behind_until_the_write_is_committed() -> None:
    replicas = Replicas("biology law music")
    replicas.isolate("law")
    session = Session(replicas, "read-your-writes")
    session.submit("law", book(9))
    session.see("committed")
    assert "is behind your session" in session.ask("law", SCHEDULE)
    session.see("full")
    assert "tentative" in session.ask("law", SCHEDULE)
    replicas.heal()
    replicas.wait(SECOND_US)
    session.see("committed")
    assert "confirmed" in session.ask("law", SCHEDULE)


def test_what_was_truncated_is_known_all_the_same() -> None:
    replicas = Replicas("biology law music")
    session = Session(replicas, "all")
    session.submit("law", book(9))
    replicas.wait(SECOND_US)
    for name in replicas.names:
        replicas.book(name, "truncate")
    assert "Maple" in session.ask("music", SCHEDULE)


def test_writes_of_a_replica_that_retired_meanwhile_count_as_known() -> None:
    replicas = Replicas("biology law music")
    session = Session(replicas, "all")
    session.submit("music", book(9))
    replicas.wait(SECOND_US)
    assert "has retired" in replicas.book("music", "retire")
    replicas.wait(2 * SECOND_US)
    assert "music" not in replicas.log("law").vector
    assert "Maple" in session.ask("law", SCHEDULE)


def test_a_write_that_follows_what_was_read_stands_behind_it_everywhere() -> None:
    """Although the clock of the second replica is behind."""
    replicas = Replicas("biology law music")
    replicas["music"].skew_ms = -60_000
    replicas.isolate("biology")
    session = Session(replicas, "writes-follow-reads")
    replicas.submit("law", book(9))
    session.ask("law", SCHEDULE)
    replicas.wait(SECOND_US)
    session.submit("music", book(9, "Maple"))
    replicas.heal()
    replicas.wait(3 * SECOND_US)
    assert [write.replica for write in replicas.log("biology").committed] == ["law", "music"]
