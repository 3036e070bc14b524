"""Control's answers to the workers' questions, on portal.sock: the one place where a firm is shown what is its own.

A question is believed because of who asks: the kernel says the peer is a worker (SO_PEERCRED), and a worker says which
firm it identified. So a worker that was broken into could ask in any firm's name, as it could pass any firm's traffic;
it cannot write, since ops.portal.enrolment looks at tokens and keys itself, and what concerns the node or other firms
is not among the answers.
"""

import asyncio
import os
import time
from functools import partial
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.enrolment import Enrolling
from gateway.portal_visit import PAC_PATH, Question
from gateway.portal_words import HTML, JSON, PAC
from ops.api.actor import Handler, uid_of
from ops.api.authority import Authority
from ops.api.hub_client import HubUnavailable
from ops.api.problems import Problem, problems
from ops.api.reading import Reads
from ops.api.recorder_client import RecorderClient
from ops.ca import CaFiles
from ops.portal import pac, page
from ops.portal.enrolment import Enrolments
from ops.portal.notice import notice
from ops.portal.refusals import Refusals
from ops.portal.view import read_shown, view
from ops.portal.ways import Way, ways
from ops.settings import Settings, Users
from tenants.change import UnknownItem
from whitelist.holdings import Holdings, holdings

MAX_QUESTION = 65_536  # bytes
MAX_KEPT = 512
READS_SHOWN = 50
SEARCH = 2.5  # seconds that a page waits for the refusals on it; a search that takes longer is there for the next one


class Portal:
    """Answers questions."""

    def __init__(self, authority: Authority, recorder: RecorderClient, settings: Settings, reads: Reads) -> None:
        self._reads = reads
        self._authority = authority
        self._settings = settings
        self._refusals = Refusals(recorder)
        self._held: dict[str, tuple[int, Holdings]] = {}  # by firm, of a revision of the policy
        self._pac: dict[tuple[str, str], tuple[int, str]] = {}

    async def answer(self, request: web.Request) -> web.Response:
        """One question to its page."""
        try:
            asked = msgspec.json.decode(await request.read(), type=Question)
        except msgspec.DecodeError as error:
            raise Problem(400, "question", "Not understood", str(error)) from error
        try:
            if asked.path == "/":
                return await self._firm(asked)
            if asked.path == PAC_PATH.decode():
                return await self._pac_file(asked)
            if asked.path.startswith("/r/"):
                return await self._refusal(asked)
        except (UnknownItem, Problem) as error:
            status = error.status if isinstance(error, Problem) else 404
            if status != 404:
                raise
        return self._told(asked, page.not_found_page(self._settings.node), {"title": "Not found", "status": 404}, 404)

    async def _firm(self, asked: Question) -> web.Response:
        held = await self._holdings(asked.tenant)
        states, refusals, reads = await asyncio.gather(
            self._line_states(), self._last(asked.tenant), self._read(asked.tenant)
        )
        url = pac.url(self._ways(asked, held))
        kept = self._settings.retention
        personal_days = kept.personal_days if self._settings.evidence.personal == "sealed" else 0
        recording = notice(kept.days, personal_days)
        found = view(asked, held, states, refusals, reads, int(time.time()), url, recording)
        return self._told(asked, page.firm_page(found, self._settings.node) if asked.html else "", found)

    async def _last(self, tenant: str) -> list[dict[str, Any]] | None:
        """Its refusals; None where the recorder cannot say them before the worker gives the page up."""
        try:
            return await asyncio.wait_for(self._refusals.last(tenant), SEARCH)
        except (Problem, TimeoutError):
            return None

    async def _read(self, tenant: str) -> dict[str, Any] | None:
        """What authorities read of its records: those it is told of, and how many it is not. None as above."""
        try:
            items, withheld = await asyncio.wait_for(self._reads.of(tenant), SEARCH)
        except (Problem, TimeoutError):
            return None
        return {"items": [read_shown(record) for record in items[:READS_SHOWN]], "withheld": withheld}

    async def _refusal(self, asked: Question) -> web.Response:
        record = await self._refusals.one(asked.tenant, asked.path.removeprefix("/r/"))
        return self._told(asked, page.refusal_page(record, self._settings.node), record)

    async def _pac_file(self, asked: Question) -> web.Response:
        held = await self._holdings(asked.tenant)
        known = self._pac.get((asked.tenant, asked.gateway))
        if known is None or known[0] != held.revision:
            wanted = self._settings.pac
            found = self._ways(asked, held)
            try:
                text = pac.render(held, found, self._settings.portal_name, hosts=wanted.hosts, others=wanted.others)
            except ValueError as error:
                raise Problem(404, "pac", "Not found", str(error)) from error
            _keep(self._pac, (asked.tenant, asked.gateway), (held.revision, text))
        else:
            text = known[1]
        return web.Response(body=text.encode("ascii"), headers={"Content-Type": PAC})

    def _ways(self, asked: Question, held: Holdings) -> list[Way]:
        return ways(self._settings, {place.interface for place in held.tenant.places}, asked.gateway)

    async def _holdings(self, tenant: str) -> Holdings:
        revision = self._authority.policy.revision
        known = self._held.get(tenant)
        if known is None or known[0] != revision or not revision:
            known = revision, await self._authority.read(partial(holdings, tenant=tenant))
            _keep(self._held, tenant, known)
        return known[1]

    async def _line_states(self) -> dict[str, str]:
        try:
            status = (await self._authority.hub.publish({"kind": "status"})).get("status", {})
        except HubUnavailable:
            return {}
        return {str(line): str(state) for line, state in status.get("lines", {}).items()}

    def _told(self, asked: Question, html: str, content: Any, status: int = 200) -> web.Response:
        if asked.html:
            return web.Response(status=status, body=html.encode(), headers={"Content-Type": HTML})
        return web.Response(status=status, body=msgspec.json.encode(content), headers={"Content-Type": JSON})


def portal_application(
    authority: Authority,
    recorder: RecorderClient,
    settings: Settings,
    files: CaFiles | None = None,
    reads: Reads | None = None,
) -> web.Application:
    """The application for portal.sock. files: the CA that enrols machines, where there is to be one; reads: by
    authorities, as the admin API knows them too."""
    app = web.Application(middlewares=[problems, only(workers_uid(settings.users))], client_max_size=MAX_QUESTION)
    app.router.add_post("/", Portal(authority, recorder, settings, reads or Reads(recorder)).answer)
    if files is not None:
        app.router.add_post(Enrolling.asks_at, Enrolments(authority, files).answer)
    return app


def workers_uid(users: Users) -> int:
    """The workers' user; where the node's processes could not be given users of their own, the one they share."""
    own = os.geteuid()
    return users.worker if users.worker is not None and own == users.control else own


def only(allowed: int) -> Middleware:
    """Turns away whoever is not this user: lines and recorder share the socket's group."""

    @web.middleware
    async def only_workers(request: web.Request, handler: Handler) -> web.StreamResponse:
        if uid_of(request) != allowed:
            raise Problem(403, "not-a-worker", "Forbidden", "only workers ask here", "use control.sock")
        return await handler(request)

    return only_workers


def _keep[K, V](kept: dict[K, V], key: K, value: V) -> None:
    if len(kept) >= MAX_KEPT:
        kept.clear()
    kept[key] = value
