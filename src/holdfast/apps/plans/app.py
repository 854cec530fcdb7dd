"""What planners have come to: the slot that somebody has booked at several vendors, and who is told of it.

A planner is a client, and a client has no outbox: it may be gone for good right after its last request. So it
says here what it has come to, by the plan's name, and the notices leave from here. They follow from what is
kept: whoever was told of a plan is told again when that is true no longer, and at no other time. So a planner that
does not know whether it was heard says the same again, as often and as late as it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.apps.plans.replies import (
    Concluded,
    NobodyNamed,
    NoSuchPerson,
    NoSuchPlan,
    PlanList,
    TooManyTold,
    Withdrawn,
    listed,
)
from holdfast.apps.plans.rows import Plan
from holdfast.apps.plans.words import PLANS_MAX, TOLD_MAX, Conclude, Mine, Withdraw
from holdfast.kernel.contracts import App, Context, Person, Refusal, Reply
from holdfast.kernel.store import Condition, Select

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore


class Plans(App):
    """The app. `people`: whom the site knows. Who they are only the door checks: replicas may learn of a new
    colleague at different times."""

    name = "plans"
    rows = (Plan,)
    commands = (Conclude, Withdraw)
    queries = (Mine,)
    replies = (Concluded, Withdrawn, PlanList, NobodyNamed, NoSuchPerson, NoSuchPlan, TooManyTold)

    def __init__(self, people: Iterable[Person] = ()) -> None:
        self.people = frozenset(person.id for person in people)

    def admit(self, command: Any, person: Person | None, now_ms: int) -> Refusal | None:
        """Nobody who asks, and who is not of the site."""
        if person is None:
            return NobodyNamed()
        named = command.persons if isinstance(command, Conclude) else ()
        return next((NoSuchPerson(id) for id in named if id not in self.people), None)

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        """Execute one command. Total over every decodable command; a refusal changes nothing."""
        if context.person is None:
            return NobodyNamed()
        return _APPLY[type(command)](store, command, context.person.id, context)

    def answer(self, store: TupleStore, query: Any, context: Context) -> Reply:
        """Answer one query; changes nothing."""
        if context.person is None:
            return NobodyNamed()
        plans = reversed(plans_of(store, context.person.id))
        return PlanList(tuple((plan.name, plan.slot, plan.vendors, plan.told) for plan in plans))


def plans_of(store: TupleStore, person: str) -> list[Plan]:
    """All of a person's that are kept, in the order of their last conclusions."""
    return store.select(Select(Plan.table, (Condition("person", "=", person),), ("place",)))


def _conclude(store: TupleStore, command: Conclude, me: str, context: Context) -> Reply:
    plans, slot, vendors = store.table(Plan), command.slot, _distinct(command.vendors)
    old: Plan | None = plans.get((me, command.plan))
    before = old.told if old is not None else ()
    told = _distinct((*before, *command.persons))
    if len(told) > TOLD_MAX:
        return TooManyTold(len(before))
    if old is not None and (old.slot, sorted(old.vendors)) == (slot, sorted(vendors)):
        vendors, known = old.vendors, before
    else:
        known = ()
    heard = told[len(known) :]
    if heard:
        mine = plans_of(store, me)
        plans.put(Plan(me, command.plan, mine[-1].place + 1 if mine else 1, slot, vendors, told))
        if old is None and len(mine) >= PLANS_MAX:
            plans.delete((me, mine[0].name))
    for person in heard:
        context.notify(person, booked_text(me, slot, vendors, old if person in before else None))
    return Concluded(command.plan, slot, vendors, heard, known)


def _withdraw(store: TupleStore, command: Withdraw, me: str, context: Context) -> Reply:
    plans = store.table(Plan)
    plan: Plan | None = plans.get((me, command.plan))
    if plan is None:
        return NoSuchPlan(command.plan)
    plans.delete((me, plan.name))
    for person in plan.told:
        context.notify(person, f"{me} no longer has slot {plan.slot} at {listed(plan.vendors)}.")
    return Withdrawn(plan.name, plan.slot, plan.vendors, plan.told)


_APPLY: dict[type, Callable[[TupleStore, Any, str, Context], Reply]] = {Conclude: _conclude, Withdraw: _withdraw}


def booked_text(who: str, slot: int, vendors: Sequence[str], before: Plan | None) -> str:
    """What somebody is told of a slot; `before`: of which one they were told last."""
    places = listed(vendors)
    if before is None:
        return f"{who} has booked slot {slot} at {places}."
    if sorted(before.vendors) == sorted(vendors):
        return f"{who} has booked slot {slot} instead of {before.slot} at {places}."
    return f"{who} has booked slot {slot} at {places} instead of slot {before.slot} at {listed(before.vendors)}."


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Each once, in their order."""
    return tuple(dict.fromkeys(names))
