"""The building as it is configured: what can be asked of it at all, and when that is in the world's time.

What `places` says is the same at every replica, so `apply` may use it. What needs the time zone's
rules (which a replica may have in another edition) serves the door and the reader only.
"""

from __future__ import annotations

import difflib
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from holdfast.apps.rooms.replies import Impossible
from holdfast.apps.rooms.times import EPOCH, WRITABLE_MS, clock
from holdfast.apps.rooms.words import Change, Reserve
from holdfast.apps.values import check_name, parse_day, parse_duration, parse_place, parse_time, shown

Place = tuple[str, str, int]
"""(room, day, hour): where and when a meeting begins; the key of its first `MeetingHour`."""

AHEAD_DAYS_MAX = 731
"""How far ahead a room can be reserved: two years."""

HOUR_MS = 3_600_000


class House:
    """Rooms, hours and zone. Immutable. Raises `ValueError` for a building that cannot be."""

    def __init__(self, rooms: tuple[str, ...], opens: int, closes: int, zone: str) -> None:
        if not 0 <= opens < closes <= 24:
            raise ValueError(
                f"a day from {opens} to {closes} o'clock has no hours; opens and closes lie between 0 and 24"
            )
        for number, room in enumerate(rooms):
            why = check_name(room) or ("must have no @, comma or colon" if any(c in room for c in "@,:") else None)
            if why is not None or parse_day(room):
                raise ValueError(f"{shown(room)} is no name of a room: it {why or 'must not be a day'}")
            if room in rooms[:number]:
                raise ValueError(f"the room {shown(room)} is named twice")
        if not rooms:
            raise ValueError("a building needs a room at least")
        try:
            self._zone = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{shown(zone)} is no time zone; write one as Europe/London or UTC") from error
        self.rooms = rooms
        self.opens = opens
        self.closes = closes
        self.zone = zone
        self._rooms = dict.fromkeys(rooms)
        self._starts = {clock(hour): hour for hour in range(opens, closes)}
        # A place of the day that is asked for, as it is written: most alternatives are.
        self._places = {f"{room}@{start}": (room, hour) for room in rooms for start, hour in self._starts.items()}
        self.start_ms = lru_cache(maxsize=4096)(self._start_ms)
        """When an hour of a day of the calendar begins, see `_start_ms`."""
        self._durations = {f"{hours}h": hours for hours in range(1, closes - opens + 1)}

    def has(self, room: str) -> bool:
        """Whether there is such a room."""
        return room in self._rooms

    def hours(self, duration: str) -> int:
        """The hours of a possible duration."""
        return self._durations[duration]

    def places(self, asked: Reserve | Change) -> list[Place] | Impossible:
        """Where the meeting may be, in order of preference; or what is wrong with the request."""
        rooms, starts, day = self._rooms, self._starts, asked.day
        hour = starts.get(asked.start, -1)
        hours = self._durations.get(asked.duration, 0)
        latest = self.closes - hours
        if not hours or not 0 <= hour <= latest or asked.room not in rooms or parse_day(day) is None:
            return self._complaint(asked.room, day, asked.start, asked.duration)
        places = [(asked.room, day, hour)]
        for text in asked.alternatives:
            here = self._places.get(text)
            if here is not None and here[1] <= latest:
                places.append((here[0], day, here[1]))
                continue
            place = parse_place(text)
            if place is not None:
                hour = starts.get(place[2], -1)
                if 0 <= hour <= latest and place[0] in rooms:
                    places.append((place[0], place[1] or day, hour))
                    continue
            return self._wrong_alternative(text, asked)
        return places

    def _wrong_alternative(self, text: str, asked: Reserve | Change) -> Impossible:
        """What is wrong with an alternative, all else being right."""
        place = parse_place(text)
        if place is None:
            why = f"{shown(text)} is no alternative; write it as Oak@09:00 or Oak@2026-12-02@09:00"
            return Impossible("alternative", text, why)
        wrong = self._complaint(place[0], place[1] or asked.day, place[2], asked.duration)
        return Impossible(wrong.code, text, f"alternative {shown(text)}: {wrong.why}")

    def _complaint(self, room: str, day: str, start: str, duration: str) -> Impossible:
        """The first thing that is wrong with a place, something being wrong."""
        if room not in self._rooms:
            near = difflib.get_close_matches(room[:64], self.rooms, n=1)
            guess = f"did you mean {near[0]}? The rooms are" if near else "the rooms are"
            return Impossible("room", room, f"there is no room {shown(room)}; {guess} {', '.join(self.rooms)}")
        if parse_day(day) is None:
            return Impossible("day", day, f"there is no day {shown(day)}; write a day of the calendar as 2026-12-01")
        hours = self._durations.get(duration, 0)
        if not hours:
            longest = self.closes - self.opens
            asked_hours = parse_duration(duration)
            so = "is no duration" if not asked_hours else f"is longer than the day from {clock(self.opens)} is"
            return Impossible("duration", duration, f"{shown(duration)} {so}; take whole hours from 1h to {longest}h")
        if start not in self._starts:
            time = parse_time(start)
            so = "is no time" if time is None else "is not on the hour" if time[1] else "is outside the hours"
            first, last = clock(self.opens), clock(self.closes - 1)
            return Impossible("start", start, f"{shown(start)} {so}; meetings begin on the hour from {first} to {last}")
        latest = clock(self.closes - hours)
        why = f"{duration} from {start} would last beyond {clock(self.closes)}, when the rooms close"
        return Impossible("closing", start, f"{why}; begin at {latest} at the latest or take less")

    # -- the world's time -----------------------------------------------------------------------

    def _start_ms(self, day: str, hour: int) -> int:
        """When that hour of a day of the calendar begins, Unix milliseconds.

        An hour that the clocks pass twice begins the first time. One that they skip counts from the
        rules before the change, which is the moment of the change or after it.
        """
        return (self._local(day, hour) - EPOCH) // timedelta(milliseconds=1)

    def _local(self, day: str, hour: int) -> datetime:
        moment = parse_day(day)
        assert moment is not None
        return datetime(moment.year, moment.month, moment.day, hour, tzinfo=self._zone)

    def is_skipped(self, day: str, hour: int) -> bool:
        """Whether the clocks are put forward over the beginning of this hour."""
        local = self._local(day, hour)
        return local.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) != local.replace(tzinfo=None)

    def timely(self, place: Place, now_ms: int) -> Impossible | None:
        """Why a place lies at no time to reserve now, or None."""
        room, day, hour = place
        where = f"{room} on {day} at {clock(hour)}"
        start = self.start_ms(day, hour)
        if start < now_ms:
            return Impossible("past", day, f"{where} is past, it is {self.when(now_ms)} now; choose a later time")
        if start > now_ms + AHEAD_DAYS_MAX * 24 * HOUR_MS:
            why = f"{where} is too far ahead; rooms are reserved for the next {AHEAD_DAYS_MAX} days"
            return Impossible("far", day, why)
        if self.is_skipped(day, hour):
            why = f"there is no {clock(hour)} on {day}: the clocks in {self.zone} are put forward over it"
            return Impossible("skipped", day, f"{why}; choose another hour")
        return None

    def day_at(self, now_ms: int) -> date:
        """Which day it is here at that moment."""
        return self._there(now_ms).date()

    def when(self, now_ms: int) -> str:
        """A moment as the clocks here show it."""
        return f"{self._there(now_ms):%Y-%m-%d %H:%M}"

    def _there(self, now_ms: int) -> datetime:
        return (EPOCH + timedelta(milliseconds=min(now_ms, WRITABLE_MS))).astimezone(self._zone)
