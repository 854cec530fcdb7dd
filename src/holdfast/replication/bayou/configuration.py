"""What a Bayou replica is told at its start, and the limits it keeps."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

Policy = Literal["all-heard", "immediate"]

TICK_US = 250_000
RETENTION_MS = 100 * 24 * 3_600_000
"""How long sessions are kept: a write that travels longer finds its client's session gone and is refused."""
UPDATES_BYTES_MAX = 128 * 1024
"""Bodies of writes in one message of anti-entropy; more follow when these have been stored."""
EXPORT_BYTES_MAX = 36 * 1024
"""The same in one part of an export, which must fit a line of text."""
STATE_PART_BYTES = 256 * 1024
WRITE_BYTES_MAX = 64 * 1024
"""The body of one write."""
ROLL_FORWARD_MAX = 500
"""Writes executed again in one turn, so that nobody waits for long behind them."""


class Seals(Protocol):
    """What the shell puts on the parts of an export, so that nobody without the site's key can write one."""

    def seal(self, part: str) -> str:
        """A part as it leaves."""

    def open(self, sealed: str) -> str:
        """The part in what has come. Raises `MalformedInput`, which says what to do."""


class BayouConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """`me`: this node's place in `nodes`. `disk`: the identity of its disk, should that be an empty one;
    part of the replica id it then takes. `is_copy`: the disk was copied or restored from elsewhere, so
    this replica must not go on under the id it finds there.

    `voters`: the nodes that must store a commit, a majority of them, before it is confirmed; of one
    voter the primary is always that one. `policy`, `horizon_ms`, `lead_ms`: when the primary commits
    (ARCHITECTURE.md). `forward_bound_ms`: how far ahead of this clock a peer's stamp may lie.
    `sync_us`: the time between two anti-entropy sessions with a peer chosen at random.
    `patience_us`: how long an answer of a peer is waited for before it is asked again.
    `committed_kept_max`: committed writes kept for peers that lack them; beyond, they get the tuple store.
    `kept_in_snapshot`: how many of them outlive a restart.
    `snapshot_every_records`: a snapshot of the journal after so many records.
    `seals`: proves the parts of exports, None where there is no key.
    """

    me: int
    nodes: tuple[str, ...]
    disk: str
    is_copy: bool = False
    voters: tuple[str, ...] = ()
    policy: Policy = "all-heard"
    horizon_ms: int = 24 * 3_600_000
    lead_ms: int = 3_600_000
    forward_bound_ms: int = 5 * 60_000
    sync_us: int = 1_000_000
    patience_us: int = 2_000_000
    waiting_max: int = 20_000
    committed_kept_max: int = 10_000
    kept_in_snapshot: int = 1_000
    snapshot_every_records: int = 20_000
    snapshot_rows_a_slice: int = 2_000
    seals: Seals | None = None

    @property
    def tick_us(self) -> int:
        """A replica looks around at least so often."""
        return max(TICK_US, min(self.sync_us, self.patience_us) // 4)

    @property
    def slept_us(self) -> int:
        """A replica that did nothing for longer was not awake: its device slept, or its process was held."""
        return max(self.patience_us, 2 * self.tick_us)

    @property
    def name(self) -> str:
        """This node's name."""
        return self.nodes[self.me]
