"""The vendors' addresses and keys. Keys come from a file or the environment, never from a command line,
where every user of the machine could read them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from holdfast.kernel.errors import ConfigurationError

KEYS_VARIABLE = "HOLDFAST_VENDOR_KEYS"
"""The keys, in the order of the vendors, separated by blanks."""


def address(url: str) -> str:
    """A vendor's base address in one form, without a final slash. Raises `ConfigurationError`."""
    try:
        parts = urlsplit(url.strip())
        _ = parts.port  # raises for what is no port
    except ValueError as error:
        raise ConfigurationError(f"{url!r} is no address: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"a vendor's address is like http://127.0.0.1:8001/hotel/api, not {url!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError("a vendor's address holds no name, key or question; keys come from a file")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def names_of(addresses: Sequence[str]) -> tuple[str, ...]:
    """A short name for each: the word before `api`, with the host where that is not enough."""
    short = []
    for one in addresses:
        parts = urlsplit(one)
        words = [word for word in parts.path.split("/") if word]
        if words and words[-1] == "api":
            words.pop()
        short.append(words[-1] if words else parts.netloc)
    if len(set(short)) == len(short):
        return tuple(short)
    long = [f"{name} at {urlsplit(one).netloc}" for name, one in zip(short, addresses, strict=True)]
    return tuple(long) if len(set(long)) == len(long) else tuple(addresses)


def read_keys(path: Path) -> dict[str, str]:
    """The keys in a file of lines `ADDRESS KEY`, by address; `#` begins a comment. Raises `ConfigurationError`."""
    keys = {}
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the keys cannot be read: {error}", file=str(path)) from error
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise ConfigurationError("a line is ADDRESS KEY", file=str(path), line=number)
        keys[address(words[0])] = words[1]
    return keys


def is_open_to_others(path: Path) -> bool:
    """Whether other users of this machine can read the file."""
    return bool(path.stat().st_mode & 0o077)


def keys_for(addresses: Sequence[str], keys: Mapping[str, str]) -> tuple[str, ...]:
    """Each vendor's key: by its address, or from the environment. Raises `ConfigurationError` if one is missing."""
    known = {address(one): key for one, key in keys.items()}
    given = os.environ.get(KEYS_VARIABLE, "").split()
    if given and not known and len(given) != len(addresses):
        raise ConfigurationError(f"{KEYS_VARIABLE} holds {len(given)} keys for {len(addresses)} vendors")
    if given and not known:
        return tuple(map(_sendable, given))
    missing = [one for one in addresses if one not in known]
    if missing:
        raise ConfigurationError(
            f"no key for {missing[0]}: give a file of lines ADDRESS KEY, or {KEYS_VARIABLE} in the vendors' order"
        )
    return tuple(_sendable(known[one]) for one in addresses)


def _sendable(key: str) -> str:
    """A key goes into a header, which holds plain characters only."""
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError("a vendor's key has a character that no key has; copy it anew")
    return key
