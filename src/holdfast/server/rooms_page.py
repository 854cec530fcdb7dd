"""The rooms as one plain HTML page at each replica: the schedule, the form, and the own requests.

It works without JavaScript. The schedule is live by reload; while the form is open nothing reloads,
and what is typed travels along from one look at a day to the next. A POST answers by sending the
browser on to the page, which asks the replica what became of what was sent (POST, redirect, GET).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import litestar
from litestar import Response

from holdfast.apps.rooms.app import SECRETARY, Rooms
from holdfast.apps.rooms.replies import (
    Cancelled,
    Cells,
    Changed,
    Granted,
    Impossible,
    Moved,
    NotChanged,
    NotGranted,
    Standing,
)
from holdfast.apps.rooms.replies import Mine as MineReply
from holdfast.apps.rooms.words import AskCells, AskMine, Cancel, Show
from holdfast.apps.values import parse_day, shown
from holdfast.kernel.contracts import Command, Person, Query, Refusal, Reply, Request
from holdfast.kernel.replies import Expired, Overloaded, Unavailable, Unknown
from holdfast.people import People
from holdfast.server import rooms_view
from holdfast.server.asking import answer_of
from holdfast.server.face import Face
from holdfast.server.pages import MalformedForm, Template, Visitors, fields_of, form_of, is_own_form, see_other
from holdfast.server.rooms_form import WEEKS_MAX, Draft, Wish, client_of, new_request
from holdfast.server.rooms_view import Page, Told, told, unwrapped

HttpRequest = litestar.Request[Any, Any, Any]
HttpResponse = Response[str] | Response[None]

_ID = re.compile(r"[A-Za-z0-9~._-]{1,96}")
"""A request's id, as far as an address may name one; what else it names is not looked for, nor shown."""
_FIELD_OF_CODE = {"duration": "hours", "purpose": "purpose"}
_ASK_AGAIN = (Unknown, Unavailable, Overloaded)
_ON_RECORD = (Granted, Moved, NotGranted, Changed, NotChanged, Cancelled)


class RoomsPage:
    """The page of one service at one node. `status`: the replica's, see `Driver.status`."""

    def __init__(
        self,
        face: Face,
        app: Rooms,
        people: People,
        site: str,
        node: str,
        status: Callable[[], Mapping[str, Any]],
        deadline_seconds: float,
    ) -> None:
        self.path = f"/{face.name}"
        self._face = face
        self._app = app
        self._house = app.house
        self._people = people
        self._where = f"{face.name} at {node}, site {site}"
        self._node = node
        self._status = status
        self._deadline_seconds = deadline_seconds
        self._visitors = Visitors(people, face.identity, face.name, node)
        self._template = Template("rooms")

    # -- GET

    async def show(self, request: HttpRequest) -> HttpResponse:
        """The page. What its address says may be anything."""
        try:
            fields = fields_of(request.scope["query_string"])
        except MalformedForm:
            return see_other(self.path)
        page = self._page(self._person(request), fields.get("go") or fields.get("day", ""))
        if page.is_locked:
            return self._template.response(page)
        if any(name in fields for name in ("book", "pick", "change", "show", "go")):
            page.is_open = True
            await self._fill_in(page, fields)
        page.is_live = not page.is_open and fields.get("live") != "0"
        kept: dict[str, str] = {name: fields[name] for name in ("day", "told") if name in fields}
        if page.day != kept.get("day"):  # without a day the page stays with today, past midnight too
            kept.pop("day", None)
        page.pause_url = f"{self.path}?{urlencode({**kept, 'live': '0'})}"
        page.live_url = f"{self.path}?{urlencode(kept)}"
        ids = [id for id in fields.get("told", "").split(",") if _ID.fullmatch(id)]
        page.outcomes += await self._became_of(ids[:WEEKS_MAX], page.person)
        return await self._response(page, fields.get("before", ""))

    async def _became_of(self, ids: Sequence[str], person: Person | None) -> list[Told]:
        """What has become of these requests by now."""
        replies = [unwrapped(reply) for reply in await self._ask_all([Show(id) for id in ids], person)]
        return [rooms_view.told_of(reply) if isinstance(reply, Standing) else told(reply) for reply in replies]

    async def _fill_in(self, page: Page, fields: Mapping[str, str]) -> None:
        """The form as it was typed so far, or as the booking stands that is to be changed."""
        page.form = Draft.of(fields, page.day)
        if page.form.change and not _ID.fullmatch(page.form.change):
            page.form.change = ""
        if page.form.change and "hours" not in fields:
            standing = unwrapped((await self._ask_all([Show(page.form.change)], page.person))[0])
            if not isinstance(standing, Standing):
                page.outcomes.append(told(standing))
                page.form = Draft(page.day)
            else:
                page.form = _draft_of(standing, page.day)
        if "pick" in fields:
            page.form.pick(fields["pick"])

    def _person(self, request: HttpRequest) -> Person | None:
        """Who asks. Where ids are believed, the secretary of the department that the node is named after
        need not say so: each has a replica of her own."""
        person = self._visitors.person(request)
        if person is not None or self._face.identity == "token":
            return person
        own = [person for person in self._secretaries() if person.department == self._node]
        return own[0] if len(own) == 1 else None

    def _secretaries(self) -> list[Person]:
        people = (self._people.get(id) for id in self._people.ids)
        return [person for person in people if person is not None and SECRETARY in person.roles]

    def _page(self, person: Person | None, wanted: str) -> Page:
        """A page of the wanted day, with nothing asked yet."""
        now_ms = time.time_ns() // 1_000_000
        house = self._house
        today = house.day_at(now_ms).isoformat()
        day = wanted if parse_day(wanted) else today
        page = Page(
            path=self.path,
            where=self._where,
            foot=self._foot(),
            identity=self._face.identity,
            is_locked=self._face.identity == "token" and person is None,
            person=person,
            people=[(secretary.id, rooms_view.label(secretary)) for secretary in self._secretaries()],
            day=day,
            today=today,
            zone=house.zone,
            now_ms=now_ms,
            as_of=f"{house.when(now_ms)}:{now_ms // 1000 % 60:02}",
            as_of_iso=datetime.fromtimestamp(now_ms // 1000, UTC).isoformat(),
            form=Draft(day),
            room_names=house.rooms,
            starts=[f"{hour:02}:00" for hour in range(house.opens, house.closes)],
        )
        if wanted and day != wanted:
            page.outcomes.append(Told(f"There is no day {shown(wanted)}; this is today.", failed=True))
        return page

    def _foot(self) -> str:
        status = self._status()
        parts = [f"{status.get('protocol', '')}, {status.get('state', '')}"]
        if status.get("primary"):
            parts.append(f"primary {status['primary']}")
        if "tentative" in status:
            parts.append(f"{status['tentative']} tentative writes here")
        if status.get("warning"):
            parts.append(str(status["warning"]))
        return "; ".join(parts)

    async def _response(self, page: Page, before: str = "", status: int = 200) -> HttpResponse:
        """Ask the replica for what the page shows, and show it."""
        if page.is_locked:
            return self._template.response(page, status)
        questions: list[Query] = [AskCells(page.day)]
        if page.person is not None:
            questions.append(AskMine(before if _ID.fullmatch(before) else ""))
        replies = await self._ask_all(questions, page.person)
        page.outcomes += self._warnings(replies)
        cells, *others = map(unwrapped, replies)
        if isinstance(cells, Cells):
            page.rooms = rooms_view.rows(cells, self._house, page.now_ms, page.person, page.form)
        else:
            status = 503
            page.outcomes.append(told(cells))
        for answer in others:
            if isinstance(answer, MineReply):
                page.is_mine_known = True
                page.mine = [rooms_view.mine(standing) for standing in answer.requests]
                page.more = answer.more_before
            elif status == 200:
                page.outcomes.append(told(answer))
        return self._template.response(page, status)

    def _warnings(self, replies: Sequence[Reply]) -> list[Told]:
        """What the person should know, and not everybody who looks here, whom the foot tells."""
        said = dict.fromkeys(str(getattr(reply, "warning", "")) for reply in replies)
        return [
            Told(f"{text[0].upper()}{text[1:]}.", True)
            for text in said
            if text and text != self._status().get("warning")
        ]

    # -- POST

    async def take(self, request: HttpRequest) -> HttpResponse:
        """A form that was sent."""
        if not is_own_form(request.headers):
            page = self._page(None, "")
            page.outcomes.append(Told("This form did not come from this page, so nothing was done.", failed=True))
            return await self._response(page, status=403)
        try:
            fields = await form_of(request)
        except MalformedForm as error:
            page = self._page(None, "")
            page.outcomes.append(Told(f"Nothing was done: {error}.", failed=True))
            return await self._response(page, status=400)
        person = self._person(request)
        match fields.get("action"):
            case "who" | "sign-in":
                return await self._sign_in(fields)
            case "sign-out":
                return self._visitors.remember(see_other(self._url(fields)), None)
            case "reserve" | "change":
                return await self._reserve(fields, person)
            case "cancel":
                return await self._cancel(fields, person)
        return await self._refused(Draft(""), fields, person, [Told("This form asks for nothing.", failed=True)])

    def _url(self, fields: Mapping[str, str], told: Sequence[str] = ()) -> str:
        day = fields.get("day", "")
        query = {"day": day} if parse_day(day) else {}
        if told:
            query["told"] = ",".join(told)
        return f"{self.path}?{urlencode(query)}" if query else self.path

    async def _sign_in(self, fields: Mapping[str, str]) -> HttpResponse:
        id, token = (fields.get("person") or fields.get("id", ""))[:64], fields.get("token", "")
        found = await self._visitors.sign_in(id, token)
        if isinstance(found, Refusal):
            wrong = Told("This id and token do not belong together.", failed=True)
            page = self._page(None, fields.get("day", ""))
            page.outcomes.append(wrong if self._face.identity == "token" else told(found))
            return await self._response(page, status=403)
        return self._visitors.remember(see_other(self._url(fields)), found)

    async def _reserve(self, fields: Mapping[str, str], person: Person | None) -> HttpResponse:
        draft = Draft.of(fields, fields.get("day", ""))
        commands = draft.commands()
        self._check(draft, commands, person)
        said = repr((person.id if person else "", commands))
        client = client_of(draft.request, said.encode())
        draft.request = new_request()
        if client is None:
            draft.blame("form", "This form was not made here; look at it and send it again.")
        if draft.wrong or client is None:
            return await self._refused(draft, fields, person)
        replies = await self._submit_all(commands, client, person)
        ids = [_id_of(reply) for reply in replies]
        if all(ids):
            return see_other(self._url({"day": fields.get("day1", "")}, ids))
        if any(ids) or any(isinstance(unwrapped(reply), _ASK_AGAIN) for reply in replies):
            draft.request = fields["request"]
            draft.blame("form", "Send the form again as it is, to learn its outcome; nothing is done twice.")
            return await self._refused(draft, fields, person, [told(reply) for reply in replies], 503)
        if any(isinstance(unwrapped(reply), Expired) for reply in replies):
            draft.blame("form", "This form has been open for too long; look at it and send it again.")
        return await self._refused(draft, fields, person, [told(reply) for reply in replies])

    def _check(self, draft: Draft, commands: Sequence[Command], person: Person | None) -> None:
        """What the door would refuse, for every week before the first one is sent."""
        now_ms = time.time_ns() // 1_000_000
        if person is None:
            draft.blame("form", "Say who you are first, above.")
            return
        for week, command in enumerate(commands, 1):
            refusal = self._app.admit(command, person, now_ms)
            if refusal is not None:
                where = f"Week {week}: " if len(commands) > 1 else ""
                draft.blame(_field_of(refusal), f"{where}{told(refusal).text}")
                return

    async def _cancel(self, fields: Mapping[str, str], person: Person | None) -> HttpResponse:
        id = fields.get("id", "")
        client = client_of(fields.get("request", ""), f"cancel {id}".encode())
        if not _ID.fullmatch(id) or client is None:
            wrong = Told("This form was not made here; press the button again.", failed=True)
            return await self._refused(Draft(""), fields, person, [wrong])
        (reply,) = await self._submit_all([Cancel(id)], client, person)
        if _id_of(reply):
            return see_other(self._url(fields, [id]))
        return await self._refused(Draft(""), fields, person, [told(reply)])

    async def _refused(
        self,
        draft: Draft,
        fields: Mapping[str, str],
        person: Person | None,
        outcomes: Sequence[Told] = (),
        status: int = 422,
    ) -> HttpResponse:
        """The page again, with what was typed and what is wrong with it."""
        page = self._page(person, fields.get("day", ""))
        page.is_open = bool(draft.wishes or draft.wrong)
        page.form = draft
        page.outcomes += outcomes
        if status == 503:  # the replica has kept us waiting for one deadline already
            return self._template.response(page, status)
        return await self._response(page, status=status)

    # -- The replica

    async def _ask_all(self, queries: Sequence[Query], person: Person | None) -> list[Reply]:
        service, seconds = self._face.service, self._deadline_seconds
        asked = (answer_of(service, Request(query, person=person), seconds) for query in queries)
        return await asyncio.gather(*asked)

    async def _submit_all(self, commands: Sequence[Command], client: str, person: Person | None) -> list[Reply]:
        """Each its own request of the one client, numbered from 1, in their order."""
        service, seconds = self._face.service, self._deadline_seconds
        requests = [Request(command, client, number, 0, person) for number, command in enumerate(commands, 1)]
        return await asyncio.gather(*(answer_of(service, request, seconds) for request in requests))


def _draft_of(standing: Standing, day: str) -> Draft:
    """A form that changes a booking, as it stands."""
    draft = Draft(day, change=standing.id)
    where = standing.place or standing.wanted
    draft.hours = str(int(where.end[:2]) - int(where.start[:2]))
    draft.wishes = [Wish(where.day, where.room, where.start)]
    return draft


def _field_of(refusal: Refusal) -> str:
    """Beside which field of the form a refusal stands."""
    return _FIELD_OF_CODE.get(refusal.code, "wishes") if isinstance(refusal, Impossible) else "form"


def _id_of(reply: Reply) -> str:
    """The request that a reply put on record, granted or not; "" if it put none there."""
    own = unwrapped(reply)
    return own.id if isinstance(own, _ON_RECORD) else ""
