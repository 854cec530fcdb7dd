"""The Python client. See docs/python.md.

from holdfast.client import Site

with Site("site.toml") as site:
    print(site.service("tickets").reserve("bob", 3))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from holdfast.client.errors import (
    DeadlineExceeded,
    LoginRefused,
    Misuse,
    NotExecuted,
    OutcomeUnknown,
)
from holdfast.client.outcomes import Answer, Server
from holdfast.client.service import AsyncService, Service
from holdfast.client.site import AsyncSite, Site
from holdfast.kernel.errors import ConfigurationError, HoldfastError

if TYPE_CHECKING:
    from holdfast.client.messenger import Messenger
    from holdfast.client.messenger_async import AsyncMessenger
    from holdfast.client.messenger_folder import FolderInUse
    from holdfast.client.messenger_types import Draft, Kept, Message, News, Page, Refused, Sent
    from holdfast.planner.shell import Planner

__all__ = [
    "Answer",
    "AsyncMessenger",
    "AsyncService",
    "AsyncSite",
    "ConfigurationError",
    "DeadlineExceeded",
    "Draft",
    "FolderInUse",
    "HoldfastError",
    "Kept",
    "LoginRefused",
    "Message",
    "Messenger",
    "Misuse",
    "News",
    "NotExecuted",
    "OutcomeUnknown",
    "Page",
    "Planner",
    "Refused",
    "Sent",
    "Server",
    "Service",
    "Site",
]


_LATE = {
    "AsyncMessenger": "holdfast.client.messenger_async",
    "FolderInUse": "holdfast.client.messenger_folder",
    "Messenger": "holdfast.client.messenger",
    "Planner": "holdfast.planner.shell",
    **dict.fromkeys(("Draft", "Kept", "Message", "News", "Page", "Refused", "Sent"), "holdfast.client.messenger_types"),
}
"""What brings modules with it that not everybody needs: it is loaded when it is asked for."""


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
