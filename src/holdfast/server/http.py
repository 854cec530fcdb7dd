"""The HTTP face of a node: metrics for Prometheus, the status for programs, and pages for people."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn
from litestar import Litestar, MediaType, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from holdfast.kernel.errors import ConfigurationError
from holdfast.server.http_connection import HEAD_BYTES_MAX, Connection
from holdfast.server.state import STATE_APP, Elsewhere, State, States
from holdfast.server.vendors.asgi import Vendors
from holdfast.server.vendors.quick import VendorsProtocol
from holdfast.vendors import VENDORS_APP

if TYPE_CHECKING:
    from holdfast.runtime.node import Node

RESERVED = ("metrics", "status")
"""Addresses of the node itself."""
KEEP_ALIVE_SECONDS = 75
"""So long may a connection be silent between two requests: a client that may ask once a second keeps its one."""
Stores = Mapping[str, State | Elsewhere]
GAUGES = ("position", "epoch", "lag", "queue", "waiting", "notices_waiting")


class NodeCollector(Collector):
    """Reads a node's plain counters when somebody asks; the hot path knows nothing of Prometheus."""

    def __init__(self, node: Node, stores: Stores) -> None:
        self._node = node
        self._stores = stores

    def collect(self) -> Iterable[Metric]:
        """Every metric of the node."""
        yield from self._services()
        yield from self._totals("lines", "line protocol", self._node.lines.counters)
        yield from self._totals("links", "peer links", self._node.links.counters)
        if self._node.datagrams is not None:
            yield from self._totals("datagrams", "datagrams of peers", self._node.datagrams.counters)
        yield from self._vendors()
        yield from self._states()
        yield GaugeMetricFamily(
            "holdfast_connections_open", "line connections open now", value=len(self._node.lines.connections)
        )

    def _services(self) -> Iterator[Metric]:
        services = self._node.status()["services"]
        active = GaugeMetricFamily("holdfast_active", "1 where the replica serves", labels=["service"])
        gauges = {
            name: GaugeMetricFamily(f"holdfast_{name}", f"replica's {name}", labels=["service"]) for name in GAUGES
        }
        totals: dict[str, CounterMetricFamily] = {}
        for status in services:
            labels = [status["service"]]
            active.add_metric(labels, float(status["state"] == "active"))
            for name, gauge in gauges.items():
                if name in status:
                    gauge.add_metric(labels, status[name])
            for name, value in status["counters"].items():
                if name not in totals:
                    about = f"replica's {name} since its start"
                    totals[name] = CounterMetricFamily(f"holdfast_{name}", about, labels=["service"])
                totals[name].add_metric(labels, value)
        yield active
        yield from gauges.values()
        yield from totals.values()

    def _vendors(self) -> Iterator[Metric]:
        """Of the vendors' HTTP APIs: requests and too frequent ones by client, answers by status, faults by kind."""
        families = {
            name: CounterMetricFamily(f"holdfast_vendor_{name}", about, labels=["service", label])
            for name, about, label in (
                ("requests", "requests of a client", "client"),
                ("too_fast", "requests of a client beyond the agreed rate", "client"),
                ("answers", "answers", "code"),
                ("faults", "faults on purpose", "kind"),
            )
        }
        for name, vendor in self._node.vendors.items():
            for client, rate in vendor.rates.items():
                families["requests"].add_metric([name, client], rate.requests)
                families["too_fast"].add_metric([name, client], rate.too_fast)
            for code, count in vendor.answers.items():
                families["answers"].add_metric([name, str(code)], count)
            for kind, count in vendor.chance.counts.items():
                families["faults"].add_metric([name, kind], count)
        if self._node.vendors:
            yield from families.values()

    def _states(self) -> Iterator[Metric]:
        """Of the state stores: answers by status."""
        answers = CounterMetricFamily("holdfast_state_answers", "answers", labels=["service", "code"])
        for name, store in self._stores.items():
            for code, count in store.answers.items():
                answers.add_metric([name, str(code)], count)
        if self._stores:
            yield answers

    def _totals(self, prefix: str, what: str, counters: dict[str, int]) -> Iterator[Metric]:
        for name, value in counters.items():
            yield CounterMetricFamily(f"holdfast_{prefix}_{name}", f"{what}: {name} since the start", value=value)


def make_application(node: Node, stores: Stores) -> Litestar:
    """The routes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(node, stores))

    @get("/metrics", sync_to_thread=False)
    def metrics() -> Response[bytes]:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @get("/status", sync_to_thread=False, media_type=MediaType.JSON)
    def status() -> dict[str, Any]:
        return node.status()

    pages = _with_pages(node)

    @get("/", sync_to_thread=False)
    def home() -> Redirect:
        return Redirect(f"/{pages[0]}")

    handlers = [metrics, status, *(handler for name in pages for handler in _page_handlers(node, name))]
    if pages:
        handlers.append(home)
    return Litestar(handlers, openapi_config=None, logging_config=None)


def _with_pages(node: Node) -> list[str]:
    """The services here that have a page."""
    services = {service.name: service for service in node.site.services_of(node.name)}
    taken = [name for name in RESERVED if name in services and services[name].app == "rooms"]
    if taken:
        why = f"a service with a page cannot be called {taken[0]}: that address is the node's own"
        raise ConfigurationError(why, file=str(node.site.file), key=f"services.{taken[0]}")
    return [name for name, service in services.items() if service.app == "rooms"]


def _page_handlers(node: Node, name: str) -> list[HTTPRouteHandler]:
    """The routes of the rooms' page. What it needs is imported only where there is one."""
    from holdfast.server.pages import FORM_BYTES_MAX
    from holdfast.server.rooms_page import RoomsPage

    service = node.site.services[name]
    app: Any = node.drivers[name].machine.app
    page = RoomsPage(
        node.faces[name],
        app,
        node.site.people,
        node.site.name,
        node.name,
        lambda: node.drivers[name].status(),
        service.deadline_seconds,
    )
    show = get(page.path)(page.show)
    take = post(page.path, request_max_body_size=FORM_BYTES_MAX)(page.take)
    return [show, take]


def stores_of(node: Node) -> Stores:
    """The site's state stores, by name: those at this node, and those of which it knows only where they are."""
    stores: dict[str, State | Elsewhere] = {}
    for name, service in node.site.services.items():
        if service.app == STATE_APP and name in node.faces:
            stores[name] = State(node.faces[name], node.site.people, service.deadline_seconds)
        elif service.app == STATE_APP:
            stores[name] = Elsewhere(name, service.nodes)
    return stores


def _protocol(node: Node) -> Any:
    """What makes the protocol of a connection: on a site with vendors, one that knows them."""
    services = node.site.services
    has_vendors = any(service.app == VENDORS_APP for service in services.values())
    return partial(VendorsProtocol, Vendors(node.vendors, services)) if has_vendors else Connection


class HttpFace:
    """An HTTP server inside the node's loop. `listening`: sockets that listen already; without any, it
    makes its own at `host` and `port`."""

    def __init__(self, node: Node, host: str, port: int, listening: list[socket.socket] | None = None) -> None:
        self._vendors = node.vendors
        stores = stores_of(node)
        pages: Any = make_application(node, stores)
        configuration = uvicorn.Config(
            States(stores, pages) if stores else pages,
            host=host,
            port=port,
            log_level="warning",
            lifespan="off",
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            http=_protocol(node),
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        )
        self._where = f"{host} port {port}"
        self._listening = listening
        configuration.load()
        self._server = uvicorn.Server(configuration)
        self._server.lifespan = configuration.lifespan_class(configuration)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; raises `ConfigurationError` when the port is taken. Not `uvicorn.Server.serve`,
        which would take over the node's signals."""
        try:
            await self._server.startup(sockets=self._listening)
        except SystemExit as error:  # uvicorn's way to say that the port is taken
            raise ConfigurationError(f"the HTTP server cannot listen on {self._where}; is the port taken?") from error
        self._task = asyncio.get_running_loop().create_task(self._server.main_loop())

    async def stop(self) -> None:
        """Finish what is being answered, and end."""
        for vendor in self._vendors.values():
            vendor.close()
        self._server.should_exit = True
        if self._task is not None:
            await self._task
            await self._server.shutdown()
