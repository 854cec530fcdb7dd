"""What is said on the command line and at the prompt are words that can be said there; a question gives way soon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from holdfast.apps.events.replies import NobodyKnown
from holdfast.apps.messages.refusals import NobodyNamed as NobodyWrites
from holdfast.apps.plans.replies import NobodyNamed as NobodyPlans
from holdfast.apps.rooms.replies import NotASecretary
from holdfast.apps.slots.replies import NobodyNamed as NobodyHolds
from holdfast.catalog import APPS
from holdfast.client import Misuse, Site, speak
from holdfast.client.messages_prompt import MessagesSpeaker
from holdfast.client.rooms import RoomsSpeaker
from holdfast.client.speak import Speaker
from holdfast.client.wording import OF_PROTOCOLS, in_options, questions_of
from holdfast.kernel.contracts import Reply
from holdfast.people import People
from holdfast.server.grammar import Grammar
from holdfast.server.line_server import WHO_ASKS

REFUSALS = [
    NobodyWrites().text(),
    NobodyPlans().text(),
    NobodyHolds().text(),
    NotASecretary("", "").text(),
    NobodyKnown("", ()).text(),
    WHO_ASKS,
    People().login("ann", "wrong", identity="token").text(),  # type: ignore[union-attr]
]


@pytest.mark.parametrize("text", REFUSALS)
def test_who_asks_is_said_by_options_after_a_refusal_on_the_command_line(text: str) -> None:
    assert "login" in text
    said = in_options(text)
    assert "login " not in said
    assert "--as " in said
    assert ("--token TOKEN" in said) == ("TOKEN" in text)


def unknown_word(app: str, word: str) -> str:
    """What a server says to a word that it does not know."""
    made = APPS[app].make(APPS[app].options(), ())
    said = Grammar(made.commands, made.queries).parse(word.encode())
    assert isinstance(said, Reply)
    return said.text()


@pytest.mark.parametrize(
    ("app", "word", "knows", "knows_not"),
    [
        ("tickets", "resrve", "did you mean reserve? Known: reserve, choose", ["login", "mode", "use", "quit"]),
        ("tickets", "lgin", "no command 'lgin'; known: reserve, choose", ["login", "mean"]),
        ("messages", "drfts", "known: send, read, ack", ["login", "got", "drafts", "session"]),
    ],
)
def test_an_unknown_word_is_answered_with_those_of_the_command_line(
    house: Any, capsys: Any, app: str, word: str, knows: str, knows_not: list[str]
) -> None:
    house.server(always="malformed").more = {"text": unknown_word(app, word)}
    with Site.from_servers(house.addresses()) as site:
        assert speak.speaker_of(app)(site, app, as_json=False).once([word], "") == 1
    said = capsys.readouterr().out
    assert knows in said
    assert not [other for other in knows_not if other in said.replace(f"'{word}'", "")]


def test_a_script_is_told_the_words_that_lines_may_begin_with(house: Any, capsys: Any) -> None:
    house.server(always="malformed").more = {"text": unknown_word("tickets", "resrve")}
    with Site.from_servers(house.addresses()) as site:
        assert Speaker(site, "tickets", as_json=False).script(["resrve\n"]) == 1
    said = capsys.readouterr().out
    assert "did you mean reserve? Known: reserve" in said
    assert said.endswith("login, view, retry.\n")


def test_words_of_the_messages_prompt_say_where_they_belong(house: Any, capsys: Any) -> None:
    server = house.server()
    with Site.from_servers(house.addresses()) as site:
        speaker = MessagesSpeaker(site, "messages", as_json=False)
        with pytest.raises(Misuse, match="'drafts' is said at a prompt, which `holdfast messages` alone opens"):
            speaker.once(["drafts"], "")
        with pytest.raises(Misuse, match="nobody asks yet: say who asks with --as ID, and --token TOKEN"):
            speaker.once(["watch"], "")
        assert MessagesSpeaker(site, "messages", as_json=False).script(["discard 1\n"]) == 1
    assert "Failed: 'discard' is said at a prompt" in capsys.readouterr().err
    assert server.requests() == []


def test_whoever_is_told_to_log_in_by_a_single_command_is_told_the_option(house: Any, capsys: Any) -> None:
    house.server(always="nobody_named").more = {"text": NobodyWrites().text()}
    with Site.from_servers(house.addresses()) as site:
        assert MessagesSpeaker(site, "messages", as_json=False).once(["inbox"], "") == 1
        assert MessagesSpeaker(site, "messages", as_json=False).script(["inbox\n"]) == 1
    once, script = capsys.readouterr().out.splitlines()
    assert once == "Failed: messages want to know who you are; give --as ID and --token TOKEN."
    assert script == NobodyWrites().text(), "there, login is a word"


def test_what_somebody_wrote_is_left_as_it_is(house: Any, capsys: Any) -> None:
    house.server()
    with Site.from_servers(house.addresses()) as site:
        assert Speaker(site, "tickets", as_json=False).once(["echo", "write login ID TOKEN"], "") == 0
    assert capsys.readouterr().out == "write login ID TOKEN\n"


@pytest.mark.parametrize("line", ["mode json", "watch", "view everything", "login", "retry", 'export "x'])
def test_a_script_with_a_line_that_failed_has_exit_status_1(house: Any, line: str) -> None:
    house.server()
    with Site.from_servers(house.addresses()) as site:
        assert Speaker(site, "tickets", as_json=False).script([f"{line}\n", "reserve bob 1\n"]) == 1
    assert house.theatre.booked == {"bob": [1]}, "the lines behind it are said"


def test_a_weekly_request_that_makes_no_sense_fails_its_script(house: Any) -> None:
    house.server()
    with Site.from_servers(house.addresses()) as site:
        line = "reserve Oak 2026-12-01 09:00 1h x --weekly 0\n"
        assert RoomsSpeaker(site, "rooms", as_json=False).script([line]) == 1


@pytest.mark.parametrize("app", APPS)
def test_the_questions_of_an_app_are_known(app: str) -> None:
    queries = APPS[app].make(APPS[app].options(), ()).queries
    assert questions_of(app) == {*OF_PROTOCOLS, *(str(query.__struct_config__.tag) for query in queries)}


def test_of_an_app_elsewhere_no_questions_are_known() -> None:
    assert questions_of("of-my-own") == questions_of("mine") == {*OF_PROTOCOLS}


def test_a_question_at_the_prompt_gives_way_while_no_server_answers(
    dead_address: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(speak, "QUESTION_WAIT_S", 0.2)
    monkeypatch.setattr(speak, "HELP_DEADLINE_S", 0.05)
    site = Site.from_servers([dead_address], deadline_s=1.0)
    with create_pipe_input() as keyboard, create_app_session(input=keyboard, output=DummyOutput()):
        keyboard.send_text("search bob\rreserve bob 1\rquit\r")
        speaker = Speaker(site, "tickets", as_json=False)
        assert speaker.prompt() == 0
    speaker.close()
    question, command = capsys.readouterr().out.splitlines()[1:]
    assert question.startswith("Failed: nobody has answered so far; ask again. Last heard: 127.0.0.1:")
    assert command.startswith("Failed: 'reserve bob 1' was not executed: no server took it in time.")


def test_the_page_of_the_commands_tells_how_long_that_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
    assert f"nobody has answered within {speak.QUESTION_WAIT_S:g} seconds gives way" in text


def test_a_hung_server_is_left_for_the_next_question(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    house.server("", "silence")
    monkeypatch.setattr(speak, "QUESTION_WAIT_S", 0.2)
    with Site.from_servers(house.addresses(), timeout_s=0.2, deadline_s=30.0) as site:
        speaker = Speaker(site, "tickets", as_json=False)
        speaker._at_prompt = True
        assert speaker.typed("reserve bob 1")
        assert not speaker.typed("search bob"), "it is not waited for"
        assert speaker.typed("search bob")
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"Failed: nobody has answered so far; ask again. Last heard: 127.0.0.1:{house.addresses()[0][1]} has not "
        "answered yet",
        "1",
    ]


def test_outside_a_prompt_a_question_is_waited_for(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.server("silence")
    monkeypatch.setattr(speak, "QUESTION_WAIT_S", 0.01)
    with Site.from_servers(house.addresses(), timeout_s=0.2) as site:
        assert Speaker(site, "tickets", as_json=False).script(["echo bob\n"]) == 0
