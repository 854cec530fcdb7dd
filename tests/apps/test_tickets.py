"""The theatre's rules, word for word, and against a naive model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.apps.tickets import (
    RESERVATION_SEATS_MAX,
    RESERVATIONS_SHOWN_MAX,
    Choose,
    Delete,
    FreeList,
    ListReservations,
    ListSeats,
    Release,
    ReservationList,
    Reserve,
    Search,
    Tickets,
)
from holdfast.kernel.contracts import Command, Context, Query, Reply
from holdfast.kernel.store import TupleStore


class House:
    """A theatre that nobody else uses."""

    def __init__(self, seats: int = 500) -> None:
        self.app = Tickets(seats=seats)
        self.store = TupleStore(self.app.rows)
        self.app.create(self.store)

    def do(self, command: Command) -> Reply:
        return self.app.apply(self.store, command, Context())

    def ask(self, query: Query) -> Reply:
        return self.app.answer(self.store, query, Context())

    def says(self, request: Command | Query) -> str:
        return (self.do(request) if isinstance(request, Command) else self.ask(request)).text()


def test_the_seeds_own_words() -> None:
    house = House(seats=5)
    assert house.says(Reserve("bob", 3)) == "The seats have been reserved for bob: 1,2,3."
    assert house.says(Reserve("eve", 3)) == "Failed: only 2 seats left but 3 seats are requested."
    assert house.says(Reserve("bob", 1)) == "Failed: bob has booked the following seats: 1,2,3."
    assert house.says(Search("bob")) == "1,2,3"
    assert house.says(Search("eve")) == "Failed: no reservation is made by eve."
    assert house.says(Delete("bob")) == "3 seats have been released. 5 seats are now available."
    assert house.says(Delete("bob")) == "Failed: no reservation is made by bob."


def test_too_few_seats_is_told_before_an_older_booking() -> None:
    house = House(seats=3)
    house.do(Reserve("bob", 2))
    assert house.says(Reserve("bob", 2)) == "Failed: only 1 seats left but 2 seats are requested."


def test_the_lowest_free_seats_are_given_also_into_gaps() -> None:
    house = House(seats=10)
    for name in ("ann", "bob", "cid"):
        house.do(Reserve(name, 2))
    house.do(Delete("bob"))
    assert house.says(Reserve("dan", 3)) == "The seats have been reserved for dan: 3,4,7."


def test_chosen_seats_are_exactly_those() -> None:
    house = House(seats=10)
    assert house.says(Choose("bob", (7, 3))) == "The seats have been reserved for bob: 3,7."
    assert house.says(Choose("eve", (6, 7, 8))) == "Failed: seat 7 is taken."
    assert house.says(ListSeats()) == "8 seats are free: 1-2,4-6,8-10."
    assert house.says(Choose("bob", (1,))) == "Failed: bob has booked the following seats: 3,7."


@pytest.mark.parametrize(
    ("seats", "words"),
    [
        ((11,), "Failed: there is no seat 11, the seats are numbered from 1 to 10."),
        ((0,), "Failed: there is no seat 0, the seats are numbered from 1 to 10."),
        ((-1,), "Failed: there is no seat -1, the seats are numbered from 1 to 10."),
        ((2, 2), "Failed: seat 2 is named twice."),
        ((), "Failed: at least one seat must be requested."),
        (
            tuple(range(1, RESERVATION_SEATS_MAX + 2)),
            "Failed: one reservation holds at most 1000 seats but 1001 seats are requested.",
        ),
    ],
)
def test_senseless_seats_are_refused_and_change_nothing(seats: tuple[int, ...], words: str) -> None:
    house = House(seats=10)
    house.do(Reserve("eve", 1))
    before = house.store.digest()
    assert house.says(Choose("bob", seats)) == words
    assert house.says(Release("eve", seats)) == words
    assert house.store.digest() == before


def test_more_chosen_seats_than_are_left() -> None:
    house = House(seats=3)
    house.do(Reserve("bob", 2))
    assert house.says(Choose("eve", (2, 3))) == "Failed: only 1 seats left but 2 seats are requested."


def test_some_seats_are_given_back_and_then_the_rest() -> None:
    house = House(seats=10)
    house.do(Reserve("bob", 4))
    assert house.says(Release("bob", (4, 2))) == "2 seats have been released. 8 seats are now available."
    assert house.says(Search("bob")) == "1,3"
    assert house.says(Release("bob", (2,))) == "Failed: seat 2 is not reserved for bob."
    assert house.says(Release("eve", (2,))) == "Failed: no reservation is made by eve."
    assert house.says(Release("bob", (1, 3))) == "2 seats have been released. 10 seats are now available."
    assert house.says(Search("bob")) == "Failed: no reservation is made by bob."


@pytest.mark.parametrize("count", [0, -1, -(10**9)])
def test_a_count_that_no_door_lets_through_is_still_answered(count: int) -> None:
    house = House()
    before = house.store.digest()
    assert house.says(Reserve("bob", count)) == "Failed: at least one seat must be requested."
    assert house.store.digest() == before


def test_one_reservation_is_bounded() -> None:
    house = House(seats=20_000)
    words = "Failed: one reservation holds at most 1000 seats but 1001 seats are requested."
    assert house.says(Reserve("bob", 1_001)) == words
    assert not house.do(Reserve("bob", 1_000)).failed
    assert house.says(ListSeats()) == "19000 seats are free: 1001-20000."


def test_a_full_house() -> None:
    house = House(seats=61)
    assert not house.do(Reserve("bob", 61)).failed
    assert house.says(ListSeats()) == "0 seats are free."
    assert house.says(Reserve("eve", 1)) == "Failed: only 0 seats left but 1 seats are requested."
    house.do(Release("bob", (61,)))
    assert house.says(Reserve("eve", 1)) == "The seats have been reserved for eve: 61."


def test_free_seats_are_cut_after_so_many_ranges_and_go_on() -> None:
    house = House(seats=1000)
    house.do(Choose("bob", tuple(range(2, 1001, 2))))
    first = house.ask(ListSeats())
    assert isinstance(first, FreeList)
    assert first.more_from == 201
    assert first.text().endswith(",197,199. More: seats 201.")
    assert house.says(ListSeats(first.more_from)).startswith("500 seats are free: 201,203,")
    assert house.says(ListSeats(1000)) == "500 seats are free."
    assert house.says(ListSeats(1001)) == "Failed: there is no seat 1001, the seats are numbered from 1 to 1000."


def test_the_list_is_by_name_and_pages_on() -> None:
    house = House(seats=500)
    assert house.says(ListReservations()) == "No reservations."
    house.do(Reserve("eve", 1))
    house.do(Reserve("bob", 2))
    house.do(Reserve('Mary "Ann"; x', 1))
    assert house.says(ListReservations()) == '"Mary \\"Ann\\"; x": 4; bob: 2,3; eve: 1'
    names = sorted(f"guest {number}" for number in range(250))
    for name in names:
        house.do(Reserve(name, 1))
    seen: list[str] = []
    after = "f"
    while after:
        page = house.ask(ListReservations(after))
        assert isinstance(page, ReservationList)
        assert len(page.reservations) <= RESERVATIONS_SHOWN_MAX
        seen += [name for name, _ in page.reservations]
        after = page.more_after
    assert seen == names
    assert house.says(ListReservations("f")).endswith(f'; more: list "{names[99]}"')


def test_long_reservations_cut_the_list_early() -> None:
    house = House(seats=40_000)
    names = [f"guest{number:02}" for number in range(40)]
    for name in names:
        house.do(Reserve(name, 1_000))
    page = house.ask(ListReservations())
    assert isinstance(page, ReservationList)
    assert page.more_after == "guest19"


def test_a_changed_number_of_seats_is_refused_with_what_to_do() -> None:
    house = House(seats=500)
    assert house.app.check(house.store) is None
    complaint = Tickets(seats=400).check(house.store)
    assert complaint is not None
    assert "500 seats" in complaint
    assert "400" in complaint
    assert "set seats = 500" in complaint
    assert "not of this app" in (Tickets().check(TupleStore(Tickets.rows)) or "")


@pytest.mark.parametrize("seats", [0, -1, 10_000_001])
def test_a_theatre_of_an_impossible_size_is_not_made(seats: int) -> None:
    with pytest.raises(ValueError, match="1 to 10000000 seats"):
        Tickets(seats=seats)


class Model:
    """The theatre as its description has it: a set of free seats, a dictionary of names."""

    def __init__(self, seats: int) -> None:
        self.seats = seats
        self.free = set(range(1, seats + 1))
        self.names: dict[str, set[int]] = {}

    def do(self, command: Command) -> str:
        if isinstance(command, Reserve):
            return self._book(command.name, command.count, sorted(self.free)[: command.count])
        if isinstance(command, Choose):
            return self._senseless(command.seats) or self._book(command.name, len(command.seats), command.seats)
        if isinstance(command, Delete):
            return self._give_back(command.name, sorted(self.names.get(command.name, ())))
        assert isinstance(command, Release)
        return self._senseless(command.seats) or self._give_back(command.name, command.seats)

    def _senseless(self, seats: tuple[int, ...]) -> str:
        for place, seat in enumerate(seats):
            if not 1 <= seat <= self.seats:
                return f"Failed: there is no seat {seat}, the seats are numbered from 1 to {self.seats}."
            if seat in seats[:place]:
                return f"Failed: seat {seat} is named twice."
        return ""

    def _book(self, name: str, count: int, seats: tuple[int, ...] | list[int]) -> str:
        if count > len(self.free):
            return f"Failed: only {len(self.free)} seats left but {count} seats are requested."
        if name in self.names:
            booked = ",".join(map(str, sorted(self.names[name])))
            return f"Failed: {name} has booked the following seats: {booked}."
        for seat in sorted(seats):
            if seat not in self.free:
                return f"Failed: seat {seat} is taken."
        self.free -= set(seats)
        self.names[name] = set(seats)
        return f"The seats have been reserved for {name}: {','.join(map(str, sorted(seats)))}."

    def _give_back(self, name: str, seats: tuple[int, ...] | list[int]) -> str:
        if name not in self.names:
            return f"Failed: no reservation is made by {name}."
        for seat in seats:
            if seat not in self.names[name]:
                return f"Failed: seat {seat} is not reserved for {name}."
        self.names[name] -= set(seats)
        if not self.names[name]:
            del self.names[name]
        self.free |= set(seats)
        return f"{len(seats)} seats have been released. {len(self.free)} seats are now available."

    def ranges(self, first: int) -> tuple[tuple[int, int], ...]:
        found: list[tuple[int, int]] = []
        for seat in sorted(self.free):
            if seat < first:
                continue
            if found and found[-1][1] == seat - 1:
                found[-1] = (found[-1][0], seat)
            else:
                found.append((seat, seat))
        return tuple(found)


NAMES = st.sampled_from(["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"])


def commands(seats: int) -> st.SearchStrategy[Command]:
    seat = st.integers(0, seats + 1)
    some = st.lists(seat, min_size=1, max_size=6).map(tuple)
    block = st.tuples(seat, st.integers(1, 70)).map(lambda span: tuple(range(span[0], span[0] + span[1])))
    count = st.one_of(st.integers(1, 5), st.integers(1, min(seats + 1, RESERVATION_SEATS_MAX)))
    return st.one_of(
        st.builds(Reserve, NAMES, count),
        st.builds(Choose, NAMES, st.one_of(some, block)),
        st.builds(Release, NAMES, st.one_of(some, block)),
        st.builds(Delete, NAMES),
    )


@st.composite
def stories(draw: st.DrawFn) -> tuple[int, list[Command]]:
    """A house of one to four levels of the tree, and what happens in it."""
    seats = draw(st.sampled_from([1, 2, 59, 60, 61, 119, 120, 121, 500, 3599, 3600, 3601, 3661]))
    return seats, draw(st.lists(commands(seats), max_size=40))


@settings(max_examples=150, deadline=None)
@given(stories(), st.data())
def test_every_story_goes_as_the_naive_model_has_it(story: tuple[int, list[Command]], data: st.DataObject) -> None:
    seats, steps = story
    house, model = House(seats), Model(seats)
    for command in steps:
        assert house.says(command) == model.do(command)
        held = [seat for booked in model.names.values() for seat in booked]
        assert len(held) == len(set(held))
    first = data.draw(st.integers(1, seats))
    shown = house.ask(ListSeats(first))
    assert isinstance(shown, FreeList)
    assert shown.free == len(model.free)
    assert shown.ranges == model.ranges(first)[:100]
    page = house.ask(ListReservations())
    assert isinstance(page, ReservationList)
    assert page.reservations == tuple((name, tuple(sorted(model.names[name]))) for name in sorted(model.names))


@settings(max_examples=60, deadline=None)
@given(stories(), st.integers(0, 40))
def test_a_rolled_back_story_leaves_no_trace(story: tuple[int, list[Command]], cut: int) -> None:
    seats, steps = story
    house = House(seats)
    for command in steps[:cut]:
        house.do(command)
    before, mark = house.store.digest(), house.store.mark()
    for command in steps[cut:]:
        house.do(command)
    house.store.rollback(mark)
    assert house.store.digest() == before


def test_a_million_seats_are_found_and_given_back() -> None:
    house = House(seats=1_000_000)
    assert house.says(ListSeats()) == "1000000 seats are free: 1-1000000."
    assert house.says(Choose("bob", (1, 3600, 216_000, 999_999, 1_000_000))).endswith(": 1,3600,216000,999999,1000000.")
    assert house.says(ListSeats()) == "999995 seats are free: 2-3599,3601-215999,216001-999998."
    assert house.says(ListSeats(216_000)) == "999995 seats are free: 216001-999998."
    house.do(Delete("bob"))
    assert house.says(ListSeats(5)) == "1000000 seats are free: 5-1000000."
