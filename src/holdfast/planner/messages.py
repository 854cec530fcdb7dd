"""What goes to a vendor and what comes back, and the reading of bodies that nobody vouches for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

Verb = Literal["look", "ask", "reserve", "release", "confirm"]
"""`look`: what is free; `ask`: what do I hold; `reserve` and `release` a slot; `confirm` one that is on a lease."""
WRITES = ("reserve", "release")
SLOTS_TOLD_MAX = 100_000
"""More slots than any vendor has: such a list is garbage."""
UNIX_SECONDS_MAX = 1e11
"""The year 5138."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """One request to a vendor. `id` tells it from all others of this process."""

    id: int
    verb: Verb
    slot: int = 0

    @property
    def writes(self) -> bool:
        """Whether it changes what is held."""
        return self.verb in WRITES

    @property
    def text(self) -> str:
        """As people read it."""
        return {"look": "what is free", "ask": "what do I hold"}.get(self.verb, f"{self.verb} {self.slot}")


class Answered(msgspec.Struct, frozen=True, gc=False):
    """An answer, in time or late. `retry_after_us` 0 and `longest_delay_us` None: it did not say.
    `unix_us`: what the vendor's clock showed, not less; 0 where nobody knows."""

    id: int
    status: int
    body: bytes = b""
    retry_after_us: int = 0
    longest_delay_us: int | None = None
    unix_us: int = 0


class Unanswered(msgspec.Struct, frozen=True, gc=False):
    """No answer will come. `sent` False: it surely never left, as when the connection was refused."""

    id: int
    sent: bool
    why: str = ""


class _Slot(msgspec.Struct, frozen=True, gc=False):
    id: str | int
    expires: Any = None


_decode_slots = msgspec.json.Decoder(list[_Slot]).decode
_decode_slot = msgspec.json.Decoder(_Slot).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_GARBAGE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def slots_of(body: bytes) -> tuple[int, ...] | None:
    """The slots of a list, ascending, each once; None if the body is no such list."""
    try:
        listed = [_number(slot.id) for slot in _decode_slots(body)]
    except _GARBAGE:
        return None
    if len(listed) > SLOTS_TOLD_MAX:
        return None
    slots = [slot for slot in listed if slot is not None]
    return tuple(sorted(set(slots))) if len(slots) == len(listed) else None


def slot_of(body: bytes) -> int | None:
    """The slot that a reservation's answer names, or None."""
    try:
        return _number(_decode_slot(body).id)
    except _GARBAGE:
        return None


def leases_of(body: bytes) -> dict[int, float]:
    """When the leases of the slots in a list, or of the one that an answer names, end (Unix seconds), by slot. A slot
    without one is held for good. What makes no sense names none."""
    try:
        listed = _decode_slots(body) if body.lstrip()[:1] == b"[" else [_decode_slot(body)]
    except _GARBAGE:
        return {}
    ends = {_number(slot.id): slot.expires for slot in listed if isinstance(slot.expires, int | float)}
    return {slot: float(end) for slot, end in ends.items() if slot is not None and 0 < end < UNIX_SECONDS_MAX}


def moment_text(unix_seconds: float) -> str:
    """A moment for people, to the second."""
    return f"{datetime.fromtimestamp(unix_seconds, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"


def is_object(body: bytes) -> bool:
    """Whether this is a JSON object at all, as every answer to a deletion is."""
    try:
        _decode_object(body)
    except _GARBAGE:
        return False
    return True


def _number(id: str | int) -> int | None:
    """A slot's number, from 1; vendors write it as text."""
    if isinstance(id, str):
        if not (id.isascii() and id.isdigit() and len(id) <= 9):
            return None
        id = int(id)
    return id if 0 < id < 10**9 else None
