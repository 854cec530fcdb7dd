"""The state store over HTTP: `/SERVICE/USER?action=set&key=..&value=..`, in plain text.

Everything that a client may say comes in parameters, of the address or of a posted form; every answer, errors too,
is a text and one newline behind it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import msgspec

from holdfast.apps.keyvalue import VALUE_CHARACTERS_MAX, Clear, Full, Get, Keys, Set, Told, Unset
from holdfast.apps.values import check_name, shown
from holdfast.kernel import replies
from holdfast.kernel.contracts import Command, Person, Reply, Request
from holdfast.people import People
from holdfast.server.asking import answer_of
from holdfast.server.face import Face
from holdfast.server.idempotency import IDEMPOTENCY_KEY_CHARACTERS_MAX, client_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

STATE_APP = "keyvalue"
ADDRESS_BYTES_MAX = 65_536
FORM_BYTES_MAX = 65_536
"""A value of the greatest length, every character of it written as four per cent escapes, has 48,000 bytes."""
PARAMETERS_MAX = 64
RETRY_AFTER_SECONDS = 1

ACTIONS: Mapping[str, tuple[type[msgspec.Struct], tuple[str, ...]]] = {
    "set": (Set, ("key", "value")),
    "get": (Get, ("key",)),
    "unset": (Unset, ("key",)),
    "keys": (Keys, ()),
    "clear": (Clear, ()),
}
"""What each action asks of the app, and which parameters it takes beside the user."""

_FORM = b"application/x-www-form-urlencoded"
_COMMON: Headers = (
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)
_RETRY_LATER: Headers = ((b"retry-after", str(RETRY_AFTER_SECONDS).encode()),)
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Refused(Exception):
    """Why a request is not done. Its text goes back with the status."""

    def __init__(self, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(text)
        self.status = status
        self.headers: Headers = headers


class State:
    """The HTTP face of one service at one node, as an ASGI application. `answers`: how many there were, by status."""

    def __init__(self, face: Face, people: People, deadline_seconds: float) -> None:
        self._face = face
        self._people = people
        self._deadline_seconds = deadline_seconds
        self.answers: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        try:
            reply = await self._reply(scope, receive)
            status, text, headers = answer_to(reply)
        except Refused as refused:
            status, text, headers = refused.status, str(refused), refused.headers
        self.answers[status] += 1
        await answer(send, status, text, headers)

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        method, headers = scope["method"], headers_of(scope)
        if method not in ("GET", "POST"):
            raise Refused(405, f"the method is GET or POST, not {shown(method)}", (b"allow", b"GET, POST"))
        if is_from_elsewhere(headers):
            raise Refused(403, "a page of another site may not ask this")
        person = await self._person(headers)
        user = user_of(scope["raw_path"])
        if len(scope["query_string"]) > ADDRESS_BYTES_MAX:
            raise Refused(414, f"an address has at most {ADDRESS_BYTES_MAX} bytes")
        said = [scope["query_string"]]
        if method == "POST":
            said.append(await form_of(headers, receive))
        command = command_of(user, parameters_of(b"&".join(filter(None, said))))
        return await answer_of(self._face.service, request_of(command, person, headers), self._deadline_seconds)

    async def _person(self, headers: Mapping[bytes, list[bytes]]) -> Person | None:
        """Who asks, where the service wants to know: by `Authorization: Basic` with the id and the token."""
        if self._face.identity == "trusted":
            return None
        challenge = (b"www-authenticate", f'Basic realm="{self._face.name}", charset="UTF-8"'.encode())
        given = headers.get(b"authorization", [])
        id, token = login_of(given[0]) if len(given) == 1 else ("", "")
        if not id:
            raise Refused(401, "say who asks: Authorization: Basic, with an id and its token", challenge)
        person = await self._people.verify(id, token, identity=self._face.identity)
        if isinstance(person, replies.Overloaded):
            raise Refused(503, "too many logins wait already; nothing was changed, try again later", *_RETRY_LATER)
        if isinstance(person, replies.Forbidden):
            raise Refused(401, "this id and token do not belong together", challenge)
        return person


class Elsewhere:
    """The address of a service that has no replica at this node, as an ASGI application."""

    def __init__(self, name: str, nodes: tuple[str, ...]) -> None:
        self._why = f"{name} is not served by this node, but by {', '.join(nodes)}"
        self.answers: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        self.answers[404] += 1
        await answer(send, 404, self._why)


class States:
    """The state stores of a site, by name, as an ASGI application before that of the node's pages."""

    def __init__(self, stores: Mapping[str, State | Elsewhere], others: Application) -> None:
        self._stores = stores
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        name = scope["path"].lstrip("/").partition("/")[0] if scope["type"] == "http" else ""
        await self._stores.get(name, self._others)(scope, receive, send)


# -- what is asked --------------------------------------------------------------------------------


def headers_of(scope: Scope) -> dict[bytes, list[bytes]]:
    """The values of each header, by its name in small letters."""
    given: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        given.setdefault(name, []).append(value)
    return given


def is_from_elsewhere(headers: Mapping[bytes, list[bytes]]) -> bool:
    """Whether a browser says that a page of another site has made it ask. Programs say nothing of the kind."""
    if any(site not in (b"same-origin", b"none") for site in headers.get(b"sec-fetch-site", [])):
        return True
    try:
        origins = [urlsplit(origin).netloc for origin in headers.get(b"origin", [])]
    except ValueError:
        return True
    return any([origin] != headers.get(b"host") for origin in origins)


def user_of(raw_path: bytes) -> str:
    """The user in `/SERVICE/USER`."""
    parts = [part for part in raw_path.split(b"/", 64) if part]
    if len(parts) != 2:
        raise Refused(404, "the address is that of a user, and nothing follows it: /SERVICE/USER?action=...")
    return name_of("user", text_of("the user", parts[1]))


def text_of(what: str, escaped: bytes) -> str:
    """The text that per cent escapes write."""
    if _BROKEN_ESCAPE.search(escaped):
        raise Refused(400, f"{what} cannot be read: a per cent sign stands there without two hexadecimal digits")
    try:
        return unquote_to_bytes(escaped).decode()
    except UnicodeDecodeError as error:
        raise Refused(400, f"{what} cannot be read: it is no UTF-8 text") from error


def name_of(what: str, text: str) -> str:
    """The text, if it can be a user or a key."""
    why = check_name(text)
    if why is not None:
        raise Refused(400, f"the {what} {why}")
    return text


async def form_of(headers: Mapping[bytes, list[bytes]], receive: Receive) -> bytes:
    """The body of a request, which is a form or empty."""
    body = b""
    while len(body) <= FORM_BYTES_MAX:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the form has not come to its end")
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    if len(body) > FORM_BYTES_MAX:
        raise Refused(413, f"a form has at most {FORM_BYTES_MAX} bytes")
    kinds = [kind.partition(b";")[0].strip().lower() for kind in headers.get(b"content-type", [])]
    if body and kinds != [_FORM]:
        raise Refused(415, f"a form comes as {_FORM.decode()}")
    return body


def parameters_of(said: bytes) -> dict[str, str]:
    """The parameters of a query or a form, each once."""
    fields = [field for field in said.split(b"&", PARAMETERS_MAX) if field]
    if len(fields) > PARAMETERS_MAX:
        raise Refused(400, f"there are more than {PARAMETERS_MAX} parameters")
    given: dict[str, str] = {}
    for field in fields:
        written, _, value = field.replace(b"+", b" ").partition(b"=")
        name = text_of("the name of a parameter", written)
        if name in given:
            raise Refused(400, f"the parameter {shown(name)} stands there twice")
        given[name] = text_of(f"the parameter {shown(name)}", value)
    return given


def command_of(user: str, given: Mapping[str, str]) -> msgspec.Struct:
    """The command or query of the app that the parameters mean; those that the action does not take say nothing."""
    if "action" not in given:
        raise Refused(400, f"the action is missing; it is one of {', '.join(ACTIONS)}")
    known = ACTIONS.get(given["action"])
    if known is None:
        raise Refused(400, f"there is no action {shown(given['action'])}; there are {', '.join(ACTIONS)}")
    struct, names = known
    for name in names:
        if name not in given:
            raise Refused(400, f"the {name} is missing; {given['action']} takes a {' and a '.join(names)}")
    if "key" in names:
        name_of("key", given["key"])
    if "value" in names and len(given["value"]) > VALUE_CHARACTERS_MAX:
        raise Refused(413, f"a value has at most {VALUE_CHARACTERS_MAX} characters, not {len(given['value'])}")
    return struct(user, *(given[name] for name in names))


def request_of(command: msgspec.Struct, person: Person | None, headers: Mapping[bytes, list[bytes]]) -> Request:
    """The request, with what makes a retry exact where the client has sent such a thing."""
    given = headers.get(b"idempotency-key", [])
    if len(given) > 1 or len(b"".join(given)) > IDEMPOTENCY_KEY_CHARACTERS_MAX:
        raise Refused(400, f"one Idempotency-Key of at most {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters may be sent")
    if not given or not isinstance(command, Command):
        return Request(command, person=person)
    id = person.id if person is not None else ""
    try:
        client = client_of(given[0].decode("latin-1"), id, type(command).__name__, msgspec.structs.astuple(command))
    except ValueError as problem:
        raise Refused(400, str(problem)) from problem
    return Request(command, client, 1, 1, person)


def login_of(authorization: bytes) -> tuple[str, str]:
    """The id and the token in `Basic ...`; two empty ones for anything else."""
    scheme, _, credentials = authorization.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return "", ""
    try:
        id, _, token = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return id, token


# -- what is answered -----------------------------------------------------------------------------


def answer_to(reply: Reply) -> tuple[int, str, Headers]:
    """The status, the text and the headers for a reply."""
    headers: Headers = ()
    if isinstance(reply, replies.Outcome):
        headers = ((b"firm", reply.firm.encode()),)
        reply = reply.reply
    if isinstance(reply, Told):
        return 200, "\n".join(reply.lines), headers
    if not reply.failed:
        return 200, "", headers
    if isinstance(reply, replies.Unknown):
        text = f"outcome unknown; to learn it, send the same with the same Idempotency-Key: {reply.why}"
        return 503, text, _RETRY_LATER
    if isinstance(reply, replies.Unavailable | replies.Overloaded):
        return 503, reply.text().removeprefix("Failed: "), _RETRY_LATER
    return 507 if isinstance(reply, Full) else 400, reply.text().removeprefix("Failed: "), headers


async def answer(send: Send, status: int, text: str, headers: Headers = ()) -> None:
    """Send an answer: the text, and one newline."""
    body = f"{text}\n".encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*_COMMON, *headers, length]})
    await send({"type": "http.response.body", "body": body})
