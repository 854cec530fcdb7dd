"""How words become a request line, and a stream of bytes becomes lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from holdfast.client.errors import Misuse

REPLY_BYTES_MAX = 64 * 1024 * 1024
"""A `list` of a large house is one line; anything longer is no reply of Holdfast."""

_PLAIN = re.compile(r"[\w.,:;/+=%-][\w.,:;/+=%@-]*\Z")
_IMPOSSIBLE = re.compile("[\n\r\0]")

OF_THE_CONNECTION = ("use", "login", "mode", "view", "session", "watch", "quit")
"""Words that change the connection itself, which belongs to the client."""

Word = str | int | Sequence[str | int]
"""An argument: text, a number, or a list of them (`[7, 8]` is sent as `7,8`)."""


def request_line(words: Sequence[Word]) -> str:
    """One line for these words, quoted so that the server splits it into exactly them."""
    if not words:
        raise Misuse("no command given; the first argument is the command, as in call('search', 'bob')")
    if words[0] in OF_THE_CONNECTION:
        raise Misuse(
            f"{words[0]!r} is the client's own to say: who asks is Site(..., as_=ID), a service site.service(NAME)"
        )
    return " ".join(quoted(word) for word in words)


def checked_line(text: str) -> str:
    """A line that a person typed, quoted by its writer; `Misuse` if it cannot be sent as it is."""
    line = plain_text(text.strip())
    if not line or line[0] == "@":
        raise Misuse("a line begins with its command; the request's number is the client's own to give")
    return request_line([line.split()[0]]) and line


def quoted(word: Word) -> str:
    """The word as it stands in a line: in double quotes where a blank or the like would split it."""
    text = plain_text(word)
    if _PLAIN.match(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def plain_text(word: Word) -> str:
    """The word as text. Raises `Misuse` for what no line can carry."""
    if isinstance(word, bool) or not isinstance(word, str | int | Sequence):
        raise Misuse(f"{word!r} cannot be sent: an argument is text, a whole number, or a list of them")
    if not isinstance(word, str):
        text = str(word) if isinstance(word, int) else ",".join(plain_text(item) for item in word)
    else:
        text = word
    if _IMPOSSIBLE.search(text):
        raise Misuse(f"{text!r} cannot be sent: a line has no room for a line break or a NUL in it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Misuse(f"{text!r} cannot be sent: it is no valid Unicode text ({error.reason})") from error
    return text


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
