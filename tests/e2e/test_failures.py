"""Servers that die, return, lose their disks or hang: the real processes under every kind of trouble."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

import pytest
from tests.e2e.cluster import HOST, Cluster, running

RESERVED = "The seats have been reserved for {}: {}."


def test_a_killed_server_comes_back_with_its_disk_and_catches_up(tmp_path: Path) -> None:
    with running(Cluster(tmp_path)) as cluster:
        assert cluster.ask("a", "reserve bob 2") == RESERVED.format("bob", "1,2")
        cluster.kill("b")
        for number in range(3, 43):
            assert cluster.ask("a" if number % 2 else "c", f"reserve guest{number} 1").endswith(f": {number}.")
        cluster.start("b")
        cluster.wait_serving()
        cluster.wait_equal()
        assert cluster.ask("b", "search guest42") == "42"
        cluster.kill("a", "c")
        assert cluster.ask("b", "reserve last 1") == RESERVED.format("last", 43)


def test_a_server_with_an_emptied_disk_copies_the_state_and_then_serves_alone(tmp_path: Path) -> None:
    with running(Cluster(tmp_path)) as cluster:
        cluster.ask("a", "reserve bob 2")
        cluster.kill("c")
        shutil.rmtree(cluster.journal("c").parent)
        cluster.ask("a", "reserve eve 3")
        cluster.start("c")
        cluster.wait_serving()
        cluster.wait_equal()
        assert cluster.bookings("c") == {"bob": [1, 2], "eve": [3, 4, 5]}
        cluster.kill("a", "b")
        assert cluster.ask("c", "reserve last 1") == RESERVED.format("last", 6)


@pytest.mark.parametrize("order", ["abc", "cba"])
def test_when_all_have_died_the_last_one_to_stop_is_waited_for(tmp_path: Path, order: str) -> None:
    """Whoever died before it may have missed what it acknowledged alone."""
    with running(Cluster(tmp_path)) as cluster:
        first, second, last = order
        cluster.ask(first, "reserve one 1")
        cluster.kill(first)
        cluster.ask(second, "reserve two 1")
        cluster.kill(second)
        assert cluster.ask(last, "reserve three 1") == RESERVED.format("three", 3)
        cluster.kill(last)
        cluster.start(first, second)
        for name in (first, second):
            cluster.wait(lambda name=name: last in cluster.status(name).get("waiting_for", ""), f"{name} names {last}")
            assert cluster.status(name)["state"] != "active"
            assert cluster.say(name, "reserve four 1\n").startswith("Failed: not served here now")
            assert cluster.say(name, "search one\n").startswith("Failed: not served here now")
        cluster.start(last)
        cluster.wait_serving()
        cluster.wait_equal()
        assert cluster.bookings(first) == {"one": [1], "two": [2], "three": [3]}


def test_all_are_killed_at_once_and_return_in_any_order(tmp_path: Path) -> None:
    with running(Cluster(tmp_path)) as cluster:
        for number, order in enumerate(("abc", "cab", "bca"), 1):
            assert cluster.ask(order[0], f"reserve guest{number} 1") == RESERVED.format(f"guest{number}", number)
            cluster.kill(*order)
            for name in order:
                cluster.start(name)
            cluster.wait_serving()
        cluster.wait_equal()
        assert cluster.bookings("b") == {f"guest{number}": [number] for number in (1, 2, 3)}


@pytest.mark.parametrize("model", ["perfect", "majority"])
def test_a_server_that_hung_answers_nothing_stale_and_rejoins(tmp_path: Path, model: str) -> None:
    with running(Cluster(tmp_path, model=model, timeout_s=1.0)) as cluster:
        cluster.ask("a", "reserve bob 2")
        with socket.create_connection((HOST, cluster.line_ports["b"]), timeout=30) as open_before:
            cluster.pause("b")
            cluster.wait_serving("a", "c")
            assert cluster.ask("a", "delete bob") == "2 seats have been released. 500 seats are now available."
            assert cluster.ask("c", "reserve eve 1") == RESERVED.format("eve", 1)
            open_before.sendall(b"search bob\n")
            cluster.resume("b")
            answer = open_before.recv(1000).decode()
        assert answer.startswith(("Failed: not served here now", "Failed: no reservation is made by bob."))
        cluster.wait_serving()
        cluster.wait_equal()
        assert cluster.ask("b", "search bob") == "Failed: no reservation is made by bob."
        assert cluster.ask("b", "search eve") == "1"


def test_a_short_pause_of_a_server_is_seen_by_itself(tmp_path: Path) -> None:
    """Beyond half the timeout it acts as restarted, though nobody has missed it yet."""
    with running(Cluster(tmp_path, timeout_s=8.0)) as cluster:
        incarnation = cluster.status("b")["incarnation"]
        cluster.pause("b")
        with socket.create_connection((HOST, cluster.line_ports["b"]), timeout=60) as unheard:
            unheard.sendall(b"seats\n")
            unheard.settimeout(5.0)
            with pytest.raises(TimeoutError):
                unheard.recv(10)
        cluster.resume("b")
        cluster.wait(lambda: cluster.status("b").get("incarnation", 0) > incarnation, "a new incarnation")
        cluster.wait_serving()
        assert "acting as restarted" in cluster.log("b")
        assert cluster.ask("b", "reserve bob 1") == RESERVED.format("bob", 1)


def test_a_flipped_bit_is_found_set_aside_and_copied_from_the_peers(tmp_path: Path) -> None:
    with running(Cluster(tmp_path)) as cluster:
        for number in range(1, 31):
            cluster.ask("abc"[number % 3], f"reserve guest{number} 1")
        cluster.kill("b")
        journal = cluster.journal("b")
        for file in (journal, journal.with_name(journal.name + "-wal")):
            if file.exists():  # in both: a page of the log that was copied to the journal counts no more
                file.write_bytes(file.read_bytes().replace(b"guest9", b"guest8"))
        cluster.start("b")
        cluster.wait_serving()
        cluster.wait_equal()
        assert "damaged" in cluster.log("b")
        assert journal.with_name(journal.name + ".damaged-1").exists()
        assert cluster.bookings("b") == {f"guest{number}": [number] for number in range(1, 31)}


def test_a_shortened_journal_is_found_and_copied_from_the_peers(tmp_path: Path) -> None:
    """The writer is killed, which halts its node; then the write-ahead log is cut off, as a disk
    that lied about its syncs leaves it."""
    with running(Cluster(tmp_path)) as cluster:
        for number in range(1, 11):
            cluster.ask("b", f"reserve guest{number} 1")
        (writer,) = cluster.processes["b"].writers()
        os.kill(writer, signal.SIGKILL)
        assert cluster.processes["b"].ended() == 1
        assert "the process that writes the journal has died" in cluster.log("b")
        journal = cluster.journal("b")
        log = journal.with_name(journal.name + "-wal")
        with log.open("r+b") as file:
            file.truncate(log.stat().st_size // 2)
        cluster.start("b")
        cluster.wait_serving()
        cluster.wait_equal()
        assert "damaged" in cluster.log("b")
        assert len(cluster.bookings("b")) == 10


def test_a_lost_disk_that_was_needed_is_named_and_its_loss_can_be_accepted(tmp_path: Path) -> None:
    with running(Cluster(tmp_path, names="ab")) as cluster:
        cluster.ask("a", "reserve one 1")
        cluster.kill("a")
        cluster.ask("b", "reserve two 1")
        cluster.kill("b")
        shutil.rmtree(cluster.journal("b").parent)
        cluster.start("a", "b")
        assert cluster.processes["a"].ended() == 1
        assert "the disk of b that view" in cluster.log("a")
        assert "start with --accept-loss" in cluster.log("a")
        assert cluster.status("b")["state"] != "active"
        cluster.kill("b")
        cluster.start("a", more=("--accept-loss",))
        cluster.wait_serving("a")
        assert "accepting loss" in cluster.log("a")
        assert cluster.bookings("a") == {"one": [1]}


def test_a_majority_of_lost_disks_halts_and_its_loss_can_be_accepted(tmp_path: Path) -> None:
    with running(Cluster(tmp_path, model="majority", timeout_s=1.0)) as cluster:
        cluster.ask("a", "reserve one 1")
        cluster.kill("a", "b", "c")
        shutil.rmtree(cluster.journal("b").parent)
        shutil.rmtree(cluster.journal("c").parent)
        cluster.start()
        assert cluster.processes["a"].ended() == 1
        assert "the disk of b, c that view" in cluster.log("a")
        assert "start with --accept-loss" in cluster.log("a")
        assert cluster.status("b")["state"] != "active"
        cluster.start("a", more=("--accept-loss",))
        cluster.wait_serving()
        assert cluster.bookings("c") == {"one": [1]}
