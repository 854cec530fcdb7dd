"""The line protocol: what makes a command, and one clear answer to everything else."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Meta

from holdfast.apps.tickets import Choose, Delete, ListReservations, ListSeats, Reserve, Reserved, Search, Tickets
from holdfast.apps.values import Name, Text
from holdfast.kernel.contracts import Command, Person, Request
from holdfast.kernel.replies import Forbidden, Malformed, Outcome, Unavailable
from holdfast.replication.bayou.words import Traced, TraceRow
from holdfast.server.controls import (
    CONTROLS,
    Control,
    Help,
    Login,
    Mode,
    NoticesSince,
    Quit,
    Session,
    Status,
    Use,
    View,
    Watch,
)
from holdfast.server.fields import Field, fields_of
from holdfast.server.grammar import Grammar, Parsed, line_too_long
from holdfast.server.reply_lines import json_line, reply_object, text_line


class Send(Command, frozen=True, tag="send"):
    """Send a message."""

    to: Name
    text: Text


class Move(Command, frozen=True, tag="move"):
    """Move something by so much."""

    by: Annotated[int, Meta(ge=-5, lt=6)]
    carefully: bool = False


GRAMMAR = Grammar((*Tickets.commands, Send, Move), Tickets.queries)


def parsed(line: str | bytes) -> Parsed:
    return GRAMMAR.parse(line.encode() if isinstance(line, str) else line)


def command(line: str) -> object:
    made = parsed(line)
    assert isinstance(made, Request), made
    return made.command


def refusal(line: str | bytes) -> str:
    made = parsed(line)
    assert isinstance(made, Malformed), made
    return made.text()


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("reserve bob 1", Reserve("bob", 1)),
        ("  reserve   bob\t12 \r", Reserve("bob", 12)),
        ('reserve "Mary Ann" 2', Reserve("Mary Ann", 2)),
        (r'reserve "Ann \"Q\" \\ B" 2', Reserve(r"Ann \ B".replace(" ", ' "Q" ', 1), 2)),
        (r"reserve Mary\ Ann 2", Reserve("Mary Ann", 2)),
        ("reserve O'Hara 2", Reserve("O'Hara", 2)),
        ("reserve Zoë 2", Reserve("Zoë", 2)),
        ("reserve Zoe\u0308 2", Reserve("Zo\u00eb", 2)),
        ("reserve 李雷 2", Reserve("李雷", 2)),
        ('"reserve" b"o"b "1"', Reserve("bob", 1)),
        ("choose bob 7,3", Choose("bob", (7, 3))),
        ("choose bob 7", Choose("bob", (7,))),
        ("seats", ListSeats()),
        ("seats 7", ListSeats(7)),
        ("list", ListReservations()),
        ('list "Mary Ann"', ListReservations("Mary Ann")),
        ("search @bob", Search("@bob")),
        ("delete " + "x" * 64, Delete("x" * 64)),
        ('send bob Hello, "world" \\o/  there', Send("bob", 'Hello, "world" \\o/  there')),
        ('send bob "Hello, \\"world\\""', Send("bob", 'Hello, "world"')),
        ('send bob "a" "b"', Send("bob", '"a" "b"')),
        ('send bob "unclosed', Send("bob", '"unclosed')),
        ("send bob family 👨\u200d👩\u200d👧 ❤\ufe0f", Send("bob", "family 👨\u200d👩\u200d👧 ❤\ufe0f")),
        ("move -5", Move(-5)),
        ("move 5 true", Move(5, True)),
    ],
)
def test_a_line_makes_its_command(line: str, made: object) -> None:
    assert command(line) == made


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "Failed: the line is empty; help lists the commands."),
        (" \t \r", "Failed: the line is empty; help lists the commands."),
        ("resrve bob 1", "Failed: no command 'resrve'; did you mean reserve? Known: reserve, "),
        ("RESERVE bob 1", "Failed: no command 'RESERVE'; did you mean reserve? Known: reserve, "),
        ("xyzzy", "Failed: no command 'xyzzy'; known: reserve, "),
        ("x" * 5000, f"Failed: no command '{'x' * 40}'…; known: reserve, "),
        ("reserve", "Failed: too few words; usage: reserve <name> <count>."),
        ("reserve bob", "Failed: too few words; usage: reserve <name> <count>."),
        ("reserve bob 1 2", "Failed: too many words; usage: reserve <name> <count>."),
        ("choose bob", "Failed: too few words; usage: choose <name> <seat>,<seat>,...."),
        ("send bob", "Failed: too few words; usage: send <to> <text ...>."),
        ("seats 1 2", "Failed: too many words; usage: seats [<first>]."),
        ("reserve bob 1 ", None),
        ('reserve "bob 1', "Failed: a double quote is opened and not closed."),
        ("reserve bob 1\\", "Failed: the line ends in a backslash with nothing behind it."),
        ("move 6", "Failed: <by> must be a whole number from -5 to 5, not '6'."),
        ("move 1 perhaps", "Failed: <carefully> must be true or false, not 'perhaps'."),
        ("mode xml", "Failed: <mode> must be json or text, not 'xml'."),
        (b"reserve b\xffb 1", "Failed: the line is not UTF-8 text: byte 10 does not belong there."),
        (b"reserve b\xed\xa0\x80b 1", "Failed: the line is not UTF-8 text: byte 10 does not belong there."),
        ("reserve b\x00b 1", "Failed: the line has a character that may not stand in it, U+0000."),
        ("reserve b\rb 1", "Failed: the line has a character that may not stand in it, U+000D."),
        ("reserve b\x1b[2Jb 1", "Failed: the line has a character that may not stand in it, U+001B."),
        ("reserve b\u202eb 1", "Failed: the line has a character that may not stand in it, U+202E."),
        ("send bob b\u2066b", "Failed: the line has a character that may not stand in it, U+2066."),
    ],
)
def test_what_makes_no_command_gets_one_clear_answer(line: str | bytes, words: str | None) -> None:
    if words is None:
        assert isinstance(parsed(line), Request)
    else:
        assert refusal(line).startswith(words)


@pytest.mark.parametrize(
    "count",
    [
        "0",
        "-1",
        "-0",
        "+1",
        "1_000",
        "1.0",
        "1e3",
        '" 1.0"',
        '" 1"',
        "007",
        "٣",
        "²",
        "0x10",
        "one",
        '""',
        "1000000001",
        "9" * 19,
        "9" * 5000,
        "NaN",
        "true",
        "1,2",
    ],
)
def test_a_count_is_a_plain_whole_number(count: str) -> None:
    assert refusal(f"reserve bob {count}").startswith(
        "Failed: <count> must be a whole number from 1 to 1000000000, not '"
    )


@pytest.mark.parametrize(
    "seats", ["1,,2", ",1", "1,", ",", "0", "1,0", "-1", "1,x", "1_0", "1.0,2", '"1, 2"', "1;2", '""']
)
def test_a_list_of_seats_is_numbers_and_commas(seats: str) -> None:
    assert refusal(f"choose bob {seats}").startswith(
        "Failed: <seat> must be a whole number from 1 to 1000000000, not '"
    )


def test_a_list_of_seats_is_read_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, a few long lists would keep the event loop so long that the node takes itself for paused."""
    monkeypatch.setattr(Field, "_one", lambda *_: pytest.fail("an item was read by itself"))
    [choose] = [field for field in fields_of(Choose) if field.is_list]
    assert choose.value(",".join(map(str, range(1, 1_001)))) == tuple(range(1, 1_001))


def test_a_list_of_seats_is_bounded() -> None:
    seats = ",".join(["1"] * 1_001)
    assert refusal(f"choose bob {seats}") == "Failed: at most 1000 items may stand in <seat>,<seat>,..., not 1001."


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ('""', "must not be empty"),
        ('" bob"', "must not begin or end with a blank"),
        ('"bob "', "must not begin or end with a blank"),
        ("x" * 65, "must have at most 64 characters, not 65"),
        ("é" * 65, "must have at most 64 characters, not 65"),
        ("bob\u3164", "must have no invisible characters such as U+3164"),
        ("b\u200bob", "must have no invisible characters such as U+200B"),
        ("bob\u00a0", "must have no invisible characters such as U+00A0"),
        ("\u0301bob", "must not begin with a combining mark, as U+0301 is"),
    ],
)
def test_an_odd_name_is_refused(name: str, why: str) -> None:
    for line in (f"reserve {name} 1", f"search {name}"):
        assert refusal(line) == f"Failed: <name> {why}."


@pytest.mark.parametrize(
    ("prefix", "identity"),
    [
        ("@k3.1795218000000:7", ("k3.1795218000000", 7, 0)),
        ("@k:7/7", ("k", 7, 7)),
        ("@k:999999999999999999/0", ("k", 999_999_999_999_999_999, 0)),
    ],
)
def test_the_prefix_names_the_request(prefix: str, identity: tuple[str, int, int]) -> None:
    ann = Person("ann")
    for line in (f"{prefix} reserve bob 1", f'{prefix}  reserve "bob" 1', f"{prefix} search bob"):
        made = GRAMMAR.parse(line.encode(), ann)
        assert isinstance(made, Request)
        assert (made.client, made.number, made.lowest) == identity
        assert made.person is ann


@pytest.mark.parametrize(
    "prefix",
    [
        "@",
        "@k",
        "@k:",
        "@:1",
        "@k:0",
        "@k:-1",
        "@k:1/",
        "@k:1/2",
        "@k:x",
        "@k:٣",
        "@k:²",
        "@k k:1",
        "@k:1000000000000000000",
        "@" + "k" * 65 + ":1",
        "@k:" + "9" * 5000,
        "@k:1:2",
        "@é:1",
        "@k:1/1/1",
    ],
)
def test_an_odd_prefix_is_refused(prefix: str) -> None:
    for rest in (" reserve bob 1", ' reserve "bob" 1', ""):
        assert " names no request: write @client:number or @client:number/lowest" in refusal(prefix + rest)


def test_a_prefix_alone_is_no_request() -> None:
    assert refusal("@k:1") == "Failed: no command follows '@k:1'."


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("use tickets", Use("tickets")),
        ("login ann", Login("ann")),
        ("login ann s3cret", Login("ann", "s3cret")),
        ("mode json", Mode("json")),
        ("status", Status()),
        ("notices", NoticesSince()),
        ("notices 12", NoticesSince(12)),
        ("help", Help()),
        ("view full", View("full")),
        ("session", Session()),
        ("session all", Session(("all",))),
        ("session read-your-writes,monotonic-reads TOKEN", Session(("read-your-writes", "monotonic-reads"), "TOKEN")),
        ("watch", Watch()),
        ("watch mine", Watch("mine")),
        ("help reserve", Help("reserve")),
        ("quit", Quit()),
        ("@k:1 status", Status()),
    ],
)
def test_every_port_knows_its_own_words(line: str, made: Control) -> None:
    assert parsed(line) == made


def test_a_port_without_a_service_knows_only_those() -> None:
    port = Grammar()
    assert port.parse(b"use tickets") == Use("tickets")
    assert isinstance(port.parse(b"reserve bob 1"), Malformed)
    assert port.words == tuple(str(struct.__struct_config__.tag) for struct in CONTROLS)


def test_help_lists_and_explains() -> None:
    listed = GRAMMAR.help().text()
    assert listed.startswith("reserve <name> <count>; choose <name> <seat>,<seat>,...; ")
    assert GRAMMAR.help("reserve").text() == "reserve <name> <count>: Reserve the lowest free seats for a name."
    assert GRAMMAR.help("chose").text().startswith("Failed: no command 'chose'; did you mean choose?")


def test_every_word_is_explained() -> None:
    for word in GRAMMAR.words:
        assert GRAMMAR.help(word).text() != f"{GRAMMAR.usage(word)}: "


def test_a_line_over_the_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    short = Grammar(Tickets.commands, line_bytes_max=13)
    assert isinstance(short.parse(b"reserve bob 1"), Request)
    assert short.parse(b"reserve bob 12") == line_too_long(13)
    assert line_too_long(13).text() == "Failed: the line is longer than 13 bytes."


def test_two_commands_with_one_word_are_a_mistake_of_the_app() -> None:
    class Status(Command, frozen=True, tag="status"):
        """Steals a word of the port."""

    with pytest.raises(ValueError, match="'status' is claimed twice"):
        Grammar((Status,))


def is_one_safe_line(line: bytes) -> bool:
    text = line.decode()
    return text.endswith("\n") and text.count("\n") == 1 and all(c.isprintable() or c == "\u200d" for c in text[:-1])


SHREDS = st.sampled_from(
    [
        b"reserve",
        b"choose",
        b"send",
        b"search",
        b"list",
        b"session",
        b"mode",
        b"help",
        b"@k:1",
        b"@",
        b" ",
        b"  ",
        b'"',
        b"\\",
        b",",
        b"1",
        b"0",
        b"-",
        b"bob",
        b"\xff",
        b"\x00",
        b"\r",
        b"\n",
        "\u202e".encode(),
        "é".encode(),
        b"\xcc\x81",
        b"/",
        b"\t",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(st.binary(max_size=80), st.lists(SHREDS, max_size=12).map(b"".join), st.text(max_size=40).map(str.encode))
)
@example(b"reserve \xed\xa0\x80 1")
@example(b"help \\\n")
def test_whatever_comes_in_one_safe_answer_goes_out(line: bytes) -> None:
    made = GRAMMAR.parse(line)
    if isinstance(made, Malformed):
        assert made.text().startswith("Failed: ")
        assert is_one_safe_line(text_line(made))
        assert json_line(made).count(b"\n") == 1
    elif isinstance(made, Help):
        assert is_one_safe_line(text_line(GRAMMAR.help(made.word)))
    else:
        assert isinstance(made, Request | Control)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(-2, 10**9 + 2))
def test_the_quick_way_and_the_careful_way_agree(name: str, count: int) -> None:
    quick = GRAMMAR.parse(f"reserve {name} {count}".encode())
    careful = GRAMMAR.parse(f'"reserve" {name} {count}'.encode())
    assert quick == careful


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=70), st.lists(st.integers(1, 500), min_size=1, max_size=5).map(tuple))
def test_a_name_that_passes_the_door_comes_back_as_it_was_quoted(name: str, seats: tuple[int, ...]) -> None:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    made = GRAMMAR.parse(f'choose "{escaped}" {",".join(map(str, seats))}'.encode("utf-8", "surrogatepass"))
    if isinstance(made, Request):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(made.command), type=Choose) == made.command
        again = GRAMMAR.parse(b'search "' + made.command.name.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"')
        assert isinstance(again, Request)
        assert again.command == Search(made.command.name)


def test_a_reply_for_programs() -> None:
    reply = Reserved("bob", (1, 2))
    assert json.loads(json_line(reply)) == {
        "ok": True,
        "text": "The seats have been reserved for bob: 1,2.",
        "type": "reserved",
        "reply": {"name": "bob", "seats": [1, 2]},
        "firm": "committed",
    }
    assert reply_object(reply)["firm"] == "committed"
    nested = reply_object(Traced("a-1", (TraceRow(7, 1, "a", "b", "Ask", "", True),)))
    assert nested["reply"]["rows"][0]["message"] == "Ask", "fields have names inside a reply too"
    outcome = Outcome(reply, "tentative", "x-7", "2026-12-01 08:00", (("x", 7),), "your clock is 2 h ahead")
    assert reply_object(outcome) == {
        **reply_object(reply),
        "firm": "tentative",
        "write": "x-7",
        "firm_by": "2026-12-01 08:00",
        "warning": "your clock is 2 h ahead",
    }
    assert reply_object(Outcome(Forbidden("no"), "committed")) == {**reply_object(Forbidden("no")), "firm": "committed"}
    assert text_line(outcome).endswith(
        b": 1,2. [tentative, x-7, firm by 2026-12-01 08:00 at the latest, your clock is 2 h ahead]\n"
    )
    line = json_line(Unavailable("a view is being formed"))
    assert line.endswith(b"}\n")
    assert json.loads(line)["ok"] is False
    assert json.loads(line)["type"] == "unavailable"


def test_a_reply_for_people_cannot_forge_a_second_line() -> None:
    assert text_line(Reserved("Zoë", (1,))) == "The seats have been reserved for Zoë: 1.\n".encode()
    assert text_line(Reserved("b\nok\u202e", (1,))) == b"The seats have been reserved for b\\nok\\u202e: 1.\n"
