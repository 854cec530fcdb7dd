"""How long a planner may take: what it needs when all goes well, and what every hindrance that it met has cost it.

Written from what left it and what came back, not from what it thinks.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.planner.configuration import Configuration
from holdfast.planner.messages import Answered, Call, Unanswered
from holdfast.sim.planner.vendor import GARBAGE, SECOND_US, SimVendor

BACKOFF_US_MAX = 30 * SECOND_US
CHILL_US_MAX = 60 * SECOND_US
RESTART_US = 5 * SECOND_US
UNDERSTOOD = (200, 403, 409, 451)
NOT_DONE = (400, 401, 403, 404, 409, 429, 451)


class Sent:
    """One request and what became of it."""

    __slots__ = ("at_us", "call", "heard_us", "message", "vendor")

    def __init__(self, at_us: int, vendor: int, call: Call) -> None:
        self.at_us = at_us
        self.vendor = vendor
        self.call = call
        self.heard_us = -1
        self.message: Answered | Unanswered | None = None

    def is_proper(self, timeout_us: int) -> bool:
        """Whether it was answered in time, in a way that makes sense."""
        message = self.message
        if not isinstance(message, Answered) or self.heard_us - self.at_us >= timeout_us:
            return False
        return message.status in UNDERSTOOD and not (message.status == 200 and message.body in GARBAGE)

    @property
    def is_open(self) -> bool:
        """Whether it may have been done, or may be yet, although nobody has said so."""
        message = self.message
        return self.call.writes and not (isinstance(message, Answered) and message.status in (200, *NOT_DONE))


class Ledger:
    """All requests of one planner."""

    def __init__(self, configuration: Configuration, vendors: list[SimVendor], sync_us: int) -> None:
        self.sent: list[Sent] = []
        self._configuration = configuration
        way_us = max(vendor.troubles.way_us_max for vendor in vendors)
        step_us = max(configuration.interval_us, 2 * way_us + sync_us)
        slowest_us = max(vendor.interval_us for vendor in configuration.vendors)
        self.step_us = step_us
        self.round_us = step_us * len(vendors) + slowest_us
        """One request to each vendor, one after the other."""
        if any(vendor.lease_us for vendor in vendors):
            self.round_us *= 2  # half of the requests confirm something
        named_us = max(vendor.troubles.longest_us for vendor in vendors)
        self.settle_us = configuration.timeout_us + max(named_us, configuration.assumed_delay_us)

    def allowed_us(self, since_us: int, until_us: int, rounds: int, vendor: int = -1) -> int:
        """So long may take what needs so many rounds, with all that has hindered it; at one vendor, or any."""
        early_us = since_us - self.settle_us - BACKOFF_US_MAX
        costs = self._costs(early_us, until_us, vendor)
        return rounds * self.round_us + sum(costs)

    def _costs(self, since_us: int, until_us: int, only: int) -> Iterator[int]:
        timeout_us, failures = self._configuration.timeout_us, [0] * len(self._configuration.vendors)
        for sent in self.sent:
            proper = sent.is_proper(timeout_us)
            failures[sent.vendor] = 0 if proper else failures[sent.vendor] + 1
            if not since_us <= sent.at_us <= until_us or only not in (-1, sent.vendor):
                continue
            if proper:
                yield max(0, sent.heard_us - sent.at_us - self.step_us)
                refused = isinstance(sent.message, Answered) and sent.message.status != 200 and sent.call.writes
                yield 2 * self.round_us if refused else 0
            else:
                retry_us = sent.message.retry_after_us if isinstance(sent.message, Answered) else 0
                backoff_us = min(SECOND_US << min(failures[sent.vendor], 5), BACKOFF_US_MAX)
                yield timeout_us + max(backoff_us, retry_us, 2 * SECOND_US)
            yield self.settle_us if sent.is_open else 0

    def count(self, slot: int, verb: str, status: int) -> int:
        """How often such a request about this slot was answered so."""
        about = [sent.message for sent in self.sent if (sent.call.verb, sent.call.slot) == (verb, slot)]
        return sum(1 for message in about if isinstance(message, Answered) and message.status == status)
