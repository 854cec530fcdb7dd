"""The first words on a link between two nodes: magic bytes, a version, and who calls whom. No I/O here.

The magic and the version stand outside the frame, so that any two versions can tell each other apart.

Where the site has no key, a `Hello` each way makes a link, and a `Knock` is the whole conversation. With a key
both carry a nonce, the answer to either is a `Hello` with a nonce and a proof, and a `Proof` concludes.
"""

from __future__ import annotations

import struct

import msgspec

from holdfast.kernel.errors import MalformedInput
from holdfast.runtime.frames import LENGTH, frame

MAGIC = b"\x00HOLDFAST"
"""First bytes of every link. Clients send lines, which never begin with a zero byte."""
VERSION = 1
_VERSION = struct.Struct(">H")
_HEAD_BYTES = len(MAGIC) + _VERSION.size + LENGTH.size
_BODY_BYTES_MAX = 4096


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """Opens a link, both ways. `nonce`, `proof`: see `proofs`; empty where there is no key."""

    site: str
    node: str
    to: str
    nonce: bytes = b""
    proof: bytes = b""


class Knock(msgspec.Struct, frozen=True, array_like=True, tag="knock"):
    """ "I have no link to you: dial me." From the node that does not dial; then it hangs up."""

    site: str
    node: str
    to: str
    nonce: bytes = b""


class Proof(msgspec.Struct, frozen=True, array_like=True, tag="proof"):
    """Of who has begun, to the nonce in the answer."""

    proof: bytes


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """No link, and why. Then the connection is closed."""

    why: str


Word = Hello | Knock | Proof | Refused
_decode = msgspec.msgpack.Decoder(Word).decode
_encode = msgspec.msgpack.encode


def spoken(word: Word) -> bytes:
    """A word as it goes onto the wire."""
    return MAGIC + _VERSION.pack(VERSION) + frame(_encode(word))


class OtherVersion(MalformedInput):
    """The other side speaks another version."""


class Ear:
    """Listens for one word after the other; what follows a word is left in `rest`."""

    def __init__(self) -> None:
        self.rest = b""

    def hear(self, data: bytes) -> Word | None:
        """The next word, or None while it is incomplete. Raises `MalformedInput` or `OtherVersion`."""
        self.rest += data
        heard = self.rest
        if not heard.startswith(MAGIC[: len(heard)]):
            raise MalformedInput("the first bytes are not those of a Holdfast node")
        if len(heard) < _HEAD_BYTES:
            return None
        (version,) = _VERSION.unpack_from(heard, len(MAGIC))
        if version != VERSION:
            raise OtherVersion(f"it speaks version {version} of the peer protocol, this node speaks {VERSION}")
        (length,) = LENGTH.unpack_from(heard, len(MAGIC) + _VERSION.size)
        if length > _BODY_BYTES_MAX:
            raise MalformedInput(f"a greeting of {length} bytes; at most {_BODY_BYTES_MAX} are allowed")
        if len(heard) < _HEAD_BYTES + length:
            return None
        try:
            word: Word = _decode(heard[_HEAD_BYTES : _HEAD_BYTES + length])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MalformedInput(f"the greeting does not decode: {error}") from error
        self.rest = heard[_HEAD_BYTES + length :]
        return word
