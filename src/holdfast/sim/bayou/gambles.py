"""What tempts an accepted loss to take too much, in runs where an operator may accept one.

An operator says so at a node that is well connected, just when the primary has confirmed something that is not there
yet, and then the links fail; or somebody carries a file from the new primary's side to the old one, which is still cut
off, and goes on confirming.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.sim.bayou.ground import HOUR_US, MINUTE_US, Ground
from holdfast.sim.bayou.office import Office
from holdfast.sim.bayou.operators import Operators
from holdfast.sim.network import Network
from holdfast.sim.world import World

LOOK_US = 10_000_000
LOOKS = 400
FILES = 8


class Gambles:
    """`struck(text)` is told of each; `cut_off(office, for_us)` takes one from the network."""

    def __init__(
        self,
        world: World,
        network: Network,
        operators: Operators,
        ground: Ground,
        struck: Callable[[str], None],
        cut_off: Callable[[Office, int], None],
    ) -> None:
        self.world = world
        self.network = network
        self.operators = operators
        self.ground = ground
        self.struck = struck
        self.cut_off = cut_off
        self.stopped = False

    def begin(self, until_us: int) -> None:
        """Twice at some time."""
        for _ in range(2):
            self.world.after(self.world.between(MINUTE_US, until_us), self._wait_for_commit, LOOKS)

    # ---- a word that was not needed ----

    def _wait_for_commit(self, looks: int) -> None:
        """Until some office lacks what the primary that it is connected to has confirmed; or not so long."""
        if self.stopped:
            return
        pairs = self._connected()
        lacking = [(primary, other) for primary, other in pairs if other.replica.log.csn < primary.replica.log.csn]
        if not lacking and looks:
            self.world.after(LOOK_US, self._wait_for_commit, looks - 1)
        elif lacking or pairs:
            primary, office = self.world.random.choice(lacking or pairs)
            self.operators.accept_loss_at(office)
            self.struck(f"take over at {office.name}, connected with {primary.name}, accepting loss")
            self.world.after(self.world.between(1_000, 3_000_000), self._fail, office)

    def _connected(self) -> list[tuple[Office, Office]]:
        serving = self.operators.serving()
        return [
            (primary, other)
            for primary in serving
            for other in serving
            if primary.replica.is_primary
            and other is not primary
            and other.replica.primary == primary.number
            and other.replica.peers[primary.number].connected
        ]

    def _fail(self, office: Office) -> None:
        if not self.stopped and self.world.chance(0.7):
            self.struck(f"{office.name} loses its links")
            self.cut_off(office, 3 * self.ground.patience_us)

    # ---- news that should change who commits ----

    def accepted(self, old: Office) -> None:
        """The loss of this office was accepted elsewhere: files come there, while it is cut off or later."""
        if old.alive and self.world.chance(0.7):
            self.cut_off(old, self.world.between(6 * HOUR_US, 36 * HOUR_US))
        for _ in range(FILES):
            self.world.after(self.world.between(MINUTE_US, 12 * HOUR_US), self._bring_news, old)

    def _bring_news(self, old: Office) -> None:
        ahead = [one for one in self.operators.serving() if one is not old and old.serving]
        ahead = [one for one in ahead if one.replica.log.epoch_at(one.replica.log.csn) > old.replica.epoch]
        if ahead and not self.stopped:
            source = self.world.random.choice(ahead)
            self.struck(self.operators.carry(source, [old], longest_us=20 * MINUTE_US))
