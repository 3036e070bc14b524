"""Requests: what waits for a second person, and that person's signed word on it."""

from typing import Any

import msgspec
from aiohttp import web

from ops.api.authority import AUTHORITY, Outcome
from ops.api.caller import Caller, caller_of
from ops.api.problems import Problem
from ops.api.resources import answer, body_with_reason, enforcement, limit_of
from tenants.accounts import OF_TENANTS
from tenants.approval import Approval
from tenants.change import UnknownItem
from tenants.request import Request, RequestState, Step
from tenants.requests import Requests, roles_needed


class _Signed(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a decision, beside its reason."""

    digest: str
    role: str
    time: int
    key: str
    signature: str


def routes() -> list[web.RouteDef]:
    """The routes; they stand before those with {collection}."""
    return [
        web.get("/v1/requests", list_requests),
        web.get("/v1/requests/{id}", show),
        web.post("/v1/requests/{id}/approve", approve),
        web.post("/v1/requests/{id}/reject", reject),
        web.post("/v1/requests/{id}/withdraw", withdraw),
    ]


async def list_requests(request: web.Request) -> web.Response:
    """A page: ?state=, ?waiting_for=me, ?limit=, ?cursor=."""
    caller, query = caller_of(), dict(request.query)
    state, waiting = query.pop("state", ""), query.pop("waiting_for", "")
    cursor, limit = query.pop("cursor", ""), limit_of(query.pop("limit", "100"))
    errors = [(name, "is no search field") for name in query]
    if state and state not in RequestState:
        errors.append(("state", f"needs one of {', '.join(RequestState)}"))
    if waiting not in ("", "me"):
        errors.append(("waiting_for", "needs me"))
    if errors:
        raise Problem(422, "invalid", "Not valid", "requests cannot be searched so", "correct the query", errors)
    own = caller.name if _of_tenant(caller) else ""
    waits = caller.name if waiting else ""
    items, following = await request.app[AUTHORITY].read(
        lambda register: Requests(register).page(
            state=state, submitter=own, waiting_for=waits, limit=limit, after_id=cursor
        )
    )
    return answer({"items": [summary(item) for item in items], "next": following})


async def show(request: web.Request) -> web.Response:
    """One request, with its content as the very text that is signed for, and the decisions on it."""
    name, caller = request.match_info["id"], caller_of()
    found, decisions = await request.app[AUTHORITY].read(lambda register: Requests(register).get(name))
    if _of_tenant(caller) and found.submitter != caller.name:
        raise UnknownItem(f"there is no request {name}")
    return answer(summary(found) | {"content": found.content.decode(), "decisions": decisions})


async def approve(request: web.Request) -> web.Response:
    """Applies what was shown; the answer is that of a change."""
    outcome = await _decide(request, Step.APPROVE)
    assert outcome.request is not None
    return answer({"request": summary(outcome.request), **enforcement(outcome)})


async def reject(request: web.Request) -> web.Response:
    """Ends it; the reason says why."""
    outcome = await _decide(request, Step.REJECT)
    assert outcome.request is not None
    return answer({"request": summary(outcome.request)})


async def withdraw(request: web.Request) -> web.Response:
    """The submitter's own end of it."""
    fields, reason = await body_with_reason(request)
    if fields or not reason.strip():
        raise Problem(422, "invalid", "Not valid", "this takes a reason only", "say why", [("reason", "is needed")])
    caller, name = caller_of(), request.match_info["id"]
    found = await request.app[AUTHORITY].withdraw(name, caller.name, reason)
    return answer({"request": summary(found)})


def summary(found: Request) -> dict[str, Any]:
    """A request without its content."""
    fields = (
        "id",
        "state",
        "submitter",
        "roles",
        "collections",
        "submitted",
        "expires",
        "reason",
        "digest",
        "revision",
    )
    waits = roles_needed(found) if found.state is RequestState.SUBMITTED else []
    return {name: getattr(found, name) for name in fields} | {"waits_for": waits}


async def _decide(request: web.Request, step: Step) -> Outcome:
    fields, reason = await body_with_reason(request)
    caller, name = caller_of(), request.match_info["id"]
    if caller.account is None:
        raise Problem(409, "no-accounts", "Not possible now", "this node has no accounts", "feiyu init --help")
    try:
        signed = msgspec.convert(fields, _Signed)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid", "Not valid", f"the decision is not signed: {error}", "feiyu request") from error
    approval = Approval(
        request=name, digest=signed.digest, decision=step, account=caller.name, role=signed.role, time=signed.time,
        key=signed.key, signature=signed.signature,
    )  # fmt: skip
    return await request.app[AUTHORITY].decide(approval, reason)


def _of_tenant(caller: Caller) -> bool:
    return bool(OF_TENANTS.intersection(caller.roles))
