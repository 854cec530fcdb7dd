"""The clients on real nodes: `holdfast up` on a site of three, the documents' examples, kills, Ctrl-C."""

from __future__ import annotations

import doctest
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.client.messages_site import people
from tests.client.real_site import HOLDFAST, RealSite
from tests.ports import free_ports

from holdfast.client import Site

DOCUMENT = Path(__file__).parents[2] / "docs" / "python.md"


def theatre_site(folder: Path) -> RealSite:
    """Three nodes with a theatre, and rooms, events and messages besides."""
    ports = free_ports(18)
    peers, lines = zip("abc", ports[:3], strict=True), zip("abc", ports[3:6], strict=True)
    rooms = ", ".join(f"{name} = {port}" for name, port in zip("abc", ports[6:9], strict=True))
    events, directory, messages = (
        ", ".join(f"{name} = {port}" for name, port in zip("abc", some, strict=True))
        for some in (ports[9:12], ports[12:15], ports[15:])
    )
    nodes = "".join(f'[nodes.{name}]\nhost = "127.0.0.1"\npeer_port = {port}\n' for name, port in peers)
    places = ", ".join(f"{name} = {port}" for name, port in lines)
    toml = (
        f'[site]\nname = "theatre"\n{nodes}[services.tickets]\napp = "tickets"\nprotocol = "lamport"\n'
        f'failure_model = "perfect"\nidentity = "trusted"\nseats = 500\nnodes = {{ {places} }}\n'
        f'[services.rooms]\napp = "rooms"\nidentity = "trusted"\nnodes = {{ {rooms} }}\n'
        f'[services.directory]\napp = "directory"\nidentity = "trusted"\nnodes = {{ {directory} }}\n'
        f'[services.events]\napp = "events"\nidentity = "trusted"\nnodes = {{ {events} }}\n'
        f'[services.messages]\napp = "messages"\nfailure_model = "perfect"\nnodes = {{ {messages} }}\n{people()}'
        "[people.TORM2345]\n[people.TORC2345]\n[people.MTLC2345]\n[people.OTWC2345]\n"
        '[people.fatima]\nfirst_name = "Fatima"\nroles = ["secretary"]\ndepartment = "biology"\n'
    )
    active = [
        f"{service} at {name}: active, view a,b,c"
        for service in ("tickets", "rooms", "events", "messages")
        for name in "abc"
    ]
    return RealSite(folder, toml, active)


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSite]:
    theatre = theatre_site(tmp_path_factory.mktemp("theatre"))
    try:
        theatre.await_active()
        yield theatre
    finally:
        theatre.end()


def test_the_documented_examples_are_true(theatre: RealSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(theatre.folder)
    for name in ("HOLDFAST_SITE", "HOLDFAST_AS", "HOLDFAST_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(theatre.folder / "state"))
    failures, tried = doctest.testfile(str(DOCUMENT), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert tried > 10
    assert failures == 0


def test_a_node_is_killed_and_nobody_notices_then_it_is_started_by_hand(
    theatre: RealSite, until: Callable[..., None]
) -> None:
    with Site(theatre.folder / "site.toml") as site:
        tickets = site.service("tickets")
        before = [tickets.reserve(f"early {number}", 1).reply["seats"][0] for number in range(10)]
        os.kill(theatre.pid("b"), signal.SIGKILL)
        after = [tickets.reserve(f"late {number}", 1).reply["seats"][0] for number in range(10)]
    assert len({*before, *after}) == 20, "no seat twice"
    until(lambda: theatre.told("node b: down: killed by SIGKILL"))
    booked = theatre.holdfast("tickets", "search", "late 9")
    assert (booked.returncode, booked.stdout) == (0, f"{after[-1]}\n")
    assert theatre.holdfast("status").returncode == 1

    by_hand = subprocess.Popen(
        [*HOLDFAST, "node", "b"], cwd=theatre.folder, env=theatre.environment, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: theatre.active("b"), timeout_s=20)
        until(lambda: len({node["services"][0]["digest"] for node in theatre.nodes().values()}) == 1)
        assert theatre.holdfast("status").returncode == 0
    finally:
        by_hand.send_signal(signal.SIGINT)
        assert by_hand.wait(timeout=20) == 0


def test_the_data_of_a_running_site_is_not_deleted(theatre: RealSite) -> None:
    refused = theatre.holdfast("reset", "--yes")
    assert refused.returncode == 64
    assert "still runs; end the nodes of theatre first" in refused.stderr


def test_ticket_servers_from_a_plain_list(tmp_path: Path, until: Callable[..., None]) -> None:
    (tmp_path / "servers.txt").write_text("".join(f"127.0.0.1 {port}\n" for port in free_ports(2)))

    def server(number: int, *words: str) -> subprocess.Popen[bytes]:
        command = [*HOLDFAST, "tickets-server", "--servers", "servers.txt", "--me", str(number), "--seats", "10"]
        return subprocess.Popen([*command, *words], cwd=tmp_path, stderr=subprocess.DEVNULL)

    def tickets(*words: str) -> str:
        command = [*HOLDFAST, "tickets", "--servers", "servers.txt", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=40).stdout

    servers = [server(1, "--init"), server(2, "--init")]
    try:
        assert tickets("reserve", "bob", "2") == "The seats have been reserved for bob: 1,2.\n"
        servers[0].kill()
        assert tickets("search", "bob") == "1,2\n"
        servers[0].wait()
        servers[0] = server(1)
        until(lambda: '"view":["1","2"]' in tickets("status").replace(" ", ""), timeout_s=20)
        assert tickets("reserve", "ann", "9") == "Failed: only 8 seats left but 9 seats are requested.\n"
    finally:
        for process in servers:
            process.send_signal(signal.SIGINT)
        assert [process.wait(timeout=20) for process in servers] == [0, 0]
