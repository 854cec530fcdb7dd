"""Tickets under `bayou`: a box office without a network goes on selling, and no seat is sold twice in the end."""

from __future__ import annotations

import time
from pathlib import Path

from tests.e2e.cluster import until
from tests.e2e.offices import Offices, wired, working

ALL = ("biology", "chemistry", "law")


def test_an_offline_box_office_sells_tentative_seats_and_no_seat_twice(tmp_path: Path) -> None:
    """Seats are chosen by number, so both sides sell the same ones; whoever was first keeps them."""
    offices = Offices(tmp_path, ALL, "seats = 40", app="tickets")
    with wired(offices) as wires, working(offices):
        offices.tell_one("biology", "choose opening 1")
        offices.wait_firm()
        wires.split(("biology", "chemistry"), ("law",))
        sold: dict[str, list[int]] = {}
        for number in range(8):
            first = 2 + 4 * number
            seats = {"law": [first, first + 1], "chemistry": [first + 2 - number % 2, first + 3 - number % 2]}
            for name in sorted(seats, reverse=number % 4 < 2):
                answer = offices.tell_one(name, f"choose {name}{number} {','.join(map(str, seats[name]))}")
                assert (answer["type"], answer["firm"]) == ("reserved", "tentative")
                sold[f"{name}{number}"] = seats[name]
                said_ms = time.time_ns() // 1_000_000
                until(lambda said_ms=said_ms: time.time_ns() // 1_000_000 > said_ms, "the next millisecond")
        assert offices.tell_one("law", "search law0")["reply"]["seats"] == [2, 3]
        asked = offices.tell("law", "view committed", "search law0")[1]
        assert not asked["ok"], "nothing of it is firm"
        wires.split(ALL)
        offices.wait_firm()

        kept: dict[str, list[int]] = {}
        for name in sold:
            answers = [offices.tell(at, "view committed", f"search {name}")[1] for at in ALL]
            assert answers[0] == answers[1] == answers[2]
            if answers[0]["ok"]:
                kept[name] = answers[0]["reply"]["seats"]
        expected: dict[str, list[int]] = {}
        for name, seats in sold.items():  # in the order in which they were sold
            if not any(seat in others for seat in seats for others in expected.values()):
                expected[name] = seats
        assert kept == expected
        assert len(kept) == 12, "of eight pairs of guests four wanted the same seat"
        free = offices.tell("law", "view committed", "seats")[1]
        assert free["reply"]["free"] == 40 - 1 - 24
