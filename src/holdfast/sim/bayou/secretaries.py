"""Secretaries: they work at their own office, now and then at another, in sessions with guarantees.

A request without an answer is sent again under its number, there or elsewhere, or given up. A
session goes along: what it has read and written is what the next replica must know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.kernel.contracts import Person, Reading, Reply, Request
from holdfast.kernel.replies import Behind, Expired, Forgotten, Outcome, Overloaded, Unavailable, Unknown
from holdfast.sim.audit import Violation
from holdfast.sim.bayou.ground import MINUTE_US, STROKE_US
from holdfast.sim.bayou.ledger import Ledger
from holdfast.sim.bayou.office import Office, OfficeAttempt
from holdfast.sim.trace import render
from holdfast.sim.world import Event, World

READ_YOUR_WRITES, MONOTONIC_READS = "read-your-writes", "monotonic-reads"
WRITES_FOLLOW_READS, MONOTONIC_WRITES = "writes-follow-reads", "monotonic-writes"
GUARANTEES = (READ_YOUR_WRITES, MONOTONIC_READS, WRITES_FOLLOW_READS, MONOTONIC_WRITES)
TRIES_MAX = 6


class Errand(msgspec.Struct):
    """One thing to do. `draw(now_ms)` has given `command`. `uncertain`: it may have been done."""

    command: Any
    is_query: bool
    number: int
    tries: int = 0
    uncertain: bool = False


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """`errands` to do, with up to `think_us_max` between them; `roaming`: the share done at another office;
    `punctual`: she acts on the stroke of the clock, as others do, so that stamps tie."""

    errands: int
    think_us_max: int
    roaming: float
    patience: float
    punctual: bool
    guarantees: tuple[str, ...]


class Visit(OfficeAttempt):
    """One sending of one errand to one office."""

    def __init__(self, secretary: Secretary, errand: Errand, office: Office, request: Request) -> None:
        self.secretary = secretary
        self.errand = errand
        self.office = office
        self.request = request
        self.timer: Event | None = None

    def answered(self, reply: Reply) -> None:
        self.secretary.judge(self, reply)
        self.secretary.later(self.secretary.reply_arrives, self, reply)

    def disconnected(self) -> None:
        self.secretary.later(self.secretary.failed, self, "disconnected", True)


class Secretary:
    """A person with a client id and a session. `draw(person, now_ms)`: what she does next, and is it a query."""

    def __init__(
        self,
        name: str,
        person: Person,
        home: int,
        world: World,
        offices: list[Office],
        ledger: Ledger,
        habits: Habits,
        draw: Callable[[Person, int], tuple[Any, bool]],
        check: Callable[[Person, Any, Any, str], None],
    ) -> None:
        self.name = name
        self.person = person
        self.home = home
        self.world = world
        self.offices = offices
        self.ledger = ledger
        self.habits = habits
        self.draw = draw
        self.check = check
        self.left = habits.errands
        self.done = 0
        self.number = 0
        self.busy = False
        self.stubborn = False
        self.read: dict[str, int] = {}
        self.written: dict[str, int] = {}
        self.current: Visit | None = None
        self.last: tuple[Errand, str] | None = None

    # ---- errands ----

    def begin(self) -> None:
        """Do the first thing soon."""
        self._think()

    @property
    def finished(self) -> bool:
        """Nothing is left to do or to wait for."""
        return self.left == 0 and not self.busy

    def stop(self) -> None:
        """Begin nothing new."""
        self.left = 0

    def _think(self) -> None:
        moment_us = self.world.now_us + self.world.between(1_000, self.habits.think_us_max)
        if self.habits.punctual:
            moment_us += STROKE_US - moment_us % STROKE_US
        self.world.at(moment_us, self._next)

    def _next(self) -> None:
        if self.left == 0 or self.busy:
            return
        self.left -= 1
        command, is_query = self.draw(self.person, self.offices[self.home].wall_ms)
        if not is_query:
            self.number += 1
        self._try(Errand(command, is_query, 0 if is_query else self.number))

    def _try(self, errand: Errand) -> None:
        self.busy = True
        errand.tries += 1
        office = self.offices[self.home]
        if self.world.chance(self.habits.roaming) or (errand.tries > 2 and not office.serving):
            office = self.world.random.choice(self.offices)
        view = "committed" if errand.is_query and self.world.chance(0.4) else "full"
        reading = Reading(view, self.habits.guarantees, vector(self.read), vector(self.written))
        lowest = 0 if errand.is_query else errand.number
        request = Request(
            errand.command, "" if errand.is_query else self.name, errand.number, lowest, self.person, reading
        )
        visit = self.current = Visit(self, errand, office, request)
        visit.timer = self.world.after(
            self.world.between(MINUTE_US // 2, 3 * MINUTE_US), self.failed, visit, "timeout", True
        )
        self.later(self._reaches, visit)

    def later(self, action: Callable[..., None], *arguments: Any) -> None:
        """After the way between a person and an office."""
        self.world.after(self.world.between(20, 100 if self.habits.punctual else 5_000), action, *arguments)

    def _reaches(self, visit: Visit) -> None:
        if visit.office.alive:
            visit.office.request(visit, visit.request, visit.errand.is_query)
        else:
            self.failed(visit, "closed", False)

    # ---- answers ----

    def judge(self, visit: Visit, reply: Reply) -> None:
        """An answer leaves its office: what it says about the session must be true there and then."""
        reading = visit.request.reading
        assert reading is not None
        if isinstance(reply, Behind):
            if not missing_of(visit, visit.known, visit.firm):
                raise Violation(
                    "behind", f"{visit.office.name} says {reply.text()!r} and has all that {reading} asks for"
                )
            for replica, number in reply.missing:
                if visit.firm.get(replica, 0) >= number:
                    raise Violation("behind", f"{visit.office.name} has {replica}-{number}, and says {reply.text()!r}")
        elif isinstance(reply, Outcome):
            log = visit.office.replica.log
            missing = missing_of(visit, log.vector, log.committed_vector)
            if missing:
                raise Violation(
                    "session",
                    f"{visit.office.name} answers {self.name} {render(reply)}, and lacks {missing} of {reading}",
                )
            self.ledger.warned(visit.office, visit, reply)
            if reply.write:
                self.ledger.answered(visit.office, visit, self.name, visit.errand.number, reply)
        elif isinstance(reply, Forgotten | Expired):
            raise Violation("exactly once", f"{self.name} still waits for {visit.errand.number}, but: {reply.text()}")

    def reply_arrives(self, visit: Visit, reply: Reply) -> None:
        """A reply has come; a late one says nothing new."""
        errand = visit.errand
        if self.world.tracing:
            self.world.note(f"{self.name}:{errand.number} <- {visit.office.name} {render(reply)}")
        if isinstance(reply, Outcome):
            self.check(self.person, errand.command, reply.reply, reply.firm if errand.is_query else "")
        if self.current is not visit:
            return
        if isinstance(reply, Outcome):
            known = self.written if reply.write else self.read
            for replica, number in reply.vector:
                known[replica] = max(known.get(replica, 0), number)
            if isinstance(reply.reply, Forgotten | Expired):
                raise Violation("exactly once", f"{self.name} waits for {errand.number}, but: {reply.text()}")
            if reply.write and reply.firm == "committed":
                self.last = (errand, reply.reply.text())
            self._settle(visit)
        elif isinstance(reply, Unavailable | Overloaded | Unknown | Behind):
            self.failed(visit, type(reply).__name__.lower(), isinstance(reply, Unknown))
        else:  # refused at the door: nothing was written
            self._settle(visit)

    def _settle(self, visit: Visit) -> None:
        if visit.timer is not None:
            visit.timer.cancel()
        self.current = None
        self.busy = False
        self.done += 1
        self._think()

    def failed(self, visit: Visit, why: str, uncertain: bool) -> None:
        """No answer from this visit. `uncertain`: it may have been done, or may yet be."""
        errand = visit.errand
        if self.current is not visit:
            return
        if self.world.tracing:
            self.world.note(f"{self.name}:{errand.number} no answer from {visit.office.name}: {why}")
        if visit.timer is not None:
            visit.timer.cancel()
        errand.uncertain = errand.uncertain or uncertain
        self.current = None
        if errand.tries >= TRIES_MAX or not self.world.chance(self.habits.patience):
            self.busy = False
            self._think()
            return
        self.world.after(self.world.between(1_000, 20 * MINUTE_US), self._try, errand)


def vector(known: dict[str, int]) -> tuple[tuple[str, int], ...]:
    """Canonical form."""
    return tuple(sorted(known.items()))


def missing_of(visit: Visit, known: dict[str, int], firm: dict[str, int]) -> list[tuple[str, int]]:
    """What the session needs of a replica with this log, and such commits, and it lacks."""
    reading = visit.request.reading
    assert reading is not None
    required: list[tuple[str, int]] = []
    words = reading.guarantees
    if visit.errand.is_query:
        required += reading.written if READ_YOUR_WRITES in words else ()
        required += reading.read if MONOTONIC_READS in words else ()
    else:
        required += reading.read if WRITES_FOLLOW_READS in words else ()
        required += reading.written if MONOTONIC_WRITES in words else ()
    committed_only = visit.errand.is_query and reading.view == "committed"
    return [
        (replica, number)
        for replica, number in required
        if firm.get(replica, 0) < number and (committed_only or known.get(replica, 0) < number)
    ]
