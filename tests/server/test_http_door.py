"""The HTTP port listens at once and is served from its first caller on."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from tests.e2e.cluster import environment
from tests.ports import free_ports
from tests.server.test_http import HOST, counting_node, get
from tests.waiting import until

from holdfast.kernel.errors import ConfigurationError
from holdfast.server import http
from holdfast.server.http_door import HttpDoor


def while_it_stands(story: Callable[[HttpDoor, int], Awaitable[None]]) -> None:
    async def main() -> None:
        (port,) = free_ports(1)
        door = HttpDoor(counting_node(), HOST, port)
        await door.start()
        try:
            async with asyncio.timeout(30):
                await story(door, port)
        finally:
            await door.stop()
        with socket.create_server((HOST, port)):
            pass  # the port is free again

    uvloop.run(main())


def test_the_first_caller_opens_it_and_all_are_served() -> None:
    async def story(door: HttpDoor, port: int) -> None:
        assert not door.is_open
        calls = [asyncio.to_thread(get, port, "/status") for _ in range(5)]
        for kind, text in await asyncio.gather(*calls):
            assert kind == "application/json"
            assert json.loads(text) == counting_node().status()
        assert door.is_open

    while_it_stands(story)


def test_a_caller_who_leaves_at_once_does_no_harm() -> None:
    async def story(door: HttpDoor, port: int) -> None:
        socket.create_connection((HOST, port)).close()
        await until(lambda: door.is_open)
        assert (await asyncio.to_thread(get, port, "/metrics"))[0].startswith("text/plain")

    while_it_stands(story)


def test_without_a_caller_it_ends_as_it_began() -> None:
    async def story(door: HttpDoor, port: int) -> None:
        assert not door.is_open

    while_it_stands(story)


def test_what_cannot_be_served_is_told_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no templates")

    monkeypatch.setattr(http, "HttpFace", broken)

    async def story(door: HttpDoor, port: int) -> None:
        with pytest.raises(OSError, match=r"reset|refused"):
            await asyncio.to_thread(get, port, "/status")
        assert "the HTTP server of this node does not start" in caplog.text
        assert "no templates" in caplog.text

    while_it_stands(story)


def test_a_taken_port_is_a_clear_error() -> None:
    async def main(port: int) -> None:
        await HttpDoor(counting_node(), HOST, port).start()

    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot listen on {HOST} port {port}: Address already in use"):
            uvloop.run(main(port))


def test_a_node_that_nobody_looks_at_loads_no_http_server() -> None:
    text = "import sys, holdfast.runtime.node; print([name for name in ('litestar', 'uvicorn') if name in sys.modules])"
    words = [sys.executable, "-c", text]
    assert subprocess.run(words, env=environment(), capture_output=True, text=True, check=True).stdout == "[]\n"
