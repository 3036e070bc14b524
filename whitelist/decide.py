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
    EXPIRED,
    SUSPENDED,
    DenyEntry,
    EndpointEntry,
    GrantEntry,
    Schedule,
    TenantEntry,
    decode_grants,
)
from whitelist.inspection import EXEMPT_OBJECTS, Inspect
from whitelist.ip_text import parse_v4, parse_v6
from whitelist.model import Protocol
from whitelist.reason import Reason
from whitelist.target import Target
from whitelist.tls_terms import TlsTerms

DAY = 86_400
_ACTIVE = (TenantState.ACTIVE, TenantState.RENEWAL_DUE)
_PROTOCOLS = tuple(Protocol(name) for name in EndpointEntry.PROTOCOLS)
_HTTP = EndpointEntry.PROTOCOLS.index("http")
# How a service must be asked, by whether it was asked in plain HTTP.
_HOW = (
    "ask it in plain requests of an HTTP proxy (http://), not through CONNECT or SOCKS",
    "ask it through CONNECT or SOCKS (https:// in most programs), not in plain requests",
)

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
            Reason.INSPECTION_UNAVAILABLE,
            Reason.CONSENT_MISSING,
        )
    )
}


class Access(StrEnum):
    """How the client asks: CONNECT, or a request in absolute-form."""

    TUNNEL = "tunnel"
    HTTP = "http"


class Permit(msgspec.Struct, frozen=True, gc=False):
    """What may be done, over which lines (in order of preference), and until when (Unix seconds: the earliest end of
    tenant, grant and its window). tls: the grant's terms for a ClientHello, None for the usual;
    inspect: what is allowed inside, None where nobody looks."""

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
    weights: tuple[int, ...] = ()  # of `lines`, in their order; empty: strictly in order
    tls: TlsTerms | None = None
    inspect: Inspect | None = None


class Denial(msgspec.Struct, frozen=True, gc=False):
    """Why not. rule: the global deny that decided; grant: the one that came closest; detail: for records."""

    reason: Reason
    revision: int
    tenant: str = ""
    grant: str = ""
    rule: str = ""
    detail: str = ""


Fault = tuple[Reason, str]  # a check that failed, and what about it


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A grant with an endpoint of its service. fault: the first check that failed; None: it permits until `until`
    (Unix s), over `lines`. subject and object: those of the tenant's and the endpoint's names that the grant is for."""

    endpoint: EndpointEntry
    grant: GrantEntry
    subject: bytes
    object: bytes
    fault: Fault | None
    until: int
    lines: tuple[str, ...]


_ELSEWHERE: Fault = (Reason.SOURCE_NOT_ALLOWED, "no place of the tenant")
_NOT_OFFSHORE: Fault = (Reason.DIRECTION_NOT_ALLOWED, "the place is not in the offshore zone")
_NOT_GRANTED: Fault = (Reason.NOT_WHITELISTED, "no grant of a service with the host")
_SUSPENDED: Fault = (Reason.NOT_WHITELISTED, "the grant is suspended")
_ENDED: Fault = (Reason.GRANT_EXPIRED, "the grant has ended")
_NOT_BEGUN: Fault = (Reason.OUTSIDE_WINDOW, "the grant has not begun")
_OUT_OF_HOURS: Fault = (Reason.OUTSIDE_WINDOW, "outside the grant's weekdays or hours")
_NOT_ABROAD: Fault = (Reason.DIRECTION_NOT_ALLOWED, "no line of the grant leads abroad")
_EXEMPT: Fault = (Reason.INSPECTION_UNAVAILABLE, "a category of the service is never inspected, and the grant asks it")
_NO_TLS: Fault = (Reason.INSPECTION_UNAVAILABLE, "only TLS tunnels are inspected, and the endpoint is none")
_NO_CONSENT: Fault = (Reason.CONSENT_MISSING, "the firm has not consented to inspection")
_CONSENT_OVER: Fault = (Reason.CONSENT_MISSING, "the firm's consent to inspection is not in force")
_CORE_DATA: Fault = (Reason.DATA_GRADE_FORBIDDEN, "core data never leaves")


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
    closest: Candidate | None = None
    fault, rank = _NOT_GRANTED, -1
    for candidate in candidates(policy, tenant, endpoints, target.port, access, now):
        if candidate.fault is None:
            endpoint, until = candidate.endpoint, candidate.until
            return Permit(
                tenant.id,
                candidate.grant.id,
                endpoint.service,
                endpoint.target,
                _PROTOCOLS[endpoint.protocol],
                candidate.lines,
                until if until < tenant.valid_until else tenant.valid_until,  # noqa: FURB136 - min() is slower
                policy.revision,
                endpoint.special_prefixes,
                tenant.max_tunnels,
                tenant.slot,
                _weights(candidate),
                candidate.grant.tls,
                candidate.grant.inspect,
            )
        if CLOSENESS[candidate.fault[0]] > rank:
            closest, fault = candidate, candidate.fault
            rank = CLOSENESS[fault[0]]
    grant = "" if closest is None else closest.grant.id
    return Denial(fault[0], policy.revision, tenant.id, grant, detail=fault[1])


def _weights(candidate: Candidate) -> tuple[int, ...]:
    """The weights of the candidate's lines: those that do not lead abroad took theirs with them."""
    grant = candidate.grant
    if not grant.weights or candidate.lines is grant.lines:
        return grant.weights
    return tuple(w for line, w in zip(grant.lines, grant.weights, strict=True) if line in candidate.lines)


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
    fault = _ELSEWHERE
    for place in tenant.places:
        if (
            len(place.first) == len(packed)
            and place.first <= packed <= place.last
            and (interface is None or place.interface == interface)
        ):
            if place.offshore:
                return None
            fault = _NOT_OFFSHORE
    return Denial(fault[0], policy.revision, tenant.id, detail=fault[1])


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
    get, abroad, plain = policy.get, policy.abroad, access is Access.HTTP
    for endpoint in endpoints:
        unfit: Fault | None = None
        if port not in endpoint.ports:
            unfit = (Reason.PORT_NOT_ALLOWED, f"port {port} is not among the endpoint's")
        elif (endpoint.protocol == _HTTP) is not plain:
            how = _HOW[plain]
            unfit = (Reason.PROTOCOL_NOT_ALLOWED, f"the endpoint speaks {_PROTOCOLS[endpoint.protocol]}; {how}")
        for thing in endpoint.objects:
            for subject in tenant.subjects:
                value = get(b"g" + subject + thing)
                if value is not None:
                    for grant in decode_grants(value):
                        until, lines, schedule = grant.valid_until, grant.lines, grant.schedule
                        if schedule is not None:
                            until = min(until, open_until(schedule, now))
                        if not abroad.issuperset(lines):
                            lines = tuple(line for line in lines if line in abroad)
                        fault = unfit
                        if grant.state == SUSPENDED:
                            fault = _SUSPENDED
                        elif fault is None:
                            fault = _fault(grant, until, lines, now)
                            if grant.inspect is not None and fault is None:
                                fault = _uninspectable(tenant, endpoint, now)
                                until = min(until, tenant.consent_until)
                        yield Candidate(endpoint, grant, subject, thing, fault, until, lines)


def _uninspectable(tenant: TenantEntry, endpoint: EndpointEntry, now: int) -> Fault | None:
    """Why what a grant wants inspected may not be: it is then refused, and never passed unread."""
    if not EXEMPT_OBJECTS.isdisjoint(endpoint.objects):
        return _EXEMPT
    if _PROTOCOLS[endpoint.protocol] is not Protocol.TLS:
        return _NO_TLS
    if not tenant.consent_until:
        return _NO_CONSENT
    return None if tenant.consented <= now < tenant.consent_until else _CONSENT_OVER


def _fault(grant: GrantEntry, until: int, lines: tuple[str, ...], now: int) -> Fault | None:
    """What about the grant does not hold now. lines: those that lead abroad."""
    if grant.state == EXPIRED or now >= grant.valid_until:
        return _ENDED
    if now < grant.valid_from:
        return _NOT_BEGUN
    if now >= until:
        return _OUT_OF_HOURS
    if not lines:
        return _NOT_ABROAD
    if grant.grade == CORE:
        return _CORE_DATA
    return None


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
