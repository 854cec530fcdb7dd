"""The thread that writes a journal: the loop goes on meanwhile, hears of each group in order, and of a failure once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop

from holdfast.kernel.gate import Group
from holdfast.runtime.journal import Journal, JournalFailed, connect
from holdfast.runtime.journal_thread import JournalWriter


def group(*records: bytes) -> Group:
    made = Group(1)
    made.records = list(records)
    return made


def in_a_loop(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await story()

    uvloop.run(bounded())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tickets.journal"


def fail(error: Exception) -> None:
    raise AssertionError from error


def test_groups_are_reported_in_order_in_the_loop_once_they_are_durable(path: Path) -> None:
    async def story() -> None:
        journal, done = Journal.open(path), asyncio.Event()
        writer = JournalWriter(journal, asyncio.get_running_loop(), fail)
        heard: list[tuple[int, bool]] = []

        def on_done(number: int) -> None:
            assert threading.current_thread() is threading.main_thread()
            heard.append((number, journal.last_number >= number))
            if number == 100:
                done.set()

        for number in range(1, 101):
            writer.submit(group(b"%d" % number), partial(on_done, number))
        await done.wait()
        assert heard == [(number, True) for number in range(1, 101)]
        writer.close()

    in_a_loop(story)
    journal = Journal.open(path)
    assert journal.recover().records == [b"%d" % number for number in range(1, 101)]
    journal.close()


def test_closing_finishes_what_was_submitted(path: Path) -> None:
    async def story() -> None:
        writer = JournalWriter(Journal.open(path), asyncio.get_running_loop(), fail)
        for _ in range(50):
            writer.submit(group(b"record"), lambda: None)
        writer.close()

    in_a_loop(story)
    journal = Journal.open(path)
    assert len(journal.recover().records) == 50
    journal.close()


class Slow(sqlite3.Connection):
    """A disk that takes as long as the test wants."""

    begun = threading.Event()
    may_go_on = threading.Event()

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if str(arguments[0]).startswith("INSERT"):
            Slow.begun.set()
            Slow.may_go_on.wait(20)
        return super().execute(*arguments)


def test_the_loop_goes_on_while_the_disk_is_slow(path: Path) -> None:
    async def story() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        writer = JournalWriter(Journal.open(path, connect=lambda place: connect(place, Slow)), loop, fail)
        writer.submit(group(b"slow"), done.set)
        turns = 0
        while turns < 100 or not Slow.begun.is_set():
            turns += 1
            await asyncio.sleep(0)
        assert not done.is_set()
        Slow.may_go_on.set()
        await done.wait()
        writer.close()

    in_a_loop(story)


class Failing(sqlite3.Connection):
    """A disk that fails at the third group."""

    inserts = 0

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if str(arguments[0]).startswith("INSERT"):
            Failing.inserts += 1
            if Failing.inserts == 3:
                raise sqlite3.OperationalError("database or disk is full")
        return super().execute(*arguments)


def test_a_failure_is_reported_once_and_nothing_after_it_is_written(path: Path) -> None:
    async def story() -> None:
        loop, failed = asyncio.get_running_loop(), asyncio.Event()
        done: list[int] = []
        failures: list[Exception] = []

        def on_failure(error: Exception) -> None:
            failures.append(error)
            failed.set()

        writer = JournalWriter(Journal.open(path, connect=lambda place: connect(place, Failing)), loop, on_failure)
        for number in range(1, 7):
            writer.submit(group(b"%d" % number), partial(done.append, number))
        await failed.wait()
        writer.submit(group(b"too late"), lambda: done.append(99))
        writer.close()
        await asyncio.sleep(0)
        assert done == [1, 2]
        assert len(failures) == 1
        assert isinstance(failures[0], JournalFailed)
        assert "disk is full" in str(failures[0])
        assert Failing.inserts == 3

    in_a_loop(story)
