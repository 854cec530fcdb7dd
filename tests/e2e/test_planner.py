"""Planners against real vendors: a hotel and a band, a process each, that fail, delay, reorder and lose answers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.client.real_site import HOLDFAST, RealSite
from tests.ports import free_ports

from holdfast.client import Planner
from holdfast.vendors import key_hash

CLIENTS = ("ann", "bob", "eve", "fay", "gil", "hal", "ida", "joe", "kim", "lou", "mia", "ned")
FAULTS = (
    "unavailable = 0.03\nunavailable_seconds = 0.3\nunprocessed = 0.03\ndelayed = 0.03\nreordered = 0.03\nlost = 0.03\n"
)
"""Of all requests 15 % meet something."""
QUICK = ("--rate", "20", "--timeout", "0.5")

Until = Callable[..., None]


class Vendors:
    """The running site, its addresses and keys."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(7)
        self.folder = folder
        self.addresses = [f"http://127.0.0.1:{ports[2]}/hotel/api/", f"http://127.0.0.1:{ports[3]}/band/api"]
        text = '[site]\nname = "wedding"\n'
        for number, (node, vendor) in enumerate((("a", "hotel"), ("b", "band"))):
            text += (
                f'[nodes.{node}]\nhost = "127.0.0.1"\npeer_port = {ports[number]}\nhttp_port = {ports[2 + number]}\n'
            )
            text += f'[services.{vendor}]\napp = "slots"\nprotocol = "solo"\nidentity = "trusted"\n'
            text += f"nodes = {{ {node} = {ports[4 + number]} }}\nslots = 40\n"
            text += f"[services.{vendor}.faults]\n{FAULTS}delay_seconds = 0.3\n[services.{vendor}.keys]\n"
            text += "".join(f'{client} = "{key_hash(self.key(client, vendor))}"\n' for client in CLIENTS)
        text += '[services.hall]\napp = "slots"\nprotocol = "solo"\nidentity = "trusted"\nlease_seconds = 3\n'
        text += f"nodes = {{ a = {ports[6]} }}\nslots = 40\n[services.hall.keys]\n"
        text += "".join(f'{client} = "{key_hash(self.key(client, "hall"))}"\n' for client in CLIENTS)
        self.hall = f"http://127.0.0.1:{ports[2]}/hall/api"
        self.site = RealSite(folder, text, ["hotel at a: active", "band at b: active", "hall at a: active"])
        for client in CLIENTS:
            keys = folder / f"{client}.keys"
            keys.write_text(
                "".join(
                    f"{address} {self.key(client, vendor)}\n"
                    for address, vendor in zip(self.addresses, ("hotel", "band"), strict=True)
                )
            )
            keys.chmod(0o600)

    @staticmethod
    def key(client: str, vendor: str) -> str:
        """A client's key at a vendor."""
        return f"{vendor}-{client}-77aa"

    def words(self, client: str, *more: str, rate: Sequence[str] = QUICK) -> list[str]:
        """The command line of a client's plan."""
        vendors = [word for address in self.addresses for word in ("--vendor", address)]
        files = ["--keys", f"{client}.keys", "--state", f"{client}.journal"]
        return [*HOLDFAST, "plan", *vendors, *files, *rate, *more]

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        """A plan in a process of its own."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(words, cwd=self.folder, env=self.site.environment, **pipes)

    def take(self, client: str, slot: int) -> None:
        """This client holds a slot of the hotel."""
        while slot not in self.held(client)[0]:
            self._at_hotel(client, "POST", slot)

    def give(self, client: str, slot: int) -> None:
        """And does not any more."""
        while slot in self.held(client)[0]:
            self._at_hotel(client, "DELETE", slot)

    def _at_hotel(self, client: str, method: str, slot: int) -> None:
        with contextlib.suppress(httpx.HTTPError):
            headers = {"Authorization": f"Bearer {self.key(client, 'hotel')}"}
            answer = httpx.request(method, f"{self.addresses[0]}reservation/{slot}", headers=headers, timeout=5)
            assert answer.status_code != 451, f"{client} holds too much already"

    def held(self, client: str) -> list[list[int]]:
        """What the vendors say that the client holds; asked until they answer."""
        found = []
        for address, vendor in zip(self.addresses, ("hotel", "band"), strict=True):
            while True:
                try:
                    answer = httpx.get(
                        f"{address.rstrip('/')}/reservation",
                        headers={"Authorization": f"Bearer {self.key(client, vendor)}"},
                        timeout=5,
                    )
                except httpx.HTTPError:
                    continue
                if answer.status_code == 200:
                    found.append([int(slot["id"]) for slot in answer.json()])
                    break
        return found


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    running = Vendors(tmp_path_factory.mktemp("wedding"))
    try:
        running.site.await_active()
        yield running
    finally:
        running.site.end()


def slots_of(vendors: Vendors, plans: dict[str, subprocess.Popen[str]]) -> list[int]:
    """What each plan ends with, in the order of the slots; the vendors say so too."""
    slots = []
    for client, plan in plans.items():
        out, log = plan.communicate(timeout=120)
        assert plan.returncode == 0, log
        outcome = json.loads(out)
        assert outcome["warnings"] == []
        assert vendors.held(client) == [[outcome["slot"]], [outcome["slot"]]]
        assert f"ended with {outcome['slot']}" in log
        slots.append(outcome["slot"])
    return sorted(slots)


def test_three_planners_at_once_each_end_with_a_pair_of_their_own(vendors: Vendors) -> None:
    plans = {
        client: vendors.start(vendors.words(client, "--json", "--patience", "15")) for client in ("ann", "bob", "eve")
    }
    assert slots_of(vendors, plans) == [1, 2, 3], "no earlier one was left"


def test_three_planners_at_once_at_one_request_a_second(vendors: Vendors) -> None:
    plans = {}
    for client in ("hal", "ida", "joe"):
        words = vendors.words(client, "--json", "--patience", "10", "--from", "34", "--to", "39", rate=())
        plans[client] = vendors.start(words)
    assert slots_of(vendors, plans) == [34, 35, 36], "no earlier one was left"


def test_three_planners_at_once_that_want_different_slots_do_not_disturb_each_other(vendors: Vendors) -> None:
    plans = {
        client: vendors.start(vendors.words(client, "--json", "--from", first, "--to", last))
        for client, first, last in (("fay", "12", "13"), ("lou", "14", "15"), ("kim", "16", "17"))
    }
    assert slots_of(vendors, plans) == [12, 14, 16]
    for client in plans:
        files = ["--keys", f"{client}.keys", "--state", f"{client}.journal", *QUICK]
        out, log = vendors.start([*HOLDFAST, "plan", "release", *files]).communicate(timeout=120)
        assert "All is given back; nothing is held." in out, log


def test_a_match_at_a_vendor_that_leases_is_confirmed_and_outlives_the_lease(vendors: Vendors, until: Until) -> None:
    addresses = [vendors.hall, vendors.addresses[1]]
    keys = {vendors.hall: vendors.key("kim", "hall"), addresses[1]: vendors.key("kim", "band")}
    planner = Planner(
        addresses, keys, state=vendors.folder / "lease.journal", first=20, last=40, rate=20, timeout_s=0.5, patience=8
    )
    outcome = planner.run()
    assert (outcome.slot, outcome.complete, outcome.expires, outcome.warnings) == (20, True, {}, [])

    def hall(client: str, method: str, place: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {vendors.key(client, 'hall')}"}
        return httpx.request(method, f"{vendors.hall}/reservation{place}", headers=headers, timeout=5)

    assert hall("ann", "POST", "/21").json()["expires"] > 0
    until(lambda: hall("ann", "GET", "").json() == [], timeout_s=60)  # nobody has confirmed that one
    assert hall("kim", "GET", "").json() == [{"id": "20"}]
    assert planner.release().complete
    assert hall("kim", "GET", "").json() == []


def test_a_killed_plan_goes_on_and_release_gives_all_back(vendors: Vendors, until: Until) -> None:
    words = vendors.words("fay", "--patience", "0", "--from", "10")
    first = vendors.start(words)
    until(lambda: any(vendors.held("fay")), timeout_s=60)
    first.kill()
    first.communicate(timeout=30)
    second = vendors.start([*words, "--to", "40"])
    until(lambda: vendors.held("fay") == [[10], [10]], timeout_s=60)
    out, log = second.communicate(timeout=120)  # slot 10 is the first that will do: nothing better can come
    assert second.returncode == 0, log
    assert "begins again: what do the vendors hold for us?" in log
    assert "Slot 10 is yours at hotel and band; nothing else is held." in out
    files = ["--keys", "fay.keys", "--state", "fay.journal", *QUICK]
    released = vendors.start([*HOLDFAST, "plan", "release", *files])
    out, log = released.communicate(timeout=120)
    assert released.returncode == 0, log
    assert "All is given back; nothing is held." in out
    assert vendors.held("fay") == [[], []]


def test_ctrl_c_keeps_the_match(vendors: Vendors) -> None:
    vendors.take("ann", 20)
    plan = vendors.start(vendors.words("fay", "--patience", "0", "--from", "20", "--to", "30"))
    assert plan.stderr is not None
    log = ""
    while "21 is ours everywhere" not in log:
        line = plan.stderr.readline()
        assert line, log
        log += line
    plan.send_signal(signal.SIGINT)  # it would look for slot 20 for ever
    out, rest = plan.communicate(timeout=120)
    assert plan.returncode == 0, log + rest
    assert "Slot 21 is yours" in out
    assert "told to stop" in out
    assert vendors.held("fay") == [[21], [21]]
    again = vendors.start([*HOLDFAST, "plan", "release", "--keys", "fay.keys", "--state", "fay.journal", *QUICK])
    out, rest = again.communicate(timeout=120)
    assert again.returncode == 0, rest


def test_a_plan_whose_vendor_hangs_ends_in_bounded_time_and_is_finished_later(vendors: Vendors) -> None:
    words = vendors.words("mia", "--patience", "0", "--from", "27", "--to", "31", "--grace", "2")
    vendors.take("ned", 27)  # it would look for that one for ever
    plan = vendors.start(words)
    assert plan.stderr is not None
    log = ""
    while "28 is ours everywhere" not in log:
        log += (line := plan.stderr.readline())
        assert line, log
    band = vendors.site.pid("b")
    os.kill(band, signal.SIGSTOP)
    try:
        while "no answer in time" not in log:
            log += (line := plan.stderr.readline())
            assert line, log
        plan.send_signal(signal.SIGINT)
        out, rest = plan.communicate(timeout=60)
    finally:
        os.kill(band, signal.SIGCONT)
    assert plan.returncode == 75, log + rest
    assert "Not confirmed: slot 28 was yours everywhere;" in out
    assert "unknown are 28 at band" in out
    vendors.give("ned", 27)
    out, rest = vendors.start(words).communicate(timeout=120)
    assert "Slot 27 is yours at hotel and band; nothing else is held." in out, rest
    assert vendors.held("mia") == [[27], [27]]
    files = ["--keys", "mia.keys", "--state", "mia.journal", *QUICK]
    out, rest = vendors.start([*HOLDFAST, "plan", "release", *files]).communicate(timeout=120)
    assert "All is given back; nothing is held." in out, rest
    assert vendors.held("mia") == [[], []]


def test_python_plans_too(vendors: Vendors) -> None:
    events: list[str] = []
    planner = Planner(
        vendors.addresses,
        keys=vendors.folder / "fay.keys",
        state=vendors.folder / "python.journal",
        first=25,
        last=40,
        rate=20,
        timeout_s=0.5,
        patience=8,
        on_event=events.append,
    )
    outcome = planner.run()
    assert outcome.slot == 25
    assert outcome.held == {"hotel": [25], "band": [25]}
    assert planner.status()["state"] == "ended"
    assert planner.release().slot is None
    assert vendors.held("fay") == [[], []]
    assert not [event for event in events if vendors.key("fay", "hotel") in event]


def test_at_its_own_rate_a_plan_is_never_too_fast_for_a_vendor(vendors: Vendors) -> None:
    """Who counts is the vendor, from the requests as they arrive."""
    planner = Planner(
        vendors.addresses, vendors.folder / "gil.keys", state=vendors.folder / "gil.journal", first=32, last=40
    )
    outcome = planner.run()
    assert outcome.slot == 32
    requests = 0
    for address in vendors.addresses:
        metrics = httpx.get(httpx.URL(address).join("/metrics")).text
        counts = dict(
            re.findall(r'^holdfast_vendor_(\w+)_total\{[^}]*client="gil"[^}]*\} (\S+)', metrics, re.MULTILINE)
        )
        assert float(counts["too_fast"]) == 0
        requests += int(float(counts["requests"]))
    assert 6 <= requests <= outcome.requests  # some were refused or lost on their way in


def test_the_documented_example_is_true(
    vendors: Vendors, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "planner.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for vendor, address in zip(("hotel", "band"), vendors.addresses, strict=True):
        example = example.replace(f"http://127.0.0.1:8001/{vendor}/api", address)
    monkeypatch.chdir(vendors.folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(vendors.folder / "state"))
    quick = example.replace("bob.keys", "fay.keys").replace("on_event=print", "on_event=print, rate=20, timeout_s=0.5")
    exec(compile(quick, "planner.md", "exec"), {})
    said = capsys.readouterr().out
    assert "{'hotel': [10], 'band': [10]}" in said
    assert "ended with nothing" in said.splitlines()[-1]
    assert vendors.held("fay") == [[], []]
