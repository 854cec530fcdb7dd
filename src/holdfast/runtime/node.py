"""A node: one process that hosts the replicas of a site's services and shows them to clients.

Run it with `holdfast node NAME --site site.toml`. It listens first and dials then, so that a peer
never takes a live node for a dead one; it ends at SIGTERM or SIGINT, or when all it hosts has halted.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
import uuid
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from holdfast.catalog import APPS, PROTOCOLS, Replicated, first_records, make_core
from holdfast.kernel.contracts import Halt, Reply
from holdfast.kernel.errors import ConfigurationError, JournalDamaged, MalformedInput
from holdfast.kernel.gate import Group
from holdfast.kernel.placing import Places
from holdfast.kernel.replies import Unknown
from holdfast.runtime.datagrams import Datagrams
from holdfast.runtime.driver import Driver, clock_us
from holdfast.runtime.journal import Journal
from holdfast.runtime.journal_process import JournalWriter
from holdfast.runtime.links import Address, Links
from holdfast.runtime.part_proofs import Keyless, PartProofs
from holdfast.runtime.site_key import make_key, read_key
from holdfast.server.branches import BranchServers
from holdfast.server.branches.keeper import Place
from holdfast.server.branches.messages import CHANNEL
from holdfast.server.branches.servers import Settings as BranchSettings
from holdfast.server.grammar import Grammar
from holdfast.server.guard import Guard
from holdfast.server.http_door import HttpDoor
from holdfast.server.line_server import Connection, Face, LineServer
from holdfast.server.notices import NoticeOffice
from holdfast.server.notices.messages import CHANNEL as NOTICES
from holdfast.server.vendors.vendor import Vendor
from holdfast.site import Service, Site
from holdfast.vendors import VENDORS_APP

logger = logging.getLogger(__name__)

BACKLOG = 1024
GC_THRESHOLDS = (100_000, 20, 100)
FILES_KEPT = 200
"""Open files for links, journals and HTTP, which clients cannot take away."""


def journal_path(site: Site, node: str, service: str) -> Path:
    """Where a replica's journal lies."""
    return site.node_data(node) / f"{service}.journal"


def connections_possible(wanted: int) -> int:
    """So many clients, or as many as the system's limit of open files leaves room for once it is raised
    as far as it may be: beyond the limit a client is told, beyond the system's it would only hang."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + FILES_KEPT:
        soft = wanted + FILES_KEPT if hard == resource.RLIM_INFINITY else min(wanted + FILES_KEPT, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    possible = wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - FILES_KEPT))
    if possible < wanted:
        logger.warning("the limit of %d open files leaves room for %d of %d connections", soft, possible, wanted)
    return possible


def new_services(site: Site, nodes: Iterable[str]) -> list[str]:
    """The services that have a replica at one of these nodes, and no journal at any of them."""
    chosen = list(nodes)
    return [
        name
        for name, service in site.services.items()
        if (here := [node for node in chosen if node in service.ports])
        and not any(journal_path(site, node, name).exists() for node in here)
    ]


def initialise(site: Site, nodes: Iterable[str] = (), *, only_new: bool = False) -> list[Path]:
    """The explicit first start: write the first records of every replica of these nodes (all nodes,
    if none is named), and make the site's key, where one is needed and there is none; `only_new`: of the
    services that have no journal here yet. Raises `ConfigurationError` when one of them has a journal already."""
    chosen = list(nodes) or list(site.nodes)
    for node in chosen:
        if node not in site.nodes:
            raise ConfigurationError(
                f"there is no node {node!r}; there are {', '.join(site.nodes)}", file=str(site.file)
            )
    replicas = [(node, service) for node in chosen for service in site.services_of(node)]
    if only_new:
        begun = new_services(site, chosen)
        replicas = [(node, service) for node, service in replicas if service.name in begun]
        if not replicas:
            raise ConfigurationError("no service is new: each has a journal here already", file=str(site.file))
    paths = [journal_path(site, node, service.name) for node, service in replicas]
    for path in paths:
        if path.exists():
            raise ConfigurationError(
                f"{path} exists: this site has been started before; `holdfast reset` empties it, "
                "and `holdfast init --new` begins only what has come to the site file since"
            )
    if any(site.needs_key(node) for node, _ in replicas):
        make_key(site.key)
    disks = {service.name: {node: uuid.uuid4().hex for node in chosen} for _, service in replicas}
    for (node, service), path in zip(replicas, paths, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = Journal.open(path)
        try:
            group = Group(1)
            group.records = first_records(service, node, disks[service.name])
            if group:
                journal.write(group)
        finally:
            journal.close()
    return paths


class Node:
    """Everything of one node's process. Use `run_node`."""

    def __init__(self, site: Site, name: str, *, accept_loss: bool = False) -> None:
        self.site = site
        self.name = name
        self.accept_loss = accept_loss
        self.drivers: dict[str, Driver] = {}
        self._services = {service.name: service for service in site.services_of(name)}
        self._ended = asyncio.Event()
        self._failed = False
        self._servers: list[asyncio.Server] = []
        neighbours = {node for service in self._services.values() for node in service.nodes}
        addresses = {node: Address(site.nodes[node].host, site.nodes[node].peer_port) for node in sorted(neighbours)}
        secret = self._secret = read_key(site.key) if site.needs_key(name) or site.key.exists() else None
        self.links = Links(
            name, addresses, site.name, self._on_link_frame, self._on_event, secret=secret, flushes_itself=False
        )
        self.datagrams: Datagrams | None = None
        if secret is not None and site.needs_datagrams(name):
            others = {*addresses, *site.notice_partners(name)}  # with some of them it has no service in common
            known = {node: Address(site.nodes[node].host, site.nodes[node].peer_port) for node in sorted(others)}
            self.datagrams = Datagrams(name, known, site.name, secret, self._on_datagram)
        limits = site.limits
        self.branches: dict[str, BranchServers] = {}
        self.faces: dict[str, Face] = {}
        try:
            for service in self._services.values():
                self.faces[service.name] = self._face(service, self._open(service))
        except BaseException:
            self._close_drivers()  # their journals' threads would keep the process
            raise
        self.notices = self._notice_office()
        self.vendors = {
            name: self._vendor(service) for name, service in self._services.items() if service.app == VENDORS_APP
        }
        self.lines = LineServer(
            self.faces,
            site.people,
            self.status_json,
            lambda transport, first_bytes: self.links.accept(transport, first_bytes),
            line_bytes_max=limits.line_bytes_max,
            connections_max=connections_possible(limits.connections_max),
            unread_bytes_max=limits.unread_bytes_max,
        )

    # -- Replicas

    def _face(self, service: Service, replicated: Replicated) -> Face:
        """The service as line ports show it: the words of its app, and those of its protocol."""
        app = replicated.machine.app
        commands, queries = (*app.commands, *replicated.commands), (*app.queries, *replicated.queries)
        try:
            grammar = Grammar(commands, queries, line_bytes_max=self.site.limits.line_bytes_max)
        except ValueError as error:
            why = f"{service.app} cannot be served under {service.protocol}: {error}"
            raise ConfigurationError(why, file=str(self.site.file), key=f"services.{service.name}") from error
        protocol = PROTOCOLS[service.protocol]
        servers, private = self._branch_servers(service, replicated), APPS[service.app].private
        words = (*replicated.commands, *replicated.queries) if private else replicated.for_operators
        door = Guard(servers or _Door(self, service.name), words if service.identity == "token" else ())
        face = Face(
            service.name, door, grammar, service.identity, tentative=protocol.tentative, private=private,
            tells=protocol.tells,
        )  # fmt: skip
        if servers is not None:
            face.on_malformed = servers.malformed
        return face

    def _branch_servers(self, service: Service, replicated: Replicated) -> BranchServers | None:
        """Those of a service that has branches, at this node if it may serve them."""
        branches, node, datagrams = self.site.branches_of(service.name), self.site.nodes[self.name], self.datagrams
        if branches is None or self.name not in branches.nodes or datagrams is None:
            return None
        port = service.ports[self.name] or node.line_port or node.peer_port
        settings = BranchSettings(
            service.name,
            branches,
            Place(self.name, node.host, port),
            self.site.node_data(self.name) / "branches",
            service.deadline_seconds,
            self.site.limits.requests_waiting_max,
        )
        servers = self.branches[service.name] = BranchServers(
            settings,
            replicated.machine.app,
            _Door(self, service.name),
            _Door(self, branches.directory),
            datagrams.send,
            lambda: self.lines.flush(),
            lambda: self.drivers[service.name].halted is None,
            places_questions=isinstance(replicated.core, Places),
        )
        datagrams.handlers[CHANNEL] = self._on_branch_message
        return servers

    def _on_branch_message(self, node: str, channel: str, payload: bytes) -> None:
        servers = self.branches.get(channel.partition("/")[2])
        if servers is None:
            raise MalformedInput(f"node {node} speaks to branches that are not here: {channel!r}")
        servers.on_datagram(node, payload)

    def _notice_office(self) -> NoticeOffice:
        """What carries the notices of the services here."""
        datagrams = self.datagrams
        send = datagrams.send if datagrams is not None else lambda node, channel, payload: False
        office = NoticeOffice(
            self.site, self.name, partial(_Door, self), lambda service: self.drivers[service].machine, send, clock_us
        )
        if datagrams is not None:
            datagrams.handlers[NOTICES] = office.on_datagram
        return office

    def _vendor(self, service: Service) -> Vendor:
        """The service's HTTP API for clients with keys."""
        door, alone = self.faces[service.name].service, len(service.nodes) == 1
        return Vendor(service.name, door, service.options, self.site.people, service.deadline_seconds, is_alone=alone)

    def _open(self, service: Service) -> Replicated:
        """Open the journal and make the replica; a damaged journal is set aside for an empty one."""
        path = journal_path(self.site, self.name, service.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() and len(service.nodes) == 1:
            why = (
                f"{path} does not exist, and no other node has a copy: `holdfast init` makes a first, empty one "
                "(`init --new`, if the service is new)"
            )
            raise ConfigurationError(why, file=str(self.site.file))
        try:
            writer = JournalWriter.open(path)
        except JournalDamaged as error:
            if len(service.nodes) == 1:
                raise
            logger.error("%s: %s", service.name, error)
            self._set_aside(service, path)
            writer = JournalWriter.open(path)
        replicated = make_core(
            service,
            self.name,
            disk=uuid.uuid4().hex,
            is_copy=writer.is_copy,
            requests_waiting_max=self.site.limits.requests_waiting_max,
            accept_loss=self.accept_loss,
            seals=self._seals(service),
        )
        datagrams = self.datagrams if service.uses_datagrams else None
        carrier = datagrams or self.links
        self.drivers[service.name] = Driver(
            service.name,
            replicated.core,
            replicated.machine,
            replicated.messages,
            writer,
            service.nodes,
            lambda node, payload: carrier.send(node, service.name, payload),
            carrier.flush,
            lambda: self.lines.flush(),
            lambda halt: self._on_halt(service, halt),
            lambda reply: self._fail(service.name, reply),
            lambda change: self.lines.tell(service.name, change),
            lambda: self.lines.tell_missed(service.name),
            room=lambda node: carrier.room(node, service.name),
            deadline_seconds=service.deadline_seconds,
            waiting_max=self.site.limits.requests_waiting_max,
        )
        return replicated

    def _seals(self, service: Service) -> PartProofs | Keyless | None:
        """What the parts of exports prove: the key; without one that is nothing, which will do where people prove
        nothing either."""
        if self._secret is not None:
            return PartProofs(self._secret, self.site.name, service.name)
        return Keyless() if service.identity == "token" else None

    def _set_aside(self, service: Service, path: Path) -> None:
        aside = Journal.set_aside(path)
        logger.error("%s: the damaged journal lies in %s now; starting as an empty server", service.name, aside)

    def _on_halt(self, service: Service, halt: Halt) -> None:
        """Whoever waits here is told. A damaged replica starts again as an empty one; any other halt
        stays. A node with nothing left to serve ends, so that its peers need not wait for the timeout."""
        self._fail(service.name, Unknown(f"{service.name} has halted here: {halt.text}"))
        if halt.code == "damaged" and len(service.nodes) > 1:
            asyncio.get_running_loop().call_soon(self._start_empty, service)
        elif all(driver.halted is not None for driver in self.drivers.values()):
            self._failed = True
            self._ended.set()

    def _fail(self, service: str, reply: Reply) -> None:
        """Whoever waits for this service here gets this reply."""
        self.lines.fail(service, reply)
        if (servers := self.branches.get(service)) is not None:
            servers.failed()

    def _start_empty(self, service: Service) -> None:
        self.drivers[service.name].close()
        self._set_aside(service, journal_path(self.site, self.name, service.name))
        self._open(service)
        driver = self.drivers[service.name]
        driver.start()
        for node in service.nodes:
            if node != self.name and self.links.connected(node):
                self.links.drop(node, f"{service.name} has started again as an empty server")

    # -- Links and datagrams

    def _on_link_frame(self, node: str, service: str, payload: bytes) -> None:
        self._on_frame(node, service, payload, by_datagram=False)

    def _on_datagram(self, node: str, service: str, payload: bytes) -> None:
        self._on_frame(node, service, payload, by_datagram=True)

    def _on_frame(self, node: str, service: str, payload: bytes, *, by_datagram: bool) -> None:
        """Messages for a replica here, by the way its protocol uses: each datagram is sealed, which a link's frames
        are not; and a datagram's loss would break a link's promise."""
        driver = self.drivers.get(service)
        if driver is None or self._services[service].uses_datagrams != by_datagram:
            what = f"a service {service!r} that is not here" if driver is None else f"{service} by the wrong way"
            raise MalformedInput(f"node {node} speaks to {what}; compare the site files and versions")
        driver.on_frame(node, payload)

    def _on_event(self, node: str, event: Any) -> None:
        for driver in self.drivers.values():
            driver.on_event(node, event)
        for servers in self.branches.values():
            servers.on_event(node, event)
        self.notices.on_event(node, event)

    # -- Faces

    def status(self) -> dict[str, Any]:
        """The state of every replica here; JSON-able."""
        services = [self._status_of(name, driver) for name, driver in self.drivers.items()]
        return {"site": self.site.name, "node": self.name, "pid": os.getpid(), "services": services}

    def _status_of(self, name: str, driver: Driver) -> dict[str, Any]:
        status = {"service": name, "app": self._services[name].app, **driver.status(), **self.notices.status(name)}
        status["counters"] = {**status["counters"], **self.notices.totals(name)}
        if (servers := self.branches.get(name)) is not None:
            status["branches"] = servers.keeper.status()
            status["counters"] = {**status["counters"], **servers.totals()}
        if (vendor := self.vendors.get(name)) is not None:
            status |= {"vendor": vendor.status()} | ({"warning": warning} if (warning := vendor.warning()) else {})
        return status

    def status_json(self) -> bytes:
        """The same as one line."""
        return msgspec.json.encode(self.status())

    def _ports(self) -> dict[int, str | None]:
        """Every line port with the service that it speaks to."""
        node = self.site.nodes[self.name]
        ports: dict[int, str | None] = {node.peer_port: None}
        if node.line_port is not None:
            ports[node.line_port] = None
        for name, service in self._services.items():
            port = service.ports[self.name]
            if port is not None:
                ports[port] = name
        return ports

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        host = self.site.nodes[self.name].host
        for port, service in self._ports().items():
            face = None if service is None else self.faces[service]
            try:
                server = await loop.create_server(partial(Connection, self.lines, face), host, port, backlog=BACKLOG)
            except OSError as error:
                why = f"node {self.name} cannot listen on {host} port {port}: {error.strerror or error}"
                raise ConfigurationError(why, file=str(self.site.file)) from error
            self._servers.append(server)

    async def _open_datagrams(self) -> None:
        """Before the replicas' start, as they speak at once; what comes in meanwhile waits for them."""
        if self.datagrams is None:
            return
        node = self.site.nodes[self.name]
        try:
            await self.datagrams.start()
        except OSError as error:
            why = f"node {self.name} cannot use UDP on {node.host} port {node.peer_port}: {error.strerror or error}"
            raise ConfigurationError(why, file=str(self.site.file)) from error

    async def run(self) -> int:
        """Serve until told to stop. Returns the exit status."""
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self._ended.set)
        node, http = self.site.nodes[self.name], None
        try:
            if node.http_port is not None:
                http = HttpDoor(self, node.host, node.http_port)
                await http.start()
            await self._open_datagrams()
            for driver in list(self.drivers.values()):
                driver.start()  # before anybody can speak to it: an unread disk must not look like an empty one
            await self._listen()
            gc.collect()
            gc.freeze()
            if not self._ended.is_set():
                self.links.start()
                for servers in self.branches.values():
                    servers.start()
                self.notices.start()
                logger.info("node %s of site %s listens", self.name, self.site.name)
            await self._ended.wait()
        finally:
            await self._stop(http)
        return 1 if self._failed else 0

    async def _stop(self, http: HttpDoor | None) -> None:
        for server in self._servers:
            server.close()
        if http is not None:
            await http.stop()
        self.lines.close()
        self.notices.close()
        for servers in self.branches.values():
            servers.close()
        self._close_drivers()
        if self.datagrams is not None:
            self.datagrams.close()
        await self.links.close()
        self.site.people.close()

    def _close_drivers(self) -> None:
        for driver in self.drivers.values():
            driver.close()


class _Door:
    """The way to a service's replica, which may be replaced by an empty one while clients stay."""

    def __init__(self, node: Node, service: str) -> None:
        self._drivers = node.drivers
        self._service = service

    def submit(self, waiter: Any, request: Any) -> None:
        """See `Driver.submit`."""
        self._drivers[self._service].submit(waiter, request)

    def ask(self, waiter: Any, request: Any) -> None:
        """See `Driver.ask`."""
        self._drivers[self._service].ask(waiter, request)


async def _run(site: Site, name: str, accept_loss: bool) -> int:
    return await Node(site, name, accept_loss=accept_loss).run()


def run_node(site: Site, name: str, *, accept_loss: bool = False) -> int:
    """The whole life of a node's process; returns its exit status. Raises `ConfigurationError`."""
    import uvloop

    if name not in site.nodes:
        raise ConfigurationError(f"there is no node {name!r}; there are {', '.join(site.nodes)}", file=str(site.file))
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    gc.set_threshold(*GC_THRESHOLDS)
    with contextlib.suppress(KeyboardInterrupt):
        return uvloop.run(_run(site, name, accept_loss))
    return 0
