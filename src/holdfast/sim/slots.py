"""A vendor's slots as the exercise tells it: a sequential model for the checker, and what random clients do to it.

Written from the words of the requirements alone, apart from the app, so that the two can disagree.
"""

from __future__ import annotations

import random
from collections.abc import Hashable

from holdfast.sim.history import Action

State = tuple[str, ...]
"""What became of slot 1, 2, ...: who holds it, "" for a free one, `BLOCKED` for one that is kept back."""

BLOCKED = "-"
BOSS = "vic"
"""Who is the vendor."""
QUESTIONS = ("available", "mine", "holders")


class Vendor:
    """One copy of the slots, one request at a time. An action is (word, who asks, argument, ...)."""

    blind = ("block", "unblock")

    def __init__(self, slots: int, holds: int) -> None:
        self.slots = slots
        self.holds = holds

    def initial(self) -> Hashable:
        """Every slot is free."""
        return ("",) * self.slots

    def apply(self, state: Hashable, action: Action) -> tuple[Hashable, str]:
        """What a single immortal server does and says."""
        assert isinstance(state, tuple)
        word, who, *arguments = action
        if word in ("block", "unblock", "holders") and who != BOSS:
            return state, f"Failed: {who} is not the vendor, and only the vendor may do this."
        for slot in arguments:
            assert isinstance(slot, int)
            if not 1 <= slot <= self.slots:
                return state, f"Failed: there is no slot {slot}, the slots are numbered from 1 to {self.slots}."
        result: tuple[State, str] = getattr(self, f"_{word}")(state, who, *arguments)
        return result

    def _reserve(self, state: State, who: str, slot: int) -> tuple[State, str]:
        held = _of(state, who)
        if slot in held:
            return state, f"Failed: slot {slot} is yours already."
        if len(held) == self.holds:
            return state, f"Failed: you hold {', '.join(map(str, held))}, and more than {self.holds} nobody may hold."
        if state[slot - 1]:
            return state, f"Failed: slot {slot} is taken."
        return _with(state, slot, who), f"Slot {slot} is reserved for {who}."

    def _release(self, state: State, who: str, slot: int) -> tuple[State, str]:
        holder = state[slot - 1]
        if holder in ("", BLOCKED) or who not in (holder, BOSS):
            return state, f"Failed: slot {slot} is not yours."
        return _with(state, slot, ""), f"Slot {slot} is free again."

    def _block(self, state: State, who: str, slot: int) -> tuple[State, str]:
        if state[slot - 1] not in ("", BLOCKED):
            return state, f"Failed: slot {slot} is taken."
        return _with(state, slot, BLOCKED), f"Slot {slot} is blocked."

    def _unblock(self, state: State, who: str, slot: int) -> tuple[State, str]:
        after = _with(state, slot, "") if state[slot - 1] == BLOCKED else state
        return after, f"Slot {slot} is not blocked any more."

    def _available(self, state: State, who: str) -> tuple[State, str]:
        free = _of(state, "")
        if not free:
            return state, "No slot is free."
        runs: list[list[int]] = []
        for slot in free:
            if runs and runs[-1][1] == slot - 1:
                runs[-1][1] = slot
            else:
                runs.append([slot, slot])
        shown = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
        return state, f"{len(free)} {'slot is' if len(free) == 1 else 'slots are'} free: {shown}."

    def _mine(self, state: State, who: str) -> tuple[State, str]:
        held = _of(state, who)
        return state, f"You hold {', '.join(map(str, held))}." if held else "You hold no slots."

    def _holders(self, state: State, who: str) -> tuple[State, str]:
        taken = [f"{slot}: {'blocked' if what == BLOCKED else what}" for slot, what in enumerate(state, 1) if what]
        return state, "; ".join(taken) or "Every slot is free."


def _of(state: State, who: str) -> list[int]:
    return [slot for slot, holder in enumerate(state, 1) if holder == who]


def _with(state: State, slot: int, what: str) -> State:
    return (*state[: slot - 1], what, *state[slot:])


class Clients:
    """What random clients and the vendor ask: few slots, so that they get in each other's way."""

    def __init__(self, source: random.Random, slots: int) -> None:
        self.source = source
        self.slots = slots
        self.names = ("ann", "bob", "cem")[: source.randint(2, 3)]

    def draw(self) -> Action:
        """The next action of someone."""
        source = self.source
        who = source.choice((*self.names, *self.names, BOSS))
        words = ("reserve", "release", "available", "mine", *(("block", "unblock", "holders") if who == BOSS else ()))
        word = source.choices(words, (8, 5, 2, 2, *((5, 4, 2) if who == BOSS else ())))[0]
        if word in QUESTIONS:
            return (word, who)
        top = self.slots + (1 if source.random() < 0.05 else 0)
        return (word, who, source.randint(1, top))
