"""Proofs on the parts of an export: a keyed BLAKE2b tag over each, made with the site's key. No I/O here.

    part.proof        both in the digits of base64

The proof covers the site's and the service's names, and the part. So what no node of the site has written is not
taken in, nor a part of another service. It does not hide the part, nor say that it is fresh: parts may be repeated,
and are carried for days (`replication/bayou/files.py`).
"""

from __future__ import annotations

import base64
from hmac import compare_digest

from holdfast.kernel.errors import MalformedInput
from holdfast.runtime.keyed import Keyed

BETWEEN = "."
"""Between part and proof; no digit of base64."""
PROOF_BYTES = 32

FORGED = (
    "this part does not prove the site's key: it has been changed, or was written where the key is another one, or by "
    "an earlier version, whose proofs were others; export it again, at a node that has the same site.key as this one"
)
UNPROVED = (
    "this part brings no proof of the site's key: it was written where there is none, or by a version before these "
    "proofs; export it again, at a node that has the same site.key as this one"
)
KEYLESS = (
    "here people prove who they are, and this node has no site.key, so it cannot tell who has written this part; "
    "give the node the site's key, restart it, and export again at a node that has the same"
)


class PartProofs:
    """Proves the parts of one service, and sees to the proofs of others'."""

    def __init__(self, secret: bytes, site: str, service: str) -> None:
        self._tags = Keyed(secret, "holdfast-export", site.encode(), service.encode(), tag_bytes=PROOF_BYTES)

    def seal(self, part: str) -> str:
        """The part with its proof."""
        proof = base64.urlsafe_b64encode(self._tags.tag(part.encode())).decode().rstrip("=")
        return part + BETWEEN + proof

    def open(self, sealed: str) -> str:
        """The part, if it is proved. Raises `MalformedInput`, which says what to do."""
        part, between, _ = sealed.rpartition(BETWEEN)
        if not between:
            raise MalformedInput(UNPROVED)
        if not compare_digest(self.seal(part).encode(), sealed.encode()):
            raise MalformedInput(FORGED)
        return part


class Keyless:
    """For a service that asks for tokens, at a node without a key: a part may be anybody's, in anybody's name."""

    def seal(self, part: str) -> str:
        """The part as it is."""
        return part

    def open(self, sealed: str) -> str:
        """Never. Raises `MalformedInput`."""
        raise MalformedInput(KEYLESS)
