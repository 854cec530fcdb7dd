"""Seed 001, the Bayou model of the meeting room scheduler, sentence by sentence.

Each test quotes what it shows, on replicas that run the whole protocol.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.apps.rooms import ROOMS, Reserve
from holdfast.apps.rooms.house import House
from holdfast.apps.rooms.rows import MeetingHour
from holdfast.apps.rooms.writes import BayouWrite, bayou_write, dependency_check, resolve
from holdfast.kernel.store import TupleStore

DAY = "2026-12-01"
HOUSE = House(ROOMS, 8, 17, "UTC")


def book(hour: int, room: str = "Maple", *others: str, hours: int = 1) -> str:
    return f"reserve {room} {DAY} {hour:02}:00 {hours}h Meeting" + "".join(f" --or {other}" for other in others)


def two_apart() -> Replicas:
    replicas = Replicas("biology law music")
    replicas.isolate("law")
    replicas.isolate("music")
    return replicas


def order(replicas: Replicas, name: str) -> list[str]:
    return [f"{entry.write.replica}-{entry.write.number}" for entry in replicas.log(name).tail]


# -- The users' side


def test_at_most_one_person_can_reserve_the_room_for_any_given_period() -> None:
    replicas = Replicas("biology law music")
    assert "is reserved" in replicas.book("law", book(9, hours=3))
    for hour in (9, 10, 11):
        assert "is not granted" in replicas.book("music", book(hour))
    assert "is reserved" in replicas.book("music", book(12))


def test_a_user_selects_several_available_times_and_eventually_one_of_them_will_be_reserved() -> None:
    replicas = two_apart()
    replicas.submit("law", book(9), book(10))
    replicas.wait(SECOND_US)
    replicas.submit("music", book(9, "Maple", "Maple@10:00", "Maple@11:00"))
    assert "Maple 09:00-10:00 Oscar" in replicas.ask("music", f"schedule {DAY}"), "her display does not show law's"
    replicas.heal()
    replicas.wait(SECOND_US)
    assert "Maple 11:00-12:00 Oscar" in replicas.ask("music", f"schedule {DAY}")


def test_a_reservation_may_remain_tentative_for_a_while_and_may_be_rescheduled_as_others_become_known() -> None:
    replicas = two_apart()
    replicas.submit("law", book(9))
    replicas.wait(SECOND_US)
    replicas.submit("music", book(9, "Maple", "Oak@09:00"))
    seen = [replicas.ask("music", "show music-1")]
    replicas.connect("law", "music")
    replicas.wait(SECOND_US)
    seen.append(replicas.ask("music", "show music-1"))
    replicas.heal()
    replicas.wait(SECOND_US)
    seen.append(replicas.ask("music", "show music-1"))
    firm_by = "tentative, firm by 2026-12-01 08:00 at the latest"
    assert f"{firm_by}, Maple on" in seen[0]
    assert f"Oak on 2026-12-01 from 09:00 to 10:00, {firm_by}" in seen[1]
    assert "Oak on 2026-12-01 from 09:00 to 10:00, confirmed" in seen[2]
    changes = [
        text for kind, text in replicas.lines if kind == "change" and text.startswith("music tells that music-1")
    ]
    assert ["tentative" in changes[0], "committed" in changes[-1]] == [True] * 2, "and whoever watches is told"


def test_access_to_one_server_is_sufficient_for_a_client_to_perform_useful_work() -> None:
    replicas = two_apart()
    assert "is reserved" in replicas.book("music", book(9))
    assert "music-1 is cancelled" in replicas.book("music", "cancel music-1")
    assert "is reserved" in replicas.book("music", book(9))
    assert "Oscar" in replicas.ask("music", f"schedule {DAY}")


def test_data_is_replicated_in_full_at_several_servers() -> None:
    replicas = Replicas("biology law music")
    for name in replicas.names:
        replicas.book(name, book(9, "Maple", "Oak@09:00", "Elm@09:00"))
    replicas.wait(SECOND_US)
    replicas.settled()
    assert len({replicas.ask(name, f"schedule {DAY}") for name in replicas.names}) == 1


# -- "A Bayou write is processed with the input parameters of the update to perform, a dependency check and a merge
#     procedure"


def write_of(room: str, start: str, duration: str, *alternatives: str) -> BayouWrite:
    made = bayou_write(HOUSE, Reserve(room, DAY, start, duration, "Meeting", alternatives), "law-1")
    assert isinstance(made, BayouWrite)
    return made


def store_with(*meetings: tuple[str, int]) -> TupleStore:
    store = TupleStore((MeetingHour,))
    for room, hour in meetings:
        store.table(MeetingHour).put(MeetingHour(room, DAY, hour, "other-1"))
    return store


def own(store: TupleStore) -> list[tuple[str, int]]:
    return sorted((row.room, row.hour) for row in store.table(MeetingHour) if row.id == "law-1")


def test_the_dependency_check_is_a_query_between_start_and_end_expected_to_find_none() -> None:
    check = dependency_check(("Maple", DAY, 9), 2)
    assert check.expected == ()
    for hour, holds in ((8, True), (9, False), (10, False), (11, True)):
        assert (tuple(store_with(("Maple", hour)).select(check.query)) == check.expected) is holds
    assert tuple(store_with(("Oak", 9)).select(check.query)) == ()


@pytest.mark.parametrize(
    ("taken", "resolved", "hours"),
    [
        ((), 0, [("Maple", 9), ("Maple", 10)]),
        ((("Maple", 10),), 1, [("Oak", 9), ("Oak", 10)]),
        ((("Maple", 9), ("Oak", 10)), 2, [("Maple", 14), ("Maple", 15)]),
        ((("Maple", 9), ("Oak", 9), ("Maple", 15)), -1, []),
    ],
    ids=["the given update", "the first alternative", "the next, the first being skipped", "no alternative"],
)
def test_a_mismatch_evaluates_the_merge_procedure_otherwise_the_resolved_update_is_the_given_one(
    taken: tuple[tuple[str, int], ...], resolved: int, hours: list[tuple[str, int]]
) -> None:
    store = store_with(*taken)
    assert resolve(store, write_of("Maple", "09:00", "2h", "Oak@09:00", "Maple@14:00")) == resolved
    assert own(store) == hours


def test_if_no_alternative_is_acceptable_the_new_update_is_tentatively_the_one_the_user_provided() -> None:
    """The write returns the resulting update, and it stays on record as it was wanted."""
    replicas = two_apart()
    replicas.submit("law", book(9), book(9, "Oak"))
    replicas.connect("law", "music")
    replicas.wait(SECOND_US)
    told = replicas.book("music", book(9, "Maple", "Oak@09:00"))
    assert "music-1 is not granted Maple on 2026-12-01 from 09:00 to 10:00, nor its alternative" in told
    said = "not granted yet, firm by 2026-12-01 08:00 at the latest, wanted Maple on 2026-12-01 from 09:00"
    assert said in replicas.ask("music", "show music-1")


def test_it_may_still_win_while_it_is_tentative_and_is_cancelled_when_it_commits() -> None:
    replicas = Replicas("biology law music physics")
    for name in replicas.names[1:]:
        replicas.isolate(name)
    replicas.submit("law", book(9), "cancel law-1")
    replicas.wait(SECOND_US)
    replicas.submit("music", book(9))
    replicas.wait(SECOND_US)
    replicas.submit("physics", book(9))
    replicas.connect("music", "physics")
    replicas.wait(SECOND_US)
    assert "not granted yet" in replicas.ask("physics", "show physics-1")
    replicas.heal()
    replicas.wait(2 * SECOND_US)
    assert "cancelled, wanted Maple" in replicas.ask("physics", "show physics-1")
    assert "Oscar" in replicas.ask("physics", f"schedule {DAY}")


# -- "When applying a set of Bayou writes to the database, the system must check if the set of writes originated from
#     the user or from another server"


def test_a_write_from_a_user_increments_the_timestamp_and_goes_to_the_end_as_tentative() -> None:
    replicas = two_apart()
    stamps = []
    for hour in range(8, 12):
        replicas.submit("law", book(hour))
        stamps.append(replicas.core("law").replica.clock.milliseconds)
        assert order(replicas, "law")[-1] == f"law-{hour - 7}"
    assert stamps == sorted(set(stamps))
    assert replicas.log("law").csn == 0
    executed = [text for kind, text in replicas.lines if kind == "execute"]
    assert len(executed) == 4, "each once, with this record, and nothing is rolled back"


def test_a_write_set_from_another_server_is_ordered_inserted_rolled_back_and_rolled_forward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replicas = two_apart()
    for hour in (8, 9, 10):
        replicas.submit("law", book(hour))
        replicas.wait(SECOND_US)
        replicas.submit("music", book(hour))
        replicas.wait(SECOND_US)
    replicas.lines.clear()
    rolled: list[tuple[str, int]] = []
    views = replicas.core("law").replica.views
    roll_back = type(views).roll_back

    def noted(self: Any, place: int) -> None:
        if self is views:
            rolled.append(("roll back to", place))
        roll_back(self, place)

    monkeypatch.setattr(type(views), "roll_back", noted)
    replicas.connect("law", "music")
    replicas.deliver_all()
    assert rolled == [("roll back to", 1)], "the insertion point of the first of music's"
    assert order(replicas, "law") == ["law-1", "music-1", "law-2", "music-2", "law-3", "music-3"]
    replicas.ask("law", f"schedule {DAY}")
    executed = [text.split()[2].rstrip(":") for kind, text in replicas.lines if kind == "execute" and text[:3] == "law"]
    assert executed == ["music-1", "law-2", "music-2", "law-3", "music-3"], "each write after the insertion point"


def test_the_clock_is_moved_by_a_set_from_another_server_after_it_is_inserted() -> None:
    """So that what the user does next stands behind everything that she can see."""
    replicas = two_apart()
    replicas["law"].skew_ms = 120_000
    replicas.submit("law", book(9))
    replicas.connect("law", "music")
    replicas.wait(SECOND_US)
    replicas.submit("music", book(9))
    assert order(replicas, "music") == ["law-1", "music-1"]
    assert replicas.log("music").last_ms["music"] > replicas.log("music").last_ms["law"]
