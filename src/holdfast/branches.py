"""Where the branches of an app such as `events` are served: each at a node of its own, as far as there are so many.

A branch's server runs at its *home*. When that is gone, the next node that may serve branches takes it
over, in the order of the service's nodes; when it is back, the branch goes home.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from holdfast.catalog import EventsOptions

if TYPE_CHECKING:
    from holdfast.site import Service


class Branches(msgspec.Struct, frozen=True):
    """`directory`: the service in which each branch's server registers. `homes`: the node of each branch, by its
    city. `nodes`: those that may serve branches, in order."""

    directory: str
    homes: dict[str, str]
    nodes: tuple[str, ...]

    def candidates(self, city: str) -> tuple[str, ...]:
        """Who is to serve the branch, each one while those before it are gone."""
        place = self.nodes.index(self.homes[city])
        return self.nodes[place:] + self.nodes[:place]


def branches_of(service: Service, services: Mapping[str, Service]) -> Branches | None:
    """Those of a service; None where it has none, or no directory to register them in."""
    if service.app != "events" or not service.uses_datagrams:
        return None
    options = msgspec.convert(dict(service.options), EventsOptions)
    directory = services.get(options.directory)
    if directory is None or directory.app != "directory":
        return None
    nodes = service.front_nodes
    homes = {city: nodes[place % len(nodes)] for place, city in enumerate(options.branches)}
    return Branches(options.directory, homes | options.branch_nodes, nodes)


def branch_mistakes(service: Service, services: Mapping[str, Service | None]) -> Iterator[tuple[str, str]]:
    """(setting, why) for each setting about branches that does not fit."""
    if service.app != "events":
        return
    options = msgspec.convert(dict(service.options), EventsOptions)
    nodes = service.front_nodes
    for city, node in options.branch_nodes.items():
        if city not in options.branches:
            yield "branch_nodes", f"there is no branch {city!r}; the branches are {', '.join(options.branches)}"
        if node not in nodes:
            yield "branch_nodes", f"{node!r} takes no requests of this service; these do: {', '.join(nodes)}"
    directory = services.get(options.directory)
    if directory is None or directory.app != "directory":
        known = options.directory in services and directory is None  # it has mistakes of its own
        if "directory" in service.options and not known:
            yield "directory", f"there is no service {options.directory!r} of the app directory"
    elif service.uses_datagrams and (missing := [node for node in nodes if node not in directory.nodes]):
        yield "directory", f"{options.directory} has no replica at {', '.join(missing)}, where branches may be served"
