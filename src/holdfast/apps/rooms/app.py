"""The rooms' rule, executed: who comes first in the order holds the place, the others move or are not granted.

The order is the protocol's. Under `bayou` it is that of the accept stamps, and each command here is
a Bayou write: its dependency check and its merge procedure are what `writes` gives as data, and
`apply` evaluates them by key instead of by query.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.apps.rooms import replies
from holdfast.apps.rooms.answers import Answers
from holdfast.apps.rooms.house import HOUR_MS, House, Place
from holdfast.apps.rooms.replies import (
    Cancelled,
    Changed,
    Granted,
    Impossible,
    IsCancelled,
    Moved,
    NoSuchRequest,
    NotASecretary,
    NotChanged,
    NotGranted,
    NotYours,
)
from holdfast.apps.rooms.rows import (
    CANCELLED,
    CHANGED,
    GRANTED,
    MOVED,
    NO_CHOICE,
    NOT_GRANTED,
    Building,
    Entry,
    Lost,
    MeetingHour,
)
from holdfast.apps.rooms.times import clock
from holdfast.apps.rooms.words import AskCells, AskMine, AskSchedule, Cancel, Change, Reserve, Show
from holdfast.apps.values import check_text, shown
from holdfast.kernel.contracts import Command, Context, Person, Query, Refusal, Reply
from holdfast.kernel.errors import BrokenInvariant

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

ROOMS = ("Ash", "Beech", "Cedar", "Elm", "Larch", "Maple", "Oak", "Willow")
DEPARTMENTS = (
    *("biology", "chemistry", "computing", "economics", "history"),
    *("law", "mathematics", "medicine", "music", "physics"),
)
SECRETARY = "secretary"
"""The role of those who book."""
LEAD_HOURS_MAX = 24 * 7


class Rooms:
    """The app. Rooms, departments and hours are fixed with the first start of the data; `zone` (IANA)
    and `lead_hours` (outcomes are final so long before a meeting) may change. Raises `ValueError`."""

    name = "rooms"
    rows: tuple[type, ...] = (MeetingHour, Entry, Building)
    commands: tuple[type[Command], ...] = (Reserve, Change, Cancel)
    queries: tuple[type[Query], ...] = (AskSchedule, AskMine, Show, AskCells)
    replies: tuple[type[Reply], ...] = (
        *(Granted, Moved, Changed, Cancelled, NotGranted, NotChanged),
        *(Impossible, NotASecretary, NoSuchRequest, NotYours, IsCancelled),
        *(replies.Standing, replies.Mine, replies.Schedule, replies.Cells),
    )

    def __init__(
        self,
        rooms: tuple[str, ...] = ROOMS,
        departments: tuple[str, ...] = DEPARTMENTS,
        opens: int = 8,
        closes: int = 17,
        zone: str = "UTC",
        lead_hours: int = 1,
    ) -> None:
        if not 0 <= lead_hours <= LEAD_HOURS_MAX:
            raise ValueError(f"lead_hours must be 0 to {LEAD_HOURS_MAX}, not {lead_hours}")
        for number, department in enumerate(departments):
            if department in departments[:number]:
                raise ValueError(f"the department {shown(department)} is named twice")
        self.house = House(rooms, opens, closes, zone)
        self.lead_ms = lead_hours * HOUR_MS
        self._departments = dict.fromkeys(departments)
        self._building = Building(0, rooms, departments, opens, closes)
        answers = Answers(self.house)
        self._apply: dict[type, Callable[[TupleStore, Any, Context, Person], Reply]] = {
            Reserve: self._reserve,
            Change: self._change,
            Cancel: self._cancel,
        }
        self._answer: dict[type, Callable[[TupleStore, Any, Context], Reply]] = {
            AskSchedule: answers.schedule,
            AskMine: answers.mine,
            Show: answers.show,
            AskCells: answers.cells,
        }

    def create(self, store: TupleStore) -> None:
        """An empty schedule."""
        store.table(Building).put(self._building)

    def check(self, store: TupleStore) -> str | None:
        """What every replica must decide alike belongs to the data."""
        data = store.table(Building).get(0)
        if data is None:
            return "the data holds no rooms: it is not of this app; set it aside and start from an empty directory"
        for name in ("rooms", "departments", "opens", "closes"):
            old, new = getattr(data, name), getattr(self._building, name)
            if old != new:
                old, new = (list(value) if isinstance(value, tuple) else value for value in (old, new))
                return (
                    f"the data was begun with {name} = {old} but the configuration says {new}; "
                    f"set {name} = {old}, or set the data aside to begin with an empty schedule"
                )
        return None

    # -- the door -------------------------------------------------------------------------------

    def admit(self, command: Any, person: Person | None, now_ms: int) -> Refusal | None:
        """What makes no sense here, or at this time, or for this person."""
        if not self._may_book(person):
            return _no_secretary(person)
        if type(command) is Cancel:
            return None
        if type(command) is Reserve and (why := check_text(command.purpose)) is not None:
            return Impossible("purpose", command.purpose, f"the purpose {why}")
        places = self.house.places(command)
        if isinstance(places, Impossible):
            return places
        for place in places:
            untimely = self.house.timely(place, now_ms)
            if untimely is not None:
                return untimely
        return None

    def firm_by_ms(self, command: Any) -> int | None:
        """So long before the earliest meeting that may come of it."""
        if type(command) is Cancel:
            return None
        places = self.house.places(command)
        if isinstance(places, Impossible):
            return None
        return min(self.house.start_ms(day, hour) for _, day, hour in places) - self.lead_ms

    def time_text(self, ms: int) -> str:
        """As the clocks in the building show it."""
        return self.house.when(ms)

    def _may_book(self, person: Person | None) -> bool:
        return person is not None and SECRETARY in person.roles and person.department in self._departments

    # -- commands -------------------------------------------------------------------------------

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        """Execute one command. Total; only a request on record (granted or not) changes anything."""
        person = context.person
        if person is None or SECRETARY not in person.roles or person.department not in self._departments:
            return _no_secretary(person)
        return self._apply[type(command)](store, command, context, person)

    def answer(self, store: TupleStore, query: Any, context: Context) -> Reply:
        """Answer one query; changes nothing."""
        return self._answer[type(query)](store, query, context)

    def _reserve(self, store: TupleStore, command: Reserve, context: Context, person: Person) -> Reply:
        places = self.house.places(command)
        if isinstance(places, Impossible):
            return places
        id, duration = context.id, command.duration
        hours = self.house.hours(duration)
        choice = _first_free(store, places, hours, "")
        lost = None if choice == 0 else self._lost(store, places[0], hours, "", context)
        state = GRANTED if choice == 0 else MOVED if choice > 0 else NOT_GRANTED
        _record(store, id, context, person, command, choice, state, lost)
        if choice >= 0:
            _take(store, places[choice], hours, id)
        if lost is None:
            return Granted(id, command.room, command.day, command.start, duration)
        if choice < 0:
            _tell(context, person, f"{id} is not granted", places[0], lost)
            return NotGranted(id, command.room, command.day, command.start, duration, len(places) - 1, lost)
        room, day, hour = places[choice]
        start = clock(hour)
        _tell(context, person, f"{id} is moved to {room} on {day} at {start}", places[0], lost)
        return Moved(id, room, day, start, duration, command.room, command.day, command.start, lost)

    def _change(self, store: TupleStore, command: Change, context: Context, person: Person) -> Reply:
        places = self.house.places(command)
        if isinstance(places, Impossible):
            return places
        booking = self._own(store, command.id, person)
        if not isinstance(booking, Entry):
            return booking
        assert type(booking.asked) is Reserve
        command = msgspec.structs.replace(command, id=booking.id)
        id, duration = context.id, command.duration
        hours = self.house.hours(duration)
        choice = _first_free(store, places, hours, booking.id)
        lost = None if choice == 0 else self._lost(store, places[0], hours, booking.id, context)
        state = GRANTED if choice == 0 else MOVED if choice > 0 else NOT_GRANTED
        _record(store, id, context, person, command, choice, state, lost)
        if choice >= 0:
            self._leave(store, booking)
            _take(store, places[choice], hours, booking.id)
            place, purpose = (command.room, command.day, command.start, duration), booking.asked.purpose
            changed = msgspec.structs.replace(
                booking,
                by=id,
                ms=context.now_ms,
                secretary=person.id,
                first_name=person.first_name,
                asked=Reserve(*place, purpose, command.alternatives),
                choice=choice,
                state=CHANGED,
                lost=lost,
            )
            store.table(Entry).put(changed)
            room, day, hour = places[choice]
            _tell_owner(context, booking, person, f"changed to {room} on {day} at {clock(hour)}")
        if lost is None:
            return Changed(booking.id, command.room, command.day, command.start, duration, None)
        if choice < 0:
            _tell(context, person, f"{booking.id} stays as it was", places[0], lost)
            wanted = (command.room, command.day, command.start, duration)
            return NotChanged(id, booking.id, *wanted, len(places) - 1, lost)
        room, day, hour = places[choice]
        _tell(context, person, f"{booking.id} is moved to {room} on {day} at {clock(hour)}", places[0], lost)
        return Changed(booking.id, room, day, clock(hour), duration, lost)

    def _cancel(self, store: TupleStore, command: Cancel, context: Context, person: Person) -> Reply:
        booking = self._own(store, command.id, person)
        if not isinstance(booking, Entry):
            return booking
        self._leave(store, booking)
        cancelled = msgspec.structs.replace(booking, by=context.id, choice=NO_CHOICE, state=CANCELLED)
        store.table(Entry).put(cancelled)
        _tell_owner(context, booking, person, "cancelled")
        return Cancelled(booking.id)

    def _own(self, store: TupleStore, id: str, person: Person) -> Entry | Refusal:
        """The reservation of the person's department that the id means: a change's means what it changes."""
        entries = store.table(Entry)
        entry = entries.get(id)
        if entry is not None and type(entry.asked) is Change:
            entry = entries.get(entry.asked.id)
        if entry is None:
            return NoSuchRequest(id)
        if entry.department != person.department:
            return NotYours(id, entry.department)
        return IsCancelled(entry.id) if entry.state == CANCELLED else entry

    def _leave(self, store: TupleStore, booking: Entry) -> None:
        """Free what a reservation holds."""
        if booking.choice == NO_CHOICE:
            return
        places = self.house.places(booking.asked)
        assert not isinstance(places, Impossible)
        room, day, first = places[booking.choice]
        meetings = store.table(MeetingHour)
        for hour in range(first, first + self.house.hours(booking.asked.duration)):
            meetings.delete((room, day, hour))

    def _lost(self, store: TupleStore, place: Place, hours: int, own: str, context: Context) -> Lost:
        """To whom a place is lost that is not free: the earliest entry among those in the way."""
        meetings, entries = store.table(MeetingHour), store.table(Entry)
        winner: Entry | None = None
        room, day, first = place
        for hour in range(first, first + hours):
            row = meetings.get(place if hour == first else (room, day, hour))
            if row is not None and row.id != own:
                holder = entries.get(row.id)
                if winner is None or (holder is not None and _stamp(holder) < _stamp(winner)):
                    winner = holder
        if winner is None:
            raise BrokenInvariant(f"{room} on {day} at {clock(first)} is taken, and by no request on record")
        late = False
        if context.late and context.person is not None:
            late = _stamp(winner) > (context.now_ms, context.person.first_name, _replica(context.id))
        tie = winner.ms == context.now_ms and not late
        return Lost(winner.id, winner.first_name, winner.department, winner.ms, tie, late)


def _no_secretary(person: Person | None) -> NotASecretary:
    return NotASecretary("", "") if person is None else NotASecretary(person.id, person.department)


def _first_free(store: TupleStore, places: list[Place], hours: int, own: str) -> int:
    """The number of the first place that is free, but for what `own` holds; `NO_CHOICE` if none is."""
    get = store.table(MeetingHour).get
    for choice, place in enumerate(places):
        row = get(place)
        if row is not None and row.id != own:
            continue
        if hours == 1:
            return choice
        room, day, hour = place
        for later in range(hour + 1, hour + hours):
            row = get((room, day, later))
            if row is not None and row.id != own:
                break
        else:
            return choice
    return NO_CHOICE


def _take(store: TupleStore, place: Place, hours: int, id: str) -> None:
    room, day, hour = place
    put = store.table(MeetingHour).put
    for taken in range(hour, hour + hours):
        put(MeetingHour(room, day, taken, id))


def _record(
    store: TupleStore,
    id: str,
    context: Context,
    person: Person,
    command: Reserve | Change,
    choice: int,
    state: str,
    lost: Lost | None,
) -> None:
    """Put a new request on record, with what became of it."""
    ms, who, first_name = context.now_ms, person.id, person.first_name
    store.table(Entry).put(Entry(id, id, ms, who, first_name, person.department, command, choice, state, lost))


def _stamp(entry: Entry) -> tuple[int, str, str]:
    """The accept stamp of what an entry says, as far as the app knows it: of the write that made it so."""
    return entry.ms, entry.first_name, _replica(entry.by)


def _replica(id: str) -> str:
    """Where a write was accepted, by its id."""
    return id.rpartition("-")[0]


def _tell(context: Context, person: Person, what: str, place: Place, lost: Lost) -> None:
    """The notice to whoever lost."""
    room, day, hour = place
    context.notify(person.id, f"{what}. {room} on {day} at {clock(hour)}: {lost.text()}.")


def _tell_owner(context: Context, booking: Entry, person: Person, what: str) -> None:
    """The notice to whose reservation it is, when a colleague has done something to it."""
    if booking.secretary != person.id and type(booking.asked) is Reserve:
        who = person.first_name or person.id
        context.notify(booking.secretary, f'{booking.id} ("{booking.asked.purpose}") is {what} by {who}.')
