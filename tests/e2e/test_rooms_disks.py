"""Disks that are emptied, copied or restored: the replica goes on under another id, and no booking is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.e2e.offices import DAY, Offices, wired, working

ALL = ("biology", "chemistry", "law")


def purposes(offices: Offices, at: str, department: str) -> list[str]:
    return sorted(request["purpose"] for request in offices.requests(at, department))


def test_an_emptied_disk_takes_a_new_id_from_a_peer_and_serves(tmp_path: Path) -> None:
    """Alone it cannot know whether it was ever there, so it takes nothing until it has met a peer."""
    offices = Offices(tmp_path, ALL)
    with working(offices):
        offices.tell_one("law", f"reserve Oak {DAY} 09:00 1h before")
        offices.wait_firm()
        offices.stop("law")
        offices.tell_one("chemistry", f"reserve Elm {DAY} 09:00 1h meanwhile")
        offices.kill("biology", "chemistry")
        shutil.rmtree(offices.journal("law").parent)
        offices.start("law")
        offices.wait(lambda: offices.status("law").get("state") == "joining", "law joins")
        (refused,) = offices.tell("law", f"reserve Oak {DAY} 09:00 1h alone")
        assert refused["type"] == "unavailable"
        offices.start("chemistry")
        offices.wait_serving("law")
        replica = offices.status("law")["replica"]
        assert replica.startswith("law~")
        assert offices.tell_one("law", f"reserve Ash {DAY} 09:00 1h after")["write"] == f"{replica}-1"
        offices.start("biology")
        offices.wait_firm()
        assert purposes(offices, "chemistry", "law") == ["after", "before"]
        assert purposes(offices, "law", "chemistry") == ["meanwhile"]
        replicas = {row[0]: row[3] for row in offices.tell_one("law", "replicas")["reply"]["rows"]}
        assert (replicas["law"], replicas[replica]) == ("replaced", "live"), "nobody waits for the lost disk"


def test_a_restored_copy_takes_a_new_id_and_its_new_bookings_are_kept(tmp_path: Path) -> None:
    """The copy is older than what the others know of this disk."""
    offices = Offices(tmp_path, ALL)
    with wired(offices) as wires, working(offices):
        offices.tell_one("law", f"reserve Oak {DAY} 09:00 1h one")
        offices.wait_firm()
        offices.stop("law")
        data = offices.journal("law").parent
        shutil.copytree(data, tmp_path / "backup")
        offices.start("law")
        offices.wait_serving("law")
        assert offices.status("law")["replica"] == "law", "a disk that only rested keeps its id"
        assert offices.tell_one("law", f"reserve Oak {DAY} 10:00 1h two")["write"] == "law-2"
        offices.wait_firm()
        offices.stop("law")
        shutil.rmtree(data)
        shutil.copytree(tmp_path / "backup", data)
        wires.split(("biology", "chemistry"), ("law",))
        offices.start("law")
        offices.wait(lambda: offices.status("law"), "law runs")
        wires.split(ALL)
        offices.wait_serving("law")
        replica = offices.status("law")["replica"]
        assert replica.startswith("law~")
        assert "this disk was copied or restored" in offices.log("law")
        assert offices.tell_one("law", f"reserve Oak {DAY} 11:00 1h three")["write"] == f"{replica}-1"
        offices.wait_firm()
        for name in ALL:
            assert purposes(offices, name, "law") == ["one", "three", "two"]


def test_a_copy_written_over_in_place_is_found_out_when_the_others_are_met(tmp_path: Path) -> None:
    """Nothing in the file system tells it; the same number was given to two bookings, and both stand."""
    offices = Offices(tmp_path, ALL)
    with wired(offices) as wires, working(offices):
        offices.tell_one("law", f"reserve Oak {DAY} 09:00 1h one")
        offices.wait_firm()
        offices.stop("law")
        data = offices.journal("law").parent
        shutil.copytree(data, tmp_path / "backup")
        offices.start("law")
        assert offices.tell_one("law", f"reserve Oak {DAY} 10:00 1h two")["write"] == "law-2"
        offices.wait_firm()
        offices.stop("law")
        wires.split(("biology", "chemistry"), ("law",))
        for path in (tmp_path / "backup").iterdir():
            if path.is_file():
                (data / path.name).write_bytes(path.read_bytes())
        for path in data.iterdir():
            if path.is_file() and not (tmp_path / "backup" / path.name).exists():
                path.unlink()
        offices.start("law")
        offices.wait_serving("law")
        assert offices.tell_one("law", f"reserve Oak {DAY} 11:00 1h three")["write"] == "law-2", "it cannot know"
        wires.split(ALL)
        offices.wait(lambda: offices.status("law")["replica"].startswith("law~"), "another id")
        offices.wait_serving("law")
        offices.wait_firm()
        for name in ALL:
            assert purposes(offices, name, "law") == ["one", "three", "two"]
