"""Stories: text files that say what was done to a few servers and, indented below, what came of it.

A story begins with a comment in prose. Each command stands on a line of its own; the indented lines
below it are its effects, and are written by this program, never by hand. `test_golden.py` tells every
story again and compares. After a change that is meant to change them:

    python -m tests.replication.lamport.story --write [NAME ...]

writes them anew; read the difference before you commit it.

    start a b c [model=perfect] [seats=10] [option=number]    found a site and start its servers
    submit a LINE [; LINE ...]   ask a LINE [; LINE ...]      clients' lines, all in one turn
    deliver a b | deliver all    drop a b | drop a b all      messages on their way from a to b
    autosync on|off              sync a                       complete the write in progress at a
    crash a ...                  restart a [empty] [lost=N] [accept_loss=1]
    refuse b a                   b's dial to a is refused: no process there
    disconnect a b               connect a b
    wait 500ms                   time passes; who is due wakes; what is sent arrives
    pause a                      a stands still until resume a, whatever waits for it
    show KIND ... | all | outcome   which effects are told: journal, held, receive, message, Seal, ...
    status                       who is in which state

What was answered, what operators read and who halts is always told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.replication.lamport.servers import Servers

GOLDEN = Path(__file__).parent / "golden"
ALWAYS = ("reply", "event", "halt")
NOT_MESSAGES = ("journal", "held", "receive", "presence", *ALWAYS)
DURATION_UNITS_US = {"ms": 1000, "s": 1_000_000}


class Story:
    """Tells one story. `servers` may be given other parts, to see what the story makes of them."""

    def __init__(self, text: str, **parts: Any) -> None:
        self._source = text
        self._parts = parts
        self._shown: tuple[str, ...] = ("message", "journal", "held", "receive")
        self.servers = Servers("")

    def tell(self) -> str:
        """The whole story with its effects as they are now."""
        lines: list[str] = []
        for line in self._source.splitlines():
            if line.startswith("  "):
                continue
            lines.append(line)
            if line and not line.startswith("#"):
                lines += [f"  {effect}" for effect in self._effects(line)]
        return "\n".join(lines) + "\n"

    def _effects(self, line: str) -> list[str]:
        words = line.split()
        command: Callable[..., list[str] | None] = getattr(self, f"do_{words[0]}")
        told = command(*words[1:]) if words[0] not in ("submit", "ask") else command(words[1], line)
        lines, self.servers.lines = self.servers.lines, []
        return [text for kind, text in lines if self._is_shown(kind)] + (told or [])

    def _is_shown(self, kind: str) -> bool:
        if kind in ALWAYS or kind in self._shown:
            return True
        return kind not in NOT_MESSAGES and "message" in self._shown

    # -- Commands

    def do_start(self, *words: str) -> None:
        options = dict(word.split("=") for word in words if "=" in word)
        typed: dict[str, Any] = {key: int(value) if value.isdigit() else value for key, value in options.items()}
        self.servers = Servers(" ".join(word for word in words if "=" not in word), **typed, **self._parts)
        self.servers.start_all()
        self.servers.lines = [line for line in self.servers.lines if line[0] in ALWAYS]

    def do_submit(self, name: str, line: str) -> None:
        self.servers.submit(name, *line.split(maxsplit=2)[2].split("; "))

    def do_ask(self, name: str, line: str) -> None:
        self.servers.ask(name, *line.split(maxsplit=2)[2].split("; "))

    def do_deliver(self, one: str, other: str = "") -> None:
        if one == "all":
            shown, self._shown = self._shown, tuple(kind for kind in self._shown if kind != "receive")
            self.servers.deliver_all()
            self.servers.lines = [line for line in self.servers.lines if self._is_shown(line[0])]
            self._shown = shown
        else:
            self.servers.deliver(one, other)

    def do_drop(self, one: str, other: str, all: str = "") -> None:
        if all:
            self.servers.lose(one, other)
        else:
            self.servers.drop(one, other)

    def do_autosync(self, word: str) -> None:
        self.servers.autosync = {"on": True, "off": False}[word]

    def do_sync(self, name: str) -> None:
        self.servers.sync(name)

    def do_crash(self, *names: str) -> None:
        for name in names:
            self.servers.crash(name)

    def do_restart(self, name: str, *words: str) -> None:
        options = dict(word.split("=") for word in words if "=" in word)
        if "empty" in words:
            self.servers.empty_disk(name)
        if lost := int(options.pop("lost", "0")):
            assert self.servers[name].disk.lose_tail(lost) == lost
        self.servers.restart(name, **{key: bool(int(value)) for key, value in options.items()})

    def do_refuse(self, name: str, about: str) -> None:
        self.servers.refuse(name, about)

    def do_disconnect(self, one: str, other: str) -> None:
        self.servers.disconnect(one, other)

    def do_connect(self, one: str, other: str) -> None:
        self.servers.connect(one, other)

    def do_wait(self, duration: str) -> None:
        self.servers.wait(duration_us(duration))

    def do_pause(self, name: str) -> None:
        self.servers.paused = self.servers[name]

    def do_resume(self, name: str) -> None:
        assert self.servers.paused is self.servers[name], f"{name} is not paused"
        self.servers.paused = None

    def do_show(self, *kinds: str) -> None:
        known = {"all": ("message", "journal", "held", "receive"), "outcome": ()}
        self._shown = known.get(kinds[0], kinds)

    def do_status(self) -> list[str]:
        told = []
        for server in self.servers.servers:
            if not server.runs:
                told.append(f"{server.name}: {'halted' if server.halted else 'down'}")
                continue
            status = server.core.status()
            waits = f", waits for {status['waiting_for']}" if status["waiting_for"] else ""
            told.append(
                f"{server.name}: {status['state']}, view {status['epoch']} of {', '.join(status['view'])}, "
                f"position {status['position']}, state {status['digest'][:8]}{waits}"
            )
        return told


def duration_us(text: str) -> int:
    """`500ms` and `3s` in microseconds."""
    unit = "ms" if text.endswith("ms") else "s"
    return int(text.removesuffix(unit)) * DURATION_UNITS_US[unit]


def stories() -> list[Path]:
    """All of them, in order."""
    return sorted(GOLDEN.glob("*.txt"))


def write(names: list[str]) -> None:
    """Tell the stories (all, or those named) anew, in place."""
    for path in stories():
        if not names or path.stem in names:
            path.write_text(Story(path.read_text()).tell())


if __name__ == "__main__":
    assert sys.argv[1:2] == ["--write"], __doc__
    write(sys.argv[2:])
