"""The theatre as people meet it: real server processes, spoken to as `nc` does, from Python and the command line."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.cluster import HOST, RETRY_ELSEWHERE, Cluster, Process, environment, running, say, until
from tests.ports import free_ports

from holdfast.client import Site
from holdfast.runtime.node import initialise
from holdfast.site import load_servers_file

ENOUGH_SEATS = 5000


def command_line(*words: str, site: Path) -> subprocess.CompletedProcess[str]:
    """`holdfast WORDS`, as a script calls it."""
    return subprocess.run(
        [sys.executable, "-m", "holdfast.client.cli", *words],
        env=environment(HOLDFAST_SITE=str(site)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_word_for_word_from_three_servers(tmp_path: Path) -> None:
    with running(Cluster(tmp_path, seats=5)) as cluster:
        for name, line, reply in (
            ("a", "reserve bob 2", "The seats have been reserved for bob: 1,2."),
            ("b", "search bob", "1,2"),
            ("c", "reserve bob 1", "Failed: bob has booked the following seats: 1,2."),
            ("b", "reserve eve 9", "Failed: only 3 seats left but 9 seats are requested."),
            ("a", "reserve bob 4", "Failed: only 3 seats left but 4 seats are requested."),
            ("c", "search eve", "Failed: no reservation is made by eve."),
            ("c", "delete eve", "Failed: no reservation is made by eve."),
            ("a", "choose eve 5,4", "The seats have been reserved for eve: 4,5."),
            ("b", "choose ann 4", "Failed: seat 4 is taken."),
            ("b", "release eve 5", "1 seats have been released. 2 seats are now available."),
            ("a", "delete bob", "2 seats have been released. 4 seats are now available."),
            ("c", "seats", "4 seats are free: 1-3,5."),
            ("a", "list", "eve: 4"),
        ):
            assert cluster.ask(name, line) == reply
        assert cluster.ask("b", "reserve bob 0").startswith("Failed: ")
        script = "reserve ann 2\nsearch ann\nfly ann\ndelete ann\nsearch ann"
        replies = cluster.say("c", script).splitlines()
        assert replies[:2] == ["The seats have been reserved for ann: 1,2.", "1,2"]
        assert replies[2].startswith("Failed: no command 'fly'")
        assert replies[3:] == [
            "2 seats have been released. 4 seats are now available.",
            "Failed: no reservation is made by ann.",
        ]
        cluster.wait_equal()


class Guests:
    """One kind of client that books one seat after the other, and what it was told."""

    def __init__(self, kind: str, book: Callable[[str, int], str]) -> None:
        self.kind = kind
        self.told: dict[str, str] = {}
        self.failure: BaseException | None = None
        self._book = book
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        number = 0
        try:
            while not self._enough.is_set():
                number += 1
                name = f"{self.kind}{number}"
                self.told[name] = self._book(name, number)
        except BaseException as error:
            self.failure = error

    def __enter__(self) -> Guests:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def more(self, count: int) -> None:
        """Return when so many more bookings were acknowledged."""
        wanted = len(self.told) + count
        until(lambda: len(self.told) >= wanted or self.failure is not None, f"{count} more bookings of {self.kind}")
        if self.failure is not None:
            raise self.failure


def netcat(cluster: Cluster) -> Callable[[str, int], str]:
    """Books as a person with `nc` would, who repeats the same @client:number elsewhere until it is certain."""
    client = f"netcat.{time.time_ns() // 1_000_000:013d}"
    chooser = random.Random(2)

    def book(name: str, number: int) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                reply = cluster.say(chooser.choice(cluster.names), f"@{client}:{number} reserve {name} 1\n")
            except OSError:
                continue
            if reply.endswith("\n") and not reply.startswith(RETRY_ELSEWHERE):
                return reply.rstrip("\n")
        raise AssertionError(f"no server has booked for {name}")

    return book


def test_bookings_from_everywhere_while_servers_are_killed(tmp_path: Path) -> None:
    with running(Cluster(tmp_path, seats=ENOUGH_SEATS)) as cluster:

        def by_command(name: str, number: int) -> str:
            done = command_line("tickets", "reserve", name, "1", site=cluster.site)
            assert done.returncode == 0, done.stderr
            return done.stdout.rstrip("\n")

        site = Site(cluster.site, timeout_s=5, deadline_s=60)
        with (
            site,
            Guests("nc", netcat(cluster)) as nc,
            Guests("py", lambda name, number: str(site.service("tickets").reserve(name, 1))) as python,
            Guests("cli", by_command) as cli,
        ):
            everybody = (nc, python, cli)
            for victim, left in (("a", "bc"), ("b", "c")):
                for guests in everybody:
                    guests.more(3)
                cluster.kill(victim)
                killed = time.monotonic()
                cluster.wait_serving(*left)
                python.more(2)
                assert time.monotonic() - killed < 2.0 + 5 * cluster.timeout_s
            cluster.start("b")
            cluster.wait_serving("b", "c")
            for guests in everybody:
                guests.more(3)
            cluster.kill("c")
            for guests in everybody:
                guests.more(3)
        told = nc.told | python.told | cli.told
        booked = cluster.bookings("b")
        for name, answer in told.items():
            assert answer == f"The seats have been reserved for {name}: {booked[name][0]}."
        seats = [seat for taken in booked.values() for seat in taken]
        assert len(seats) == len(set(seats)) == len(booked) == len(told)
        cluster.start("a", "c")
        cluster.wait_serving("a", "b", "c")
        cluster.wait_equal()


def test_after_a_kill_the_others_serve_at_once(tmp_path: Path) -> None:
    with running(Cluster(tmp_path, timeout_s=30)) as cluster:
        assert cluster.ask("b", "reserve bob 2") == "The seats have been reserved for bob: 1,2."
        cluster.kill("a")
        killed = time.monotonic()
        assert cluster.ask("c", "search bob") == "1,2"
        assert cluster.ask("b", "reserve eve 1") == "The seats have been reserved for eve: 3."
        assert time.monotonic() - killed < 2.0, "a refused connection is proof; the timeout need not pass"


def test_a_retry_at_another_server_after_a_kill_gives_the_first_answer(tmp_path: Path) -> None:
    client = f"@careful.{time.time_ns() // 1_000_000:013d}"
    with running(Cluster(tmp_path)) as cluster:
        first = cluster.ask("a", f"{client}:1 reserve bob 2")
        assert cluster.ask("b", f"{client}:2 delete bob") == "2 seats have been released. 500 seats are now available."
        cluster.kill("a")
        assert cluster.ask("b", f"{client}:1 reserve bob 2") == first == "The seats have been reserved for bob: 1,2."
        assert cluster.ask("c", "search bob") == "Failed: no reservation is made by bob."
        assert cluster.ask("c", f"{client}:3/3 reserve bob 1") == "The seats have been reserved for bob: 1."
        assert "too old to be known" in cluster.ask("b", f"{client}:1 reserve bob 2")


def test_control_c_ends_a_node_cleanly_and_metrics_tell_of_it(tmp_path: Path) -> None:
    with running(Cluster(tmp_path, http=True)) as cluster:
        cluster.ask("a", "reserve bob 2")
        with urllib.request.urlopen(f"http://{HOST}:{cluster.http_ports['a']}/metrics", timeout=20) as answer:
            families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
        (active,) = families["holdfast_active"].samples
        assert (active.labels, active.value) == ({"service": "tickets"}, 1.0)
        assert families["holdfast_commands"].samples[0].value >= 1
        with socket.create_connection((HOST, cluster.line_ports["a"]), timeout=20) as idle:
            assert cluster.stop("a") == 0
            assert idle.recv(10) == b""
        assert cluster.ask("b", "reserve eve 1") == "The seats have been reserved for eve: 3."
        cluster.start("a")
        cluster.wait_serving()
        cluster.wait_equal()
        assert not list(cluster.journal("a").parent.glob("*.damaged*"))
        assert "damaged" not in cluster.log("a")
        assert {cluster.stop(name) for name in "abc"} == {0}
        cluster.start()
        cluster.wait_serving()
        assert cluster.bookings("c") == {"bob": [1, 2], "eve": [3]}


def test_another_number_of_seats_on_old_data_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with running(Cluster(tmp_path, names="a", seats=500)) as cluster:
        cluster.ask("a", "reserve bob 2")
        assert cluster.stop("a") == 0
        cluster.seats = 400
        cluster.write_site("site.toml", cluster.peer_ports)
        cluster.start("a")
        assert cluster.processes["a"].ended() == 1
        last = cluster.log("a").splitlines()[-1]
        assert "500" in last
        assert "400" in last
        cluster.seats = 500
        cluster.write_site("site.toml", cluster.peer_ports)
        cluster.start("a")
        cluster.wait_serving("a")
        assert cluster.bookings("a") == {"bob": [1, 2]}


@pytest.mark.parametrize("which", ["line_ports", "peer_ports", "http_ports"])
def test_a_taken_port_is_named(tmp_path: Path, which: str) -> None:
    cluster = Cluster(tmp_path, names="a", http=True)
    port = getattr(cluster, which)["a"]
    with socket.create_server((HOST, port)):
        try:
            cluster.start("a")
            assert cluster.processes["a"].ended() == 64
        finally:
            cluster.close()
    said = cluster.log("a")
    assert f"port {port}" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_the_plain_file_of_servers(tmp_path: Path) -> None:
    ports = free_ports(3)
    servers = tmp_path / "servers.txt"
    servers.write_text("".join(f"{HOST} {port}\n" for port in ports))
    initialise(load_servers_file(servers, data=tmp_path / "data", seats=30))

    def start(number: int) -> Process:
        words = ["tickets-server", "--servers", str(servers), "--me", str(number), "--seats", "30"]
        return Process([*words, "--timeout", "2", "--data", str(tmp_path / "data")], tmp_path / f"{number}.log")

    def reply(port: int, line: str) -> str:
        try:
            found = say(port, line)
        except OSError:
            return ""
        return "" if found.startswith(RETRY_ELSEWHERE) else found

    processes = [start(number) for number in (1, 2, 3)]
    try:
        answer = until(lambda: reply(ports[0], "reserve bob 2"), "the first booking")
        assert answer == "The seats have been reserved for bob: 1,2.\n"
        processes[0].kill()
        with Site.from_servers(servers, timeout_s=2, deadline_s=60) as site:
            assert str(site.service("tickets").search("bob")) == "1,2"
        done = command_line("tickets", "--servers", str(servers), "delete", "bob", site=servers)
        assert done.stdout == "2 seats have been released. 30 seats are now available.\n"
        processes[0] = start(1)
        until(lambda: reply(ports[0], "seats") == "30 seats are free: 1-30.\n", "the first server back")
        for process in processes:
            process.send(signal.SIGINT)
        assert [process.ended() for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
            print(process.said())
