"""Where the replicas of each service take lines: from a site file, or from a plain list of servers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from holdfast.client.errors import Misuse
from holdfast.client.outcomes import Server


class Addresses:
    """The servers of each service. `everywhere` are those that serve whatever service is named."""

    def __init__(
        self,
        services: Mapping[str, tuple[Server, ...]],
        *,
        everywhere: tuple[Server, ...] = (),
        behind_common_port: frozenset[str] = frozenset(),
        source: str = "",
    ) -> None:
        self._services = dict(services)
        self._everywhere = everywhere
        self._behind_common_port = behind_common_port
        self._source = source

    @classmethod
    def of_site(cls, path: str | os.PathLike[str] | None = None) -> Addresses:
        """Those of a site file; None finds it as the command line does."""
        raise NotImplementedError

    @classmethod
    def of_servers(cls, servers: str | os.PathLike[str] | Sequence[tuple[str, int]]) -> Addresses:
        """Those of a file of `address port` lines, or of (address, port) pairs."""
        if isinstance(servers, str | os.PathLike):
            from holdfast.site import load_servers_file

            pairs: Sequence[tuple[str, int]] = load_servers_file(servers)
        else:
            pairs = servers
        if not pairs:
            raise Misuse("the list of servers is empty; give at least one address and port")
        return cls({}, everywhere=tuple(Server(host, port) for host, port in pairs), source="the list of servers")

    def names(self) -> tuple[str, ...]:
        """The services known by name."""
        return tuple(self._services)

    def servers(self, service: str) -> tuple[Server, ...]:
        """The servers of a service. Raises `Misuse` when there is no such service."""
        servers = self._services.get(service) or self._everywhere
        if not servers:
            known = ", ".join(self._services) or "none"
            raise Misuse(f"no service {service!r} in {self._source}; known: {known}")
        return servers

    def common(self, service: str) -> bool:
        """Whether the service is reached through a port that first wants to hear `use SERVICE`."""
        return service in self._behind_common_port
