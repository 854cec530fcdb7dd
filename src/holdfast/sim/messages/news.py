"""What an app tells people under `bayou` (see `Context.tell`): who watches is to hear just that, and once.

A write is executed again and again until it has its place. What the app tells is pushed when its process
executes the write for the first time, tentative or not, and never again: neither when another execution
tells other things, nor when it is committed. Nothing is told of what a starting process reads of its journal
as committed, nor of what lies in a state that was copied. What the last execution tells, the one in the
final order, is what the final order makes, wherever it is executed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.kernel.contracts import App, Change, Reply, Request
from holdfast.replication.bayou import make_machine
from holdfast.replication.bayou.log import Entry, id_of
from holdfast.sim.audit import Violation
from holdfast.sim.trace import render

if TYPE_CHECKING:
    from holdfast.sim.bayou.workloads import Executed
    from holdfast.sim.messages.post import Tells


class News:
    """One life of a process. `only_told`: what is never the outcome of a write. `final`: by write, what the app told
    when it was executed in its final place."""

    def __init__(self, office: str, core: Any, only_told: tuple[type[Reply], ...]) -> None:
        self.office = office
        self.only_told = only_told
        self.final: dict[str, Tells] = {}
        self._executed: dict[str, Tells] = {}
        self._owed: Tells = []
        self._leaving: deque[tuple[str, str, Reply]] = deque()
        self._follow_machine(core.replica.machine)
        self._follow_log(core.replica.log, core.replica.views, core.transfer)
        self._follow_replica(core.replica)

    def _follow_machine(self, machine: Any) -> None:
        execute_write = machine.execute_write

        def executed(request: Request, stamp: Any, id: str, late: bool) -> Reply:
            before = len(machine._told)
            reply: Reply = execute_write(request, stamp, id, late)
            told = machine._told[before:]
            if id not in self._executed:
                self._owed += told
            self._executed[id] = told
            return reply

        setattr(machine, "execute_write", executed)  # noqa: B010 (methods of one instance)

    def _follow_log(self, log: Any, views: Any, transfer: Any) -> None:
        commit, cut_tail, install = log.commit, views.cut_tail, transfer.install

        def committed(entries: Sequence[Entry], epoch: int) -> None:
            for entry in entries:
                id = id_of(entry.write)
                if id in self._executed:
                    self.final[id] = self._executed.pop(id)
            commit(entries, epoch)

        def cut(place: int) -> Any:
            entries = cut_tail(place)
            for entry in entries:
                self._executed.pop(id_of(entry.write), None)
            return entries

        def installed(data: bytes) -> None:
            install(data)
            kept = [id_of(entry.write) for entry in log.tail]
            self._executed = {id: self._executed[id] for id in kept if id in self._executed}

        setattr(log, "commit", committed)  # noqa: B010
        setattr(views, "cut_tail", cut)  # noqa: B010
        setattr(transfer, "install", installed)  # noqa: B010

    def _follow_replica(self, replica: Any) -> None:
        forget_news, tell_news = replica.forget_news, replica.tell_news

        def forgotten() -> None:
            forget_news()
            self._owed.clear()

        def told() -> None:
            telling = [(change.person, change.id, change.reply) for change in replica.views.told]
            if telling != self._owed:
                raise Violation("told", f"{self.office} tells {_text(telling)}, and owes {_text(self._owed)}")
            self._leaving += self._owed
            self._owed.clear()
            tell_news()

        setattr(replica, "forget_news", forgotten)  # noqa: B010
        setattr(replica, "tell_news", told)  # noqa: B010

    def pushed(self, change: Change) -> None:
        """Something leaves: the next that is to be told, or what has become of a write."""
        told = (change.person, change.id, change.reply)
        if self._leaving and self._leaving[0] == told:
            self._leaving.popleft()
            if change.firm != "tentative":
                raise Violation("told", f"{self.office} tells {_text([told])} as {change.firm}")
        elif isinstance(change.reply, self.only_told):
            raise Violation("told", f"{self.office} tells {_text([told])}, not {_text(list(self._leaving)[:1])}")

    def check_paid(self) -> None:
        """All is on the disk: nothing is to be told any more."""
        if self._leaving or self._owed:
            raise Violation("told", f"{self.office} has never told {_text([*self._leaving, *self._owed])}")

    def check_final(self, tells: dict[str, Tells]) -> None:
        """What the app told in the final places is what it tells in the final order, by write."""
        for id, told in self.final.items():
            if told != tells.get(id, []):
                raise Violation(
                    "told", f"{self.office} executed {id} and told {_text(told)}, not {_text(tells.get(id, []))}"
                )


def tells_in(order: Sequence[Executed], app: App) -> dict[str, Tells]:
    """What the app tells of each write, by its id, executed once, in this order."""
    machine, tells = make_machine(app), dict[str, Any]()
    for done in order:
        machine.execute_write(done.request, done.stamp, done.id, done.late)
        tells[done.id] = [(change.person, change.id, change.reply) for change in machine.take_told()]
    return tells


def _text(tells: Tells) -> str:
    return "; ".join(f"{to} of {id}: {render(reply)}" for to, id, reply in tells) or "nothing"
