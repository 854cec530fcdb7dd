"""What the rooms answer. Times of day are those of the building, stamps are UTC."""

from __future__ import annotations

from typing import Literal

import msgspec

from holdfast.apps.rooms.rows import Lost
from holdfast.apps.rooms.times import clock, span
from holdfast.kernel.contracts import Refusal, Reply

Outcome = Literal["tentative", "confirmed", "moved", "not granted yet", "cancelled"]
"""What people see of a request. Whether "moved" and "cancelled" are final, `Standing.firm` says."""
Firm = Literal["tentative", "confirmed"]


class Where(msgspec.Struct, frozen=True, gc=False):
    """A room for some hours: `start` and `end` as 09:00 and 11:00."""

    room: str
    day: str
    start: str
    end: str

    def text(self) -> str:
        """As the part of a sentence."""
        return f"{self.room} on {self.day} from {self.start} to {self.end}"


class Granted(Reply, frozen=True, tag="granted"):
    """The request got what it wanted first."""

    id: str
    room: str
    day: str
    start: str
    duration: str

    def text(self) -> str:
        return f"{span(self.room, self.day, self.start, self.duration)} is reserved, as {self.id}."


class Moved(Reply, frozen=True, tag="moved"):
    """The request got an alternative. `wanted_...`: what it lost, and to whom `lost` says."""

    id: str
    room: str
    day: str
    start: str
    duration: str
    wanted_room: str
    wanted_day: str
    wanted_start: str
    lost: Lost

    def text(self) -> str:
        wanted = f"{self.wanted_room} on {self.wanted_day} at {self.wanted_start}"
        place = span(self.room, self.day, self.start, self.duration)
        return f"{place} is reserved, as {self.id}, moved from {wanted}: {self.lost.text()}."


class Changed(Reply, frozen=True, tag="changed"):
    """The reservation has moved to where the change wanted it (`lost` None) or to an alternative."""

    id: str
    room: str
    day: str
    start: str
    duration: str
    lost: Lost | None

    def text(self) -> str:
        why = f", an alternative: {self.lost.text()}" if self.lost else ""
        return f"{self.id} is changed to {span(self.room, self.day, self.start, self.duration)}{why}."


class Cancelled(Reply, frozen=True, tag="cancelled"):
    """The request is given up; what it held is free."""

    id: str

    def text(self) -> str:
        return f"{self.id} is cancelled."


def _nor(alternatives: int) -> str:
    """How a sentence goes on that refuses what was wanted first."""
    if alternatives < 2:
        return ", nor its alternative" * alternatives
    return f", nor one of its {alternatives} alternatives"


class NotGranted(Refusal, frozen=True, tag="not_granted"):
    """Neither what was wanted nor an alternative is free. The request stays on record: while it is
    tentative it may still win, and it is cancelled when it is committed. `alternatives`: how many were tried."""

    id: str
    room: str
    day: str
    start: str
    duration: str
    alternatives: int
    lost: Lost

    def text(self) -> str:
        wanted = span(self.room, self.day, self.start, self.duration)
        also = _nor(self.alternatives)
        return f"Failed: {self.id} is not granted {wanted}{also}: {self.lost.text()}."


class NotChanged(Refusal, frozen=True, tag="not_changed"):
    """The change found nothing free; the reservation stays as it was. `id`: the change, `booking`: what stays."""

    id: str
    booking: str
    room: str
    day: str
    start: str
    duration: str
    alternatives: int
    lost: Lost

    def text(self) -> str:
        wanted = span(self.room, self.day, self.start, self.duration)
        why, also = self.lost.text(), _nor(self.alternatives)
        return f"Failed: {self.booking} stays as it was, {wanted} is not granted{also}: {why}."


class Impossible(Refusal, frozen=True, tag="impossible"):
    """A request that makes no sense in this building, or at this time. `code`: which part of it is
    wrong; `word`: as it was written; `why`: what is wrong and what to do."""

    code: Literal[
        "room", "day", "start", "duration", "closing", "alternative", "past", "far", "skipped", "purpose", "query"
    ]
    word: str
    why: str

    def text(self) -> str:
        return f"Failed: {self.why}."


class NotASecretary(Refusal, frozen=True, tag="not_a_secretary"):
    """Only a secretary of one of the departments may do this. `person`: who asked, "" for nobody known."""

    person: str
    department: str

    def text(self) -> str:
        if not self.person:
            return "Failed: only a department's secretary may do this, and nobody is logged in; write login <id>."
        whose = f"{self.person} of {self.department}" if self.department else f"{self.person}, of no department,"
        return f"Failed: only a secretary of a department that shares the rooms may do this, and {whose} is none."


class NoSuchRequest(Refusal, frozen=True, tag="no_such_request"):
    """Nothing of this id is known here: it never was, or has not arrived yet."""

    id: str

    def text(self) -> str:
        return f"Failed: there is no request {self.id} here; mine lists those of your department."


class NotYours(Refusal, frozen=True, tag="not_yours"):
    """The request is another department's."""

    id: str
    department: str

    def text(self) -> str:
        return f"Failed: {self.id} is a request of {self.department}; only its secretary may change or cancel it."


class IsCancelled(Refusal, frozen=True, tag="is_cancelled"):
    """The request was given up before."""

    id: str

    def text(self) -> str:
        return f"Failed: {self.id} is cancelled already; make a new request."


class Standing(Reply, frozen=True, tag="standing"):
    """What became of one request.

    `booking`: of a change, the request that it changes, else "". `wanted`: what is wanted first;
    `place`: what is granted now. `lost` and `why`: the reason where these differ. `entered`: its accept stamp.
    `firm_by`: when it is final at the latest, while it is tentative and that is known; `overdue`: that time has
    passed, and nothing has been heard here of what came of it.
    """

    id: str
    booking: str
    department: str
    first_name: str
    purpose: str
    wanted: Where
    alternatives: tuple[str, ...]
    outcome: Outcome
    firm: Firm
    place: Where | None
    lost: Lost | None
    why: str
    entered: str
    firm_by: str = ""
    overdue: bool = False

    def text(self) -> str:
        what = f"{self.id} of {self.first_name} ({self.department})"
        if self.booking:
            what += f", a change of {self.booking}"
        if self.purpose:
            what += f', "{self.purpose}"'
        said: str = self.outcome
        by = self.firm_text()
        if self.place is None:
            said += f", {self.firm}" if self.firm == "tentative" and self.outcome == "cancelled" else ""
            said += f"{by}, wanted {self.wanted.text()}"
        elif self.outcome == "moved":
            said += f" from {self.wanted.text()} to {self.place.text()}, {self.firm}{by}"
        else:
            said += f"{by}, {self.place.text()}"
        return f"{what}: {said}{': ' + self.why if self.why else ''}."

    def firm_text(self) -> str:
        """How a sentence goes on that says "tentative"; "" where nothing is known of it."""
        if self.overdue:
            return f", was to be firm by {self.firm_by} (what came of it has not been heard here)"
        return f", firm by {self.firm_by} at the latest" if self.firm_by else ""


class Mine(Reply, frozen=True, tag="mine"):
    """Requests of a department, the newest first. `more_before`: what to ask before for the rest, or ""."""

    department: str
    requests: tuple[Standing, ...]
    more_before: str

    def text(self) -> str:
        if not self.requests:
            return f"No requests of {self.department}."
        more = f" More: mine {self.more_before}" if self.more_before else ""
        return " ".join(request.text() for request in self.requests) + more


class Meeting(msgspec.Struct, frozen=True, gc=False):
    """A meeting in the schedule."""

    id: str
    room: str
    day: str
    start: str
    end: str
    first_name: str
    department: str
    purpose: str
    firm: Firm

    def text(self, with_day: bool) -> str:
        """One meeting of the line; the day is left out where all have the same."""
        place = f"{self.day} {self.room}" if with_day else self.room
        who = f'{self.first_name} ({self.department}) "{self.purpose}"'
        return f"{place} {self.start}-{self.end} {who} {self.firm} {self.id}"


class Schedule(Reply, frozen=True, tag="schedule"):
    """Who has which room: of all rooms on a day (`room` ""), or of one from `first` to `last`."""

    room: str
    first: str
    last: str
    meetings: tuple[Meeting, ...]

    def text(self) -> str:
        week = self.first != self.last
        what = f"{self.room}, {self.first} to {self.last}" if week else self.first
        return f"{what}: {'; '.join(meeting.text(week) for meeting in self.meetings) or 'all free'}."


class Cell(msgspec.Struct, frozen=True, gc=False):
    """One hour of one room, as the form numbers it. `id` and what follows: the meeting there, or ""."""

    number: int
    room: str
    start: str
    state: Literal["free", "tentative", "confirmed"]
    id: str = ""
    first_name: str = ""
    department: str = ""
    purpose: str = ""


class Cells(Reply, frozen=True, tag="cells"):
    """The hours of all rooms on a day, numbered room by room: `hours` of each room, from `opens` o'clock on."""

    day: str
    rooms: tuple[str, ...]
    opens: int
    hours: int
    cells: tuple[Cell, ...]

    def text(self) -> str:
        taken = [
            f"{cell.number} {cell.room} {cell.start} {cell.first_name} ({cell.department}) {cell.state}"
            for cell in self.cells
            if cell.state != "free"
        ]
        numbers = f"cells 1 to {len(self.cells)}, {self.hours} a room from {clock(self.opens)} on"
        return f"{self.day}, {numbers}: {'; '.join(taken) or 'all free'}{', the others free' if taken else ''}."
