"""A state store under every protocol: any node answers; where nobody can be served, it says when to come again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvloop
from tests.e2e.cluster import HOST
from tests.server.state_house import IDENTITY, content_of, site_of
from tests.server.vendor_house import PATIENCE_S

from holdfast.apps.keyvalue import Done, Full, KeyValue, Told
from holdfast.catalog import APPS, PROTOCOLS, make_core
from holdfast.kernel.replies import Expired, Outcome, Overloaded, Unavailable, Unknown
from holdfast.runtime.node import Node, initialise
from holdfast.server.grammar import Grammar
from holdfast.server.state import answer_to
from holdfast.site import Site

REPLICATED = [name for name, entry in PROTOCOLS.items() if entry.nodes_max > 1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_takes_it(tmp_path: Path, protocol: str) -> None:
    service = site_of(tmp_path, protocol=protocol).services["state"]
    replicated = make_core(service, "a", disk="disk")
    app = replicated.machine.app
    assert isinstance(app, KeyValue)
    assert app.check(replicated.machine.store) is None
    words = Grammar((*app.commands, *replicated.commands), (*app.queries, *replicated.queries)).words
    assert {"set", "get", "unset", "keys", "clear"} <= set(words)


def test_solo_is_the_default() -> None:
    assert APPS["keyvalue"].protocol == "solo"


@asynccontextmanager
async def running(site: Site, names: str) -> AsyncIterator[httpx.AsyncClient]:
    """These nodes, and who calls them."""
    nodes = [Node(site, name) for name in names]
    tasks = [asyncio.create_task(node.run()) for node in nodes]
    try:
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client, asyncio.timeout(PATIENCE_S):
            yield client
    finally:
        for node in nodes:
            node._ended.set()
        assert await asyncio.gather(*tasks) == [0] * len(nodes)


async def call(client: httpx.AsyncClient, site: Site, at: str, query: str, **headers: str) -> tuple[int, str]:
    url = f"http://{HOST}:{site.nodes[at].http_port}/state/bob?{query}"
    response = await client.get(url, headers=headers)
    assert (response.status_code == 503) is ("retry-after" in response.headers)
    return response.status_code, content_of(response)


async def first_answer(client: httpx.AsyncClient, site: Site, at: str, query: str) -> tuple[int, str]:
    """The answer of a node that has just been started."""
    while True:
        try:
            status, content = await call(client, site, at, query)
        except httpx.ConnectError:
            await asyncio.sleep(0.02)
            continue
        if status != 503:
            return status, content
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("protocol", REPLICATED)
def test_any_of_three_nodes_answers(tmp_path: Path, protocol: str) -> None:
    site = site_of(tmp_path, protocol=protocol, nodes="abc")
    initialise(site)

    async def story() -> None:
        async with running(site, "abc") as client:
            for name in "abc":
                assert await first_answer(client, site, name, "action=get&key=none") == (200, "")
            retry = {"Idempotency-Key": f"one.{time.time_ns() // 1_000_000}"}
            assert await call(client, site, "a", "action=set&key=colour&value=blue", **retry) == (200, "")
            assert await call(client, site, "a", "action=set&key=colour&value=red") == (200, "")
            for name in "bc":
                while await call(client, site, name, "action=get&key=colour") != (200, "red"):
                    assert PROTOCOLS[protocol].tentative, "what was answered is seen everywhere"
                    await asyncio.sleep(0.02)
            assert await call(client, site, "b", "action=set&key=colour&value=blue", **retry) == (200, "")
            assert await call(client, site, "b", "action=get&key=colour") == (200, "red"), (
                "done once, at whichever node"
            )
            assert await call(client, site, "b", "action=set&key=size&value=12") == (200, "")
            assert await call(client, site, "b", "action=keys") == (200, "colour\nsize")

    uvloop.run(story())


@pytest.mark.parametrize("protocol", [name for name in REPLICATED if not PROTOCOLS[name].tentative])
def test_a_minority_says_when_to_come_again_and_changes_nothing(tmp_path: Path, protocol: str) -> None:
    model = 'failure_model = "majority"' if PROTOCOLS[protocol].models else ""
    more = f"{IDENTITY}\ntimeout_seconds = 0.5\ndeadline_seconds = 1.0\n{model}"
    site = site_of(tmp_path, more, protocol=protocol, nodes="abc")
    initialise(site)

    async def alone() -> None:
        async with running(site, "a") as client:
            while True:
                try:
                    status, content = await call(client, site, "a", "action=get&key=a")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.02)
            assert (status, bool(content)) == (503, True)
            status, content = await call(client, site, "a", "action=set&key=a&value=1")
            assert (status, bool(content)) == (503, True)

    uvloop.run(alone())


def test_what_each_reply_is_on_the_wire() -> None:
    def status(reply: object) -> int:
        return answer_to(reply)[0]  # type: ignore[arg-type]

    assert answer_to(Done()) == (200, "", ())
    assert answer_to(Told(("a", "b"))) == (200, "a\nb", ())
    assert answer_to(Outcome(Told(()), "full")) == (200, "", ((b"firm", b"full"),))
    assert answer_to(Outcome(Done(), "tentative", "a-1")) == (200, "", ((b"firm", b"tentative"),))
    assert [status(reply) for reply in (Full(), Outcome(Full(), "tentative"), Expired("c"))] == [507, 507, 400]
    for reply in (Unavailable("away"), Overloaded(5), Unknown("late")):
        code, text, headers = answer_to(reply)
        assert (code, headers) == (503, ((b"retry-after", b"1"),))
        assert text
        assert "@client" not in text
