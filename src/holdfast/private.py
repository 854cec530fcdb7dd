"""Files that only their owner may read: what people have said and done is nobody else's on the machine either."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO


@contextlib.contextmanager
def private() -> Iterator[None]:
    """All files and folders that this process makes meanwhile are its owner's alone. Of the whole process, so not
    to be held where other work of it goes on."""
    before = os.umask(OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, each its owner's alone; others stay as they are."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)  # or another process has just made it
    path.mkdir(exist_ok=True)  # raises, where it is a file


def make_file(path: Path) -> None:
    """Make an empty file that is its owner's alone, or take what others may do with the one that is there."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    tighten(path)


def tighten(path: Path) -> None:
    """Take from others what they may do with a file or folder, if it is there and ours; no link is followed."""
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        if not stat.S_ISLNK(found.st_mode) and found.st_mode & OTHERS and found.st_uid == os.geteuid():
            path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)


def tighten_all(folder: Path) -> None:
    """The same for a folder, which may be behind a link, with all that is in it."""
    folder = folder.resolve()
    tighten(folder)
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            tighten(Path(place, name))
