"""One run of notices: a source and its receiver, the road between them, faults on all sides, the calm, the verdict.

The source is a desk (`desk`) or the app `plans` (`planners`), the receiver is `messages`. Every committed notice of the
source is in exactly one inbox in the end, in the source's order; nothing else is; and nothing is left in the outbox.
"""

from __future__ import annotations

from typing import Any

from holdfast.kernel.contracts import Person
from holdfast.kernel.notices import Outbox, TakeNotices
from holdfast.sim.audit import Violation
from holdfast.sim.bayou import verdict as bayou_verdict
from holdfast.sim.disk import Disk
from holdfast.sim.host import Host, machine_of
from holdfast.sim.messages.post import Batch, Book
from holdfast.sim.messages.verdict import Court
from holdfast.sim.messages.wing_work import WingWork
from holdfast.sim.notices import bugs
from holdfast.sim.notices.carrier import Carrier, Road
from holdfast.sim.notices.desk import DeskWork
from holdfast.sim.notices.planners import PlansWork
from holdfast.sim.notices.services import SECOND_US, LooseService, StrictService
from holdfast.sim.notices.visitor import Visitor
from holdfast.sim.notices.work import SourceWork
from holdfast.sim.options import Options
from holdfast.sim.trace import render
from holdfast.sim.world import World

CALM_US_MAX = 400 * SECOND_US
"""So long after all was healed, every notice has arrived."""
PEOPLE = 3
SOURCES: dict[str, type[SourceWork]] = {"plans": PlansWork}
"""By the app that was chosen; every other means the desk."""


class NoticesSite:
    """All that takes part in one run. `lives`: what the source was before it was begun anew, if it was: what it had
    told, and how many of its notices are known to have been removed."""

    figures: tuple[tuple[str, int], ...] = ()

    def __init__(self, options: Options, seed: int, tracing: bool) -> None:
        self.options = options
        self.world = world = World(seed, tracing)
        source = world.random
        self.bug = bugs.BUGS[options.bug] if options.bug else bugs.NO_BUG
        giver, taker = options.failure_model.split("-")
        self.mail = WingWork(source)
        people = self.mail.people(PEOPLE)
        self.desk = SOURCES.get(options.app, DeskWork)(source, people)
        self.name = self.desk.app().name
        self.begun_anew = giver != "bayou" and not options.faults and source.random() < 0.25
        self.source = self._service(giver, self.desk, self.bug.source)
        self.receiver = self._service(taker, self.mail, self.bug.receiver)
        self.source.employ = self._employ
        self.road = Road(source.choice((0.0, 0.1, 0.3)), source.choice((0.0, 0.2)), source.choice((50_000, 5_000_000)))
        think_us_max = source.choice((200_000, 2_000_000))
        hosts: list[Host] = list(self.source.hosts)
        self.visitors = [
            Visitor(person, world, hosts, source.randint(3, 12), think_us_max, self._draw_thing) for person in people
        ]
        hosts = list(self.receiver.hosts)
        self.writers = [
            Visitor(person, world, hosts, source.randint(0, 5), 2 * think_us_max, self._draw_word) for person in people
        ]
        self.lives: list[list[tuple[str, str]]] = []
        self.calm = False
        self.troubles = 0

    def _service(self, protocol: str, work: Any, bend: Any) -> StrictService | LooseService:
        faults = self.options.faults
        if protocol == "bayou":
            return LooseService(self.world, work, bend, faults)
        if self.begun_anew and work is self.desk:  # a clock that was ahead would make the new life the older one
            faults = ("crash", "power", "moment", "break", "pause")
        return StrictService(self.world, protocol, work, bend, faults)

    def _employ(self, host: Host) -> Carrier:
        receivers: list[Host] = list(self.receiver.hosts)
        forwarder = self.bug.forwarder(self.name, host.number, len(receivers))
        return Carrier(host, forwarder, receivers, self.road)

    def _draw_thing(self, person: Person) -> tuple[Any, bool]:
        return self.desk.draw(person, 0)

    def _draw_word(self, person: Person) -> tuple[Any, bool]:
        return self.mail.draw(person, 0)

    # ---- what `run` asks for ----

    @property
    def faults(self) -> int:
        """How many were struck."""
        return self.source.faults + self.receiver.faults + self.troubles

    @property
    def operations(self) -> int:
        """How many requests were answered."""
        return sum(len(visitor.answered) for visitor in (*self.visitors, *self.writers))

    # ---- faults between the services, and of a whole one ----

    def _trouble(self) -> None:
        if self.calm:
            return
        source = self.world.random
        self.troubles += 1
        for_us = self.world.between(100_000, source.choice((SECOND_US, 10 * SECOND_US, 40 * SECOND_US)))
        die = source.random()
        if die < 0.75:
            pairs = [
                (one.number, other.number)
                for one in self.source.hosts for other in self.receiver.hosts if source.random() < 0.6
            ]  # fmt: skip
            self._note(f"the road is cut for {for_us} us: {pairs}")
            self.road.cut.update(dict.fromkeys(pairs))
            self.world.after(for_us, self._mend, pairs)
        else:
            service, name = (self.receiver, "receiver") if die < 0.9 else (self.source, "source")
            self._note(f"the {name} is down for {for_us} us")
            service.down(for_us)
        self.world.after(self.world.between(500_000, 10 * SECOND_US), self._trouble)

    def _mend(self, pairs: list[tuple[int, int]]) -> None:
        for pair in pairs:
            self.road.cut.pop(pair, None)

    def _note(self, text: str) -> None:
        if self.world.tracing:
            self.world.note(f"   ! {text}")

    def _begin_anew(self) -> None:
        """Somebody empties all disks of the source and starts the service for the first time again."""
        service = self.source
        assert isinstance(service, StrictService)
        if any(host.mortality is not None for host in service.hosts):
            self.world.after(100_000, self._begin_anew)
            return
        self._note("the source is begun anew")
        self.lives.append(self._told_by(service.book.batches))
        service.book = Book(self.world)
        for host in service.hosts:
            host.resume()
            if host.alive:
                host.crash()
        for host in service.hosts:
            host.state, host.whole, host.audit = "down", True, service.book
            host.disk = Disk(host.number + 1)
            service.protocol.found(host.disk, host.number, service.ground)
            self.world.after(self.world.between(1_000, SECOND_US), service.nemesis._start, host)
        for visitor in self.visitors:
            visitor.forget()

    # ---- the parts ----

    def play(self) -> None:
        """Faults, calm, verdict. Raises `Violation`."""
        span_us = self.world.between(5 * SECOND_US, 60 * SECOND_US)
        self.source.begin(span_us)
        self.receiver.begin(span_us)
        for visitor in (*self.visitors, *self.writers):
            visitor.begin()
        self.world.after(self.world.between(0, 5 * SECOND_US), self._trouble)
        if self.begun_anew:
            self.world.after(self.world.between(SECOND_US, span_us * 3 // 4), self._begin_anew)
        self.world.run_until(span_us)
        self.world.note("calm begins")
        self.calm = self.road.faultless = True
        self.road.cut.clear()
        self.source.heal()
        self.receiver.heal()
        until_us = self.world.now_us + CALM_US_MAX
        self.world.after(SECOND_US, self._look_around)
        self.world.run_until(until_us, lambda: self.well)
        why = self._why_not()
        if why:
            raise Violation("liveness", f"{CALM_US_MAX // SECOND_US} s after all was healed {why}")
        self._judge()

    well = False

    def _look_around(self) -> None:
        self.well = not self._why_not()
        if not self.well:
            self.world.after(SECOND_US, self._look_around)
            for service in (self.source, self.receiver):
                if isinstance(service, LooseService):
                    service.operators.tend()

    def _why_not(self) -> str:
        if not all(visitor.finished for visitor in (*self.visitors, *self.writers)):
            return "somebody waits for an answer"
        for name, service in (("source", self.source), ("receiver", self.receiver)):
            why = service.why_not()
            if why:
                return f"of the {name}, {why}"
        for host in self.source.hosts:
            first = machine_of(host.core).notice_first
            if first is not None:
                carriers = [(one, carrier.forwarder) for one, carrier in self.source.carriers.items()]
                return f"the outbox of {host.name} holds notices from {first} on; {carriers}"
        return ""

    # ---- the verdict ----

    def _judge(self) -> None:
        told = self._told_in_the_end()
        takes = self._taken_in_the_end()
        sinces = [row.since_ms for row in machine_of(self.source.hosts[0].core).store.table(Outbox)]
        lives = dict.fromkeys(sinces, told)
        olds = sorted({take.since_ms for take in takes} - set(sinces))
        if len(olds) > len(self.lives):
            raise Violation("notices", f"notices of the lives {olds} were taken, the source is of {sinces}")
        lives.update(zip(olds, self.lives, strict=False))
        for take in takes:
            there = lives[take.since_ms][take.first - 1 :][: len(take.notices)]
            if list(take.notices) != there:
                raise Violation("notices", f"carried were {render(take)}, and the source had told {there}")
        for person in self.mail.crowd.people:
            box = self.mail.ward.box(person.id)
            arrived = [copy.letter.text for copy in box if copy.letter.sender == f"service:{self.name}"]
            expected = [text for to, text in told if to == person.id]
            first = len(arrived) - len(expected)
            if arrived[max(0, first) :] != expected or (first and not olds):
                raise Violation("notices", f"{person.id} has {arrived} of {self.name}, which has told {expected}")
            before = [text for life in self.lives for to, text in life if to == person.id]
            if arrived[:first] != before[:first]:
                raise Violation("notices", f"{person.id} has {arrived[:first]}, {self.name} had told {before} before")
        self.figures = (("notices", len(told)), ("taken", sum(len(take.notices) for take in takes)))

    def _told_in_the_end(self) -> list[tuple[str, str]]:
        if isinstance(self.source, LooseService):
            self.source.judge()
            self._answered(self.source, self.visitors)
            return self.desk.register.told
        self._answered_as_executed(self.source.book.batches, self.visitors)
        return self._told_by(self.source.book.batches)

    def _taken_in_the_end(self) -> list[TakeNotices]:
        """Judge the receiver as a service of messages; and what it was handed."""
        if isinstance(self.receiver, LooseService):
            self.receiver.judge()
            self._answered(self.receiver, self.writers)
            requests = [done.request for done in self.mail.order.values()]
        else:
            batches = self.receiver.book.batches
            Court(self.mail.ward, []).judge(batches)
            self._answered_as_executed(batches, self.writers)
            requests = [request for _, batch in sorted(batches.items()) for request in batch.requests]
        return [request.command for request in requests if isinstance(request.command, TakeNotices)]

    def _answered(self, service: LooseService, visitors: list[Visitor]) -> None:
        """Who has an answer is in the order, if no disk was lost: it may have been the only one so far."""
        if service.ledger.lost_disks:
            return
        log = next(host.replica.log for host in service.hosts if host.serving)
        machine = service.ground.core(0, 0, False).replica.machine
        order = bayou_verdict.replay(machine, service.ledger.order(log))
        there = {(done.request.client, done.request.number) for done in order}
        for visitor in visitors:
            for number, reply in visitor.answered.items():
                if (visitor.name, number) not in there:
                    raise Violation("lost", f"{visitor.name} was told {render(reply)} to {number}, which is nowhere")

    def _answered_as_executed(self, batches: dict[int, Batch], visitors: list[Visitor]) -> None:
        replies: dict[tuple[str, int], Any] = {}
        for _, batch in sorted(batches.items()):
            for request, reply in zip(batch.requests, batch.replies, strict=True):
                replies.setdefault((request.client, request.number), reply)
        for visitor in visitors:
            for number, reply in visitor.answered.items():
                if replies.get((visitor.name, number)) != reply:
                    raise Violation("lost", f"{visitor.name} was told {render(reply)} to {number}, the order says "
                                    f"{render(replies.get((visitor.name, number)))}")  # fmt: skip

    def _told_by(self, batches: dict[int, Batch]) -> list[tuple[str, str]]:
        """What a source has told, from the order that it executed."""
        register, done = self.desk.model(), dict[tuple[str, int], None]()
        for _, batch in sorted(batches.items()):
            for request in batch.requests:
                key = (request.client, request.number)
                if isinstance(request.command, self.desk.app().commands) and key not in done:
                    done[key] = None
                    assert request.person is not None
                    register.do(request.person.id, request.command)
        return register.told
