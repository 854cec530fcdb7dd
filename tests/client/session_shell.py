"""Walks a client's core through a story, without I/O and without a clock."""

from __future__ import annotations

import json
import random
from typing import Any

from holdfast.client.outcomes import Server
from holdfast.client.session import Call, Close, Connect, Idle, Send, Session, Wait

SERVERS = (Server("a", 1), Server("b", 2), Server("c", 3))
DEADLINE_US = 20_000_000
GREETED = json.dumps({"ok": True, "text": "", "type": "mode"}).encode()


def reply(type: str, ok: bool = False, text: str = "") -> bytes:
    return json.dumps({"ok": ok, "text": text or type, "type": type, "reply": {}}).encode()


DONE = reply("reserved", ok=True)


class Shell:
    """Walks a session through a story. `now_us` moves only when a test says so."""

    def __init__(
        self, servers: tuple[Server, ...] = SERVERS, greeting: tuple[str, ...] = ("mode json",), **more: Any
    ) -> None:
        names = iter("pqrstuvw")
        self.now_us = 0
        self.session = Session(
            servers,
            identify=lambda: next(names),
            chooser=random.Random(1),
            greeting=greeting,
            timeout_us=5_000_000,
            **more,
        )

    def submit(self, line: str = "reserve bob 3", deadline_us: int = DEADLINE_US) -> Call:
        return self.session.submit(line, self.now_us + deadline_us)

    def act(self) -> Connect | Send | Wait | Close | Idle:
        return self.session.act(self.now_us)

    def reach(self) -> Server:
        """Dial and greet some server; which one."""
        action = self.act()
        while not isinstance(action, Connect):
            if isinstance(action, Wait):
                self.now_us = action.until_us
            action = self.act()
        self.session.connected(self.now_us)
        return action.server

    def sent(self) -> list[str]:
        """The lines it wants written now."""
        action = self.act()
        assert isinstance(action, Send), action
        return action.data.decode().splitlines()

    def hear(self, *lines: bytes) -> None:
        for line in lines:
            self.session.received(self.now_us, line)
