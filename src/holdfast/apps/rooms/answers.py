"""The answers to questions about the rooms. They read; nothing here changes a row."""

from __future__ import annotations

from datetime import timedelta
from heapq import nlargest
from typing import TYPE_CHECKING

from holdfast.apps.rooms.house import House, Place
from holdfast.apps.rooms.replies import (
    Cell,
    Cells,
    Firm,
    Impossible,
    Meeting,
    Mine,
    NoSuchRequest,
    NotASecretary,
    Outcome,
    Schedule,
    Standing,
    Where,
)
from holdfast.apps.rooms.rows import CANCELLED, CHANGED, NO_CHOICE, Entry, MeetingHour
from holdfast.apps.rooms.times import clock, utc
from holdfast.apps.rooms.words import AskCells, AskMine, AskSchedule, Change, Show
from holdfast.apps.values import parse_day, shown
from holdfast.kernel.contracts import Context, Reply
from holdfast.kernel.errors import BrokenInvariant

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

REQUESTS_SHOWN_MAX = 50
"""Requests in one answer to `mine`."""
WEEK_DAYS = 7


class Answers:
    """What can be asked about one building. Keeps nothing but its configuration."""

    def __init__(self, house: House) -> None:
        self._house = house

    # -- one request ----------------------------------------------------------------------------

    def show(self, store: TupleStore, query: Show, context: Context) -> Reply:
        """What became of one request."""
        entry = store.table(Entry).get(query.id)
        return NoSuchRequest(query.id) if entry is None else self._standing(entry, context)

    def mine(self, store: TupleStore, query: AskMine, context: Context) -> Reply:
        """The requests of the asker's department, newest first, a page of them.

        It looks at every request on record (some 0.1 µs each): an index would cost every write more
        than the few who ask.
        """
        person = context.person
        if person is None or not person.department:
            return NotASecretary("" if person is None else person.id, "")
        department, entries = person.department, store.table(Entry)
        own: list[Entry] = [entry for entry in entries if entry.department == department]
        if query.before:
            before = entries.get(query.before)
            if before is None or before.department != department:
                return NoSuchRequest(query.before)
            own = [entry for entry in own if _age(entry) < _age(before)]
        newest = nlargest(REQUESTS_SHOWN_MAX + 1, own, key=_age)
        shown_now = newest[:REQUESTS_SHOWN_MAX]
        more_before = shown_now[-1].id if len(newest) > len(shown_now) else ""
        return Mine(department, tuple(self._standing(entry, context) for entry in shown_now), more_before)

    def _standing(self, entry: Entry, context: Context) -> Standing:
        firm: Firm = "confirmed" if context.is_committed(entry.by) else "tentative"
        firm_by, overdue = ("", False) if firm == "confirmed" else context.firm_by(entry.by)
        asked = entry.asked
        places, hours = self._places(entry)
        outcome: Outcome
        if entry.state == CANCELLED:
            outcome = "cancelled"
        elif entry.choice == NO_CHOICE:
            outcome = "cancelled" if firm == "confirmed" else "not granted yet"
        else:
            outcome = "moved" if entry.choice else firm
        return Standing(
            id=entry.id,
            booking=asked.id if isinstance(asked, Change) else "",
            department=entry.department,
            first_name=entry.first_name,
            purpose=_purpose(entry),
            wanted=_where(places[0], hours),
            alternatives=asked.alternatives,
            outcome=outcome,
            firm=firm,
            place=None if entry.choice == NO_CHOICE else _where(places[entry.choice], hours),
            lost=entry.lost,
            why=_why(entry),
            entered=utc(entry.ms),
            firm_by=firm_by,
            overdue=overdue,
        )

    def _places(self, entry: Entry) -> tuple[list[Place], int]:
        """The places that a request on record names, and for how many hours."""
        places = self._house.places(entry.asked)
        if isinstance(places, Impossible):
            raise BrokenInvariant(f"request {entry.id} is on record and impossible here: {places.why}")
        return places, self._house.hours(entry.asked.duration)

    # -- days and weeks -------------------------------------------------------------------------

    def schedule(self, store: TupleStore, query: AskSchedule, context: Context) -> Reply:
        """All rooms on a day, or a week of one room."""
        house, about = self._house, query.about
        if not house.has(about):
            if parse_day(about) is None:
                why = f"{shown(about)} is neither a day such as 2026-12-01 nor a room; the rooms are"
                return Impossible("query", about, f"{why} {', '.join(house.rooms)}")
            if query.day:
                return Impossible("query", query.day, "a day's schedule takes no second day; name a room for a week's")
            meetings = [meeting for room in house.rooms for meeting in self._meetings(store, room, about, context)]
            return Schedule("", about, about, tuple(sorted(meetings, key=lambda meeting: meeting.start)))
        first = parse_day(query.day)
        if first is None:
            if query.day or not context.now_ms:
                return _day_needed(query.day, f"schedule {about} 2026-12-01")
            today = house.day_at(context.now_ms)
            first = today - timedelta(days=today.weekday())
        days = [(first + timedelta(days=number)).isoformat() for number in range(WEEK_DAYS)]
        week = [meeting for day in days for meeting in self._meetings(store, about, day, context)]
        return Schedule(about, days[0], days[-1], tuple(week))

    def _meetings(self, store: TupleStore, room: str, day: str, context: Context) -> list[Meeting]:
        """The meetings in a room on a day, in the order of their hours."""
        get = store.table(MeetingHour).get
        found: list[Meeting] = []
        hour = self._house.opens
        while hour < self._house.closes:
            row = get((room, day, hour))
            if row is None:
                hour += 1
                continue
            begin = hour
            while row is not None and (after := get((room, day, hour))) is not None and after.id == row.id:
                hour += 1
            entry = _entry(store, row.id)
            firm: Firm = "confirmed" if context.is_committed(entry.by) else "tentative"
            who = (entry.first_name, entry.department, _purpose(entry), firm)
            found.append(Meeting(row.id, room, day, clock(begin), clock(hour), *who))
        return found

    def cells(self, store: TupleStore, query: AskCells, context: Context) -> Reply:
        """The hours of a day as the form numbers them."""
        house, day = self._house, query.day
        if parse_day(day) is None:
            if day or not context.now_ms:
                return _day_needed(day, "cells 2026-12-01")
            day = house.day_at(context.now_ms).isoformat()
        get = store.table(MeetingHour).get
        cells: list[Cell] = []
        for room in house.rooms:
            for hour in range(house.opens, house.closes):
                number, row = len(cells) + 1, get((room, day, hour))
                if row is None:
                    cells.append(Cell(number, room, clock(hour), "free"))
                    continue
                entry = _entry(store, row.id)
                firm: Firm = "confirmed" if context.is_committed(entry.by) else "tentative"
                who = (entry.first_name, entry.department, _purpose(entry))
                cells.append(Cell(number, room, clock(hour), firm, row.id, *who))
        return Cells(day, house.rooms, house.opens, house.closes - house.opens, tuple(cells))


def _entry(store: TupleStore, id: str) -> Entry:
    entry = store.table(Entry).get(id)
    if entry is None:
        raise BrokenInvariant(f"request {id} is referred to and not on record")
    return entry


def _why(entry: Entry) -> str:
    """Whatever about the outcome needs a reason."""
    if entry.state == CANCELLED:
        return f"given up by {entry.by}"
    said = [f"changed by {entry.by}"] if entry.state == CHANGED else []
    if entry.lost is not None:
        said.append(entry.lost.text())
        if isinstance(entry.asked, Change) and entry.choice == NO_CHOICE:
            said.append(f"{entry.asked.id} stays as it was")
    return "; ".join(said)


def _age(entry: Entry) -> tuple[int, str]:
    return entry.ms, entry.id


def _purpose(entry: Entry) -> str:
    return "" if isinstance(entry.asked, Change) else entry.asked.purpose


def _where(place: Place, hours: int) -> Where:
    room, day, hour = place
    return Where(room, day, clock(hour), clock(hour + hours))


def _day_needed(word: str, example: str) -> Impossible:
    if word:
        return Impossible("query", word, f"{shown(word)} is no day; write a day of the calendar as 2026-12-01")
    return Impossible("query", "", f"it is not known here which day it is; say it, as in {example}")
