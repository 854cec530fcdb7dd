"""Many bookings: what they cost in memory, whether a snapshot is felt, how long a start takes."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from holdfast.bench.cluster import NAMES, HoldfastCluster
from holdfast.bench.load import LoadOptions, LoadResult
from holdfast.bench.measure import Machine, Progress, apply_load, describe_machine

FILL_SECONDS_MAX = 1200.0
SEATS_SPARE = 10_000


class Million(msgspec.Struct, frozen=True, kw_only=True):
    """`fill`: the bookings being made; its `pause_ms` is the longest time in which nobody was answered.
    `steady`: reservations and deletions afterwards, over the full state, snapshots included.
    `rejoined_seconds`: one killed node, from its start until it is a member again.
    `restarted_seconds`: all three killed and started, until all are active, from their journals alone.
    `held_after`: how many seats are reserved then, the least that any of the three says."""

    bookings: int
    machine: Machine
    fill: LoadResult
    memory_mb: dict[str, float]
    journal_mb: dict[str, float]
    steady: LoadResult
    memory_after_mb: dict[str, float]
    rejoined_seconds: float
    restarted_seconds: float
    held_after: int


def measure_million(bookings: int, steady_seconds: float, directory: Path, progress: Progress) -> Million:
    """Book, look, kill, start again. The data goes to `directory`, which must exist."""
    machine = describe_machine(directory)
    place = directory / "million"
    with HoldfastCluster(place, seats=bookings + SEATS_SPARE) as cluster:
        progress(f"{bookings:,} bookings, each for a name of its own ...")
        clients = 64
        window = min(64, max(1, bookings // clients))
        fill, _ = apply_load(
            cluster,
            LoadOptions(
                servers=cluster.addresses, clients=clients, window=window, fill=bookings, seconds=FILL_SECONDS_MAX
            ),
        )
        progress(f"{fill.per_second:,.0f} a second; longest time without any reply {fill.pause_ms:.0f} ms")
        memory, journal = cluster.memory_bytes(), journal_bytes(place)
        steady, _ = apply_load(
            cluster, LoadOptions(servers=cluster.addresses, clients=64, seconds=steady_seconds, tag="s")
        )
        after = cluster.memory_bytes()
        progress(f"over the full state {steady.per_second:,.0f} a second, longest pause {steady.pause_ms:.0f} ms")
        rejoined_seconds = restart(cluster, ("b",))
        restarted_seconds = restart(cluster, NAMES)
        held_after = bookings + SEATS_SPARE - max(cluster.seats_free(name) for name in NAMES)
        progress(f"one node back in {rejoined_seconds:.1f} s, all three in {restarted_seconds:.1f} s")
    return Million(
        bookings=bookings,
        machine=machine,
        fill=fill,
        memory_mb=megabytes(memory),
        journal_mb=megabytes(journal),
        steady=steady,
        memory_after_mb=megabytes(after),
        rejoined_seconds=rejoined_seconds,
        restarted_seconds=restarted_seconds,
        held_after=held_after,
    )


def restart(cluster: HoldfastCluster, names: tuple[str, ...]) -> float:
    """Kill these nodes, start them, wait until all three are active; seconds from the start."""
    for name in names:
        cluster.kill(name)
    begin = time.monotonic()
    for name in names:
        cluster.start(name)
    cluster.wait_until_served()
    return time.monotonic() - begin


def journal_bytes(place: Path) -> dict[str, int]:
    """What each node's files take."""
    return {
        name: sum(path.stat().st_size for path in (place / "data" / name).rglob("*") if path.is_file())
        for name in NAMES
    }


def megabytes(sizes: dict[str, int]) -> dict[str, float]:
    """In units of a million bytes."""
    return {name: round(size / 1e6, 1) for name, size in sizes.items()}


def million_text(found: Million) -> str:
    """The findings as a few lines of Markdown."""
    worst = max(*found.memory_mb.values(), *found.memory_after_mb.values())
    return "\n".join(
        [
            f"# {found.bookings:,} bookings",
            "",
            f"{found.machine.cpus} CPUs ({found.machine.cpu}), a 4 KiB sync takes {found.machine.sync_us:.0f} us, "
            f"load before the start {found.machine.load_average:.1f}.",
            "",
            "| | found | wanted |",
            "|---|---|---|",
            f"| made, a second | {found.fill.per_second:,.0f} | |",
            f"| memory of a replica, MB, at most | {worst:,.0f} | 600 |",
            f"| disk of a replica, MB | {max(found.journal_mb.values()):,.0f} | |",
            f"| longest pause of all service while filling, ms | {found.fill.pause_ms:.0f} | 50 |",
            f"| the same with 64 clients over the full state | {found.steady.pause_ms:.0f} | 50 |",
            f"| one killed node is a member again after, s | {found.rejoined_seconds:.1f} | 10 |",
            f"| all three killed: all active after, s | {found.restarted_seconds:.1f} | 10 |",
            f"| bookings that are still there then | {found.held_after:,} | {found.bookings:,} |",
            f"| reservations a second over the full state | {found.steady.per_second:,.0f} | |",
        ]
    )
