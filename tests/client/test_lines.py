"""What the client writes is what the server reads: request lines, plain and of JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.messages.words import MakeGroup, Send
from holdfast.apps.rooms.words import Reserve
from holdfast.client.errors import Misuse
from holdfast.client.lines import checked_line, request_line
from holdfast.client.outcomes import Answer, Change
from holdfast.kernel.contracts import Request
from holdfast.server.grammar import Grammar

GRAMMAR = Grammar((Send, MakeGroup, Reserve))


def read(line: str) -> Any:
    made = GRAMMAR.parse(f"@k:1 {line}".encode())
    assert isinstance(made, Request), made
    return made.command


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["send", "bob", "Hello"], "send bob Hello"),
        (["send", "bob", "Hello, you"], 'send bob "Hello, you"'),
        (["send", "bob", "two\nlines"], '["send","bob","two\\nlines"]'),
        (["send", "bob", "a\tb"], '["send","bob","a\\tb"]'),
        (["send", "bob", "\u200fשלום"], '["send","bob","\u200fשלום"]'),
        (["send", "bob", "--priority", {"subject": "x"}], '["send","bob","--priority",{"subject":"x"}]'),
        (["send", "bob", "--priority", {}], '["send","bob","--priority"]'),
        (["send", "bob", "Hello", {"priority": "urgent"}], '["send","bob","Hello",{"priority":"urgent"}]'),
        (["send", "--priority", "urgent", "bob", "a\nb"], '["send","bob","a\\nb",{"priority":"urgent"}]'),
        (["reserve", "Oak", "a\nb", "--or", "x", "--or", "y"], '["reserve","Oak","a\\nb",{"or":["x","y"]}]'),
        (["choose", "a\nb", [7, 8], 3], '["choose","a\\nb",["7","8"],"3"]'),
    ],
)
def test_a_line_is_plain_where_it_can_be(words: list[Any], line: str) -> None:
    assert request_line(words) == line


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "no command given"),
        (["login", "bob"], "is the client's own to say"),
        (["send", "bob", "a\0b"], "no room for a line break or a NUL"),
        (["send", "bob", "\ud800\n"], "no valid Unicode text"),
        (["send", "bob", "a\nb", "--priority"], "no value follows --priority"),
        (["send", "bob", "a\nb", True], "True cannot be sent"),
        (["send", "bob", {"priority": 1.5}], "1.5 cannot be sent"),
        (["send", {"priority": "urgent"}, "x"], "cannot be sent"),
    ],
)
def test_what_no_line_can_carry_is_misuse(words: list[Any], why: str) -> None:
    with pytest.raises(Misuse, match=why):
        request_line(words)


@pytest.mark.parametrize("line", ["@k:1 seats", "", "login bob", '["login", "bob"]', ' [ "use" ,"x"]', "quit"])
def test_what_is_the_clients_own_is_not_typed(line: str) -> None:
    with pytest.raises(Misuse):
        checked_line(line)


def test_an_array_may_be_typed() -> None:
    for line in ('["send", "bob", "a\\nb"]', "[1", "[]", '[["login"]]', "[" * 9_000):
        assert checked_line(line) == line


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"], include_characters="\n\t"), min_size=1)


@given(TEXT.filter(lambda text: text.strip() != ""), st.sampled_from(["routine", "urgent"]))
def test_text_is_read_as_it_was_given(text: str, priority: str) -> None:
    assert read(request_line(["send", "bob", text, {"priority": priority}])) == Send("bob", text, "", priority)
    assert read(json.dumps(["send", "bob", text])).text == text


@given(TEXT.filter(lambda text: text.strip() == text), st.lists(st.sampled_from(["ann", "b,c", "Zoë"]), min_size=1))
def test_what_a_plain_line_would_say_an_array_says_too(text: str, members: list[str]) -> None:
    assert read(request_line(["group", "#w", members, {}])) == MakeGroup("#w", tuple(members))
    words = ["reserve", "--or", "Oak@09:00", "Maple", "2026-12-01", "09:00", "2h", text, "--or", "Elm@09:00"]
    made = read(request_line(words))
    assert made.alternatives == ("Oak@09:00", "Elm@09:00")


def test_what_people_see_is_one_line() -> None:
    assert str(Answer(True, "a\nb\u202e", "x")) == "a\\nb\\u202e"
    assert str(Answer(True, "a\nb", "x", write="w-1")) == "a\\nb [committed, w-1]"
    assert str(Change("", "", "", "a\rb")) == "a\\rb"
    assert str(Change("w-1", "", "committed", "Zoë\u200d\n")) == "w-1 committed: Zoë\u200d\\n"
