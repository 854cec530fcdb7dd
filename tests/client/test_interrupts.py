"""Whoever waits for an answer and is interrupted hears of it, also if the wait itself is not woken by that."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from holdfast.client import Messenger, Site
from holdfast.client.addresses import Addresses

WAIT_S = 30.0
HEARD_S = 5.0
"""A second, on a machine that is busy with much else."""


class Interrupted(Exception):
    """Stands for a Ctrl-C."""


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """A signal that interrupts as Ctrl-C does, and only what is tested here."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


def is_waiting(ask: Any, waits_in: str) -> bool:
    """Whether the main thread is within `ask`, and there in the function that waits."""
    frame: FrameType | None = sys._current_frames()[threading.main_thread().ident or 0]
    assert frame is not None
    function = frame.f_code.co_name
    while frame is not None and frame.f_code is not ask.__code__:
        frame = frame.f_back
    return frame is not None and function == waits_in


def heard_after_s(ask: Callable[[], object], waits_in: str, until: Callable[..., None]) -> float:
    """How long it takes until an interrupt is heard that reaches another thread while `ask` waits in a function."""
    told_at: list[float] = []

    def interrupt_elsewhere() -> None:
        until(lambda: is_waiting(ask, waits_in))
        told_at.append(time.monotonic())
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    other = threading.Thread(target=interrupt_elsewhere)
    other.start()
    try:
        with pytest.raises(Interrupted):
            ask()
        return time.monotonic() - told_at[0]
    finally:
        other.join()


def test_a_question_that_nobody_answers_is_interrupted(house: Any, until: Callable[..., None]) -> None:
    house.server(always="silence")
    with Site.from_servers(house.addresses(), timeout_s=WAIT_S, deadline_s=WAIT_S) as site:
        assert heard_after_s(lambda: site.service("tickets").call("search", "bob"), "_wait", until) < HEARD_S


def test_a_watch_is_interrupted(house: Any, until: Callable[..., None]) -> None:
    house.server()
    with Site.from_servers(house.addresses()) as site, site.service("tickets").watch() as changes:
        assert heard_after_s(lambda: changes.arrived(WAIT_S), "_wait", until) < HEARD_S


def test_who_waits_for_messages_is_interrupted(house: Any, tmp_path: Path, until: Callable[..., None]) -> None:
    house.server(login="login ann t")
    with Messenger("ann", "t", site=Addresses.of_servers(house.addresses()), folder=tmp_path) as ann:
        assert heard_after_s(lambda: ann.receive(WAIT_S), "wait", until) < HEARD_S
