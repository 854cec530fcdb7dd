"""What operators and couriers do: they say words to replicas, and carry files between them.

Nobody repeats a word that got no answer, except in the calm (`tend`), where somebody looks after
what was left half done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.kernel.contracts import Person, Reply, Request
from holdfast.kernel.replies import Outcome
from holdfast.replication.bayou.words import Export, Exported, HandOver, Import, Retire, TakeOver, Truncate
from holdfast.sim.bayou.couriers import Delivery, File
from holdfast.sim.bayou.ground import HOUR_US, MINUTE_US, Ground
from holdfast.sim.bayou.ledger import Ledger
from holdfast.sim.bayou.office import Office, OfficeAttempt
from holdfast.sim.trace import render
from holdfast.sim.world import World

OPERATOR = Person("operator", "Ops", ("operator", "administrator"))
Then = Callable[[Any], None]
Check = Callable[["Word", Any], None]


class Word(OfficeAttempt):
    """One word, said to one office; `check(word, reply)` when an answer leaves it, `then(reply)` when it comes."""

    def __init__(self, world: World, office: Office, command: Any, then: Then, check: Check) -> None:
        self.world = world
        self.office = office
        self.command = command
        self.then = then
        self.check = check
        self.alone = isinstance(command, Import)

    def answered(self, reply: Reply) -> None:
        inner = reply.reply if isinstance(reply, Outcome) else reply
        self.check(self, inner)
        if self.world.tracing:
            self.world.note(f"operator <- {self.office.name} {render(inner)}")
        self.world.after(1_000, self.then, inner)

    def disconnected(self) -> None:
        """Nobody asks again."""


class Operators:
    """See the module. `say` is the only way to a replica."""

    def __init__(self, world: World, offices: list[Office], ledger: Ledger, ground: Ground) -> None:
        self.world = world
        self.offices = offices
        self.ledger = ledger
        self.ground = ground

    def say(self, office: Office, command: Any, then: Then | None = None, check: Check | None = None) -> None:
        """Say a word to an office, if somebody is there."""
        if office.alive:
            attempt = Word(self.world, office, command, then or _nothing, check or _unchecked)
            office.request(attempt, Request(command, person=OPERATOR), isinstance(command, Export))

    def serving(self) -> list[Office]:
        """The offices at work."""
        return [office for office in self.offices if office.serving]

    def others_stay(self, office: Office) -> bool:
        """Somebody keeps what there is when this office leaves."""
        return any(other.stays for other in self.offices if other is not office)

    # ---- the primary ----

    def hand_over(self) -> str:
        """The primary hands over to another office that may lead."""
        holders = [office for office in self.serving() if office.replica.is_primary]
        if not holders:
            return ""
        holder = self.world.random.choice(holders)
        others = [office for office in self.offices if office is not holder and self._may_lead(office)]
        if not others:
            return ""
        target = self.world.random.choice(others)
        target.keeper = True
        self.say(holder, HandOver(target.name))
        return f"hand over from {holder.name} to {target.name}"

    def take_over(self) -> str:
        """Some office wants to be the primary, with the voters' consent."""
        candidates = [office for office in self.serving() if self._may_lead(office)]
        if not candidates:
            return ""
        office = self.world.random.choice(candidates)
        self.take_over_at(office)
        return f"take over at {office.name}"

    def take_over_at(self, office: Office) -> None:
        """This office wants to be the primary, if it may."""
        office.keeper = True
        self.say(office, TakeOver())

    def accept_loss(self) -> str:
        """Some office is made the primary whatever was confirmed elsewhere."""
        candidates = self.serving()
        if not candidates:
            return ""
        office = self.world.random.choice(candidates)
        self.accept_loss_at(office)
        return f"take over at {office.name}, accepting loss"

    def accept_loss_at(self, office: Office) -> None:
        """This office is made the primary so, whether or not that is needed."""
        office.keeper = True
        self.say(office, TakeOver("--accept-loss"))

    def _may_lead(self, office: Office) -> bool:
        return office.exists and (self.ground.voters == 1 or self.ground.is_voter(office.number))

    # ---- replicas ----

    def retire(self, office: Office) -> str:
        """A replica retires itself."""
        if not office.serving or office.keeper or office.replica.is_primary or not self.others_stay(office):
            return ""
        office.settled = False
        self.say(office, Retire())
        return f"retire {office.name}"

    def retire_lost(self, replica: str) -> str:
        """A replica whose disk is gone is taken out by another one."""
        others = [office for office in self.serving() if office.replica.replica != replica]
        if not others:
            return ""
        self.say(self.world.random.choice(others), Retire(replica))
        return f"retire the lost {replica}"

    def truncate(self, office: Office) -> str:
        """A replica forgets its committed log."""
        if not office.serving:
            return ""
        self.say(office, Truncate())
        return f"truncate {office.name}"

    # ---- files ----

    def carry(self, source: Office, targets: list[Office], longest_us: int = 12 * HOUR_US) -> str:
        """Somebody fills a file at an office, and brings it to others: in time or hours later, in order or
        not, whole or in part, once or twice."""
        if not source.serving:
            return ""
        file = File(source)

        def given(word: Word, reply: Any) -> None:
            if isinstance(reply, Exported):
                file.add(word, reply)

        def filled(reply: Any) -> None:
            if isinstance(reply, Exported) and reply.cursor:
                self.say(source, Export(reply.cursor), filled, given)

        self.say(source, Export(), filled, given)
        for target in targets:
            self.world.after(self.world.between(MINUTE_US, longest_us), self._bring, file, target)
        return f"file from {source.name} to {' '.join(target.name for target in targets)}"

    def _bring(self, file: File, target: Office) -> None:
        parts = list(file.parts)
        if self.world.chance(0.3):
            self.world.random.shuffle(parts)
        if self.world.chance(0.2) and parts:
            del parts[self.world.between(0, len(parts) - 1)]
        if self.world.chance(0.3):
            parts += parts
        delivery = Delivery(file, target)
        for place, part in enumerate(parts):
            moment_us = self.world.between(0, 2_000_000) + place * 2_000_000
            self.world.after(moment_us, self._hand_in, part, target, delivery)

    def _hand_in(self, part: str, target: Office, delivery: Delivery) -> None:
        self.say(target, Import(part), check=lambda _word, reply: delivery.answered(part, reply))

    # ---- the calm ----

    def tend(self) -> None:
        """Look after a change of the primary that was left half done, or a primary that came back as a new disk."""
        if any(office.core.epochs.claimed > office.replica.epoch for office in self.serving()):
            return
        if self._headless():
            if self.ground.may_lose:
                self.accept_loss()
            else:
                self.take_over()

    def _headless(self) -> bool:
        """Whether something is tentative, and the disk that became the primary is gone: nobody else is waited for."""
        serving = self.serving()
        newest = max(serving, key=lambda office: office.replica.epoch, default=None)
        if newest is None or not any(office.replica.log.tail for office in serving):
            return False
        primary = self.offices[newest.replica.primary]
        return not (primary.alive and primary.replica.is_primary)


def _nothing(_reply: Any) -> None:
    """No answer is waited for."""


def _unchecked(_word: Word, _reply: Any) -> None:
    """Nothing follows from the answer by itself."""
