"""Who is told what: by service and person, in the form that each connection has chosen."""

from __future__ import annotations

import json

import pytest

from holdfast.apps.messages import Arrived
from holdfast.kernel.contracts import Change, Person
from holdfast.kernel.replies import Malformed
from holdfast.server import reply_lines
from holdfast.server.reply_lines import ChangeLines
from holdfast.server.watching import Unasked, Watchers

ANN, BOB = Person("ann"), Person("bob")


class Screen:
    """A connection that shows what it is told as its people or as programs want it."""

    def __init__(self, person: Person | None = None, *, as_json: bool = False) -> None:
        self.person = person
        self.as_json = as_json
        self.told: list[bytes] = []

    def push(self, lines: ChangeLines) -> None:
        self.told.append(lines.for_programs if self.as_json else lines.for_people)

    def push_missed(self) -> None:
        self.told.append(b"missed")


def change(person: str) -> Change:
    return Change("a-1", person, "committed", Malformed("no."))


def test_only_whom_it_concerns_hears_of_it() -> None:
    watchers = Watchers()
    anns, bobs, all_of_it, elsewhere = Screen(ANN), Screen(BOB), Screen(), Screen(ANN)
    for screen in (anns, bobs):
        watchers.add(screen, "rooms", mine=True)
    watchers.add(all_of_it, "rooms", mine=False)
    watchers.add(elsewhere, "events", mine=True)
    for whose in ("ann", "carl", ""):
        watchers.tell("rooms", change(whose))
    assert [len(screen.told) for screen in (anns, bobs, all_of_it, elsewhere)] == [1, 0, 3, 0]


def test_everybody_who_watches_a_service_hears_that_something_was_missed_there() -> None:
    watchers = Watchers()
    anns, all_of_it, elsewhere, nobody = Screen(ANN), Screen(), Screen(ANN), Screen(ANN)
    watchers.add(anns, "rooms", mine=True)
    watchers.add(all_of_it, "rooms", mine=False)
    watchers.add(elsewhere, "events", mine=True)
    watchers.tell_missed("rooms")
    watchers.tell_missed("slots")
    assert [screen.told for screen in (anns, all_of_it, elsewhere, nobody)] == [[b"missed"], [b"missed"], [], []]


def test_what_was_missed_is_told_behind_what_was_not_once_the_client_reads() -> None:
    unasked = Unasked(10)
    assert not unasked
    assert unasked.add(b"12345\n", is_read=True)
    assert not unasked.add(b"12345\n", is_read=True), "there is no room"
    assert not unasked.add(b"1\n", is_read=False)
    assert unasked.take(as_json=True, is_read=False) == [b"12345\n"]
    assert unasked.add(b"67890\n", is_read=True), "what is written takes no room"
    assert unasked.take(as_json=True, is_read=False) == [b"67890\n"]
    assert unasked.missed == 2
    assert [json.loads(line)["missed"] for line in unasked.take(as_json=True, is_read=True)] == [2]
    assert not unasked
    unasked.add(b"1\n", is_read=False)
    unasked.fall_behind()
    assert unasked.take(as_json=False, is_read=False) == []
    (line,) = unasked.take(as_json=False, is_read=True)
    assert line.startswith(b"* missed changes: "), "of what nobody can count there is no number"
    assert not unasked


def test_who_logs_in_as_somebody_else_hears_what_is_theirs() -> None:
    watchers, screen = Watchers(), Screen(ANN)
    watchers.renamed(screen)  # it does not watch yet
    assert len(watchers) == 0
    watchers.add(screen, "rooms", mine=True)
    screen.person = BOB
    watchers.renamed(screen)
    watchers.tell("rooms", change("ann"))
    assert screen.told == []
    watchers.tell("rooms", change("bob"))
    assert len(screen.told) == 1


def test_who_watches_something_else_or_no_more_is_forgotten() -> None:
    watchers, screen = Watchers(), Screen(ANN)
    watchers.add(screen, "rooms", mine=True)
    watchers.add(screen, "events", mine=False)
    watchers.tell("rooms", change("ann"))
    watchers.renamed(screen)  # it goes on with everybody's
    watchers.tell("events", change("bob"))
    assert (len(screen.told), len(watchers)) == (1, 1)
    watchers.remove(screen)
    watchers.remove(screen)
    watchers.tell("events", change("bob"))
    assert (len(screen.told), len(watchers)) == (1, 0)


def test_nobody_has_changes_of_their_own() -> None:
    with pytest.raises(ValueError, match="nobody is logged in"):
        Watchers().add(Screen(), "rooms", mine=True)


def test_a_line_is_made_once_and_only_in_the_forms_that_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(reply_lines, "safe_line", lambda text: made.append("text") or b"text\n")
    monkeypatch.setattr(reply_lines, "encode_json", lambda fields: made.append("json") or b"{}")
    watchers = Watchers()
    for _ in range(3):
        watchers.add(Screen(ANN), "rooms", mine=True)
    watchers.tell("rooms", change("bob"))
    assert made == []
    watchers.tell("rooms", change("ann"))
    assert made == ["text"]
    watchers.add(Screen(ANN, as_json=True), "rooms", mine=True)
    watchers.add(Screen(ANN, as_json=True), "rooms", mine=True)
    watchers.tell("rooms", change("ann"))
    assert made == ["text", "text", "json"]


def test_a_message_that_arrives_has_its_fields_by_name() -> None:
    told = Arrived(7, "5-0-1", "ann+bob", 3, "bob", 'a "subject"', "urgent", "two\nlines – é", 1_800_000_000_000, 0)
    line = ChangeLines(Change("5-0-1", "ann", "committed", told)).for_programs
    assert line.endswith(b"\n")
    assert json.loads(line)["change"] == {
        "id": "5-0-1",
        "person": "ann",
        "ok": True,
        "text": told.text(),
        "type": "arrived",
        "reply": {name: getattr(told, name) for name in told.__struct_fields__},
        "firm": "committed",
    }
