"""The secretaries of the rooms: few rooms and days, so that they get in each other's way."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from holdfast.apps.rooms import Rooms
from holdfast.apps.rooms.replies import Granted, Meeting, Moved, Schedule
from holdfast.apps.rooms.rows import MeetingHour
from holdfast.apps.rooms.words import AskMine, AskSchedule, Cancel, Change, Reserve, Show
from holdfast.kernel.contracts import App, Person
from holdfast.kernel.machine import Machine
from holdfast.kernel.notices import Notice
from holdfast.sim.audit import Violation
from holdfast.sim.bayou.ground import HOUR_MS
from holdfast.sim.rooms_model import RoomsModel, asked, choices_of, fate_of

if TYPE_CHECKING:
    from holdfast.sim.bayou.workloads import Executed

ROOMS = ("Maple", "Oak", "Ash")
FIRST_NAMES = ("Ann", "Bob", "Cem", "Dee", "Eva", "Ann", "Gus", "Bob", "Ida", "Jan")
"""Of the secretaries. Two who share one are told apart by their replicas."""
DEPARTMENTS = tuple(f"department-{number}" for number in range(10))
ZONES = ("UTC", "Europe/Berlin", "America/New_York")
Slot = tuple[str, str, int]


class RoomsWork:
    """A small building. `ids`: what each department has booked."""

    def __init__(self, source: random.Random) -> None:
        self.source = source
        self.rooms = ROOMS[: source.randint(1, 3)]
        self.opens = source.choice((0, 8))
        self.closes = self.opens + source.choice((4, 9))
        self.days = source.randint(1, 4)
        self.lead_hours = source.choice((0, 1, 4))
        self.zone = source.choice(ZONES)
        self.ids: dict[str, list[str]] = {}

    def app(self) -> App:
        return Rooms(self.rooms, DEPARTMENTS, self.opens, self.closes, self.zone, self.lead_hours)

    def people(self, count: int) -> list[Person]:
        return [
            Person(f"secretary{number}", FIRST_NAMES[number], ("secretary",), DEPARTMENTS[number])
            for number in range(count)
        ]

    def wanted_ms(self, command: Any) -> int | None:
        """So long before the earliest of the meetings that are asked for its outcome is final."""
        places = choices_of(command)
        if not places or not RoomsModel(self.rooms, self.opens, self.closes).are_possible(places):
            return None
        there = ZoneInfo(self.zone)
        starts = (datetime.fromisoformat(each.day).replace(hour=each.begin, tzinfo=there) for each in places)
        return min(int(start.timestamp()) for start in starts) * 1000 - self.lead_hours * HOUR_MS

    def clock_text(self, ms: int) -> str:
        """As the clocks in the building show it."""
        return f"{datetime.fromtimestamp(ms // 1000, ZoneInfo(self.zone)):%Y-%m-%d %H:%M}"

    # ---- what they do ----

    def draw(self, person: Person, now_ms: int) -> tuple[Any, bool]:
        source = self.source
        ids = self.ids.get(person.department, [])
        die = source.random()
        if die < 0.62 or (die < 0.82 and not ids):
            return Reserve(*self._place(now_ms), "meeting", self._alternatives(now_ms)), False
        if die < 0.74:
            return Change(self._id(ids), *self._place(now_ms), self._alternatives(now_ms)), False
        if die < 0.82:
            return Cancel(self._id(ids)), False
        if die < 0.94:
            about = source.choice((self._day(now_ms), source.choice(self.rooms)))
            return AskSchedule(about), True
        return (AskMine() if not ids or die < 0.97 else Show(source.choice(ids))), True

    def _id(self, ids: list[str]) -> str:
        if self.source.random() < 0.05:
            ids = [id for others in self.ids.values() for id in others]
        return self.source.choice(ids)

    def _day(self, now_ms: int) -> str:
        """Often today, if there is still time; the meetings' deadlines are near then."""
        today = datetime.fromtimestamp(now_ms / 1000, UTC)
        return f"{today + timedelta(days=self.source.randint(0, self.days)):%Y-%m-%d}"

    def _place(self, now_ms: int) -> tuple[str, str, str, str]:
        hours = min(self.source.choice((1, 1, 2, 3)), self.closes - self.opens)
        hour = self.source.randint(self.opens, self.closes - hours)
        return self.source.choice(self.rooms), self._day(now_ms), f"{hour:02}:00", f"{hours}h"

    def _alternatives(self, now_ms: int) -> tuple[str, ...]:
        places = []
        for _ in range(self.source.choice((0, 0, 1, 2, 3))):
            room, day, hour, _ = self._place(now_ms)
            places.append(f"{room}@{hour}" if self.source.random() < 0.6 else f"{room}@{day}@{hour}")
        return tuple(places)

    # ---- what they are told ----

    def check(self, person: Person, command: Any, reply: Any, view: str) -> None:
        """Learn the ids of bookings; no schedule may hold two meetings at once."""
        if isinstance(reply, Granted | Moved):
            booked = self.ids.setdefault(person.department, [])
            if reply.id not in booked:
                booked.append(reply.id)
        if isinstance(reply, Schedule):
            check_schedule(reply.meetings, view)

    def judge(self, order: Sequence[Executed], store: Any) -> None:
        """The model says the same of each write; who lost was told, in this order; and it has the same hours taken."""
        model = RoomsModel(self.rooms, self.opens, self.closes)
        notices = [(row.to, row.text) for row in sorted(store.table(Notice), key=lambda row: row.number)]
        for done in order:
            person = done.request.person
            if done.repeated or person is None:
                continue
            fate = model.do(asked(done.id, done.stamp, done.late, person, done.request.command))
            if fate != fate_of(done.reply):
                raise Violation("model", f"{done.id} was told {done.reply.text()!r}, the model says {fate}")
            if fate.lost_to:
                told, owed = notices.pop(0) if notices else ("nobody", "nothing"), (person.id, model.notice(done.id))
                if told != owed:
                    raise Violation("notice", f"{done.id} lost to {fate.lost_to}: {told} was told, not {owed}")
        if notices:
            raise Violation("notice", f"nobody lost, and {notices[0]} was told")
        taken = {(row.room, row.day, row.hour): row.id for row in store.table(MeetingHour)}
        if taken != model.grid():
            raise Violation("model", f"the rooms are taken {taken}, the model says {model.grid()}")

    def contested(self, order: Sequence[Executed]) -> tuple[int, int]:
        """Hours of a room that several requests wanted first; and those of them that somebody else has than
        would have, had everybody been heard of before anything was confirmed."""
        wanted: dict[Slot, int] = {}
        for done in order:
            command = done.request.command
            if type(command) is Reserve and not done.repeated:
                first = int(command.start[:2])
                for hour in range(first, first + int(command.duration[:-1])):
                    slot = (command.room, command.day, hour)
                    wanted[slot] = wanted.get(slot, 0) + 1
        contested = [slot for slot, count in wanted.items() if count > 1]
        actual = self._holders(order, late=True)
        ideal = self._holders(sorted(order, key=lambda done: done.stamp), late=False)
        return len(contested), sum(actual.get(slot) != ideal.get(slot) for slot in contested)

    def _holders(self, order: Sequence[Executed], *, late: bool) -> dict[Slot, str]:
        machine = Machine(self.app())
        for done in order:
            machine.execute_write(done.request, done.stamp, done.id, late and done.late)
        return {(row.room, row.day, row.hour): row.id for row in machine.store.table(MeetingHour)}


def check_schedule(meetings: Sequence[Meeting], view: str) -> None:
    """No two of these may overlap; of the committed view all are confirmed."""
    taken: dict[Slot, str] = {}
    for meeting in meetings:
        if view == "committed" and meeting.firm != "confirmed":
            raise Violation("view", f"the committed view shows {meeting.text(True)}")
        for hour in range(int(meeting.start[:2]), int(meeting.end[:2])):
            slot = (meeting.room, meeting.day, hour)
            if slot in taken:
                raise Violation("overlap", f"{meeting.id} and {taken[slot]} both have {slot}")
            taken[slot] = meeting.id
