"""The words that every port knows besides its app's commands. The server carries them out itself."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from holdfast.kernel.contracts import Reply


class Control(msgspec.Struct, frozen=True, array_like=True):
    """Base of the words that every port knows besides its app's commands. The server executes them."""


class Use(Control, frozen=True, tag="use"):
    """Choose the service that the following lines of this connection speak to."""

    service: Annotated[str, Meta(min_length=1, max_length=64)]


class Login(Control, frozen=True, tag="login"):
    """Say who speaks; a service with identity "token" wants the token too."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    token: Annotated[str, Meta(max_length=1024)] = ""


class Mode(Control, frozen=True, tag="mode"):
    """Choose how this connection's replies are written."""

    mode: Literal["json", "text"]


class Status(Control, frozen=True, tag="status"):
    """Tell the state of this node's replicas, as one line of JSON."""


class NoticesSince(Control, frozen=True, tag="notices"):
    """List what the service has to tell people, numbered above the given number."""

    after: Annotated[int, Meta(ge=0, le=2**62)] = 0


class View(Control, frozen=True, tag="view"):
    """Choose what the following questions see: everything known here, or only what is final."""

    view: Literal["full", "committed"]


Guarantee = Literal[
    "read-your-writes", "monotonic-reads", "writes-follow-reads", "monotonic-writes", "all", "none", "same"
]


class Session(Control, frozen=True, tag="session"):
    """Choose what this connection is promised across servers, going on from a token; tell the token to go on with.

    `guarantees`: `same` takes those of the token, `none` ends the session, () only tells its token.
    """

    guarantees: Annotated[tuple[Guarantee, ...], Meta(max_length=8)] = ()
    token: Annotated[str, Meta(max_length=16_384)] = ""


class Watch(Control, frozen=True, tag="watch"):
    """Be told when an outcome changes or becomes final: everybody's, one's own, or no more."""

    whose: Literal["all", "mine", "none"] = "all"


class Help(Control, frozen=True, tag="help"):
    """List the words this port knows, or explain one."""

    word: str = ""


class Quit(Control, frozen=True, tag="quit"):
    """End this connection."""


CONTROLS: tuple[type[Control], ...] = (Use, Login, Mode, Status, NoticesSince, View, Session, Watch, Help, Quit)


class Helped(Reply, frozen=True, tag="helped"):
    """The answer to `help`."""

    line: str

    def text(self) -> str:
        return self.line
