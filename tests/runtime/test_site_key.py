"""The file with the site's secret: made once, read by its owner only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.kernel.errors import ConfigurationError
from holdfast.runtime.site_key import KEY_BYTES, make_key, read_key


def test_a_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "site.key"
    assert make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"[0-9a-f]{64}\n", path.read_text())
    key = read_key(path)
    assert len(key) == KEY_BYTES
    assert not make_key(path)
    assert read_key(path) == key
    path.unlink()
    assert make_key(path)
    assert read_key(path) != key


def test_a_missing_key_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"copy it from another machine.*openssl rand -hex 32"):
        read_key(tmp_path / "site.key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "site.key"
    make_key(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_key(path)


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 65, "no hexadecimal digits " * 4, "é" * 64, "00" * 5000])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.key"
    path.touch(0o600)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="32 to 64 bytes in hexadecimal digits"):
        read_key(path)


def test_a_directory_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_key(tmp_path)
