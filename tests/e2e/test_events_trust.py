"""Real processes: two replicas of three fail at once, and an operator says on the command line whose is right."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.cities import open_for_all
from tests.e2e.cluster import until


def test_an_operator_brings_the_service_back_after_two_failures_at_once(tmp_path: Path) -> None:
    with open_for_all(tmp_path) as cities:
        early = cities.command("trust", "a")
        assert early.returncode == 1
        assert early.stdout == "Failed: the replica of a is not trusted: the vote can decide by itself.\n"
        cities.command("fault", "b", "state")
        assert cities.as_person("TORM2345", "addEvent", "TORM180519", "Seminars", "50").endswith("50 places.")
        cities.command("fault", "c", "crash")

        def waits() -> bool:
            return all("trust NODE" in status["waiting_for"] for status in cities.statuses())

        until(waits, "the vote cannot decide any more")
        assert "for an operator's word: trust NODE" in cities.command("status").stdout
        lost = cities.command("trust", "c")
        assert lost.returncode == 1
        assert "it has no state" in lost.stdout
        cities.command("fault", "b", "none")
        word = cities.command("trust", "a", "--json", "--service", "events")
        assert word.returncode == 0, word
        assert json.loads(word.stdout)["reply"]["anew"] == ["b", "c"]
        until(lambda: len({status["digest"] for status in cities.statuses()}) == 1, "all have the state of a")
        assert cities.as_person("MTLM2345", "addEvent", "MTLM180519", "Seminars", "5").endswith("5 places.")
        until(lambda: not any(status["waiting_for"] for status in cities.statuses()), "nobody waits")
        assert "the replica of a is right, as an operator says" in cities.log("b")
        assert "enough replicas have the trusted state" in cities.log("c")
