"""docs/vendors.md, tried on node a of the demo site, with its ports exchanged for free ones."""

from __future__ import annotations

import asyncio
import random
import re
import shlex
from pathlib import Path

import httpx
from msgspec.structs import fields
from tests.ports import free_ports
from tests.server.vendor_house import House, play, tell

from holdfast.runtime.node import initialise
from holdfast.server.vendors.calls import _STATUS, TOO_MANY_REQUESTS
from holdfast.site import Site, demo_toml, load_site
from holdfast.vendors import Faults

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "vendors.md").read_text(encoding="utf-8")


def demo(directory: Path) -> Site:
    ports: dict[str, str] = {}

    def free(found: re.Match[str]) -> str:
        if found[0] not in ports:
            ports[found[0]] = str(free_ports(1)[0])
        return ports[found[0]]

    path = directory / "site.toml"
    path.write_text(re.sub(r"(?<== )[78]\d{3}\b", free, demo_toml()), encoding="utf-8")
    return load_site(path)


def curl(house: House, words: list[str]) -> httpx.Request:
    """What curl sends for these words, of the options used on the page."""
    method, headers, url = "GET", {}, ""
    rest = iter(words)
    for word in rest:
        match word:
            case "curl" | "-s":
                pass
            case "-X":
                method = next(rest)
            case "-H":
                name, _, value = next(rest).partition(": ")
                headers[name] = value
            case _:
                url = word
    return house.client.build_request(method, url.replace(":8001/", f":{house.port}/"), headers=headers)


def test_every_example_is_answered_as_the_page_says(tmp_path: Path) -> None:
    examples = re.findall(r"^\$ (curl .*)\n(.*)$", PAGE, flags=re.MULTILINE)
    readme = re.findall(r"^\$ (curl .*)\n(.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(examples) == 5
    assert len(readme) == 1

    async def story(house: House) -> None:
        for line, answer in (*examples, *readme):
            response = await house.client.send(curl(house, shlex.split(line)))
            assert response.text == answer, line

    site = demo(tmp_path)
    initialise(site)
    tell(site, story)


def test_every_setting_of_faults_is_described_with_its_default() -> None:
    section = PAGE.partition("## Failures on purpose")[2].partition("\n## ")[0]
    described = dict(re.findall(r"^\| `(\w+)` \| `([\d.]+)` \|", section, flags=re.MULTILINE))
    assert described == {field.name: str(field.default) for field in fields(Faults)}


def test_every_status_is_described() -> None:
    described = {int(code) for code in re.findall(r"^\| (\d{3}) \|", PAGE, flags=re.MULTILINE)}
    assert described == {*_STATUS.values(), 400, 404, TOO_MANY_REQUESTS}


def test_a_stream_of_nonsense_is_answered_or_cut_off_and_the_vendor_goes_on(tmp_path: Path) -> None:
    pieces = (
        *(b"GET ", b"POST ", b"PUT ", b"/hotel/api", b"/reservation", b"/5", b" HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n"),
        *(b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"\xff", b"\x00"),
        *(
            b"Authorization: Bearer hotel-ann-2f1c\r\n",
            b"a" * 5000,
            b"%zz",
            b"\xe2\x82",
            b"Upgrade: websocket\r\n",
            b"0\r\n",
        ),
    )

    async def story(house: House) -> None:
        source = random.Random(5)
        for _ in range(150):
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
            writer.write(b"".join(source.choices(pieces, k=source.randint(1, 14))))
            writer.write_eof()
            said = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            assert b" 500 " not in said
        assert await house.says("ann", "GET", "/reservation/available") != (200, [])
        (service,) = (await house.client.get("/status")).json()["services"]
        assert service["state"] == "active"

    play(tmp_path, story)
