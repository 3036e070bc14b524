"""What detection rules block: listed as live control says, and lifted by a person, which is a recorded act."""

from typing import Any

from aiohttp import web

from ops.api.actor import actor
from ops.api.authority import AUTHORITY
from ops.api.hub_client import HubUnavailable
from ops.api.problems import Problem
from ops.api.resources import answer, body_with_reason


def routes() -> list[web.RouteDef]:
    """The routes; they stand before those with {collection}."""
    return [web.get("/v1/blocks", list_blocks), web.post("/v1/blocks/{block}/lift", lift)]


async def list_blocks(request: web.Request) -> web.Response:
    """Blocks and throttles in force."""
    return answer({"items": await _blocks(request)})


async def lift(request: web.Request) -> web.Response:
    """Ends a block at once in every worker. The rule may block again; disable it first where it should not."""
    fields, reason = await body_with_reason(request)
    if fields or not reason.strip():
        errors = [(name, "is no field here") for name in fields] or [("reason", "is needed: why, in one line")]
        raise Problem(422, "invalid", "Not valid", "lifting takes a reason only", "say why", errors)
    id_ = request.match_info["block"]
    found = next((block for block in await _blocks(request) if block["id"] == id_), None)
    if found is None:
        raise Problem(404, "unknown", "Not found", f"no rule blocks as {id_}", "list the blocks in force")
    authority = request.app[AUTHORITY]
    enforced = await _publish(request, {"kind": "unkill", "id": id_})
    what = f"lift block {id_} of {found['scope']} {found['value']} by rule {found['rule']} by {actor(request)}"
    authority.acts.did(what, authority.policy.revision)
    return answer({"item": found, "revision": authority.policy.revision, "enforced": enforced})


async def _blocks(request: web.Request) -> list[dict[str, Any]]:
    status = (await _publish(request, {"kind": "status"})).get("status", {})
    return [kill for kill in status.get("kills", []) if kill.get("rule")]


async def _publish(request: web.Request, message: dict[str, Any]) -> dict[str, Any]:
    try:
        return await request.app[AUTHORITY].hub.publish(message)
    except HubUnavailable as error:
        remedy = "nothing was changed; see `feiyu status`, and try again"
        raise Problem(503, "hub-unavailable", "Workers not reached", str(error), remedy) from error
