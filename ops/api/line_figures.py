"""GET /v1/figures/lines: each line's state as the workers were told it, and the figures that the records say."""

from typing import Any

from aiohttp import web

from ops.api.authority import AUTHORITY
from ops.api.flows import RECORDER
from ops.api.hub_client import HubUnavailable
from ops.api.problems import Problem
from ops.api.resources import answer


def routes() -> list[web.RouteDef]:
    """The routes; they stand before those with {collection}."""
    return [web.get("/v1/figures/lines", line_figures)]


async def line_figures(request: web.Request) -> web.Response:
    """{"items": [{"line", "state", "since", "why", … as telemetry.lines describes}], "unknown": [why figures are not
    known or old]}. Never fails; null and "unknown" stand for what cannot be known."""
    unknown: list[str] = []
    live: dict[str, Any] = {}
    try:
        live = (await request.app[AUTHORITY].hub.publish({"kind": "status"})).get("status", {})
    except HubUnavailable as error:
        unknown.append(str(error))
    subscribers = live.get("subscribers")
    if subscribers is not None and not any(peer.get("role") == "lines" for peer in subscribers):
        unknown.append("the lines process is not there: states are as it told them last")
    told: dict[str, dict[str, Any]] = {}
    try:
        items, _ = await request.app[RECORDER].records("/lines", {})
        told = {item["line"]: item for item in items}
    except Problem as problem:
        unknown.append(problem.detail)
    states: dict[str, str] = live.get("lines", {})
    names = sorted({*states, *told})
    return answer(
        {"items": [_merged(name, states.get(name), told.get(name, {})) for name in names], "unknown": unknown}
    )


def _merged(name: str, state: str | None, told: dict[str, Any]) -> dict[str, Any]:
    """The state is the hub's; since when and why are known once its record has come through."""
    item = {**told, "line": name, "state": state or "unknown"}
    if told.get("state") != state:
        item |= {"since": None, "why": ""}
    return item
