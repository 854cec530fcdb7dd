"""The numbered slots of one vendor: a hotel's nights, a band's evenings. Slot 1 is the earliest.

A client is whoever asks, by its id. It holds at most so many slots at a time (two, if the vendor says
nothing else). The vendor itself, a person with the role `vendor`, blocks slots and opens them again,
and may take a client's slot back. With a lease, a slot that is not confirmed within it is free again
when its time is over by the replicated clock: each step of that clock gives back what has run out. A clock
of steps lags behind, so every command does so first, and a question does not count it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from holdfast.apps.numbers import FreeNumbers
from holdfast.apps.slots.replies import (
    Blocked,
    Confirmed,
    Free,
    Held,
    HolderList,
    MostHeld,
    NobodyNamed,
    NoSuchRange,
    NoSuchSlot,
    NotAvailable,
    NotYours,
    Released,
    Reserved,
    Unblocked,
    VendorOnly,
)
from holdfast.apps.slots.rows import FreeSlots, Holder, Lease, Taken, Terms
from holdfast.apps.slots.words import (
    HOLDS_MAX,
    LEASE_SECONDS_MAX,
    SLOTS_MAX,
    VENDOR,
    Available,
    Block,
    Confirm,
    Holders,
    Mine,
    Release,
    Reserve,
    Unblock,
)
from holdfast.kernel.contracts import Command, Context, Person, Query, Refusal, Reply
from holdfast.kernel.stamps import utc_text
from holdfast.kernel.store import Condition, Row, Select

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

TAKEN_SHOWN_MAX = 500
"""Slots that one answer to `holders` tells of."""


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

    def pass_time(self, store: TupleStore, context: Context) -> None:
        """Give back what has run out, and tell whose it was; see `kernel.contracts.Timely`."""
        for slot in self._run_out(store, context.now_ms):
            client = self._give_back(store, slot)
            context.notify(client, f"Your lease of slot {slot} has run out: it was not confirmed in time.")

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        """Execute one command. Total over every decodable command; a refusal changes nothing but what has run out."""
        refusal = self._senseless(command, context.person)
        if refusal is not None:
            return refusal
        assert context.person is not None  # or it would have been refused
        self.pass_time(store, context)
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
            context.notify(taken.client, f"The vendor has taken slot {command.slot} back; it is yours no longer.")
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
