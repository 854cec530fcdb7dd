"""The site's secret: a file that every node of the site has alike, and nobody else may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from holdfast.kernel.errors import ConfigurationError

KEY_BYTES = 32
"""What is made, and the least that is taken."""
KEY_BYTES_MAX = 64
"""What BLAKE2b takes."""
_TEXT_BYTES_MAX = 4096


def make_key(path: Path) -> bool:
    """Make a key where there is none; True if it was made now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(KEY_BYTES) + "\n")
        file.flush()
        os.fsync(descriptor)
    return True


def read_key(path: Path) -> bytes:
    """The secret. Raises `ConfigurationError`, which says what to do."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_TEXT_BYTES_MAX + 1)
    except FileNotFoundError:
        why = (
            "the site's key is missing: copy it from another machine of the site; if none has one yet, make it once, "
            f"with `(umask 077; openssl rand -hex {KEY_BYTES} > {path})`, and copy it to every machine"
        )
        raise ConfigurationError(why, file=str(path)) from None
    except OSError as error:
        raise ConfigurationError(f"the site's key cannot be read: {error.strerror}", file=str(path)) from error
    if mode & 0o077:
        raise ConfigurationError(f"others can read the site's key: `chmod 600 {path}`", file=str(path))
    try:
        key = bytes.fromhex(text.decode("ascii")) if len(text) <= _TEXT_BYTES_MAX else b""
    except ValueError:
        key = b""
    if not KEY_BYTES <= len(key) <= KEY_BYTES_MAX:
        why = (
            f"the site's key must be {KEY_BYTES} to {KEY_BYTES_MAX} bytes in hexadecimal digits: "
            "copy it again from another machine of the site, or make a new one for all of them"
        )
        raise ConfigurationError(why, file=str(path))
    return key
