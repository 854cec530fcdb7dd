"""Proofs on the parts of an export: an HMAC-SHA256 over each, under a key derived from the site's. No I/O here.

    part.proof        both in the digits of base64

The proof covers what kind of thing it is, the site's and the service's names, and the part. So what no node of the
site has written is not taken in, nor a part of another service. It does not hide the part, nor say that it is fresh:
parts may be repeated, and are carried for days (`replication/bayou/files.py`).
"""

from __future__ import annotations

import base64
import hmac

from holdfast.kernel.errors import MalformedInput

BETWEEN = "."
"""Between part and proof; no digit of base64."""
_PURPOSE = b"holdfast-export-key"
"""Keeps the derived key apart from any other use of the same secret."""
_KIND = b"part of an export"

FORGED = (
    "this part does not prove the site's key: it has been changed, or was written where the key is another one; "
    "export it again, at a node that has the same site.key as this one"
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
        key = hmac.digest(secret, _PURPOSE, "sha256")
        self._begun = hmac.new(key, digestmod="sha256")
        for part in (_KIND, site.encode(), service.encode()):
            self._begun.update(len(part).to_bytes(4, "big") + part)

    def seal(self, part: str) -> str:
        """The part with its proof."""
        return part + BETWEEN + self._proof(part)

    def open(self, sealed: str) -> str:
        """The part, if it is proved. Raises `MalformedInput`, which says what to do."""
        part, between, proof = sealed.rpartition(BETWEEN)
        if not between:
            raise MalformedInput(UNPROVED)
        if not hmac.compare_digest(self._proof(part).encode(), proof.encode()):
            raise MalformedInput(FORGED)
        return part

    def _proof(self, part: str) -> str:
        tag = self._begun.copy()
        tag.update(part.encode())
        return base64.urlsafe_b64encode(tag.digest()).decode().rstrip("=")


class Keyless:
    """For a service that asks for tokens, at a node without a key: a part may be anybody's, in anybody's name."""

    def seal(self, part: str) -> str:
        """The part as it is."""
        return part

    def open(self, sealed: str) -> str:
        """Never. Raises `MalformedInput`."""
        raise MalformedInput(KEYLESS)
