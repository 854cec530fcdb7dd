"""What the log tells of who takes part, whatever the order in which it comes."""

from __future__ import annotations

import pytest
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.replication.bayou.log import WriteLog
from holdfast.replication.bayou.messages import CREATION, RETIREMENT, Creation, MemberRow, Retirement, Write, encode

HOUR_MS = 3_600_000


def book(hour: int, room: str = "Maple") -> str:
    return f"reserve {room} 2026-12-01 {hour:02}:00 1h Meeting"


def founded(*names: str) -> WriteLog:
    log = WriteLog()
    log.begin_members(MemberRow(name, name, "", 0, "live") for name in names)
    return log


def insert(log: WriteLog, *writes: Write) -> None:
    log.insert(writes, log.place(writes))


CREATED = Write(10, "", "a", 1, encode(Creation("c", "cellar", ())), CREATION)
ENDINGS = {
    "retired by an operator": Write(20, "", "b", 1, encode(Retirement("c")), RETIREMENT),
    "replaced by the next disk": Write(20, "", "b", 1, encode(Creation("c2", "cellar", ("c",))), CREATION),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_who_is_taken_out_before_it_was_heard_of_does_not_take_part_when_its_creation_comes(ending: Write) -> None:
    log = founded("a", "b")
    insert(log, ending)
    assert "c" not in log.live
    insert(log, CREATED)
    assert "c" not in log.live
    assert (log.members["c"].node, log.members["c"].state) == ("cellar", "replaced")
    assert log.vector["c"] == 0, "what it wrote is welcome all the same"


def test_a_replica_that_was_taken_out_while_its_creation_waits_aside_is_not_waited_for() -> None:
    """Two clocks are an hour ahead: that of physics, where music's replica was created, and that of law, where an
    operator took it out. Biology keeps both writes aside, and lets them in author by author."""
    replicas = Replicas("biology chemistry history law physics +music")
    ahead = ("law", "physics", "music")
    for name in ahead:
        replicas[name].skew_ms = HOUR_MS
    replicas.isolate(*ahead)
    replicas.disconnect("law", "music")
    replicas.restart("music")
    replicas.wait(2 * SECOND_US)
    assert replicas.log("physics").live == ["biology", "chemistry", "history", "law", "music~1music", "physics"]
    replicas.crash("music")
    assert "waited for no longer" in replicas.book("law", "retire music~1music")
    for name in ("law", "physics"):
        replicas.connect("biology", name)
    replicas.wait(3 * SECOND_US)
    assert list(replicas.core("biology").replica.held) == ["physics", "law"], "the creation came first"

    for name in ahead:
        replicas[name].skew_ms = 0
    replicas.jump(2 * HOUR_MS * 1000)
    assert replicas.core("biology").replica.held == {}
    assert replicas.log("biology").live == ["biology", "chemistry", "history", "law", "physics"]
    replicas.heal()
    replicas.submit("law", book(9))
    replicas.wait(3 * SECOND_US)
    replicas.settled()
    assert replicas.log("biology").is_committed(("law", 2))
