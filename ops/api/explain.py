"""GET /v1/explain: the verdict the workers would give, what was considered, and what would have to change."""

import time
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from aiohttp import web

from ops.api.advice import advise, after_the_permit, considered
from ops.api.authority import AUTHORITY
from ops.api.explain_trial import as_it_was, as_proposed
from ops.api.flows import record_of_ref
from ops.api.present import refused_now
from ops.api.problems import Problem
from ops.api.resources import answer, body_with_reason
from tenants.model import Tenant
from whitelist.candidates import candidates
from whitelist.decide import Access, Denial, Permit
from whitelist.explain import left_open
from whitelist.reason import WORDING, Reason
from whitelist.target import Target, TargetError, parse_asked

_DEFAULT_PORTS = {Access.TUNNEL: 443, Access.HTTP: 80}


def routes() -> list[web.RouteDef]:
    """The route; it stands before those with {collection}."""
    return [web.get("/v1/explain", explain), web.post("/v1/explain", explain_proposal)]


async def explain(request: web.Request) -> web.Response:
    """By ?tenant=&target=host[:port]&access=&source=&at=, or by ?ref= of a refusal: then as it was recorded, and as the
    policy is now at the time of the refusal. A moment that has passed is asked of the policy as it was then."""
    query = request.query
    if ref := query.get("ref"):
        record = await record_of_ref(request, ref)
        return answer(await _by_record(request, record))
    tenant, target, access, source, at = _asked(query)
    if query.get("at") and at < int(time.time()):
        return answer(await as_it_was(request, tenant, target, access, source, at))
    return answer(await judge(request, tenant, target, access, source, "", at, now=not query.get("at")))


async def explain_proposal(request: web.Request) -> web.Response:
    """The same question in the query, asked of the policy as {"proposal"} or {"rollback"} in the body would make it."""
    fields, _ = await body_with_reason(request, limit=None)
    return answer(await as_proposed(request, fields, *_asked(request.query)))


def _asked(query: Mapping[str, str]) -> tuple[str, Target, Access, str, int]:
    """Tenant, target, access, source ("": any of the tenant's) and moment. Raises Problem 422."""
    if not query.get("tenant") or not query.get("target"):
        raise _invalid("target" if query.get("tenant") else "tenant", "is needed, or ref")
    try:
        access = Access(query.get("access", Access.TUNNEL))
    except ValueError:
        raise _invalid("access", "needs tunnel or http") from None
    target = parse_target(query["target"], _DEFAULT_PORTS[access])
    source = query.get("source", "")
    if source:
        try:
            source = str(ip_address(source))
        except ValueError:
            raise _invalid("source", "needs an IP address") from None
    return query["tenant"], target, access, source, _time(query.get("at", ""))


async def _by_record(request: web.Request, record: dict[str, Any]) -> dict[str, Any]:
    """The refusal as recorded, and today's verdict on the same request at the same second."""
    recorded = {
        key: record[key]
        for key in ("decision", "reason", "rule", "grant", "service", "revision", "time", "detail")
        if key in record
    }
    result: dict[str, Any] = {
        "ref": record.get("ref", ""),
        "record": record,
        "verdict": {"decision": "deny", **recorded},
    }
    result["text"] = reason_text(str(record.get("reason", "")))
    if record.get("tenant") and record.get("host") and record.get("port"):  # an enrolment asks for no service
        access = Access.TUNNEL if record.get("method", "CONNECT") == "CONNECT" else Access.HTTP
        target = parse_target(_joined(record["host"], record.get("port", 0)), _DEFAULT_PORTS[access])
        source, interface = record.get("client_ip", ""), record.get("interface", "")
        at = int(record.get("time", 0)) // 1_000_000
        try:
            now = await judge(request, record["tenant"], target, access, source, interface, at)
        except Problem as problem:
            now = {"unavailable": problem.detail, "candidates": [], "would_have_to_change": []}
        result |= {key: now.pop(key) for key in ("candidates", "would_have_to_change")}
        if now.get("verdict", {}).get("decision") == "permit":
            result["would_have_to_change"] = after_the_permit(str(record.get("reason", "")), now["verdict"])
        result["with_current_policy"] = now
    return result


async def judge(
    request: web.Request,
    tenant_id: str,
    target: Target,
    access: Access,
    source: str,
    interface: str,
    at: int,
    *,
    now: bool = False,
) -> dict[str, Any]:
    """The verdict at Unix second `at` with the published policy, in words, with its reasons. Without a source, one of
    the tenant's own is taken. now: `at` is this moment, so beside a permit it is said whether anything but the
    policy would refuse (but_now), and what of that cannot be known here (not_known)."""
    authority = request.app[AUTHORITY]
    tenant, services, grants = await authority.read(
        lambda register: candidates(register, tenant_id, target.host, is_ip=target.is_ip)
    )
    assumed = not source
    source, interface = _origin(tenant, source, interface)
    verdict = await authority.run(
        lambda: authority.policy.decide(tenant_id, source, interface or None, target, access, at)
    )
    result: dict[str, Any] = {
        "tenant": tenant_id,
        "target": target.authority,
        "access": access,
        "source": source,
        "source_assumed": assumed,
        "interface": interface,
        "at": at,
        "revision": verdict.revision,
        "verdict": verdict_fields(verdict),
        "candidates": considered(tenant, services, grants, target, access, at),
    }
    if isinstance(verdict, Permit):
        lines, service = ", ".join(verdict.lines), verdict.service
        result["text"] = {
            "en": f"Allowed by grant {verdict.grant} (service {service}, endpoint {verdict.endpoint}) over {lines}.",
            "zh": f"由授权 {verdict.grant} 放行（服务 {service}，端点 {verdict.endpoint}），经专线 {lines}。",
        }
        result["would_have_to_change"] = []
        if now:
            hindered, unknown = await refused_now(request, tenant, verdict, target)
            result |= {"but_now": hindered} if hindered else {}
            result |= {"not_known": unknown} if unknown else {}
        result["left_open"] = [{"en": words.en, "zh": words.zh} for words in left_open(verdict)]
    else:
        result["text"] = reason_text(verdict.reason)
        result["would_have_to_change"] = advise(verdict, tenant, services, grants, target, access, source, at)
    return result


def verdict_fields(verdict: Permit | Denial) -> dict[str, Any]:
    """The verdict as JSON."""
    if isinstance(verdict, Permit):
        return {
            "decision": "permit",
            "grant": verdict.grant,
            "service": verdict.service,
            "endpoint": verdict.endpoint,
            "protocol": verdict.protocol,
            "lines": list(verdict.lines),
            "not_after": verdict.not_after,
        }
    fields = {"reason": verdict.reason, "grant": verdict.grant, "rule": verdict.rule, "detail": verdict.detail}
    return {"decision": "deny", **{key: value for key, value in fields.items() if value}}


def reason_text(reason: str) -> dict[str, str]:
    """A reason in words."""
    if reason not in Reason:
        return {"en": reason, "zh": reason}
    wording = WORDING[Reason(reason)]
    return {"en": wording.en, "zh": wording.zh}


def parse_target(text: str, default_port: int) -> Target:
    """host, host:port, [v6]:port or a bare IPv6 address. Raises Problem 422."""
    try:
        return parse_asked(text, default_port)
    except TargetError as error:
        raise _invalid("target", f"{error.reason}: {error.detail}") from None


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _origin(tenant: Tenant, source: str, interface: str) -> tuple[str, str]:
    """Source address and interface: as given, else of the place that has the source, else of the first place."""
    if not source:
        if not tenant.places:
            return "", interface
        network = ip_network(tenant.places[0].prefix)
        host = network.network_address + (1 if network.num_addresses > 2 else 0)
        return str(host), interface or tenant.places[0].interface
    try:
        address = ip_address(source)
    except ValueError:
        raise _invalid("source", "needs an IP address") from None
    if interface:
        return str(address), interface
    within = (place.interface for place in tenant.places if address in ip_network(place.prefix))
    return str(address), next(within, "")


def _time(text: str) -> int:
    if not text:
        return int(time.time())
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise _invalid("at", "needs Unix seconds")
    return int(text)


def _invalid(name: str, message: str) -> Problem:
    return Problem(422, "invalid", "Not valid", f"{name} {message}", "correct the query", [(name, message)])
