"""What control knows beside the policy: whether a permit would be refused all the same at this moment, for the state of
its lines, a kill, a used-up quota or an address that may not be dialled, and what of that it cannot know.
And GET /v1/tenants/ID/usage, what is used of the quotas."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from gateway import usage
from gateway.addresses import own_addresses
from gateway.clock import zone_time
from gateway.kills import Kills
from gateway.line.model import LineHandle
from gateway.lines import LineTable
from gateway.live import Kill, LineState
from gateway.usage import Used
from ops.api.authority import AUTHORITY
from ops.api.firm import SETTINGS
from ops.api.flows import RECORDER
from ops.api.hub_client import HubUnavailable
from ops.api.problems import Problem
from ops.api.resources import answer
from tenants.model import Tenant
from whitelist.address import AddressForbidden, check
from whitelist.decide import Permit
from whitelist.model import Line
from whitelist.reason import WORDING, Reason
from whitelist.target import Target

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


async def refused_now(
    request: web.Request, tenant: Tenant, permit: Permit, target: Target
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Why what the policy permits would be refused now, as {"decision", "reason", "detail", "text"}, empty where
    nothing that control can know stands in its way; and in words what it cannot know."""
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
    has_share = any(share.tenant == tenant.id for line in lines for share in line.shares)
    own = await asyncio.to_thread(_own) if target.is_ip or has_share else frozenset()
    found = hindrance(permit, tenant, target, lines, base, states, kills, used, own, time.time())
    unknown = list(_unknown(tenant, target, live, usage_known=used is not None))
    if found is None:
        return {}, unknown
    reason, detail = found
    words = WORDING[reason]
    whys = await _whys(request, permit.lines, states or {}) if reason is Reason.LINE_UNAVAILABLE else []
    said = "; ".join([detail, *whys])
    text = {"en": f"{words.en} ({said})", "zh": f"{words.zh}（{said}）"}
    return {"decision": "deny", "reason": reason, "detail": detail, "text": text}, unknown


async def _whys(request: web.Request, lines: Iterable[str], states: Mapping[str, LineState]) -> list[str]:
    """Why lines are in the state that they are in, where the records say it of that state."""
    try:
        told, _ = await request.app[RECORDER].records("/lines", {})
    except Problem:
        return []
    whys = {item["line"]: item["why"] for item in told if item["state"] == states.get(item["line"]) and item["why"]}
    return [f"{line}: {whys[line]}" for line in lines if line in whys]


def _unknown(tenant: Tenant, target: Target, live: Mapping[str, Any], *, usage_known: bool) -> Iterator[dict[str, str]]:
    if "lines" not in live:
        yield {
            "en": "whether its lines are up, and no kill is in force: the supervisor does not answer",
            "zh": "专线是否可用、是否有生效的紧急切断：监管进程没有应答",
        }
    elif not any(peer.get("role") == "lines" for peer in live.get("subscribers", [{"role": "lines"}])):
        yield {
            "en": "whether its lines are as they are told: the lines process is not there, so it is what it told last",
            "zh": "专线的当前状态：专线进程未运行，所示为其最后报告的状态",
        }
    if (tenant.bytes_per_day or tenant.bytes_per_month) and not usage_known:
        yield {"en": "what is used of its quota: it cannot be read", "zh": "流量配额的用量：无法读取"}
    if not target.is_ip:
        yield {
            "en": f"where {target.host} leads: the line's resolvers are asked for each connection, and an address that "
            "may not be reached is refused (address-forbidden)",
            "zh": f"{target.host} 解析到的地址：每次连接时才向专线的解析服务器查询，"
            "若为禁止访问的地址则拒绝（address-forbidden）",
        }


def hindrance(
    permit: Permit,
    tenant: Tenant,
    target: Target,
    lines: Iterable[Line],
    mark_base: int,
    states: Mapping[str, LineState] | None,
    kills: Iterable[Kill],
    used: Used | None,
    own: frozenset[str],
    wall: float,
) -> Hindrance | None:
    """The reason with its detail, by the workers' own rules and in their order. states: None where nobody knows them;
    used: None likewise; own: the node's addresses; wall: Unix seconds. What stands behind a name only the line's
    resolvers can say."""
    if used and (spent := used.exhausted(tenant.bytes_per_day, tenant.bytes_per_month)):
        return Reason.QUOTA_EXHAUSTED, f"used up: {spent[0]}; free again at {zone_time(spent[1])}"
    table = LineTable(mark_base)
    table.load({line.id: line for line in lines})
    table.replace(dict.fromkeys(permit.lines, LineState.UP) if states is None else states)
    usable, why = table.usable(permit.lines, wall)
    if own and (without := [handle for handle in usable if _lacks_source(handle, tenant.id, own)]):
        told = [f"{handle.id}: the tenant's own source on it is not on this machine" for handle in without]
        usable, why = tuple(handle for handle in usable if handle not in without), ", ".join(filter(None, [why, *told]))
    cut = Kills()
    cut.replace(kills)
    of_lines = [cut.hit("", "", handle.id, "", wall) for handle in usable]
    kill = cut.hit(tenant.id, permit.service, "", target.host, wall) or (
        of_lines[0] if of_lines and all(of_lines) else ""
    )
    if kill:
        return Reason.KILL_SWITCH, f"kill {kill}"
    if not usable:
        return Reason.LINE_UNAVAILABLE, why
    if target.is_ip:
        try:
            check(target.host, permit.special_prefixes, own)
        except AddressForbidden as error:
            return error.reason, error.detail
    return None


def _lacks_source(line: LineHandle, tenant: str, own: frozenset[str]) -> bool:
    """Whether none of the addresses that a tenant's share gives it on the line, in place of the line's, is here."""
    egress = line.egress(tenant)
    if (egress.source4, egress.source6) == (line.source4, line.source6):
        return False
    return not any(source in own for source in (egress.source4, egress.source6) if source)


def _own() -> frozenset[str]:
    """This machine's addresses, as the workers have them."""
    try:
        return own_addresses()
    except OSError:  # no such thing as /proc: the workers do not start then
        return frozenset()


async def _used(request: web.Request, tenant: Tenant) -> Used | None:
    """What the workers have counted; None where it cannot be read. The file is 2 MiB for each worker that there was."""
    path = Path(request.app[SETTINGS].state_dir) / "usage" / "bytes"
    try:
        return await asyncio.to_thread(usage.read, path, tenant.slot, tenant.id, time.time())
    except OSError:
        return None
