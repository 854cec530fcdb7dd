"""The Python client. See docs/python.md.

from holdfast.client import Site

with Site("site.toml") as site:
    print(site.service("tickets").reserve("bob", 3))
"""

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
    "Server",
    "Service",
    "Site",
]
