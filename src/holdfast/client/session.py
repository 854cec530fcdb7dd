"""The core of a client, without I/O: which server to ask, under which number, and what an outcome means.

A `Session` is one client of one service. A shell (`client.blocking`, `client.asynchronous`) asks it
`act(now_us)` what to do next, does it, and tells it what happened:

1. `Connect`: dial that server until `until_us`; then call `connected` or `lost`.
2. `Send`: write the data in one piece.
3. `Wait`: until `until_us`, or until something happens: pass each line to `received`, an end of the
   connection to `lost`; then call `act` again.
4. `Close`: close the connection.
5. `Idle`: every call has its outcome. Keep the connection for the next one.

What an outcome means (`unavailable` and `overloaded` say that nothing was executed):

| the server                        | the request                                   | the connection      |
|-----------------------------------|-----------------------------------------------|---------------------|
| a final answer                    | ends with it                                  | stays               |
| unavailable, overloaded           | goes to another server, same number           | left once drained   |
| unknown                           | the same, and from now on it is *doubtful*    | left once drained   |
| silent past the timeout, closed,  | every sent one is doubtful, all go to another | left at once        |
|   or says what is no reply        |   server, same numbers                        |                     |
| expired, and not doubtful         | once: a new client id, sent again             | stays               |

At its deadline a request that is doubtful or under way ends as `Unknown`, any other as `Undone`.

A session that watches is never idle: it stays connected, and what is pushed gathers in `changes`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from holdfast.client.outcomes import (
    CHANGE_BEGINS,
    Answer,
    Change,
    Denied,
    Outcome,
    Server,
    Undone,
    Unknown,
    parse_change,
    parse_reply,
)

NEVER_US = 1 << 62
MODE = "mode json"
ELSEWHERE = ("unavailable", "overloaded", "unknown")
SEEN_FAILING_US = 30_000_000
"""A server that failed is asked last for so long: a hung one would cost the whole timeout again."""


class Connect(msgspec.Struct, frozen=True):
    """Dial this server; give up at `until_us`."""

    server: Server
    until_us: int


class Send(msgspec.Struct, frozen=True):
    """Write this in one piece."""

    data: bytes


class Wait(msgspec.Struct, frozen=True):
    """For something to happen, until `until_us` at most."""

    until_us: int


class Close(msgspec.Struct, frozen=True):
    """Close the connection."""


class Idle(msgspec.Struct, frozen=True):
    """Nothing to do."""


Action = Connect | Send | Wait | Close | Idle


class Identity:
    """A client id and the numbering of its requests; `open` holds the unanswered ones, in order.

    Of an id taken over from an earlier process only what is `answered` below is known to be, None for an own one.
    """

    __slots__ = ("answered", "client", "next_number", "open")

    def __init__(self, client: str, next_number: int = 1, answered: int | None = None) -> None:
        self.client = client
        self.next_number = next_number
        self.answered = answered
        self.open: dict[int, Call] = {}

    def take(self, call: Call) -> int:
        number = self.next_number
        self.next_number += 1
        self.open[number] = call
        return number

    def lowest(self) -> int:
        """The lowest unanswered number: the servers may forget everything below."""
        return next(iter(self.open), self.next_number) if self.answered is None else self.answered


class Call:
    """One request on its way. `outcome` is None until it has one."""

    __slots__ = ("deadline_us", "doubtful", "identity", "line", "number", "outcome", "renewed", "under_way", "view")

    def __init__(self, line: str, identity: Identity, deadline_us: int, view: str = "full") -> None:
        self.line = line
        self.view = view
        self.deadline_us = deadline_us
        self.identity = identity
        self.number = identity.take(self)
        self.doubtful = False
        self.under_way = False
        self.renewed = False
        self.outcome: Outcome | None = None

    def encoded(self) -> bytes:
        return f"@{self.identity.client}:{self.number}/{self.identity.lowest()} {self.line}\n".encode()


class Link:
    """The one connection of a session: what was asked on it and not yet answered, in order."""

    __slots__ = ("broken", "greeted", "greeting", "heard_us", "leaving", "open", "returned", "sent", "server", "view")

    def __init__(self, server: Server, now_us: int) -> None:
        self.server = server
        self.open = False
        self.heard_us = now_us
        self.greeted = False
        self.greeting: deque[str] = deque()
        self.sent: deque[Call | None] = deque()
        """None for a line of the connection's own."""
        self.view = "full"
        self.returned: list[Call] = []
        self.leaving = ""
        """Why nothing more is asked here, once what was asked is answered."""
        self.broken = ""
        """Why nothing that comes from here can be believed."""


class Session:
    """One client of one service. See the module's text for the shell's duties.

    `identify` makes a new client id; `chooser` is the only source of chance. `greeting` are lines
    to open every connection with (`mode json` first). `home` is asked before the others while it
    serves. `guarantees` are kept across a change of server by the token that replies bring along.
    `watches`: a session for its `changes` only. Times are integer microseconds of one clock.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        identify: Callable[[], str],
        chooser: random.Random,
        greeting: Sequence[str] = (MODE,),
        home: Server | None = None,
        guarantees: Sequence[str] = (),
        watches: bool = False,
        timeout_us: int = 5_000_000,
        pause_us_min: int = 10_000,
        pause_us_max: int = 500_000,
        window_max: int = 64,
    ) -> None:
        if not servers:
            raise ValueError("a session needs at least one server")
        self.servers = tuple(servers)
        self.notes: list[str] = []
        self.changes: list[Change] = []
        self.denied = ""
        """Why the login was refused, if it was."""
        self.token = ""
        self._home = home
        self._guarantees = ",".join(guarantees)
        self._watches = watches
        self._identify = identify
        self._chooser = chooser
        self._greeting = tuple(greeting)
        self.timeout_us = timeout_us
        self._pause_us_min = self._pause_us = pause_us_min
        self._pause_us_max = pause_us_max
        self._pause_until_us = 0
        self._window_max = window_max
        self._identity: Identity | None = None
        self._open: dict[Call, None] = {}
        self._waiting: deque[Call] = deque()
        self._link: Link | None = None
        self._tried: list[Server] = []
        self._failed_us: dict[Server, int] = {}
        self.answered_by: Server | None = None
        """Who gave the last answer."""
        self._deadline_us = NEVER_US
        self._why = "no server was asked yet"
        self._told: dict[Server | None, str] = {}

    @property
    def is_watching(self) -> bool:
        """Whether the server tells what changes from now on."""
        link = self._link
        return self._watches and link is not None and link.greeted and not link.greeting and not link.leaving

    # what the caller wants

    def submit(self, line: str, deadline_us: int, view: str = "full") -> Call:
        """A new request. `line` is the word and its arguments, already quoted; `view` is what a question sees."""
        if self._identity is None:
            self._identity = Identity(self._identify())
        return self._enqueue(Call(line, self._identity, deadline_us, view))

    def repeat(
        self, line: str, client: str, number: int, deadline_us: int, lowest: int = 0, *, is_new: bool = False
    ) -> Call:
        """A request under a name given by the caller. Unless it `is_new`, it may have been executed, by an earlier
        process. `lowest`: all numbers below are answered."""
        call = Call(line, Identity(client, number, lowest), deadline_us)
        call.doubtful = not is_new
        return self._enqueue(call)

    def resume(self, call: Call, deadline_us: int) -> None:
        """Take up again a call that ended as `Unknown`."""
        if not isinstance(call.outcome, Unknown):
            raise ValueError("only a call with an unknown outcome can be resumed")
        call.outcome = None
        call.deadline_us = deadline_us
        self._enqueue(call)

    def abandon(self, call: Call) -> None:
        """The caller waits no longer; the call ends as at its deadline."""
        if call.outcome is None:
            self._end_late(call, "the caller stopped waiting")

    # what happened

    def connected(self, now_us: int) -> None:
        assert self._link is not None
        self._link.open = True
        self._link.heard_us = now_us

    def lost(self, now_us: int, why: str) -> None:
        """The connection could not be made, or has ended."""
        if self._link is not None:
            self._break(now_us, why)

    def received(self, now_us: int, line: bytes) -> None:
        """One line from the server, without its line end."""
        link = self._link
        if link is None or link.broken or line.startswith(b"* "):
            return
        link.heard_us = now_us
        if line.startswith(CHANGE_BEGINS) and (change := parse_change(line)) is not None:
            self.changes.append(change)
        elif link.greeting:
            self._greeted(link, link.greeting.popleft(), line)
        elif not link.sent:
            link.broken = f"said unasked: {shortened(line)}"
        elif (call := link.sent.popleft()) is not None:
            self._answered(link, call, line)
        elif (reply := parse_reply(line)) is None or not reply.ok:
            link.leaving = link.leaving or (reply.text if reply else f"its answer is none: {shortened(line)}")

    # what to do next

    def act(self, now_us: int) -> Action:
        """The next thing the shell has to do."""
        self._end_overdue(now_us)
        link = self._link
        if link is None:
            return self._reach(now_us)
        if link.broken or (link.leaving and not link.sent):
            return self._break(now_us, link.broken or link.leaving)
        if not self._open and not self._watches:
            return Idle()
        return self._converse(now_us, link) if link.open else self._dial_on(now_us, link)

    def _reach(self, now_us: int) -> Action:
        if not self._waiting and not self._watches:
            return Idle()
        if now_us < self._pause_until_us:
            return Wait(min(self._pause_until_us, self._deadline_us))
        server = self._choose(now_us)
        self._link = Link(server, now_us)
        return Connect(server, min(now_us + self.timeout_us, self._deadline_us))

    def _choose(self, now_us: int) -> Server:
        untried = [server for server in self.servers if server not in self._tried]
        recent_us = now_us - SEEN_FAILING_US
        healthy = [server for server in untried if self._failed_us.get(server, -NEVER_US) < recent_us]
        candidates = healthy or untried
        return self._home if self._home in candidates else self._chooser.choice(candidates)

    def _dial_on(self, now_us: int, link: Link) -> Action:
        """Asked again while the dial is under way: another call was added, or one has ended."""
        until_us = link.heard_us + self.timeout_us
        if now_us >= until_us:
            return self._break(now_us, f"no connection within {self.timeout_us / 1e6:g} s")
        return Wait(min(until_us, self._deadline_us))

    def _converse(self, now_us: int, link: Link) -> Action:
        asked = bool(link.sent or link.greeting)
        if asked and now_us >= link.heard_us + self.timeout_us:
            return self._break(now_us, f"silent for {self.timeout_us / 1e6:g} s")
        data = b"" if link.leaving else self._lines(link)
        if data:
            if not asked:
                link.heard_us = now_us
            return Send(data)
        if not asked:
            return Wait(self._deadline_us) if self._watches else Idle()
        return Wait(min(link.heard_us + self.timeout_us, self._deadline_us))

    def _lines(self, link: Link) -> bytes:
        """What may be written now: the greeting first; calls behind it only when it names nobody.

        A command sent behind a refused login would be executed as nobody's.
        """
        parts: list[bytes] = []
        if not link.greeted:
            link.greeted = True
            link.greeting.extend(self._greeting)
            if self._guarantees:
                link.greeting.append(f"session {self._guarantees} {self.token}".rstrip())
            parts = [f"{line}\n".encode() for line in link.greeting]
        if all(line == MODE for line in link.greeting):
            while self._waiting and len(link.sent) < self._window_max:
                call = self._waiting.popleft()
                call.under_way = True
                if call.view != link.view:
                    link.view = call.view
                    link.sent.append(None)
                    parts.append(f"view {call.view}\n".encode())
                link.sent.append(call)
                parts.append(call.encoded())
        return b"".join(parts)

    # what a line means

    def _greeted(self, link: Link, asked: str, line: bytes) -> None:
        """The reply to a line of the greeting; that to `mode json` itself may still be plain text."""
        reply = parse_reply(line)
        if reply is None:
            text = line.decode(errors="replace")
            reply = Answer(not text.startswith("Failed"), text, "")
        if reply.ok:
            if self.is_watching:
                self._served(link)
            return
        if asked.startswith("login ") and reply.type not in ELSEWHERE:
            self.denied = reply.text
            for call in list(self._open):
                self._end(call, Unknown(reply.text) if call.doubtful else Denied(reply.text))
            self._waiting.clear()
        link.leaving = link.leaving or reply.text

    def _answered(self, link: Link, call: Call, line: bytes) -> None:
        reply = parse_reply(line)
        if reply is None:
            link.sent.appendleft(call)
            link.broken = f"its answer is none: {shortened(line)}"
            return
        if call.outcome is not None:
            return
        call.under_way = False
        if not reply.ok and reply.type in ELSEWHERE:
            call.doubtful = call.doubtful or reply.type == "unknown"
            link.leaving = link.leaving or reply.text
            link.returned.append(call)
        elif not reply.ok and reply.type == "expired":
            self._expired(call, reply)
        else:
            self.token = reply.session or self.token
            self._served(link)
            self._end(call, reply)

    def _expired(self, call: Call, reply: Answer) -> None:
        """The servers dropped this client id, so the call was not executed now; but perhaps before."""
        if call.doubtful or call.renewed:
            self._end(call, Unknown(reply.text) if call.doubtful else reply)
            return
        call.identity.open.pop(call.number, None)
        if self._identity is None or self._identity is call.identity:
            self._identity = Identity(self._identify())
        call.identity = self._identity
        call.number = call.identity.take(call)
        call.renewed = True
        self._waiting.appendleft(call)

    def _served(self, link: Link) -> None:
        self._tried.clear()
        self._told.clear()
        self._pause_us = self._pause_us_min
        self._failed_us.pop(link.server, None)
        if self.answered_by not in (None, link.server):
            self.notes.append(f"{link.server} answers now.")
        self.answered_by = link.server

    # how a connection and a call end

    def _break(self, now_us: int, why: str) -> Action:
        """Leave the connection; what was asked on it and not answered waits for another server."""
        link = self._link
        assert link is not None
        was_watching, is_alone = self.is_watching, len(self.servers) == 1
        self._link = None
        unanswered = [call for call in link.sent if call is not None and call.outcome is None]
        for call in unanswered:
            call.under_way = False
            call.doubtful = True
        again = [call for call in link.returned if call.outcome is None] + unanswered
        self._waiting.extendleft(reversed(again))
        self._why = f"{link.server}: {why.removeprefix('Failed: ')}"
        self._failed_us[link.server] = now_us
        if link.server not in self._tried:
            self._tried.append(link.server)
        if was_watching:
            until = "it answers again" if is_alone else "another server is found"
            gap = f"{self._why}; what changed until {until} is not told"
            self.changes.append(Change("", "", "", gap))
        if self._waiting:
            what = "There is no other server: trying on until the deadline." if is_alone else "Trying another server."
            self._tell(link.server, f"{self._why}. {what}")
        if len(self._tried) >= len(self.servers):
            self._tried.clear()
            if self._waiting and not is_alone:
                self._tell(None, "No server takes it now. Trying on until the deadline.")
            self._pause_until_us = now_us + self._chooser.randint(self._pause_us // 2, self._pause_us)
            self._pause_us = min(2 * self._pause_us, self._pause_us_max)
        return Close()

    def _tell(self, server: Server | None, text: str) -> None:
        """A note, once, until some server answers: the same trouble comes around with every round."""
        if self._told.get(server) != text:
            self._told[server] = text
            self.notes.append(text)

    def _enqueue(self, call: Call) -> Call:
        self._open[call] = None
        self._waiting.append(call)
        self._deadline_us = min(self._deadline_us, call.deadline_us)
        return call

    def _end_overdue(self, now_us: int) -> None:
        if now_us < self._deadline_us:
            return
        for call in [call for call in self._open if call.deadline_us <= now_us]:
            why = f"{self._link.server} has not answered yet" if call.under_way and self._link else self._why
            self._end_late(call, why)
        self._deadline_us = min((call.deadline_us for call in self._open), default=NEVER_US)

    def _end_late(self, call: Call, why: str) -> None:
        self._end(call, Unknown(why) if call.doubtful or call.under_way else Undone(why))
        if call in self._waiting:
            self._waiting.remove(call)

    def _end(self, call: Call, outcome: Outcome) -> None:
        """An unknown call keeps its number open, so its client id is used for nothing else any more."""
        call.outcome = outcome
        self._open.pop(call, None)
        if not isinstance(outcome, Unknown):
            call.identity.open.pop(call.number, None)
        elif self._identity is call.identity:
            self._identity = None


def shortened(line: bytes) -> str:
    """The beginning of a line, printable, for a message."""
    text = repr(line[:60].decode(errors="replace"))
    return text if len(line) <= 60 else f"{text} ..."
