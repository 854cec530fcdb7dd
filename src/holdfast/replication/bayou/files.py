"""Anti-entropy through a file, for a replica that never sees the network.

A part is one piece of what a replica has (`Updates`, or a piece of its state where its log is
truncated), with a checksum, as one word of text. Each says what must be there before it; so parts may
be carried in several files, repeated, and left out where they bring nothing new. The cursor between
two parts is what a taker of all parts so far would have. The shell puts proofs on parts (`Seals`).

The last part carries the replica's promise never to stamp at or below its clock's now: so a laptop that
writes nothing, and never sees the network, is heard of by the primary all the same.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from hashlib import blake2b

import msgspec

from holdfast.kernel.codec import decoder
from holdfast.kernel.contracts import Vector
from holdfast.kernel.errors import MalformedInput
from holdfast.replication.bayou.antientropy import AntiEntropy
from holdfast.replication.bayou.configuration import EXPORT_BYTES_MAX, Seals
from holdfast.replication.bayou.log import as_vector
from holdfast.replication.bayou.messages import StatePart, Updates, encode
from holdfast.replication.bayou.primary import Primary
from holdfast.replication.bayou.replica import ACTIVE, JOINING, RETIRED, Replica
from holdfast.replication.bayou.transfer import Given, Transfer
from holdfast.replication.bayou.words import PART_BYTES_MAX, CannotDo, Exported, Imported

CHECKSUM_BYTES = 8
PIECE_BYTES_MIN = 64
"""Of a state, however long the names around it are."""
PIECES = 1 << 20
"""More than a state is cut into, for the length of its number."""
LENGTH_BYTES = 8
"""What telling the piece's own length and rounding to digits of base64 take."""
SEALED = (
    "this part is sealed with a site's key, and this node has no site.key; give it the key that the node has which "
    "wrote the part, and restart it"
)


class Carried(msgspec.Struct, frozen=True, array_like=True):
    """One part. `app` and `members` tell whose it is: the app's name and its first replicas. `promise`, of the
    last part: (replica, ms, number), synced: the replica's writes up to `ms` are those up to `number`, and all in the
    parts up to this one."""

    app: str
    members: tuple[str, ...]
    content: Updates | StatePart
    promise: tuple[str, int, int] | None = None


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where an export stands: at a piece of the state (`index` >= 0, cut into so many bytes), or behind what a
    taker has by now."""

    index: int
    state_csn: int
    csn: int
    vector: Vector
    piece_bytes: int


_decode_carried: Callable[[bytes], Carried] = decoder(Carried, "part of an export")
_decode_cursor: Callable[[bytes], Cursor] = decoder(Cursor, "cursor of an export")


def written(data: bytes) -> str:
    """Bytes as one word with a checksum."""
    return base64.urlsafe_b64encode(blake2b(data, digest_size=CHECKSUM_BYTES).digest() + data).decode("ascii")


def read(word: str) -> bytes:
    """The inverse of `written`. Raises `MalformedInput`."""
    try:
        data = base64.b64decode(word.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError) as error:
        raise MalformedInput(f"this is no part of an export: {error}") from error
    if blake2b(data[CHECKSUM_BYTES:], digest_size=CHECKSUM_BYTES).digest() != data[:CHECKSUM_BYTES]:
        raise MalformedInput("this part of an export is damaged: its checksum does not fit")
    return data[CHECKSUM_BYTES:]


class Unsealed:
    """Where there is no key: parts as they are."""

    def seal(self, part: str) -> str:
        """The part."""
        return part

    def open(self, sealed: str) -> str:
        """The part. Raises `MalformedInput` for one with a proof that nobody here can see to."""
        if "." in sealed:
            raise MalformedInput(SEALED)
        return sealed


class Files:
    """Gives parts, and takes them."""

    def __init__(self, replica: Replica, anti_entropy: AntiEntropy, transfer: Transfer, primary: Primary) -> None:
        self.replica = replica
        self.anti_entropy = anti_entropy
        self.transfer = transfer
        self.primary = primary
        self._seals: Seals = replica.configuration.seals or Unsealed()
        self._given: Given | None = None
        self._piece_bytes = 0
        self._parts: list[bytes] = []
        self._parts_of = (0, 0)

    # -- Giving

    def export(self, cursor_text: str, bytes_max: int = PART_BYTES_MAX) -> Exported | CannotDo:
        """The part at a cursor, of no more than `bytes_max` where it can be divided."""
        replica = self.replica
        if replica.state == RETIRED:
            return CannotDo("this replica has retired; export at another node.")
        if replica.state not in (ACTIVE, JOINING) or not replica.log.members:
            return CannotDo("this replica has nothing to export yet.")
        try:
            cursor = _decode_cursor(read(cursor_text)) if cursor_text else self._begin(bytes_max)
        except MalformedInput as error:
            return CannotDo(f"{error}; begin without a cursor.")
        return self._state_part(cursor) if cursor.index >= 0 else self._updates(cursor, bytes_max)

    def _begin(self, bytes_max: int) -> Cursor:
        log = self.replica.log
        if not log.omitted:
            first = {row.replica: 0 for row in log.members.values() if not row.creator}
            return Cursor(-1, 0, 0, as_vector(first), 0)
        empty = self._exported(StatePart(log.csn, log.epoch_at(log.csn), PIECES, False, b""), None)
        room = max(PIECE_BYTES_MIN, (bytes_max - len(empty.part)) * 3 // 4 - LENGTH_BYTES)
        self._piece_bytes = min(room, EXPORT_BYTES_MAX)
        self._given = self.transfer.freeze(self._piece_bytes)
        vector = dict.fromkeys(log.vector, 0)
        vector.update(log.committed_vector)
        return Cursor(0, self._given.csn, self._given.csn, as_vector(vector), self._piece_bytes)

    def _state_part(self, cursor: Cursor) -> Exported | CannotDo:
        given = self._given
        asked = (cursor.state_csn, cursor.piece_bytes)
        if given is None or (given.csn, self._piece_bytes) != asked or cursor.index >= len(given.parts):
            return CannotDo("the state of this cursor is not kept any more; begin again without a cursor.")
        part = given.part(cursor.index)
        index = -1 if part.last else cursor.index + 1
        return self._exported(part, Cursor(index, cursor.state_csn, cursor.csn, cursor.vector, cursor.piece_bytes))

    def _updates(self, cursor: Cursor, bytes_max: int) -> Exported | CannotDo:
        if cursor.csn < self.replica.log.omitted:
            return CannotDo("the log was truncated meanwhile; begin again without a cursor.")
        room = min(bytes_max * 3 // 4, EXPORT_BYTES_MAX)
        while True:
            exported = self._next_updates(cursor, room)
            if len(exported.part) <= bytes_max or room == 1:
                return exported
            room = max(1, room // 2)  # what a write takes is an estimate; with room for one byte it is a single one

    def _next_updates(self, cursor: Cursor, room: int) -> Exported:
        """Those behind a cursor, with `room` for their bodies."""
        vector = dict(cursor.vector)
        updates = self.anti_entropy.updates_for(vector, cursor.csn, bytes_max=room)
        for write in updates.writes:
            vector[write.replica] = max(write.number, vector.get(write.replica, 0))
        after = Cursor(-1, 0, cursor.csn + len(updates.commits), as_vector(vector), 0)
        return self._exported(updates, after) if updates.more else self._exported(updates, None, self._promise())

    def _promise(self) -> tuple[str, int, int] | None:
        """The reply with the part leaves when the promise is synced."""
        replica = self.replica
        if replica.state != ACTIVE or replica.configuration.policy == "immediate":
            return None
        ms = replica.stamped_ms
        replica.promise(ms)
        return replica.replica, ms, replica.log.vector.get(replica.replica, 0)

    def _exported(
        self, content: Updates | StatePart, after: Cursor | None, promise: tuple[str, int, int] | None = None
    ) -> Exported:
        replica = self.replica
        carried = Carried(replica.machine.app.name, replica.identity.members, content, promise)
        return Exported(self._seals.seal(written(encode(carried))), "" if after is None else written(encode(after)))

    # -- Taking

    def take(self, part: str) -> Imported | CannotDo:
        """Take in one part. What is here already is no harm."""
        replica = self.replica
        try:
            carried = _decode_carried(read(self._seals.open(part)))
            why = self._foreign(carried)
            if why:
                return CannotDo(why)
            if isinstance(carried.content, StatePart):
                return self._take_state(carried.content)
            held = sum(map(len, replica.held.values()))
            taken = self.anti_entropy.take(carried.content)
            held = max(0, sum(map(len, replica.held.values())) - held)
        except MalformedInput as error:
            return CannotDo(f"{error}; nothing was changed.")
        if not taken.fits:
            lacks = replica.log.missing(carried.content.basis)
            what = ", ".join(f"{name} up to {number}" for name, number in lacks) or "earlier commits"
            return CannotDo(f"this part follows one that is not here yet ({what}); import that one first.")
        return Imported(taken.writes, taken.commits, self._hear(carried.promise), held)

    def _hear(self, promise: tuple[str, int, int] | None) -> str:
        """What its author has promised counts at the primary; in words, if it does."""
        replica = self.replica
        if promise is None or not replica.is_primary:
            return ""
        name, ms, number = promise
        if name == replica.replica or name not in replica.log.live:  # it was taken out since, or replaced by a new disk
            return ""
        before_ms = self.primary.heard_ms(name)
        self.primary.note_promise(name, ms, number)
        heard_ms = self.primary.heard_ms(name)
        return f"{name} is heard of up to {replica.time_text(heard_ms)}." if heard_ms > before_ms else ""

    def _foreign(self, carried: Carried) -> str:
        replica = self.replica
        if replica.state not in (ACTIVE, JOINING):
            return "this replica takes no part now; nothing was changed."
        if carried.app != replica.machine.app.name:
            return f"this is an export of the app {carried.app!r}, not {replica.machine.app.name!r}."
        if replica.identity.members and carried.members and carried.members != replica.identity.members:
            return "this is an export of another site: its first replicas are others."
        return ""

    def _take_state(self, part: StatePart) -> Imported | CannotDo:
        if not self.transfer.wants(part.csn, part.epoch):
            return Imported(0, 0)
        if part.index == 0:
            self._parts, self._parts_of = [], (part.csn, part.epoch)
        if self._parts_of != (part.csn, part.epoch) or part.index != len(self._parts):
            return CannotDo(f"this is piece {part.index + 1} of a state; import the pieces in order, from the first.")
        self._parts.append(part.data)
        if not part.last:
            return Imported(0, 0)
        before = self.replica.log.csn
        data, self._parts = b"".join(self._parts), []
        self.transfer.install(data)
        return Imported(0, self.replica.log.csn - before)
