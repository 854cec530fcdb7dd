"""The theatre: numbered seats, reserved by name.

`c` seats are numbered from 1. A name holds at most one reservation. Which seats are free lies in a
tree of bit masks (`apps.numbers`), so that no seat has a row of its own; a reservation is one row.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from holdfast.apps.numbers import FreeMask, FreeNumbers
from holdfast.apps.values import Name
from holdfast.kernel.contracts import Command, Context, Person, Query, Refusal, Reply
from holdfast.kernel.stamps import utc_text
from holdfast.kernel.store import Condition, Row, Select

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

SEATS_MAX = 10_000_000
"""The largest theatre."""
RESERVATION_SEATS_MAX = 1_000
"""Seats one reservation may hold: its reply is one line, and its command one short turn."""
COUNT_MAX = 1_000_000_000
RANGES_SHOWN_MAX = 100
RESERVATIONS_SHOWN_MAX = 100
SEATS_SHOWN_MAX = 20_000
"""Seats one answer to `list` names before it ends with the current reservation."""

Seat = Annotated[int, Meta(ge=1, le=COUNT_MAX)]
Seats = Annotated[tuple[Seat, ...], Meta(min_length=1, max_length=RESERVATION_SEATS_MAX)]


def joined(seats: tuple[int, ...]) -> str:
    """Seats as every reply writes them: `1,2,3`."""
    return ",".join(map(str, seats))


class Reservation(Row, frozen=True):
    """The seats of one name, ascending, never empty."""

    table = "reservations"
    key = ("name",)
    ordered = True

    name: str
    seats: tuple[int, ...]


class FreeSeats(FreeMask, frozen=True):
    """A node of the tree that says which seats are free."""

    table = "free_seats"
    key = ("node",)


class Theatre(Row, frozen=True):
    """The one row about the whole house: how many seats it has and how many of them are free."""

    table = "theatre"
    key = ("id",)

    id: int
    seats: int
    free: int


class Reserve(Command, frozen=True, tag="reserve"):
    """Reserve the lowest free seats for a name."""

    name: Name
    count: Annotated[int, Meta(ge=1, le=COUNT_MAX)]


class Choose(Command, frozen=True, tag="choose"):
    """Reserve exactly these seats for a name, or none of them."""

    name: Name
    seats: Seats


class Release(Command, frozen=True, tag="release"):
    """Give back some of a name's seats."""

    name: Name
    seats: Seats


class Delete(Command, frozen=True, tag="delete"):
    """Give back all seats of a name."""

    name: Name


class Search(Query, frozen=True, tag="search"):
    """Tell the seats reserved for a name."""

    name: Name


class ListSeats(Query, frozen=True, tag="seats"):
    """Tell how many seats are free, and which, from the given seat on."""

    first: Seat = 1


class ListReservations(Query, frozen=True, tag="list"):
    """List the reservations by name, those after the given name."""

    after: Annotated[str, Meta(max_length=64)] = ""


class Reserved(Reply, frozen=True, tag="reserved"):
    """The seats are the name's from now on."""

    name: str
    seats: tuple[int, ...]

    def text(self) -> str:
        return f"The seats have been reserved for {self.name}: {joined(self.seats)}."


class Released(Reply, frozen=True, tag="released"):
    """So many seats were given back; so many are free now."""

    released: int
    left: int

    def text(self) -> str:
        return f"{self.released} seats have been released. {self.left} seats are now available."


class Found(Reply, frozen=True, tag="found"):
    """The seats of a name."""

    seats: tuple[int, ...]

    def text(self) -> str:
        return joined(self.seats)


class FreeList(Reply, frozen=True, tag="seats"):
    """How many seats are free in all, and the ranges of them that were asked for.

    `more_from`: the seat to ask from for the ranges that are cut off, or 0 if none are.
    """

    free: int
    ranges: tuple[tuple[int, int], ...]
    more_from: int

    def text(self) -> str:
        if not self.ranges:
            return f"{self.free} seats are free."
        shown = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in self.ranges)
        more = f" More: seats {self.more_from}." if self.more_from else ""
        return f"{self.free} seats are free: {shown}.{more}"


class ReservationList(Reply, frozen=True, tag="list"):
    """Reservations (name, seats) in the order of the names.

    `more_after`: the name to ask after for those that are cut off, or "" if none are.
    """

    reservations: tuple[tuple[str, tuple[int, ...]], ...]
    more_after: str

    def text(self) -> str:
        if not self.reservations:
            return "No reservations."
        items = [f"{quoted(name)}: {joined(seats)}" for name, seats in self.reservations]
        if self.more_after:
            items.append(f"more: list {quoted(self.more_after)}")
        return "; ".join(items)


class TooFewLeft(Refusal, frozen=True, tag="too_few_left"):
    """More seats are requested than are free."""

    left: int
    count: int

    def text(self) -> str:
        return f"Failed: only {self.left} seats left but {self.count} seats are requested."


class TooManyAtOnce(Refusal, frozen=True, tag="too_many_at_once"):
    """More seats are requested than one reservation may hold."""

    count: int
    most: int

    def text(self) -> str:
        return f"Failed: one reservation holds at most {self.most} seats but {self.count} seats are requested."


class AlreadyBooked(Refusal, frozen=True, tag="already_booked"):
    """The name has a reservation."""

    name: str
    seats: tuple[int, ...]

    def text(self) -> str:
        return f"Failed: {self.name} has booked the following seats: {joined(self.seats)}."


class NoReservation(Refusal, frozen=True, tag="no_reservation"):
    """The name has no reservation."""

    name: str

    def text(self) -> str:
        return f"Failed: no reservation is made by {self.name}."


class SeatTaken(Refusal, frozen=True, tag="seat_taken"):
    """A chosen seat is not free; nothing was reserved."""

    seat: int

    def text(self) -> str:
        return f"Failed: seat {self.seat} is taken."


class NoSuchSeat(Refusal, frozen=True, tag="no_such_seat"):
    """The theatre has no seat of this number; nothing was changed."""

    seat: int
    seats: int

    def text(self) -> str:
        return f"Failed: there is no seat {self.seat}, the seats are numbered from 1 to {self.seats}."


class SeatNamedTwice(Refusal, frozen=True, tag="seat_named_twice"):
    """The request names a seat more than once; nothing was changed."""

    seat: int

    def text(self) -> str:
        return f"Failed: seat {self.seat} is named twice."


class SeatNotHeld(Refusal, frozen=True, tag="seat_not_held"):
    """A seat to be released is not the name's; nothing was released."""

    name: str
    seat: int

    def text(self) -> str:
        return f"Failed: seat {self.seat} is not reserved for {self.name}."


class NothingAsked(Refusal, frozen=True, tag="nothing_asked"):
    """A request for no seats at all, or for fewer. The door lets none through; a peer's might come."""

    def text(self) -> str:
        return "Failed: at least one seat must be requested."


class Tickets:
    """The app. `seats` is its whole configuration, fixed with the first start of the data."""

    name = "tickets"
    rows: tuple[type[Row], ...] = (Reservation, FreeSeats, Theatre)
    commands: tuple[type[Command], ...] = (Reserve, Choose, Release, Delete)
    queries: tuple[type[Query], ...] = (Search, ListSeats, ListReservations)
    replies: tuple[type[Reply], ...] = (
        Reserved,
        Released,
        Found,
        FreeList,
        ReservationList,
        TooFewLeft,
        TooManyAtOnce,
        AlreadyBooked,
        NoReservation,
        SeatTaken,
        NoSuchSeat,
        SeatNamedTwice,
        SeatNotHeld,
        NothingAsked,
    )

    def __init__(self, seats: int = 500) -> None:
        if not 1 <= seats <= SEATS_MAX:
            raise ValueError(f"a theatre has 1 to {SEATS_MAX} seats, not {seats}")
        self.seats = seats
        self._free = FreeNumbers(seats, FreeSeats)
        self._apply: dict[type, Callable[[TupleStore, Any], Reply]] = {
            Reserve: self._reserve,
            Delete: self._delete,
            Choose: self._choose,
            Release: self._release,
        }
        self._answer: dict[type, Callable[[TupleStore, Any], Reply]] = {
            Search: self._search,
            ListSeats: self._list_seats,
            ListReservations: self._list_reservations,
        }

    def create(self, store: TupleStore) -> None:
        """An empty house."""
        store.table(Theatre).put(Theatre(0, self.seats, self.seats))

    def check(self, store: TupleStore) -> str | None:
        """The number of seats belongs to the data: it can be set only before the first start."""
        theatre = store.table(Theatre).get(0)
        if theatre is None:
            return "the data holds no theatre: it is not of this app; set it aside and start from an empty directory"
        if theatre.seats != self.seats:
            return (
                f"the data is of a theatre with {theatre.seats} seats but the configuration says {self.seats}; "
                f"set seats = {theatre.seats}, or set the data aside to begin with an empty house"
            )
        return None

    def admit(self, command: Any, person: Person | None, now_ms: int) -> Refusal | None:
        """Everything decodable may be tried; `apply` refuses."""
        return None

    def firm_by_ms(self, command: Any) -> int | None:
        """The theatre does not mind."""
        return None

    def time_text(self, ms: int) -> str:
        """UTC."""
        return utc_text(ms)

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        """Execute one command. Total over every decodable command; a refusal changes nothing."""
        return self._apply[type(command)](store, command)

    def answer(self, store: TupleStore, query: Any, context: Context) -> Reply:
        """Answer one query; changes nothing."""
        return self._answer[type(query)](store, query)

    # -- commands -------------------------------------------------------------------------------

    def _reserve(self, store: TupleStore, command: Reserve) -> Reply:
        name, count = command.name, command.count
        theatres, reservations = store.table(Theatre), store.table(Reservation)
        left = theatres.get(0).free  # type: ignore[union-attr]  # written by `create`
        if count > left:
            return TooFewLeft(left, count)
        booked = reservations.get(name)
        if booked is not None:
            return AlreadyBooked(name, booked.seats)
        if not 1 <= count <= RESERVATION_SEATS_MAX:
            return TooManyAtOnce(count, RESERVATION_SEATS_MAX) if count > 0 else NothingAsked()
        seats = self._free.take_lowest(store.table(FreeSeats), count)
        reservations.put(Reservation(name, seats))
        theatres.put(Theatre(0, self.seats, left - count))
        return Reserved(name, seats)

    def _choose(self, store: TupleStore, command: Choose) -> Reply:
        name = command.name
        refusal = self._wrong_seats(command.seats)
        if refusal is not None:
            return refusal
        seats = tuple(sorted(command.seats))
        theatres, reservations, free = store.table(Theatre), store.table(Reservation), store.table(FreeSeats)
        left = theatres.get(0).free  # type: ignore[union-attr]  # written by `create`
        if len(seats) > left:
            return TooFewLeft(left, len(seats))
        booked = reservations.get(name)
        if booked is not None:
            return AlreadyBooked(name, booked.seats)
        taken = self._free.first_taken(free, seats)
        if taken is not None:
            return SeatTaken(taken)
        self._free.take(free, seats)
        reservations.put(Reservation(name, seats))
        theatres.put(Theatre(0, self.seats, left - len(seats)))
        return Reserved(name, seats)

    def _wrong_seats(self, seats: tuple[int, ...]) -> Refusal | None:
        """What makes a list of seats senseless in this house, whoever asks."""
        if not seats:
            return NothingAsked()
        if len(seats) > RESERVATION_SEATS_MAX:
            return TooManyAtOnce(len(seats), RESERVATION_SEATS_MAX)
        seen: set[int] = set()
        for seat in seats:
            if not 1 <= seat <= self.seats:
                return NoSuchSeat(seat, self.seats)
            if seat in seen:
                return SeatNamedTwice(seat)
            seen.add(seat)
        return None

    def _release(self, store: TupleStore, command: Release) -> Reply:
        name = command.name
        refusal = self._wrong_seats(command.seats)
        if refusal is not None:
            return refusal
        booked = store.table(Reservation).get(name)
        if booked is None:
            return NoReservation(name)
        held, given = frozenset(booked.seats), frozenset(command.seats)
        for seat in command.seats:
            if seat not in held:
                return SeatNotHeld(name, seat)
        kept = tuple(seat for seat in booked.seats if seat not in given)
        return self._give_back(store, name, kept, tuple(sorted(command.seats)))

    def _delete(self, store: TupleStore, command: Delete) -> Reply:
        booked = store.table(Reservation).get(command.name)
        if booked is None:
            return NoReservation(command.name)
        return self._give_back(store, command.name, (), booked.seats)

    def _give_back(self, store: TupleStore, name: str, kept: tuple[int, ...], seats: tuple[int, ...]) -> Reply:
        theatres, reservations = store.table(Theatre), store.table(Reservation)
        if kept:
            reservations.put(Reservation(name, kept))
        else:
            reservations.delete(name)
        self._free.give(store.table(FreeSeats), seats)
        left = theatres.get(0).free + len(seats)  # type: ignore[union-attr]  # written by `create`
        theatres.put(Theatre(0, self.seats, left))
        return Released(len(seats), left)

    # -- queries --------------------------------------------------------------------------------

    def _search(self, store: TupleStore, query: Search) -> Reply:
        booked = store.table(Reservation).get(query.name)
        return NoReservation(query.name) if booked is None else Found(booked.seats)

    def _list_seats(self, store: TupleStore, query: ListSeats) -> Reply:
        if not 1 <= query.first <= self.seats:
            return NoSuchSeat(query.first, self.seats)
        free = store.table(Theatre).get(0).free  # type: ignore[union-attr]  # written by `create`
        ranges = tuple(islice(self._free.free_ranges(store.table(FreeSeats), query.first), RANGES_SHOWN_MAX + 1))
        more_from = ranges[RANGES_SHOWN_MAX][0] if len(ranges) > RANGES_SHOWN_MAX else 0
        return FreeList(free, ranges[:RANGES_SHOWN_MAX], more_from)

    def _list_reservations(self, store: TupleStore, query: ListReservations) -> Reply:
        where = (Condition("name", ">", query.after),)
        limit = RESERVATIONS_SHOWN_MAX + 1
        rows = store.select(Select(Reservation.table, where=where, order=("name",), limit=limit))
        shown: list[tuple[str, tuple[int, ...]]] = []
        room = SEATS_SHOWN_MAX
        for row in rows[:RESERVATIONS_SHOWN_MAX]:
            assert isinstance(row, Reservation)
            shown.append((row.name, row.seats))
            room -= len(row.seats)
            if room <= 0:
                break
        return ReservationList(tuple(shown), shown[-1][0] if len(shown) < len(rows) else "")


def quoted(name: str) -> str:
    """A name as the line protocol takes it back, unmistakable in a list."""
    if any(character in name for character in ' ";:,\\'):
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return name
