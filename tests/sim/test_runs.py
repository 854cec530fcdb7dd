"""Whole runs: they are replayed by their seed alone, pass under every model, and old failures stay away."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast.sim
from holdfast.sim.many import Tally, replay_command, run_many
from holdfast.sim.run import Options, Result, run
from holdfast.sim.seeds import Failure, read_seeds

SEEDS_FILE = Path(holdfast.sim.__file__).with_name("seeds.txt")


def told(results: list[Result], options: Options) -> str:
    return "\n\n".join(f"{result.text}\n  replay: {replay_command(options, result.seed)}" for result in results)


@pytest.mark.parametrize(
    ("options", "seeds"),
    [
        (Options(protocol="solo"), 100),
        (Options(model="perfect"), 200),
        (Options(model="majority"), 200),
        (Options(model="perfect", transport="lossy"), 60),
        (Options(model="majority", transport="datagram"), 60),
    ],
    ids=lambda value: f"{value.protocol}-{value.failure_model}-{value.transport}" if type(value) is Options else "",
)
def test_every_schedule_passes(options: Options, seeds: int) -> None:
    tally = Tally()
    for result in run_many(options, 10_000, seeds):
        tally.add(result)
    assert not tally.failures, told(tally.failures, options)
    assert tally.faults > seeds
    assert tally.operations > 10 * seeds


@pytest.mark.slow
@pytest.mark.parametrize("options", [Options(model="perfect"), Options(model="majority"), Options(protocol="solo")])
def test_a_thousand_schedules_pass(options: Options) -> None:
    failed = [result for result in run_many(options, 20_000, 1_000) if not result.ok]
    assert not failed, told(failed, options)


@pytest.mark.parametrize("failure", read_seeds(SEEDS_FILE.read_text()), ids=lambda failure: f"seed-{failure.seed}")
def test_what_once_failed_passes(failure: Failure) -> None:
    result = run(failure.options, failure.seed)
    assert result.ok, told([result], failure.options)


def test_a_seed_gives_the_same_trace_under_every_hash_seed() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        script = (
            "from holdfast.sim.run import Options, run\n"
            "for options in (Options(model='majority'), Options(protocol='solo')):\n"
            "    print('\\n'.join(run(options, 5, tracing=True).lines))\n"
        )
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        output = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True).stdout
        assert output.count(b"\n") > 100
        digests.add(hashlib.blake2b(output).hexdigest())
    assert len(digests) == 1


def test_tracing_changes_nothing() -> None:
    options = Options(model="perfect")
    silent, traced = run(options, 3), run(options, 3, tracing=True)
    assert silent.lines == ()
    assert (silent.events, silent.faults, silent.virtual_us) == (traced.events, traced.faults, traced.virtual_us)


def test_two_processes_give_what_one_gives() -> None:
    options = Options(model="perfect")
    assert list(run_many(options, 1, 12, processes=2)) == [run(options, seed) for seed in range(1, 13)]


def test_a_failure_is_told_with_the_command_that_replays_it() -> None:
    options = Options(model="perfect", servers=3, faults=("crash", "power"), bug="early-reply")
    assert replay_command(options, 7) == (
        "holdfast simulate --app tickets --protocol lamport --model perfect --seed 7 --servers 3 "
        "--faults crash,power --bug early-reply --trace"
    )


@pytest.mark.parametrize(
    "wrong", [{"app": "opera"}, {"protocol": "raft"}, {"model": "hope"}, {"faults": ("flood",)}, {"bug": "none such"}]
)
def test_an_unknown_word_is_refused_with_those_that_are_known(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="only"):
        Options(**wrong)
