"""The line protocol's grammar, derived from an app's commands and queries.

    line    = [ "@" client ":" number [ "/" lowest ] blank ] word { blank argument }

A word names a command; its fields are the arguments, in order. Words are split at blanks as a shell
does, with double quotes and backslashes; a list is one word with commas (`1,2,3`); a last field of
free text takes the rest of the line. The struct itself (`msgspec.Meta` bounds, the kinds of
`apps.values`) says what a value may be.

`Grammar.parse` never raises: whatever the bytes, it gives a `Request`, a `Control` (a word of the
port itself, executed by the server) or a `Malformed` refusal of one safe line.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from holdfast.apps.values import forbidden_character, shown
from holdfast.kernel.contracts import Command, Person, Query, Reply, Request
from holdfast.kernel.replies import Malformed
from holdfast.server.fields import Field, Refused, fields_of

LINE_BYTES_MAX = 65_536
"""Default limit of one request line, without its line end."""


class Control(msgspec.Struct, frozen=True, array_like=True):
    """Base of the words that every port knows besides its app's commands. The server executes them."""


class Use(Control, frozen=True, tag="use"):
    """Choose the service that the following lines of this connection speak to."""

    service: Annotated[str, Meta(min_length=1, max_length=64)]


class Login(Control, frozen=True, tag="login"):
    """Say who speaks; a service with identity "token" wants the token too."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    token: Annotated[str, Meta(max_length=1024)] = ""


class Mode(Control, frozen=True, tag="mode"):
    """Choose how this connection's replies are written."""

    mode: Literal["json", "text"]


class Status(Control, frozen=True, tag="status"):
    """Tell the state of this node's replicas, as one line of JSON."""


class NoticesSince(Control, frozen=True, tag="notices"):
    """List what the service has to tell people, numbered above the given number."""

    after: Annotated[int, Meta(ge=0, le=2**62)] = 0


class Help(Control, frozen=True, tag="help"):
    """List the words this port knows, or explain one."""

    word: str = ""


class Quit(Control, frozen=True, tag="quit"):
    """End this connection."""


CONTROLS: tuple[type[Control], ...] = (Use, Login, Mode, Status, NoticesSince, Help, Quit)

Parsed = Request | Control | Malformed


class Helped(Reply, frozen=True, tag="helped"):
    """The answer to `help`."""

    line: str

    def text(self) -> str:
        return self.line


def line_too_long(bytes_max: int) -> Malformed:
    """The answer to a line over the limit, also for a server that never saw its end."""
    return Malformed(f"the line is longer than {bytes_max} bytes.")


class _Word:
    """One word of the language: the struct it makes and its fields."""

    __slots__ = ("about", "fields", "has_text", "maximum", "minimum", "number_places", "struct", "usage", "word")

    def __init__(self, struct: type[msgspec.Struct]) -> None:
        self.struct = struct
        self.word = str(struct.__struct_config__.tag)
        self.fields: tuple[Field, ...] = fields_of(struct)
        self.minimum = 1 + sum(field.required for field in self.fields)
        self.maximum = 1 + len(self.fields)
        self.has_text = bool(self.fields) and self.fields[-1].is_text
        self.number_places = tuple(place for place, field in enumerate(self.fields, 1) if field.is_number)
        self.usage = " ".join([self.word, *(field.usage for field in self.fields)])
        self.about = (struct.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")

    @property
    def is_plain(self) -> bool:
        """Whether blanks alone split it, and one conversion makes it."""
        return not self.has_text and not any(field.is_list for field in self.fields)


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
        self._plain = {
            name: (word.struct, word.minimum, word.maximum, word.number_places)
            for name, word in self._words.items()
            if word.is_plain and not issubclass(word.struct, Control)
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
        # The quick way: plain ASCII without quotes, every value as expected. Everything else,
        # every mistake above all, goes the careful way, which knows what to say.
        if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
            words = text.split()
            client, number, lowest = "", 0, 0
            if words and words[0][0] == "@":
                try:
                    client, number, lowest = _identity(words.pop(0))
                except Refused as refused:
                    return Malformed(str(refused))
            plain = self._plain.get(words[0]) if words else None
            if plain is not None:
                struct, minimum, maximum, number_places = plain
                if minimum <= len(words) <= maximum:
                    for place in number_places:
                        if place < len(words) and not words[place].isdigit():
                            break
                    else:
                        try:
                            command = msgspec.convert(words, struct, strict=False)
                        except msgspec.ValidationError:
                            return self._parse_carefully(text, person)
                        return Request(command, client, number, lowest, person)
        return self._parse_carefully(text, person)

    def _parse_carefully(self, text: str, person: Person | None) -> Parsed:
        try:
            return self._parse_or_refuse(text, person)
        except Refused as refused:
            return Malformed(str(refused))

    def _parse_or_refuse(self, text: str, person: Person | None) -> Parsed:
        text = text.rstrip("\r\n").replace("\t", " ").strip(" ")
        if not text:
            raise Refused("the line is empty; help lists the commands.")
        forbidden = forbidden_character(text)
        if forbidden is not None:
            raise Refused(f"the line has a character that may not stand in it, {forbidden}.")
        text = unicodedata.normalize("NFC", text)
        client, number, lowest = "", 0, 0
        if text[0] == "@":
            identity, _, text = text.partition(" ")
            client, number, lowest = _identity(identity)
            text = text.lstrip(" ")
            if not text:
                raise Refused(f"no command follows {shown(identity)}.")
        name, place = next_word(text, 0)
        known = self._words.get(name)
        if known is None:
            raise Refused(self._unknown(name))
        value = known.struct(*_arguments(known, text, place))
        return value if isinstance(value, Control) else Request(value, client, number, lowest, person)

    def _unknown(self, word: str) -> str:
        near = difflib.get_close_matches(word.lower(), self._words, n=1) if len(word) <= 32 else []
        guess = f"did you mean {near[0]}? Known" if near else "known"
        return f"no command {shown(word)}; {guess}: {', '.join(self._words)}."


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


def _arguments(known: _Word, text: str, place: int) -> list[Any]:
    """The values of a command's fields from `text[place:]`."""
    values: list[Any] = []
    for field in known.fields:
        if place >= len(text):
            break
        if field.is_text:
            word, place = _rest(text, place)
        else:
            word, place = next_word(text, place)
        values.append(field.value(word))
    if place < len(text):
        raise Refused(f"too many words; usage: {known.usage}.")
    if len(values) + 1 < known.minimum:
        raise Refused(f"too few words; usage: {known.usage}.")
    return values


def _rest(text: str, place: int) -> tuple[str, int]:
    """Free text: the rest of the line as it is typed, or one quoted word if it is just that."""
    rest = text[place:]
    if rest[0] == '"':
        try:
            word, end = next_word(rest, 0)
        except Refused:
            return rest, len(text)
        if end == len(rest) and rest[-1] == '"':
            return word, len(text)
    return rest, len(text)


# -- replies ----------------------------------------------------------------------------------------


def reply_object(reply: Reply, firm: str = "committed") -> dict[str, Any]:
    """A reply for programs: `{"ok", "text", "type", "reply", "firm"}`.

    `type` is the reply's tag, `reply` its fields by name, `firm` says how firm it is.
    """
    fields = {name: msgspec.to_builtins(getattr(reply, name)) for name in reply.__struct_fields__}
    tag = reply.__struct_config__.tag
    return {"ok": not reply.failed, "text": reply.text(), "type": tag, "reply": fields, "firm": firm}


_encode_json = msgspec.json.Encoder().encode


def json_line(reply: Reply, firm: str = "committed") -> bytes:
    """A reply as one line of JSON, with its line end."""
    return _encode_json(reply_object(reply, firm)) + b"\n"


def text_line(reply: Reply) -> bytes:
    """A reply as the one line that people see, with its line end. What could forge a second line is escaped."""
    text = reply.text()
    if not text.isprintable():
        text = "".join(c if forbidden_character(c) is None else shown(c)[1:-1] for c in text)
    return text.encode("utf-8", "backslashreplace") + b"\n"
