"""The events of three cities as seed 003 and its issue tell them: a sequential model for the checker, and
what random customers and managers do.

Written from the words of the requirements alone, apart from the app, so that the two can disagree:
there are only events with their customers, and everything else is counted from them each time.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Hashable

import msgspec

from holdfast.sim.audit import Violation
from holdfast.sim.history import Action

CITIES = ("MTL", "OTW", "TOR")
KINDS = {"conferences": "Conferences", "tradeshows": "Trade shows", "seminars": "Seminars"}
QUESTIONS = ("listEventAvailability", "getBookingSchedule", "browse")
A_MONTH = 3


class Happening(msgspec.Struct, frozen=True):
    """An event with its customers in the order of booking."""

    id: str
    kind: str
    capacity: int
    customers: tuple[str, ...] = ()

    @property
    def left(self) -> int:
        """Places that are free."""
        return max(0, self.capacity - len(self.customers))

    @property
    def month(self) -> str:
        """2019-05"""
        return f"20{self.id[8:10]}-{self.id[6:8]}"

    @property
    def order(self) -> tuple[str, str, int, int]:
        """City, date, slot and type."""
        day = f"{self.month}-{self.id[4:6]}"
        return self.id[:3], day, "MAE".index(self.id[3]), list(KINDS.values()).index(self.kind)


State = tuple[Happening, ...]
"""All events, in the order of city, date, slot and type."""


class City:
    """One copy of all branches, one request at a time."""

    def initial(self) -> Hashable:
        """No events."""
        return ()

    def apply(self, state: Hashable, action: Action) -> tuple[Hashable, str]:
        """What a single immortal server does and says."""
        assert isinstance(state, tuple)
        word, who, *arguments = action
        assert isinstance(who, str)
        refusal = _not_allowed(str(word), who, [str(argument) for argument in arguments])
        if refusal:
            return state, refusal
        kinds = [KINDS.get(str(argument).replace(" ", "").lower(), argument) for argument in arguments]
        result: tuple[State, str] = getattr(self, f"_{word}")(state, *kinds)
        return result

    # -- managers -------------------------------------------------------------------------------

    def _addEvent(self, state: State, id: str, kind: str, capacity: int) -> tuple[State, str]:
        old, places = _find(state, id, kind), f"{capacity} place{'s' * (capacity > 1)}"
        if old is None:
            return _with(state, Happening(id, kind, capacity)), f"{id} {kind} is added with {places}."
        new = Happening(id, kind, capacity, old.customers)
        said = f"it has {places} now (before: {old.capacity}), {new.left} left."
        return _with(state, new), f"{id} {kind} is there already; {said}"

    def _removeEvent(self, state: State, id: str, kind: str) -> tuple[State, str]:
        gone = _find(state, id, kind)
        if gone is None:
            return state, f"Failed: there is no event {id} {kind}."
        state = tuple(one for one in state if one is not gone)
        moved, cancelled = [], []
        for customer in gone.customers:
            for other in state:
                is_next = (other.id[:3], other.kind) == (id[:3], kind) and other.order > gone.order
                if is_next and not _objection(state, customer, other.id, kind):
                    state = _with(state, _joined(other, customer))
                    moved.append(f"{customer} to {other.id}")
                    break
            else:
                cancelled.append(customer)
        said = f"{id} {kind} is removed"
        said += f"; moved: {', '.join(moved)}" if moved else ""
        said += f"; cancelled: {', '.join(cancelled)}" if cancelled else ""
        return state, f"{said}."

    def _listEventAvailability(self, state: State, kind: str) -> tuple[State, str]:
        return state, f"{_listing(state, kind)}."

    # -- customers ------------------------------------------------------------------------------

    def _bookEvent(self, state: State, customer: str, id: str, kind: str) -> tuple[State, str]:
        objection = _objection(state, customer, id, kind)
        if objection:
            return state, objection
        event = _find(state, id, kind)
        assert event is not None
        return _with(state, _joined(event, customer)), f"{id} {kind} is booked for {customer}."

    def _cancelEvent(self, state: State, customer: str, id: str, kind: str = "") -> tuple[State, str]:
        booked = [one for one in state if one.id == id and customer in one.customers and kind in ("", one.kind)]
        if not booked:
            return state, f"Failed: {customer} has not booked {id}{' ' * bool(kind)}{kind}."
        if len(booked) > 1:
            kinds = " and ".join(one.kind for one in booked)
            return state, f"Failed: {customer} has booked {id} as {kinds}; say which of them."
        return _with(state, _left(booked[0], customer)), f"{id} {booked[0].kind} is cancelled for {customer}."

    def _swapEvent(
        self, state: State, customer: str, id: str, kind: str, old_id: str, old_kind: str
    ) -> tuple[State, str]:
        old = _find(state, old_id, old_kind)
        if old is None or customer not in old.customers:
            return state, f"Failed: {customer} has not booked {old_id} {old_kind}."
        if (id, kind) == (old_id, old_kind):
            return state, f"Failed: {customer} has booked {id} {kind} already."
        without = _with(state, _left(old, customer))
        after, said = self._bookEvent(without, customer, id, kind)
        if said.startswith("Failed"):
            return state, said
        return after, f"{said[:-1]}, and {old_id} {old_kind} is cancelled."

    def _getBookingSchedule(self, state: State, customer: str) -> tuple[State, str]:
        booked = [f"{one.id} {one.kind}" for one in state if customer in one.customers]
        return state, f"{customer} - {', '.join(booked) or 'no bookings'}."

    def _browse(self, state: State, city: str = "", kind: str = "") -> tuple[State, str]:
        seen = tuple(one for one in state if city in ("", one.id[:3]))
        kinds = [name for name in KINDS.values() if kind in ("", name)]
        listings = [_listing(seen, name) for name in kinds if any(one.kind == name for one in seen)]
        return state, f"{'; '.join(listings)}." if listings else "No events."


def _not_allowed(word: str, who: str, arguments: list[str]) -> str | None:
    """What a person may not do at all."""
    city, is_manager = who[:3], who[3] == "M"
    if word in ("addEvent", "removeEvent", "listEventAvailability") and not is_manager:
        return f"Failed: only managers may do {word}, and {who} is a customer."
    if word in ("listEventAvailability", "browse"):
        return None
    subject = arguments[0]
    if not is_manager and subject != who:
        return f"Failed: {who} is a customer and acts for nobody else, so not for {subject}."
    if subject[:3] != city:
        return f"Failed: {who} manages {city} only, and {subject} is of {subject[:3]}."
    return None


def _objection(state: State, customer: str, id: str, kind: str) -> str | None:
    """Why a customer cannot book an event."""
    event = _find(state, id, kind)
    if event is None:
        return f"Failed: there is no event {id} {kind}."
    if customer in event.customers:
        return f"Failed: {customer} has booked {id} {kind} already."
    if not event.left:
        return f"Failed: {id} {kind} is full; it has {event.capacity} place{'s' * (event.capacity > 1)}."
    home = customer[:3]
    booked = [one for one in state if customer in one.customers and one.id[:3] != home and one.month == event.month]
    if id[:3] != home and len(booked) >= A_MONTH:
        where = f"{A_MONTH} bookings outside {home} in {event.month}"
        return f"Failed: {customer} has {where} already, which is all that one may have."
    return None


def _find(state: State, id: str, kind: str) -> Happening | None:
    return next((one for one in state if (one.id, one.kind) == (id, kind)), None)


def _with(state: State, event: Happening) -> State:
    others = [one for one in state if (one.id, one.kind) != (event.id, event.kind)]
    return tuple(sorted([*others, event], key=lambda one: one.order))


def _joined(event: Happening, customer: str) -> Happening:
    return msgspec.structs.replace(event, customers=(*event.customers, customer))


def _left(event: Happening, customer: str) -> Happening:
    customers = tuple(other for other in event.customers if other != customer)
    return msgspec.structs.replace(event, customers=customers)


def _listing(state: State, kind: str) -> str:
    return f"{kind} - {', '.join(f'{one.id} {one.left}' for one in state if one.kind == kind) or 'no events'}"


Named = tuple[str, str]
"""An event as a request names it: its id, and its type in any spelling."""


WORDS = ("add", "remove", "ask", "book", "cancel", "swap")
WEIGHTS = (6, 4, 22, 45, 9, 14)


class Public:
    """What random people ask: few of them and few events, so that they get in each other's way.

    They remember what was asked for, so that most requests are about something; what became of it
    they do not know.
    """

    def __init__(self, source: random.Random) -> None:
        self.source = source
        self.customers = source.sample(("TORC0001", "MTLC0001", "OTWC0001", "TORC0002"), source.randint(2, 3))
        self.kinds = source.sample(tuple(KINDS), source.choice((1, 1, 2)))
        cities, days = (
            source.sample(CITIES, source.randint(1, 3)),
            ("M010219", "A010219", "E010219", "M280219", "M310119"),
        )
        self.events = source.sample([city + day for city in cities for day in days], source.randint(3, 5))
        self.capacity = source.randint(1, 4)
        self.added: list[Named] = []
        self.booked: list[tuple[str, *Named]] = []

    def draw(self) -> Action:
        """The next action of someone."""
        source = self.source
        if len(self.added) < len(self.events) and source.random() < 0.5:
            return self._add()
        action: Action = getattr(self, f"_{source.choices(WORDS, WEIGHTS)[0]}")()
        return action

    def _add(self) -> Action:
        event, kind = named = self.source.choice(self.events), self._kind()
        self.added.append(named)
        return ("addEvent", self._manager(event), event, kind, self.source.randint(1, self.capacity))

    def _remove(self) -> Action:
        event, kind = self._event()
        return ("removeEvent", self._manager(event), event, kind)

    def _ask(self) -> Action:
        who, customer = self._manager(self.source.choice(CITIES)), self.source.choice(self.customers)
        schedule = ("getBookingSchedule", self._asker(customer), customer)
        return self.source.choice((schedule, schedule, ("browse", who), ("listEventAvailability", who, self._kind())))

    def _book(self) -> Action:
        booking = self.source.choice(self.customers), *self._event()
        self.booked.append(booking)
        return ("bookEvent", self._asker(booking[0]), *booking)

    def _cancel(self) -> Action:
        customer, event, kind = self._booking()
        kinds = (kind,) if self.source.random() < 0.5 else ()
        return ("cancelEvent", self._asker(customer), customer, event, *kinds)

    def _swap(self) -> Action:
        customer, event, kind = self._booking()
        new = self._event()
        self.booked.append((customer, *new))
        return ("swapEvent", self._asker(customer), customer, *new, event, kind)

    def final_questions(self) -> tuple[Action, ...]:
        """All that is on record, as far as people can ask for it."""
        lists = [("listEventAvailability", "TORM0001", kind) for kind in self.kinds]
        return (*lists, *(("getBookingSchedule", customer, customer) for customer in self.customers))

    def _manager(self, of: str) -> str:
        """A manager of the city of someone or something; now and then somebody who may not."""
        return self._anybody() if self.source.random() < 0.06 else f"{of[:3]}M0001"

    def _asker(self, customer: str) -> str:
        """Who asks for a customer."""
        die = self.source.random()
        return customer if die < 0.85 else self._anybody() if die < 0.9 else self._manager(customer)

    def _anybody(self) -> str:
        return self.source.choice((*self.customers, *(f"{city}M0001" for city in CITIES)))

    def _event(self) -> Named:
        """One of those that were added, or now and then any."""
        if self.added and self.source.random() < 0.9:
            return self.source.choice(self.added)
        return self.source.choice(self.events), self._kind()

    def _booking(self) -> tuple[str, *Named]:
        """One of those that were asked for, mostly of late, or now and then any."""
        if self.booked and self.source.random() < 0.9:
            return self.source.choice(self.booked[-8:])
        return self.source.choice(self.customers), *self._event()

    def _kind(self) -> str:
        kind = self.source.choice(self.kinds)
        return kind if self.source.random() < 0.5 else KINDS[kind]


TRAVELLING = 1 / 3
"""The share of the runs whose people are travellers."""


class Travellers(Public):
    """People who book in other cities until a month is full, and swap then, among events of two months of which
    one after another is removed and added again: the limit and the moves are what most of the answers turn on."""

    words = ("remove", "ask", "book", "cancel", "swap")
    weights = (11, 6, 53, 2, 28)

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        home, *abroad = source.sample(CITIES, 3)
        offering = abroad[: source.choice((1, 1, 2))]
        self.customers = [f"{home}C0001", f"{home}C0002", f"{abroad[0]}C0001"][: source.choice((1, 2, 2, 3))]
        self.kinds = source.sample(tuple(KINDS), 1)
        early = [f"{city}{day}" for city in offering for day in ("M280119", "M310119")]
        late = [f"{city}{day}" for city in offering for day in ("M010219", "A010219", "E010219", "M150219", "E280219")]
        self.events = [*source.sample(early, 2), *source.sample(late, source.choice((4, 5)))]
        self.events += [f"{home}M150219"] * source.randint(0, 1)
        self.missing = source.sample(self.events, len(self.events))

    def draw(self) -> Action:
        """The next action of someone; first of all every event is added."""
        if self.missing and (not self.booked or self.source.random() < 0.4):
            return self._add()
        action: Action = getattr(self, f"_{self.source.choices(self.words, self.weights)[0]}")()
        return action

    def _add(self) -> Action:
        event, kind = self.missing.pop(), self._kind()
        self.added.append((event, kind))
        return ("addEvent", f"{event[:3]}M0001", event, kind, self.source.choice((1, 2, 3, 3)))

    def _remove(self) -> Action:
        """One that somebody has booked, mostly the first: its customers have the most to be moved to."""
        wished = [named for named in self.added if any(named[0] == event for _, event, _ in self.booked)]
        if not wished:
            return super()._remove()
        event, kind = gone = (
            min(wished, key=lambda named: _day(named[0])) if self.source.random() < 0.6 else self.source.choice(wished)
        )
        self.added.remove(gone)
        self.missing.append(event)
        self.booked = [wish for wish in self.booked if wish[1] != event]
        return ("removeEvent", f"{event[:3]}M0001", event, kind)

    def _book(self) -> Action:
        someone = self.source.choice(self.customers)
        booking = self._wish(self.customers[0] if self.source.random() < 0.4 else someone)
        return ("bookEvent", self._asker(booking[0]), *booking)

    def _swap(self) -> Action:
        """Often of the earliest event, which does not count in the month of most others."""
        customer, *old = self._booking()
        if self.booked and self.source.random() < 0.4:
            customer, *old = min(self.booked, key=lambda wish: _day(wish[1]))
        return ("swapEvent", self._asker(customer), *self._wish(customer), *old)

    def _wish(self, customer: str) -> tuple[str, *Named]:
        """An event for a customer, mostly none of those that the customer asked for of late."""
        known = [event for who, event, _ in self.booked if who == customer][-4:]
        others = [named for named in self.added if named[0] not in known]
        wish = customer, *(self.source.choice(others) if others and self.source.random() < 0.9 else self._event())
        self.booked.append(wish)
        return wish


def _day(event: str) -> tuple[str, str]:
    """For the order within a year: month and day."""
    return event[6:8], event[4:6]


def draw_people(source: random.Random) -> Public:
    """Those of one run. Which sort they are is drawn from a stream of its own, so that a run without travellers is
    the same as if there were none; the stream's name is one by which the recorded seeds have none."""
    own = random.Random(f"people 13 {source.getstate()}")
    return Travellers(source) if own.random() < TRAVELLING else Public(source)


def check_text(text: str) -> None:
    """Whatever else happened: no list names an event twice, no places are less than none, and no customer
    has more than three bookings of a month in all other cities together."""
    for listing in text.removesuffix(".").split("; "):
        head, dash, items = listing.partition(" - ")
        if not dash or items.startswith("no "):
            continue
        entries = items.split(", ")
        is_schedule = re.fullmatch("[A-Z]{3}C[0-9]{4}", head) is not None
        named = entries if is_schedule else [entry.split()[0] for entry in entries]
        if len(set(named)) < len(named) or " -" in items:
            raise Violation("wrong list", f"something stands there twice, or is less than none: {text!r}")
        if is_schedule:
            months = Counter(entry[6:10] for entry in entries if entry[:3] != head[:3])
            if max(months.values(), default=0) > A_MONTH:
                raise Violation("too many bookings", f"more than {A_MONTH} a month in other cities: {text!r}")
