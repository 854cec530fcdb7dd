"""One process with a durable journal: the smallest core.

The life of a batch: it is encoded, journaled as one record and executed at once; its replies wait
at the gate until the record is synced. A question is answered at once from the executed state, and
its answer waits at the gate too, so nobody ever reads what a crash could still undo. A restart
restores the newest snapshot and executes the records after it again.

Nothing to agree on means no messages, no views and no clocks; what is left is what every core needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.kernel.contracts import Halt, Peer, Recovered, Request, SnapshotPart, Step, Token
from holdfast.kernel.errors import MalformedInput, SnapshotError
from holdfast.kernel.machine import Machine
from holdfast.kernel.store import SlicedSnapshot, TupleStore

SNAPSHOT_STEP_US = 2_000
"""Pause between two slices of a snapshot when nothing else happens."""
ROWS_A_REQUEST_MAX = 16
"""More rows than one ordinary request changes."""


class Identity(msgspec.Struct, frozen=True, array_like=True, tag="identity"):
    """The first record of a journal: which disk it is, whose data it holds, and what the app created
    first (a store's snapshot), which tells its configuration."""

    disk: str
    app: str
    created: bytes


class Executed(msgspec.Struct, frozen=True, array_like=True, tag="executed"):
    """A batch of commands, in the machine's encoding."""

    batch: bytes


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The head of a snapshot, before the store's own bytes: the identity and the batches executed."""

    disk: str
    app: str
    position: int


class NoMessage(msgspec.Struct, frozen=True, array_like=True, tag="none"):
    """A lone server has no peers, so this message is never sent."""


_encode = msgspec.msgpack.Encoder().encode
_decode_record = msgspec.msgpack.Decoder(Identity | Executed).decode
_decode_checkpoint = msgspec.msgpack.Decoder(Checkpoint).decode
_HEAD_LENGTH_BYTES = 4


class Solo:
    """The core of a service on one server. A `Core` of `kernel.contracts`.

    `disk`: the identity given to an empty disk. `snapshot_every_records`: a snapshot begins after so
    many records since the last one; it is taken in slices of `snapshot_rows_a_slice` rows.
    """

    messages: Any = NoMessage

    def __init__(
        self,
        machine: Machine,
        *,
        disk: str,
        name: str = "solo",
        snapshot_every_records: int = 100_000,
        snapshot_rows_a_slice: int = 2_000,
    ) -> None:
        self.machine = machine
        self.disk = disk
        self.name = name
        self.snapshot_every_records = snapshot_every_records
        self.snapshot_rows_a_slice = snapshot_rows_a_slice
        self.position = 0
        self.state = "starting"
        self._number = 0
        self._identified = False
        self._snapshot_number = 0
        self._snapshot_position = 0
        self._executed_since_slice = 0
        self._slices: SlicedSnapshot | None = None
        self._slice_index = 0

    # -- inputs

    def recover(self, now_us: int, recovered: Recovered) -> Step:
        """Restore the snapshot, execute the records after it again; give an empty disk its identity."""
        step = Step()
        try:
            problem = self._replay(recovered)
        except (MalformedInput, SnapshotError, msgspec.MsgspecError) as error:
            return self._halt(step, "damaged", f"the journal of {self.name} cannot be replayed: {error}")
        if problem is not None:
            return self._halt(step, "configuration", f"{self.name} cannot start on this disk: {problem}")
        if recovered.fresh:
            self._record(step, Identity(self.disk, self.machine.app.name, self.machine.store.snapshot()))
            step.events.append(f"{self.name} begins on an empty disk, {self.disk}")
        self.state = "active"
        return self._snapshot(now_us, step)

    def submit(self, now_us: int, requests: Sequence[tuple[Token, Request]]) -> Step:
        """Journal and execute a batch; its replies wait for the sync."""
        step = Step()
        batch = [request for _, request in requests]
        self._record(step, Executed(self.machine.encode(batch)))
        replies = self._execute(batch)
        step.replies += [(token, reply) for (token, _), reply in zip(requests, replies, strict=True)]
        step.changes += self.machine.take_told()
        return self._snapshot(now_us, step)

    def synced(self, now_us: int, records: int) -> Step:
        """Nothing: what waits for a sync waits at the gate."""
        return self._snapshot(now_us, Step())

    def ask(self, now_us: int, queries: Sequence[tuple[Token, Request]]) -> Step:
        """Answer from the executed state; the gate holds the answers until that is synced."""
        step = Step()
        step.replies += [(token, self.machine.answer(request)) for token, request in queries]
        return self._snapshot(now_us, step)

    def receive(self, now_us: int, peer: Peer, message: Any) -> Step:
        """There are no peers; whatever claims to come from one is dropped."""
        return self._snapshot(now_us, Step())

    def wake(self, now_us: int) -> Step:
        """The next slice of a snapshot."""
        return self._snapshot(now_us, Step())

    def status(self) -> dict[str, Any]:
        """For operators."""
        return {
            "protocol": "solo",
            "model": "alone",
            "state": self.state,
            "view": [self.name],
            "epoch": 0,
            "position": self.position,
            "digest": self.machine.digest().hex(),
            "lag": 0,
        }

    # -- the journal

    def _replay(self, recovered: Recovered) -> str | None:
        """Returns what is wrong with the configuration, if anything. Raises if the journal makes no sense."""
        self._number = recovered.first + len(recovered.records) - 1
        self._snapshot_number = recovered.first - 1
        problem = self._restore(recovered.snapshot) if recovered.snapshot else None
        for data in recovered.records:
            record = _decode_record(data)
            if isinstance(record, Identity):
                problem = self._adopt(record.disk, record.app, record.created)
            elif problem is None:
                self._execute(self.machine.decode(record.batch))
        self.machine.take_told()  # it was told when it was done
        if not recovered.fresh and not self._identified:
            raise MalformedInput("it has no identity record")
        return problem

    def _restore(self, snapshot: bytes) -> str | None:
        length = int.from_bytes(snapshot[:_HEAD_LENGTH_BYTES], "big")
        end = _HEAD_LENGTH_BYTES + length
        head = _decode_checkpoint(snapshot[_HEAD_LENGTH_BYTES:end])
        self.position = head.position
        return self._adopt(head.disk, head.app, snapshot[end:])

    def _adopt(self, disk: str, app: str, content: bytes) -> str | None:
        """Take the identity and the content that the journal begins with."""
        self._identified = True
        self.disk = disk
        if app != self.machine.app.name:
            return f"its data is of the app {app!r}, not {self.machine.app.name!r}; set the data aside or name that app"
        return self.machine.replace_store(TupleStore.restore(self.machine.rows, content))

    def _execute(self, batch: list[Request]) -> list[Any]:
        self.position += 1
        self._executed_since_slice += len(batch)
        return self.machine.execute(batch, (self.position, 0))

    def _record(self, step: Step, record: Identity | Executed) -> None:
        self._number += 1
        step.records.append(_encode(record))

    def _halt(self, step: Step, code: str, text: str) -> Step:
        self.state = "halted"
        step.halt = Halt(code, text)
        return step

    # -- snapshots

    def _snapshot(self, now_us: int, step: Step) -> Step:
        """Begin a snapshot when it is time, and add its next slice to `step`."""
        if self._slices is None and self._number - self._snapshot_number >= self.snapshot_every_records:
            self._slices = self.machine.store.begin_snapshot()
            self._snapshot_number = self._number
            self._snapshot_position = self.position
            self._executed_since_slice = 0
            self._slice_index = 0
        if self._slices is not None:
            self._take_slice(step)
        if self._slices is not None:
            step.wake_us = now_us + SNAPSHOT_STEP_US
        return step

    def _take_slice(self, step: Step) -> None:
        assert self._slices is not None
        # A snapshot comes to its end only if a slice is larger than what changed since the last one.
        rows = max(self.snapshot_rows_a_slice, ROWS_A_REQUEST_MAX * self._executed_since_slice)
        self._executed_since_slice = 0
        data = self._slices.take(rows) or b""
        if self._slice_index == 0:
            head = _encode(Checkpoint(self.disk, self.machine.app.name, self._snapshot_position))
            data = len(head).to_bytes(_HEAD_LENGTH_BYTES, "big") + head + data
        number = self._snapshot_number
        step.snapshot.append(SnapshotPart(number, self._slice_index, data, self._slices.done, number))
        self._slice_index += 1
        if self._slices.done:
            self._slices = None
