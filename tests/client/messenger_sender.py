"""A process that sends numbered messages to bob, and goes on where it was killed: `begun` has what it began to send,
`sent` what it was told is sent. Its folder and the site stand on its command line."""

from __future__ import annotations

import sys
from pathlib import Path

from holdfast.client import Messenger


def main(folder: Path, site: str, token: str, count: int) -> None:
    """Go on until all are sent."""
    begun = folder / "begun"
    first = len(begun.read_text().split()) if begun.exists() else 0
    with (
        Messenger("ann", token, site=site, folder=folder / "device", wait_s=20) as ann,
        begun.open("a", buffering=1) as begins,
        (folder / "sent").open("a", buffering=1) as sent,
    ):
        for number in range(first, count):
            begins.write(f"{number}\n")
            what = ann.send("bob", f"m{number}")
            if what.is_sent:
                sent.write(f"{number}\n")
        while ann.drafts:
            ann.unread()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
