"""How words become a request line, and a stream of bytes becomes lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from holdfast.client.errors import Misuse

REPLY_BYTES_MAX = 64 * 1024 * 1024
"""A `list` of a large house is one line; anything longer is no reply of Holdfast."""

_PLAIN = re.compile(r"[\w.,:;/+=%-][\w.,:;/+=%@-]*\Z")
_IMPOSSIBLE = re.compile("[\n\r\0]")

OF_THE_CONNECTION = ("use", "login", "mode", "view", "session", "watch", "quit")
"""Words that change the connection itself, which belongs to the client."""

Plain = str | int | Sequence[str | int]
Word = Plain | Mapping[str, Plain]
"""An argument: text, a number, or a list of them (`[7, 8]` is sent as `7,8`); as the last one, options by name."""

_OPTION = re.compile(r"--[a-z][a-z-]*\Z")


def request_line(words: Sequence[Word]) -> str:
    """One line for these words, from which the server has exactly them: plain, quoted where it must be, or of JSON
    where a plain line cannot say it (options as a mapping, line breaks and the like)."""
    if not words:
        raise Misuse("no command given; the first argument is the command, as in call('search', 'bob')")
    _check_word(words[0])
    *values, last = words
    if isinstance(last, Mapping):
        return _array(values, last)
    if any(_is_beyond_a_line(word) for word in words):
        return _array(*_without_options(words))
    return " ".join(quoted(word) for word in words)


def _check_word(word: object) -> None:
    if word in OF_THE_CONNECTION:
        raise Misuse(
            f"{word!r} is the client's own to say: who asks is Site(..., as_=ID), a service site.service(NAME)"
        )


def _is_beyond_a_line(word: Word) -> bool:
    if not isinstance(word, str):
        return isinstance(word, Sequence) and any(_is_beyond_a_line(item) for item in word)
    if word.isprintable() or "\0" in word:
        return False
    from holdfast.apps.values import forbidden_character

    return "\t" in word or forbidden_character(word) is not None


def _array(values: Sequence[Word], options: Mapping[str, Plain]) -> str:
    array: list[object] = [exact(value) for value in values]
    if options:
        array.append({name: exact(value) for name, value in options.items()})
    return json.dumps(array, ensure_ascii=False, separators=(",", ":"))


def _without_options(words: Sequence[Word]) -> tuple[list[Word], dict[str, Plain]]:
    """The values among the words, and what `--or VALUE` among them gives, as on a plain line."""
    values: list[Word] = []
    given: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        if isinstance(word, str) and _OPTION.match(word):
            value = next(rest, None)
            if value is None:
                raise Misuse(f"no value follows {word}")
            given.setdefault(word[2:], []).append(plain_text(value) if not isinstance(value, str) else value)
        else:
            values.append(word)
    return values, {name: said[0] if len(said) == 1 else said for name, said in given.items()}


def exact(word: Word) -> str | list[str]:
    """An argument in a line of JSON: text, or a list of it; digits do for a number. Raises `Misuse`."""
    if isinstance(word, str | int) or not isinstance(word, Sequence):
        return _valid(word)
    return [_valid(item) for item in word]


def checked_line(text: str) -> str:
    """A line that a person typed, quoted by its writer; `Misuse` if it cannot be sent as it is."""
    line = plain_text(text.strip())
    if not line or line[0] == "@":
        raise Misuse("a line begins with its command; the request's number is the client's own to give")
    _check_word(_word_of_array(line) if line[0] == "[" else line.split()[0])
    return line


def _word_of_array(line: str) -> object:
    try:
        array = json.loads(line)
    except (ValueError, RecursionError):
        return None  # the server says what is wrong with it
    return array[0] if array else None


def quoted(word: Word) -> str:
    """The word as it stands in a line: in double quotes where a blank or the like would split it."""
    text = plain_text(word)
    if _PLAIN.match(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def plain_text(word: Word) -> str:
    """The word as text. Raises `Misuse` for what no plain line can carry."""
    if isinstance(word, str | int) or not isinstance(word, Sequence):
        text = _valid(word)
    else:
        text = ",".join(_valid(item) for item in word)
    if _IMPOSSIBLE.search(text):
        raise Misuse(f"{text!r} cannot be sent: a line has no room for a line break or a NUL in it")
    return text


def _valid(word: object) -> str:
    if isinstance(word, bool) or not isinstance(word, str | int):
        raise Misuse(f"{word!r} cannot be sent: an argument is text, a whole number, or a list of them")
    text = str(word)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Misuse(f"{text!r} cannot be sent: it is no valid Unicode text ({error.reason})") from error
    return text


def split(line: str) -> list[str]:
    """The words of a line, as the line protocol splits it. Raises `Misuse`."""
    from holdfast.server.fields import Refused
    from holdfast.server.grammar import next_word

    words = []
    line, place = line.strip(), 0
    try:
        while place < len(line):
            word, place = next_word(line, place)
            words.append(word)
    except Refused as refused:
        raise Misuse(str(refused)) from refused
    return words


class LineBuffer:
    """Bytes in, whole lines out, without their `\\n` or `\\r\\n`."""

    def __init__(self, bytes_max: int = REPLY_BYTES_MAX) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0
        self._bytes_max = bytes_max

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that `data` completes. Raises ValueError when one exceeds the limit."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._parts.append(line)
            yield b"".join(self._parts).removesuffix(b"\r")
            self._parts.clear()
            self._bytes = 0
        if rest:
            self._parts.append(rest)
            self._bytes += len(rest)
            if self._bytes > self._bytes_max:
                raise ValueError(f"a reply of more than {self._bytes_max} bytes")
