"""The process of a state store, killed again and again while clients write over HTTP: what was answered stays."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import urllib.parse
from pathlib import Path

from tests.e2e.cluster import HOST, PATIENCE_S, Process, until
from tests.server.state_house import site_of

from holdfast.runtime.node import initialise

CLIENTS = 4
KILLS = 4
ANSWERS_BETWEEN_KILLS = 40
KEYS = "abcdef"


def ask(port: int, user: str, **given: str) -> str:
    """What the answer says. Raises `OSError` or `HTTPException` when there is none."""
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=PATIENCE_S)) as connection:
        connection.request("GET", f"/state/{user}?{urllib.parse.urlencode(given)}")
        response = connection.getresponse()
        body = response.read().decode()
        assert (response.status, body[-1:]) == (200, "\n"), body
        return body[:-1]


class Writer(threading.Thread):
    """A client that alone writes the keys of a user. `states`: what these may be by now, in their order: one state, or
    also others where it was not answered."""

    def __init__(self, number: int, port: int, ended: threading.Event) -> None:
        super().__init__()
        self.user = f"user{number}"
        self.states: list[dict[str, str]] = [{}]
        self.answers = 0
        self.lost = 0
        self.surprises: list[str] = []
        self._port = port
        self._ended = ended
        self._source = random.Random(number)

    def run(self) -> None:
        while not self._ended.is_set():
            action, key = self._source.choice(("set", "set", "set", "unset", "clear")), self._source.choice(KEYS)
            value = f"{self.answers}\n{self.lost}"
            before = self.states
            self.states = [
                *before,
                *(after for state in before if (after := changed(state, action, key, value)) not in before),
            ]
            try:
                ask(self._port, self.user, action=action, key=key, value=value)
                self.states = [changed(state, action, key, value) for state in before]
                self.answers += 1
                self._look()
            except (OSError, http.client.HTTPException):
                self.lost += 1
                self._ended.wait(0.02)
            except AssertionError as error:
                self.surprises.append(str(error))
                return

    def _look(self) -> None:
        """Read everything, which settles what was in doubt."""
        keys = [key for key in ask(self._port, self.user, action="keys").split("\n") if key]
        found = {key: ask(self._port, self.user, action="get", key=key) for key in keys}
        matching = [state for state in self.states if list(state.items()) == list(found.items())]
        assert matching, f"{self.user} has {found}, and not one of {self.states}"
        self.states = matching[:1]
        self.answers += 1


def changed(state: dict[str, str], action: str, key: str, value: str) -> dict[str, str]:
    """What the keys of a user are after an action."""
    if action == "clear":
        return {}
    if action == "set":
        return {**state, key: value}
    return {other: kept for other, kept in state.items() if other != key}


def test_what_was_answered_survives_every_kill(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    initialise(site)
    port = site.nodes["a"].http_port or 0

    def start() -> Process:
        return Process(["node", "a", "--site", str(site.file)], tmp_path / "a.log")

    process, ended = start(), threading.Event()
    writers = [Writer(number, port, ended) for number in range(CLIENTS)]

    def answers() -> int:
        return sum(writer.answers for writer in writers)

    def go_on() -> None:
        wanted = answers() + ANSWERS_BETWEEN_KILLS
        until(lambda: answers() >= wanted or any(writer.surprises for writer in writers), f"{wanted} answers")

    try:
        for writer in writers:
            writer.start()
        for _ in range(KILLS):
            go_on()
            process.kill()
            process = start()
        go_on()
    finally:
        ended.set()
        for writer in writers:
            writer.join()
        process.kill()
    assert not [surprise for writer in writers for surprise in writer.surprises]
    assert sum(writer.lost for writer in writers) >= KILLS
