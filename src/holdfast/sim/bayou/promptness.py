"""How soon there is a primary, and what is written is firm, where nothing is in the way.

The offices are *whole* while all processes run, every two are connected, all clocks are right, and every replica
that takes part is one of theirs. Time counts from when they were so without a break. Then no deadline is needed:

- If the disk of the primary is the one that became it, somebody may propose within `LEAD` times the patience, and
  `MEETINGS` meetings with random peers: a change of the primary that was left half done comes to an end by itself.
- If somebody may, what the primary had in its log `FIRM` times the patience ago, and what others had written
  themselves, is committed everywhere by now. Not so what lies in the future, or has lain there and waits in
  quarantine: that is let in at the next meeting.
"""

from __future__ import annotations

from typing import Any

from holdfast.sim.audit import Violation
from holdfast.sim.bayou.ground import MINUTE_US, Ground
from holdfast.sim.bayou.office import Office
from holdfast.sim.network import Network
from holdfast.sim.world import World

FIRM = 3
"""One that an answer to an earlier question is waited for, one for who has not answered, one to hear of it."""
LEAD = 8
"""Two until a claim is given up, four until the primary claims anew, and two for that."""
MEETINGS = 4
LEGS = 8
"""So many messages on the slowest link come one after the other before all know what is firm."""
Name = tuple[str, int]


class Promptness:
    """Looks again and again, and changes nothing."""

    def __init__(self, world: World, network: Network, offices: list[Office], ground: Ground) -> None:
        self.world = world
        self.network = network
        self.offices = offices
        self.patience_us = ground.patience_us
        self.lead_us = LEAD * ground.patience_us + MEETINGS * ground.sync_us + MINUTE_US
        self.firm_us = FIRM * ground.patience_us + LEGS * network.options.slow_us_max
        self.voters = [office for office in offices if ground.voters > 1 and ground.is_voter(office.number)]
        self._whole: tuple[Any, ...] = ()
        self._led: tuple[Any, ...] = ()
        self._led_us = 0
        self._due: list[Name] = []
        self._waiting: tuple[Any, ...] = ()
        self._waiting_us = 0

    def look(self) -> None:
        """Raise `Violation` if it has taken too long."""
        now_us = self.world.now_us
        whole = self._since_when()
        if whole != self._whole:
            self._whole, self._led, self._waiting = whole, (), ()
        if not whole:
            return
        led = self._led_by()
        if led != self._led:
            self._led, self._led_us, self._due = led, now_us, self._written()
        elif led and now_us - self._led_us > self.firm_us:
            self._check_firm()
            self._led_us, self._due = now_us, self._written()
        waits = self._waits()
        if waits != self._waiting:
            self._waiting, self._waiting_us = waits, now_us
        elif waits and now_us - self._waiting_us > self.lead_us:
            raise Violation(
                "headless",
                f"all has been whole for {self._for(self._waiting_us)}, something waits, and nobody may propose",
            )

    def _for(self, since_us: int) -> str:
        return f"{(self.world.now_us - since_us) / self.patience_us:.1f} times the patience"

    # ---- what counts ----

    @property
    def _taking_part(self) -> list[Office]:
        return [office for office in self.offices if office.exists and office.replica.state == "active"]

    def _since_when(self) -> tuple[Any, ...]:
        """What must stay as it is: the processes and their links. Nothing where something is in the way."""
        offices = [office for office in self.offices if office.exists]
        if any(office.state != "up" or office.wall_offset_ms for office in offices):
            return ()
        states = [office.replica.state for office in offices]
        if any(state not in ("active", "retired") for state in states) or "active" not in states:
            return ()
        links = []
        for one in offices:
            for other in offices:
                if one.number < other.number:
                    pair = (one.number, other.number)
                    link, back = self.network.links[pair], self.network.links[pair[::-1]]
                    connection = self.network.connection[pair]
                    if not (self.network.standing[pair] and self.network.are_joined(*pair)):
                        return ()
                    if (link.told, back.told) != (connection, connection):
                        return ()
                    links.append(connection)
        return (*links, *(office.incarnation for office in offices))

    def _waits(self) -> tuple[Any, ...]:
        """Nobody may propose: the newest claim. Nothing where no replica holds anything tentative, or the disk that
        became the primary of the newest epoch is gone: then it takes an operator."""
        offices = self._taking_part
        if any(office.core.epochs.may_propose for office in offices):
            return ()
        newest = max(offices, key=lambda office: office.replica.epoch).replica
        if not self.offices[newest.primary].replica.is_primary or not any(one.replica.log.tail for one in offices):
            return ()
        return (max(max(one.replica.vowed, one.core.epochs.claimed, one.replica.epoch) for one in offices),)

    def _led_by(self) -> tuple[Any, ...]:
        """The epoch that all are in, and whose primary may propose; nothing where there is none, or a change of it is
        under way, or somebody takes part who is not there."""
        offices = self._taking_part
        leaders = [office for office in offices if office.core.epochs.may_propose]
        if len(leaders) != 1:
            return ()
        (leader,) = leaders
        epoch = leader.replica.epoch
        if any(office.replica.epoch != epoch or office.core.epochs.claimed for office in offices):
            return ()
        if any(office.replica.vowed > epoch for office in self.voters or leaders):
            return ()
        if 2 * sum(office.replica.votes for office in self.voters) < len(self.voters):
            return ()
        if leader.core.epochs.proposals.overtaken > epoch:
            return ()
        present = [office.replica.replica for office in offices]
        live = leader.replica.log.live
        return (epoch, *live) if all(name in present for name in live) else ()

    def _written(self) -> list[Name]:
        """What is owed."""
        names: dict[Name, None] = {}
        if not self.network.faultless and self.network.options.transport != "stream":
            return []  # a message may be lost again and again
        aside = {author for office in self._taking_part for author in office.replica.held}
        for office in self._taking_part:
            replica = office.replica
            for entry in replica.log.tail:
                author = entry.write.replica
                is_here = replica.is_primary or author == replica.replica
                if is_here and author not in aside and entry.write.ms <= office.true_ms:
                    names[entry.name] = None
        return list(names)

    def _check_firm(self) -> None:
        for office in self._taking_part:
            log = office.replica.log
            for replica, number in self._due:
                if log.committed_vector.get(replica, 0) < number:
                    raise Violation(
                        "not firm",
                        f"{replica}-{number} is not committed at {office.name}, and all has been whole, with a "
                        f"primary, for {self._for(self._led_us)}",
                    )
