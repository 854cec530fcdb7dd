"""`holdfast plan --tell`: people hear of the pair by messages from the service of plans, once, whatever is down."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.messages_site import people, token_of
from tests.client.real_site import HOLDFAST
from tests.client.test_plan_told import outcome
from tests.e2e.cluster import HOST, Cluster, environment

from holdfast.client import plan_told
from holdfast.vendors import key_hash

VENDORS = ("hotel", "band")
PLACES = {"messages": "b", "plans": "c", "hotel": "a", "band": "a"}


class Wedding(Cluster):
    """Two vendors, the plans and the messages, at three nodes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, http=True)
        at = {vendor: f"http://{HOST}:{self.http_ports['a']}/{vendor}/api" for vendor in VENDORS}
        (folder / "keys").write_text("".join(f"{at[vendor]} bob-{vendor}\n" for vendor in VENDORS))
        (folder / "keys").chmod(0o600)
        self.keys = ["--keys", "keys", "--rate", "50", "--state", "plan.journal"]
        self.vendors = [word for vendor in VENDORS for word in ("--vendor", at[vendor])]

    def service_lines(self) -> list[str]:
        return [people()]

    def write_site(self, file: str, peer_ports: dict[str, int]) -> Path:
        lines = ["[site]", 'name = "wedding"']
        for name in self.names:
            lines += [f"[nodes.{name}]", f'host = "{HOST}"', f"peer_port = {peer_ports[name]}"]
            lines += [f"line_port = {self.line_ports[name]}", f"http_port = {self.http_ports[name]}"]
        for service, node in PLACES.items():
            app = "slots" if service in VENDORS else service
            lines += [f"[services.{service}]", f'app = "{app}"', 'protocol = "solo"', f'nodes = ["{node}"]']
            if service in VENDORS:
                lines += [f"[services.{service}.keys]", f'bob = "{key_hash(f"bob-{service}")}"']
        path = self.directory / file
        path.write_text("\n".join([*lines, *self.service_lines()]))
        return path

    def up(self, *names: str) -> None:
        """These nodes serve; those that do not run are started."""
        for name in names:
            if name not in self.processes or not self.processes[name].running:
                self.start(name)
        self.wait(
            lambda: all(self.status(name).get("state") == "active" for name in names), f"{', '.join(names)} to serve"
        )

    # -- Bob

    def holdfast(self, *words: str, token: str = "demo-bob") -> subprocess.CompletedProcess[str]:
        told = environment(HOLDFAST_TOKEN=token)
        return subprocess.run(
            [*HOLDFAST, *words], cwd=self.directory, env=told, capture_output=True, text=True, timeout=60
        )

    def plan(self, first: int, *tell: str, token: str = "demo-bob") -> subprocess.CompletedProcess[str]:
        """A plan for slots from there on."""
        words = [*self.vendors, *self.keys, "--patience", "4", "--from", str(first), "--as", "bob"]
        return self.holdfast("plan", *words, *(word for who in tell for word in ("--tell", who)), token=token)

    # -- Who is told

    def read(self, who: str) -> list[tuple[str, str]]:
        """(sender, text) of all messages of a person, the oldest first."""
        found: list[tuple[str, str]] = []
        while True:
            lines = ("mode json", "use messages", f"login {who} {token_of(who)}", f"read {len(found) + 1}")
            reply = json.loads(self.say("b", "".join(f"{line}\n" for line in lines)).splitlines()[-1])
            if not reply["ok"]:
                assert reply["type"] == "no_such_message"
                return found
            found.append((reply["reply"]["sender"], reply["reply"]["content"]))

    def wait_told(self, who: str, *texts: str) -> None:
        """Until nothing waits any more; then they have these, and nothing else."""
        self.wait(lambda: self.status("c").get("notices_waiting") == 0, "an empty outbox")
        assert self.read(who) == [("service:plans", text) for text in texts]


@pytest.fixture(scope="module")
def wedding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wedding]:
    wedding = Wedding(tmp_path_factory.mktemp("wedding"))
    with contextlib.closing(wedding):
        wedding.up("a", "c")  # the messages are down
        yield wedding


def test_each_is_told_once_though_the_messages_were_down_and_again_when_it_changes(wedding: Wedding) -> None:
    first = wedding.plan(7, "ann", "eve")
    assert first.returncode == 0, first.stderr
    assert "Slot 7 at hotel and band: ann and eve are told." in first.stderr
    again = wedding.plan(7, "ann")
    assert again.returncode == 0, again.stderr
    assert "ann and eve had been told before" in again.stderr
    assert wedding.status("c")["notices_waiting"] == 2
    wedding.kill("c")
    wedding.up("c")
    earlier = wedding.plan(3, "ann", "bob")
    assert earlier.returncode == 0, earlier.stderr
    assert "Slot 3 at hotel and band: ann, eve and bob are told." in earlier.stderr
    wedding.up("b")
    seven = "bob has booked slot 7 at hotel and band."
    three = "bob has booked slot 3 instead of 7 at hotel and band."
    wedding.wait_told("ann", seven, three)
    wedding.wait_told("eve", seven, three)
    wedding.kill("b")
    released = wedding.holdfast("plan", "release", *wedding.keys)
    assert released.returncode == 0, released.stderr
    assert "Slot 3 at hotel and band is withdrawn: ann, eve and bob are told." in released.stderr
    wedding.kill("c")
    wedding.up("b", "c")
    gone = "bob no longer has slot 3 at hotel and band."
    wedding.wait_told("ann", seven, three, gone)
    wedding.wait_told("bob", "bob has booked slot 3 at hotel and band.", gone)


def test_what_could_not_be_said_is_said_by_the_next_run(
    wedding: Wedding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_told, "DEADLINE_S", 1.0)
    said: list[str] = []

    def tell(slot: int) -> bool:
        teller = plan_told.teller(
            tmp_path / "journal", ["eve"], site=str(wedding.site), as_="bob", token="demo-bob", say=said.append
        )
        assert teller is not None
        return teller.tell(outcome(slot))

    wedding.kill("c")
    assert not tell(9)
    assert said[0].startswith("plans cannot be reached now, and is to hear it at the end: ")
    assert said[1].startswith("plans has not heard it yet: ")
    wedding.up("b", "c")
    assert tell(9)
    assert tell(9)
    assert said[-2:] == ["Slot 9 at hotel and band: eve is told.", "eve had been told before"]
    wedding.wait(lambda: wedding.status("c").get("notices_waiting") == 0, "an empty outbox")
    news = ("service:plans", "bob has booked slot 9 at hotel and band.")
    assert wedding.read("eve").count(news) == 1


def test_who_cannot_be_told_is_named(wedding: Wedding) -> None:
    nobody = wedding.plan(7, "nobody")
    assert nobody.returncode == 75
    assert "nobody could not be told: Failed: there is nobody with the id 'nobody'" in nobody.stderr


def test_a_wrong_token_is_heard_of_before_anything_is_booked(wedding: Wedding) -> None:
    wrong = wedding.plan(7, "ann", token="demo-eve")
    assert wrong.returncode not in (0, 75)
    assert "token" in wrong.stderr
    assert "what is free" not in wrong.stderr
