"""Who is told what: connections that said `watch`."""

from __future__ import annotations

from typing import Protocol

from holdfast.kernel.contracts import Change, Person
from holdfast.server.reply_lines import ChangeLines


class Watcher(Protocol):
    """A connection that watches. `person`: who is logged in there now."""

    person: Person | None

    def push(self, lines: ChangeLines) -> None:
        """Tell it a line that nobody asked for, in the form of its mode."""


class Watchers:
    """The watching connections of a node, each with the service it watches and whose changes: everybody's
    (None) or a person's. A change costs what there are watchers of it."""

    def __init__(self) -> None:
        self._watching: dict[Watcher, tuple[str, str | None]] = {}
        self._of: dict[tuple[str, str | None], dict[Watcher, None]] = {}

    def __len__(self) -> int:
        return len(self._watching)

    def add(self, watcher: Watcher, service: str, *, mine: bool) -> None:
        """From now on; it replaces what the connection watched before. `mine`: only what is its person's, who
        must be known."""
        if mine and watcher.person is None:
            raise ValueError(f"nobody is logged in whose changes of {service} could be told")
        self.remove(watcher)
        whose = watcher.person.id if mine and watcher.person is not None else None
        self._watching[watcher] = (service, whose)
        self._of.setdefault((service, whose), {})[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """No more."""
        place = self._watching.pop(watcher, None)
        if place is not None:
            watchers = self._of[place]
            del watchers[watcher]
            if not watchers:
                del self._of[place]

    def renamed(self, watcher: Watcher) -> None:
        """Somebody else may be logged in there now: one that watched what is its person's goes on with theirs."""
        service, whose = self._watching.get(watcher, ("", None))
        if whose is not None:
            self.add(watcher, service, mine=True)

    def tell(self, service: str, change: Change) -> None:
        """Push a change to everybody whom it concerns."""
        everybody = self._of.get((service, None), ())
        theirs = self._of.get((service, change.person), ()) if change.person else ()
        if everybody or theirs:
            lines = ChangeLines(change)
            for watcher in (*everybody, *theirs):
                watcher.push(lines)
