"""Seals on datagrams: a keyed BLAKE2b tag over everything, made with the site's secret. No I/O here.

    version, 1 byte   length of the sender's name, 1   its life, 8   its name   body ...   tag, 16

The tag covers all before it, and the site's and the receiver's names, which do not travel: what was
sealed for another node, or in another site with the same secret, does not open. The life is random
bytes of the sender's process, so that nothing of two processes of one node is ever taken as one.

A seal proves who has sealed these very bytes, and that nobody has changed them. It does not hide them, and
it does not prove that they are fresh: whoever can record datagrams can send them again, later too.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.runtime.fragments import Body
from holdfast.runtime.keyed import Keyed

VERSION = 2
TAG_BYTES = 16
LIFE_BYTES = 8
NAME_BYTES_MAX = 255
_NAME_AT = 2 + LIFE_BYTES


class Seals:
    """What one process needs to seal and to open. `receivers`: to whom it seals. `life`: random bytes."""

    def __init__(self, secret: bytes, site: str, me: str, receivers: Iterable[str], life: bytes) -> None:
        name = me.encode()
        if len(name) > NAME_BYTES_MAX or len(life) != LIFE_BYTES:
            raise ValueError(f"a name of at most {NAME_BYTES_MAX} bytes and a life of {LIFE_BYTES}")
        self._head = bytes((VERSION, len(name))) + life + name
        self._mine = _tags(secret, site, me)
        self._theirs = {receiver: _tags(secret, site, receiver) for receiver in receivers}

    @property
    def overhead_bytes(self) -> int:
        """What a datagram is longer than its body."""
        return len(self._head) + TAG_BYTES

    def seal(self, receiver: str, body: Body) -> bytes:
        """The datagram with this body."""
        data = b"".join((self._head, *body))
        return data + self._theirs[receiver].tag(data)

    def open(self, datagram: memoryview) -> tuple[bytes, bytes, bytes] | None:
        """(sender's name, its life, body), or None if it was not sealed for this node, in this site and version."""
        end = len(datagram) - TAG_BYTES
        if end < _NAME_AT or datagram[0] != VERSION:
            return None
        start = _NAME_AT + datagram[1]
        if not self._mine.fits(datagram[end:], datagram[:end]) or start > end:
            return None
        return bytes(datagram[_NAME_AT:start]), bytes(datagram[2:_NAME_AT]), bytes(datagram[start:end])


def _tags(secret: bytes, site: str, receiver: str) -> Keyed:
    """What is sealed for this receiver."""
    return Keyed(secret, "holdfast-udp", site.encode(), receiver.encode(), tag_bytes=TAG_BYTES)
