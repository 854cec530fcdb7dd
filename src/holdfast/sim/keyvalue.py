"""The state store as the exercise tells it: a sequential model for the checker, and what random writers do to it.

Written from the words of the requirements alone, apart from the app, so that the two can disagree.
"""

from __future__ import annotations

import random
from collections.abc import Hashable

from holdfast.sim.history import Action

State = tuple[tuple[str, str, str], ...]
"""What is kept: (user, key, value), in the order in which the keys were first set."""

QUESTIONS = ("get", "keys")
USERS = ("ann", "bob")
KEYS = ("colour", "shape", "size")


class Shelves:
    """One copy of the state, one request at a time."""

    blind = ("set", "unset", "clear")

    def initial(self) -> Hashable:
        """Nobody has anything."""
        return ()

    def apply(self, state: Hashable, action: Action) -> tuple[Hashable, str]:
        """What a single immortal server does and says."""
        assert isinstance(state, tuple)
        match action:
            case ("keys", user):
                return state, ", ".join(key for owner, key, _ in state if owner == user)
            case ("get", user, key):
                return state, "".join(value for *place, value in state if place == [user, key])
            case ("set", user, key, value) if any(kept[:2] == (user, key) for kept in state):
                return tuple((*kept[:2], value) if kept[:2] == (user, key) else kept for kept in state), "Done."
            case ("set", *entry):
                return (*state, tuple(entry)), "Done."
            case ("unset", user, key):
                return tuple(kept for kept in state if kept[:2] != (user, key)), "Done."
            case ("clear", user):
                return tuple(kept for kept in state if kept[0] != user), "Done."
        raise LookupError(f"nobody asks {action}")


class Writers:
    """What random clients ask: few users and few keys, so that they get in each other's way."""

    def __init__(self, source: random.Random) -> None:
        self.source = source
        self.written = 0

    def draw(self) -> Action:
        """The next action of some client. No value is written twice, so that each tells which write it is of."""
        user, key = self.source.choice(USERS), self.source.choice(KEYS)
        word = self.source.choices(("set", "unset", "clear", "get", "keys"), (8, 3, 1, 5, 3))[0]
        if word == "set":
            self.written += 1
            return (word, user, key, f"v{self.written}")
        return (word, user) if word in ("clear", "keys") else (word, user, key)
