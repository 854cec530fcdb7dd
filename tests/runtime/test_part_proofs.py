"""Proofs on the parts of exports: what no node with the site's key has written is not taken in."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest
from tests.replication.bayou.replicas import Replicas

from holdfast.kernel.errors import MalformedInput
from holdfast.runtime.part_proofs import FORGED, KEYLESS, UNPROVED, Keyless, PartProofs

KEY = bytes(range(32))
RESERVE = "reserve Maple 2026-12-01 09:00 1h Meeting"


def proofs(secret: bytes = KEY, site: str = "college", service: str = "rooms") -> PartProofs:
    return PartProofs(secret, site, service)


def replicas(seals: Any) -> Replicas:
    """law has a booking; music's laptop has not heard of it."""
    made = Replicas("biology law music", seals=seals)
    made.isolate("music")
    made.book("law", RESERVE)
    return made


def test_what_is_sealed_opens_under_the_same_key_alone() -> None:
    sealed = proofs().seal("abc")
    assert sealed.startswith("abc.")
    assert proofs().open(sealed) == "abc"
    for other in (
        proofs(KEY[::-1]),
        proofs(site="school"),
        proofs(service="labs"),
        proofs(site="collegerooms", service=""),
    ):
        with pytest.raises(MalformedInput, match="does not prove the site's key"):
            other.open(sealed)


def test_a_part_that_was_changed_anywhere_does_not_open() -> None:
    sealed = proofs().seal("abcdef")
    for place in range(len(sealed)):
        changed = sealed[:place] + chr(ord(sealed[place]) ^ 1) + sealed[place + 1 :]
        with pytest.raises(MalformedInput):
            proofs().open(changed)
        with pytest.raises(MalformedInput):
            proofs().open(sealed[:place])
    for other in ("", ".", "abcdef.", "ä.ä", f"{sealed}."):
        with pytest.raises(MalformedInput):
            proofs().open(other)


def test_a_part_proved_as_earlier_versions_did_is_refused_with_what_to_do() -> None:
    """By an HMAC-SHA256 under a key derived from the site's."""
    tag = hmac.new(hmac.digest(KEY, b"holdfast-export-key", "sha256"), digestmod="sha256")
    for field in (b"part of an export", b"college", b"rooms"):
        tag.update(len(field).to_bytes(4, "big") + field)
    tag.update(b"abc")
    proof = base64.urlsafe_b64encode(tag.digest()).decode().rstrip("=")
    with pytest.raises(MalformedInput, match="by an earlier version, whose proofs were others; export it again"):
        proofs().open(f"abc.{proof}")


def test_with_the_key_parts_go_from_replica_to_replica() -> None:
    made = replicas(proofs())
    assert [made.take("music", part) for part in made.export("law")] == ["1 new writes, 0 new commits."]


@pytest.mark.parametrize(
    ("theirs", "ours", "why"),
    [
        (None, proofs(), UNPROVED),
        (proofs(bytes(32)), proofs(), FORGED),
        (proofs(service="labs"), proofs(), FORGED),
        (None, Keyless(), KEYLESS),
        (proofs(), Keyless(), KEYLESS),
        (proofs(), None, "this part is sealed with a site's key, and this node has no site.key"),
    ],
)
def test_a_part_of_who_has_no_key_or_another_one_is_refused_and_changes_nothing(
    theirs: Any, ours: Any, why: str
) -> None:
    parts, made = replicas(theirs).export("law"), replicas(ours)
    before = made.core("music").replica.records_written
    for part in parts:
        told = made.take("music", part)
        assert told.startswith(f"Failed: {why}")
        assert told.endswith("; nothing was changed.")
    assert made.core("music").replica.records_written == before
    assert made.ask("music", "schedule 2026-12-01") == "2026-12-01: all free."
