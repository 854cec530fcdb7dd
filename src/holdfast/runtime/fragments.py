"""What goes into a datagram: small messages bundled, large ones cut into fragments and put together again. No I/O.

A *message* is a channel (the name of who it is for) and a payload; as an *entry* it is the lengths of
both, then both. The *body* of a datagram is either entries one after the other, or a fragment of one
entry that fits into no single datagram:

    0                                             entries
    1   number, 8 bytes   index, 2   count, 2     a piece of an entry

The number tells the large messages of one sender's life apart. All numbers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from holdfast.kernel.errors import BrokenInvariant, MalformedInput

MESSAGE_BYTES_MAX = 16 << 20
"""The largest payload."""
CHANNEL_BYTES_MAX = 255
REASSEMBLY_BYTES_MAX = 32 << 20
"""What may lie here of one peer's unfinished messages."""
FRAGMENT_AGE_S = 10.0
"""So long after its first fragment a message is given up. Its protocol has long sent it again."""
FRAGMENT_OVERHEAD_BYTES = 128
"""What a fragment costs beside its content, so that many tiny ones are within the bound too."""
DONE_REMEMBERED = 1024
"""So many finished messages are remembered: what was doubled on the way does not begin them anew."""
COUNT_MAX = 0xFFFF

Body = list[bytes]
"""The parts of a datagram's body, in order."""

_BUNDLE = b"\x00"
_ENTRY = struct.Struct(">BI")
_FRAGMENT = struct.Struct(">BQHH")
_IS_FRAGMENT = 1


def entry_bytes(channel: bytes, payload: bytes) -> int:
    """How long the entry of this message is."""
    return _ENTRY.size + len(channel) + len(payload)


def payload_bytes_max(channel: bytes, room: int) -> int:
    """The longest payload whose entry fits into one datagram with this room for its body."""
    return room - len(_BUNDLE) - _ENTRY.size - len(channel)


def entries(data: bytes, start: int = 0) -> list[tuple[bytes, bytes]]:
    """Every (channel, payload) from `start` on. Raises `MalformedInput` unless they fill `data` exactly."""
    found = []
    end = len(data)
    while start < end:
        if end - start < _ENTRY.size:
            raise MalformedInput("a datagram's last message is cut off")
        channel_bytes, payload_bytes = _ENTRY.unpack_from(data, start)
        middle = start + _ENTRY.size + channel_bytes
        begin, start = middle - channel_bytes, middle + payload_bytes
        if start > end:
            raise MalformedInput(f"a message of {payload_bytes} bytes in a datagram that ends before")
        found.append((data[begin:middle], data[middle:start]))
    return found


def is_fragment(body: bytes) -> bool:
    """Whether this is the body of a fragment."""
    return body[:1] == b"\x01"


class Bundler:
    """Gathers small messages to one peer into as few bodies as hold them. `room`: bytes of a body."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._full: list[Body] = []
        self._parts: Body = [_BUNDLE]
        self._bytes = len(_BUNDLE)

    def add(self, channel: bytes, payload: bytes) -> bool:
        """False if it fits into no body: then it must be cut."""
        length = _ENTRY.size + len(channel) + len(payload)
        if self._bytes + length > self.room:
            if len(_BUNDLE) + length > self.room:
                return False
            self._close()
        self._parts += (_ENTRY.pack(len(channel), len(payload)), channel, payload)
        self._bytes += length
        return True

    def take(self) -> list[Body]:
        """What was gathered, in order; nothing of it stays."""
        if len(self._parts) > 1:
            self._close()
        full, self._full = self._full, []
        return full

    def _close(self) -> None:
        self._full.append(self._parts)
        self._parts, self._bytes = [_BUNDLE], len(_BUNDLE)


def cut(number: int, channel: bytes, payload: bytes, room: int) -> Iterator[Body]:
    """The bodies of one large message, each of at most `room` bytes."""
    entry = memoryview(b"".join((_ENTRY.pack(len(channel), len(payload)), channel, payload)))
    content_bytes = room - _FRAGMENT.size
    count = -(-len(entry) // content_bytes)
    if count > COUNT_MAX:
        raise BrokenInvariant(f"a message of {len(payload)} bytes would need {count} fragments")
    for index in range(count):
        piece = entry[index * content_bytes : (index + 1) * content_bytes]
        yield [_FRAGMENT.pack(_IS_FRAGMENT, number, index, count), bytes(piece)]


class _Unfinished:
    """A message of which some fragments have come."""

    __slots__ = ("bytes", "count", "pieces", "since_s")

    def __init__(self, count: int, since_s: float) -> None:
        self.count = count
        self.since_s = since_s
        self.bytes = 0
        self.pieces: dict[int, bytes] = {}


_Key = tuple[bytes, int]


class Reassembly:
    """Puts the fragments of one peer together, in whatever order and however often they come.

    A message is known by its sender's life and its number, so that two lives of one node never mix.
    Beyond `bytes_max` the oldest unfinished message is given up, and any that is older than
    `FRAGMENT_AGE_S`; `counters["incomplete"]` counts them.
    """

    def __init__(self, counters: dict[str, int], bytes_max: int = REASSEMBLY_BYTES_MAX) -> None:
        self.bytes_held = 0
        self._counters = counters
        self._bytes_max = bytes_max
        self._unfinished: dict[_Key, _Unfinished] = {}  # oldest first
        self._done: dict[_Key, None] = {}

    def __len__(self) -> int:
        """How many messages are unfinished."""
        return len(self._unfinished)

    def messages(self, life: bytes, body: bytes, now_s: float) -> list[tuple[bytes, bytes]]:
        """Every whole (channel, payload) that this body brings or completes. Raises `MalformedInput`,
        and then has changed nothing but that a message which cannot be right is given up."""
        if not body:
            raise MalformedInput("an empty datagram")
        if body[0] == _BUNDLE[0]:
            return entries(body, len(_BUNDLE))
        whole = self._add(life, body, now_s)
        return [] if whole is None else entries(whole)

    def expire(self, now_s: float) -> None:
        """Give up what is too old."""
        while self._unfinished:
            key = next(iter(self._unfinished))
            if now_s - self._unfinished[key].since_s < FRAGMENT_AGE_S:
                return
            self._give_up(key)

    def _add(self, life: bytes, body: bytes, now_s: float) -> bytes | None:
        """The entry that this fragment completes, if it does."""
        if body[0] != _IS_FRAGMENT or len(body) <= _FRAGMENT.size:
            raise MalformedInput("a datagram that is neither messages nor a fragment with content")
        _, number, index, count = _FRAGMENT.unpack_from(body)
        if index >= count or count < 2:
            raise MalformedInput(f"fragment {index} of {count}")
        self.expire(now_s)
        key = (life, number)
        if key in self._done:
            return None
        message = self._unfinished.get(key)
        if message is None:
            message = self._unfinished[key] = _Unfinished(count, now_s)
        if message.count != count:
            raise MalformedInput(f"a fragment of {count}, where an earlier one was of {message.count}")
        if index in message.pieces:
            return None
        piece = message.pieces[index] = body[_FRAGMENT.size :]
        cost = len(piece) + FRAGMENT_OVERHEAD_BYTES
        message.bytes += cost
        self.bytes_held += cost
        if message.bytes - FRAGMENT_OVERHEAD_BYTES * len(message.pieces) > _ENTRY_BYTES_MAX:
            self._give_up(key)
            raise MalformedInput(f"fragments of more than {MESSAGE_BYTES_MAX} bytes altogether")
        if len(message.pieces) == count:
            self._forget(key)
            self._remember(key)
            return b"".join([message.pieces[place] for place in range(count)])
        while self.bytes_held > self._bytes_max:
            self._give_up(next(iter(self._unfinished)))
        return None

    def _forget(self, key: _Key) -> None:
        self.bytes_held -= self._unfinished.pop(key).bytes

    def _give_up(self, key: _Key) -> None:
        self._forget(key)
        self._counters["incomplete"] += 1

    def _remember(self, key: _Key) -> None:
        self._done[key] = None
        if len(self._done) > DONE_REMEMBERED:
            del self._done[next(iter(self._done))]


_ENTRY_BYTES_MAX = _ENTRY.size + CHANNEL_BYTES_MAX + MESSAGE_BYTES_MAX
