"""What can be asked of a vendor, and how large it may be."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from holdfast.kernel.contracts import Command, Query

VENDOR = "vendor"
"""The role of who may block slots, open them, take them back and see who holds them."""
SLOTS_MAX = 10_000
HOLDS_MAX = 100
LEASE_SECONDS_MAX = 30 * 86_400

Slot = Annotated[int, Meta(ge=1, le=SLOTS_MAX)]
LastSlot = Annotated[int, Meta(ge=0, le=SLOTS_MAX)]


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
