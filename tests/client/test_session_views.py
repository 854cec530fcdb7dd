"""The client's core where replicas differ: a home, views, sessions across servers, and changes told unasked."""

from __future__ import annotations

import json

import pytest
from tests.client.session_shell import DEADLINE_US, DONE, GREETED, SERVERS, Shell, reply

from holdfast.client.outcomes import Answer, Change, Server
from holdfast.client.session import Close, Idle, Wait


@pytest.mark.parametrize("home", SERVERS)
def test_the_home_server_is_asked_before_the_others_unless_it_failed_lately(home: Server) -> None:
    shell = Shell(home=home)
    shell.submit()
    assert shell.reach() == home
    shell.session.lost(shell.now_us, "gone")
    assert shell.reach() != home
    shell.sent()
    shell.hear(GREETED, DONE)
    shell.session.lost(shell.now_us, "gone too")
    shell.now_us += 31_000_000
    shell.submit()
    assert shell.reach() == home


def test_a_view_is_chosen_on_the_connection_only_when_it_changes() -> None:
    shell = Shell()
    shell.session.submit("list", DEADLINE_US, "committed")
    shell.session.submit("seats", DEADLINE_US, "committed")
    full = shell.session.submit("list", DEADLINE_US)
    shell.reach()
    assert shell.sent() == [
        "mode json",
        "view committed",
        "@p:1/1 list",
        "@p:2/1 seats",
        "view full",
        "@p:3/1 list",
    ]
    shell.hear(GREETED, GREETED, reply("one", ok=True), reply("two", ok=True), GREETED, reply("three", ok=True))
    assert isinstance(full.outcome, Answer)
    assert full.outcome.type == "three"


def test_a_view_that_is_refused_sends_what_follows_elsewhere() -> None:
    shell = Shell()
    call = shell.session.submit("list", DEADLINE_US, "committed")
    first = shell.reach()
    shell.sent()
    shell.hear(GREETED, reply("malformed"))
    assert shell.act() != Idle()
    shell.hear(reply("unavailable"))
    assert shell.act() == Close()
    assert shell.reach() != first
    assert shell.sent()[1:] == ["view committed", "@p:1/1 list"]
    shell.hear(GREETED, GREETED, DONE)
    assert isinstance(call.outcome, Answer)


def test_the_token_of_a_session_goes_along_to_the_next_server() -> None:
    shell = Shell(guarantees=("read-your-writes", "monotonic-reads"))
    shell.submit()
    shell.reach()
    assert shell.sent() == ["mode json", "session read-your-writes,monotonic-reads"]
    shell.hear(GREETED, GREETED)
    assert shell.sent() == ["@p:1/1 reserve bob 3"]
    shell.hear(json.dumps({"ok": True, "text": "", "type": "reserved", "session": "t0ken"}).encode())
    shell.session.lost(shell.now_us, "gone")
    behind = shell.submit("search bob")
    shell.act()
    shell.reach()
    assert shell.sent() == ["mode json", "session read-your-writes,monotonic-reads t0ken"]
    shell.hear(GREETED, GREETED)
    shell.sent()
    shell.hear(reply("behind", text="Failed: this replica is behind your session"))
    assert isinstance(behind.outcome, Answer), "a server that is behind says so, and that is the answer"
    assert not behind.outcome.ok


CHANGED = b'{"change":{"id":"a-1","person":"bob","firm":"committed","text":"Granted."}}'


def test_a_change_between_two_replies_is_no_reply() -> None:
    shell = Shell()
    call = shell.submit()
    shell.reach()
    shell.sent()
    shell.hear(GREETED, CHANGED, DONE, b'{"missed":3,"text":"why."}', b'{"missed":0,"text":"it was away."}')
    assert isinstance(call.outcome, Answer)
    assert [change.id for change in shell.session.changes] == ["a-1", "", ""]
    assert shell.session.changes[0] == Change("a-1", "bob", "committed", "Granted.")
    assert shell.session.changes[1].text == "3 changes are not told: why."
    assert shell.session.changes[2].text == "changes are not told: it was away."


def test_a_session_that_watches_stays_connected_and_tells_of_a_gap() -> None:
    shell = Shell(greeting=("mode json", "watch all"), watches=True)
    first = shell.reach()
    assert shell.sent() == ["mode json", "watch all"]
    assert isinstance(shell.act(), Wait)
    shell.hear(GREETED, GREETED, CHANGED)
    waiting = shell.act()
    assert isinstance(waiting, Wait)
    assert waiting.until_us > DEADLINE_US * 1000, "nothing is due"
    assert len(shell.session.changes) == 1
    shell.session.lost(shell.now_us, "gone")
    assert shell.reach() != first
    assert "gone; what changed until" in shell.session.changes[1].text


def test_a_session_that_watches_does_not_try_on_with_a_refused_login() -> None:
    shell = Shell(greeting=("mode json", "login bob", "watch mine"), watches=True)
    shell.reach()
    shell.sent()
    shell.hear(GREETED, reply("forbidden", text="Failed: who is bob?"))
    assert shell.session.denied == "Failed: who is bob?"
