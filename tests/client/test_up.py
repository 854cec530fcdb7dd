"""`holdfast up` over stand-in nodes: what it starts, shows, and ends. Real processes, real signals."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from holdfast.client import status, up
from holdfast.client.outcomes import Server
from holdfast.client.picture import ports_text, remarks, status_table
from holdfast.client.status import NodeStatus, ask_nodes
from holdfast.client.up import NodeProcess, Supervisor, ending, fitting_notes, page_addresses, port_addresses
from holdfast.site import demo_site as load_demo_site

FAKE_NODE = Path(__file__).parent / "fake_node.py"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(name: str, port: int, *habit: str) -> list[str]:
    return [sys.executable, str(FAKE_NODE), name, str(port), *habit]


def shown(picture: RenderableType) -> str:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(picture)
    return console.export_text()


class Demo:
    """A supervisor over some stand-in nodes, run as a task beside the test's own steps."""

    def __init__(self, folder: Path, **habits: str) -> None:
        self.ports = {name: free_port() for name in habits}
        self.supervisor = Supervisor(
            [
                NodeProcess(
                    Server("127.0.0.1", port, name),
                    command(name, port, *habits[name].split()),
                    folder / name / "log.txt",
                )
                for name, port in self.ports.items()
            ],
            "Site demo: data and logs in data/.",
            lambda name: f"holdfast node {name}",
        )

    def status(self, name: str) -> NodeStatus:
        return next((node for node in self.supervisor.statuses if node.node == name), NodeStatus(name, False, ""))

    def pid(self, name: str) -> int:
        pid = self.status(name).pid
        assert pid is not None
        return pid

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 (what is awaited happens in other processes)
                await asyncio.sleep(0.01)

    def picture(self) -> str:
        return shown(self.supervisor.picture(120, 40))

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        """Run `up`, the story beside it, then Ctrl-C."""

        async def both() -> None:
            running = asyncio.create_task(self.supervisor.run())
            try:
                await story()
            finally:
                os.kill(os.getpid(), signal.SIGINT)
                await running

        asyncio.run(both())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "LOOK_EVERY_S", 0.05)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_every_node_is_started_shown_and_ended_by_ctrl_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = Demo(tmp_path, a="", b="")
    pids: list[int] = []

    async def story() -> None:
        await demo.until(lambda: demo.status("a").up and demo.status("b").up)
        pids.extend(demo.pid(name) for name in "ab")
        picture = demo.picture()
        assert "Site demo: data and logs in data/." in picture
        for part in ("tickets", "lamport", "perfect", "active", "a,b", "17", "01234567", str(pids[0])):
            assert part in picture

    demo.run(story)
    assert all(map(gone, pids))
    printed = capsys.readouterr().out
    assert f"node a: up at 127.0.0.1:{demo.ports['a']}\n" in printed
    assert "tickets at b: active, view a,b\n" in printed


def test_a_node_that_dies_is_shown_as_down_and_again_when_started_by_hand(tmp_path: Path) -> None:
    demo = Demo(tmp_path, a="", b="")

    async def story() -> None:
        await demo.until(lambda: demo.status("a").up and demo.status("b").up)
        os.kill(demo.pid("b"), signal.SIGKILL)
        await demo.until(lambda: not demo.status("b").up)
        assert demo.status("b").why == "killed by SIGKILL"
        assert "b is down: killed by SIGKILL\n" in demo.picture()
        assert "Start b again in another terminal: holdfast node b" in demo.picture()
        by_hand = await asyncio.create_subprocess_exec(*command("b", demo.ports["b"]))
        try:
            await demo.until(lambda: demo.status("b").up)
            assert demo.status("b").pid == by_hand.pid
        finally:
            by_hand.kill()
            await by_hand.wait()

    demo.run(story)


def test_a_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    demo = Demo(tmp_path, a="broken")

    async def story() -> None:
        await demo.until(lambda: "ended with exit status 3" in demo.status("a").why)

    demo.run(story)
    assert demo.status("a").why.endswith(": [error] the journal is damaged: set the disk aside and start again")
    assert "[error] the journal is damaged" in demo.picture(), "brackets in a message are no markup"


def test_a_node_that_runs_already_is_neither_started_nor_ending(tmp_path: Path) -> None:
    demo = Demo(tmp_path, a="")
    by_hand = subprocess.Popen(command("a", demo.ports["a"]))
    try:

        async def story() -> None:
            await demo.until(lambda: demo.status("a").up)
            assert demo.status("a").pid == by_hand.pid

        async def ready() -> None:
            await demo.until(lambda: not socket.socket().connect_ex(("127.0.0.1", demo.ports["a"])))

        asyncio.run(ready())
        demo.run(story)
        assert by_hand.poll() is None
    finally:
        by_hand.kill()
        by_hand.wait()


def test_a_node_that_does_not_end_by_itself_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(up, "STOP_TIMEOUT_S", 0.2)
    demo = Demo(tmp_path, a="stubborn")
    pids: list[int] = []

    async def story() -> None:
        await demo.until(lambda: demo.status("a").up)
        pids.append(demo.pid("a"))

    demo.run(story)
    assert "Node a does not end by itself; killing it." in capsys.readouterr().out
    assert gone(pids[0])


def test_the_end_of_a_process_is_told_in_words() -> None:
    assert ending(0) == "ended with exit status 0"
    assert ending(-9) == "killed by SIGKILL"
    assert ending(-64) == "killed by SIGRTMAX"
    assert ending(-99) == "killed by signal 99"


def test_status_of_silent_refusing_and_foreign_servers_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, dead_address: tuple[str, int]
) -> None:
    monkeypatch.setattr(status, "STATUS_TIMEOUT_S", 0.2)

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"node": "z", "services": []}\n')
        writer.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def ask() -> list[str]:
        ports = []
        for habit in (babble, stranger, silent):
            server = await asyncio.start_server(habit, "127.0.0.1", 0)
            ports.append(server.sockets[0].getsockname()[1])
        servers = [Server("127.0.0.1", port, "a") for port in (*ports, dead_address[1])]
        return [node.why for node in await ask_nodes(servers)]

    assert asyncio.run(ask()) == [
        "what listens there is no node of Holdfast",
        "node 'z' listens there",
        "silent for 0.2 s",
        "connection refused",
    ]


def test_the_table_fits_its_terminal_and_what_does_not_fit_stands_below() -> None:
    waiting = {
        "service": "tickets",
        "protocol": "lamport",
        "state": "starting",
        "view": ["a", "b"],
        "waiting_for": "server b, the last to stop",
    }
    nodes = [
        NodeStatus("a", True, "127.0.0.1:7101", services=[waiting]),
        NodeStatus("b", False, "127.0.0.1:7102", "connection refused"),
        NodeStatus("c", False, "127.0.0.1:7103", "connection refused", starting=True),
        NodeStatus("d", True, "127.0.0.1:7104"),
    ]
    assert all(word in shown(status_table(nodes, 120)) for word in ("127.0.0.1:7101", "protocol", "none"))
    narrow = shown(status_table(nodes, 40))
    assert max(map(len, map(str.rstrip, narrow.splitlines()))) <= 40
    assert "127.0.0.1" not in narrow
    assert [line.split() for line in narrow.splitlines()[2:4]] == [["b", "7102", "down"], ["c", "7103", "starting"]]
    assert remarks(nodes) == [
        "tickets at a is starting, waiting for server b, the last to stop",
        "b is down: connection refused",
    ]
    assert remarks(
        [NodeStatus("a", True, "", services=[waiting | {"state": "halted", "waiting_for": "disk full"}])]
    ) == ["tickets at a is halted: disk full"]


MEMBERS = ["biology", "chemistry", "computing", "economics", "history", "law", "maths", "medicine", "music", "physics"]


def rooms(name: str, port: int, **fields: object) -> NodeStatus:
    """A department's node."""
    service = {"service": "rooms", "protocol": "bayou", "model": "all-heard", "state": "active", "view": MEMBERS}
    service |= {"replica": name, "primary": "biology", "epoch": 1, "position": 17, "tentative": 0, "lag": 0}
    service |= {"digest": "0123456789abcdef", "warning": ""} | fields
    return NodeStatus(name, True, f"127.0.0.1:{port}", pid=4_000_000 + port, services=[service])


def vote(node: str, **counts: object) -> dict[str, object]:
    """What one front end has seen of a replica."""
    return {"node": node, "state": "right", "life": 0, "agreed": 20, "differed": 0, "late": 0} | counts


def demo_site(**special: dict[str, object]) -> list[NodeStatus]:
    tickets = {"service": "tickets", "protocol": "lamport", "model": "perfect", "state": "active"}
    tickets |= {"view": ["a", "b", "c"], "epoch": 3, "position": 12345, "digest": "0123456789abcdef", "lag": 0}
    directory = tickets | {"service": "directory"}
    events = tickets | {"service": "events", "protocol": "sequencer", "model": "1 wrong", "sequencer": "b"}
    events |= {"votes": [vote("a"), vote("b"), vote("c", differed=3)], "branches": {"TOR": "a", "MTL": "b", "OTW": "c"}}
    theatre = [NodeStatus(name, True, f"127.0.0.1:710{n}", pid=4_194_300 + n, services=[tickets, directory, {**events}])
               for n, name in enumerate("abc", 1)]  # fmt: skip
    return theatre + [rooms(name, 7201 + place, **special.get(name, {})) for place, name in enumerate(MEMBERS)]


def lines_of(nodes: list[NodeStatus], width: int, height: int = 0) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(status_table(nodes, width, height))
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_thirteen_nodes_fit_every_width_and_no_pid_is_cut(width: int) -> None:
    lines = lines_of(demo_site(), width)
    assert len(lines) == 20
    assert max(map(len, lines)) <= width
    assert all(any(str(node.pid) in line for line in lines) for node in demo_site())
    assert "…" not in "".join(lines)
    assert "10 members" in "".join(lines) or width < 80


def test_a_low_terminal_shows_the_departments_in_one_row_and_those_that_differ() -> None:
    odd = {
        "law": {"state": "joining"},
        "music": {"warning": "the clock is 3 min ahead"},
        "physics": {"position": 12, "tentative": 4, "lag": 4, "digest": "ff"},
    }
    nodes = demo_site(**odd)
    nodes[5] = NodeStatus("computing", False, "127.0.0.1:7203", "killed by SIGKILL")
    lines = lines_of(nodes, 80, 24)
    servers = [word for name in "abc" for word in (name, "directory", "events")]
    assert [line.split()[0] for line in lines] == ["node", *servers, "7", "computing", "law", "music"]
    together = lines[10].split()
    assert together[:2] == ["7", "nodes"]
    assert {"12-17", "0-4"} <= {*together}
    assert "2 kinds" in lines[10]
    assert "rooms at music: the clock is 3 min ahead" in remarks(nodes)
    assert "rooms: the primary is biology" in remarks(nodes)
    assert len(lines_of(nodes, 80, 60)) == 20, "a high terminal shows them all"


def test_what_waits_in_quarantine_is_told_and_no_replica_without_an_id() -> None:
    told = remarks(demo_site(law={"held": 2}, music={"held": 1, "replica": ""}, physics={"held": 0}))
    assert [line for line in told if "stamped too far" in line] == [
        "rooms at law: 2 writes wait there, stamped too far ahead by a clock that was wrong",
        "rooms at music: 1 write waits there, stamped too far ahead by a clock that was wrong",
    ]
    assert not [line for line in told if "is the replica" in line]


def test_the_primary_is_that_of_the_latest_epoch_and_who_has_not_heard_of_it_is_named() -> None:
    """The first node is the old primary, cut off, and takes itself for it."""
    later = {"primary": "law", "epoch": 66}
    nodes = demo_site(law=later, music=later)
    (told,) = [line for line in remarks(nodes) if line.startswith("rooms: ")]
    assert told.startswith("rooms: the primary is law (epoch 66); biology, ")
    assert told.endswith(" still take biology for it (epoch 1)")
    assert "music" not in told


def test_an_accepted_loss_is_shown_where_the_new_primary_is() -> None:
    loss = {"accepted_loss": "the loss of biology was accepted after commit 12"}
    assert "rooms at law: the loss of biology was accepted after commit 12" in remarks(demo_site(law=loss))


def test_the_live_picture_of_the_demo_site_fits_24_lines_even_when_all_is_down(tmp_path: Path) -> None:
    demo = Demo(tmp_path, a="")
    for nodes in (
        demo_site(),
        [NodeStatus(node.node, False, node.address, "killed by SIGKILL") for node in demo_site()],
    ):
        demo.supervisor.statuses = nodes
        console = Console(width=80, height=24, file=io.StringIO(), record=True)
        console.print(demo.supervisor.picture(80, 24))
        assert len(console.export_text().splitlines()) < 24


def test_how_the_replicas_vote_is_told_of_all_front_ends_together() -> None:
    nodes = demo_site()
    assert remarks(nodes)[1:4] == [
        "events: the sequencer is b",
        "events: votes: a 60 agreed; b 60 agreed; c 60 agreed, 9 differed",
        "events: branches: TOR at a, MTL at b, OTW at c",
    ]
    services = [node.services[2] for node in nodes[:3]]
    services[0] |= {"epoch": 4, "sequencer": "c", "replacements": 2, "restarts": 1, "suspected": ["a", "b"]}
    services[2] |= {"votes": [vote("a", late=2), vote("b", state="copying"), vote("c")]}
    services[0] |= {"branches": {"TOR": None, "MTL": "b", "OTW": "b"}}
    assert remarks(nodes)[1:4] == [
        "events: the sequencer is c; 2 replacements; 1 restart; suspected: a, b",
        "events: votes: a 60 agreed, 2 late; b copying, 60 agreed; c 60 agreed, 6 differed",
        "events: branches: TOR nowhere, MTL at b, OTW at b",
    ]


def test_notes_beyond_the_room_are_counted() -> None:
    assert fitting_notes(["a", "b" * 81, "c", "d"], 80, 4) == ["a", "b" * 81, "... and 2 more: see holdfast status"]
    assert fitting_notes(["a", "b"], 80, 2) == ["a", "b"]
    assert fitting_notes(["a", "b"], 80, 0) == ["a", "... and 1 more: see holdfast status"]
    assert fitting_notes([], 80, 0) == []


def test_a_replica_with_a_name_of_its_own_is_remarked() -> None:
    assert "rooms at law is the replica law~3f2a" in remarks([rooms("law", 7206, replica="law~3f2a")])


def test_notices_that_wait_are_remarked_once_a_service() -> None:
    complaint = "the receiving service has not taken them"
    biology = rooms("biology", 7201, notices_waiting=1, notices_complaint=complaint)
    law = rooms("law", 7206, notices_waiting=2, notices_complaint="")
    assert remarks([biology, law])[-1] == f"rooms: 1 notice for people waits at biology; {complaint}"
    assert remarks([law])[-1] == "rooms: 2 notices for people wait at law"
    assert not any("notice" in line for line in remarks([rooms("law", 7206, notices_waiting=0)]))


def test_ports_are_told_as_ranges() -> None:
    assert ports_text([8011, 8001, 8002, 8003, 8013, 8012, 8020]) == "8001-8003, 8011-8013, 8020"


def test_only_what_has_a_page_or_an_api_is_told_to_have_one(tmp_path: Path) -> None:
    assert page_addresses(load_demo_site(tmp_path)) == [
        "Page of rooms: http://127.0.0.1:8011/rooms, and at the ports 8012-8020",
        "API of hotel: http://127.0.0.1:8001/hotel/api",
        "API of band: http://127.0.0.1:8001/band/api",
        "Form of state: http://127.0.0.1:8001/state/USER",
    ]


def test_every_line_port_is_told(tmp_path: Path) -> None:
    (line,) = port_addresses(load_demo_site(tmp_path))
    places = ("tickets 7101-7103", "rooms 7201-7210", "directory 7311-7313", "events 7301-7303")
    assert line.startswith(f"Lines at 127.0.0.1: {'; '.join(places)}")
