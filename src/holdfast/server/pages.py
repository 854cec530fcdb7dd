"""What every HTML page of a node needs: templates, headers that let nothing run, forms, and who asks.

A page works without JavaScript, loads nothing from elsewhere, and its forms count only when they
come from the page itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Request, Response
from markupsafe import Markup

from holdfast.kernel.contracts import Person
from holdfast.kernel.replies import Forbidden, Overloaded
from holdfast.people import Identity, People

FORM_BYTES_MAX = 16_384
FORM_FIELDS_MAX = 64
SIGNED_IN_SECONDS = 12 * 3600
"""How long a proved person stays signed in at a node, at most: a node that starts again forgets it."""
_COOKIE_VALUE = re.compile(r"[A-Za-z0-9._-]{1,200}")


class MalformedForm(Exception):
    """What was posted is no form of ours. Its text may be shown (escaped)."""


class Template:
    """A page's template with its style sheet, compiled when it is made: a request only fills it in."""

    def __init__(self, name: str) -> None:
        environment = Environment(
            loader=PackageLoader("holdfast.server"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        assert environment.loader is not None
        style, _, _ = environment.loader.get_source(environment, f"{name}.css")
        environment.globals["style"] = Markup(style)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
        self._template = environment.get_template(f"{name}.html")
        self._headers = {
            "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",  # with none at all a browser would not name the origin of a form
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    def response(self, page: object, status: int = 200) -> Response[str]:
        """The page with these values, every one of them escaped."""
        text = self._template.render(page=page)
        return Response(text, status_code=status, media_type="text/html", headers=self._headers)


def see_other(url: str) -> Response[None]:
    """After a form: look there (POST, redirect, GET), so that a reload sends nothing again."""
    return Response(None, status_code=303, headers={"Location": url, "Cache-Control": "no-store"})


def is_own_form(headers: Mapping[str, str]) -> bool:
    """Whether a POST comes from a page of this very server, as the browser says. Another site's page
    cannot forge these headers; who says nothing at all is refused."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    named = headers.get("origin") or headers.get("referer")
    try:
        return named is not None and urlsplit(named).netloc == headers.get("host")
    except ValueError:
        return False


async def form_of(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The fields of a posted form, each once. Raises `MalformedForm`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise MalformedForm(f"a form comes as application/x-www-form-urlencoded, not as {kind or 'nothing'}")
    return fields_of(await request.body())


def fields_of(query: bytes) -> dict[str, str]:
    """The fields of a form or query string. Raises `MalformedForm`."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS_MAX
        )
    except ValueError as error:  # no UTF-8, or too many fields
        raise MalformedForm("these fields cannot be read: they are too many, or no UTF-8 text") from error
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise MalformedForm("a field stands there twice")
    return fields


class Visitors:
    """Who asks at the pages of one service, remembered in a cookie.

    Cookies know hosts but no ports, so the cookie has the node's name in its own. With identity
    "trusted" it names a person; with "token" it is signed with a key that this process alone has.
    """

    def __init__(self, people: People, identity: Identity, service: str, node: str) -> None:
        self.identity: Identity = identity
        self._people = people
        self._service = service
        self._cookie = f"holdfast-{service}-{node}"
        self._key = secrets.token_bytes(32)

    def person(self, request: Request[Any, Any, Any]) -> Person | None:
        """Who asks, or None."""
        value = request.cookies.get(self._cookie, "")
        if not _COOKIE_VALUE.fullmatch(value):
            return None
        if self.identity == "trusted":
            return self._people.get(value)
        id, _, rest = value.rpartition(".")
        id, _, until = id.rpartition(".")
        if not hmac.compare_digest(rest, self._mark(id, until)) or int(until) < time.time():
            return None
        return self._people.get(id)

    async def sign_in(self, id: str, token: str = "") -> Person | Forbidden | Overloaded:
        """The person, if the service's kind of identity is satisfied."""
        return await self._people.verify(id, token, identity=self.identity)

    def remember(self, response: Response[None], person: Person | None) -> Response[None]:
        """Let the answer set the cookie, or with None take it away."""
        value, seconds = "", 0
        if person is not None:
            until = str(int(time.time()) + SIGNED_IN_SECONDS)
            proved = f"{person.id}.{until}.{self._mark(person.id, until)}"
            value = person.id if self.identity == "trusted" else proved
            seconds = 365 * 86_400 if self.identity == "trusted" else SIGNED_IN_SECONDS
        response.set_cookie(
            self._cookie, value, max_age=seconds, path=f"/{self._service}", httponly=True, samesite="lax"
        )
        return response

    def _mark(self, id: str, until: str) -> str:
        return hmac.digest(self._key, f"{id} {until}".encode(), "sha256").hex()
