"""The shell around a core: turns, group commit, and what becomes of everybody when the disk fails."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from tests.runtime.thread_writer import ThreadWriter
from tests.waiting import until

from holdfast.apps.tickets import Found, NoReservation, Reserve, Reserved, Search, Tickets
from holdfast.kernel.contracts import Halt, Recovered, Reply, Request, SnapshotPart, Step
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.gate import Group
from holdfast.kernel.machine import Machine
from holdfast.kernel.replies import Overloaded, Unavailable, Unknown
from holdfast.replication.lamport import Lamport, LamportConfiguration, genesis_records
from holdfast.replication.solo import Solo
from holdfast.runtime.driver import Driver
from holdfast.runtime.journal import Journal, connect

PATIENCE_S = 20.0


class Disk:
    """A real journal whose writes a test can hold up, or let fail."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.free = threading.Event()
        self.free.set()
        self.broken = False
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if sql.startswith("INSERT INTO groups"):
                    assert disk.free.wait(PATIENCE_S)
                    if disk.broken:
                        raise sqlite3.OperationalError("disk I/O error")
                return super().execute(sql, *values)

        self._connection = Connection

    def journal(self) -> Journal:
        return Journal.open(self.path, connect=lambda path: connect(path, self._connection))

    def writer(self) -> ThreadWriter:
        return ThreadWriter(self.journal())


class Guest:
    """Who waits for a reply; notes the order in which replies come."""

    def __init__(self, order: list[str], name: str) -> None:
        self.order = order
        self.name = name
        self.reply: Reply | None = None

    def deliver(self, reply: Reply) -> None:
        assert self.reply is None, "one reply, once"
        self.reply = reply
        self.order.append(self.name)


class Stage:
    """A driver with one theatre alone on a disk."""

    def __init__(self, disk: Disk, core: Any = None, peers: tuple[str, ...] = ("a",), **limits: Any) -> None:
        self.core = core or Solo(Machine(Tickets(seats=1000)), disk="disk-1", name="tickets")
        machine = self.core.replica.machine if isinstance(core, Lamport) else self.core.machine
        self.order: list[str] = []
        self.sent: list[tuple[str, bytes]] = []
        self.turns = 0
        self.halts: list[Halt] = []
        self.stalls: list[Reply] = []
        messages = Lamport.messages if isinstance(core, Lamport) else None
        self.driver = Driver(
            "tickets",
            self.core,
            machine,
            messages,
            disk.writer(),
            peers,
            lambda node, payload: self.sent.append((node, payload)),
            lambda: None,
            self._note_turn,
            self.halts.append,
            self.stalls.append,
            **limits,
        )
        self.driver.start()

    def _note_turn(self) -> None:
        self.turns += 1

    def book(self, name: str, count: int = 1) -> Guest:
        guest = Guest(self.order, name)
        self.driver.submit(guest, Request(Reserve(name, count)))
        return guest

    async def settled(self) -> None:
        """Return when a first booking is answered and the disk is at rest."""
        first = self.book("first")
        await until(lambda: first.reply and self.driver._gate._writing is None)

    def find(self, name: str) -> Guest:
        guest = Guest(self.order, f"find {name}")
        self.driver.ask(guest, Request(Search(name)))
        return guest


def in_a_loop(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            await story()

    uvloop.run(bounded())


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "tickets.journal")


def test_all_that_comes_in_one_pass_is_one_turn_and_one_write(disk: Disk) -> None:
    async def story() -> None:
        stage = Stage(disk)
        await stage.settled()
        before = dict(stage.driver.counters)
        turns = stage.turns
        guests = [stage.book(f"guest{number}") for number in range(100)]
        question = stage.find("guest7")
        await until(lambda: all(guest.reply for guest in guests) and question.reply)
        after = stage.driver.counters
        assert after["turns"] - before["turns"] == 1
        assert after["groups"] - before["groups"] == 1
        assert stage.turns - turns == 1, "the connections write once"
        assert stage.order[-101:] == [f"guest{number}" for number in range(100)] + ["find guest7"]
        assert isinstance(question.reply, Found)
        stage.driver.close()

    in_a_loop(story)


def test_while_the_disk_is_busy_the_loop_goes_on_and_everything_else_shares_the_next_write(disk: Disk) -> None:
    async def story() -> None:
        stage = Stage(disk)
        await stage.settled()
        disk.free.clear()
        groups = stage.driver.counters["groups"]
        slow = stage.book("slow")
        await until(lambda: stage.driver.counters["groups"] == groups + 1)
        turns = stage.driver.counters["turns"]
        others = []
        for number in range(20):
            others.append(stage.book(f"other{number}"))
            await asyncio.sleep(0)
        unsaid = stage.find("slow")
        await until(lambda: stage.driver.counters["turns"] >= turns + 10)
        assert stage.driver.counters["groups"] == groups + 1
        assert not any(guest.reply for guest in (slow, unsaid, *others)), "a reply before its sync"
        disk.free.set()
        await until(lambda: all(guest.reply for guest in (slow, unsaid, *others)))
        assert stage.driver.counters["groups"] == groups + 2
        stage.driver.close()

    in_a_loop(story)


def test_what_was_answered_is_there_after_a_new_start(disk: Disk) -> None:
    async def first() -> None:
        stage = Stage(disk)
        guest = stage.book("bob", 3)
        await until(lambda: guest.reply)
        assert guest.reply == Reserved("bob", (1, 2, 3))
        stage.driver.close()

    async def second() -> None:
        stage = Stage(disk)
        found, nobody = stage.find("bob"), stage.find("eve")
        await until(lambda: found.reply and nobody.reply)
        assert (found.reply, nobody.reply) == (Found((1, 2, 3)), NoReservation("eve"))
        stage.driver.close()

    in_a_loop(first)
    in_a_loop(second)


def test_a_failed_write_halts_and_nobody_hears_of_success(disk: Disk) -> None:
    async def story() -> None:
        stage = Stage(disk)
        await stage.settled()
        disk.broken = True
        lost = stage.book("lost")
        await until(lambda: stage.halts)
        assert [halt.code for halt in stage.halts] == ["disk"]
        assert "disk I/O error" in stage.halts[0].text
        late, asks = stage.book("late"), stage.find("first")
        await until(lambda: late.reply and asks.reply)
        for guest in (late, asks):
            assert isinstance(guest.reply, Unavailable)
            assert "disk I/O error" in guest.reply.text()
        assert lost.reply is None, "what it comes to is for the line server to say: unknown"
        status = stage.driver.status()
        assert status["state"] == "halted"
        assert "disk I/O error" in status["waiting_for"]
        disk.broken = False
        stage.driver.close()

    in_a_loop(story)


def test_a_disk_that_hangs_is_told_at_every_look_until_it_goes_on(disk: Disk) -> None:
    async def story() -> None:
        stage = Stage(disk, deadline_seconds=0.1)
        await stage.settled()
        assert not stage.stalls
        disk.free.clear()
        guest = stage.book("bob")
        await until(lambda: len(stage.stalls) > 1)
        assert isinstance(stage.stalls[0], Unknown)
        assert "has not ended a write" in stage.stalls[0].text()
        assert stage.driver.status()["waiting_for"] == "its disk, which does not end a write"
        assert guest.reply is None, "the line server has answered meanwhile; the core's reply comes with the sync"
        disk.free.set()
        await until(lambda: guest.reply)
        assert isinstance(guest.reply, Reserved)
        assert "waiting_for" not in stage.driver.status()
        assert not stage.halts
        stage.driver.close()

    in_a_loop(story)


def test_no_more_than_the_limit_wait_for_the_disk(disk: Disk) -> None:
    async def story() -> None:
        stage = Stage(disk, waiting_max=3)
        await stage.settled()
        disk.free.clear()
        first = [stage.book("a"), stage.book("b")]
        await until(lambda: stage.driver._gate.replies_held)
        turn = [stage.book("c"), stage.book("d"), stage.find("a")]
        await until(lambda: turn[-1].reply)
        for refused in turn[1:]:
            assert isinstance(refused.reply, Overloaded)
        disk.free.set()
        await until(lambda: turn[0].reply)
        assert all(isinstance(guest.reply, Reserved) for guest in (*first, turn[0]))
        assert stage.driver._gate.replies_held == 0
        later = stage.book("e")
        await until(lambda: later.reply)
        assert isinstance(later.reply, Reserved)
        stage.driver.close()

    in_a_loop(story)


def test_what_no_peer_in_its_right_mind_sends_is_refused_and_counted(disk: Disk) -> None:
    names = ("a", "b")
    configuration = LamportConfiguration(
        me=0, servers=names, model="majority", disk="disk-a", timeout_us=5_000_000, deadline_us=10_000_000
    )

    async def story() -> None:
        journal = disk.journal()
        records = genesis_records(2, "disk-a", Tickets.name, ["disk-a", "disk-b"])
        group = Group(1)
        group.records = records
        journal.write(group)
        journal.close()
        stage = Stage(disk, Lamport(Machine(Tickets(seats=1000)), configuration), names)
        driver = stage.driver
        for node, payload in (
            ("b", b""),
            ("b", b"\xc1"),
            ("b", msgspec.msgpack.encode([["no such message", 1]])),
            ("b", msgspec.msgpack.encode([["presence"]])),
            ("b", msgspec.msgpack.encode("text")),
            ("x", msgspec.msgpack.encode([])),
        ):
            with pytest.raises(MalformedInput):
                driver.on_frame(node, payload)
        assert driver.counters["malformed"] == 6
        assert driver.counters["messages"] == 0
        assert driver.halted is None
        driver.on_event("x", object())
        guest = stage.book("bob")
        await until(lambda: guest.reply)
        assert isinstance(guest.reply, Unavailable), "it waits for b"
        driver.close()

    in_a_loop(story)


def test_what_comes_before_the_start_waits_for_the_journal(disk: Disk) -> None:
    """Else an unread disk would look to its peers like an empty one."""

    async def story() -> None:
        seen: list[str] = []

        class Watched(Solo):
            def recover(self, now_us: int, recovered: Recovered) -> Step:
                seen.append("recover")
                return super().recover(now_us, recovered)

            def submit(self, now_us: int, requests: Any) -> Step:
                seen.append("submit")
                return super().submit(now_us, requests)

        machine = Machine(Tickets(seats=10))
        core = Watched(machine, disk="disk-1", name="tickets")
        driver = Driver(
            "tickets",
            core,
            machine,
            None,
            disk.writer(),
            ("a",),
            lambda *_: None,
            lambda: None,
            lambda: None,
            print,
            print,
        )
        guest = Guest([], "early")
        driver.submit(guest, Request(Reserve("early", 1)))
        for _ in range(5):
            await asyncio.sleep(0)
        assert seen == []
        driver.start()
        await until(lambda: guest.reply)
        assert seen[:2] == ["recover", "submit"]
        driver.close()

    in_a_loop(story)


class Copying(Solo):
    """Its next step is as if it had taken over a peer's state."""

    copies = False

    def submit(self, now_us: int, requests: Sequence[tuple[Any, Request]]) -> Step:
        step = super().submit(now_us, requests)
        if self.copies:
            step.reset = True
            step.snapshot = [SnapshotPart(1, 0, b"state", True, 0)]
        return step


def test_who_watches_is_told_of_what_was_missed_when_the_copied_state_is_on_the_disk(disk: Disk) -> None:
    async def story() -> None:
        told: list[list[str]] = []
        core = Copying(Machine(Tickets(seats=1000)), disk="disk-1", name="tickets")
        stage = Stage(disk, core, on_missed=lambda: told.append(list(stage.order)))
        await stage.settled()
        core.copies = True
        disk.free.clear()
        stage.book("bob")
        await until(lambda: stage.driver._under_way is not None and stage.driver._under_way.reset)
        assert told == []
        core.copies = False
        disk.free.set()
        await until(lambda: told)
        stage.book("eve")
        await until(lambda: "eve" in stage.order)
        assert told == [["first", "bob"]], "once, behind what waited for it too"
        stage.driver.close()

    in_a_loop(story)


def test_messages_that_are_too_long_for_one_piece_leave_divided_in_their_order(disk: Disk) -> None:
    """As after a write that took long, while one large answer after the other waited for it."""

    async def story() -> None:
        stage = Stage(disk, room=lambda node: 1_000)
        messages = [b"%d" % number + b"x" * 300 for number in range(10)] + [b"y" * 2_000, b"z"]
        stage.driver._post("b", messages)
        pieces = [(node, msgspec.msgpack.decode(payload)) for node, payload in stage.sent]
        assert [message for _, piece in pieces for message in piece] == messages
        assert {node for node, _ in pieces} == {"b"}
        assert [len(payload) > 1_000 for _, payload in stage.sent].count(True) == 1, "what cannot be cut goes alone"
        stage.driver.close()

    in_a_loop(story)
