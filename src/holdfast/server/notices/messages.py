"""What nodes say to each other about notices, and how it is written."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.kernel.contracts import Reply
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.notices import NoticesMissing, NoticesUnwanted, Taken, TakeNotices, TakenUpto
from holdfast.kernel.replies import Expired, Forbidden, Forgotten, Malformed, Outcome, Overloaded, Unavailable, Unknown
from holdfast.server.calls import Message

CHANNEL = ".notices"
"""The first part of the channel of their datagrams, which no service is called; the receiving one's name follows."""


class Carried(Message, frozen=True, tag="carried"):
    """For the service that delivers: put this to your replica. To ask twice does no harm."""

    command: TakeNotices | TakenUpto


AnyReply = (
    Taken
    | NoticesMissing
    | NoticesUnwanted
    | Unavailable
    | Overloaded
    | Unknown
    | Malformed
    | Forgotten
    | Expired
    | Forbidden
)


class Answered(Message, frozen=True, tag="answered"):
    """What the replica says. `firm`: see `kernel.replies.Outcome`."""

    firm: str
    reply: AnyReply

    @classmethod
    def to(cls, id: int, reply: Any) -> Answered:
        """The answer to a question."""
        return cls(id, reply.firm, reply.reply) if isinstance(reply, Outcome) else cls(id, "committed", reply)

    def outcome(self) -> Reply:
        """The reply as the replica gave it."""
        return Outcome(self.reply, self.firm)


encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Carried | Answered] = msgspec.msgpack.Decoder(Carried | Answered)


def decode(data: bytes) -> Carried | Answered:
    """The inverse of `encode`. Raises `MalformedInput`."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"what is said about notices does not decode: {error}") from error
