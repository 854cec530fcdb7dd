"""The command line, `holdfast`: what every command has in common.

A word that is no command of its own is a service of the site: `holdfast tickets reserve bob 2`.
Exit status: 0 done, 1 refused or failed, 2 unknown or not taken by any server, 64 wrong use.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from holdfast.client.errors import LoginRefused, Misuse
from holdfast.kernel.errors import ConfigurationError, HoldfastError

COMMANDS = (
    *("up", "node", "init", "status", "fault", "trust", "trace", "reset", "tickets-server", "vendor", "plan"),
    *("simulate", "bench"),
)
OPTIONS = frozenset(
    f"--{name}"
    for name in (
        *("site", "servers", "as", "token", "token-file", "at", "view", "guarantee", "logs"),
        *("json", "timeout", "deadline", "retry", "help"),
    )
)
"""The options of this command line itself, when it speaks to a service."""
WRONG_USE = 64
INTERRUPTED = 130


def main() -> None:
    """Run the command line. A user's mistake is told in one line, never as a traceback."""
    try:
        sys.exit(run(sys.argv[1:]))
    except (Misuse, ConfigurationError) as error:
        sys.exit(told(str(error), WRONG_USE))
    except LoginRefused as error:
        from holdfast.client.wording import in_options

        sys.exit(told(in_options(str(error)), 1))
    except HoldfastError as error:
        sys.exit(told(str(error), 1))
    except KeyboardInterrupt:
        sys.exit(told("stopped; what was asked and not answered may or may not be done", INTERRUPTED))
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the answers is gone, and Python would complain of it at its end
        sys.exit(1)
    except OSError as error:
        sys.exit(told(str(error), 1))


def run(words: Sequence[str]) -> int:
    """Run one command line; its exit status."""
    if is_plain(words):
        from holdfast.client.speak import speak

        return speak(words[0], list(words[1:]))
    return run_with_options(list(words))


def is_plain(words: Sequence[str]) -> bool:
    """Whether this speaks to a service without any option of the command line's own (`--or Oak@09:00` is
    the service's). That is what people wait for most often, so it does without the machinery for
    options, which takes longer to load than the booking takes."""
    if not words or words[0] in COMMANDS or words[0].startswith("-"):
        return False
    return not any(word == "--" or word.partition("=")[0] in OPTIONS for word in words[1:])


def run_with_options(words: list[str]) -> int:
    """Anything else."""
    import typer
    from typer.exceptions import TyperException

    from holdfast.client.commands import app

    try:
        status = app(words, prog_name="holdfast", standalone_mode=False)
    except TyperException as error:
        return told(f"{error.format_message()} See `holdfast --help`.", WRONG_USE)
    except typer.Abort:
        return told("stopped", INTERRUPTED)
    return status if isinstance(status, int) else 0


def told(text: str, status: int) -> int:
    """Tell the user in one line; the exit status."""
    print(f"holdfast: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
