"""What a messenger tells the servers of its reader: how far this device has got, and which messages were handed out.

Both are told twice a second at most, not each message by itself, and delay nothing. A message that was handed out
counts as read. That this is still to be said lies in the folder from when the reader is done with the message until
a server has taken it; before that the message is handed out again if the process dies. So it is said in the end,
once or more often, which comes to the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from holdfast.apps.messages.words import SEEN_MAX
from holdfast.client.errors import DeadlineExceeded
from holdfast.client.messenger_folder import Folder
from holdfast.client.messenger_types import Message
from holdfast.client.outcomes import Answer

TOLD_S = 0.5
"""So long after something has happened the servers are told so, of all that has until then at once."""
AGAIN_S_MAX = 600.0
"""A message that the server which was told does not know yet is told of again, at last so seldom."""


class Reporter:
    """Of one messenger. `ask` sends a command, however long that takes. `reads`: what is handed out counts as read.
    `tentative`: another server may know a message earlier than the one that is told. `told_cursor`: up to where the
    servers know that this device has the inbox."""

    def __init__(
        self, folder: Folder, ask: Callable[..., Awaitable[Answer]], device: str, *, reads: bool, tentative: bool
    ) -> None:
        self.told_cursor = 0
        self._folder = folder
        self._ask = ask
        self._device = device
        self._reads = reads
        self._tentative = tentative
        self._in_hand: tuple[str, int] | None = None
        self._stirred = asyncio.Event()
        self._turn = asyncio.Lock()
        self._again_s: float | None = None

    # -- what has happened

    def handed_out(self, message: Message) -> None:
        """The reader has it from now on."""
        if self._reads and not (message.read_ms or message.is_deleted):
            self._in_hand = (message.id, message.number)
            self._stirred.set()

    def given_back(self) -> None:
        """The reader has not got it after all."""
        self._in_hand = None

    def done(self) -> None:
        """The reader is done with what was handed out last: from now on it is not handed out again."""
        if self._in_hand is not None:
            self._folder.hand(*self._in_hand)
            self._in_hand = None

    def moved(self) -> None:
        """This device has got further."""
        self._stirred.set()

    @property
    def has_some(self) -> bool:
        """Whether it is still to be said of a message that it was handed out."""
        return self._in_hand is not None or bool(self._folder.handed)

    # -- what is said

    async def run(self) -> None:
        """Say it, again and again."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._again_s):
                    await self._stirred.wait()
            await asyncio.sleep(TOLD_S)
            self._stirred.clear()
            try:
                await self.say()
            except DeadlineExceeded:
                self._stirred.set()

    async def say(self) -> None:
        """Say all of it, now."""
        cursor = self._folder.cursor or 0
        if cursor > self.told_cursor:
            await asyncio.to_thread(self._folder.sync)
            await self._ask("got", self._device, cursor)
            self.told_cursor = cursor
        await self.say_read()

    async def say_read(self) -> bool:
        """Say what was handed out, now; whether the server that was told knew all of it."""
        async with self._turn:
            due = list(self._folder.handed.items())
            due += [] if self._in_hand is None else [self._in_hand]
            is_known = True
            for first in range(0, len(due), SEEN_MAX):
                is_known &= await self._say_these(due[first : first + SEEN_MAX])
            self._again_s = None if is_known else min(2 * (self._again_s or TOLD_S), AGAIN_S_MAX)
            return is_known

    async def _say_these(self, due: list[tuple[str, int]]) -> bool:
        ids, numbers = zip(*due, strict=True)
        answer = await self._ask("seen", numbers, ids, {})
        missing = answer.reply["missing"] if self._tentative else ()  # elsewhere what is missing has gone by age
        said = [id for id, number in due if number not in missing]
        self._folder.said(said)
        if self._in_hand is not None and self._in_hand[0] in said:
            self._in_hand = None
        return not missing
