"""What each branch was asked and answered: a text file of its own, one line an operation.

A line has these fields, with tabs between them: date and time (UTC) at which the request came, who asks, the
request, its parameters, the outcome (`done`, `failed` or `unknown`), the response, and by whom it came if it
did not come to a port of this node. No field can hold a tab or a line break.

Operations gather in memory and are appended by a thread, so that nobody waits for this disk. What it does
not take in time is counted, and the file says how many lines are missing. It is no journal: a crash may
cost the last moments.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from holdfast.kernel.contracts import Reply
from holdfast.kernel.replies import Unknown
from holdfast.logfile import FIELD_CHARACTERS_MAX, append, line_of, parameters_of, time_text

FLUSH_S = 0.5
"""So long lines gather until they are written: a thread that wakes takes the interpreter from the loop for a moment."""
BATCH = 1_000
"""So many are written sooner."""
WAITING_MAX = 20_000
"""Operations that may wait for the disk."""
Lines = dict[str, list[bytes]]
Missing = dict[str, int]
"""By the log's name, its lines; and how many are missing."""

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """An operation that is to be written. `name`: of the log. `since_s`: when it came, Unix time. `about`: the command
    or query, or its parameters in words. `outcome`: `done`, `failed` or `unknown`. `via`: by whom it came, or ""."""

    name: str
    since_s: float
    person: str
    word: str
    about: object
    outcome: str
    text: str
    via: str

    def told(self) -> tuple[float, str, str, str, str, str, str]:
        """The same but for the log's name, in words."""
        about = self.about if isinstance(self.about, str) else parameters_of(self.about)
        return (self.since_s, self.person, self.word, about[:FIELD_CHARACTERS_MAX], self.outcome, self.text, self.via)


def entry_of(name: str, since_s: float, person: str, word: str, about: object, reply: Reply, via: str = "") -> Entry:
    """One operation, answered now; see `Entry`. Of the longest answers no more is kept than is written."""
    outcome = "unknown" if type(reply) is Unknown else "failed" if reply.failed else "done"
    return Entry(name, since_s, person, word, about, outcome, reply.text()[:FIELD_CHARACTERS_MAX], via)


class BranchLogs:
    """The logs of the branches at one node, `NAME.log` in a folder. Made in a running loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counters = {"logged": 0, "unlogged": 0}
        self._waiting: list[Entry] = []
        self._missing: Missing = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="branch-log")
        self._has_failed = False

    def add(self, entry: Entry) -> None:
        """One operation of a branch."""
        if len(self._waiting) >= WAITING_MAX:
            self._miss(entry.name, 1)
            return
        self._waiting.append(entry)
        if self._writing is not None:
            return
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)
        elif len(self._waiting) == BATCH:
            self._timer.cancel()
            self._flush()

    def _miss(self, name: str, count: int) -> None:
        self.counters["unlogged"] += count
        self._missing[name] = self._missing.get(name, 0) + count

    def _take(self) -> tuple[Lines, Missing]:
        """What is to be written now, and how much is missing until now."""
        lines: Lines = {}
        for name, since_s, person, word, about, outcome, text, via in self._waiting:
            parameters = about if isinstance(about, str) else parameters_of(about)
            fields = [person or "nobody", word, parameters, outcome, text]
            lines.setdefault(name, []).append(time_text(since_s) + line_of([*fields, f"by {via}"] if via else fields))
        self._waiting.clear()
        return lines, {name: count for name, count in self._missing.items() if count}

    def _flush(self) -> None:
        self._timer = None
        lines, missing = self._take()
        self._writing = asyncio.get_running_loop().run_in_executor(self._thread, self._write, lines, missing)
        self._writing.add_done_callback(lambda done: self._written(lines, missing, done))

    def _written(self, lines: Lines, missing: Missing, done: asyncio.Future[None]) -> None:
        self._writing = None
        self._count(lines, missing, None if done.cancelled() else done.exception())
        if (self._waiting or any(self._missing.values())) and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _count(self, lines: Lines, missing: Missing, error: BaseException | None) -> None:
        if error is None:
            self._has_failed = False
            self.counters["logged"] += sum(map(len, lines.values()))
            for name, count in missing.items():
                self._missing[name] -= count
            return
        for name, lost in lines.items():
            self._miss(name, len(lost))
        if not self._has_failed:  # once, and not with every try
            self._has_failed = True
            logger.error("the logs of the branches in %s cannot be written: %s", self.folder, error)

    def _write(self, lines: Lines, missing: Missing) -> None:
        """On the thread. What is missing is told behind what was still taken before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in {**lines, **missing}:
            added = lines.get(name, [])
            if name in missing:
                note = f"{missing[name]} operations are missing here: the disk did not take them in time"
                added = [*added, time_text(time.time()) + line_of([note])]
            append(self.folder / f"{name}.log", b"".join(added))

    def close(self) -> None:
        """Write what is left. Blocks for that long."""
        if self._timer is not None:
            self._timer.cancel()
        self._thread.shutdown(wait=True)
        lines, missing = self._take()
        try:
            self._write(lines, missing)
        except OSError as error:
            self._count(lines, missing, error)
        else:
            self._count(lines, missing, None)
