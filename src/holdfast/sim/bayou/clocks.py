"""What one process must know of its own clock: it follows from the true times, and from whom it has heard.

A clock is known to a process from the last `Have` of its peer on, if that came in time, until either
of the two is set anew. (Its own being set by more than the forward bound it notices by itself.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from holdfast.kernel.contracts import Peer, PeerConnected, PeerDisconnected, PeerRefused
from holdfast.replication.bayou.messages import Have

if TYPE_CHECKING:
    from holdfast.sim.bayou.office import Office

IN_TIME_MS = 2_000
"""A message that has travelled longer tells nothing certain of its sender's clock."""
SURELY_MS = 5_000
"""Farther than so beyond the bound nobody can take a clock for right that is known."""


class Clocks:
    """One life of a process at an office. `changes` counts whatever may alter what it knows."""

    def __init__(self, office: Office, offices: list[Office], core: Any) -> None:
        self.office = office
        self.offices = offices
        self.bound_ms: int = office.ground.forward_bound_ms
        self.changes = 0
        self._peers: Callable[[], list[Peer]] = lambda: core.replica.connected
        self._heard: dict[Peer, tuple[int, int]] = {}
        self._offset_ms = office.wall_offset_ms
        self._moved = 0
        handlers = core._handlers
        have = handlers[Have]

        def heard(peer: Peer, message: Have) -> None:
            self._hear(peer, message)
            have(peer, message)

        handlers[Have] = heard
        for event in (PeerConnected, PeerDisconnected, PeerRefused):
            handlers[event] = self._forgetting(handlers[event])

    def _forgetting(self, handle: Callable[[Peer, Any], None]) -> Callable[[Peer, Any], None]:
        def bent(peer: Peer, event: Any) -> None:
            self.changes += 1
            self._heard.pop(peer, None)
            handle(peer, event)

        return bent

    def _hear(self, peer: Peer, message: Have) -> None:
        self.changes += 1
        self._heard.pop(peer, None)
        if abs(message.unix_ms - self.office.wall_ms - self._ahead_ms(peer)) <= IN_TIME_MS:
            self._heard[peer] = (self.offices[peer].clock_sets, self._moved)

    def set(self) -> None:
        """The process looks at the clock on the wall, as it does before any input."""
        moved_ms = self.office.wall_offset_ms - self._offset_ms
        if moved_ms:
            self.changes += 1
            self._offset_ms = self.office.wall_offset_ms
            if abs(moved_ms) <= self.bound_ms + IN_TIME_MS:
                self._moved += 1

    def _ahead_ms(self, peer: Peer) -> int:
        return self.offices[peer].wall_offset_ms - self.office.wall_offset_ms

    def _known(self) -> list[int]:
        """How far ahead of the own clock those are that are known."""
        sets = [(peer, (self.offices[peer].clock_sets, self._moved)) for peer in self._peers()]
        return [self._ahead_ms(peer) for peer, now in sets if self._heard.get(peer) == now]

    @property
    def off_ms(self) -> int:
        """How far most of those that a link stands to, the own clock among them, surely are ahead of it; below 0:
        behind it. 0: less than the bound, or not known."""
        skews, count = self._known(), 1 + len(self._peers())
        beyond_ms = self.bound_ms + SURELY_MS
        ahead = [ms for ms in skews if ms > beyond_ms]
        behind = [ms for ms in skews if ms < -beyond_ms]
        if 2 * len(ahead) > count:
            return min(ahead)
        return max(behind) if 2 * len(behind) > count else 0

    @property
    def is_right(self) -> bool:
        """Whether it surely differs from nobody's by more than the bound."""
        skews = self._known()
        return len(skews) == len(self._peers()) and all(abs(ms) + IN_TIME_MS < self.bound_ms for ms in skews)
