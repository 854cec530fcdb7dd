"""Each request as a Bayou write: an update, a dependency check and a merge procedure, all of them data.

D. Terry et al., *Managing Update Conflicts in Bayou*, SOSP 1995, section 4; in the words of the
seed: the check is a query for meetings in the room on the day between start and end, expected to
find none; the merge procedure tries one alternative after the other, each with a check of its own;
if none will do, the update is the user's own, which stays on record as not granted.

`resolve` evaluates such a write over any tuple store and knows nothing of rooms. `Rooms.apply`
comes to the same by looking at the rows' keys, and keeps the record (`Entry`) beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.apps.rooms.house import House, Place
from holdfast.apps.rooms.replies import Impossible
from holdfast.apps.rooms.rows import NO_CHOICE, MeetingHour
from holdfast.apps.rooms.words import Change, Reserve
from holdfast.kernel.store import Condition, Row, Select

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore


class Check(msgspec.Struct, frozen=True):
    """A dependency check: it holds where the query gives exactly the rows expected."""

    query: Select
    expected: tuple[Any, ...] = ()


class Update(msgspec.Struct, frozen=True):
    """What is done to the store: the rows that `removes` finds are removed, then `puts` are put."""

    removes: tuple[Select, ...] = ()
    puts: tuple[Any, ...] = ()


class Alternative(msgspec.Struct, frozen=True):
    """One step of a merge procedure: another update, with the check that it needs."""

    check: Check
    update: Update


class BayouWrite(msgspec.Struct, frozen=True):
    """A whole write: the update if its check holds, else the first alternative whose check holds, else nothing."""

    update: Update
    check: Check
    merge: tuple[Alternative, ...]


def resolve(store: TupleStore, write: BayouWrite) -> int:
    """Carry a write out. Returns what was done: 0 for the update wanted, the number of the alternative
    from 1, or `NO_CHOICE`."""
    steps = (Alternative(write.check, write.update), *write.merge)
    for number, step in enumerate(steps):
        if tuple(store.select(step.check.query)) == step.check.expected:
            _carry_out(store, step.update)
            return number
    return NO_CHOICE


def _carry_out(store: TupleStore, update: Update) -> None:
    for question in update.removes:
        for row in store.select(question):
            table = store.table(type(row))
            table.delete(table.key_of(row))
    for row in update.puts:
        new: Row = row
        store.table(type(new)).put(new)


def bayou_write(house: House, command: Reserve | Change, id: str) -> BayouWrite | Impossible:
    """A request as a Bayou write. `id`: the reservation's, which for a change is the one that it changes."""
    places = house.places(command)
    if isinstance(places, Impossible):
        return places
    hours = house.hours(command.duration)
    own = id if isinstance(command, Change) else ""
    leave = (Select(MeetingHour.table, where=(Condition("id", "=", own),)),) if own else ()
    steps = [
        Alternative(dependency_check(place, hours, own), Update(leave, _meeting(place, hours, id))) for place in places
    ]
    return BayouWrite(steps[0].update, steps[0].check, tuple(steps[1:]))


def dependency_check(place: Place, hours: int, own: str = "") -> Check:
    """No meeting in the room on the day between start and end, but for the reservation `own` that is to move."""
    room, day, start = place
    where = (
        Condition("room", "=", room),
        Condition("day", "=", day),
        Condition("hour", "in", tuple(range(start, start + hours))),
    )
    return Check(Select(MeetingHour.table, where=(*where, Condition("id", "!=", own)) if own else where))


def _meeting(place: Place, hours: int, id: str) -> tuple[MeetingHour, ...]:
    room, day, start = place
    return tuple(MeetingHour(room, day, hour, id) for hour in range(start, start + hours))
