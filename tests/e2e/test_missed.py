"""Who watches at a node that was away long enough to need another's state hears at once that something was missed."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from tests.e2e.cluster import HOST, PATIENCE_S, Cluster, running
from tests.e2e.wires import Wires

from holdfast.client import Messenger, messenger_async
from holdfast.people import TokenHash
from holdfast.replication.lamport.configuration import LamportConfiguration

PEOPLE = ("ann", "bob", "eve")
TOKEN = "the-same-for-all"
TEXT = "\U0001fa7a" * 4_000
"""As many bytes as a message can have."""


class Post(Cluster):
    """Three nodes with messages, which go on while two are connected."""

    service = "messages"

    def __init__(self, directory: Path) -> None:
        self.token = TokenHash.of(TOKEN).written()
        self.client = f"post.{time.time_ns() // 1_000_000:013d}"
        self.sent = 0
        super().__init__(directory, model="majority", timeout_s=2.0)

    def write_site(self, file: str, peer_ports: dict[str, int]) -> Path:
        lines = ["[site]", 'name = "hospital"', 'data = "data"']
        for name in self.names:
            lines += [f"[nodes.{name}]", f'host = "{HOST}"', f"peer_port = {peer_ports[name]}"]
        ports = ", ".join(f"{name} = {self.line_ports[name]}" for name in self.names)
        lines += ["[services.messages]", 'app = "messages"', 'failure_model = "majority"', "timeout_seconds = 2.0"]
        lines += ['identity = "token"', f"nodes = {{ {ports} }}"]
        for person in PEOPLE:
            lines += [f"[people.{person}]", f'first_name = "{person.title()}"', f'token = "{self.token}"']
        path = self.directory / file
        path.write_text("\n".join(lines) + "\n")
        return path

    def send(self, name: str, *messages: str) -> None:
        """Bob sends these (to whom, and the text) at a node, each once, a few at a time."""
        for first in range(0, len(messages), 40):
            some = messages[first : first + 40]
            said = [f"@{self.client}:{self.sent + place} send {message}" for place, message in enumerate(some, 1)]
            lines = "".join(f"{line}\n" for line in (f"login bob {TOKEN}", *said))

            def are_sent(lines: str = lines, count: int = len(some)) -> bool:
                answers = self.say(name, lines, timeout_s=PATIENCE_S).splitlines()
                return len([answer for answer in answers if answer.startswith("Sent to ")]) == count

            self.wait(are_sent, f"{len(some)} messages sent at {name}")
            self.sent += len(some)


def test_a_node_that_takes_over_a_state_tells_its_watchers_that_they_have_missed_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger_async, "QUIET_S", 10 * PATIENCE_S)  # it must not find out by itself
    post = Post(tmp_path)
    terms = LamportConfiguration(me=0, servers=tuple(post.names), model="majority", disk="")
    enough = terms.history_bytes_max // len(TEXT.encode()) + 2
    wires = Wires(post)
    try:
        with running(post), socket.create_connection((HOST, post.line_ports["c"])) as line:
            line.settimeout(PATIENCE_S)
            told = line.makefile()
            line.sendall(f"login ann {TOKEN}\nwatch\n".encode())
            assert [told.readline() for _ in range(2)] == [
                "Welcome, Ann.\n",
                "What messages has for you is told from now on.\n",
            ]
            with Messenger("ann", TOKEN, site=post.site, at="c", folder=tmp_path / "ann", device="desk") as ann:
                post.send("a", "ann before")
                first = ann.receive(wait_s=PATIENCE_S)
                assert first is not None
                assert (first.number, first.text) == (1, "before")
                assert told.readline().endswith("bob: before\n")

                wires.split("ab", "c")
                post.wait_serving("a", "b")
                post.send("a", *[f"eve {TEXT}"] * enough, "ann meanwhile")
                wires.split("abc")
                assert told.readline().startswith("* missed changes: the replica here was away")
                second = ann.receive(wait_s=PATIENCE_S)
                assert second is not None
                assert (second.number, second.text) == (2, "meanwhile")
                post.wait_serving()
            assert "copied the state at position" in post.log("c")
    finally:
        wires.close()
