"""Request lines of JSON: they say what plain lines say, and carry text that no plain line can."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Meta
from tests.server.test_grammar import is_one_safe_line

from holdfast.apps.messages.words import Delete, Got, MakeGroup, Search, Send
from holdfast.apps.rooms import Rooms
from holdfast.apps.tickets import Choose, Reserve, Tickets
from holdfast.apps.values import Name, Text
from holdfast.kernel.contracts import Command, Person, Request
from holdfast.kernel.replies import Malformed
from holdfast.server.controls import Control, Help, Login, Mode, Session
from holdfast.server.grammar import Grammar
from holdfast.server.reply_lines import text_line


class Meet(Command, frozen=True, tag="meet"):
    """Book a room, or another one."""

    room: Name
    why: Text
    ors: Annotated[tuple[Name, ...], Meta(max_length=3, extra={"option": "or"})] = ()
    weeks: Annotated[int, Meta(ge=1, le=52, extra={"option": "weekly"})] = 1
    quietly: bool = False


GRAMMAR = Grammar((*Tickets.commands[:2], Meet, Send, Delete, MakeGroup, Got), (Search,))


def command(line: str) -> Any:
    made = GRAMMAR.parse(line.encode())
    assert isinstance(made, Request), made
    return made.command


def refusal(line: str) -> str:
    made = GRAMMAR.parse(line.encode("utf-8", "surrogatepass"))
    assert isinstance(made, Malformed), made
    assert is_one_safe_line(text_line(made))
    return made.text().removeprefix("Failed: ")


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ('["reserve", "bob", 3]', Reserve("bob", 3)),
        ('["reserve", "bob", "3"]', Reserve("bob", 3)),
        (' \t[ "reserve" ,\t"Mary Ann",3 ] \r', Reserve("Mary Ann", 3)),
        ('["choose", "bob", [7, 8]]', Choose("bob", (7, 8))),
        ('["choose", "bob", "7,8"]', Choose("bob", (7, 8))),
        ('["send", "bob", "two\\nlines", {"priority": "urgent"}]', Send("bob", "two\nlines", "", "urgent")),
        ('["send", "bob", "a\\r\\n\\tb", "on: rounds"]', Send("bob", "a\r\n\tb", "on: rounds")),
        ('["send", "bob", "\\ud83d\\ude80 Zoe\\u0308 \\u202e"]', Send("bob", "🚀 Zoe\u0308 \u202e")),
        ('["send", "bob", "🚀 Zoe\u0308", {}]', Send("bob", "🚀 Zoe\u0308")),
        ('["send", "bob", "--priority"]', Send("bob", "--priority")),
        ('["meet", "Oak", "\\"A\\\\ talk\\"", {"or": ["Elm", "Big Ash, or so"], "weekly": 6}]',
         Meet("Oak", '"A\\ talk"', ("Elm", "Big Ash, or so"), 6)),
        ('["meet", "Oak", "Talk", [], 2, true]', Meet("Oak", "Talk", (), 2, True)),
        ('["meet", "Oak", "Talk", {"or": "Elm,Ash"}]', Meet("Oak", "Talk", ("Elm", "Ash"))),
        ('["group", "#ward3", ["ann", "bob"]]', MakeGroup("#ward3", ("ann", "bob"))),
    ],
)  # fmt: skip
def test_an_array_makes_its_command(line: str, made: object) -> None:
    assert command(line) == made


def test_the_identity_stands_before_the_array() -> None:
    ann = Person("ann")
    for line in (b'@k:7/3 ["reserve", "bob", 1]', b' @k:7/3 \t ["reserve","bob",1]\r'):
        assert GRAMMAR.parse(line, ann) == Request(Reserve("bob", 1), "k", 7, 3, ann)
    assert refusal('@k:0 ["reserve", "bob", 1]').startswith("'@k:0' names no request")


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ('["login", "ann", "s3 cret"]', Login("ann", "s3 cret")),
        ('["mode", "json"]', Mode("json")),
        ('["session", ["all"]]', Session(("all",))),
        ('["help"]', Help()),
    ],
)
def test_the_words_of_every_port_may_be_said_so_too(line: str, made: Control) -> None:
    assert GRAMMAR.parse(line.encode()) == made


DIGITS = "9" * 4000


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[", "the line begins with [ and is no JSON array: "),
        ('["reserve", "bob", 1', "the line begins with [ and is no JSON array: "),
        ('["reserve", "bob", 1] 2', "the line begins with [ and is no JSON array: "),
        ('["reserve", "bob", NaN]', "the line begins with [ and is no JSON array: "),
        ('["reserve", "bob", -Infinity]', "the line begins with [ and is no JSON array: "),
        ('["reserve", "bob", 1e999]', "the line begins with [ and is no JSON array: Number out of range"),
        ('["reserve", "b\x01b", 1]', "the line begins with [ and is no JSON array: "),
        (f'["reserve", "bob", {DIGITS}{DIGITS}]', "the line begins with [ and is no JSON array: "),
        ("[" * 60_000, "the array is nested too deeply."),
        ('["reserve", "bob", ' + '{"a":' * 10_000, "the array is nested too deeply."),
        ("[]", 'the array must begin with a word, as in ["help"].'),
        ('[["reserve"], "bob", 1]', 'the array must begin with a word, as in ["help"].'),
        ('["resrve", "bob", 1]', "no command 'resrve'; did you mean reserve?"),
        ('["reserve", "bob"]', "too few words; usage: reserve <name> <count>."),
        ('["reserve", "bob", 1, 2]', "too many words; usage: reserve <name> <count>."),
        ('["reserve", "bob", true]', "<count> must be a whole number from 1 to "),
        ('["reserve", "bob", 1.0]', "<count> must be a whole number from 1 to "),
        ('["reserve", "bob", null]', "<count> must be a whole number from 1 to "),
        ('["reserve", "bob", "1.0"]', "<count> must be a whole number from 1 to "),
        ('["reserve", "bob", 0]', "<count> must be a whole number from 1 to "),
        (f'["reserve", "bob", {DIGITS}]', "<count> must be a whole number from 1 to "),
        ('["reserve", 7, 1]', "<name> must be a word of 1 to 64 characters, not 7."),
        ('["reserve", ["bob"], 1]', "<name> must be a word of 1 to 64 characters, not a list."),
        ('["reserve", {"name": "bob"}, 1]', "<name> must be a word of 1 to 64 characters, not an object."),
        ('["reserve", "b\\nb", 1]', "<name> must have no control characters such as U+000A."),
        ('["reserve", "b\\u202eb", 1]', "<name> must have no control characters such as U+202E."),
        ('["reserve", "Zoe\\u0308", 1]', "<name> must be written in composed characters (Unicode NFC)."),
        ('["reserve", "\\ud800", 1]', "the array has half a character"),
        ('["send", "bob", "x\\udc00x"]', "the array has half a character"),
        ('["send", "bob", "x\\u0000x"]', "<text> must have no control characters such as U+0000."),
        ('["send", "bob", " \\n "]', "<text> must not be empty."),
        (f'["send", "bob", "{"x" * 4001}"]', "<text> must have at most 4000 characters, not 4001."),
        ('["send", "bob", "x", "two\\nlines"]', "<subject> must have no control characters such as U+000A."),
        ('["send", "b\\nb", "x"]', "<to> must have no control characters such as U+000A."),
        ('["send", "bob", "x", {"priority": "high"}]', "<priority> must be emergency or routine or "),
        ('["send", "bob", "x", {"prioritty": "urgent"}]', "send has no option 'prioritty'; usage: send "),
        ('["send", "bob", "x", {"subject": "a", "subject": "b"}]', "'subject' is given twice."),
        ('["send", "bob", "\\":", {"subject": "\\":", "subject" : "b"}]', "'subject' is given twice."),
        ('["send", "bob", "x", {"a\\\\": 1, "subject": "a", "subject": "b"}]', "send has no option 'a"),
        ('["send", "bob", "x", "a", {"subject": "b"}]', "<subject> is given twice."),
        ('["reserve", "bob", 1, {"or": "x"}]', "reserve has no option 'or'; usage: reserve <name> <count>."),
        ('["meet", "Oak", "Talk", {"or": ["a", "b", "c", "d"]}]', "at most 3 items may stand in <ors>, not 4."),
        ('["meet", "Oak", "Talk", {"or": ["a", "b\\n"]}]', "<or> must have no control characters such as U+000A."),
        ('["meet", "Oak", "Talk", {"or": "a\\n,b"}]', "<or> must have no control characters such as U+000A."),
        ('["meet", "Oak", "Talk", {"or": ["a", 7]}]', "<or> must be a word of 1 to 64 characters, not 7."),
        ('["meet", "Oak", "Talk", {"or": 7}]', "<ors> must be a list, not 7."),
        ('["meet", "Oak", "Talk", [], 1, 1]', "<quietly> must be true or false, not 1."),
        ('["choose", "bob", [7, "x"]]', "<seat> must be a whole number from 1 to "),
    ],
)  # fmt: skip
def test_what_makes_no_command_is_told(line: str, words: str) -> None:
    assert refusal(line).startswith(words)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["send", "bob"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["or", "subject", "x"]), inner),
    max_leaves=8,
)
ROOMS = Grammar((*Rooms.commands, Meet, Send), Rooms.queries)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(VALUES, max_size=6).map(lambda values: json.dumps(values).encode())
    | st.tuples(st.sampled_from(["send", "meet", "reserve", "help"]), st.lists(VALUES, max_size=5)).map(
        lambda said: json.dumps([said[0], *said[1]], ensure_ascii=False).encode("utf-8", "surrogatepass")
    )
    | st.binary(max_size=40).map(b"[".__add__)
    | st.lists(st.sampled_from([b"[", b"]", b"{", b"}", b'"', b'"send"', b",", b":", b"1", b"\\ud8", b"@k:1 "])).map(
        b"".join
    )
)  # fmt: skip
@example(b'["send","bob","\\ud83d\\ude80\\udc00"]')
@example(b'["meet","Oak","x",{"or":{"a":1,"a":2}}]')
def test_whatever_comes_in_one_safe_answer_goes_out(line: bytes) -> None:
    made = ROOMS.parse(line)
    if isinstance(made, Malformed):
        assert made.text().startswith("Failed: ")
        assert is_one_safe_line(text_line(made))
    else:
        assert isinstance(made, Request | Control)


BODIES = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), min_size=1, max_size=40)


@settings(max_examples=200, deadline=None)
@given(BODIES.filter(str.strip), st.sampled_from(["routine", "urgent", "emergency"]), st.booleans())
def test_text_arrives_as_it_was_given(text: str, priority: str, as_ascii: bool) -> None:
    line = json.dumps(["send", "bob", text, {"priority": priority}], ensure_ascii=as_ascii)
    assert command(line) == Send("bob", text, "", priority)


NAMES = st.text(st.sampled_from("ab é,-#"), min_size=1, max_size=8).filter(lambda name: name == name.strip())


@settings(max_examples=200, deadline=None)
@given(NAMES, BODIES.filter(str.strip), st.lists(NAMES, max_size=3).map(tuple), st.integers(1, 52), st.booleans())
def test_every_command_comes_back_from_its_array(
    room: str, why: str, ors: tuple[str, ...], weeks: int, quietly: bool
) -> None:
    made = Meet(room, why, ors, weeks, quietly)
    assert command(json.dumps(["meet", room, why, list(ors), weeks, quietly])) == made
    assert command(json.dumps(["meet", room, why, list(ors), str(weeks), quietly])) == made
