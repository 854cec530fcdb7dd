"""What people say to the rooms: the commands and the questions."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from holdfast.apps.values import Day, Duration, Name, Place, Time
from holdfast.kernel.contracts import Command, Query

PURPOSE_CHARACTERS_MAX = 200
ALTERNATIVES_MAX = 32

Purpose = Annotated[str, Meta(min_length=1, max_length=PURPOSE_CHARACTERS_MAX, extra={"kind": "text"})]
Alternatives = Annotated[tuple[Place, ...], Meta(max_length=ALTERNATIVES_MAX, extra={"option": "or"})]
OptionalDay = Annotated[str, Meta(max_length=10, extra={"kind": "day"})]
RequestId = Annotated[str, Meta(min_length=1, max_length=96)]
"""`biology-42`, as the reply to a request tells it."""


class Reserve(Command, frozen=True, tag="reserve"):
    """Reserve a room for whole hours, or else the first alternative that is free."""

    room: Name
    day: Day
    start: Time
    duration: Duration
    purpose: Purpose
    alternatives: Alternatives = ()


class Change(Command, frozen=True, tag="change"):
    """Move a reservation of the own department; it stays where it is until the new place is granted."""

    id: RequestId
    room: Name
    day: Day
    start: Time
    duration: Duration
    alternatives: Alternatives = ()


class Cancel(Command, frozen=True, tag="cancel"):
    """Give up a reservation, or a request, of the own department."""

    id: RequestId


class AskSchedule(Query, frozen=True, tag="schedule"):
    """Tell who has which room: on a day all rooms, or of a room the week that begins with the day (or has today)."""

    about: Annotated[Name, Meta(description="a day or a room")]
    day: OptionalDay = ""


class AskMine(Query, frozen=True, tag="mine"):
    """Tell the requests of the own department, the newest first, those older than the given one."""

    before: Annotated[str, Meta(max_length=96)] = ""


class Show(Query, frozen=True, tag="show"):
    """Tell what became of one request."""

    id: RequestId


class AskCells(Query, frozen=True, tag="cells"):
    """Tell the hours of all rooms on a day (or today), numbered room by room from 1."""

    day: OptionalDay = ""
