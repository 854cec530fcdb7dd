"""What a vendor answers."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.kernel.contracts import Refusal, Reply
from holdfast.kernel.stamps import utc_text


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
