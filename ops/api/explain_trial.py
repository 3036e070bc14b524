"""Explaining with another policy than the one in force: as it was at a past moment, or as a proposal would make it."""

import time
from typing import Any

import msgspec
from aiohttp import web

from ops.api.authority import AUTHORITY
from ops.api.policy_wishes import Wish
from ops.api.problems import Problem
from tenants.change import ChangeRefused
from tenants.register import Register
from whitelist.decide import Access, Permit
from whitelist.explain import Considered, explain
from whitelist.past import undone
from whitelist.reason import WORDING
from whitelist.snapshot import Snapshot
from whitelist.suite import source_of
from whitelist.target import Target
from whitelist.trial import Trial


async def as_it_was(
    request: web.Request, tenant: str, target: Target, access: Access, source: str, at: int
) -> dict[str, Any]:
    """The verdict that the policy in force at a past second gave. Raises Problem."""

    def asked(register: Register, snapshot: Snapshot | None) -> dict[str, Any]:
        revision, back = undone(register, at)
        trial = Trial.over(_in_step(register, snapshot), back)
        return {"revision": revision, "as_of": at, **_explained(trial, tenant, target, access, source, at)}

    return await request.app[AUTHORITY].consider(asked)


async def as_proposed(
    request: web.Request, fields: dict[str, Any], tenant: str, target: Target, access: Access, source: str, at: int
) -> dict[str, Any]:
    """The verdict that the policy in force would give with a proposal applied. Raises Problem."""
    wish = Wish.of(fields)

    def asked(register: Register, snapshot: Snapshot | None) -> dict[str, Any]:
        changes = wish.planned(register)
        try:
            applied = register.rehearse(changes, "plan", "a plan", int(time.time()))
        except ChangeRefused as error:
            raise wish.refused(error) from error
        trial = Trial.over(_in_step(register, snapshot), applied.changed)
        told = _explained(trial, tenant, target, access, source, at)
        return {"revision": register.revision(), "policy": wish.name, **told}

    return await request.app[AUTHORITY].consider(asked)


def _in_step(register: Register, snapshot: Snapshot | None) -> Snapshot:
    """The policy in force, if it says what the register says."""
    if snapshot is None or snapshot.revision != register.revision():
        what = "the published policy is not the register's"
        raise Problem(503, "policy-unavailable", "Not available", what, "see `feiyu status`, then try again")
    return snapshot


def _explained(trial: Trial, tenant: str, target: Target, access: Access, source: str, at: int) -> dict[str, Any]:
    entry = trial.tenant(tenant)
    if entry is None:
        what = f"there was, or would be, no tenant {tenant}"
        raise Problem(404, "unknown", "Not found", what, "list the tenants to see their ids")
    assumed = not source
    source = source or source_of(entry)
    found = explain(trial, entry, source, None, target, access, at)
    verdict = found.verdict
    if isinstance(verdict, Permit):
        told: dict[str, Any] = {
            "decision": "permit",
            **{name: getattr(verdict, name) for name in ("grant", "service", "endpoint", "protocol", "not_after")},
            "lines": list(verdict.lines),
        }
        lines, service = ", ".join(verdict.lines), verdict.service
        text = {
            "en": f"Allowed by grant {verdict.grant} (service {service}, endpoint {verdict.endpoint}) over {lines}.",
            "zh": f"由授权 {verdict.grant} 放行（服务 {service}，端点 {verdict.endpoint}），经专线 {lines}。",
        }
    else:
        fields = {"reason": verdict.reason, "grant": verdict.grant, "rule": verdict.rule, "detail": verdict.detail}
        told = {"decision": "deny", **{name: value for name, value in fields.items() if value}}
        wording = WORDING[verdict.reason]
        text = {"en": wording.en, "zh": wording.zh}
    return {
        "tenant": tenant,
        "target": target.authority,
        "access": access,
        "source": source,
        "source_assumed": assumed,
        "interface": "",
        "at": at,
        "verdict": told,
        "text": text,
        "candidates": [_considered(one) for one in found.candidates],
        "would_have_to_change": [msgspec.to_builtins(words) for words in found.would_have_to_change],
        "left_open": [msgspec.to_builtins(words) for words in found.left_open],
    }


def _considered(one: Considered) -> dict[str, Any]:
    return {
        "service": one.service,
        "endpoint": one.endpoint,
        "protocol": one.protocol,
        "grant": one.grant,
        "fits": not one.why_not,
        "why_not": one.why_not,
    }
