"""`holdfast trace`: what every node remembers of one write, as one sequence diagram."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec

from holdfast.client.addresses import Addresses
from holdfast.client.diagram import Row, as_mermaid, as_text, merge, row_of
from holdfast.client.errors import Misuse
from holdfast.client.outcomes import Answer, Server
from holdfast.client.site import AsyncSite, Options
from holdfast.client.wording import in_options
from holdfast.kernel.errors import HoldfastError

TRACE_TIMEOUT_S = 2.0
"""A node that says nothing for so long is left out of the diagram, and named."""


async def ask_all(addresses: Addresses, service: str, id: str, options: Options) -> dict[str, Answer | HoldfastError]:
    """What each node of the service answers, all asked at once."""

    async def ask(server: Server) -> Answer | HoldfastError:
        async with AsyncSite.at(addresses, **options).but(at=server.name) as site:
            try:
                return await site.service(service).call("trace", id)
            except HoldfastError as error:
                return error

    servers = addresses.servers(service)
    answers = await asyncio.gather(*map(ask, servers))
    return dict(zip((server.name for server in servers), answers, strict=True))


def rows_of(answers: dict[str, Answer | HoldfastError]) -> tuple[dict[str, list[Row]], list[str]]:
    """What was told, by node, and of each other node in one line why it told nothing."""
    told: dict[str, list[Row]] = {}
    silent: list[str] = []
    for node, answer in answers.items():
        if isinstance(answer, HoldfastError):
            silent.append(f"{node} is not in it: {in_options(str(answer))}")
        elif not answer.ok:
            silent.append(f"{node} is not in it: {in_options(answer.text.removeprefix('Failed: '))}")
        else:
            try:
                told[node] = [row_of(row) for row in answer.reply["rows"]]
            except (KeyError, msgspec.ValidationError) as error:
                silent.append(f"{node} is not in it: what it said is no trace ({error})")
    return told, silent


def show_trace(
    service: str, id: str, *, site: str = "", mermaid: bool = False, as_json: bool = False, options: Options
) -> int:
    """The command `holdfast trace`; its exit status: 1 where nobody remembers the write, 2 where nobody answers."""
    addresses = Addresses.of_site(site)
    if not all(server.name for server in addresses.servers(service)):
        raise Misuse("trace needs a site, whose nodes have names")
    given: Options = {"timeout_s": TRACE_TIMEOUT_S, "deadline_s": TRACE_TIMEOUT_S}
    given.update(options)
    told, silent = rows_of(asyncio.run(ask_all(addresses, service, id, given)))
    for line in silent:
        print(line, file=sys.stderr)
    if not told:
        return 2
    events = merge(told, id)
    if as_json:
        fields: dict[str, Any] = {"id": id, "heard": list(told), "events": events}
        print(msgspec.json.encode(fields).decode())
    elif not events:
        print(f"Nobody remembers {id}: it was never made, too long ago, or the nodes were started again since.")
    elif mermaid:
        print(as_mermaid(events))
    else:
        print(_text(events))
    return 0 if events else 1


def _text(events: list[Any]) -> str:
    from rich.console import Console

    console = Console()
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    width = console.width if console.is_terminal else max(console.width, 100)
    return as_text(events, width, ascii_only="utf" not in encoding)
