"""The state of a site as a table for a terminal: nothing is cut off, however narrow; what does not fit is left out.

The replicas of a service that keep each other's tentative writes are many and mostly alike. Where the
terminal is low they share one row, with those that differ below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.client.votes import vote_remarks

if TYPE_CHECKING:
    from rich.table import Table

    from holdfast.client.status import NodeStatus

COLUMNS = (
    *("node", "address", "port", "pid", "service", "protocol", "model", "state", "view"),
    *("primary", "replica", "epoch", "position", "tentative", "digest", "lag"),
)
LEFT_OUT = ("model", "protocol", "replica", "address", "primary", "tentative", "epoch", "digest", "lag", "view")
"""In this order, until the rest fits. Who a node is, where, and whether it serves, is always told."""
RIGHT = ("pid", "epoch", "position", "tentative", "lag")
VIEW_COLUMNS_MAX = 12
"""A longer list of members is told by its length."""
ALIKE_MIN = 4
"""So many replicas of a service may share a row."""
SHARE = 0.5
"""A table that takes more of the terminal's height than this shares rows."""
STATE_STYLES = {"active": "green", "halted": "red", "down": "red", "": "dim"}


class Line(msgspec.Struct, frozen=True):
    """One row: its cells by column, those that are empty left out."""

    cells: dict[str, str]
    is_down: bool = False


def lines_of(nodes: Iterable[NodeStatus]) -> list[Line]:
    """A row a replica; a node that is down is one row."""
    lines = []
    for node in nodes:
        who = {"node": node.node, "address": node.address, "port": node.address.rpartition(":")[2]}
        who["pid"] = str(node.pid or "")
        if not node.up:
            lines.append(Line({**who, "state": "starting" if node.starting else "down"}, True))
        for place, service in enumerate(node.services):
            lines.append(Line({**(who if place == 0 else {}), **cells_of(service, node.node)}))
        if node.up and not node.services:
            lines.append(Line({**who, "service": "none"}))
    return lines


def cells_of(service: dict[str, Any], node: str) -> dict[str, str]:
    """A replica's cells."""
    cells = {column: listed(service.get(column, "")) for column in COLUMNS[4:]}
    cells["digest"] = cells["digest"][:8]
    cells["state"] = cells["state"] or "?"
    if len(cells["view"]) > VIEW_COLUMNS_MAX:
        cells["view"] = f"{len(service['view'])} members"
    if cells["replica"] == node:
        cells["replica"] = ""
    return cells


def grouped(nodes: Sequence[NodeStatus]) -> list[Line]:
    """As `lines_of`, with one row for many replicas of a service that are alike, and one for each that differs."""
    members: dict[str, list[tuple[NodeStatus, dict[str, Any]]]] = {}
    for node in nodes:
        if len(node.services) == 1 and "tentative" in node.services[0]:
            members.setdefault(str(node.services[0].get("service")), []).append((node, node.services[0]))
    shared: dict[str, Line] = {}  # by the name of the first node of the group
    within: dict[str, None] = {}
    for replicas in members.values():
        alike = _alike(replicas)
        if len(alike) >= ALIKE_MIN:
            shared[alike[0][0].node] = _shared(alike)
            within.update(dict.fromkeys(node.node for node, _ in alike))
    lines = []
    for node in nodes:
        if node.node in shared:
            lines.append(shared[node.node])
        elif node.node not in within:
            lines += lines_of([node])
    return lines


def _alike(replicas: list[tuple[NodeStatus, dict[str, Any]]]) -> list[tuple[NodeStatus, dict[str, Any]]]:
    """Those that are as most are. How far each has come may differ: that is how they work."""

    def kind(service: dict[str, Any]) -> tuple[str, ...]:
        return tuple(listed(service.get(name, "")) for name in ("state", "view", "primary", "epoch", "warning"))

    usual = Counter(kind(service) for _, service in replicas).most_common(1)[0][0]
    return [(node, service) for node, service in replicas if kind(service) == usual]


def _shared(alike: list[tuple[NodeStatus, dict[str, Any]]]) -> Line:
    """One row for replicas that are alike: ranges of what may differ."""
    services = [service for _, service in alike]
    cells = cells_of(services[0], "") | {"replica": "", "node": f"{len(alike)} nodes", "pid": ""}
    for name in ("position", "tentative", "lag"):
        numbers = [service.get(name, 0) for service in services]
        cells[name] = str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)}-{max(numbers)}"
    digests = dict.fromkeys(cells_of(service, "")["digest"] for service in services)
    cells["digest"] = next(iter(digests)) if len(digests) == 1 else f"{len(digests)} kinds"
    return Line(cells)


def status_table(nodes: Sequence[NodeStatus], width: int, height: int = 0) -> Table:
    """The table for a terminal of `width` columns, and of `height` lines where it matters."""
    from rich.table import Table
    from rich.text import Text

    lines = lines_of(nodes)
    if height and len(lines) > SHARE * height:
        lines = grouped(nodes)
    columns, padding = fitting(lines, width)
    table = Table(box=None, padding=(0, padding, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in RIGHT else "left", no_wrap=True)
    for line in lines:
        texts = [Text(line.cells.get(column, "")) for column in columns]
        state = line.cells.get("state", "")
        texts[columns.index("state")].stylize(STATE_STYLES.get(state, "yellow"))
        table.add_row(*texts, style="dim" if line.is_down else "")
    return table


def fitting(lines: Sequence[Line], width: int) -> tuple[list[str], int]:
    """The columns that fit, and the blanks between them."""
    columns = [name for name in COLUMNS if any(line.cells.get(name) for line in lines) or name == "state"]
    widths = {name: max([len(name), *(len(line.cells.get(name, "")) for line in lines)]) for name in columns}
    if "address" in columns:
        columns.remove("port")
    for dropped in ("", *LEFT_OUT):
        if dropped == "address" and dropped in columns:
            columns[columns.index("address")] = "port"
        elif dropped in columns:
            columns.remove(dropped)
        for padding in (2, 1):
            if sum(widths[name] + padding for name in columns) <= width:
                return columns, padding
    return columns, 1


def remarks(nodes: Sequence[NodeStatus]) -> list[str]:
    """What does not fit a table: why a node is down, what a replica waits for or warns of, who is primary or
    sequencer, how replicas vote, where notices wait."""
    lines = []
    primaries: dict[str, list[tuple[int, str, str]]] = {}  # of a service: (epoch, primary, the node that says so)
    waiting: dict[str, tuple[str, dict[str, Any]]] = {}  # the replicas of a service say mostly the same of it
    for node in nodes:
        if not node.up and not node.starting:
            lines.append(f"{node.node} is down: {node.why}")
        for service in node.services:
            name = str(service.get("service", "?"))
            if service.get("waiting_for"):
                lines.append(f"{name} at {node.node} is {state_text(service)}")
            if service.get("warning"):
                lines.append(f"{name} at {node.node}: {service['warning']}")
            if service.get("accepted_loss"):
                lines.append(f"{name} at {node.node}: {service['accepted_loss']}")
            if held := service.get("held"):
                what = "1 write waits" if held == 1 else f"{held} writes wait"
                lines.append(f"{name} at {node.node}: {what} there, stamped too far ahead by a clock that was wrong")
            if service.get("notices_waiting"):
                waiting.setdefault(name, (node.node, service))
            if service.get("replica", node.node) not in (node.node, ""):
                lines.append(f"{name} at {node.node} is the replica {service['replica']}")
            if service.get("primary"):
                said = (int(service.get("epoch", 0)), str(service["primary"]), node.node)
                primaries.setdefault(name, []).append(said)
    lines += [_notices_text(name, where, service) for name, (where, service) in waiting.items()]
    return [*(_primary_text(name, said) for name, said in primaries.items()), *vote_remarks(nodes), *lines]


def _primary_text(name: str, said: list[tuple[int, str, str]]) -> str:
    """Who the primary of a service is: the latest epoch is right, and who has not heard of it is named."""
    epoch, primary, _ = max(said, key=lambda row: row[0])
    others: dict[tuple[int, str], list[str]] = {}
    for at, other, node in said:
        if other != primary:
            others.setdefault((at, other), []).append(node)
    behind = [
        f"{', '.join(nodes)} still take{'s' * (len(nodes) == 1)} {other} for it (epoch {at})"
        for (at, other), nodes in others.items()
    ]
    text = f"{name}: the primary is {primary}"
    return f"{text} (epoch {epoch}); {'; '.join(behind)}" if behind else text


def _notices_text(name: str, node: str, service: dict[str, Any]) -> str:
    count, why = service["notices_waiting"], service.get("notices_complaint")
    text = f"{name}: {count} notice{'s' * (count != 1)} for people wait{'s' * (count == 1)} at {node}"
    return f"{text}; {why}" if why else text


def state_text(service: dict[str, Any]) -> str:
    """The state of a replica with what it waits for, or with why it halted."""
    state, why = str(service.get("state", "?")), listed(service.get("waiting_for") or "")
    if not why:
        return state
    return f"{state}: {why}" if state == "halted" else f"{state}, waiting for {why}"


def listed(value: Any) -> str:
    """A value for people: a list without its brackets."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def ports_text(ports: Iterable[int]) -> str:
    """Ports as ranges: `8001-8003, 8011`."""
    ranges: list[list[int]] = []
    for port in sorted(ports):
        if ranges and port == ranges[-1][-1] + 1:
            ranges[-1][1:] = [port]
        else:
            ranges.append([port])
    return ", ".join("-".join(map(str, bounds)) for bounds in ranges)
