"""Canonical bytes: equal values give equal bytes on every machine and under every hash seed.

MessagePack by msgspec; the little freedom it leaves (the order of keys in a mapping) is taken away.
`chain` is the checksum that ties each record of a journal, or each frame of a snapshot, to all
before it.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from holdfast.kernel.errors import MalformedInput

T = TypeVar("T")

CHECKSUM_BYTES = 16
CHAIN_START = bytes(CHECKSUM_BYTES)
"""The checksum before the first record of a chain."""

encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder(order="deterministic").encode
"""Any value of structs, tuples, strings, integers, bytes, booleans and None, as canonical bytes."""


def decoder(kind: type[T] | Any, what: str) -> Callable[[bytes], T]:
    """A function from bytes to a checked value of type `kind`.

    It raises `MalformedInput`, naming `what` was expected, for anything that is not such a value.
    """
    decode = msgspec.msgpack.Decoder(kind).decode

    def checked(data: bytes) -> T:
        try:
            value: T = decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedInput(f"{len(data)} bytes are no {what}: {error}") from error
        return value

    return checked


def chain(previous: bytes, number: int, data: bytes) -> bytes:
    """The checksum (16 bytes, BLAKE2b) of record `number` holding `data`, after a record whose checksum is `previous`.

    A flipped bit, a lost, repeated or exchanged record changes it and every one that follows.
    """
    if len(previous) != CHECKSUM_BYTES:
        raise ValueError(f"a checksum has {CHECKSUM_BYTES} bytes, not {len(previous)}")
    digest = blake2b(previous, digest_size=CHECKSUM_BYTES)
    digest.update(number.to_bytes(8, "big"))
    digest.update(data)
    return digest.digest()
