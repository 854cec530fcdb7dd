"""One sequence diagram out of what several nodes remember of their messages. No I/O.

Every message is told twice, by its sender and by its receiver, each by its own clock. `merge` pairs
the two and orders everything by what is certain: a message is sent before it arrives, and each node
knows the order of its own doings. Clocks decide only between what is otherwise free.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One doing as one node remembers it: a message sent or received, a step of its own (source = target),
    or what a person said to it. `unix_ms`: by its clock. `order`: the place among its doings."""

    unix_ms: int
    order: int
    source: str
    target: str
    message: str
    note: str
    is_sent: bool


ARROW, LEAVES, ARRIVES, LOST, LOCAL = "arrow", "leaves", "arrives", "lost", "local"


class Event(msgspec.Struct, frozen=True):
    """One line of the diagram. `kind`: an `arrow` from source to target, or where something lies between
    its two ends, `leaves` and then `arrives`; `lost`: sent, and its target does not know of it;
    `local`: a step of the source alone. `ms`: by the clock of the node that told it."""

    kind: str
    source: str
    target: str
    message: str
    note: str
    ms: int

    @property
    def label(self) -> str:
        """What is written beside it."""
        text = f"{self.message} {self.note}".strip()
        endings = {LEAVES: f" (under way to {self.target})", LOST: f" (not seen at {self.target})"}
        return text + endings.get(self.kind, "")


class _Doing:
    """A row in the graph. `partner`: the other end of its message. `before`: how many doings must come first."""

    __slots__ = ("after", "before", "node", "partner", "row")

    def __init__(self, node: str, row: Row) -> None:
        self.node = node
        self.row = row
        self.partner: _Doing | None = None
        self.after: list[_Doing] = []
        self.before = 0

    @property
    def opens(self) -> bool:
        """Whether it is the sending of a message that is seen to arrive."""
        return self.partner is not None and self.is_sending

    @property
    def is_sending(self) -> bool:
        """Whether its node sent it. What a person did is told by the node that heard of it."""
        return self.row.is_sent and self.row.source == self.node

    def precede(self, other: _Doing) -> None:
        self.after.append(other)
        other.before += 1


def merge(told: Mapping[str, Iterable[Row]], id: str = "") -> list[Event]:
    """The diagram's lines, from what each node told (its name: its rows). Nodes that said nothing are left out.

    A message without the `id` in its note is about more than that write, and not everybody tells it: its
    other end may be missing without being lost.
    """
    doings = [_Doing(node, row) for node, rows in told.items() for row in sorted(rows, key=lambda row: row.order)]
    last: dict[str, _Doing] = {}
    for doing in doings:
        if doing.node in last:
            last[doing.node].precede(doing)
        last[doing.node] = doing
    _pair(doings)
    return _in_order(doings, frozenset(told), id)


def _pair(doings: Sequence[_Doing]) -> None:
    """Join the two ends of each message: of several alike the first sent is the first received, as links are FIFO."""
    sent: dict[tuple[str, str, str, str], deque[_Doing]] = defaultdict(deque)
    for doing in doings:
        row = doing.row
        if doing.is_sending and row.source != row.target:
            sent[row.source, row.target, row.message, row.note].append(doing)
    for doing in doings:
        row = doing.row
        waiting = sent.get((row.source, row.target, row.message, row.note))
        if not row.is_sent and row.source != row.target and waiting:
            doing.partner = waiting.popleft()
            doing.partner.partner = doing
            doing.partner.precede(doing)


def _in_order(doings: Sequence[_Doing], heard: frozenset[str], id: str) -> list[Event]:
    """A topological order, which draws a message in one piece wherever nothing must stand between its ends."""
    left = dict.fromkeys(doings)
    events: list[Event] = []

    def done(doing: _Doing) -> None:
        left.pop(doing)
        for later in doing.after:
            later.before -= 1

    def rank(doing: _Doing) -> tuple[bool, int, int, str]:
        whole = not doing.opens or (doing.partner is not None and doing.partner.before == 1)
        return (not whole, doing.row.unix_ms, doing.row.order, doing.node)

    while left:
        # Contradictory accounts (a clock of orders set back) leave nothing ready; then the oldest comes first.
        doing = min([doing for doing in left if doing.before <= 0] or left, key=rank)
        whole = not rank(doing)[0]
        partner = doing.partner
        done(doing)
        if partner is not None and partner in left and whole:
            done(partner)
            events.append(_event(ARROW, doing.row))
        else:
            events.append(_event(_kind(doing, heard, id), doing.row))
    return events


def _kind(doing: _Doing, heard: frozenset[str], id: str) -> str:
    row = doing.row
    if row.source == row.target:
        return LOCAL
    if doing.partner is not None:
        return LEAVES if doing.is_sending else ARRIVES
    return LOST if doing.is_sending and row.target in heard and id in row.note else ARROW


def _event(kind: str, row: Row) -> Event:
    return Event(kind, row.source, row.target, row.message, row.note, row.unix_ms)


def lanes_of(events: Iterable[Event]) -> list[str]:
    """Who takes part, in the order of appearance."""
    return list(dict.fromkeys(name for event in events for name in (event.source, event.target)))


def as_mermaid(events: Sequence[Event]) -> str:
    """The diagram for Mermaid (`sequenceDiagram`)."""
    lanes = lanes_of(events)
    alias = {name: f"p{place}" for place, name in enumerate(lanes)}
    lines = ["sequenceDiagram"]
    lines += [f"    {'actor' if name == 'user' else 'participant'} {alias[name]} as {name}" for name in lanes]
    arrows = {ARROW: "->>", ARRIVES: "->>", LOST: "-x"}
    for event in events:
        source, target, label = alias[event.source], alias[event.target], _escaped(event.label)
        if event.kind in arrows:
            lines.append(f"    {source}{arrows[event.kind]}{target}: {label}")
        else:
            lines.append(f"    Note over {source}: {label}")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """`#` begins a character's code in Mermaid, and `;` ends a line."""
    return text.translate({ord("#"): "#35;", ord(";"): "#59;", ord("\n"): " "})


LABEL_COLUMNS_MIN = 24
_ASCII = str.maketrans("│─►◄├┤●○✕┼", "|-><++*ox+")


def as_text(events: Sequence[Event], width: int = 80, *, ascii_only: bool = False) -> str:
    """The diagram in text, at most `width` columns: a lane for each that takes part, the words at the right.

    The names stand above the lanes as a staircase, which has room for any number of them.
    """
    lanes = lanes_of(events)
    if not lanes:
        return ""
    drawn = _together(events)
    start = min(event.ms for event in events)
    times = [_since(group[0].ms - start) for group in drawn]
    left = max(map(len, times)) + 2
    room = (width - left - LABEL_COLUMNS_MIN) // len(lanes)
    step = max(2, min(8, room))
    lines = []
    for place, name in enumerate(lanes):
        lines.append(" " * left + "".join("│".ljust(step) for _ in lanes[:place]) + name)
    bars = "".join("│".ljust(step) for _ in lanes)
    label_columns = max(12, width - left - len(bars))
    for group, time in zip(drawn, times, strict=True):
        first, *rest = textwrap.wrap(_label(group), label_columns) or [""]
        lines.append(f"{time.rjust(left - 2)}  {_drawn(group, lanes, step)}{first}".rstrip())
        lines += [f"{' ' * left}{bars}{text}".rstrip() for text in rest]
    text = "\n".join(lines)
    return text.translate(_ASCII) if ascii_only else text


def _since(ms: int) -> str:
    """Time since the first event. Each node has its own clock, so it may be far off and run backwards."""
    return f"+{ms} ms" if ms < 10_000 else f"+{ms // 1000} s"


def _together(events: Sequence[Event]) -> list[list[Event]]:
    """What one sends to many, or many to one, at a stretch and in the same words, is one line of text."""
    groups: list[list[Event]] = []
    for event in events:
        group = groups[-1] if groups else []
        if group and event.kind in (ARROW, LOST) and _alike(group, event):
            group.append(event)
        else:
            groups.append([event])
    return groups


def _alike(group: Sequence[Event], event: Event) -> bool:
    first, others = group[0], group[1:]
    if (first.kind, first.message, first.note) != (event.kind, event.message, event.note):
        return False
    to_many = first.source == event.source and all(other.source == event.source for other in others)
    to_one = first.target == event.target and all(other.target == event.target for other in others)
    seen = [(other.source, other.target) for other in group]
    return (to_many or to_one) and (event.source, event.target) not in seen


def _label(group: Sequence[Event]) -> str:
    first = group[0]
    if len(group) == 1 or first.kind != LOST:
        return first.label
    return f"{first.message} {first.note}".strip() + " (not seen there)"


def _drawn(group: Sequence[Event], lanes: Sequence[str], step: int) -> str:
    """The lanes in one line of the diagram, with its arrows."""
    cells = list("".join("│".ljust(step) for _ in lanes))
    for event in group:
        source, target = lanes.index(event.source) * step, lanes.index(event.target) * step
        if event.kind in (LOCAL, LEAVES):
            cells[source] = "●" if event.kind == LOCAL else "○"
            continue
        low, high = sorted((source, target))
        for place in range(low + 1, high):
            cells[place] = {"│": "┼", " ": "─"}.get(cells[place], cells[place])
        rightwards = source < target
        cells[target - 1 if rightwards else target + 1] = "✕" if event.kind == LOST else "►" if rightwards else "◄"
    for event in group:
        if event.kind not in (LOCAL, LEAVES):
            sides = {
                lanes.index(other.target) > lanes.index(other.source) for other in group if other.source == event.source
            }
            cells[lanes.index(event.source) * step] = "┼" if len(sides) == 2 else "├" if True in sides else "┤"
    return "".join(cells)


def row_of(value: Any) -> Row:
    """A row as JSON carries it. Raises `msgspec.ValidationError` for what is none."""
    return msgspec.convert(value, Row)
