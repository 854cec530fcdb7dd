"""What goes on without anybody's doing: at any hour, and however much there is."""

from __future__ import annotations

import pytest
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.replication.bayou import antientropy

HOUR_US = 3600 * SECOND_US


def book(hour: int, room: str = "Maple") -> str:
    return f"reserve {room} 2026-12-01 {hour:02}:00 1h Meeting"


def test_immediate_confirms_at_every_hour_of_the_day() -> None:
    replicas = Replicas("biology law", policy="immediate")
    for number in range(1, 25):
        replicas.submit("law", book(9) if number == 1 else f"cancel law-{number - 1}")
        replicas.deliver_all()
        assert replicas.log("law").csn == number
        replicas.jump(HOUR_US)


def test_what_is_tentative_follows_when_all_that_is_confirmed_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """More commits than one message holds: an author's next writes would come behind a gap."""
    monkeypatch.setattr(antientropy, "COMMITS_MAX", 3)
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
    replicas.connect("law", "music")
    replicas.deliver_all()
    assert replicas.core("music").replica.malformed == 0
    assert (replicas.log("music").csn, replicas.log("music").vector["law"]) == (5, 14)
