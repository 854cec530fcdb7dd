"""Which of the numbers 1 to N are free, as few rows however many numbers there are.

A tree of bit masks with `WIDTH` children a node, numbered as a heap: node 0 is the root, the
children of node n are `WIDTH * n + 1` to `WIDTH * n + WIDTH`. A bit of a leaf is a number, set while
it is free; a bit of any other node is a child, set while anything below it is free. A node below
which nothing ever changed has no row: all of it is free. So a fresh million costs nothing, the lowest
free number is found through one node a level (4 for a million), and a change above the leaf is
written only when a leaf becomes full or ceases to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from holdfast.kernel.store import Row

if TYPE_CHECKING:
    from holdfast.kernel.store import Table

WIDTH = 60
"""Two digits of CPython's integers; below the 64 bits that a row's integers may have."""


class FreeMask(Row, frozen=True):
    """Base of the rows of a tree: a node and which of its children are free. An app's subclass names the table."""

    node: int
    free: int


M = TypeVar("M", bound=FreeMask)


class FreeNumbers:
    """The shape of a tree for the numbers 1 to `count`. It holds no state: that lies in the table it is given."""

    def __init__(self, count: int, row_type: type[FreeMask]) -> None:
        self.count = count
        self._row = row_type
        sizes = [-(-count // WIDTH)]
        while sizes[0] > 1:
            sizes.insert(0, -(-sizes[0] // WIDTH))
        self._sizes = (*sizes, count)  # how many nodes each level has; the numbers themselves are the last
        self._depth = len(sizes) - 1  # steps from the root to a leaf
        self._firsts = [0]  # the number of each level's first node
        for _ in sizes:
            self._firsts.append(WIDTH * self._firsts[-1] + 1)
        self._leaf_first = self._firsts[self._depth]
        self._number_first = self._firsts[-1] - 1  # heap place of number 0, which does not exist

    def _whole(self, level: int, node: int) -> int:
        """The mask of a node with all of its children free."""
        children = self._sizes[level + 1] - WIDTH * (node - self._firsts[level])
        return (1 << min(children, WIDTH)) - 1

    def _mask(self, table: Table[M], level: int, node: int) -> int:
        row = table.get(node)
        return self._whole(level, node) if row is None else row.free

    def _open_leaf(self, table: Table[M], node: int) -> int:
        """The mask of a leaf that is about to change: from now on it and all above it have rows."""
        row = table.get(node)
        if row is not None:
            return row.free
        above = node
        for level in range(self._depth - 1, -1, -1):
            above = (above - 1) // WIDTH
            if table.get(above) is not None:
                break
            table.put(self._row(above, self._whole(level, above)))  # type: ignore[arg-type]
        return self._whole(self._depth, node)

    def take_lowest(self, table: Table[M], count: int) -> tuple[int, ...]:
        """Take the `count` lowest free numbers. There must be so many."""
        taken: list[int] = []
        while len(taken) < count:
            node = 0
            for level in range(self._depth):
                free = self._mask(table, level, node)
                node = WIDTH * node + (free & -free).bit_length()
            free = self._open_leaf(table, node)
            base = WIDTH * node - self._number_first
            while free and len(taken) < count:
                lowest = free & -free
                free ^= lowest
                taken.append(base + lowest.bit_length())
            self._write(table, node, free, became_full=not free, ceased_full=False)
        return tuple(taken)

    def first_taken(self, table: Table[M], numbers: Sequence[int]) -> int | None:
        """The first of `numbers` that is not free, or None. All must exist."""
        for number in numbers:
            node, bit = self._place(number)
            if not self._mask(table, self._depth, node) & bit:
                return number
        return None

    def take(self, table: Table[M], numbers: Sequence[int]) -> None:
        """Take these numbers, all of them free."""
        for node, bits in self._by_leaf(numbers):
            free = self._open_leaf(table, node) & ~bits
            self._write(table, node, free, became_full=not free, ceased_full=False)

    def give(self, table: Table[M], numbers: Sequence[int]) -> None:
        """Make these numbers free again, all of them taken."""
        for node, bits in self._by_leaf(numbers):
            free = self._open_leaf(table, node)
            self._write(table, node, free | bits, became_full=False, ceased_full=not free)

    def _place(self, number: int) -> tuple[int, int]:
        """The leaf of a number and its bit there."""
        place = number + self._number_first - 1
        return place // WIDTH, 1 << place % WIDTH

    def _by_leaf(self, numbers: Sequence[int]) -> Sequence[tuple[int, int]]:
        """The leaves of some numbers with the bits of those; neighbours in one leaf are one entry."""
        if len(numbers) == 1:
            return (self._place(numbers[0]),)
        leaves: list[tuple[int, int]] = []
        last, bits = -1, 0
        for number in numbers:
            node, bit = self._place(number)
            if node != last and bits:
                leaves.append((last, bits))
                bits = 0
            last, bits = node, bits | bit
        leaves.append((last, bits))
        return leaves

    def _write(self, table: Table[M], node: int, free: int, *, became_full: bool, ceased_full: bool) -> None:
        """Put a leaf's mask, and what changes above it."""
        table.put(self._row(node, free))  # type: ignore[arg-type]  # the row type of this very table
        level = self._depth
        while node and (became_full or ceased_full):
            node, child = divmod(node - 1, WIDTH)
            level -= 1
            before = self._mask(table, level, node)
            after = before ^ (1 << child)
            became_full, ceased_full = not after, not before
            table.put(self._row(node, after))  # type: ignore[arg-type]

    def free_ranges(self, table: Table[M], first: int = 1) -> Iterator[tuple[int, int]]:
        """The ranges of free numbers (both ends included) from `first` on, ascending, joined where they touch."""
        low = high = 0
        for start, end in self._runs(table, 0, 0, first + self._number_first):
            if start == high + 1 and high:
                high = end
                continue
            if high:
                yield low, high
            low, high = start, end
        if high:
            yield low, high

    def _runs(self, table: Table[M], level: int, node: int, from_place: int) -> Iterator[tuple[int, int]]:
        """Runs of free numbers below `node`, those before `from_place` cut off, not yet joined."""
        row = table.get(node)
        if row is None:
            low, high = node, node
            for _ in range(level, self._depth + 1):
                low, high = WIDTH * low + 1, WIDTH * high + WIDTH
            start = max(low, from_place) - self._number_first
            end = min(high - self._number_first, self.count)
            if start <= end:
                yield start, end
            return
        for low, high in _runs_of_bits(row.free):
            children = range(WIDTH * node + 1 + low, WIDTH * node + 1 + high + 1)
            if level == self._depth:
                start = max(children[0], from_place)
                if start <= children[-1]:
                    yield start - self._number_first, children[-1] - self._number_first
                continue
            for child in children:
                if self._last_below(level + 1, child) >= from_place:
                    yield from self._runs(table, level + 1, child, from_place)

    def _last_below(self, level: int, node: int) -> int:
        """The heap place of the last number below a node."""
        for _ in range(level, self._depth + 1):
            node = WIDTH * node + WIDTH
        return node


def _runs_of_bits(mask: int) -> Iterator[tuple[int, int]]:
    """The runs of set bits, lowest first, as the places (from 0) of their ends."""
    place = 0
    while mask:
        zeros = (mask & -mask).bit_length() - 1
        mask >>= zeros
        ones = (~mask & (mask + 1)).bit_length() - 1
        mask >>= ones
        yield place + zeros, place + zeros + ones - 1
        place += zeros + ones
