"""The rooms' laws, whatever the secretaries write."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.apps.rooms_house import ANN, BOB, DAY, PEOPLE, SMALL, Building, Said, random_story, stories

from holdfast.apps.rooms import AskCells, AskMine, AskSchedule, Cancel, Change, Reserve, Show
from holdfast.apps.rooms.app import Rooms
from holdfast.apps.rooms.replies import Changed, Granted, Impossible, Moved, NotChanged, NotGranted
from holdfast.apps.rooms.rows import CANCELLED, NO_CHOICE, Entry, MeetingHour
from holdfast.apps.rooms.writes import BayouWrite, bayou_write, resolve
from holdfast.kernel.contracts import Command, Reply
from holdfast.kernel.machine import Machine
from holdfast.kernel.store import TupleStore
from holdfast.server.reply_lines import json_line

SHORT = settings(max_examples=40)
"""Their stories are long, and longer ones are told without hypothesis."""


def told(house: Building, story: list[Said]) -> list[Reply]:
    return [house.do(person, command, ms, late=late) for person, command, ms, late in story]


def hours(house: Building) -> set[tuple[str, str, int, str]]:
    return {(row.room, row.day, row.hour, row.id) for row in house.store.table(MeetingHour)}


def the_record_is_of_one_piece(house: Building) -> None:
    """The hours taken are those of the requests on record, and no two requests have one hour."""
    held = set()
    for entry in house.store.table(Entry):
        asked = entry.asked
        if isinstance(asked, Change) or entry.choice == NO_CHOICE:
            continue
        places = house.app.house.places(asked)
        assert not isinstance(places, Impossible)
        assert entry.state != CANCELLED
        assert (entry.lost is None) == (entry.choice == 0)
        room, day, first = places[entry.choice]
        held |= {(room, day, first + hour, entry.id) for hour in range(int(asked.duration[:-1]))}
    assert hours(house) == held
    assert len({place[:3] for place in held}) == len(held)


@SHORT
@given(stories())
def test_the_record_and_the_hours_taken_are_one(story: list[Said]) -> None:
    house = Building(**SMALL)
    told(house, story)
    the_record_is_of_one_piece(house)


@SHORT
@given(stories(), st.integers(0, 30), stories(10))
def test_what_is_rolled_back_leaves_no_trace_and_comes_out_the_same_again(
    story: list[Said], cut: int, other: list[Said]
) -> None:
    house = Building(**SMALL)
    told(house, story[:cut])
    before, counts, mark = house.store.digest(), dict(house.counts), house.store.mark()
    replies = told(house, story[cut:])
    after = house.store.digest()
    house.store.rollback(mark)
    assert house.store.digest() == before
    house.counts = dict(counts)
    told(house, other)
    house.store.rollback(mark)
    house.counts = dict(counts)
    assert told(house, story[cut:]) == replies
    assert house.store.digest() == after
    with house.store.rewound(mark):
        assert house.store.digest() == before


@given(st.permutations(range(4)))
def test_who_is_first_in_the_order_has_it_whoever_that_is(order: list[int]) -> None:
    house = Building()
    replies = [house.do(PEOPLE[number], Reserve("Maple", DAY, "09:00", "2h", "Budget"), number) for number in order]
    assert isinstance(replies[0], Granted)
    winner = PEOPLE[order[0]]
    for reply in replies[1:]:
        assert isinstance(reply, NotGranted)
        assert (reply.lost.first_name, reply.lost.department) == (winner.first_name, winner.department)


def meetings_after(house: Building, write: BayouWrite) -> tuple[int, set[tuple[str, str, int, str]]]:
    """What the write does to the store by itself, as data, undone afterwards."""
    mark = house.store.mark()
    choice = resolve(house.store, write)
    after = hours(house)
    house.store.rollback(mark)
    return choice, after


def do_both(house: Building, said: Said) -> str:
    """Carry a write out as data, undo it, and let the app execute it: the same must come of it. What came."""
    person, command, ms, late = said
    if isinstance(command, Cancel):
        return house.do(person, command, ms, late=late).__class__.__name__
    booking = f"{person.department}-{house.counts.get(person.department, 0) + 1}"
    if isinstance(command, Change):
        entry = house.store.table(Entry).get(command.id)
        booking = entry.asked.id if entry is not None and isinstance(entry.asked, Change) else command.id
    write = bayou_write(house.app.house, command, booking)
    if isinstance(write, Impossible):
        assert house.do(person, command, ms, late=late) == write
        return "Impossible"
    choice, after = meetings_after(house, write)
    reply = house.do(person, command, ms, late=late)
    if isinstance(reply, Granted | Moved | Changed):
        is_moved = isinstance(reply, Moved) or (isinstance(reply, Changed) and reply.lost is not None)
        assert (choice > 0) == is_moved
        assert hours(house) == after
        recorded = house.store.table(Entry).get(booking)
        assert recorded is not None
        assert recorded.choice == choice
    elif isinstance(reply, NotGranted | NotChanged):
        assert choice == NO_CHOICE
        assert hours(house) == after
    else:  # refused for another reason than a conflict
        assert isinstance(command, Change)
    return type(reply).__name__


@SHORT
@given(stories())
def test_the_app_does_what_its_writes_say_as_data(story: list[Said]) -> None:
    house = Building(**SMALL)
    for said in story:
        do_both(house, said)


def test_so_it_does_in_long_stories_in_which_everything_happens() -> None:
    came: Counter[str] = Counter()
    for seed in range(30):
        house = Building(**SMALL)
        came.update(do_both(house, said) for said in random_story(seed))
        the_record_is_of_one_piece(house)
    assert min(came[name] for name in ("Granted", "Moved", "NotGranted", "Changed", "NotChanged", "Cancelled")) > 30


def test_a_check_is_a_question_that_any_store_answers() -> None:
    """And a wrong expectation would not hold: the same write is no longer possible once it is carried out."""
    house = Building()
    write = bayou_write(house.app.house, Reserve("Maple", DAY, "09:00", "2h", "Budget", ("Oak@09:00",)), "physics-1")
    assert isinstance(write, BayouWrite)
    assert [resolve(house.store, write) for _ in range(3)] == [0, 1, NO_CHOICE]
    assert [row.id for row in house.store.select(write.check.query)] == ["physics-1", "physics-1"]
    assert isinstance(bayou_write(house.app.house, Reserve("Pine", DAY, "09:00", "2h", "Budget"), "x"), Impossible)


ANYTHING = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "Maple", DAY, "09:00", "2h", "Oak@09:00", "Maple@2026-02-30@09:00", "physics-1", "biology-1"]),
)


@st.composite
def nonsense(draw: st.DrawFn) -> Command:
    alternatives = tuple(draw(st.lists(ANYTHING, max_size=3)))
    kind = draw(st.sampled_from([Reserve, Change, Cancel]))
    if kind is Cancel:
        return Cancel(draw(ANYTHING))
    return kind(*(draw(ANYTHING) for _ in range(5)), alternatives)


@given(nonsense(), st.sampled_from([None, ANN, BOB]))
def test_whatever_is_written_is_answered(command: Command, person: Any) -> None:
    house = Building(**SMALL)
    house.do(ANN, Reserve("Maple", DAY, "09:00", "1h", "Budget"))
    before = house.store.digest()
    reply = house.do(person, command)
    assert reply.text().startswith("Failed: ") == reply.failed
    if reply.failed and not isinstance(reply, NotGranted | NotChanged):
        assert house.store.digest() == before
    house.app.admit(command, person, 0)
    house.app.firm_by_ms(command)


@SHORT
@given(stories())
def test_every_reply_is_one_line_for_people_and_json_for_programs(story: list[Said]) -> None:
    house = Building(**SMALL)
    replies = told(house, story)
    questions = [AskSchedule(DAY), AskSchedule("Maple", DAY), AskCells(DAY), AskMine(), Show("physics-1")]
    replies += [house.ask(question, ANN, committed=False) for question in questions]
    for reply in replies:
        assert "\n" not in reply.text()
        assert reply.text().isprintable()
        assert json_line(reply).endswith(b"}\n")
        assert type(reply) in Rooms.replies


@SHORT
@given(stories())
def test_the_rows_live_through_a_snapshot(story: list[Said]) -> None:
    house = Building(**SMALL)
    told(house, story)
    machine = Machine(Rooms(**SMALL))
    assert machine.replace_store(TupleStore.restore(house.machine.rows, house.store.snapshot())) is None
    assert machine.digest() == house.machine.digest()
    assert sorted(machine.store.table(Entry), key=lambda entry: entry.id) == sorted(
        house.store.table(Entry), key=lambda entry: entry.id
    )
