"""What a vendor's store holds."""

from __future__ import annotations

from holdfast.apps.numbers import FreeMask
from holdfast.kernel.store import Row


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
