"""The journal: what was written comes back, in order, numbered, through snapshots, resets and new starts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.contracts import Recovered, SnapshotPart
from holdfast.kernel.errors import BrokenInvariant, JournalDamaged
from holdfast.kernel.gate import Group
from holdfast.runtime.journal import TIDY_GROUPS, Journal, JournalInUse


def group(*records: bytes, snapshot: list[SnapshotPart] | None = None, reset: bool = False) -> Group:
    made = Group(1)
    made.records = list(records)
    made.snapshot = snapshot or []
    made.reset = reset
    return made


def part(id: int, index: int, data: bytes, upto: int, *, last: bool = False) -> SnapshotPart:
    return SnapshotPart(id=id, index=index, data=data, last=last, upto=upto)


def reopened(journal: Journal) -> tuple[Journal, Recovered]:
    journal.close()
    journal = Journal.open(journal.path)
    return journal, journal.recover()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tickets.journal"


def test_an_empty_disk_is_fresh_and_a_used_one_is_not(path: Path) -> None:
    journal = Journal.open(path)
    assert journal.recover() == Recovered(snapshot=b"", first=1, records=[], fresh=True)
    assert journal.last_number == 0
    journal, recovered = reopened(journal)
    assert recovered.fresh
    journal.write(group(b"one"))
    journal, recovered = reopened(journal)
    assert not recovered.fresh
    journal.close()


def test_a_journal_that_was_copied_or_restored_says_so_until_it_is_written(path: Path, tmp_path: Path) -> None:
    journal = Journal.open(path)
    assert not journal.is_copy
    journal.write(group(b"one"))
    journal, _ = reopened(journal)
    assert not journal.is_copy
    journal.close()

    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tmp_path, elsewhere)
    for _ in range(2):  # it does not forget, as long as nobody has had the chance to note it down
        copy = Journal.open(elsewhere / path.name)
        assert copy.is_copy
        assert copy.recover().records == [b"one"]
        copy.close()
    copy = Journal.open(elsewhere / path.name)
    copy.write(group(b"two"))
    copy, recovered = reopened(copy)
    assert not copy.is_copy
    assert recovered.records == [b"one", b"two"]
    copy.close()

    journal = Journal.open(path)
    assert not journal.is_copy
    journal.close()
    for suffix in ("", ".lock"):  # the backup comes back, as whole files under the old names
        shutil.move(f"{elsewhere / path.name}{suffix}", f"{path}{suffix}")
    restored = Journal.open(path)
    assert not restored.is_copy, "moved within a file system, a file is still the same"
    restored.close()


def test_a_journal_without_its_lock_file_was_brought_here(path: Path) -> None:
    journal = Journal.open(path)
    journal.write(group(b"one"))
    journal.close()
    path.with_name(path.name + ".lock").unlink()
    journal = Journal.open(path)
    assert journal.is_copy
    journal.close()


def test_a_journal_of_an_earlier_version_is_no_copy(path: Path) -> None:
    journal = Journal.open(path)
    journal.write(group(b"one"))
    journal.close()
    lock = path.with_name(path.name + ".lock")
    content = bytearray(lock.read_bytes())
    content[1024:1048] = bytes(24)
    lock.write_bytes(content)
    for _ in range(2):
        journal = Journal.open(path)
        assert not journal.is_copy
        journal.close()


def test_an_empty_journal_is_no_copy(path: Path) -> None:
    Journal.open(path).close()
    for part_of_it in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        part_of_it.unlink(missing_ok=True)
    journal = Journal.open(path)
    assert journal.recover().fresh
    assert not journal.is_copy
    journal.close()


def test_records_come_back_in_order_and_go_on_being_numbered(path: Path) -> None:
    journal = Journal.open(path)
    journal.write(group(b"one", b"two"))
    journal.write(group(b"three"))
    assert journal.last_number == 3
    journal, recovered = reopened(journal)
    assert recovered == Recovered(snapshot=b"", first=1, records=[b"one", b"two", b"three"], fresh=False)
    journal.write(group(b"four"))
    assert journal.last_number == 4
    journal, recovered = reopened(journal)
    assert recovered.records == [b"one", b"two", b"three", b"four"]
    journal.close()


def test_a_complete_snapshot_stands_for_the_records_up_to_its_own(path: Path) -> None:
    journal = Journal.open(path)
    journal.write(group(b"one", b"two", b"three"))
    journal.write(group(b"four", snapshot=[part(7, 0, b"the state ", 2)]))
    journal.write(group(b"five", snapshot=[part(7, 1, b"after two", 2, last=True)]))
    journal, recovered = reopened(journal)
    assert recovered.snapshot == b"the state after two"
    assert recovered.first == 3
    assert recovered.records == [b"three", b"four", b"five"]
    journal.close()


def test_a_snapshot_cut_off_before_its_last_part_is_as_if_never_begun(path: Path) -> None:
    journal = Journal.open(path)
    journal.write(group(b"one", snapshot=[part(1, 0, b"old", 1, last=True)]))
    journal.write(group(b"two", snapshot=[part(2, 0, b"never ", 2)]))
    journal, recovered = reopened(journal)
    assert (recovered.snapshot, recovered.first, recovered.records) == (b"old", 2, [b"two"])
    journal.write(group(snapshot=[part(2, 0, b"new", 2, last=True)]))
    journal, recovered = reopened(journal)
    assert (recovered.snapshot, recovered.first, recovered.records) == (b"new", 3, [])
    journal.close()


def test_what_a_snapshot_replaces_is_deleted_in_small_steps(path: Path) -> None:
    journal = Journal.open(path)
    for number in range(3 * TIDY_GROUPS):
        journal.write(group(b"record %d" % number))
        journal.tidy()
    journal.write(group(b"the last", snapshot=[part(1, 0, b"state", 3 * TIDY_GROUPS, last=True)]))
    left = [stored_groups(journal)]
    for _ in range(4):
        journal.tidy()
        left.append(stored_groups(journal))
    assert left == [3 * TIDY_GROUPS + 1, 2 * TIDY_GROUPS + 1, TIDY_GROUPS + 1, 1, 1]
    journal, recovered = reopened(journal)
    assert (recovered.snapshot, recovered.records) == (b"state", [b"the last"])
    journal.close()


def stored_groups(journal: Journal) -> int:
    count: int = journal._connection.execute("SELECT count(*) FROM groups").fetchone()[0]
    return count


def test_tidying_cut_off_goes_on_after_the_next_start(path: Path) -> None:
    journal = Journal.open(path)
    for number in range(2 * TIDY_GROUPS):
        journal.write(group(b"record %d" % number))
    journal.write(group(snapshot=[part(1, 0, b"state", 2 * TIDY_GROUPS - 1, last=True)]))
    journal.tidy()
    journal, recovered = reopened(journal)
    assert recovered.records == [b"record %d" % (2 * TIDY_GROUPS - 1)]
    for _ in range(3):
        journal.tidy()
    assert stored_groups(journal) == 1
    journal.close()


def test_a_reset_replaces_everything_and_numbers_on_from_its_snapshot(path: Path) -> None:
    journal = Journal.open(path)
    journal.write(group(b"one", b"two", snapshot=[part(1, 0, b"mine", 1, last=True)]))
    parts = [part(9, 0, b"copied ", 500), part(9, 1, b"state", 500, last=True)]
    journal.write(group(b"501", snapshot=parts, reset=True))
    assert journal.last_number == 501
    journal, recovered = reopened(journal)
    assert recovered == Recovered(snapshot=b"copied state", first=501, records=[b"501"], fresh=False)
    journal.write(group(reset=True))
    journal, recovered = reopened(journal)
    assert recovered == Recovered(snapshot=b"", first=1, records=[], fresh=False)
    journal.close()


def test_what_could_never_be_read_back_is_refused_before_it_is_written(path: Path) -> None:
    journal = Journal.open(path)
    journal.write(group(b"one", snapshot=[part(5, 0, b"state", 1, last=True)]))
    impossible = [
        group(snapshot=[part(6, 1, b"no beginning", 1)]),
        group(snapshot=[part(6, 0, b"of the future", 99)]),
        group(snapshot=[part(4, 0, b"older than what is there", 1)]),
        group(snapshot=[part(6, 0, b"no end", 1)], reset=True),
    ]
    for wrong in impossible:
        with pytest.raises(BrokenInvariant):
            journal.write(wrong)
    journal.write(group(b"two"))
    journal, recovered = reopened(journal)
    assert (recovered.snapshot, recovered.records) == (b"state", [b"two"])
    journal.close()


def test_a_second_holder_is_refused_until_the_first_lets_go(path: Path) -> None:
    journal = Journal.open(path)
    with pytest.raises(JournalInUse, match="in use by another process"):
        Journal.open(path)
    command = [sys.executable, "-c", f"from holdfast.runtime.journal import Journal; Journal.open({str(path)!r})"]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode != 0
    assert "JournalInUse" in second.stderr
    journal.close()
    assert subprocess.run(command, check=False).returncode == 0


def test_a_journal_set_aside_leaves_a_fresh_place_and_keeps_every_byte(path: Path) -> None:
    journal = Journal.open(path)
    journal.write(group(b"precious"))
    journal.close()
    before = path.read_bytes()
    aside = Journal.set_aside(path)
    assert aside.read_bytes() == before
    assert not path.exists()
    journal = Journal.open(path)
    assert journal.recover().fresh
    journal.close()
    assert Journal.set_aside(path) != aside
    kept = Journal.open(aside)
    assert kept.recover().records == [b"precious"]
    kept.close()


def test_a_deleted_file_is_not_taken_for_a_fresh_disk(path: Path) -> None:
    journal = Journal.open(path)
    journal.write(group(b"one"))
    journal.close()
    path.unlink()
    with pytest.raises(JournalDamaged, match="ends at group 0, but group 1 was synced"):
        Journal.open(path)


class Model:
    """A journal as a list."""

    def __init__(self) -> None:
        self.snapshot, self.upto, self.first, self.records = b"", 0, 1, list[bytes]()
        self.id, self.index, self.beginning = 0, 0, b""

    @property
    def last(self) -> int:
        return self.first + len(self.records) - 1

    def append(self, records: list[bytes]) -> Group:
        self.records += records
        return group(*records)

    def slice(self, data: bytes, last: bool) -> Group:
        if self.index == 0:
            self.id, self.upto, self.beginning = self.id + 1, self.last, b""
        written = part(self.id, self.index, data, self.upto, last=last)
        self.beginning, self.index = self.beginning + data, self.index + 1
        if last:
            self.index, self.snapshot = 0, self.beginning
            self.records, self.first = self.records[self.upto + 1 - self.first :], self.upto + 1
        return group(snapshot=[written])

    def reset(self, data: bytes, upto: int, records: list[bytes]) -> Group:
        self.id, self.index = self.id + 1, 0
        self.snapshot, self.first, self.records = data, upto + 1, list(records)
        return group(*records, snapshot=[part(self.id, 0, data, upto, last=True)], reset=True)

    def restart(self, journal: Journal) -> Journal:
        self.index = 0
        journal, recovered = reopened(journal)
        assert (recovered.snapshot, recovered.first) == (self.snapshot, self.first)
        assert recovered.records == self.records
        assert journal.last_number == self.last
        return journal


Action = Callable[[Model], Group] | None
records = st.lists(st.binary(max_size=9) | st.integers(0, 9).map(lambda n: bytes([n]) * 20_000), max_size=3)
actions: st.SearchStrategy[Action] = st.one_of(
    records.map(lambda items: lambda model: model.append(items)),
    st.tuples(st.binary(max_size=9), st.booleans()).map(lambda it: lambda model: model.slice(*it)),
    st.tuples(st.binary(max_size=9), st.integers(0, 1000), records).map(lambda it: lambda model: model.reset(*it)),
    st.none(),
)


@given(st.lists(actions, max_size=25))
def test_any_sequence_of_writes_and_restarts_reads_as_a_plain_list_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Action]
) -> None:
    journal, model = Journal.open(tmp_path_factory.mktemp("journal") / "j"), Model()
    try:
        for step in steps:
            if step is None:
                journal = model.restart(journal)
            else:
                journal.write(step(model))
                journal.tidy()
        journal = model.restart(journal)
    finally:
        journal.close()
