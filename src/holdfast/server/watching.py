"""Who is told what: connections that said `watch`."""

from __future__ import annotations

from typing import Protocol

from holdfast.kernel.contracts import Change, Person
from holdfast.server.reply_lines import ChangeLines, missed_line


class Watcher(Protocol):
    """A connection that watches. `person`: who is logged in there now."""

    person: Person | None

    def push(self, lines: ChangeLines) -> None:
        """Tell it a line that nobody asked for, in the form of its mode."""

    def push_missed(self) -> None:
        """Tell it that there were changes, nobody knows how many, which it is not told."""


class Unasked:
    """The lines that nobody asked for, of one connection, until they are written. Beyond `bytes_max` of them, or
    while its client does not read, it misses what there is to tell, and is told so when it can be."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.missed = 0
        """How many lines were left out."""
        self._is_behind = False
        self._lines: list[bytes] = []
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._lines or self.missed or self._is_behind)

    def add(self, line: bytes, *, is_read: bool) -> bool:
        """Keep a line for the next writing, unless it is missed. `is_read`: whether the client reads."""
        if not is_read or self._bytes + len(line) > self.bytes_max:
            self.missed += 1
            return False
        self._lines.append(line)
        self._bytes += len(line)
        return True

    def fall_behind(self) -> None:
        """There were others, nobody knows how many."""
        self._is_behind = True

    def take(self, *, as_json: bool, is_read: bool) -> list[bytes]:
        """What is to be written, and what was missed behind it, if the client reads."""
        lines, self._lines, self._bytes = self._lines, [], 0
        if is_read and (self.missed or self._is_behind):
            lines.append(missed_line(0 if self._is_behind else self.missed, as_json=as_json))
            self.missed, self._is_behind = 0, False
        return lines


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

    def tell_missed(self, service: str) -> None:
        """Tell everybody who watches the service that there were changes which nobody is told."""
        for place in [place for place in self._of if place[0] == service]:
            for watcher in self._of[place]:
                watcher.push_missed()

    def tell(self, service: str, change: Change) -> None:
        """Push a change to everybody whom it concerns."""
        everybody = self._of.get((service, None), ())
        theirs = self._of.get((service, change.person), ()) if change.person else ()
        if everybody or theirs:
            lines = ChangeLines(change)
            for watcher in (*everybody, *theirs):
                watcher.push(lines)
