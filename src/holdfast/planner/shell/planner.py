"""`Planner`: the same slot at every vendor, from Python. See docs/planner.md."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from holdfast.kernel.errors import ConfigurationError, HoldfastError, JournalDamaged, MalformedInput
from holdfast.planner.configuration import GRACE_US, Configuration, Vendor
from holdfast.planner.core import PlannerCore
from holdfast.planner.records import vendors_of
from holdfast.planner.shell.http import VendorDoor
from holdfast.planner.shell.keys import address, keys_for, names_of, read_keys
from holdfast.planner.shell.run import PlanRun, boot_us
from holdfast.runtime.journal import Journal, JournalFailed, JournalInUse

SECONDS_MAX = 86_400
NO_JOURNAL = (
    "this is no journal of a plan, or it is damaged. Name another file: a plan asks the vendors what they hold, and "
    "loses only what was on its way just before"
)
MARGIN_US = 20_000
"""Beyond the rate's own distance: requests are not equally long on their way, and vendors count arrivals."""


class PlanStopped(HoldfastError):
    """The plan cannot go on with this journal or these options; the text says why."""


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation that may be there or not, as its vendor has not said. `slot` None: it may be any."""

    vendor: str
    slot: int | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a plan ended. `slot`: held at every vendor, None for none; `held`: by vendor, as told last;
    `denied`: vendors that took neither key nor request, so that what they hold is not known; `reason`: why
    the search ended; `seconds`: how long this run took. `complete`: all vendors but those have confirmed that
    nothing but the slot is held. If not, `unknown` names what they have not confirmed, and planning or
    releasing with the same journal finishes it. `expires`: vendors where the slot is held only for a time,
    and until when (Unix seconds)."""

    slot: int | None
    requests: int
    seconds: float
    reason: str
    complete: bool
    held: dict[str, list[int]]
    unknown: list[Unknown]
    expires: dict[str, float]
    denied: list[str]
    warnings: list[str]


def default_state() -> Path:
    """Where the journal of a plan lies if nobody says otherwise."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "holdfast" / "plan.journal"


def open_journal(state: Path) -> Journal:
    """The journal of a plan. Raises `PlanStopped`, in words about plans, or `JournalInUse`."""
    if state.is_dir():
        raise PlanStopped(f"{state} is a folder; a plan keeps its journal in a file")
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        return Journal.open(state)
    except JournalInUse as error:
        raise JournalInUse(
            f"another plan is at work with {state}; end it, or give this one a file of its own"
        ) from error
    except JournalDamaged as error:
        raise PlanStopped(f"{state}: {NO_JOURNAL}") from error
    except (OSError, JournalFailed) as error:
        raise PlanStopped(f"a plan cannot keep its journal in {state}: {error}") from error


def recorded_vendors(state: Path) -> tuple[str, ...]:
    """The addresses of the plan in this journal. Raises `PlanStopped` if there is none."""
    if not state.exists():
        raise PlanStopped(f"there is no plan in {state}")
    journal = open_journal(state)
    try:
        found = vendors_of(journal.recover().records)
    except MalformedInput as error:
        raise PlanStopped(f"{state}: {NO_JOURNAL}") from error
    finally:
        journal.close()
    if not found:
        raise PlanStopped(f"there is no plan in {state}")
    return found


class Planner:
    """Books the earliest slot that is free at every vendor, and goes on to look for an earlier one.

    `vendors`: base addresses like `http://127.0.0.1:8001/hotel/api`. `keys`: by address, or the path of a
    file of lines `ADDRESS KEY`; without, the variable `HOLDFAST_VENDOR_KEYS` holds them in the vendors' order.
    `state`: the journal's path. `rate`: requests a second at most, over all vendors; `vendor_rate`: the same
    for each. `until`: when the search ends at the latest. `patience`: so many requests without an improvement end
    it, 0 for no such end. `longest_delay_s`: of vendors that name none. `grace_s`: how long vendors are waited for
    when the search is over. `on_event` hears each line of the log, `on_change` that `status()` may have changed.

    Raises `ConfigurationError`. One plan at a time may use a key: it takes all that the key holds for its own.
    """

    def __init__(
        self,
        vendors: Sequence[str],
        keys: Mapping[str, str] | str | Path | None = None,
        *,
        state: str | Path | None = None,
        first: int = 1,
        last: int = 500,
        until: datetime | None = None,
        rate: float = 1.0,
        vendor_rate: float = 0.0,
        patience: int = 60,
        timeout_s: float = 3.0,
        longest_delay_s: float | None = None,
        grace_s: float = GRACE_US / 1e6,
        on_event: Callable[[str], object] | None = None,
        on_change: Callable[[], object] | None = None,
    ) -> None:
        self.addresses = tuple(address(one) for one in vendors)
        if len(set(self.addresses)) < len(self.addresses):
            raise ConfigurationError("one vendor is named twice")
        given = read_keys(Path(keys)) if isinstance(keys, str | Path) else keys or {}
        self._keys = keys_for(self.addresses, given)
        self.state = Path(state) if state is not None else default_state()
        self._until = until
        self.on_event = on_event
        self.on_change = on_change
        self._run: PlanRun | None = None
        self._lock = threading.Lock()
        self._stop_run: Callable[[str], object] | None = None
        """Ends the search of the run that is going on."""
        self._stopped = ""
        """Why the run that begins is to end at once; "" for no reason."""
        self._is_over = False
        if not 0 < rate <= 1000 or not 0 <= vendor_rate <= 1000:
            raise ConfigurationError("a rate is a number of requests a second, above 0 and at most 1000")
        if not 0 < timeout_s <= SECONDS_MAX:
            raise ConfigurationError(f"a time-out is above 0 and at most {SECONDS_MAX} s")
        if longest_delay_s is not None and not 0 <= longest_delay_s <= SECONDS_MAX:
            raise ConfigurationError(f"a longest delay is 0 to {SECONDS_MAX} s")
        if not 0 <= grace_s <= SECONDS_MAX:
            raise ConfigurationError(f"a grace is 0 to {SECONDS_MAX} s")
        longest_us = None if longest_delay_s is None else int(longest_delay_s * 1e6)
        vendor_us = int(1e6 / vendor_rate) + MARGIN_US if vendor_rate else 0
        try:
            self.configuration = Configuration(
                vendors=tuple(
                    Vendor(name=name, id=one, longest_delay_us=longest_us, interval_us=vendor_us)
                    for name, one in zip(names_of(self.addresses), self.addresses, strict=True)
                ),
                first=first,
                last=last,
                interval_us=int(1e6 / rate) + MARGIN_US,
                patience=patience,
                timeout_us=int(timeout_s * 1e6),
                grace_us=int(grace_s * 1e6),
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from error

    def run(self) -> Outcome:
        """Plan to the end. Blocks; `stop`, from another thread or a signal, ends the search early."""
        return asyncio.run(self.arun())

    def release(self) -> Outcome:
        """Give back all that the keys hold at these vendors. Blocks."""
        return asyncio.run(self.arun(release=True))

    async def arun(self, *, release: bool = False) -> Outcome:
        """The same in a running event loop. Raises `PlanStopped`, or what `Journal.open` raises."""
        started = time.monotonic()
        deadline_us = None
        if self._until is not None and not release:
            deadline_us = boot_us() + int((self._until.timestamp() - time.time()) * 1e6)
        core = PlannerCore(msgspec.structs.replace(self.configuration, deadline_us=deadline_us, release=release))
        self._is_over = False
        journal = open_journal(self.state)
        try:
            async with httpx.AsyncClient(timeout=httpx.Timeout(None, connect=10.0), follow_redirects=False) as client:
                doors = [VendorDoor(client, one, key) for one, key in zip(self.addresses, self._keys, strict=True)]
                self._run = PlanRun(core, journal, doors, self._hear)
                self._can_be_stopped(self._run)
                halt = await self._run.play()
        finally:
            with self._lock:
                self._stop_run, self._stopped, self._is_over = None, "", True
            journal.close()
        if halt is not None:
            raise PlanStopped(f"{self.state}: {halt.text}")
        status = core.status()
        return Outcome(
            slot=core.match or None,
            requests=status["requests"],
            seconds=round(time.monotonic() - started, 3),
            reason=status["reason"],
            complete=status["complete"],
            held={vendor["name"]: vendor["held"] for vendor in status["vendors"]},
            unknown=msgspec.convert(status["unknown"], list[Unknown]),
            expires={
                vendor["name"]: vendor["leases"][core.match]
                for vendor in status["vendors"]
                if core.match in vendor["leases"]
            },
            denied=[vendor["name"] for vendor in status["vendors"] if vendor["denied"]],
            warnings=status["warnings"],
        )

    def stop(self, why: str = "told to stop") -> None:
        """End the search: the match is kept, what is unmatched is given back, then `run` returns. From any thread;
        before the first `run` it is that one which ends so."""
        with self._lock:
            if self._stop_run is not None:
                self._stop_run(why)
            elif not self._is_over:
                self._stopped = why

    def _can_be_stopped(self, run: PlanRun) -> None:
        loop = asyncio.get_running_loop()
        with self._lock:
            self._stop_run = lambda why: loop.call_soon_threadsafe(run.stop, why)
            if self._stopped:
                run.stop(self._stopped)

    def status(self) -> dict[str, Any]:
        """What is held, the best so far, requests used, the next action and why; {} before `run`."""
        return {} if self._run is None else self._run.core.status()

    def _hear(self, text: str) -> None:
        if self.on_event is not None:
            self.on_event(text)
        if self.on_change is not None:
            self.on_change()
