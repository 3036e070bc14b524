"""Open flows and records: asked of the recorder; and the cut of a flow, told to the workers."""

from typing import Any

from aiohttp import web

from ops.api.actor import actor
from ops.api.authority import AUTHORITY
from ops.api.hub_client import HubUnavailable
from ops.api.problems import Problem
from ops.api.reading import record_read, take_cause
from ops.api.recorder_client import RecorderClient
from ops.api.resources import answer, body_with_reason
from telemetry.record import Kind
from telemetry.search import MAX_LIMIT

RECORDER = web.AppKey("recorder", RecorderClient)


def routes() -> list[web.RouteDef]:
    """The routes; they stand before those with {collection}."""
    return [
        web.get("/v1/flows", list_flows),
        web.get("/v1/flows/{flow}", show_flow),
        web.post("/v1/flows/{flow}/cut", cut),
        web.get("/v1/log", search),
        web.get("/v1/log/tail", tail),
    ]


async def list_flows(request: web.Request) -> web.Response:
    """The open flows."""
    items, _ = await request.app[RECORDER].records("/flows", {"limit": str(MAX_LIMIT), **request.query})
    return answer({"items": items})


async def show_flow(request: web.Request) -> web.Response:
    """The latest record of a flow, open or over."""
    return answer(await flow_record(request, request.match_info["flow"]))


async def cut(request: web.Request) -> web.Response:
    """Ends one open flow in whichever worker has it."""
    fields, reason = await body_with_reason(request)
    if fields or not reason.strip():
        errors = [(name, "is no field here") for name in fields] or [("reason", "is needed: why, in one line")]
        raise Problem(422, "invalid", "Not valid", "a cut takes a reason only", "say why", errors)
    record = await flow_record(request, request.match_info["flow"])
    if record.get("kind") in ("close", "deny"):
        raise Problem(409, "conflict", "Not possible now", f"flow {record['flow']} is not open", "list the open flows")
    authority = request.app[AUTHORITY]
    try:
        enforced = await authority.hub.publish({"kind": "cut", "flow": record["flow"], "cause": "cut-by-operator"})
    except HubUnavailable as error:
        remedy = "nothing was cut; see `feiyu status`, and try again"
        raise Problem(503, "hub-unavailable", "Workers not reached", str(error), remedy) from error
    authority.acts.did(f"cut flow {record['flow']} by {actor(request)}", authority.policy.revision)
    return answer(
        {"item": {"id": record["flow"], **record}, "revision": authority.policy.revision, "enforced": enforced}
    )


async def search(request: web.Request) -> web.Response:
    """Records, newest first. The query is the recorder's, but since and until are Unix seconds as everywhere in this
    API; ?before= is the last answer's next. What an authority reads is recorded first (?authority=, basis, case, scope,
    and withheld: why the firm is not told)."""
    query = dict(request.query)
    for name in ("since", "until"):
        if query.get(name, "").isdecimal():
            query[name] += "000000"
    cause = take_cause(query)
    items, following = await request.app[RECORDER].records("/records", query)
    if cause:
        record_read(request, cause, query, items)
    return answer({"items": items, "next": following})


async def tail(request: web.Request) -> web.StreamResponse:
    """Records as they come, until the client leaves."""
    return await request.app[RECORDER].relay("/tail", request)


async def flow_record(request: web.Request, flow: str) -> dict[str, Any]:
    """The newest record of a flow. Raises Problem 404."""
    recorder = request.app[RECORDER]
    if not flow.isascii() or not flow.isalnum():
        raise _unknown(flow)
    found, _ = await recorder.records("/flows", {"flow": flow, "limit": "1"})
    if not found:
        found, _ = await recorder.records("/records", {"flow": flow, "limit": "100"})
        found = [record for record in found if record["kind"] != Kind.FINDING]  # what rules said of it
    if not found:
        raise _unknown(flow)
    return found[0]


_ABOUT = (Kind.FINDING.value, Kind.ACTION.value)


async def record_of_ref(request: web.Request, ref: str) -> dict[str, Any]:
    """The record of a refusal. Raises Problem 404."""
    found: list[dict[str, Any]] = []
    if ref.isascii() and ref.isalnum():
        found, _ = await request.app[RECORDER].records("/records", {"ref": ref.upper(), "limit": "50"})
        # What rules found in it, and acts on it, name the flow too.
        own = [record for record in found if record.get("ref") == ref.upper()]
        found = own or [record for record in found if record.get("kind") not in _ABOUT]
    if not found:
        remedy = "check the reference; a refusal can be looked up once it is on disk, about a second later"
        raise Problem(404, "unknown", "Not found", f"there is no refusal {ref}", remedy)
    return found[0]


def _unknown(flow: str) -> Problem:
    return Problem(404, "unknown", "Not found", f"there is no flow {flow}", "list the open flows, or search the log")
