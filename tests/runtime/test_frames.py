"""Framing: whatever the chunks, the same frames; what is too long is refused before it is held in memory."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.errors import MalformedInput
from holdfast.runtime.frames import FrameParser, FrameTooLong, frame
from holdfast.runtime.greeting import MAGIC, Ear, Hello, Knock, OtherVersion, Refused, Word, spoken


def chunks_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


cuts = st.lists(st.integers(0, 100_000), max_size=30)


@given(st.lists(st.binary(max_size=200), max_size=30), cuts)
def test_any_chunking_gives_the_same_frames(payloads: list[bytes], cuts: list[int]) -> None:
    parser = FrameParser()
    stream = b"".join(map(frame, payloads))
    assert [payload for chunk in chunks_of(stream, cuts) for payload in parser.feed(chunk)] == payloads


def test_one_byte_at_a_time() -> None:
    parser = FrameParser()
    stream = frame(b"first") + frame(b"") + frame(b"third")
    heard = [payload for byte in stream for payload in parser.feed(bytes([byte]))]
    assert heard == [b"first", b"", b"third"]


@given(st.lists(st.binary(max_size=20), max_size=5), st.integers(21, 2**32 - 1), cuts)
def test_a_frame_too_long_is_refused_after_those_before_it(payloads: list[bytes], length: int, cuts: list[int]) -> None:
    parser, heard = FrameParser(bytes_max=20), list[bytes]()
    stream = b"".join(map(frame, payloads)) + length.to_bytes(4, "big") + b"anything"

    def feed_all() -> None:
        for chunk in chunks_of(stream, cuts):
            for payload in parser.feed(chunk):
                heard.append(payload)

    with pytest.raises(FrameTooLong, match=f"a frame of {length} bytes; at most 20"):
        feed_all()
    assert heard == payloads


def test_a_large_frame_in_many_chunks_is_joined_once() -> None:
    parser, data = FrameParser(), bytes(range(256)) * 40_000
    stream = frame(data) + frame(b"next")
    heard: list[bytes] = []
    for start in range(0, len(stream), 1000):
        heard += parser.feed(stream[start : start + 1000])
    assert heard == [data, b"next"]


@given(st.binary(max_size=300), cuts)
def test_noise_never_does_more_than_be_refused(noise: bytes, cuts: list[int]) -> None:
    parser = FrameParser(bytes_max=100)
    try:
        heard = [payload for chunk in chunks_of(noise, cuts) for payload in parser.feed(chunk)]
    except FrameTooLong:
        return
    assert noise.startswith(b"".join(map(frame, heard)))


words = st.one_of(
    st.builds(Hello, st.text(max_size=20), st.text(max_size=20), st.text(max_size=20)),
    st.builds(Knock, st.text(max_size=20), st.text(max_size=20), st.text(max_size=20)),
    st.builds(Refused, st.text(max_size=200)),
)


@given(words, st.binary(max_size=40), cuts)
def test_any_chunking_gives_the_same_greeting(word: Word, rest: bytes, cuts: list[int]) -> None:
    ear, heard = Ear(), None
    left = chunks_of(spoken(word) + rest, cuts)
    while heard is None:
        heard = ear.hear(left.pop(0))
    assert heard == word
    assert ear.rest + b"".join(left) == rest


@given(st.binary(max_size=100))
def test_noise_is_no_greeting(noise: bytes) -> None:
    with pytest.raises(MalformedInput):
        Ear().hear(b"reserve" + noise)


@given(st.binary(max_size=100))
def test_noise_after_the_magic_is_refused_or_waited_for(noise: bytes) -> None:
    ear = Ear()
    try:
        word = ear.hear(MAGIC + b"\x00\x01" + noise)
    except MalformedInput:
        return
    assert word is None or noise.endswith(ear.rest)


def test_another_version_is_named() -> None:
    with pytest.raises(OtherVersion, match="it speaks version 258 of the peer protocol, this node speaks 1"):
        Ear().hear(MAGIC + b"\x01\x02" + bytes(4))


def test_a_greeting_is_small() -> None:
    with pytest.raises(MalformedInput, match="at most 4096"):
        Ear().hear(MAGIC + b"\x00\x01" + (4097).to_bytes(4, "big"))
