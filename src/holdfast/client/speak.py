"""Speaking to a service from a terminal or a script: one command, a prompt, or lines from a pipe.

What an app adds of its own (tables, a form) is a `Speaker` of its own: see `client.rooms`.
Exit status: 0 done, 1 refused, 2 unknown or not taken by any server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast.client.addresses import Addresses
from holdfast.client.errors import DeadlineExceeded, LoginRefused, Misuse, NotExecuted, OutcomeUnknown
from holdfast.client.lines import split
from holdfast.client.outcomes import Answer
from holdfast.client.service import checked_view
from holdfast.client.site import Options, Site
from holdfast.client.wording import HINTS, failed, in_options, in_words_of, questions_of
from holdfast.kernel.errors import HoldfastError
from holdfast.private import make_file, make_folder, tighten

if TYPE_CHECKING:
    from holdfast.client.lines import Word
    from holdfast.client.outcomes import Change
    from holdfast.client.service import Service, Watch

DONE, REFUSED, UNKNOWN, INTERRUPTED = 0, 1, 2, 130
RETRY_HINT = "a line with the word retry asks again"
HELP_DEADLINE_S = 1.0
"""The prompt comes up without completion when nobody tells the commands so soon."""
NEWS_WAIT_S = 0.3
"""The prompt waits so long for a tentative outcome to become firm, as it does while all are connected."""
QUESTION_WAIT_S = 7.0
"""A question holds the prompt no longer: time to leave a server that hangs for another one."""
HELP_REMARK = ". A line may begin with @client:number to make a retry exact."
TO_ONE_NODE = ("take-over", "truncate", "retire")
"""Words that are about the very replica that hears them."""


class Speaker:
    """Asks one service and shows what it answers."""

    def __init__(self, site: Site, name: str, *, as_json: bool) -> None:
        self.site = site
        self.name = name
        self.status = DONE
        self.as_json = as_json
        self._view = ""
        self._one_line_each = False
        self._is_once = False
        self._at_prompt = False
        self._questions: frozenset[str] | None = None
        self._unknown: OutcomeUnknown | None = None
        self._words: list[str] = []
        self._help = ""
        """What the service has said to `help`, as the prompt came up."""
        self._watch: Watch | None = None
        self._awaits_news = False

    @property
    def service(self) -> Service:
        """The service, as who asks now sees it."""
        service = self.site.service(self.name)
        return service.view(self._view) if self._view else service

    def ask(self, question: Callable[[Service], Answer]) -> Answer:
        """Ask; who sits at a prompt does not wait for long. Raises what the service does."""
        if not self._at_prompt:
            return question(self.service)
        try:
            return question(self.service.within(QUESTION_WAIT_S))
        except DeadlineExceeded as error:
            last = str(error).rpartition("Last heard: ")[2]
            raise NotExecuted(f"nobody has answered so far; ask again. Last heard: {last}") from error

    def is_question(self, word: str) -> bool:
        """Whether it only asks."""
        if self._questions is None:
            self._questions = questions_of(self.site.addresses.app(self.name))
        return word in self._questions

    def close(self) -> None:
        """Close every connection."""
        self._watch_no_more()
        self.site.close()

    # -- one command

    def once(self, words: list[str], retry: str) -> int:
        """Send one command given as words; the exit status."""
        self._is_once = True
        if words[0] in HINTS:
            raise Misuse(f"{words[0]!r} is no command of its own: {HINTS[words[0]]}")
        if words[0] == "watch":
            return self._watch_on(words[1:])
        if retry:
            client, number = request_name(retry)
            request, *others = self.requests(words)
            again = words if others else request
            self.show(lambda: self.service.repeat(client, number, *again), hint=f"--retry {retry}")
            return self.status
        self._find_node(words)
        for request in self.requests(words):
            self.show(partial(self.service.call, *request))
        return self.status

    def requests(self, words: list[str]) -> Sequence[Sequence[Word]]:
        """What to send for these words: an app's own speaker may make several requests of them."""
        return [words]

    def _find_node(self, words: Sequence[str]) -> None:
        """Words about one replica go to no other: to the primary to hand over, else where `--at` says."""
        if not self.site.addresses.is_local(self.name) or self.site.node:
            return
        if words[0] in TO_ONE_NODE and not (words[0] == "retire" and any(words[1:])):
            raise Misuse(f"{words[0]!r} is about the node that hears it; choose which with --at NODE")
        if words[0] == "hand-over":
            answer = self.service.call("replicas")
            if answer.ok and answer.reply.get("primary"):
                before, self.site = self.site, self.site.but(at=answer.reply["primary"])
                before.close()

    def _watch_on(self, words: Sequence[str]) -> int:
        """Tell every change, until Ctrl-C."""
        if len(words) > 1 or not {*words} <= {"mine", "all"}:
            raise Misuse("usage: watch [mine|all]")
        try:
            with self.site.service(self.name).watch("".join(words)) as changes:
                for change in changes:
                    print(msgspec.json.encode(change).decode() if self.as_json else change, flush=True)
        except KeyboardInterrupt:
            return INTERRUPTED
        return DONE

    # -- many lines

    def script(self, lines: Iterable[str]) -> int:
        """Send each line, one after the other, and print its reply in one line; the worst exit status."""
        self._one_line_each = True
        for line in lines:
            if line.strip() == "quit":
                break
            if line.strip() and not self.typed(line):
                self.status = max(self.status, REFUSED)
        return self.status

    def prompt(self) -> int:
        """Read lines from a person until `quit` or the end of input."""
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import FileHistory

        class History(FileHistory):
            def store_string(self, string: str) -> None:
                if not string.lstrip().startswith("login"):  # a token is nothing to keep
                    super().store_string(string)

        self._at_prompt = True
        self._learn_words()
        history = History(str(history_file(self.name)))
        session: PromptSession[str] = PromptSession(
            history=history, completer=WordCompleter(lambda: self._words, sentence=True)
        )
        self.greet()
        while True:
            self.before_prompt()
            try:
                line = session.prompt(f"{self.name}> ")
            except KeyboardInterrupt:
                continue  # Ctrl-C at the prompt drops the line being typed
            except EOFError:
                return DONE
            if line.strip() in ("quit", "exit"):
                return DONE
            if line.strip() and self._interruptible(line) and not self._words:
                self._learn_words()

    def greet(self) -> None:
        """What a person sees first."""
        print(f"{self.name}: type a command, `help` lists them, Tab completes, Ctrl-D or `quit` ends.")

    def before_prompt(self) -> bool:
        """What a person sees before each prompt: what has changed since the last. Whether anything has."""
        if not self.site.addresses.is_local(self.name):
            return False
        try:
            changes = self._news()
        except HoldfastError as error:
            say(f"Changes are not shown. {failed(error)}")
            return False
        for change in changes:
            print(f"* {change}", flush=True)
        return bool(changes)

    def _news(self) -> list[Change]:
        if self._watch is None:
            with self.site.but(deadline_s=HELP_DEADLINE_S) as site:
                self._watch = site.service(self.name).watch()
        wait_s, self._awaits_news = (NEWS_WAIT_S if self._awaits_news else 0.0), False
        return self._watch.arrived(wait_s)

    def _watch_no_more(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _interruptible(self, line: str) -> bool:
        try:
            return self.typed(line)
        except KeyboardInterrupt:
            say("Stopped waiting: it may or may not be done. Ask the service before you send it again.")
            return False

    def _learn_words(self) -> None:
        """Ask for the commands to complete; without an answer at once, there are none for now."""
        try:
            with self.site.but(deadline_s=HELP_DEADLINE_S) as site:
                answer = site.service(self.name).call("help")
        except HoldfastError as error:
            say(failed(error))
        else:
            self._help = answer.text
            self._words = [*(usage.split()[0] for usage in usages(answer.text)), "login", "view", "retry"]

    def typed(self, line: str) -> bool:
        """Do what a line says; whether it went well."""
        word, *arguments = line.split()
        if word == "retry" and not arguments:
            return self._retry()
        if word == "login":
            return self.login(arguments)
        if word == "view":
            return self._choose_view(arguments)
        if word in ("export", "import") and (arguments or self.site.addresses.is_local(self.name)):
            return self._carry(line)
        if word in HINTS or word == "watch":
            say(f"Failed: {HINTS.get(word, 'as a command of its own: holdfast SERVICE watch')}.")
            return False
        if self._at_prompt and self.is_question(word):
            return self.show(lambda: self.ask(lambda service: service.line(line)))
        return self.show(lambda: self.service.line(line), hint=RETRY_HINT)

    def _carry(self, line: str) -> bool:
        from holdfast.client.files import carried

        return self.show(lambda: carried(self.site, self.name, split(line)))

    def _retry(self) -> bool:
        if self._unknown is None:
            say("There is nothing to retry: the outcome of every command is known.")
            return False
        unknown, self._unknown = self._unknown, None
        return self.show(unknown.retry, hint=RETRY_HINT)

    def login(self, arguments: list[str]) -> bool:
        """Ask as another person from now on; whether that is possible."""
        if not 1 <= len(arguments) <= 2:
            say("Failed: usage: login <id> [<token>]")
            return False
        before, self.site = self.site, self.site.but(as_=arguments[0], token="".join(arguments[1:]))
        if not self.show(lambda: self.service.call("help"), silent=True):
            self.site.close()
            self.site = before
            return False
        self._watch_no_more()
        before.close()
        say(f"From now on {arguments[0]} asks.")
        return True

    def _choose_view(self, arguments: list[str]) -> bool:
        try:
            self._view = checked_view(" ".join(arguments))
        except Misuse as error:
            say(failed(error))
            return False
        say(f"Questions see the {self._view} view now.")
        return True

    # -- answers

    def show(self, ask: Callable[[], Answer], *, hint: str = "", silent: bool = False) -> bool:
        """Ask, and write the answer or why there is none; whether it is a good one."""
        try:
            answer = ask()
        except OutcomeUnknown as error:
            self._unknown = error
            self.status = UNKNOWN
            who = f"--as {self.site.person} " if self.site.person else ""
            self._write_failure(error, "unknown", hint or f"learn it with {who}--retry {error.client}:{error.number}")
        except DeadlineExceeded as error:
            self.status = UNKNOWN
            self._write_failure(error, "unavailable", "")
        except HoldfastError as error:
            self.status = max(self.status, REFUSED)
            self._write_failure(error, "malformed" if isinstance(error, Misuse) else "forbidden", "")
        else:
            self.status = max(self.status, DONE if answer.ok else REFUSED)
            self._awaits_news = self._awaits_news or (bool(answer.write) and answer.firm == "tentative")
            if not silent or not answer.ok:
                self._write(in_words_of(answer, self._known_here))
            return answer.ok
        return False

    def _known_here(self, words: Sequence[str]) -> list[str]:
        """Those of a service's words that can be said here, and others that can."""
        found = [usage.split()[0] for usage in self.usages("; ".join(words))]
        own = () if self._is_once else ("login", "view", "retry")
        return [*dict.fromkeys(word for word in (*found, *own) if word[0] != "<")]

    def _write(self, answer: Answer) -> None:
        if self._is_once and not answer.ok:
            answer = msgspec.structs.replace(answer, text=in_options(answer.text))
        if self.as_json:
            print(answer.as_json(), flush=True)
        elif self._one_line_each:
            print(answer, flush=True)
        elif answer.type == "helped" and answer.text.endswith(HELP_REMARK):
            print("\n".join(f"  {usage}" for usage in self.usages(answer.text)), flush=True)
        elif not (answer.ok and sys.stdout.isatty() and self.draw(answer)):
            print(answer, flush=True)

    def draw(self, answer: Answer) -> bool:
        """Show an answer to a person as something better than its line; False where there is no such thing."""
        return False

    def usages(self, help_text: str) -> list[str]:
        """What can be said here: the words of the service, as far as they are not this command line's own."""
        own = self._own_usages()
        said = [usage for usage in usages(help_text) if usage.split()[0] not in (*HINTS, *own)]
        return [*said, *own.values()]

    def _own_usages(self) -> dict[str, str]:
        """What can be said here besides the words of the service, or instead, by its first word."""
        if not self.site.addresses.is_local(self.name):
            return {}
        told = ("export <file> [--split <size>]", "import <file>...", "watch [mine|all]")
        return {usage.split()[0]: usage for usage in told}

    def _write_failure(self, error: HoldfastError, type: str, hint: str) -> None:
        why = in_options(str(error)) if self._is_once and isinstance(error, LoginRefused) else str(error)
        text = f"Failed: {why.removeprefix('Failed: ')}" + (f" ({hint})" if hint else "")
        if not self.as_json:
            print(text, flush=True)
            return
        request = {"client": error.client, "number": error.number} if isinstance(error, OutcomeUnknown) else {}
        fields = {"ok": False, "text": text, "type": type, "reply": request, "firm": "unknown"}
        print(msgspec.json.encode(fields).decode(), flush=True)


def speak(
    name: str,
    words: list[str],
    *,
    site: str = "",
    servers: str = "",
    as_json: bool = False,
    retry: str = "",
    options: Options | None = None,
) -> int:
    """The command `holdfast SERVICE`; its exit status."""
    addresses = Addresses.of_servers(servers) if servers else Addresses.of_site(site)
    addresses.servers(name)  # a mistyped name is told before anything is asked
    given: Options = {"on_note": say}
    given.update(options or {})
    speaker = speaker_of(addresses.app(name))(Site.at(addresses, **given), name, as_json=as_json)
    try:
        if words[:1] in (["export"], ["import"]) and (len(words) > 1 or addresses.is_local(name)):
            from holdfast.client.files import carry

            return carry(speaker.site, name, words, as_json=as_json)
        if words:
            return speaker.once(words, retry)
        if retry:
            raise Misuse(f"--retry {retry}: give the command too, exactly as it was sent")
        return speaker.prompt() if sys.stdin.isatty() else speaker.script(sys.stdin)
    finally:
        speaker.close()


def speaker_of(app: str) -> type[Speaker]:
    """How this command line speaks with the services of an app."""
    if app == "rooms":
        from holdfast.client.rooms import RoomsSpeaker

        return RoomsSpeaker
    if app == "events":
        from holdfast.client.events_prompt import EventsSpeaker

        return EventsSpeaker
    if app == "messages":
        from holdfast.client.messages_prompt import MessagesSpeaker

        return MessagesSpeaker
    return Speaker


def usages(help_text: str) -> list[str]:
    """The commands' usages in the one line of `help`, without the remark at its end."""
    return help_text.removesuffix(HELP_REMARK).split("; ")


def request_name(text: str) -> tuple[str, int]:
    """(client, number) of `CLIENT:NUMBER`."""
    client, _, number = text.removeprefix("@").rpartition(":")
    if not client or not number.isdecimal() or int(number) < 1:
        raise Misuse(f"--retry {text}: give it as it was printed, CLIENT:NUMBER")
    return client, int(number)


def history_file(service: str) -> Path:
    """Where the prompt keeps what was typed, by service: a file of its owner's alone."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(state) / "holdfast"
    make_folder(folder)
    tighten(folder)
    file = folder / f"{service}.history"
    make_file(file)
    return file


def say(text: str) -> None:
    """One line for the person, beside the answers."""
    print(text, file=sys.stderr, flush=True)
