"""Offices under Bayou: random days of faults pass every law, are replayed by their seed, and are counted."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from holdfast.apps.rooms.replies import Meeting
from holdfast.kernel.contracts import Person
from holdfast.sim.audit import Violation
from holdfast.sim.bayou.rooms import RoomsWork, check_schedule
from holdfast.sim.command import register
from holdfast.sim.many import Tally, replay_command, run_many
from holdfast.sim.options import Options, Result
from holdfast.sim.run import run
from holdfast.sim.world import World

APP = typer.Typer()
register(APP)


def bayou(**chosen: object) -> Options:
    return Options(**{"app": "rooms", "protocol": "bayou", **chosen})  # type: ignore[arg-type]


def told(results: list[Result], options: Options) -> str:
    return "\n\n".join(f"{result.text}\n  replay: {replay_command(options, result.seed)}" for result in results)


@pytest.mark.parametrize(
    ("options", "seeds"),
    [
        (bayou(model="all-heard"), 25),
        (bayou(model="immediate"), 25),
        (bayou(model="accept-loss"), 15),
        (bayou(model="all-heard", app="tickets"), 10),
        (bayou(model="immediate", app="tickets"), 10),
        (bayou(model="all-heard", transport="lossy"), 8),
        (bayou(model="immediate", transport="datagram"), 8),
    ],
    ids=lambda value: f"{value.app}-{value.failure_model}-{value.transport}" if type(value) is Options else "",
)
def test_every_schedule_passes(options: Options, seeds: int) -> None:
    tally = Tally()
    for result in run_many(options, 50_000, seeds):
        tally.add(result)
    assert not tally.failures, told(tally.failures, options)
    assert tally.faults > 5 * seeds
    assert tally.operations > 20 * seeds
    assert tally.figures["writes"] > 10 * seeds


@pytest.mark.slow
@pytest.mark.parametrize("model", ["all-heard", "immediate", "accept-loss"])
def test_a_thousand_schedules_pass(model: str) -> None:
    options = bayou(model=model)
    failed = [result for result in run_many(options, 60_000, 1_000) if not result.ok]
    assert not failed, told(failed, options)


def test_on_the_usual_path_a_write_is_executed_at_most_twice_a_replica() -> None:
    """Nobody restarts or takes a state here; links are slow or break."""
    tally = Tally()
    for result in run_many(bayou(model="all-heard", faults=("slow", "break")), 1, 10):
        tally.add(result)
    assert not tally.failures
    assert tally.figures["executions"] <= 2 * tally.figures["executable"]


def test_a_seed_gives_the_same_trace_under_every_hash_seed() -> None:
    digests = set()
    script = (
        "from holdfast.sim.run import Options, run\n"
        "for model in ('all-heard', 'accept-loss'):\n"
        "    options = Options(app='rooms', protocol='bayou', model=model)\n"
        "    print('\\n'.join(run(options, 5, tracing=True).lines))\n"
    )
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        output = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True).stdout
        assert output.count(b"\n") > 500
        digests.add(hashlib.blake2b(output).hexdigest())
    assert len(digests) == 1


def test_tracing_changes_nothing() -> None:
    silent, traced = run(bayou(), 3), run(bayou(), 3, tracing=True)
    assert silent.lines == ()
    assert (silent.events, silent.faults, silent.virtual_us) == (traced.events, traced.faults, traced.virtual_us)


def test_the_command_counts_what_the_earliest_entry_did_not_win() -> None:
    words = ["--app", "rooms", "--protocol", "bayou", "--model", "immediate", "--seed", "1", "--seeds", "5", "--json"]
    result = CliRunner().invoke(APP, [*words, "--processes", "1"])
    assert result.exit_code == 0
    (summary,) = json.loads(result.stdout)
    assert (summary["app"], summary["protocol"], summary["model"]) == ("rooms", "bayou", "immediate")
    assert summary["seeds_a_minute"] > 0
    figures = summary["figures"]
    assert figures["contested"] > figures["overtaken"] >= 0
    assert figures["contested"] > 10


@pytest.mark.parametrize(
    "wrong", [{"app": "opera"}, {"model": "majority"}, {"faults": ("flood",)}, {"bug": "stale-read"}]
)
def test_an_unknown_word_is_refused_with_those_that_are_known(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="only"):
        bayou(**wrong)


def test_rooms_are_for_bayou_alone_here() -> None:
    with pytest.raises(ValueError, match="no app under lamport 'rooms'"):
        Options(app="rooms", protocol="lamport")


def test_a_schedule_that_holds_two_meetings_at_once_is_found() -> None:
    work = RoomsWork(World(1).random)
    first = Meeting("a-1", "Maple", "2026-12-01", "09:00", "11:00", "Ann", "law", "x", "confirmed")
    second = Meeting("b-1", "Maple", "2026-12-01", "10:00", "12:00", "Bob", "music", "y", "confirmed")
    tentative = Meeting("c-1", "Oak", "2026-12-01", "10:00", "12:00", "Cem", "music", "z", "tentative")
    check_schedule((first, tentative), "full")
    with pytest.raises(Violation, match="overlap"):
        check_schedule((first, second), "full")
    with pytest.raises(Violation, match="committed view"):
        check_schedule((tentative,), "committed")
    assert work.people(2)[0] == Person("secretary0", "Ann", ("secretary",), "department-0")
