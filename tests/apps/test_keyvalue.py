"""The state store: keys in their order, limits, and any row of commands against a dictionary of dictionaries."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps import keyvalue
from holdfast.apps.keyvalue import Clear, Done, Full, Get, Keys, KeyValue, Set, Told, Unset
from holdfast.apps.values import NAME_CHARACTERS_MAX
from holdfast.kernel.contracts import Command, Person, Query, Reply, Request
from holdfast.kernel.errors import MalformedInput
from holdfast.kernel.machine import Machine
from holdfast.kernel.store import TupleStore
from holdfast.server.grammar import Grammar
from holdfast.server.reply_lines import json_line

GRAMMAR = Grammar(KeyValue.commands, KeyValue.queries)


class House:
    """A state store that nobody else uses."""

    def __init__(self) -> None:
        self.machine = Machine(KeyValue())

    def do(self, asked: Command | Query, person: Person | None = None) -> Reply:
        request = Request(asked, person=person)
        return self.machine.answer(request) if isinstance(asked, Query) else self.machine.execute([request], (1, 0))[0]

    def says(self, line: str) -> str:
        made = GRAMMAR.parse(line.encode())
        if isinstance(made, Reply):
            return made.text()
        assert isinstance(made, Request)
        return self.do(made.command).text()


@pytest.fixture
def house() -> House:
    return House()


def test_a_key_has_its_last_value_and_its_first_place(house: House) -> None:
    for line in ("set bob colour blue", "set bob size 12 feet", "set bob shape round", "set bob colour dark red"):
        assert house.says(line) == "Done."
    assert house.says("get bob colour") == "dark red"
    assert house.says("get bob size") == "12 feet"
    assert house.says("keys bob") == "colour, size, shape"


def test_a_key_that_was_unset_comes_back_at_the_end(house: House) -> None:
    for key in ("a", "b", "c"):
        house.do(Set("bob", key, key))
    assert house.says("unset bob a") == house.says("unset bob c") == "Done."
    assert house.do(Get("bob", "a")) == Told(())
    house.do(Set("bob", "a", "new"))
    assert house.do(Keys("bob")) == Told(("b", "a"))
    assert house.do(Get("bob", "a")) == Told(("new",))


def test_what_is_not_there_is_an_empty_line_and_no_refusal(house: House) -> None:
    for line in ("get bob colour", "keys bob"):
        assert house.says(line) == ""
    assert house.says("unset bob colour") == house.says("clear bob") == "Done."
    house.do(Set("bob", "colour", ""))
    assert house.do(Get("bob", "colour")) == Told(("",)), "an empty value is one"
    assert house.do(Keys("bob")) == Told(("colour",))


def test_each_user_has_keys_of_their_own(house: House) -> None:
    house.do(Set("bob", "colour", "blue"))
    house.do(Set("eve", "colour", "red"))
    house.do(Clear("bob"))
    assert house.do(Keys("bob")) == Told(())
    assert house.do(Get("eve", "colour")) == Told(("red",))


def test_whoever_asks_is_heard(house: House) -> None:
    """The app knows no owners: its doors say who may come in."""
    assert house.do(Set("bob", "colour", "blue"), Person("eve")) == Done()
    assert house.do(Get("bob", "colour"), Person("ann")) == Told(("blue",))


# -- limits -----------------------------------------------------------------------------------------


def test_a_user_has_a_bounded_number_of_keys(house: House) -> None:
    for number in range(keyvalue.KEYS_MAX):
        assert house.do(Set("bob", f"k{number}", "v")) == Done()
    before = house.machine.digest()
    assert house.do(Set("bob", "one more", "v")) == Full()
    assert house.machine.digest() == before, "a refusal changes nothing"
    assert house.do(Set("bob", "k7", "other")) == Done()
    assert house.do(Set("eve", "k", "v")) == Done()
    house.do(Unset("bob", "k7"))
    assert house.do(Set("bob", "one more", "v")) == Done()
    told = house.do(Keys("bob"))
    assert isinstance(told, Told)
    assert (len(told.lines), told.lines[-1]) == (1_000, "one more")


def test_all_users_together_have_a_bounded_number_of_keys(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyvalue, "ALL_KEYS_MAX", 3)
    for user in ("ann", "bob", "eve"):
        assert house.do(Set(user, "k", "v")) == Done()
    assert house.do(Set("zoe", "k", "v")) == house.do(Set("ann", "other", "v")) == Full()
    assert house.do(Set("ann", "k", "w")) == Done()
    house.do(Clear("bob"))
    assert house.do(Set("zoe", "k", "v")) == Done()


def test_the_refusal_says_what_to_do() -> None:
    assert Full().text() == "Failed: a user has at most 1000 keys, and all together 100000; unset one first."
    assert json_line(Full()).startswith(b'{"ok":false')


TOO_LONG: list[Command] = [
    Set("u" * (NAME_CHARACTERS_MAX + 1), "k", "v"),
    Set("u", "k" * (NAME_CHARACTERS_MAX + 1), "v"),
    Set("u", "k", "v" * (keyvalue.VALUE_CHARACTERS_MAX + 1)),
    Set("u", "", "v"),
    Unset("", "k"),
    Clear(""),
]


@pytest.mark.parametrize("command", TOO_LONG, ids=lambda command: type(command).__name__)
def test_what_is_too_long_or_empty_is_no_command_wherever_bytes_become_one(house: House, command: Command) -> None:
    with pytest.raises(MalformedInput):
        house.machine.decode(house.machine.encode([Request(command)]))


def test_the_longest_value_is_one(house: House) -> None:
    longest = Set("u" * 64, "k" * 64, "\U0001f642" * keyvalue.VALUE_CHARACTERS_MAX)
    ((request),) = house.machine.decode(house.machine.encode([Request(longest)]))
    assert house.do(request.command) == Done()
    assert house.do(Get("u" * 64, "k" * 64)) == Told((longest.value,))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("set bob", "too few words"),
        ("set bob colour", "too few words"),
        ('set bob colour ""', "<value> must not be empty"),
        ("set bob \u200b x", "<key> must have no invisible characters"),
        (f"get bob {'k' * 65}", "<key> must have at most 64 characters"),
        ("keys bob eve", "too many words"),
        ("forget bob", "no command 'forget'"),
    ],
)
def test_lines_that_make_no_command(house: House, line: str, why: str) -> None:
    assert house.says(line).startswith("Failed: ")
    assert why in house.says(line)


# -- any row of commands ----------------------------------------------------------------------------

USERS, NAMES = st.sampled_from(["ann", "bob"]), st.sampled_from(["a", "b", "c", "d", "e"])
COMMANDS = st.one_of(
    st.builds(Set, USERS, NAMES, st.text(max_size=3)),
    st.builds(Set, USERS, NAMES, st.text(max_size=3)),
    st.builds(Unset, USERS, NAMES),
    st.builds(Clear, USERS),
)


@given(st.lists(COMMANDS, max_size=40), st.integers(0, 40))
def test_against_a_dictionary_of_dictionaries(story: list[Clear], cut: int) -> None:
    house = House()
    kept: dict[str, dict[str, str]] = {"ann": {}, "bob": {}}
    mark, before = 0, b""
    for place, command in enumerate(story):
        if place == cut:
            mark, before = house.machine.store.mark(), house.machine.digest()
        full = isinstance(command, Set) and command.key not in kept[command.user] and len(kept[command.user]) == 4
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keyvalue, "KEYS_MAX", 4)
            assert house.do(command) == (Full() if full else Done())
        if full:
            continue
        match command:
            case Set(user, key, value):
                kept[user][key] = value
            case Unset(user, key):
                kept[user].pop(key, None)
            case _:
                kept[command.user].clear()
    for user, values in kept.items():
        assert house.do(Keys(user)) == Told(tuple(values))
        for key in "abcde":
            assert house.do(Get(user, key)) == Told((values[key],) if key in values else ())
    copy = TupleStore.restore(house.machine.rows, house.machine.store.snapshot())
    assert copy.digest() == house.machine.digest()
    if mark:
        house.machine.store.rollback(mark)
        assert house.machine.digest() == before


def test_equal_commands_give_equal_bytes() -> None:
    houses = House(), House()
    for house in houses:
        for number in range(50):
            house.do(Set("bob", f"k{number % 7}", str(number)))
            house.do(Unset("bob", f"k{number % 5}"))
    assert houses[0].machine.store.snapshot() == houses[1].machine.store.snapshot()


def test_every_reply_comes_back_from_its_bytes() -> None:
    replies: list[Reply] = [Done(), Told(()), Told(("a", "b\nc")), Full()]
    decoder = msgspec.msgpack.Decoder(Done | Told | Full)
    assert [decoder.decode(msgspec.msgpack.encode(reply)) for reply in replies] == replies
