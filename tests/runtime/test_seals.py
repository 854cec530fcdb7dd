"""What opens, and above all what does not."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.runtime.seals import LIFE_BYTES, TAG_BYTES, VERSION, Seals

SECRET = bytes(range(32))
LIFE = b"lifetime"
NODES = ("a", "b", "c")


def seals(me: str, *, secret: bytes = SECRET, site: str = "house", life: bytes = LIFE) -> Seals:
    return Seals(secret, site, me, NODES, life)


def test_the_receiver_and_nobody_else_opens_what_was_sealed_for_it() -> None:
    datagram = seals("a").seal("b", [b"one ", b"two"])
    assert len(datagram) == len(b"one two") + seals("a").overhead_bytes
    assert seals("b").open(memoryview(datagram)) == (b"a", LIFE, b"one two")
    assert seals("c").open(memoryview(datagram)) is None
    assert seals("a").open(memoryview(datagram)) is None, "it cannot be turned back either"
    assert seals("b", secret=bytes(32)).open(memoryview(datagram)) is None
    assert seals("b", site="mouse").open(memoryview(datagram)) is None


def test_names_do_not_run_into_each_other() -> None:
    """The site "house" and the node "b" are not the site "hous" and the node "eb"."""
    datagram = Seals(SECRET, "hous", "a", ["eb"], LIFE).seal("eb", [b"x"])
    assert Seals(SECRET, "hous", "eb", [], LIFE).open(memoryview(datagram)) is not None
    assert seals("b").open(memoryview(datagram)) is None


@given(st.binary(max_size=200), st.data())
def test_no_changed_datagram_opens(body: bytes, data: st.DataObject) -> None:
    datagram = bytearray(seals("a").seal("b", [body]))
    assert seals("b").open(memoryview(datagram)) == (b"a", LIFE, body)
    bit = data.draw(st.integers(0, 8 * len(datagram) - 1))
    datagram[bit // 8] ^= 1 << bit % 8
    assert seals("b").open(memoryview(datagram)) is None
    datagram[bit // 8] ^= 1 << bit % 8
    cut_off = data.draw(st.integers(0, len(datagram) - 1))
    assert seals("b").open(memoryview(datagram)[:cut_off]) is None
    assert seals("b").open(memoryview(datagram + b"x")) is None


@given(st.binary(max_size=200))
def test_no_bytes_whatsoever_open_or_raise(datagram: bytes) -> None:
    assert seals("b").open(memoryview(datagram)) is None


def test_a_peer_that_seals_nonsense_about_its_name_is_not_believed() -> None:
    """Its tag is right; the length of its name points behind the end."""
    liar = seals("a")
    liar._head = bytes((VERSION, 200)) + LIFE + b"a"
    assert seals("b").open(memoryview(liar.seal("b", [b"x"]))) is None


def test_a_datagram_of_another_version_does_not_open() -> None:
    """Nor one that says it is of this version, and is sealed as one of the first: its length was not in the tag."""
    other = seals("a")
    other._head = bytes((VERSION - 1,)) + other._head[1:]
    assert seals("b").open(memoryview(other.seal("b", [b"x"]))) is None
    for version in (1, VERSION):
        data = bytes((version, 1)) + LIFE + b"a" + b"x"
        tag = blake2b(key=SECRET, digest_size=TAG_BYTES, person=b"holdfast-udp")
        tag.update(b"\x00\x00\x00\x05house" + b"\x00\x00\x00\x01b" + data)
        assert seals("b").open(memoryview(data + tag.digest())) is None


def test_a_name_or_a_life_of_a_wrong_length_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="at most"):
        seals("a" * 256)
    with pytest.raises(ValueError, match="life"):
        seals("a", life=b"short")
    assert (TAG_BYTES, LIFE_BYTES) == (16, 8)
