"""One installation: site.toml (or the plain file of servers) as typed values, every mistake named."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from holdfast.branches import Branches, branch_mistakes, branches_of
from holdfast.catalog import APPS, PROTOCOLS, AppEntry, FailureModel, ProtocolEntry
from holdfast.kernel.contracts import Person
from holdfast.kernel.errors import ConfigurationError
from holdfast.notices import delivering_service, notice_mistakes, partners
from holdfast.people import Identity, People, TokenHash
from holdfast.settings import (
    TABLES,
    Limits,
    Mistakes,
    NodeSettings,
    PersonSettings,
    ServiceSettings,
    SiteSettings,
    read_table,
    similar,
)
from holdfast.vendors import vendor_mistakes

E = TypeVar("E")
SITE_BYTES_MAX = 16 * 1024 * 1024
RESERVED = ("metrics", "status")
"""Addresses of a node's own HTTP server, beside those of the services' pages."""


class Node(msgspec.Struct, frozen=True):
    """One process of the site. `line_port`: the common port, where `use SERVICE` chooses; None for no such port."""

    name: str
    host: str
    peer_port: int
    http_port: int | None = None
    line_port: int | None = None


class Service(msgspec.Struct, frozen=True):
    """One app under one protocol on some nodes.

    `ports`: for each node its line port, or None where the service has none; the order of the nodes
    is their number as peers, from 0. `failure_model` is None only for a protocol without one. `options`
    are the settings of the app, `protocol_options` those of the protocol (see the catalog's entries). `people`:
    all of the site's.
    """

    name: str
    app: str
    protocol: str
    failure_model: FailureModel | None
    ports: dict[str, int | None]
    timeout_seconds: float
    deadline_seconds: float
    identity: Identity
    options: dict[str, Any]
    protocol_options: dict[str, Any] = {}
    people: tuple[Person, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of its nodes; a node's place is its peer number."""
        return tuple(self.ports)

    @property
    def front_nodes(self) -> tuple[str, ...]:
        """The nodes that take requests of clients."""
        return tuple(self.protocol_options.get("front_ends") or self.nodes)

    @property
    def holders(self) -> tuple[str, ...]:
        """The nodes that have its state."""
        return tuple(self.protocol_options.get("managers") or self.nodes)

    @property
    def uses_datagrams(self) -> bool:
        """Whether its replicas speak to each other by UDP."""
        return PROTOCOLS[self.protocol].datagrams

    @property
    def is_tentative(self) -> bool:
        """Whether its replies may come before they are final."""
        return PROTOCOLS[self.protocol].tentative

    @property
    def needs_datagrams(self) -> bool:
        """Whether its replicas or its faces speak by UDP. (Its notices may, too: see `Site.needs_datagrams`.)"""
        return self.uses_datagrams or APPS[self.app].datagrams

    def peer(self, node: str) -> int:
        """The peer number of a node of this service."""
        return self.nodes.index(node)


class Site(msgspec.Struct, frozen=True):
    """Everything a process has to know at its start. `data`: where all nodes keep their data, absolute.
    `key`: the file with the site's secret, which seals its datagrams and proves its links' ends. `notices`: the
    service that delivers what the others have to tell people, "" for none."""

    name: str
    file: Path
    data: Path
    nodes: dict[str, Node]
    services: dict[str, Service]
    people: People
    limits: Limits
    key: Path
    notices: str = ""

    def services_of(self, node: str) -> tuple[Service, ...]:
        """The services that have a replica at this node."""
        return tuple(service for service in self.services.values() if node in service.ports)

    def branches_of(self, service: str) -> Branches | None:
        """Where the branches of a service are served, if it has any."""
        return branches_of(self.services[service], self.services)

    def notice_partners(self, node: str) -> tuple[str, ...]:
        """The nodes with which this one exchanges notices."""
        return partners(node, self.notices, self.services)

    def needs_datagrams(self, node: str) -> bool:
        """Whether anything at this node speaks by datagrams."""
        return any(service.needs_datagrams for service in self.services_of(node)) or bool(self.notice_partners(node))

    def needs_key(self, node: str) -> bool:
        """Whether it speaks by datagrams, or has a link in a site where a node does, or where replicas on several nodes
        serve only who proves who they are: then every link is proved, as both its ends must think alike."""
        several = [service for service in self.services.values() if len(service.nodes) > 1]
        wanted = any(service.identity == "token" for service in several) or any(map(self.needs_datagrams, self.nodes))
        return self.needs_datagrams(node) or (wanted and any(node in service.ports for service in several))

    def node_data(self, node: str) -> Path:
        """The directory of one node's data."""
        return self.data / node

    def line_addresses(self, service: str) -> tuple[tuple[str, int], ...]:
        """(host, port) of every line port of a service, in the order of its nodes."""
        ports = self.services[service].ports
        return tuple((self.nodes[node].host, port) for node, port in ports.items() if port is not None)


def load_site(path: Path | str, *, data: Path | None = None) -> Site:
    """Read a site.toml. `data` overrides its data directory.

    Raises `Mistakes` (a `ConfigurationError`), which lists everything that is wrong.
    """
    path = Path(path)
    text = _read_text(path)
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        why = f"{error}; this is no TOML"
        raise ConfigurationError(why, file=str(path), line=int(found[1]) if found else None) from error
    return _Loader(path, tables).site(data)


def demo_toml() -> str:
    """The text of the demo site's file."""
    return resources.files("holdfast").joinpath("demo.toml").read_text(encoding="utf-8")


def demo_site(data: Path) -> Site:
    """The demo site, with its data in the given directory."""
    return _Loader(Path("demo.toml"), tomllib.loads(demo_toml())).site(data)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(SITE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", file=str(path)) from error
    if len(content) > SITE_BYTES_MAX:
        raise ConfigurationError(f"has more than {SITE_BYTES_MAX} bytes", file=str(path))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError("is not UTF-8 text", file=str(path), line=line) from error


class _Loader:
    """One pass over a site's tables, which gathers every mistake before it gives up."""

    def __init__(self, path: Path, tables: Mapping[str, Any]) -> None:
        self._path = path
        self._tables = tables
        self._mistakes = Mistakes.Gathering(str(path))
        self._ports: dict[tuple[str, int], str] = {}
        self._listed: tuple[Person, ...] = ()

    def site(self, data: Path | None) -> Site:
        for key in self._tables:
            if key not in TABLES:
                self._wrong(key, f"there is no such table{similar(key, TABLES)}")
        settings = read_table(self._table("site"), SiteSettings, "site", self._mistakes)
        limits = read_table(self._table("limits"), Limits, "limits", self._mistakes)
        nodes = {name: self._node(name, table) for name, table in self._each("nodes", _NAME)}
        known = {name: node for name, node in nodes.items() if node is not None}
        people = self._people()
        self._listed = people.listed
        services = {
            name: self._service(name, table, known, frozenset(nodes)) for name, table in self._each("services", _NAME)
        }
        for service in () if len(self._mistakes) else filter(None, services.values()):
            for field, why in (*branch_mistakes(service, services), *vendor_mistakes(service, services)):
                self._wrong(f"services.{service.name}.{field}", why)
        chosen = settings.notices if settings is not None else None
        for why in () if len(self._mistakes) else notice_mistakes(chosen, services):
            self._wrong("site.notices", why)
        if not nodes:
            self._wrong("nodes", "a site needs a node: [nodes.a] with host and peer_port")
        self._mistakes.raise_any()
        assert settings is not None
        assert limits is not None
        where = (data if data is not None else self._path.parent / settings.data).absolute()
        complete = {name: service for name, service in services.items() if service is not None}
        notices = delivering_service(chosen, services)
        return Site(settings.name, self._path, where, known, complete, people, limits, where / settings.key, notices)

    def _wrong(self, key: str, why: str) -> None:
        self._mistakes.add(key, why)

    def _table(self, key: str) -> Mapping[str, Any]:
        table = self._tables.get(key, {})
        if isinstance(table, dict):
            return table
        self._wrong(key, f"must be a table, [{key}]")
        return {}

    def _each(self, key: str, pattern: re.Pattern[str]) -> list[tuple[str, Mapping[str, Any]]]:
        """The tables [key.NAME] with a name that can be one."""
        found: list[tuple[str, Mapping[str, Any]]] = []
        for name, table in self._table(key).items():
            if not pattern.fullmatch(name):
                self._wrong(f"{key}.{name}", f"a name here must match {pattern.pattern}")
            elif not isinstance(table, dict):
                self._wrong(f"{key}.{name}", f"must be a table, [{key}.{name}]")
            else:
                found.append((name, table))
        return found

    def _node(self, name: str, table: Mapping[str, Any]) -> Node | None:
        key = f"nodes.{name}"
        settings = read_table(table, NodeSettings, key, self._mistakes)
        if settings is None:
            return None
        if not is_host(settings.host):
            self._wrong(f"{key}.host", f"{settings.host!r} is neither an IP address nor a host name")
        self._claim(settings.host, settings.peer_port, f"{key}.peer_port")
        self._claim(settings.host, settings.http_port, f"{key}.http_port")
        self._claim(settings.host, settings.line_port, f"{key}.line_port")
        return Node(name, settings.host, settings.peer_port, settings.http_port, settings.line_port)

    def _claim(self, host: str, port: int | None, key: str) -> None:
        """A port of a host has one use."""
        if port is None:
            return
        place = ("127.0.0.1" if host == "localhost" else host, port)
        other = self._ports.setdefault(place, key)
        if other != key:
            self._wrong(key, f"port {port} of {host} is taken already, by {other}")

    def _service(
        self, name: str, table: Mapping[str, Any], nodes: Mapping[str, Node], named: frozenset[str]
    ) -> Service | None:
        key = f"services.{name}"
        if name in RESERVED:
            self._wrong(key, f"a service cannot be called {name}: /{name} is the node's own address")
        app = _entry(APPS, table.get("app"))
        protocol = _entry(PROTOCOLS, table.get("protocol") or (app and app.protocol))
        options = _own(table, app)
        protocol_options = _own(table, protocol)
        if app is not None:
            self._check_app(key, app, options)
        given = {**options, **protocol_options, **self._foreign(key, table, app, protocol)}
        common = {field: value for field, value in table.items() if field not in given}
        others = [field for entry in (app, protocol) if entry for field in entry.options.__struct_fields__]
        settings = read_table(common, ServiceSettings, key, self._mistakes, others=tuple(others))
        if settings is None:
            return None
        if app is None:
            self._wrong(f"{key}.app", f"there is no app {settings.app!r}{similar(settings.app, APPS)}")
            return None
        chosen = settings.protocol or app.protocol
        if protocol is None:
            self._wrong(f"{key}.protocol", f"there is no protocol {chosen!r}{similar(chosen, PROTOCOLS)}")
            return None
        ports = self._ports_of(key, settings, nodes, named)
        if len(ports) > protocol.nodes_max:
            most = protocol.nodes_max
            self._wrong(f"{key}.nodes", f"{chosen} takes at most {most} node{'s' * (most > 1)}, not {len(ports)}")
        if app.private and settings.identity != "token":
            self._wrong(f"{key}.identity", f'what {settings.app} keep is not for everybody: it must be "token"')
        hosts = [nodes[node].host for node in ports if node in nodes]
        model = self._failure_model(key, chosen, settings.failure_model, hosts)
        self._check_protocol(key, protocol, protocol_options, tuple(ports))
        deadline = settings.deadline_seconds or 2 * settings.timeout_seconds
        return Service(
            name,
            settings.app,
            chosen,
            model,
            ports,
            settings.timeout_seconds,
            deadline,
            settings.identity,
            options,
            protocol_options,
            self._listed,
        )

    def _check_app(self, key: str, app: AppEntry, options: Mapping[str, Any]) -> None:
        """The app's settings, one by one and together."""
        settings = read_table(options, app.options, key, self._mistakes)
        if settings is not None:
            try:
                app.make(settings, self._listed)
            except ValueError as error:
                self._wrong(key, str(error))

    def _check_protocol(
        self, key: str, protocol: ProtocolEntry, options: Mapping[str, Any], nodes: tuple[str, ...]
    ) -> None:
        """The protocol's settings, one by one and against the service's nodes."""
        settings = read_table(options, protocol.options, key, self._mistakes)
        for field, why in settings.mistakes(nodes) if settings is not None and nodes else ():
            self._wrong(f"{key}.{field}", why)

    def _foreign(
        self, key: str, table: Mapping[str, Any], app: AppEntry | None, protocol: ProtocolEntry | None
    ) -> dict[str, Any]:
        """The settings of protocols other than this one."""
        own = [*ServiceSettings.__struct_fields__, *(app.options.__struct_fields__ if app else ())]
        found: dict[str, Any] = {}
        for name, entry in PROTOCOLS.items():
            for field in entry.options.__struct_fields__ if entry is not protocol else ():
                if field in table and field not in own:
                    found[field] = table[field]
                    self._wrong(f"{key}.{field}", f"is a setting of {name}, which is not this service's protocol")
        return found

    def _ports_of(
        self, key: str, settings: ServiceSettings, nodes: Mapping[str, Node], named: frozenset[str]
    ) -> dict[str, int | None]:
        """The service's nodes with their line ports, from a list or a table."""
        given = settings.nodes
        ports: dict[str, int | None] = dict(given) if isinstance(given, dict) else dict.fromkeys(given)
        if len(ports) < len(given):
            self._wrong(f"{key}.nodes", "names a node twice")
        if not ports:
            self._wrong(f"{key}.nodes", "a service needs a node at least")
        for node, port in ports.items():
            if node not in named:
                self._wrong(f"{key}.nodes", f"there is no node {node!r} in [nodes]{similar(node, named)}")
            elif node in nodes:
                self._claim(nodes[node].host, port, f"{key}.nodes.{node}")
        return ports

    def _failure_model(
        self, key: str, protocol: str, given: FailureModel | None, hosts: list[str]
    ) -> FailureModel | None:
        """The model given; on one machine, where no network can split, `perfect` when none is given."""
        models = PROTOCOLS[protocol].models
        if given is not None and given not in models:
            self._wrong(f"{key}.failure_model", f"{protocol} has no failure model to choose; leave it out")
        if given is not None or not models or on_one_machine(hosts):
            return given or (models[0] if models else None)
        self._wrong(f"{key}.failure_model", f"its nodes are on several machines: say which, {' or '.join(models)}")
        return None

    def _people(self) -> People:
        people: list[Person] = []
        tokens: dict[str, TokenHash] = {}
        for id, table in self._each("people", _PERSON_ID):
            settings = read_table(table, PersonSettings, f"people.{id}", self._mistakes)
            if settings is None:
                continue
            people.append(Person(id, settings.first_name, settings.roles, settings.department, settings.unit))
            if settings.token:
                try:
                    tokens[id] = TokenHash.parse(settings.token)
                except ValueError as error:
                    self._wrong(f"people.{id}.token", str(error))
        return People(people, tokens)


_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_PERSON_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")


def _own(table: Mapping[str, Any], entry: AppEntry | ProtocolEntry | None) -> dict[str, Any]:
    """The settings of a service that are its app's, or its protocol's, own."""
    fields = entry.options.__struct_fields__ if entry is not None else ()
    return {field: value for field, value in table.items() if field in fields}


def _entry(entries: Mapping[str, E], name: Any) -> E | None:
    """The catalog's entry of that name, if it has one; a name that is no text is told elsewhere."""
    return entries.get(name) if isinstance(name, str) else None


def is_host(host: str) -> bool:
    """Whether this can be an IP address or a host name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        looks_like_a_number = host.rpartition(".")[2].isdigit()
        return len(host) <= 253 and _HOST.fullmatch(host) is not None and not looks_like_a_number
    return True


def is_loopback(host: str) -> bool:
    """Whether this is certainly an address of this very machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def on_one_machine(hosts: list[str]) -> bool:
    """Whether all of them are certainly one machine, so that no network between them can split."""
    return all(is_loopback(host) for host in hosts) or len(set(hosts)) == 1


def load_servers_file(
    path: Path | str,
    *,
    data: Path | None = None,
    seats: int = 500,
    failure_model: FailureModel | None = None,
    timeout_seconds: float = 5.0,
) -> Site:
    """A site of ticket servers from a plain file: one `address port` a line, `#` begins a comment.

    The servers are the nodes "1", "2", ... in the order of the file; each has one port for peers and
    clients alike (told apart by the first bytes). On several machines `failure_model` must be given.
    Their data lies in `data`, or in `data` beside the file. Raises `ConfigurationError`.
    """
    path = Path(path)
    nodes: dict[str, Node] = {}
    lines: dict[tuple[str, int], int] = {}
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        host, port = _server(words, str(path), number)
        first = lines.setdefault((host, port), number)
        if first != number:
            raise ConfigurationError(f"{host} {port} stands in line {first} already", file=str(path), line=number)
        name = str(len(nodes) + 1)
        nodes[name] = Node(name, host, port)
    if not nodes:
        raise ConfigurationError("names no server; write one address and port a line", file=str(path))
    if failure_model is None and not on_one_machine([node.host for node in nodes.values()]):
        why = "the servers are on several machines: say --failure-model perfect (no network splits) or majority"
        raise ConfigurationError(why, file=str(path))
    gathering = Mistakes.Gathering(str(path))
    read_table({"seats": seats}, APPS["tickets"].options, "option", gathering)
    common = {"app": "tickets", "nodes": list(nodes), "timeout_seconds": timeout_seconds}
    read_table(common, ServiceSettings, "option", gathering)
    gathering.raise_any()
    ports: dict[str, int | None] = {name: node.peer_port for name, node in nodes.items()}
    model: FailureModel = failure_model or "perfect"
    service = Service(
        "tickets", "tickets", "lamport", model, ports, timeout_seconds, 2 * timeout_seconds, "trusted", {"seats": seats}
    )
    where = (data if data is not None else path.parent / "data").absolute()
    key = where / SiteSettings().key
    return Site("tickets", path, where, nodes, {"tickets": service}, People(), Limits(), key)


def _server(words: list[str], file: str, line: int) -> tuple[str, int]:
    """(host, port) of one line's words."""
    if len(words) != 2:
        raise ConfigurationError(f"must be an address and a port, not {len(words)} words", file=file, line=line)
    host = words[0][1:-1] if words[0].startswith("[") and words[0].endswith("]") else words[0]
    if not is_host(host):
        raise ConfigurationError(f"{words[0]!r} is neither an IP address nor a host name", file=file, line=line)
    digits = words[1]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 1 <= int(digits) <= 65535):
        raise ConfigurationError(f"a port is a number from 1 to 65535, not {digits!r}", file=file, line=line)
    return host, int(digits)
