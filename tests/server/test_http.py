"""The HTTP face over a node that only counts."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from holdfast.kernel.errors import ConfigurationError
from holdfast.server.http import HttpFace, make_application

HOST = "127.0.0.1"


def counting_node(*services: Any) -> Any:
    """As much of a node as the face reads, with these services of the site."""
    tickets = {"service": "tickets", "state": "active", "position": 7, "epoch": 64, "lag": 0, "counters": {"turns": 3}}
    slots = {"service": "slots", "state": "halted", "position": 2, "counters": {"turns": 1, "groups": 4}}
    return SimpleNamespace(
        name="a",
        site=SimpleNamespace(services_of=lambda node: services, services={}),
        status=lambda: {"node": "a", "services": [tickets, slots]},
        lines=SimpleNamespace(counters={"connections": 5, "malformed": 2}, connections={1: None, 2: None}),
        links=SimpleNamespace(counters={"connects": 1}),
        datagrams=SimpleNamespace(counters={"received": 8}),
        vendors={},
    )


def while_it_runs(story: Callable[[int], Any]) -> Any:
    """Run the face on a free port; the story is told on a thread, as by another program."""

    async def main() -> Any:
        with socket.socket() as free:
            free.bind((HOST, 0))
            port = free.getsockname()[1]
        face = HttpFace(counting_node(), HOST, port)
        await face.start()
        try:
            return await asyncio.wait_for(asyncio.to_thread(story, port), 30)
        finally:
            await face.stop()

    return uvloop.run(main())


def get(port: int, path: str) -> tuple[str, str]:
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=20) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_metrics_parse_and_tell_the_counters() -> None:
    kind, text = while_it_runs(lambda port: get(port, "/metrics"))
    assert kind.startswith("text/plain")
    samples = {
        (sample.name, sample.labels.get("service", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["holdfast_active", "tickets"] == 1
    assert samples["holdfast_active", "slots"] == 0
    assert samples["holdfast_position", "slots"] == 2
    assert ("holdfast_lag", "slots") not in samples
    assert samples["holdfast_turns_total", "tickets"] == 3
    assert samples["holdfast_groups_total", "slots"] == 4
    assert samples["holdfast_lines_connections_total", ""] == 5
    assert samples["holdfast_links_connects_total", ""] == 1
    assert samples["holdfast_datagrams_received_total", ""] == 8
    assert samples["holdfast_connections_open", ""] == 2


def test_the_status_is_the_nodes_own() -> None:
    kind, text = while_it_runs(lambda port: get(port, "/status"))
    assert kind == "application/json"
    assert json.loads(text) == counting_node().status()


def test_any_other_path_is_not_found() -> None:
    def story(port: int) -> int:
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(port, "/")
        caught.value.close()
        return caught.value.code

    assert while_it_runs(story) == 404


def test_a_page_cannot_take_the_place_of_the_nodes_own_addresses() -> None:
    node = counting_node(SimpleNamespace(name="status", app="rooms"))
    node.site.file = "site.toml"
    with pytest.raises(ConfigurationError, match=r"services\.status: a service with a page cannot be called status"):
        make_application(node, {})


def test_a_taken_port_is_a_clear_error() -> None:
    async def main(port: int) -> None:
        await HttpFace(counting_node(), HOST, port).start()

    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}"):
            uvloop.run(main(port))
