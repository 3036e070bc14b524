"""Why a verdict is what it is: the verdict of decide(), and the very candidates that it weighed.

Nothing is judged here. What is shown of a candidate is what decide() found on its one walk, and the change proposed is
the one that undoes the fault the verdict names.
"""

import msgspec

from whitelist import catalogue
from whitelist.catalogue import Policy
from whitelist.decide import Access, Candidate, Denial, Permit, candidates, covering, decide, standing
from whitelist.entries import DenyEntry, EndpointEntry, TenantEntry
from whitelist.model import Protocol
from whitelist.reason import Reason
from whitelist.target import Target
from whitelist.tls_terms import USUAL, Ech, Nameless


class Words(msgspec.Struct, frozen=True):
    """A sentence in both languages."""

    en: str
    zh: str


class Considered(msgspec.Struct, frozen=True, kw_only=True):
    """A grant with an endpoint of its service, or (grant "") an endpoint of a service that was not granted. via: the
    names by which the grant holds ("group:research → category:reference"). why_not is "" for what permits."""

    service: str
    endpoint: str
    protocol: str
    ports: tuple[int, ...]
    grant: str = ""
    via: str = ""
    lines: tuple[str, ...] = ()
    reason: str = ""
    why_not: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict; the global denies for the host (those with other ports too); all candidates, in the order in which
    they count; what would have to change for a permit, as alternatives; and what a permit leaves open."""

    verdict: Permit | Denial
    denies: tuple[DenyEntry, ...]
    candidates: tuple[Considered, ...]
    would_have_to_change: tuple[Words, ...]
    left_open: tuple[Words, ...] = ()


def explain(
    policy: Policy,
    tenant: TenantEntry,
    source_ip: str,
    interface: str | None,
    target: Target,
    access: Access,
    now: int,
) -> Explanation:
    """Explains decide() of the same arguments."""
    denies, endpoints = catalogue.rows(policy, target)
    walked = list(candidates(policy, tenant, endpoints, target.port, access, now))
    verdict = decide(policy, tenant, source_ip, interface, target, access, now)
    granted = {id(candidate.endpoint) for candidate in walked}
    shown = [_shown(candidate) for candidate in walked]
    shown += [_not_granted(endpoint, tenant) for endpoint in endpoints if id(endpoint) not in granted]
    changes: tuple[Words, ...] = ()
    if isinstance(verdict, Denial):
        at_the_door = standing(policy, tenant, source_ip, interface, now) is not None
        changes = (
            _door(verdict, tenant) if at_the_door else _changes(verdict, tenant, walked, denies, endpoints, target)
        )
    return Explanation(
        verdict=verdict,
        denies=tuple(denies),
        candidates=tuple(shown),
        would_have_to_change=changes,
        left_open=left_open(verdict) if isinstance(verdict, Permit) else (),
    )


def left_open(permit: Permit) -> tuple[Words, ...]:
    """What cannot be excluded in a tunnel under this permit, as far as its ClientHello is concerned."""
    if permit.protocol is not Protocol.TLS:
        return ()
    terms, grant = permit.tls or USUAL, permit.grant
    found = []
    if permit.inspect is not None:
        found.append(
            Words(
                f"its content is inspected: grant {grant} has the gateway decrypt it and hold each request against "
                f"{len(permit.inspect.rules)} rules; kept are method, path without query, status, sizes and type",
                f"内容受检查：授权 {grant} 要求网关解密，并以 {len(permit.inspect.rules)} 条规则核对每个请求；"
                "仅留存方法、不含查询的路径、状态、大小和类型",
            )
        )
    if terms.ech is Ech.NOTE:
        found.append(
            Words(
                f"another name hidden by ECH cannot be excluded: grant {grant} notes ECH and lets it pass; browsers "
                "send a look-alike that hides nothing (GREASE), which only the service can tell apart",
                f"不能排除 ECH 隐藏了另一个域名：授权 {grant} 对 ECH 只记录、不拒绝；"
                "浏览器常发送不隐藏任何内容的同形数据（GREASE），只有服务端能够区分",
            )
        )
    if terms.no_sni is Nameless.ALLOW or (terms.no_sni is Nameless.USUAL and "/" in permit.endpoint):
        found.append(
            Words(
                f"a tunnel without a server name passes under grant {grant}: which of the services at the address is "
                "meant cannot be told",
                f"授权 {grant} 放行不带服务器名称的连接：无法得知访问的是该地址上的哪个服务",
            )
        )
    return tuple(found)


def _shown(candidate: Candidate) -> Considered:
    endpoint, fault = candidate.endpoint, candidate.fault
    subject, thing = candidate.subject.decode().rstrip("|"), candidate.object.decode()
    return Considered(
        service=endpoint.service,
        endpoint=endpoint.target,
        protocol=endpoint.PROTOCOLS[endpoint.protocol],
        ports=endpoint.ports,
        grant=candidate.grant.id,
        via=f"{subject} → {thing}",
        lines=candidate.lines,
        reason="" if fault is None else fault[0],
        why_not="" if fault is None else fault[1],
    )


def _not_granted(endpoint: EndpointEntry, tenant: TenantEntry) -> Considered:
    return Considered(
        service=endpoint.service,
        endpoint=endpoint.target,
        protocol=endpoint.PROTOCOLS[endpoint.protocol],
        ports=endpoint.ports,
        reason=Reason.NOT_WHITELISTED,
        why_not=f"not granted to {tenant.id}",
    )


def _door(denial: Denial, tenant: TenantEntry) -> tuple[Words, ...]:
    """What the tenant itself lacks."""
    match denial.reason:
        case Reason.TENANT_SUSPENDED:
            return (Words(f"tenant {tenant.id} is resumed", f"恢复租户 {tenant.id}"),)
        case Reason.SOURCE_NOT_ALLOWED:
            return (
                Words("the request comes from one of the tenant's places", "请求须来自租户的登记地址和接入接口"),
                Words("the source is added to the tenant's places", "将该来源登记为租户的地址"),
            )
        case Reason.DIRECTION_NOT_ALLOWED:
            return (Words("the tenant's place is in the offshore zone", "租户的接入地址须在离岸区"),)
        case _:
            return (Words(f"tenant {tenant.id} is in force at the time", f"租户 {tenant.id} 在该时刻有效"),)


def _changes(
    denial: Denial,
    tenant: TenantEntry,
    walked: list[Candidate],
    denies: list[DenyEntry],
    endpoints: list[EndpointEntry],
    target: Target,
) -> tuple[Words, ...]:
    """What a permit lacks; a candidate counts when it failed as the verdict did."""
    deny = covering(denies, target.port)
    if deny is not None:
        return (
            Words(f"the global deny {deny.id} ({deny.target}) is removed", f"撤销全局禁止 {deny.id}（{deny.target}）"),
        )
    close = [candidate for candidate in walked if candidate.fault and candidate.fault[0] is denial.reason]
    if close:
        return tuple(dict.fromkeys(_undone(candidate, target) for candidate in close))
    if endpoints:
        names = dict.fromkeys(endpoint.service for endpoint in endpoints)
        return tuple(
            Words(f"service {name} is granted to {tenant.id}", f"将服务 {name} 授权给租户 {tenant.id}")
            for name in names
        )
    return (
        Words(
            f"a service with an endpoint for {target.host} is added, and granted to {tenant.id}",
            f"登记包含 {target.host} 的服务，并授权给租户 {tenant.id}",
        ),
    )


def _undone(candidate: Candidate, target: Target) -> Words:
    """What would undo a candidate's fault."""
    assert candidate.fault is not None
    grant, service = candidate.grant.id, candidate.endpoint.service
    match candidate.fault[0]:
        case Reason.PORT_NOT_ALLOWED:
            return Words(f"service {service} gets port {target.port}", f"服务 {service} 增加端口 {target.port}")
        case Reason.PROTOCOL_NOT_ALLOWED:
            return Words(
                f"service {service} gets an endpoint for this way of asking ({candidate.fault[1]})",
                f"服务 {service} 增加适用于该访问方式的端点",
            )
        case Reason.GRANT_EXPIRED:
            return Words(f"grant {grant} is renewed", f"续期授权 {grant}")
        case Reason.OUTSIDE_WINDOW:
            return Words(
                f"the request comes in the hours of grant {grant}, or they are extended",
                f"在授权 {grant} 的时段内访问，或调整其时段",
            )
        case Reason.DIRECTION_NOT_ALLOWED:
            return Words(f"grant {grant} gets a line that leads abroad", f"为授权 {grant} 指定通往境外的专线")
        case Reason.CONSENT_MISSING:
            return Words(
                f"the firm's consent to inspection is put on file (tenant consent), as grant {grant} asks for it",
                f"登记企业对内容检查的书面同意（tenant consent），授权 {grant} 需要该同意",
            )
        case Reason.INSPECTION_UNAVAILABLE:
            return Words(
                f"grant {grant} is made anew without inspection ({candidate.fault[1]})",
                f"以不含内容检查的方式重新建立授权 {grant}",
            )
        case Reason.DATA_GRADE_FORBIDDEN:
            return Words(f"grant {grant} is for data that may leave", f"授权 {grant} 的数据级别须允许出境")
        case _:
            return Words(f"grant {grant}, now suspended, is resumed", f"恢复已暂停的授权 {grant}")
