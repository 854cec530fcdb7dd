"""The process that writes a journal: order, death on either side, failing disks."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop

from holdfast.kernel.contracts import SnapshotPart
from holdfast.kernel.errors import JournalDamaged
from holdfast.kernel.gate import Group
from holdfast.runtime.journal import Journal, JournalFailed, connect
from holdfast.runtime.journal_process import JournalWriter, write_journal

PATIENCE_S = 20.0


def group(*records: bytes) -> Group:
    made = Group(1)
    made.records = list(records)
    return made


def in_a_loop(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await story()

    uvloop.run(bounded())


def fail(error: Exception) -> None:
    raise AssertionError from error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tickets.journal"


def records_in(path: Path) -> list[bytes]:
    journal = Journal.open(path)
    try:
        return list(journal.recover().records)
    finally:
        journal.close()


def test_groups_are_reported_in_order_once_they_are_durable(path: Path) -> None:
    async def story() -> None:
        writer, done = JournalWriter.open(path), asyncio.Event()
        assert writer.recover().fresh
        writer.attach(fail)
        heard: list[int] = []

        def on_done(number: int) -> None:
            heard.append(number)
            if number == 100:
                done.set()

        for number in range(1, 101):
            writer.submit(group(b"%d" % number), partial(on_done, number))
        await done.wait()
        assert heard == list(range(1, 101))
        writer.close()

    in_a_loop(story)
    assert records_in(path) == [b"%d" % number for number in range(1, 101)]


def test_closing_finishes_what_was_submitted(path: Path) -> None:
    async def story() -> None:
        writer = JournalWriter.open(path)
        writer.attach(fail)
        for _ in range(50):
            writer.submit(group(b"record"), lambda: None)
        writer.close()

    in_a_loop(story)
    assert len(records_in(path)) == 50


def test_a_group_larger_than_any_socket_buffer_goes_through(path: Path) -> None:
    async def story() -> None:
        writer, done = JournalWriter.open(path), asyncio.Event()
        writer.attach(fail)
        large = group(bytes(8_000_000))
        large.reset = True
        large.snapshot = [SnapshotPart(1, 0, bytes(3_000_000), False, 0), SnapshotPart(1, 1, b"end", True, 0)]
        writer.submit(large, lambda: None)
        writer.submit(group(b"after"), done.set)
        await done.wait()
        writer.close()

    in_a_loop(story)
    assert [len(record) for record in records_in(path)] == [8_000_000, 5]


def test_what_the_journal_held_comes_back(path: Path) -> None:
    journal = Journal.open(path)
    journal.write(group(b"one", b"two"))
    journal.close()
    writer = JournalWriter.open(path)
    recovered = writer.recover()
    assert (recovered.fresh, list(recovered.records)) == (False, [b"one", b"two"])
    with pytest.raises(ValueError, match="already"):
        writer.recover()
    writer.close()


def test_a_damaged_journal_is_refused_with_its_own_error(path: Path) -> None:
    path.write_bytes(b"this is no journal" * 1000)
    with pytest.raises(JournalDamaged, match="Set it aside"):
        JournalWriter.open(path)


def test_a_writer_that_is_killed_is_reported_once_and_nothing_after_it_is_done(path: Path) -> None:
    async def story() -> None:
        writer, failed = JournalWriter.open(path), asyncio.Event()
        failures: list[Exception] = []

        def on_failure(error: Exception) -> None:
            failures.append(error)
            failed.set()

        writer.attach(on_failure)
        os.kill(writer.pid, signal.SIGKILL)
        writer.submit(group(b"lost"), lambda: pytest.fail("nobody wrote this"))
        await failed.wait()
        writer.submit(group(b"too late"), lambda: pytest.fail("nobody wrote this"))
        writer.close()
        assert len(failures) == 1
        assert isinstance(failures[0], JournalFailed)
        assert "has died" in str(failures[0])

    in_a_loop(story)
    assert records_in(path) == []


NODE_THAT_DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from holdfast.kernel.gate import Group
from holdfast.runtime.journal_process import JournalWriter

async def story():
    writer = JournalWriter.open(Path(sys.argv[1]))
    writer.attach(print)
    group = Group(1)
    group.records = [b"last words"]
    writer.submit(group, lambda: None)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(story())
"""


def test_a_writer_ends_with_its_node_and_the_next_one_waits_for_it(path: Path) -> None:
    node = subprocess.run([sys.executable, "-c", NODE_THAT_DIES, str(path)], check=False)
    assert node.returncode == -signal.SIGKILL
    writer = JournalWriter.open(path)  # at once: the old writer may still be at work
    assert list(writer.recover().records) == [b"last words"]
    writer.close()


class Failing(sqlite3.Connection):
    """A disk that is full at the third group."""

    inserts = 0

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if str(arguments[0]).startswith("INSERT INTO groups"):
            Failing.inserts += 1
            if Failing.inserts == 3:
                raise sqlite3.OperationalError("database or disk is full")
        return super().execute(*arguments)


def test_a_failed_write_is_told_and_never_tried_again(path: Path) -> None:
    ours, theirs = socket.socketpair()
    disk = threading.Thread(target=write_journal, args=(path, theirs, lambda place: connect(place, Failing)))
    Failing.inserts = 0
    disk.start()

    async def story() -> None:
        done: list[int] = []
        failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        process = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", ""])
        with ours.makefile("rb") as stream:
            assert await asyncio.to_thread(stream.read, 8)
        writer = JournalWriter(process, ours, None)  # type: ignore[arg-type]
        writer.attach(failed.set_result)
        for number in range(1, 7):
            writer.submit(group(b"%d" % number), partial(done.append, number))
        disk_closed = asyncio.to_thread(disk.join)
        await disk_closed
        theirs.close()
        error = await failed
        assert isinstance(error, JournalFailed)
        assert "disk is full" in str(error)
        assert done == [1, 2]
        assert Failing.inserts == 3
        writer.close()

    in_a_loop(story)


def test_a_journal_that_is_removed_while_it_is_open_is_a_failure(path: Path) -> None:
    async def story() -> None:
        writer = JournalWriter.open(path)
        failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        writer.attach(failed.set_result)
        await asyncio.to_thread(path.unlink)
        writer.submit(group(b"into nowhere"), lambda: pytest.fail("this was not safe"))
        assert "was removed while it was in use" in str(await failed)
        writer.close()

    in_a_loop(story)
