"""Who is told when an outcome changes: connections that said `watch`."""

from __future__ import annotations

from typing import Protocol

from holdfast.kernel.contracts import Change, Person
from holdfast.server.reply_lines import change_lines


class Watcher(Protocol):
    """A connection that watches. `person`: who is logged in there now."""

    person: Person | None

    def push(self, for_people: bytes, for_programs: bytes) -> None:
        """Tell it a line that nobody asked for, in the form of its mode."""


class Watchers:
    """The watching connections of a node, each with the service it watches and whose outcomes."""

    def __init__(self) -> None:
        self._watching: dict[Watcher, tuple[str, bool]] = {}

    def __len__(self) -> int:
        return len(self._watching)

    def add(self, watcher: Watcher, service: str, *, mine: bool) -> None:
        """From now on; it replaces what the connection watched before. `mine`: only what is its person's."""
        self._watching[watcher] = (service, mine)

    def remove(self, watcher: Watcher) -> None:
        """No more."""
        self._watching.pop(watcher, None)

    def tell(self, service: str, change: Change) -> None:
        """Push a change to everybody whom it concerns."""
        lines: tuple[bytes, bytes] | None = None
        for watcher, (watched, mine) in self._watching.items():
            if watched != service or (mine and (watcher.person is None or watcher.person.id != change.person)):
                continue
            lines = lines or change_lines(change)
            watcher.push(*lines)
