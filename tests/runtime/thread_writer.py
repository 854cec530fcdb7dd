"""A journal's writer for tests that reach into its disk: a thread instead of a process, the same manners."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from holdfast.kernel.contracts import Recovered
from holdfast.kernel.gate import Group
from holdfast.runtime.journal import Journal

Done = Callable[[], object]


class ThreadWriter:
    """See `runtime.journal_process.JournalWriter`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._queue: SimpleQueue[tuple[Group, Done] | None] = SimpleQueue()
        self._thread = Thread(target=self._run)

    def recover(self) -> Recovered:
        return self._journal.recover()

    def attach(self, on_failure: Callable[[Exception], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_failure = on_failure
        self._thread.start()

    def submit(self, group: Group, on_done: Done) -> None:
        self._queue.put((group, on_done))

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                group, on_done = item
                self._journal.write(group)
                self._loop.call_soon_threadsafe(on_done)
                self._journal.tidy()
        except Exception as error:
            self._loop.call_soon_threadsafe(self._on_failure, error)
        finally:
            self._journal.close()
