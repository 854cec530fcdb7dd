"""Where the replicas of each service take lines: from a site file, or from a plain list of servers.

A client needs only the addresses, at once: it reads them without loading what a node needs. What it
cannot read that way goes to the loaders of `holdfast.site`, which know what to say about mistakes.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

import holdfast
from holdfast.client.errors import Misuse
from holdfast.client.outcomes import Server

SITE_FILE = "site.toml"
DEMO_DATA = Path("data", "demo")
"""Where the demo site keeps its data, below the directory it is started in."""

_SERVER_LINE = re.compile(r"\s*([A-Za-z0-9.:-]+)\s+([0-9]{1,5})\s*")


class _Node(msgspec.Struct):
    host: str
    line_port: int | None = None


class _Service(msgspec.Struct):
    app: str
    nodes: dict[str, int] | list[str]
    protocol: str = ""
    directory: str = "directory"


class _Person(msgspec.Struct):
    department: str = ""


class _Settings(msgspec.Struct, frozen=True):
    name: str = "site"
    data: str = "data"


class _Site(msgspec.Struct):
    nodes: dict[str, _Node]
    services: dict[str, _Service] = {}
    people: dict[str, _Person] = {}
    site: _Settings = _Settings()


DEFAULT_PROTOCOLS = {"rooms": "bayou", "events": "sequencer"}
"""Of the apps whose protocol matters to clients (`catalog.APPS`)."""
HOME_PROTOCOLS = ("bayou",)
"""Where it matters which replica is asked: each has writes that the others do not know yet."""
VOTING_PROTOCOLS = ("sequencer",)
"""Whose replicas are voted on, and can be made wrong to see that they are found out."""
BRANCHED_APPS = ("events",)
"""Whose people belong to a branch, which has a server of its own where there is a directory."""


class Addresses:
    """The servers of each service. `everywhere` are those that serve whatever service is named.

    `common`: the services at their nodes' common ports. `apps`: each service's app, as far as it is
    known. `departments`: each person's. `local`: the services where everybody has a replica of her own.
    `voting`: those whose replicas are voted on. `directories`: for services with branches, the service that tells
    where each branch's server is. `data`: where the nodes here keep their data, if that is known.
    """

    def __init__(
        self,
        services: Mapping[str, tuple[Server, ...]],
        *,
        everywhere: tuple[Server, ...] = (),
        common: frozenset[str] = frozenset(),
        apps: Mapping[str, str] | None = None,
        departments: Mapping[str, str] | None = None,
        local: frozenset[str] = frozenset(),
        voting: tuple[str, ...] = (),
        directories: Mapping[str, str] | None = None,
        data: Path | None = None,
        source: str = "",
        name: str = "servers",
    ) -> None:
        self._services = dict(services)
        self._everywhere = everywhere
        self._common = common
        self._apps = dict(apps or {})
        self._departments = dict(departments or {})
        self._local = local
        self.voting = voting
        self._directories = dict(directories or {})
        self.data = data
        self._source = source
        self.name = name

    @classmethod
    def of_site(cls, path: str | os.PathLike[str] | None = None) -> Addresses:
        """Those of a site file; see `site_file` for which one without a path."""
        file = site_file(path)
        source = f"the site {file}" if file else "the demo site"
        try:
            site = msgspec.convert(tomllib.loads((file or demo_file()).read_text(encoding="utf-8-sig")), _Site)
        except (OSError, ValueError):  # msgspec's and TOML's errors among them
            from holdfast.site import load_site

            load_site(file or demo_file())
            raise
        services = {name: _servers(site, service) for name, service in site.services.items()}
        return cls(
            services,
            common=frozenset(name for name, service in site.services.items() if isinstance(service.nodes, list)),
            apps={name: service.app for name, service in site.services.items()},
            departments={id: person.department for id, person in site.people.items()},
            local=frozenset(name for name, service in site.services.items() if _protocol(service) in HOME_PROTOCOLS),
            voting=tuple(name for name, service in site.services.items() if _protocol(service) in VOTING_PROTOCOLS),
            directories=_directories(site),
            data=DEMO_DATA if file is None else file.parent / site.site.data,
            source=source,
            name=site.site.name,
        )

    @classmethod
    def of_servers(cls, servers: str | os.PathLike[str] | Sequence[tuple[str, int]]) -> Addresses:
        """Those of a file of `address port` lines, or of (address, port) pairs."""
        pairs = servers if isinstance(servers, Sequence) and not isinstance(servers, str) else _listed(Path(servers))
        if not pairs:
            raise Misuse("the list of servers is empty; give at least one address and port")
        return cls({}, everywhere=tuple(Server(host, port) for host, port in pairs), source="the list of servers")

    def servers_at(self, service: str, node: str) -> tuple[Server, ...]:
        """The service's server at the node of that name, and no other. Raises `Misuse` when there is none."""
        servers = self.servers(service)
        found = tuple(server for server in servers if server.name == node)
        if not found:
            known = ", ".join(server.name for server in servers if server.name) or "the servers have no names"
            raise Misuse(f"service {service!r} has no line port at a node {node!r}; its nodes: {known}")
        return found

    def names(self) -> tuple[str, ...]:
        """The services known by name."""
        return tuple(self._services)

    def servers(self, service: str) -> tuple[Server, ...]:
        """The servers of a service. Raises `Misuse` when there is no such service, or nowhere to ask it."""
        servers = self._services.get(service, self._everywhere)
        if not servers and service in self._services:
            raise Misuse(f"service {service!r} in {self._source} has no line port, nor have its nodes; give one a port")
        if not servers:
            known = ", ".join(self._services) or "none"
            raise Misuse(f"no command and no service {service!r} in {self._source}; its services: {known}")
        return servers

    def app(self, service: str) -> str:
        """The app of a service; by a plain list of servers nothing is known, so that its name must do."""
        return self._apps.get(service, service)

    def has_branches(self, service: str) -> bool:
        """Whether the people of a service belong to its branches."""
        return self.app(service) in BRANCHED_APPS

    def directory(self, service: str) -> str | None:
        """The service that tells where the servers of a service's branches are, if there is one."""
        return self._directories.get(service)

    def is_local(self, service: str) -> bool:
        """Whether it matters which replica is asked, and an outcome may change after its answer."""
        return service in self._local

    def home(self, service: str, person: str) -> Server | None:
        """The server to ask first for a person: the node with the name of the person's department."""
        department = self._departments.get(person)
        if service not in self._local or not department:
            return None
        return next((server for server in self.servers(service) if server.name == department), None)

    def common(self, service: str) -> bool:
        """Whether the service is reached through its nodes' common ports, which first hear `use SERVICE`."""
        return service in self._common


def site_file(path: str | os.PathLike[str] | None = None) -> Path | None:
    """The site's file: the given one (or the one in the given directory), HOLDFAST_SITE, `./site.toml`,
    or None for the demo site."""
    given = path or os.environ.get("HOLDFAST_SITE")
    if given:
        return Path(given, SITE_FILE) if Path(given).is_dir() else Path(given)
    return Path(SITE_FILE) if Path(SITE_FILE).exists() else None


def demo_file() -> Path:
    """The demo site's file, as it is installed."""
    return Path(str(holdfast.__file__)).with_name("demo.toml")


def _protocol(service: _Service) -> str:
    return service.protocol or DEFAULT_PROTOCOLS.get(service.app, "")


def _directories(site: _Site) -> dict[str, str]:
    """For each service with branches, the directory they register in: as `holdfast.branches` has it."""
    found = {}
    for name, service in site.services.items():
        directory = site.services.get(service.directory)
        if service.app in BRANCHED_APPS and _protocol(service) in VOTING_PROTOCOLS:
            if directory is not None and directory.app == "directory":
                found[name] = service.directory
    return found


def _servers(site: _Site, service: _Service) -> tuple[Server, ...]:
    """Where its nodes take lines for it: at its own ports, or else at the nodes' common ones."""
    ports: dict[str, int | None]
    if isinstance(service.nodes, dict):
        ports = dict(service.nodes)
    else:
        ports = {name: site.nodes[name].line_port for name in service.nodes if name in site.nodes}
    return tuple(
        Server(site.nodes[name].host, port, name)
        for name, port in ports.items()
        if port is not None and name in site.nodes
    )


def _listed(file: Path) -> list[tuple[str, int]]:
    """The (address, port) pairs of a servers file."""
    try:
        lines = [line.partition("#")[0] for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError):
        lines = ["cannot be read"]
    found = [_SERVER_LINE.fullmatch(line) for line in lines if line.strip()]
    if found and all(found):
        return [(match[1], int(match[2])) for match in found if match]
    from holdfast.site import load_servers_file

    site = load_servers_file(
        file, failure_model="perfect"
    )  # which model the servers have is none of a client's business
    return [(node.host, node.peer_port) for node in site.nodes.values()]
