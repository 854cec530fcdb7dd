"""The events' own side of the client: which server it speaks to, the log of each person, help by role, faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from holdfast.apps.events import Events
from holdfast.branches import branches_of
from holdfast.catalog import APPS
from holdfast.client import Misuse, Site
from holdfast.client import branches as branch_client
from holdfast.client.addresses import (
    BRANCHED_APPS,
    DEFAULT_PROTOCOLS,
    HOME_PROTOCOLS,
    VOTING_PROTOCOLS,
    Addresses,
)
from holdfast.client.branches import BranchChannel, server_in
from holdfast.client.branches_async import AsyncBranchChannel
from holdfast.client.events_prompt import EventsSpeaker
from holdfast.client.fault import plant
from holdfast.client.outcomes import Answer, Denied, Server, Undone, Unknown
from holdfast.client.person_log import PersonLog
from holdfast.client.session import Call, Identity
from holdfast.client.site import logs_folder
from holdfast.replication.sequencer import words
from holdfast.server.grammar import Grammar
from holdfast.site import load_site

A, B = Server("127.0.0.1", 7301, "a"), Server("127.0.0.1", 7302, "b")
NODES = "".join(f'[nodes.{name}]\nhost = "127.0.0.1"\npeer_port = 75{n:02}\n' for n, name in enumerate("abc"))
EVENTS = '[services.events]\napp = "events"\nnodes = { a = 7301, b = 7302, c = 7303 }\n'
DIRECTORY = '[services.NAME]\napp = "directory"\nnodes = ["a", "b", "c"]\n'


# -- where ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("services", "directory"),
    [
        (EVENTS, None),
        (EVENTS + DIRECTORY.replace("NAME", "directory"), "directory"),
        (EVENTS + 'directory = "town"\n' + DIRECTORY.replace("NAME", "town"), "town"),
        (EVENTS + 'protocol = "lamport"\n' + DIRECTORY.replace("NAME", "directory"), None),
        (EVENTS + EVENTS.replace("events]", "directory]").replace("73", "74"), None),
    ],
)
def test_the_client_reads_from_the_site_what_the_nodes_read(
    tmp_path: Path, services: str, directory: str | None
) -> None:
    (tmp_path / "site.toml").write_text(NODES + services)
    addresses = Addresses.of_site(tmp_path)
    site = load_site(tmp_path / "site.toml")
    branches = branches_of(site.services["events"], site.services)
    assert addresses.directory("events") == directory == (branches and branches.directory)
    assert addresses.has_branches("events")
    assert addresses.data == site.data == tmp_path / "data"
    voting = tuple(name for name, service in site.services.items() if service.protocol in VOTING_PROTOCOLS)
    assert addresses.voting == voting


def test_the_clients_defaults_are_the_catalogs() -> None:
    told = (*HOME_PROTOCOLS, *VOTING_PROTOCOLS)
    assert {name: entry.protocol for name, entry in APPS.items() if entry.protocol in told} == DEFAULT_PROTOCOLS
    assert [name for name in APPS if name in BRANCHED_APPS] == [Events.name]


def test_logs_lie_beside_the_data_or_with_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert logs_folder(Addresses.of_servers([("127.0.0.1", 7301)])) == tmp_path / "holdfast" / "logs"
    assert logs_folder(Addresses({}, data=Path("data"))) == Path("data/logs")


# -- which server -------------------------------------------------------------------------------------------


class Wire:
    """Stands for a channel: whoever is asked first answers, unless another one is to."""

    def __init__(self, town: Town, home: Server | None) -> None:
        self.town = town
        self.home = home
        self.server: Server | None = None
        self.is_closed = False

    def settle(self, begin: Callable[[Any], Sequence[Call]]) -> Sequence[Call]:
        calls = begin(None)
        for call in calls:
            call.outcome = Answer(True, f"by {self.home and self.home.name}", "echoed")
        self.server = self.town.answers or self.home
        return calls

    def close(self) -> None:
        self.is_closed = True


class AsyncWire(Wire):
    async def settle(self, begin: Callable[[Any], Sequence[Call]]) -> Sequence[Call]:  # type: ignore[override]
        return super().settle(begin)

    async def close(self) -> None:  # type: ignore[override]
        super().close()


class Town:
    """What the directory says, and which server answers if not the one that is asked first."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(branch_client.time, "monotonic", lambda: self.now_s)
        self.says: Server | None = A
        self.answers: Server | None = None
        self.looks = 0
        self.wires: list[Wire] = []
        self.log = PersonLog(tmp_path, "TORC2345", None)

    def open(self, home: Server | None) -> Any:
        self.wires.append(Wire(self, home))
        return self.wires[-1]

    def look(self) -> Server | None:
        self.looks += 1
        return self.says


def begin(session: Any) -> Sequence[Call]:
    return [Call("browse TOR", Identity("me"), 0)]


def test_the_directory_is_asked_once_while_its_server_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(tmp_path, monkeypatch)
    channel = BranchChannel(town.open, town.look, town.log)
    for _ in range(3):
        (call,) = channel.settle(begin)
        assert call.outcome == Answer(True, "by a", "echoed")
    assert (town.looks, len(town.wires), channel.server) == (1, 1, A)
    channel.close()
    assert town.wires[0].is_closed
    assert [line.split("\t")[1:4] for line in town.log.path.read_text().splitlines()] == 3 * [["browse", "TOR", "done"]]


def test_when_another_one_has_answered_the_directory_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = Town(tmp_path, monkeypatch)
    channel = BranchChannel(town.open, town.look, town.log)
    town.answers = B
    channel.settle(begin)
    channel.settle(begin)
    assert (town.looks, len(town.wires)) == (2, 1), "the directory has no other one yet, so the connection stays"
    town.says, town.answers = B, None
    (call,) = channel.settle(begin)
    assert call.outcome is not None
    assert call.outcome.text == "by b"  # type: ignore[union-attr]
    assert [wire.is_closed for wire in town.wires] == [True, False]
    channel.settle(begin)
    assert town.looks == 3


def test_a_directory_that_does_not_answer_stops_nobody_and_is_left_alone_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = Town(tmp_path, monkeypatch)
    town.says, town.answers = None, B
    channel = BranchChannel(town.open, town.look, town.log)
    for _ in range(3):
        assert channel.settle(begin)[0].outcome is not None
    assert town.looks == 1
    town.now_s += branch_client.LOOK_AGAIN_S
    town.says = A
    channel.settle(begin)
    assert (town.looks, channel.server) == (2, B)
    assert town.wires[-1].home == A


def test_with_asyncio_what_waits_on_the_old_connection_is_not_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = Town(tmp_path, monkeypatch)

    def open(home: Server | None) -> Any:
        town.wires.append(AsyncWire(town, home))
        return town.wires[-1]

    async def look() -> Server | None:
        return town.look()

    async def story() -> None:
        channel = AsyncBranchChannel(open, look, town.log)
        town.answers = B
        await asyncio.gather(*(channel.settle(begin) for _ in range(3)))
        town.says, town.answers = B, None
        await channel.settle(begin)
        assert [wire.home for wire in town.wires] == [A, B]
        assert not town.wires[0].is_closed
        await channel.close()
        assert all(wire.is_closed for wire in town.wires)

    asyncio.run(story())


def test_only_an_entry_of_the_directory_names_a_server() -> None:
    entry = {"name": "events/TOR", "host": "127.0.0.1", "port": 7301, "node": "a", "term": 1, "since": "now"}
    assert server_in(Answer(True, "", "entry", entry)) == A
    assert server_in(Answer(False, "", "not_served", {"name": "events/TOR", "term": 0})) is None


def test_one_node_and_no_other_needs_no_directory(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(NODES + EVENTS + DIRECTORY.replace("NAME", "directory"))
    with Site(tmp_path, as_="TORC2345") as site, site.but(at="b") as at_b:
        assert site._directory("events") == ("directory", "events/TOR")
        assert at_b._directory("events") is None
        assert at_b._look("events") is None
        assert site._look("events") is None, "nobody answers there"
        assert site.events("TORC2345")._call == site.events()._call


def test_a_service_that_nobody_can_reach_is_told_of_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(NODES + EVENTS.replace("{ a = 7301, b = 7302, c = 7303 }", '["a"]'))
    with Site(tmp_path, as_="TORC2345") as site, pytest.raises(Misuse, match="has no line port"):
        site.service("events")


# -- the log -------------------------------------------------------------------------------------------------


def test_every_outcome_has_its_line(tmp_path: Path) -> None:
    log = PersonLog(tmp_path / "logs", "TORC2345", None)
    log.add(0.0, "help", Answer(True, "x", "helped"))
    log.add(0.5, "bookEvent TORC2345 TORM180519 Opera", Answer(False, "Failed: no\tsuch\nthing.", "senseless"))
    log.add(1.0, "browse", Unknown("silence"))
    log.add(2.0, "browse", Undone("nobody there"))
    log.add(3.0, "browse", Denied("wrong token"))
    assert (tmp_path / "logs" / "TORC2345.log").read_text().splitlines() == [
        "1970-01-01 00:00:00.500Z\tbookEvent\tTORC2345 TORM180519 Opera\tfailed\tFailed: no\\tsuch\\nthing.",
        "1970-01-01 00:00:01.000Z\tbrowse\t\tunknown\tsilence",
        "1970-01-01 00:00:02.000Z\tbrowse\t\tnot executed\tnobody there",
        "1970-01-01 00:00:03.000Z\tbrowse\t\tnot executed\twrong token",
    ]


def test_a_log_that_cannot_be_written_is_told_once_and_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    notes: list[str] = []
    log = PersonLog(tmp_path / "logs", "TORC2345", notes.append)
    for _ in range(3):
        log.add(0.0, "browse", Answer(True, "x", "offer"))
    assert notes == [f"{log.path} cannot be written: File exists"]


# -- the command line -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "first", "has", "has_not"),
    [
        ("TORM2345", "addEvent", ("removeEvent", "listEventAvailability", "bookEvent", "browse"), ("fault", "votes")),
        (
            "TORC2345",
            "bookEvent",
            ("swapEvent", "browse"),
            ("addEvent", "removeEvent", "listEventAvailability", "fault"),
        ),
        ("", "login", ("addEvent", "bookEvent", "fault"), ("use",)),
    ],
)
def test_help_is_for_the_role_of_who_asks(
    tmp_path: Path, person: str, first: str, has: tuple[str, ...], has_not: tuple[str, ...], capsys: Any
) -> None:
    (tmp_path / "site.toml").write_text(NODES + EVENTS)
    speaker = EventsSpeaker(Site(tmp_path, as_=person), "events", as_json=False)
    grammar = Grammar((*Events.commands, *words.COMMANDS), (*Events.queries, *words.QUERIES))
    speaker._help = grammar.help().text()
    said = [usage.split()[0] for usage in speaker.usages(speaker._help)]
    assert said[0] == first
    assert {*has} <= {*said}
    assert not {*has_not} & {*said}
    speaker.greet()
    told = capsys.readouterr().out
    assert (person or "login TORC2345") in told.splitlines()[0]
    assert len(told.splitlines()) == 1 + len(said)
    speaker.close()


def test_a_fault_needs_to_know_of_which_service(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(NODES + EVENTS + EVENTS.replace("events]", "shows]").replace("73", "74"))
    with pytest.raises(Misuse, match="of events, shows say which with --service"):
        plant("a", "wrong", service="", site=str(tmp_path), as_json=False, options={})
    (tmp_path / "site.toml").write_text(NODES + DIRECTORY.replace("NAME", "directory"))
    with pytest.raises(Misuse, match="no service here has replicas that vote"):
        plant("a", "wrong", service="", site=str(tmp_path), as_json=False, options={})
