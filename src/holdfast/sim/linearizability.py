"""Is a history linearizable? The search of Wing and Gong with Lowe's memoisation.

J. M. Wing, C. Gong: Testing and Verifying Concurrent Objects, JPDC 17 (1993), section 4.
G. Lowe: Testing for Linearizability, CCPE 29(4) (2017), section 3.
Knossos and Porcupine are built the same way.

The question: is there one order of the operations that (1) keeps the order of any two operations
of which one had returned before the other was called, and (2) makes every known answer the one the
sequential model gives? Operations without a known answer may stand anywhere after their call or be
left out, with any answer.

The search goes through partial orders depth first and remembers every pair (set of operations
placed, state reached), so no pair is explored twice. An operation whose answer fits and that changes
nothing is placed at once and without an alternative: moved here from any later place, it disturbs
nobody. (Not so a blind one, whose answer does not tell whether it has changed anything: at its later
place it might have.) Operations of unknown outcome are what makes histories hard, so: they are tried last, because
they are needed only where an answer shows their effect; one that would change nothing is not placed;
and a pair is passed over when the same answers in the same state were explored with fewer of the
unknown used up, which can only do better. The work is bounded, and a search that hits the bound is
reported as undecided, which every caller treats as a failure.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal, Protocol

import msgspec

from holdfast.sim.history import Action, Operation


class SequentialModel(Protocol):
    """What the system would be with one copy, one client and no failure. States are immutable.

    A model may have `blind`, the words of actions that are answered alike whether they change anything or not.
    """

    def initial(self) -> Hashable:
        """The state before any operation."""

    def apply(self, state: Hashable, action: Action) -> tuple[Hashable, str]:
        """The state after `action` and the text of its answer."""


class Verdict(msgspec.Struct, frozen=True):
    """`outcome`, the places tried, and how the longest explained prefix ended (for people)."""

    outcome: Literal["linearizable", "violated", "undecided"]
    steps: int
    explanation: str = ""


def check(model: SequentialModel, operations: Sequence[Operation], steps_max: int = 200_000) -> Verdict:
    """Decide whether `operations` are linearizable with respect to `model`, trying at most `steps_max` places."""
    return _Search(model, operations).run(steps_max)


class _Search:
    """One depth-first search. Operations are bits of an integer, in the order of their calls."""

    def __init__(self, model: SequentialModel, operations: Sequence[Operation]) -> None:
        self.model = model
        self.blind: tuple[str, ...] = getattr(model, "blind", ())
        self.operations = sorted(operations, key=lambda operation: operation.call_us)
        self.known = [index for index, operation in enumerate(self.operations) if operation.return_us is not None]
        self.by_return = sorted(self.known, key=self._return_us)
        self.known_mask = sum(1 << index for index in self.known)
        self.seen: dict[tuple[int, Hashable], list[int]] = {}
        """For every (answers given, state): the sets of unknown operations with which it was explored."""
        self.best_placed = -1
        self.best: tuple[int, Hashable] = (0, model.initial())

    def _return_us(self, index: int) -> int:
        return_us = self.operations[index].return_us
        assert return_us is not None
        return return_us

    def candidates(self, placed: int) -> list[int]:
        """What may come next: all that was called before the first return among what is not placed.
        The most urgent answer first, unknown outcomes last. Equal times count as concurrent."""
        horizon_us = next(self._return_us(index) for index in self.by_return if not placed >> index & 1)
        answered: list[int] = []
        unknown: list[int] = []
        for index, operation in enumerate(self.operations):
            if operation.call_us > horizon_us:
                break
            if not placed >> index & 1:
                (answered if operation.return_us is not None else unknown).append(index)
        answered.sort(key=self._return_us)
        return answered + unknown

    def choices(self, placed: int, state: Hashable) -> list[int]:
        """The candidates, or the one among them that nothing speaks against."""
        candidates = self.candidates(placed)
        for index in candidates:
            operation = self.operations[index]
            if operation.text is None or operation.action[0] in self.blind:
                continue
            if self.model.apply(state, operation.action) == (state, operation.text):
                return [index]
        return candidates

    def run(self, steps_max: int) -> Verdict:
        state = self.model.initial()
        if not self.known_mask:
            return Verdict("linearizable", 0)
        stack: list[tuple[int, Hashable, list[int], int]] = [(0, state, self.choices(0, state), 0)]
        steps = 0
        while stack:
            placed, state, candidates, position = stack.pop()
            if position == len(candidates):
                continue
            stack.append((placed, state, candidates, position + 1))
            steps += 1
            if steps > steps_max:
                return Verdict("undecided", steps, f"undecided after {steps_max} steps; {self.explain()}")
            index = candidates[position]
            operation = self.operations[index]
            after, text = self.model.apply(state, operation.action)
            if (after == state) if operation.text is None else (text != operation.text):
                continue
            now_placed = placed | 1 << index
            if now_placed & self.known_mask == self.known_mask:
                return Verdict("linearizable", steps)
            if self.is_new(now_placed, after):
                self.note_progress(now_placed, after)
                stack.append((now_placed, after, self.choices(now_placed, after), 0))
        return Verdict("violated", steps, self.explain())

    def is_new(self, placed: int, state: Hashable) -> bool:
        """Neither explored nor hopeless: remember it then."""
        used = placed & ~self.known_mask
        explored = self.seen.setdefault((placed & self.known_mask, state), [])
        if any(before & used == before for before in explored):
            return False
        explored.append(used)
        return True

    def note_progress(self, placed: int, state: Hashable) -> None:
        answered = (placed & self.known_mask).bit_count()
        if answered > self.best_placed:
            self.best_placed = answered
            self.best = (placed, state)

    def explain(self) -> str:
        """Where the longest order ends: its state, and what could come next but answered differently."""
        placed, state = self.best
        ordered = max(self.best_placed, 0)
        lines = [f"{ordered} of {len(self.known)} answers can be ordered, up to the state {state!r}; then"]
        for index in self.candidates(placed):
            operation = self.operations[index]
            if operation.text is None:
                lines.append(f"  {operation.client} {operation.action} called {operation.call_us}, outcome unknown")
                continue
            _, text = self.model.apply(state, operation.action)
            lines.append(
                f"  {operation.client} {operation.action} in {operation.call_us}..{operation.return_us} "
                f"answered {operation.text!r}, the model says {text!r}"
            )
        return "\n".join(lines)
