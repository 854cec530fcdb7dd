"""What one server of a Lamport service is told at its start."""

from __future__ import annotations

from typing import Literal

import msgspec

from holdfast.kernel.errors import ConfigurationError

FailureModel = Literal["perfect", "majority"]

SERVERS_MAX = 64


class LamportConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """Times are microseconds.

    `me`: this server's number; `servers`: all names, in the order that numbers them.
    `model`: "perfect" (seed 002: silent past the timeout if and only if crashed) or "majority".
    `disk`: the identity of an empty disk, unique; a disk that has one already keeps its own.
    `accept_loss`: go on although a needed disk is gone; the operator's explicit word.
    `in_flight_max`: requests for the critical section this server may have outstanding at once;
    it makes one only when its last one is synced, so there are few.
    `deadline_us`: how long a client request may stay without an outcome.
    """

    me: int
    servers: tuple[str, ...]
    model: FailureModel
    disk: str
    timeout_us: int = 5_000_000
    deadline_us: int = 10_000_000
    accept_loss: bool = False
    in_flight_max: int = 16
    batch_requests_max: int = 1024
    waiting_max: int = 20_000
    history_bytes_max: int = 8 * 1024 * 1024
    snapshot_journal_bytes: int = 8 * 1024 * 1024
    snapshot_rows_a_slice: int = 2000

    def __post_init__(self) -> None:
        if not 1 <= len(self.servers) <= SERVERS_MAX:
            raise ConfigurationError(f"a lamport service takes 1 to {SERVERS_MAX} servers, not {len(self.servers)}")
        if not 0 <= self.me < len(self.servers):
            raise ConfigurationError(f"server number {self.me} is not among the {len(self.servers)} configured")
        if self.timeout_us < 10_000:
            raise ConfigurationError(f"a timeout of {self.timeout_us} us is below the least of 10 ms")

    @property
    def heartbeat_us(self) -> int:
        """Interval of presence messages: ten to a timeout, so that only real silence reaches it."""
        return min(self.timeout_us // 10, 500_000)

    @property
    def majority(self) -> int:
        """The least number of servers that is more than half."""
        return len(self.servers) // 2 + 1
