"""The directory: who serves what, where; and a server that was taken over learns it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.apps.directory import (
    NAMES_MAX,
    TERM_MAX,
    Directory,
    Entries,
    ListNames,
    Lookup,
    NoAddress,
    NotANode,
    Register,
    Registered,
    TakenOver,
    Withdraw,
)
from holdfast.kernel.contracts import Command, Person, Query, Reply, Request
from holdfast.kernel.machine import Advance, Machine
from holdfast.kernel.store import TupleStore
from holdfast.server.grammar import Grammar
from holdfast.server.reply_lines import json_line

NODE = Person("a", roles=("node",))
NINE = 1_796_115_600_000
"""2026-12-01 09:00 UTC"""
TOR = "events/TOR"


class House:
    """A directory that nobody else uses."""

    def __init__(self) -> None:
        self.machine = Machine(Directory())
        self.machine.execute([Request(Advance(NINE))], (0, 0))
        self._grammar = Grammar(Directory.commands, Directory.queries)

    def do(self, asked: Command | Query, person: Person | None = NODE) -> Reply:
        request = Request(asked, person=person)
        return self.machine.answer(request) if isinstance(asked, Query) else self.machine.execute([request], (1, 0))[0]

    def says(self, line: str, person: Person | None = NODE) -> str:
        made = self._grammar.parse(line.encode(), person)
        if isinstance(made, Reply):
            return made.text()
        assert isinstance(made, Request)
        return self.do(made.command, person).text()


@pytest.fixture
def house() -> House:
    return House()


def test_a_server_registers_itself_and_is_found(house: House) -> None:
    said = house.says(f"register {TOR} 127.0.0.1 7301 a 0")
    assert said == "events/TOR is served by a at 127.0.0.1:7301, term 1."
    found = "events/TOR is served by a at 127.0.0.1:7301 since 2026-12-01 09:00 UTC, term 1."
    assert house.says(f"lookup {TOR}") == found
    assert house.says("lookup events/MTL") == "Failed: nobody serves events/MTL, term 0."


def test_it_is_on_record_since_when_by_the_replicated_clock(house: House) -> None:
    house.says(f"register {TOR} 127.0.0.1 7301 a 0")
    house.machine.execute([Request(Advance(NINE + 3_600_000))], (2, 0))
    assert "since 2026-12-01 09:00 UTC" in house.says(f"lookup {TOR}")
    house.says(f"register {TOR} 127.0.0.1 7302 b 1")
    assert "served by b at 127.0.0.1:7302 since 2026-12-01 10:00 UTC, term 2" in house.says(f"lookup {TOR}")


def test_each_registration_begins_a_term_and_the_old_server_learns_it(house: House) -> None:
    assert house.do(Register(TOR, "127.0.0.1", 7301, "a", 0)) == Registered(TOR, "127.0.0.1", 7301, "a", 1)
    assert house.do(Register(TOR, "127.0.0.1", 7302, "b", 1)) == Registered(TOR, "127.0.0.1", 7302, "b", 2)
    taken = TakenOver(TOR, 2, "127.0.0.1", 7302, "b")
    assert house.do(Register(TOR, "127.0.0.1", 7301, "a", 1)) == taken
    assert house.do(Withdraw(TOR, 1)) == taken
    assert taken.text() == "Failed: events/TOR is served by b at 127.0.0.1:7302, term 2."


def test_of_two_who_reach_for_a_name_one_gets_it(house: House) -> None:
    replies = [house.do(Register(TOR, "127.0.0.1", 7300 + place, node, 0)) for place, node in enumerate("abc")]
    assert [reply.failed for reply in replies] == [False, True, True]
    assert {reply.node for reply in replies} == {"a"}  # type: ignore[attr-defined]


def test_the_same_node_back_is_a_new_term_too(house: House) -> None:
    house.says(f"register {TOR} 127.0.0.1 7301 a 0")
    assert house.says(f"register {TOR} 127.0.0.1 7301 a 1").endswith("term 2.")


def test_terms_never_begin_anew(house: House) -> None:
    house.says(f"register {TOR} 127.0.0.1 7301 a 0")
    assert house.says(f"withdraw {TOR} 1") == "events/TOR is served by nobody now, term 2."
    assert house.says(f"lookup {TOR}") == "Failed: nobody serves events/TOR, term 2."
    assert house.says(f"withdraw {TOR} 2") == "Failed: nobody serves events/TOR, term 2."
    assert house.says(f"register {TOR} 127.0.0.1 7301 a 0") == "Failed: events/TOR is served by nobody, term 2."
    assert house.says(f"register {TOR} 127.0.0.1 7301 a 2").endswith("term 3.")


def test_a_term_that_never_was_is_refused(house: House) -> None:
    assert house.says(f"register {TOR} 127.0.0.1 7301 a 5") == "Failed: events/TOR is served by nobody, term 0."
    assert house.says(f"withdraw {TOR} 5") == "Failed: nobody serves events/TOR, term 0."
    assert house.says("list") == "No entries."


def test_the_list_is_in_the_order_of_names(house: House) -> None:
    for place, name in enumerate(("events/TOR", "events/MTL", "slots/hotel", "event")):
        house.says(f"register {name} 127.0.0.1 {7301 + place} a 0")
    house.says("register events/OTW 127.0.0.1 7400 a 0")
    house.says("withdraw events/OTW 1")

    def names(line: str) -> list[str]:
        return [entry.split()[0] for entry in house.says(line).split("; ")]

    assert names("list") == ["event", "events/MTL", "events/TOR", "slots/hotel"]
    assert names("list events/") == ["events/MTL", "events/TOR"]
    assert house.says("list zzz") == "No entries."
    assert house.says("list slots") == (
        "slots/hotel is served by a at 127.0.0.1:7303 since 2026-12-01 09:00 UTC, term 1."
    )


# -- who may ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [Register(TOR, "127.0.0.1", 7301, "a", 0), Withdraw(TOR, 0)])
def test_only_nodes_register_and_where_everybody_is_believed_anybody(house: House, command: Command) -> None:
    customer = Person("TORC2345", roles=("manager",))
    assert house.do(command, customer) == NotANode("TORC2345")
    assert house.machine.admit(Request(command, person=customer), 0) == NotANode("TORC2345")
    for person in (NODE, None):
        assert house.machine.admit(Request(command, person=person), 0) is None
    assert not House().do(Register(TOR, "127.0.0.1", 7301, "a", 0), None).failed


def test_everybody_may_look(house: House) -> None:
    house.says(f"register {TOR} 127.0.0.1 7301 a 0")
    assert "127.0.0.1:7301" in house.says(f"lookup {TOR}", Person("TORC2345"))
    assert "127.0.0.1:7301" in house.says("list", None)


# -- what means nothing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (Register("", "127.0.0.1", 7301, "a", 0), "name"),
        (Register("x" * 65, "127.0.0.1", 7301, "a", 0), "name"),
        (Register("events\u202e", "127.0.0.1", 7301, "a", 0), "name"),
        (Register(TOR, "", 7301, "a", 0), "host"),
        (Register(TOR, "not a host", 7301, "a", 0), "host"),
        (Register(TOR, "höst", 7301, "a", 0), "host"),
        (Register(TOR, "h" * 254, 7301, "a", 0), "host"),
        (Register(TOR, "127.0.0.1\n", 7301, "a", 0), "host"),
        (Register(TOR, "127.0.0.1", 0, "a", 0), "port"),
        (Register(TOR, "127.0.0.1", 65_536, "a", 0), "port"),
        (Register(TOR, "127.0.0.1", 7301, " a", 0), "node"),
        (Register(TOR, "127.0.0.1", 7301, "a", -1), "term"),
        (Register(TOR, "127.0.0.1", 7301, "a", TERM_MAX), "term"),
        (Withdraw("", 0), "name"),
        (Withdraw(TOR, -1), "term"),
    ],
)
def test_words_that_mean_nothing_are_refused_at_the_door_and_in_the_execution(
    house: House, command: Command, field: str
) -> None:
    before = house.machine.digest()
    reply = house.do(command)
    assert isinstance(reply, NoAddress)
    assert reply.field == field
    assert reply.text().startswith("Failed: ")
    assert reply.text().isprintable()
    assert house.machine.admit(Request(command, person=NODE), 0) == reply
    assert house.machine.digest() == before


def test_a_directory_has_a_bounded_number_of_names(house: House) -> None:
    for number in range(NAMES_MAX):
        assert not house.do(Register(f"n{number}", "127.0.0.1", 7301, "a", 0)).failed
    told = f"Failed: the directory has {NAMES_MAX} names, which is all."
    assert house.says("register one-more 127.0.0.1 7301 a 0") == told
    assert not house.do(Register("n7", "127.0.0.1", 7302, "b", 1)).failed


# -- the laws ---------------------------------------------------------------------------------------

NAMES = st.sampled_from([TOR, "events/MTL", "x"])
COMMANDS = st.one_of(
    st.builds(Register, NAMES, st.just("127.0.0.1"), st.integers(1, 3), st.sampled_from("abc"), st.integers(0, 4)),
    st.builds(Withdraw, NAMES, st.integers(0, 4)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(COMMANDS, max_size=30), st.integers(0, 30))
def test_against_a_naive_directory(story: list[Command], cut: int) -> None:
    house = House()
    served: dict[str, tuple[int, str]] = {}
    mark, before = 0, b""
    for place, command in enumerate(story):
        if place == cut:
            mark, before = house.machine.store.mark(), house.machine.digest()
        term, node = served.get(command.name, (0, ""))  # type: ignore[attr-defined]
        fits = command.term == term and (isinstance(command, Register) or node != "")  # type: ignore[attr-defined]
        assert house.do(command).failed is not fits
        if fits:
            served[command.name] = term + 1, getattr(command, "node", "")  # type: ignore[attr-defined]
    for name in (TOR, "events/MTL", "x"):
        term, node = served.get(name, (0, ""))
        found = house.do(Lookup(name))
        assert found.failed is (node == "")
        assert found.term == term  # type: ignore[attr-defined]
        assert node == getattr(found, "node", "")
    listed = house.do(ListNames())
    assert isinstance(listed, Entries)
    assert [entry.name for entry in listed.entries] == sorted(name for name, (_, node) in served.items() if node)
    assert json_line(listed).endswith(b"}\n")
    copy = TupleStore.restore(house.machine.rows, house.machine.store.snapshot())
    assert copy.digest() == house.machine.digest()
    if mark:
        house.machine.store.rollback(mark)
        assert house.machine.digest() == before
