"""What plans have come to, as one immortal server would keep it: a sequential model for the checker, and what random
clients say. Of what people are told by notices, `sim.notices.planners` has a model."""

from __future__ import annotations

import random
from collections.abc import Hashable

from holdfast.sim.history import Action

Kept = tuple[str, str, int, tuple[str, ...], tuple[str, ...]]
"""Whose plan, its name, the slot, the vendors, who was told."""

PERSONS = ("ann", "bob", "cem")
PLANS = ("wedding", "party")
VENDORS = ("band", "hotel")
QUESTIONS = ("mine",)


class Shelf:
    """One copy of what is kept, the latest conclusion first. An action is (word, who asks, argument, ...)."""

    def initial(self) -> Hashable:
        """Nothing has come to anything."""
        return ()

    def apply(self, state: Hashable, action: Action) -> tuple[Hashable, str]:
        """What a single immortal server does and says."""
        assert isinstance(state, tuple)
        word, who, *arguments = action
        if word == "mine":
            mine = [kept[1:] for kept in state if kept[0] == who]
            shown = [
                f"{plan}: slot {slot} at {in_words(at)}, told to {in_words(told)}" for plan, slot, at, told in mine
            ]
            return state, "; ".join(shown) or "No plan of yours has come to anything."
        plan, *news = arguments
        old = next((kept for kept in state if kept[:2] == (who, plan)), None)
        others = tuple(kept for kept in state if kept is not old)
        if word == "conclude":
            return self._conclude(state, others, old, (who, plan, *news))  # type: ignore[arg-type]
        if old is None:
            return state, f"Failed: no plan '{plan}' of yours has come to anything; mine lists them."
        return others, f"Slot {old[2]} at {in_words(old[3])} is withdrawn: {_told(old[4])}."

    def _conclude(
        self, state: tuple[Kept, ...], others: tuple[Kept, ...], old: Kept | None, new: Kept
    ) -> tuple[tuple[Kept, ...], str]:
        who, plan, slot, vendors, named = new
        told = old[4] if old else ()
        everybody = told + tuple(person for person in named if person not in told)
        is_news = old is None or (old[2], set(old[3])) != (slot, set(vendors))
        if old is not None and not is_news:
            vendors = old[3]
        hear = everybody if is_news else everybody[len(told) :]
        know = () if is_news else told
        parts = [_told(hear)] if hear else []
        if know:
            parts.append(f"{in_words(know)} {'knows' if len(know) == 1 else 'know'} it already")
        after = ((who, plan, slot, vendors, everybody), *others) if hear else state
        return after, f"Slot {slot} at {in_words(vendors)}: {'; '.join(parts)}."


def _told(persons: tuple[str, ...]) -> str:
    return f"{in_words(persons)} {'is' if len(persons) == 1 else 'are'} told"


def in_words(names: tuple[str, ...]) -> str:
    """`hotel, band and hall`. At least one name."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


class Planners:
    """What random people say of a few plans."""

    def __init__(self, source: random.Random) -> None:
        self.source = source

    def draw(self) -> Action:
        """The next action of someone."""
        source = self.source
        who, plan = source.choice(PERSONS[:2]), source.choice(PLANS)
        word = source.choices(("conclude", "withdraw", "mine"), (6, 2, 2))[0]
        if word == "mine":
            return (word, who)
        if word == "withdraw":
            return (word, who, plan)
        vendors = tuple(source.sample(VENDORS, source.choice((1, 2, 2))))
        return (word, who, plan, source.randint(1, 3), vendors, tuple(source.sample(PERSONS, source.choice((1, 1, 2)))))
