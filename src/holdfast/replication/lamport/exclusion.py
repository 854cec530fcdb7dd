"""Lamport's mutual exclusion (L. Lamport, "Time, Clocks, and the Ordering of Events in a
Distributed System", CACM 21(7), 1978, pages 560 to 561), for a whole batch of updates at a time.

The paper's five rules, and where they stand here:

1. To request the resource, Pi sends `Tm:Pi requests resource` to every other process and puts it
   on its request queue.                                                      -> `request`
2. When Pj receives it, it places it on its queue and sends a timestamped acknowledgement.
                                                                              -> `on_request`
3. To release, Pi removes its request from its queue and sends a timestamped `Pi releases
   resource` to every other process.                                          -> `enter_if_granted`
4. When Pj receives it, it removes the request from its queue.                -> `on_release`
5. Pi is granted the resource when (i) its request is ordered before any other in its queue by =>,
   and (ii) it has received a message from every other process stamped later than Tm.
                                                                              -> `granted`

What is added, and why it keeps the rules:

- The request carries the updates that Pi will make. So they are at every member before Pi is
  granted, and each executes them at the release; a holder that dies leaves nothing half done.
- For (ii) only acknowledgements count, and one leaves only when the request is synced (the gate
  holds it). So a grant means: persisted at every member, before any client hears.
- A release speaks for everything up to its stamp. A granted Pi has removed all earlier requests
  (5 i), each was acknowledged by every member, so every member has them and may execute them too.
- A server may have several requests outstanding. Each stands in the queue for itself.
- FIFO channels are not assumed of the transport: `previous` chains the requests of a server and
  `requested` ties an acknowledgement to them; what comes before its predecessor is dropped and
  comes again.
"""

from __future__ import annotations

from collections import deque

from holdfast.kernel.contracts import Request, Token
from holdfast.kernel.errors import MalformedInput
from holdfast.replication.lamport.messages import Acknowledge, ReleaseResource, RequestResource, Stamp
from holdfast.replication.lamport.replica import ACTIVE, Pending, Replica


class Exclusion:
    """One epoch's mutual exclusion among the members of its view."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.reset()

    def reset(self) -> None:
        """A new epoch begins: no request of it has been made."""
        servers = len(self._replica.peers)
        self.requested = 0
        self.outstanding: deque[Pending] = deque()
        self.seen = [0] * servers
        self.acknowledged = [0] * servers
        self.dropped = 0

    def request(self, requests: list[Request], tokens: list[Token]) -> None:
        """Rule 1."""
        replica = self._replica
        assert replica.state == ACTIVE, f"a request in state {replica.state}"
        pending = Pending(replica.tick(), replica.me, replica.machine.encode(requests))
        pending.previous = self.requested
        pending.requests = requests
        pending.tokens = tokens
        pending.since_us = replica.now_us
        self.requested = pending.time
        self.outstanding.append(pending)
        replica.enqueue(pending)
        message = RequestResource(replica.epoch, pending.time, pending.previous, pending.batch)
        for server in replica.other_members:
            replica.step.data.append((server, message))
        self.enter_if_granted()

    def on_request(self, server: int, message: RequestResource) -> None:
        """Rule 2; a repeated request is acknowledged again, one out of order is dropped."""
        replica = self._replica
        if message.time > self.seen[server]:
            if message.previous != self.seen[server]:
                self.dropped += 1
                return
            pending = Pending(message.time, server, message.batch)
            pending.requests = replica.machine.decode(message.batch)
            replica.observe(message.time)
            self.seen[server] = message.time
            replica.enqueue(pending)
        self.acknowledge(server)

    def acknowledge(self, server: int) -> None:
        """Rule 2's acknowledgement, of everything seen from the server. A promise."""
        replica = self._replica
        message = Acknowledge(replica.epoch, replica.tick(), self.seen[server], replica.vouch(), self.requested)
        replica.promise(server, message)

    def on_acknowledge(self, server: int, message: Acknowledge) -> None:
        """Towards rule 5 (ii)."""
        replica = self._replica
        if message.upto > self.requested:
            raise MalformedInput(f"{replica.name(server)} acknowledges a request that was never made: {message}")
        if message.requested > self.seen[server]:
            self.dropped += 1  # FIFO: an earlier request of the sender is missing; it will be repeated
            return
        replica.observe(message.time)
        replica.note_acknowledged(server, message.number)
        if message.upto > self.acknowledged[server]:
            self.acknowledged[server] = message.upto
            self.enter_if_granted()

    def granted(self) -> bool:
        """Rule 5, for this server's earliest request."""
        replica = self._replica
        if not self.outstanding:
            return False
        time = self.outstanding[0].time
        first = replica.queue[0] == (time, replica.me)  # (i)
        return first and all(self.acknowledged[server] >= time for server in replica.other_members)  # (ii)

    def enter_if_granted(self) -> None:
        """The critical section: execute what was granted; then rule 3."""
        replica = self._replica
        released: Stamp | None = None
        while self.granted():
            released = (self.outstanding.popleft().time, replica.me)
            replica.execute_upto(released)
        if released is not None:
            self.release_to(replica.other_members)

    def release_to(self, servers: list[int]) -> None:
        """Rule 3's message. A promise: our own disk must hold what we say is held everywhere."""
        replica = self._replica
        time, server = replica.released
        message = ReleaseResource(replica.epoch, replica.tick(), time, server, replica.position)
        for other in servers:
            replica.promise_executed(other, message)

    def on_release(self, server: int, message: ReleaseResource) -> None:
        """Rule 4, for everything up to the released stamp; then perhaps our own turn has come."""
        replica = self._replica
        replica.observe(message.time)
        released = (message.upto_time, message.upto_server)
        if released <= replica.released:
            return
        replica.execute_upto(released)
        if (replica.released, replica.position) != (released, message.position):
            replica.halt(
                "invariant",
                f"{replica.name(server)} released {released} at position {message.position}, "
                f"but here that is {replica.released} at {replica.position}: the logs differ; "
                "keep both journals and report this",
            )
            return
        while self.outstanding and (self.outstanding[0].time, replica.me) <= released:
            self.outstanding.popleft()
        self.enter_if_granted()

    def repeat_to(self, server: int) -> None:
        """Send again what the peer may have missed when a link broke."""
        replica = self._replica
        for pending in self.outstanding:
            if pending.time > self.acknowledged[server]:
                message = RequestResource(replica.epoch, pending.time, pending.previous, pending.batch)
                replica.step.data.append((server, message))
        if self.seen[server]:
            self.acknowledge(server)
        if replica.position:
            self.release_to([server])
