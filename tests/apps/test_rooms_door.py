"""What the rooms' door refuses, with what words; and times in zones."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.apps.rooms_house import ANN, DAY, NOW, Building

from holdfast.apps.rooms import Cancel, Change, Reserve, Rooms
from holdfast.apps.rooms.replies import Impossible
from holdfast.apps.rooms.words import AskMine
from holdfast.apps.values import check_day, check_duration, check_place, check_time, parse_place
from holdfast.kernel.contracts import Command, Request
from holdfast.kernel.replies import Malformed
from holdfast.server.grammar import Grammar

NONSENSE = [
    (("Mapel", DAY, "09:00", "1h"), (), "room", "there is no room 'Mapel'; did you mean Maple? The rooms are Ash"),
    (("Q", DAY, "09:00", "1h"), (), "room", "there is no room 'Q'; the rooms are Ash, Beech"),
    (("Maple", "2026-02-30", "09:00", "1h"), (), "day", "there is no day '2026-02-30'; write a day of the"),
    (("Maple", "20261201", "09:00", "1h"), (), "day", "there is no day '20261201'"),
    (("Maple", "0000-01-01", "09:00", "1h"), (), "day", "there is no day '0000-01-01'"),
    (("Maple", "９999-01-01", "09:00", "1h"), (), "day", "there is no day"),
    (("Maple", DAY, "09:30", "1h"), (), "start", "'09:30' is not on the hour; meetings begin on the hour from 08"),
    (("Maple", DAY, "07:00", "1h"), (), "start", "'07:00' is outside the hours; meetings begin on the hour from 08:00"),
    (("Maple", DAY, "17:00", "1h"), (), "start", "'17:00' is outside the hours"),
    (("Maple", DAY, "25:00", "1h"), (), "start", "'25:00' is no time"),
    (("Maple", DAY, "9:00", "1h"), (), "start", "'9:00' is no time"),
    (("Maple", DAY, "09:00", "0h"), (), "duration", "'0h' is no duration; take whole hours from 1h to 9h"),
    (("Maple", DAY, "09:00", "90m"), (), "duration", "'90m' is no duration"),
    (("Maple", DAY, "09:00", "10h"), (), "duration", "'10h' is longer than the day from 08:00 is"),
    (("Maple", DAY, "16:00", "2h"), (), "closing", "2h from 16:00 would last beyond 17:00, when the rooms close; be"),
    (("Maple", DAY, "09:00", "1h"), ("Oak@10:00", "Elm"), "alternative", "'Elm' is no alternative; write it as Oak"),
    (("Maple", DAY, "09:00", "1h"), ("Pine@10:00",), "room", "alternative 'Pine@10:00': there is no room 'Pine'"),
    (("Maple", DAY, "09:00", "1h"), ("Oak@2026-02-30@10:00",), "alternative", "'Oak@2026-02-30@10:00' is no"),
    (("Maple", DAY, "09:00", "2h"), ("Oak@16:00",), "closing", "alternative 'Oak@16:00': 2h from 16:00 would last"),
    (("Maple", DAY, "09:00", "1h"), ("Oak@10:15",), "start", "alternative 'Oak@10:15': '10:15' is not on the hour"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "alternatives", "code", "words"), NONSENSE)
def test_nonsense_is_refused_at_the_door_and_changes_nothing_behind_it(
    place: tuple[str, str, str, str], alternatives: tuple[str, ...], code: str, words: str
) -> None:
    house = Building()
    house.do(ANN, Reserve("Oak", DAY, "08:00", "1h", "Budget"))
    before = house.store.digest()
    for command in (Reserve(*place, "Budget", alternatives), Change("physics-1", *place, alternatives)):
        refusal = house.app.admit(command, ANN, NOW)
        assert isinstance(refusal, Impossible)
        assert refusal.code == code
        assert refusal.text().startswith(f"Failed: {words}")
        assert house.do(ANN, command) == refusal
        assert house.app.firm_by_ms(command) is None
    assert house.store.digest() == before


@pytest.mark.parametrize(
    ("command", "now", "words"),
    [
        (
            Reserve("Maple", "2026-11-18", "11:00", "1h", "Budget"),
            NOW,
            "Maple on 2026-11-18 at 11:00 is past, it is 2026-11-18 11:06 now; choose a later time",
        ),
        (Reserve("Maple", DAY, "11:00", "1h", "Budget", ("Oak@2025-12-01@11:00",)), NOW, "Oak on 2025-12-01 at 11:00"),
        (Change("x", "Maple", "2026-11-17", "11:00", "1h"), NOW, "Maple on 2026-11-17 at 11:00 is past"),
        (
            Reserve("Maple", "2028-12-01", "11:00", "1h", "Budget"),
            NOW,
            "Maple on 2028-12-01 at 11:00 is too far ahead; rooms are reserved for the next 731 days",
        ),
        (Reserve("Maple", DAY, "11:00", "1h", " "), NOW, "the purpose must not be empty"),
        (Reserve("Maple", DAY, "11:00", "1h", "a\u202eb"), NOW, "the purpose must have no control characters"),
    ],
)  # fmt: skip
def test_what_the_time_forbids_is_refused_at_the_door_only(command: Command, now: int, words: str) -> None:
    house = Building()
    refusal = house.app.admit(command, ANN, now)
    assert isinstance(refusal, Impossible)
    assert refusal.text().startswith(f"Failed: {words}")
    assert not isinstance(house.do(ANN, command), Impossible)


def test_what_makes_sense_is_let_in_up_to_the_last_moment() -> None:
    app = Rooms(zone="Europe/London")
    meeting = Reserve("Maple", "2026-12-01", "09:00", "1h", "Budget", ("Oak@2026-12-02@08:00",))
    start = unix_ms("2026-12-01T09:00")
    assert app.admit(meeting, ANN, start) is None
    assert app.admit(meeting, ANN, start + 1) is not None
    assert app.admit(Cancel("physics-1"), ANN, start + 1) is None


def unix_ms(utc: str) -> int:
    return int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "day", "start", "utc"),
    [
        ("UTC", "2026-07-01", "09:00", "2026-07-01T09:00"),
        ("Europe/London", "2026-07-01", "09:00", "2026-07-01T08:00"),
        ("Europe/London", "2026-12-01", "09:00", "2026-12-01T09:00"),
        ("America/Montreal", "2026-12-01", "09:00", "2026-12-01T14:00"),
        ("Asia/Kolkata", "2026-12-01", "09:00", "2026-12-01T03:30"),
        ("Europe/London", "2026-03-29", "00:00", "2026-03-29T00:00"),
        ("Europe/London", "2026-03-29", "02:00", "2026-03-29T01:00"),
        ("Europe/London", "2026-10-25", "01:00", "2026-10-25T00:00"),  # 01:00 comes twice: the first
        ("Europe/London", "2026-10-25", "02:00", "2026-10-25T02:00"),
    ],
)
def test_an_outcome_is_final_before_the_meeting_by_the_buildings_clock(
    zone: str, day: str, start: str, utc: str
) -> None:
    app = Rooms(opens=0, closes=24, zone=zone, lead_hours=2)
    assert app.firm_by_ms(Reserve("Maple", day, start, "1h", "Budget")) == unix_ms(utc) - 2 * 3_600_000
    assert app.firm_by_ms(Change("x", "Maple", day, start, "1h")) == unix_ms(utc) - 2 * 3_600_000


def test_the_earliest_alternative_decides_when_it_must_be_final() -> None:
    app = Rooms()
    meeting = Reserve("Maple", DAY, "09:00", "1h", "Budget", ("Oak@2026-11-30@16:00", "Oak@08:00"))
    assert app.firm_by_ms(meeting) == unix_ms("2026-11-30T15:00")
    assert app.firm_by_ms(Cancel("physics-1")) is None


def test_an_hour_that_the_clocks_skip_is_refused() -> None:
    app = Rooms(opens=0, closes=24, zone="Europe/London")
    now = unix_ms("2026-03-20T12:00")
    skipped = app.admit(Reserve("Maple", "2026-03-29", "01:00", "1h", "Budget"), ANN, now)
    assert isinstance(skipped, Impossible)
    assert skipped.text() == (
        "Failed: there is no 01:00 on 2026-03-29: the clocks in Europe/London are put forward over it; "
        "choose another hour."
    )
    assert app.admit(Reserve("Maple", "2026-03-29", "00:00", "1h", "Budget"), ANN, now) is None
    assert app.admit(Reserve("Maple", "2026-10-25", "01:00", "1h", "Budget"), ANN, now) is None


def test_times_for_people_are_the_buildings() -> None:
    assert Rooms(zone="Asia/Tokyo").time_text(unix_ms("2026-12-01T20:00")) == "2026-12-02 05:00"


# -- the kinds of words --------------------------------------------------------------------------------


def test_the_kinds_of_words_say_what_they_want() -> None:
    assert check_day("2028-02-29") is None
    assert check_day("2027-02-29") == "must be a day of the calendar such as 2026-12-01, not '2027-02-29'"
    assert check_time("23:59") is None
    assert check_time("24:00") == "must be a time such as 09:00, not '24:00'"
    assert check_duration("12h") is None
    for word in ("0h", "02h", "2", "1.5h", "-1h"):
        assert check_duration(word) == f"must be whole hours such as 2h, not '{word}'"
    assert check_place("Oak@09:00") is None
    assert parse_place("Oak@2026-12-02@09:00") == ("Oak", "2026-12-02", "09:00")
    assert parse_place("Board Room@09:00") == ("Board Room", "", "09:00")
    for word in ("Oak", "Oak@", "@09:00", "Oak@9", "Oak@@09:00", "Oak@1@2026-12-02@09:00", "Oak @09:00"):
        assert check_place(word) is not None, word


def said(line: str) -> object:
    made = Grammar(Rooms.commands, Rooms.queries).parse(line.encode())
    return made.command if isinstance(made, Request) else made.text() if isinstance(made, Malformed) else made


def test_a_reservation_as_it_is_typed() -> None:
    wanted = Reserve("Maple", DAY, "09:00", "2h", "Budget 2027", ("Oak@09:00", "Maple@14:00"))
    assert said('reserve Maple 2026-12-01 09:00 2h "Budget 2027" Oak@09:00,Maple@14:00') == wanted
    assert said('reserve Maple 2026-12-01 09:00 2h "Budget 2027" --or Oak@09:00 --or Maple@14:00') == wanted
    assert said("change physics-1 Oak 2026-12-01 09:00 2h") == Change("physics-1", "Oak", DAY, "09:00", "2h")
    assert said("mine") == AskMine()
    for line, words in (
        ("reserve Maple 2026-13-01 09:00 2h Budget", "<day> must be a day of the calendar"),
        ("reserve Maple 2026-12-01 9am 2h Budget", "<start> must be a time such as 09:00"),
        ("reserve Maple 2026-12-01 09:00 two Budget", "<duration> must be whole hours such as 2h"),
        ("reserve Maple 2026-12-01 09:00 2h Budget Oak", "must be a room at a time such as Oak@09:00"),
    ):
        refused = said(line)
        assert isinstance(refused, str)
        assert words in refused
