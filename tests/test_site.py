"""A site's file: what it says, and every mistake by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import fields

from holdfast.apps.events import parse_person
from holdfast.apps.messages import Messages
from holdfast.apps.plans import Plans
from holdfast.apps.rooms import DEPARTMENTS
from holdfast.apps.tickets import Tickets
from holdfast.catalog import APPS, GUARANTEES, PROTOCOLS, first_records, guarantee, make_app, make_core
from holdfast.kernel.contracts import Person
from holdfast.kernel.errors import ConfigurationError
from holdfast.kernel.machine import Machine
from holdfast.kernel.replies import Forbidden
from holdfast.people import TokenHash
from holdfast.replication.bayou import RETENTION_MS, BayouConfiguration
from holdfast.settings import TABLES, Mistakes, ServiceSettings
from holdfast.site import Site, demo_site, demo_toml, load_servers_file, load_site
from holdfast.vendors import clients_of, key_hash, settings_of

DOCS = Path(__file__).parents[1] / "docs"

NODES = """
[nodes.a]
host = "127.0.0.1"
peer_port = 7501

[nodes.b]
host = "127.0.0.1"
peer_port = 7502
"""

FAR_NODES = NODES.replace("127.0.0.1", "192.0.2.1", 1)


@pytest.fixture(name="site_of")
def _site_of(tmp_path: Path):
    def site_of(text: str, **options: Path) -> Site:
        path = tmp_path / "site.toml"
        path.write_text(text, encoding="utf-8")
        return load_site(path, **options)

    return site_of


def test_the_demo_site(tmp_path: Path) -> None:
    site = demo_site(tmp_path)
    assert site.data == tmp_path
    assert [(node.host, node.peer_port, node.http_port) for node in site.nodes.values()] == [
        *(("127.0.0.1", 7501 + number, 8001 + number) for number in range(3)),
        *(("127.0.0.1", 7504 + number, 8011 + number) for number in range(10)),
    ]
    tickets = site.services["tickets"]
    assert (tickets.app, tickets.protocol, tickets.failure_model) == ("tickets", "lamport", "perfect")
    assert tickets.ports == {"a": 7101, "b": 7102, "c": 7103}
    assert tickets.timeout_seconds == 5.0
    assert site.line_addresses("tickets") == (("127.0.0.1", 7101), ("127.0.0.1", 7102), ("127.0.0.1", 7103))
    directory, events = site.services["directory"], site.services["events"]
    messages = site.services["messages"]
    assert site.services_of("b") == (tickets, directory, events, messages)
    assert (directory.protocol, events.protocol) == ("lamport", "sequencer")
    assert site.line_addresses("events") == (("127.0.0.1", 7301), ("127.0.0.1", 7302), ("127.0.0.1", 7303))
    branches = site.branches_of("events")
    assert branches is not None
    assert branches.homes == {"TOR": "a", "MTL": "b", "OTW": "c"}
    assert branches.candidates("MTL") == ("b", "c", "a")
    assert site.node_data("b") == tmp_path / "b"
    app = make_app(tickets)
    assert isinstance(app, Tickets)
    assert app.seats == 500
    for name, port in (("hotel", 7601), ("band", 7602)):
        vendor = site.services[name]
        assert (vendor.protocol, vendor.ports, site.nodes["a"].http_port) == ("solo", {"a": port}, 8001)
        keys = {key_hash(f"demo-{name}-{client}"): client for client in settings_of(vendor.options).keys}
        assert {
            hashed: person.id for hashed, person in clients_of(settings_of(vendor.options), site.people).items()
        } == keys
    plans = site.services["plans"]
    assert (plans.app, plans.protocol, plans.identity, plans.ports) == ("plans", "solo", "token", {"a": 7603})
    planners = make_app(plans)
    assert isinstance(planners, Plans)
    assert planners.people == frozenset(site.people.ids)
    assert len(site.people) == 38
    assert sum(parse_person(id) is not None for id in site.people.ids) == 10
    assert site.people.login("ann", identity="trusted") == Person("ann", "Ann", ("manager",), "theatre", "box office")


def test_the_people_of_the_demo_write_to_each_other(tmp_path: Path) -> None:
    site = demo_site(tmp_path)
    service = site.services["messages"]
    assert (service.app, service.protocol, service.failure_model) == ("messages", "lamport", "perfect")
    assert (service.identity, service.ports) == ("token", {"a": 7401, "b": 7402, "c": 7403})
    app = make_app(service)
    assert isinstance(app, Messages)
    assert tuple(app.people) == site.people.ids
    alice = site.people.login("alice", "demo-alice", identity="token")
    assert alice == Person("alice", "Alice", ("doctor",), "cardiology", "ward 3")
    roles = [role for person in site.people.listed for role in person.roles]
    assert (roles.count("doctor"), roles.count("nurse"), roles.count("auditor")) == (3, 3, 1)
    for id in site.people.ids[-10:]:  # hashing takes its time
        assert isinstance(site.people.login(id, f"demo-{id}", identity="token"), Person)
    assert isinstance(site.people.login("alice", "demo-bob", identity="token"), Forbidden)


def test_messages_are_served_to_nobody_without_a_token(site_of) -> None:
    service = '[services.m]\napp = "messages"\nnodes = ["a"]\n'
    assert site_of(NODES + service).services["m"].identity == "token"
    with pytest.raises(ConfigurationError, match=r'services\.m\.identity: .* it must be "token"'):
        site_of(NODES + service + 'identity = "trusted"\n')


def test_messages_learn_who_the_people_are_and_on_what_terms(site_of) -> None:
    text = NODES + '[services.m]\napp = "messages"\nnodes = ["a"]\nretention_days = 30\n[people.ann]\n[people.bob]\n'
    app = make_app(site_of(text).services["m"])
    assert isinstance(app, Messages)
    assert tuple(app.people) == ("ann", "bob")
    assert "retention_days = 30" in (Messages().check(Machine(app).store) or "")
    with pytest.raises(ConfigurationError, match=r"services\.m\.retention_days"):
        site_of(text.replace("= 30", "= -1"))


def test_each_department_of_the_demo_has_a_node_and_a_secretary(tmp_path: Path) -> None:
    site = demo_site(tmp_path)
    rooms = site.services["rooms"]
    assert (rooms.app, rooms.protocol, rooms.failure_model, rooms.identity) == ("rooms", "bayou", None, "trusted")
    assert tuple(rooms.ports.values()) == tuple(range(7201, 7211))
    assert rooms.nodes == DEPARTMENTS
    people = [site.people.get(id) for id in site.people.ids]
    secretaries = [person for person in people if person is not None and "secretary" in person.roles]
    assert sorted(person.department for person in secretaries) == sorted(DEPARTMENTS)
    assert len({person.first_name for person in secretaries}) == 10, "the first name breaks a tie"
    assert all(site.services_of(node) == (rooms,) for node in rooms.nodes)


def test_the_data_lies_beside_the_file(site_of, tmp_path: Path) -> None:
    assert site_of(NODES).data == tmp_path / "data"
    assert site_of('[site]\ndata = "elsewhere"' + NODES).data == tmp_path / "elsewhere"
    assert site_of('[site]\ndata = "/srv/holdfast"' + NODES).data == Path("/srv/holdfast")
    assert site_of(NODES, data=tmp_path / "other").data == tmp_path / "other"


BAYOU = '[services.t]\napp = "tickets"\nnodes = ["a", "b"]\nprotocol = "bayou"\n'


def test_any_app_can_be_served_under_bayou_with_its_settings(site_of) -> None:
    text = 'primary = "b"\nvoters = ["b", "a"]\ncommit = "immediate"\nhorizon_hours = 0.5\nsync_seconds = 0.25\n'
    service = site_of(FAR_NODES + BAYOU + text + "forward_bound_seconds = 60\nseats = 40\n").services["t"]
    assert service.failure_model is None
    assert service.options == {"seats": 40}
    replicated = make_core(service, "a", disk="d", is_copy=True)
    assert replicated.core.configuration == BayouConfiguration(
        me=0,
        nodes=("a", "b"),
        disk="d",
        is_copy=True,
        voters=("b", "a"),
        policy="immediate",
        horizon_ms=1_800_000,
        forward_bound_ms=60_000,
        sync_us=250_000,
    )
    assert replicated.machine.app.seats == 40
    assert replicated.machine.retention_ms == RETENTION_MS
    assert {word.__struct_config__.tag for word in (*replicated.commands, *replicated.queries)} >= {"import", "stable"}
    assert len(first_records(service, "b", {"b": "disk"})) == 1


def test_no_setting_of_a_protocol_is_one_of_an_app_or_of_every_service() -> None:
    common = set(ServiceSettings.__struct_fields__)
    apps = {name for app in APPS.values() for name in app.options.__struct_fields__}
    protocols = [name for protocol in PROTOCOLS.values() for name in protocol.options.__struct_fields__]
    assert len(protocols) == len(set(protocols))
    assert not set(protocols) & (apps | common)
    assert not apps & common


def test_the_order_of_the_nodes_numbers_the_peers(site_of) -> None:
    site = site_of(NODES + '[services.t]\napp = "tickets"\nnodes = ["b", "a"]\n')
    service = site.services["t"]
    assert service.nodes == ("b", "a")
    assert (service.peer("b"), service.peer("a")) == (0, 1)
    assert service.ports == {"b": None, "a": None}
    assert service.deadline_seconds == 2 * service.timeout_seconds


def test_a_token_in_the_file_is_a_hash(site_of) -> None:
    written = TokenHash.of("open sesame").written()
    site = site_of(NODES + f'[people.ann]\ntoken = "{written}"\n')
    assert site.people.login("ann", "open sesame", identity="token") == Person("ann")


# -- failure models ---------------------------------------------------------------------------------


def test_on_one_machine_nothing_can_split_so_perfect_is_what_is_meant(site_of) -> None:
    assert (
        site_of(NODES + '[services.t]\napp = "tickets"\nnodes = ["a", "b"]\n').services["t"].failure_model == "perfect"
    )


def test_over_a_network_the_failure_model_must_be_said(site_of) -> None:
    service = '[services.t]\napp = "tickets"\nnodes = ["a", "b"]\n'
    with pytest.raises(ConfigurationError, match=r"services\.t\.failure_model: its nodes are on several machines"):
        site_of(FAR_NODES + service)
    for model in ("perfect", "majority"):
        site = site_of(FAR_NODES + service + f'failure_model = "{model}"\n')
        assert site.services["t"].failure_model == model


def test_a_service_alone_on_a_far_machine_needs_no_model(site_of) -> None:
    site = site_of(FAR_NODES + '[services.t]\napp = "tickets"\nprotocol = "solo"\nnodes = ["a"]\n')
    assert site.services["t"].failure_model is None


BRANCHED = (
    '[services.directory]\napp = "directory"\nnodes = ["a", "b"]\n[services.e]\napp = "events"\nnodes = ["a", "b"]\n'
)


def test_branches_are_at_one_node_after_the_other_unless_it_is_said_otherwise(site_of) -> None:
    branches = site_of(NODES + BRANCHED).branches_of("e")
    assert branches.homes == {"TOR": "a", "MTL": "b", "OTW": "a"}
    said = site_of(NODES + BRANCHED + 'branch_nodes = { MTL = "a" }\nfront_ends = ["a"]').branches_of("e")
    assert (said.homes, said.nodes) == ({"TOR": "a", "MTL": "a", "OTW": "a"}, ("a",))


@pytest.mark.parametrize("more", ['protocol = "lamport"', 'directory = "directory"\nprotocol = "lamport"'])
def test_there_are_no_branch_servers_without_datagrams_or_directory(site_of, more: str) -> None:
    assert site_of(NODES + BRANCHED + more).branches_of("e") is None
    assert site_of(NODES + BRANCHED.partition("[services.e]")[0]).branches_of("directory") is None
    alone = NODES + '[services.e]\napp = "events"\nnodes = ["a", "b"]'
    assert site_of(alone).branches_of("e") is None


# -- mistakes ---------------------------------------------------------------------------------------

SERVICE = '[services.t]\napp = "tickets"\nnodes = ["a", "b"]\n'
ROOMS = '[services.t]\napp = "rooms"\nnodes = ["a"]\n'


@pytest.mark.parametrize(
    ("text", "key", "why"),
    [
        (NODES + "[servces.t]", "servces", "there is no such table; did you mean services?"),
        ("nodes = 1", "nodes", "must be a table, [nodes]"),
        ("", "nodes", "a site needs a node: [nodes.a] with host and peer_port"),
        (NODES + "[nodes.C]", "nodes.C", "a name here must match"),
        (NODES + '[nodes."../x"]', "nodes.../x", "a name here must match"),
        ("[nodes]\na = 1", "nodes.a", "must be a table, [nodes.a]"),
        ("[nodes.a]\npeer_port = 1", "nodes.a.host", "is missing"),
        ('[nodes.a]\nhost = "h"\npeer_port = "1"', "nodes.a.peer_port", "expected int, got str"),
        ('[nodes.a]\nhost = "h"\npeer_port = 0', "nodes.a.peer_port", "expected int >= 1"),
        ('[nodes.a]\nhost = "h"\npeer_port = 65536', "nodes.a.peer_port", "expected int <= 65535"),
        ('[nodes.a]\nhost = "h"\npeer_port = true', "nodes.a.peer_port", "expected int, got bool"),
        ('[nodes.a]\nhost = "a b"\npeer_port = 1', "nodes.a.host", "'a b' is neither an IP address nor a host name"),
        ('[nodes.a]\nhost = "10.0.0.256"\npeer_port = 1', "nodes.a.host", "'10.0.0.256' is neither an IP address"),
        (
            NODES + "http_port = 7501",
            "nodes.b.http_port",
            "port 7501 of 127.0.0.1 is taken already, by nodes.a.peer_port",
        ),
        (NODES + "htp_port = 1", "nodes.b.htp_port", "there is no such setting; did you mean http_port?"),
        (NODES + SERVICE.replace('"b"', '"x"'), "services.t.nodes", "there is no node 'x' in [nodes]; known are a, b"),
        (NODES + SERVICE.replace('"b"', '"a"'), "services.t.nodes", "names a node twice"),
        (NODES + '[services.t]\napp = "tickets"\nnodes = []', "services.t.nodes", "a service needs a node at least"),
        (NODES + '[services.t]\napp = "tickets"', "services.t.nodes", "is missing"),
        (NODES + SERVICE.replace("services.t", "services.status"), "services.status", "a service cannot be called"),
        (
            NODES + '[services.t]\napp = "tickets"\nnodes = {b = 7502}',
            "services.t.nodes.b",
            "port 7502 of 127.0.0.1 is taken already, by nodes.b.peer_port",
        ),
        (NODES + '[services.t]\napp = "tickets"\nnodes = {a = 70000}', "services.t.nodes", "expected int <= 65535"),
        (
            NODES + SERVICE.replace("tickets", "ticket"),
            "services.t.app",
            "there is no app 'ticket'; did you mean tickets?",
        ),
        (NODES + SERVICE + 'protocol = "lamprt"', "services.t.protocol", "there is no protocol 'lamprt'; did you mean"),
        (NODES + SERVICE + 'protocol = "solo"', "services.t.nodes", "solo takes at most 1 node, not 2"),
        (
            NODES + SERVICE.replace(', "b"', "") + 'protocol = "solo"\nfailure_model = "perfect"',
            "services.t.failure_model",
            "solo has no failure model to choose; leave it out",
        ),
        (
            NODES + SERVICE + 'failure_model = "fine"',
            "services.t.failure_model",
            "invalid enum value 'fine'; there are perfect, majority",
        ),
        (
            NODES + SERVICE + 'identity = "none"',
            "services.t.identity",
            "invalid enum value 'none'; there are trusted, token",
        ),
        (NODES + SERVICE + "timeout_seconds = 0", "services.t.timeout_seconds", "expected float >= 0.05"),
        (NODES + SERVICE + "timeout_seconds = inf", "services.t.timeout_seconds", "expected float <= 3600"),
        (NODES + SERVICE + "timeout_seconds = nan", "services.t.timeout_seconds", "expected float >= 0.05"),
        (NODES + SERVICE + "seats = 0", "services.t.seats", "expected int >= 1"),
        (NODES + SERVICE + "seats = 10000001", "services.t.seats", "expected int <= 10000000"),
        (NODES + SERVICE + "seat = 5", "services.t.seat", "there is no such setting; did you mean seats?"),
        (
            NODES + SERVICE + "sync_seconds = 1",
            "services.t.sync_seconds",
            "is a setting of bayou, which is not this service's protocol",
        ),
        (NODES + BAYOU + 'primary = "c"', "services.t.primary", "'c' is none of its nodes, a, b"),
        (NODES + BAYOU + 'voters = ["a", "c"]', "services.t.voters", "'c' is none of its nodes, a, b"),
        (NODES + BAYOU + 'voters = ["a", "a"]', "services.t.voters", "names a twice"),
        (NODES + BAYOU + 'voters = ["b"]', "services.t.voters", "the primary, a, must be one of them"),
        (
            NODES + BAYOU + 'commit = "never"',
            "services.t.commit",
            "invalid enum value 'never'; there are all-heard, immediate",
        ),
        (NODES + BAYOU + "horizon_hours = 0", "services.t.horizon_hours", "expected float >= 0.001"),
        (NODES + BAYOU + "sync_secs = 1", "services.t.sync_secs", "there is no such setting; did you mean"),
        (
            NODES + BAYOU + 'failure_model = "majority"',
            "services.t.failure_model",
            "bayou has no failure model to choose; leave it out",
        ),
        (NODES + ROOMS + "opens = 18", "services.t", "a day from 18 to 17 o'clock has no hours"),
        (NODES + ROOMS + 'rooms = ["Oak", "Elm", "Oak"]', "services.t", "the room 'Oak' is named twice"),
        (NODES + ROOMS + 'departments = ["law", "art", "law"]', "services.t", "the department 'law' is named twice"),
        (
            NODES + '[services.e]\napp = "events"\nnodes = ["a"]\nbranch_nodes = { TOR = "b" }',
            "services.e.branch_nodes",
            "'b' takes no requests of this service; these do: a",
        ),
        (
            NODES + '[services.e]\napp = "events"\nnodes = ["a"]\nbranch_nodes = { PAR = "a" }',
            "services.e.branch_nodes",
            "there is no branch 'PAR'; the branches are TOR, MTL, OTW",
        ),
        (
            NODES + SERVICE + '[services.e]\napp = "events"\nnodes = ["a"]\ndirectory = "t"',
            "services.e.directory",
            "there is no service 't' of the app directory",
        ),
        (
            NODES + '[services.directory]\napp = "directory"\nnodes = ["a"]\n'
            '[services.e]\napp = "events"\nnodes = ["a", "b"]',
            "services.e.directory",
            "directory has no replica at b, where branches may be served",
        ),
        (NODES + "[limits]\nline_bytes_max = 1", "limits.line_bytes_max", "expected int >= 256"),
        (NODES + '[people."a b"]', "people.a b", "a name here must match"),
        (NODES + '[people.ann]\nroles = "x"', "people.ann.roles", "expected array, got str"),
        (NODES + '[people.ann]\ntoken = "secret"', "people.ann.token", "a token hash looks like scrypt$"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_key(site_of, tmp_path: Path, text: str, key: str, why: str) -> None:
    with pytest.raises(Mistakes) as caught:
        site_of(text)
    assert str(caught.value).splitlines()[0].startswith(f"{tmp_path / 'site.toml'}, {key}: {why}")
    assert caught.value.key == key


def test_all_mistakes_are_told_at_once(site_of) -> None:
    with pytest.raises(Mistakes) as caught:
        site_of(FAR_NODES + SERVICE + 'seats = "many"\nfoo = 1\n[people.ann]\nage = 7\n')
    assert {mistake.key for mistake in caught.value.mistakes} == {
        "services.t.seats",
        "services.t.foo",
        "services.t.failure_model",
        "people.ann.age",
    }


def test_a_mistake_of_syntax_is_named_with_its_line(site_of) -> None:
    with pytest.raises(ConfigurationError, match=r"site\.toml, line 3: ") as caught:
        site_of('[site]\nname = "x"\ndata = = 1\n')
    assert caught.value.line == 3


def test_a_file_that_is_not_there_or_no_text(site_of, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: cannot be read: No such file"):
        load_site(tmp_path / "nowhere.toml")
    (tmp_path / "site.toml").write_bytes(b"[site]\nname = '\xff'\n")
    with pytest.raises(ConfigurationError, match="line 2: is not UTF-8 text"):
        load_site(tmp_path / "site.toml")


# -- the plain file of servers ----------------------------------------------------------------------


def servers(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "servers"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plain_file_of_servers(tmp_path: Path) -> None:
    path = servers(tmp_path, "# our servers\n127.0.0.1 9001\n\nlocalhost\t9002  # the second\r\n::1 9003\n[::1] 9004\n")
    site = load_servers_file(path, seats=40)
    service = site.services["tickets"]
    assert service.ports == {"1": 9001, "2": 9002, "3": 9003, "4": 9004}
    assert [site.nodes[name].host for name in service.nodes] == ["127.0.0.1", "localhost", "::1", "::1"]
    assert [node.peer_port for node in site.nodes.values()] == [9001, 9002, 9003, 9004]
    assert (service.protocol, service.failure_model, service.timeout_seconds) == ("lamport", "perfect", 5.0)
    assert make_app(service).seats == 40
    assert site.data == tmp_path / "data"


def test_far_servers_need_a_failure_model(tmp_path: Path) -> None:
    path = servers(tmp_path, "192.0.2.1 9001\n192.0.2.2 9001\n")
    with pytest.raises(ConfigurationError, match="--failure-model perfect"):
        load_servers_file(path)
    assert load_servers_file(path, failure_model="majority").services["tickets"].failure_model == "majority"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("127.0.0.1 1\n127.0.0.1\n", 2, "must be an address and a port, not 1 words"),
        ("127.0.0.1:9001\n", 1, "must be an address and a port, not 1 words"),
        ("127.0.0.1 1 x\n", 1, "must be an address and a port, not 3 words"),
        ("127.0.0.1 0\n", 1, "a port is a number from 1 to 65535, not '0'"),
        ("127.0.0.1 70000\n", 1, "a port is a number from 1 to 65535, not '70000'"),
        ("127.0.0.1 ٣\n", 1, "a port is a number from 1 to 65535, not '٣'"),
        ("127.0.0.300 1\n", 1, "'127.0.0.300' is neither an IP address nor a host name"),
        ("::1 1\n\n[::1] 1\n", 3, "::1 1 stands in line 1 already"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, line: int, why: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"servers, line {line}: {why}")):
        load_servers_file(servers(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("# nobody\n", {}, "names no server"),
        ("localhost 1\n", {"seats": 0}, r"option\.seats: expected int >= 1"),
        ("localhost 1\n", {"timeout_seconds": 0.0}, r"option\.timeout_seconds: expected float >= 0\.05"),
    ],
)
def test_a_file_or_option_that_makes_no_site(tmp_path: Path, text: str, options: dict[str, float], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        load_servers_file(servers(tmp_path, text), **options)


# -- the catalog and the documentation --------------------------------------------------------------


def test_every_protocol_and_model_has_its_promise() -> None:
    for name, protocol in PROTOCOLS.items():
        for model in protocol.models or (None,):
            assert guarantee(name, model).promises
    assert len(GUARANTEES) == sum(len(protocol.models) or 1 for protocol in PROTOCOLS.values())
    with pytest.raises(KeyError):
        guarantee("solo", "perfect")


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    text = (DOCS / "site.md").read_text(encoding="utf-8")
    sections = re.split(r"^## .*`\[(\w+)", text, flags=re.MULTILINE)
    documented = {
        (table, name)
        for table, section in zip(sections[1::2], sections[2::2], strict=True)
        for name in re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)
    }
    entries = (*APPS.values(), *PROTOCOLS.values())
    options = {("services", field.name) for entry in entries for field in fields(entry.options)}
    assert documented == {(name, field.name) for name, table in TABLES.items() for field in fields(table)} | options


def test_a_documented_default_is_the_real_one() -> None:
    text = (DOCS / "site.md").read_text(encoding="utf-8")
    tables = [*TABLES.values(), *(entry.options for entry in (*APPS.values(), *PROTOCOLS.values()))]
    for field in (field for table in tables for field in fields(table)):
        shown = re.search(rf"^\| `{field.name}` \| ([^|]*) \|", text, flags=re.MULTILINE)
        assert shown is not None
        if isinstance(field.default, str | int | float) and field.default != "":
            default = str(field.default)
            assert shown[1].strip("` ") == (default.lower() if isinstance(field.default, bool) else default), field.name
        elif field.required:
            assert shown[1].strip() == "required", field.name


def test_the_documentations_example_is_a_site(tmp_path: Path) -> None:
    text = (DOCS / "site.md").read_text(encoding="utf-8")
    path = tmp_path / "site.toml"
    example = re.search(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    assert example is not None
    path.write_text(example[1], encoding="utf-8")
    assert load_site(path).services
    assert "[services.tickets]" in demo_toml()
