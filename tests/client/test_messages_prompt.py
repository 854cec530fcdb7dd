"""The messages on the command line, on a real site: one command, a prompt while somebody writes, `watch`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from tests.client.messages_site import lines_about, messages_site, token_of
from tests.client.real_site import HOLDFAST, RealSite

from holdfast.client import Message, Messenger, Misuse, News, NotExecuted, Sent, Site
from holdfast.client.addresses import Addresses
from holdfast.client.messages_prompt import MessagesSpeaker, with_text
from holdfast.client.messenger_report import Reporter
from holdfast.client.outcomes import Answer, Change
from holdfast.client.speak import speaker_of


class Screen(DummyOutput):
    """What is written to it."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def write(self, data: str) -> None:
        self.shown.append(data)

    def fileno(self) -> int:
        return 1


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSite]:
    hospital = messages_site(tmp_path_factory.mktemp("hospital"))
    try:
        hospital.environment["XDG_STATE_HOME"] = str(hospital.folder / "state")
        (hospital.folder / "token").write_text(f"{token_of('ann')}\nnot this\n")
        hospital.await_active()
        yield hospital
    finally:
        hospital.end()


@pytest.fixture
def bob(hospital: RealSite, tmp_path: Path) -> Iterator[Messenger]:
    with Messenger("bob", token_of("bob"), site=hospital.folder / "site.toml", folder=tmp_path / "bob") as bob:
        yield bob


@pytest.fixture
def prompt(
    hospital: RealSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., MessagesSpeaker]]:
    """Makes what speaks for ann at a prompt."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    speakers: list[MessagesSpeaker] = []

    def made(person: str = "ann") -> MessagesSpeaker:
        addresses = Addresses.of_site(hospital.folder / "site.toml")
        site = Site.at(addresses, as_=person, token=token_of(person))
        speakers.append(MessagesSpeaker(site, "messages", as_json=False))
        return speakers[-1]

    yield made
    for speaker in speakers:
        speaker.close()


def test_one_command_with_a_token_from_a_file_or_the_environment(hospital: RealSite) -> None:
    sent = hospital.holdfast(
        "messages", "--as", "ann", "--token-file", "token", "send", "bob", "Room", "12,", "it's free"
    )
    assert re.fullmatch(r"Sent to bob, as \d+ of ann\+bob, \S+\.\n", sent.stdout), sent
    hospital.environment |= {"HOLDFAST_AS": "ann", "HOLDFAST_TOKEN_FILE": "token"}
    try:
        sent = hospital.holdfast("messages", "send", "--priority", "urgent", "bob", "two\nlines", "and", "--more", "x")
        assert (sent.returncode, sent.stdout.startswith("Sent to bob, as ")) == (0, True)
        said = hospital.holdfast("messages", "history", "bob").stdout
        assert "ann: Room 12, it's free" in said
        assert "ann urgent: two\\nlines and --more x" in said
        assert said.count("\n") == 1
        history = json.loads(hospital.holdfast("messages", "--json", "history", "bob").stdout)
        assert history["reply"]["messages"][-1]["content"] == "two\nlines and --more x"
        assert "it's free" in hospital.holdfast("messages", "search", "it's", "free").stdout
        reads = ("--as", "bob", "--token", token_of("bob"))
        assert hospital.holdfast("messages", *reads, "inbox").stdout.count("not read yet: read ") == 2
        assert "not read yet: read " in hospital.holdfast("messages", *reads, "search", "it's", "free").stdout
        assert "read" not in hospital.holdfast("messages", "audit").stdout
        assert "ann: Room 12, it's free" in hospital.holdfast("messages", *reads, "history", "ann").stdout
        assert hospital.holdfast("messages", "audit").stdout.count(" bob read ") == 2, "who asks for it reads it"
        assert "it's free" in hospital.holdfast("messages", *reads, "inbox").stdout
        wrong = hospital.holdfast("messages", "send", "bob")
        assert (wrong.returncode, wrong.stderr[:16]) == (64, "holdfast: usage:")
        (hospital.folder / "nothing").write_text("\n")
        for file in ("nothing", "nowhere"):
            wrong = hospital.holdfast("messages", "--token-file", file, "inbox")
            assert (wrong.returncode, f"the token file {file} " in wrong.stderr) == (64, True)
    finally:
        del hospital.environment["HOLDFAST_AS"], hospital.environment["HOLDFAST_TOKEN_FILE"]


def test_text_on_the_command_line_is_all_but_the_options() -> None:
    assert with_text(["send", "bob", "a  b", "c"]) == ["send", "bob", "a  b c", {}]
    assert with_text(["send", "--subject", "s", "bob", "x", "--y", "z --subject t", "--priority", "urgent"]) == [
        *("send", "bob", "x --y z --subject t", {"subject": "s", "priority": "urgent"})
    ]
    assert with_text(["search", "bed", "--before", "a:7", "12"]) == ["search", "bed 12", {"before": "a:7"}]
    assert with_text(["history", "bob"]) == ["history", "bob"]
    assert with_text(["send"]) == ["send"]
    wrong = (
        ["send", "bob"],
        ["send", "--subject", "s", "bob"],
        ["search", "--before", "3"],
        ["send", "--x", "bob", "y"],
    )
    for words in (*wrong, ["send", "bob", "x", "--subject"], ["search", "x", "--before", "1", "--before", "2"]):
        with pytest.raises(Misuse, match=f"usage: {words[0]}"):
            with_text(words)


def test_a_prompt_shows_what_comes_and_answers_it(
    prompt: Callable[..., MessagesSpeaker], bob: Messenger, until: Callable[..., None]
) -> None:
    before = bob.send("ann", "Before you came.")
    assert isinstance(before, Sent)
    screen = Screen()
    shown = screen.shown

    def shows(text: str) -> bool:
        return text in "".join(shown)

    with create_pipe_input() as typed, create_app_session(input=typed, output=screen):
        speaker = prompt()
        ended: list[int] = []
        person = threading.Thread(target=copy_context().run, args=(lambda: ended.append(speaker.prompt()),))
        person.start()
        try:
            until(lambda: shows("bob: Before you came.\n"))
            assert lines_about(bob, before) == [("ann", "read")], "before it is shown"
            until(lambda: speaker._messenger._messenger._folder.cursor is not None)
            now = bob.send("ann", "Now\nyou are here.", priority="urgent")
            until(lambda: shows("bob urgent: Now\\nyou are here.\n"))
            assert lines_about(bob, now) == [("ann", "read")]
            number = re.search(r"\* (\d+) \S+ \S+ bob urgent: Now", "".join(shown))[1]
            typed.send_text(f"reply {number} On my way.\r")
            assert received(bob) == "On my way."
            typed.send_text(f"ack {number}\r")
            until(lambda: shows(f"Message {number} of bob is acknowledged"))
            typed.send_text('send --subject "bed 12" bob  It is  done.\r')
            assert received(bob) == "It is  done."
            sent = bob.inbox().messages[0]
            assert sent.subject == "bed 12"
            bob.acknowledge(sent)
            until(lambda: shows("* bob has acknowledged message "))
            typed.send_text("reply 7000000 x\rreply x\rsend\rdrafts\rsend nobody x\r")
            until(lambda: shows("there is nobody with the id 'nobody'"))
            for said in ("there is no message 7000000", "usage: reply <number> <text ...>", "No drafts."):
                assert said in "".join(shown)
            typed.send_text("login bob demo-bob\r")
            until(lambda: getattr(speaker._messenger, "person", "ann") == "bob")
            until(lambda: "".join(shown).count(" unread.\n") == 2)
        finally:
            typed.send_text("quit\r")
            person.join(timeout=20)
    assert ended == [0]


class Half:
    """A service that has an answer, and to which nobody can say what was seen."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[object] = []

    def call(self, *words: object) -> Answer:
        self.asked.append(words[0])
        if words[0] == "seen":
            raise NotExecuted("no server took it")
        return self.answer

    line = call


@pytest.mark.parametrize(("type", "is_shown"), [("history", True), ("since", False)])
def test_no_text_is_shown_of_which_nobody_can_be_told_that_it_was_read(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, type: str, is_shown: bool
) -> None:
    site = Site.at(Addresses.of_servers([("127.0.0.1", 1)]), as_="ann")
    speaker = MessagesSpeaker(site, "messages", as_json=False)
    text = {"withheld": True} if type == "history" else {"withheld": False, "content": "secret", "read_ms": 0}
    about = {"conversation": "ann+bob", "message": 3, "sender": "bob", "subject": "", "priority": "routine"}
    item = {"number": 7, "id": "x", "deleted_ms": 0, "sent_ms": 1, "content": "", **about, **text}
    half = Half(
        Answer(True, "1 bob: not read yet" if is_shown else "secret", type, {"messages": [item], "items": [item]})
    )
    monkeypatch.setattr(MessagesSpeaker, "service", half)
    assert speaker.once([type, "bob"], "") == (0 if is_shown else 2)
    assert half.asked == [type, "seen"]
    said = capsys.readouterr()
    assert "secret" not in said.out + said.err
    assert said.out == ("1 bob: not read yet\n" if is_shown else "Failed: no server took it\n")
    assert ("is shown without its text: no server took it" in said.err) is is_shown


def test_a_reminder_shows_a_text_only_if_it_was_shown_before(
    prompt: Callable[..., MessagesSpeaker], capsys: Any
) -> None:
    speaker = prompt()
    fields = {"number": 7, "id": "x", "conversation": "ann+bob", "message": 3, "sender": "bob", "subject": ""}
    message = Message("x", "ann+bob", 3, "bob", "", "urgent", "Come!", 0, 7)
    for shown in (None, msgspec.structs.replace(message, text="", withheld=True), message):
        if shown is not None:
            speaker._note(shown)
        speaker._show_news(News("arrived", "7 of bob is told again", fields))
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == second == "* 7 still waits to be acknowledged, `ack 7`: `read 7`"
    assert third.endswith(" bob urgent: Come!")


def received(messenger: Messenger) -> str:
    while True:
        message = messenger.receive(20)
        assert message is not None
        if message.sender == "ann" and "Room" not in message.text and "lines" not in message.text:
            return message.text


def test_what_is_sent_at_a_prompt_while_no_server_answers_is_sent_later(
    prompt: Callable[..., MessagesSpeaker], bob: Messenger, capsys: Any, until: Callable[..., None], hospital: RealSite
) -> None:
    speaker = prompt()
    speaker._at_prompt = True
    speaker.greet()
    pids = [hospital.pid(name) for name in "abc"]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        speaker._messenger._messenger._wait_s = 0.2
        assert speaker.typed("send bob Later, then.")
        assert speaker.typed("send bob Never.")
        assert speaker.typed("drafts")
        assert speaker.typed("discard 2")
        assert not speaker.typed("discard 2")
        said = capsys.readouterr().out
        assert "Kept for bob, to be sent as soon as a server takes it.\n" in said
        assert "1 to bob: Later, then.\n2 to bob: Never.\n2 drafts.\nDiscarded.\n" in said
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    until(lambda: "* Sent to bob. Later, then." in capsys.readouterr().out, timeout_s=30)
    assert received(bob) == "Later, then."


def test_answers_are_shown_one_message_a_line(
    prompt: Callable[..., MessagesSpeaker], bob: Messenger, capsys: Any
) -> None:
    speaker = prompt("eve")
    for text in ("one\nline", "two"):
        bob.send("eve", text)
    service = speaker.site.service("messages")
    assert all(speaker.draw(answer) for answer in (service.inbox(), service.search("two")))
    lines = re.sub(r"\d{4}-\S+ \d\d:\d\d", "TIME", capsys.readouterr().out).splitlines()
    heads = ["1 TIME bob: (not read yet: read 1)", "2 TIME bob: (not read yet: read 2)"]
    assert lines == ["2 unread.", *heads, "bob+eve 2 TIME bob: (not read yet: read 2)"]
    service.seen([1, 2])
    assert all(speaker.draw(answer) for answer in (service.inbox(), service.history("bob"), service.search("two")))
    assert speaker.draw(service.read(1))
    lines = re.sub(r"\d{4}-\S+ \d\d:\d\d", "TIME", capsys.readouterr().out).splitlines()
    assert lines == [
        *("0 unread.", "1 TIME bob: one\\nline", "2 TIME bob: two"),
        *("1 TIME bob: one\\nline", "2 TIME bob: two", "bob+eve 2 TIME bob: two", "1 TIME bob: ", "  one", "  line"),
    ]
    assert not speaker.draw(service.unread())
    assert not speaker.draw(Answer(True, "x", "helped"))
    assert speaker_of("messages") is MessagesSpeaker


def test_watch_tells_messages_through_the_death_of_a_server(hospital: RealSite, bob: Messenger) -> None:
    words = [*HOLDFAST, "messages", "--as", "ann", "--token-file", "token", "--json", "watch"]
    environment = hospital.environment
    watch = subprocess.Popen(words, cwd=hospital.folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert watch.stdout is not None
    try:
        told: list[str] = []
        places: list[int] = []
        sent = 0

        def listen() -> None:
            for line in watch.stdout or ():
                told.append(json.loads(line)["reply"]["content"])
                places.append(json.loads(line)["reply"]["message"])

        listener = threading.Thread(target=listen)
        listener.start()
        while not told:
            bob.send("ann", f"m{sent}")
            sent += 1
        os.kill(hospital.pid("a"), signal.SIGKILL)
        for _ in range(10):
            bob.send("ann", f"m{sent}")
            sent += 1
        while told[-1] != f"m{sent - 1}":
            assert watch.poll() is None
            bob.unread()
        first = int(told[0][1:])
        assert told == [f"m{number}" for number in range(first, sent)]
        read = [lines_about(bob, Sent("ann", "", "ann+bob", place)) for place in (places[0], places[-1])]
        assert read == 2 * [[("ann", "read")]], "before it is told"
    finally:
        watch.send_signal(signal.SIGINT)
        assert watch.wait(timeout=20) == 130
        listener.join(timeout=20)
        watch.stdout.close()


def test_what_a_watch_has_shown_while_no_server_took_it_is_said_by_the_next_watch(
    prompt: Callable[..., MessagesSpeaker],
    bob: Messenger,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    until: Callable[..., None],
) -> None:
    told: list[str] = []
    kept: list[str] = []

    def watch() -> None:
        """Until a message has come."""
        speaker = prompt("eve")

        def tell(change: Change) -> None:
            told.append(change.reply["content"])
            kept.append(kept_now(tmp_path))
            raise KeyboardInterrupt

        monkeypatch.setattr(speaker, "_tell_change", tell)
        assert speaker.once(["watch"], "") == 130

    def watch_meanwhile() -> threading.Thread:
        watching = threading.Thread(target=watch)
        watching.start()
        until(lambda: '["cursor",' in kept_now(tmp_path), timeout_s=20)
        return watching

    with monkeypatch.context() as hanging:
        hanging.setattr(Reporter, "_say_these", lambda *_: asyncio.Event().wait())
        watching = watch_meanwhile()
        sent = bob.send("eve", "At night.")
        watching.join(timeout=20)
    assert told == ["At night."]
    assert '["hand",["' in kept[0], "also if it is killed now"
    assert lines_about(bob, sent) == []
    watching = watch_meanwhile()
    until(lambda: lines_about(bob, sent) == [("eve", "read")])
    until(lambda: bob.send("eve", "Now.") and not watching.is_alive(), timeout_s=20)
    assert told == ["At night.", "Now."], "a watch tells what comes from now on"


def kept_now(folder: Path) -> str:
    return "".join(file.read_text() for file in (folder / "state").rglob("log"))


def test_one_command_that_no_server_has_taken_is_kept_and_sent_by_the_next_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    hospital = messages_site(tmp_path)
    hospital.await_active()
    hospital.end()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOLDFAST_TOKEN", token_of("ann"))
    hospital.environment |= {name: os.environ[name] for name in ("XDG_STATE_HOME", "HOLDFAST_TOKEN")}
    send = ("messages", "--as", "ann", "--deadline", "0.5", "--json", "send")
    kept = hospital.holdfast(*send, "--priority", "urgent", "bob", "Later,", "then.")
    assert (kept.returncode, json.loads(kept.stdout)["type"]) == (2, "kept"), kept
    assert json.loads(kept.stdout)["text"].startswith("Kept for bob, to be sent by `holdfast messages`, a prompt, as ")
    wrong = hospital.holdfast(*send, "--priority", "high", "bob", "Never.")
    assert (wrong.returncode, json.loads(wrong.stdout)["type"]) == (1, "malformed"), wrong
    speaker = MessagesSpeaker(
        Site.at(Addresses.of_site(tmp_path / "site.toml"), as_="ann", deadline_s=0.5), "messages", as_json=False
    )
    try:
        speaker.greet()
        assert [(draft.text, draft.priority) for draft in speaker._messenger.drafts] == [("Later, then.", "urgent")]
        refused = hospital.holdfast(*send, "bob", "Not now.")
        assert refused.returncode == 2
        assert "a prompt of yours is open on this machine: say it there" in json.loads(refused.stdout)["text"]
        hospital = messages_site(tmp_path, again=True)
        with Messenger("bob", token_of("bob"), site=tmp_path / "site.toml", folder=tmp_path / "bob") as bob:
            message = bob.receive(30)
            assert (message.text, message.priority) == ("Later, then.", "urgent")
            until(lambda: speaker._messenger.drafts == [])
            assert bob.receive(0.5) is None
    finally:
        speaker.close()
        hospital.end()
