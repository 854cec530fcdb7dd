"""The thread that writes a journal, so that the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from holdfast.kernel.gate import Group
from holdfast.runtime.journal import Journal

Done = Callable[[], object]
Failed = Callable[[Exception], object]


class JournalWriter:
    """Writes groups in the order of `submit`; tells the loop of each when it is synced.

    `on_failure` is called once, in the loop, with `JournalFailed` (or whatever else broke) when a
    write fails. From then on nothing is written and no group is reported done: halt the replica.
    """

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop, on_failure: Failed) -> None:
        self._journal = journal
        self._loop = loop
        self._on_failure = on_failure
        self._queue: SimpleQueue[tuple[Group, Done] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=f"journal {journal.path.name}", daemon=False)
        self._thread.start()

    def submit(self, group: Group, on_done: Done) -> None:
        """Write this group after all submitted before; then call `on_done` in the event loop."""
        self._queue.put((group, on_done))

    def close(self) -> None:
        """Finish what was submitted, close the journal. Blocks; call it before the loop is closed."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._write_all()
        except Exception as error:
            self._loop.call_soon_threadsafe(self._on_failure, error)
        finally:
            self._journal.close()

    def _write_all(self) -> None:
        write, tidy, tell = self._journal.write, self._journal.tidy, self._loop.call_soon_threadsafe
        take = self._queue.get
        while (item := take()) is not None:
            group, on_done = item
            write(group)
            tell(on_done)
            tidy()  # after the word is out: it costs nobody but the next group, and little
