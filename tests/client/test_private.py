"""What people have said and done can be read by nobody else on the machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.messages_site import messages_site, token_of

from holdfast.client import Messenger
from holdfast.client.files import export_to
from holdfast.client.outcomes import Answer
from holdfast.client.person_log import PersonLog
from holdfast.client.speak import history_file
from holdfast.private import make_file, make_folder, tighten_all
from holdfast.runtime.journal import Journal


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder.parent)) for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077
    )


def test_the_data_of_real_nodes_is_their_owners_alone_also_where_it_was_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for again in (False, True):
        hospital = messages_site(tmp_path, again=again)
        try:
            hospital.await_active()
            with Messenger("ann", token_of("ann"), site=tmp_path / "site.toml", folder=tmp_path / "ann") as ann:
                assert ann.send("bob", "secret").is_sent
            assert {path.name for path in (data / "a").iterdir()} >= {"messages.journal", "messages.journal-wal"}
            assert open_to_others(data) == []
        finally:
            hospital.end()
        assert open_to_others(data) == []
        aside = data / "a" / "messages.journal.damaged-1"
        aside.write_bytes(b"secret")
        for path in (data, *data.rglob("*")):
            if path.name != "site.key":  # with a key that others could read, no node starts: it is a secret no more
                path.chmod(0o755 if path.is_dir() else 0o644)
        assert open_to_others(data) != []
    assert (tmp_path / "site.toml").stat().st_mode & 0o777 == 0o644, "the site file is for all to read"


def test_a_journal_is_its_owners_alone_whoever_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "messages.journal"
    for _ in range(2):
        journal = Journal.open(path)
        found = sorted(tmp_path.iterdir())
        assert len(found) >= 3
        assert {stat.S_IMODE(file.stat().st_mode) for file in found} == {0o600}
        journal.close()
        path.chmod(0o644)


class Exporting:
    """A replica of one part."""

    name = "rooms"

    def call(self, *_: str) -> Answer:
        return Answer(True, "", "exported", {"part": "secret", "cursor": ""})


def test_an_export_is_its_owners_alone(tmp_path: Path) -> None:
    export_to(Exporting(), str(tmp_path / "all.txt"), 0)  # type: ignore[arg-type]
    assert "secret" in (tmp_path / "all.txt").read_text()
    assert stat.S_IMODE((tmp_path / "all.txt").stat().st_mode) == 0o600


def test_what_was_typed_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = history_file("messages")
    assert open_to_others(tmp_path / "state") == []
    file.write_text("send bob secret\n")
    file.chmod(0o644)
    file.parent.chmod(0o755)
    assert history_file("messages").read_text() == "send bob secret\n"
    assert open_to_others(tmp_path / "state") == []


def test_what_a_person_asked_is_their_own(tmp_path: Path) -> None:
    log = PersonLog(tmp_path / "logs" / "mine", "TORC2345", None)
    for _ in range(2):
        log.add(0, "bookEvent TORC2345 TORA180519 seminars", Answer(True, "TORA180519 is booked.", "event_booked"))
        assert open_to_others(tmp_path / "logs") == []
        log.path.chmod(0o644)
    assert log.path.read_text().count("is booked") == 2


def test_what_a_link_leads_to_stays_as_it_is(tmp_path: Path) -> None:
    make_folder(tmp_path / "data" / "a")
    (tmp_path / "elsewhere").write_text("for all")
    (tmp_path / "data" / "a" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "a" / "gone").symlink_to(tmp_path / "nowhere")
    tighten_all(tmp_path / "data")
    tighten_all(tmp_path / "never made")
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o644
    make_file(tmp_path / "file")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def test_a_folder_that_is_reached_by_a_link_is_tightened_itself(tmp_path: Path) -> None:
    (tmp_path / "disk" / "a").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    assert open_to_others(tmp_path / "disk") == ["disk", "disk/a"]
    tighten_all(tmp_path / "data")
    assert open_to_others(tmp_path / "disk") == []
