"""`holdfast bench messages` in its short form; its load and its soak notice what is lost, double or mixed up."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.bench.test_command import bench

from holdfast.bench.load import LoadError
from holdfast.bench.measure import Machine
from holdfast.bench.messages import (
    FULL,
    LONE,
    MANY,
    MessagesReport,
    MessagesRow,
    MessagesRun,
)
from holdfast.bench.messages_load import MessagesLoad, MessagesLoadOptions, MessagesResult, sender_of, watcher_of
from holdfast.bench.messages_report import messages_markdown
from holdfast.bench.messages_soak import SoakFound, SoakPlan, compare, soak_text


def test_the_short_benchmark_measures_every_row_and_the_big_inbox(tmp_path: Path) -> None:
    printed = bench("messages", "--quick", "--json", "--data", str(tmp_path), "--reports", str(tmp_path / "reports"))
    report = msgspec.json.decode(printed, type=MessagesReport)
    assert report.errors() == []
    ours = [run for run in report.runs if run.system == "holdfast"]
    assert [run.row for run in ours] == list(report.plan.rows)
    assert {run.row for run in report.runs if run.system == "ceiling"} == {
        row for row in report.plan.rows if not row.as_json
    }
    for run in report.runs:
        assert run.result.sent >= run.result.delivered > 5
        assert 0 < run.result.p50_ms <= run.result.p99_ms
        assert run.server_us > 0
    assert report.box is not None
    assert {page.items for page in report.box.pages if page.question.startswith("inbox")} == {50}
    assert {page.items for page in report.box.pages if page.question != "since"} == {50, 100}
    (page,) = (tmp_path / "reports").glob("*.md")
    assert page.read_text() == messages_markdown(report)


# -- the load, against a server that may be wrong --------------------------------------------------


Fault = Callable[[int, bytes], list[bytes]]
"""What is pushed instead of the push of the message with this number."""


class Post:
    """A server of the pairs' lines: it answers, pushes as `fault` says, and shows the inboxes."""

    def __init__(self, fault: Fault = lambda number, line: [line], kept: int = 0) -> None:
        self.fault = fault
        self.kept = kept
        self.watching: dict[str, socket.socket] = {}
        self.inboxes: dict[str, list[str]] = {}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = ("127.0.0.1", int(self.listener.getsockname()[1]))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        person = ""
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                word, *rest = line.decode().rstrip("\n").split(" ", 2)
                if word == "login":
                    person = rest[0]
                    connection.sendall(b"Welcome.\n")
                elif word == "watch":
                    self.watching[person] = connection
                    connection.sendall(b"What messages has for you is told from now on.\n")
                elif word == "mode":
                    connection.sendall(b"Replies are json now.\n")
                elif word == "inbox":
                    connection.sendall(json.dumps({"reply": self.inbox(person)}).encode() + b"\n")
                elif word == "since":
                    connection.sendall(json.dumps({"reply": self.since(person, int(rest[0]))}).encode() + b"\n")
                else:
                    self.send(connection, person, rest[1])

    def send(self, connection: socket.socket, person: str, text: str) -> None:
        to, said = text.split(" ", 1)
        box = self.inboxes.setdefault(to, [])
        box.append(said)
        number, conversation = len(box), f"{person}+{to}"
        told = f"* changed 1-0-0 committed: {number} in {conversation} 2026-01-01 00:00 UTC {person}: {said}\n"
        for line in self.fault(number, told.encode()):
            self.watching[to].sendall(line)
        connection.sendall(f"Sent to {to}, as {number} of {conversation}, 1-0-0.\n".encode())

    def inbox(self, person: str) -> dict[str, Any]:
        box = self.inboxes[person]
        kept = list(enumerate(box, 1))[: len(box) - self.kept]
        items = [{"number": number, "content": ""} for number, _ in reversed(kept[-50:])]
        return {"unread": len(kept), "items": items}

    def since(self, person: str, after: int) -> dict[str, Any]:
        box = self.inboxes[person]
        return {"items": [{"number": number, "content": box[number - 1]} for number in range(after + 1, len(box) + 1)]}


def apply(post: Post, window: int = 3) -> MessagesResult:
    options = MessagesLoadOptions(servers=(post.address,), pairs=2, window=window, seconds=0.15, warmup_seconds=0.02)
    return MessagesLoad(options).run()


def test_every_message_is_answered_and_pushed_once() -> None:
    result = apply(Post())
    assert (result.errors, result.unfinished, result.first_error) == (0, 0, "")
    assert result.sent >= result.delivered > 20
    assert result.per_second == min(result.accepted, result.delivered) / result.seconds
    assert 0 < result.p50_ms <= result.p99_ms <= result.max_ms


HELD: list[bytes] = []


def swapped(number: int, line: bytes) -> list[bytes]:
    """The fifth message after the sixth."""
    if number == 5:
        HELD.append(line)
        return []
    return [line, HELD.pop()] if number == 6 and HELD else [line]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda number, line: [] if number == 5 else [line], id="lost"),
        pytest.param(lambda number, line: [line, line] if number == 5 else [line], id="double"),
        pytest.param(swapped, id="mixed up"),
        pytest.param(lambda number, line: [line.replace(b"bed", b"cot")[:-2] + b"x\n"], id="another text"),
        pytest.param(lambda number, line: [b"* missed 1 change: ask.\n"] if number == 5 else [line], id="missed"),
    ],
)
def test_a_push_that_is_not_the_next_one_is_an_error(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    HELD.clear()
    monkeypatch.setattr("holdfast.bench.messages_load.DRAIN_SECONDS", 0.2)
    result = apply(Post(fault))
    assert result.errors
    assert "instead of message" in result.first_error


def test_a_push_that_never_comes_leaves_its_pair_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.bench.messages_load.DRAIN_SECONDS", 0.2)
    result = apply(Post(lambda number, line: [] if number >= 5 else [line]))
    assert result.unfinished == 2


def test_an_inbox_that_has_lost_its_newest_is_an_error() -> None:
    result = apply(Post(kept=1))
    assert result.errors == 2
    assert "the inbox of pair 0 has" in result.first_error


def test_a_refused_login_is_told() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"Failed: no.\n")

    threading.Thread(target=refuse, daemon=True).start()
    with listener, pytest.raises(LoadError, match="Failed: no"):
        MessagesLoad(MessagesLoadOptions(servers=(listener.getsockname()[:2],), pairs=1)).run()


# -- the report and the soak -----------------------------------------------------------------------


def run(system: str, row: MessagesRow, delivered: int, errors: int = 0) -> MessagesRun:
    result = MessagesResult(
        accepted=delivered, delivered=delivered, sent=delivered, seconds=1.0, p50_ms=1.0, p99_ms=2.0, max_ms=3.0,
        answered_p50_ms=0.9, pause_ms=4.0, cpu_share=0.3, cpu_seconds=0.3, errors=errors, first_error="b'nonsense'",
    )  # fmt: skip
    return MessagesRun(system, row, result, 70.0)


def test_the_report_has_the_ratio_to_the_ceiling_and_what_was_wrong() -> None:
    machine = Machine(2, "cpu", "Linux", "3.11", "tmpfs", 100.0, 3.0)
    runs = [run("ceiling", MANY, 40_000), run("holdfast", MANY, 12_000), run("holdfast", LONE, 500, errors=2)]
    report = MessagesReport(taken="now", machine=machine, plan=FULL, runs=runs, box=None)
    (error,) = report.errors()
    page = messages_markdown(report)
    assert error in page
    for words in ("b'nonsense'", "| 30% |", "10,000", "p50 5", "nothing here was durable", "busy before the start"):
        assert words in page


class Files:
    """The files of the people of a soak."""

    def __init__(self, files: dict[str, list[str]]) -> None:
        self.files = files

    def lines(self, person: str) -> list[str]:
        return self.files[person]


GROUP = "#ward@s00000"


def soaked() -> dict[str, list[str]]:
    """Two pairs, four messages each, all arrived; the group's by turns."""
    files = {}
    for pair in (0, 1):
        files[sender_of(pair)] = ["1", "2", "3", "4"]
        me, two = sender_of(pair), f"{sender_of(pair)}+{watcher_of(pair)}"
        rows = [(two, 1, f"{me}:1"), (GROUP, 1, "s00001:2"), (GROUP, 2, "s00000:2"), (two, 2, f"{me}:3")]
        rows += [(GROUP, 3, "s00000:4"), (GROUP, 4, "s00001:4")]
        files[watcher_of(pair)] = [f"p {place} {name} {at} {text}" for place, (name, at, text) in enumerate(rows, 1)]
    return files


def compared(files: dict[str, list[str]]) -> list[str]:
    return compare(Files(files), SoakPlan(seconds=1, pairs=2), GROUP)  # type: ignore[arg-type]


def renumbered(lines: list[str]) -> list[str]:
    return [f"{line.split(' ', 2)[0]} {place} {line.split(' ', 2)[2]}" for place, line in enumerate(lines, 1)]


def test_a_soak_in_which_all_arrived_has_no_errors() -> None:
    assert compared(soaked()) == []


def test_what_is_lost_double_or_mixed_up_in_a_soak_is_told() -> None:
    for change, words in (
        (lambda lines: lines[:-1], "w00000: lost s00001:4"),
        (lambda lines: [*lines, lines[0]], "w00000: double or of nobody: s00000:1"),
        (lambda lines: [lines[3], *lines[1:3], lines[0], *lines[4:]], "what s00000 wrote came in another order"),
        (lambda lines: [*lines[:4], lines[5], lines[4]], "another order for some"),
        (lambda lines: [*lines[:4], lines[5], lines[4]], f"w00000: {GROUP} is not in its order"),
    ):
        files = soaked()
        files["w00000"] = renumbered(change(files["w00000"]))
        assert any(words in error for error in compared(files)), (words, compared(files))
    files = soaked()
    files["w00000"] = [line.replace("p 6 ", "p 7 ") for line in files["w00000"]]
    assert compared(files) == ["w00000: the inbox is not numbered without gaps"]


def test_what_a_soak_has_found_in_words() -> None:
    found = SoakFound(plan=SoakPlan(seconds=60), sent=10, received=30, pushed=29, kills={"a node": 3}, errors=[])
    assert "Nothing lost" in soak_text(found)
    assert "a node 3" in soak_text(found)
    assert "w00000: lost s:1" in soak_text(msgspec.structs.replace(found, errors=["w00000: lost s:1"]))
