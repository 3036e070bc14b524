"""POST /v1/policy/plan and /v1/policy/apply: what a proposal would do, and doing it, all or nothing. GET /v1/revisions:
what was done."""

import time
from typing import Any

import msgspec
from aiohttp import web

from ops.api.actor import actor
from ops.api.authority import AUTHORITY
from ops.api.flows import RECORDER
from ops.api.policy_wishes import SHOWN, Wish, cut, shown
from ops.api.problems import Problem
from ops.api.resources import answer, body_with_reason, enforcement, limit_of, seen_revision, waiting
from tenants.change import Applied, ChangeRefused
from tenants.register import Register
from whitelist.snapshot import Snapshot

MAX_SHOWN = 1_000_000
_FLOWS = "10000"  # live flows looked at, which is all that the recorder tells at once


def routes() -> list[web.RouteDef]:
    """The routes; they stand before those with {collection}."""
    return [
        web.post("/v1/policy/plan", make_plan),
        web.post("/v1/policy/apply", apply),
        web.get("/v1/revisions", list_revisions),
    ]


async def make_plan(request: web.Request) -> web.Response:
    """{"proposal"} or {"rollback": REVISION}: what applying it would change, add and take away, whom that concerns,
    which live tunnels it would end, and what its tests say. Nothing is changed. ETag: for the If-Match of apply.
    "limit": how many changes are listed (default 1,000; all are counted)."""
    fields, _ = await body_with_reason(request, limit=None)
    wish, limit = Wish.of(fields), _shown(fields)
    flows = await _flows(request)
    now = int(time.time())

    def considered(register: Register, snapshot: Snapshot | None) -> dict[str, Any]:
        revision = register.revision()
        changes = wish.planned(register)
        try:
            applied = register.rehearse(changes, "plan", "a plan", now)
        except ChangeRefused as error:
            raise wish.refused(error) from error
        trial = wish.judged(applied, snapshot, now)
        tunnels = cut(trial, flows, now) if trial is not None and flows is not None else None
        return {"revision": revision, "name": wish.name, "tunnels": tunnels, **shown(wish, applied, limit)}

    found = await request.app[AUTHORITY].consider(considered)
    return answer(found, headers={"ETag": f'"{found["revision"]}"'})


async def apply(request: web.Request) -> web.Response:
    """The same body with a reason, applied as one change of the register. If-Match is needed (428): the plan's ETag;
    where anything changed since, nothing is applied (412). Its tests must pass (409). Where there are accounts and it
    opens something, it becomes a request (202) that holds these very changes, and its tests pass before that."""
    fields, reason = await body_with_reason(request, limit=None)
    tag = request.headers.get("If-Match", "*").strip()
    if tag == "*":
        what = "which revision the plan was made from is not said"
        raise Problem(428, "if-match-needed", "If-Match is needed", what, "send the ETag of the plan as If-Match")
    seen = 0 if tag == '"0"' else seen_revision(request)  # nothing was ever changed at 0
    wish, limit, who = Wish.of(fields), _shown(fields), actor(request)
    now = int(time.time())
    told: dict[str, Any] = {}

    def must_pass(applied: Applied, snapshot: Snapshot | None) -> None:
        wish.must_pass(applied, snapshot, now)
        told.update(shown(wish, applied, limit), name=wish.name, origins=_origins(applied))

    authority = request.app[AUTHORITY]
    try:
        outcome = await authority.write(wish.planned, who, reason, seen=seen, judge=must_pass)
    except ChangeRefused as error:
        raise wish.refused(error) from error
    if outcome.request is not None:
        authority.acts.did(f"{wish.name} waits as requests/{outcome.request.id} by {who}", outcome.applied.revision)
        return waiting(outcome.request, outcome, **{**told, "origins": []})
    if outcome.applied.changed:
        authority.acts.did(f"{wish.name} applied by {who}", outcome.applied.revision)
    told |= {"link": outcome.applied.link, **enforcement(outcome)}
    return answer(told, headers={"ETag": f'"{outcome.applied.revision}"'})


async def list_revisions(request: web.Request) -> web.Response:
    """Revisions, newest first: ?limit=, ?cursor= (the last answer's next)."""
    limit, cursor = limit_of(request.query.get("limit", "100")), request.query.get("cursor", "0")
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 18):
        raise Problem(422, "invalid", "Not valid", "cursor is no revision", "use the last answer's next")
    rows = await request.app[AUTHORITY].read(lambda register: register.revisions(before=int(cursor), limit=limit))
    following = str(rows[-1]["revision"]) if len(rows) == limit else ""
    return answer({"items": rows, "next": following})


async def _flows(request: web.Request) -> list[dict[str, Any]] | None:
    """The live flows; None where the recorder does not tell."""
    try:
        return (await request.app[RECORDER].records("/flows", {"limit": _FLOWS}))[0]
    except Problem:
        return None


def _origins(applied: Applied) -> list[str]:
    """On whose word the changed items stand."""
    return sorted({one.after.provenance.origin.value for one in applied.changed if one.after is not None})


def _shown(fields: dict[str, Any]) -> int:
    try:
        limit = msgspec.convert(fields.get("limit", SHOWN), int)
    except msgspec.ValidationError:
        limit = -1
    if not 0 <= limit <= MAX_SHOWN:
        message = f"needs a number from 0 to {MAX_SHOWN}"
        raise Problem(422, "invalid", "Not valid", f"limit {message}", "correct it", [("limit", message)])
    return limit
