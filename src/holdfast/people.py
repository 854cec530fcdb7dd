"""The people of a site, and how one proves who they are.

A service has `identity = "trusted"` (the id is believed: a demo, a closed network) or `"token"`.
Of a token only a salted scrypt hash is kept. Hashing takes some 30 ms of processor time and 16 MiB
on purpose, so a server calls `People.verify`: that runs on one thread of its own (scrypt lets go of
the interpreter's lock meanwhile) and refuses when too many wait, so that a flood of logins can
neither stop the event loop nor queue without limit.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec

from holdfast.kernel.contracts import Person
from holdfast.kernel.replies import Forbidden, Overloaded

Identity = Literal["trusted", "token"]

_COST, _BLOCK, _LANES = 2**14, 8, 1
_COST_MAX, _BLOCK_MAX, _LANES_MAX = 2**17, 16, 4
_MEMORY_BYTES_MAX = 256 * 1024 * 1024
_SALT_BYTES, _HASH_BYTES = 16, 32
TOKEN_CHARACTERS_MAX = 1024
ADMINISTRATOR = "administrator"
"""The role of who is shown what a service has to tell others."""
OPERATOR = "operator"
"""The role of who may say the words of a protocol where not everybody may."""
WAITING_MAX = 64
"""Logins that may wait for the hashing thread: at most about two seconds' worth."""


class TokenHash(msgspec.Struct, frozen=True):
    """A salted scrypt hash of a token, written `scrypt$cost$block$lanes$salt$hash` (base64)."""

    cost: int
    block: int
    lanes: int
    salt: bytes
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> TokenHash:
        """Read the written form; raises `ValueError` saying what is wrong with it."""
        parts = text.split("$")
        if len(parts) != 6 or parts[0] != "scrypt":
            raise ValueError(
                "a token hash looks like scrypt$16384$8$1$<salt>$<hash>; make one with python -m holdfast.people"
            )
        try:
            cost, block, lanes = (int(part) for part in parts[1:4])
            salt, digest = (base64.b64decode(part, validate=True) for part in parts[4:])
        except (ValueError, binascii.Error) as error:
            raise ValueError(f"a part of the token hash cannot be read: {error}") from error
        if not (2 <= cost <= _COST_MAX and cost & (cost - 1) == 0 and 1 <= block <= _BLOCK_MAX):
            raise ValueError(f"cost must be a power of two up to {_COST_MAX}, block at most {_BLOCK_MAX}")
        if not 1 <= lanes <= _LANES_MAX or len(salt) < _SALT_BYTES or len(digest) != _HASH_BYTES:
            raise ValueError(f"lanes must be 1 to {_LANES_MAX}, the salt {_SALT_BYTES} bytes, the hash {_HASH_BYTES}")
        return cls(cost, block, lanes, salt, digest)

    @classmethod
    def of(cls, token: str) -> TokenHash:
        """A new hash of `token` with a fresh salt."""
        salt = secrets.token_bytes(_SALT_BYTES)
        return cls(_COST, _BLOCK, _LANES, salt, _scrypt(token, _COST, _BLOCK, _LANES, salt))

    def written(self) -> str:
        """The inverse of `parse`."""
        salt, digest = (base64.b64encode(part).decode("ascii") for part in (self.salt, self.digest))
        return f"scrypt${self.cost}${self.block}${self.lanes}${salt}${digest}"

    def matches(self, token: str) -> bool:
        """Whether `token` is the one. Takes as long for a wrong one."""
        return hmac.compare_digest(self.digest, _scrypt(token, self.cost, self.block, self.lanes, self.salt))


def _scrypt(token: str, cost: int, block: int, lanes: int, salt: bytes) -> bytes:
    data = token.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=cost, r=block, p=lanes, maxmem=_MEMORY_BYTES_MAX, dklen=_HASH_BYTES)


def new_token() -> str:
    """A token of 192 random bits, fit for a command line."""
    return secrets.token_urlsafe(24)


class People:
    """Everybody a site knows. Immutable but for its hashing thread."""

    def __init__(self, people: Iterable[Person] = (), tokens: Mapping[str, TokenHash] | None = None) -> None:
        self._people = {person.id: person for person in people}
        self._tokens = dict(tokens or {})
        # What a token of an unknown id is compared with, so that its answer takes as long.
        self._decoy = TokenHash(_COST, _BLOCK, _LANES, bytes(_SALT_BYTES), bytes(_HASH_BYTES))
        self._hashing: ThreadPoolExecutor | None = None
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._people)

    def get(self, id: str) -> Person | None:
        """The person with this id, unproved."""
        return self._people.get(id)

    @property
    def ids(self) -> tuple[str, ...]:
        """Every id, in the order of the site's file."""
        return tuple(self._people)

    @property
    def listed(self) -> tuple[Person, ...]:
        """Everybody, in the order of the site's file."""
        return tuple(self._people.values())

    def login(self, id: str, token: str = "", *, identity: Identity) -> Person | Forbidden:
        """The person, if the service's kind of identity is satisfied. With "token" it takes some 30 ms."""
        person = self._people.get(id)
        if identity == "trusted":
            return person if person is not None else Forbidden(f"nobody here has the id {id!r}.")
        if len(token) > TOKEN_CHARACTERS_MAX:
            return Forbidden(f"a token has at most {TOKEN_CHARACTERS_MAX} characters.")
        known = self._tokens.get(id)
        right = (known or self._decoy).matches(token)
        if person is None or known is None or not right:
            return Forbidden("this id and token do not belong together; write login ID TOKEN.")
        return person

    async def verify(self, id: str, token: str = "", *, identity: Identity) -> Person | Forbidden | Overloaded:
        """`login` for an event loop: hashing happens on a thread, and not more than `WAITING_MAX` may wait for it."""
        if identity == "trusted":
            return self.login(id, token, identity=identity)
        if self._waiting >= WAITING_MAX:
            return Overloaded(WAITING_MAX)
        if self._hashing is None:
            self._hashing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="login")
        loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            return await loop.run_in_executor(self._hashing, lambda: self.login(id, token, identity=identity))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the hashing thread."""
        if self._hashing is not None:
            self._hashing.shutdown(wait=True, cancel_futures=True)
            self._hashing = None


if __name__ == "__main__":
    fresh = new_token()
    sys.stdout.write(f"token (give it to the person): {fresh}\n")
    sys.stdout.write(f'site.toml, [people.ID]: token = "{TokenHash.of(fresh).written()}"\n')
