"""Notices under virtual time: two services with faults on all sides, and planted bugs are found."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import msgspec
import pytest

from holdfast.kernel.contracts import Person
from holdfast.sim.many import Tally, replay_command, run_many
from holdfast.sim.notices.bugs import BUGS
from holdfast.sim.notices.desk import Ask, Register, Return, Seize
from holdfast.sim.notices.models import MODELS
from holdfast.sim.notices.site import NoticesSite
from holdfast.sim.options import Options, Result
from holdfast.sim.run import run


def notices(model: str, *faults: str, **chosen: object) -> Options:
    return Options(app="messages", protocol="notices", model=model, faults=faults, **chosen)  # type: ignore[arg-type]


def told(results: list[Result], options: Options) -> str:
    return "\n\n".join(f"{result.text}\n  replay: {replay_command(options, result.seed)}" for result in results)


SEEDS = {"solo-solo": 10, "bayou-bayou": 6}


@pytest.mark.parametrize("model", MODELS)
def test_every_schedule_passes(model: str) -> None:
    options, seeds, tally = notices(model), SEEDS.get(model, 3), Tally()
    for result in run_many(options, 70_000, seeds, processes=1):
        tally.add(result)
    assert not tally.failures, told(tally.failures, options)
    assert tally.faults > seeds
    assert tally.figures["taken"] >= tally.figures["notices"] > 2 * seeds


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_hundreds_of_schedules_pass(model: str) -> None:
    failed = [result for result in run_many(notices(model), 80_000, 200) if not result.ok]
    assert not failed, told(failed, notices(model))


def test_some_sources_are_begun_anew_and_both_lives_arrive() -> None:
    anew = 0
    for seed in range(70_000, 70_012):
        site = NoticesSite(notices("solo-solo"), seed, False)
        site.play()
        anew += bool(site.lives and site.lives[0])
    assert anew


def test_a_seed_gives_the_same_trace_under_every_hash_seed() -> None:
    digests = set()
    script = (
        "from holdfast.sim.run import Options, run\n"
        "for model in ('solo-solo', 'bayou-bayou'):\n"
        "    options = Options(app='messages', protocol='notices', model=model)\n"
        "    print('\\n'.join(run(options, 5, tracing=True).lines))\n"
    )
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        output = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True).stdout
        assert output.count(b"\n") > 300
        digests.add(hashlib.blake2b(output).hexdigest())
    assert len(digests) == 1


def test_the_register_tells_who_has_lost_what() -> None:
    register = Register()
    ann, bob = Person("ann").id, Person("bob").id
    register.do(ann, Ask("pump", "m1"))
    register.do(bob, Ask("pump", "m2"))
    register.do(bob, Seize("pump", "m3", ("cem",)))
    register.do(ann, Return("pump"))
    register.do(bob, Return("pump"))
    register.do(ann, Ask("pump", "m4"))
    assert register.told == [
        ("bob", "m2: ann has the pump"),
        ("ann", "m3: bob has taken the pump from you"),
        ("cem", "m3: bob has the pump"),
    ]


# ---- planted bugs

FOUND_WITHIN: dict[str, tuple[int, int, Options]] = {
    "taken-twice": (0, 5, notices("solo-solo")),
    "source-forgotten": (0, 5, notices("solo-solo")),
    "tentative-out": (10, 15, notices("bayou-bayou")),
    "dropped-too-far": (0, 5, notices("solo-solo")),
    "drops-at-once": (0, 3, notices("solo-solo")),
    "takes-it-for-final": (20, 30, notices("bayou-bayou", "empty-disk", "offline", "split")),
    "skips-the-first": (0, 3, notices("solo-solo")),
    "gives-up": (0, 8, notices("solo-solo")),
}
"""The bug, from which seed on, how many it may take, and the schedules that try it."""


def test_every_planted_bug_has_its_test() -> None:
    assert set(FOUND_WITHIN) == set(BUGS)
    assert len(BUGS) >= 8


@pytest.mark.parametrize("bug", FOUND_WITHIN)
def test_the_planted_bug_is_found(bug: str) -> None:
    first, seeds, options = FOUND_WITHIN[bug]
    planted = msgspec.structs.replace(options, bug=bug)
    results = (run(planted, seed) for seed in range(first, first + seeds))
    failed = next((result for result in results if not result.ok), None)
    assert failed is not None, f"{bug} was not found in {seeds} seeds"
    assert failed.kind != "exception", failed.text
    healthy = run(options, failed.seed)
    assert healthy.ok, f"seed {failed.seed} fails without the bug too: {healthy.text}"
