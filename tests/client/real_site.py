"""A site run by `holdfast up` in a folder of its own, as a person would run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

HOLDFAST = [sys.executable, "-m", "holdfast.client.cli"]


class RealSite:
    """The running site: its nodes are the children of one `up`. `active` are the lines to wait for."""

    def __init__(self, folder: Path, toml: str, active: Sequence[str]) -> None:
        self.folder = folder
        self._active = active
        (folder / "site.toml").write_text(toml)
        self.output = folder / "up.txt"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
        with self.output.open("w") as output:
            self.up = subprocess.Popen([*HOLDFAST, "up"], cwd=folder, env=self.environment, stdout=output)

    def await_active(self) -> None:
        """Wait until every replica serves, or fail when `up` ends or 30 s have passed."""
        deadline = time.monotonic() + 30
        while not all(map(self.told, self._active)):
            assert time.monotonic() < deadline, self.output.read_text()
            with pytest.raises(subprocess.TimeoutExpired):
                self.up.wait(timeout=0.05)

    def holdfast(self, *words: str, lines: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*HOLDFAST, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            input=lines,
        )

    def nodes(self) -> dict[str, dict[str, Any]]:
        return {node["node"]: node for node in json.loads(self.holdfast("status", "--json").stdout)}

    def active(self, name: str) -> bool:
        return any(service["state"] == "active" for service in self.nodes()[name]["services"])

    def told(self, text: str) -> bool:
        return text in self.output.read_text()

    def end(self) -> None:
        """As a person's Ctrl-C elsewhere: everything ends by itself."""
        self.up.send_signal(signal.SIGTERM)
        assert self.up.wait(timeout=20) == 0

    def pid(self, name: str) -> int:
        """The process of a node, found by its command among the children of `up`."""
        for process in Path("/proc").iterdir():
            if process.name.isdecimal() and f"(ppid {self.up.pid})" in parentage(process):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if words[3:5] == [b"node", name.encode()]:
                    return int(process.name)
        raise AssertionError(f"no process runs node {name}")


def parentage(process: Path) -> str:
    try:
        return f"(ppid {(process / 'stat').read_text().rpartition(')')[2].split()[1]})"
    except OSError:
        return ""  # it ended meanwhile
