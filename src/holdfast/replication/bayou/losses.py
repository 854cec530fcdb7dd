"""What a take-over with accepted loss may undo, and has undone: told to who said it, and to whom it happened.

The new primary cannot know what the old one has confirmed since. It tells what it does know: after which commit,
and what is tentative here and will be confirmed without the old one's word. Whoever meets it with commits that its
history does not have finds those undone (`transfer`), keeps their names, and tells them to the new primary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from holdfast.kernel.contracts import Peer, Person
from holdfast.replication.bayou.log import Entry, name_of
from holdfast.replication.bayou.messages import APP, AcceptedLoss, Have, LossTold, Name, Undone
from holdfast.replication.bayou.replica import Replica

TOLD_MS = 24 * 3_600_000
"""So long it is told, to operators once all is known: a day, for people who look in daily."""
NAMES_MAX = 20
"""Names in one text; of others only how many."""
UNDONE_MAX = 1000
"""Names that are kept."""


class Losses:
    """One replica's part: as the new primary, or as one whose commits were undone."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self._undone_count = 0
        self._told = (-1, 0)  # to the primary of which epoch, and how many

    # -- At the new primary

    def accept(self, epoch: int) -> None:
        """An operator goes on without the primary's word."""
        replica = self.replica
        log, old = replica.log, replica.primary
        tentative = [entry.name for entry in log.tail if entry.write.kind == APP]
        met_ms = replica.wall_ms if old == replica.me else 0  # an earlier disk here comes back no more
        self._keep(AcceptedLoss(epoch, old, log.csn, tuple(tentative[:NAMES_MAX]), len(tentative), (), met_ms))
        replica.event(f"take-over with accepted loss after commit {log.csn}: {self.answer()}")

    def answer(self) -> str:
        """What its operator is told at once."""
        loss = self.replica.loss
        if loss is None:
            return ""
        old = self.replica.configuration.nodes[loss.primary]
        said = (
            f"What {old} has confirmed after commit {loss.csn}, and this replica has not seen, may come out otherwise; "
            "it is reported when they meet, and `status` shows it. "
        )
        if not loss.tentative_count:
            return f"{said}Nothing here is tentative now."
        return f"{said}Tentative here, and to be confirmed without its word: {self._tentative(loss)}."

    def _tentative(self, loss: AcceptedLoss) -> str:
        return _listed(loss.tentative, loss.tentative_count)

    def on_have(self, peer: Peer, have: Have) -> None:
        """The old primary follows, or the new one hears what was undone here."""
        replica = self.replica
        loss = replica.loss
        if loss is not None and peer == loss.primary and not loss.met_ms and have.epoch >= loss.epoch:
            self._keep(replace(loss, met_ms=replica.wall_ms))
            replica.event(
                f"{replica.configuration.nodes[peer]}, whose loss was accepted after commit {loss.csn}, is back"
            )
        to_tell = (replica.epoch, self._undone_count)
        if replica.undone and peer == replica.primary and have.epoch == replica.epoch and self._told != to_tell:
            self._told = to_tell
            replica.send(peer, Undone(tuple(replica.undone)))

    def connected(self, peer: Peer) -> None:
        """A link stands again: what was told over an older one may be lost."""
        if peer == self.replica.primary:
            self._told = (-1, 0)

    def on_undone(self, peer: Peer, message: Undone) -> None:
        """A replica had these as confirmed, and has taken over this one's history."""
        replica = self.replica
        loss = replica.loss
        fresh = [name for name in message.names if loss is None or name not in loss.undone]
        if not fresh:
            return
        if loss is not None:
            self._keep(replace(loss, undone=(*loss.undone, *fresh)[:UNDONE_MAX]))
        node = replica.configuration.nodes[peer]
        replica.event(f"undone by the accepted loss, as {node} had them as confirmed: {_listed(fresh, len(fresh))}")

    def _keep(self, loss: AcceptedLoss) -> None:
        self.replica.loss = loss
        self.replica.record(LossTold(loss))

    @property
    def status(self) -> str:
        """For operators, until a day after the old primary was met; "" otherwise."""
        replica = self.replica
        loss = replica.loss
        if loss is None or (loss.met_ms and replica.wall_ms - loss.met_ms > TOLD_MS):
            return ""
        old = replica.configuration.nodes[loss.primary]
        said = f"the loss of {old} was accepted after commit {loss.csn}"
        if loss.undone:
            said += f"; undone, though confirmed before: {_listed(loss.undone, len(loss.undone))}"
        if not loss.met_ms:
            said += f"; {old} has not been met since, and what else it has confirmed may come out otherwise"
            said += f"; confirmed without its word, or to be: {self._tentative(loss)}" if loss.tentative else ""
        elif not loss.undone and loss.primary != replica.me:
            said += f"; {old} is back, and nothing that it had confirmed is known to be undone"
        return said

    # -- Where commits are undone

    def undo(self, lost: Sequence[Entry]) -> None:
        """These were confirmed, and are not in the history that stands."""
        replica = self.replica
        self._undone_count += len(lost)
        for entry in lost:
            request = replica.views.request_of(entry.write)
            person = request.person if request is not None else None
            replica.undone[name_of(entry.write)] = (person.id if person is not None else "", replica.wall_ms)
        for name in list(replica.undone)[:-UNDONE_MAX]:
            del replica.undone[name]

    def warning_to(self, person: Person | None) -> str:
        """What whoever asks should know: of this device's clock, and of own bookings that were undone of late."""
        replica = self.replica
        own = [
            name
            for name, (whose, ms) in replica.undone.items()
            if person is not None and whose == person.id and replica.wall_ms - ms <= TOLD_MS
        ]
        if not own:
            return replica.warning
        undone = (
            f"{_listed(own, len(own), 5)} had been confirmed by a primary whose loss an operator has accepted since"
        )
        return "; ".join(filter(None, (replica.warning, f"{undone}, and decided anew")))


def _listed(names: Iterable[Name], count: int, names_max: int = NAMES_MAX) -> str:
    """The first of them, and how many more there are."""
    shown = [f"{replica}-{number}" for replica, number in names][:names_max]
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
