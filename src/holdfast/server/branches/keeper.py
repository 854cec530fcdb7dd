"""Which node serves which branch, as the directory says and as this node sees the others.

The candidates for a branch are in order (`holdfast.branches`); each one is to serve it while those
before it are gone. It registers with the term that it knows, by compare and set: of two that reach
for a branch at once the directory refuses one. Whoever serves looks again and again whether its term is
still the newest. A server that does not know yet that it is none any more does no harm: what it
does goes through the same order as everything else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from holdfast.apps.directory import Entries, Entry, ListNames, Register, Registered, TakenOver, Withdraw
from holdfast.branches import Branches
from holdfast.kernel.contracts import Command, Person, Query, Reply, Request

LOOK_S = 1.0
"""How often the directory is asked."""
FIRST_LOOK_S = 0.1
"""How often it is asked until it has answered once."""
PATIENCE_S = 2.0
"""A directory that does not answer so soon is asked again with the next look."""
GONE_S = 1.0
"""A node without a link for so long is gone; one whose process is proved to be gone, at once."""
SILENT_S = 3.0
"""So is one that has not been heard for so long, though its link stands: it hangs."""
BEAT_S = 0.5
"""How often each node is heard at least."""
PAUSE_S = 2.0
"""A node that has not run for so long cannot say who was silent meanwhile."""
ABSENT_S = 5.0
"""So long nobody has to serve a branch until the next candidate does, although the one before it is there: its replica
may have halted. The one after that waits twice as long, and so on."""
HOLD_S = 10.0
"""So long who was taken over leaves the branch to whom it cannot see: otherwise two nodes that do not see each other,
but both the directory, would take it from each other with every look."""
START_S = 3.0
"""So long after the start of this node the others have to show that they are there."""

logger = logging.getLogger(__name__)


class Place(msgspec.Struct, frozen=True):
    """Where this node is reached by clients of the service."""

    node: str
    host: str
    port: int


class Keeper:
    """Keeps one service's branches at one node. Made in a running loop.

    `ask(request, patience_s)`: the directory's reply. `beat(node)`: let another node hear that this one is there.
    `is_able()`: whether this node can serve at all.
    `served`: by city, the entry under which this node serves it. `entries`: who serves what, as was last heard.
    """

    def __init__(
        self,
        service: str,
        branches: Branches,
        here: Place,
        ask: Callable[[Request, float], Awaitable[Reply]],
        beat: Callable[[str], object],
        is_able: Callable[[], bool],
    ) -> None:
        self.service = service
        self.branches = branches
        self.here = here
        self.served: dict[str, Entry | Registered] = {}
        self.entries: dict[str, Entry] = {}
        self.counters = {"registrations": 0, "take_overs": 0}
        self._ask = ask
        self._beat = beat
        self._is_able = is_able
        self._me = Person(here.node, roles=("node",))
        self._others = [node for node in branches.nodes if node != here.node]
        now_s = time.monotonic()
        self._lost_s = dict.fromkeys(self._others, now_s + START_S - GONE_S)
        """Since when a node without a link has none; of those with a link nothing stands here."""
        self._heard_s = dict.fromkeys(self._others, now_s + START_S - SILENT_S)
        self._started_s = self._noted_s = now_s
        self._met: dict[str, None] = {}
        self._absent_s: dict[str, float] = {}
        self._held_s: dict[str, float] = {}
        """By city: since when nobody serves it; until when it is left to who has taken it from here."""
        self._stirred = asyncio.Event()
        self._has_looked = False

    def node_of(self, city: str) -> str | None:
        """The node that serves a branch, as far as is known here."""
        if city in self.served:
            return self.here.node
        entry = self.entries.get(city)
        return None if entry is None or entry.node == self.here.node else entry.node

    # -- Who is there

    def connected(self, node: str) -> None:
        """A link to the node stands."""
        self._lost_s.pop(node, None)
        self._met[node] = None

    def disconnected(self, node: str) -> None:
        """It is lost."""
        self._lost_s.setdefault(node, time.monotonic())

    def refused(self, node: str) -> None:
        """There is no such process on this same machine; at the start of a site, not yet."""
        if node not in self._met and time.monotonic() < self._started_s + START_S:
            return
        if self._lost_s.get(node) != 0.0:
            self._lost_s[node] = 0.0
            self._stirred.set()

    def heard(self, node: str) -> None:
        """It has said something."""
        if node in self._heard_s:
            self._heard_s[node] = time.monotonic()

    def is_gone(self, node: str) -> bool:
        """Whether the branches of a node are to be taken over."""
        now_s = time.monotonic()
        if node in self._lost_s and now_s - self._lost_s[node] >= GONE_S:
            return True
        return now_s - self._heard_s.get(node, now_s) >= SILENT_S

    def _note_time(self) -> None:
        """After a pause of this node itself, the others have to be heard anew before they count as silent."""
        now_s = time.monotonic()
        if now_s - self._noted_s >= PAUSE_S:
            self._heard_s = dict.fromkeys(self._others, now_s)
        self._noted_s = now_s

    # -- Keeping

    async def beat(self) -> None:
        """Be heard, until cancelled."""
        while True:
            self._note_time()
            for node in self._others:
                self._beat(node)
            await asyncio.sleep(BEAT_S)

    async def run(self) -> None:
        """Look, and look again, until cancelled."""
        while True:
            self._stirred.clear()
            await self.look()
            try:
                async with asyncio.timeout(LOOK_S if self._has_looked else FIRST_LOOK_S):
                    await self._stirred.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Ask the directory who serves what, and register what is this node's to serve."""
        self._note_time()
        prefix = f"{self.service}/"
        answer = await self._directory(ListNames(prefix))
        if not isinstance(answer, Entries):
            return  # it cannot tell now; until it can, everything stays as it was
        self._has_looked = True
        found = {entry.name.removeprefix(prefix): entry for entry in answer.entries}
        self.entries = {city: entry for city, entry in found.items() if city in self.branches.homes}
        for city in list(self.served):
            await self._keep(city, self.entries.get(city))
        for city in self.branches.homes:
            if city in found:
                self._absent_s.pop(city, None)
            else:
                self._absent_s.setdefault(city, time.monotonic())
            if city not in self.served and self._is_mine(city) and not self._is_held(city):
                await self._register(city, self.entries.get(city))

    async def _keep(self, city: str, entry: Entry | None) -> None:
        """Go on serving a branch only in the newest term, and while this node can."""
        term = self.served[city].term
        if entry is None or entry.term != term:
            del self.served[city]
            self._held_s[city] = time.monotonic() + HOLD_S
            who = "nobody serves" if entry is None else f"{entry.node} has taken over"
            logger.info("%s: %s the branch %s", self.service, who, city)
        elif not self._is_able():
            del self.served[city]
            del self.entries[city]
            await self._directory(Withdraw(f"{self.service}/{city}", term))
            logger.info("%s: this node serves the branch %s no more, for its replica has halted", self.service, city)

    def _is_mine(self, city: str) -> bool:
        """Whether this node is the first of the candidates that serves, as far as is known."""
        for place, node in enumerate(self.branches.candidates(city), 1):
            if node == self.here.node:
                return self._is_able()
            if not self.is_gone(node) and not self._is_absent(city, place * ABSENT_S):
                return False
        return False

    def _is_absent(self, city: str, since_s: float) -> bool:
        """Whether nobody has served the branch for so long."""
        return city in self._absent_s and time.monotonic() - self._absent_s[city] >= since_s

    def _is_held(self, city: str) -> bool:
        """Whether the branch is left to who has taken it from here."""
        entry = self.entries.get(city)
        is_seen = entry is None or not (entry.node in self._lost_s or self.is_gone(entry.node))
        return not is_seen and time.monotonic() < self._held_s.get(city, 0.0)

    async def _register(self, city: str, known: Entry | None) -> None:
        here, term = self.here, 0 if known is None else known.term
        name = f"{self.service}/{city}"
        answer = await self._directory(Register(name, here.host, here.port, here.node, term))
        if isinstance(answer, TakenOver) and not answer.host:  # somebody has withdrawn: its term is over too
            answer = await self._directory(Register(name, here.host, here.port, here.node, answer.term))
        if not isinstance(answer, Registered):
            logger.info("%s: not registered as the server of %s: %s", self.service, city, answer.text())
            return
        self.served[city] = answer
        self.counters["registrations"] += 1
        before = "" if known is None or known.node == here.node else f", after {known.node}"
        self.counters["take_overs"] += bool(before)
        logger.info("%s: this node serves the branch %s, term %d%s", self.service, city, answer.term, before)

    async def _directory(self, words: Command | Query) -> Reply:
        return await self._ask(Request(words, person=self._me), PATIENCE_S)

    def status(self) -> dict[str, Any]:
        """For operators: by city, the node that serves it, or None."""
        return {city: self.node_of(city) for city in self.branches.homes}
