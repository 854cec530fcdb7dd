"""`holdfast simulate` as people and scripts meet it."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner, Result

from holdfast.sim.command import register

APP = typer.Typer()
register(APP)


def simulate(*words: str) -> Result:
    return CliRunner().invoke(APP, list(words))


def test_schedules_that_pass_end_with_status_0_and_a_summary_for_each_model() -> None:
    result = simulate("--seed", "1", "--seeds", "4", "--processes", "1")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "tickets under lamport, perfect",
        "tickets under lamport, majority",
    ]
    assert all("4 schedules from seed 1 on" in line and line.endswith("all passed") for line in lines)


def test_a_schedule_that_fails_ends_with_status_1_and_the_command_that_replays_it() -> None:
    result = simulate("--model", "perfect", "--seed", "1", "--seeds", "3", "--bug", "promise-before-sync")
    assert result.exit_code == 1
    assert "seed 1 failed (promise before sync)" in result.stdout
    (replay,) = [line for line in result.stdout.splitlines() if "replay:" in line and "--seed 1 " in line]
    again = simulate(*replay.split("simulate ")[1].split())
    assert again.exit_code == 1
    assert "FAILED promise before sync" in again.stdout.splitlines()[-1]


def test_json_tells_the_same_to_programs() -> None:
    result = simulate("--protocol", "solo", "--seeds", "3", "--json")
    (summary,) = json.loads(result.stdout)
    assert (summary["protocol"], summary["model"], summary["seeds"], summary["failures"]) == ("solo", "alone", 3, [])


@pytest.mark.parametrize("words", [("--protocol", "raft"), ("--app", "opera"), ("--faults", "flood")])
def test_a_wrong_word_is_told_with_the_right_ones(words: tuple[str, ...]) -> None:
    result = simulate(*words)
    assert result.exit_code == 2
    assert "only" in result.stderr
