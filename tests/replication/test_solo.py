"""The smallest core: every reply rests on the journal, and a restart gives the same state again."""

from __future__ import annotations

import msgspec

from holdfast.apps.tickets import Delete, ListReservations, Release, Reserve, Search, Tickets
from holdfast.kernel.contracts import Recovered, Request, SnapshotPart, Step
from holdfast.kernel.gate import Gate
from holdfast.kernel.machine import Machine
from holdfast.replication.solo import Solo

EMPTY = Recovered(b"", 1, (), True)


class Journal:
    """What the steps of one core wrote, and what a restart finds of it."""

    def __init__(self) -> None:
        self.first = 1
        self.records: list[bytes] = []
        self.snapshot = b""
        self.parts: list[SnapshotPart] = []

    def write(self, step: Step) -> Step:
        self.records += step.records
        for part in step.snapshot:
            self.parts = [*self.parts, part] if part.index else [part]
            if part.last:
                self.snapshot = b"".join(piece.data for piece in self.parts)
                self.records = self.records[part.upto + 1 - self.first :]
                self.first = part.upto + 1
        return step

    def recovered(self) -> Recovered:
        return Recovered(self.snapshot, self.first, tuple(self.records), not self.records and not self.snapshot)


def solo(seats: int = 10, **options: int) -> Solo:
    return Solo(Machine(Tickets(seats)), disk="disk-1", **options)


def reserve(name: str, client: str = "", number: int = 0) -> Request:
    return Request(Reserve(name, 1), client, number)


def texts(step: Step) -> list[str]:
    return [reply.text() for _, reply in step.replies]


def test_a_batch_is_one_record_and_one_reply_each_in_order() -> None:
    core = solo()
    core.recover(0, EMPTY)
    step = core.submit(1, [("t1", reserve("ann")), ("t2", reserve("ann")), ("t3", reserve("bob"))])
    assert len(step.records) == 1
    assert [token for token, _ in step.replies] == ["t1", "t2", "t3"]
    assert texts(step) == [
        "The seats have been reserved for ann: 1.",
        "Failed: ann has booked the following seats: 1.",
        "The seats have been reserved for bob: 2.",
    ]


def test_no_reply_leaves_before_the_batch_is_synced_not_even_to_a_reader() -> None:
    core, gate = solo(), Gate()
    gate.absorb(core.recover(0, EMPTY))
    gate.absorb(core.submit(1, [("write", reserve("ann"))]))
    gate.absorb(core.ask(2, [("read", Request(Search("ann")))]))
    assert gate.replies == []
    assert gate.next_group() is not None
    gate.written()
    assert [token for token, _ in gate.replies] == ["write", "read"]


def test_a_restart_executes_the_journal_again() -> None:
    core, journal = solo(), Journal()
    journal.write(core.recover(0, EMPTY))
    for turn in range(5):
        journal.write(core.submit(turn, [(None, reserve(f"name{turn}", "c", turn))]))
    again = solo()
    again.recover(0, journal.recovered())
    assert again.status() == core.status()
    assert again.position == 5
    assert again.disk == "disk-1"


def test_a_retry_after_a_restart_gets_the_first_answer() -> None:
    core, journal = solo(), Journal()
    journal.write(core.recover(0, EMPTY))
    first = journal.write(core.submit(1, [(None, reserve("ann", "c", 1))]))
    journal.write(core.submit(2, [(None, Request(Delete("ann"), "d", 1))]))
    again = solo()
    again.recover(0, journal.recovered())
    assert texts(again.submit(3, [(None, reserve("ann", "c", 1))])) == texts(first)
    assert texts(again.ask(4, [(None, Request(Search("ann")))])) == ["Failed: no reservation is made by ann."]


def test_a_snapshot_in_slices_cuts_the_journal_and_restores_the_state() -> None:
    core, journal = solo(60, snapshot_every_records=20, snapshot_rows_a_slice=8), Journal()
    journal.write(core.recover(0, EMPTY))
    parts = 0
    for turn in range(50):
        command = Reserve(f"name{turn % 30}", 2) if turn < 30 else Release(f"name{turn % 30}", (2 * (turn % 30) + 1,))
        step = journal.write(core.submit(turn, [(None, Request(command, f"c{turn % 7}", turn))]))
        parts += len(step.snapshot)
    assert parts > 2
    assert journal.first > 1
    again = solo(60)
    again.recover(0, journal.recovered())
    assert again.status() == core.status()


def test_a_snapshot_goes_on_when_nobody_asks_anything() -> None:
    core, journal = solo(60, snapshot_every_records=20, snapshot_rows_a_slice=4), Journal()
    journal.write(core.recover(0, EMPTY))
    step = Step()
    for turn in range(19):
        step = journal.write(core.submit(turn, [(None, reserve(f"name{turn}"))]))
    while step.wake_us is not None:
        step = journal.write(core.wake(step.wake_us))
    assert journal.first == 21
    assert journal.records == []
    again = solo(60)
    again.recover(0, journal.recovered())
    assert again.status() == core.status()


def test_a_snapshot_does_not_show_what_came_after_its_beginning() -> None:
    core, journal = solo(60, snapshot_every_records=10, snapshot_rows_a_slice=1), Journal()
    journal.write(core.recover(0, EMPTY))
    for turn in range(9):
        journal.write(core.submit(turn, [(None, reserve(f"name{turn}"))]))
    for turn in range(9):
        journal.write(core.submit(turn, [(None, Request(Delete(f"name{turn}")))]))
    while journal.first == 1:
        journal.write(core.wake(100))
    again = solo(60)
    again.recover(0, journal.recovered())
    assert texts(again.ask(1, [(None, Request(ListReservations()))])) == ["No reservations."]
    assert again.status() == core.status()


def test_another_theatre_size_is_refused_on_old_data() -> None:
    core, journal = solo(10), Journal()
    journal.write(core.recover(0, EMPTY))
    journal.write(core.submit(1, [(None, reserve("ann"))]))
    snapshotted = Journal()
    snapshotted.write(solo(10, snapshot_every_records=1).recover(0, EMPTY))
    assert snapshotted.snapshot
    for found in (journal, snapshotted):
        halt = solo(11).recover(0, found.recovered()).halt
        assert halt is not None
        assert halt.code == "configuration"
        assert "set seats = 10" in halt.text


def test_a_journal_that_makes_no_sense_halts_the_replica() -> None:
    halt = solo().recover(0, Recovered(b"", 1, (b"\xc1nonsense",), False)).halt
    assert halt is not None
    assert halt.code == "damaged"


def test_a_journal_without_an_identity_is_refused() -> None:
    record = msgspec.msgpack.encode(["executed", b"\x90"])
    halt = solo().recover(0, Recovered(b"", 1, (record,), False)).halt
    assert halt is not None
    assert "no identity" in halt.text


def test_the_same_inputs_give_the_same_bytes() -> None:
    def run() -> list[bytes]:
        core = solo(60, snapshot_every_records=5, snapshot_rows_a_slice=2)
        steps = [core.recover(0, EMPTY)]
        steps += [core.submit(turn, [(None, reserve(f"n{turn}", f"c{turn % 3}", turn))]) for turn in range(30)]
        return [b"".join([*step.records, *(part.data for part in step.snapshot)]) for step in steps]

    assert run() == run()
