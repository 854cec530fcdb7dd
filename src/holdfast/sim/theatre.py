"""The theatre as seed 002 tells it: a sequential model for the checker, and what random clients do to it.

Written from the words of the requirements alone, apart from the app, so that the two can disagree.
"""

from __future__ import annotations

import random
from collections.abc import Hashable

from holdfast.sim.audit import Violation
from holdfast.sim.history import Action

State = tuple[str, ...]
"""Who holds seat 1, 2, ...; "" for a free one."""

QUESTIONS = ("search", "seats", "list")


class Theatre:
    """One copy of the theatre, one request at a time."""

    def __init__(self, seats: int) -> None:
        self.seats = seats

    def initial(self) -> Hashable:
        """The empty house."""
        return ("",) * self.seats

    def apply(self, state: Hashable, action: Action) -> tuple[Hashable, str]:
        """What a single immortal server does and says."""
        assert isinstance(state, tuple)
        word, *arguments = action
        handler = getattr(self, f"_{word}")
        result: tuple[State, str] = handler(state, *arguments)
        return result

    def _reserve(self, state: State, name: str, count: int) -> tuple[State, str]:
        free = _held(state, "")
        return self._book(state, name, count, free[:count])

    def _choose(self, state: State, name: str, seats: tuple[int, ...]) -> tuple[State, str]:
        wrong = self._absent(seats)
        return (state, wrong) if wrong else self._book(state, name, len(seats), sorted(seats))

    def _book(self, state: State, name: str, count: int, seats: list[int]) -> tuple[State, str]:
        left = state.count("")
        if count > left:
            return state, f"Failed: only {left} seats left but {count} seats are requested."
        booked = _held(state, name)
        if booked:
            return state, f"Failed: {name} has booked the following seats: {_joined(booked)}."
        for seat in seats:
            if state[seat - 1]:
                return state, f"Failed: seat {seat} is taken."
        return _with(state, seats, name), f"The seats have been reserved for {name}: {_joined(seats)}."

    def _delete(self, state: State, name: str) -> tuple[State, str]:
        booked = _held(state, name)
        return _give_back(state, booked) if booked else (state, f"Failed: no reservation is made by {name}.")

    def _release(self, state: State, name: str, seats: tuple[int, ...]) -> tuple[State, str]:
        wrong = self._absent(seats)
        if wrong:
            return state, wrong
        booked = _held(state, name)
        if not booked:
            return state, f"Failed: no reservation is made by {name}."
        for seat in seats:
            if seat not in booked:
                return state, f"Failed: seat {seat} is not reserved for {name}."
        return _give_back(state, list(seats))

    def _absent(self, seats: tuple[int, ...]) -> str | None:
        for seat in seats:
            if seat > self.seats:
                return f"Failed: there is no seat {seat}, the seats are numbered from 1 to {self.seats}."
        return None

    def _search(self, state: State, name: str) -> tuple[State, str]:
        booked = _held(state, name)
        return state, _joined(booked) if booked else f"Failed: no reservation is made by {name}."

    def _seats(self, state: State) -> tuple[State, str]:
        ranges: list[list[int]] = []
        for seat in _held(state, ""):
            if ranges and ranges[-1][1] == seat - 1:
                ranges[-1][1] = seat
            else:
                ranges.append([seat, seat])
        shown = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
        free = state.count("")
        return state, f"{free} seats are free: {shown}." if shown else f"{free} seats are free."

    def _list(self, state: State) -> tuple[State, str]:
        names = sorted({name for name in state if name})
        return state, "; ".join(f"{name}: {_joined(_held(state, name))}" for name in names) or "No reservations."


def _held(state: State, name: str) -> list[int]:
    return [seat for seat, holder in enumerate(state, 1) if holder == name]


def _joined(seats: list[int]) -> str:
    return ",".join(map(str, seats))


def _with(state: State, seats: list[int], name: str) -> State:
    return tuple(name if seat in seats else holder for seat, holder in enumerate(state, 1))


def _give_back(state: State, seats: list[int]) -> tuple[State, str]:
    after = _with(state, seats, "")
    return after, f"{len(seats)} seats have been released. {after.count('')} seats are now available."


class Crowd:
    """What random clients ask: few names and few seats, so that they get in each other's way."""

    def __init__(self, source: random.Random, seats: int, names: int) -> None:
        self.source = source
        self.seats = seats
        self.names = ("ann", "bob", "cem", "dee", "eva")[:names]

    def draw(self) -> Action:
        """The next action of some client."""
        source = self.source
        name = source.choice(self.names)
        die = source.random()
        if die < 0.34:
            return ("reserve", name, source.randint(1, max(1, self.seats // 2)))
        if die < 0.46:
            return ("choose", name, self._some_seats())
        if die < 0.60:
            return ("delete", name)
        if die < 0.70:
            return ("release", name, self._some_seats())
        if die < 0.84:
            return ("search", name)
        return ("seats",) if die < 0.90 else ("list",)

    def _some_seats(self) -> tuple[int, ...]:
        top = self.seats + (1 if self.source.random() < 0.05 else 0)
        return tuple(self.source.sample(range(1, top + 1), self.source.randint(1, min(2, top))))


def check_list(text: str) -> None:
    """An answer to `list` may name no seat twice, whatever else happened."""
    if text == "No reservations.":
        return
    holders: dict[str, str] = {}
    for item in text.split("; "):
        name, _, seats = item.partition(": ")
        for seat in seats.split(","):
            if seat in holders:
                raise Violation("seat twice", f"seat {seat} is held by {holders[seat]} and by {name}: {text!r}")
            holders[seat] = name
