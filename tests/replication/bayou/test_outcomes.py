"""What people hear of a booking or a message: the same wherever it is executed, and news once."""

from __future__ import annotations

import pytest
from tests.replication.bayou import replicas as table
from tests.replication.bayou.replicas import SECOND_US, SECRETARIES, Replicas

from holdfast.apps.messages import Messages
from holdfast.kernel.contracts import Person


def book(room: str) -> str:
    return f"reserve {room} 2026-12-01 09:00 1h Meeting"


def watched(replicas: Replicas, about: str) -> dict[str, list[str]]:
    """What those who watch were told of it, by node."""
    said: dict[str, list[str]] = {}
    for kind, text in replicas.lines:
        name, is_told, what = text.partition(f" tells that {about} is ")
        if kind == "change" and is_told:
            said.setdefault(name, []).append(what)
    return said


# -- Late or not


def behind_biology(*bookings: tuple[str, str]) -> Replicas:
    """Each, away from the others, has booked a room, one after the other; then biology has had Maple confirmed."""
    replicas = Replicas("biology law music physics", policy="immediate")
    for name in ("law", "music", "physics"):
        replicas.isolate(name)
    for name, room in bookings:
        replicas.submit(name, book(room))
        replicas.wait(SECOND_US)
    assert "committed" in replicas.book("biology", book("Maple"))
    return replicas


def test_who_comes_behind_a_later_entry_is_told_that_it_was_late_whatever_was_confirmed_in_between() -> None:
    """law's booking, the earliest of all, is confirmed after biology's and before music's."""
    replicas = behind_biology(("law", "Elm"), ("music", "Maple"))
    for csn, name in enumerate(("law", "music"), 2):
        replicas.connect("biology", name)
        replicas.wait(SECOND_US)
        assert replicas.log("biology").csn == csn
    replicas.heal()
    replicas.wait(SECOND_US)
    replicas.settled()
    assert "late: Fatima (biology), entered at" in replicas.ask("music", "mine")


def test_who_hears_of_several_confirmed_at_once_hears_as_well_that_one_of_them_was_late() -> None:
    """physics was away while biology's later booking was confirmed, and then law's earlier one."""
    replicas = behind_biology(("law", "Maple"))
    replicas.connect("biology", "law")
    replicas.wait(SECOND_US)
    assert replicas.log("biology").csn == 2
    replicas.heal()
    replicas.wait(SECOND_US)
    replicas.settled()
    firm = {name: said[-1] for name, said in watched(replicas, "law-1").items()}
    assert set(firm) == {"biology", "law", "music", "physics"}
    assert all("late: Fatima (biology), entered at" in said for said in firm.values()), firm


# -- Once


def test_what_the_app_tells_is_told_once_at_each_replica_however_often_it_is_executed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """music's message, entered before, comes in before law's, which was executed and told already."""
    people = [Person(name.lower(), name, ("secretary",), node) for node, name in SECRETARIES.items()]
    monkeypatch.setattr(table, "Rooms", lambda: Messages(people))
    replicas = Replicas("biology law music")
    for name in ("law", "music"):
        replicas.isolate(name)
    replicas.submit("music", "send liam Good morning")
    replicas.now_us += 2_000
    replicas.submit("law", "send fatima Good evening")
    assert list(watched(replicas, "law-1")) == ["law"]
    replicas.connect("law", "music")
    replicas.wait(SECOND_US)
    replicas.heal()
    replicas.wait(3 * SECOND_US)
    replicas.settled()
    executed = [text for kind, text in replicas.lines if kind == "execute" and text.startswith("law executes law-1:")]
    assert len(executed) == 2
    for id, text in (("law-1", "liam: Good evening"), ("music-1", "oscar: Good morning")):
        news = {name: [what for what in said if text in what] for name, said in watched(replicas, id).items()}
        assert {name: len(said) for name, said in news.items()} == {"biology": 1, "law": 1, "music": 1}, news
