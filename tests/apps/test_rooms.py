"""The rooms' rule as stories: who gets the room, who moves, who is told what."""

from __future__ import annotations

import pytest
from tests.apps.rooms_house import ANN, BOB, CID, DAY, NOW, Building, secretary

from holdfast.apps.rooms import AskCells, AskMine, AskSchedule, Cancel, Change, Reserve, Rooms, Show
from holdfast.apps.rooms.replies import Cells, Mine, NotChanged, NotGranted, Schedule, Standing
from holdfast.kernel.contracts import Command, Person
from holdfast.kernel.store import TupleStore

ENTERED = "2026-11-18 11:06:40"


def reserve(room: str, start: str, duration: str = "1h", *alternatives: str, day: str = DAY) -> Reserve:
    return Reserve(room, day, start, duration, "Budget", alternatives)


# -- the rule ---------------------------------------------------------------------------------------


def test_the_earliest_entry_prevails_and_the_loser_moves_to_the_first_free_alternative() -> None:
    house = Building()
    assert house.says(ANN, reserve("Maple", "09:00", "2h")) == (
        "Maple on 2026-12-01 from 09:00 to 11:00 is reserved, as physics-1."
    )
    house.do(CID, reserve("Oak", "10:00"), 1)
    assert house.says(BOB, reserve("Maple", "10:00", "1h", "Oak@10:00", "Maple@14:00", "Elm@10:00"), 2) == (
        "Maple on 2026-12-01 from 14:00 to 15:00 is reserved, as biology-1, moved from Maple on 2026-12-01 at 10:00: "
        f"Ann (physics) was earlier, at {ENTERED}.000 UTC."
    )
    assert house.notices() == [
        (
            "bob",
            "biology-1 is moved to Maple on 2026-12-01 at 14:00. Maple on 2026-12-01 at 10:00: "
            f"Ann (physics) was earlier, at {ENTERED}.000 UTC.",
        )
    ]


def test_whose_reservation_a_colleague_changes_or_cancels_is_told() -> None:
    house, dan = Building(), secretary("Dan", "physics")
    house.do(ANN, reserve("Maple", "09:00"))
    house.do(ANN, reserve("Oak", "09:00"), 1)
    house.do(dan, Change("physics-1", "Elm", "2026-12-01", "10:00", "1h", ()), 2)
    house.do(dan, Cancel("physics-2"), 3)
    told = [
        ("ann", 'physics-1 ("Budget") is changed to Elm on 2026-12-01 at 10:00 by Dan.'),
        ("ann", 'physics-2 ("Budget") is cancelled by Dan.'),
    ]
    assert house.notices() == told
    house.do(dan, Cancel("physics-1"), 4)
    assert house.notices() == told, "it is his since he has changed it"


def test_an_alternative_may_be_of_another_day() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00"))
    moved = house.do(BOB, reserve("Maple", "09:00", "1h", "Maple@2026-12-03@09:00"), 1)
    assert moved.text().startswith("Maple on 2026-12-03 from 09:00 to 10:00 is reserved")


def test_who_finds_nothing_free_stays_on_record_and_is_told_by_whom() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00", "3h"))
    house.do(CID, reserve("Oak", "09:00"), 1)
    lost = house.do(BOB, reserve("Maple", "10:00", "1h", "Oak@09:00", "Maple@11:00"), 2)
    assert isinstance(lost, NotGranted)
    assert lost.failed
    assert lost.text() == (
        "Failed: biology-1 is not granted Maple on 2026-12-01 from 10:00 to 11:00, nor one of its 2 alternatives: "
        f"Ann (physics) was earlier, at {ENTERED}.000 UTC."
    )
    assert [to for to, _ in house.notices()] == ["bob"]
    said = house.ask(Show("biology-1"), committed=False).text()
    assert said.startswith('biology-1 of Bob (biology), "Budget": not granted yet, wanted Maple on 2026-12-01 from 10')
    assert house.ask(Show("biology-1")).text() == said.replace("not granted yet", "cancelled")


def test_a_tie_is_told_as_one() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00"), 5)
    assert house.says(BOB, reserve("Maple", "09:00"), 5) == (
        "Failed: biology-1 is not granted Maple on 2026-12-01 from 09:00 to 10:00: "
        f"Ann (physics) entered at {ENTERED}.005 UTC too and comes first by name."
    )


def test_late_is_who_would_have_won() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00"), 5)
    late = house.says(BOB, reserve("Maple", "09:00"), 4, late=True)
    assert late.endswith(f"late: Ann (physics), entered at {ENTERED}.005 UTC, had been confirmed before it came.")
    assert "late: Ann" in house.notices()[0][1]
    after = house.says(CID, reserve("Maple", "09:00"), 6, late=True)
    assert after.endswith(f"Ann (physics) was earlier, at {ENTERED}.005 UTC.")
    assert not house.do(CID, reserve("Maple", "10:00"), 1, late=True).failed


def test_the_reason_names_the_earliest_of_those_in_the_way() -> None:
    house = Building()
    house.do(CID, reserve("Maple", "09:00"), 3)
    house.do(ANN, reserve("Maple", "10:00"), 2)
    lost = house.do(BOB, reserve("Maple", "09:00", "3h"), 9)
    assert isinstance(lost, NotGranted)
    assert (lost.lost.id, lost.lost.first_name, lost.lost.ms) == ("physics-1", "Ann", NOW + 2)


def test_a_changed_booking_has_its_new_place_since_the_change() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00"), 1)
    house.do(secretary("Zoe", "physics"), Change("physics-1", "Oak", DAY, "09:00", "1h"), 4)
    lost = house.do(BOB, reserve("Oak", "09:00"), 5)
    assert isinstance(lost, NotGranted)
    assert (lost.lost.id, lost.lost.first_name, lost.lost.ms) == ("physics-1", "Zoe", NOW + 4)


# -- changes and cancellations ------------------------------------------------------------------------


def test_a_change_frees_the_old_place_when_the_new_one_is_granted() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00", "2h"))
    assert house.says(ANN, Change("physics-1", "Oak", DAY, "09:00", "1h"), 1) == (
        "physics-1 is changed to Oak on 2026-12-01 from 09:00 to 10:00."
    )
    assert not house.do(BOB, reserve("Maple", "09:00", "2h"), 2).failed
    assert house.do(BOB, reserve("Oak", "09:00"), 3).failed
    assert "changed by physics-2" in house.ask(Show("physics-1")).text()


def test_a_change_may_overlap_what_it_changes() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00", "2h"))
    assert not house.do(ANN, Change("physics-1", "Maple", DAY, "10:00", "3h"), 1).failed
    assert house.ask(AskSchedule(DAY)).text() == (
        '2026-12-01: Maple 10:00-13:00 Ann (physics) "Budget" confirmed physics-1.'
    )


def test_a_change_that_finds_nothing_leaves_the_old_booking() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00"))
    house.do(BOB, reserve("Oak", "09:00"), 1)
    refused = house.do(ANN, Change("physics-1", "Oak", DAY, "09:00", "1h", ("Oak@09:00",)), 2)
    assert isinstance(refused, NotChanged)
    assert refused.text() == (
        "Failed: physics-1 stays as it was, Oak on 2026-12-01 from 09:00 to 10:00 is not granted, nor its alternative: "
        f"Bob (biology) was earlier, at {ENTERED}.001 UTC."
    )
    assert house.notices()[-1][0] == "ann"
    assert "confirmed, Maple on 2026-12-01 from 09:00 to 10:00" in house.ask(Show("physics-1")).text()
    change = house.ask(Show("physics-2")).text()
    assert change.startswith("physics-2 of Ann (physics), a change of physics-1: cancelled, wanted Oak")
    assert change.endswith("physics-1 stays as it was.")


def test_a_change_gets_its_alternative_and_says_so() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00"))
    house.do(BOB, reserve("Oak", "09:00"), 1)
    said = house.says(ANN, Change("physics-1", "Oak", DAY, "09:00", "1h", ("Elm@09:00",)), 2)
    assert said.startswith("physics-1 is changed to Elm on 2026-12-01 from 09:00 to 10:00, an alternative: Bob")
    assert "moved from Oak" in house.ask(Show("physics-1")).text()


def test_what_was_not_granted_can_be_changed_into_something_that_is() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00"))
    house.do(BOB, reserve("Maple", "09:00"), 1)
    assert not house.do(BOB, Change("biology-1", "Maple", DAY, "10:00", "1h"), 2).failed
    assert house.ask(Show("biology-1")).text().endswith(": changed by biology-2.")


def test_the_id_of_a_change_means_what_it_changed() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00"))
    house.do(ANN, Change("physics-1", "Oak", DAY, "09:00", "1h"), 1)
    assert not house.do(ANN, Change("physics-2", "Elm", DAY, "09:00", "1h"), 2).failed
    assert house.says(ANN, Cancel("physics-3"), 3) == "physics-1 is cancelled."
    assert house.ask(AskSchedule(DAY)).text() == "2026-12-01: all free."
    assert house.ask(Show("physics-1")).text().endswith("given up by physics-4.")


def test_what_is_cancelled_is_free_and_cannot_be_cancelled_again() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00"))
    assert house.says(ANN, Cancel("physics-1"), 1) == "physics-1 is cancelled."
    assert not house.do(BOB, reserve("Maple", "09:00"), 2).failed
    words = "Failed: physics-1 is cancelled already; make a new request."
    assert house.says(ANN, Cancel("physics-1"), 3) == words
    assert house.says(ANN, Change("physics-1", "Oak", DAY, "09:00", "1h"), 3) == words


def test_only_a_secretary_of_the_department_changes_its_bookings() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00"))
    before = house.store.digest()
    words = "Failed: physics-1 is a request of physics; only its secretary may change or cancel it."
    assert house.says(BOB, Cancel("physics-1")) == words
    assert house.says(BOB, Change("physics-1", "Oak", DAY, "09:00", "1h")) == words
    assert house.says(BOB, Cancel("physics-9")).startswith("Failed: there is no request physics-9 here")
    assert house.store.digest() == before
    assert not house.do(secretary("Zoe", "physics"), Cancel("physics-1")).failed


@pytest.mark.parametrize(
    "person",
    [
        None,
        Person("eve", "Eve"),
        Person("eve", "Eve", ("manager",), "physics"),
        Person("eve", "Eve", ("secretary",), "astrology"),
        Person("eve", "Eve", ("secretary",)),
    ],
)
@pytest.mark.parametrize("command", [reserve("Maple", "09:00"), Change("physics-1", "Oak", DAY, "09:00", "1h"),
                                     Cancel("physics-1")])  # fmt: skip
def test_nobody_else_books(person: Person | None, command: Command) -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00"))
    before = house.store.digest()
    at_the_door = house.app.admit(command, person, NOW)
    assert at_the_door is not None
    assert at_the_door.text().startswith("Failed: only a")
    assert house.says(person, command) == at_the_door.text()
    assert house.store.digest() == before


# -- what people see ----------------------------------------------------------------------------------


def test_the_schedule_of_a_day_and_of_a_rooms_week() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00", "2h"))
    house.do(BOB, reserve("Oak", "08:00"), 1)
    house.do(CID, reserve("Maple", "11:00", day="2026-12-03"), 2)
    assert house.ask(AskSchedule(DAY), committed=False).text() == (
        '2026-12-01: Oak 08:00-09:00 Bob (biology) "Budget" tentative biology-1; '
        'Maple 09:00-11:00 Ann (physics) "Budget" tentative physics-1.'
    )
    week = house.ask(AskSchedule("Maple", DAY))
    assert isinstance(week, Schedule)
    assert [(meeting.day, meeting.start, meeting.end) for meeting in week.meetings] == [
        ("2026-12-01", "09:00", "11:00"),
        ("2026-12-03", "11:00", "12:00"),
    ]
    assert week.text().startswith("Maple, 2026-12-01 to 2026-12-07: 2026-12-01 Maple 09:00-11:00 Ann (physics)")
    this_week = house.ask(AskSchedule("Maple"))
    assert this_week.text() == "Maple, 2026-11-16 to 2026-11-22: all free."


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (AskSchedule("Mapel"), "'Mapel' is neither a day such as 2026-12-01 nor a room; the rooms are Ash, "),
        (AskSchedule("2026-02-30"), "'2026-02-30' is neither a day"),
        (AskSchedule(DAY, DAY), "takes no second day"),
        (AskSchedule("Maple", "soon"), "'soon' is no day"),
        (AskSchedule("Maple"), "it is not known here which day it is; say it, as in schedule Maple 2026-12-01"),
        (AskCells("2026-13-01"), "'2026-13-01' is no day"),
        (AskCells(), "it is not known here which day it is; say it, as in cells 2026-12-01"),
        (Show("physics-1"), "there is no request physics-1 here"),
        (AskMine(), "nobody is logged in"),
    ],
)
def test_questions_without_an_answer_say_why(query: object, words: str) -> None:
    answer = Building().ask(query)
    assert answer.failed
    assert words in answer.text()


def test_cells_are_numbered_room_by_room() -> None:
    house = Building()
    house.do(ANN, reserve("Beech", "08:00", "2h"))
    answer = house.ask(AskCells(DAY), committed=False)
    assert isinstance(answer, Cells)
    assert [cell.number for cell in answer.cells] == list(range(1, 73))
    assert (answer.cells[0].room, answer.cells[8].start, answer.cells[9].room) == ("Ash", "16:00", "Beech")
    assert [cell.number for cell in answer.cells if cell.state != "free"] == [10, 11]
    assert answer.cells[9].state == "tentative"
    assert (answer.cells[10].first_name, answer.cells[10].department) == ("Ann", "physics")
    assert answer.text() == (
        "2026-12-01, cells 1 to 72, 9 a room from 08:00 on: 10 Beech 08:00 Ann (physics) tentative; "
        "11 Beech 09:00 Ann (physics) tentative, the others free."
    )
    assert house.ask(AskCells()).text() == "2026-11-18, cells 1 to 72, 9 a room from 08:00 on: all free."


def test_mine_are_the_departments_the_newest_first_page_by_page() -> None:
    house = Building()
    assert house.ask(AskMine(), BOB).text() == "No requests of biology."
    house.do(ANN, reserve("Oak", "09:00"))
    for number in range(120):
        house.do(BOB, reserve("Maple", "09:00", day=f"2027-{number % 12 + 1:02}-{number % 28 + 1:02}"), number)
    seen: list[str] = []
    before = ""
    while True:
        page = house.ask(AskMine(before), BOB)
        assert isinstance(page, Mine)
        assert len(page.requests) <= 50
        seen += [request.id for request in page.requests]
        before = page.more_before
        if not before:
            break
    assert seen == [f"biology-{number}" for number in range(120, 0, -1)]
    assert house.ask(AskMine("physics-1"), BOB).failed


def test_what_became_of_a_request_is_told_with_names_for_programs() -> None:
    house = Building()
    house.do(ANN, reserve("Maple", "09:00"), 3)
    house.do(BOB, reserve("Maple", "09:00", "1h", "Oak@09:00"), 4)
    told = house.ask(Show("biology-1"), committed=False)
    assert isinstance(told, Standing)
    assert (told.outcome, told.firm) == ("moved", "tentative")
    assert told.place is not None
    assert (told.wanted.room, told.place.room, told.place.end) == ("Maple", "Oak", "10:00")
    assert told.lost is not None
    assert (told.lost.first_name, told.lost.department, told.lost.ms, told.lost.late) == (
        "Ann",
        "physics",
        NOW + 3,
        False,
    )
    assert told.entered == f"{ENTERED}.004 UTC"
    first = house.ask(Show("physics-1"), committed=False)
    assert isinstance(first, Standing)
    assert first.outcome == "tentative"


# -- the building -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"opens": 17, "closes": 8}, "a day from 17 to 8 o'clock has no hours"),
        ({"opens": 9, "closes": 9}, "has no hours"),
        ({"closes": 25}, "between 0 and 24"),
        ({"rooms": ()}, "needs a room at least"),
        ({"rooms": ("Oak", "Oak")}, "named twice"),
        ({"rooms": ("Oak@home",)}, "must have no @"),
        ({"rooms": (" Oak",)}, "must not begin or end with a blank"),
        ({"rooms": ("2026-12-01",)}, "must not be a day"),
        ({"zone": "Europe/Atlantis"}, "no time zone"),
        ({"zone": "../etc/passwd"}, "no time zone"),
        ({"lead_hours": -1}, "lead_hours must be 0 to 168"),
    ],
)
def test_an_impossible_building_is_not_made(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rooms(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["rooms", "departments", "opens", "closes"])
def test_another_building_on_old_data_is_refused_with_what_to_do(name: str) -> None:
    house = Building()
    assert house.app.check(house.store) is None
    assert Rooms(zone="Asia/Tokyo", lead_hours=3).check(house.store) is None
    other = {"rooms": ("Oak",), "departments": ("law",), "opens": 7, "closes": 18}[name]
    complaint = Rooms(**{name: other}).check(house.store)
    assert complaint is not None
    assert f"set {name} = " in complaint
    assert "not of this app" in (Rooms().check(TupleStore(Rooms.rows)) or "")
