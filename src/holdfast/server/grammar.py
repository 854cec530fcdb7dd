"""The line protocol's grammar, derived from an app's commands and queries.

    line     = [ "@" client ":" number [ "/" lowest ] blank ] word { blank argument }
    argument = value | "--" option blank value

A word names a command; its fields are the arguments, in order. Words are split at blanks as a shell
does, with double quotes and backslashes; a list is one word with commas (`1,2,3`); free text takes
the rest of the line, up to an option. A field with an option (see `server.fields`) may be written with
it, wherever an argument may stand; of a command that has options, what else would be taken for one
is quoted. The struct itself (`msgspec.Meta` bounds, the kinds of `apps.values`) says what
a value may be.

A line that begins with `[` (behind the identity, if there is one) is JSON: see `server.json_lines`.

`Grammar.parse` never raises: whatever the bytes, it gives a `Request`, a `Control` (a word of the
port itself, executed by the server) or a `Malformed` refusal of one safe line.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import msgspec

from holdfast.apps.values import TEXT_CHARACTERS_MAX, forbidden_character, shown
from holdfast.kernel.contracts import Command, Person, Query, Reply, Request
from holdfast.kernel.replies import Malformed
from holdfast.server import json_lines
from holdfast.server.controls import CONTROLS, Control, Helped
from holdfast.server.fields import Field, Refused, fields_of

LINE_BYTES_MAX = 65_536
"""Default limit of one request line, without its line end."""


Parsed = Request | Control | Malformed


def line_too_long(bytes_max: int) -> Malformed:
    """The answer to a line over the limit, also for a server that never saw its end."""
    return Malformed(f"the line is longer than {bytes_max} bytes.")


Check = Callable[[str], str | None]
_Quick = tuple[type[msgspec.Struct], int, int, tuple[int, ...], tuple[tuple[int, Check], ...], int]
"""The struct, how few and how many words, the places of numbers, what other places are checked by, and after how
many splits free text follows (-1: there is none)."""


class _Word:
    """One word of the language: the struct it makes and its fields."""

    __slots__ = (
        *("about", "behind_text", "fields", "has_text", "maximum", "minimum", "number_places", "options", "struct"),
        *("usage", "word"),
    )

    def __init__(self, struct: type[msgspec.Struct]) -> None:
        self.struct = struct
        self.word = str(struct.__struct_config__.tag)
        self.fields: tuple[Field, ...] = fields_of(struct)
        self.options = {f"--{field.option}": field for field in self.fields if field.option is not None}
        names = "|".join(map(re.escape, self.options))
        self.behind_text = re.compile(f" +(?=(?:{names})(?: |$))" if names else "(?!)")
        self.minimum = 1 + sum(field.required for field in self.fields)
        self.maximum = 1 + len(self.fields)
        self.has_text = any(field.is_text for field in self.fields)
        self.number_places = tuple(place for place, field in enumerate(self.fields, 1) if field.is_number)
        as_written = sorted(self.fields, key=lambda field: (field.is_text, not (self.has_text and field.option)))
        self.usage = " ".join([self.word, *(field.usage for field in as_written)])
        self.about = (struct.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")

    @property
    def quick(self) -> _Quick | None:
        """How lines are read that blanks alone split and one conversion makes; None if there are no such lines."""
        place = next((place for place, field in enumerate(self.fields) if field.is_text), -1)
        fields = self.fields if place < 0 else self.fields[:place]
        if (place < 0 and self.options) or any(field.is_list or not (field.required or place < 0) for field in fields):
            return None
        numbers = tuple(number for number in self.number_places if number <= len(fields))
        checks = tuple((number, field.check) for number, field in enumerate(fields, 1) if field.check is not None)
        least, most = (place + 2, place + 2) if place >= 0 else (self.minimum, self.maximum)
        return self.struct, least, most, numbers, checks, place + 1 if place >= 0 else -1

    def option_at(self, text: str, place: int) -> Field | None:
        """The option that stands at this place, unquoted; raises `Refused` for one that the word does not have."""
        if not self.options or not text.startswith("--", place):
            return None
        end = text.find(" ", place)
        name = text[place:end] if end >= 0 else text[place:]
        field = self.options.get(name)
        if field is None:
            raise Refused(f"{self.word} has no option {shown(name)}; usage: {self.usage}.")
        if end < 0:
            raise Refused(f"no value follows {name}; usage: {self.usage}.")
        return field


class Grammar:
    """What one port understands. Immutable once made; one serves every connection."""

    def __init__(
        self,
        commands: Iterable[type[Command]] = (),
        queries: Iterable[type[Query]] = (),
        *,
        line_bytes_max: int = LINE_BYTES_MAX,
    ) -> None:
        self.line_bytes_max = line_bytes_max
        self._words: dict[str, _Word] = {}
        for struct in (*commands, *queries, *CONTROLS):
            word = _Word(struct)
            if word.word in self._words:
                raise ValueError(f"the word {word.word!r} is claimed twice, the second time by {struct.__name__}")
            self._words[word.word] = word
        self._quick = {
            name: word.quick
            for name, word in self._words.items()
            if word.quick is not None and not issubclass(word.struct, Control)
        }

    @property
    def words(self) -> tuple[str, ...]:
        """Every word this port knows, the app's own first."""
        return tuple(self._words)

    def usage(self, word: str) -> str:
        """How `word` is written, as `reserve <name> <count>`."""
        return self._words[word].usage

    def help(self, word: str = "") -> Reply:
        """The answer to `help` and `help WORD`."""
        if not word:
            usages = "; ".join(known.usage for known in self._words.values())
            return Helped(f"{usages}. A line may begin with @client:number to make a retry exact.")
        known = self._words.get(word)
        return Helped(f"{known.usage}: {known.about}") if known else Malformed(self._unknown(word))

    def parse(self, line: bytes, person: Person | None = None) -> Parsed:
        """One line without its end (a trailing `\\r` is ignored). `person` goes into the request."""
        if len(line) > self.line_bytes_max:
            return line_too_long(self.line_bytes_max)
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            return Malformed(f"the line is not UTF-8 text: byte {error.start + 1} does not belong there.")
        # The quick way: no quotes, every value as expected. Everything else, every mistake above all, goes the
        # careful way, which knows what to say.
        return self._quickly(text, person) or self._parse_carefully(text, person)

    def _quickly(self, text: str, person: Person | None) -> Request | None:
        """What plain words say, and free text behind them; None where one has to look closer."""
        if not text.isprintable():
            return None
        identity, _, said = text.partition(" ") if text[:1] == "@" else ("", "", text)
        head = said.split(None, 1)
        quick = self._quick.get(head[0]) if head else None
        if quick is None:
            return None
        struct, minimum, maximum, number_places, checks, splits = quick
        words = said.split(None, splits)
        if not minimum <= len(words) <= maximum:
            return None
        if splits > 0:
            words[-1] = last = words[-1].rstrip(" ")
            if last[0] == '"' or len(last) > TEXT_CHARACTERS_MAX or not unicodedata.is_normalized("NFC", last):
                return None
            said = " ".join(words[:-1])
            if "--" in said or last.startswith("--") or (" --" in last and _LIKE_AN_OPTION.search(last)):
                return None
        if not said.isascii() or '"' in said or "\\" in said:
            return None
        for place in number_places:
            if place < len(words) and not words[place].isdigit():
                return None
        for place, check in checks:
            if place < len(words) and check(words[place]) is not None:
                return None
        try:
            client, number, lowest = _identity(identity) if identity else ("", 0, 0)
            return Request(msgspec.convert(words, struct, strict=False), client, number, lowest, person)
        except (Refused, msgspec.ValidationError):
            return None

    def _parse_carefully(self, text: str, person: Person | None) -> Parsed:
        try:
            return self._parse_or_refuse(text, person)
        except Refused as refused:
            return Malformed(str(refused))

    def _parse_or_refuse(self, text: str, person: Person | None) -> Parsed:
        text = text.rstrip("\r\n").strip(" \t")
        if not text:
            raise Refused("the line is empty; help lists the commands.")
        client, number, lowest = "", 0, 0
        if text[0] == "@":
            identity, *rest = _BLANKS.split(text, maxsplit=1)
            client, number, lowest = _identity(identity)
            if not rest:
                raise Refused(f"no command follows {shown(identity)}.")
            text = rest[0]
        value = self._exactly(text) if text[0] == "[" else self._as_typed(text)
        return value if isinstance(value, Control) else Request(value, client, number, lowest, person)

    def _as_typed(self, text: str) -> Any:
        """What a plain line says, without its identity."""
        text = text.replace("\t", " ")
        forbidden = forbidden_character(text)
        if forbidden is not None:
            raise Refused(f"the line has a character that may not stand in it, {forbidden}.")
        text = unicodedata.normalize("NFC", text)
        name, place = next_word(text, 0)
        known = self._known(name)
        return known.struct(**_arguments(known, text, place))

    def _exactly(self, text: str) -> Any:
        """What a line of JSON says, without its identity."""
        name, values, options = json_lines.decoded(text)
        known = self._known(name)
        return known.struct(**json_lines.arguments(known.usage, known.fields, known.options, values, options))

    def _known(self, name: str) -> _Word:
        known = self._words.get(name)
        if known is None:
            raise Refused(self._unknown(name))
        return known

    def _unknown(self, word: str) -> str:
        near = difflib.get_close_matches(word.lower(), self._words, n=1) if len(word) <= 32 else []
        guess = f"did you mean {near[0]}? Known" if near else "known"
        return f"no command {shown(word)}; {guess}: {', '.join(self._words)}."


_BLANKS = re.compile("[ \t]+")
_LIKE_AN_OPTION = re.compile(" --[^ ]")
_CLIENT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NUMBER_MAX = 10**18 - 1
_IDENTITY_CHARACTERS_MAX = 1 + 64 + 1 + 18 + 1 + 18
_IDENTITY_USAGE = (
    "write @client:number or @client:number/lowest, the client of at most 64 letters, digits, '.', '_' and '-', "
    "the number from 1 on, lowest at most the number"
)


@lru_cache(maxsize=8192)
def _is_client(client: str) -> bool:
    return _CLIENT.fullmatch(client) is not None


def _identity(word: str) -> tuple[str, int, int]:
    """(client, number, lowest) of `@client:number/lowest`; lowest is 0 when it is not given."""
    if len(word) <= _IDENTITY_CHARACTERS_MAX and word.isascii():
        client, _, numbers = word[1:].partition(":")
        number_text, slash, lowest_text = numbers.partition("/")
        if number_text.isdigit() and (lowest_text.isdigit() or not slash) and _is_client(client):
            number, lowest = int(number_text), int(lowest_text) if slash else 0
            if 1 <= number <= _NUMBER_MAX and lowest <= number:
                return client, number, lowest
    raise Refused(f"{shown(word)} names no request: {_IDENTITY_USAGE}.")


_PLAIN = re.compile(r'[^"\\ ]+')
_QUOTED_PLAIN = re.compile(r'[^"\\]+')


def next_word(text: str, place: int) -> tuple[str, int]:
    """The word that begins at or after `place`, unquoted, and the place after it; no blanks are left there.

    Raises `Refused` where quotes or a backslash are left open.
    """
    length = len(text)
    while place < length and text[place] == " ":
        place += 1
    parts: list[str] = []
    quoted = False
    while place < length:
        character = text[place]
        if character == '"':
            quoted = not quoted
        elif character == "\\" and not quoted:
            place += 1
            if place == length:
                raise Refused("the line ends in a backslash with nothing behind it.")
            parts.append(text[place])
        elif character == "\\" and text[place + 1 : place + 2] in ('"', "\\"):
            place += 1
            parts.append(text[place])
        elif character == " " and not quoted:
            break
        elif plain := (_QUOTED_PLAIN if quoted else _PLAIN).match(text, place):
            parts.append(plain[0])
            place = plain.end() - 1
        else:
            parts.append(character)
        place += 1
    if quoted:
        raise Refused("a double quote is opened and not closed.")
    while place < length and text[place] == " ":
        place += 1
    return "".join(parts), place


def _arguments(known: _Word, text: str, place: int) -> dict[str, Any]:
    """The values of a command's fields from `text[place:]`."""
    words: dict[str, str] = {}
    given: dict[str, list[str]] = {}
    in_order = iter(known.fields)
    while place < len(text):
        if (option := known.option_at(text, place)) is not None:
            word, place = next_word(text, place + len(f"--{option.option} "))
            given.setdefault(option.name, []).append(word)
            continue
        field = next(in_order, None)
        if field is None:
            raise Refused(f"too many words; usage: {known.usage}.")
        if field.is_text:
            words[field.name], place = _rest(known, text, place)
            in_order = iter(())  # only options may follow
        else:
            words[field.name], place = next_word(text, place)
    values: dict[str, Any] = {}
    for field in known.fields:
        written = [*([words[field.name]] if field.name in words else []), *given.get(field.name, ())]
        if len(written) > 1 and not field.is_list:
            raise Refused(f"<{field.name}> is given twice.")
        if written:
            values[field.name] = field.value(",".join(written))
        elif field.required:
            raise Refused(f"too few words; usage: {known.usage}.")
    return values


def _rest(known: _Word, text: str, place: int) -> tuple[str, int]:
    """Free text, and the place behind it: the rest of the line as it is typed, or up to an option of the command;
    or one quoted word, if nothing but options follows."""
    if text[place] == '"':
        try:
            word, end = next_word(text, place)
        except Refused:
            pass  # a quote that is text
        else:
            is_one = text[:end].rstrip(" ").endswith('"')
            if is_one and (end == len(text) or text[end:].partition(" ")[0] in known.options):
                return word, end
    option = known.behind_text.search(text, place)
    return (text[place:], len(text)) if option is None else (text[place : option.start()], option.end())
