"""Many runs: seed after seed, in a few processes, and what they came to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import msgspec

from holdfast.sim.options import KINDS
from holdfast.sim.run import Options, Result, run

CHUNK_SEEDS = 5


def run_many(options: Options, first: int, count: int, processes: int = 2) -> Iterator[Result]:
    """Run `count` seeds from `first` on and yield their results in the order of the seeds."""
    seeds = range(first, first + count)
    if processes <= 1 or count <= CHUNK_SEEDS:
        yield from (run(options, seed) for seed in seeds)
        return
    with ProcessPoolExecutor(max_workers=processes) as pool:
        try:
            yield from pool.map(run, itertools.repeat(options, count), seeds, chunksize=CHUNK_SEEDS)
        finally:
            pool.shutdown(cancel_futures=True)


class Tally(msgspec.Struct):
    """The sum of some results. Times of the runs are virtual, in microseconds."""

    seeds: int = 0
    faults: int = 0
    operations: int = 0
    events: int = 0
    virtual_us: int = 0
    failures: list[Result] = []
    figures: dict[str, int] = {}

    def add(self, result: Result) -> None:
        """Count one more run."""
        self.seeds += 1
        self.faults += result.faults
        self.operations += result.operations
        self.events += result.events
        self.virtual_us += result.virtual_us
        for name, count in result.figures:
            self.figures[name] = self.figures.get(name, 0) + count
        if not result.ok:
            self.failures.append(result)


def replay_command(options: Options, seed: int) -> str:
    """The command line that runs this very seed again, with its trace."""
    words = ["holdfast", "simulate", "--app", options.app, "--protocol", options.protocol]
    words += ["--model", options.failure_model, "--seed", str(seed)]
    if options.servers:
        words += ["--servers", str(options.servers)]
    if options.faults:
        words += ["--faults", ",".join(options.faults)]
    if options.transport != KINDS[options.protocol].transports[0]:
        words += ["--transport", options.transport]
    if options.bug:
        words += ["--bug", options.bug]
    return " ".join([*words, "--trace"])
