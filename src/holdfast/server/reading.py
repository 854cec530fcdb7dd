"""What one connection has read and written, so that another server can be asked to know it too.

The four session guarantees (D. Terry et al., *Session Guarantees for Weakly Consistent Replicated
Data*, PDIS 1994) are kept by two vectors of the session: what its reads rested on, and what it
wrote. They go with each request to the replica, which refuses when it is behind (`kernel.replies.Behind`);
and they fit a *token*, with which the client goes on at another server.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from holdfast.kernel.contracts import Reading, Reply, Vector
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.replies import Outcome
from holdfast.server.reply_lines import encode_json, reply_object

GUARANTEES = ("read-your-writes", "monotonic-reads", "writes-follow-reads", "monotonic-writes")
"""In this order they are the bits of a token."""

_Place = tuple[Annotated[str, Meta(min_length=1, max_length=96)], Annotated[int, Meta(ge=1, le=2**62)]]
_Places = Annotated[tuple[_Place, ...], Meta(max_length=512)]


class _Token(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The content of a token. `guarantees`: one bit each, in the order of `GUARANTEES`."""

    service: str
    guarantees: Annotated[int, Meta(ge=0, lt=1 << len(GUARANTEES))]
    read: _Places
    written: _Places


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Token).decode


def chosen(words: Sequence[str]) -> tuple[str, ...]:
    """The guarantees that these words name, in order and each once; `all` names every one, `none` none."""
    return tuple(word for word in GUARANTEES if word in words or "all" in words)


class SessionTold(Reply, frozen=True, tag="session"):
    """What a connection is promised, and the token with which it goes on elsewhere."""

    guarantees: tuple[str, ...]
    token: str

    def text(self) -> str:
        if not self.guarantees:
            return "No session is on."
        return f"Session of {', '.join(self.guarantees)}; token {self.token}"


class ReadingSession:
    """The view and the session of one connection with one service.

    `guarantees` is () where no session is on: then only the view matters, and nothing is kept. Each
    request takes `reading` along; each reply passes through `learn`.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self.view = "full"
        self.guarantees: tuple[str, ...] = ()
        self._read: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._reading: Reading | None = None
        self._token: str | None = None

    def see(self, view: str) -> None:
        """From now on questions see this view."""
        self.view, self._reading = view, None

    def begin(self, words: Sequence[str], token: str) -> None:
        """Begin a session, from `token` where it is not "". Raises `MalformedInput`, and then changes nothing."""
        if "same" in words and not token:
            raise MalformedInput("there is no token whose guarantees could stay the same")
        before = self._parse(token) if token else _Token(self.service, 0, (), ())
        named = chosen(words)
        if "same" in words:
            named = tuple(
                word for place, word in enumerate(GUARANTEES) if before.guarantees >> place & 1 or word in named
            )
        self.guarantees = named
        self._read, self._written = dict(before.read), dict(before.written)
        self._reading = self._token = None

    def _parse(self, token: str) -> _Token:
        try:
            content = _decode(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError) as error:
            raise MalformedInput("this is no token of a session; take one as it was given") from error
        if content.service != self.service:
            raise MalformedInput(f"this token is of a session with {content.service}, not with {self.service}")
        return content

    @property
    def reading(self) -> Reading:
        """What goes with the next request."""
        if self._reading is None:
            self._reading = Reading(self.view, self.guarantees, _vector(self._read), _vector(self._written))
        return self._reading

    @property
    def token(self) -> str:
        """With what a client goes on at another server; "" where no session is on."""
        if not self.guarantees:
            return ""
        if self._token is None:
            bits = sum(1 << place for place, word in enumerate(GUARANTEES) if word in self.guarantees)
            data = _encode(_Token(self.service, bits, _vector(self._read), _vector(self._written)))
            self._token = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
        return self._token

    def learn(self, reply: Reply) -> None:
        """Take in what a reply rests on, or what it wrote."""
        if type(reply) is not Outcome or not self.guarantees:
            return
        known = self._written if reply.write else self._read
        for replica, number in reply.vector:
            if number > known.get(replica, 0):
                known[replica] = number
                self._reading = self._token = None

    def writer(self, write_reply: Callable[[Reply], bytes], *, as_json: bool) -> Callable[[Reply], bytes]:
        """`write_reply` for a connection with this session: it learns first, and in JSON tells the token."""

        def text(reply: Reply) -> bytes:
            self.learn(reply)
            return write_reply(reply)

        def json(reply: Reply) -> bytes:
            self.learn(reply)
            fields = reply_object(reply)
            if self.guarantees:
                fields["session"] = self.token
            return encode_json(fields) + b"\n"

        return json if as_json else text


def _vector(known: dict[str, int]) -> Vector:
    return tuple(sorted(known.items()))
