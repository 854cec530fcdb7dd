"""What the client raises.

A refusal (no seats left, seat taken) is an `Answer` with `ok=False`, never an exception. Raised are only:

holdfast.kernel.errors.HoldfastError
  x ConfigurationError a mistake in the site file or the file of servers
  x Misuse             wrong use: a bad argument, an unknown service
  x LoginRefused       the servers do not believe who asks
  + DeadlineExceeded   no final answer before the deadline
    x NotExecuted      certain: nothing was done
    x OutcomeUnknown   it may or may not be done; `.retry()` asks again and never does it twice
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.kernel.errors import HoldfastError


class Misuse(HoldfastError, ValueError):
    """The caller's mistake; the message names what, where and what to do."""


class LoginRefused(HoldfastError):
    """The servers refused the id or its token. Nothing was executed."""


class DeadlineExceeded(HoldfastError):
    """No final answer came before the deadline."""


class NotExecuted(DeadlineExceeded):
    """No server took the request. Nothing was done; it is safe to send it anew."""


class OutcomeUnknown(DeadlineExceeded):
    """The request was sent, and no server told what became of it.

    `client` and `number` name the request forever. `retry()` sends it again under that name: it
    returns the first answer if it was executed, and executes it now if it was not. With an
    asynchronous client `retry()` returns an awaitable.
    """

    def __init__(self, text: str, client: str, number: int, again: Callable[[], Any]) -> None:
        super().__init__(text)
        self.client = client
        self.number = number
        self._again = again

    def retry(self) -> Any:
        """The answer (an awaitable of it) to the same request, asked again with a fresh deadline."""
        return self._again()
