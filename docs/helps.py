"""Writes what the program says into the `--help` blocks of docs/commands.md: `make helps`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "commands.md"
BLOCK = re.compile(r"```\n\$ holdfast ([^\n]*?) ?--help\n.*?```\n", re.DOTALL)


def shown(block: re.Match[str]) -> str:
    """The block with the program's own words, at 80 columns and with no settings of this shell."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    command = [sys.executable, "-m", "holdfast.client.cli", *block[1].split(), "--help"]
    environment["COLUMNS"] = "80"
    said = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.rstrip()
    return f"```\n$ {' '.join(['holdfast', *command[3:]])}\n{said}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(shown, PAGE.read_text()))
