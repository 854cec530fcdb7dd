"""`holdfast plan --tell`: somebody hears of the pair, once, as a message."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.messages_site import people, token_of
from tests.client.real_site import HOLDFAST, RealSite
from tests.ports import free_ports

from holdfast.vendors import key_hash

VENDORS = ("hotel", "band")


class Wedding:
    """One node with two vendors and the messages."""

    def __init__(self, folder: Path) -> None:
        peer, http, messages, *lines = free_ports(5)
        text = f'[site]\nname = "wedding"\n[nodes.a]\nhost = "127.0.0.1"\npeer_port = {peer}\nhttp_port = {http}\n'
        text += '[services.messages]\napp = "messages"\nprotocol = "solo"\nidentity = "token"\n'
        text += f"nodes = {{ a = {messages} }}\n"
        for vendor, line in zip(VENDORS, lines, strict=True):
            text += f'[services.{vendor}]\napp = "slots"\nprotocol = "solo"\nidentity = "trusted"\n'
            text += f"nodes = {{ a = {line} }}\n"
            text += f'[services.{vendor}.keys]\nbob = "{key_hash("bob-" + vendor)}"\n'
        self.site = RealSite(folder, text + people(), [f"{name} at a: active" for name in ("messages", *VENDORS)])
        addresses = [f"http://127.0.0.1:{http}/{vendor}/api" for vendor in VENDORS]
        (folder / "keys").write_text("".join(f"{at} bob-{who}\n" for at, who in zip(addresses, VENDORS, strict=True)))
        (folder / "keys").chmod(0o600)
        self.words = [*(word for at in addresses for word in ("--vendor", at)), "--keys", "keys", "--rate", "50"]

    def plan(self, *more: str, token: str = "demo-bob") -> subprocess.CompletedProcess[str]:
        """A plan of Bob's for slots from 7 on."""
        words = [*self.words, "--patience", "4", "--from", "7", "--state", "plan.journal", *more]
        return self.holdfast("plan", *words, "--as", "bob", token=token)

    def holdfast(self, *words: str, token: str) -> subprocess.CompletedProcess[str]:
        environment = self.site.environment | {"HOLDFAST_TOKEN": token}
        return subprocess.run(
            [*HOLDFAST, *words], cwd=self.site.folder, env=environment, capture_output=True, text=True, timeout=60
        )

    def inbox(self, who: str) -> str:
        return self.holdfast("messages", "--as", who, "inbox", token=token_of(who)).stdout


@pytest.fixture(scope="module")
def wedding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wedding]:
    wedding = Wedding(tmp_path_factory.mktemp("wedding"))
    try:
        wedding.site.await_active()
        yield wedding
    finally:
        wedding.site.end()


def test_the_pair_is_told_once_and_again_only_after_a_release(wedding: Wedding) -> None:
    text = "Slot 7 is booked at hotel and band."
    first = wedding.plan("--tell", "ann")
    assert first.returncode == 0, first.stderr
    assert "ann is told" in first.stderr
    again = wedding.plan("--tell", "ann")
    assert again.returncode == 0, again.stderr
    assert "ann has been told before" in again.stderr
    assert wedding.inbox("ann").count(text) == 1
    released = wedding.holdfast(
        "plan", "release", "--keys", "keys", "--rate", "50", "--state", "plan.journal", token=""
    )
    assert released.returncode == 0, released.stderr
    assert "ann is told" in wedding.plan("--tell", "ann").stderr
    assert wedding.inbox("ann").count(text) == 2


def test_who_cannot_be_told_is_named(wedding: Wedding) -> None:
    nobody = wedding.plan("--tell", "nobody")
    assert nobody.returncode == 75
    assert "nobody could not be told: Failed: " in nobody.stderr


def test_a_wrong_token_is_heard_of_before_anything_is_booked(wedding: Wedding) -> None:
    wrong = wedding.plan("--tell", "ann", token="demo-eve")
    assert wrong.returncode not in (0, 75)
    assert "token" in wrong.stderr
    assert "looking" not in wrong.stderr
