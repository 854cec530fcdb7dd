"""A vendor's real process, killed again and again while clients book over HTTP: what was acknowledged stays."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
from pathlib import Path

import pytest
from tests.e2e.cluster import HOST, PATIENCE_S, Process, until
from tests.server.vendor_house import site_of

from holdfast.runtime.node import initialise
from holdfast.vendors import key_hash

CLIENTS = 6
KILLS = 4
ANSWERS_BETWEEN_KILLS = 60


def key(number: int) -> str:
    return f"rival-{number}"


def ask(port: int, who: int, method: str, path: str) -> tuple[int, object]:
    """One request on a connection of its own. Raises `OSError` or `HTTPException` when there is no answer."""
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=PATIENCE_S)) as connection:
        connection.request(method, f"/hotel/api{path}", headers={"Authorization": f"Bearer {key(who)}"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


class Rival(threading.Thread):
    """A client that books and gives back, and remembers what it was told. `held`: what it surely holds; `unsure`:
    what it asked for or gave back and was not answered about."""

    def __init__(self, number: int, port: int, ended: threading.Event) -> None:
        super().__init__()
        self.number = number
        self.held: set[int] = set()
        self.unsure: set[int] = set()
        self.answers = 0
        self.surprises: list[str] = []
        self._port = port
        self._ended = ended
        self._source = random.Random(number)

    def run(self) -> None:
        while not self._ended.is_set():
            slot = self._source.choice(sorted(self.held)) if len(self.held) == 2 else self._source.randint(1, 12)
            method = "DELETE" if slot in self.held else "POST"
            try:
                status, body = ask(self._port, self.number, method, f"/reservation/{slot}")
            except (OSError, http.client.HTTPException):
                self.unsure.add(slot)
                self.held.discard(slot)
                self._ended.wait(0.02)
                continue
            self.answers += 1
            if status == 200:
                (self.held.add if method == "POST" else self.held.discard)(slot)
                self.unsure.discard(slot)
            elif status not in (409, 451) or (method == "DELETE" and slot not in self.unsure):
                self.surprises.append(f"{method} {slot}: {status} {body}")


@pytest.fixture
def site(tmp_path: Path) -> tuple[int, Path]:
    site = site_of(tmp_path, "requests_a_second = 1000")
    keys = "".join(f'rival{number} = "{key_hash(key(number))}"\n' for number in range(CLIENTS))
    site.file.write_text(site.file.read_text() + keys)
    initialise(site)
    assert site.nodes["a"].http_port
    return site.nodes["a"].http_port, site.file


def test_what_was_acknowledged_survives_every_kill(site: tuple[int, Path], tmp_path: Path) -> None:
    port, file = site

    def start() -> Process:
        return Process(["node", "a", "--site", str(file)], tmp_path / "a.log")

    process, ended = start(), threading.Event()
    rivals = [Rival(number, port, ended) for number in range(CLIENTS)]
    try:
        for rival in rivals:
            rival.start()
        for _ in range(KILLS):
            wanted = sum(rival.answers for rival in rivals) + ANSWERS_BETWEEN_KILLS
            until(lambda: sum(rival.answers for rival in rivals) >= wanted, f"{wanted} answers")  # noqa: B023
            process.kill()
            process = start()
        wanted = sum(rival.answers for rival in rivals) + ANSWERS_BETWEEN_KILLS
        until(lambda: sum(rival.answers for rival in rivals) >= wanted, f"{wanted} answers")
        ended.set()
        for rival in rivals:
            rival.join()
        holders: dict[int, int] = {}
        for rival in rivals:
            assert not rival.surprises
            status, body = ask(port, rival.number, "GET", "/reservation")
            assert status == 200
            assert isinstance(body, list)
            slots = {int(slot["id"]) for slot in body}
            assert rival.held <= slots <= rival.held | rival.unsure
            assert len(slots) <= 2
            assert not slots & holders.keys(), "no slot is held twice"
            holders |= dict.fromkeys(slots, rival.number)
    finally:
        ended.set()
        process.kill()
