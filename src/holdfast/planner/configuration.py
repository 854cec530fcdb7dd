"""What a planner is told: which vendors, which slots, how fast, how patient. Times are microseconds."""

from __future__ import annotations

import msgspec

SECOND_US = 1_000_000
SLOT_MAX = 500
"""The vendors of the exercise have slots 1 to 500."""
GRACE_US = 120 * SECOND_US
FINISHING_ROUNDS = 4
"""To each vendor: two releases, a question what is held, and one for something late."""


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor. `name`: as people read it, none twice. `id`: what the journal knows it by (its address).

    `longest_delay_us`: the longest time from sending a request until it has taken effect or never
    will, None if the vendor does not name one; its answers may tell it later. `interval_us`: the
    least time between two requests to this vendor.
    """

    name: str
    id: str = ""
    longest_delay_us: int | None = None
    interval_us: int = 0


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """`first`, `last`: the slots that will do. `interval_us`: the least time between any two requests.

    `patience`: so many requests without an improvement end the search, 0 for no such end.
    `deadline_us`: when the search ends at the latest, in the core's own time. `holds_max`: what a client may
    hold at a vendor. `timeout_us`: an answer that has not come by then counts as unknown. `unmatched_us`:
    how long a slot is held while another vendor cannot say whether it has it too, see `half_us`. `assumed_delay_us`
    stands in for the longest delay of a vendor that names none. `grace_us`: see `finish_us`. `release`: give
    back all that is held.
    """

    vendors: tuple[Vendor, ...]
    first: int = 1
    last: int = SLOT_MAX
    interval_us: int = SECOND_US
    patience: int = 60
    deadline_us: int | None = None
    holds_max: int = 2
    timeout_us: int = 3 * SECOND_US
    unmatched_us: int = 15 * SECOND_US
    assumed_delay_us: int = 30 * SECOND_US
    grace_us: int = GRACE_US
    release: bool = False

    def __post_init__(self) -> None:
        names = [vendor.name for vendor in self.vendors]
        if not names:
            raise ValueError("a plan needs at least one vendor")
        if len(set(names)) < len(names):
            raise ValueError(f"two vendors have one name: {', '.join(names)}")
        if not 1 <= self.first <= self.last:
            raise ValueError(f"no slots from {self.first} to {self.last}")
        if self.holds_max < 2:
            raise ValueError("at least two holds a vendor, or no match could be kept while a better one is booked")
        if self.interval_us < 0 or self.timeout_us <= 0 or self.patience < 0 or self.grace_us < 0:
            raise ValueError("times and patience are not negative, and an answer needs some time")

    @property
    def half_us(self) -> int:
        """So long a slot that is being booked is held without getting on: `unmatched_us`, and what the rate takes."""
        return self.unmatched_us + self.interval_us + max(vendor.interval_us for vendor in self.vendors)

    @property
    def finish_us(self) -> int:
        """So long after the search the plan is over, whatever the vendors do: the grace, and the time that
        a few requests to each of them take at the rate."""
        slowest_us = max(self.interval_us * len(self.vendors), *(vendor.interval_us for vendor in self.vendors))
        return self.grace_us + FINISHING_ROUNDS * slowest_us
