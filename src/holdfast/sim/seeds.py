"""The list of every seed that ever failed (`seeds.txt` beside this file), so that none fails again.

A line is `[name=value ...] seed=N: what it was`, names as in `Options`; `#` begins a comment. A
schedule belongs to the simulator that drew it: when the simulator draws differently, an old seed
becomes one more schedule that has to pass.
"""

from __future__ import annotations

import msgspec

from holdfast.sim.run import Options


class Failure(msgspec.Struct, frozen=True):
    """A seed that failed once, and why."""

    options: Options
    seed: int
    why: str


def read_seeds(text: str) -> list[Failure]:
    """The failures in the text of a list. Raises `ValueError` for a line that makes no sense."""
    lines = [line.strip() for line in text.splitlines()]
    return [_failure(line) for line in lines if line and not line.startswith("#")]


def _failure(line: str) -> Failure:
    head, colon, why = line.partition(": ")
    words = dict(word.split("=", 1) for word in head.split())
    if not colon or "seed" not in words:
        raise ValueError(f"a line of the list of seeds is `[name=value ...] seed=N: why`, not {line!r}")
    seed = int(words.pop("seed"))
    options: dict[str, object] = {**words}
    if "faults" in words:
        options["faults"] = words["faults"].split(",")
    if "servers" in words:
        options["servers"] = int(words["servers"])
    return Failure(msgspec.convert(options, Options), seed, why)
