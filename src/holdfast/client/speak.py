"""Speaking to a service from a terminal or a script: one command, a prompt, or lines from a pipe.

Exit status: 0 done, 1 refused, 2 unknown or not taken by any server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast.client.addresses import Addresses
from holdfast.client.errors import DeadlineExceeded, Misuse, OutcomeUnknown
from holdfast.client.outcomes import Answer
from holdfast.client.site import Options, Site
from holdfast.kernel.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.client.service import Service

DONE, REFUSED, UNKNOWN = 0, 1, 2
RETRY_HINT = "a line with the word retry asks again"
HELP_DEADLINE_S = 1.0
"""The prompt comes up without completion when nobody tells the commands so soon."""


class Speaker:
    """Asks one service and shows what it answers."""

    def __init__(self, site: Site, name: str, *, as_json: bool) -> None:
        self.site = site
        self.name = name
        self.status = DONE
        self._as_json = as_json
        self._unknown: OutcomeUnknown | None = None
        self._words: list[str] = []

    @property
    def service(self) -> Service:
        return self.site.service(self.name)

    def once(self, words: list[str], retry: str) -> int:
        """Send one command given as words; the exit status."""
        if retry:
            client, number = request_name(retry)
            self._show(lambda: self.service.repeat(client, number, *words), hint=f"--retry {retry}")
        else:
            self._show(lambda: self.service.call(*words))
        return self.status

    def script(self, lines: Iterable[str]) -> int:
        """Send each line, one after the other, and print its reply; the worst exit status."""
        for line in lines:
            if line.strip() == "quit":
                break
            if line.strip():
                self._typed(line)
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

        self._learn_words()
        history = History(str(history_file(self.name)))
        session: PromptSession[str] = PromptSession(
            history=history, completer=WordCompleter(lambda: self._words, sentence=True)
        )
        print(f"{self.name}: type a command, `help` lists them, Tab completes, Ctrl-D or `quit` ends.")
        while True:
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

    def _interruptible(self, line: str) -> bool:
        try:
            return self._typed(line)
        except KeyboardInterrupt:
            say("Stopped waiting: it may or may not be done. Ask the service before you send it again.")
            return False

    def _learn_words(self) -> None:
        """Ask for the commands to complete; without an answer at once, there are none for now."""
        try:
            with self.site.but(deadline_s=HELP_DEADLINE_S) as site:
                answer = site.service(self.name).call("help")
        except HoldfastError as error:
            say(f"Failed: {error}")
        else:
            self._words = [*(usage.split()[0] for usage in usages(answer.text)), "login", "retry"]

    def _typed(self, line: str) -> bool:
        """Do what a line says; whether it went well."""
        word, *arguments = line.split()
        if word == "retry" and not arguments:
            return self._retry()
        elif word == "login":
            return self._login(arguments)
        else:
            return self._show(lambda: self.service.line(line), hint=RETRY_HINT)

    def _retry(self) -> bool:
        if self._unknown is None:
            say("There is nothing to retry: the outcome of every command is known.")
            return False
        unknown, self._unknown = self._unknown, None
        return self._show(unknown.retry, hint=RETRY_HINT)

    def _login(self, arguments: list[str]) -> bool:
        if not 1 <= len(arguments) <= 2:
            say("Failed: usage: login <id> [<token>]")
            return False
        before, self.site = self.site, self.site.but(as_=arguments[0], token="".join(arguments[1:]))
        if not self._show(lambda: self.service.call("help"), silent=True):
            self.site.close()
            self.site = before
            return False
        before.close()
        say(f"From now on {arguments[0]} asks.")
        return True

    def _show(self, ask: Callable[[], Answer], *, hint: str = "", silent: bool = False) -> bool:
        """Ask, and write the answer or why there is none; whether it is a good one."""
        try:
            answer = ask()
        except OutcomeUnknown as error:
            self._unknown = error
            self.status = UNKNOWN
            self._write_failure(error, "unknown", hint or f"learn it with --retry {error.client}:{error.number}")
        except DeadlineExceeded as error:
            self.status = UNKNOWN
            self._write_failure(error, "unavailable", "")
        except HoldfastError as error:
            self.status = max(self.status, REFUSED)
            self._write_failure(error, "malformed" if isinstance(error, Misuse) else "forbidden", "")
        else:
            self.status = max(self.status, DONE if answer.ok else REFUSED)
            if not silent or not answer.ok:
                self._write(answer)
            return answer.ok
        return False

    def _write(self, answer: Answer) -> None:
        if self._as_json:
            print(msgspec.json.encode(answer).decode(), flush=True)
        elif answer.type == "helped" and sys.stdout.isatty():
            print("\n".join(f"  {usage}" for usage in usages(answer.text)))
        else:
            print(answer.text, flush=True)

    def _write_failure(self, error: HoldfastError, type: str, hint: str) -> None:
        text = f"Failed: {str(error).removeprefix('Failed: ')}" + (f" ({hint})" if hint else "")
        if not self._as_json:
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
    speaker = Speaker(Site.at(addresses, **given), name, as_json=as_json)
    try:
        if words:
            return speaker.once(words, retry)
        if retry:
            raise Misuse(f"--retry {retry}: give the command too, exactly as it was sent")
        return speaker.prompt() if sys.stdin.isatty() else speaker.script(sys.stdin)
    finally:
        speaker.site.close()


def usages(help_text: str) -> list[str]:
    """The commands' usages in the one line of `help`, without the remark at its end."""
    *first, last = help_text.split("; ")
    return [*first, last.partition(". ")[0]]


def request_name(text: str) -> tuple[str, int]:
    """(client, number) of `CLIENT:NUMBER`."""
    client, _, number = text.removeprefix("@").rpartition(":")
    if not client or not number.isdecimal() or int(number) < 1:
        raise Misuse(f"--retry {text}: give it as it was printed, CLIENT:NUMBER")
    return client, int(number)


def history_file(service: str) -> Path:
    """Where the prompt keeps what was typed, by service."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(state) / "holdfast"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{service}.history"


def say(text: str) -> None:
    """One line for the person, beside the answers."""
    print(text, file=sys.stderr, flush=True)
