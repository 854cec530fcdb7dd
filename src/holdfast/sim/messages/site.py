"""One run of messages under `lamport` or `solo`: people, their devices at the posts, faults, the calm, the verdict."""

from __future__ import annotations

import random
from typing import Any

from holdfast.apps.messages import Messages, words
from holdfast.apps.messages.rows import Audit
from holdfast.kernel.contracts import App, Person
from holdfast.sim.audit import Violation
from holdfast.sim.clients import Client, ClientOptions
from holdfast.sim.disk import Disk
from holdfast.sim.history import Action
from holdfast.sim.host import WALL_MS, Host, Setup, machine_of
from holdfast.sim.messages import bugs
from holdfast.sim.messages.asked import is_right
from holdfast.sim.messages.caller import Caller, Heard
from holdfast.sim.messages.crowd import Crowd
from holdfast.sim.messages.device import MESSAGE_FIELDS, Device, Habits, Keeper
from holdfast.sim.messages.post import Book, Post
from holdfast.sim.messages.verdict import Court
from holdfast.sim.messages.ward import Terms, Ward
from holdfast.sim.site import Site
from holdfast.sim.trace import render

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LATE_MS_MAX = 2_000
"""So long after it is due, an urgent message has been told again, where all is well."""


class MessagesWork:
    """The app on the terms of one run, and its people."""

    model: Any = None

    def __init__(self, source: random.Random, bug: bugs.Bug) -> None:
        self.bug = bug
        self.crowd = Crowd(source, source.randint(2, 4))
        urgent_ms, emergency_ms = source.choice((2_000, 5_000)), source.choice((1_000, 1_500))
        kept_ms = source.choice((0, 0, 0, HOUR_MS // 2))
        audit_ms = source.choice((0, 0, 0, HOUR_MS // 2))
        self.terms = Terms(urgent_ms, emergency_ms, kept_ms, audit_ms)

    def app(self) -> App:
        terms = self.terms
        app = Messages(
            self.crowd.people, terms.urgent_ms / 1000, terms.emergency_ms / 1000, terms.kept_ms / DAY_MS,
            terms.audit_ms / DAY_MS,
        )  # fmt: skip
        self.bug.app(app)
        return app

    def draw(self) -> Action:
        person, command, _ = self.crowd.draw()
        return (person, command)

    def command(self, action: Action) -> tuple[Any, bool]:
        return action[1], action[1].__class__ in Messages.queries

    def person(self, action: Action) -> Person | None:
        assert isinstance(action[0], Person)
        return action[0]

    def final_questions(self) -> tuple[Action, ...]:
        asked = [(one, query) for one in self.crowd.people for query in (words.AskSince(), words.AskUnread())]
        return tuple(asked)

    def check_answer(self, action: Action, text: str) -> None:
        """Every answer is judged by the model, at the end."""


class MessagesSite(Site):
    """See the module. `devices`: of every person one or two."""

    audit: Book
    workload: MessagesWork
    hosts: list[Post]  # type: ignore[assignment]

    def _draw_workload(self, source: random.Random) -> MessagesWork:
        self.bug = bugs.BUGS[self.options.bug] if self.options.bug else bugs.NO_BUG
        self.record: dict[int, Heard] = {}
        return MessagesWork(source, self.bug)

    def _plant(self, setup: Setup) -> Setup:
        return self.bug.setup(setup)

    def _new_audit(self) -> Book:
        return Book(self.world)

    def _new_host(self, number: int, setup: Setup, disk: Disk) -> Host:
        return Post(number, self.world, self.network, self.audit, setup, disk)

    def _clients(self, source: random.Random) -> list[Client]:
        count = source.randint(2, 5)
        options = ClientOptions(
            operations=60 // count,
            lanes=source.choice((1, 1, 2, 3)),
            think_us_max=source.choice((1_000, 10_000, 100_000, 500_000)),
            anonymous=0.0,  # who sends without a number cannot learn whether it was sent
            patience=source.choice((0.85, 0.97)),
        )
        clients: list[Client] = [self._caller(f"c{number}", options) for number in range(1, count + 1)]
        self.devices = self._draw_devices(source)
        return [*clients, *(device.caller for device in self.devices)]

    def _caller(self, name: str, options: ClientOptions) -> Caller:
        common = (self.world, self.hosts, self.history, self.audit, options, self._draw, self.workload.person)
        caller = Caller(f"{name}.{WALL_MS}", *common)  # type: ignore[arg-type]
        caller.crowd, caller.record = self.workload.crowd, self.record
        return caller

    def _draw_devices(self, source: random.Random) -> list[Device]:
        habits = Habits(
            lost=source.choice((0.0, 0.0, 0.1)),
            dies=source.choice((0.0, 0.05)),
            way_us_max=source.choice((300, 5_000, 200_000)),
            back_us_max=source.choice((10_000, 1_000_000)),
            reports=source.choice((0.2, 1.0)),
        )
        devices = []
        for person in self.workload.crowd.people:
            for what in ("phone", "laptop")[: source.randint(1, 2)]:
                name = f"{person.id}-{what}"
                caller = self._caller(name, ClientOptions(operations=0, anonymous=0.0))
                devices.append(
                    self.bug.device(name, person, self.world, self.hosts, caller, self.workload.crowd, habits)
                )
        return devices

    # ---- the parts ----

    def play(self) -> None:
        """See `Site`."""
        for device in self.devices:
            device.begin()
        super().play()

    def _calm(self) -> None:
        for device in self.devices:
            device.calm = True
        super()._calm()
        self._await("every device watches", lambda: all(device.idle for device in self.devices))

    def _settled(self) -> bool:
        return super()._settled() and all(device.idle for device in self.devices)

    def _last_questions(self) -> None:
        """Who has watched all the time needs nobody to ask: everything was pushed. Then everybody asks."""
        self._await("all is quiet", self._settled)
        self.world.run_until(self.world.now_us + max(device.habits.way_us_max for device in self.devices) + 1_000_000)
        self._await("all is quiet again", self._settled)
        store = machine_of(self.hosts[0].core)
        for device in self.devices:
            last = len(_inbox(store, device.person))
            if device.steady and not self.workload.terms.kept_ms and len(device.taken) < last:
                raise Violation(
                    "push", f"{device.name} has watched at {device.post and device.post.name} since it had asked, and "
                    f"has {device.cursor} of {last}"
                )  # fmt: skip
            device.fetch()
        super()._last_questions()

    def _judge(self) -> None:
        ward = Ward(self.workload.terms)
        court = Court(ward, list(self.record.values()))
        court.judge(self.audit.batches)
        machine = machine_of(self.hosts[0].core)
        for person, query in self.workload.crowd.questions():
            reply = machine.app.answer(machine.store, query, _context(machine, person))
            self.workload.crowd.answered(person, query, reply)
            if not is_right(ward, person, query, reply):
                raise Violation("state", f"in the end {person.id} is told {render(reply)} to {render(query)}")
        if not self.workload.terms.audit_ms:
            self.workload.crowd.judge_read(ward, machine.store.table(Audit))
        for host in self.hosts:
            owed = [told for told, is_owed in host.owed if is_owed]
            if owed:
                raise Violation("told", f"{host.name} has never told {owed[0]}")
            for gap in host.gaps.values():
                raise Violation("push", f"{gap}, and has not said that anything was missed")
        for device in self.devices:
            judge_device(ward, device)
        wall_ms = self.hosts[0].wall_ms
        if ward.due_ms is not None and ward.due_ms < wall_ms - LATE_MS_MAX and court.now_ms < wall_ms + LATE_MS_MAX:
            raise Violation("reminder", f"something was to be told again at {ward.due_ms}, and it is {wall_ms}")


def _context(machine: Any, person: Person) -> Any:
    machine._context.person = person
    return machine._context


def _inbox(machine: Any, person: Person) -> Any:
    return machine.app.answer(machine.store, words.AskSince(), _context(machine, person)).items


def judge_device(ward: Ward, device: Keeper) -> None:
    """It has every message of its person's inbox once, in order, as it was sent; but what has gone by age."""
    copies = {copy.number: copy for copy in ward.box(device.person.id)}
    numbers = [item.number for item in device.taken]
    if numbers != sorted(set(numbers)):
        raise Violation("device", f"{device.name} has taken {numbers}")
    for number, copy in copies.items():
        if number not in numbers and not copy.letter.removed:
            raise Violation("device", f"{device.name} has never taken {number}: {copy.letter}; it has {numbers}")
    for item in device.taken:
        copy_taken = copies.get(item.number)
        if copy_taken is None:
            raise Violation("device", f"{device.name} has taken {render(item)}, which is not in the inbox")
        shown = copy_taken.shown()
        if any(getattr(item, name) != shown[name] for name in MESSAGE_FIELDS):
            raise Violation("device", f"{device.name} has taken {render(item)}, the inbox has {shown}")
        text = item.content
        if text != shown["content"] and text and not copy_taken.letter.deleted_ms:
            raise Violation("device", f"{device.name} has taken the text {text!r}, the inbox has {shown['content']!r}")
    for number, repeats in device.reminded:
        if number not in copies or repeats > copies[number].repeats:
            raise Violation(
                "device", f"{device.name} was told {number} again, for the {repeats}th time: {copies.get(number)}"
            )
