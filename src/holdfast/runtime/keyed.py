"""Tags that only who has the site's key can make, and see to: keyed BLAKE2b. No I/O here.

Every use of the key has a name of its own, and a tag of one use is none of another. Each field goes in behind its
length, so no two sequences of fields are the same bytes, however their borders are moved.

Source: RFC 7693 (BLAKE2 with a key is a message authentication code by itself); the use is its `person`.
"""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest
from typing import Literal

Use = Literal["holdfast-udp", "holdfast-link", "holdfast-export"]
"""All uses there are; at most 16 bytes each. See `seals`, `proofs` and `part_proofs`."""


class Keyed:
    """One use of a key. `secret`: of 1 to 64 bytes. `fields`: what all its tags begin with, hashed once. `tag_bytes`:
    how long a tag is."""

    def __init__(self, secret: bytes, use: Use, *fields: bytes, tag_bytes: int) -> None:
        self._begun = blake2b(key=secret, digest_size=tag_bytes, person=use.encode())
        _add(self._begun, fields)

    def tag(self, *fields: bytes | memoryview) -> bytes:
        """The tag of these fields. A memoryview is one of bytes."""
        hash = self._begun.copy()
        _add(hash, fields)
        return hash.digest()

    def fits(self, tag: bytes | memoryview, *fields: bytes | memoryview) -> bool:
        """Whether this is their tag; compared in constant time."""
        return compare_digest(tag, self.tag(*fields))


def _add(hash: blake2b, fields: tuple[bytes | memoryview, ...]) -> None:
    for field in fields:
        hash.update(len(field).to_bytes(4, "big"))
        hash.update(field)
