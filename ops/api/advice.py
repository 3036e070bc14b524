"""What was considered for a verdict, and what would have to change: a plain reading of the register, for people. The
verdict itself is whitelist.decide's."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from tenants.model import Tenant
from whitelist.decide import Access, Denial
from whitelist.model import Endpoint, Grant, GrantState, Protocol, Service, Window
from whitelist.reason import Reason
from whitelist.target import Target

Words = dict[str, str]  # {"en": …, "zh": …}


def considered(
    tenant: Tenant, services: list[Service], grants: list[Grant], target: Target, access: Access, at: int
) -> list[dict[str, Any]]:
    """Each grant with each endpoint of its service that names the host, and each service without a grant: whether it
    fits and, if not, why not."""
    result: list[dict[str, Any]] = []
    for service in services:
        own = [grant for grant in grants if _covers(grant, service)]
        for endpoint in filter(lambda endpoint: names(endpoint, target), service.endpoints):
            shown = {"service": service.id, "endpoint": endpoint.target, "protocol": endpoint.protocol}
            for grant in own:
                why = _grant_why_not(grant, at) or _endpoint_why_not(endpoint, target, access)
                result.append({**shown, "grant": grant.id, "fits": not why, "why_not": why})
            if not own:
                result.append({**shown, "grant": "", "fits": False, "why_not": f"not granted to {tenant.id}"})
    return result


def advise(
    denial: Denial,
    tenant: Tenant,
    services: list[Service],
    grants: list[Grant],
    target: Target,
    access: Access,
    source: str,
    at: int,
) -> list[Words]:
    """What would have to change for the request to pass; several entries are alternatives."""
    named = [(s, e) for s in services for e in s.endpoints if names(e, target)]
    match denial.reason:
        case Reason.TENANT_SUSPENDED:
            return [
                _w(
                    f"tenant {tenant.id} is resumed (feiyu tenant resume)",
                    f"恢复租户 {tenant.id}（feiyu tenant resume）",
                )
            ]
        case Reason.TENANT_EXPIRED:
            span = f"{_date(tenant.valid_from)} – {_date(tenant.valid_until)}"
            return [_w(f"tenant {tenant.id}'s term, {span}, covers the time", f"租户有效期 {span} 需覆盖该时刻")]
        case Reason.SOURCE_NOT_ALLOWED:
            places = ", ".join(f"{place.prefix} on {place.interface}" for place in tenant.places) or "none"
            return [
                _w(f"the request comes from a place of {tenant.id}: {places}", f"请求须来自租户的登记地址：{places}"),
                _w(f"a place with {source} is added to {tenant.id}", f"为租户登记包含 {source} 的地址"),
            ]
        case Reason.DIRECTION_NOT_ALLOWED:
            return [
                _w("the source's place is on side offshore and the line leads abroad", "来源须在离岸区，专线须通往境外")
            ]
        case Reason.DATA_GRADE_FORBIDDEN:
            return [_w("the grant is for a data grade that may leave", "授权的数据级别须允许出境")]
        case Reason.PORT_NOT_ALLOWED:
            return [
                _w(
                    f"service {s.id} gets port {target.port} (has {_ports(e)})",
                    f"服务 {s.id} 增加端口 {target.port}（现有 {_ports(e)}）",
                )
                for s, e in named
                if target.port not in e.ports
            ]
        case Reason.PROTOCOL_NOT_ALLOWED:
            asked = "CONNECT" if access is Access.TUNNEL else "plain HTTP"
            return [
                _w(
                    f"service {s.id} gets a protocol for {asked} (has {e.protocol})",
                    f"服务 {s.id} 增加适用于 {asked} 的协议（现有 {e.protocol}）",
                )
                for s, e in named
            ]
        case Reason.GRANT_EXPIRED | Reason.OUTSIDE_WINDOW:
            return [
                _w(f"grant {g.id} is in force at the time ({why})", f"授权 {g.id} 在该时刻有效（目前：{why}）")
                for g in grants
                if (why := _grant_why_not(g, at))
            ]
        case Reason.CONSENT_MISSING:
            return [
                _w(
                    f"the firm's written consent to inspection is put on file: feiyu tenant consent {tenant.id}",
                    f"登记企业对内容检查的书面同意：feiyu tenant consent {tenant.id}",
                )
            ]
        case Reason.NOT_WHITELISTED if denial.rule:
            return [_w(f"the global deny {denial.rule} is removed", f"撤销全局禁止 {denial.rule}")]
        case Reason.NOT_WHITELISTED:
            return _not_whitelisted(tenant, services, grants, target)
        case _:
            return []


def after_the_permit(reason: str, permit: Mapping[str, Any]) -> list[Words]:
    """What would have to change where the request is permitted and was refused all the same, for its ClientHello, its
    lines, its address or a kill; alternatives. permit: the verdict as JSON."""
    grant, service, lines = permit["grant"], permit["service"], ", ".join(permit["lines"])
    match reason:
        case Reason.NAME_MISMATCH:
            return [
                _w(
                    "the client's TLS names the host that it asked for (SNI), and no other",
                    "客户端 TLS 的服务器名称（SNI）须与请求的主机一致",
                ),
                _w(
                    f"where it names none: grant {grant} is made anew with --no-sni allow",
                    f"若不带服务器名称：以 --no-sni allow 重新建立授权 {grant}",
                ),
            ]
        case Reason.ECH_NOT_ALLOWED:
            return [
                _w("ECH is switched off in the client, its GREASE too", "在客户端关闭 ECH（包括 GREASE）"),
                _w(f"grant {grant} is made anew with --ech note", f"以 --ech note 重新建立授权 {grant}"),
            ]
        case Reason.PROTOCOL_NOT_ALLOWED:
            return [
                _w(
                    f"the client speaks TLS, and offers only what the application of grant {grant} speaks (ALPN)",
                    f"客户端使用 TLS，且只提供授权 {grant} 的应用所用的协议（ALPN）",
                ),
                _w(
                    f"grant {grant} is made anew with another --application",
                    f"以其他 --application 重新建立授权 {grant}",
                ),
            ]
        case Reason.METHOD_NOT_ALLOWED | Reason.PATH_NOT_ALLOWED | Reason.CONTENT_NOT_ALLOWED:
            return [
                _w(
                    f"a rule of inspected grant {grant} allows it (feiyu grant show {grant})",
                    f"受检查的授权 {grant} 中须有规则允许（feiyu grant show {grant}）",
                )
            ]
        case Reason.INSPECTION_UNAVAILABLE:
            return [
                _w(
                    "an inspector runs (feiyu status), and the firm's intermediate speaks for the host: "
                    f"feiyu inspection renew {permit['tenant']}",
                    "检查进程在运行（feiyu status），且企业中间证书包含该主机："
                    f"feiyu inspection renew {permit['tenant']}",
                )
            ]
        case Reason.LINE_UNAVAILABLE:
            return [
                _w(
                    f"one of the lines of grant {grant} carries: {lines} (feiyu line show says what stops it)",
                    f"授权 {grant} 的专线至少一条可用：{lines}（原因见 feiyu line show）",
                )
            ]
        case Reason.KILL_SWITCH:
            return [_w("the kill that cut it is released, or over", "解除紧急切断，或等待其到期")]
        case Reason.ADDRESS_FORBIDDEN:
            return [
                _w(
                    "the name leads to addresses that may be reached (the detail names the one that it led to)",
                    "该名称须解析到允许访问的地址（详情列出了所解析到的地址）",
                ),
                _w(
                    f"where it is meant to lead there: feiyu service edit {service} --special-prefix PREFIX "
                    "(not for loopback, link-local, metadata or this machine's own addresses)",
                    f"若确应解析到该地址：feiyu service edit {service} --special-prefix PREFIX"
                    "（环回、链路本地、元数据及本机地址除外）",
                ),
            ]
        case _:
            return []


def _not_whitelisted(tenant: Tenant, services: list[Service], grants: list[Grant], target: Target) -> list[Words]:
    live = [service for service in services if not service.retired]
    if not live:
        return [
            _w(
                f"a service with an endpoint for {target.host} is added, and granted to {tenant.id}",
                f"登记包含 {target.host} 的服务，并授权给租户 {tenant.id}",
            )
        ]
    dead = [grant for grant in grants if grant.state is not GrantState.EFFECTIVE]
    again = [_w(f"grant {g.id}, now {g.state}, is in force", f"授权 {g.id}（目前 {g.state}）恢复有效") for g in dead]
    return again + [
        _w(
            f"service {s.id} is granted to {tenant.id} (feiyu grant add)",
            f"将服务 {s.id} 授权给租户 {tenant.id}（feiyu grant add）",
        )
        for s in live
    ]


def names(endpoint: Endpoint, target: Target) -> bool:
    """Whether the endpoint is for the target's host."""
    if target.is_ip:
        return "/" in endpoint.target and ip_address(target.host) in ip_network(endpoint.target)
    if endpoint.target.startswith("*."):
        return target.host.endswith(endpoint.target[1:])
    return target.host == endpoint.target


def _covers(grant: Grant, service: Service) -> bool:
    kind, _, name = grant.object.partition(":")
    return name == service.id if kind == "service" else name in service.categories


def _grant_why_not(grant: Grant, at: int) -> str:
    if grant.state is not GrantState.EFFECTIVE:
        return f"grant is {grant.state}"
    window = grant.window
    if at < window.valid_from:
        return f"grant begins {_date(window.valid_from)}"
    if at >= window.valid_until:
        return f"grant ended {_date(window.valid_until)}"
    return "" if _within(window, at) else "outside the grant's weekdays or hours"


def _within(window: Window, at: int) -> bool:
    local = datetime.fromtimestamp(at, UTC) + timedelta(minutes=window.utc_offset_minutes)
    minute = local.hour * 60 + local.minute
    day_fits = not window.weekdays or local.weekday() in window.weekdays
    return day_fits and window.start_minute <= minute < window.end_minute


def _endpoint_why_not(endpoint: Endpoint, target: Target, access: Access) -> str:
    if target.port not in endpoint.ports:
        return f"port {target.port} is not among {_ports(endpoint)}"
    if (access is Access.HTTP) != (endpoint.protocol is Protocol.HTTP):
        return f"the endpoint speaks {endpoint.protocol}"
    return ""


def _ports(endpoint: Endpoint) -> str:
    return ", ".join(map(str, endpoint.ports))


def _date(second: int) -> str:
    return datetime.fromtimestamp(min(second, 253_402_300_799), UTC).strftime("%Y-%m-%d %H:%M UTC")


def _w(en: str, zh: str) -> Words:
    return {"en": en, "zh": zh}
