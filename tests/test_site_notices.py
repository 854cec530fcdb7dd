"""Which service delivers the notices of the others, which nodes carry them, and who needs the site's key for that."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.catalog import APPS, make_app
from holdfast.client.processes import first_start
from holdfast.kernel.errors import ConfigurationError
from holdfast.kernel.notices import NoticeTaker
from holdfast.notices import carriers
from holdfast.runtime.node import initialise
from holdfast.site import Site, load_site

HEAD = '[site]\nname = "house"\n'
NODES = "".join(
    f'[nodes.{name}]\nhost = "127.0.0.1"\npeer_port = {7501 + place}\n' for place, name in enumerate("abcd")
)
TICKETS = '[services.tickets]\napp = "tickets"\nidentity = "trusted"\nnodes = ["a", "b"]\n'
MESSAGES = '[services.messages]\napp = "messages"\nnodes = ["c", "d"]\n'
POST = MESSAGES.replace("services.messages", "services.post")


@pytest.fixture(name="site_of")
def _site_of(tmp_path: Path):
    def site_of(*parts: str, setting: str | None = None) -> Site:
        path = tmp_path / "site.toml"
        line = "" if setting is None else f'notices = "{setting}"\n'
        path.write_text("".join((HEAD, line, NODES, *parts)))
        return load_site(path)

    return site_of


def mistakes(site_of, *parts: str, setting: str | None = None) -> str:
    with pytest.raises(ConfigurationError) as raised:
        site_of(*parts, setting=setting)
    return str(raised.value)


def test_the_only_service_that_can_delivers_notices_unless_it_is_said_otherwise(site_of) -> None:
    assert site_of(TICKETS, MESSAGES).notices == "messages"
    assert site_of(TICKETS, POST).notices == "post"
    assert site_of(TICKETS).notices == ""
    assert site_of(TICKETS, MESSAGES, setting="").notices == ""
    assert site_of(TICKETS, MESSAGES, POST, setting="post").notices == "post"


def test_mistakes_are_named(site_of) -> None:
    assert re.search(
        r"site\.notices.*no service 'mesages'; did you mean messages",
        mistakes(site_of, TICKETS, MESSAGES, setting="mesages"),
    )
    assert "tickets is of the app tickets, which delivers no notices" in mistakes(
        site_of, TICKETS, MESSAGES, setting="tickets"
    )
    assert "say which of messages, post delivers" in mistakes(site_of, TICKETS, MESSAGES, POST)


def test_a_service_with_mistakes_of_its_own_is_not_said_to_be_missing(site_of) -> None:
    told = mistakes(site_of, TICKETS, MESSAGES.replace('"d"', '"e"'), setting="messages")
    assert "there is no node 'e'" in told
    assert "site.notices" not in told


@pytest.mark.parametrize("app", list(APPS))
def test_the_catalog_knows_which_apps_deliver(site_of, app: str) -> None:
    site = site_of(f'[services.one]\napp = "{app}"\nnodes = ["a"]\n', setting="")
    assert isinstance(make_app(site.services["one"]), NoticeTaker) == APPS[app].delivers


def test_notices_travel_between_the_nodes_of_their_services_and_those_of_the_receiver(site_of) -> None:
    site = site_of(TICKETS, MESSAGES)
    assert {node: site.notice_partners(node) for node in site.nodes} == {
        "a": ("c", "d"),
        "b": ("c", "d"),
        "c": ("a", "b"),
        "d": ("a", "b"),
    }
    assert all(map(site.needs_key, site.nodes))


def test_a_node_where_nothing_has_notices_speaks_to_nobody_about_them(site_of) -> None:
    site = site_of(TICKETS, MESSAGES.replace('"c", "d"', '"c"'))
    assert site.notice_partners("d") == ()
    assert [node for node in site.nodes if site.needs_key(node)] == ["a", "b", "c"]
    assert [node for node in site.nodes if site.needs_datagrams(node)] == ["a", "b", "c"]


def test_without_a_receiver_and_on_one_node_no_key_is_needed(site_of) -> None:
    assert not any(map(site_of(TICKETS).needs_key, "abcd"))
    assert not any(map(site_of(TICKETS, MESSAGES, setting="").needs_datagrams, "abcd"))
    alone = site_of(TICKETS.replace('"a", "b"', '"a"'), MESSAGES.replace('"c", "d"', '"a"'))
    assert not any(map(alone.needs_key, "abcd"))


def test_where_replicas_serve_only_who_proves_who_they_are_every_link_needs_the_key(site_of) -> None:
    apart = site_of(TICKETS, MESSAGES, setting="")
    assert all(map(apart.needs_key, "abcd")), "both ends of a link must think alike"
    token = site_of(TICKETS.replace("trusted", "token"))
    assert [node for node in token.nodes if token.needs_key(node)] == ["a", "b"]
    assert not any(map(token.needs_datagrams, "abcd"))
    assert not any(map(site_of(TICKETS.replace('"a", "b"', '"a"').replace("trusted", "token")).needs_key, "abcd"))
    events = '[services.events]\napp = "events"\nidentity = "trusted"\nnodes = ["a", "b", "c"]\n'
    mixed = site_of(TICKETS.replace('"b"', '"d"'), events)
    assert not mixed.needs_datagrams("d")
    assert mixed.needs_key("d"), "node a needs it for its datagrams, and asks for it on the link with d"


def test_only_nodes_that_take_requests_carry_those_without_a_state_last(site_of) -> None:
    events = '[services.events]\napp = "events"\nnodes = ["a", "b", "c"]\n'
    roles = 'front_ends = ["a", "c"]\nmanagers = ["b", "c"]\n'
    site = site_of(events, roles, POST.replace('"c", "d"', '"d"'))
    assert carriers(site.services["events"]) == ("c", "a")
    assert site.notice_partners("b") == ()
    assert site.notice_partners("d") == ("c", "a")


def test_the_first_start_makes_the_key_that_notices_need(site_of) -> None:
    site = site_of(TICKETS, MESSAGES)
    initialise(site, ["a"])
    assert site.key.exists()


def test_a_receiver_that_comes_to_a_site_brings_the_key(site_of) -> None:
    site = site_of(TICKETS)
    initialise(site)
    assert not site.key.exists()
    site = site_of(TICKETS, MESSAGES)
    first_start(site)
    assert site.key.exists()
    site.key.unlink()
    initialise(site, only_new=True)
    assert site.key.exists()
