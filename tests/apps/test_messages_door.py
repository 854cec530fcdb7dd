"""Messages at the door: how commands are written, what the grammar and `admit` refuse, and odd texts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.apps.ward import ALICE, BOB, GRAMMAR, PEOPLE, Ward

from holdfast.apps.messages import (
    TEXT_CHARACTERS_MAX,
    Ack,
    AskAudit,
    AskDevices,
    AskGroups,
    AskHistory,
    AskInbox,
    AskSince,
    AskStates,
    AskUnread,
    BadText,
    Delete,
    Got,
    Invite,
    Leave,
    MakeGroup,
    Messages,
    NobodyNamed,
    NoSuchPerson,
    Read,
    Search,
    Seen,
    Send,
    Sent,
    ToYourself,
    Who,
)
from holdfast.kernel.contracts import Person, Request
from holdfast.kernel.machine import Machine
from holdfast.server.reply_lines import ChangeLines, json_line, text_line


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("send bob Look, please: it's 5.9!", Send("bob", "Look, please: it's 5.9!")),
        ('send bob "quoted"', Send("bob", "quoted")),
        ('send bob "half quoted', Send("bob", '"half quoted')),
        ("send --subject K+ bob hi", Send("bob", "hi", "K+")),
        ('send --priority urgent --subject "bed 12" bob hi', Send("bob", "hi", "bed 12", "urgent")),
        ("send bob --priority emergency come -- now", Send("bob", "come -- now", "", "emergency")),
        ('send bob "--priority urgent"', Send("bob", "--priority urgent")),
        ("send bob come now --priority urgent", Send("bob", "come now", "", "urgent")),
        ('send bob "come now" --priority urgent --subject a', Send("bob", "come now", "a", "urgent")),
        ('send bob come "now"  --subject "bed 12" --priority urgent', Send("bob", 'come "now"', "bed 12", "urgent")),
        ('send bob "come --priority urgent"', Send("bob", "come --priority urgent")),
        ('send bob "a" and "b" --priority urgent', Send("bob", '"a" and "b"', "", "urgent")),
        ("send bob rise -- --fall --priorityless", Send("bob", "rise -- --fall --priorityless")),
        ("search two words --before a+b:7", Search("two words", "a+b:7")),
        ("send #ward3 hello", Send("#ward3", "hello")),
        ('["send", "bob", "two\\nlines", {"subject": "s"}]', Send("bob", "two\nlines", "s")),
        ("read 3", Read(3)),
        ("seen 3", Seen((3,))),
        ("seen 3,4 biology-7,2-0-0/1", Seen((3, 4), ("biology-7", "2-0-0/1"))),
        ('["seen", [3, 4], ["biology-7", "x"]]', Seen((3, 4), ("biology-7", "x"))),
        ("read 3 biology-7", Read(3, "biology-7")),
        ("ack 3", Ack(3)),
        ("got phone 0", Got("phone", 0)),
        ('got "my phone" 5', Got("my phone", 5)),
        ("delete alice+bob 2", Delete("alice+bob", 2)),
        ("group #a bob,carla", MakeGroup("#a", ("bob", "carla"))),
        ("invite #a dave", Invite("#a", "dave")),
        ("leave #a", Leave("#a")),
        ("inbox", AskInbox()),
        ("inbox 9", AskInbox(9)),
        ("since 9", AskSince(9)),
        ("history bob 9", AskHistory("bob", 9)),
        ("search two words", Search("two words")),
        ("search --before a+b:7 two words", Search("two words", "a+b:7")),
        ("unread", AskUnread()),
        ("who", Who()),
        ('who "ward 3"', Who("ward 3")),
        ("groups", AskGroups()),
        ("states bob 1", AskStates("bob", 1)),
        ("devices", AskDevices()),
        ("audit", AskAudit()),
        ("audit a+b:7", AskAudit("a+b:7")),
    ],
)
def test_what_people_write(line: str, command: Any) -> None:
    made = GRAMMAR.parse(line.encode(), ALICE)
    assert isinstance(made, Request), made
    assert made.command == command


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("send bob", "too few words"),
        ("send", "too few words"),
        ('send bob ""', "must not be empty"),
        ('send bob "  "', "must not be empty"),
        (f"send bob {'x' * 4001}", "at most 4000 characters, not 4001"),
        (f"send --subject {'x' * 201} bob hi", "0 to 200 characters"),
        (f"send {'b' * 200} hi", "1 to 160 characters"),
        ("send --priority high bob hi", "must be emergency or routine or urgent, not 'high'"),
        ("send --subject a --subject b bob hi", "given twice"),
        ("send --topic a bob hi", "no option '--topic'"),
        ("send bob a\u202eb", "U+202E"),
        ("send bob come --priority", "no value follows --priority"),
        ("send bob come --priority high", "must be emergency or routine or urgent, not 'high'"),
        ("send bob come --priority urgent now", "too many words"),
        ('send bob "come" --priority urgent now', "too many words"),
        ("send --priority urgent", "too few words"),
        ("read 0", "a whole number from 1"),
        ("read -1", "a whole number from 1"),
        ("read x", "a whole number from 1"),
        ("read 99999999999999999999", "a whole number from 1"),
        ("got phone", "too few words"),
        ("got phone -1", "a whole number from 0"),
        (f"got {'p' * 65} 1", "at most 64 characters"),
        ("inbox -5", "a whole number from 0"),
        ("history bob x", "a whole number"),
        ("search", "too few words"),
        ("group #a", "too few words"),
        ("group #a bob,,carla", "must not be empty"),
        (f"group #a {','.join(['b'] * 200)}", "at most 199 items"),
        ("states bob", "too few words"),
        ("sned bob hi", "did you mean send?"),
    ],
)
def test_what_makes_no_command(line: str, why: str) -> None:
    said = Ward().says(ALICE, line)
    assert said.startswith("Failed: ")
    assert why in said


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (Send("nobody", "hi"), NoSuchPerson("nobody")),
        (Send("", "hi"), NoSuchPerson("")),
        (Send("alice", "hi"), ToYourself()),
        (Send("Bob", "hi"), NoSuchPerson("Bob")),
        (Send("bob ", "hi"), NoSuchPerson("bob ")),
        (Send("bob", " \n\t"), BadText("must not be empty")),
        (Send("bob", "a\ud800b"), BadText("has half a character at 2, which no text can have")),
        (Send("bob", "ab", "\udfff"), BadText("has half a character at 3, which no text can have")),
    ],
)
def test_what_the_door_refuses(command: Send, refusal: Any) -> None:
    ward = Ward()
    digest = ward.machine.digest()
    assert ward.app.admit(command, ALICE, 0) == refusal
    assert refusal.text().startswith("Failed: ")
    assert ward.app.admit(command, None, 0) == NobodyNamed()
    assert ward.machine.digest() == digest


def test_the_longest_text_fits() -> None:
    ward = Ward()
    text = "\U0001f6d1" * TEXT_CHARACTERS_MAX
    assert ward.send(ALICE, "bob", text).number == 1
    assert ward.inbox(BOB) == [(1, "alice", text)]


ODD = [
    "two\nlines",
    "tab\tand\r\nline",
    "\u0000null",
    "\u202eright to left",
    "\U0001f469\u200d\u2695\ufe0f doctor",
    "e\u0301 stays as it is",
    "\ufeffmark",
    "\ue000private",
    "שלום \u200fעולם",
    "\u2028line separator",
    "Failed: no",
    "* changed x",
    '{"ok": true}',
]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_arrive_as_they_were_sent_and_stay_one_line(text: str) -> None:
    ward = Ward()
    ward.do(ALICE, Send("bob", text, subject=text[:50]))
    (change,) = ward.hear()
    lines = ChangeLines(change)
    for reply in (ward.answers(BOB, "inbox"), ward.answers(BOB, "read 1"), ward.answers(ALICE, "history bob")):
        for line in (text_line(reply), json_line(reply), lines.for_people, lines.for_programs):
            assert line.count(b"\n") == 1
            assert line.endswith(b"\n")
        assert holds(json.loads(json_line(reply)), text)
    assert ward.inbox(BOB)[0][2] == text


def holds(value: Any, text: str) -> bool:
    """Whether some part of the decoded JSON is just this text."""
    if isinstance(value, dict):
        return any(holds(part, text) for part in value.values())
    return value == text if isinstance(value, str) else isinstance(value, list) and any(holds(v, text) for v in value)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(str.strip))
def test_any_text_survives_the_way_to_the_log_and_back(text: str) -> None:
    machine = Machine(Messages(PEOPLE))
    request = Request(Send("bob", text, subject=text), "a.1796115600000", 1, 1, ALICE)
    assert machine.admit(request, 0) is None
    ((again,),) = [machine.decode(machine.encode([request]))]
    assert again.command == request.command
    (sent,) = machine.execute([again], (1, 0))
    assert isinstance(sent, Sent)
    assert machine.answer(Request(AskSince(), person=BOB)).items[0].content == text  # type: ignore[attr-defined]
    machine.digest()
    assert machine.execute([again], (2, 0)) == [sent], "a retry gets the first answer"
    assert len(machine.answer(Request(AskInbox(), person=BOB)).items) == 1  # type: ignore[attr-defined]


@given(line=st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")))
def test_whatever_is_written_gets_one_answer(line: bytes) -> None:
    ward = Ward()
    made = GRAMMAR.parse(b"send " + line, ALICE)
    if isinstance(made, Request):
        refusal = ward.app.admit(made.command, ALICE, 0)
        assert refusal is not None or isinstance(ward.do(ALICE, made.command), Sent) or made.command.to.startswith("#")
    else:
        assert made.text().startswith("Failed: ")  # type: ignore[union-attr]


def test_nobody_speaks_for_somebody_else() -> None:
    """Who a message is from is who has logged in; no command has a field for it."""
    ward = Ward()
    for command in (*Messages.commands, *Messages.queries):
        assert not {"sender", "as", "by", "author"} & set(command.__struct_fields__)
    ward.send(ALICE, "bob")
    assert ward.inbox(BOB)[0][1] == "alice"
    assert ward.inbox(Person("alice+bob")) == []
