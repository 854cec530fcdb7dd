"""Proofs that who greets has the site's key: each end of a link answers the other's nonce with a keyed BLAKE2b tag.
No I/O here.

A tag covers the role of who proves, the site, who speaks to whom, and the fresh nonces of both ends. So a
recorded one proves nothing on another connection, and none can be sent back to who has made it.
"""

from __future__ import annotations

import os
from typing import Literal

from holdfast.runtime.keyed import Keyed

NONCE_BYTES = 16
PROOF_BYTES = 32
UNPROVED = "it does not prove the site's key; both nodes need the same site.key"
KEYLESS = "it wants proof of the site's key, which is not here; both nodes need the same site.key"

Role = Literal["hello", "knock", "answer"]
"""What the prover has begun the connection with; `answer` is who was called."""


class Proofs:
    """What one node needs to prove that it has the secret, and to see that another one has."""

    def __init__(self, secret: bytes, site: str) -> None:
        self._tags = Keyed(secret, "holdfast-link", tag_bytes=PROOF_BYTES)
        self._site = site.encode()

    def make(self, role: Role, speaker: str, to: str, nonces: tuple[bytes, bytes]) -> bytes:
        """The proof of `speaker` for `to`. `nonces`: the caller's, then that of who was called."""
        return self._tags.tag(*self._fields(role, speaker, to, nonces))

    def hold(self, proof: bytes, role: Role, speaker: str, to: str, nonces: tuple[bytes, bytes]) -> bool:
        """Whether this is that proof; compared in constant time."""
        return self._tags.fits(proof, *self._fields(role, speaker, to, nonces))

    def _fields(self, role: Role, speaker: str, to: str, nonces: tuple[bytes, bytes]) -> tuple[bytes, ...]:
        return role.encode(), self._site, speaker.encode(), to.encode(), *nonces


def fresh_nonce() -> bytes:
    """What the other side has never answered before."""
    return os.urandom(NONCE_BYTES)
