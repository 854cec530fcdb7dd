"""Options of a command: what may stand anywhere behind its word, and what is said of a wrong one."""

from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta
from tests.server.test_grammar import is_one_safe_line

from holdfast.apps.rooms import Rooms
from holdfast.apps.values import Name, Text
from holdfast.kernel.contracts import Command, Request
from holdfast.kernel.replies import Malformed
from holdfast.replication.bayou import words
from holdfast.server.controls import Control
from holdfast.server.grammar import Grammar
from holdfast.server.reply_lines import text_line


class Meet(Command, frozen=True, tag="meet"):
    """Book a room, or another one."""

    room: Name
    why: Text
    ors: Annotated[tuple[Name, ...], Meta(max_length=3, extra={"option": "or"})] = ()
    weeks: Annotated[int, Meta(ge=1, le=52, extra={"option": "weekly"})] = 1


class Tell(Command, frozen=True, tag="tell"):
    """Send text to some people."""

    to: Annotated[tuple[Name, ...], Meta(min_length=1, extra={"option": "to"})]
    text: Text


GRAMMAR = Grammar((Meet, Tell))


def command(line: str) -> object:
    made = GRAMMAR.parse(line.encode())
    assert isinstance(made, Request), made
    return made.command


def refusal(line: str) -> str:
    made = GRAMMAR.parse(line.encode())
    assert isinstance(made, Malformed), made
    return made.text()


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("meet Oak Talk", Meet("Oak", "Talk")),
        ('meet Oak "A talk" --or Elm --or "Big Ash"', Meet("Oak", "A talk", ("Elm", "Big Ash"))),
        ("meet --or Elm Oak --or Ash Talk", Meet("Oak", "Talk", ("Elm", "Ash"))),
        ("meet Oak Talk Elm,Ash", Meet("Oak", "Talk", ("Elm", "Ash"))),
        ("meet Oak Talk Elm --or Ash,Fir", Meet("Oak", "Talk", ("Elm", "Ash", "Fir"))),
        ("meet Oak Talk --weekly 6", Meet("Oak", "Talk", (), 6)),
        ("meet --weekly 6 Oak Talk --or Elm", Meet("Oak", "Talk", ("Elm",), 6)),
        ("meet Oak Talk Elm 6", Meet("Oak", "Talk", ("Elm",), 6)),
        (r'meet "--or" \--weekly', Meet("--or", "--weekly")),
        ("meet Oak -", Meet("Oak", "-")),
        ("@k:1 meet Oak Talk --or Elm", Meet("Oak", "Talk", ("Elm",))),
        ("tell ann,bob Hello there --to all", Tell(("ann", "bob", "all"), "Hello there")),
        ('tell ann,bob "Hello there --to all"', Tell(("ann", "bob"), "Hello there --to all")),
        ('tell ann "Hello there" --to bob --to eve', Tell(("ann", "bob", "eve"), "Hello there")),
        ("tell ann Hello --too --t -- all", Tell(("ann",), "Hello --too --t -- all")),
        ("tell ann --to bob --to eve Hello, you", Tell(("ann", "bob", "eve"), "Hello, you")),
    ],
)
def test_an_option_may_stand_anywhere(line: str, made: object) -> None:
    assert command(line) == made


MEET = "meet <room> <why> [--or <or>]... [--weekly <weeks>]"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("meet Oak Talk --or", f"no value follows --or; usage: {MEET}."),
        ("meet --weekly", f"no value follows --weekly; usage: {MEET}."),
        ('meet Oak Talk --or ""', "<or> must not be empty."),
        ("meet Oak Talk --or Elm,,Ash", "<or> must not be empty."),
        ("meet Oak Talk --ro Elm", f"meet has no option '--ro'; usage: {MEET}."),
        ("meet Oak Talk -- Elm", f"meet has no option '--'; usage: {MEET}."),
        ("meet Oak Talk --or=Elm", f"meet has no option '--or=Elm'; usage: {MEET}."),
        ("meet Oak --or Elm", f"too few words; usage: {MEET}."),
        ("meet Oak Talk Elm 6 7", f"too many words; usage: {MEET}."),
        ("meet Oak Talk --or a --or b,c --or d", "at most 3 items may stand in --or, not 4."),
        ("meet Oak Talk --weekly 6 --weekly 7", "<weeks> is given twice."),
        ("meet Oak Talk Elm 6 --weekly 6", "<weeks> is given twice."),
        ("meet Oak Talk --weekly six", "<weeks> must be a whole number from 1 to 52, not 'six'."),
        ('meet Oak Talk --or "Elm', "a double quote is opened and not closed."),
        ("tell --to ann", "too few words; usage: tell --to <to>... <text ...>."),
    ],
)
def test_a_wrong_option_is_told(line: str, words: str) -> None:
    assert refusal(line) == f"Failed: {words}"


def test_thousands_of_options_are_refused_at_once() -> None:
    assert refusal("meet Oak Talk" + " --or x" * 9_000) == "Failed: at most 3 items may stand in --or, not 9000."


ROOMS = Grammar((*Rooms.commands, *words.COMMANDS, Meet, Tell), (*Rooms.queries, *words.QUERIES))
PIECES = st.sampled_from(
    [
        *("reserve", "change", "schedule", "meet", "tell", "import", "retire", "session"),
        *("Oak", "2026-12-01", "09:00", "2h", "Talk", "Oak@09:00", "Oak@2026-12-02@09:00,", "biology-1", "all"),
        *("--or", "--weekly", "--to", "--", '"', '"--or"', "@", ",", "\\", "é"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(PIECES, max_size=12).map(" ".join)
    | st.text(max_size=30).map("reserve Oak 2026-12-01 09:00 1h --or ".__add__)
)
def test_whatever_is_said_to_the_rooms_makes_a_request_or_one_clear_answer(line: str) -> None:
    made = ROOMS.parse(line.encode("utf-8", "surrogatepass"))
    if isinstance(made, Malformed):
        assert is_one_safe_line(text_line(made))
    else:
        assert isinstance(made, Request | Control)


def test_an_alternative_is_checked_as_what_it_is() -> None:
    line = b"reserve Oak 2026-12-01 09:00 1h Talk --or Elm@09:00 --or "
    made = ROOMS.parse(line + b"Elm@2026-12-02@10:00")
    assert isinstance(made, Request)
    assert made.command.alternatives == ("Elm@09:00", "Elm@2026-12-02@10:00")
    refused = ROOMS.parse(line + b"Elm@25:00")
    assert isinstance(refused, Malformed)
    assert refused.text().startswith("Failed: <alternative> ")
