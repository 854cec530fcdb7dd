"""The kinds of words that commands are made of, each with what the door refuses.

A bound that is cheap to check (a length, a range) stands in `msgspec.Meta`, and so is checked
again wherever bytes become a command. What needs a look at every character is checked once, at the
door (`server.grammar`, the HTTP API), by the function that `check_of` finds: replicas do not repeat
it, and an app's `apply` stays total without it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

NAME_CHARACTERS_MAX = 64
TEXT_CHARACTERS_MAX = 4_000

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX, extra={"kind": "name"})]
"""What a reservation is made under: printable, not blank at either end. See `check_name`."""

Text = Annotated[str, Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX, extra={"kind": "text"})]
"""Free text: as the last field of a command it takes the rest of the line."""

Day = Annotated[str, Meta(min_length=10, max_length=10, extra={"kind": "day"})]
"""A day of the calendar, `2026-12-01`. See `parse_day`."""

Time = Annotated[str, Meta(min_length=5, max_length=5, extra={"kind": "time"})]
"""A time of day in 24 hours, `09:00`. See `parse_time`."""

Duration = Annotated[str, Meta(min_length=2, max_length=3, extra={"kind": "duration"})]
"""Whole hours, `2h`. See `parse_duration`."""

PLACE_CHARACTERS_MAX = NAME_CHARACTERS_MAX + 17
Place = Annotated[str, Meta(min_length=7, max_length=PLACE_CHARACTERS_MAX, extra={"kind": "place"})]
"""A room at a time, `Oak@09:00`, also of another day, `Oak@2026-12-02@09:00`. See `parse_place`."""

# Characters that count as letters, marks or symbols but are drawn as nothing (a part of Unicode's
# Default_Ignorable_Code_Point, and the blank braille cell): two names that differ only in them look equal.
_INVISIBLE = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F),
        (0x115F, 0x1160),
        (0x17B4, 0x17B5),
        (0x180B, 0x180F),
        (0x2800, 0x2800),
        (0x3164, 0x3164),
        (0xFE00, 0xFE0F),
        (0xFFA0, 0xFFA0),
        (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)


def shown(text: str, characters_max: int = 40) -> str:
    """`text` in single quotes, cut and escaped so that it is safe to print in one line.

    Control characters, bidirectional overrides and anything else unprintable become escapes.
    """
    cut = text[:characters_max]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return f"'{safe}'…" if len(text) > characters_max else f"'{safe}'"


def check_name(text: str) -> str | None:
    """None if `text` can be a name, else why not, as the end of a sentence that names the field."""
    if not text:
        return "must not be empty"
    if len(text) > NAME_CHARACTERS_MAX:
        return f"must have at most {NAME_CHARACTERS_MAX} characters, not {len(text)}"
    if text.isascii() and text.isprintable() and text == text.strip():
        return None
    for character in text:
        if not character.isprintable() or character in _INVISIBLE:
            return f"must have no invisible characters such as U+{ord(character):04X}"
    if text != text.strip():
        return "must not begin or end with a blank"
    if unicodedata.combining(text[0]):
        return f"must not begin with a combining mark, as U+{ord(text[0]):04X} is"
    if not unicodedata.is_normalized("NFC", text):
        return "must be written in composed characters (Unicode NFC)"
    return None


def check_text(text: str) -> str | None:
    """None if `text` can be free text, else why not."""
    if not text.strip():
        return "must not be empty"
    if len(text) > TEXT_CHARACTERS_MAX:
        return f"must have at most {TEXT_CHARACTERS_MAX} characters, not {len(text)}"
    forbidden = forbidden_character(text)
    return forbidden and f"must have no control characters such as {forbidden}"


def check_exact_text(text: str) -> str | None:
    """None if `text` can be free text as a program gives it, of several lines and of any characters, else why not."""
    if not text.strip():
        return "must not be empty"
    if len(text) > TEXT_CHARACTERS_MAX:
        return f"must have at most {TEXT_CHARACTERS_MAX} characters, not {len(text)}"
    found = _NO_TEXT.search(text)
    return found and f"must have no control characters such as U+{ord(found[0]):04X}"


_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def forbidden_character(text: str) -> str | None:
    """The first character that may stand in no line at all, as `U+202E`, or None.

    Control characters and the bidirectional controls forge what a reader sees, and unassigned ones
    mean nothing yet. Joiners (the rest of category Cf) belong to many scripts' plain text.
    """
    if text.isprintable():
        return None
    for character in text:
        if unicodedata.category(character) in _FORBIDDEN_CATEGORIES or character in _BIDI_CONTROLS:
            return f"U+{ord(character):04X}"
    return None


_FORBIDDEN_CATEGORIES = ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_DURATION = re.compile(r"(0|[1-9][0-9]?)h", re.ASCII)
_YEARS = range(1970, 9999)
"""Years whose every moment, in every zone, can be counted in Unix time and written down."""


@lru_cache(maxsize=4096)
def parse_day(text: str) -> date | None:
    """The day that `2026-12-01` writes, or None if the calendar has none such."""
    if not _DAY.fullmatch(text) or int(text[:4]) not in _YEARS:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def parse_time(text: str) -> tuple[int, int] | None:
    """(hour, minute) of `09:00`, or None."""
    found = _TIME.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else None


def parse_duration(text: str) -> int | None:
    """The hours of `2h`, also of `0h`, or None."""
    found = _DURATION.fullmatch(text)
    return int(found[1]) if found else None


@lru_cache(maxsize=4096)
def parse_place(text: str) -> tuple[str, str, str] | None:
    """(room, day, time) of `Oak@2026-12-02@09:00` or `Oak@09:00`, where the day is "", or None.

    The day is one of the calendar, the time one of the clock; whether there is such a room is not known here.
    """
    room, at, rest = text.partition("@")
    day, second_at, time = rest.rpartition("@")
    if not at or check_name(room) is not None or parse_time(time) is None:
        return None
    return None if second_at and parse_day(day) is None else (room, day, time)


def check_day(text: str) -> str | None:
    """None if `text` is a day, else why not."""
    return None if parse_day(text) else f"must be a day of the calendar such as 2026-12-01, not {shown(text)}"


def check_time(text: str) -> str | None:
    """None if `text` is a time, else why not."""
    return None if parse_time(text) else f"must be a time such as 09:00, not {shown(text)}"


def check_duration(text: str) -> str | None:
    """None if `text` is a duration, else why not."""
    return None if parse_duration(text) else f"must be whole hours such as 2h, not {shown(text)}"


def check_place(text: str) -> str | None:
    """None if `text` is a room at a time, else why not."""
    wanted = "must be a room at a time such as Oak@09:00 or Oak@2026-12-02@09:00"
    return None if parse_place(text) else f"{wanted}, not {shown(text)}"


_CHECKS: dict[str, Callable[[str], str | None]] = {
    "name": check_name,
    "text": check_text,
    "day": check_day,
    "time": check_time,
    "duration": check_duration,
    "place": check_place,
}


def check_of(kind: str | None) -> Callable[[str], str | None] | None:
    """The door's check for a kind of word (`Meta.extra["kind"]`), if it has one."""
    return _CHECKS.get(kind) if kind is not None else None
