"""`holdfast vendor`: how a vendor fails on purpose, shown and changed while it runs, with the vendor's own key."""

from __future__ import annotations

import http.client
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from holdfast.client.blocking import reason
from holdfast.client.errors import Misuse
from holdfast.kernel.errors import HoldfastError
from holdfast.site import Node, Site
from holdfast.vendors import VENDORS_APP, Faults

TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 1 << 20
KEY_VARIABLE = "HOLDFAST_KEY"
NONE = "none"


def register(app: typer.Typer) -> None:
    """Add the command `vendor`."""

    @app.command()
    def vendor(
        name: Annotated[str, typer.Argument(metavar="NAME", help="The service, as the site file names it.")],
        what: Annotated[Literal["faults"], typer.Argument(metavar="faults", help="What to show or change.")],
        settings: Annotated[
            list[str] | None, typer.Argument(metavar="SETTING=VALUE", help="Only these from now on, or: none.")
        ] = None,
        site: Annotated[
            str, typer.Option("--site", metavar="FILE", envvar="HOLDFAST_SITE", help="The site file.")
        ] = "",
        key_file: Annotated[
            str, typer.Option("--key-file", metavar="FILE", help=f"The vendor's key; else {KEY_VARIABLE}.")
        ] = "",
        json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
    ) -> None:
        """Show or change how a vendor fails on purpose.

        As in: vendor hotel faults lost=0.1 delayed=0.2 delay_seconds=3. It holds at every node of the
        service that has an HTTP port, until that is started again.
        """
        from holdfast.client.processes import find_site

        faults = faults_of(settings) if settings else None
        said = ask_nodes(find_site(site), name, key(key_file), faults)
        if json:
            typer.echo(msgspec.json.encode({node: msgspec.to_builtins(each) for node, each in said.items()}).decode())
        else:
            for node, each in said.items():
                typer.echo(f"{name} at {node}: {shown(each)}")


def key(file: str) -> str:
    """The vendor's key, from a file or the environment: the command line is everybody's to see."""
    found = Path(file).read_text(encoding="utf-8").strip() if file else os.environ.get(KEY_VARIABLE, "")
    if not found:
        raise Misuse(f"the vendor's key is needed: in {KEY_VARIABLE}, or in a file with --key-file")
    return found


def faults_of(settings: Sequence[str]) -> Faults:
    """The faults that `lost=0.1 delay_seconds=3` names, the others being off; `none` names none."""
    if list(settings) == [NONE]:
        return Faults()
    values: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name in values:
            raise Misuse(
                f"{setting!r} is not one SETTING=VALUE; the settings are {', '.join(Faults.__struct_fields__)}"
            )
        values[name] = value
    try:
        return msgspec.convert(values, Faults, strict=False)
    except msgspec.ValidationError as error:
        raise Misuse(f"{error}; the settings are {', '.join(Faults.__struct_fields__)}".replace("`", "")) from error


def shown(faults: Faults) -> str:
    """What is not as it is without faults, in words."""
    usual = Faults()
    unusual = [name for name in Faults.__struct_fields__ if getattr(faults, name) != getattr(usual, name)]
    return ", ".join(f"{name}={getattr(faults, name):g}" for name in unusual) or "no faults"


def ask_nodes(site: Site, name: str, key: str, faults: Faults | None) -> dict[str, Faults]:
    """Have every node of the service show its faults, or change them first; by node."""
    service = site.services.get(name)
    vendors = [each.name for each in site.services.values() if each.app == VENDORS_APP]
    if service is None or service.app != VENDORS_APP:
        raise Misuse(f"there is no vendor {name!r} in {site.file}; its vendors: {', '.join(vendors) or 'none'}")
    nodes = [site.nodes[node] for node in service.nodes if site.nodes[node].http_port is not None]
    if not nodes:
        raise Misuse(f"no node of {name} has an http_port")
    return {node.name: _ask(node, name, key, faults) for node in nodes}


def _ask(node: Node, name: str, key: str, faults: Faults | None) -> Faults:
    connection = http.client.HTTPConnection(node.host, node.http_port, timeout=TIMEOUT_S)
    headers = {"Authorization": f"Bearer {key}"}
    try:
        if faults is None:
            connection.request("GET", f"/{name}/api/faults", headers=headers)
        else:
            connection.request("PUT", f"/{name}/api/faults", msgspec.json.encode(faults), headers)
        response = connection.getresponse()
        body = response.read(ANSWER_BYTES_MAX)
        if response.status == http.client.OK:
            return msgspec.json.decode(body, type=Faults)
        raise HoldfastError(f"{name} at {node.name}: {msgspec.json.decode(body)['message']}")
    except OSError as error:
        raise HoldfastError(f"{name} at {node.name} cannot be asked: {reason(error)}") from error
    except (http.client.HTTPException, msgspec.DecodeError, KeyError, TypeError) as error:
        raise HoldfastError(f"{name} at {node.name}: what answers there is no vendor") from error
    finally:
        connection.close()
