"""The commands of `holdfast` and their options. Each imports what it needs when it runs."""

from __future__ import annotations

import copy
import importlib
import importlib.util
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup
from typer.main import get_group

from holdfast.client.site import Options

MOUNTED = {
    "plan": ("holdfast.client.plan", "Book the same slot at every vendor."),
    "vendor": ("holdfast.client.vendor", "Show or change how a vendor fails on purpose."),
    "simulate": ("holdfast.sim.command", "Run cores and apps under simulated faults."),
    "bench": ("holdfast.bench.command", "Measure the speed of this machine's nodes."),
}
"""Commands that live elsewhere: each module has `register(app)`, which adds the command to a Typer app."""
SERVICE = "SERVICE"
WORDS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""A negative count or a name with a dash is an argument for the service to judge, not an option."""


class Commands(TyperGroup):
    """The commands of `holdfast`, the mounted ones among them; any other word names a service."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*(name for name in super().list_commands(ctx) if name != SERVICE), *MOUNTED, SERVICE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in MOUNTED:
            return mounted(ctx, cmd_name)
        command = super().get_command(ctx, cmd_name)
        if command is None and not cmd_name.startswith("-"):
            command = copy.copy(super().get_command(ctx, SERVICE))
            assert command is not None
            command.name = cmd_name
        return command


def mounted(ctx: Any, name: str) -> Any:
    """A command of `MOUNTED`; None where an installation leaves its module out."""
    module, short_help = MOUNTED[name]
    if importlib.util.find_spec(module) is None:
        return None
    host = typer.Typer(add_completion=False, rich_markup_mode=None)
    host.callback()(lambda: None)
    importlib.import_module(module).register(host)
    command = get_group(host).get_command(ctx, name)
    assert command is not None, f"{module}.register adds the command {name}"
    command.short_help = short_help
    return command


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Holdfast takes reservations that hold while servers crash and networks split.",
    epilog="Without --site, the site is HOLDFAST_SITE, ./site.toml, or else the demo site.",
)

FailureModel = Literal["perfect", "majority"]
FaultKind = Literal["wrong", "slow", "crash", "silent", "state", "garbage", "none"]
SiteOption = Annotated[str, typer.Option("--site", metavar="FILE", envvar="HOLDFAST_SITE", help="The site file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
AsOption = Annotated[str, typer.Option("--as", metavar="ID", envvar="HOLDFAST_AS", help="Who asks.")]
TokenOption = Annotated[str, typer.Option("--token", envvar="HOLDFAST_TOKEN", help="Proof of who asks.")]
DataOption = Annotated[str, typer.Option("--data", metavar="DIR", help="Where the data lies.")]
AcceptLossOption = Annotated[
    bool,
    typer.Option("--accept-loss", help="Go on although a needed disk is gone; what only it held is lost."),
]


@app.command()
def up(site: Annotated[str, typer.Argument(metavar="SITE.TOML", help="The site file.")] = "") -> None:
    """Start a site and show its nodes live.

    Each node is a process of its own. Ctrl-C ends them all.
    """
    from holdfast.client.up import run_up

    raise typer.Exit(run_up(site))


@app.command()
def node(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The node, as the site file names it.")],
    site: SiteOption = "",
    accept_loss: AcceptLossOption = False,
) -> None:
    """Run one node of a site, until Ctrl-C."""
    from holdfast.client.processes import run_one_node

    raise typer.Exit(run_one_node(site, name, accept_loss=accept_loss))


@app.command()
def init(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="The site file, or a directory for one.")] = "",
    node: Annotated[list[str] | None, typer.Option("--node", metavar="NAME", help="Only this node's disk.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Only of services that have no disk here yet.")] = False,
) -> None:
    """Make a new site and its first disks.

    Once, before the first start: an empty disk never counts as a member by itself. Writes the site
    file too where there is none.
    """
    from holdfast.client.processes import initialise_site

    initialise_site(place, node or [], only_new=new)


@app.command()
def status(site: SiteOption = "", json: JsonOption = False) -> None:
    """Ask every node for its replicas' state.

    Tells each one's protocol, view, epoch, position, digest and lag; where writes may be tentative, also
    its id, the primary and how many are; where replicas vote, the sequencer, the votes, who is suspected and
    what was replaced. Exit status 1 when a node is down.
    """
    from holdfast.client.status import show_status

    raise typer.Exit(show_status(site, as_json=json))


@app.command()
def fault(
    replica: Annotated[str, typer.Argument(metavar="REPLICA", help="The node whose replica it is.")],
    kind: Annotated[FaultKind, typer.Argument(metavar="KIND", help="What it does from now on, as above.")],
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="Which service, where several have votes.")
    ] = "",
    site: SiteOption = "",
    as_: AsOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Plant a fault in a replica.

    wrong: it answers wrongly; state: rightly, over a wrong state; garbage: with bytes that mean nothing;
    silent: not at all; slow: late; crash: it is gone; none: as it should again. For services under the
    protocol sequencer, which finds such a replica out and replaces it.
    """
    from holdfast.client.fault import plant

    options: Options = {"as_": as_, "token": token or None}
    raise typer.Exit(plant(replica, kind, service=service, site=site, as_json=json, options=options))


@app.command()
def trust(
    replica: Annotated[str, typer.Argument(metavar="REPLICA", help="The node whose replica is right.")],
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="Which service, where several have votes.")
    ] = "",
    site: SiteOption = "",
    as_: AsOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Say that a replica is right.

    For services under the protocol sequencer of which more replicas have failed at once than the vote can make
    up for: what this one has on record is taken for right, and the others are begun anew from it. Refused
    while the vote can decide by itself.
    """
    from holdfast.client.fault import trust as say_trust

    options: Options = {"as_": as_, "token": token or None}
    raise typer.Exit(say_trust(replica, service=service, site=site, as_json=json, options=options))


@app.command()
def trace(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="The service, as the site file names it.")],
    id: Annotated[str, typer.Argument(metavar="ID", help="The write, as its answer told it: biology-42.")],
    site: SiteOption = "",
    as_: AsOption = "",
    token: TokenOption = "",
    mermaid: Annotated[bool, typer.Option("--mermaid", help="For Mermaid instead of a terminal.")] = False,
    json: JsonOption = False,
) -> None:
    """Draw the messages about one booking.

    Asks every node that can be reached what it remembers, and makes one sequence diagram of it.
    """
    from holdfast.client.trace import show_trace

    options: Options = {"as_": as_, "token": token or None}
    raise typer.Exit(show_trace(service, id, site=site, mermaid=mermaid, as_json=json, options=options))


@app.command()
def reset(
    site: SiteOption = "", yes: Annotated[bool, typer.Option("--yes", help="Do not ask before deleting.")] = False
) -> None:
    """Delete all data of a stopped site.

    It begins anew with the next `up` or `init`.
    """
    from holdfast.client.processes import reset_site

    reset_site(site, sure=yes)


@app.command("tickets-server")
def tickets_server(
    servers: Annotated[str, typer.Option("--servers", metavar="FILE", help="Lines of `address port`, one a server.")],
    me: Annotated[int, typer.Option("--me", metavar="N", help="Which line is this server, from 1.")],
    seats: Annotated[int, typer.Option("--seats", metavar="C", help="How many seats the theatre has.")],
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", help="Silent so long means crashed.")] = 5.0,
    data: DataOption = "",
    failure_model: Annotated[
        FailureModel | None, typer.Option("--failure-model", help="Needed when the servers are on several machines.")
    ] = None,
    first: Annotated[bool, typer.Option("--init", help="The first start: this empty disk is a first one.")] = False,
    accept_loss: AcceptLossOption = False,
) -> None:
    """Run one server of a plain list, until Ctrl-C."""
    from holdfast.client.processes import run_tickets_server

    status = run_tickets_server(
        servers,
        me,
        seats,
        timeout_s=timeout,
        data=data,
        failure_model=failure_model,
        first=first,
        accept_loss=accept_loss,
    )
    raise typer.Exit(status)


@app.command(SERVICE, context_settings=WORDS)
def service(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="COMMAND", help="Without one: a prompt.")] = None,
    site: SiteOption = "",
    servers: Annotated[
        str, typer.Option("--servers", metavar="FILE", help="Instead of a site: lines of `address port`.")
    ] = "",
    as_: AsOption = "",
    token: TokenOption = "",
    token_file: Annotated[
        str,
        typer.Option(
            "--token-file", metavar="FILE", envvar="HOLDFAST_TOKEN_FILE", help="The proof, in its first line."
        ),
    ] = "",
    at: Annotated[str, typer.Option("--at", metavar="NODE", help="Ask this node and no other.")] = "",
    view: Annotated[
        Literal["full", "committed"], typer.Option("--view", help="Whether questions see what is tentative.")
    ] = "full",
    guarantee: Annotated[
        list[str] | None, typer.Option("--guarantee", metavar="WORD", help="What holds across servers; repeatable.")
    ] = None,
    logs: Annotated[
        str,
        typer.Option("--logs", metavar="FOLDER", envvar="HOLDFAST_LOGS", help="Where people's own logs lie."),
    ] = "",
    json: JsonOption = False,
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", help="Another server after so long.")] = 5.0,
    deadline: Annotated[float, typer.Option("--deadline", metavar="S", help="Unknown after so long.")] = 30.0,
    retry: Annotated[
        str, typer.Option("--retry", metavar="CLIENT:NUMBER", help="Learn the outcome of this request.")
    ] = "",
) -> None:
    """Speak to a service, as in: tickets reserve bob 2

    Without a command it reads lines: from a person at a prompt, or from a pipe. Everything after `--`
    is the command's, whatever it looks like.
    """
    from holdfast.client.site import token_in
    from holdfast.client.speak import speak

    assert context.info_name
    given = token or (token_in(token_file) if token_file else None)
    options: Options = {"as_": as_, "token": given, "timeout_s": timeout, "deadline_s": deadline}
    options.update({"at": at, "view": view, "guarantees": guarantee or [], "logs": logs})
    status = speak(
        context.info_name, words or [], site=site, servers=servers, as_json=json, retry=retry, options=options
    )
    raise typer.Exit(status)
