"""The messages on the command line where numbers may change, and a wing that is cut off goes on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.client.messages_site import messages_site, token_of
from tests.client.real_site import HOLDFAST

from holdfast.client import Message, Site
from holdfast.client.addresses import Addresses
from holdfast.client.messages_prompt import MessagesSpeaker
from holdfast.client.outcomes import Answer


class Wing:
    """Three nodes under `bayou`, each started and killed by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        whole = messages_site(folder, "bayou")
        whole.await_active()
        whole.end()
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        for name in names:
            with (self.folder / f"{name}.txt").open("a") as output:
                words = [*HOLDFAST, "node", name, "--site", "site.toml"]
                self.nodes[name] = subprocess.Popen(words, cwd=self.folder, stdout=output, stderr=output)

    def kill(self, *names: str) -> None:
        for name in names:
            node = self.nodes.pop(name)
            node.kill()
            node.wait()

    def asking(self, person: str, at: str) -> Site:
        addresses = Addresses.of_site(self.folder / "site.toml")
        return Site.at(addresses, as_=person, token=token_of(person), at=at, deadline_s=20)

    def says(self, person: str, *words: str) -> subprocess.CompletedProcess[str]:
        named = ("messages", "--as", person, "--token", token_of(person))
        return subprocess.run(
            [*HOLDFAST, *named, *words], cwd=self.folder, capture_output=True, text=True, timeout=30, check=False
        )


@pytest.fixture
def wing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wing]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    wing = Wing(tmp_path)
    try:
        yield wing
    finally:
        wing.kill(*wing.nodes)


def reached(site: Site, conversation: str) -> dict[str, Any]:
    answer = site.service("messages").call("states", conversation, 1)
    return answer.reply["recipients"][0] if answer.ok else {"state": ""}


def test_a_number_means_what_was_shown_under_it_also_when_another_message_gets_it(
    wing: Wing, capsys: Any, until: Callable[..., None]
) -> None:
    wing.start("a", "b", "c")
    for name in "abc":
        with wing.asking("ann", name) as ann:
            assert ann.service("messages").call("got", "desk", 0).ok, "and it has an id of its own"
    wing.kill("b", "c")
    with wing.asking("ann", "a") as ann:
        ann.service("messages").call("send", "bob", "Cardiac arrest.", {"priority": "emergency"})
    wing.kill("a")
    wing.start("b", "c")
    told: list[str] = []

    def shows(text: str) -> bool:
        told.append(capsys.readouterr().out)
        return text in "".join(told)

    with wing.asking("eve", "b") as eve:
        eve.service("messages").call("send", "bob", "Room 5, please.", {"priority": "urgent"})
        speaker = MessagesSpeaker(wing.asking("bob", "b"), "messages", as_json=False)
        try:
            speaker._at_prompt = True
            speaker.greet()
            assert shows(" eve urgent: Room 5, please.")
            until(lambda: speaker._messenger._messenger._feed is not None)
            assert speaker.typed("ack 1")
            wing.start("a")
            until(lambda: shows(" ann emergency: Cardiac arrest."), timeout_s=30)
            until(lambda: reached(eve, "bob")["state"] == "acknowledged", timeout_s=10)
            with wing.asking("ann", "b") as ann:
                until(lambda: reached(ann, "bob")["state"] == "read", timeout_s=30)
                assert reached(ann, "bob")["acked_ms"] == 0
            inbox = speaker.service.call("inbox").reply["items"]
            assert [(item["number"], item["sender"]) for item in inbox] == [(2, "eve"), (1, "ann")]
            assert speaker.typed("ack 1"), "the emergency was shown under it meanwhile"
            with wing.asking("ann", "b") as ann:
                until(lambda: reached(ann, "bob")["state"] == "acknowledged", timeout_s=30)
        finally:
            speaker.close()
    shows("")
    lines = "".join(told).splitlines()
    assert not [line for line in lines if "Read: " in line or " has all up to " in line]
    assert [sum(text in line for line in lines) for text in ("Room 5, please.", "Cardiac arrest.")] == [1, 1], lines


def test_on_the_command_line_the_committed_view_says_of_nothing_that_it_was_read(
    wing: Wing, until: Callable[..., None]
) -> None:
    says = wing.says
    wing.start("a", "b", "c")
    assert says("ann", "send", "bob", "secret").returncode == 0
    committed = ("--json", "--view", "committed", "history", "ann")
    until(lambda: json.loads(says("bob", *committed).stdout)["reply"].get("messages"))
    shown = says("bob", *committed)
    assert [item["withheld"] for item in json.loads(shown.stdout)["reply"]["messages"]] == [True]
    assert "without its text in the committed view" in shown.stderr
    assert says("ann", "audit").stdout == "Nothing.\n"
    assert "ann: secret" in says("bob", "history", "ann").stdout
    assert " bob read 1 of " in says("ann", "audit").stdout


class Numbered:
    """A service whose inbox has a message under 3, and a conversation one under 5. `asked`: what else was said."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def call(self, *words: object) -> Answer:
        head = {"conversation": "ann+bob", "message": 5, "sender": "bob", "subject": "", "priority": "routine"}
        item = {"number": 3, "id": "b-1", "content": "", "sent_ms": 1, "deleted_ms": 0, "withheld": True, **head}
        if words == ("inbox", 4):
            return Answer(True, "", "inbox", {"items": [item], "unread": 1, "more_before": 0}, "full")
        if words == ("history", "bob", 6):
            reply = {"conversation": "ann+bob", "messages": [item], "more_before": 0}
            return Answer(True, "", "history", reply, "full")
        if words[0] in ("inbox", "history"):
            return Answer(False, "Failed: no", "malformed")
        self.asked.append(words)
        return Answer(True, "Done.", "done")

    def line(self, text: str) -> Answer:
        self.asked.append((text,))
        return Answer(True, "Done.", "done")


@pytest.mark.parametrize("is_prompt", [False, True])
@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("read 3", ("read", "3", "b-1")),
        ("ack 3", ("ack", "3", "b-1")),
        ("delete bob 5", ("delete", "bob", "5", "b-1")),
        ("ack 7", ("ack", "7", "shown")),
        ("ack 3 other", ("ack", "3", "other")),
        ("delete bob 9", ("delete", "bob", "9")),
        ("ack 99999999999999999999999", ("ack", "99999999999999999999999")),
        ("read x", ("read", "x")),
        ("read", ("read",)),
    ],
)
def test_with_a_number_goes_the_id_of_what_was_shown_under_it_or_stands_there(
    monkeypatch: pytest.MonkeyPatch, said: str, sent: tuple[str, ...], *, is_prompt: bool
) -> None:
    monkeypatch.setattr(Addresses, "is_local", lambda *_: True)
    speaker = MessagesSpeaker(Site.at(Addresses.of_servers([("127.0.0.1", 1)]), as_="ann"), "messages", as_json=False)
    speaker._note(Message("shown", "ann+bob", 1, "bob", "", "routine", "x", 1, 7))
    service = Numbered()
    monkeypatch.setattr(MessagesSpeaker, "service", service)
    if is_prompt:
        assert speaker.typed(said)
    else:
        assert speaker.once(said.split(), "") == 0
    words = [tuple(str(word) for each in asked for word in str(each).split()) for asked in service.asked]
    assert words == [sent]
