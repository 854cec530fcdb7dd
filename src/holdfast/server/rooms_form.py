"""The form of the rooms page: what was typed, kept as it was typed, and the commands that it makes."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
import unicodedata
from collections.abc import Mapping
from datetime import timedelta

import msgspec

from holdfast.apps.rooms.words import PURPOSE_CHARACTERS_MAX, Change, Reserve
from holdfast.apps.values import PLACE_CHARACTERS_MAX, check_text, parse_day, parse_place
from holdfast.server.fields import Refused, fields_of

WISHES_MAX = 6
"""The first choice and five alternatives."""
ROWS_SHOWN = 3
WEEKS_MAX = 52
_REQUEST = re.compile(r"([0-9a-f]{32})\.([0-9]{13})")
_RESERVE = {field.name: field for field in fields_of(Reserve)}


class Wish(msgspec.Struct, frozen=True):
    """One choice, as typed."""

    day: str
    room: str = ""
    start: str = ""

    @property
    def place(self) -> str:
        """As the rooms write it."""
        return f"{self.room}@{self.day}@{self.start}"


def new_request() -> str:
    """What makes a form sent twice one request: 128 random bits and the time of birth."""
    return f"{secrets.token_hex(16)}.{time.time_ns() // 1_000_000}"


def client_of(request: str, content: bytes) -> str | None:
    """The client id under which a form's commands are executed once. It depends on what the form says,
    too: who goes back and sends the form with other words means another request. None for no request of ours."""
    found = _REQUEST.fullmatch(request)
    if found is None:
        return None
    digest = hashlib.sha256(found[1].encode() + content).hexdigest()
    return f"page-{digest[:32]}.{found[2]}"


class Draft:
    """A form that is being filled in. `wrong`: by field, what is wrong with it, in words for people."""

    def __init__(self, day: str, *, change: str = "") -> None:
        self.request = new_request()
        self.change = change
        self.hours = "1"
        self.purpose = ""
        self.weeks = "1"
        self.wishes: list[Wish] = []
        self.wrong: dict[str, str] = {}
        self._day = day

    @classmethod
    def of(cls, fields: Mapping[str, str], day: str) -> Draft:
        """What the fields say. `day`: the one shown, which new choices begin with."""
        draft = cls(day, change=fields.get("change", "")[:96])
        draft.request = fields.get("request") or draft.request
        draft.hours = fields.get("hours", draft.hours)[:8]
        draft.purpose = unicodedata.normalize("NFC", fields.get("purpose", "")[: 2 * PURPOSE_CHARACTERS_MAX].strip())
        draft.weeks = fields.get("weeks", draft.weeks)[:8]
        for number in range(1, WISHES_MAX + 1):
            typed = (fields.get(f"{name}{number}", "")[:PLACE_CHARACTERS_MAX] for name in ("day", "room", "start"))
            wish = Wish(*typed)
            if wish.room or wish.start:
                draft.wishes.append(wish)
        return draft

    def pick(self, place: str) -> None:
        """A free hour was chosen in the schedule: it becomes the next choice, or is taken back."""
        parsed = parse_place(place[:PLACE_CHARACTERS_MAX])
        if parsed is None:
            return
        room, day, start = parsed
        wish = Wish(day or self._day, room, start)
        if wish in self.wishes:
            self.wishes.remove(wish)
        elif len(self.wishes) < WISHES_MAX:
            self.wishes.append(wish)
        else:
            self.wrong["wishes"] = f"There are {WISHES_MAX} choices already; take one back first."

    def blame(self, field: str, why: str) -> None:
        """Say what is wrong with a field, or with the "form"; the first word about each stands."""
        self.wrong.setdefault(field, why)

    @property
    def action(self) -> str:
        """What the form's main button does."""
        return "change" if self.change else "reserve"

    @property
    def rows(self) -> list[Wish]:
        """The choices, and some empty ones to fill in."""
        empty = max(ROWS_SHOWN - len(self.wishes), 1)
        return [*self.wishes, *(Wish(self._day) for _ in range(empty))][:WISHES_MAX]

    def number_of(self, room: str, day: str, start: str) -> int:
        """The number of a place among the choices, 0 if it is none."""
        wish = Wish(day, room, start)
        return self.wishes.index(wish) + 1 if wish in self.wishes else 0

    def commands(self) -> list[Reserve | Change]:
        """One command, or one for each week; none when something is `wrong`."""
        self.wrong = {}
        why = None if self.change else check_text(self.purpose)
        if why is not None:
            self.wrong["purpose"] = f"The purpose {why}."
        elif len(self.purpose) > PURPOSE_CHARACTERS_MAX:
            self.wrong["purpose"] = f"The purpose must have at most {PURPOSE_CHARACTERS_MAX} characters."
        if not self.wishes:
            self.wrong["wishes"] = "Choose a room and a start."
        weeks = int(self.weeks) if self.weeks.isascii() and self.weeks.isdigit() else 0
        if not 1 <= weeks <= WEEKS_MAX or (self.change and weeks > 1):
            self.wrong["weeks"] = f"The weeks must be 1 to {WEEKS_MAX}."
        if self.wrong:
            return []
        try:
            return [self._command(week) for week in range(weeks)]
        except OverflowError:
            self.wrong["weeks"] = "The calendar does not go so far."
        return []

    def _command(self, week: int) -> Reserve | Change:
        """The request of one week, counted from 0."""
        first, *others = [self._checked(place, wish, week) for place, wish in enumerate(self.wishes, 1)]
        where = (first.room, first.day, first.start, self._value("duration", f"{self.hours}h", "hours"))
        alternatives = tuple(wish.place for wish in others)
        if self.change:
            return Change(self.change, *where, alternatives)
        return Reserve(*where, self.purpose, alternatives)

    def _checked(self, place: int, wish: Wish, week: int) -> Wish:
        """A choice with the values that the rooms' grammar demands, in the week's turn."""
        for name in ("room", "day", "start"):
            self._value(name, getattr(wish, name), "wishes", f"Choice {place}: ")
        day = parse_day(wish.day)
        return wish if day is None else Wish((day + timedelta(weeks=week)).isoformat(), wish.room, wish.start)

    def _value(self, name: str, word: str, field: str, where: str = "") -> str:
        try:
            return str(_RESERVE[name].value(word))
        except Refused as refused:
            self.blame(field, f"{where}{refused}")
        return word
