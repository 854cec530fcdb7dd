"""`holdfast bench`: measure this installation on this machine."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from holdfast.bench.cluster import ClusterError

DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="A directory on the disk to measure; default: temporary.")
]
ReportsOption = Annotated[Path, typer.Option("--reports", metavar="DIR", help="Where the report goes.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print everything found as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the command to a Typer application."""
    bench = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Measure the speed.")
    bench.command("tickets")(tickets)
    bench.command("million")(million)
    bench.command("rooms")(rooms)
    bench.command("events")(events)
    bench.command("planner")(planner)
    bench.command("slots")(slots)
    bench.command("messages")(messages)
    app.add_typer(bench, name="bench")


def tickets(
    quick: Annotated[bool, typer.Option("--quick", help="Seconds only; shows that it runs.")] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each row is measured.")] = 3,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="How long each row is measured.")] = 4.0,
    ceiling: Annotated[bool, typer.Option(help="Measure the ceiling too, in turn.")] = True,
    failure_model: Annotated[Literal["perfect", "majority"], typer.Option("--failure-model")] = "perfect",
    data: DataOption = None,
    reports: ReportsOption = Path("reports"),
    json: JsonOption = False,
) -> None:
    """Three durable nodes here, clients over TCP, each request one reservation; beside the ceiling.

    Takes some minutes. Ends with status 1 if any reply was wrong.
    """
    from holdfast.bench.measure import full_plan, measure, quick_plan
    from holdfast.bench.report import markdown, write_report

    plan = full_plan(rounds=rounds, seconds=seconds, ceiling=ceiling, failure_model=failure_model)
    if quick:
        plan = quick_plan(failure_model=failure_model)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=data) as directory:
        try:
            report = measure(plan, Path(directory), progress)
        except ClusterError as error:
            raise typer.Exit(failed(str(error))) from error
    page, plot = write_report(report, reports)
    print(msgspec.json.encode(report).decode() if json else markdown(report, plot.name))
    progress(f"report: {page}, plot: {plot}")
    if report.errors():
        raise typer.Exit(1)


def million(
    bookings: Annotated[int, typer.Option("--bookings", min=100, help="How many.")] = 1_000_000,
    steady_seconds: Annotated[
        float, typer.Option("--steady-seconds", min=0.1, help="How long the full theatre is used afterwards.")
    ] = 20.0,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """So many bookings on three durable nodes: memory, pauses, and how long a start takes."""
    from holdfast.bench.million import measure_million, million_text

    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=data) as directory:
        try:
            found = measure_million(bookings, steady_seconds, Path(directory), progress)
        except ClusterError as error:
            raise typer.Exit(failed(str(error))) from error
    print(msgspec.json.encode(found).decode() if json else million_text(found))
    if found.fill.errors or found.fill.unanswered or found.steady.errors or found.held_after != bookings:
        raise typer.Exit(1)


def rooms(
    quick: Annotated[bool, typer.Option("--quick", help="Seconds only; shows that it runs.")] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=8, help="How often each figure is measured.")] = 3,
    data: DataOption = None,
    reports: ReportsOption = Path("reports"),
    json: JsonOption = False,
) -> None:
    """Ten replicas that wrote alone and meet: processor time, executions and bytes, in one process.

    Ends with status 1 if they did not come to equal stores, all confirmed, with two executions at most.
    """
    from holdfast.bench.rooms import FULL, QUICK, measure_rooms
    from holdfast.bench.rooms_report import rooms_markdown, write_rooms_report

    plan = msgspec.structs.replace(QUICK if quick else FULL, rounds=2 if quick else rounds)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=data) as directory:
        report = measure_rooms(plan, Path(directory), progress)
    page, plot = write_rooms_report(report, reports)
    print(msgspec.json.encode(report).decode() if json else rooms_markdown(report, plot.name))
    progress(f"report: {page}, plot: {plot}")
    if report.errors():
        raise typer.Exit(1)


def events(
    quick: Annotated[bool, typer.Option("--quick", help="Seconds only; shows that it runs.")] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each row is measured.")] = 3,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="How long each row is measured.")] = 4.0,
    bookings: Annotated[int, typer.Option("--bookings", min=100, help="Of the replica that is replaced.")] = 100_000,
    data: DataOption = None,
    reports: ReportsOption = Path("reports"),
    json: JsonOption = False,
) -> None:
    """Three durable nodes whose answers are voted on, beside the same without a vote; a kill; a wrong replica.

    Takes some minutes. Ends with status 1 if any reply was wrong.
    """
    from holdfast.bench.events import FULL, QUICK, measure_events
    from holdfast.bench.events_report import events_markdown, write_events_report

    plan = msgspec.structs.replace(FULL, rounds=rounds, seconds=seconds, bookings=bookings)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=data) as directory:
        try:
            report = measure_events(QUICK if quick else plan, Path(directory), progress)
        except ClusterError as error:
            raise typer.Exit(failed(str(error))) from error
    page = write_events_report(report, reports)
    print(msgspec.json.encode(report).decode() if json else events_markdown(report))
    progress(f"report: {page}")
    if report.errors():
        raise typer.Exit(1)


def slots(
    quick: Annotated[bool, typer.Option("--quick", help="Seconds only; shows that it runs.")] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each row is measured.")] = 3,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="How long each row is measured.")] = 4.0,
    data: DataOption = None,
    reports: ReportsOption = Path("reports"),
    json: JsonOption = False,
) -> None:
    """One durable vendor over HTTP with keep-alive clients: reservations a second, and what bounds them.

    Takes a minute or two. Ends with status 1 if any answer was wrong.
    """
    from holdfast.bench.slots import FULL, QUICK, measure_slots, slots_markdown, write_slots_report

    plan = QUICK if quick else msgspec.structs.replace(FULL, rounds=rounds, seconds=seconds)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=data) as directory:
        try:
            report = measure_slots(plan, Path(directory), progress)
        except ClusterError as error:
            raise typer.Exit(failed(str(error))) from error
    page = write_slots_report(report, reports)
    print(msgspec.json.encode(report).decode() if json else slots_markdown(report))
    progress(f"report: {page}")
    if report.errors():
        raise typer.Exit(1)


def messages(
    quick: Annotated[bool, typer.Option("--quick", help="Seconds only; shows that it runs.")] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each row is measured.")] = 3,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="How long each row is measured.")] = 4.0,
    box: Annotated[
        int, typer.Option("--box", min=0, help="How many messages the big inbox has; 0: no such.")
    ] = 1_000_000,
    soak: Annotated[
        float, typer.Option("--soak", metavar="MINUTES", min=0, help="Only kill nodes and clients, for so long.")
    ] = 0.0,
    data: DataOption = None,
    reports: ReportsOption = Path("reports"),
    json: JsonOption = False,
) -> None:
    """Pairs of people on three durable nodes, beside the ceiling: messages a second, accepted and pushed.

    And an inbox of a million. Takes some minutes. Ends with status 1 if anything was lost, double, out of
    order or wrong.
    """
    from holdfast.bench.messages import FULL, QUICK, measure_messages
    from holdfast.bench.messages_report import messages_markdown, write_messages_report

    if soak:
        _soak(soak, data, json=json)
        return
    plan = QUICK if quick else msgspec.structs.replace(FULL, rounds=rounds, seconds=seconds, box=box)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=data) as directory:
        try:
            report = measure_messages(plan, Path(directory), progress)
        except ClusterError as error:
            raise typer.Exit(failed(str(error))) from error
    page = write_messages_report(report, reports)
    print(msgspec.json.encode(report).decode() if json else messages_markdown(report))
    progress(f"report: {page}")
    if report.errors():
        raise typer.Exit(1)


def _soak(minutes: float, data: Path | None, *, json: bool) -> None:
    from holdfast.bench.messages_soak import SoakPlan, soak, soak_text

    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=data) as directory:
        try:
            found = soak(SoakPlan(seconds=60 * minutes), Path(directory), progress)
        except ClusterError as error:
            raise typer.Exit(failed(str(error))) from error
    print(msgspec.json.encode(found).decode() if json else soak_text(found))
    if found.errors:
        raise typer.Exit(1)


def planner(
    quick: Annotated[bool, typer.Option("--quick", help="Seconds only; shows that it runs.")] = False,
    worlds: Annotated[int, typer.Option("--worlds", min=1, help="How many of each kind.")] = 60,
    reports: ReportsOption = Path("reports"),
    json: JsonOption = False,
) -> None:
    """Plans in virtual time, beside an optimum that knows every vendor's future: requests, seconds, rank.

    With up to 20 rivals and half of all requests failing. Ends with status 1 if with one rival and mild
    faults the median is more than 1.5 times the optimum.
    """
    from holdfast.bench.planner import measure_planner
    from holdfast.bench.planner_report import planner_markdown, write_planner_report

    report = measure_planner(8 if quick else worlds, progress, quick=quick)
    page, plot = write_planner_report(report, reports)
    print(msgspec.json.encode(report).decode() if json else planner_markdown(report, plot.name))
    progress(f"report: {page}, plots: {plot} and beside it")
    if report.errors():
        raise typer.Exit(1)


def progress(text: str) -> None:
    """Tell how far it is, beside the result."""
    print(text, file=sys.stderr, flush=True)


def failed(text: str) -> int:
    """Say why it came to nothing; the exit status."""
    print(f"holdfast bench: {text}", file=sys.stderr)
    return 1
