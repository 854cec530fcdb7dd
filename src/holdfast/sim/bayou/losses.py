"""What an accepted loss may do, and what it may not: the rest of the laws holds there too.

- Whoever becomes the primary without the word of the lone voter has its operator's, said at this very process since
  the last primary began, and one word is good for one loss.
- With the voter's word in hand, given since the operator spoke, nothing is lost: what it has confirmed will come.
- Along the commits of any log, the epochs never go back.
- When a state of another history takes the place of commits, those that were still in the log are tentative again
  there, or about to be made anew, unless that history has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.kernel.contracts import Peer, Token
from holdfast.replication.bayou.log import Entry, id_of
from holdfast.replication.bayou.messages import APP, Vow, Write
from holdfast.sim.audit import Violation


class Losses:
    """One life of a process. `_word`: the epoch in which its operator has said that loss is accepted; `_given`:
    the claim that the lone voter has given its word to; `_vowed`: the same, if it has come since the operator spoke."""

    def __init__(self, office: str, core: Any) -> None:
        self.office = office
        self.replica = core.replica
        self._word: int | None = None
        self._vowed: int | None = None
        self._given: int | None = None
        self._follow_epochs(core.epochs, core._handlers)
        self._follow_state(core.replica.log, core.transfer)

    def _follow_epochs(self, epochs: Any, handlers: Any) -> None:
        take_over, enthrone, vow = epochs.take_over, epochs._enthrone, handlers[Vow]

        def taken_over(token: Token, accept_loss: bool) -> None:
            if accept_loss:
                self._word, self._vowed = self.replica.epoch, None
            take_over(token, accept_loss)

        def vowed(peer: Peer, message: Vow) -> None:
            if peer == self.replica.primary and message.epoch in (epochs.claimed, self.replica.vowed):
                self._given = self._vowed = message.epoch
            vow(peer, message)

        def enthroned(epoch: int, primary: Peer) -> None:
            # A new disk at its node, which has claimed nothing, may hear of it, too.
            if primary == self.replica.me and epochs.claimed == epoch and len(self.replica.voters) == 1:
                self._check_word(epoch)
            self._word = self._vowed = self._given = None
            enthrone(epoch, primary)

        setattr(epochs, "take_over", taken_over)  # noqa: B010 (methods of one instance)
        setattr(epochs, "_enthrone", enthroned)  # noqa: B010
        handlers[Vow] = vowed

    def _check_word(self, epoch: int) -> None:
        """This process becomes the primary, where there is one voter."""
        replica = self.replica
        is_loss = replica.loss is not None and replica.loss.epoch == epoch
        voter = replica.configuration.nodes[replica.primary]
        what = f"{self.office} becomes the primary of epoch {epoch}"
        if not is_loss and self._given != epoch:
            raise Violation("loss", f"{what}, and {voter} has not given its word")
        if is_loss and self._word != replica.epoch:
            raise Violation(
                "loss", f"{what}, accepting a loss, and since epoch {replica.epoch} began nobody said so here"
            )
        if is_loss and self._vowed is not None:
            raise Violation("loss", f"{what}, accepting a loss, and has the word of {voter} in hand")

    def _follow_state(self, log: Any, transfer: Any) -> None:
        commit, install = log.commit, transfer.install

        def committed(entries: Sequence[Entry], epoch: int) -> None:
            if entries and log.epochs and epoch < log.epochs[-1][1]:
                first, last = id_of(entries[0].write), log.epochs[-1][1]
                raise Violation("epochs", f"{self.office} commits {first} of epoch {epoch} after some of {last}")
            commit(entries, epoch)

        def installed(data: bytes) -> None:
            here = [*log.committed, *(entry.write for entry in log.tail)]
            install(data)
            self._check_kept([write for write in here if write.kind == APP])

        setattr(log, "commit", committed)  # noqa: B010
        setattr(transfer, "install", installed)  # noqa: B010

    def _check_kept(self, writes: Sequence[Write]) -> None:
        """Another state is in the place of this replica's; these were in its log."""
        replica, log = self.replica, self.replica.log
        labels = [epoch for _, epoch in log.epochs]
        if labels != sorted(labels):
            raise Violation("epochs", f"{self.office} takes a state whose commits are of the epochs {labels}")
        for write in writes:
            name = (write.replica, write.number)
            entry = log.entries.get(name)
            if log.is_committed(name) or (entry is not None and entry.write == write) or write in replica.anew:
                continue
            if replica.machine.decode_request(write.body).client:  # without a number each copy of it would be executed
                raise Violation(
                    "undone", f"{self.office} had {id_of(write)}, and nothing of it after another state came"
                )
