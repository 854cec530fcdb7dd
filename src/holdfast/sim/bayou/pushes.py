"""What a process owes to whoever watches there: every change of an outcome that it makes, in order.

A write that is executed for the first time in this life has an outcome; each other one that comes of it
afterwards, and its being committed, is a change. Who waits for the answer to that write is answered instead.
What is made anew under another id is told under its old one. What led to a state that was copied is told to
nobody, and what was taken out of the log has no outcome.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from holdfast.kernel.contracts import Change, Reply
from holdfast.replication.bayou.log import Entry, id_of
from holdfast.replication.bayou.messages import APP
from holdfast.replication.bayou.words import Done
from holdfast.sim.audit import Violation
from holdfast.sim.trace import render

Owed = tuple[str, str, Any]
"""(id, how firm, the reply)"""


class Pushes:
    """One life of a process. `owed`: what has not left yet."""

    def __init__(self, office: str, core: Any) -> None:
        self.office = office
        self.replica = core.replica
        self.owed: deque[Owed] = deque()
        self._shown: dict[tuple[str, int], Reply] = {}
        self._follow_log(core.replica.log, core.replica.views)
        self._follow_replica(core.replica, core.transfer)
        self._follow_members(core.members)

    def _follow_log(self, log: Any, views: Any) -> None:
        commit, roll_forward, cut_tail = log.commit, views.roll_forward, views.cut_tail

        def committed(entries: Sequence[Entry], epoch: int) -> None:
            for entry in entries:
                self._shown.pop(entry.name, None)
                if entry.write.kind == APP and entry.name not in self.replica.waiting:
                    self.owed.append((id_of(entry.write), "committed", entry.reply))
            commit(entries, epoch)

        def rolled_forward(writes_max: int) -> Any:
            first, waiting = views.executed, dict(self.replica.waiting)
            done = roll_forward(writes_max)
            for entry in log.tail[first : views.executed]:
                self._executed(entry, is_waited_for=entry.name in waiting)
            return done

        def cut(place: int) -> Any:
            entries = cut_tail(place)
            for entry in entries:
                self._shown.pop(entry.name, None)
            return entries

        for owner, name, method in (
            (log, "commit", committed),
            (views, "roll_forward", rolled_forward),
            (views, "cut_tail", cut),
        ):
            setattr(owner, name, method)

    def _follow_replica(self, replica: Any, transfer: Any) -> None:
        install, forget_news, tell_news = transfer.install, replica.forget_news, replica.tell_news

        def installed(data: bytes) -> None:
            install(data)
            self._shown = {entry.name: entry.reply for entry in replica.log.tail if entry.reply is not None}

        def forgotten() -> None:
            forget_news()
            self.owed.clear()

        def told() -> None:
            self.owed += [(change.id, change.firm, change.reply) for change in replica.views.told]
            tell_news()

        setattr(transfer, "install", installed)  # noqa: B010 (methods of one instance)
        setattr(replica, "forget_news", forgotten)  # noqa: B010
        setattr(replica, "tell_news", told)  # noqa: B010

    def _follow_members(self, members: Any) -> None:
        make_anew = members._make_anew

        def made_anew() -> None:
            names = [(write.replica, write.number) for write in self.replica.anew]
            make_anew()
            for old in names:
                what = f"made anew as {'{}-{}'.format(*self.replica.renamed[old])}, because the id {old[0]} is over"
                self.owed.append(("{}-{}".format(*old), "tentative", Done(what)))

        setattr(members, "_make_anew", made_anew)  # noqa: B010

    def _executed(self, entry: Entry, *, is_waited_for: bool) -> None:
        before = self._shown.get(entry.name)
        self._shown[entry.name] = entry.reply
        if before is not None and before != entry.reply and entry.write.kind == APP and not is_waited_for:
            self.owed.append((id_of(entry.write), "tentative", entry.reply))

    def pushed(self, change: Change) -> None:
        """Whoever watches is told."""
        told = (change.id, change.firm, change.reply)
        owed = self.owed.popleft() if self.owed else None
        if told != owed:
            raise Violation("push", f"{self.office} tells {_text(told)}, and owes {_text(owed)}")

    def check_paid(self) -> None:
        """All is on the disk: nothing is owed any more."""
        if self.owed:
            raise Violation(
                "push", f"{self.office} has never told {_text(self.owed[0])}, and {len(self.owed) - 1} more"
            )


def _text(owed: Owed | None) -> str:
    return "nothing" if owed is None else f"{owed[0]} as {owed[1]}: {render(owed[2])}"
