"""The slots of a vendor: what clients and the vendor may do, leases, and any row of commands against a plain model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.apps.slots import (
    Available,
    Block,
    Confirm,
    Held,
    HolderList,
    Holders,
    Lease,
    Mine,
    MostHeld,
    NobodyNamed,
    NoSuchRange,
    NoSuchSlot,
    NotAvailable,
    NotYours,
    Release,
    Reserve,
    Reserved,
    Slots,
    Taken,
    Unblock,
    VendorOnly,
)
from holdfast.kernel.contracts import Command, Person, Query, Reply, Request, Timely
from holdfast.kernel.machine import Advance, Machine
from holdfast.kernel.notices import NoticesAfter
from holdfast.kernel.store import TupleStore
from holdfast.server.grammar import Grammar

ANN, BOB = Person("ann"), Person("bob")
VENDOR = Person("gerda", roles=("vendor",), department="hotel")
NINE = 1_796_115_600_000
"""2026-12-01 09:00 UTC"""
GRAMMAR = Grammar(Slots.commands, Slots.queries)


class Hotel:
    """A vendor that nobody else asks."""

    def __init__(self, slots: int = 500, holds: int = 2, lease_seconds: float = 0, vendor: str = "") -> None:
        self.machine = Machine(Slots(slots, holds, lease_seconds, vendor))
        self.at(0)

    def at(self, seconds: float) -> None:
        self.machine.execute([Request(Advance(NINE + round(seconds * 1000)))], (0, 0))

    def do(self, asked: Command | Query, person: Person | None = ANN) -> Reply:
        request = Request(asked, person=person)
        return self.machine.answer(request) if isinstance(asked, Query) else self.machine.execute([request], (1, 0))[0]

    def says(self, line: str, person: Person | None = ANN) -> str:
        made = GRAMMAR.parse(line.encode(), person)
        if isinstance(made, Reply):
            return made.text()
        assert isinstance(made, Request)
        return self.do(made.command, person).text()

    def notices(self) -> list[str]:
        reply = self.machine.answer(Request(NoticesAfter()))
        return [f"{to}: {text}" for _, to, text in reply.rows]  # type: ignore[attr-defined]


def test_a_slot_is_held_by_one_until_it_is_given_back() -> None:
    hotel = Hotel()
    assert hotel.says("reserve 56") == "Slot 56 is reserved for ann."
    assert hotel.says("reserve 56", BOB) == "Failed: slot 56 is taken."
    assert hotel.says("reserve 56") == "Failed: slot 56 is yours already."
    assert hotel.says("mine") == "You hold 56."
    assert hotel.says("mine", BOB) == "You hold no slots."
    assert hotel.says("available", BOB) == "499 slots are free: 1-55,57-500."
    assert hotel.says("release 56", BOB) == "Failed: slot 56 is not yours."
    assert hotel.says("release 56") == "Slot 56 is free again."
    assert hotel.says("release 56") == "Failed: slot 56 is not yours."
    assert hotel.says("reserve 56", BOB) == "Slot 56 is reserved for bob."


def test_nobody_holds_more_than_two() -> None:
    hotel = Hotel()
    for slot in (300, 7):
        hotel.do(Reserve(slot))
    assert hotel.says("reserve 8") == "Failed: you hold 7, 300, and more than 2 nobody may hold."
    assert hotel.do(Reserve(8), BOB) == Reserved(8, "bob")
    assert hotel.do(Reserve(8)) == MostHeld((7, 300)), "that it is taken as well is no news to who may not have it"
    hotel.do(Release(300))
    assert hotel.do(Reserve(9)) == Reserved(9, "ann")
    assert hotel.do(Mine()) == Held(((7, 0), (9, 0)))


def test_how_many_slots_and_holds_there_are_is_the_vendors_word() -> None:
    hotel = Hotel(slots=3, holds=1)
    assert hotel.says("reserve 4") == "Failed: there is no slot 4, the slots are numbered from 1 to 3."
    hotel.do(Reserve(1))
    assert hotel.do(Reserve(2)) == MostHeld((1,))
    hotel.do(Block(2, 3), VENDOR)
    assert hotel.says("available") == "No slot is free."


@pytest.mark.parametrize("terms", [(0, 2, 0), (10_001, 2, 0), (5, 0, 0), (5, 101, 0), (5, 2, -1), (5, 2, 1e9)])
def test_terms_that_cannot_be(terms: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="a vendor has"):
        Slots(*terms)


@pytest.mark.parametrize(
    ("slots", "holds", "lease", "vendor"), [(4, 2, 0, ""), (3, 1, 0, ""), (3, 2, 1, ""), (3, 2, 0, "x")]
)
def test_terms_belong_to_the_data(slots: int, holds: int, lease: float, vendor: str) -> None:
    store = Hotel(3).machine.store
    assert Slots(3).check(store) is None
    problem = Slots(slots, holds, lease, vendor).check(store)
    assert problem is not None
    assert 'slots = 3, holds = 2, lease_seconds = 0, vendor = ""' in problem
    assert "of no vendor" in str(Slots().check(TupleStore(Slots.rows)))


# -- the vendor -------------------------------------------------------------------------------------


def test_the_vendor_blocks_slots_and_opens_them_again() -> None:
    hotel = Hotel(10)
    hotel.do(Reserve(3))
    assert hotel.says("block 5 9", VENDOR) == "Slots 5 to 9 are blocked."
    assert hotel.says("block 4 5", VENDOR) == "Slots 4 to 5 are blocked."
    assert hotel.says("reserve 7", BOB) == "Failed: slot 7 is taken."
    assert hotel.says("available") == "3 slots are free: 1-2,10."
    assert hotel.says("holders", VENDOR) == "3: ann; " + "; ".join(f"{slot}: blocked" for slot in range(4, 10))
    assert hotel.says("unblock 1 8", VENDOR) == "Slots 1 to 8 are not blocked any more."
    assert hotel.says("available") == "8 slots are free: 1-2,4-8,10."
    assert hotel.says("mine") == "You hold 3.", "what a client holds is not opened"
    assert hotel.says("unblock 9", VENDOR) == "Slot 9 is not blocked any more."


def test_a_block_over_a_held_slot_blocks_nothing_until_the_vendor_takes_that_back() -> None:
    hotel = Hotel(10)
    hotel.do(Reserve(3))
    assert hotel.do(Block(1, 5), VENDOR) == NotAvailable(3)
    assert hotel.says("available") == "9 slots are free: 1-2,4-10."
    assert hotel.says("release 3", VENDOR) == "Slot 3 is free again."
    assert hotel.notices() == ["ann: The vendor has taken slot 3 back; it is yours no longer."]
    assert hotel.says("block 1 5", VENDOR) == "Slots 1 to 5 are blocked."
    assert hotel.do(Release(3), VENDOR) == NotYours(3), "what is blocked is nobody's to give back"
    assert hotel.do(Mine()) == Held(())


@pytest.mark.parametrize("asked", [Block(1), Unblock(1), Holders()])
def test_these_are_the_vendors_words(asked: Command | Query) -> None:
    hotel = Hotel(vendor="hotel")
    for stranger in (ANN, Person("bruno", roles=("vendor",), department="band")):
        assert hotel.do(asked, stranger) == VendorOnly(stranger.id)
        if isinstance(asked, Command):
            assert hotel.machine.admit(Request(asked, person=stranger), NINE) == VendorOnly(stranger.id)
    assert not hotel.do(asked, VENDOR).failed
    hotel.do(Reserve(5))
    assert hotel.do(Release(5), Person("bruno", roles=("vendor",), department="band")) == NotYours(5)


def test_many_holders_are_told_by_pages() -> None:
    hotel = Hotel(1200)
    hotel.do(Block(1, 1200), VENDOR)
    first = hotel.do(Holders(), VENDOR)
    assert isinstance(first, HolderList)
    assert first.text().endswith("500: blocked; more: holders 500")
    last = hotel.do(Holders(1000), VENDOR)
    assert last == HolderList(tuple((slot, "") for slot in range(1001, 1201)), 0)


# -- what makes no sense ----------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [Reserve(1), Release(1), Confirm(1), Block(1), Unblock(1)])
def test_nobody_holds_nothing_and_the_door_says_so(asked: Command) -> None:
    hotel = Hotel()
    assert hotel.do(asked, None) == NobodyNamed()
    assert hotel.machine.admit(Request(asked), NINE) == NobodyNamed()
    assert hotel.do(Mine(), None) == hotel.do(Holders(), None) == NobodyNamed()
    assert not hotel.do(Available(), None).failed


@pytest.mark.parametrize("slot", [0, -1, 501, 2**62])
@pytest.mark.parametrize("word", [Reserve, Release, Confirm, Block, Unblock])
def test_a_slot_that_is_not_there_is_refused_at_the_door_and_inside(word: type[Command], slot: int) -> None:
    hotel = Hotel()
    before = hotel.machine.digest()
    command = word(slot)
    assert hotel.do(command, VENDOR) == NoSuchSlot(slot, 500)
    assert hotel.machine.admit(Request(command, person=VENDOR), NINE) == NoSuchSlot(slot, 500)
    assert hotel.machine.digest() == before


def test_a_range_the_wrong_way_round() -> None:
    assert Hotel().do(Block(5, 4), VENDOR) == NoSuchRange(5, 4)
    assert Hotel().says("block 5 4", VENDOR) == "Failed: slot 4 comes before slot 5; name the first one first."


# -- leases -----------------------------------------------------------------------------------------


def test_a_lease_runs_out_unless_it_is_confirmed() -> None:
    hotel = Hotel(10, lease_seconds=90)
    assert hotel.says("reserve 3") == "Slot 3 is reserved for ann until 2026-12-01 09:01 UTC unless confirmed."
    hotel.do(Reserve(5))
    assert hotel.says("confirm 5") == "Slot 5 is confirmed for ann."
    assert hotel.says("confirm 5") == "Slot 5 is confirmed for ann."
    hotel.at(89.999)
    assert hotel.do(Mine()) == Held(((3, NINE + 90_000), (5, 0)))
    assert hotel.says("reserve 3", BOB) == "Failed: slot 3 is taken."
    hotel.at(90)
    assert hotel.says("mine") == "You hold 5."
    assert hotel.says("available") == "9 slots are free: 1-4,6-10."
    assert hotel.says("holders", VENDOR) == "5: ann"
    assert hotel.says("confirm 3") == "Failed: slot 3 is not yours."
    assert hotel.notices() == ["ann: Your lease of slot 3 has run out: it was not confirmed in time."]
    assert hotel.says("reserve 3", BOB) == "Slot 3 is reserved for bob until 2026-12-01 09:03 UTC unless confirmed."


def test_time_alone_gives_back_what_has_run_out_and_tells_whose_it_was() -> None:
    hotel = Hotel(10, lease_seconds=60)
    hotel.do(Reserve(3))
    hotel.do(Reserve(5), BOB)
    hotel.do(Confirm(5), BOB)
    hotel.at(59)
    assert hotel.notices() == []
    hotel.at(60)
    assert hotel.notices() == ["ann: Your lease of slot 3 has run out: it was not confirmed in time."]
    assert isinstance(hotel.machine.app, Timely)
    assert hotel.machine.app.due_ms(hotel.machine.store) is None


def test_what_has_run_out_counts_no_more_against_its_holder() -> None:
    hotel = Hotel(10, lease_seconds=60)
    hotel.do(Reserve(1))
    hotel.at(30)
    hotel.do(Reserve(2))
    hotel.at(60)
    assert hotel.do(Reserve(3)) == Reserved(3, "ann", NINE + 120_000)
    assert hotel.do(Mine()) == Held(((2, NINE + 90_000), (3, NINE + 120_000)))
    hotel.do(Release(2))
    hotel.at(200)
    assert hotel.do(Block(1, 10), VENDOR) == hotel.do(Block(1, 10), VENDOR)
    assert not hotel.machine.store.table(Lease)


def test_the_app_tells_when_the_next_lease_runs_out() -> None:
    hotel = Hotel(10, lease_seconds=60)
    app = hotel.machine.app
    assert isinstance(app, Slots)
    assert app.due_ms(hotel.machine.store) is None
    hotel.do(Reserve(1))
    hotel.at(1)
    hotel.do(Reserve(2))
    assert app.due_ms(hotel.machine.store) == NINE + 60_000
    hotel.do(Confirm(1))
    assert app.due_ms(hotel.machine.store) == NINE + 61_000
    assert Slots().due_ms(hotel.machine.store) is None


# -- any row of commands ----------------------------------------------------------------------------


class Plain:
    """A vendor as one dictionary: slot to (client, end of its lease or None)."""

    def __init__(self, slots: int, holds: int, lease: int) -> None:
        self.slots, self.holds, self.lease, self.now = slots, holds, lease, 0
        self.taken: dict[int, tuple[str, int | None]] = {}

    def of(self, client: str) -> list[int]:
        return sorted(slot for slot, (holder, _) in self.taken.items() if holder == client)

    def free(self) -> list[int]:
        return [slot for slot in range(1, self.slots + 1) if slot not in self.taken]

    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.taken = {s: (c, end) for s, (c, end) in self.taken.items() if end is None or end > self.now}

    def reserve(self, client: str, slot: int) -> bool:
        if not 1 <= slot <= self.slots or len(self.of(client)) >= self.holds or slot in self.taken:
            return False
        self.taken[slot] = (client, self.now + self.lease if self.lease else None)
        return True

    def release(self, client: str, slot: int) -> bool:
        holder = self.taken.get(slot, ("", None))[0]
        if not holder or client not in (holder, "gerda"):
            return False
        del self.taken[slot]
        return True

    def confirm(self, client: str, slot: int) -> bool:
        if slot not in self.of(client):
            return False
        self.taken[slot] = (client, None)
        return True

    def block(self, client: str, slot: int) -> bool:
        if client != "gerda" or not 1 <= slot <= self.slots or self.taken.get(slot, ("", None))[0]:
            return False
        self.taken[slot] = ("", None)
        return True

    def unblock(self, client: str, slot: int) -> bool:
        if client != "gerda" or not 1 <= slot <= self.slots:
            return False
        if slot in self.of(""):
            del self.taken[slot]
        return True


WORDS = {"reserve": Reserve, "release": Release, "confirm": Confirm, "block": Block, "unblock": Unblock}
STEPS = st.lists(
    st.tuples(st.sampled_from([*WORDS, "reserve", "wait"]), st.sampled_from([ANN, BOB, VENDOR]), st.integers(0, 5)),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, holds=st.integers(1, 3), lease=st.sampled_from([0, 4]))
def test_it_agrees_with_a_dictionary_and_with_its_own_copy(
    steps: list[tuple[str, Person, int]], holds: int, lease: int
) -> None:
    hotel, plain = Hotel(4, holds, lease), Plain(4, holds, lease)
    for word, person, number in steps:
        if word == "wait":
            plain.wait(number)
            hotel.at(plain.now)
        else:
            reply = hotel.do(WORDS[word](number), person)
            assert reply.failed is not getattr(plain, word)(person.id, number), reply
        free = hotel.do(Available())
        assert list(free.numbers()) == plain.free()  # type: ignore[attr-defined]
        for client in (ANN, BOB, VENDOR):
            held = hotel.do(Mine(), client)
            assert [slot for slot, _ in held.slots] == plain.of(client.id)  # type: ignore[attr-defined]
        told = hotel.do(Holders(), VENDOR)
        assert dict(told.taken) == {s: c for s, (c, _) in plain.taken.items()}  # type: ignore[attr-defined]
    store = hotel.machine.store
    assert TupleStore.restore(hotel.machine.rows, store.snapshot()).digest() == store.digest()


def test_each_free_slot_has_no_row_and_each_taken_one_has() -> None:
    hotel = Hotel()
    for slot in (1, 500):
        hotel.do(Reserve(slot))
    assert len(hotel.machine.store.table(Taken)) == 2
    for slot in (1, 500):
        hotel.do(Release(slot))
    assert len(hotel.machine.store.table(Taken)) == 0
