"""The rooms' app against the model that was written from the requirements' words alone."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from tests.apps.rooms_house import NOW, ROOMS, SMALL, Building, Said, random_story, stories
from tests.sim.side_by_side import side_by_side

from holdfast.apps.rooms.rows import MeetingHour
from holdfast.sim import rooms_model
from holdfast.sim.rooms_model import Asked, Fate, Place, RoomsModel, asked, fate_of

LONG_STORIES = 100


def test_the_model_does_not_share_a_line_with_the_app() -> None:
    tree = ast.parse(Path(rooms_model.__file__).read_text(encoding="utf-8"))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {node.module for node in imported if isinstance(node, ast.ImportFrom)} == {
        "__future__",
        "dataclasses",
        "datetime",
        "typing",
    }
    assert not [node for node in imported if isinstance(node, ast.Import)]


def compare(story: list[Said]) -> Counter[str]:
    """Demand that app and model agree, write by write and at last on who has which hour; what came of the writes."""
    house, model = Building(**SMALL), RoomsModel(ROOMS, 8, 12)

    def app_says(said: Said) -> tuple[Fate, list[str]]:
        person, command, ms, late = said
        told_before = len(house.notices())
        fate = fate_of(house.do(person, command, ms, late=late))
        return fate, [text for to, text in house.notices()[told_before:] if to == person.id]

    def model_says(said: Said) -> tuple[Fate, list[str]]:
        person, command, ms, late = said
        id = f"{person.department}-{house.counts[person.department]}"
        fate = model.do(asked(id, (NOW + ms, person.first_name, person.department), late, person, command))
        return fate, [model.notice(id)] if fate.lost_to else []

    fates: Counter[str] = Counter()
    for (_, command, _, _), (fate, _) in side_by_side(story, app_says, model_says):
        fates.update((f"{type(command).__name__} {fate.state}", fate.why))
    assert model.grid() == {(row.room, row.day, row.hour): row.id for row in house.store.table(MeetingHour)}
    return fates


@settings(max_examples=40)
@given(stories())
def test_every_story_goes_as_the_model_has_it(story: list[Said]) -> None:
    compare(story)


def test_so_do_long_stories_in_which_everything_happens() -> None:
    fates: Counter[str] = Counter()
    for seed in range(LONG_STORIES):
        fates += compare(random_story(seed))
    for word in ("Reserve", "Change"):
        for state in ("granted", "moved", "not granted"):
            assert fates[f"{word} {state}"] > LONG_STORIES
    assert fates["Cancel cancelled"] > LONG_STORIES
    assert min(fates["earlier"], fates["late"]) > LONG_STORIES
    assert fates["tie"] > 0


def test_a_tie_that_one_of_the_two_does_not_know_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms_model, "_why", lambda loser, winner: "late" if loser.late else "earlier")
    with pytest.raises(AssertionError, match="the app says"):
        compare(random_story(1, 1_000))


def test_the_model_by_itself_follows_the_rule() -> None:
    model = RoomsModel(("Maple", "Oak"), 8, 17)
    wanted, other = Place("Maple", "2026-12-01", 9, 11), Place("Oak", "2026-12-01", 9, 11)

    def write(id: str, ms: int, *choices: Place, late: bool = False) -> Asked:
        return Asked(id, (ms, "Ann", "a"), late, "reserve", "Ann", "law", choices)

    assert model.do(write("a-1", 5, wanted)) == Fate("granted", wanted)
    assert model.do(write("a-2", 6, wanted, other)) == Fate("moved", other, "a-1", 5, "earlier", "Ann (law)")
    assert model.notice("a-2") == (
        "a-2 is moved to Oak on 2026-12-01 at 09:00. Maple on 2026-12-01 at 09:00: "
        "Ann (law) was earlier, at 1970-01-01 00:00:00.005 UTC."
    )
    assert model.do(write("a-3", 5, wanted, other)) == Fate("not granted", None, "a-1", 5, "tie", "Ann (law)")
    assert model.do(write("a-4", 4, wanted, late=True)) == Fate("not granted", None, "a-1", 5, "late", "Ann (law)")
    assert model.do(Asked("a-5", (9, "Ann", "a"), False, "cancel", "Ann", "law", (), "a-1")) == Fate("cancelled")
    assert model.do(write("a-6", 10, wanted)) == Fate("granted", wanted)
    assert sorted(set(model.grid().values())) == ["a-2", "a-6"]
    assert model.do(write("a-7", 11, Place("Pine", "2026-12-01", 9, 10))) == Fate("refused")
