"""Two nodes in this process with services under `bayou`: what comes through their ports, their journals and links."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from tests.e2e.cluster import HOST
from tests.ports import free_ports
from tests.server.line_house import Client

from holdfast.kernel.contracts import Command
from holdfast.kernel.errors import ConfigurationError
from holdfast.people import TokenHash
from holdfast.runtime import node as node_module
from holdfast.runtime.node import Node, initialise, journal_path
from holdfast.site import Site, load_site

PATIENCE_S = 30.0
TOKEN = TokenHash.of("demo").written()
DAY = (date.today() + timedelta(days=200)).isoformat()


class House:
    """A site of nodes a and b, with rooms and tickets under `bayou`, and its nodes that run now."""

    def __init__(self, directory: Path, identity: str = "trusted") -> None:
        ports = free_ports(6)
        self.rooms, self.tickets = dict(zip("ab", ports, strict=False)), dict(zip("ab", ports[2:], strict=False))
        path = directory / "site.toml"
        path.write_text(f"""
[nodes.a]
host = "{HOST}"
peer_port = {ports[4]}
[nodes.b]
host = "{HOST}"
peer_port = {ports[5]}
[services.rooms]
app = "rooms"
identity = "{identity}"
nodes = {{ a = {self.rooms["a"]}, b = {self.rooms["b"]} }}
sync_seconds = 0.05
[services.tickets]
app = "tickets"
protocol = "bayou"
identity = "trusted"
nodes = {{ a = {self.tickets["a"]}, b = {self.tickets["b"]} }}
sync_seconds = 0.05
[people.fatima]
token = "{TOKEN}"
first_name = "Fatima"
roles = ["secretary"]
department = "biology"
[people.georg]
first_name = "Georg"
roles = ["secretary"]
department = "chemistry"
[people.ops]
token = "{TOKEN}"
roles = ["operator"]
""")
        self.site: Site = load_site(path)
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

    async def connect(self, port: int, *greeting: str) -> Client:
        while True:
            try:
                client = Client(*await asyncio.open_connection(HOST, port, limit=1 << 20))
                break
            except OSError:
                await asyncio.sleep(0.01)
        self._clients.append(client)
        for line in greeting:
            assert not (await ask(client, line)).startswith("Failed")
        return client

    def state(self, name: str, service: str = "rooms") -> dict[str, Any]:
        return self.nodes[name].drivers[service].status()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():  # noqa: ASYNC110 - any condition, not an event of ours
            await asyncio.sleep(0.01)

    def close(self) -> None:
        for client in self._clients:
            client.writer.close()


async def ask(client: Client, line: str) -> str:
    await client.say(line + "\n")
    return await client.line()


async def told(client: Client, line: str) -> dict[str, Any]:
    """The answer in JSON."""
    answer: dict[str, Any] = json.loads(await ask(client, line))
    return answer


def play(directory: Path, story: Callable[[House], Awaitable[None]], identity: str = "trusted") -> None:
    async def main() -> None:
        house = House(directory, identity)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await story(house)
        finally:
            house.close()
            await house.stop(*house.nodes)

    uvloop.run(main())


def test_a_booking_is_tentative_at_once_and_its_confirmation_is_told(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.start("a")
        fatima = await house.connect(house.rooms["a"], "login fatima", "mode json", "watch mine")
        booked = await told(fatima, f'reserve Maple {DAY} 09:00 2h "Budget" --or Oak@09:00 --or Maple@14:00')
        assert booked["ok"], booked
        assert (booked["firm"], booked["write"]) == ("tentative", "a-1")
        assert booked["firm_by"]
        assert "[" not in booked["text"]
        asked = await told(fatima, f"schedule {DAY}")
        assert asked["firm"] == "full"
        assert "Budget" in json.dumps(asked["reply"])
        await ask(fatima, "view committed")
        asked = await told(fatima, f"schedule {DAY}")
        assert asked["firm"] == "committed"
        assert "Budget" not in json.dumps(asked["reply"])

        house.start("b")  # now everybody is there to promise
        georg = await house.connect(house.rooms["b"], "login georg", "watch mine")
        changed = json.loads(await fatima.line())["change"]
        assert (changed["id"], changed["person"], changed["firm"], changed["ok"]) == (
            "a-1",
            "fatima",
            "committed",
            True,
        )
        assert "Budget" in json.dumps((await told(fatima, f"schedule {DAY}"))["reply"])
        await house.until(lambda: house.state("b")["position"] == 1)
        assert house.state("a")["digest"] == house.state("b")["digest"]
        text = await ask(georg, f'reserve Maple {DAY} 10:00 1h "Lecture"')
        assert "[tentative, b-1, firm by " in text
        assert (await georg.line()).startswith("* changed b-1 committed: ")
        assert (await ask(georg, "stable b-1")) == "b-1 is committed, as number 2."

    play(tmp_path, story)


def test_a_session_goes_on_at_another_replica_only_when_that_one_knows_enough(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.start("a")
        fatima = await house.connect(house.rooms["a"], "login fatima", "session all")
        assert "tentative" in await ask(fatima, f'reserve Maple {DAY} 09:00 1h "Budget"')
        token = (await ask(fatima, "session")).split()[-1]
        await house.stop("a")

        house.start("b")
        elsewhere = await house.connect(house.rooms["b"], "login fatima", "mode json", f"session all {token}")
        for line in (f"schedule {DAY}", f'reserve Oak {DAY} 09:00 1h "Budget"'):
            refused = await told(elsewhere, line)
            assert refused["type"] == "behind"
            assert refused["text"].startswith("Failed: this replica is behind your session (")
        assert (await told(elsewhere, "session none"))["ok"]
        assert (await told(elsewhere, f"schedule {DAY}"))["ok"]
        house.start("a")
        await house.until(lambda: house.state("b")["position"] == 1)
        assert (await told(elsewhere, f"session all {token}"))["ok"]
        assert "Budget" in json.dumps(await told(elsewhere, f"schedule {DAY}"))

    play(tmp_path, story)


OTHERS_TOO = ("retire", "retire b", "take-over", "take-over --accept-loss", "hand-over b", "truncate")


def test_where_people_prove_who_they_are_what_changes_others_takes_the_role_operator(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.start("a", "b")
        fatima = await house.connect(house.rooms["a"], "login fatima demo")
        for line in OTHERS_TOO:
            word = line.split()[0]
            refused = f"Failed: {word} shows or changes what is others'; it takes the role operator."
            assert await ask(fatima, line) == refused
        assert "b live" in await ask(fatima, "replicas")
        assert "a-1 is not known" in await ask(fatima, "stable a-1")
        assert "takes the role" not in await ask(fatima, "export")
        operator = await house.connect(house.rooms["a"], "login ops demo")
        assert "were dropped" in await ask(operator, "truncate")
        assert await ask(operator, "take-over") == "this node is the primary already."

    play(tmp_path, story, identity="token")


def test_a_file_that_somebody_wrote_at_a_node_of_their_own_is_not_taken_in(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()

    async def forge(copy: House) -> None:
        copy.start("b")
        georg = await copy.connect(copy.rooms["b"], "login georg")
        assert "b-1" in await ask(georg, f'reserve Maple {DAY} 09:00 1h "Forged"')
        forged.append((await ask(georg, "export")).split()[0])

    async def story(house: House) -> None:
        house.start("b")
        fatima = await house.connect(house.rooms["b"], "login fatima demo")
        await house.until(lambda: house.state("b")["state"] == "active")
        refused = await ask(fatima, f"import {forged[0]}")
        assert refused.startswith("Failed: this part brings no proof of the site's key")
        assert refused.endswith("nothing was changed.")
        assert (await ask(fatima, f"schedule {DAY}")).startswith(f"{DAY}: all free.")
        assert "b-1" in await ask(fatima, f'reserve Oak {DAY} 09:00 1h "Budget"')
        part = (await ask(fatima, "export")).split()[0]
        await house.stop("b")

        house.start("a")
        fatima = await house.connect(house.rooms["a"], "login fatima demo")
        await house.until(lambda: house.state("a")["state"] == "active")
        changed = ("A" if part[40] != "A" else "B").join((part[:40], part[41:]))
        assert "does not prove the site's key" in await ask(fatima, f"import {changed}")
        assert (await ask(fatima, f"import {part}")).startswith("1 new writes, 0 new commits. b is heard of up to ")
        assert "Budget" in await ask(fatima, f"schedule {DAY}")

    forged: list[str] = []
    play(tmp_path / "copy", forge)
    play(tmp_path, story, identity="token")


def test_where_nobody_proves_it_a_secretary_says_them(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.start("a")
        fatima = await house.connect(house.rooms["a"], "login fatima")
        assert "were dropped" in await ask(fatima, "truncate")

    play(tmp_path, story)


def test_the_theatre_runs_under_bayou_as_well(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.start("a", "b")
        box_office = await house.connect(house.tickets["a"], "mode json", "watch")
        sold = await told(box_office, "@kiosk:1 reserve bob 3")
        assert (sold["type"], sold["write"], sold["reply"]["seats"]) == ("reserved", "a-1", [1, 2, 3])
        assert json.loads(await box_office.line())["change"]["firm"] == "committed"
        other = await house.connect(house.tickets["b"], "view committed")
        await house.until(lambda: house.state("b", "tickets")["position"] == 1)
        assert await ask(other, "search bob") == "1,2,3"
        assert "b-" in await ask(other, "reserve eve 1")

    play(tmp_path, story)


def test_a_copied_disk_takes_a_new_name_and_an_empty_one_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def story(house: House) -> None:
        house.start("a", "b")
        georg = await house.connect(house.rooms["b"], "login georg")
        assert "b-1" in await ask(georg, f'reserve Maple {DAY} 09:00 1h "Lecture"')
        await house.until(lambda: house.state("a")["position"] == 1)
        await house.stop("b")
        kept = house.site.node_data("b")
        shutil.copytree(kept, tmp_path / "backup")
        shutil.rmtree(kept)
        shutil.copytree(tmp_path / "backup", kept)  # the backup is brought back

        house.start("b")
        await house.until(lambda: house.state("b")["state"] == "active")
        renamed = house.state("b")["replica"]
        assert renamed.startswith("b~")
        assert "this disk was copied or restored, so it may not go on as b" in caplog.text
        georg = await house.connect(house.rooms["b"], "login georg")
        assert f"{renamed}-" in await ask(georg, f'reserve Oak {DAY} 09:00 1h "Lecture"')
        await house.stop("b")

        house.start("b")
        await house.until(lambda: house.state("b")["state"] == "active")
        assert house.state("b")["replica"] == renamed, "it is no copy any more"
        await house.stop("b")

        shutil.rmtree(kept)
        house.start("b")
        assert house.state("b")["state"] in ("starting", "joining")
        await house.until(lambda: house.state("b")["state"] == "active")
        assert house.state("b")["replica"] not in ("b", renamed)
        await house.until(lambda: house.state("b")["digest"] == house.state("a")["digest"])

    play(tmp_path, story)


def test_a_node_whose_only_replicas_are_retired_stays_and_answers(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.start("a", "b")
        for service, port in (("rooms", house.rooms["b"]), ("tickets", house.tickets["b"])):
            operator = await house.connect(port)
            await house.until(lambda service=service: house.state("b", service)["state"] == "active")
            assert not (await ask(operator, "retire")).startswith("Failed")
            await house.until(lambda service=service: house.state("b", service)["state"] == "retired")
        georg = await house.connect(house.rooms["b"], "login georg")
        assert "retired" in await ask(georg, f'reserve Maple {DAY} 09:00 1h "Lecture"')
        assert "b live" not in await ask(georg, "replicas")
        states = json.loads(await ask(georg, "status"))["services"]
        assert [state["state"] for state in states] == ["retired", "retired"]

    play(tmp_path, story)


def test_an_app_whose_word_is_the_protocols_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Export(Command, frozen=True, tag="export"):
        """Sell abroad."""

    made = node_module.make_core

    def make(*arguments: Any, **options: Any) -> Any:
        replicated = made(*arguments, **options)
        return msgspec.structs.replace(replicated, commands=(*replicated.commands, Export))

    monkeypatch.setattr(node_module, "make_core", make)

    async def story(house: House) -> None:
        with pytest.raises(
            ConfigurationError, match="rooms cannot be served under bayou: the word 'export' is claimed"
        ):
            Node(house.site, "a")
        assert journal_path(house.site, "a", "rooms").exists()

    play(tmp_path, story)
