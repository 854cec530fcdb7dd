"""What a messenger keeps on its device, whatever crashes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.client import Misuse, messenger_folder
from holdfast.client.messenger_folder import Folder, FolderDamaged, FolderInUse, folder_of
from holdfast.client.messenger_types import Draft


def texts(folder: Folder) -> list[str]:
    return [draft.text for draft in folder.drafts.values()]


def test_what_was_kept_is_there_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "deep" / "down")
    assert (folder.cursor, folder.drafts) == (None, {})
    first = folder.keep("bob", "one\nline", "", "routine", 5)
    second = folder.keep("#ward3", "two", "rounds", "urgent", 6)
    third = folder.keep("bob", "three", "", "routine", 7)
    assert [first.number, second.number, third.number] == [1, 2, 3]
    folder.drop(first)
    folder.refuse(second, "no such group")
    folder.move(12)
    folder.note("id-13")
    folder.close()
    for _ in range(2):
        again = Folder(tmp_path / "deep" / "down")
        assert list(again.drafts.values()) == [
            Draft(folder.client, 2, "#ward3", "two", "rounds", "urgent", 6, "no such group"),
            third,
        ]
        assert (again.cursor, list(again.seen), again.client) == (12, ["id-13"], folder.client)
        again.close()
    again = Folder(tmp_path / "deep" / "down")
    assert again.keep("bob", "four", "", "routine", 8).number == 4
    again.close()


def test_what_is_still_to_be_said_of_messages_is_there_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messenger_folder, "RECORDS_MAX", 4)  # the log is written anew in between
    left: dict[str, int] = {}
    for life in range(3):
        folder = Folder(tmp_path)
        assert folder.handed == left
        for number in range(10 * life, 10 * life + 5):
            folder.hand(f"id-{number}", number)
        folder.said([f"id-{10 * life}", "id-unknown", f"id-{10 * life + 3}"])
        folder.said([])
        left |= {f"id-{number}": number for number in (10 * life + 1, 10 * life + 2, 10 * life + 4)}
        assert folder.handed == left
        folder.close()


def test_a_draft_that_was_sent_gives_its_number_to_no_other(tmp_path: Path) -> None:
    for number in range(1, 5):
        folder = Folder(tmp_path)
        draft = folder.keep("bob", "x", "", "routine", 0)
        assert draft.number == number
        folder.drop(draft)
        folder.close()


def test_only_its_owner_can_read_it_also_where_the_way_there_was_missing(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = Folder(tmp_path / "state" / "of" / "mine")
    folder.keep("bob", "secret", "", "routine", 0)
    made = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
    assert len(made) == 5
    assert [path for path in made if path.stat().st_mode & 0o077] == []
    assert tmp_path.stat().st_mode & 0o777 == 0o755, "what was there stays as it is"
    folder.close()


def test_a_second_one_is_refused_until_the_first_is_closed_or_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from holdfast.client.messenger_folder import Folder\n"
        "folder = Folder(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"open\n"
    with pytest.raises(FolderInUse, match="in use by another process; give this one another device"):
        Folder(tmp_path)
    other.kill()
    other.wait()
    other.stdout.close()
    folder = Folder(tmp_path)
    with pytest.raises(FolderInUse):
        Folder(tmp_path)
    folder.close()
    Folder(tmp_path).close()


def test_wherever_the_last_write_is_torn_all_before_is_there(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "a")
    folder.keep("bob", "one", "", "routine", 0)
    whole = (tmp_path / "a" / "log").read_bytes()
    folder.keep("bob", "two", "", "routine", 0)
    data = (tmp_path / "a" / "log").read_bytes()
    folder.close()
    for length in range(len(whole), len(data), 7):
        zeros = b"\0" * (len(data) - length - 1)
        for place, tail in enumerate((b"", zeros + b"\0", zeros + b"\n")):
            torn = tmp_path / f"torn-{length}-{place}"
            torn.mkdir()
            (torn / "log").write_bytes(data[:length] + tail)
            again = Folder(torn)
            assert texts(again) == (["one", "two"] if data[:length] + tail == data else ["one"])
            assert again.keep("bob", "two", "", "routine", 0).number == 1, "a copy has another client id"
            again.close()


def test_a_line_that_was_changed_is_told(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for text in ("one", "two", "three"):
        folder.keep("bob", text, "", "routine", 0)
    folder.close()
    log = tmp_path / "log"
    log.write_bytes(log.read_bytes().replace(b'"two"', b'"zwo"'))
    with pytest.raises(FolderDamaged, match=r"log cannot be read, line 3: its checksum is another one; set the folder"):
        Folder(tmp_path)
    log.write_bytes(b"")
    with pytest.raises(FolderDamaged, match="has no whole line"):
        Folder(tmp_path)


def test_in_a_copy_no_name_is_given_twice(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "a")
    kept = folder.keep("bob", "one", "", "routine", 0)
    folder.close()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    copy, folder = Folder(tmp_path / "b"), Folder(tmp_path / "a")
    assert list(copy.drafts.values()) == [kept], "under its own name it is sent once, by whichever of them"
    names = [(draft.client, draft.number) for draft in (copy.keep("bob", "x", "", "routine", 0), kept)]
    names += [(draft.client, draft.number) for draft in (folder.keep("bob", "y", "", "routine", 0),)]
    assert len(set(names)) == 3
    copy.close()
    folder.close()


def test_the_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messenger_folder, "RECORDS_MAX", 50)
    folder = Folder(tmp_path)
    kept = folder.keep("bob", "one", "", "routine", 0)
    for number in range(1, 1000):
        folder.move(number)
    assert (tmp_path / "log").stat().st_size < 5_000
    folder.close()
    again = Folder(tmp_path)
    assert (again.cursor, list(again.drafts.values())) == (999, [kept])
    again.close()


def test_a_failed_write_is_taken_back_and_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    folder.keep("bob", "one", "", "routine", 0)
    real = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) > 10:
            return real(file, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        folder.keep("bob", "two", "", "routine", 0)
    assert texts(folder) == ["one"]
    monkeypatch.undo()
    assert folder.keep("bob", "three", "", "routine", 0).number == 2
    folder.close()
    again = Folder(tmp_path)
    assert texts(again) == ["one", "three"]
    again.close()


def test_a_closed_folder_takes_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.close()
    folder.close()
    with pytest.raises(FolderInUse, match="was closed by this messenger"):
        folder.move(1)


def test_folders_of_different_people_devices_and_sites_are_different(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert folder_of("a/b", "..", "messages", "ward") == Path("/state/holdfast/messages/ward/messages/a%2Fb/%2E.")
    long = [folder_of("李" * 63 + last, "phone", "messages", "ward") for last in "李雷"]
    assert long[0] != long[1]
    assert len(long[0].parent.name) < 255


WRONG = [("bob", "high", ""), (5, "routine", ""), (["bob"], "routine", ""), ("bob", "routine", 5), (b"x", {1j}, None)]


@pytest.mark.parametrize(("to", "priority", "subject"), WRONG)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, to: Any, priority: Any, subject: Any) -> None:
    folder = Folder(tmp_path)
    with pytest.raises(Misuse, match="this message cannot be kept: "):
        folder.keep(to, "x", subject, priority, 0)
    assert folder.keep("bob", "y", "", "routine", 0).number == 1
    folder.close()
    again = Folder(tmp_path)
    assert texts(again) == ["y"]
    again.close()


@pytest.mark.parametrize("is_rewritten", [False, True])
@pytest.mark.parametrize(("to", "priority", "subject"), WRONG[:-1])
def test_a_wrong_draft_of_old_does_not_cost_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_rewritten: bool, to: Any, priority: Any, subject: Any
) -> None:
    folder = Folder(tmp_path)
    with monkeypatch.context() as before:
        before.setattr(messenger_folder, "_as_read", lambda draft: draft)
        folder.keep("bob", "one", "", "urgent", 1)
        folder.keep(to, "two", subject, priority, 2)
        folder.keep("bob", "three", "", "routine", 3)
    if is_rewritten:
        folder._rewrite()
    folder.close()
    for _ in range(2):
        again = Folder(tmp_path)
        one, two, three = again.drafts.values()
        assert (one.text, one.priority, one.refused, three.text, three.refused) == ("one", "urgent", "", "three", "")
        assert (two.number, two.to, two.text, two.kept_ms) == (2, str(to), "two", 2)
        assert two.refused.startswith("it was kept with a wrong value: ")
        again.close()
