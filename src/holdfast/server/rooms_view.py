"""What the rooms page shows: the rooms' answers as rows and cells for the template. No HTML here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import msgspec

from holdfast.apps.rooms.house import House
from holdfast.apps.rooms.replies import Cell, Cells, Standing, Where
from holdfast.apps.rooms.words import PURPOSE_CHARACTERS_MAX
from holdfast.apps.values import parse_day
from holdfast.kernel.contracts import Person
from holdfast.kernel.replies import Outcome
from holdfast.server.rooms_form import WEEKS_MAX, Draft

RELOAD_SECONDS = 10

_BADGES = {
    "tentative": ("◌ tentative", "tentative"),
    "confirmed": ("✓ confirmed", "confirmed"),
    "not granted yet": ("◌ not granted yet", "tentative"),
    "cancelled": ("✗ cancelled", "cancelled"),
}


class Told(msgspec.Struct, frozen=True):
    """What became of something that was sent, for the top of the page."""

    text: str
    failed: bool = False


class Block(msgspec.Struct, frozen=True):
    """A free hour, one that is over, or a meeting of `hours` hours. `wish`: its number among the form's choices."""

    state: str
    start: str
    end: str
    hours: int = 1
    wish: int = 0
    purpose: str = ""
    whose: str = ""
    title: str = ""
    is_own: bool = False

    @property
    def booking(self) -> bool:
        """Whether a meeting is there."""
        return self.state in ("tentative", "confirmed")


class Room(msgspec.Struct, frozen=True):
    """A row of the schedule."""

    name: str
    cells: list[Block]


class Mine(msgspec.Struct, frozen=True):
    """A request of the own department."""

    id: str
    day: str
    state: str
    badge: str
    purpose: str
    place: str
    notes: list[str]
    about: str
    is_open: bool


class Page(msgspec.Struct):
    """Everything that the template may use."""

    path: str
    where: str
    foot: str
    identity: str
    is_locked: bool
    person: Person | None
    people: list[tuple[str, str]]
    day: str
    today: str
    zone: str
    now_ms: int
    as_of: str
    as_of_iso: str
    form: Draft
    room_names: tuple[str, ...]
    starts: list[str]
    outcomes: list[Told] = []
    rooms: list[Room] = []
    mine: list[Mine] = []
    is_mine_known: bool = False
    more: str = ""
    is_open: bool = False
    is_live: bool = False
    pause_url: str = ""
    live_url: str = ""
    reload_seconds: int = RELOAD_SECONDS
    purpose_max: int = PURPOSE_CHARACTERS_MAX
    weeks_max: int = WEEKS_MAX

    @property
    def title(self) -> str:
        """The browser's."""
        return f"Rooms on {self.day}, {self.where}"

    @property
    def is_today(self) -> bool:
        """Whether the day shown is today."""
        return self.day == self.today

    @property
    def day_words(self) -> str:
        """As `Tuesday, 1 December 2026`."""
        day = date.fromisoformat(self.day)
        return f"{day:%A}, {day.day} {day:%B} {day.year}"

    @property
    def previous(self) -> str:
        """The day before."""
        return neighbour(self.day, -1)

    @property
    def next(self) -> str:
        """The day after."""
        return neighbour(self.day, 1)

    @property
    def durations(self) -> list[int]:
        """The hours that a meeting may take."""
        return list(range(1, len(self.starts) + 1))

    @property
    def person_label(self) -> str:
        """Who is signed in."""
        return label(self.person) if self.person else ""


def label(person: Person) -> str:
    """A person for people: `Fatima (biology)`."""
    name = person.first_name or person.id
    return f"{name} ({person.department})" if person.department else name


def neighbour(day: str, days: int) -> str:
    """The day so many days later; the same one at the calendar's ends."""
    other = (date.fromisoformat(day) + timedelta(days=days)).isoformat()
    return other if parse_day(other) else day


def unwrapped(reply: Any) -> Any:
    """The app's own reply, where the protocol has put its word around it."""
    return reply.reply if isinstance(reply, Outcome) else reply


def told(reply: Any) -> Told:
    """A reply as people see it."""
    text = reply.text().removeprefix("Failed: ")
    return Told(f"{text[:1].upper()}{text[1:]}", bool(reply.failed))


def told_of(standing: Standing) -> Told:
    """What became of a request. One that holds no room is told as failed, also where it was given up."""
    what = f"“{standing.purpose}”" if standing.purpose else standing.id
    said = f"{standing.outcome}: {_place(standing.place or standing.wanted)}"
    if standing.outcome == "moved" and standing.place is not None:
        said = f"moved from {_place(standing.wanted)} to {_place(standing.place)}, {standing.firm}"
    parts = [f"{what} is {said}."]
    if standing.why:
        parts.append(_sentence(standing.why))
    if standing.firm_by:
        parts.append(_firm_by(standing))
    parts.append(f"({standing.id})")
    return Told(" ".join(parts), failed=standing.place is None)


def _firm_by(standing: Standing) -> str:
    """The sentence on when a tentative request is final at the latest."""
    if standing.overdue:
        return f"It was to be firm by {standing.firm_by}; what came of it has not been heard here."
    return f"Firm by {standing.firm_by} at the latest."


def _sentence(words: str) -> str:
    """The end of a sentence as one of its own."""
    return f"{words[:1].upper()}{words[1:]}."


def rows(answer: Cells, house: House, now_ms: int, person: Person | None, draft: Draft) -> list[Room]:
    """The day's grid: the cells of one meeting become one block."""
    found = []
    for place, name in enumerate(answer.rooms):
        cells = answer.cells[place * answer.hours : (place + 1) * answer.hours]
        found.append(Room(name, _blocks(cells, answer, house, now_ms, person, draft)))
    return found


def _blocks(
    cells: Sequence[Cell], answer: Cells, house: House, now_ms: int, person: Person | None, draft: Draft
) -> list[Block]:
    blocks: list[Block] = []
    place = 0
    while place < len(cells):
        cell, hour, hours = cells[place], answer.opens + place, 1
        while cell.id and place + hours < len(cells) and cells[place + hours].id == cell.id:
            hours += 1
        end = f"{hour + hours:02}:00"
        if cell.id:
            whose = f"{cell.first_name}, {cell.department}"
            title = f"{cell.purpose}: {whose}, {cell.start} to {end}, {cell.state}, {cell.id}"
            own = person is not None and person.department == cell.department
            blocks.append(Block(cell.state, cell.start, end, hours, 0, cell.purpose, whose, title, own))
        elif house.start_ms(answer.day, hour) < now_ms:
            blocks.append(Block("over", cell.start, end))
        else:
            wish = draft.number_of(cell.room, answer.day, cell.start)
            blocks.append(Block("free", cell.start, end, wish=wish))
        place += hours
    return blocks


def mine(standing: Standing) -> Mine:
    """A request of the own department."""
    state, badge = _BADGES.get(standing.outcome, ("", ""))
    where = standing.place or standing.wanted
    notes = []
    if standing.outcome == "moved":
        state = "→ moved" if standing.firm == "confirmed" else "◌ → moved"
        badge = standing.firm
        notes.append(f"{standing.firm.capitalize()}. Moved from {_place(standing.wanted)} to {_place(where)}.")
    if standing.outcome == "cancelled" and standing.firm == "tentative":
        notes.append("The cancellation is tentative.")
    if standing.outcome == "not granted yet":
        notes.append("While it is tentative it may still win.")
    if standing.why:
        notes.append(_sentence(standing.why))
    if standing.firm_by:
        notes.append(_firm_by(standing))
    if standing.booking:
        notes.append(f"A change of {standing.booking}.")
    about = f"{standing.id}, entered at {standing.entered}."
    is_open = standing.outcome != "cancelled" and not standing.booking
    return Mine(standing.id, where.day, state, badge, standing.purpose, _place(where), notes, about, is_open)


def _place(where: Where) -> str:
    day = date.fromisoformat(where.day)
    return f"{where.room}, {day:%a} {day.day} {day:%b} {day.year}, {where.start}–{where.end}"
