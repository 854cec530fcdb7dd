"""A vendor under every protocol that orders: one core, and three nodes that each serve its API."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop
from tests.e2e.cluster import HOST
from tests.ports import free_ports
from tests.server.vendor_house import PATIENCE_S, key_of

from holdfast.apps.slots import Slots
from holdfast.catalog import APPS, PROTOCOLS, make_core
from holdfast.kernel.contracts import Person, Query, Recovered, Request
from holdfast.runtime.node import Node, initialise
from holdfast.server.grammar import Grammar
from holdfast.site import Site, load_site
from holdfast.vendors import key_hash

ORDERED = [name for name, entry in PROTOCOLS.items() if entry.nodes_max > 1 and not entry.tentative]


def site_of(directory: Path, protocol: str, *, keys: bool = True) -> Site:
    """A hotel under this protocol at as many nodes as it takes, three at most."""
    nodes = "abc"[: min(3, PROTOCOLS[protocol].nodes_max)]
    ports = iter(free_ports(2 * len(nodes)))
    text = "".join(
        f'[nodes.{node}]\nhost = "{HOST}"\npeer_port = {next(ports)}\nhttp_port = {next(ports)}\n' for node in nodes
    )
    text += f'[services.hotel]\napp = "slots"\nprotocol = "{protocol}"\nnodes = {list(nodes)}\nidentity = "trusted"\n'
    if keys:
        text += "[services.hotel.keys]\n" + "".join(f'{who} = "{key_hash(key_of(who))}"\n' for who in ("ann", "bob"))
    path = directory / "site.toml"
    path.write_text(text)
    return load_site(path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_takes_slots(tmp_path: Path, protocol: str) -> None:
    service = site_of(tmp_path, protocol, keys=False).services["hotel"]
    replicated = make_core(service, "a", disk="disk")
    app = replicated.machine.app
    assert app.check(replicated.machine.store) is None
    words = Grammar((*app.commands, *replicated.commands), (*app.queries, *replicated.queries)).words
    assert {"reserve", "release", "confirm", "block", "unblock", "available", "mine", "holders"} <= set(words)


def test_solo_is_the_default_and_the_terms_are_settings() -> None:
    entry = APPS["slots"]
    assert entry.protocol == "solo"
    app = entry.make(entry.options(slots=9, holds=3, lease_seconds=1.5, vendor="hotel"), ())
    assert isinstance(app, Slots)
    assert (app.slots, app.holds, app.lease_ms, app.vendor) == (9, 3, 1500, "hotel")


def test_a_life_under_solo_and_after_a_restart(tmp_path: Path) -> None:
    service = site_of(tmp_path, "solo").services["hotel"]
    first = make_core(service, "a", disk="disk")
    records = list(first.core.recover(0, Recovered(b"", 1, (), True)).records)
    grammar = Grammar(Slots.commands, Slots.queries)

    def say(core: Any, line: str) -> str:
        request = grammar.parse(line.encode(), Person("ann"))
        assert isinstance(request, Request)
        step = (core.ask if isinstance(request.command, Query) else core.submit)(1, [("token", request)])
        records.extend(step.records)
        ((_, reply),) = step.replies
        return str(reply.text())

    assert say(first.core, "@phone:1 reserve 5") == "Slot 5 is reserved for ann."
    again = make_core(service, "a", disk="disk")
    again.core.recover(0, Recovered(b"", 1, tuple(records), False))
    assert again.machine.digest() == first.machine.digest()
    assert say(again.core, "@phone:1 reserve 5") == "Slot 5 is reserved for ann."
    assert say(again.core, "mine") == "You hold 5."


@pytest.mark.parametrize("protocol", ORDERED)
def test_three_nodes_serve_one_vendor(tmp_path: Path, protocol: str) -> None:
    site = site_of(tmp_path, protocol)
    initialise(site)

    async def tell() -> None:
        nodes = {name: Node(site, name) for name in "abc"}
        running = [asyncio.create_task(node.run()) for node in nodes.values()]
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client, asyncio.timeout(PATIENCE_S):

            async def call(at: str, who: str, method: str, path: str, **headers: str) -> tuple[int, Any]:
                url = f"http://{HOST}:{site.nodes[at].http_port}/hotel/api{path}"
                headers = {"Authorization": f"Bearer {key_of(who)}", **headers}
                answer = await client.request(method, url, headers=headers)
                return answer.status_code, answer.json()

            async def serves(at: str) -> bool:
                try:
                    return (await call(at, "ann", "GET", "/reservation"))[0] == 200
                except httpx.ConnectError:
                    return False

            for name in nodes:
                while not await serves(name):  # noqa: ASYNC110 - any condition, not an event of ours
                    await asyncio.sleep(0.02)
            retry = {"Idempotency-Key": f"one.{time.time_ns() // 1_000_000}"}
            assert await call("a", "ann", "POST", "/reservation/5", **retry) == (200, {"id": "5"})
            assert (await call("b", "bob", "POST", "/reservation/5"))[0] == 409
            assert await call("c", "ann", "POST", "/reservation/5", **retry) == (200, {"id": "5"})
            assert await call("b", "ann", "GET", "/reservation") == (200, [{"id": "5"}])
            race = await asyncio.gather(
                *(call(at, who, "POST", "/reservation/6") for at, who in (("a", "ann"), ("b", "bob"), ("c", "bob")))
            )
            assert sorted(code for code, _ in race) == [200, 409, 409]
        for node in nodes.values():
            node._ended.set()
        assert await asyncio.gather(*running) == [0, 0, 0]

    uvloop.run(tell())
