"""What control knows beside the policy: whether a permit would be refused all the same at this moment, for the state of
its lines, a kill or a used-up quota; and GET /v1/tenants/ID/usage, what is used of the quotas."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from gateway import usage
from gateway.kills import Kills
from gateway.lines import LineTable
from gateway.live import Kill, LineState
from gateway.usage import Used, zone_time
from ops.api.authority import AUTHORITY
from ops.api.firm import SETTINGS
from ops.api.hub_client import HubUnavailable
from ops.api.resources import answer
from tenants.model import Tenant
from whitelist.decide import Permit
from whitelist.model import Line
from whitelist.reason import WORDING, Reason

Hindrance = tuple[Reason, str]


def routes() -> list[web.RouteDef]:
    """The route; it stands before those with {collection}."""
    return [web.get("/v1/tenants/{id}/usage", used_of)]


async def used_of(request: web.Request) -> web.Response:
    """{"tenant", "day", "month": bytes of both directions, "day_end", "month_end": Unix seconds}; null is not known."""
    name = request.match_info["id"]
    tenant, _ = await request.app[AUTHORITY].read(lambda register: register.get("tenants", name))
    used = await _used(request, tenant)
    fields = ("day", "day_end", "month", "month_end")
    return answer({"tenant": name, **{field: getattr(used, field, None) for field in fields}})


async def refused_now(request: web.Request, tenant: Tenant, permit: Permit, host: str) -> dict[str, Any]:
    """Why what the policy permits would be refused now, as {"decision", "reason", "detail", "text"}; empty where
    nothing that control can know stands in its way."""
    authority = request.app[AUTHORITY]
    lines, _, _ = await authority.read(lambda register: register.page("lines", limit=1000))
    live: dict[str, Any] = {}
    try:
        live = (await authority.hub.publish({"kind": "status"})).get("status", {})
    except HubUnavailable:
        pass  # drained lines and contracts are known without it
    used = await _used(request, tenant) if tenant.bytes_per_day or tenant.bytes_per_month else None
    states = {name: LineState(state) for name, state in live["lines"].items()} if "lines" in live else None
    kills = msgspec.convert(live.get("kills", []), list[Kill])
    base = request.app[SETTINGS].line_base.mark
    found = hindrance(permit, tenant, host, lines, base, states, kills, used, time.time())
    if found is None:
        return {}
    reason, detail = found
    words = WORDING[reason]
    text = {"en": f"{words.en} ({detail})", "zh": f"{words.zh}（{detail}）"}
    return {"decision": "deny", "reason": reason, "detail": detail, "text": text}


def hindrance(
    permit: Permit,
    tenant: Tenant,
    host: str,
    lines: Iterable[Line],
    mark_base: int,
    states: Mapping[str, LineState] | None,
    kills: Iterable[Kill],
    used: Used | None,
    wall: float,
) -> Hindrance | None:
    """The reason with its detail, by the workers' own rules and in their order. states: None where nobody knows them;
    used: None likewise; wall: Unix seconds."""
    if used and (spent := used.exhausted(tenant.bytes_per_day, tenant.bytes_per_month)):
        return Reason.QUOTA_EXHAUSTED, f"used up: {spent[0]}; free again at {zone_time(spent[1])}"
    table = LineTable(mark_base)
    table.load({line.id: line for line in lines})
    table.replace(dict.fromkeys(permit.lines, LineState.UP) if states is None else states)
    usable, why = table.usable(permit.lines, wall)
    cut = Kills()
    cut.replace(kills)
    of_lines = [cut.hit("", "", handle.id, "", wall) for handle in usable]
    kill = cut.hit(tenant.id, permit.service, "", host, wall) or (of_lines[0] if of_lines and all(of_lines) else "")
    if kill:
        return Reason.KILL_SWITCH, f"kill {kill}"
    return None if usable else (Reason.LINE_UNAVAILABLE, why)


async def _used(request: web.Request, tenant: Tenant) -> Used | None:
    """What the workers have counted; None where it cannot be read. The file is 2 MiB for each worker that there was."""
    path = Path(request.app[SETTINGS].state_dir) / "usage" / "bytes"
    try:
        return await asyncio.to_thread(usage.read, path, tenant.slot, tenant.id, time.time())
    except OSError:
        return None
