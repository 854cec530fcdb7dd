"""`holdfast vendor`: a vendor's faults shown and changed while it runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.server.vendor_house import House, key_of, play

from holdfast.client.cli import run
from holdfast.client.errors import Misuse
from holdfast.client.vendor import faults_of, shown
from holdfast.kernel.errors import HoldfastError
from holdfast.vendors import Faults


def test_faults_are_shown_and_changed_with_the_vendors_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_KEY", key_of("gerda"))
    key_file = tmp_path / "key"
    key_file.write_text(key_of("ann") + "\n")

    async def story(house: House) -> None:
        async def says(*words: str) -> str:
            status = await asyncio.to_thread(run, ["vendor", "hotel", "faults", *words, "--site", str(house.site.file)])
            assert status == 0
            return capsys.readouterr().out

        assert await says() == "hotel at a: no faults\n"
        assert await says("lost=0.1", "delay_seconds=3") == "hotel at a: lost=0.1, delay_seconds=3\n"
        assert house.node.vendors["hotel"].faults == Faults(lost=0.1, delay_seconds=3)
        assert json.loads(await says("--json"))["a"]["lost"] == 0.1
        with pytest.raises(HoldfastError, match="hotel at a: ann is not the vendor"):
            await says("none", "--key-file", str(key_file))
        assert await says("none") == "hotel at a: no faults\n"

    play(tmp_path, story)


def test_where_no_vendor_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(house: House) -> None:
        pass

    play(tmp_path, story)
    site = ["--site", str(tmp_path / "site.toml")]
    monkeypatch.delenv("HOLDFAST_KEY", raising=False)
    with pytest.raises(Misuse, match="the vendor's key is needed"):
        run(["vendor", "hotel", "faults", *site])
    monkeypatch.setenv("HOLDFAST_KEY", "k")
    with pytest.raises(HoldfastError, match="hotel at a cannot be asked: connection refused"):
        run(["vendor", "hotel", "faults", *site])
    with pytest.raises(Misuse, match=r"no vendor 'motel' in .*; its vendors: hotel"):
        run(["vendor", "motel", "faults", *site])


@pytest.mark.parametrize(
    "settings", [["lost"], ["lost=2"], ["lots=1"], ["lost=1", "lost=1"], ["lost=x"], ["none", "lost=1"]]
)
def test_settings_that_are_none(settings: list[str]) -> None:
    with pytest.raises(Misuse, match="the settings are seed, unavailable,"):
        faults_of(settings)


def test_what_is_shown_can_be_given_again() -> None:
    faults = Faults(3, 0.25, 10.0, 0.1, 0.5, 0.125, 1.0, 0.5)
    assert faults_of(shown(faults).split(", ")) == faults
