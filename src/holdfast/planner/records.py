"""What a planner writes into its journal: the goal, and every write before it leaves.

What is held is not in it: the vendors are asked. What they cannot tell is which request may still
be on its way, and that is what these records are for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from holdfast.kernel import codec


class Began(msgspec.Struct, frozen=True, array_like=True, tag="began"):
    """The first record: the vendors' ids, in order, and the slots that will do."""

    vendors: tuple[str, ...]
    first: int
    last: int


class Intent(msgspec.Struct, frozen=True, array_like=True, tag="intent"):
    """This write is about to leave. `requests`: how many the plan has sent, this one included;
    `since`: how many of them without an improvement."""

    id: int
    vendor: int
    reserves: bool
    slot: int
    requests: int
    since: int


class Settled(msgspec.Struct, frozen=True, array_like=True, tag="settled"):
    """It is known what became of the write: it can take effect no more."""

    id: int


class Pursuing(msgspec.Struct, frozen=True, array_like=True, tag="pursuing"):
    """The slot that is being booked at all vendors; 0 for none."""

    slot: int


class Matched(msgspec.Struct, frozen=True, array_like=True, tag="matched"):
    """This slot is held at every vendor."""

    slot: int
    requests: int


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="ended"):
    """The plan is over, with this slot (0 for none); every vendor has confirmed it."""

    slot: int
    why: str


Record = Began | Intent | Settled | Pursuing | Matched | Ended

encode = codec.encode
decode: Callable[[bytes], Record] = codec.decoder(Record, "record of a planner")


def vendors_of(journal: Sequence[bytes]) -> tuple[str, ...]:
    """The ids of the vendors that these records speak of; none for an empty journal."""
    first = decode(journal[0]) if journal else None
    return first.vendors if isinstance(first, Began) else ()
