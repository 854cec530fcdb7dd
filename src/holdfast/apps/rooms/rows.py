"""The rows of the rooms: what is taken, and what became of each request."""

from __future__ import annotations

import msgspec

from holdfast.apps.rooms.times import utc
from holdfast.apps.rooms.words import Change, Reserve
from holdfast.kernel.store import Row

GRANTED = "granted"
MOVED = "moved"
NOT_GRANTED = "not granted"
CHANGED = "changed"
CANCELLED = "cancelled"

NO_CHOICE = -1


class MeetingHour(Row, frozen=True):
    """One hour of a room that a meeting takes. `hour`: when it begins, 9 for 09:00. `id`: the meeting's request."""

    table = "meetings"
    key = ("room", "day", "hour")

    room: str
    day: str
    hour: int
    id: str


class Lost(msgspec.Struct, frozen=True, gc=False):
    """To whom a request lost the place that it wanted first: the earliest of those in its way.

    `id`: the other's request; `ms`: the accept stamp of the other's entry, Unix milliseconds. `tie`: both
    were entered in the same millisecond, and the names decided. `late`: the own entry was the earlier
    one, but came after the other's had been confirmed.
    """

    id: str
    first_name: str
    department: str
    ms: int
    tie: bool = False
    late: bool = False

    def text(self) -> str:
        """The reason as the end of a sentence."""
        who, when = f"{self.first_name} ({self.department})", utc(self.ms)
        if self.late:
            return f"late: {who}, entered at {when}, had been confirmed before it came"
        if self.tie:
            return f"{who} entered at {when} too and comes first by name"
        return f"{who} was earlier, at {when}"


class Entry(Row, frozen=True):
    """What became of a request.

    `by`: the write that made it so: the request itself, or a later change or cancellation. `ms`: the
    accept stamp under which it has or wants its place, of the request or its latest change. `secretary`
    (a person's id), `first_name`, `department`: whose it is. `asked`: what is wanted now; for a change
    the change itself, whose `id` is the reservation's. `choice`: which of it is granted, 0 for what is
    wanted first, 1 for the first alternative and so on, or `NO_CHOICE`. `lost`: why it is not 0.
    """

    table = "entries"
    key = ("id",)

    id: str
    by: str
    ms: int
    secretary: str
    first_name: str
    department: str
    asked: Reserve | Change
    choice: int
    state: str
    lost: Lost | None


class Building(Row, frozen=True):
    """The one row about the whole building, as it was when the data was begun."""

    table = "building"
    key = ("id",)

    id: int
    rooms: tuple[str, ...]
    departments: tuple[str, ...]
    opens: int
    closes: int
