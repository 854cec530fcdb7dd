"""Sequence diagrams from what nodes remember: order by cause, not by clock; text of any width; Mermaid."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.client.diagram import Event, Row, as_mermaid, as_text, lanes_of, merge, row_of
from holdfast.replication.bayou.words import Traced, TraceRow
from holdfast.server.reply_lines import reply_object


class Nodes:
    """Nodes that send each other messages; each has a clock and remembers its doings."""

    def __init__(self, **clock_ms: int) -> None:
        self.clock_ms = clock_ms
        self.told: dict[str, list[Row]] = {name: [] for name in clock_ms if name != "user"}

    def remember(self, node: str, source: str, target: str, message: str, note: str, *, is_sent: bool) -> None:
        if node in self.told:
            row = Row(self.clock_ms[node], len(self.told[node]), source, target, message, note, is_sent)
            self.told[node].append(row)

    def send(self, source: str, target: str, message: str, note: str = "") -> None:
        self.remember(source, source, target, message, note, is_sent=True)

    def arrive(self, source: str, target: str, message: str, note: str = "") -> None:
        self.remember(target, source, target, message, note, is_sent=False)

    def pass_on(self, source: str, target: str, message: str, note: str = "") -> None:
        self.send(source, target, message, note)
        if source != target:
            self.arrive(source, target, message, note)


def six_steps(**clock_ms: int) -> Nodes:
    nodes = Nodes(**({"user": 0, "biology": 1000, "chemistry": 1000, "history": 1000} | clock_ms))
    nodes.pass_on("user", "biology", "Write", "biology-1")
    nodes.pass_on("biology", "chemistry", "Request")
    nodes.pass_on("chemistry", "history", "Ask")
    nodes.pass_on("history", "chemistry", "Promise")
    nodes.pass_on("chemistry", "biology", "Reply")
    nodes.pass_on("biology", "biology", "Update")
    nodes.pass_on("biology", "chemistry", "Release")
    nodes.pass_on("chemistry", "history", "Released")
    return nodes


STEPS = ["Write", "Request", "Ask", "Promise", "Reply", "Update", "Release", "Released"]


@pytest.mark.parametrize("skewed", [{}, {"chemistry": 5}, {"history": 10**9}, {"biology": 10**9, "history": 3}])
def test_cause_goes_before_every_clock(skewed: dict[str, int]) -> None:
    events = merge(six_steps(**skewed).told)
    assert [event.message for event in events] == STEPS
    assert {event.kind for event in events} == {"arrow", "local"}


def test_the_six_steps_as_text() -> None:
    expected = """\
       user
       │       biology
       │       │       chemistry
       │       │       │       history
+0 ms  ├──────►│       │       │       Write biology-1
+0 ms  │       ├──────►│       │       Request
+0 ms  │       │       ├──────►│       Ask
+0 ms  │       │       │◄──────┤       Promise
+0 ms  │       │◄──────┤       │       Reply
+0 ms  │       ●       │       │       Update
+0 ms  │       ├──────►│       │       Release
+0 ms  │       │       ├──────►│       Released"""
    assert as_text(merge(six_steps().told), 80) == expected
    assert as_text(merge(six_steps().told), 80, ascii_only=True).isascii()


def test_the_six_steps_for_mermaid() -> None:
    lines = as_mermaid(merge(six_steps().told)).splitlines()
    assert lines[:3] == ["sequenceDiagram", "    actor p0 as user", "    participant p1 as biology"]
    assert "    p0->>p1: Write biology-1" in lines
    assert "    Note over p1: Update" in lines
    assert len(lines) == 1 + 4 + len(STEPS)


def test_what_mermaid_takes_for_syntax_is_escaped() -> None:
    nodes = Nodes(a=0, b=0)
    nodes.pass_on("a", "b", "Write", "room #3; end")
    assert as_mermaid(merge(nodes.told)).endswith("p0->>p1: Write room #35;3#59; end")


def test_messages_that_cross_are_drawn_with_both_ends_and_keep_each_nodes_order() -> None:
    nodes = Nodes(a=0, b=0)
    nodes.send("a", "b", "ping")
    nodes.send("b", "a", "pong")
    nodes.arrive("b", "a", "pong")
    nodes.arrive("a", "b", "ping")
    events = merge(nodes.told)
    assert [(event.kind, event.message) for event in events] == [
        ("leaves", "ping"),
        ("arrow", "pong"),
        ("arrives", "ping"),
    ]
    assert "ping (under way to b)" in as_text(events)


def test_a_message_that_never_arrived_is_told_from_one_whose_target_is_not_asked() -> None:
    nodes = Nodes(a=0, b=0)
    nodes.send("a", "b", "lost")
    nodes.send("a", "c", "to somebody who is not asked")
    events = merge(nodes.told)
    assert [event.kind for event in events] == ["lost", "arrow"]
    assert [event.kind for event in merge(nodes.told, "a-1")] == ["arrow", "arrow"], "it is not about a-1 alone"
    assert "✕" in as_text(events)
    assert "p0-xp1: lost (not seen at b)" in as_mermaid(events)


def test_what_a_person_said_is_told_by_the_node_that_heard_it() -> None:
    events = merge({"a": [Row(5, 1, "user", "a", "Write", "a-1", True)]})
    assert [(event.kind, event.label) for event in events] == [("arrow", "Write a-1")]


def test_a_message_whose_sender_is_down_is_drawn_from_its_receivers_account() -> None:
    told = six_steps().told
    del told["chemistry"]
    events = merge(told)
    assert sorted(event.message for event in events) == sorted(STEPS)
    assert not any(event.kind == "lost" for event in events)


def test_the_same_message_sent_again_is_paired_in_order() -> None:
    nodes = Nodes(a=0, b=0)
    for _ in range(3):
        nodes.pass_on("a", "b", "Have")
    nodes.send("a", "b", "Have")
    assert [event.kind for event in merge(nodes.told)] == ["arrow", "arrow", "arrow", "lost"]


def test_contradictory_accounts_still_make_a_diagram() -> None:
    a = [Row(1, 0, "b", "a", "y", "", False), Row(2, 1, "a", "b", "x", "", True)]
    b = [Row(1, 0, "a", "b", "x", "", False), Row(2, 1, "b", "a", "y", "", True)]
    events = merge({"a": a, "b": b})
    assert {event.message for event in events} == {"x", "y"}
    assert as_text(events)


def test_ten_lanes_fit_80_columns() -> None:
    names = ["user", *(f"department-{letter}" for letter in "abcdefghi")]
    nodes = Nodes(**dict.fromkeys(names, 0))
    nodes.pass_on("user", names[1], "Write", "reserve Maple 2026-12-01 09:00 2h Budget --or Oak@09:00 --or Maple@14:00")
    for target in names[2:]:
        nodes.pass_on(names[1], target, "Updates")
    nodes.pass_on(names[-1], names[1], "Have")
    events = merge(nodes.told)
    assert lanes_of(events) == names
    drawn = as_text(events, 80).splitlines()
    assert max(map(len, drawn)) <= 80
    assert sum(line.count("►") for line in drawn) == 9
    assert [line.split()[-1] for line in drawn[:10]] == names, "every name stands above its lane, whole"
    back = next(line for line in drawn if "◄" in line)
    assert back.index("◄") - 1 == drawn[1].index(names[1]), "the head stands at its lane"
    assert back.index("┤") == drawn[9].index(names[9])
    assert "Oak@09:00" in "\n".join(drawn), "a long label goes on in the next line"


def test_what_goes_to_many_or_comes_from_many_is_one_line_of_text() -> None:
    nodes = Nodes(a=0, b=0, c=0, d=0)
    nodes.pass_on("d", "a", "hello")
    for target in "acd":
        nodes.pass_on("b", target, "Ask")
    for source in "cad":
        nodes.pass_on(source, "b", "Promise")
    for target in "cd":
        nodes.send("b", target, "Released")
    assert as_text(merge(nodes.told), 60).splitlines()[4:] == [
        "+0 ms  ├─────►│      │      │      hello",
        "+0 ms  │◄─────┼◄─────┼─────►│      Ask",
        "+0 ms  ├──────├─────►│◄─────┤      Promise",
        "+0 ms  │✕─────┼──────┼─────✕│      Released (not seen there)",
    ]
    assert len(as_mermaid(merge(nodes.told)).splitlines()) == 1 + 4 + 1 + 3 + 3 + 2, "Mermaid has each"


def test_rows_come_as_json_and_what_is_none_is_refused() -> None:
    row = Row(7, 1, "a", "b", "Write", "", True)
    (told,) = reply_object(Traced("a-1", (TraceRow(*msgspec.structs.astuple(row)),)))["reply"]["rows"]
    assert row_of(told) == row
    with pytest.raises(ValueError, match="str"):
        row_of({**told, "source": 3})


def test_nothing_remembered_draws_nothing() -> None:
    assert merge({"a": []}) == []
    assert as_text([]) == ""


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_any_run_keeps_cause_and_each_nodes_order(seed: int, count: int) -> None:
    chance = random.Random(seed)
    names = [f"n{place}" for place in range(count)]
    nodes = Nodes(**{name: chance.randrange(10**6) for name in names})
    under_way: list[tuple[str, str, str]] = []
    for number in range(30):
        if under_way and chance.random() < 0.5:
            nodes.arrive(*under_way.pop(chance.randrange(len(under_way))))
        else:
            source, target = chance.sample(names, 2)
            nodes.send(source, target, f"m{number}")
            under_way.append((source, target, f"m{number}"))
        nodes.clock_ms[chance.choice(names)] += 1
    events = merge(nodes.told)
    seen: dict[str, list[tuple[str, bool]]] = {name: [] for name in names}
    for event in events:
        take_in(seen, event)
    assert seen == {name: [(row.message, row.is_sent) for row in rows] for name, rows in nodes.told.items()}
    assert max(map(len, as_text(events, 80).splitlines())) <= 80


def take_in(seen: dict[str, list[tuple[str, bool]]], event: Event) -> None:
    if event.kind != "arrives":
        seen[event.source].append((event.message, True))
    if event.kind in ("arrow", "arrives"):
        seen[event.target].append((event.message, False))
