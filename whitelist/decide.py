"""The verdict: may this tenant, from there, reach that, now. Pure; the one reading of the compiled policy, for traffic
and for explain alike.

The order of reasons: the tenant's state and term, its place, the direction; then a global deny; then the candidates,
each an endpoint for the host with a grant to the tenant. One that passes all its checks permits; else the one that came
closest gives the reason, with port, protocol, term, window, line and data grade checked in this order.
"""

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from tenants.model import TenantState
from whitelist import catalogue
from whitelist.catalogue import Policy
from whitelist.entries import (
    CORE,
    EFFECTIVE,
    EXPIRED,
    DenyEntry,
    EndpointEntry,
    GrantEntry,
    Schedule,
    TenantEntry,
    decode_grants,
)
from whitelist.ip_text import parse_v4, parse_v6
from whitelist.model import Protocol
from whitelist.reason import Reason
from whitelist.target import Target

DAY = 86_400
_ACTIVE = (TenantState.ACTIVE, TenantState.RENEWAL_DUE)
_PROTOCOLS = tuple(Protocol(name) for name in EndpointEntry.PROTOCOLS)
_HTTP = EndpointEntry.PROTOCOLS.index("http")

# How close a candidate came, by the check it failed.
CLOSENESS = {
    reason: n
    for n, reason in enumerate(
        (
            Reason.NOT_WHITELISTED,
            Reason.PORT_NOT_ALLOWED,
            Reason.PROTOCOL_NOT_ALLOWED,
            Reason.GRANT_EXPIRED,
            Reason.OUTSIDE_WINDOW,
            Reason.DIRECTION_NOT_ALLOWED,
            Reason.DATA_GRADE_FORBIDDEN,
        )
    )
}


class Access(StrEnum):
    """How the client asks: CONNECT, or a request in absolute-form."""

    TUNNEL = "tunnel"
    HTTP = "http"


class Permit(msgspec.Struct, frozen=True, gc=False):
    """What may be done, over which lines (in order of preference), and until when (Unix seconds: the earliest end of
    tenant, grant and its window)."""

    tenant: str
    grant: str
    service: str
    endpoint: str
    protocol: Protocol
    lines: tuple[str, ...]
    not_after: int
    revision: int
    special_prefixes: tuple[str, ...]
    max_tunnels: int
    slot: int


class Denial(msgspec.Struct, frozen=True, gc=False):
    """Why not. rule: the global deny that decided; grant: the one that came closest; detail: for records."""

    reason: Reason
    revision: int
    tenant: str = ""
    grant: str = ""
    rule: str = ""
    detail: str = ""


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A grant with an endpoint of its service. reason is None when it permits until `until`, over `lines`; else the
    first check that failed."""

    endpoint: EndpointEntry
    grant: GrantEntry
    subject: bytes
    object: bytes
    reason: Reason | None
    detail: str = ""
    until: int = 0
    lines: tuple[str, ...] = ()


def decide(
    policy: Policy,
    tenant: TenantEntry,
    source_ip: str,
    interface: str | None,
    target: Target,
    access: Access,
    now: int,
) -> Permit | Denial:
    """The verdict at Unix second now. source_ip: canonical text; interface: the access interface, None only where none
    is asked about (explain). Raises nothing for a sound policy; whatever is raised must be taken as a denial."""
    refused = standing(policy, tenant, source_ip, interface, now)
    if refused is not None:
        return refused
    denies, endpoints = catalogue.rows(policy, target)
    if denies:
        deny = covering(denies, target.port)
        if deny is not None:
            return Denial(
                Reason.NOT_WHITELISTED, policy.revision, tenant.id, rule=deny.id, detail=f"global deny {deny.target}"
            )
    best: Candidate | None = None
    rank = -1
    for candidate in candidates(policy, tenant, endpoints, target.port, access, now):
        reason = candidate.reason
        if reason is None:
            endpoint, grant, until = candidate.endpoint, candidate.grant, candidate.until
            return Permit(
                tenant.id,
                grant.id,
                endpoint.service,
                endpoint.target,
                _PROTOCOLS[endpoint.protocol],
                candidate.lines,
                until if until < tenant.valid_until else tenant.valid_until,  # noqa: FURB136 - min() is slower
                policy.revision,
                endpoint.special_prefixes,
                tenant.max_tunnels,
                tenant.slot,
            )
        if CLOSENESS[reason] > rank:
            best, rank = candidate, CLOSENESS[reason]
    if best is None or best.reason is None:
        detail = "no service has an endpoint for the host" if not endpoints else "no grant of a service with the host"
        return Denial(Reason.NOT_WHITELISTED, policy.revision, tenant.id, detail=detail)
    return Denial(best.reason, policy.revision, tenant.id, best.grant.id, detail=best.detail)


def standing(policy: Policy, tenant: TenantEntry, source_ip: str, interface: str | None, now: int) -> Denial | None:
    """What is wrong with the tenant itself or where it asks from, whatever it asks for."""
    state = tenant.state
    if state not in _ACTIVE:
        reason = Reason.TENANT_SUSPENDED if state is TenantState.SUSPENDED else Reason.TENANT_EXPIRED
        return Denial(reason, policy.revision, tenant.id, detail=f"tenant is {state}")
    if not tenant.valid_from <= now < tenant.valid_until:
        detail = "term has not begun" if now < tenant.valid_from else "term is over"
        return Denial(Reason.TENANT_EXPIRED, policy.revision, tenant.id, detail=detail)
    family, value = (16, parse_v6(source_ip)) if ":" in source_ip else (4, parse_v4(source_ip))
    packed = b"" if value is None else value.to_bytes(family)
    for place in tenant.places:
        if (
            len(place.first) == len(packed)
            and place.first <= packed <= place.last
            and (interface is None or place.interface == interface)
        ):
            if place.offshore:
                return None
            detail = "the place is not in the offshore zone"
            return Denial(Reason.DIRECTION_NOT_ALLOWED, policy.revision, tenant.id, detail=detail)
    return Denial(Reason.SOURCE_NOT_ALLOWED, policy.revision, tenant.id, detail="no place of the tenant")


def covering(denies: list[DenyEntry], port: int) -> DenyEntry | None:
    """The first of the denies that is for this port."""
    for deny in denies:
        if not deny.ports or port in deny.ports:
            return deny
    return None


def denied_address(policy: Policy, address: str, port: int) -> str:
    """The id of a global deny whose prefix covers a resolved address (canonical text), or "". A name must not lead
    around a deny of the address behind it."""
    denies, _ = catalogue.rows(policy, Target(address, port, is_ip=True))
    deny = covering(denies, port) if denies else None
    return deny.id if deny is not None else ""


def candidates(
    policy: Policy, tenant: TenantEntry, endpoints: list[EndpointEntry], port: int, access: Access, now: int
) -> Iterator[Candidate]:
    """Every grant to the tenant of a service (or its categories) with each endpoint, in the order in which they count:
    the more specific endpoint first, its service before its categories, the tenant before its groups, the grant that
    ends last first."""
    get = policy.get
    for endpoint in endpoints:
        for thing in endpoint.objects:
            for subject in tenant.subjects:
                value = get(b"g" + subject + thing)
                if value is not None:
                    for grant in decode_grants(value):
                        yield _judge(policy, endpoint, grant, subject, thing, port, access, now)


def _judge(
    policy: Policy,
    endpoint: EndpointEntry,
    grant: GrantEntry,
    subject: bytes,
    thing: bytes,
    port: int,
    access: Access,
    now: int,
) -> Candidate:
    reason, detail, until, lines = None, "", grant.valid_until, grant.lines
    if grant.state != EFFECTIVE and grant.state != EXPIRED:
        reason, detail = Reason.NOT_WHITELISTED, "the grant is suspended"
    elif port not in endpoint.ports:
        reason, detail = Reason.PORT_NOT_ALLOWED, f"port {port} is not among the endpoint's"
    elif (endpoint.protocol == _HTTP) is not (access is Access.HTTP):
        reason, detail = Reason.PROTOCOL_NOT_ALLOWED, f"the endpoint speaks {_PROTOCOLS[endpoint.protocol]}"
    elif grant.state == EXPIRED or now >= until:
        reason, detail = Reason.GRANT_EXPIRED, "the grant has ended"
    elif now < grant.valid_from:
        reason, detail = Reason.OUTSIDE_WINDOW, "the grant has not begun"
    elif grant.schedule is not None and (until := min(until, open_until(grant.schedule, now))) <= now:
        reason, detail = Reason.OUTSIDE_WINDOW, "outside the grant's weekdays or hours"
    elif not policy.abroad.issuperset(lines) and not (lines := tuple(filter(policy.abroad.__contains__, lines))):
        reason, detail = Reason.DIRECTION_NOT_ALLOWED, "no line of the grant leads abroad"
    elif grant.grade == CORE:
        reason, detail = Reason.DATA_GRADE_FORBIDDEN, "core data never leaves"
    return Candidate(endpoint, grant, subject, thing, reason, detail, until, lines)


def open_until(schedule: Schedule, now: int) -> int:
    """The Unix second at which the hours that now is in are over, midnights with no gap passed over; 0 outside them."""
    offset = schedule.offset * 60
    day, second = divmod(now + offset, DAY)
    if not schedule.days >> (day + 3) % 7 & 1 or not schedule.start * 60 <= second < schedule.end * 60:
        return 0  # day 0 was a Thursday
    if schedule.end == 1440 and schedule.start == 0:
        for _ in range(7):
            if not schedule.days >> (day + 4) % 7 & 1:
                break
            day += 1
    return day * DAY + schedule.end * 60 - offset
