"""A site with a state store, called over HTTP as by another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from tests.e2e.cluster import HOST
from tests.ports import free_ports
from tests.server.vendor_house import House

from holdfast.site import Site, load_site

IDENTITY = 'identity = "trusted"'


def site_of(
    directory: Path, more: str = IDENTITY, *, protocol: str = "solo", nodes: str = "a", beside: str = ""
) -> Site:
    """A site with a state store. `nodes`: those that serve it, one letter each; `beside`: those that do not. `more`:
    lines of the service."""
    text = "".join(
        f'[nodes.{name}]\nhost = "{HOST}"\npeer_port = {peer}\nhttp_port = {http}\n'
        for name in nodes + beside
        for peer, http in [free_ports(2)]
    )
    text += f'[services.state]\napp = "keyvalue"\nprotocol = "{protocol}"\nnodes = {list(nodes)}\n{more}\n'
    path = directory / "site.toml"
    path.write_text(text)
    return load_site(path)


def content_of(response: httpx.Response) -> str:
    """What an answer says, which must be as every answer of a state store is."""
    assert response.status_code != 500
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.text.endswith("\n")
    content = response.text[:-1]
    if response.status_code != 200:
        assert content
        assert not content.endswith("\n")
        assert content.isprintable()
    return content


async def says(house: House, user: str = "bob", /, method: str = "GET", **given: Any) -> tuple[int, str]:
    """The status and the content of the answer to these parameters, in the address or in a form."""
    where = {"data": given} if method == "POST" else {"params": given}
    response = await house.client.request(method, f"/state/{user}", **where)  # type: ignore[arg-type]
    return response.status_code, content_of(response)
