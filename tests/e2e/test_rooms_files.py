"""A laptop that never sees the network: its bookings travel in files, and come back confirmed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.e2e.offices import DAY, Ear, Offices, overlapping, wanted_by, wired, working

ALL = ("biology", "chemistry", "law")
ROOMS = ("Ash", "Maple")


def test_a_laptop_without_a_network_books_through_files(tmp_path: Path) -> None:
    """`law` is the laptop. Its files are split, mixed up, and taken in again and again."""
    offices = Offices(tmp_path, ALL)

    def export(at: str, name: str, *more: str) -> list[str]:
        done = offices.command("rooms", "--at", at, "export", str(tmp_path / name), *more)
        assert done.returncode == 0, done.stdout + done.stderr
        return sorted(str(path) for path in tmp_path.glob(f"{name}*"))

    def take_in(at: str, *files: str) -> str:
        done = offices.command("rooms", "--at", at, "import", *files)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with wired(offices) as wires, working(offices):
        wires.split(("biology", "chemistry"), ("law",))
        early = offices.tell_one("law", f"reserve Oak {DAY} 09:00 1h early --or Elm@09:00")
        late = offices.tell_one("chemistry", f"reserve Oak {DAY} 09:00 1h late --or Elm@09:00 --or Elm@10:00")
        assert (early["type"], late["type"], early["firm"]) == ("granted", "granted", "tentative")
        (*answers,) = offices.tell("law", *wanted_by("law", 800, ROOMS, (DAY,), 1))
        offices.tell("chemistry", *wanted_by("chemistry", 20, ROOMS, (DAY,), 1))
        assert {answer["firm"] for answer in answers} == {"tentative"}

        out = export("law", "from-law.export", "--split", "20K")
        assert len(out) > 2
        alone = offices.command("rooms", "--at", "biology", "import", out[-1])
        assert alone.returncode == 1
        assert "this part follows one that is not here yet" in alone.stdout
        assert ": 0 new writes" not in take_in("biology", out[0])
        assert ": 0 new writes" not in take_in("biology", *random.Random(1).sample(out, len(out)))
        assert ": 0 new writes, 0 new commits" in take_in("biology", *out)
        show = offices.wait(
            lambda: _confirmed(offices, "chemistry", "law", early["write"]), "confirmed among the others"
        )
        assert show["place"]["room"] == "Oak"
        assert _confirmed(offices, "law", "law", early["write"]) is None

        ear = Ear(offices, "law")
        offices.wait(
            lambda: _confirmed(offices, "biology", "chemistry", late["write"]), "the loser is firm at the primary"
        )
        back = export("biology", "from-biology.export", "--split", "30K")
        assert len(back) > 2
        assert ": 0 new writes" not in take_in("law", *reversed(back))
        assert ": 0 new writes, 0 new commits" in take_in("law", *back)
        offices.wait(lambda: _confirmed(offices, "law", "law", early["write"]), "confirmed on the laptop")
        change = ear.heard()
        ear.close()
        assert (change["id"], change["firm"], change["ok"]) == (early["write"], "committed", True)
        (lost,) = (one for one in offices.requests("law", "chemistry") if one["id"] == late["write"])
        assert (lost["outcome"], lost["place"]["room"], lost["lost"]["id"]) == ("moved", "Elm", early["write"])
        laptop, primary = offices.schedule("law", DAY), offices.schedule("biology", DAY)
        assert laptop == primary
        assert overlapping(laptop) == []
        assert len(offices.requests("law", "law")) == 801


def _confirmed(offices: Offices, at: str, department: str, id: str) -> dict[str, Any] | None:
    """What has become of a request, where it is confirmed."""
    return next(
        (one for one in offices.requests(at, department, "full") if one["id"] == id and one["firm"] == "confirmed"),
        None,
    )
