"""One run of messages under `bayou`: wings that are cut off, and devices that keep only what is final."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from holdfast.apps.messages import words
from holdfast.apps.messages.replies import AckHeard, Arrived, Since
from holdfast.apps.messages.rows import Audit, Item, Message
from holdfast.kernel.contracts import Change, Person, Reading, Reply, Request
from holdfast.kernel.replies import Behind, Outcome, Unavailable
from holdfast.sim.audit import Violation
from holdfast.sim.bayou.bugs import Bug as OfficeBug
from holdfast.sim.bayou.ground import HOUR_US, MINUTE_US
from holdfast.sim.bayou.office import Office, OfficeAttempt
from holdfast.sim.bayou.site import BayouSite
from holdfast.sim.disk import Disk
from holdfast.sim.messages import bugs
from holdfast.sim.messages.crowd import WORDS
from holdfast.sim.messages.news import News
from holdfast.sim.messages.site import judge_device
from holdfast.sim.messages.ward import Ward
from holdfast.sim.messages.wing_work import WingWork
from holdfast.sim.trace import render
from holdfast.sim.world import World

if TYPE_CHECKING:
    from holdfast.sim.options import Options

DUE_LOOK_US = 10 * MINUTE_US
PATIENCE_US = 2 * MINUTE_US
ONLY_TOLD = (AckHeard, Arrived)
"""These are never the outcome of a write."""
OFTEN = {"group": 5, "invite": 9}
"""What would else seldom be told anybody in a run of so few errands."""


class Wing(Office):
    """An office with people's devices on its lines. `told`: (person, id) of what this process has told; `known`: of
    what it had when it started, or when it said last that something was missed: whoever watches has asked then."""

    due_look_us = DUE_LOOK_US

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.devices: dict[WingDevice, None] = {}
        self.told: dict[tuple[str, str], None] = {}
        self.known: dict[tuple[str, str], None] = {}
        self.news: News

    def start(self) -> None:
        """See `Host`."""
        self.told.clear()
        self.known.clear()
        super().start()

    def _core(self, host: Any) -> Any:
        core = super()._core(host)
        self.news = News(self.name, core, ONLY_TOLD)
        return core

    def _recover(self) -> None:
        super()._recover()
        self.known = _arrived(self.replica.machine)

    def _missed(self) -> None:
        self.known = _arrived(self.replica.machine)
        for device in list(self.devices):
            device.travels(None)

    def check_told(self) -> None:
        """Raise `Violation` if somebody who watched all the time has neither heard of a message nor of a gap. Of a
        group's nothing is said: who made it or was invited may have come out otherwise at first."""
        for person, id in _arrived(self.replica.machine):
            if (person, id) not in self.told and (person, id) not in self.known:
                raise Violation("push", f"{self.name} has never told {person} of {id}, nor that anything was missed")

    def _changed(self, change: Change) -> None:
        super()._changed(change)
        self.news.pushed(change)
        if isinstance(change.reply, Arrived) and not change.reply.repeats:
            name = (change.person, change.id)
            if name in self.told and not self.ground.may_lose:  # a history that was cut off may come back as another
                raise Violation(
                    "told", f"{self.name} tells {change.person} for the second time: {render(change.reply)}"
                )
            self.told[name] = None
        for device in list(self.devices):
            if device.person.id == change.person and not isinstance(change.reply, Outcome):
                device.travels(change.reply)

    def _end(self, state: str, silent: bool) -> None:
        devices, self.devices = self.devices, {}
        super()._end(state, silent)
        for device in devices:
            device.post = None


class Question(OfficeAttempt):
    """One asking of what is new."""

    def __init__(self, device: WingDevice) -> None:
        self.device = device

    def answered(self, reply: Reply) -> None:
        self.device.later(self.device.answered, self, reply)

    def disconnected(self) -> None:
        self.device.later(self.device.answered, self, Unavailable("the line broke"))


class WingDevice:
    """A device of one person. `taken`, `cursor`: what is final, on its disk; `shown`: ids of what was shown beside,
    while it was tentative. What is pushed is a reason to ask; besides it asks now and then, wherever it is."""

    def __init__(self, name: str, person: Person, home: int, world: World, wings: list[Wing], work: WingWork) -> None:
        self.name = name
        self.person = person
        self.home = home
        self.world = world
        self.wings = wings
        self.work = work
        self.taken: list[Any] = []
        self.reminded: list[tuple[int, int]] = []
        self.cursor = self.reported = 0
        self.shown: dict[str, None] = {}
        self.post: Wing | None = None
        self.calm = False
        self.roaming = world.random.choice((0.0, 0.1, 0.4))
        self._question: Question | None = None
        self._view = "full"

    def begin(self) -> None:
        """Ask for the first time soon."""
        self.world.after(self.world.between(1_000, HOUR_US), self._poll)

    def later(self, action: Any, *arguments: Any) -> None:
        """After the way between a device and a wing."""
        self.world.after(self.world.between(20, 200_000), action, *arguments)

    def _poll(self) -> None:
        self.ask()
        self.world.after(self.world.between(MINUTE_US, 30 * MINUTE_US if self.calm else 4 * HOUR_US), self._poll)

    def ask(self) -> None:
        """Ask for what came after the cursor, here or elsewhere; from now on watch there."""
        if self._question is not None:
            return
        if self.post is None or self.world.chance(self.roaming):
            if self.post is not None:
                self.post.devices.pop(self, None)
            self.post = self.wings[self.home]
            if self.world.chance(self.roaming) or self.post.state != "up":
                self.post = self.world.random.choice(self.wings)
            if self.post.state != "up":
                self.post = None
                return
            self.post.devices[self] = None
        after, self._view = self._what_next()
        question = self._question = Question(self)
        reading = Reading(self._view, (), (), ())
        self.post.request(question, Request(words.AskSince(after), person=self.person, reading=reading), True)
        self.world.after(PATIENCE_US, self._tired, question)

    def _what_next(self) -> tuple[int, str]:
        """After which number to ask, and in which view."""
        return self.cursor, self.world.random.choice(("full", "committed"))

    def _tired(self, question: Question) -> None:
        if self._question is question:
            self._question = None

    def travels(self, told: Reply | None) -> None:
        """Something is pushed, None: that something is not; the line may break before it comes."""
        if self.world.chance(0.9):
            self.later(self._arrives, told)

    def _arrives(self, told: Reply | None) -> None:
        if told is None:
            self.ask()
            return
        self.work.crowd.shown(self.person, told)
        if isinstance(told, Arrived):
            self.pushed(told)

    def answered(self, question: Question, reply: Reply) -> None:
        """What there is comes: the final ones first, then perhaps others."""
        if self._question is not question:
            return
        self._question = None
        if not isinstance(reply, Outcome) or isinstance(reply.reply, Unavailable | Behind):
            return
        since = reply.reply
        if not isinstance(since, Since):
            raise Violation("device", f"{self.name} asked for what is new and is told {render(since)}")
        self.work.check(self.person, None, since, self._view)
        firm = [item.firm for item in since.items]
        if firm != sorted(firm, reverse=True):
            raise Violation(
                "device", f"{self.name} is shown something final behind something tentative: {render(since)}"
            )
        self.page(since)
        if self.reported < self.cursor and self.world.chance(0.5) and self.post is not None and self.post.state == "up":
            self.reported = self.cursor
            got = words.Got(self.name.partition("-")[2], self.cursor)
            self.post.request(_Said(), Request(got, person=self.person), False)

    def page(self, since: Since) -> None:
        """What there is: it keeps what is final, and shows the rest."""
        for item in since.items:
            if item.firm and item.number > self.cursor:
                self.take(item)
            elif not item.firm:
                self.shown[item.id] = None

    def pushed(self, told: Arrived) -> None:
        """A message, or the same again."""
        if not told.repeats:
            self.shown[told.id] = None
        self.ask()

    def take(self, item: Any) -> None:
        """Keep it, and move the cursor."""
        self.taken.append(item)
        self.cursor = item.number

    def judge(self, ward: Ward) -> None:
        """Raise `Violation` if it does not have what it should have in the end."""
        judge_device(ward, self)


class _Said(OfficeAttempt):
    """Nobody waits for the answer."""

    def answered(self, reply: Reply) -> None:
        """It may be done."""

    def disconnected(self) -> None:
        """It may not."""


class WingSite(BayouSite):
    """See the module."""

    device: type[WingDevice] = WingDevice
    work: WingWork
    offices: list[Wing]  # type: ignore[assignment]

    def __init__(self, options: Options, seed: int, tracing: bool) -> None:
        super().__init__(options, seed, tracing)
        self.devices: list[WingDevice] = []
        for home, person in enumerate(self.work.crowd.people):
            for what in ("phone", "laptop")[: self.world.random.randint(1, 2)]:
                made = self.device(f"{person.id}-{what}", person, home, self.world, self.offices, self.work)
                self.devices.append(made)

    def _draw_work(self, source: random.Random) -> WingWork:
        work = WingWork(source)
        work.crowd.words = WORDS | OFTEN
        return work

    def _find_bug(self) -> OfficeBug:
        self.bug = bugs.BUGS[self.options.bug] if self.options.bug else bugs.NO_BUG
        self.work.bend = self.bug.app
        return OfficeBug(self.bug.core, self.bug.gate)

    def _new_office(self, number: int, disk: Disk, bug: OfficeBug) -> Office:
        return Wing(number, self.world, self.network, self.ledger, self.ground, disk, bug)

    def play(self) -> None:
        """See `BayouSite`."""
        for device in self.devices:
            device.begin()
        super().play()
        self._judge_devices()

    def _await_calm(self) -> None:
        for device in self.devices:
            device.calm = True
        super()._await_calm()

    def _why_not(self) -> str:
        why = super()._why_not()
        if why or self.ground.may_lose:
            return why
        store = next(office.replica.machine.store for office in self.offices if office.serving)
        for device in self.devices:
            item = _last_item(store, device.person.id)
            if device.cursor < item:
                return f"{device.name} has {device.cursor} of {item}"
        return ""

    def _judge_devices(self) -> None:
        for wing in self.offices:
            if wing.state == "up" and wing.process.kept == wing.process.asked:
                wing.news.check_paid()
        if self.ground.may_lose:  # what was final may be lost there
            return
        if not self.work.terms.audit_ms:
            store = next(office.replica.machine.store for office in self.offices if office.serving)
            self.work.crowd.judge_read(self.work.ward, store.table(Audit))
        for wing in self.offices:
            if wing.serving:
                wing.check_told()
                wing.news.check_final(self.work.tells)
        ids = {copy.letter.id for box in self.work.ward.boxes.values() for copy in box}
        for device in self.devices:
            device.judge(self.work.ward)
            for id in device.shown:
                if id not in ids and self._must_stay(id):
                    raise Violation("device", f"{device.name} was shown {id}, which is in no inbox in the end")

    def _must_stay(self, id: str) -> bool:
        """Whether a message that was shown while it was tentative has to be there in the end: it was from one person
        to another, under this name first, and its write lies on a disk that is left."""
        done = self.work.order.get(id.partition("/")[0])
        if done is None:
            replica, _, number = id.partition("/")[0].rpartition("-")
            held = [disk for disk, known in self.ledger.held.items() if known.get(replica, 0) >= int(number)]
            return any(disk not in self.ledger.lost_disks for disk in held)
        command = done.request.command
        return not done.repeated and not (isinstance(command, words.Send) and "#" in command.to)


def _arrived(machine: Any) -> dict[tuple[str, str], None]:
    """(person, id) of the messages of two people in the inboxes; a source of notices has none."""
    if Message not in machine.rows:
        return {}
    messages, found = machine.store.table(Message), dict[tuple[str, str], None]()
    for item in machine.store.table(Item):
        message = messages.get((item.conversation, item.message))
        if message is not None and not item.conversation.startswith("#"):
            found[item.person, message.id] = None
    return found


def _last_item(store: Any, person: str) -> int:
    return max((row.number for row in store.table(Item) if row.person == person), default=0)
