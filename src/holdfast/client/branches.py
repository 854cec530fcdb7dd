"""A service with branches, as its clients reach it: the server of the person's branch first, found in the directory.

When another server than that one has answered, or none, the directory is asked again before the next
request. Every other server serves as well, so a directory that does not answer stops nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from holdfast.client.outcomes import Answer, Server
from holdfast.client.session import Call, Session

if TYPE_CHECKING:
    from holdfast.client.blocking import BlockingChannel
    from holdfast.client.person_log import PersonLog

LOOK_DEADLINE_S = 1.0
"""A directory that does not answer so soon is done without."""
LOOK_AGAIN_S = 5.0
"""So long one that did not answer is not asked again."""

Begin = Callable[[Session], Sequence[Call]]


class _Channel(Protocol):
    @property
    def server(self) -> Server | None: ...


C = TypeVar("C", bound=_Channel)


def server_in(answer: Answer) -> Server | None:
    """The server that the directory's answer to `lookup` names."""
    reply = answer.reply
    return Server(reply["host"], reply["port"], reply["node"]) if answer.type == "entry" else None


class Found(Generic[C]):
    """The channel to the branch's server, as far as that is known. `open` makes one that asks a server first."""

    def __init__(self, open: Callable[[Server | None], C], log: PersonLog) -> None:
        self._open = open
        self._log = log
        self._home: Server | None = None
        self._channel: C | None = None
        self._look_s = 0.0

    @property
    def must_look(self) -> bool:
        """Whether the directory is to be asked before the next request."""
        if self._channel is not None and self._home is not None and self._channel.server in (None, self._home):
            return False
        return time.monotonic() >= self._look_s

    def looked(self, home: Server | None) -> C | None:
        """What the directory has said; the channel to be closed, if another one takes its place."""
        if home is None:
            self._look_s = time.monotonic() + LOOK_AGAIN_S
            return None
        if home == self._home:
            return None
        before, self._channel, self._home = self._channel, None, home
        return before

    @property
    def channel(self) -> C:
        """The one to use now."""
        if self._channel is None:
            self._channel = self._open(self._home)
        return self._channel

    @property
    def opened(self) -> C | None:
        """The one in use, if there is one."""
        return self._channel

    def logged(self, since_s: float, calls: Sequence[Call]) -> None:
        """These have ended."""
        for call in calls:
            self._log.add(since_s, call.line, call.outcome)


class BranchChannel:
    """As `blocking.BlockingChannel`. `look()` asks the directory for the branch's server."""

    def __init__(
        self,
        open: Callable[[Server | None], BlockingChannel],
        look: Callable[[], Server | None],
        log: PersonLog,
    ) -> None:
        self._found: Found[BlockingChannel] = Found(open, log)
        self._look = look
        self._turn = threading.Lock()

    @property
    def server(self) -> Server | None:
        """Who gave the last answer."""
        channel = self._found.opened
        return None if channel is None else channel.server

    def settle(self, begin: Begin) -> Sequence[Call]:
        """See `BlockingChannel.settle`."""
        with self._turn:
            if self._found.must_look:
                before = self._found.looked(self._look())
                if before is not None:
                    before.close()
            since_s = time.time()
            calls = self._found.channel.settle(begin)
            self._found.logged(since_s, calls)
            return calls

    def close(self) -> None:
        """Close the connection. The next call opens one again."""
        with self._turn:
            if self._found.opened is not None:
                self._found.opened.close()
