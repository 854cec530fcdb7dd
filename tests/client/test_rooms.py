"""The rooms on the command line: weekly repeats, the form's numbers, and tables that fit their terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from holdfast.apps.rooms import Rooms
from holdfast.apps.rooms.words import ALTERNATIVES_MAX, AskCells, AskMine, AskSchedule, Reserve
from holdfast.client.errors import Misuse
from holdfast.client.lines import split
from holdfast.client.rooms import WEEKS_MAX, request_for_cells, weekly
from holdfast.client.tables import PICTURES, draw
from holdfast.kernel.contracts import Context, Person
from holdfast.kernel.store import TupleStore
from holdfast.server import rooms_form
from holdfast.server.reply_lines import reply_object
from holdfast.server.rooms_form import WISHES_MAX

WORDS = ["reserve", "Maple", "2026-12-22", "09:00", "2h", "Budget talk"]
DAY = "2026-12-01"
ANNA = Person("anna", "Anna", ("secretary",), "biology")
BERT = Person("bert", "Bert", ("secretary",), "chemistry")


def test_a_weekly_request_is_one_a_week_and_crosses_the_year() -> None:
    requests = weekly([*WORDS, "--weekly", "3"])
    assert [request[2] for request in requests] == ["2026-12-22", "2026-12-29", "2027-01-05"]
    assert all(request[:2] + request[3:] == WORDS[:2] + WORDS[3:] for request in requests)


def test_alternatives_with_a_day_of_their_own_move_along() -> None:
    requests = weekly([*WORDS, "--or", "Oak@09:00", "--weekly", "2", "--or", "Oak@2026-12-23@10:00"])
    assert requests[1][6:] == ["--or", "Oak@09:00", "--or", "Oak@2026-12-30@10:00"]
    listed = weekly([*WORDS, "Oak@09:00,Elm@2026-12-23@10:00", "--weekly", "2"])
    assert listed[1][6:] == ["Oak@09:00,Elm@2026-12-30@10:00"]


def test_other_words_are_one_request_as_they_are() -> None:
    assert weekly(WORDS) == [WORDS]
    assert weekly(["show", "--weekly"]) == [["show", "--weekly"]]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--weekly"], "--weekly takes how many weeks, 1 to 104"),
        (["--weekly", "0"], "how many weeks"),
        (["--weekly", "105"], "how many weeks"),
        (["--weekly", "six"], "how many weeks"),
        (["--weekly", "2", "--weekly", "3"], "given twice"),
    ],
)
def test_a_weekly_request_that_makes_no_sense_is_refused_before_the_first(more: list[str], says: str) -> None:
    with pytest.raises(Misuse, match=says):
        weekly([*WORDS, *more])


def test_a_weekly_request_needs_a_day_that_exists() -> None:
    with pytest.raises(Misuse, match="needs the first day"):
        weekly(["reserve", "Maple", "2026-02-30", "09:00", "2h", "x", "--weekly", "2"])


def test_a_typed_line_is_split_as_the_line_protocol_does() -> None:
    assert split('reserve Maple 2026-12-22 09:00 2h "Budget talk" --or Oak@09:00') == [*WORDS, "--or", "Oak@09:00"]
    with pytest.raises(Misuse, match="quote"):
        split('reserve "Maple')


class Building:
    """The app over a store of its own, as a replica answers."""

    def __init__(self, **options: Any) -> None:
        self.app = Rooms(**options)
        self.store = TupleStore(self.app.rows)
        self.app.create(self.store)
        self.committed: set[str] = set()
        self.overdue: set[str] = set()
        self.count = 0

    def do(self, command: Any, person: Person, *, committed: bool) -> Any:
        self.count += 1
        name = f"{person.department}-{self.count}"
        if committed:
            self.committed.add(name)
        return self.app.apply(self.store, command, self.context(person, name))

    def ask(self, query: Any, person: Person | None = None) -> dict[str, Any]:
        fields: dict[str, Any] = reply_object(self.app.answer(self.store, query, self.context(person, "")))["reply"]
        return fields

    def context(self, person: Person | None, name: str) -> Context:
        context = Context()
        context.person, context.name, context.stamp = person, name, (self.count, "", "")
        context.is_committed = self.committed.__contains__
        context.firm_by = lambda id: ("2026-12-01 08:00", id in self.overdue)
        context.notify = lambda to, text: None
        return context


@pytest.fixture
def building() -> Building:
    building = Building()
    building.do(Reserve("Ash", DAY, "09:00", "2h", "Budget"), ANNA, committed=True)
    building.do(Reserve("Maple", DAY, "14:00", "1h", "A talk that is long to tell"), BERT, committed=False)
    building.do(Reserve("Ash", DAY, "10:00", "1h", "Hiring", ("Oak@11:00",)), BERT, committed=False)
    return building


def drawn(type: str, reply: dict[str, Any], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), record=True, highlight=False)
    console.print(PICTURES[type](reply, width))
    return console.export_text()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_day_fits_its_terminal_and_tells_tentative_from_confirmed_without_colours(
    building: Building, width: int
) -> None:
    picture = drawn("cells", building.ask(AskCells(DAY)), width)
    lines = picture.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].rstrip() == "Tuesday 2026-12-01"
    words = picture.split()
    assert {"[2]", "[3]", "52?", "58?"} <= {*words}, "confirmed in brackets, tentative with a mark"
    assert {"1", "4", "72"} <= {*words}, "free ones are bare numbers"
    assert ("Anna" in picture) is (width >= 120)


def test_a_day_of_many_hours_is_cut_into_tables_that_fit() -> None:
    building = Building(rooms=("Auditorium", "Attic"), opens=0, closes=24)
    picture = drawn("cells", building.ask(AskCells(DAY)), 60)
    assert max(map(len, picture.splitlines())) <= 60
    assert picture.count("Auditorium") > 1
    assert {str(number) for number in range(1, 49)} <= {*picture.split()}


@pytest.mark.parametrize("width", [60, 120])
def test_schedules_and_requests_are_tables(building: Building, width: int) -> None:
    day = drawn("schedule", building.ask(AskSchedule(DAY)), width)
    week = drawn("schedule", building.ask(AskSchedule("Ash", "2026-11-30")), width)
    mine = drawn("mine", building.ask(AskMine(), BERT), width)
    assert all(max(map(len, text.splitlines())) <= width for text in (day, week, mine))
    assert "09:00-11:00" in day
    assert "tentative" in day
    assert "confirmed" in day
    assert week.startswith("Ash, 2026-11-30 to 2026-12-06")
    assert "Tue " in week
    assert "moved" in mine
    assert "Anna" in mine, "who was earlier"
    assert "firm by" in mine
    assert "firm by" not in drawn("mine", building.ask(AskMine(), ANNA), width)
    building.overdue = {f"{BERT.department}-2"}
    assert "was to be firm by" in drawn("mine", building.ask(AskMine(), BERT), width)
    assert "all free" in drawn("schedule", building.ask(AskSchedule("2026-12-02")), width)
    assert "No requests of biology" in drawn("mine", Building().ask(AskMine(), ANNA), width)


def test_what_a_person_should_know_stands_below_the_table(
    building: Building, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw("mine", building.ask(AskMine(), ANNA), "biology-1 had been confirmed")
    assert capsys.readouterr().out.rstrip().endswith("[biology-1 had been confirmed]")


def test_brackets_in_what_people_write_are_no_markup(building: Building) -> None:
    building.do(Reserve("Elm", DAY, "08:00", "1h", "[red]x[/red] [/]"), ANNA, committed=True)
    assert "[red]x[/red] [/]" in drawn("schedule", building.ask(AskSchedule(DAY)), 120)


def test_numbers_book_the_first_cell_that_holds_with_the_others_as_alternatives(building: Building) -> None:
    cells = building.ask(AskCells(DAY))["cells"]
    assert request_for_cells(["12", "15", "3"], cells, DAY) == [
        *("reserve", "Beech", DAY, "10:00", "1h", "Meeting"),
        *("--or", "Beech@13:00", "--or", "Ash@10:00"),
    ]
    assert request_for_cells(["12", "2h", "Budget", "talk"], cells, DAY) == [
        *("reserve", "Beech", DAY, "10:00", "2h", "Budget talk"),
    ]
    assert request_for_cells(["12", "12", "Budget"], cells, DAY)[4:] == ["1h", "Budget"]
    for number in ("0", "73"):
        with pytest.raises(Misuse, match="numbered from 1 to 72"):
            request_for_cells(["1", number], cells, DAY)


def test_the_page_of_the_commands_tells_how_many_alternatives_and_weeks_there_may_be() -> None:
    text = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
    assert text.count(f"at most {ALTERNATIVES_MAX} alternatives |") == 2, "of `reserve` and of `change`"
    assert f"`reserve ... --weekly 6` | one request a week, six in all ({WEEKS_MAX} at most)" in text
    assert "The page](rooms-page.md) takes six places for a booking, so five alternatives, and repeats it for" in text
    assert WISHES_MAX == 6
    assert f"repeats it for {rooms_form.WEEKS_MAX} weeks at most" in text
