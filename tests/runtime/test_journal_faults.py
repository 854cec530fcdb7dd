"""What a bad disk can do to a journal, on the real files, and what comes of it."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.contracts import Recovered, SnapshotPart
from holdfast.kernel.errors import JournalDamaged
from holdfast.kernel.gate import Group
from holdfast.runtime.journal import Journal, JournalFailed, connect

SUFFIXES = ("", "-wal", ".lock")


def group(*records: bytes, snapshot: list[SnapshotPart] | None = None, reset: bool = False) -> Group:
    made = Group(1)
    made.records, made.snapshot, made.reset = list(records), snapshot or [], reset
    return made


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def copied(path: Path, to: Path) -> Path:
    """The files as a killed process leaves them."""
    to.mkdir(exist_ok=True)
    for suffix in SUFFIXES:
        if beside(path, suffix).exists():
            shutil.copy(beside(path, suffix), beside(to / path.name, suffix))
    return to / path.name


def read(path: Path) -> Recovered:
    journal = Journal.open(path)
    try:
        return journal.recover()
    finally:
        journal.close()


def flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tickets.journal"


@pytest.fixture
def killed(path: Path, tmp_path: Path) -> Path:
    """A journal as a killed process leaves it: a snapshot and some groups in the file, later groups in the log."""
    noise = random.Random(2).randbytes
    journal = Journal.open(path)
    for number in range(1, 31):
        snapshot = [SnapshotPart(1, 0, noise(9000), True, 10)] if number == 20 else []
        journal.write(group(noise(300), noise(10), snapshot=snapshot))
    journal.close()
    journal = Journal.open(path)
    for _ in range(20):
        journal.write(group(noise(500)))
    left = copied(path, tmp_path / "killed")
    journal.close()
    return left


def test_a_killed_process_loses_nothing_that_was_written(killed: Path) -> None:
    recovered = read(killed)
    assert recovered.first == 11
    assert len(recovered.records) == 70
    assert len(recovered.snapshot) == 9000


def test_a_torn_tail_loses_only_the_group_that_was_never_reported(path: Path, tmp_path: Path) -> None:
    journal = Journal.open(path)
    journal.write(group(b"reported"))
    copied(path, tmp_path / "torn")
    note = beside(path, ".lock").read_bytes()
    journal.write(group(b"cut off by the power failure"))
    torn = copied(path, tmp_path / "torn")
    journal.close()
    beside(torn, ".lock").write_bytes(note)
    log = beside(torn, "-wal")
    for size in range(log.stat().st_size - 1, log.stat().st_size - 8000, -1999):
        fresh = copied(torn, tmp_path / f"torn at {size}")
        with beside(fresh, "-wal").open("r+b") as file:
            file.truncate(size)
        assert read(fresh).records == [b"reported"]


def test_a_log_cut_below_what_was_reported_is_damage(killed: Path) -> None:
    log = beside(killed, "-wal")
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size // 2)
    with pytest.raises(JournalDamaged, match="but group 50 was synced"):
        Journal.open(killed)


def damage_found(whole: Recovered, path: Path, what: str) -> bool:
    """True if the damage is found, False if it hit nothing that counts; anything else is a failure."""
    try:
        recovered = read(path)
    except JournalDamaged:
        return True
    assert recovered == whole, f"{what} changed what is read, unseen"
    return False


def sampled_bits(size: int, count: int) -> Iterator[int]:
    chance = random.Random(size)
    yield from (8 * byte + chance.randrange(8) for byte in range(0, 100, 3))
    yield from (chance.randrange(8 * size) for _ in range(count))


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_flipped_bit_anywhere_is_found_or_harmless(killed: Path, tmp_path: Path, suffix: str) -> None:
    whole = read(copied(killed, tmp_path / "whole"))
    size = beside(killed, suffix).stat().st_size
    found = 0
    for bit in sampled_bits(size, 150):
        fresh = copied(killed, tmp_path / "flipped")
        flip(beside(fresh, suffix), bit)
        found += damage_found(whole, fresh, f"bit {bit} of {fresh.name}{suffix}")
    assert found > 40


def test_the_lock_file_survives_one_flipped_bit_and_reports_two(killed: Path, tmp_path: Path) -> None:
    whole = read(copied(killed, tmp_path / "whole"))
    for first in (0, 2048):
        fresh = copied(killed, tmp_path / "flipped")
        flip(beside(fresh, ".lock"), 8 * first + 61)
        assert not damage_found(whole, fresh, f"one of two copies, at {first}")
    fresh = copied(killed, tmp_path / "flipped")
    for first in (0, 2048):
        flip(beside(fresh, ".lock"), 8 * first + 61)
    with pytest.raises(JournalDamaged, match="neither of its two copies"):
        Journal.open(fresh)


def test_without_its_lock_file_a_flip_in_the_log_shows_in_the_last_number(killed: Path) -> None:
    beside(killed, ".lock").unlink()
    flip(beside(killed, "-wal"), 8 * beside(killed, "-wal").stat().st_size // 2)
    journal = Journal.open(killed)
    assert 60 <= journal.last_number < 80  # its peers have acknowledged positions up to 80 in mind
    journal.close()


def test_every_row_that_is_altered_missing_or_moved_is_found(killed: Path, tmp_path: Path) -> None:
    whole = read(killed)
    attacks = [
        "UPDATE groups SET data = (SELECT data FROM groups WHERE sequence = 41) WHERE sequence = 40",
        "UPDATE groups SET first = first + 1 WHERE sequence = 45",
        "UPDATE groups SET first = 'twelve' WHERE sequence = 45",
        "UPDATE groups SET data = NULL WHERE sequence = 45",
        "UPDATE groups SET checksum = zeroblob(16) WHERE sequence = 33",
        "UPDATE parts SET upto = 12",
        "UPDATE parts SET data = substr(data, 2)",
        "DELETE FROM parts",
        "DELETE FROM groups WHERE sequence = 37",
        "DELETE FROM groups WHERE sequence < 20",
        "DELETE FROM groups WHERE sequence > 48",
        "DELETE FROM groups",
        "UPDATE groups SET sequence = sequence + 1000 WHERE sequence > 48",
        "ALTER TABLE groups RENAME TO others",
        "CREATE TABLE more (a)",
        "PRAGMA user_version = 2",
        "PRAGMA application_id = 7",
    ]
    for attack in attacks:
        fresh = copied(killed, tmp_path / "attacked")
        with sqlite3.connect(fresh) as connection:
            try:
                connection.execute(attack)
            except sqlite3.IntegrityError:
                continue  # SQLite itself would not let that row exist
        connection.close()
        assert damage_found(whole, fresh, attack), attack


def test_a_shortened_file_is_damage(killed: Path, tmp_path: Path) -> None:
    whole = read(copied(killed, tmp_path / "whole"))
    size = killed.stat().st_size
    for kept in (0, 50, 100, 8192, size // 2, size - 8192, size - 1):
        fresh = copied(killed, tmp_path / "short")
        with fresh.open("r+b") as file:
            file.truncate(kept)
        found = damage_found(whole, fresh, f"cutting to {kept} bytes")
        assert found or kept >= size - 8192  # the log holds the last page once more


def test_files_of_others_are_refused(path: Path) -> None:
    path.write_bytes(b"Dear diary, today I wrote a text file.\n" * 500)
    with pytest.raises(JournalDamaged, match="not a database"):
        Journal.open(path)
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE addresses (name)")
    connection.close()
    with pytest.raises(JournalDamaged, match="another program"):
        Journal.open(path)


def test_a_damaged_journal_is_left_as_it_was_for_those_who_look_into_it(killed: Path) -> None:
    flip(beside(killed, "-wal"), 8 * 1000)
    before = [beside(killed, suffix).read_bytes() for suffix in SUFFIXES]
    for _ in range(2):
        with pytest.raises(JournalDamaged):
            Journal.open(killed)
    assert [beside(killed, suffix).read_bytes() for suffix in SUFFIXES] == before
    aside = Journal.set_aside(killed)
    assert [beside(aside, suffix).read_bytes() for suffix in SUFFIXES] == before
    assert read(killed).fresh


class Watched(sqlite3.Connection):
    """Copies the files before every statement of a reset, as a kill at that moment would leave them."""

    source: Path
    copies: list[Path]
    watching = False

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if self.watching:
            self.copies.append(copied(self.source, self.source.parent / f"moment {len(self.copies)}"))
        return super().execute(*arguments)


def test_a_reset_cut_off_at_any_moment_leaves_all_of_the_old_or_all_of_the_new(path: Path) -> None:
    Watched.source, Watched.copies = path, []
    journal = Journal.open(path, connect=lambda place: connect(place, Watched))
    journal.write(group(b"one", b"two", snapshot=[SnapshotPart(1, 0, b"old", True, 1)]))
    journal.tidy()
    Watched.watching = True
    parts = [SnapshotPart(2, index, bytes(200_000), index == 4, 900) for index in range(5)]
    journal.write(group(b"901", snapshot=parts, reset=True))
    Watched.copies.append(copied(path, path.parent / "afterwards"))
    Watched.watching = False
    journal.close()
    held = [(len(found.snapshot), found.first, found.records) for found in map(read, Watched.copies)]
    old, new = (3, 2, [b"two"]), (1_000_000, 901, [b"901"])
    moments = held.count(old)
    assert moments > 8
    assert held == [old] * moments + [new] * (len(held) - moments)
    assert held[-1] == new


class Failing(sqlite3.Connection):
    """A disk whose sync fails once, and then claims to be well."""

    broken = False
    attempts = 0

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if Failing.broken:
            Failing.attempts += 1
            Failing.broken = False
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(*arguments)


def test_after_a_failed_sync_nothing_is_tried_again(path: Path, tmp_path: Path) -> None:
    journal = Journal.open(path, connect=lambda place: connect(place, Failing))
    journal.write(group(b"acknowledged"))
    Failing.broken = True
    with pytest.raises(JournalFailed, match="disk I/O error"):
        journal.write(group(b"not acknowledged"))
    with pytest.raises(JournalFailed, match="not tried again"):
        journal.write(group(b"again"))
    with pytest.raises(JournalFailed, match="not tried again"):
        journal.tidy()
    assert Failing.attempts == 1
    journal.close()
    assert read(copied(path, tmp_path / "later")).records == [b"acknowledged"]


FILL = """
import resource, sys
from pathlib import Path
from holdfast.kernel.gate import Group
from holdfast.runtime.journal import Journal, JournalFailed
journal = Journal.open(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
group, failures = Group(1), []
while len(failures) < 3:
    group.records = [b"%d" % journal.last_number + bytes(5000)]
    try:
        journal.write(group)
        journal.tidy()
        assert not failures, "a write went through after one had failed"
    except JournalFailed as error:
        failures.append(str(error))
assert len(set(failures)) == 1
print(journal.last_number, failures[0])
"""


def test_a_full_disk_stops_the_writer_and_keeps_what_was_acknowledged(path: Path) -> None:
    filling = subprocess.run([sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, check=False)
    assert filling.returncode == 0, filling.stderr
    acknowledged, message = filling.stdout.split(maxsplit=1)
    assert "free space" in message
    assert len(read(path).records) == int(acknowledged) > 20


ENDLESS = """
import sys
from pathlib import Path
from holdfast.kernel.gate import Group
from holdfast.runtime.journal import Journal
journal, group = Journal.open(Path(sys.argv[1])), Group(1)
while True:
    group.records = [b"%d" % (journal.last_number + 1)]
    journal.write(group)
    print(journal.last_number, flush=True)
    journal.tidy()
"""


def test_kill_minus_nine_loses_no_acknowledged_record_and_frees_the_lock(path: Path) -> None:
    begun = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            acknowledged = [int(writer.stdout.readline()) for _ in range(300)][-1]
            writer.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split(b"\n")[:-1])])
        records = read(path).records
        assert acknowledged <= len(records) <= acknowledged + 1
        assert records == [b"%d" % number for number in range(1, len(records) + 1)]
        assert len(records) > begun
        begun = len(records)
