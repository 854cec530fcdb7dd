"""Messages at real nodes in this process: three under `lamport`, and a wing of two under `bayou` that is cut off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.e2e.cluster import HOST
from tests.ports import free_ports
from tests.server.line_house import Client
from tests.waiting import until

from holdfast.kernel.errors import ConfigurationError
from holdfast.people import TokenHash
from holdfast.runtime.frames import frame
from holdfast.runtime.greeting import Hello, Proof, spoken
from holdfast.runtime.node import Node, initialise
from holdfast.runtime.proofs import NONCE_BYTES, PROOF_BYTES
from holdfast.site import load_site

PATIENCE_S = 30.0
TOKENS = {name: TokenHash.of(f"demo-{name}").written() for name in ("alice", "bob", "carla")}


class Hospital:
    """Nodes a, b and c with the services `messages` (lamport) and `wing` (bayou, at a and b)."""

    def __init__(self, directory: Path) -> None:
        ports = free_ports(8)
        self.messages, self.wing = dict(zip("abc", ports, strict=False)), dict(zip("ab", ports[3:], strict=False))
        tables = ['[site]\nnotices = ""\n']
        tables += [
            f'[nodes.{n}]\nhost = "{HOST}"\npeer_port = {port}\n' for n, port in zip("abc", ports[5:], strict=True)
        ]
        for service, protocol, places in (("messages", "lamport", self.messages), ("wing", "bayou", self.wing)):
            nodes = ", ".join(f"{node} = {port}" for node, port in places.items())
            more = "sync_seconds = 0.05\n" if protocol == "bayou" else 'failure_model = "perfect"\n'
            tables.append(
                f'[services.{service}]\napp = "messages"\nprotocol = "{protocol}"\nnodes = {{ {nodes} }}\n{more}'
                "emergency_repeat_seconds = 1\n"
            )
        tables += [f'[people.{name}]\ntoken = "{token}"\nunit = "ward"\n' for name, token in TOKENS.items()]
        path = directory / "site.toml"
        path.write_text("\n".join(tables))
        self.site = load_site(path)
        initialise(self.site)
        self.nodes: dict[str, Node] = {}
        self._running: dict[str, asyncio.Task[int]] = {}
        self._clients: list[Client] = []

    def start(self, *names: str) -> None:
        for name in names:
            self.nodes[name] = Node(self.site, name)
            self._running[name] = asyncio.create_task(self.nodes[name].run())

    async def stop(self, *names: str) -> None:
        for name in names:
            self.nodes.pop(name)._ended.set()
            assert await self._running.pop(name) == 0

    async def connect(self, port: int, person: str = "", *more: str) -> Client:
        """A connection, logged in as the person, once the service serves there."""
        while True:
            try:
                client = Client(*await asyncio.open_connection(HOST, port, limit=1 << 20))
                break
            except OSError:
                await asyncio.sleep(0.01)
        self._clients.append(client)
        if person:
            assert (await ask(client, f"login {person} demo-{person}")).startswith("Welcome")
            await says(client, "unread", lambda line: "unread" in line)
        for line in more:
            assert not (await ask(client, line)).startswith("Failed"), line
        return client

    def close(self) -> None:
        for client in self._clients:
            client.writer.close()


async def ask(client: Client, line: str) -> str:
    await client.say(line + "\n")
    return await client.line()


async def says(client: Client, line: str, wanted: Callable[[str], bool]) -> str:
    """The answer to the line, once it is as it is wanted."""
    while not wanted(answer := await ask(client, line)):  # noqa: ASYNC110 - any condition
        await asyncio.sleep(0.01)
    return answer


async def told(client: Client) -> dict[str, Any]:
    """The next change, of a connection that asks nothing else."""
    change: dict[str, Any] = json.loads(await client.line())["change"]
    return change


def play(directory: Path, story: Callable[[Hospital], Awaitable[None]]) -> None:
    async def main() -> None:
        hospital = Hospital(directory)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await story(hospital)
        finally:
            hospital.close()
            await hospital.stop(*hospital.nodes)

    uvloop.run(main())


def test_who_watches_at_another_node_hears_at_once(tmp_path: Path) -> None:
    async def story(hospital: Hospital) -> None:
        hospital.start("a", "b", "c")
        ports = hospital.messages
        alice = await hospital.connect(ports["a"], "alice")
        bob, carla, heard = [
            await hospital.connect(ports[node], who, "mode json", "watch")
            for node, who in (("b", "bob"), ("c", "carla"), ("c", "alice"))
        ]
        sent = await ask(alice, "@alices:1 send --priority urgent bob Potassium is 5.9")
        assert sent.startswith("Sent to bob, as 1 of alice+bob, ")
        arrived = await told(bob)
        assert (arrived["person"], arrived["type"], arrived["firm"]) == ("bob", "arrived", "committed")
        assert arrived["reply"]["content"] == "Potassium is 5.9"

        again = await hospital.connect(ports["c"], "alice")
        assert await ask(again, "@alices:1 send --priority urgent bob Potassium is 5.9") == sent
        await ask(again, '["send", "carla", "two\\nlines"]')
        assert (await told(carla))["reply"]["content"] == "two\nlines", "and nothing of what was for bob"

        reader = await hospital.connect(ports["a"], "bob")
        assert (await ask(reader, "got phone 1")).startswith("phone has all up to 1")
        assert "acknowledged" in await ask(reader, "ack 1")
        ack = await told(heard)
        assert (ack["type"], ack["reply"]["by"], ack["id"]) == ("ack_heard", "bob", arrived["id"])
        assert "bob acknowledged" in await ask(alice, "states bob 1")
        assert await ask(reader, "unread") == "0 unread."
        assert "carla (ward), seen" not in await ask(alice, "who")
        assert "bob (ward), seen" in await ask(alice, "who")

    play(tmp_path, story)


def test_nobody_is_served_who_has_not_shown_a_token(tmp_path: Path) -> None:
    async def story(hospital: Hospital) -> None:
        hospital.start("a", "b", "c")
        port = hospital.messages["b"]
        alice = await hospital.connect(port, "alice")
        assert (await ask(alice, "notices")) == "Failed: messages shows its outbox to nobody."
        stranger = await hospital.connect(port)
        for line in ("send bob hello", "inbox", "who", "watch", "watch all", "unread", "audit"):
            assert (await ask(stranger, line)).startswith("Failed: this service wants to know who asks"), line
        assert (await ask(stranger, "login alice demo-bob")).startswith("Failed: ")
        assert (await ask(stranger, "inbox")).startswith("Failed: ")

    play(tmp_path, story)


def test_a_stranger_who_greets_as_a_node_reads_nothing_and_writes_nothing(tmp_path: Path) -> None:
    async def story(hospital: Hospital) -> None:
        hospital.start("a", "b", "c")
        alice = await hospital.connect(hospital.messages["c"], "alice")
        bob = await hospital.connect(hospital.messages["b"], "bob")
        nodes = hospital.nodes
        await until(lambda: all(nodes[one].links.connected(other) for one, other in permutations("abc", 2)))
        before = {name: node.links.counters["connects"] for name, node in nodes.items()}
        places = [
            (hospital.messages["c"], "b", "c"),
            (hospital.messages["b"], "a", "b"),
            (hospital.wing["b"], "a", "b"),
        ]
        strangers = [(await asyncio.open_connection(HOST, port), me, to) for port, me, to in places for _ in range(3)]
        forged = spoken(Proof(bytes(PROOF_BYTES))) + frame(b"\x08messages\x90") + frame(b"\x04wing\x90")
        for number, ((_, writer), me, to) in enumerate(strangers):
            hello = Hello(hospital.site.name, me, to, (b"", bytes(NONCE_BYTES), b"x")[number % 3])
            writer.write(spoken(hello) + (forged if number % 3 else b""))  # or only listens
            assert (await ask(alice, f"send bob TOP SECRET {number}")).startswith("Sent to bob")
        for (reader, writer), _, _ in strangers:
            assert b"SECRET" not in await reader.read()
            writer.close()
        assert "TOP SECRET 8" in await ask(bob, "since")
        assert sum(node.links.counters["unproved"] for node in nodes.values()) == len(strangers)
        assert {name: node.links.counters["connects"] for name, node in nodes.items()} == before
        for node in nodes.values():
            assert all(driver.counters["malformed"] == 0 for driver in node.drivers.values())
        assert nodes["b"].datagrams is None, "the key is for the links alone here"

    play(tmp_path, story)


def test_without_the_key_no_node_with_messages_starts(tmp_path: Path) -> None:
    async def story(hospital: Hospital) -> None:
        hospital.site.key.unlink()
        with pytest.raises(ConfigurationError, match="the site's key is missing: copy it from another machine"):
            hospital.start("a")

    play(tmp_path, story)


def test_an_emergency_is_told_again_at_every_node_until_it_is_acknowledged(tmp_path: Path) -> None:
    async def story(hospital: Hospital) -> None:
        hospital.start("a", "b", "c")
        watching = [await hospital.connect(hospital.messages[n], "bob", "mode json", "watch") for n in "bc"]
        alice = await hospital.connect(hospital.messages["a"], "alice")
        await ask(alice, "send --priority emergency bob come")
        for client in watching:
            for repeats in range(3):
                assert (await told(client))["reply"]["repeats"] == repeats
        bob = await hospital.connect(hospital.messages["a"], "bob")
        await ask(bob, "ack 1")
        assert "told again" in await ask(alice, "states bob 1")

    play(tmp_path, story)


def test_a_wing_that_is_cut_off_goes_on_writing_among_its_own(tmp_path: Path) -> None:
    async def story(hospital: Hospital) -> None:
        hospital.start("a")
        alice = await hospital.connect(hospital.wing["a"], "alice")
        carla = await hospital.connect(hospital.wing["a"], "carla", "mode json", "watch")
        sent = await ask(alice, "send carla from the wing")
        assert "[tentative, a-1" in sent
        assert ((change := await told(carla))["type"], change["firm"]) == ("arrived", "tentative")
        assert "[tentative]" in await ask(alice, "history carla")
        for line in ("export", "import x", "retire", "trace a-1", "truncate"):
            assert "it takes the role operator" in await ask(alice, line)
        await ask(alice, "send --priority emergency bob are you there")
        await hospital.stop("a")

        hospital.start("b")
        bob = await hospital.connect(hospital.wing["b"], "bob", "mode json", "watch")
        writer = await hospital.connect(hospital.wing["b"], "bob")
        assert "[tentative, b-1" in await ask(writer, "send alice from the house")
        hospital.start("a")
        while (arrived := await told(bob))["type"] != "arrived":
            pass
        assert arrived["reply"]["content"] == "are you there"
        alice = await hospital.connect(hospital.wing["a"], "alice")
        await says(alice, "since", lambda line: "from the house" in line)
        await says(alice, "history bob", lambda line: "[tentative]" not in line)
        await ask(alice, "seen 1")
        page = await says(alice, "history bob", lambda line: "from the house" in line)
        assert page.index("are you there") < page.index("from the house"), "in the order in which they were written"
        drivers = [hospital.nodes[name].drivers["wing"] for name in "ab"]
        await until(lambda: len({driver.status()["digest"] for driver in drivers}) == 1)

    play(tmp_path, story)
