"""A process that writes down the messages it receives, one a line, until it is killed or has the last one."""

from __future__ import annotations

import sys
from pathlib import Path

from holdfast.client import Messenger


def main(folder: Path, site: str, token: str, last: str) -> None:
    """Append each message to `received`, then go on."""
    with (
        Messenger("bob", token, site=site, folder=folder / "device") as bob,
        (folder / "received").open("a", buffering=1) as received,
    ):
        received.write("begin\n")
        for message in bob:
            received.write(f"{message.text}\n")
            if message.text == last:
                return


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4])
