"""The meeting rooms of a building: reserved by the hour, by each department's secretary.

Entries for overlapping time compete: the first in the order of the protocol prevails (under `bayou`
that of the accept stamps, where the secretary's first name breaks a tie), the others move to their
first free alternative or are kept on record as not granted. Read `app` for the rule, `rows` for what
is kept, `words` and `replies` for what is said, `writes` for each request as a Bayou write.
"""

from __future__ import annotations

from holdfast.apps.rooms.app import DEPARTMENTS, LEAD_HOURS_MAX, ROOMS, SECRETARY, Rooms
from holdfast.apps.rooms.words import AskCells, AskMine, AskSchedule, Cancel, Change, Reserve, Show

__all__ = ["DEPARTMENTS", "LEAD_HOURS_MAX", "ROOMS", "SECRETARY", "Rooms",
           "AskCells", "AskMine", "AskSchedule", "Cancel", "Change", "Reserve", "Show"]  # fmt: skip
