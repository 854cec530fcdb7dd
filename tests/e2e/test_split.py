"""A network that really splits between real processes, and what `majority` promises then."""

from __future__ import annotations

import time
from pathlib import Path

from tests.e2e.cluster import Cluster, running
from tests.e2e.wires import Wires


def test_the_minority_refuses_the_majority_serves_and_nothing_is_lost(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, model="majority", timeout_s=1.0)
    wires = Wires(cluster)
    client = f"@split.{time.time_ns() // 1_000_000:013d}"
    try:
        with running(cluster):
            assert cluster.ask("a", "reserve before 2") == "The seats have been reserved for before: 1,2."
            wires.split("a", "bc")
            alone = cluster.say("a", f"{client}:1 reserve during 1\n", timeout_s=60)
            assert alone.startswith(("Failed: outcome unknown", "Failed: not served here now"))
            cluster.wait_serving("b", "c")
            answer = cluster.ask("b", f"{client}:1 reserve during 1")
            assert answer == "The seats have been reserved for during: 3."
            assert cluster.ask("c", "delete before") == "2 seats have been released. 499 seats are now available."
            stale = cluster.say("a", "search before\n", timeout_s=60)
            assert stale.startswith("Failed: not served here now")
            assert "b" in cluster.status("a")["waiting_for"] or "2 of 3" in cluster.status("a")["waiting_for"]
            wires.split("abc")
            cluster.wait_serving()
            cluster.wait_equal()
            assert cluster.ask("a", f"{client}:1 reserve during 1") == answer
            assert cluster.bookings("a") == {"during": [3]}
            wires.split("ab", "c")
            cluster.wait_serving("a", "b")
            assert cluster.ask("a", "reserve after 1") == "The seats have been reserved for after: 1."
            wires.split("abc")
            cluster.wait_serving()
            assert cluster.bookings("c") == {"during": [3], "after": [1]}
    finally:
        wires.close()


def test_nobody_serves_where_no_majority_is_connected_and_all_serve_again_when_it_heals(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, model="majority", timeout_s=1.0)
    wires = Wires(cluster)
    try:
        with running(cluster):
            cluster.ask("a", "reserve bob 2")
            wires.split("a", "b", "c")
            for name in "abc":
                cluster.wait(lambda name=name: cluster.status(name).get("state") != "active", f"{name} serves no more")
                refusal = cluster.say(name, "search bob\n", timeout_s=60)
                assert refusal.startswith("Failed: not served here now")
            wires.split("abc")
            cluster.wait_serving()
            assert cluster.ask("c", "search bob") == "1,2"
    finally:
        wires.close()
