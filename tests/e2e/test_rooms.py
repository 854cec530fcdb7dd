"""Ten secretaries at ten replicas, some cut off, some killed: in the end all have one schedule."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.offices import DAY, SECRETARIES, Offices, Secretary, overlapping, wanted_by, wired, working

ROOMS = ("Ash", "Beech", "Cedar", "Elm", "Larch", "Maple", "Oak", "Willow")
AWAY = ("history", "law", "music")
KILLED = ("biology", "medicine", "physics")
"""The primary among them."""


def by_the_rule(requests: list[dict[str, Any]]) -> dict[str, str]:
    """What each request gets if the earliest comes first, then the first name, then the replica; by its id."""
    taken: dict[tuple[str, str, int], str] = {}
    got: dict[str, str] = {}
    for request in sorted(requests, key=lambda one: (one["entered"], one["first_name"], one["id"].rpartition("-")[0])):
        wanted = request["wanted"]
        hours = int(wanted["end"][:2]) - int(wanted["start"][:2])
        places = [(wanted["room"], int(wanted["start"][:2]))]
        for alternative in request["alternatives"]:
            room, _, time = alternative.rpartition("@")
            places.append((room, int(time[:2])))
        for room, start in places:
            cells = [(room, wanted["day"], hour) for hour in range(start, start + hours)]
            if not any(cell in taken for cell in cells):
                taken.update(dict.fromkeys(cells, request["id"]))
                got[request["id"]] = f"{room} {start:02}:00"
                break
        else:
            got[request["id"]] = "nothing"
    return got


def check_outcomes(requests: list[dict[str, Any]]) -> None:
    """Every request has what the rule gives it; whoever lost knows to whom and when the other had entered."""
    ruled = by_the_rule(requests)
    entered = {request["id"]: request for request in requests}
    for request in requests:
        place = request["place"]
        assert request["firm"] == "confirmed"
        assert ruled[request["id"]] == (f"{place['room']} {place['start']}" if place else "nothing"), request
        assert request["outcome"] == ("confirmed" if place == request["wanted"] else "moved" if place else "cancelled")
        if place != request["wanted"]:
            winner = entered[request["lost"]["id"]]
            assert (winner["entered"], winner["first_name"]) <= (request["entered"], request["first_name"])
            assert winner["first_name"] in request["why"]
            assert request["lost"]["late"] is False
            assert winner["entered"] in request["why"]


def run_office(directory: Path, count: int, days: int, rounds: int) -> None:
    """The whole story: `count` requests of each secretary in each of the `rounds`, for so many days."""
    dates = [(date.fromisoformat(DAY) + timedelta(days=later)).isoformat() for later in range(days)]
    offices = Offices(directory, tuple(SECRETARIES))
    connected = tuple(name for name in SECRETARIES if name not in AWAY)
    answers: list[tuple[str, str, int, str, dict[str, Any]]] = []
    with wired(offices) as wires, working(offices):
        for number in range(rounds):
            wires.split(connected, *((name,) for name in AWAY))
            number_of_commits = offices.status("chemistry")["position"]
            staff = {
                name: Secretary(offices, name, wanted_by(name, count, ROOMS, dates, number)) for name in SECRETARIES
            }
            for secretary in staff.values():
                secretary.start()
            for name in KILLED:
                busy = staff[name]
                offices.wait(lambda busy=busy: len(busy.answers) >= count // 3, f"{name} is in the middle of it")
                offices.kill(name)
                offices.start(name)
            for secretary in staff.values():
                for place, (line, answer) in enumerate(secretary.finished(), 1):
                    answers.append((secretary.department, secretary.client, place, line, answer))
            for name in AWAY:  # whoever gets no answer tries elsewhere, where nobody has heard of it
                (line, answer), *_ = staff[name].answers
                elsewhere = offices.tell_one("chemistry", f"@{staff[name].client}:1 {line}", as_=name)
                assert elsewhere["write"].startswith("chemistry-")
                assert answer["write"].startswith(f"{name}-")
            assert offices.status("chemistry")["position"] == number_of_commits, "nothing is firm while three are away"
            wires.split(tuple(SECRETARIES))
            offices.wait_firm()
        check_all(offices, answers, dates)


def check_all(offices: Offices, answers: list[tuple[str, str, int, str, dict[str, Any]]], dates: list[str]) -> None:
    """After the network is whole again and everything is firm."""
    committed = offices.wait_firm()["position"]
    for day in dates:
        schedules = [offices.schedule(name, day) for name in SECRETARIES]
        assert all(schedule == schedules[0] for schedule in schedules)
        assert overlapping(schedules[0]) == []
        assert {meeting["firm"] for meeting in schedules[0]} == {"confirmed"}
    requests = [request for name in SECRETARIES for request in offices.requests("law", name)]
    check_outcomes(requests)
    purposes = [request["purpose"] for request in requests]
    assert sorted(purposes) == sorted(line.split('"')[1] for _, _, _, line, _ in answers), "no write is lost or doubled"
    outcomes = {request["outcome"] for request in requests}
    assert outcomes == {"confirmed", "moved", "cancelled"}
    for department, client, number, line, answer in answers[:: max(1, len(answers) // 20)]:
        assert answer["firm"] == "tentative"
        again = offices.tell_one("chemistry", f"@{client}:{number} {line}", as_=department)
        assert again["reply"]["id"] == answer["reply"]["id"]
    after = offices.wait_firm()["position"]
    assert after == committed, "a retry of what is known makes no write"
    assert [request for name in SECRETARIES for request in offices.requests("music", name)] == requests


def test_three_of_ten_are_cut_off_three_are_killed_and_all_end_with_one_schedule(tmp_path: Path) -> None:
    run_office(tmp_path, count=25, days=1, rounds=1)


@pytest.mark.slow
def test_days_of_splits_and_kills_end_with_one_schedule(tmp_path: Path) -> None:
    run_office(tmp_path, count=100, days=5, rounds=4)


def test_whoever_comes_after_the_deadline_is_late_and_told_so(tmp_path: Path) -> None:
    """A horizon of 3.6 s; law is cut off beyond it, with the earliest entry."""
    names = ("biology", "chemistry", "law")
    offices = Offices(tmp_path, names, "horizon_hours = 0.001")
    with wired(offices) as wires, working(offices):
        wires.split(names[:2], names[2:])
        earliest = offices.tell_one("law", f"reserve Oak {DAY} 09:00 1h earliest --or Elm@09:00")
        second = offices.tell_one("chemistry", f"reserve Oak {DAY} 09:00 1h second --or Elm@09:00")
        assert (earliest["firm"], second["firm"]) == ("tentative", "tentative")
        offices.wait_firm("biology", "chemistry")
        assert offices.status("law")["position"] == 0
        wires.split(names)
        offices.wait_firm()
        places = {one["purpose"]: one["room"] for one in offices.schedule("law", DAY)}
        assert places == {"second": "Oak", "earliest": "Elm"}
        (late,) = offices.requests("biology", "law")
        assert late["lost"]["late"]
        assert "late: Georg (chemistry), entered at " in late["why"]
        told = offices.tell_one("law", "notices")["reply"]["rows"]
        assert [(to, "late: Georg (chemistry)" in text) for _, to, text in told] == [("liam", True)]
