"""One person of the soak, in a process that may be killed at any moment and goes on where its file says.

Who sends writes in turn to its watcher and to the group, each message under the number that it has in the
sender's file; a retry is the same request again, at another server. Who watches keeps what it is told in its
file, in the order of its inbox, and fetches what it has missed.

    python -m holdfast.bench.messages_soak_client '{"role": "send", "person": "s00000", ...}'

A sender ends at SIGTERM, when its last message is answered.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import msgspec

RETRIED = ("Failed: not served here", "Failed: overloaded", "Failed: outcome unknown")
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 10.0
SILENCE_SECONDS = 2.0
"""After so long without a word who watches asks, to see whether the server is still there."""
PAUSE_SECONDS = 0.05
"""Between two tries to find a server."""


class SoakClientOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`partner`: to whom it writes, `group`: the group's id. `file`: what is done. `a_second`: messages."""

    role: Literal["send", "watch"]
    person: str
    token: str
    servers: tuple[tuple[str, int], ...]
    file: str
    partner: str = ""
    group: str = ""
    a_second: float = 20.0


class Lost(Exception):
    """The connection is of no use any more; another server is to be tried."""


class Line:
    """A connection to one server, on which the person is logged in."""

    def __init__(self, server: tuple[str, int], options: SoakClientOptions) -> None:
        self._rest = b""
        try:
            self._socket = socket.create_connection(server, CONNECT_SECONDS)
        except OSError as error:
            raise Lost(str(error)) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def say(self, text: str) -> None:
        """Send lines."""
        try:
            self._socket.sendall(text.encode())
        except OSError as error:
            raise Lost(str(error)) from error

    def hear(self, seconds: float) -> list[bytes]:
        """The lines that come next; none if nothing comes for so long."""
        self._socket.settimeout(seconds)
        while True:
            try:
                data = self._socket.recv(65_536)
            except TimeoutError:
                return []
            except OSError as error:
                raise Lost(str(error)) from error
            if not data:
                raise Lost("it has closed the connection")
            *lines, self._rest = (self._rest + data).split(b"\n")
            if lines:
                return lines

    def close(self) -> None:
        """Leave."""
        self._socket.close()


class Person(ABC):
    """What both have in common: the file, and a server that can be reached."""

    def __init__(self, options: SoakClientOptions) -> None:
        self.options = options
        self._chance = random.Random()
        path = Path(options.file)
        self.known = path.read_text().splitlines() if path.exists() else []
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def keep(self, lines: list[str]) -> None:
        """In one write, which a kill does not divide."""
        os.write(self._file, "".join(f"{line}\n" for line in lines).encode())

    def run(self) -> None:
        """Until it may stop; a server is as good as any other."""
        while self.goes_on:
            line = None
            with contextlib.suppress(Lost):
                line = Line(self._chance.choice(self.options.servers), self.options)
                self.converse(line)
            if line is not None:
                line.close()
            time.sleep(PAUSE_SECONDS)

    @property
    def goes_on(self) -> bool:
        """Whether there is something left to do."""
        return True

    @abstractmethod
    def converse(self, line: Line) -> None:
        """Go on on this connection. Raises `Lost`."""


class Sender(Person):
    """The file holds a line for each message that was answered."""

    def __init__(self, options: SoakClientOptions) -> None:
        super().__init__(options)
        self.done = len(self.known)
        self.is_open = True
        """Whether a message may have been sent that was not answered: the process before this one may have."""
        self._is_told_to_end = False
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_is_told_to_end", True))

    @property
    def goes_on(self) -> bool:
        return self.is_open or not self._is_told_to_end

    def converse(self, line: Line) -> None:
        options = self.options
        line.say(f"login {options.person} {options.token}\n")
        self._answer(line, "Welcome")
        while self.goes_on:
            number = self.done + 1
            to = options.partner if number % 2 else options.group
            self.is_open = True
            line.say(f"@{options.person}.soak:{number}/{number} send {to} {options.person}:{number}\n")
            self._answer(line, "Sent to ")
            self.keep([str(number)])
            self.done, self.is_open = number, False
            time.sleep(1 / options.a_second)

    def _answer(self, line: Line, beginning: str) -> None:
        heard = line.hear(ANSWER_SECONDS)
        text = heard[0].decode() if heard else ""
        if text.startswith(beginning):
            return
        if not text or text.startswith(RETRIED) or beginning == "Welcome":
            raise Lost(text)
        sys.exit(f"{self.options.person}: message {self.done + 1} was answered {text!r}")


class Watching(Person):
    """The file holds a line for each message of the inbox, in its order: how it came (p: pushed, f: fetched), its
    number, the conversation, its number there, its text."""

    def __init__(self, options: SoakClientOptions) -> None:
        super().__init__(options)
        self.cursor = len(self.known)

    def converse(self, line: Line) -> None:
        line.say(f"mode json\nlogin {self.options.person} {self.options.token}\nwatch\nsince {self.cursor}\n")
        asked = True
        while True:
            lines = line.hear(ANSWER_SECONDS if asked else SILENCE_SECONDS)
            if not lines and asked:
                raise Lost("it does not answer")
            ask = not lines
            kept: list[str] = []
            for text in lines:
                told = json.loads(text)
                if "change" in told:
                    reply = told["change"]["reply"]
                    ask |= not self._take("p", reply, kept)
                elif told.get("type") == "since":
                    asked = False
                    for item in told["reply"]["items"]:
                        self._take("f", item, kept)
                    ask |= told["reply"]["more"]
                elif not told.get("ok", False):
                    raise Lost(str(told))
            if kept:
                self.keep(kept)
            if ask and not asked:
                line.say(f"since {self.cursor}\n")
                asked = True

    def _take(self, how: str, item: dict[str, Any], kept: list[str]) -> bool:
        """Keep the next message; False if some before it are missing."""
        if item["number"] <= self.cursor:
            return True
        if item["number"] > self.cursor + 1:
            return False
        self.cursor += 1
        kept.append(f"{how} {item['number']} {item['conversation']} {item['message']} {item['content']}")
        return True


def main() -> None:
    """The process."""
    options = msgspec.json.decode(sys.argv[1], type=SoakClientOptions)
    (Sender if options.role == "send" else Watching)(options).run()


if __name__ == "__main__":
    main()
