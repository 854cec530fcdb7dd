"""The rooms' answers as tables for a terminal, wide or narrow, readable without colours too.

An hour of the day's form is its number: bare it is free, `12?` is taken for now (tentative), `[12]`
for good (confirmed).
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

NAMES_COLUMNS_MIN = 11
"""From so many columns an hour on, its cell also names who has it."""
WIDE_COLUMNS = 100
"""A terminal of so many columns has room for whole tables of requests."""
LEGEND = {"free": "12 free", "tentative": "12? tentative", "confirmed": "[12] confirmed"}
STYLES = {"free": "", "tentative": "yellow", "confirmed": "red", "cancelled": "dim", "moved": "cyan"}


def day_title(day: str) -> str:
    """`Tuesday 2026-12-01`."""
    return f"{date.fromisoformat(day):%A} {day}"


def cells_picture(reply: dict[str, Any], width: int) -> RenderableType:
    """The day as numbered cells, a row a room, for a terminal of `width` columns."""
    from rich.console import Group
    from rich.text import Text

    hours, cells = reply["hours"], reply["cells"]
    rooms = [cells[place : place + hours] for place in range(0, len(cells), hours)]
    room_columns = max(len(room) for room in reply["rooms"]) + 1
    narrowest = len(str(len(cells))) + 3  # the number in its marks, and a blank
    a_table = max(1, min(hours, (width - room_columns) // narrowest))
    columns = min(18, max(narrowest, (width - room_columns) // a_table))
    tables = [_hours(rooms, first, first + a_table, columns) for first in range(0, hours, a_table)]
    legend = Text("   ").join(Text(text, STYLES[state]) for state, text in LEGEND.items())
    return Group(Text(day_title(reply["day"]), "bold"), *tables, legend)


def _hours(rooms: list[list[dict[str, Any]]], first: int, end: int, columns: int) -> Table:
    """Some hours of the day."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("")
    for cell in rooms[0][first:end]:
        table.add_column(cell["start"][:2] if columns < 6 else cell["start"], width=columns - 1, no_wrap=True)
    for row in rooms:
        texts = (Text(_cell(cell, columns - 1), STYLES[cell["state"]]) for cell in row[first:end])
        table.add_row(row[0]["room"], *texts)
    return table


def _cell(cell: dict[str, Any], columns: int) -> str:
    number = {"free": "{}", "tentative": "{}?", "confirmed": "[{}]"}[cell["state"]].format(cell["number"])
    if cell["state"] == "free" or columns + 1 < NAMES_COLUMNS_MIN:
        return number
    return f"{number} {cell['first_name']}"[:columns]


def schedule_table(reply: dict[str, Any], width: int) -> RenderableType:
    """The meetings of a day in all rooms, or of some days in one."""
    from rich.text import Text

    week = reply["first"] != reply["last"]
    title = f"{reply['room']}, {reply['first']} to {reply['last']}" if week else day_title(reply["first"])
    if not reply["meetings"]:
        return Text(f"{title}: all free.")
    table = _table(title, "day" if week else "room", "time", "who", "purpose", "state", "id")
    before = ""
    for meeting in reply["meetings"]:
        wide = width >= WIDE_COLUMNS
        day = f"{date.fromisoformat(meeting['day']):%a} {meeting['day'] if wide else meeting['day'][5:]}"
        place = day if week else meeting["room"]
        who = meeting["first_name"] + (f" ({meeting['department']})" if wide else "")
        cells = [place if place != before else "", f"{meeting['start']}-{meeting['end']}", who, meeting["purpose"]]
        table.add_row(*map(Text, cells), _state(meeting["firm"]), Text(meeting["id"]))
        before = place
    return table


def mine_table(reply: dict[str, Any], width: int) -> RenderableType:
    """The requests of a department, the newest first."""
    from rich.console import Group
    from rich.text import Text

    if not reply["requests"]:
        return Text(f"No requests of {reply['department']}.")
    table = _table(f"Requests of {reply['department']}", "id", "place", "purpose", "state", "why")
    lines = [Text(f"Requests of {reply['department']}", "bold")]
    for request in reply["requests"]:
        wanted, place = request["wanted"], request["place"]
        moved = place is not None and place != wanted
        where = Text(_where(place or wanted) + (f" instead of {_where(wanted)}" if moved else ""))
        state = _state(request["outcome"])
        if request["outcome"] != request["firm"] and request["outcome"] != "cancelled":
            state.append(f", {request['firm']}")
        about = Text(request["purpose"] or (f"change of {request['booking']}" if request["booking"] else ""))
        why = Text("; ".join(filter(None, (_firm_by(request), request["why"]))))
        table.add_row(Text(request["id"]), where, about, state, why)
        lines += [
            Text("  ").join([Text(request["id"]), state, about]),
            *(Text("  ") + part for part in (where, why) if part),
        ]
    more = [Text(f"More: mine {reply['more_before']}")] if reply["more_before"] else []
    return Group(table, *more) if width >= WIDE_COLUMNS else Group(*lines, *more)


def _firm_by(request: dict[str, Any]) -> str:
    """When it is final at the latest; servers of earlier versions do not say it."""
    by = request.get("firm_by")
    if by and request["overdue"]:
        return f"was to be firm by {by}, what came of it has not been heard there"
    return f"firm by {by} at the latest" if by else ""


def _where(where: dict[str, Any]) -> str:
    return f"{where['room']} {where['day']} {where['start']}-{where['end']}"


def _state(state: str) -> Any:
    from rich.text import Text

    return Text(state, STYLES.get(state, "yellow"))


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, "bold"), title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("day", "time", "state", "id"))
    return table


PICTURES = {"cells": cells_picture, "schedule": schedule_table, "mine": mine_table}
"""By the type of the answer."""


def draw(type: str, reply: dict[str, Any], warning: str = "") -> bool:
    """Print an answer as a table where there is one for it, with what the person should know beside it."""
    from rich.console import Console

    if type not in PICTURES:
        return False
    console = Console(highlight=False)
    console.print(PICTURES[type](reply, console.width))
    if warning:
        console.print(f"[{warning}]", markup=False)
    return True
