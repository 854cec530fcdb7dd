"""The Python client. See docs/python.md.

from holdfast.client import Site

with Site("site.toml") as site:
    print(site.service("tickets").reserve("bob", 3))
"""

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
    from holdfast.planner.shell import Planner

__all__ = [
    "Answer",
    "AsyncService",
    "AsyncSite",
    "ConfigurationError",
    "DeadlineExceeded",
    "HoldfastError",
    "LoginRefused",
    "Misuse",
    "NotExecuted",
    "OutcomeUnknown",
    "Planner",
    "Server",
    "Service",
    "Site",
]


def __getattr__(name: str) -> Any:
    """`Planner` brings an HTTP client with it, which nobody else needs: it is loaded when it is asked for."""
    if name == "Planner":
        from holdfast.planner.shell import Planner

        return Planner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
