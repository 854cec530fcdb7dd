"""The numbered slots of one vendor: a hotel's nights, a band's evenings. Slot 1 is the earliest.

A client is whoever asks, by its id. It holds at most so many slots at a time (two, if the vendor says
nothing else). The vendor itself, a person with the role `vendor`, blocks slots and opens them again,
and may take a client's slot back. With a lease, a slot that is not confirmed within it is free again
when its time is over by the replicated clock; nothing has to happen at that moment, as every command
gives back first what has run out, and a question does not count it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from holdfast.apps.numbers import FreeMask, FreeNumbers
from holdfast.kernel.contracts import Command, Context, Person, Query, Refusal, Reply
from holdfast.kernel.stamps import utc_text
from holdfast.kernel.store import Condition, Row, Select

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

VENDOR = "vendor"
"""The role of who may block slots, open them, take them back and see who holds them."""
SLOTS_MAX = 10_000
HOLDS_MAX = 100
LEASE_SECONDS_MAX = 30 * 86_400
TAKEN_SHOWN_MAX = 500

Slot = Annotated[int, Meta(ge=1, le=SLOTS_MAX)]
LastSlot = Annotated[int, Meta(ge=0, le=SLOTS_MAX)]


class Taken(Row, frozen=True):
    """A slot that is not free. `client`: who holds it, or "" where the vendor has blocked it."""

    table = "taken"
    key = ("slot",)
    ordered = True

    slot: int
    client: str


class Holder(Row, frozen=True):
    """The slots of one client, ascending, never empty."""

    table = "holders"
    key = ("client",)

    client: str
    slots: tuple[int, ...]


class Lease(Row, frozen=True):
    """A slot that is held and not confirmed yet, until `until_ms` by the replicated clock."""

    table = "leases"
    key = ("slot",)
    indexes = ("until_ms",)

    slot: int
    until_ms: int


class FreeSlots(FreeMask, frozen=True):
    """A node of the tree that says which slots are free."""

    table = "free_slots"
    key = ("node",)


class Terms(Row, frozen=True):
    """The one row about the vendor: how many slots there are, how many a client may hold, and for how
    long a slot is held without a confirmation (0: for good), and whose people are the vendor's."""

    table = "terms"
    key = ("id",)

    id: int
    slots: int
    holds: int
    lease_ms: int
    vendor: str


class Reserve(Command, frozen=True, tag="reserve"):
    """Hold a slot."""

    slot: Slot


class Confirm(Command, frozen=True, tag="confirm"):
    """Keep a slot that is held on a lease."""

    slot: Slot


class Release(Command, frozen=True, tag="release"):
    """Give a slot back; the vendor may take anybody's back."""

    slot: Slot


class Block(Command, frozen=True, tag="block"):
    """As the vendor: keep a slot, or all from the first to the last, from being held by anybody."""

    first: Slot
    last: LastSlot = 0


class Unblock(Command, frozen=True, tag="unblock"):
    """As the vendor: open blocked slots again."""

    first: Slot
    last: LastSlot = 0


class Available(Query, frozen=True, tag="available"):
    """Tell which slots are free."""


class Mine(Query, frozen=True, tag="mine"):
    """Tell which slots one holds oneself."""


class Holders(Query, frozen=True, tag="holders"):
    """As the vendor: tell who holds which slot, after the given one."""

    after: LastSlot = 0


class Reserved(Reply, frozen=True, tag="reserved"):
    """The slot is the client's; `until_ms`: until then unless it is confirmed, 0 for good."""

    slot: int
    client: str
    until_ms: int = 0

    def text(self) -> str:
        return f"Slot {self.slot} is reserved for {self.client}{_unless_confirmed(self.until_ms)}."


class Confirmed(Reply, frozen=True, tag="confirmed"):
    """The slot stays the client's."""

    slot: int
    client: str

    def text(self) -> str:
        return f"Slot {self.slot} is confirmed for {self.client}."


class Released(Reply, frozen=True, tag="released"):
    """The slot is free again."""

    slot: int

    def text(self) -> str:
        return f"Slot {self.slot} is free again."


class Blocked(Reply, frozen=True, tag="blocked"):
    """The vendor has these slots, both ends included."""

    first: int
    last: int

    def text(self) -> str:
        return f"{_slots(self.first, self.last)} blocked."


class Unblocked(Reply, frozen=True, tag="unblocked"):
    """None of these slots is blocked any more."""

    first: int
    last: int

    def text(self) -> str:
        return f"{_slots(self.first, self.last)} not blocked any more."


class Free(Reply, frozen=True, tag="available"):
    """All ranges of free slots, both ends included, ascending."""

    ranges: tuple[tuple[int, int], ...]

    def numbers(self) -> Iterator[int]:
        """Each free slot, ascending."""
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def text(self) -> str:
        if not self.ranges:
            return "No slot is free."
        count = sum(last - first + 1 for first, last in self.ranges)
        shown = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self.ranges)
        return f"{count} {'slot is' if count == 1 else 'slots are'} free: {shown}."


class Held(Reply, frozen=True, tag="mine"):
    """The slots of who asks, ascending, each with the end of its lease (Unix ms), 0 for good."""

    slots: tuple[tuple[int, int], ...]

    def text(self) -> str:
        if not self.slots:
            return "You hold no slots."
        return f"You hold {', '.join(f'{slot}{_unless_confirmed(until)}' for slot, until in self.slots)}."


class HolderList(Reply, frozen=True, tag="holders"):
    """Slots that are not free, with who holds each, "" for the vendor. `more_after`: where the next page
    begins, or 0 if this is the last."""

    taken: tuple[tuple[int, str], ...]
    more_after: int

    def text(self) -> str:
        if not self.taken:
            return "Every slot is free."
        shown = [f"{slot}: {client or 'blocked'}" for slot, client in self.taken]
        if self.more_after:
            shown.append(f"more: holders {self.more_after}")
        return "; ".join(shown)


class NobodyNamed(Refusal, frozen=True, tag="nobody_named"):
    """Slots are held by somebody, and nobody has said who asks."""

    def text(self) -> str:
        return "Failed: say who you are first: login ID."


class VendorOnly(Refusal, frozen=True, tag="vendor_only"):
    """Only the vendor may do this."""

    client: str

    def text(self) -> str:
        return f"Failed: {self.client} is not the vendor, and only the vendor may do this."


class NoSuchSlot(Refusal, frozen=True, tag="no_such_slot"):
    """The vendor has no slot of this number."""

    slot: int
    slots: int

    def text(self) -> str:
        return f"Failed: there is no slot {self.slot}, the slots are numbered from 1 to {self.slots}."


class NoSuchRange(Refusal, frozen=True, tag="no_such_range"):
    """The last slot lies before the first."""

    first: int
    last: int

    def text(self) -> str:
        return f"Failed: slot {self.last} comes before slot {self.first}; name the first one first."


class NotAvailable(Refusal, frozen=True, tag="not_available"):
    """The slot is not free. `yours`: since who asks holds it already."""

    slot: int
    yours: bool = False

    def text(self) -> str:
        return f"Failed: slot {self.slot} is yours already." if self.yours else f"Failed: slot {self.slot} is taken."


class MostHeld(Refusal, frozen=True, tag="most_held"):
    """The client holds as many slots as it may."""

    slots: tuple[int, ...]

    def text(self) -> str:
        return f"Failed: you hold {', '.join(map(str, self.slots))}, and more than {len(self.slots)} nobody may hold."


class NotYours(Refusal, frozen=True, tag="not_yours"):
    """The client does not hold the slot, or not any more."""

    slot: int

    def text(self) -> str:
        return f"Failed: slot {self.slot} is not yours."


def _unless_confirmed(until_ms: int) -> str:
    return f" until {utc_text(until_ms)} unless confirmed" if until_ms else ""


def _slots(first: int, last: int) -> str:
    return f"Slot {first} is" if first == last else f"Slots {first} to {last} are"


class Slots:
    """The app; its options are fixed with the first start of the data. `lease_seconds`: 0 for none. `vendor`:
    the department whose people with the role `vendor` are this vendor, "" for all who have the role."""

    name = "slots"
    rows: tuple[type[Row], ...] = (Taken, Holder, Lease, FreeSlots, Terms)
    commands: tuple[type[Command], ...] = (Reserve, Confirm, Release, Block, Unblock)
    queries: tuple[type[Query], ...] = (Available, Mine, Holders)
    replies: tuple[type[Reply], ...] = (
        *(Reserved, Confirmed, Released, Blocked, Unblocked, Free, Held, HolderList),
        *(NobodyNamed, VendorOnly, NoSuchSlot, NoSuchRange, NotAvailable, MostHeld, NotYours),
    )

    def __init__(self, slots: int = 500, holds: int = 2, lease_seconds: float = 0, vendor: str = "") -> None:
        if not (1 <= slots <= SLOTS_MAX and 1 <= holds <= HOLDS_MAX and 0 <= lease_seconds <= LEASE_SECONDS_MAX):
            why = f"1 to {SLOTS_MAX} slots, 1 to {HOLDS_MAX} holds, a lease of 0 to {LEASE_SECONDS_MAX} seconds"
            raise ValueError(f"a vendor has {why}, not {slots}, {holds} and {lease_seconds}")
        self.slots = slots
        self.holds = holds
        self.lease_ms = round(lease_seconds * 1000)
        self.vendor = vendor
        self._terms = Terms(0, slots, holds, self.lease_ms, vendor)
        self._free = FreeNumbers(slots, FreeSlots)
        self._apply: dict[type, Callable[[TupleStore, Any, Person, Context], Reply]] = {
            Reserve: self._reserve,
            Confirm: self._confirm,
            Release: self._release,
            Block: self._block,
            Unblock: self._unblock,
        }

    def create(self, store: TupleStore) -> None:
        """Every slot is free."""
        store.table(Terms).put(self._terms)

    def check(self, store: TupleStore) -> str | None:
        """The terms belong to the data: they can be set only before the first start."""
        terms = store.table(Terms).get(0)
        if terms is None:
            return "the data is of no vendor: it is not of this app; set it aside and start from an empty directory"
        if terms != self._terms:
            return (
                "the data is of a vendor on other terms than the configuration says; set "
                f"slots = {terms.slots}, holds = {terms.holds}, lease_seconds = {terms.lease_ms / 1000:g}, "
                f'vendor = "{terms.vendor}", or set the data aside'
            )
        return None

    def admit(self, command: Any, person: Person | None, now_ms: int) -> Refusal | None:
        """Slots that there are not, nobody who asks, and a vendor's words in the mouth of another."""
        return self._senseless(command, person)

    def firm_by_ms(self, command: Any) -> int | None:
        """The vendor does not mind."""
        return None

    def time_text(self, ms: int) -> str:
        """UTC."""
        return utc_text(ms)

    def due_ms(self, store: TupleStore) -> int | None:
        """When the next lease runs out (Unix ms), None if none does; see `kernel.contracts.Timed`."""
        if not self.lease_ms:
            return None
        first = store.select(Select(Lease.table, order=("until_ms",), limit=1))
        return first[0].until_ms if first else None

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        """Execute one command. Total over every decodable command; a refusal changes nothing but what has run out."""
        refusal = self._senseless(command, context.person)
        if refusal is not None:
            return refusal
        assert context.person is not None  # or it would have been refused
        for slot in self._run_out(store, context.now_ms):
            client = self._give_back(store, slot)
            context.notify(client, f"your lease of slot {slot} has run out")
        return self._apply[type(command)](store, command, context.person, context)

    def answer(self, store: TupleStore, query: Any, context: Context) -> Reply:
        """Answer one query; changes nothing."""
        person = context.person
        if isinstance(query, Available):
            return Free(tuple(self._free_ranges(store, context.now_ms)))
        if person is None:
            return NobodyNamed()
        if isinstance(query, Mine):
            return self._mine(store, person.id, context.now_ms)
        return self._holders(store, query.after, person, context.now_ms)

    # -- what makes no sense --------------------------------------------------------------------

    def _senseless(self, command: Any, person: Person | None) -> Refusal | None:
        if person is None:
            return NobodyNamed()
        is_range = isinstance(command, Block | Unblock)
        if is_range and not self._is_vendor(person):
            return VendorOnly(person.id)
        first, last = (command.first, command.last or command.first) if is_range else (command.slot, command.slot)
        for slot in (first, last):
            if not 1 <= slot <= self.slots:
                return NoSuchSlot(slot, self.slots)
        return NoSuchRange(first, last) if last < first else None

    def _is_vendor(self, person: Person) -> bool:
        return VENDOR in person.roles and self.vendor in ("", person.department)

    # -- commands -------------------------------------------------------------------------------

    def _reserve(self, store: TupleStore, command: Reserve, person: Person, context: Context) -> Reply:
        slot, client = command.slot, person.id
        holders, free = store.table(Holder), store.table(FreeSlots)
        holder = holders.get(client)
        held = () if holder is None else holder.slots
        if slot in held:
            return NotAvailable(slot, yours=True)
        if len(held) >= self.holds:
            return MostHeld(held)
        if self._free.first_taken(free, (slot,)) is not None:
            return NotAvailable(slot)
        self._free.take(free, (slot,))
        store.table(Taken).put(Taken(slot, client))
        holders.put(Holder(client, tuple(sorted((*held, slot)))))
        if not self.lease_ms:
            return Reserved(slot, client)
        until_ms = context.now_ms + self.lease_ms
        store.table(Lease).put(Lease(slot, until_ms))
        return Reserved(slot, client, until_ms)

    def _confirm(self, store: TupleStore, command: Confirm, person: Person, context: Context) -> Reply:
        taken = store.table(Taken).get(command.slot)
        if taken is None or taken.client != person.id:
            return NotYours(command.slot)
        if store.table(Lease).get(command.slot) is not None:
            store.table(Lease).delete(command.slot)
        return Confirmed(command.slot, person.id)

    def _release(self, store: TupleStore, command: Release, person: Person, context: Context) -> Reply:
        taken = store.table(Taken).get(command.slot)
        if taken is None or not taken.client or (taken.client != person.id and not self._is_vendor(person)):
            return NotYours(command.slot)
        self._give_back(store, command.slot)
        if taken.client != person.id:
            context.notify(taken.client, f"the vendor has taken slot {command.slot} back")
        return Released(command.slot)

    def _give_back(self, store: TupleStore, slot: int) -> str:
        """Make a slot free that a client holds; the client."""
        taken = store.table(Taken)
        client = taken.get(slot).client  # type: ignore[union-attr]  # the caller has looked
        taken.delete(slot)
        holders, leases = store.table(Holder), store.table(Lease)
        left = tuple(held for held in holders.get(client).slots if held != slot)  # type: ignore[union-attr]
        if left:
            holders.put(Holder(client, left))
        else:
            holders.delete(client)
        if leases.get(slot) is not None:
            leases.delete(slot)
        self._free.give(store.table(FreeSlots), (slot,))
        return client

    def _block(self, store: TupleStore, command: Block, person: Person, context: Context) -> Reply:
        taken, first, last = store.table(Taken), command.first, command.last or command.first
        slots = []
        for slot in range(first, last + 1):
            row = taken.get(slot)
            if row is None:
                slots.append(slot)
            elif row.client:
                return NotAvailable(slot)
        for slot in slots:
            taken.put(Taken(slot, ""))
        if slots:
            self._free.take(store.table(FreeSlots), slots)
        return Blocked(first, last)

    def _unblock(self, store: TupleStore, command: Unblock, person: Person, context: Context) -> Reply:
        taken, first, last = store.table(Taken), command.first, command.last or command.first
        slots = [slot for slot in range(first, last + 1) if (row := taken.get(slot)) is not None and not row.client]
        for slot in slots:
            taken.delete(slot)
        if slots:
            self._free.give(store.table(FreeSlots), slots)
        return Unblocked(first, last)

    # -- leases and queries ---------------------------------------------------------------------

    def _run_out(self, store: TupleStore, now_ms: int) -> list[int]:
        """The slots whose lease is over, in the order of their ends."""
        if not self.lease_ms:
            return []
        where = (Condition("until_ms", "<=", now_ms),)
        return [lease.slot for lease in store.select(Select(Lease.table, where=where, order=("until_ms",)))]

    def _free_ranges(self, store: TupleStore, now_ms: int) -> list[tuple[int, int]]:
        ranges = list(self._free.free_ranges(store.table(FreeSlots)))
        run_out = self._run_out(store, now_ms)
        if not run_out:
            return ranges
        joined: list[tuple[int, int]] = []
        for first, last in sorted([*ranges, *((slot, slot) for slot in run_out)]):
            if joined and joined[-1][1] == first - 1:
                first = joined.pop()[0]
            joined.append((first, last))
        return joined

    def _mine(self, store: TupleStore, client: str, now_ms: int) -> Reply:
        holder, leases = store.table(Holder).get(client), store.table(Lease)
        held = []
        for slot in () if holder is None else holder.slots:
            lease = leases.get(slot)
            if lease is None or lease.until_ms > now_ms:
                held.append((slot, 0 if lease is None else lease.until_ms))
        return Held(tuple(held))

    def _holders(self, store: TupleStore, after: int, person: Person, now_ms: int) -> Reply:
        if not self._is_vendor(person):
            return VendorOnly(person.id)
        run_out = frozenset(self._run_out(store, now_ms))
        where = (Condition("slot", ">", after),)
        rows = store.select(Select(Taken.table, where=where, order=("slot",), limit=TAKEN_SHOWN_MAX + 1))
        shown = rows[:TAKEN_SHOWN_MAX]
        taken = tuple((row.slot, row.client) for row in shown if row.slot not in run_out)
        return HolderList(taken, shown[-1].slot if len(shown) < len(rows) else 0)
