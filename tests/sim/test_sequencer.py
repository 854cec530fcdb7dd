"""Front ends, sequencers and managers: schedules of loss, crashes and wrong replicas pass every law."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from holdfast.replication.sequencer.messages import REQUESTS, Journaled, Ordered, Promise, Run, encode_record
from holdfast.sim.audit import Violation
from holdfast.sim.many import Tally, replay_command, run_many
from holdfast.sim.options import Options, Result
from holdfast.sim.run import run
from holdfast.sim.sequencer.ledger import Ledger
from holdfast.sim.sequencer.site import SequencerSite
from holdfast.sim.sequencer.weather import PLANTS
from holdfast.sim.workloads import EventsWorkload
from holdfast.sim.world import World


def site(**chosen: object) -> Options:
    return Options(**{"app": "events", "protocol": "sequencer", **chosen})  # type: ignore[arg-type]


def told(results: list[Result], options: Options) -> str:
    return "\n\n".join(f"{result.text}\n  replay: {replay_command(options, result.seed)}" for result in results)


@pytest.mark.parametrize(
    ("options", "seeds"),
    [
        (site(model="three"), 8),
        (site(model="four"), 8),
        (site(model="roles"), 8),
        (site(model="beyond"), 8),
        (site(model="three", app="tickets"), 5),
        (site(model="roles", app="tickets", faults=("depose", "crash", *PLANTS)), 5),
        (site(model="three", transport="lossy"), 4),
        (site(model="four", transport="stream"), 3),
    ],
    ids=lambda value: f"{value.app}-{value.model}-{value.transport}" if type(value) is Options else "",
)
def test_every_schedule_passes(options: Options, seeds: int) -> None:
    tally = Tally()
    for result in run_many(options, 40_000, seeds):
        tally.add(result)
    assert not tally.failures, told(tally.failures, options)
    assert tally.faults > 5 * seeds
    assert tally.operations > 15 * seeds
    assert tally.figures["epochs"] > seeds
    assert tally.figures["copies"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("model", ["three", "four", "roles", "beyond"])
def test_a_thousand_schedules_pass(model: str) -> None:
    options = site(model=model)
    failed = [result for result in run_many(options, 60_000, 1_000) if not result.ok]
    assert not failed, told(failed, options)


@pytest.mark.parametrize("fault", ["wrong", "state", "garbage", "silent", "dead", "raise"])
def test_a_replica_that_goes_wrong_is_begun_anew_whatever_it_does(fault: str) -> None:
    copies = 0
    for seed in range(2):
        result = run(site(model="three", faults=(fault,)), seed)
        assert result.ok, result.text
        copies += dict(result.figures)["copies"]
    assert copies >= 2


def test_where_more_fail_than_the_vote_makes_up_for_an_operator_brings_the_service_back() -> None:
    tally = Tally()
    for result in run_many(site(model="beyond", faults=("state", "dead", "raise")), 41_000, 8):
        tally.add(result)
    assert not tally.failures, told(tally.failures, site(model="beyond"))
    assert tally.figures["trusted"] > 8


def test_a_seed_gives_the_same_trace_under_every_hash_seed() -> None:
    digests = set()
    script = (
        "from holdfast.sim.run import Options, run\n"
        "for model in ('roles',):\n"
        "    options = Options(app='events', protocol='sequencer', model=model)\n"
        "    print('\\n'.join(run(options, 5, tracing=True).lines))\n"
    )
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        output = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True).stdout
        assert output.count(b"\n") > 500
        digests.add(hashlib.blake2b(output).hexdigest())
    assert len(digests) == 1


def test_its_own_transport_is_that_of_datagrams() -> None:
    assert site().transport == "datagram"
    assert "--transport" not in replay_command(site(), 1)
    assert "--transport stream" in replay_command(site(transport="stream"), 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_of_three_managers_one_at_a_time_may_be_without_a_right_state(seed: int) -> None:
    """What the one who breaks things lets happen, looked at in the middle of runs."""
    simulated = SequencerSite(site(model="three"), seed, False)
    weather, ledger = simulated.weather, simulated.ledger
    plant = ledger.plant

    def planted(node: int, kind: str) -> None:
        plant(node, kind)
        assert len(ledger.planted) == 1
        assert all(host.whole for host in weather.managers)

    ledger.plant = planted  # type: ignore[method-assign]
    simulated.play()


RUN = Run(REQUESTS, 0, 7, 1, 2, b"")


@pytest.fixture
def ledger() -> Ledger:
    world = World(1)
    watching = Ledger(world, (0, 1, 2), EventsWorkload(world.random).app)
    for node in (0, 1, 2):
        watching.new_disk(node)
    return watching


class Written:
    """What a disk keeps, as a group."""

    def __init__(self, *records: object) -> None:
        self.records = [encode_record(record) for record in records]


def test_the_ledger_catches_a_word_that_the_disk_does_not_bear_out(ledger: Ledger) -> None:
    ledger.stored(0, Written(Ordered(1, (RUN,), 0)))  # type: ignore[arg-type]
    with pytest.raises(Violation, match="false word"):
        ledger.leaves(0, Journaled(1, 2, 0))


def test_the_ledger_catches_a_number_that_too_few_have(ledger: Ledger) -> None:
    ledger.stored(0, Written(Ordered(1, (RUN,), 0)))  # type: ignore[arg-type]
    with pytest.raises(Violation, match="majority"):
        ledger._decides(0, 1, RUN)


def test_the_ledger_catches_two_contents_of_a_number_and_a_repeat(ledger: Ledger) -> None:
    for node in (0, 1):
        ledger.stored(node, Written(Ordered(1, (RUN, RUN), 0), Promise(3, 1, ())))  # type: ignore[arg-type]
    ledger._decides(0, 1, RUN)
    with pytest.raises(Violation, match="number"):
        ledger._decides(1, 1, Run(REQUESTS, 1, 7, 1, 2, b""))
    with pytest.raises(Violation, match="stream"):
        ledger._decides(0, 3, RUN)


def test_the_ledger_catches_a_wrong_answer_and_a_right_replica_that_is_replaced(ledger: Ledger) -> None:
    with pytest.raises(Violation, match="wrong answer"):
        ledger._believed(0, (0, 7, 1, 1, b"anything"))
    ledger.plant(1, "wrong")
    ledger._replaces(1, 0, "it was wrong")
    with pytest.raises(Violation, match="right one replaced"):
        ledger._replaces(2, 0, "it was not")
