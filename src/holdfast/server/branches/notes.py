"""What one branch's people do at another branch stands in that one's log too: the note of it goes there.

Notes gather for a moment and travel together, by datagram, until the other branch's server has said that it
has them. They are no promise: what cannot be told within a while is counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from holdfast.server.branches.log import BranchLogs, Entry
from holdfast.server.branches.messages import Note, Noted, Notes
from holdfast.server.calls import Message

GATHER_S = 0.2
"""So long notes gather until they leave."""
NOTES_A_MESSAGE = 50
WAITING_MAX = 20_000
"""Notes that may wait for other nodes."""
PATIENCE_S = 5.0
TRIES_MAX = 3
"""So often notes are told, each time to whoever serves the branch then."""
SEEN_MAX = 1_000
"""Messages of others that are known again when they come twice."""

Ask = Callable[[str, Callable[[int], Message], float], Awaitable["Message | None"]]


class NoteBook:
    """Takes notes of operations for other branches' logs, and those of others for the logs here.

    `node_of(city)`: who serves a branch now, None if nobody. `ask`: see `calls.Calls.ask`.
    """

    def __init__(self, here: str, logs: BranchLogs, node_of: Callable[[str], str | None], ask: Ask) -> None:
        self.counters = {"noted": 0, "unnoted": 0}
        self._here = here
        self._logs = logs
        self._node_of = node_of
        self._ask = ask
        self._waiting: dict[str, list[Note]] = {}
        self._count = 0
        self._wanted = asyncio.Event()
        self._seen: set[tuple[str, int]] = set()
        self._order: deque[tuple[str, int]] = deque()

    def take(self, city: str, entry: Entry) -> None:
        """An operation has touched another branch, in this city."""
        if self._count >= WAITING_MAX:
            self.counters["unnoted"] += 1
            return
        self._count += 1
        self._waiting.setdefault(city, []).append(Note(*entry.told()))
        self._wanted.set()

    async def run(self) -> None:
        """Pass notes on, for as long as the node lives."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(GATHER_S)
            self._wanted.clear()
            waiting, self._waiting = self._waiting, {}
            await asyncio.gather(*(self._pass_on(city, notes) for city, notes in waiting.items()))

    async def _pass_on(self, city: str, notes: list[Note]) -> None:
        for first in range(0, len(notes), NOTES_A_MESSAGE):
            some = tuple(notes[first : first + NOTES_A_MESSAGE])
            is_told = await self._tell(city, some)
            self.counters["noted" if is_told else "unnoted"] += len(some)
            self._count -= len(some)

    async def _tell(self, city: str, notes: tuple[Note, ...]) -> bool:
        for _ in range(TRIES_MAX):
            node = self._node_of(city)
            if node == self._here:
                self._write(city, notes)
                return True
            if node is None:
                await asyncio.sleep(PATIENCE_S)
                continue
            if isinstance(await self._ask(node, partial(Notes, city=city, notes=notes), PATIENCE_S), Noted):
                return True
        return False

    def heard(self, node: str, message: Notes) -> Noted:
        """Another node's notes for a branch here; the same may come twice."""
        known = (node, message.id)
        if known not in self._seen:
            self._seen.add(known)
            self._order.append(known)
            if len(self._order) > SEEN_MAX:
                self._seen.remove(self._order.popleft())
            self._write(message.city, message.notes)
        return Noted(message.id)

    def _write(self, city: str, notes: tuple[Note, ...]) -> None:
        for note in notes:
            self._logs.add(Entry(city, *msgspec.structs.astuple(note)))
