"""The errors of Holdfast, by whose fault they are.

    HoldfastError
    ├── LocalError             our own fault: stop the replica and report it
    │   └── BrokenInvariant    something that cannot happen has happened
    ├── MalformedInput         bytes or values from outside that make no sense: refuse, count, go on
    ├── SnapshotError          a snapshot that is damaged, cut short or of another format
    ├── JournalDamaged         the journal fails its checks: set the disk aside, copy from a peer
    └── ConfigurationError     a mistake in a configuration; tells the file and the key or line

A refusal of an app is a reply, never one of these.
"""

from __future__ import annotations


class HoldfastError(Exception):
    """Base of all errors that Holdfast raises on purpose. The text says what, where and what to do."""


class LocalError(HoldfastError):
    """Our own fault, whatever came from outside."""


class BrokenInvariant(LocalError):
    """What must always hold does not. The replica has to stop: its state can no longer be trusted."""


class MalformedInput(HoldfastError):
    """Bytes or values from outside that mean nothing here. Nothing was changed."""


class SnapshotError(HoldfastError):
    """A snapshot that cannot be restored: damaged, cut short, or of another format or app."""


class JournalDamaged(HoldfastError):
    """The journal fails its checks. Nothing of it may be served."""


class ConfigurationError(HoldfastError):
    """A mistake in a configuration.

    `file`: where it stands; `key` (like `service.tickets.seats`) or `line` (from 1): which one.
    """

    def __init__(self, why: str, *, file: str | None = None, key: str | None = None, line: int | None = None) -> None:
        where = [part for part in (file, f"line {line}" if line is not None else None, key) if part]
        super().__init__(f"{', '.join(where)}: {why}" if where else why)
        self.why = why
        self.file = file
        self.key = key
        self.line = line
