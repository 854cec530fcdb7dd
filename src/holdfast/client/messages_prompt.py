"""The messages on the command line: a prompt that shows what comes while one types, and `watch`.

At the prompt every message is numbered as in the inbox: `read 3`, `ack 3`, `reply 3 On my way.` Where a number may come
to be that of another message, its id goes with it, as it was shown. What is sent while no server answers is kept on
this machine and sent by itself. Before a text is shown that its reader has not read, a server is told that they have,
for the audit log; only while none answers that is kept on this machine, and told afterwards.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.client.errors import DeadlineExceeded, Misuse, NotExecuted
from holdfast.client.lines import split
from holdfast.client.outcomes import Answer, Change, one_line
from holdfast.client.speak import DONE, INTERRUPTED, RETRY_HINT, UNKNOWN, Speaker, say
from holdfast.client.wording import HINTS
from holdfast.kernel.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.client.lines import Word
    from holdfast.client.messenger import Messenger
    from holdfast.client.messenger_types import Message, News
    from holdfast.client.service import Service

PROMPTS_MAX = 9
"""Prompts of one person on one machine at a time, and as many that `watch`."""
UNREAD_SHOWN = 10
TOLD_WAIT_S = 1.0
"""So long a message waits to be shown until a server knows that it is read."""
BY_NUMBER = {"read": 2, "ack": 2, "delete": 3}
"""The words that go by a number, and how many words they are with it."""
TEXT_OPTIONS = {"send": ("subject", "priority"), "search": ("before",)}
TEXT_USAGES = {
    "send": "usage: send [--subject <subject>] [--priority urgent|emergency] <to> <text ...>",
    "search": "usage: search [--before <before>] <words ...>",
}
OWN_USAGES = {"reply": "reply <number> <text ...>", "drafts": "drafts", "discard": "discard <draft>"}


class MessagesSpeaker(Speaker):
    """As any service; at the prompt new messages appear by themselves, and what is sent is never lost."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._messenger: Messenger | None = None
        self._shown: dict[int, str] = {}
        """The id of what was shown last under a number of the inbox,"""
        self._placed: dict[tuple[str, int], str] = {}
        """and under one of a conversation."""
        self._messages: dict[str, Message] = {}
        """What was shown, with its text if that was, by id."""
        self._writing = threading.Lock()

    def close(self) -> None:
        """Also the device."""
        self._end()
        super().close()

    # -- one command

    def once(self, words: list[str], retry: str) -> int:
        """A message that no server has taken is kept as a draft, which the next prompt sends."""
        self._is_once = True
        if words[0] in OWN_USAGES:
            raise Misuse(f"{words[0]!r} is said at a prompt, which `holdfast {self.name}` alone opens")
        if words[0] in BY_NUMBER and not retry:
            self.show(lambda: self.service.call(*self._named(words)))
            return self.status
        if words[0] != "send" or retry or not self.site.person:
            return super().once(words, retry)
        (request,) = self.requests(words)
        kept: list[Answer] = []

        def ask() -> Answer:
            try:
                return self.service.call(*request)
            except NotExecuted as error:
                kept.append(self._kept(request, error))
                return kept[0]

        self.show(ask)
        return UNKNOWN if kept else self.status

    def _kept(self, request: Sequence[Word], error: NotExecuted) -> Answer:
        from holdfast.client.messenger_folder import Folder, FolderInUse, folder_of
        from holdfast.client.messenger_types import check_message

        _, to, text, options = request
        assert isinstance(options, dict), "with_text has made it"
        said = (str(to), str(text), options.get("subject", ""), options.get("priority", "routine"))
        check_message(*said)
        device = device_name("prompt", 1)
        try:
            folder = Folder(Path(folder_of(self.site.person, device, self.name, self.site.addresses.name)))
        except FolderInUse:
            raise NotExecuted(
                f"{error}; it is not kept either, as a prompt of yours is open on this machine: say it there, and it is"
            ) from error
        try:
            draft = folder.keep(*said, time.time_ns() // 1_000_000)
        finally:
            folder.close()
        program = f"holdfast {self.name}"
        why = f"Kept for {draft.to}, to be sent by `{program}`, a prompt, as soon as a server takes it: {error}"
        return Answer(False, why, "kept", {"to": draft.to, "content": draft.text, "device": device}, "unknown")

    def requests(self, words: list[str]) -> Sequence[Sequence[Word]]:
        """Text is all the rest of the words, with a blank between them."""
        return [with_text(words)]

    def _watch_on(self, words: Sequence[str]) -> int:
        """Tell each message as it comes, and what becomes of those one has sent, until Ctrl-C."""
        if words not in ([], ["mine"]):
            raise Misuse("usage: watch; of messages everybody watches their own")
        if not self.site.person:
            raise Misuse(f"nobody asks yet: {HINTS['login']}")
        messenger = self._open_first("watch", self._tell_on)
        try:
            for message in messenger:
                messenger.report(TOLD_WAIT_S)
                self._tell_change(_arrived(message, messenger.person))
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            messenger.close()
        return DONE

    def _tell_on(self, news: News) -> None:
        id = str(news.reply.get("id", ""))
        person = self.site.person
        self._tell_change(Change(id, person, "committed", news.text, True, news.type, dict(news.reply)))

    def _tell_change(self, change: Change) -> None:
        print(msgspec.json.encode(change).decode() if self.as_json else change, flush=True)

    # -- the prompt

    def prompt(self) -> int:
        """What comes meanwhile is written above the line that is being typed."""
        from prompt_toolkit.patch_stdout import patch_stdout

        with patch_stdout():
            return super().prompt()

    def greet(self) -> None:
        """What is unread; from then on new messages appear by themselves."""
        if not self.site.person:
            print("Nobody asks yet: say `login ID TOKEN`, or give --as and a token.")
            return
        print("New messages appear by themselves. `read 3`, `ack 3`, `reply 3 On my way.` go by their numbers; `help`")
        print("lists all there is to say, Tab completes, Ctrl-D or `quit` ends.")
        self._begin()
        service = self.site.but(deadline_s=1.0).service(self.name)
        try:
            answer = service.call("inbox")
            if not answer.ok:
                say(answer.text)
                return
            print(f"{answer.reply['unread']} unread.")
            new = [item for item in answer.reply["items"] if item["withheld"]][:UNREAD_SHOWN]
            for item in reversed(new):
                self._write_new(_message(service.call("read", item["number"], item["id"]).reply))
        except HoldfastError as error:
            say(f"The inbox is not shown: {error}")

    def _begin(self) -> None:
        """Listen as a device of this machine; a second prompt is another device."""
        from holdfast.client.messenger_folder import FolderInUse

        try:
            self._messenger = self._open_first("prompt", self._show_news)
        except FolderInUse as error:
            say(f"{error}: new messages are not shown here.")
            return
        threading.Thread(target=self._receive, args=(self._messenger,), name="messages", daemon=True).start()

    def _open_first(self, kind: str, on_news: Callable[[News], object]) -> Messenger:
        """As the first device of this machine that nobody is at. What is still to be said lies in its folder; but a
        `watch` tells what comes from now on, wherever the one before has stopped. Raises `FolderInUse`."""
        from holdfast.client.messenger import Messenger
        from holdfast.client.messenger_folder import Folder, FolderInUse, folder_of

        site = self.site
        for number in range(1, PROMPTS_MAX + 1):
            device = device_name(kind, number)
            given: Any = {"site": site.addresses, "service": self.name, "device": device, "at": site.node}
            try:
                if kind == "watch":
                    folder = Folder(folder_of(site.person, device, self.name, site.addresses.name))
                    folder.leave_place()
                    folder.close()
                return Messenger(site.person, site.token, **given, from_now=True, on_news=on_news)
            except FolderInUse:
                continue
        raise FolderInUse(f"{kind} is in use {PROMPTS_MAX} times already on this machine")

    def _end(self) -> None:
        messenger, self._messenger = self._messenger, None
        if messenger is not None:
            waiting = [draft for draft in messenger.drafts if not draft.refused]
            messenger.close()
            if waiting:
                say(f"{len(waiting)} not sent yet; they are, when this prompt is opened again.")

    def _receive(self, messenger: Messenger) -> None:
        try:
            for message in messenger:
                messenger.report(TOLD_WAIT_S)
                self._write_new(message, "* ")
        except HoldfastError as error:
            if messenger is self._messenger:
                say(f"New messages are not shown any more: {error}")

    def _show_news(self, news: News) -> None:
        known = self._messages.get(str(news.reply.get("id", "")))
        has_text = known is not None and not known.withheld
        if news.type == "arrived":
            number = news.reply["number"]
            assert isinstance(number, int), "of the inbox"
            self._shown[number] = str(news.reply["id"])
            text = known if has_text else f"`read {number}`"
            print(f"* {number} still waits to be acknowledged, `ack {number}`: {text}", flush=True)
        elif not (news.type == "opened" and has_text):
            print(f"* {one_line(news.text)}", flush=True)

    def _write_new(self, message: Message, mark: str = "") -> None:
        """Unless it was shown already, perhaps under another number."""
        with self._writing:
            known = self._messages.get(message.id)
            if known is None or known.withheld or message.id not in self._shown.copy().values():
                self._write_message(message, mark)

    def _write_message(self, message: Message, mark: str = "") -> None:
        self._note(message)
        where = f" in {message.conversation}" if message.conversation.startswith("#") else ""
        print(f"{mark}{message.number}{where} {message}", flush=True)

    def before_prompt(self) -> bool:
        """New messages need no prompt to appear."""
        return False

    def login(self, arguments: list[str]) -> bool:
        """Also listen as the other person."""
        is_logged_in = super().login(arguments)
        if is_logged_in and self._at_prompt:
            self._end()
            for shown in (self._shown, self._placed, self._messages):
                shown.clear()
            self.greet()
        return is_logged_in

    def typed(self, line: str) -> bool:
        """Also the prompt's own words; what is sent here may wait for a server."""
        word, *rest = line.split(maxsplit=1)
        messenger = self._messenger
        if word in BY_NUMBER:
            return self.show(lambda: self._named_line(line), hint=RETRY_HINT)
        if word in OWN_USAGES and not self._at_prompt:
            say(f"Failed: {word!r} is said at a prompt, which `holdfast {self.name}` on a terminal opens.")
            return False
        if messenger is None or word not in ("send", *OWN_USAGES):
            return super().typed(line)
        try:
            if word == "send":
                return self._send(messenger, line)
            if word == "reply":
                return self._reply(messenger, "".join(rest))
            return self._drafts(messenger, word, "".join(rest))
        except HoldfastError as error:
            self._write_failure(error, "refused", "")
            return False

    def _send(self, messenger: Messenger, line: str) -> bool:
        from holdfast.apps.messages.words import Send
        from holdfast.kernel.contracts import Request
        from holdfast.kernel.replies import Malformed
        from holdfast.server.grammar import Grammar

        made = Grammar((Send,)).parse(line.encode("utf-8", "replace"))
        if isinstance(made, Malformed):
            say(made.text())
            return False
        assert isinstance(made, Request), "of one command a line makes it, or is refused"
        send: Send = made.command
        print(messenger.send(send.to, send.text, send.subject, send.priority))
        return True

    def _reply(self, messenger: Messenger, rest: str) -> bool:
        number, _, text = rest.partition(" ")
        if not number.isdecimal() or not text.strip():
            raise Misuse(f"usage: {OWN_USAGES['reply']}")
        shown = self._messages.get(self._shown.get(int(number), ""))
        message = shown or self._head(int(number)) or messenger.read(int(number))
        to = message.conversation if message.conversation.startswith("#") else message.sender
        print(messenger.send(to, text.strip(), message.subject))
        return True

    def _drafts(self, messenger: Messenger, word: str, rest: str) -> bool:
        drafts = messenger.drafts
        if word == "drafts":
            for number, draft in enumerate(drafts, 1):
                why = f" (refused: {one_line(draft.refused)})" if draft.refused else ""
                print(f"{number} to {draft.to}: {one_line(draft.text)}{why}")
            print(f"{len(drafts) or 'No'} drafts." if len(drafts) != 1 else "1 draft.")
            return True
        if not rest.isdecimal() or not 1 <= int(rest) <= len(drafts):
            raise Misuse(f"usage: {OWN_USAGES['discard']}, with a number that `drafts` shows")
        messenger.discard(drafts[int(rest) - 1])
        print("Discarded.")
        return True

    # -- numbers and ids

    def _named_line(self, line: str) -> Answer:
        words = split(line)
        named = self._named(words)
        return self.service.line(line) if named == words else self.service.call(*named)

    def _named(self, words: list[str]) -> list[str]:
        """`read 3`, `ack 3`, `delete bob 3`: where a number may come to be another message's, also with the id of what
        was shown here under it, or else of what stands there now."""
        *_, last = words
        is_number = last.isascii() and last.isdecimal() and len(last) < 20 and len(words) == BY_NUMBER[words[0]]
        if not is_number or not self.site.addresses.is_local(self.name):
            return words
        number = int(last)
        if words[0] == "delete":
            id = self._id_in(words[1], number)
        else:
            head = None if number in self._shown else self._head(number)
            id = self._shown.get(number) or (head.id if head else "")
        return [*words, id] if id else words

    def _head(self, number: int) -> Message | None:
        """What stands in the inbox under that number now; of what is not read without its text."""
        answer = self.ask(lambda service: service.call("inbox", number + 1))
        items = answer.reply["items"] if answer.ok else ()
        return next((_message(item) for item in items if item["number"] == number), None)

    def _id_in(self, conversation: str, number: int) -> str:
        answer = self.ask(lambda service: service.call("history", conversation, number + 1))
        if not answer.ok:
            return ""
        ids = {item["message"]: str(item["id"]) for item in answer.reply["messages"]}
        return self._placed.get((answer.reply["conversation"], number)) or ids.get(number, "")

    def _note(self, message: Message, *, is_numbered: bool = True) -> None:
        """It is shown, with its number in the inbox or without."""
        if is_numbered:
            self._shown[message.number] = message.id
        if not message.withheld or message.id not in self._messages:
            self._messages[message.id] = message

    def _noted(self, answer: Answer) -> Answer:
        reply = answer.reply
        if answer.type in ("inbox", "since"):
            for item in reply["items"]:
                self._note(_message(item))
        elif answer.type in ("history", "found"):
            for item in reply["messages"]:
                self._note(_message(item), is_numbered=item["withheld"])
                self._placed[item["conversation"], item["message"]] = item["id"]
        elif answer.type == "opened":
            self._note(_message(reply))
        elif answer.type == "sent":
            self._placed[reply["conversation"], reply["number"]] = reply["id"]
        return answer

    # -- answers

    def show(self, ask: Callable[[], Answer], *, hint: str = "", silent: bool = False) -> bool:
        """Of a conversation, and of what came after a number, a person wants the texts: they are said to be seen."""
        return super().show(lambda: self._noted(self._with_texts(ask(), ask)), hint=hint, silent=silent)

    def _with_texts(self, answer: Answer, ask: Callable[[], Answer]) -> Answer:
        if not answer.ok or answer.type not in ("history", "since"):
            return answer
        said = answer.reply["messages" if answer.type == "history" else "items"]
        new = [item for item in said if item["withheld"] or not (item.get("read_ms", 1) or item["deleted_ms"])]
        if not new:
            return answer
        if answer.type == "history" and answer.firm == "committed" and self.site.addresses.is_local(self.name):
            say("What is not read is shown without its text in the committed view: `read` it, or ask in the full view.")
            return answer
        try:
            _say_seen(self.service, new)
            return ask() if answer.type == "history" else answer
        except DeadlineExceeded as error:
            if answer.type == "since":
                raise
            say(f"What is not read yet is shown without its text: {error}")
            return answer

    def usages(self, help_text: str) -> list[str]:
        """Also the prompt's own words."""
        said = super().usages(help_text)
        hidden = ("got", "seen", "since", "watch", "notices")
        return [usage for usage in said if usage.split()[0] not in hidden] + (
            list(OWN_USAGES.values()) if self._messenger is not None else ["watch"]
        )

    def draw(self, answer: Answer) -> bool:
        """Messages are shown one a line."""
        reply = answer.reply
        if answer.type in ("inbox", "since"):
            if answer.type == "inbox":
                print(f"{reply['unread']} unread.")
            for item in reversed(reply["items"]):
                self._write_message(_message(item))
        elif answer.type in ("history", "found"):
            for item in reply["messages"]:
                where = f"{item['conversation']} " if answer.type == "found" else ""
                print(f"{where}{item['message']} {_message(item)}")
        elif answer.type == "opened":
            message = _message(reply)
            print(f"{message.number} {msgspec.structs.replace(message, text='')}")
            print("\n".join(f"  {one_line(line)}" for line in message.text.splitlines()))
        else:
            return False
        if reply.get("more_before"):
            print(f"More: {answer.text.rpartition('More: ')[2]}")
        sys.stdout.flush()
        return True


def device_name(kind: str, number: int) -> str:
    """The name of this machine's prompt or watch of that number, from 1, among a person's devices."""
    return f"{socket.gethostname()[:50]} {kind} {number}"


def _say_seen(service: Service, items: Sequence[dict[str, Any]]) -> None:
    """Tell a server that these were shown. Raises `DeadlineExceeded` if it may not know, and `HoldfastError`."""
    answer = service.call("seen", [item["number"] for item in items], [item["id"] for item in items], {})
    if not answer.ok:
        raise HoldfastError(answer.text)


def _message(fields: dict[str, Any]) -> Message:
    from holdfast.client.messenger_types import Message

    return msgspec.convert(fields, Message)


def _arrived(message: Message, person: str) -> Change:
    """A message as `watch` tells it."""
    from holdfast.apps.messages.replies import Arrived

    arrived = Arrived(
        *(message.number, message.id, message.conversation, message.place, message.sender, message.subject),
        *(message.priority, message.text, message.sent_ms, message.repeats),
    )
    fields = {name: getattr(arrived, name) for name in arrived.__struct_fields__}
    firm = "committed" if message.firm else "tentative"
    return Change(message.id, person, firm, arrived.text(), True, "arrived", fields)


def with_text(words: list[str]) -> list[Word]:
    """The words of `send` and `search` with their text in one and their options behind it, wherever they stood; any
    others as they are. Raises `Misuse`."""
    word, *rest = words
    if word not in TEXT_OPTIONS or not rest:
        return [*words]
    options: dict[str, str] = {}
    plain: list[str] = []
    while rest:
        name, *rest = rest
        if name.removeprefix("--") not in TEXT_OPTIONS[word] or not name.startswith("--"):
            plain.append(name)
            continue
        if not rest or name[2:] in options:
            raise Misuse(f"{name} is given twice, or without a value; {TEXT_USAGES[word]}")
        options[name[2:]], *rest = rest
    heads = 2 if word == "send" else 1
    if len(plain) < heads or plain[0].startswith("--"):
        raise Misuse(TEXT_USAGES[word])
    return [word, *plain[: heads - 1], " ".join(plain[heads - 1 :]), dict(options)]
