"""Legal holds: what keeps records from being deleted when they are old. Each is an act in its log before it is one.

They stand in STATE_DIR/holds.json, which the recorder reads before it deletes anything.
"""

import secrets
import time
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from ops.acts_log import Act
from ops.api.actor import actor
from ops.api.authority import AUTHORITY, ActNotLogged
from ops.api.firm import SETTINGS
from ops.api.problems import Problem
from ops.api.resources import answer, body_with_reason
from telemetry.retention import DAY, HOLDS, Hold, read_holds, write_holds
from telemetry.segments import sync_directory
from telemetry.whole import write_whole
from tenants.credential import crockford

MAX_REASON = 1000  # characters


def routes() -> list[web.RouteDef]:
    """The routes."""
    return [
        web.get("/v1/holds", list_holds),
        web.post("/v1/holds", add),
        web.delete("/v1/holds/{id}", remove),
    ]


async def list_holds(request: web.Request) -> web.Response:
    """All holds, also those that have ended."""
    return answer({"items": [msgspec.to_builtins(hold) for hold in _read(request)], "next": ""})


async def add(request: web.Request) -> web.Response:
    """A hold on everything from `since` on, until `until` (Unix seconds), at most the ceiling from now."""
    fields, reason = await body_with_reason(request)
    _check_reason(reason)
    now = int(time.time())
    since, until = (_seconds(fields, name) for name in ("since", "until"))
    ceiling = now + request.app[SETTINGS].retention.ceiling * DAY // 1_000_000
    if not now < until <= ceiling:
        days = request.app[SETTINGS].retention.ceiling
        raise _invalid("until", f"must be in the future, and within {days} days (retention.ceiling)")
    name = f"h-{crockford(secrets.token_bytes(8), 10)}"
    hold = Hold(
        id=name,
        since=since * 1_000_000,
        until=until * 1_000_000,
        by=actor(request),
        reason=reason,
        made=now * 1_000_000,
    )
    await _log(request, "hold", hold, reason)
    _write(request, [*_read(request), hold])
    return answer({"item": msgspec.to_builtins(hold)}, status=201)


async def remove(request: web.Request) -> web.Response:
    """Ends a hold; ?reason= says why."""
    reason = request.query.get("reason", "")
    _check_reason(reason)
    name = request.match_info["id"]
    holds = _read(request)
    hold = next((hold for hold in holds if hold.id == name), None)
    if hold is None:
        raise Problem(404, "unknown", "Not found", f"there is no hold {name}", "GET /v1/holds lists them")
    await _log(request, "release", hold, reason)
    _write(request, [other for other in _read(request) if other.id != name])
    return answer({"item": msgspec.to_builtins(hold)})


def _path(request: web.Request) -> Path:
    return Path(request.app[SETTINGS].state_dir) / HOLDS


def _read(request: web.Request) -> list[Hold]:
    holds = read_holds(_path(request))
    if holds is None:
        what = f"{_path(request)} cannot be read; nothing is deleted meanwhile"
        raise Problem(500, "holds", "Not readable", what, "put the file back from a backup")
    return holds


def _write(request: web.Request, holds: list[Hold]) -> None:
    try:
        write_whole(_path(request), write_holds(holds), 0o640)
        sync_directory(_path(request).parent)
    except OSError as error:
        what = f"{_path(request)} cannot be written: {error.strerror}"
        raise Problem(500, "holds", "Not writable", what, "make room, and try again") from None


async def _log(request: web.Request, verb: str, hold: Hold, reason: str) -> None:
    facts: dict[str, Any] = {"since": hold.since // 1_000_000, "until": hold.until // 1_000_000}
    act = Act(
        kind="hold", time=int(time.time()), actor=actor(request), verb=verb, item=hold.id, reason=reason, facts=facts
    )
    try:
        await request.app[AUTHORITY].record(act)
    except ActNotLogged as error:
        raise Problem(503, "acts", "Not logged", str(error), "make the log of acts writable, and try again") from None
    request.app[AUTHORITY].acts.did(f"{verb} {hold.id} by {act.actor}", 0)


def _seconds(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise _invalid(name, "needs Unix seconds")
    return value


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
        raise _invalid("reason", f"is needed: why, in one line of at most {MAX_REASON} characters")


def _invalid(name: str, message: str) -> Problem:
    return Problem(422, "invalid", "Not valid", "the hold is not valid", "correct it", [(name, message)])
