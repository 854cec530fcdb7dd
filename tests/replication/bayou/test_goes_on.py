"""What goes on without anybody's doing, at any hour."""

from __future__ import annotations

from tests.replication.bayou.replicas import SECOND_US, Replicas

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
