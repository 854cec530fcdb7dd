"""The rooms on the command line: the form of seed 000 at the prompt, weekly repeats, tables.

At the prompt the day stands as numbered cells, and `12 15 3` books the first of them that holds, in
that order: one request, with the others as its alternatives.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from functools import partial
from typing import Any

from holdfast.apps.values import parse_day, parse_place
from holdfast.client.errors import Misuse
from holdfast.client.lines import split
from holdfast.client.outcomes import Answer
from holdfast.client.speak import RETRY_HINT, Speaker, say
from holdfast.client.wording import failed
from holdfast.kernel.errors import HoldfastError

WEEKS_MAX = 104
"""The rooms take no request that lies further ahead than two years."""
DURATION = "1h"
PURPOSE = "Meeting"
"""What a booking by cell numbers is for when nothing else is said."""

_DURATION_WORD = re.compile(r"[0-9]{1,2}h")


class RoomsSpeaker(Speaker):
    """As any service, with weekly repeats; to a person at a prompt also the day's form."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._day = ""
        """The day that is shown; "" until it is known which day it is there."""
        self._cells: list[dict[str, Any]] = []
        self._is_stale = False

    def requests(self, words: list[str]) -> list[list[str]]:
        """With `--weekly N` one request a week."""
        return weekly(words)

    def typed(self, line: str) -> bool:
        """Also `--weekly`, and at the prompt the words of the form."""
        words = line.split()
        if self._at_prompt and (words[0].isdecimal() or words[0] in ("day", "next", "prev", "today")):
            return self._book(words) if words[0].isdecimal() else self._turn_to(words)
        if self._at_prompt and words[0] == "cells" and len(words) == 2:  # numbers mean the cells that are shown last
            return self._turn_to(["day", words[1]])
        self._is_stale = self._is_stale or words[0] in ("reserve", "change", "cancel", "login", "view")
        if words[0] != "reserve" or "--weekly" not in words:
            return super().typed(line)
        try:
            requests = weekly(split(line))
        except Misuse as error:
            say(failed(error))
            return False
        outcomes = [self.show(partial(self.service.call, *request)) for request in requests]
        return all(outcomes)

    def draw(self, answer: Answer) -> bool:
        """The rooms' answers are tables."""
        from holdfast.client.tables import draw

        return draw(answer.type, answer.reply, answer.warning)

    def usages(self, help_text: str) -> list[str]:
        """Also the repeat, and at the prompt the form."""
        said = super().usages(help_text)
        repeated = [f"{usage} [--weekly <weeks>]" if usage.startswith("reserve ") else usage for usage in said]
        form = ["<cell>... [<hours>h] [<purpose ...>]", "day <day>", "next", "prev", "today"]
        return [*repeated, *(form if self._at_prompt else [])]

    # -- the form

    def greet(self) -> None:
        """How the form is used, and today."""
        print("Numbers book the first cell of them that holds: `12 15 3`, or `12 15 3 2h Budget`.")
        print("`day 2026-12-01`, `next`, `prev`, `today` turn the page; `mine`, `help`; Ctrl-D or `quit` ends.")
        self._is_stale = True

    def before_prompt(self) -> bool:
        """What has changed, and then the day anew where it may look different now."""
        changed = super().before_prompt()
        if changed or self._is_stale:
            self._show_day(self._day)
        return changed

    def _show_day(self, day: str) -> bool:
        """Ask for the cells of a day ("" for today, which the server knows) and draw them."""
        from holdfast.client.tables import draw

        self._is_stale = False
        try:
            answer = self.ask(lambda service: service.call("cells", *([day] if day else [])))
        except HoldfastError as error:
            say(failed(error))
            return False
        if not answer.ok:
            print(answer)
            return False
        self._day, self._cells = answer.reply["day"], answer.reply["cells"]
        print()
        draw(answer.type, answer.reply, answer.warning)
        return True

    def _turn_to(self, words: list[str]) -> bool:
        shown = parse_day(self._day)
        if words[0] in ("next", "prev") and shown is not None and len(words) == 1:
            step = timedelta(days=1 if words[0] == "next" else -1)
            return self._show_day((shown + step).isoformat())
        if words[0] == "today" and len(words) == 1:
            return self._show_day("")
        if words[0] == "day" and len(words) == 2:
            return self._show_day(words[1])
        say("Failed: usage: day 2026-12-01, next, prev, today")
        return False

    def _book(self, words: list[str]) -> bool:
        """Book the first of the numbered cells that holds."""
        try:
            request = request_for_cells(words, self._cells, self._day)
        except Misuse as error:
            say(failed(error))
            return False
        self._is_stale = True
        return self.show(lambda: self.service.call(*request), hint=RETRY_HINT)


def request_for_cells(words: list[str], cells: list[dict[str, Any]], day: str) -> list[str]:
    """The request that `12 15 3 [2h] [purpose ...]` makes of a day's cells. Raises `Misuse`."""
    if not cells:
        raise Misuse("no numbered cells are shown; `today` or `day 2026-12-01` shows them")
    numbers = []
    rest = list(words)
    while rest and rest[0].isdecimal():
        numbers.append(int(rest.pop(0)))
    for number in numbers:
        if not 1 <= number <= len(cells):
            raise Misuse(f"there is no cell {number}; they are numbered from 1 to {len(cells)}")
    duration = rest.pop(0) if rest and _DURATION_WORD.fullmatch(rest[0]) else DURATION
    first, *others = (cells[number - 1] for number in dict.fromkeys(numbers))
    request = ["reserve", first["room"], day, first["start"], duration, " ".join(rest) or PURPOSE]
    for other in others:
        request += ["--or", f"{other['room']}@{other['start']}"]
    return request


def weekly(words: list[str]) -> list[list[str]]:
    """One request a week for `reserve ... --weekly N`: the same weekday and hours, alternatives too.

    Any other words are one request, as they are. Raises `Misuse`.
    """
    if words[:1] != ["reserve"] or "--weekly" not in words:
        return [words]
    place = words.index("--weekly")
    count = words[place + 1] if place + 1 < len(words) else ""
    if not (count.isdecimal() and 1 <= int(count) <= WEEKS_MAX):
        raise Misuse(f"--weekly takes how many weeks, 1 to {WEEKS_MAX}")
    rest = words[:place] + words[place + 2 :]
    if "--weekly" in rest:
        raise Misuse("--weekly is given twice")
    if len(rest) < 3 or parse_day(rest[2]) is None:
        raise Misuse("--weekly needs the first day: reserve <room> <day> <start> <duration> <purpose> --weekly 6")
    return [
        [*rest[:2], _later(rest[2], week), *(_places_later(word, week) for word in rest[3:])]
        for week in range(int(count))
    ]


def _places_later(word: str, week: int) -> str:
    """The alternatives in a word some weeks later; only those that name a day of their own are others then."""
    places = [parse_place(text) for text in word.split(",")]
    if not all(places):
        return word
    return ",".join(
        f"{room}@{_later(day, week)}@{time}" if day else f"{room}@{time}" for room, day, time in filter(None, places)
    )


def _later(day: str, weeks: int) -> str:
    return (date.fromisoformat(day) + timedelta(weeks=weeks)).isoformat()
