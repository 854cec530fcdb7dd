"""What a messenger says of its reader: each message that was handed out is said to be read, whatever happens when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until

from holdfast.client import NotExecuted, messenger_report
from holdfast.client.messenger_folder import Folder
from holdfast.client.messenger_report import Reporter
from holdfast.client.messenger_types import Message
from holdfast.client.outcomes import Answer


def message(number: int, **more: Any) -> Message:
    return Message(f"id-{number}", "ann+bob", number, "ann", "", "routine", "x", 1, number, **more)


class Servers:
    """Knows the messages up to `known`, or all. `said`: the numbers of each `seen`; `got`: cursors. `meanwhile` is
    called while a `seen` is on its way."""

    def __init__(self) -> None:
        self.known = 10**9
        self.said: list[tuple[int, ...]] = []
        self.got: list[int] = []
        self.refuses = 0
        """So many requests from now on are not taken."""
        self.meanwhile: Callable[[], object] = lambda: None

    async def ask(self, *words: Any) -> Answer:
        await asyncio.sleep(0)
        if self.refuses:
            self.refuses -= 1
            raise NotExecuted("no server took it")
        if words[0] == "got":
            self.got.append(words[2])
            return Answer(True, "", "got", {})
        _, numbers, ids, _ = words
        assert ids == tuple(f"id-{number}" for number in numbers)
        self.said.append(numbers)
        self.meanwhile()
        await asyncio.sleep(0)
        missing = [number for number in numbers if number > self.known]
        return Answer(True, "", "shown", {"numbers": numbers, "missing": missing})


@pytest.fixture
def servers() -> Servers:
    return Servers()


def play(
    folder: Path, servers: Servers, story: Callable[[Reporter, Folder], Coroutine[Any, Any, None]], **how: bool
) -> None:
    """The story of one process, at whose end it is killed."""
    kept = Folder(folder)
    try:
        asyncio.run(story(Reporter(kept, servers.ask, "phone", **{"reads": True, "tentative": False, **how}), kept))
    finally:
        kept.close()


def test_what_was_handed_out_is_said_once(tmp_path: Path, servers: Servers) -> None:
    async def story(reporter: Reporter, folder: Folder) -> None:
        reporter.handed_out(message(1))
        assert reporter.has_some
        assert await reporter.say_read()
        reporter.done()
        assert folder.handed == {}, "nothing is left to be said"
        for number in (2, 3):
            reporter.handed_out(message(number))
            reporter.done()
        assert folder.handed == {"id-2": 2, "id-3": 3}
        reporter.handed_out(message(4))
        assert await reporter.say_read()
        assert await reporter.say_read()
        assert not reporter.has_some

    play(tmp_path, servers, story)
    assert servers.said == [(1,), (2, 3, 4)]


def test_what_was_read_or_deleted_before_or_given_back_is_not_said(tmp_path: Path, servers: Servers) -> None:
    async def story(reporter: Reporter, folder: Folder) -> None:
        for known in (message(1, read_ms=5), message(2, deleted_ms=5)):
            reporter.handed_out(known)
            reporter.done()
        reporter.handed_out(message(3))
        reporter.given_back()
        assert await reporter.say_read()

    play(tmp_path, servers, story)
    assert servers.said == []


def test_who_says_it_themselves_has_nothing_said_for_them(tmp_path: Path, servers: Servers) -> None:
    async def story(reporter: Reporter, folder: Folder) -> None:
        reporter.handed_out(message(1))
        reporter.done()
        folder.move(1)
        await reporter.say()
        assert not reporter.has_some

    play(tmp_path, servers, story, reads=False)
    assert (servers.said, servers.got) == ([], [1])


def test_what_a_process_has_not_said_the_next_one_says(tmp_path: Path, servers: Servers) -> None:
    async def dies(reporter: Reporter, folder: Folder) -> None:
        for number in range(1, 251):
            reporter.handed_out(message(number))
            reporter.done()
        reporter.handed_out(message(251))  # in hand: it is handed out again

    async def lives(reporter: Reporter, folder: Folder) -> None:
        assert reporter.has_some
        await reporter.say()

    play(tmp_path, servers, dies)
    assert servers.said == []
    play(tmp_path, servers, lives)
    assert [len(numbers) for numbers in servers.said] == [100, 100, 50]
    assert [number for numbers in servers.said for number in numbers] == list(range(1, 251))
    play(tmp_path, servers, quiet)
    assert len(servers.said) == 3


async def quiet(reporter: Reporter, folder: Folder) -> None:
    """Nothing is left."""
    assert not reporter.has_some
    await reporter.say()


def test_the_reader_goes_on_while_it_is_said(tmp_path: Path, servers: Servers) -> None:
    async def story(reporter: Reporter, folder: Folder) -> None:
        def goes_on() -> None:
            servers.meanwhile = lambda: None
            reporter.done()
            reporter.handed_out(message(2))

        servers.meanwhile = goes_on
        reporter.handed_out(message(1))
        assert await reporter.say_read()
        assert folder.handed == {}
        assert reporter.has_some, "the second one came after"
        assert await reporter.say_read()

    play(tmp_path, servers, story)
    assert servers.said == [(1,), (2,)]


def test_two_at_a_time_say_nothing_twice(tmp_path: Path, servers: Servers) -> None:
    async def story(reporter: Reporter, folder: Folder) -> None:
        reporter.handed_out(message(1))
        assert await asyncio.gather(reporter.say_read(), reporter.say()) == [True, None]

    play(tmp_path, servers, story)
    assert servers.said == [(1,)]


def test_one_that_is_cut_off_in_the_middle_is_said_again(tmp_path: Path, servers: Servers) -> None:
    async def story(reporter: Reporter, folder: Folder) -> None:
        reporter.handed_out(message(1))
        saying = asyncio.ensure_future(reporter.say_read())
        servers.meanwhile = saying.cancel  # the answer does not come
        with pytest.raises(asyncio.CancelledError):
            await saying
        assert await reporter.say_read()

    play(tmp_path, servers, story)
    assert servers.said == [(1,), (1,)]


def test_what_has_gone_by_age_is_not_said_again(tmp_path: Path, servers: Servers) -> None:
    async def story(reporter: Reporter, folder: Folder) -> None:
        servers.known = 0
        reporter.handed_out(message(1))
        reporter.done()
        assert await reporter.say_read()
        assert not reporter.has_some

    play(tmp_path, servers, story)
    assert servers.said == [(1,)]


def test_what_the_server_does_not_know_yet_is_said_until_it_does(
    tmp_path: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where outcomes are tentative, another server may be asked than the one that has told the message."""
    monkeypatch.setattr(messenger_report, "TOLD_S", 0.001)

    async def story(reporter: Reporter, folder: Folder) -> None:
        servers.known = 1
        for number in (1, 2):
            reporter.handed_out(message(number))
            reporter.done()
        assert not await reporter.say_read()
        assert folder.handed == {"id-2": 2}
        running = asyncio.ensure_future(reporter.run())
        await until(lambda: len(servers.said) >= 4)
        servers.known = 2
        await until(lambda: not reporter.has_some)
        running.cancel()

    play(tmp_path, servers, story, tentative=True)
    assert servers.said[0] == (1, 2)
    assert set(servers.said[1:]) == {(2,)}


def test_one_that_is_not_known_yet_is_told_also_when_all_behind_it_are(tmp_path: Path, servers: Servers) -> None:
    async def story(reporter: Reporter, folder: Folder) -> None:
        servers.known = 150
        for number in (151, *range(1, 150)):
            reporter.handed_out(message(number))
            reporter.done()
        assert not await reporter.say_read()
        assert folder.handed == {"id-151": 151}

    play(tmp_path, servers, story, tentative=True)
    assert [len(numbers) for numbers in servers.said] == [100, 50]


def test_what_no_server_took_is_said_again_by_itself(
    tmp_path: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger_report, "TOLD_S", 0.001)

    async def story(reporter: Reporter, folder: Folder) -> None:
        servers.refuses = 3
        reporter.handed_out(message(1))
        running = asyncio.ensure_future(reporter.run())
        await until(lambda: not reporter.has_some)
        running.cancel()

    play(tmp_path, servers, story)
    assert (servers.said, servers.refuses) == ([(1,)], 0)


def test_how_far_it_has_got_is_on_the_disk_before_it_is_said(
    tmp_path: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that had forgotten it would be handed the same again, of which the servers say that it has it."""
    synced: list[list[int]] = []

    async def story(reporter: Reporter, folder: Folder) -> None:
        monkeypatch.setattr(folder, "sync", lambda: synced.append(list(servers.got)))
        for number in (7, 9):
            folder.move(number)
            await reporter.say()
            await reporter.say()

    play(tmp_path, servers, story)
    assert (synced, servers.got) == ([[], [7]], [7, 9])


def test_how_far_it_has_got_is_said_once_for_many(
    tmp_path: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger_report, "TOLD_S", 0.01)

    async def story(reporter: Reporter, folder: Folder) -> None:
        running = asyncio.ensure_future(reporter.run())
        for number in range(1, 50):
            reporter.handed_out(message(number))
            reporter.done()
            folder.move(number)
            reporter.moved()
        await until(lambda: not reporter.has_some)
        running.cancel()

    play(tmp_path, servers, story)
    assert (servers.got, servers.said) == ([49], [tuple(range(1, 50))])
