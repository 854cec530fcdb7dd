"""Messages under `bayou`: what is asked in the wings of a hospital, and what the final order must make of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.apps.messages import Messages
from holdfast.kernel.contracts import App, Context, Person
from holdfast.kernel.machine import PassTime
from holdfast.kernel.notices import DropNotices, TakeNotices
from holdfast.kernel.replies import Malformed
from holdfast.sim.audit import Violation
from holdfast.sim.bayou.workloads import Undated
from holdfast.sim.messages.asked import is_right
from holdfast.sim.messages.crowd import NAMES, Crowd
from holdfast.sim.messages.news import tells_in
from holdfast.sim.messages.verdict import check_told, take
from holdfast.sim.messages.ward import Terms, Ward
from holdfast.sim.trace import render

if TYPE_CHECKING:
    from holdfast.sim.bayou.workloads import Executed
    from holdfast.sim.messages.post import Tells

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class WingWork(Undated):
    """The app on the terms of one run, and its people. `ward`, `order`, `tells`: the model, and by
    their ids the writes, and what the app tells of each in the final order alone, as the judge has left them."""

    def __init__(self, source: random.Random) -> None:
        self.crowd = Crowd(source, len(NAMES))
        urgent_ms, emergency_ms = source.choice((4, 12)) * HOUR_MS, source.choice((2, 6)) * HOUR_MS
        kept_ms, audit_ms = source.choice((0, 0, 0, 12)) * HOUR_MS, source.choice((0, 0, 0, 12)) * HOUR_MS
        self.terms = Terms(urgent_ms, emergency_ms, kept_ms, audit_ms)
        self.bend: Callable[[Any], None] = lambda _app: None
        self.ward = Ward(self.terms)
        self.order: dict[str, Executed] = {}
        self.tells: dict[str, Tells] = {}

    def app(self) -> App:
        terms = self.terms
        app = Messages(
            self.crowd.people, terms.urgent_ms / 1000, terms.emergency_ms / 1000, terms.kept_ms / DAY_MS,
            terms.audit_ms / DAY_MS,
        )  # fmt: skip
        self.bend(app)
        return app

    def people(self, count: int) -> list[Person]:
        del self.crowd.people[count:]
        return self.crowd.people

    def draw(self, person: Person, now_ms: int) -> tuple[Any, bool]:
        _, command, is_query = self.crowd.draw(person)
        return command, is_query

    def check(self, person: Person, command: Any, reply: Any, view: str) -> None:
        """Learn from what is shown; it must be theirs. Of the committed view all is firm."""
        self.crowd.shown(person, reply)
        if view == "committed" and type(command) in Messages.queries:
            self.crowd.answered(person, command, reply)
        for item in (*getattr(reply, "items", ()), *getattr(reply, "messages", ())):
            if view == "committed" and not item.firm:
                raise Violation("view", f"the committed view shows {render(item)}")

    def judge(self, order: Sequence[Executed], store: Any) -> None:
        """The model says the same to each write, and to every question in the end."""
        ward, sources = self.ward, dict[str, tuple[int, int]]()
        self.order = {done.id: done for done in order}
        self.tells = tells_in(order, self.app())
        for done in order:
            command, person, now_ms = done.request.command, done.request.person, done.stamp[0]
            if isinstance(command, PassTime):
                ward.pass_time(now_ms)
            elif isinstance(command, TakeNotices):
                take(ward, sources, command, done.id, now_ms)
            elif not (done.repeated or isinstance(command, DropNotices) or isinstance(done.reply, Malformed)):
                assert person is not None
                answer = ward.do(person, command, done.id, now_ms)
                if not answer.fits(done.reply):
                    raise Violation("model", f"{person.id} said {render(command)}: {render(done.reply)}, not {answer}")
            check_told(self.tells[done.id], ward.take_told(), done.id)
        app, context = Messages(self.crowd.people), Context()
        for person, query in self.crowd.questions():
            context.person = person
            reply = app.answer(store, query, context)
            self.crowd.answered(person, query, reply)
            if not is_right(ward, person, query, reply):
                raise Violation("state", f"in the end {person.id} is told {render(reply)} to {render(query)}")

    def contested(self, order: Sequence[Executed]) -> tuple[int, int]:
        """Nobody is in anybody's way."""
        return 0, 0
