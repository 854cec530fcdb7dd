"""Frames on a byte stream: a 4-byte big-endian length, then that many bytes. No I/O here."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from holdfast.kernel.errors import MalformedInput

FRAME_BYTES_MAX = 64 << 20
LENGTH = struct.Struct(">I")


class FrameTooLong(MalformedInput):
    """A frame announces more bytes than the limit; nothing after it on the stream can be trusted."""


def frame(payload: bytes) -> bytes:
    """`payload` as one frame."""
    return LENGTH.pack(len(payload)) + payload


class FrameParser:
    """Cuts a stream that arrives in arbitrary chunks into frames.

    It holds at most one unfinished frame: `bytes_max` and one chunk more.
    """

    def __init__(self, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._chunks: list[bytes] = []
        self._held_bytes = 0
        self._wanted_bytes = LENGTH.size

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that `data` completes, in order. Iterate to the end before feeding more.

        Raises `FrameTooLong` once the frames before the bad one have been given out.
        """
        if self._held_bytes:
            self._chunks.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._wanted_bytes:
                return
            data = b"".join(self._chunks)
            self._chunks, self._held_bytes = [], 0
        start, end = 0, len(data)
        wanted = LENGTH.size
        while end - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(data, start)
            if length > self._bytes_max:
                raise FrameTooLong(f"a frame of {length} bytes; at most {self._bytes_max} are allowed")
            wanted = LENGTH.size + length
            if end - start < wanted:
                break
            payload = data[start + LENGTH.size : start + wanted]
            start += wanted
            wanted = LENGTH.size
            yield payload
        if start < end:
            self._chunks, self._held_bytes, self._wanted_bytes = [data[start:]], end - start, wanted
