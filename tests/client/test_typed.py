"""Whoever uses the package gets its types."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
from holdfast.client import Messenger

with Messenger("ann", "demo-ann") as ann:
    reveal_type(ann.send("bob", "Room 12 is free."))
    for message in ann:
        reveal_type(message.text)
        message.txet
"""


def test_a_program_elsewhere_is_checked_against_them(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = checked.stdout
    assert '"holdfast.client.messenger_types.Sent | holdfast.client.messenger_types.Kept"' in said, (
        said + checked.stderr
    )
    assert 'Revealed type is "str"' in said or 'Revealed type is "builtins.str"' in said
    assert '"Message" has no attribute "txet"' in said


def test_they_are_marked_in_what_is_installed(tmp_path: Path) -> None:
    build = f"from flit_core import buildapi; print(buildapi.build_wheel({str(tmp_path)!r}))"
    built = subprocess.run([sys.executable, "-c", build], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(tmp_path / built.stdout.split()[-1]) as wheel:
        assert "holdfast/py.typed" in wheel.namelist()
