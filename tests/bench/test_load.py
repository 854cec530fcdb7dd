"""The load generator against a small server of lines, right, wrong and dying."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from holdfast.bench.load import Load, LoadError, LoadOptions, LoadResult, quantile_ms


@dataclass
class Theatre:
    """Reservations in memory, shared by the servers below; `lie` spoils one reply."""

    held: dict[str, str] = field(default_factory=dict)
    first_replies: dict[str, str] = field(default_factory=dict)
    lie: bool = False
    busy: int = 0
    executed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, line: str) -> str:
        with self.lock:
            if not line.startswith("@"):
                return self.execute(line)
            prefix, line = line.split(" ", 1)
            if self.busy:
                self.busy -= 1
                return "Failed: not served here now, nothing was changed, try again or elsewhere: busy"
            request = prefix.split("/")[0]
            if request not in self.first_replies:
                self.first_replies[request] = self.execute(line)
            return self.first_replies[request]

    def execute(self, line: str) -> str:
        self.executed += 1
        word, name, *_ = line.split()
        if word == "reserve":
            if name in self.held or (self.lie and self.executed > 5):
                self.lie = False
                return f"Failed: {name} has booked the following seats: 1."
            self.held[name] = "1"
            return f"The seats have been reserved for {name}: 1."
        if self.held.pop(name, None) is None:
            return f"Failed: no reservation is made by {name}."
        return "1 seats have been released. 9 seats are now available."


class LineServer:
    """Answers lines for a theatre on a port of its own; `cut_after` requests it drops its connections unanswered."""

    def __init__(self, theatre: Theatre, cut_after: int | None = None) -> None:
        self.theatre = theatre
        self.cut_after = cut_after
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = ("127.0.0.1", int(self.listener.getsockname()[1]))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            for line in stream:
                reply = self.theatre.answer(line.decode())
                if self.cut_after is not None:
                    self.cut_after -= 1
                    if self.cut_after <= 0:
                        self.listener.close()
                        return
                stream.write(reply.encode() + b"\n")
                stream.flush()


@pytest.fixture
def theatre() -> Theatre:
    return Theatre()


@pytest.fixture
def victim() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield process.pid
    process.kill()
    assert process.wait() == -signal.SIGKILL


def load(*servers: LineServer, clients: int = 3, window: int = 1, exact: bool = False, kill_pid: int = 0) -> LoadResult:
    addresses = tuple(server.address for server in servers)
    options = LoadOptions(
        servers=addresses,
        clients=clients,
        window=window,
        exact=exact,
        kill_pid=kill_pid,
        kill_after_seconds=0.05,
        seconds=0.2,
        warmup_seconds=0.05,
    )
    return Load(options).run()


def test_every_request_is_answered_and_nothing_stays_reserved(theatre: Theatre) -> None:
    result = load(LineServer(theatre), LineServer(theatre))
    assert result.operations > 50
    assert (result.errors, result.unanswered, result.first_error) == (0, 0, "")
    assert 0 < result.p50_ms <= result.p99_ms <= result.max_ms
    assert not theatre.held


def test_many_lines_at_once_are_answered_in_order(theatre: Theatre) -> None:
    result = load(LineServer(theatre), clients=2, window=16)
    assert result.operations > 100
    assert (result.errors, result.unanswered) == (0, 0)
    assert not theatre.held


def test_filling_books_each_name_once(theatre: Theatre) -> None:
    server = LineServer(theatre)
    result = Load(LoadOptions(servers=(server.address,), clients=3, window=4, fill=100)).run()
    assert (result.operations, result.errors, result.unanswered) == (100, 0, 0)
    assert len(theatre.held) == 100


def test_a_wrong_reply_is_an_error_that_names_itself(theatre: Theatre) -> None:
    theatre.lie = True
    result = load(LineServer(theatre), clients=1)
    assert result.errors >= 1
    assert "has booked the following seats" in result.first_error


def test_a_client_whose_server_dies_repeats_its_request_elsewhere_and_books_once(theatre: Theatre) -> None:
    result = load(LineServer(theatre, cut_after=10), LineServer(theatre), clients=2, exact=True)
    assert result.reconnects >= 1
    assert (result.errors, result.unanswered) == (0, 0)
    assert theatre.executed == len(theatre.first_replies)
    assert not theatre.held


def test_a_refusal_that_changed_nothing_is_tried_again(theatre: Theatre) -> None:
    theatre.busy = 5
    result = load(LineServer(theatre), exact=True)
    assert result.retries == 5
    assert (result.errors, result.unanswered) == (0, 0)


def test_the_kill_is_carried_out_and_timed(theatre: Theatre, victim: int) -> None:
    result = load(LineServer(theatre), exact=True, kill_pid=victim)
    assert os.waitid(os.P_PID, victim, os.WEXITED | os.WNOWAIT) is not None
    assert result.served_again_ms is not None
    assert 0 < result.served_again_ms < 200


def test_contradictory_options_are_refused() -> None:
    with pytest.raises(LoadError, match="kill_pid needs exact"):
        Load(LoadOptions(servers=(("127.0.0.1", 1),), kill_pid=1))
    with pytest.raises(LoadError, match="window of 1"):
        Load(LoadOptions(servers=(("127.0.0.1", 1),), exact=True, window=2))


def test_without_any_server_it_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = ("127.0.0.1", int(held.getsockname()[1]))
    with pytest.raises(LoadError, match="none of the servers"):
        Load(LoadOptions(servers=(address,))).run()


@pytest.mark.parametrize(("share", "milliseconds"), [(0.0, 1000), (0.5, 2000), (0.75, 3000), (0.99, 4000), (1.0, 4000)])
def test_quantiles_are_the_smallest_value_that_covers_the_share(share: float, milliseconds: float) -> None:
    assert quantile_ms([1.0, 2.0, 3.0, 4.0], share) == milliseconds


def test_of_nothing_the_quantile_is_zero() -> None:
    assert quantile_ms([], 0.5) == 0.0
