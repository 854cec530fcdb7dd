"""What a service says to lines of its protocol, in the words of where a person says it: of the prompt, or the command
line; and which words only ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from holdfast.client.outcomes import Answer

HINTS = {
    "login": "say who asks with --as ID, and --token TOKEN where the service wants proof",
    "mode": "answers in JSON come with --json",
    "use": "the service is the first word, as in: holdfast tickets seats",
    "view": "choose what questions see with --view committed",
    "session": "choose what a session is promised with --guarantee WORD",
    "quit": "there is nothing to end after a single command",
}
"""What to write on the command line instead of the words that change a connection."""
OF_PROTOCOLS = ("help", "replicas", "stable", "trace", "votes")
"""Questions that are answered beside those of the app."""

_LOGIN = re.compile(r"(write )?login (?:ID|<id>|(TORC2345))( TOKEN)?")
_NO_COMMAND = re.compile(r"(no command .+); (?:did you mean (\S+)\? K|k)nown: (.+)\.")


def in_options(text: str) -> str:
    """A refusal that asks for a login, as the command line takes one: `give --as ID and --token TOKEN`."""
    return _LOGIN.sub(_option, text)


def _option(found: re.Match[str]) -> str:
    write, example, token = found.groups()
    return f"{'give ' if write else ''}--as {example or 'ID'}{' and --token TOKEN' if token else ''}"


def in_words_of(answer: Answer, known: Callable[[Sequence[str]], Sequence[str]]) -> Answer:
    """The refusal of an unknown word, with those words that can be said here: `known` picks them."""
    found = _NO_COMMAND.search(answer.text) if answer.type == "malformed" else None
    if found is None:
        return answer
    what, guess, words = found.groups()
    here = known(words.split(", "))
    instead = f"did you mean {guess}? Known" if guess in here else "known"
    begin, end = answer.text[: found.start()], answer.text[found.end() :]
    return msgspec.structs.replace(answer, text=f"{begin}{what}; {instead}: {', '.join(here)}.{end}")


def questions_of(app: str) -> frozenset[str]:
    """The words that only ask, of an app that lies with the others; of any other none but those `OF_PROTOCOLS`."""
    import importlib
    import importlib.util

    name = f"holdfast.apps.{app}"
    found = app.isidentifier() and importlib.util.find_spec(name) is not None
    values = vars(importlib.import_module(name)).values() if found else ()
    apps = [value for value in values if isinstance(value, type) and getattr(value, "name", "") == app]
    queries = [query for value in apps for query in getattr(value, "queries", ())]
    return frozenset([*OF_PROTOCOLS, *(str(query.__struct_config__.tag) for query in queries)])


def failed(error: Exception) -> str:
    """What went wrong, for people; a refusal that is told on says so itself already."""
    return f"Failed: {str(error).removeprefix('Failed: ')}"
