"""The quick way to read a line: whatever it says, the careful way says too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.events import Events
from holdfast.apps.messages import Messages
from holdfast.apps.rooms import Rooms
from holdfast.apps.tickets import Tickets
from holdfast.kernel.contracts import Person, Request
from holdfast.server.grammar import Grammar

GRAMMARS = [Grammar(app.commands, app.queries) for app in (Messages, Tickets, Rooms, Events)]
MESSAGES = GRAMMARS[0]
WORDS = sorted({word for grammar in GRAMMARS for word in grammar.words})
ANN = Person("ann")
PIECES = st.sampled_from(
    [
        *(
            "@c:5",
            "@c:5/3",
            "@c:0",
            "@",
            "bob",
            "#ward3@bob",
            "17",
            "-1",
            "007",
            "²",
            "--priority",
            "urgent",
            "--x",
            "a--b",
        ),
        *(
            '"',
            '"two words"',
            'say "no"',
            "\\",
            "a\\ b",
            "é",
            "e\u0301",
            "\u0301",
            "–",
            "日本",
            "\u200d",
            "\u00a0",
            "\u3000",
        ),
        *("\t", "\r", "\x00", "\u202e", "[", "Oak", "2026-12-01", "2026-99-99", "09:00", "1,2,3", "x" * 4001, ""),
    ]
)


@given(
    st.sampled_from(GRAMMARS), st.lists(st.sampled_from(WORDS) | PIECES | st.text(max_size=5), max_size=6), st.data()
)
def test_the_quick_way_reads_as_the_careful_way(grammar: Grammar, pieces: list[str], data: st.DataObject) -> None:
    blanks = [data.draw(st.sampled_from(["", " ", "  "])) for _ in pieces]
    text = "".join(blank + piece for blank, piece in zip(blanks, pieces, strict=True)).replace("\n", " ")
    quick = grammar._quickly(text, ANN)
    assert quick is None or quick == grammar._parse_carefully(text, ANN)


@pytest.mark.parametrize(
    "text",
    [
        "send bob The potassium of bed 12 is 5.9, look!",
        "@c:17/16 send bob Kalium 5,9 – bitte danke schön",
        "send  #ward3@bob   two  blanks  stay, those behind go  ",
        'search he said "no" -- twice \\ here',
        "@c:1/1 got phone 17",
        "inbox",
    ],
)
def test_what_is_usual_is_read_quickly(text: str) -> None:
    quick = MESSAGES._quickly(text, ANN)
    assert isinstance(quick, Request)
    assert quick == MESSAGES.parse(text.encode(), ANN) == MESSAGES._parse_carefully(text, ANN)
