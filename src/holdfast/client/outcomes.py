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
    `firm` tells `committed` from `tentative`; to a question it is the view that was read. An answer is
    true when it is `ok`.

    Where outcomes may be tentative: `write` is the id of what was done, `firm_by` when it is final at
    the latest, `warning` what the person should know beside it, `session` the token of the session.
    """

    ok: bool
    text: str
    type: str
    reply: dict[str, Any] = {}
    firm: str = "committed"
    write: str = ""
    firm_by: str = ""
    warning: str = ""
    session: str = ""

    def __bool__(self) -> bool:
        return self.ok

    def as_json(self) -> str:
        """As one line of JSON; what there is nothing to say of is left out."""
        fields = msgspec.to_builtins(self)
        for name in ("write", "firm_by", "warning", "session"):
            if not fields[name]:
                del fields[name]
        return msgspec.json.encode(fields).decode()

    def __str__(self) -> str:
        """The line that people see, with how firm it is."""
        notes = [self.firm, self.write] if self.write else []
        notes += [f"firm by {self.firm_by} at the latest"] if self.firm_by else []
        notes += [self.warning] if self.warning else []
        text = one_line(self.text)
        return f"{text} [{', '.join(notes)}]" if notes else text


class Change(msgspec.Struct, frozen=True):
    """What became of an earlier command: its outcome is another one, or final now.

    `id`: the write; `person`: whose; `firm`: `tentative` or `committed`; `text`: the outcome, with `ok`,
    `type` and `reply` as in an `Answer`. Without an id, `text` says why changes may have been missed.
    """

    id: str
    person: str
    firm: str
    text: str
    ok: bool = True
    type: str = ""
    reply: dict[str, Any] = {}

    def __str__(self) -> str:
        text = one_line(self.text)
        return f"{self.id} {self.firm}: {text}" if self.id else text


def one_line(text: str) -> str:
    """Text as one line that is safe to show, as the servers' own text is: what forges a reader's view is escaped."""
    if text.isprintable():
        return text
    from holdfast.apps.values import forbidden_character, shown

    return "".join(c if forbidden_character(c) is None else shown(c)[1:-1] for c in text)


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


CHANGE_BEGINS = (b'{"change":', b'{"missed":')
"""How a line begins that nobody asked for."""


class _Pushed(msgspec.Struct, frozen=True):
    change: Change | None = None
    missed: int = 0
    text: str = ""


def parse_change(line: bytes) -> Change | None:
    """The change in a line that nobody asked for, or None when it is none."""
    try:
        pushed = msgspec.json.decode(line, type=_Pushed)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    how_many = f"{pushed.missed} changes" if pushed.missed else "changes"
    return pushed.change or Change("", "", "", f"{how_many} are not told: {pushed.text}".removesuffix(": "))
