"""`holdfast plan`: the same slot at every vendor, with live progress and a log that people can read."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from holdfast.client import plan_told as told
from holdfast.client.commands import AsOption, SiteOption, TokenOption
from holdfast.client.errors import Misuse
from holdfast.planner.shell import Outcome, Planner
from holdfast.planner.shell.keys import KEYS_VARIABLE, is_open_to_others
from holdfast.planner.shell.planner import default_state, recorded_vendors

UNCONFIRMED = 75
"""The exit status when some vendor has not confirmed what it holds; `EX_TEMPFAIL` of sysexits.h."""
AGAIN = "the same command, or `holdfast plan release`, with the same journal finishes it"
UNITS = {"s": 1, "m": 60, "h": 3600}

VendorOption = Annotated[
    list[str] | None, typer.Option("--vendor", metavar="URL", help="A vendor's address; once for each.")
]
KeysOption = Annotated[
    Path | None,
    typer.Option(
        "--keys", metavar="FILE", envvar="HOLDFAST_VENDOR_KEYS_FILE", help=f"Lines ADDRESS KEY; or {KEYS_VARIABLE}."
    ),
]
StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="FILE", help="The plan's journal; default: one for this user.")
]
RateOption = Annotated[float, typer.Option("--rate", metavar="N", help="Requests a second at most, over all.")]
VendorRateOption = Annotated[float, typer.Option("--vendor-rate", metavar="N", help="The same for each vendor.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", metavar="S", help="No answer so long: unknown.")]
DelayOption = Annotated[
    float | None,
    typer.Option("--longest-delay", metavar="S", help="Of vendors that name none; else 30, with a warning."),
]
GraceOption = Annotated[
    float, typer.Option("--grace", metavar="S", help="How long vendors are waited for when the search is over.")
]
TellOption = Annotated[
    list[str] | None,
    typer.Option("--tell", metavar="ID", help="Who is to hear of the pair, by a message; once for each."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the command to a Typer application."""
    planning = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)
    planning.callback()(plan)
    planning.command("release")(release)
    app.add_typer(planning, name="plan")


def plan(
    context: typer.Context,
    vendor: VendorOption = None,
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help="Search no longer: 18:30, 2026-12-01T18:30, or 90s, 10m, 2h.")
    ] = "",
    first: Annotated[int, typer.Option("--from", metavar="N", min=1, help="The first slot that will do.")] = 1,
    last: Annotated[int, typer.Option("--to", metavar="N", min=1, help="The last slot that will do.")] = 500,
    patience: Annotated[
        int, typer.Option("--patience", metavar="N", min=0, help="End after so many requests in vain; 0: never.")
    ] = 60,
    rate: RateOption = 1.0,
    vendor_rate: VendorRateOption = 0.0,
    timeout: TimeoutOption = 3.0,
    longest_delay: DelayOption = None,
    grace: GraceOption = 120.0,
    keys: KeysOption = None,
    state: StateOption = None,
    to: TellOption = None,
    site: SiteOption = "",
    as_: AsOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Book the earliest slot that is free at every vendor, then look for an earlier one.

    Ctrl-C keeps the match and gives back the rest; `holdfast plan release` gives back the match too. A
    second Ctrl-C ends at once: start it again, and it goes on from its journal. Exit status 1: no match;
    75: a vendor has not confirmed in time what it holds, or who is to be told could not be; the same
    command, or `release`, finishes that.
    """
    if context.invoked_subcommand is not None:
        sources = map(context.get_parameter_source, context.params)
        given = any(source is not None and source.name == "COMMANDLINE" for source in sources)
        if given:
            raise Misuse(f"options of `{context.invoked_subcommand}` stand behind that word")
        return
    if not vendor:
        raise Misuse("a plan needs vendors: --vendor URL, once for each. See `holdfast plan --help`.")
    screen = Screen(first, last)
    planner = Planner(
        vendor, keys, state=state, first=first, last=last, until=moment(until, datetime.now()), rate=rate,
        vendor_rate=vendor_rate, patience=patience, timeout_s=timeout, longest_delay_s=longest_delay,
        grace_s=grace, on_event=screen.tell, on_change=screen.refresh,
    )  # fmt: skip
    teller = told.teller(planner.state, to or (), site=site, as_=as_, token=token, say=screen.tell)
    warn_of_keys(keys, screen.tell)
    outcome = screen.watch(planner, planner.run)
    report(outcome, as_json=json, sought=True)
    is_told = teller is None or teller.tell(outcome)
    if not outcome.complete or not is_told:
        raise typer.Exit(UNCONFIRMED)
    if outcome.slot is None:
        raise typer.Exit(1)


def release(
    vendor: VendorOption = None,
    rate: RateOption = 1.0,
    vendor_rate: VendorRateOption = 0.0,
    timeout: TimeoutOption = 3.0,
    longest_delay: DelayOption = None,
    grace: GraceOption = 120.0,
    keys: KeysOption = None,
    state: StateOption = None,
    site: SiteOption = "",
    as_: AsOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Give back all that is held at the plan's vendors, the match too.

    The vendors are those of the journal, unless some are named. Whoever was told of the match is told of
    this too.
    """
    screen = Screen(1, 500)
    vendors = vendor or list(recorded_vendors(state if state is not None else default_state()))
    planner = Planner(
        vendors, keys, state=state, rate=rate, vendor_rate=vendor_rate, timeout_s=timeout,
        longest_delay_s=longest_delay, grace_s=grace, on_event=screen.tell, on_change=screen.refresh,
    )  # fmt: skip
    teller = told.teller(planner.state, (), site=site, as_=as_, token=token, say=screen.tell)
    warn_of_keys(keys, screen.tell)
    outcome = screen.watch(planner, planner.release)
    report(outcome, as_json=json, sought=False)
    is_told = teller is None or teller.tell(outcome)
    if not outcome.complete or not is_told:
        raise typer.Exit(UNCONFIRMED)
    if outcome.denied or any(outcome.held.values()):
        raise typer.Exit(1)


def moment(text: str, now: datetime) -> datetime | None:
    """A time of day (the next one), a date and time, or how long from now. Raises `Misuse`."""
    if not text:
        return None
    try:
        if found := re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text):
            return now + timedelta(seconds=float(found[1]) * UNITS[found[2]])
        if found := re.fullmatch(r"(\d{1,2}):(\d{2})", text):
            today = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
            return today if today > now else today + timedelta(days=1)
        return datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise Misuse(f"--until {text}: say 18:30, 2026-12-01T18:30, or 90s, 10m, 2h") from None


def warn_of_keys(keys: Path | None, tell: Callable[[str], object]) -> None:
    """Tell it when others can read the keys."""
    if keys is not None and is_open_to_others(keys):
        tell(f"warning: other users of this machine can read {keys}; chmod 600 helps")


def report(outcome: Outcome, *, as_json: bool, sought: bool) -> None:
    """The final summary."""
    if as_json:
        print(msgspec.json.encode(outcome).decode())
        return
    used = f"{outcome.requests} requests, {outcome.seconds:.0f} s, ended by: {outcome.reason}"
    if not outcome.complete:
        print(f"Not confirmed: {unconfirmed(outcome)}. {used}. Once the vendors answer, {AGAIN}.")
    elif outcome.slot is not None:
        until = min(outcome.expires.values(), default=None)
        how_long = "" if until is None else f" until {datetime.fromtimestamp(until):%Y-%m-%d %H:%M:%S}"
        print(f"Slot {outcome.slot} is yours at {' and '.join(outcome.held)}{how_long}; nothing else is held. {used}.")
    elif sought:
        print(f"No slot could be had at all vendors; {holdings(outcome)}. {used}.")
    else:
        given = "Not all is known to be given back" if outcome.denied else "All is given back"
        print(f"{given}; {holdings(outcome)}. {used}.")
    for warning in outcome.warnings:
        print(f"Warning: {warning}.")


def unconfirmed(outcome: Outcome) -> str:
    """What is held as far as it is known, and what is not known, in words."""
    unknown = [f"{each.slot or 'whatever is held'} at {each.vendor}" for each in outcome.unknown]
    best = "" if outcome.slot is None else f"slot {outcome.slot} was yours everywhere; "
    return f"{best}{holdings(outcome)}; unknown are {' and '.join(unknown) or 'none'}"


def holdings(outcome: Outcome) -> str:
    """What is held, in words."""
    held = [f"{', '.join(map(str, slots))} at {name}" for name, slots in outcome.held.items() if slots]
    elsewhere = " elsewhere" if outcome.denied else ""
    return f"held are {'; '.join(held)}" if held else f"nothing is held{elsewhere}"


class Screen:
    """The log, line by line on standard error, and on a terminal the state of the plan below it."""

    def __init__(self, first: int, last: int) -> None:
        self._bounds = f"{first} to {last}"
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._planner: Planner | None = None
        self._interrupts = 0

    def tell(self, text: str) -> None:
        """One line of the log."""
        self._console.print(f"{datetime.now():%H:%M:%S} {text}", markup=False)

    def refresh(self) -> None:
        """The state may have changed."""
        if self._live is not None and self._planner is not None and (status := self._planner.status()):
            self._live.update(picture(status, self._bounds))

    def watch(self, planner: Planner, work: Callable[[], Outcome]) -> Outcome:
        """Run the plan in a thread of its own, so that Ctrl-C is heard here."""
        self._planner = planner
        done: list[Outcome | BaseException] = []

        def run() -> None:
            try:
                done.append(work())
            except BaseException as error:  # it is raised again below, in the thread that can tell of it
                done.append(error)

        thread = threading.Thread(target=run, name="plan", daemon=True)
        before = signal.signal(signal.SIGINT, self._interrupted)
        terminated = signal.signal(signal.SIGTERM, self._interrupted)
        try:
            if self._console.is_terminal:
                self._live = Live(console=self._console, refresh_per_second=4, transient=True)
                self._live.start()
            thread.start()
            while thread.is_alive():
                thread.join(0.2)
        finally:
            signal.signal(signal.SIGINT, before)
            signal.signal(signal.SIGTERM, terminated)
            if self._live is not None:
                self._live.stop()
        (end,) = done
        if isinstance(end, BaseException):
            raise end
        return end

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        """The first time the search ends; the second time the program."""
        del frame
        self._interrupts += 1
        if self._planner is None or self._interrupts > 1:
            raise KeyboardInterrupt
        longest = f"ending, in {self._planner.configuration.finish_us // 1_000_000} s at the latest"
        self.tell(f"{longest}; once more to leave at once" if number == signal.SIGINT else longest)
        self._planner.stop("told to stop")


def picture(status: dict[str, Any], bounds: str) -> Group:
    """The plan's state for a terminal."""
    table = Table("vendor", "held", "in doubt", "free", "failures")
    for vendor in status["vendors"]:
        ends = {slot: f" until {datetime.fromtimestamp(end):%H:%M:%S}" for slot, end in vendor["leases"].items()}
        held = ", ".join(f"{slot}{ends.get(slot, '')}" for slot in vendor["held"]) or "-"
        doubt = ", ".join(map(str, vendor["in_doubt"])) or "-"
        free = "?" if vendor["free"] is None else str(vendor["free"])
        table.add_row(vendor["name"], held, doubt, free, str(vendor["failures"] or ""))
    best = f"slot {status['slot']}" if status["slot"] else "none yet"
    booking = f", booking {status['booking']}" if status["booking"] else ""
    used = f"{status['requests']} requests, {status['since_improvement']} without an improvement"
    head = Text(f"{status['state']} in slots {bounds}; best so far: {best}{booking}; {used}")
    return Group(head, table, Text(f"next: {status['next'] or '-'}"))
