"""Retries over HTTP: the header `Idempotency-Key` as the name of a request (`kernel.contracts.Request`)."""

from __future__ import annotations

import hashlib
import re
from typing import Any

IDEMPOTENCY_KEY_CHARACTERS_MAX = 256

_UUID7 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_WITH_BIRTH = re.compile(r"[\x21-\x7e]{1,200}\.([0-9]{13})")


def client_of(key: str, *said: Any) -> str:
    """The client whose request number 1 is what was `said` with this key: the same at every node, another one for
    anything else that is said. Raises `ValueError` for a key that cannot be used.

    A key must tell when it was made, so that one that is too old to be known can be refused instead of done
    again (`kernel.sessions`): it is a UUID of version 7, or ends in `.` and 13 digits of Unix milliseconds.
    """
    born = _WITH_BIRTH.fullmatch(key)
    if born is not None:
        birth = born[1]
    elif (uuid := _UUID7.fullmatch(key)) is not None:
        birth = f"{int(uuid[1] + uuid[2], 16):013}"
    else:
        raise ValueError("an Idempotency-Key is a UUID of version 7, or ends in .<Unix milliseconds>")
    return f"http-{hashlib.sha256(repr((key, *said)).encode()).hexdigest()[:32]}.{birth}"
