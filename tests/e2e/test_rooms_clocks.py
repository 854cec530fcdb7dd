"""A device with a wrong clock: it cannot get ahead of the others, is told so, and loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.cluster import Process, environment
from tests.e2e.offices import DAY, Offices, working

ALL = ("biology", "chemistry", "law")
SHIFTED = """
import sys, time
shift_ns, real = int(sys.argv.pop(1)) * 10**9, time.time_ns
time.time_ns = lambda: real() + shift_ns
from holdfast.client.cli import main
main()
"""
"""A node whose operating system tells another time of day; the product is the same."""


class Shifted(Process):
    """A node's process under a clock that is so many seconds ahead of the true one."""

    def __init__(self, words: list[str], log: Path, ahead_s: int) -> None:
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-c", SHIFTED, str(ahead_s), *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(),
            )


def start_shifted(offices: Offices, name: str, ahead_s: int) -> None:
    words = ["node", name, "--site", str(offices.sites[name])]
    offices.processes[name] = Shifted(words, offices.directory / f"{name}.log", ahead_s)
    offices.wait_serving(name)


def test_a_clock_that_is_a_little_behind_backdates_nothing_that_its_author_saw(tmp_path: Path) -> None:
    offices = Offices(tmp_path, ALL)
    with working(offices, "biology", "chemistry"):
        start_shifted(offices, "law", -200)
        first = offices.tell_one("chemistry", f"reserve Oak {DAY} 09:00 1h first")
        offices.wait_firm()
        second = offices.tell_one("law", f"reserve Oak {DAY} 09:00 1h second --or Elm@09:00")
        assert second["type"] == "moved", "it had seen the other booking, so it follows it"
        assert "warning" not in second
        offices.wait_firm()
        (one,) = offices.requests("chemistry", "law")
        assert (one["outcome"], one["lost"]["id"]) == ("moved", first["write"])
        (other,) = offices.requests("chemistry", "chemistry")
        assert other["entered"] < one["entered"]


def test_a_clock_that_is_far_behind_is_told_so_and_nothing_is_lost_when_it_is_set_right(tmp_path: Path) -> None:
    offices = Offices(tmp_path, ALL)
    with working(offices, "biology", "chemistry"):
        start_shifted(offices, "law", -3600)
        offices.wait(lambda: "min behind the others" in offices.status("law")["warning"], "its status tells")
        offices.tell_one("chemistry", f"reserve Oak {DAY} 09:00 1h right")
        behind = offices.tell_one("law", f"reserve Oak {DAY} 09:00 1h behind --or Elm@09:00")
        assert "this device's clock is" in behind["warning"]
        assert offices.status("chemistry")["warning"] == ""
        offices.kill("law")  # its people set the clock right
        offices.start("law")
        offices.wait_firm()
        places = {one["purpose"]: one["room"] for one in offices.schedule("law", DAY)}
        assert set(places) <= {"right", "behind"}
        assert len(set(places.values())) == len(places)
        requests = [one for name in ("chemistry", "law") for one in offices.requests("biology", name)]
        assert {one["purpose"]: bool(one["place"] or one["lost"]) for one in requests} == {
            "right": True,
            "behind": True,
        }


def test_what_a_clock_ahead_stamps_waits_aside_and_everything_else_goes_on(tmp_path: Path) -> None:
    offices = Offices(tmp_path, ALL)
    with working(offices, "biology", "chemistry"):
        start_shifted(offices, "law", 3600)
        ahead = offices.tell_one("law", f"reserve Oak {DAY} 09:00 1h ahead --or Elm@09:00")
        assert ahead["firm"] == "tentative"
        offices.wait(lambda: "wait aside" in offices.log("chemistry"), "chemistry holds it back")
        first = offices.tell_one("chemistry", f"reserve Oak {DAY} 09:00 1h right")
        assert first["type"] == "granted", "the future does not take what is free now"
        offices.wait(
            lambda: offices.tell_one("law", f"show {ahead['write']}")["reply"]["outcome"] == "moved", "law hears"
        )
        assert "ahead of the others" in offices.tell_one("law", f"reserve Ash {DAY} 09:00 1h more")["warning"]
        assert offices.status("chemistry")["warning"] == ""
        offices.kill("law")  # its people set the clock right
        offices.start("law")
        offices.wait_serving("law")
        again = offices.tell_one("law", f"reserve Ash {DAY} 10:00 1h later")
        assert again["firm"] == "tentative", "its stamps go on from where they were, and wait as long"
        assert len(offices.requests("law", "law", "full")) == 3
