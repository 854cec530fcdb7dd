"""Stories of plans, told in plain text: what is done to the vendors, and what the planner makes of it.

A line `# ...` is told as it stands; `> ...` is done; everything else is what came of it, and is told anew:

    > hotel free 3 5           only these are free
    > hotel 2 lost             what becomes of the vendor's second request: lost, late S, STATUS, garbage,
                               stolen (the slot goes to somebody else just before), refused
    > hotel gives 3            the vendor frees a slot;  > hotel takes 3  the other way
    > hotel falls silent       nothing comes from it any more, until  > hotel is back
    > hotel leases 20          what it books is free again after 20 s unless it is confirmed;  > hotel prolongs  only
                               for one lease more
    > plan patience=8 last=20  start a planner with these settings
    > until 4.5                go on to this time;  > to the end
    > crash, > start           the planner's process
    > stop                     the user's Ctrl-C

`python -m tests.planner.story --write` tells every story anew and writes it down.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from holdfast.planner.configuration import SECOND_US, Configuration, Vendor
from holdfast.planner.messages import Answered, Call, Unanswered
from holdfast.sim.planner.host import PlannerHost
from holdfast.sim.planner.laws import Laws
from holdfast.sim.planner.vendor import BLOCKED, GIVEN_UP_US, SimVendor, Troubles
from holdfast.sim.world import World

GOLDEN = Path(__file__).parent / "golden"
END_US = 600 * SECOND_US


class ScriptedVendor(SimVendor):
    """A vendor whose requests meet the fate that the story has for them, by their number."""

    def __init__(self, world: World, number: int, laws: Laws) -> None:
        super().__init__(world, number, 20, laws)
        self.troubles = Troubles(way_us_max=1_000, longest_us=2 * SECOND_US)
        self.clock_us = 1_790_000_000 * SECOND_US
        self.fates: dict[int, str] = {}
        self.count = 0

    def _arrive(self, who: str, call: Call, reply: Callable[[Answered | Unanswered], None]) -> None:
        self.count += 1
        fate = self.fates.get(self.count, "")
        if self.outage:
            self.world.after(GIVEN_UP_US, reply, Unanswered(call.id, sent=True, why="nothing came"))
        elif fate == "refused":
            reply(Unanswered(call.id, sent=False, why="connection refused"))
        elif fate.isdecimal():
            self._answer(reply, call, int(fate), b"{}")
        elif fate.startswith("late "):
            self.world.after(int(float(fate.split()[1]) * 1e6), super()._carry_out, who, call, reply)
        else:
            if fate == "stolen":
                self.take(call.slot, "rival")
            status, body = self.execute(who, call)
            if fate == "lost":
                self.world.after(GIVEN_UP_US, reply, Unanswered(call.id, sent=True, why="nothing came"))
            else:
                self._answer(reply, call, status, b"<html>" if fate == "garbage" else body)


class Story:
    """Hotel and band, and one planner."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.world = World(1, tracing=True)
        self.laws = Laws(self.world)
        self.vendors = [ScriptedVendor(self.world, number, self.laws) for number in range(2)]
        self.laws.vendors = list(self.vendors)
        self.host: PlannerHost | None = None
        self._told = 0

    def tell(self) -> str:
        """The whole story, with what came of it."""
        lines = []
        for line in self.text.splitlines():
            if line.startswith("#") or not line:
                lines.append(line)
            elif line.startswith("> "):
                lines.append(line)
                self._do(line[2:])
                lines += [shorter(note) for note in self.world.lines[self._told :]]
                self._told = len(self.world.lines)
        return "\n".join(lines) + "\n"

    def _do(self, what: str) -> None:
        words = what.split()
        by_name = {vendor.name: vendor for vendor in self.vendors}
        if words[0] in by_name:
            self._at_vendor(by_name[words[0]], words[1:])
        elif words[0] == "plan":
            self._plan(dict(word.split("=") for word in words[1:]))
        elif words[0] == "until":
            self.world.run_until(int(float(words[1]) * 1e6))
        else:
            host = self.host
            assert host is not None
            if words[0] == "to":
                self.world.run_until(END_US, lambda: host.finished)
                self.laws.ended(host)
            elif words[0] == "crash":
                host.crash()
            elif words[0] == "start":
                host.start()
            else:
                assert words[0] == "stop", what
                host.stop("told to stop")

    def _at_vendor(self, vendor: ScriptedVendor, words: list[str]) -> None:
        if words[0] == "free":
            for slot in range(1, vendor.slots + 1):
                if slot not in map(int, words[1:]):
                    vendor.take(slot, BLOCKED)
        elif words[0] == "gives":
            vendor.give(int(words[1]))
        elif words[0] == "takes":
            vendor.take(int(words[1]), BLOCKED)
        elif words[0] == "leases":
            vendor.lease_us = int(words[1]) * SECOND_US
        elif words[0] == "prolongs":
            vendor.confirming = "lease"
        elif words[0] in ("falls", "is"):
            vendor.outage = "silent" if words[0] == "falls" else ""
        else:
            vendor.fates[int(words[0])] = " ".join(words[1:])

    def _plan(self, settings: dict[str, str]) -> None:
        vendors = tuple(Vendor(name=vendor.name) for vendor in self.vendors)
        options = {"patience": 6, "last": 20} | {name: int(value) for name, value in settings.items()}
        configuration = msgspec.structs.replace(Configuration(vendors=vendors), **options)
        self.host = SteadyHost(self.world, "planner", list(self.vendors), configuration, self.laws.sends)
        self.host.sync_us_max = 100
        self.laws.hosts["planner"] = self.host
        self.host.start()


class SteadyHost(PlannerHost):
    """Starts again only when the story says so; nothing of what was being synced is kept."""

    def crash(self) -> None:
        self._writing = None
        self.core = None
        self.life += 1
        self.world.note("planner crashes")


def shorter(line: str) -> str:
    """Tenths of a second are enough for people."""
    return re.sub(r"^( *\d+\.\d)\d+", r"\1", line)


def stories() -> list[Path]:
    """All of them, in order."""
    return sorted(GOLDEN.glob("*.txt"))


if __name__ == "__main__" and "--write" in sys.argv:
    for path in stories():
        path.write_text(Story(path.read_text()).tell())
