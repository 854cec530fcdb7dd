"""Messages for Python, awaited: see `holdfast.client.messenger` for the synchronous one, and docs/python.md.

What is sent is a draft on the disk first, and one draft after the other is sent, under its own name, until
the service has answered; what is received comes from one connection that watches, and is asked there for what
may have been missed. So neither is lost or doubled, whichever side dies. What was handed out counts as read, and the
servers are told so (`messenger_report`).
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import msgspec

from holdfast.apps.values import check_name
from holdfast.client.addresses import Addresses
from holdfast.client.asynchronous import AsyncChannel
from holdfast.client.errors import DeadlineExceeded, LoginRefused, Misuse
from holdfast.client.lines import Word
from holdfast.client.messenger_feed import Feed
from holdfast.client.messenger_folder import Folder, folder_of
from holdfast.client.messenger_questions import Questions
from holdfast.client.messenger_report import Reporter
from holdfast.client.messenger_types import (
    Draft,
    Kept,
    Message,
    News,
    Priority,
    Refused,
    Sent,
    check_message,
)
from holdfast.client.outcomes import Answer, Change
from holdfast.client.service import AsyncService
from holdfast.client.site import AsyncSite, Options

WAIT_S = 5.0
"""How long `send` waits for a server until it says that the message is kept."""
CUT_OFF_WAIT_S = 1.0
"""The same, once no server has answered for a while."""
ATTEMPT_S = 5.0
"""How long one attempt to send a draft may take, over all servers; the next one follows at once."""
LAST_WORD_S = 1.0
FIRM_S = 0.25
"""So long after a message came that was not firm, and twice as long each time after, it is asked whether it is now."""
OWN_REPORTS = ("got", "shown")
"""What became of what devices say to the servers is no news to their person; under `bayou` it is told too."""
QUIET_S = 20.0
"""A server that has said nothing for so long is asked whether it is still there, and whether anything was missed."""


class MessengerOptions(TypedDict, total=False):
    """What a messenger can be opened with; every one may be left out.

    `site`: a site's file, or its addresses. `service`: its name there. `device`: this device's name among the
    person's own, otherwise this machine's. `folder`: where it keeps drafts and its place in the inbox; one
    messenger at a time. `wait_s`: how long `send` waits for a server. `from_now`: a device that never was here before
    begins with what comes from now on, not with the whole inbox. `reads`: what it hands out counts as read (it does,
    unless this is False: for a program that hands messages on, and calls `seen`, `read` or `acknowledge` itself).
    `on_news` hears what else there is to tell.
    `timeout_s`, `deadline_s`, `at`, `guarantees`, `on_note`: as of a site.
    """

    site: str | os.PathLike[str] | Addresses | None
    service: str
    device: str
    folder: str | os.PathLike[str]
    wait_s: float
    from_now: bool
    reads: bool
    on_news: Callable[[News], object]
    timeout_s: float
    deadline_s: float
    at: str
    guarantees: Sequence[str]
    on_note: Callable[[str], None]


class AsyncMessenger(Questions):
    """A person's messages on one device, for one event loop. Close it, or use it with `async with`.

    Raises `FolderInUse`, and from its methods `Refused`, `LoginRefused` and `DeadlineExceeded`.
    """

    def __init__(
        self, person: str | None = None, token: str | None = None, **options: Unpack[MessengerOptions]
    ) -> None:
        """`person`, `token`: who (otherwise HOLDFAST_AS and HOLDFAST_TOKEN)."""
        unknown = set(options) - set(MessengerOptions.__annotations__)
        if unknown:
            raise Misuse(f"unknown option {min(unknown)!r}; known: {', '.join(MessengerOptions.__annotations__)}")
        self._site = _site(person, token, options)
        if not self._site.person:
            raise Misuse("whose messages? Say who asks: Messenger(ID, TOKEN), or HOLDFAST_AS")
        addresses = self._site.addresses
        self._name = options.get("service", "messages")
        self._service = self._site.service(self._name)
        self._tentative = addresses.is_local(self._name)
        self.device = options.get("device") or socket.gethostname()[:64]
        if why := check_name(self.device):
            raise Misuse(f"the name of a device {why}, and {self.device!r} is none")
        self._folder = Folder(
            Path(options.get("folder") or folder_of(self._site.person, self.device, self._name, addresses.name))
        )
        self._wait_s = options.get("wait_s", WAIT_S)
        self._from_now = options.get("from_now", False)
        self._on_news = options.get("on_news")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failure: Exception | None = None
        self._is_closed = False
        # sending
        self._keeping = asyncio.Lock()
        self._storing: dict[asyncio.Future[Any], None] = {}
        self._has_drafts = asyncio.Event()
        self._outcomes: dict[tuple[str, int], asyncio.Future[Sent | None]] = {}
        self._queue = deque(draft for draft in self._folder.drafts.values() if not draft.refused)
        self._tried = set(self._folder.drafts)
        self._is_cut_off = False
        self._why = "no server was asked yet"
        # receiving
        self._channel: AsyncChannel | None = None
        self._feed: Feed | None = None
        self._arrived = asyncio.Event()
        self._stirred = asyncio.Event()
        self._saying: dict[asyncio.Future[bool], None] = {}
        self._reporter = Reporter(
            self._folder, self._ask_on, self.device, reads=options.get("reads", True), tentative=self._tentative
        )

    @property
    def person(self) -> str:
        """Whose messages these are."""
        return self._site.person

    # -- sending

    async def send(self, to: str, text: str, subject: str = "", priority: Priority = "routine") -> Sent | Kept:
        """Send to a person or a group. `Kept`: no server answers; it is sent later, once, whatever happens."""
        check_message(to, text, subject, priority)
        self._check()
        storing = asyncio.ensure_future(self._store(to, text, subject, priority))
        self._storing[storing] = None
        storing.add_done_callback(lambda stored: self._storing.pop(stored, None))
        draft, outcome = await asyncio.shield(storing)
        try:
            async with asyncio.timeout(min(self._wait_s, CUT_OFF_WAIT_S) if self._is_cut_off else self._wait_s):
                sent = await asyncio.shield(outcome)
        except TimeoutError:
            sent = outcome.result() if outcome.done() else None
        finally:
            self._outcomes.pop((draft.client, draft.number), None)
        return sent or Kept(draft, self._why)

    async def _store(
        self, to: str, text: str, subject: str, priority: Priority
    ) -> tuple[Draft, asyncio.Future[Sent | None]]:
        """Keep a draft and have it sent, also if nobody waits for it any more: drafts are sent in the order of their
        numbers, without a gap that is filled later."""
        async with self._keeping:
            now_ms = time.time_ns() // 1_000_000
            draft = await asyncio.to_thread(self._folder.keep, to, text, subject, priority, now_ms)
            if self._failure is not None:  # it came while the draft was written, and nobody has sent it
                self._folder.drop(draft)
            self._begin("deliver", self._deliver)
            outcome = self._outcomes[draft.client, draft.number] = asyncio.get_running_loop().create_future()
            self._queue.append(draft)
            self._has_drafts.set()
            return draft, outcome

    @property
    def drafts(self) -> list[Draft]:
        """What waits to be sent, in that order, and what was refused after it had waited."""
        return list(self._folder.drafts.values())

    def discard(self, draft: Draft) -> None:
        """Do not send it. It may have been sent already, if a server was reached before."""
        self._folder.drop(draft)

    async def _deliver(self) -> None:
        while True:
            if not self._queue:
                self._has_drafts.clear()
                await self._has_drafts.wait()
                continue
            draft = self._queue[0]
            name = (draft.client, draft.number)
            if name not in self._folder.drafts:  # discarded
                self._queue.popleft()
                continue
            is_new = name not in self._tried
            options = {"subject": draft.subject} if draft.subject else {}
            options |= {"priority": draft.priority} if draft.priority != "routine" else {}
            try:
                self._tried.add(name)
                answer = await self._service.within(ATTEMPT_S).repeat(
                    *name, "send", draft.to, draft.text, options, lowest=draft.number, is_new=is_new
                )
            except LoginRefused:
                self._withdraw(draft if is_new else None)
                raise
            except DeadlineExceeded as error:
                if self._service.denied:
                    self._withdraw(None)
                    raise LoginRefused(self._service.denied) from error
                self._is_cut_off, self._why = True, str(error)
                continue
            self._is_cut_off = False
            self._queue.popleft()
            self._tried.discard(name)
            self._settle(draft, answer)

    def _withdraw(self, denied: Draft | None) -> None:
        """The login is refused: what nobody has tried to send, and somebody waits for, is given up."""
        for name in self._outcomes:
            draft = self._folder.drafts.get(name)
            if draft is not None and (draft == denied or name not in self._tried):
                self._folder.drop(draft)

    def _settle(self, draft: Draft, answer: Answer) -> None:
        outcome = self._outcomes.pop((draft.client, draft.number), None)
        is_awaited = outcome is not None and not outcome.done()
        if answer.ok or answer.type == "forgotten":  # forgotten is only what was executed: one is sent after the other
            reply = answer.reply if answer.ok else {}
            sent = Sent(
                draft.to, reply.get("id", ""), reply.get("conversation", ""), reply.get("number", 0), answer.firm
            )
            self._folder.drop(draft)
            if outcome is not None and is_awaited:
                outcome.set_result(sent)
            else:
                self._tell(News("sent", f"{sent} {draft.text}", msgspec.to_builtins(sent)))
        elif outcome is not None and is_awaited:
            self._folder.drop(draft)
            outcome.set_exception(Refused(answer))
        else:
            self._folder.refuse(draft, answer.text.removeprefix("Failed: "))
            self._tell(News("refused", answer.text, msgspec.to_builtins(draft)))

    # -- receiving

    async def receive(self, wait_s: float | None = None) -> Message | None:
        """The next new message, waiting for it so long (None: for ever), or None. With that, the one before counts as
        received: one whose reader dies before is given out again."""
        self._finish()
        self._begin("listen", self._listen)
        self._begin("report", self._reporter.run)
        try:
            async with asyncio.timeout(wait_s):
                while self._feed is None or not self._feed.has_some:
                    self._arrived.clear()
                    self._check()
                    await self._arrived.wait()
        except TimeoutError:
            return None
        self._stirred.set()
        message = self._feed.take()
        if message is not None:
            self._reporter.handed_out(message)
        return message

    async def report(self, wait_s: float | None = None) -> bool:
        """Tell the servers now what was handed out, not within half a second; False if none has taken it so soon: then
        it is kept on this device, and told later."""
        self._check()
        saying = asyncio.ensure_future(self._reporter.say_read())
        self._saying[saying] = None
        try:
            done, _ = await asyncio.wait([saying], timeout=wait_s)
            is_told = bool(done) and not saying.cancelled() and saying.result()
        finally:
            saying.cancel()
            del self._saying[saying]
        if not is_told and not self._is_closed:
            self._reporter.done()  # who has waited shows it now: that it is to be told must outlive this process
        return is_told

    async def __aiter__(self) -> AsyncIterator[Message]:
        """New messages as they come, each once, in the order of the inbox."""
        while (message := await self.receive()) is not None:
            yield message

    def give_back(self) -> None:
        """The message that was received last is still to be received."""
        if self._feed is not None:
            self._feed.give_back()
            self._reporter.given_back()

    def _finish(self) -> None:
        feed = self._feed
        if feed is None:
            return
        self._reporter.done()
        id = feed.finish()
        if id:
            self._folder.note(id)
        self._follow(feed)

    def _follow(self, feed: Feed) -> None:
        """Keep how far the reader has got, also where a message becomes firm after it was handed out and done with."""
        if feed.cursor != self._folder.cursor:
            self._folder.move(feed.cursor)
            self._reporter.moved()

    async def _listen(self) -> None:
        channel = self._channel = self._site.watching(self._name)
        service = AsyncService(self._name, channel, ATTEMPT_S)
        folder = self._folder
        if folder.cursor is None:
            folder.move(await self._first_cursor(service))
        assert folder.cursor is not None
        feed = self._feed = Feed(folder.cursor, folder.seen, tentative=self._tentative)
        self._reporter.told_cursor = folder.cursor
        self._begin("hear", lambda: self._hear(channel, feed))
        patience_s = FIRM_S
        while True:
            if feed.wants_page:
                after = feed.ask()
                reply = (await self._answer(service, "since", after)).reply
                messages = msgspec.convert(reply["items"], list[Message])
                feed.answered(after, messages, reply["last"], more=reply["more"])
                self._follow(feed)
                self._arrived.set()
                continue
            self._stirred.clear()
            try:
                async with asyncio.timeout(min(patience_s, QUIET_S) if feed.has_loose else QUIET_S):
                    await self._stirred.wait()
                patience_s = FIRM_S
            except TimeoutError:
                patience_s = min(2 * patience_s, QUIET_S)
                feed.doubt()

    async def _first_cursor(self, service: AsyncService) -> int:
        """Where a device begins that keeps nothing yet: where it has said that it was, or at the beginning."""
        if self._from_now:
            return await self._now(service)
        reply = (await self._answer(service, "devices")).reply
        return next((known["cursor"] for known in reply["devices"] if known["device"] == self.device), 0)

    async def _now(self, service: AsyncService) -> int:
        """The highest number of the inbox that is final. What is known beyond it is no news either, but only by its
        id: other messages may come before it yet."""
        if not self._tentative:
            return int((await self._answer(service, "devices")).reply["last"])
        final = int((await self._answer(service.view("committed"), "devices")).reply["last"])
        after, more = final, True
        while more:
            reply = (await self._answer(service, "since", after)).reply
            for item in reply["items"]:
                self._folder.note(item["id"])
                after = item["number"]
            more = reply["more"]
        return final

    async def _hear(self, channel: AsyncChannel, feed: Feed) -> None:
        async for change in channel.changes():
            if not change.id:
                feed.doubt()
            elif change.type == "arrived" and not change.reply["repeats"]:
                feed.heard(_message(change))
                self._follow(feed)
            elif change.type in OWN_REPORTS:
                continue
            else:
                self._tell(_news(change))
                continue
            self._arrived.set()
            self._stirred.set()

    # -- its life

    async def _ask_on(self, *words: Word) -> Answer:
        return await self._answer(self._service, *words)

    async def _answer(self, service: AsyncService, *words: Word) -> Answer:
        """An answer, however long it takes until a server gives one."""
        while True:
            try:
                answer = await service.call(*words)
            except DeadlineExceeded:
                if service.denied:
                    raise LoginRefused(service.denied) from None
                continue
            if not answer.ok:
                raise Refused(answer)
            return answer

    def _tell(self, news: News) -> None:
        if self._on_news is not None:
            self._on_news(news)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._is_closed:
            raise Misuse("this messenger is closed; open another one")

    def _begin(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._check()
        if name not in self._tasks:
            self._tasks[name] = asyncio.get_running_loop().create_task(work(), name=f"messenger {name}")
            self._tasks[name].add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """What ends by itself has failed: whoever waits hears of it."""
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._failure = self._failure or error
            self._arrived.set()
            for outcome in self._outcomes.values():
                if not outcome.done():
                    outcome.set_exception(error)

    async def close(self, *, handled: bool = True) -> None:
        """End; drafts stay on this device and are sent by its next messenger. `handled`: whether the message that
        was received last is done with."""
        if self._is_closed:
            return
        if handled:
            self._finish()
        await asyncio.gather(*self._storing, return_exceptions=True)
        self._is_closed = True
        self._arrived.set()
        for outcome in self._outcomes.values():
            if not outcome.done():
                outcome.set_result(None)
        for saying in self._saying:
            saying.cancel()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        try:
            if self._failure is None and (self._feed is not None or self._reporter.has_some):
                async with asyncio.timeout(LAST_WORD_S):
                    await self._reporter.say()
        except (TimeoutError, DeadlineExceeded, LoginRefused, Refused):
            self._reporter.moved()  # the next messenger of this device says it
        finally:
            if self._channel is not None:
                await self._channel.close()
            await self._site.close()
            self._folder.close()

    async def __aenter__(self) -> Self:
        if self._folder.drafts:
            self._has_drafts.set()
            self._begin("deliver", self._deliver)
        if self._reporter.has_some:
            self._reporter.moved()
            self._begin("report", self._reporter.run)
        if self._on_news is not None:
            self._begin("listen", self._listen)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.close(handled=kind is None)


def _site(person: str | None, token: str | None, options: MessengerOptions) -> AsyncSite:
    site = options.get("site")
    addresses = site if isinstance(site, Addresses) else Addresses.of_site(site)
    given: Any = {name: value for name, value in options.items() if name in Options.__annotations__}
    return AsyncSite.at(addresses, as_=person, token=token, **given)


def _message(change: Change) -> Message:
    message = msgspec.convert(change.reply, Message)
    return message if change.firm == "committed" else msgspec.structs.replace(message, firm=False)


def _news(change: Change) -> News:
    """Of what is told again without its text: that is handed out, or asked for with `read`, and then counts as read."""
    if change.type != "arrived":
        return News(change.type, change.text, change.reply)
    message = _message(change)
    about = f" ({message.subject})" if message.subject else ""
    text = f"{message.number} of {message.sender}{about} is told again, {message.repeats}: ack {message.number}"
    return News("arrived", text, {**change.reply, "content": ""})
