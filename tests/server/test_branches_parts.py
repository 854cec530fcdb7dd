"""The parts of branch servers by themselves: who keeps a branch, the order of a connection, the logs."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until

from holdfast.apps.directory import Directory, Lookup, Register, Registered
from holdfast.apps.events import BookEvent, Browse
from holdfast.branches import Branches
from holdfast.kernel.contracts import Command, Person, Reply, Request
from holdfast.kernel.machine import Machine
from holdfast.kernel.replies import Malformed, Unavailable, Unknown
from holdfast.logfile import append, line_of, parameters_of, time_text
from holdfast.server.branches import keeper as keeping
from holdfast.server.branches.door import Lanes, Names, Operation
from holdfast.server.branches.keeper import Keeper, Place
from holdfast.server.branches.log import BranchLogs, entry_of
from holdfast.server.branches.messages import NotHere
from holdfast.server.calls import Calls

BRANCHES = Branches("directory", {"TOR": "a", "MTL": "b", "OTW": "c"}, ("a", "b", "c"))


# -- who keeps a branch -------------------------------------------------------------------------------


class Town:
    """Keepers of three nodes, and the one directory, whose clock stands still until the test moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(keeping.time, "monotonic", lambda: self.now_s)
        self.directory = Machine(Directory())
        self.answers = True
        self.able = {"a": True, "b": True, "c": True}
        self.batches = 0
        self._beats: dict[str, list[str]] = {}
        self.keepers = {node: self.keeper(node) for node in "abc"}

    def keeper(self, node: str) -> Keeper:
        place = Place(node, "127.0.0.1", 7301)
        return Keeper("events", BRANCHES, place, self._ask, self._beats.setdefault(node, []).append, self._able(node))

    def _able(self, node: str) -> Callable[[], bool]:
        return lambda: self.able[node]

    def later(self, seconds: float) -> None:
        """Time passes, and everybody is heard meanwhile."""
        self.now_s += seconds
        for keeper in self.keepers.values():
            for node in "abc":
                keeper.heard(node)

    async def _ask(self, request: Request, patience_s: float) -> Reply:
        if not self.answers:
            return Unavailable("the directory is away")
        if isinstance(request.command, Command):
            self.batches += 1
            return self.directory.execute([request], (self.batches, 0))[0]
        return self.directory.answer(request)

    def meet(self) -> None:
        for one in self.keepers:
            for other in self.keepers:
                if one != other:
                    self.keepers[one].connected(other)

    async def look(self, *nodes: str) -> dict[str, list[str]]:
        """Each of these looks once, in this order; what everybody serves then."""
        for node in nodes:
            await self.keepers[node].look()
        return {node: sorted(keeper.served) for node, keeper in self.keepers.items()}


def tell(monkeypatch: pytest.MonkeyPatch, story: Callable[[Town], Awaitable[None]]) -> None:
    async def main() -> None:
        await story(Town(monkeypatch))

    asyncio.run(main())


def test_each_serves_its_own_branch_and_waits_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(town: Town) -> None:
        town.keepers["b"].connected("c")
        town.keepers["c"].connected("b")
        town.keepers["b"].refused("a")
        assert await town.look("c", "b") == {"a": [], "b": ["MTL"], "c": ["OTW"]}, "a is not there yet"
        assert town.keepers["b"].node_of("TOR") is None
        town.now_s += keeping.START_S - 0.25
        assert await town.look("c", "b") == {"a": [], "b": ["MTL"], "c": ["OTW"]}, "a may still come"
        town.now_s += 0.25
        assert await town.look("c", "b") == {"a": [], "b": ["MTL", "TOR"], "c": ["OTW"]}, "b is the next candidate"
        assert town.keepers["c"].node_of("TOR") is None, "it has not looked since"
        await town.look("c")
        assert town.keepers["c"].node_of("TOR") == "b"

    tell(monkeypatch, story)


def test_a_node_without_a_link_is_gone_after_a_while_and_one_that_refuses_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(town: Town) -> None:
        town.meet()
        town.now_s += 60
        homes = {"a": ["TOR"], "b": ["MTL"], "c": ["OTW"]}
        assert await town.look("a", "b", "c") == homes
        town.keepers["b"].disconnected("a")
        town.now_s += keeping.GONE_S - 0.1
        assert await town.look("b") == homes
        town.keepers["b"].connected("a")
        town.now_s += 1
        assert await town.look("b") == homes, "it was away for a moment only"
        town.keepers["b"].disconnected("a")
        town.keepers["b"].refused("a")
        assert await town.look("b") == {"a": ["TOR"], "b": ["MTL", "TOR"], "c": ["OTW"]}
        assert town.keepers["b"].counters == {"registrations": 2, "take_overs": 1}

    tell(monkeypatch, story)


def test_a_node_that_hangs_is_gone_though_its_link_stands_and_does_not_think_so_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(town: Town) -> None:
        town.meet()
        await town.look("a", "b", "c")
        for _ in range(3):
            assert await town.look("b", "c") == {"a": ["TOR"], "b": ["MTL"], "c": ["OTW"]}
            town.now_s += 1
            town.keepers["b"].heard("c")
            town.keepers["c"].heard("b")
        assert await town.look("c", "b") == {"a": ["TOR"], "b": ["MTL", "TOR"], "c": ["OTW"]}
        home = await town.look("a")
        assert home == {"a": ["TOR"], "b": ["MTL", "TOR"], "c": ["OTW"]}, "not theirs: it was not there to hear them"
        assert await town.look("b") == {"a": ["TOR"], "b": ["MTL"], "c": ["OTW"]}, "before it has heard a again"

    tell(monkeypatch, story)


def test_the_one_that_is_back_goes_home_and_the_other_notices(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(town: Town) -> None:
        town.meet()
        await town.look("a", "b", "c")
        town.keepers["b"].refused("a")
        await town.look("b")
        town.keepers["a"] = town.keeper("a")
        town.meet()
        assert await town.look("a") == {"a": ["TOR"], "b": ["MTL", "TOR"], "c": ["OTW"]}
        assert town.keepers["a"].served["TOR"].term == 3
        assert await town.look("b") == {"a": ["TOR"], "b": ["MTL"], "c": ["OTW"]}
        assert town.keepers["b"].node_of("TOR") == "a"

    with caplog.at_level(logging.INFO):
        tell(monkeypatch, story)
    assert "events: this node serves the branch TOR, term 2, after a" in caplog.messages
    assert "events: a has taken over the branch TOR" in caplog.messages


def test_two_that_do_not_see_each_other_do_not_fight(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(town: Town) -> None:
        town.meet()
        await town.look("a", "b", "c")
        for one, other in (("a", "b"), ("b", "a")):
            town.keepers[one].disconnected(other)
        town.now_s += keeping.GONE_S
        assert await town.look("b", "a") == {"a": [], "b": ["MTL", "TOR"], "c": ["OTW"]}
        for _ in range(9):
            town.later(1)
            assert await town.look("b", "a") == {"a": [], "b": ["MTL", "TOR"], "c": ["OTW"]}
        town.keepers["a"].connected("b")
        town.keepers["b"].connected("a")
        assert await town.look("a", "b") == {"a": ["TOR"], "b": ["MTL"], "c": ["OTW"]}

    tell(monkeypatch, story)


def test_of_two_that_reach_for_a_branch_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(town: Town) -> None:
        town.meet()
        await town.look("a", "b", "c")
        rival = Register("events/TOR", "127.0.0.1", 7399, "x", 1)
        ask = town._ask

        async def late(request: Request, patience_s: float) -> Reply:
            """Between the look and the registration another one comes first."""
            if isinstance(request.command, Register) and request.command.term == 1:
                assert isinstance(await ask(Request(rival), 1), Registered)
            return await ask(request, patience_s)

        town.keepers["b"]._ask = late
        town.keepers["b"].refused("a")
        assert (await town.look("b"))["b"] == ["MTL"]
        assert town.directory.answer(Request(Lookup("events/TOR"))).node == "x"  # type: ignore[attr-defined]

    with caplog.at_level(logging.INFO):
        tell(monkeypatch, story)
    assert any("events: not registered as the server of TOR: Failed:" in message for message in caplog.messages)


def test_who_cannot_serve_leaves_it_and_a_silent_directory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(town: Town) -> None:
        town.meet()
        town.able["a"] = False
        assert (await town.look("a"))["a"] == []
        town.able["a"] = True
        assert (await town.look("a"))["a"] == ["TOR"]
        town.answers = False
        assert (await town.look("a", "b"))["a"] == ["TOR"]
        town.answers = True
        assert await town.look("a", "b") == {"a": ["TOR"], "b": ["MTL"], "c": []}

    tell(monkeypatch, story)


def test_a_node_whose_replica_has_halted_gives_its_branch_up_and_the_next_takes_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(town: Town) -> None:
        town.meet()
        await town.look("a", "b", "c")
        town.able["a"] = False
        assert await town.look("a", "c", "b") == {"a": [], "b": ["MTL"], "c": ["OTW"]}
        assert town.keepers["b"].node_of("TOR") is None
        town.now_s += keeping.ABSENT_S - 1
        assert await town.look("a", "c", "b") == {"a": [], "b": ["MTL"], "c": ["OTW"]}
        town.now_s += 1
        assert await town.look("a", "c", "b") == {"a": [], "b": ["MTL", "TOR"], "c": ["OTW"]}
        assert town.keepers["b"].served["TOR"].term == 3
        town.able["a"] = True
        assert (await town.look("a"))["a"] == ["TOR"]

    with caplog.at_level(logging.INFO):
        tell(monkeypatch, story)
    assert "events: this node serves the branch TOR no more, for its replica has halted" in caplog.messages


# -- the order of a connection --------------------------------------------------------------------------


class Client:
    """Who waits for one reply, over a connection or over none."""

    def __init__(self, connection: object, replies: list[str], name: str) -> None:
        self.connection = connection
        self._replies = replies
        self._name = name

    def deliver(self, reply: Reply) -> None:
        self._replies.append(self._name)


class Door:
    """Lanes whose requests end when the test says so; those of customers of MTL go away."""

    def __init__(self) -> None:
        self.started: list[Operation] = []
        self.replies: list[str] = []
        self.away = {"MTL"}
        self.lanes = Lanes(lambda operation: operation.city in self.away, self.started.append, lambda *_: None)

    def take(self, connection: object, name: str, city: str) -> Operation:
        request = Request(BookEvent(name, "TORM180519", "Seminars"), person=Person(name))
        operation = Operation(self.lanes, Client(connection, self.replies, name), request, city, "")
        self.lanes.take(operation)
        return operation

    def end(self, operation: Operation) -> None:
        self.started.remove(operation)
        operation.deliver(Malformed("x"))

    def under_way(self) -> list[str]:
        return [operation.request.command.customerID for operation in self.started]


def test_what_stays_here_goes_on_without_waiting() -> None:
    door = Door()
    for name in ("1", "2", "3"):
        door.take("one", name, "TOR")
    assert door.under_way() == ["1", "2", "3"]
    for operation in list(door.started):
        door.end(operation)
    assert len(door.lanes) == 0


def test_what_goes_away_goes_alone_and_in_its_place() -> None:
    door = Door()
    one, two = door.take("one", "1", "TOR"), door.take("one", "2", "TOR")
    away, other = door.take("one", "3", "MTL"), door.take("one", "4", "MTL")
    last, final = door.take("one", "5", "TOR"), door.take("one", "6", "TOR")
    assert door.under_way() == ["1", "2"]
    door.end(two)
    assert door.under_way() == ["1"]
    door.end(one)
    assert door.under_way() == ["3"]
    door.end(away)
    assert door.under_way() == ["4"]
    door.end(other)
    assert door.under_way() == ["5", "6"]
    door.end(final)
    door.end(last)
    assert (len(door.lanes), door.replies) == (0, ["2", "1", "3", "4", "6", "5"])


def test_connections_do_not_wait_for_each_other_nor_who_has_none() -> None:
    door = Door()
    for connection, name in (("one", "1"), ("two", "2"), (None, "3"), (None, "4")):
        door.take(connection, name, "MTL")
    assert door.under_way() == ["1", "2", "3", "4"]


def test_a_branch_may_move_while_requests_wait() -> None:
    door = Door()
    first = door.take("one", "1", "MTL")
    second = door.take("one", "2", "MTL")
    door.away.clear()
    door.end(first)
    assert not second.is_away
    assert door.under_way() == ["2"]


def test_when_the_replica_has_failed_nobody_waits_for_what_was_under_way() -> None:
    door = Door()
    old, waits = door.take("one", "1", "TOR"), door.take("one", "2", "MTL")
    door.lanes.forget()
    new = door.take("one", "3", "MTL")
    assert door.under_way() == ["1", "3"]
    door.end(old)
    assert waits not in door.started, "its sender was told that nobody knows"
    assert len(door.lanes) == 1
    door.end(new)
    assert len(door.lanes) == 0


def test_a_name_has_one_request_at_a_time_and_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    names, request = Names("a"), Request(BookEvent("TORC1000", "TORM180519", "Seminars"))
    first, second = names.take(), names.take()
    assert first.client != second.client
    assert re.fullmatch(r"a-[0-9a-f]{10}\.\d{13}", first.client)
    assert [first.named(request).number for _ in range(3)] == [1, 2, 3]
    assert first.named(request).lowest == 4
    names.give_back(first)
    assert names.take() is first
    names.give_back(first)
    first.born_s -= 13 * 3600
    assert names.take() is not first


# -- questions to other nodes -----------------------------------------------------------------------------


def test_a_question_is_asked_again_until_it_is_answered_by_whom_it_was_asked() -> None:
    async def story() -> None:
        sent: list[tuple[str, Any]] = []
        calls = Calls(lambda node, message: sent.append((node, message)))
        asking = asyncio.create_task(calls.ask("b", NotHere, 10))
        await until(lambda: len(sent) == 3)
        assert len({message.id for _, message in sent}) == 1
        calls.answered("c", sent[0][1])
        calls.answered("b", NotHere(sent[0][1].id + 1))
        assert not asking.done()
        calls.answered("b", sent[0][1])
        calls.answered("b", sent[0][1])
        assert await asking == sent[0][1]
        assert not calls._open

    asyncio.run(story())


def test_nobody_waits_for_a_node_that_is_gone_nor_for_ever() -> None:
    async def story() -> None:
        calls = Calls(lambda node, message: None)
        gone, other = (
            asyncio.create_task(calls.ask(node, NotHere, wait_s)) for node, wait_s in (("b", 60), ("c", 0.2))
        )
        await asyncio.sleep(0)
        calls.gone("b")
        assert await gone is None
        assert not other.done()
        assert await other is None

    asyncio.run(story())


# -- logs ---------------------------------------------------------------------------------------------


REQUEST = Request(BookEvent("TORC1000", "TORM180519", "Trade shows"), person=Person("TORC1000"))


def write(logs: BranchLogs, count: int = 1, reply: Reply | None = None) -> None:
    for _ in range(count):
        logs.add(
            entry_of(
                "TOR",
                1_795_218_000.25,
                "TORC1000",
                "bookEvent",
                parameters_of(REQUEST.command),
                reply or Malformed("no."),
            )
        )


def test_a_line_tells_when_who_what_and_how_it_ended(tmp_path: Path) -> None:
    async def story() -> None:
        logs = BranchLogs(tmp_path / "branches")
        write(logs)
        write(logs, reply=Unknown("the deadline passed"))
        await until(lambda: logs.counters["logged"] == 2)
        logs.add(entry_of("MTL", 0.0, "", "browse", Browse(), Malformed("a\tb\nc\x1b[0m\u202e"), "b"))
        logs.close()

    asyncio.run(story())
    first, second = (tmp_path / "branches" / "TOR.log").read_text().splitlines()
    start = (
        '2026-11-20 22:20:00.250Z\tTORC1000\tbookEvent\tcustomerID=TORC1000 eventID=TORM180519 eventType="Trade shows"'
    )
    assert first.partition("\t")[2] == f"{start}\tfailed\tFailed: no.".partition("\t")[2]
    assert first.startswith(time_text(1_795_218_000.25).decode())
    assert "\tunknown\tFailed: outcome unknown" in second
    assert (tmp_path / "branches" / "MTL.log").read_text() == (
        '1970-01-01 00:00:00.000Z\tnobody\tbrowse\tcity="" eventType=""\tfailed\t'
        "Failed: a\\tb\\nc\\x1b[0m\\u202e\tby b\n"
    )


def test_a_disk_that_is_too_slow_or_away_costs_lines_and_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("holdfast.server.branches.log.WAITING_MAX", 10)
    may_write = threading.Event()
    writes = 0

    def slow(path: Path, data: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == 1:
            may_write.wait(10)
        if writes == 2:
            raise OSError(28, "No space left on device")
        append(path, data)

    monkeypatch.setattr("holdfast.server.branches.log.append", slow)

    async def story() -> None:
        logs = BranchLogs(tmp_path)
        write(logs, 2)
        await until(lambda: logs._writing is not None)
        write(logs, 20)
        lost = logs.counters["unlogged"]
        assert 0 < lost < 20
        may_write.set()
        await until(lambda: logs.counters["unlogged"] > lost)
        write(logs)
        await until(lambda: logs.counters["logged"] > 2)
        assert "No space left on device" in caplog.text
        logs.close()
        told = (tmp_path / "TOR.log").read_text().splitlines()
        assert len(told) == 4
        assert told[-1].endswith("\t20 operations are missing here: the disk did not take them in time")

    asyncio.run(story())


def test_files_give_way_to_new_ones_and_old_ones_go(tmp_path: Path) -> None:
    path = tmp_path / "TOR.log"
    for number in range(12):
        append(path, line_of([str(number)]) * 10, bytes_max=60, kept=2)
    kept = {file.name: file.read_text().split()[0] for file in tmp_path.iterdir()}
    assert kept == {"TOR.log.1": "10", "TOR.log.2": "8"}
    append(path, b"12\n", bytes_max=60, kept=2)
    assert {file.name for file in tmp_path.iterdir()} == {"TOR.log", "TOR.log.1", "TOR.log.2"}
