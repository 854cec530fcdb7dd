"""What planners are answered."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.apps.plans.words import TOLD_MAX
from holdfast.apps.values import shown
from holdfast.kernel.contracts import Refusal, Reply


def listed(names: Sequence[str]) -> str:
    """`hotel, band and hall`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def are(names: Sequence[str], singular: str, plural: str) -> str:
    """`ann is`, `ann and bob are`."""
    return f"{listed(names)} {singular if len(names) == 1 else plural}"


class Concluded(Reply, frozen=True, tag="concluded"):
    """It is kept. `told`: who is told now; `known`: who has been told the same before."""

    plan: str
    slot: int
    vendors: tuple[str, ...]
    told: tuple[str, ...]
    known: tuple[str, ...]

    def text(self) -> str:
        known = f"{are(self.known, 'knows', 'know')} it already" if self.known else ""
        told = f"{are(self.told, 'is', 'are')} told" if self.told else ""
        return f"Slot {self.slot} at {listed(self.vendors)}: {'; '.join(filter(None, (told, known)))}."


class Withdrawn(Reply, frozen=True, tag="withdrawn"):
    """It is kept no longer, and they are told."""

    plan: str
    slot: int
    vendors: tuple[str, ...]
    told: tuple[str, ...]

    def text(self) -> str:
        return f"Slot {self.slot} at {listed(self.vendors)} is withdrawn: {are(self.told, 'is', 'are')} told."


class PlanList(Reply, frozen=True, tag="plan_list"):
    """(plan, slot, vendors, who was told) of each, the latest first."""

    plans: tuple[tuple[str, int, tuple[str, ...], tuple[str, ...]], ...]

    def text(self) -> str:
        each = [
            f"{plan}: slot {slot} at {listed(vendors)}, told to {listed(told)}"
            for plan, slot, vendors, told in self.plans
        ]
        return "; ".join(each) or "No plan of yours has come to anything."


class NobodyNamed(Refusal, frozen=True, tag="nobody_named"):
    """A plan is somebody's, and nobody has said who asks."""

    def text(self) -> str:
        return "Failed: say who you are first: login ID."


class NoSuchPerson(Refusal, frozen=True, tag="no_such_person"):
    """The site has nobody of this id."""

    id: str

    def text(self) -> str:
        return f"Failed: there is nobody with the id {shown(self.id)} who could be told."


class NoSuchPlan(Refusal, frozen=True, tag="no_such_plan"):
    """No plan of this name has come to anything, or it is not kept any more."""

    plan: str

    def text(self) -> str:
        return f"Failed: no plan {shown(self.plan)} of yours has come to anything; mine lists them."


class TooManyTold(Refusal, frozen=True, tag="too_many_told"):
    """More people than are told of one plan; nothing was changed. `told`: how many were before."""

    told: int

    def text(self) -> str:
        before = f"{self.told} were told of this one before"
        return f"Failed: at most {TOLD_MAX} people are told of a plan, and {before}; name fewer, or withdraw it first."
