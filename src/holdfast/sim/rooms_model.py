"""The rooms as the requirements tell them: a plain model that the app is compared with.

Written from the words of the requirements alone, apart from the app and without importing it, so
that the two can disagree. It keeps a list of meetings and looks through all of it every time.

    Entries for overlapping time compete; the first in the order prevails, the others move to their
    first free alternative or are not granted. Whoever loses is told by whom and when. A change keeps
    the old booking until the new one is granted. A secretary changes and cancels only what is her
    department's. Whoever comes too late loses with the reason "late".

The order is handed in: `RoomsModel.do` is called with one write after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

Stamp = tuple[int, str, str]
"""(milliseconds, first name, replica)"""


@dataclass(frozen=True)
class Place:
    """A room on a day, from one hour to another."""

    room: str
    day: str
    begin: int
    end: int

    def overlaps(self, other: Place) -> bool:
        """Whether both cannot be had at once."""
        same = (self.room, self.day) == (other.room, other.day)
        return same and self.begin < other.end and other.begin < self.end


@dataclass(frozen=True)
class Asked:
    """One write: `word` is "reserve", "change" or "cancel"; `choices` in order of preference; `target`:
    which request is meant by a change or cancellation. `late`: it stands behind later stamps that are committed."""

    id: str
    stamp: Stamp
    late: bool
    word: str
    first_name: str
    department: str
    choices: tuple[Place, ...] = ()
    target: str = ""


@dataclass(frozen=True)
class Fate:
    """What a write comes to. `state`: "granted", "moved", "not granted", "cancelled" or "refused".

    `place`: what is granted by it. `lost_to`, `lost_ms`: whose request has what was wanted first, and
    the stamp of that one's entry; `lost_by`: that one's secretary, as "Ann (law)". `why`: "earlier",
    "tie" or "late" where something is lost, else "".
    """

    state: str
    place: Place | None = None
    lost_to: str = ""
    lost_ms: int = 0
    why: str = ""
    lost_by: str = ""


@dataclass
class Booking:
    """A request on record: who wants it since when, and what it has, if anything."""

    id: str
    entry: Asked
    place: Place | None
    is_cancelled: bool = False


@dataclass
class RoomsModel:
    """The building and everything that was asked in it so far."""

    rooms: tuple[str, ...]
    opens: int
    closes: int
    bookings: list[Booking] = field(default_factory=list)
    changes: dict[str, str] = field(default_factory=dict)
    notices: dict[str, str] = field(default_factory=dict)

    def do(self, asked: Asked) -> Fate:
        """The next write in the order."""
        fate = self._decide(asked)
        if fate.lost_to:
            about = self.changes.get(asked.id, asked.id)
            self.notices[asked.id] = f"{about} {_came_to(asked, fate)}. {_when(asked.choices[0])}: {_reason(fate)}."
        return fate

    def notice(self, id: str) -> str:
        """What whoever has asked this and lost is told: what it came to, what was lost, to whom and when."""
        return self.notices[id]

    def _decide(self, asked: Asked) -> Fate:
        if not self.are_possible(asked.choices):
            return Fate("refused")
        if asked.word == "reserve":
            fate = self._first_choice(asked, None)
            self.bookings.append(Booking(asked.id, asked, fate.place))
            return fate
        booking = self._find(asked.target)
        if booking is None or booking.entry.department != asked.department or booking.is_cancelled:
            return Fate("refused")
        if asked.word == "cancel":
            booking.is_cancelled, booking.place = True, None
            return Fate("cancelled")
        fate = self._first_choice(asked, booking)
        self.changes[asked.id] = booking.id
        if fate.place is not None:
            booking.entry, booking.place = asked, fate.place
        return fate

    def grid(self) -> dict[tuple[str, str, int], str]:
        """Which request has which hour: (room, day, hour) -> id."""
        return {
            (booking.place.room, booking.place.day, hour): booking.id
            for booking in self.bookings
            if booking.place is not None
            for hour in range(booking.place.begin, booking.place.end)
        }

    def are_possible(self, places: tuple[Place, ...]) -> bool:
        """Whether there are such places here."""
        return all(self._exists(place) for place in places)

    def _exists(self, place: Place) -> bool:
        try:
            date.fromisoformat(place.day)
        except ValueError:
            return False
        return place.room in self.rooms and self.opens <= place.begin < place.end <= self.closes

    def _find(self, id: str) -> Booking | None:
        meant = self.changes.get(id, id)
        return next((booking for booking in self.bookings if booking.id == meant), None)

    def _first_choice(self, asked: Asked, own: Booking | None) -> Fate:
        """The first place that no other booking overlaps."""
        others = [booking for booking in self.bookings if booking is not own and booking.place is not None]
        fate = Fate("not granted")
        for number, place in enumerate(asked.choices):
            in_the_way = [booking for booking in others if booking.place is not None and booking.place.overlaps(place)]
            if not in_the_way:
                return replace(fate, state="moved" if number else "granted", place=place)
            if number == 0:
                winner = min(in_the_way, key=lambda booking: booking.entry.stamp)
                who = f"{winner.entry.first_name} ({winner.entry.department})"
                fate = replace(fate, lost_to=winner.id, lost_by=who, lost_ms=winner.entry.stamp[0])
                fate = replace(fate, why=_why(asked, winner.entry))
        return fate


def _why(loser: Asked, winner: Asked) -> str:
    if loser.late and winner.stamp > loser.stamp:
        return "late"
    return "tie" if winner.stamp[0] == loser.stamp[0] else "earlier"


# -- what the loser is told ------------------------------------------------------------------------


def _came_to(asked: Asked, fate: Fate) -> str:
    if fate.place is not None:
        return f"is moved to {_when(fate.place)}"
    return "is not granted" if asked.word == "reserve" else "stays as it was"


def _when(place: Place) -> str:
    return f"{place.room} on {place.day} at {place.begin:02}:00"


def _reason(fate: Fate) -> str:
    """By whom it is lost and when that one had entered, to the millisecond."""
    seconds, ms = divmod(fate.lost_ms, 1000)
    entered = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{ms:03} UTC"
    return {
        "late": f"late: {fate.lost_by}, entered at {entered}, had been confirmed before it came",
        "tie": f"{fate.lost_by} entered at {entered} too and comes first by name",
        "earlier": f"{fate.lost_by} was earlier, at {entered}",
    }[fate.why]


# -- from the app's words, read without the app ----------------------------------------------------


def asked(id: str, stamp: Stamp, late: bool, person: Any, command: Any) -> Asked:
    """A command of the app as a write of this model. `person`: who asks, with `first_name` and `department`."""
    word = command.__struct_config__.tag
    target = "" if word == "reserve" else command.id
    return Asked(id, stamp, late, word, person.first_name, person.department, choices_of(command), target)


def choices_of(command: Any) -> tuple[Place, ...]:
    """What a command of the app asks for, in order of preference."""
    if command.__struct_config__.tag == "cancel":
        return ()
    hours = int(command.duration.removesuffix("h"))
    first = (command.room, command.day, _hour(command.start))
    wanted = (first, *(_alternative(text, command.day) for text in command.alternatives))
    return tuple(Place(room, day, hour, hour + hours) for room, day, hour in wanted)


def fate_of(reply: Any) -> Fate:
    """What a reply of the app says, in this model's words."""
    word = reply.__struct_config__.tag
    if word == "cancelled":
        return Fate("cancelled")
    if word not in ("granted", "moved", "changed", "not_granted", "not_changed"):
        return Fate("refused")
    place = None
    if word in ("granted", "moved", "changed"):
        begin = _hour(reply.start)
        place = Place(reply.room, reply.day, begin, begin + int(reply.duration.removesuffix("h")))
    lost = None if word == "granted" else reply.lost
    if lost is None:
        return Fate("granted", place)
    why = "late" if lost.late else "tie" if lost.tie else "earlier"
    who = f"{lost.first_name} ({lost.department})"
    return Fate("not granted" if place is None else "moved", place, lost.id, lost.ms, why, who)


def _hour(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) if minute == "00" else -1


def _alternative(text: str, day: str) -> tuple[str, str, int]:
    room, *between, time = text.split("@")
    return room, between[0] if between else day, _hour(time)
