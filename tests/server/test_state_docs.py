"""docs/state-store.md, tried on node a of the demo site, with its ports exchanged for free ones."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

from tests.server.test_vendor_docs import curl, demo
from tests.server.vendor_house import House, tell

from holdfast.apps.keyvalue import ALL_KEYS_MAX, KEYS_MAX, VALUE_CHARACTERS_MAX
from holdfast.apps.values import NAME_CHARACTERS_MAX
from holdfast.runtime.node import initialise
from holdfast.server import state

PAGE = (Path(__file__).parents[2] / "docs" / "state-store.md").read_text(encoding="utf-8")


def test_every_example_is_answered_as_the_page_says(tmp_path: Path) -> None:
    block = re.search(r"^```curl\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert block is not None
    examples = re.findall(r"^\$ (curl .*)\n((?:(?!\$ ).*\n)*)", block[1], flags=re.MULTILINE)
    assert len(examples) == 6

    async def story(house: House) -> None:
        for line, answer in examples:
            response = await house.client.send(curl(house, shlex.split(line)))
            assert response.text == answer, line

    site = demo(tmp_path)
    initialise(site)
    tell(site, story)


def test_every_status_and_every_action_is_described() -> None:
    described = {int(code) for code in re.findall(r"^\| (\d{3}) \|", PAGE, flags=re.MULTILINE)}
    refused = {int(code) for code in re.findall(r"Refused\(\s*(\d{3})", inspect.getsource(state))}
    assert described == refused | {200, 400, 503, 507}
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)) == set(state.ACTIONS)


def test_the_limits_are_those_of_the_page() -> None:
    for limit in (VALUE_CHARACTERS_MAX, KEYS_MAX, ALL_KEYS_MAX, state.ADDRESS_BYTES_MAX, state.FORM_BYTES_MAX):
        assert re.search(rf"(?<![\d,]){limit:,}(?![\d,])", PAGE)
    assert f"1 to {NAME_CHARACTERS_MAX} visible characters" in PAGE
