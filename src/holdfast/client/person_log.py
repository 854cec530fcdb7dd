"""Each person's own log: what was asked as that person, and what came back (seed 003).

`FOLDER/TORC2345.log`, one line a request, with tabs between date and time (UTC), the request, its parameters,
the outcome (`done`, `failed`, `unknown` or `not executed`) and the response.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from holdfast.client.outcomes import Answer, Outcome, Unknown
from holdfast.logfile import append, line_of, time_text
from holdfast.private import make_file, make_folder

FILE_BYTES_MAX = 16 << 20
UNLOGGED = ("help",)
"""What the prompt asks by itself."""


class PersonLog:
    """The log of one person in a folder. A log that cannot be written is told of once, and stops nobody."""

    def __init__(self, folder: Path, person: str, on_note: Callable[[str], None] | None) -> None:
        self.path = folder / f"{person}.log"
        self._on_note = on_note
        self._has_failed = False

    def add(self, since_s: float, line: str, outcome: Outcome | None) -> None:
        """A request of `since_s` (Unix time) and what it came to."""
        word, _, parameters = line.partition(" ")
        if word in UNLOGGED:
            return
        if isinstance(outcome, Answer):
            came, response = ("done" if outcome.ok else "failed"), outcome.text
        else:
            came = "unknown" if outcome is None or isinstance(outcome, Unknown) else "not executed"
            response = "" if outcome is None else outcome.why
        try:
            make_folder(self.path.parent)
            make_file(self.path)
            append(
                self.path, time_text(since_s) + line_of([word, parameters, came, response]), bytes_max=FILE_BYTES_MAX
            )
        except OSError as error:
            if not self._has_failed and self._on_note is not None:
                self._on_note(f"{self.path} cannot be written: {error.strerror or error}")
            self._has_failed = True
