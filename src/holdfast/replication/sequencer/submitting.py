"""What a node submits to the order: its front end's requests, and what its manager has to tell the others.

One stream a life of a process, numbered from 1 without gaps. What is not known to be decided is sent
again, to whoever is the sequencer then; the numbers tell it what it has already.
"""

from __future__ import annotations

from holdfast.replication.sequencer.messages import CONTROL, Control, Gap, Run, Stale, Submit, encode_control
from holdfast.replication.sequencer.shared import Shared

RESENT_RUNS_MAX = 64
RESEND_DOUBLINGS_MAX = 5


class Submitter:
    """`open`: runs not known to be decided, by serial."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.serial = 0
        self.open: dict[int, Run] = {}
        self._fresh: list[Run] = []
        self._sent_us = 0
        self._resends = 0
        self._epoch = 0
        self._gap = (0, 0)
        self._gap_us = 0
        self._gap_pause_us = shared.configuration.resend_us // 4

    def submit(self, kind: int, count: int, batch: bytes) -> Run:
        """The next of the stream; it leaves with all others of this input."""
        shared = self.shared
        run = Run(kind, shared.me, shared.incarnation, self.serial + 1, count, batch)
        self.serial += count
        self.open[run.serial] = run
        self._fresh.append(run)
        return run

    def control(self, control: Control) -> Run:
        """An entry about the replicas."""
        return self.submit(CONTROL, 1, encode_control(control))

    @property
    def waiting(self) -> int:
        """Requests since the first that is not known to be decided."""
        return self.serial - next(iter(self.open)) + 1 if self.open else 0

    def decided_upto(self, incarnation: int, serial: int) -> None:
        """The order has everything up to this serial."""
        if incarnation != self.shared.incarnation:
            return
        while self.open:
            first = next(iter(self.open))
            run = self.open[first]
            if run.serial + run.count - 1 > serial:
                return
            del self.open[first]
            self._resends = 0
            self._sent_us = self.shared.now_us

    def flush(self) -> None:
        """At the end of an input: send what is new, or everything to a new sequencer, or again what is overdue."""
        shared = self.shared
        if shared.sequencer is None or not shared.has_begun:
            self._fresh.clear()
            return
        if shared.epoch != self._epoch:
            self._epoch = shared.epoch
            self._resends = 0
            self._send_from(0)
        elif self._fresh:
            if len(self.open) == len(self._fresh):
                self._sent_us = shared.now_us
            shared.send(shared.sequencer, Submit(tuple(self._fresh)))
        elif self.due_us is not None and shared.now_us >= self.due_us:
            self._resends = min(self._resends + 1, RESEND_DOUBLINGS_MAX)
            self._send_from(0)
        self._fresh.clear()

    @property
    def due_us(self) -> int | None:
        """When to send again, if nothing is heard before."""
        if not self.open or self.shared.sequencer is None or not self.shared.has_begun:
            return None
        return self._sent_us + (self.shared.configuration.resend_us << self._resends)

    def _send_from(self, serial: int) -> None:
        shared = self.shared
        self._sent_us = shared.now_us
        runs = [run for run in self.open.values() if run.serial >= serial][:RESENT_RUNS_MAX]
        if runs and shared.sequencer is not None:
            shared.send(shared.sequencer, Submit(tuple(runs)))

    def on_gap(self, gap: Gap) -> None:
        """The sequencer has later ones, and lacks some before."""
        shared = self.shared
        is_same = (gap.epoch, gap.serial) == self._gap and shared.now_us - self._gap_us < self._gap_pause_us
        if gap.incarnation == shared.incarnation and gap.epoch == shared.epoch and not is_same:
            self._gap, self._gap_us = (gap.epoch, gap.serial), shared.now_us
            self._send_from(gap.serial)

    def on_stale(self, stale: Stale) -> bool:
        """The clock of this node went back while its disk was lost: begin a later life, in which what its manager
        has to say is said again. Whether so."""
        if stale.incarnation <= self.shared.incarnation:
            return False
        self.shared.begin_life(stale.incarnation)
        controls = [run.batch for run in self.open.values() if run.kind == CONTROL]
        self.serial = self._epoch = 0
        self.open.clear()
        self._fresh.clear()
        for batch in controls:
            self.submit(CONTROL, 1, batch)
        return True
