"""Stories of the sequencer protocol: text files, told as those of `tests.replication.lamport.story`.

    python -m tests.replication.sequencer.story --write [NAME ...]

writes them anew; read the difference before you commit it. What is other than there:

    start a b c [front_ends=a] [sequencers=ab] [managers=abc] [option=number]
    submit a fault wrong         ask a votes                  operators' words
    deliver KIND a b             the first message of that kind on its way from a to b arrives
    drop KIND a b                those of that kind are lost
    disconnect a b               what they send each other is lost, until connect a b
    show KIND ... | all | outcome   beats are told only if they are named

Who is the sequencer, what was answered, what operators read and who halts is always told.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.replication.lamport import story
from tests.replication.sequencer.nodes import ROLES, Nodes

GOLDEN = Path(__file__).parent / "golden"


class Story(story.Story):
    """Tells one story."""

    servers: Nodes  # type: ignore[assignment]

    def __init__(self, text: str, **parts: Any) -> None:
        super().__init__(text, **parts)
        self.servers = Nodes("")

    def _is_shown(self, kind: str) -> bool:
        if kind == "Beat":
            return "Beat" in self._shown
        return super()._is_shown(kind)

    def do_start(self, *words: str) -> None:
        options = dict(word.split("=") for word in words if "=" in word)
        typed: dict[str, Any] = {key: value if key in ROLES else int(value) for key, value in options.items()}
        self.servers = Nodes(" ".join(word for word in words if "=" not in word), **typed, **self._parts)
        self.servers.start_all()
        self.servers.lines = [line for line in self.servers.lines if line[0] in story.ALWAYS]

    def do_deliver(self, one: str, other: str = "", third: str = "") -> None:
        if third:
            self.servers.deliver_next(one, other, third)
        else:
            super().do_deliver(one, other)

    def do_drop(self, one: str, other: str, third: str = "") -> None:
        if third and third != "all":
            self.servers.drop_kind(one, other, third)
        else:
            super().do_drop(one, other, third)

    def do_restart(self, name: str, *words: str) -> None:
        if "empty" in words:
            self.servers.empty_disk(name)
        self.servers.restart(name)

    def do_status(self) -> list[str]:
        told = []
        for server in self.servers.servers:
            if not server.runs:
                told.append(f"{server.name}: {'halted' if server.halted else 'down'}")
                continue
            status = server.core.status()
            fault = f", {status['fault']}" if status["fault"] != "none" else ""
            waits = f", waits for {status['waiting_for']}" if status["waiting_for"] else ""
            replica = f"replica {status['health']}{fault} at {status['executed']}, state {status['digest'][:6]}"
            told.append(
                f"{server.name}: {'/'.join(status['roles'])}, epoch {status['epoch']} of {status['sequencer']}, "
                f"{status['position']} decided{f', {replica}' if status['health'] else ''}{waits}"
            )
        return told


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
