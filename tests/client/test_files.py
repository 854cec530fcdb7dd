"""Exports in files: what is damaged, cut off or foreign is told with its file and line, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.client import Misuse
from holdfast.client.files import Carried, carry, export_to, import_from, read_files, read_parts
from holdfast.client.outcomes import Answer

PARTS = [f"part{number}-{'x' * 160 * number}" for number in range(1, 6)]


class Replica:
    """A service as `files` uses it: gives parts by a cursor, takes parts, each new once."""

    name = "rooms"

    def __init__(self, parts: list[str]) -> None:
        self.parts = parts
        self.taken: list[str] = []
        self.refuses = ""
        self.after: dict[str, str] = {}
        self.bounds: list[str] = []

    def call(self, *words: str) -> Answer:
        if words[0] == "export":
            if "--bytes" in words:
                self.bounds.append(words[-1])
                words = words[:-2]
            place = int(words[1]) if len(words) > 1 else 0
            more = str(place + 1) if place + 1 < len(self.parts) else ""
            return Answer(True, "", "exported", {"part": self.parts[place] if self.parts else "", "cursor": more})
        if words[1] == self.refuses or (self.after.get(words[1], words[1]) not in [*self.taken, words[1]]):
            return Answer(False, "Failed: of another site.", "cannot_do")
        new = words[1] not in self.taken
        self.taken.append(words[1])
        return Answer(True, "", "imported", {"writes": int(new), "commits": 0})


def exported(folder: Path, size: int = 0) -> Carried:
    done = export_to(Replica(PARTS), str(folder / "all.txt"), size)  # type: ignore[arg-type]
    assert isinstance(done, Carried)
    return done


def test_what_is_written_is_read_again_also_twice_and_split(tmp_path: Path) -> None:
    whole, split = exported(tmp_path), exported(tmp_path, 1000)
    assert whole.files == [str(tmp_path / "all.txt")]
    assert split.files == [str(tmp_path / f"all.txt.{number}") for number in range(1, len(split.files) + 1)]
    assert len(split.files) > 2
    assert [part for file in split.files for part in read_parts(Path(file), "rooms")] == PARTS
    replica: Any = Replica([])
    assert import_from(replica, read_files(whole.files, "rooms")) == Carried(whole.files, 5, 5, 0)
    again = import_from(replica, read_files([*split.files[::-1], *whole.files], "rooms"))
    assert again == Carried([*whole.files, *split.files], 10), "in their order"


def test_files_are_taken_by_their_numbers(tmp_path: Path) -> None:
    replica: Any = Replica([f"part{number:02}" for number in range(12)])
    done = export_to(replica, str(tmp_path / "all"), 70)
    assert isinstance(done, Carried)
    assert len(done.files) == 12
    read = read_files(sorted(done.files), "rooms")
    assert [parts for _, parts in read] == [[f"part{number:02}"] for number in range(12)]


def test_no_file_is_larger_than_was_asked_for_unless_a_part_is_and_that_is_told(tmp_path: Path) -> None:
    replica: Any = Replica(PARTS)
    done = export_to(replica, str(tmp_path / "all"), 690)
    assert isinstance(done, Carried)
    sizes = {file: Path(file).stat().st_size for file in done.files}
    assert done.larger == [file for file, size in sizes.items() if size > 690]
    assert len(done.larger) == 2, "two parts are larger than that alone"
    assert len(done.files) == 4
    (bound,) = set(replica.bounds)
    fits = export_to(Replica(["x" * int(bound)]), str(tmp_path / "one"), 690)  # type: ignore[arg-type]
    assert fits == Carried([str(tmp_path / "one.1")], 1), "a part of the bytes asked for fits into a file"


class Site:
    """A site with that one service, at one node."""

    node = "law"

    def __init__(self) -> None:
        self.replica = Replica(PARTS)

    def service(self, name: str) -> Any:
        self.replica.call = lambda *words: (  # type: ignore[method-assign]
            Answer(True, "", "helped") if words == ("help",) else Replica.call(self.replica, *words)
        )
        return self.replica


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (".", ". is a folder; name a file in it, as in rooms.txt"),
        ("..", ".. is a folder; name a file in it, as in ../rooms.txt"),
        ("/", "/ is a folder; name a file in it, as in /rooms.txt"),
        ("", ". is a folder; name a file in it, as in rooms.txt"),
        ("some", "some is a folder; name a file in it, as in some/rooms.txt"),
        ("no/x", "no/x cannot be written: there is no folder no; make it first"),
        ("file/x", "file/x cannot be written: there is no folder file; make it first"),
        ("/dev/null", "/dev/null is no ordinary file; name another one"),
        ("x" * 300, f"{'x' * 300} cannot be written: File name too long"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--split", "1K")])
def test_what_no_file_can_be_written_to_is_said_in_a_line_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, says: str, more: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(Misuse) as refused:
        carry(Site(), "rooms", ["export", file, *more], as_json=False)  # type: ignore[arg-type]
    assert str(refused.value) == says
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "some"]


def test_where_one_of_several_cannot_be_written_none_is(tmp_path: Path) -> None:
    (tmp_path / "all.2").mkdir()
    with pytest.raises(Misuse, match=r"all\.2 is a folder"):
        export_to(Replica(PARTS), str(tmp_path / "all"), 700)  # type: ignore[arg-type]
    (tmp_path / "all.2").rmdir()
    (tmp_path / "all.2.unfinished").mkdir()
    with pytest.raises(Misuse, match=r"all\.2 cannot be written: Is a directory"):
        export_to(Replica(PARTS), str(tmp_path / "all"), 700)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["all.2.unfinished"]


@pytest.mark.parametrize("size", ["0", "1", "999", "4k", "-5", ""])
def test_a_size_that_is_none_or_too_small_is_refused(tmp_path: Path, size: str) -> None:
    site: Any = Site()
    with pytest.raises(Misuse, match=r"--split takes (at least 1000 bytes a file|the size of each file)"):
        carry(site, "rooms", ["export", str(tmp_path / "all"), "--split", size], as_json=False)


def test_files_that_are_larger_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site: Any = Site()
    site.replica.parts = ["x" * 1200, "short"]
    assert carry(site, "rooms", ["export", str(tmp_path / "all"), "--split", "1K"], as_json=False) == 0
    one, two = tmp_path / "all.1", tmp_path / "all.2"
    larger = f"Larger than was asked for, as one write is: {one}."
    assert capsys.readouterr().out == f"Wrote 2 parts to {one}, {two}. {larger}\n"


def test_a_part_that_must_wait_for_another_is_given_again(tmp_path: Path) -> None:
    replica: Any = Replica([])
    replica.after = {PARTS[0]: PARTS[4], PARTS[4]: PARTS[2]}
    done = import_from(replica, read_files(exported(tmp_path).files, "rooms"))
    assert isinstance(done, Carried)
    assert done.writes == 5
    assert replica.taken == [PARTS[1], PARTS[2], PARTS[3], PARTS[4], PARTS[0]]


def test_a_replica_with_nothing_yet_makes_a_file_all_the_same(tmp_path: Path) -> None:
    assert export_to(Replica([]), str(tmp_path / "none.txt")).parts == 0  # type: ignore[arg-type, union-attr]
    assert read_parts(tmp_path / "none.txt", "rooms") == []


def test_what_is_refused_to_the_end_is_the_answer(tmp_path: Path) -> None:
    replica: Any = Replica([])
    replica.refuses = PARTS[2]
    refused = import_from(replica, read_files(exported(tmp_path).files, "rooms"))
    assert isinstance(refused, Answer)
    assert refused.text == "Failed: of another site."
    assert replica.taken == [part for part in PARTS if part != PARTS[2]]


def line(number: int, change: Callable[[str], str]) -> Callable[[str], str]:
    def changed(text: str) -> str:
        lines = text.splitlines(keepends=True)
        lines[number - 1] = change(lines[number - 1])
        return "".join(lines)

    return changed


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (line(3, lambda text: text.replace("x", "y", 1)), "line 7: the checksum does not fit"),
        (line(3, lambda text: "two words\n"), "line 3: this is no part of an export"),
        (line(3, lambda text: "\n"), "line 3: this is no part of an export"),
        (line(3, lambda text: ""), "line 6: the file says it has 5 parts and has 4"),
        (lambda text: text[:100], "the file is cut off"),
        (lambda text: text + "more\n", "line 8: something follows the end"),
        (lambda text: "", "line 1: this is no export of Holdfast"),
        (lambda text: "Dear Anna,\n", "line 1: this is no export of Holdfast"),
        (line(1, lambda text: text.replace(" 1 ", " 2 ")), "line 1: this is an export in the format 2"),
        (line(1, lambda text: text.replace("rooms", "tickets")), "line 1: this is an export of the service tickets"),
    ],
)
def test_a_damaged_or_foreign_file_is_told_with_its_line(
    tmp_path: Path, damage: Callable[[str], str], says: str
) -> None:
    good, bad = Path(exported(tmp_path).files[0]), tmp_path / "bad.txt"
    text = good.read_text()
    bad.write_text(damage(text))
    assert bad.read_text() != text
    with pytest.raises(Misuse) as refused:
        read_files([str(good), str(bad)], "rooms")
    message = str(refused.value)
    assert message.startswith(str(bad))
    assert says in message


def test_bytes_that_are_no_text_are_no_export(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(Misuse, match="this is no text"):
        read_parts(tmp_path / "photo.jpg", "rooms")


def test_a_file_that_came_over_a_windows_disk_is_whole(tmp_path: Path) -> None:
    file = Path(exported(tmp_path).files[0])
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert read_parts(file, "rooms") == PARTS


def test_an_export_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    exported(tmp_path)
    before = (tmp_path / "all.txt").read_text()
    broken: Any = Replica(PARTS)
    broken.call = lambda *words: Answer(False, "Failed: nothing to export yet.", "cannot_do")
    assert isinstance(export_to(broken, str(tmp_path / "all.txt")), Answer)
    assert (tmp_path / "all.txt").read_text() == before
