"""What one node of a service under the sequencer protocol is told at its start."""

from __future__ import annotations

import msgspec

from holdfast.kernel.errors import ConfigurationError

NODES_MAX = 64


class SequencerConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """Times are microseconds.

    `me`: this node's number; `nodes`: all names, in the order that numbers them. `front_ends`,
    `sequencers`, `managers`: the numbers of the nodes with each role; () means all of them. The
    sequencers follow each other in this order. `disk`: the identity of an empty disk, unique; a disk
    that has one already keeps its own.
    `wrong_max`: how many replicas may answer wrongly at once; one more than that must agree.
    `beat_us`: how often the sequencer is heard at least; `takeover_us`: after how much silence another
    one takes the role over. `resend_us`: after how long what was not acknowledged is sent again, at first.
    `suspect_us`: the least time after which a replica that has given no result is reported;
    `suspect_us_max`: the most. `deadline_us`: how long a client waits for an outcome.
    `digest_every`: numbers between two votes on the state. `backlog_max`: how many numbers a replica may
    lag behind its manager before it takes a copy instead. `slow_us`: what a replica that was made slow
    takes for each request. `execute_max`: requests executed in one go. `in_flight_max`: orders on
    their way to be decided.
    """

    me: int
    nodes: tuple[str, ...]
    disk: str
    front_ends: tuple[int, ...] = ()
    sequencers: tuple[int, ...] = ()
    managers: tuple[int, ...] = ()
    wrong_max: int = 1
    beat_us: int = 25_000
    takeover_us: int = 250_000
    resend_us: int = 40_000
    suspect_us: int = 500_000
    suspect_us_max: int = 5_000_000
    deadline_us: int = 10_000_000
    digest_every: int = 2_000
    backlog_max: int = 20_000
    slow_us: int = 20_000
    execute_max: int = 500
    in_flight_max: int = 4
    waiting_max: int = 20_000
    window_max: int = 5_000
    kept_numbers_max: int = 50_000
    batch_requests_max: int = 512
    snapshot_journal_bytes: int = 16 * 1024 * 1024
    snapshot_rows_a_slice: int = 1_000
    copy_rows_a_slice: int = 200

    def __post_init__(self) -> None:
        if not 1 <= len(self.nodes) <= NODES_MAX:
            raise ConfigurationError(f"a sequencer service takes 1 to {NODES_MAX} nodes, not {len(self.nodes)}")
        if not 0 <= self.me < len(self.nodes):
            raise ConfigurationError(f"node number {self.me} is not among the {len(self.nodes)} configured")
        everybody = tuple(range(len(self.nodes)))
        for role in ("front_ends", "sequencers", "managers"):
            msgspec.structs.force_setattr(self, role, getattr(self, role) or everybody)
        if len(self.managers) <= 2 * self.wrong_max:
            # Of fewer replicas no majority would be left when so many are wrong: each is believed as it is.
            msgspec.structs.force_setattr(self, "wrong_max", 0)

    @property
    def majority(self) -> int:
        """The least number of managers that is more than half."""
        return len(self.managers) // 2 + 1

    @property
    def agreeing(self) -> int:
        """How many replicas must say the same to be believed."""
        return self.wrong_max + 1
