"""Messages under virtual time: random days of people and devices pass every law, and planted bugs are found."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import msgspec
import pytest

from holdfast.apps.messages import Arrived, Send, Sent
from holdfast.kernel.contracts import Person, Reply, Request
from holdfast.kernel.replies import Forgotten
from holdfast.sim.audit import Violation
from holdfast.sim.many import Tally, replay_command, run_many
from holdfast.sim.messages import site, verdict
from holdfast.sim.messages.bugs import BUGS
from holdfast.sim.messages.post import Batch
from holdfast.sim.messages.verdict import Court
from holdfast.sim.messages.ward import Terms, Ward
from holdfast.sim.options import Options, Result
from holdfast.sim.run import run


def messages(protocol: str = "lamport", **chosen: object) -> Options:
    return Options(**{"app": "messages", "protocol": protocol, **chosen})  # type: ignore[arg-type]


def told(results: list[Result], options: Options) -> str:
    return "\n\n".join(f"{result.text}\n  replay: {replay_command(options, result.seed)}" for result in results)


@pytest.mark.parametrize(
    ("options", "seeds"),
    [
        (messages("solo"), 20),
        (messages(model="perfect"), 20),
        (messages(model="majority"), 20),
        (messages(model="majority", transport="datagram"), 6),
        (messages("bayou", model="all-heard"), 5),
        (messages("bayou", model="immediate"), 4),
        (messages("bayou", model="accept-loss"), 2),
    ],
    ids=lambda value: f"{value.protocol}-{value.failure_model}-{value.transport}" if type(value) is Options else "",
)
def test_every_schedule_passes(options: Options, seeds: int) -> None:
    tally = Tally()
    for result in run_many(options, 70_000, seeds, processes=1):
        tally.add(result)
    assert not tally.failures, told(tally.failures, options)
    assert tally.faults > seeds
    assert tally.operations > 20 * seeds


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [messages("solo"), messages(model="perfect"), messages(model="majority"), messages("bayou")]
)
def test_hundreds_of_schedules_pass(options: Options) -> None:
    failed = [result for result in run_many(options, 80_000, 300) if not result.ok]
    assert not failed, told(failed, options)


def test_a_seed_gives_the_same_trace_under_every_hash_seed() -> None:
    digests = set()
    script = (
        "from holdfast.sim.run import Options, run\n"
        "for protocol in ('lamport', 'bayou'):\n"
        "    options = Options(app='messages', protocol=protocol)\n"
        "    print('\\n'.join(run(options, 5, tracing=True).lines))\n"
    )
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        output = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True).stdout
        assert output.count(b"\n") > 500
        digests.add(hashlib.blake2b(output).hexdigest())
    assert len(digests) == 1


# ---- what a client has given up


def judge_late(lowest: int, late: Reply) -> None:
    """Ann's client says number 2, and which is the lowest that it waits for; behind that number 1 comes in."""
    ann, arrived = Person("ann"), Arrived(1, "1-0-0", "ann+bob", 1, "ann", "", "routine", "two", 0, 0)
    second = Request(Send("bob", "two"), "c", 2, lowest, ann)
    first = Request(Send("bob", "one"), "c", 1, 1, ann)
    batches = {
        1: Batch((1, 0), [second], [Sent("ann+bob", 1, "1-0-0", "bob")], [("bob", "1-0-0", arrived)]),
        2: Batch((2, 0), [first], [late], []),
    }
    Court(Ward(Terms(1_000, 1_000)), []).judge(batches)


def test_what_comes_after_its_client_has_given_it_up_is_forgotten() -> None:
    judge_late(2, Forgotten("c", 1, 2))


@pytest.mark.parametrize(
    ("lowest", "late", "why"),
    [
        (1, Forgotten("c", 1, 2), "model: ann said Send to=bob text=one .*: Forgotten client=c number=1"),
        (2, Sent("ann+bob", 2, "2-0-0", "bob"), "exactly once: c was done with 1, and it is executed"),
    ],
)
def test_what_its_client_waits_for_is_not_forgotten_and_the_rest_is(lowest: int, late: Reply, why: str) -> None:
    with pytest.raises(Violation, match=why):
        judge_late(lowest, late)


# ---- planted bugs

FOUND_WITHIN: dict[str, tuple[int, Options]] = {
    "push-before-sync": (10, messages(model="majority")),
    "silent-reset": (5, messages(model="perfect")),
    "retry-twice": (3, messages(model="majority")),
    "told-at-home": (3, messages(model="majority")),
    "told-each-time": (3, messages("bayou")),
    "acks-unheard": (10, messages("bayou")),
    "deletions-untold": (10, messages("bayou")),
    "groups-untold": (10, messages("bayou")),
    "other-text-pushed": (3, messages("bayou")),
    "repeats-twice": (3, messages("bayou")),
    "wrong-number-pushed": (3, messages("bayou")),
    "repeats-untold": (3, messages("bayou")),
    "repeats-after-ack": (5, messages("solo")),
    "deleted-acked": (10, messages("solo")),
    "cursor-back": (5, messages("solo")),
    "unread-miscounted": (3, messages("solo")),
    "history-shows-all": (3, messages("solo")),
    "seen-without-a-line": (3, messages("solo")),
    "told-to-all": (5, messages("solo")),
    "shown-to-all": (5, messages("solo")),
    "cursor-first": (10, messages("solo")),
    "cursor-follows": (5, messages("solo")),
    "gaps-ignored": (10, messages("solo")),
    "never-asks": (30, messages(model="majority", faults=("crash", "power"))),
}
"""The bug, how many seeds it may take, and the schedules that try it."""


def test_every_planted_bug_has_its_test() -> None:
    assert set(FOUND_WITHIN) == set(BUGS)
    assert len(BUGS) >= 8


ALSO_FOUND: dict[str, tuple[int, Options]] = {"silent-reset": (10, messages("bayou"))}
"""Where another law stands for the same."""


@pytest.mark.parametrize("bug", ALSO_FOUND)
def test_it_is_found_under_the_other_protocol_too(bug: str) -> None:
    seeds, options = ALSO_FOUND[bug]
    planted = msgspec.structs.replace(options, bug=bug)
    failed = next((result for seed in range(seeds) if not (result := run(planted, seed)).ok), None)
    assert failed is not None, f"{bug} was not found in {seeds} seeds"
    assert failed.kind == "push"
    assert run(options, failed.seed).ok


@pytest.mark.parametrize("bug", FOUND_WITHIN)
def test_the_planted_bug_is_found(bug: str) -> None:
    seeds, options = FOUND_WITHIN[bug]
    planted = msgspec.structs.replace(options, bug=bug)
    failed = next((result for seed in range(seeds) if not (result := run(planted, seed)).ok), None)
    assert failed is not None, f"{bug} was not found in {seeds} seeds"
    assert failed.kind != "exception", failed.text
    healthy = run(options, failed.seed)
    assert healthy.ok, f"seed {failed.seed} fails without the bug too: {healthy.text}"


@pytest.mark.parametrize("bug", ["history-shows-all", "seen-without-a-line"])
def test_what_is_shown_is_judged_by_the_log_also_without_the_model(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (site, verdict):
        monkeypatch.setattr(module, "is_right", lambda *_: True)
    kinds = [run(messages("solo", bug=bug), seed).kind for seed in range(6)]
    assert "read" in kinds
    assert set(kinds) <= {"read", ""}
