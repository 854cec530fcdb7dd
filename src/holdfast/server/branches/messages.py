"""What the branch servers of one service say to each other, and how it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union, cast

import msgspec

from holdfast.kernel.contracts import App, Reply, Request
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.replies import (
    Expired,
    Forbidden,
    Forgotten,
    Malformed,
    OutOfClients,
    Overloaded,
    Unavailable,
    Unknown,
)
from holdfast.server.calls import Message

CHANNEL = "branch"
"""The first part of the channel of their datagrams; the service's name follows."""


class Relay(Message, frozen=True, tag="relay"):
    """Here is a request for the branch that you serve. A command in it has a name, so to ask twice does no harm."""

    city: str
    request: bytes


class Relayed(Message, frozen=True, tag="relayed"):
    """What the branch answers."""

    reply: bytes


class AskPart(Message, frozen=True, tag="ask_part"):
    """What is your branch's part of the answer to the question at this place (see `kernel.placing`)? `person`,
    `word`, `parameters`: who asked what, at the branch `asker`; for the log."""

    city: str
    origin: int
    incarnation: int
    serial: int
    asker: str
    person: str
    word: str
    parameters: str


class Part(Message, frozen=True, tag="part"):
    """The answer with that branch's part alone, from the state as of `number`."""

    number: int
    reply: bytes


class NotHere(Message, frozen=True, tag="not_here"):
    """This node does not serve that branch, or does not know the part."""


class Beat(Message, frozen=True, tag="beat"):
    """The sender is there."""


class Note(msgspec.Struct, frozen=True, array_like=True):
    """An operation in words; see `log.Entry`."""

    since_s: float
    person: str
    word: str
    about: str
    outcome: str
    text: str
    via: str


class Notes(Message, frozen=True, tag="notes"):
    """These operations of other branches' people are for your branch's log too."""

    city: str
    notes: tuple[Note, ...]


class Noted(Message, frozen=True, tag="noted"):
    """They are."""


AnyMessage = Beat | Relay | Relayed | AskPart | Part | NotHere | Notes | Noted


class Wire:
    """Writes and reads the messages, and the requests and replies of one app inside them. What does not
    read raises `MalformedInput`."""

    def __init__(self, app: App) -> None:
        words: Any = Union[(*app.commands, *app.queries)]
        request = msgspec.defstruct("BranchRequest", [("command", words)], bases=(Request,), frozen=True, gc=False)
        refusals = (Malformed, Forgotten, Expired, OutOfClients, Forbidden, Unavailable, Overloaded, Unknown)
        replies: Any = Union[(*app.replies, *refusals)]
        self.encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
        self._message = msgspec.msgpack.Decoder(AnyMessage)
        self._request = msgspec.msgpack.Decoder(request)
        self._reply = msgspec.msgpack.Decoder(replies)

    def message(self, data: bytes) -> Any:
        """A message of a branch server."""
        return _read(self._message, data)

    def request(self, data: bytes) -> Request:
        """The request in a `Relay`."""
        return cast("Request", _read(self._request, data))

    def reply(self, data: bytes) -> Reply:
        """The reply in a `Relayed` or a `Part`."""
        return cast("Reply", _read(self._reply, data))


def _read(decoder: msgspec.msgpack.Decoder[Any], data: bytes) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"what a branch server says does not decode: {error}") from error
