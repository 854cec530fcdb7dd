"""Stories: text files that say what was done to a few replicas and, indented below, what came of it.

A story begins with a comment in prose. Each command stands on a line of its own; the indented lines
below it are its effects, and are written by this program, never by hand. `test_golden.py` tells every
story again and compares. After a change that is meant to change them:

    python -m tests.replication.bayou.story --write [NAME ...]

writes them anew; read the difference before you commit it.

    start biology law +music [app=rooms] [option=number]   found a site; music is configured and comes later
    submit law LINE [; LINE ...]                users' commands at law, all in one turn
    ask law LINE       committed law LINE       a question, of the full or of the committed view
    deliver law biology | deliver all           messages on their way from law to biology
    drop law biology [all]   repeat law biology the next is lost (or all are); arrives twice
    autosync on|off    sync law                 complete the write in progress at law
    crash law ...      restart law [empty] [option=number]
    disconnect a b     connect a b              isolate a b ...: joined to each other only      heal
    wait 500ms         time passes; who is due wakes; what is sent arrives
    jump 24h           so much time has passed, and nobody was awake
    clock law +10m     somebody sets law's clock wrong
    export law FILE    import music FILE [n]    carry everything (or part n only) in a file
    copy law           putback law              somebody copies the disk; puts the copy back
    show KIND ... | all | outcome   which effects are told: message, sync, journal, held, receive, execute, change
    status             how each replica stands
    trace law-1        what all nodes together remember of a write, as a diagram

What was answered, what operators read and who halts is always told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from tests.replication.bayou.replicas import Replicas

from holdfast.client.diagram import as_text, merge, row_of

GOLDEN = Path(__file__).parent / "golden"
ALWAYS = ("reply", "event", "halt")
SYNC = ("Have", "Updates", "StatePart", "StateNext")
NOT_MESSAGES = ("journal", "held", "receive", "execute", "change", *SYNC, *ALWAYS)
UNITS_US = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}


class Story:
    """Tells one story. `replicas` may be given other parts, to see what the story makes of them."""

    def __init__(self, text: str, **parts: Any) -> None:
        self._source = text
        self._parts = parts
        self._shown: tuple[str, ...] = ("message", "change")
        self._files: dict[str, list[str]] = {}
        self.replicas: Replicas

    def tell(self) -> str:
        """The whole story with its effects as they are now."""
        lines: list[str] = []
        for line in self._source.splitlines():
            if line.startswith("  "):
                continue
            lines.append(line)
            if line and not line.startswith("#"):
                lines += [f"  {effect}".rstrip() for effect in self._effects(line)]
        return "\n".join(lines) + "\n"

    def _effects(self, line: str) -> list[str]:
        words = line.split()
        command: Callable[..., list[str] | None] = getattr(self, f"do_{words[0]}")
        has_text = words[0] in ("submit", "ask", "committed")
        told = command(words[1], line.split(maxsplit=2)[2]) if has_text else command(*words[1:])
        lines, self.replicas.lines = self.replicas.lines, []
        return [text for kind, text in lines if self._is_shown(kind)] + (told or [])

    def _is_shown(self, kind: str) -> bool:
        if kind in ALWAYS or kind in self._shown:
            return True
        if kind in SYNC:
            return "sync" in self._shown
        return kind not in NOT_MESSAGES and "message" in self._shown

    # -- Commands

    def do_start(self, *words: str) -> None:
        options = dict(word.split("=") for word in words if "=" in word)
        typed: dict[str, Any] = {key: int(value) if value.isdigit() else value for key, value in options.items()}
        if "voters" in typed:
            typed["voters"] = tuple(typed["voters"].split(","))
        self.replicas = Replicas(" ".join(word for word in words if "=" not in word), **typed, **self._parts)
        self.replicas.lines = []

    def do_submit(self, name: str, text: str) -> None:
        self.replicas.submit(name, *text.split("; "))

    def do_ask(self, name: str, line: str) -> None:
        self.replicas.ask(name, line)

    def do_committed(self, name: str, line: str) -> None:
        self.replicas.ask(name, line, "committed")

    def do_deliver(self, one: str, other: str = "") -> None:
        if one == "all":
            self.replicas.deliver_all()
        else:
            self.replicas.deliver(one, other)

    def do_drop(self, one: str, other: str, all: str = "") -> None:
        if all:
            self.replicas.lose(one, other)
        else:
            self.replicas.drop(one, other)

    def do_repeat(self, one: str, other: str) -> None:
        self.replicas.repeat(one, other)

    def do_autosync(self, word: str) -> None:
        self.replicas.autosync = {"on": True, "off": False}[word]

    def do_sync(self, name: str) -> None:
        self.replicas.sync(name)

    def do_crash(self, *names: str) -> None:
        self.replicas.crash(*names)

    def do_restart(self, name: str, *words: str) -> None:
        options = {key: int(value) for key, value in (word.split("=") for word in words if "=" in word)}
        if "empty" in words:
            self.replicas.empty_disk(name)
        self.replicas.restart(name, **options)

    def do_disconnect(self, one: str, other: str) -> None:
        self.replicas.disconnect(one, other)

    def do_connect(self, one: str, other: str) -> None:
        self.replicas.connect(one, other)

    def do_isolate(self, *names: str) -> None:
        self.replicas.isolate(*names)

    def do_heal(self) -> None:
        self.replicas.heal()

    def do_wait(self, duration: str) -> None:
        self.replicas.wait(duration_us(duration))

    def do_jump(self, duration: str) -> None:
        self.replicas.jump(duration_us(duration))

    def do_clock(self, name: str, by: str) -> None:
        sign = {"+": 1, "-": -1}[by[0]]
        self.replicas[name].skew_ms = sign * duration_us(by[1:]) // 1000

    def do_export(self, name: str, file: str) -> list[str]:
        parts = self._files[file] = self.replicas.export(name)
        return [f"{name} writes {file}, in {len(parts)} part{'s' if len(parts) > 1 else ''}"]

    def do_import(self, name: str, file: str, which: str = "") -> list[str]:
        parts = self._files[file]
        taken = [parts[int(which) - 1]] if which else parts
        return [f"{name} is told: {self.replicas.take(name, part)}" for part in taken]

    def do_copy(self, name: str) -> None:
        self.replicas.copy_disk(name)

    def do_putback(self, name: str) -> None:
        self.replicas.put_copy(name)

    def do_show(self, *kinds: str) -> None:
        known = {"all": ("message", "sync", "journal", "held", "receive", "execute", "change"), "outcome": ()}
        self._shown = known.get(kinds[0], kinds)

    def do_status(self) -> list[str]:
        told = []
        for node in self.replicas.nodes:
            if not node.runs:
                told.append(f"{node.name}: {'halted' if node.halted else 'down'}")
                continue
            status = node.core.status()
            name = status["replica"] or f"no replica yet at {node.name}"
            told.append(
                f"{name}: {status['state']}, {status['position']} committed (state {status['digest'][:8]}), "
                f"{status['tentative']} tentative, primary {status['primary']} of epoch {status['epoch']}"
                + (f", {status['held']} held back" if status["held"] else "")
                + (f"; {status['warning']}" if status["warning"] else "")
            )
        return told

    def do_trace(self, id: str) -> list[str]:
        told = {}
        for node in self.replicas.running:
            self.replicas.ask(node.name, f"trace {id}")
            reply: Any = self.replicas.replies.pop()[2]
            self.replicas.lines.pop()
            told[node.name] = [row_of(msgspec.to_builtins(row)) for row in reply.rows]
        return as_text(merge(told), 110).splitlines()


def duration_us(text: str) -> int:
    """`500ms`, `3s`, `10m` and `24h` in microseconds."""
    digits = text.rstrip("smh")
    return int(digits) * UNITS_US[text[len(digits) :]]


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
