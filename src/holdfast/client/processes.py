"""The commands that run or prepare nodes: `node`, `init`, `reset`, `tickets-server`, and what `up` needs of them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from holdfast.client.addresses import DEMO_DATA, SITE_FILE, demo_file, site_file
from holdfast.client.errors import Misuse
from holdfast.client.outcomes import Server
from holdfast.private import private, tighten, tighten_all
from holdfast.site import demo_site, load_servers_file, load_site, on_one_machine

if TYPE_CHECKING:
    from holdfast.catalog import FailureModel
    from holdfast.site import Site


def find_site(path: str) -> Site:
    """The site that the command line speaks of; see `addresses.site_file`."""
    file = site_file(path)
    return load_site(file) if file else demo_site(DEMO_DATA)


def node_servers(site: Site) -> list[Server]:
    """Where each node can be asked for its status: its common port, a service's port, or its peer port."""
    return [Server(node.host, _line_port(site, node.name), node.name) for node in site.nodes.values()]


def _line_port(site: Site, name: str) -> int:
    own = site.nodes[name]
    ports = [own.line_port, *(service.ports[name] for service in site.services_of(name)), own.peer_port]
    return next(port for port in ports if port is not None)


def node_command(site: Site, name: str) -> list[str]:
    """What starts this node as a process of its own."""
    return [sys.executable, "-m", "holdfast.client.cli", "node", name, *_site_words(site)]


def node_command_shown(site: Site, name: str) -> str:
    """What a person types to start this node, here or in another terminal in this directory."""
    program = "holdfast" if shutil.which("holdfast") else os.path.relpath(Path(sys.executable).parent / "holdfast")
    return shlex.join([program, "node", name, *_site_words(site)])


def _site_words(site: Site) -> list[str]:
    return [] if site.data == DEMO_DATA.absolute() else ["--site", str(site.file)]


def is_new(site: Site) -> bool:
    """Whether no node of this site was ever started here."""
    return not any(site.node_data(name).exists() for name in site.nodes)


def first_start(site: Site) -> None:
    """Make the disks of a site that was never started; of any other, touch nothing, but tell of services that
    have come to it. (And give it its key, if one of them needs it: all nodes are started here, so all have it.)"""
    from holdfast.runtime.node import initialise, new_services

    if is_new(site):
        with private():
            initialise(site, list(site.nodes))
        return
    if new := new_services(site, list(site.nodes)):
        print(
            f"No disks yet for {', '.join(new)}. If the site file is newer than the data, `holdfast init --new` helps."
        )
    if any(map(site.needs_key, site.nodes)):
        from holdfast.runtime.site_key import make_key

        with private():
            make_key(site.key)


def run_one_node(path: str, name: str, *, accept_loss: bool) -> int:
    """The command `holdfast node`; its exit status."""
    site = find_site(path)
    if name not in site.nodes:
        raise Misuse(f"no node {name!r} in {site.file}; its nodes: {', '.join(site.nodes)}")
    from holdfast.runtime.node import run_node

    _tighten(site, name)
    with private():
        return run_node(site, name, accept_loss=accept_loss)


def _tighten(site: Site, name: str) -> None:
    """What an earlier version has left readable for others."""
    tighten_all(site.node_data(name))
    if not site.file.resolve().is_relative_to(site.data.resolve()):  # otherwise the folder is not the data's alone
        tighten(site.data)


def initialise_site(place: str, names: Sequence[str], *, only_new: bool = False) -> None:
    """The command `holdfast init`."""
    file = _place_of_site(place)
    if file is not None and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(demo_file().read_bytes())
        print(f"Wrote {file}: the demo site; change it to your own.")
    site = load_site(file) if file is not None else find_site("")
    for name in names:
        if name not in site.nodes:
            raise Misuse(f"no node {name!r} in {site.file}; its nodes: {', '.join(site.nodes)}")
    from holdfast.runtime.node import initialise

    had_key = site.key.exists()
    with private():
        initialise(site, list(names) or list(site.nodes), only_new=only_new)
    print(f"Made the first disks of {', '.join(names or site.nodes)} in {site.data}.")
    if site.key.exists() and not had_key and not _on_one_machine(site):
        print(f"Made the site's key, {site.key}: copy it to the other machines before `init` there.")


def _place_of_site(place: str) -> Path | None:
    """The site file that `init` means: a directory has its `site.toml`."""
    if not place:
        return site_file()
    path = Path(place)
    return path if path.suffix == ".toml" else path / SITE_FILE


def _on_one_machine(site: Site) -> bool:
    return on_one_machine([node.host for node in site.nodes.values()])


def reset_site(path: str, *, sure: bool) -> None:
    """The command `holdfast reset`: refuses while a node runs."""
    import asyncio

    from holdfast.client.status import ask_nodes

    site = find_site(path)
    if not site.data.exists():
        print(f"There is no data in {site.data}.")
        return
    up = [node.node for node in asyncio.run(ask_nodes(node_servers(site))) if node.up]
    if up:
        raise Misuse(f"node {up[0]} still runs; end the nodes of {site.name} first")
    if not sure:
        typer.confirm(f"Delete all data of {site.name} in {site.data}?", abort=True)
    for name in site.nodes:
        if site.node_data(name).exists():
            shutil.rmtree(site.node_data(name))
    if site.key.parent == site.data and _on_one_machine(site):  # otherwise other machines have it too, and go on
        site.key.unlink(missing_ok=True)
    if not any(site.data.iterdir()):
        site.data.rmdir()
    print(f"Deleted the data of {site.name} in {site.data}.")


def run_tickets_server(
    servers: str,
    me: int,
    seats: int,
    *,
    timeout_s: float,
    data: str,
    failure_model: FailureModel | None,
    first: bool,
    accept_loss: bool,
) -> int:
    """The command `holdfast tickets-server`; its exit status."""
    site = load_servers_file(
        servers,
        data=Path(data) if data else None,
        seats=seats,
        failure_model=failure_model,
        timeout_seconds=timeout_s,
    )
    name = str(me)
    if name not in site.nodes:
        raise Misuse(f"--me {me}: {servers} lists {len(site.nodes)} servers, numbered from 1")
    from holdfast.runtime.node import initialise, run_node

    _tighten(site, name)
    with private():
        if first:
            initialise(site, [name])
        return run_node(site, name, accept_loss=accept_loss)
