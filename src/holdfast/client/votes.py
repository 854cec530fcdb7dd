"""What the nodes of a service under `sequencer` say together: who is the sequencer, how the replicas vote, what
was replaced; and where the servers of branches are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.client.status import NodeStatus

Statuses = Sequence[dict[str, Any]]


def vote_remarks(nodes: Iterable[NodeStatus]) -> list[str]:
    """Lines about each service whose replicas vote, and about each that has branches."""
    services: dict[str, list[dict[str, Any]]] = {}
    for node in nodes:
        for status in node.services:
            services.setdefault(str(status.get("service", "?")), []).append(status)
    lines = []
    for name, statuses in services.items():
        voting = [status for status in statuses if "votes" in status]
        if voting:
            lines.append(f"{name}: {_standing(voting)}")
            lines.append(f"{name}: votes: {_votes(voting)}")
        branches = next((status["branches"] for status in statuses if status.get("branches")), None)
        if branches:
            lines.append(f"{name}: branches: {_branches(branches)}")
    return lines


def _standing(statuses: Statuses) -> str:
    """As whoever has come furthest says."""
    newest = max(statuses, key=lambda status: (status.get("epoch", 0), status.get("position", 0)))
    parts = [f"the sequencer is {newest.get('sequencer') or 'not known'}"]
    for what in ("replacements", "restarts"):
        if count := newest.get(what, 0):
            parts.append(f"{count} {what if count > 1 else what[:-1]}")
    if suspected := newest.get("suspected"):
        parts.append(f"suspected: {', '.join(suspected)}")
    if trusted := newest.get("trusted"):
        parts.append(f"trusted: {trusted}")
    return "; ".join(parts)


def _votes(statuses: Statuses) -> str:
    """Of each replica, what all front ends together have seen of it, and how it is if it is not right."""
    totals: dict[str, dict[str, int]] = {}
    states: dict[str, str] = {}
    for status in statuses:
        for row in status["votes"]:
            total = totals.setdefault(row["node"], dict.fromkeys(("agreed", "differed", "late"), 0))
            for what in total:
                total[what] += row.get(what, 0)
            if row.get("state", "right") != "right":
                states[row["node"]] = row["state"]
    told = []
    for node, total in totals.items():
        counts = [f"{count} {what}" for what, count in total.items() if count or what == "agreed"]
        told.append(f"{node} {', '.join([*([states[node]] if node in states else []), *counts])}")
    return "; ".join(told)


def _branches(branches: dict[str, str | None]) -> str:
    return ", ".join(f"{city} at {node}" if node else f"{city} nowhere" for city, node in branches.items())
