"""What a request of a client can end in, and the servers it is sent to."""

from __future__ import annotations

from typing import Any

import msgspec


class Server(msgspec.Struct, frozen=True):
    """Where one replica of a service takes lines."""

    host: str
    port: int
    name: str = ""

    def __str__(self) -> str:
        address = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return f"{self.name} ({address})" if self.name else address


class Answer(msgspec.Struct, frozen=True):
    """A final answer. `ok` is False for a refusal, and `text` is the line that people see.

    `type` names the kind (`reserved`, `unavailable`, ...), `reply` holds its fields by name, and
    `firm` tells `committed` from `tentative`. An answer is true when it is `ok`.
    """

    ok: bool
    text: str
    type: str
    reply: dict[str, Any] = {}
    firm: str = "committed"

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return self.text


class Undone(msgspec.Struct, frozen=True):
    """The deadline passed, and certainly nothing was executed."""

    why: str


class Unknown(msgspec.Struct, frozen=True):
    """The deadline passed, and it may or may not be executed."""

    why: str


class Denied(msgspec.Struct, frozen=True):
    """The servers refused the login, so the request was not sent."""

    why: str


Outcome = Answer | Undone | Unknown | Denied


def parse_reply(line: bytes) -> Answer | None:
    """The answer in one line of JSON, or None when the line is none.

    The reply to `status` is an object of its own; it stands in `reply` as it came.
    """
    try:
        fields = msgspec.json.decode(line, type=dict[str, Any])
        if "node" in fields and "services" in fields:
            return Answer(True, line.decode(), "status", fields)
        return msgspec.convert(fields, Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
