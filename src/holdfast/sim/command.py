"""`holdfast simulate`: the same cores and apps under virtual time and faults."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from holdfast.sim.many import Tally, replay_command, run_many
from holdfast.sim.run import Options, first_app, models_of, run

FAILURES_MAX = 10
"""A simulation ends early after so many failing seeds: they are most likely one mistake."""


def register(app: typer.Typer) -> None:
    """Add the command to a Typer application."""
    app.command("simulate")(simulate)


def simulate(
    app: Annotated[
        str, typer.Option("--app", metavar="APP", help="What is replicated; default: the protocol's first.")
    ] = "",
    protocol: Annotated[
        str, typer.Option("--protocol", metavar="NAME", help="How: lamport, solo, bayou, sequencer; planner; notices.")
    ] = "lamport",
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The first schedule.")] = 1,
    seeds: Annotated[int, typer.Option("--seeds", metavar="K", min=1, help="How many, under each model.")] = 1,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="perfect, majority; bayou: all-heard, immediate, accept-loss; sequencer: three, four, roles, beyond; "
            "planner: named, unnamed; notices: SOURCE-RECEIVER, as bayou-lamport; default: each.",
        ),
    ] = "",
    faults: Annotated[
        str, typer.Option("--faults", metavar="KIND,...", help="Only these kinds; default: all the model tolerates.")
    ] = "",
    servers: Annotated[int, typer.Option("--servers", metavar="N", min=0, help="How many; default: varied.")] = 0,
    transport: Annotated[
        str,
        typer.Option(
            "--transport",
            metavar="KIND",
            help="stream, lossy or datagram; default: datagram for sequencer, else stream.",
        ),
    ] = "",
    bug: Annotated[str, typer.Option("--bug", metavar="NAME", help="Plant a bug, to see that it is found.")] = "",
    processes: Annotated[int, typer.Option("--processes", metavar="N", min=1, help="How many at a time.")] = 2,
    trace: Annotated[bool, typer.Option("--trace", help="Print all that happens in the first schedule.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Run schedules of faults and random clients, and check what the clients saw.

    A schedule is replayed by its seed. Ends with status 1 when one fails, and prints the command
    that replays it.
    """
    kinds = tuple(kind for kind in faults.split(",") if kind)
    try:
        app = app or first_app(protocol)
        chosen = [
            Options(
                app=app, protocol=protocol, model=one, servers=servers, faults=kinds, transport=transport, bug=bug
            )
            for one in ([model] if model else models_of(protocol))
        ]  # fmt: skip
    except ValueError as error:
        print(f"holdfast simulate: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    passed = _trace(chosen[0], seed) if trace else _run_all(chosen, seed, seeds, processes, json)
    if not passed:
        raise typer.Exit(1)


def _trace(options: Options, seed: int) -> bool:
    result = run(options, seed, tracing=True)
    for line in result.lines:
        print(line)
    if result.ok:
        print(f"seed {seed}: passed, {result.faults} faults, {result.operations} operations")
    return result.ok


def _run_all(chosen: list[Options], first: int, count: int, processes: int, as_json: bool) -> bool:
    report = []
    for options in chosen:
        started = time.monotonic()
        tally = _run_with_progress(options, first, count, processes)
        seconds = time.monotonic() - started
        failures = [
            {"seed": one.seed, "kind": one.kind, "text": one.text, "replay": replay_command(options, one.seed)}
            for one in tally.failures
        ]
        summary = {
            "app": options.app, "protocol": options.protocol, "model": options.failure_model,
            "first_seed": first, "seeds": tally.seeds, "faults": tally.faults, "operations": tally.operations,
            "events": tally.events, "virtual_s": tally.virtual_us // 1_000_000, "seconds": round(seconds, 1),
            "seeds_a_minute": round(60 * tally.seeds / seconds) if seconds else 0, "figures": tally.figures,
            "failures": failures,
        }  # fmt: skip
        report.append(summary)
        if not as_json:
            _tell(summary, failures)
    if as_json:
        print(msgspec.json.encode(report).decode())
    return not any(summary["failures"] for summary in report)


def _run_with_progress(options: Options, first: int, count: int, processes: int) -> Tally:
    tally = Tally()
    columns = (
        TextColumn(f"{options.app} {options.protocol} {options.failure_model}"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[faults]} faults"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=count, faults=0)
        for result in run_many(options, first, count, processes):
            tally.add(result)
            progress.update(task, advance=1, faults=tally.faults)
            if len(tally.failures) == FAILURES_MAX:
                break
    return tally


def _tell(summary: dict[str, object], failures: list[dict[str, object]]) -> None:
    what = f"{summary['app']} under {summary['protocol']}, {summary['model']}"
    print(
        f"{what}: {summary['seeds']} schedules from seed {summary['first_seed']} on, {summary['faults']} faults, "
        f"{summary['operations']} operations, {summary['virtual_s']} s of virtual time in {summary['seconds']} s: "
        f"{f'{len(failures)} FAILED' if failures else 'all passed'}"
    )
    figures = summary["figures"]
    assert isinstance(figures, dict)
    if figures:
        print("  " + ", ".join(f"{name} {count}" for name, count in figures.items()))
    for failure in failures:
        print(f"\nseed {failure['seed']} failed ({failure['kind']}): {failure['text']}\n  replay: {failure['replay']}")
