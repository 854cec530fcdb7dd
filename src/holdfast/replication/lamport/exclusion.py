"""Lamport's mutual exclusion (L. Lamport, "Time, Clocks, and the Ordering of Events in a
Distributed System", CACM 21(7), 1978, pages 560 to 562), for a whole batch of updates at a time.

The paper's five rules, and where they stand here:

1. To request the resource, Pi sends `Tm:Pi requests resource` to every other process and puts it
   on its request queue.                                                      -> `request`
2. When Pj receives it, it places it on its queue and sends a timestamped acknowledgement.
                                                                -> `on_request`, `on_synced`
3. To release, Pi removes its request from its queue and sends a timestamped `Pi releases
   resource` to every other process.                                  -> `leave`, `release_to`
4. When Pj receives it, it removes the request from its queue.                -> `on_release`
5. Pi is granted the resource when (i) its request is ordered before any other in its queue by =>,
   and (ii) it has received a message from every other process stamped later than Tm.
                                                                              -> `granted`

What is added, and why it keeps the rules:

- The request carries the updates that Pi will make. So they are at every member before Pi is
  granted, and a holder that dies leaves nothing half done.
- For (ii) only acknowledgements count, and one leaves only when the request is synced. So a grant
  means: persisted at every member, before any client hears.
- Acknowledgements go to everybody, so every member sees every grant for itself and makes the
  holder's updates at that place in the order, as the paper's state machine example does (page 562,
  "each process independently simulates the execution of the State Machine"). No server waits for
  another one's release to enter in its turn.
- A release speaks for everything up to its stamp: a granted Pi has removed all earlier requests
  (5 i). It rides with the next message, serves those who missed an acknowledgement, and carries
  the position, by which logs that differ would be found out at once.
- FIFO channels are not assumed of the transport: `previous` chains the requests of a server and
  `requested` ties an acknowledgement to them; what comes before its predecessor is dropped and
  comes again.
"""

from __future__ import annotations

from collections import deque

from holdfast.kernel.contracts import Request, Token
from holdfast.kernel.errors import MalformedInput
from holdfast.replication.lamport.messages import Acknowledge, ReleaseResource, RequestResource
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
        self.seen = [0] * servers
        self.heard = [0] * servers
        self.on_disk: list[tuple[int, ...]] = [(0,) * servers] * servers
        self.outstanding: deque[Pending] = deque()
        self._unsynced: deque[Pending] = deque()
        self._release_due = False
        self.dropped = 0

    # -- Requesting

    def may_request(self) -> bool:
        """One request to a sync: meanwhile the next batch gathers."""
        replica = self._replica
        own_synced = self.on_disk[replica.me][replica.me] == self.requested
        return own_synced and len(self.outstanding) < replica.configuration.in_flight_max

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
        self._enqueue(pending)
        message = RequestResource(replica.epoch, pending.time, pending.previous, pending.batch)
        for server in replica.other_members:
            replica.step.data.append((server, message))

    def on_request(self, server: int, message: RequestResource) -> None:
        """Rule 2, the queue; a repeated request is acknowledged again, one out of order is dropped."""
        replica = self._replica
        if message.time <= self.seen[server]:
            self.acknowledge([server])
            return
        if message.previous != self.seen[server]:
            self.dropped += 1
            return
        pending = Pending(message.time, server, message.batch)
        pending.requests = replica.machine.decode(message.batch)
        replica.observe(message.time)
        self.seen[server] = message.time
        self._enqueue(pending)

    def _enqueue(self, pending: Pending) -> None:
        self._replica.enqueue(pending)
        self._unsynced.append(pending)

    # -- Acknowledging

    def on_synced(self) -> None:
        """Rule 2, the acknowledgement: the disk holds these requests, our own among them."""
        replica, unsynced = self._replica, self._unsynced
        if not unsynced or unsynced[0].record > replica.records_synced:
            return
        here = list(self.on_disk[replica.me])
        while unsynced and unsynced[0].record <= replica.records_synced:
            pending = unsynced.popleft()
            here[pending.server] = pending.time
        self.on_disk[replica.me] = tuple(here)
        if replica.state == ACTIVE:
            self.leave()
            self.acknowledge(replica.other_members)

    def acknowledge(self, servers: list[int]) -> None:
        """Tell what is synced here, and what was released."""
        replica = self._replica
        if self._release_due:
            self.release_to(replica.other_members)
        here = self.on_disk[replica.me]
        message = Acknowledge(replica.epoch, replica.tick(), here, replica.vouch_synced(), self.requested)
        for server in servers:
            replica.promise_synced(server, message)

    def on_acknowledge(self, server: int, message: Acknowledge) -> None:
        """Towards rule 5 (ii)."""
        replica = self._replica
        if len(message.upto) != len(self.seen) or message.upto[replica.me] > self.requested:
            raise MalformedInput(f"{replica.name(server)} acknowledges a request that was never made: {message}")
        if message.time <= self.heard[server]:
            return  # an older one, come late
        if message.requested > self.seen[server]:
            self.dropped += 1  # FIFO: an earlier request of the sender is missing; it will be repeated
            return
        self.heard[server] = message.time
        replica.observe(message.time)
        replica.note_acknowledged(server, message.number)
        self.on_disk[server] = message.upto
        self.leave()

    # -- Granted, and out again

    def granted(self) -> bool:
        """Rule 5, for the earliest request (i), whoever made it: every member holds it on its disk,
        has said so with a later stamp, and with that has sent all its own earlier requests (ii)."""
        replica = self._replica
        if not replica.queue or replica.view is None:
            return False
        time, server = replica.queue[0]
        return all(self.on_disk[member][server] >= time for member in replica.view.members)

    def leave(self) -> None:
        """The critical sections that are granted: execute them, in order; rule 3 for our own."""
        replica = self._replica
        while self.granted():
            replica.execute_upto(replica.queue[0])
        self._forget_outstanding()

    def _forget_outstanding(self) -> None:
        replica, outstanding = self._replica, self.outstanding
        while outstanding and (outstanding[0].time, replica.me) <= replica.released:
            outstanding.popleft()
            self._release_due = True

    def release_to(self, servers: list[int]) -> None:
        """Rule 3's message. It rests on what was executed, which is synced here too."""
        replica = self._replica
        self._release_due = False
        time, server = replica.released
        message = ReleaseResource(replica.epoch, replica.tick(), time, server, replica.position)
        for other in servers:
            replica.promise_executed(other, message)

    def on_release(self, server: int, message: ReleaseResource) -> None:
        """Rule 4, for everything up to the released stamp that is still in the queue."""
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
        self._forget_outstanding()
        self.leave()

    def repeat_to(self, server: int) -> None:
        """Send again what the peer may have missed when a link broke."""
        replica = self._replica
        for pending in self.outstanding:
            if pending.time > self.on_disk[server][replica.me]:
                message = RequestResource(replica.epoch, pending.time, pending.previous, pending.batch)
                replica.step.data.append((server, message))
        if any(self.on_disk[replica.me]):
            self.acknowledge([server])
        if replica.position:
            self.release_to([server])
