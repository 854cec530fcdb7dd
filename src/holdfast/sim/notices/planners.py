"""Planners, of whose plans people are told: what they say to the service of plans, and a model of who hears what."""

from __future__ import annotations

from typing import Any

from holdfast.apps.plans import PLANS_MAX, TOLD_MAX, Conclude, Mine, Plan, Plans, Withdraw
from holdfast.kernel.contracts import App, Person
from holdfast.sim.audit import Violation
from holdfast.sim.notices.work import SourceWork
from holdfast.sim.plans import in_words

PLANS = ("wedding", "party")
VENDORS = ("band", "hall", "hotel")

News = tuple[int, tuple[str, ...]]
"""A slot and the vendors where it is booked."""


class Hearsay:
    """What each has heard of whose plan: whoever has heard something that is not so any more, or nothing, is told.
    Of each person `plans_max` plans are kept, those last that were concluded first."""

    def __init__(self, plans_max: int = PLANS_MAX) -> None:
        self.plans_max = plans_max
        self.heard: dict[tuple[str, str], dict[str, News]] = {}
        self.told: list[tuple[str, str]] = []

    def do(self, who: str, command: Any) -> None:
        """One command."""
        key = (who, command.plan)
        if not isinstance(command, Conclude):
            for one, (slot, vendors) in self.heard.pop(key, {}).items():
                self.told.append((one, f"{who} no longer has slot {slot} at {in_words(vendors)}."))
            return
        news, heard = (command.slot, command.vendors), self.heard.get(key, {})
        last = next(iter(heard.values()), None)
        if last is not None and (last[0], set(last[1])) == (news[0], set(news[1])):
            news = last  # in other words
        after = dict.fromkeys((*heard, *command.persons), news)
        if len(after) > TOLD_MAX or after == heard:
            return
        for one in after:
            if heard.get(one) != news:
                self.told.append((one, _news_in_words(who, news, heard.get(one))))
        self.heard.pop(key, None)
        self.heard[key] = after
        own = [known for known in self.heard if known[0] == who]
        for forgotten in own[: -self.plans_max]:
            del self.heard[forgotten]

    def compare(self, store: Any) -> None:
        """The plans that are kept are those of the model, and so is who was told."""
        kept = {(plan.person, plan.name): dict.fromkeys(plan.told, (plan.slot, plan.vendors)) for plan in
                store.table(Plan)}  # fmt: skip
        if kept != self.heard:
            raise Violation("model", f"the plans are {kept}, the model says {self.heard}")


def _news_in_words(who: str, news: News, old: News | None) -> str:
    slot, vendors = news
    at = f" at {in_words(vendors)}"
    if old is None:
        return f"{who} has booked slot {slot}{at}."
    if set(old[1]) == set(vendors):
        return f"{who} has booked slot {slot} instead of {old[0]}{at}."
    return f"{who} has booked slot {slot}{at} instead of slot {old[0]} at {in_words(old[1])}."


class PlansWork(SourceWork):
    """A few plans that change, and are withdrawn."""

    model = Hearsay

    def app(self) -> App:
        return Plans(self.staff)

    def draw(self, person: Person, now_ms: int) -> tuple[Any, bool]:
        source = self.source
        plan, die = source.choice(PLANS), source.random()
        if die < 0.1:
            return Mine(), True
        if die < 0.3:
            return Withdraw(plan), False
        vendors = tuple(source.sample(VENDORS, source.choice((1, 2, 2, 2, 3))))
        told = tuple(one.id for one in source.sample(self.staff, source.choice((1, 1, 2))))
        return Conclude(plan, source.randint(1, 4), vendors, told), False
