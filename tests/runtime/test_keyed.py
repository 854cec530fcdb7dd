"""Tags made with the site's key: what fits, and above all what does not."""

from __future__ import annotations

from hashlib import blake2b
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.runtime.keyed import Keyed, Use

KEY = bytes(range(32))
USES: tuple[Use, ...] = get_args(Use)
FIELDS = st.lists(st.binary(max_size=40), max_size=5)


def link(*begun: bytes, key: bytes = KEY) -> Keyed:
    return Keyed(key, "holdfast-link", *begun, tag_bytes=32)


def test_a_tag_is_keyed_blake2b_over_fields_behind_their_lengths() -> None:
    """What goes over the wires and into files: another construction is another version."""
    whole = b"\x00\x00\x00\x01a" + b"\x00\x00\x00\x00" + b"\x00\x00\x01\x00" + bytes(256)
    assert link(b"a").tag(b"", bytes(256)) == blake2b(whole, key=KEY, digest_size=32, person=b"holdfast-link").digest()


@given(FIELDS, st.data())
def test_it_does_not_matter_where_the_fields_were_begun_and_a_tag_can_be_made_again(
    fields: list[bytes], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(fields)))
    begun, tag = link(*fields[:place]), link().tag(*fields)
    for _ in range(2):
        assert begun.tag(*fields[place:]) == tag
        assert begun.fits(memoryview(tag), *map(memoryview, fields[place:]))


@given(FIELDS, FIELDS)
def test_other_fields_have_another_tag(fields: list[bytes], others: list[bytes]) -> None:
    assert link().fits(link().tag(*fields), *others) is (fields == others)


@given(st.binary(max_size=20), st.data())
def test_no_border_between_fields_can_be_moved(whole: bytes, data: st.DataObject) -> None:
    one, other = (data.draw(st.integers(0, len(whole))) for _ in range(2))
    tag = link().tag(whole[:one], whole[one:])
    assert link().fits(tag, whole[:other], whole[other:]) is (one == other)
    for fields in ((whole,), (whole[:one], whole[one:], b""), (b"", whole[:one], whole[one:])):
        assert not link().fits(tag, *fields)


def test_a_length_is_no_part_of_a_field() -> None:
    """Fields that are themselves written as fields are."""
    assert not link().fits(link().tag(b"a", b"b"), b"a\x00\x00\x00\x01b")
    assert not link().fits(link().tag(), b"")


@given(st.binary(min_size=1, max_size=40), st.data())
def test_no_bit_can_be_changed_in_field_key_or_tag(field: bytes, data: st.DataObject) -> None:
    def changed(what: bytes) -> bytes:
        bit = data.draw(st.integers(0, 8 * len(what) - 1))
        return what[: bit // 8] + bytes((what[bit // 8] ^ 1 << bit % 8,)) + what[bit // 8 + 1 :]

    tag = link(b"house").tag(field)
    assert link(b"house").fits(tag, field)
    assert not link(b"house").fits(tag, changed(field))
    assert not link(b"house").fits(changed(tag), field)
    assert not link(b"house", key=changed(KEY)).fits(tag, field)


@pytest.mark.parametrize("tag_bytes", [16, 32])
def test_a_tag_of_one_use_is_none_of_another(tag_bytes: int) -> None:
    tags = [Keyed(KEY, use, b"house", tag_bytes=tag_bytes).tag(b"a", b"b") for use in USES]
    assert len(USES) > 1
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("tag_bytes", [0, 15, 31, 33])
def test_a_tag_of_another_length_does_not_fit(tag_bytes: int) -> None:
    tag = link().tag(b"a")
    assert not link().fits((tag + b"\x00")[:tag_bytes], b"a")
    if tag_bytes:
        assert not link().fits(Keyed(KEY, "holdfast-link", tag_bytes=tag_bytes).tag(b"a"), b"a")
