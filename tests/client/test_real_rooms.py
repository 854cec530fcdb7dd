"""The rooms on real nodes, one a department: the command line, the prompt and Python as secretaries meet them."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from tests.client.real_site import RealSite
from tests.ports import free_ports

from holdfast.client import Site
from holdfast.client.rooms import RoomsSpeaker

DEPARTMENTS = ("biology", "chemistry", "history")
SECRETARIES = {"fatima": "biology", "georg": "chemistry", "hana": "history"}
DAY = (date.today() + timedelta(days=30)).isoformat()
NEXT_WEEK = (date.today() + timedelta(days=37)).isoformat()

Until = Callable[..., None]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSite]:
    """Three departments, each with a node and a secretary."""
    ports = free_ports(6)
    nodes = "".join(
        f'[nodes.{name}]\nhost = "127.0.0.1"\npeer_port = {port}\n'
        for name, port in zip(DEPARTMENTS, ports[:3], strict=True)
    )
    lines = ", ".join(f"{name} = {port}" for name, port in zip(DEPARTMENTS, ports[3:], strict=True))
    people = "".join(
        f'[people.{id}]\nfirst_name = "{id.title()}"\nroles = ["secretary"]\ndepartment = "{department}"\n'
        for id, department in SECRETARIES.items()
    )
    rooms = f'[services.rooms]\napp = "rooms"\nidentity = "trusted"\nnodes = {{ {lines} }}\n'
    toml = f'[site]\nname = "campus"\n{nodes}{rooms}{people}'
    active = [f"rooms at {name}: active, view biology,chemistry,history" for name in DEPARTMENTS]
    running = RealSite(tmp_path_factory.mktemp("campus"), toml, active)
    try:
        running.await_active()
        yield running
    finally:
        running.end()


def said(site: RealSite, *words: str, status: int = 0) -> str:
    done = site.holdfast("rooms", *words)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def replied(site: RealSite, *words: str) -> dict[str, Any]:
    """The answer as JSON."""
    done = site.holdfast("rooms", "--json", *words)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_secretary_books_at_her_own_replica_and_is_told_how_firm_it_is(site: RealSite, until: Until) -> None:
    booked = said(site, "--as", "hana", "reserve", "Maple", DAY, "09:00", "2h", "Budget talk", "--or", "Oak@09:00")
    assert booked.startswith(
        f"Maple on {DAY} from 09:00 to 11:00 is reserved, as history-1. [tentative, history-1, firm"
    )
    until(lambda: "confirmed" in said(site, "--as", "georg", "schedule", DAY), timeout_s=20)
    moved = said(site, "--as", "georg", "reserve", "Maple", DAY, "10:00", "1h", "Hiring", "--or", f"Oak@{DAY}@10:00")
    assert f"moved from Maple on {DAY} at 10:00: Hana (history) was earlier" in moved


def test_a_weekly_repeat_is_one_request_a_week_each_with_its_outcome(site: RealSite, until: Until) -> None:
    said(site, "--as", "georg", "reserve", "Elm", NEXT_WEEK, "09:00", "1h", "In the way")
    until(lambda: f"Elm on {NEXT_WEEK}" in said(site, "--as", "georg", "--view", "committed", "mine"))
    words = ("--as", "fatima", "reserve", "Elm", DAY, "09:00", "1h", "Seminar", "--weekly", "3")
    outcomes = said(site, *words, status=1).splitlines()
    assert len(outcomes) == 3
    assert [line.startswith("Failed: ") for line in outcomes] == [False, True, False]
    assert "Georg (chemistry) was earlier" in outcomes[1]


def test_bad_requests_are_refused_at_once(site: RealSite) -> None:
    assert "there is no room 'Mapel'; did you mean Maple?" in said(
        site, "--as", "georg", "reserve", "Mapel", DAY, "09:00", "1h", "x", status=1
    )
    assert "only a department's secretary" in said(site, "reserve", "Maple", DAY, "09:00", "1h", "x", status=1)


def test_an_export_is_taken_in_by_another_replica_and_twice_is_harmless(site: RealSite) -> None:
    said(site, "--as", "fatima", "reserve", "Ash", DAY, "15:00", "1h", "Carried")
    assert "Wrote " in said(site, "--at", "biology", "export", "all.txt", "--split", "1K")
    files = sorted(file.name for file in site.folder.glob("all.txt.*"))
    for _ in range(2):
        assert f"parts of {', '.join(files)}:" in said(site, "--at", "history", "import", *files).replace(
            " part ", " parts "
        )
    (site.folder / "bad.txt").write_text((site.folder / files[0]).read_text().replace("A", "B", 1))
    bad = site.holdfast("rooms", "import", "bad.txt")
    assert (bad.returncode, "bad.txt, line " in bad.stderr) == (64, True)


def test_files_go_out_and_in_from_a_script_and_the_prompt_as_well(site: RealSite) -> None:
    lines = 'export "my file.txt" --split 4K\nimport "my file.txt.1"\nimport none.txt\nexport .\nexport\n'
    done = site.holdfast("rooms", "--at", "biology", lines=lines)
    wrote, took, *wrong = done.stdout.splitlines()
    assert wrote.startswith("Wrote ")
    assert all(file.stat().st_size <= 4000 for file in site.folder.glob("my file.txt.*"))
    assert "of my file.txt.1: 0 new writes, 0 new commits." in took
    assert wrong == [
        "Failed: none.txt: cannot be read: No such file or directory",
        "Failed: . is a folder; name a file in it, as in rooms.txt",
        "Failed: usage: export <file> [--split <size>]",
    ]
    assert done.returncode == 1
    assert not list(site.folder.glob("*.unfinished"))


def test_the_messages_of_a_booking_are_one_diagram(site: RealSite, until: Until) -> None:
    id = replied(site, "--as", "hana", "reserve", "Willow", DAY, "09:00", "1h", "Drawn")["write"]
    until(lambda: "is committed" in said(site, "--at", "history", "stable", id), timeout_s=20)
    drawn = site.holdfast("trace", "rooms", id, "--json")
    events = json.loads(drawn.stdout)["events"]
    about = [event["message"] for event in events]
    assert json.loads(drawn.stdout)["heard"] == list(DEPARTMENTS)
    first = events[0]
    assert (first["kind"], first["source"], first["target"], about[0]) == ("arrow", "user", "history", "Write")
    places = [about.index(step) for step in ("Write", "Request", "Reply", "Update", "Release")]
    assert places == sorted(places), about
    assert "lost" not in {event["kind"] for event in events}
    text = site.holdfast("trace", "rooms", id).stdout
    assert all(name in text for name in ("user", *DEPARTMENTS, "►", "◄"))
    assert site.holdfast("trace", "rooms", id, "--mermaid").stdout.startswith("sequenceDiagram\n    actor p0 as user\n")
    assert "Nobody remembers law-7" in site.holdfast("trace", "rooms", "law-7").stdout


def test_the_primary_is_handed_over_and_taken_over_where_at_says(site: RealSite) -> None:
    primary = replied(site, "replicas")["reply"]["primary"]
    other = next(name for name in DEPARTMENTS if name != primary)
    assert f"{other} is the primary now" in said(site, "hand-over", other)
    assert replied(site, "--at", other, "replicas")["reply"]["primary"] == other
    assert "choose which with --at NODE" in site.holdfast("rooms", "take-over").stderr
    third = next(name for name in DEPARTMENTS if name not in (primary, other))
    assert f"{third} is the primary now" in said(site, "--at", third, "take-over")
    assert replied(site, "--at", third, "replicas")["reply"]["primary"] == third


def test_the_form_books_by_numbers_and_tells_what_changes(
    site: RealSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    lines = [f"day {DAY}", "65 66 2h Numbers talk", "73", "mine", "next", "prev", "help", "day 2026-02-30"]
    with create_pipe_input() as keyboard, create_app_session(input=keyboard, output=DummyOutput()):
        keyboard.send_text("".join(f"{line}\r" for line in [*lines, "quit"]))
        speaker = RoomsSpeaker(Site(site.folder / "site.toml", as_="georg"), "rooms", as_json=False)
        try:
            assert speaker.prompt() == 0
        finally:
            speaker.close()
    shown = capsys.readouterr()
    assert re.search(rf"Willow on {DAY} from \d\d:00 to \d\d:00 is reserved, as chemistry-", shown.out)
    assert "Numbers talk" in shown.out
    assert "* chemistry-" in shown.out, "confirmed while the prompt waited"
    assert "there is no cell 73; they are numbered from 1 to 72" in shown.err
    assert "2026-02-30" in next(line for line in shown.out.splitlines() if line.startswith("Failed: "))
    assert "<cell>... [<hours>h] [<purpose ...>]" in shown.out
    assert shown.out.count("12? tentative") >= 4


def test_a_session_goes_on_at_another_replica_when_its_own_is_gone(site: RealSite, until: Until) -> None:
    notes: list[str] = []
    options: dict[str, Any] = {"as_": "fatima", "guarantees": ["all"], "on_note": notes.append}
    with Site(site.folder / "site.toml", **options) as campus:
        rooms = campus.service("rooms")
        written = rooms.reserve("Cedar", DAY, "09:00", "1h", "Before")
        assert written.write.startswith("biology-")
        until(lambda: all(said_known(site, node, written.write) for node in DEPARTMENTS), timeout_s=20)
        os.kill(site.pid("biology"), signal.SIGKILL)
        elsewhere = rooms.reserve("Cedar", DAY, "10:00", "1h", "After")
        assert elsewhere.ok
        assert not elsewhere.write.startswith("biology-")
        assert "Before" in rooms.schedule(DAY).text
    assert any("answers now" in note for note in notes)
    drawn = site.holdfast("trace", "rooms", elsewhere.write)
    assert "biology is not in it" in drawn.stderr
    assert site.holdfast("status").returncode == 1
    assert "the primary is" in site.holdfast("status").stdout


def said_known(site: RealSite, node: str, id: str) -> bool:
    """Whether a node knows a write."""
    return bool(replied(site, "--at", node, "stable", id)["reply"]["known"])
