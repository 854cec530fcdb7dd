"""The command line as a person and a script meet it: real processes, scripted servers, exit statuses."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from typer.main import get_group

from holdfast.client import Site
from holdfast.client.cli import COMMANDS, OPTIONS, is_plain, main
from holdfast.client.commands import MOUNTED, app
from holdfast.client.speak import Speaker, request_name

DOCUMENT = Path(__file__).parents[2] / "docs" / "commands.md"


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def holdfast(folder: Path, *words: str, typed: str = "", **environment: str) -> Done:
    """Run the command line as a process would, in a folder and an environment of its own."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
            patch.delenv(name)
        for name, value in {"COLUMNS": "80", "XDG_STATE_HOME": str(folder / "state"), **environment}.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["holdfast", *words])
        for name, stream in (("stdin", io.StringIO(typed)), ("stdout", out), ("stderr", err)):
            patch.setattr(sys, name, stream)
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture
def listed(house: Any, tmp_path: Path) -> Any:
    """Writes the plain file of the house's servers; returns its path."""

    def write() -> str:
        file = tmp_path / "servers.txt"
        file.write_text("# the theatre\n" + "".join(f"{host} {port}\n" for host, port in house.addresses()))
        return str(file)

    return write


def site_file(folder: Path, addresses: list[tuple[str, int]]) -> Path:
    """A site whose tickets are served at these addresses."""
    file = folder / "site.toml"
    nodes = "".join(
        f'[nodes.n{place}]\nhost = "{host}"\npeer_port = {port - 500 if port > 1000 else port + 500}\n'
        for place, (host, port) in enumerate(addresses)
    )
    ports = ", ".join(f"n{place} = {port}" for place, (_, port) in enumerate(addresses))
    file.write_text(f'[site]\nname = "small"\n{nodes}[services.tickets]\napp = "tickets"\nnodes = {{ {ports} }}\n')
    return file


def test_a_booking_from_the_seeds_file_of_servers(house: Any, listed: Any, tmp_path: Path) -> None:
    house.server()
    done = holdfast(tmp_path, "tickets", "--servers", listed(), "reserve", "Mary Ann", "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1,2\n", "")
    assert house.theatre.booked == {"Mary Ann": [1, 2]}


def test_a_site_in_the_folder_is_found_and_needs_no_option(house: Any, tmp_path: Path) -> None:
    house.server()
    site_file(tmp_path, house.addresses())
    assert holdfast(tmp_path, "tickets", "reserve", "bob", "1").stdout == "1\n"


def test_the_site_may_come_from_the_environment(house: Any, tmp_path: Path) -> None:
    house.server()
    (tmp_path / "elsewhere").mkdir()
    file = site_file(tmp_path / "elsewhere", house.addresses())
    assert holdfast(tmp_path, "tickets", "reserve", "bob", "1", HOLDFAST_SITE=str(file)).stdout == "1\n"
    assert holdfast(tmp_path, "tickets", "--site", str(file), "reserve", "bob", "1").stdout == "2\n"


@pytest.mark.parametrize("module", ["holdfast", "holdfast.client.cli"])
def test_it_is_a_program_that_starts_by_itself(house: Any, listed: Any, tmp_path: Path, module: str) -> None:
    house.server()
    words = [sys.executable, "-m", module, "tickets", "--servers", listed(), "reserve", "bob", "1"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_refusal_has_exit_status_1_and_the_answers_words(house: Any, listed: Any, tmp_path: Path) -> None:
    house.server()
    refused = holdfast(tmp_path, "tickets", "--servers", listed(), "search", "bob")
    assert (refused.returncode, refused.stdout) == (1, "Failed: no reservation is made by bob.\n")


def test_json_is_one_object_a_line(house: Any, listed: Any, tmp_path: Path) -> None:
    house.server()
    done = holdfast(tmp_path, "tickets", "--servers", listed(), "--json", "reserve", "bob", "2")
    assert json.loads(done.stdout) == {
        "ok": True,
        "text": "1,2",
        "type": "reserved",
        "reply": {"name": "bob", "seats": [1, 2]},
        "firm": "committed",
    }


def test_a_dead_server_is_passed_by_and_told_of(house: Any, tmp_path: Path, dead_address: tuple[str, int]) -> None:
    house.server()
    file = tmp_path / "servers.txt"
    file.write_text("".join(f"{host} {port}\n" for host, port in [dead_address, *house.addresses()]))
    told = ""
    for number in range(12):  # chosen at random: that the dead one is never first has a chance of 1 in 4,096
        done = holdfast(tmp_path, "tickets", "--servers", str(file), "reserve", f"guest{number}", "1")
        assert (done.returncode, done.stdout) == (0, f"{number + 1}\n")
        told += done.stderr
    assert f"127.0.0.1:{dead_address[1]}: connection refused. Trying another server.\n" in told


def test_an_unknown_outcome_has_exit_status_2_and_is_learned_later(house: Any, listed: Any, tmp_path: Path) -> None:
    server = house.server("silence-after")
    words = ("tickets", "--servers", listed(), "--deadline", "0.3")
    unknown = holdfast(tmp_path, *words, "reserve", "bob", "2")
    assert unknown.returncode == 2
    name = re.search(r"\(learn it with --retry (\S+)\)", unknown.stdout)
    assert name is not None, unknown.stdout
    server.drop_connections()
    learned = holdfast(tmp_path, *words, "--retry", name[1], "reserve", "bob", "2")
    assert (learned.returncode, learned.stdout) == (0, "1,2\n")
    assert house.theatre.executions == 1


def test_an_unknown_outcome_in_json_names_its_request(house: Any, listed: Any, tmp_path: Path) -> None:
    house.server(always="silence")
    unknown = holdfast(tmp_path, "tickets", "--servers", listed(), "--deadline", "0.3", "--json", "reserve", "bob", "2")
    answer = json.loads(unknown.stdout)
    assert (unknown.returncode, answer["ok"], answer["type"], answer["reply"]["number"]) == (2, False, "unknown", 1)


def test_not_taken_by_anybody_has_exit_status_2(tmp_path: Path, dead_address: tuple[str, int]) -> None:
    file = tmp_path / "servers.txt"
    file.write_text(f"{dead_address[0]} {dead_address[1]}\n")
    failed = holdfast(tmp_path, "tickets", "--servers", str(file), "--deadline", "0.2", "--json", "seats")
    assert failed.returncode == 2
    assert json.loads(failed.stdout)["type"] == "unavailable"
    assert "There is no other server: trying on until the deadline.\n" in failed.stderr


def test_lines_from_a_pipe_are_answered_one_by_one(house: Any, listed: Any, tmp_path: Path) -> None:
    house.server("drop-after")
    house.server()
    typed = 'reserve bob 2\n\nsearch bob\nreserve "Mary Ann" 1\nsearch "Mary Ann"\nquit\nreserve late 1\n'
    done = holdfast(tmp_path, "tickets", "--servers", listed(), typed=typed)
    assert (done.returncode, done.stdout) == (0, "1,2\n1,2\n3\n3\n")


def test_a_script_ends_with_its_worst_status(house: Any, listed: Any, tmp_path: Path) -> None:
    house.server()
    done = holdfast(tmp_path, "tickets", "--servers", listed(), typed="search bob\nreserve bob 1\n")
    assert (done.returncode, done.stdout) == (1, "Failed: no reservation is made by bob.\n1\n")


def test_who_asks_may_change_in_the_middle(house: Any, listed: Any, tmp_path: Path) -> None:
    server = house.server(login="login mary s3cret")
    typed = "login mary wrong\nlogin\nlogin mary s3cret\nreserve bob 1\n"
    done = holdfast(tmp_path, "tickets", "--servers", listed(), typed=typed)
    assert done.stdout == "Failed: unknown token.\n1\n"
    assert "From now on mary asks." in done.stderr
    assert "Failed: usage: login <id> [<token>]" in done.stderr
    assert server.requests()[-1].endswith(" reserve bob 1")


def test_who_asks_may_be_an_option(house: Any, listed: Any, tmp_path: Path) -> None:
    server = house.server(login="login mary s3cret")
    words = ("tickets", "--servers", listed())
    person = {"HOLDFAST_AS": "mary", "HOLDFAST_TOKEN": "s3cret"}
    assert holdfast(tmp_path, *words, "--as", "mary", "--token", "s3cret", "reserve", "bob", "1").returncode == 0
    assert holdfast(tmp_path, *words, "reserve", "bob", "1", **person).returncode == 0
    assert server.lines.count("login mary s3cret") == 2


def test_a_word_that_looks_like_an_option_reaches_the_service(house: Any, listed: Any, tmp_path: Path) -> None:
    server = house.server()
    holdfast(tmp_path, "tickets", "--servers", listed(), "echo", "-3", "--odd", "--", "--json")
    assert server.requests()[0].endswith(" echo -3 --odd --json")


def test_options_of_the_service_reach_it_beside_those_of_the_command_line(
    house: Any, listed: Any, tmp_path: Path
) -> None:
    server = house.server(login="login mary")
    words = ("tickets", "--servers", listed())
    holdfast(tmp_path, *words, "--as", "mary", "echo", "Maple", "--or", "Oak@09:00", "--or", "Elm@10:00")
    assert server.requests()[0].endswith(" echo Maple --or Oak@09:00 --or Elm@10:00")


def test_help_is_one_usage_a_line_and_leaves_out_what_is_said_otherwise(
    house: Any, listed: Any, tmp_path: Path
) -> None:
    house.server()
    words = ("tickets", "--servers", listed(), "help")
    assert holdfast(tmp_path, *words).stdout == "  reserve <name> <count>\n  search <name>\n  help [<word>]\n"
    assert holdfast(tmp_path, *words[:-1], typed="help\n").stdout.count("\n") == 1, "a script gets one line an answer"
    assert json.loads(holdfast(tmp_path, *words[:-1], "--json", "help").stdout)["type"] == "helped"


def test_questions_may_see_the_committed_view_and_sessions_have_guarantees(
    house: Any, listed: Any, tmp_path: Path
) -> None:
    server = house.server()
    words = ("tickets", "--servers", listed(), "--view", "committed")
    holdfast(tmp_path, *words, "--guarantee", "read-your-writes", "--guarantee", "monotonic-reads", "search", "bob")
    assert server.lines[1:3] == ["session read-your-writes,monotonic-reads", "view committed"]


def test_how_firm_an_outcome_is_stands_behind_it(house: Any, listed: Any, tmp_path: Path) -> None:
    server = house.server()
    server.more = {"firm": "tentative", "write": "biology-1", "firm_by": "2026-12-01 08:00", "warning": "clock!"}
    words = ("tickets", "--servers", listed(), "reserve", "bob", "1")
    told = holdfast(tmp_path, *words).stdout
    assert told == "1 [tentative, biology-1, firm by 2026-12-01 08:00 at the latest, clock!]\n"


def test_changes_are_told_until_ctrl_c(house: Any, listed: Any, tmp_path: Path) -> None:
    server = house.server()
    command = [sys.executable, "-m", "holdfast.client.cli", "tickets", "--servers", listed(), "watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as watching:
        try:
            server.hear_line("watch all")
            server.push({"change": {"id": "a-1", "person": "bob", "firm": "committed", "text": "Granted."}})
            assert watching.stdout is not None
            assert watching.stdout.readline() == "a-1 committed: Granted.\n"
            watching.send_signal(signal.SIGINT)
            assert watching.wait(timeout=10) == 130
        finally:
            watching.kill()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tickest", "seats"], "no command and no service 'tickest' in the demo site; its services: tickets, rooms"),
        (["tickets", "--site", "none.toml", "seats"], "none.toml: cannot be read: No such file or directory"),
        (["tickets", "--servers", "none.txt", "seats"], "none.txt: cannot be read: No such file or directory"),
        (["tickets", "--timeout", "0", "seats"], "timeout_s and deadline_s must be above 0"),
        (["tickets", "--retry", "bob", "seats"], "--retry bob: give it as it was printed, CLIENT:NUMBER"),
        (["tickets", "login", "bob"], "'login' is no command of its own: say who asks with --as ID"),
        (["tickets", "mode", "json"], "answers in JSON come with --json"),
        (["tickets", "use", "rooms"], "the service is the first word"),
        (["tickets", "session", "all"], "--guarantee WORD"),
        (["tickets", "watch", "yours"], "usage: watch [mine|all]"),
        (["tickets", "--at", "z", "seats"], "no line port at a node 'z'; its nodes: a, b, c"),
        (["tickets", "--guarantee", "always", "seats"], "there is no guarantee 'always'; there are read-your-writes"),
        (["rooms", "take-over"], "'take-over' is about the node that hears it; choose which with --at NODE"),
        (["rooms", "retire", ""], "'retire' is about the node that hears it; choose which with --at NODE"),
        (["rooms", "retire"], "choose which with --at NODE"),
        (["rooms", "reserve", "Oak", "2026-12-01", "09:00", "1h", "x", "--weekly", "0"], "how many weeks, 1 to 104"),
        (["rooms", "export"], "usage: export <file>"),
        (["rooms", "import"], "usage: import <file>"),
        (["rooms", "import", "none.txt"], "none.txt: cannot be read"),
        (["rooms", "export", "a.txt", "--split", "0"], "--split takes the size of each file"),
        (["trace", "hall", "a-1"], "no service 'hall'"),
        (["up", "--blah"], "No such option: --blah"),
        (["node"], "Missing argument 'NAME'"),
        (["node", "z"], "no node 'z' in demo.toml; its nodes: a, b, c"),
        (["up", "broken.toml"], "broken.toml, line 1"),
        (["status", "--site", "odd.toml"], "there is no such table"),
        (["tickets-server", "--servers", "list.txt", "--me", "3", "--seats", "9"], "list.txt lists 2 servers"),
        (["tickets-server", "--servers", "list.txt", "--me", "1", "--seats", "0"], "seats"),
        (["tickets-server", "--servers", "bad.txt", "--me", "1", "--seats", "9"], "bad.txt, line 2"),
        (["tickets", "--servers", "bad.txt", "seats"], "bad.txt, line 2"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_exit_status_64(tmp_path: Path, words: list[str], says: str) -> None:
    (tmp_path / "broken.toml").write_text("[site\n")
    (tmp_path / "odd.toml").write_text("[sight]\n")
    (tmp_path / "list.txt").write_text("127.0.0.1 7001\n127.0.0.1 7002\n")
    (tmp_path / "bad.txt").write_text("127.0.0.1 7001\n127.0.0.1 seven\n")
    failed = holdfast(tmp_path, *words)
    assert "Traceback" not in failed.stderr
    assert says in failed.stderr + failed.stdout
    assert failed.returncode == 64, failed


def test_init_writes_a_site_once_and_status_shows_it_down(tmp_path: Path, house: Any) -> None:
    made = holdfast(tmp_path, "init", "theatre")
    assert made.returncode == 0, made.stderr
    assert "Wrote theatre/site.toml" in made.stdout
    again = holdfast(tmp_path, "init", "theatre")
    assert again.returncode == 64
    assert "holdfast reset" in again.stderr
    file = site_file(tmp_path, [("127.0.0.1", 1), ("127.0.0.1", 2)])
    assert holdfast(tmp_path, "init", "--node", "n0").returncode == 0
    assert (tmp_path / "data" / "n0").exists()
    assert not (tmp_path / "data" / "n1").exists()
    down = holdfast(tmp_path, "status", "--site", str(file), "--json")
    assert down.returncode == 1
    assert [(node["node"], node["up"], node["why"]) for node in json.loads(down.stdout)] == [
        ("n0", False, "connection refused"),
        ("n1", False, "connection refused"),
    ]
    assert "n1 is down: connection refused\n" in holdfast(tmp_path, "status").stdout


def test_reset_empties_what_init_made_and_asks_first(tmp_path: Path) -> None:
    site_file(tmp_path, [("127.0.0.1", 1)])
    assert "There is no data" in holdfast(tmp_path, "reset").stdout
    assert holdfast(tmp_path, "init").returncode == 0
    assert holdfast(tmp_path, "reset", typed="n\n").returncode == 130
    assert (tmp_path / "data" / "n0").exists()
    assert holdfast(tmp_path, "reset", "--yes").returncode == 0
    assert not (tmp_path / "data").exists()


def test_the_quick_way_is_taken_for_services_only() -> None:
    assert {*COMMANDS, "SERVICE"} == set(get_group(app).list_commands(None))  # type: ignore[arg-type]
    assert is_plain(["tickets", "search", "bob"])
    assert is_plain(["rooms", "reserve", "Maple", "--or", "Oak@09:00", "--weekly", "6"]), "the service's own options"
    others = ([], ["--help"], ["status"], ["tickets", "--json", "seats"], ["tickets", "--as=bob", "seats"])
    assert not any(map(is_plain, (*others, ["tickets", "--", "--json"])))


def test_the_quick_way_knows_every_option_of_the_slow_one() -> None:
    command = get_group(app).get_command(None, "SERVICE")  # type: ignore[arg-type]
    assert command is not None
    declared = {name for parameter in command.params for name in parameter.opts if name.startswith("-")}
    assert declared | {"--help"} == OPTIONS


def test_the_name_of_a_request_is_read_as_it_is_printed() -> None:
    assert request_name("k3f9.1795218000000:7") == ("k3f9.1795218000000", 7)
    assert request_name("@k3f9:7") == ("k3f9", 7)


HELP = re.findall(r"^\$ holdfast ?([^\n]*?) ?--help\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("words", "documented"), HELP, ids=[words.strip() or "holdfast" for words, _ in HELP])
def test_the_documented_help_is_the_real_one(tmp_path: Path, words: str, documented: str) -> None:
    left_out = tuple(f"  {name} " for name, (module, _) in MOUNTED.items() if importlib.util.find_spec(module) is None)
    expected = [line for line in documented.rstrip().splitlines() if not line.startswith(left_out)]
    assert holdfast(tmp_path, *words.split(), "--help").stdout.rstrip().splitlines() == expected


def test_every_command_is_documented() -> None:
    documented = {words.strip() for words, _ in HELP}
    assert documented >= {"", "tickets", "up", "node", "init", "status", "reset", "tickets-server"}


def test_a_person_at_the_prompt(house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    house.server("", "", "silence-after", login="login mary s3cret")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    lines = ["reserve bob 2", 'reserve "Mary Ann" 1', "retry", "retry", "login mary s3cret", "search bob"]
    dropped_by_ctrl_c = "reserve late 1\x03"
    keys = "".join(f"{line}\r" for line in lines) + dropped_by_ctrl_c + "quit\r"
    site = Site.from_servers(house.addresses(), timeout_s=0.6, deadline_s=0.5)
    with create_pipe_input() as keyboard, create_app_session(input=keyboard, output=DummyOutput()):
        keyboard.send_text(keys)
        speaker = Speaker(site, "tickets", as_json=False)
        assert speaker.prompt() == 0
    speaker.site.close()
    said = capsys.readouterr()
    booked, unknown, learned, found = said.out.splitlines()[1:]
    assert (booked, learned, found) == ("1,2", "3", "1,2")
    assert unknown.startswith("Failed: the outcome of 'reserve \"Mary Ann\" 1' is unknown")
    assert house.theatre.booked == {"bob": [1, 2], "Mary Ann": [3]}
    assert "There is nothing to retry" in said.err
    assert "From now on mary asks." in said.err
    history = (tmp_path / "holdfast" / "tickets.history").read_text()
    assert "reserve bob 2" in history
    assert "s3cret" not in history
