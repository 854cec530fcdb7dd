"""Disks that hang, are full or grow long, under real server processes."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import pytest
from tests.e2e.cluster import Cluster, running

RESERVED = "The seats have been reserved for {}: {}."


def writer_of(cluster: Cluster, name: str) -> int:
    """The pid of the process that writes this node's journal."""
    pid = cluster.processes[name].pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


@pytest.mark.parametrize("model", ["perfect", "majority"])
def test_a_disk_that_hangs_leaves_nobody_without_an_answer_and_the_others_go_on(tmp_path: Path, model: str) -> None:
    """Within the deadline of twice the timeout; and what was unknown is learned by asking again."""
    client = f"@patient.{time.time_ns() // 1_000_000:013d}"
    with running(Cluster(tmp_path, model=model, timeout_s=1.0)) as cluster:
        cluster.ask("a", "reserve bob 2")
        writer = writer_of(cluster, "a")
        os.kill(writer, signal.SIGSTOP)
        try:
            answer = cluster.say("a", f"{client}:1 reserve eve 1\n", timeout_s=30)
            assert answer.startswith("Failed: outcome unknown")
            assert "has not ended a write" in answer
            assert cluster.say("a", "seats\n", timeout_s=30).startswith("Failed: ")
            assert "its disk" in cluster.status("a")["waiting_for"]
            cluster.wait_serving("b", "c")
            assert cluster.ask("b", f"{client}:1 reserve eve 1") == RESERVED.format("eve", 3)
            assert cluster.ask("c", "delete bob") == "2 seats have been released. 499 seats are now available."
            assert cluster.say("a", "search bob\n", timeout_s=30).startswith("Failed: ")
        finally:
            os.kill(writer, signal.SIGCONT)
        cluster.wait_serving()
        cluster.wait_equal()
        assert cluster.ask("a", "search bob") == "Failed: no reservation is made by bob."
        assert cluster.ask("a", f"{client}:1 reserve eve 1") == RESERVED.format("eve", 3)
        assert cluster.ask("a", "search eve") == "3"
        assert "the disk goes on" in cluster.log("a")


def test_a_disk_that_takes_no_more_halts_its_server_which_says_why(tmp_path: Path) -> None:
    with running(Cluster(tmp_path, seats=5000)) as cluster:
        cluster.ask("b", "reserve bob 2")
        writer = writer_of(cluster, "b")
        journal = cluster.journal("b")
        written = max(file.stat().st_size for file in journal.parent.glob(f"{journal.name}*"))
        resource.prlimit(writer, resource.RLIMIT_FSIZE, (written + 20_000, written + 20_000))
        booked = {"bob"}
        while cluster.processes["b"].running and len(booked) < 1000:
            name = f"guest{len(booked)}"
            assert cluster.ask("c", f"reserve {name} 1").startswith("The seats have been reserved")
            booked.add(name)
        assert cluster.processes["b"].ended() == 1
        assert "tickets halts (disk): writing the journal" in cluster.log("b")
        assert "see to the disk (free space" in cluster.log("b")
        cluster.wait_serving("a", "c")
        cluster.start("b")
        cluster.wait_serving()
        cluster.wait_equal()
        assert set(cluster.bookings("b")) == booked


@pytest.mark.parametrize("model", ["perfect", "majority"])
def test_a_snapshot_cuts_the_journal_of_a_running_server_which_starts_again_from_it(tmp_path: Path, model: str) -> None:
    client = f"@frequent.{time.time_ns() // 1_000_000:013d}"
    with running(Cluster(tmp_path, model=model, seats=20)) as cluster:
        first = cluster.ask("a", f"{client}:1 reserve bob 2")
        long_line = f"choose ann {','.join(map(str, range(1, 1_001)))}\n"  # refused, and journaled all the same
        sizes = []
        for _ in range(16):
            assert cluster.say("a", 40 * long_line, timeout_s=60).count("Failed: there is no seat 21") == 40
            sizes.append(cluster.journal("a").stat().st_size)
        assert 1.2 * sizes[-1] < 640 * 25_000, "what was replaced by the snapshot is gone or used again"
        cluster.kill("a", "b", "c")
        cluster.start()
        cluster.wait_serving()
        cluster.wait_equal()
        assert cluster.ask("c", f"{client}:1 reserve bob 2") == first
        assert cluster.bookings("b") == {"bob": [1, 2]}
