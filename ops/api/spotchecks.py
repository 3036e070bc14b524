"""Spot checks: their steps, written as records. The log is where they are kept; control only says which can follow.

Whether a draw is the right one is not believed here: anybody repeats it from the log (feiyu spotcheck verify).
"""

import secrets
import time
from typing import Any

import msgspec
from aiohttp import web

from ops.api.actor import actor
from ops.api.authority import AUTHORITY
from ops.api.flows import RECORDER
from ops.api.problems import Problem
from ops.api.resources import answer, body_with_reason
from telemetry.record import Kind
from telemetry.search import MAX_LIMIT
from telemetry.spotcheck import plan as plans
from telemetry.spotcheck.error import SpotcheckError
from telemetry.spotcheck.repeat import sample_of, seed_and_counts, value_of
from telemetry.spotcheck.states import Act, State, step
from tenants.credential import crockford

Step = dict[str, Any]
RECENT: web.AppKey[dict[str, list[Step]]] = web.AppKey("spotchecks")  # steps that the recorder may not have yet
MAX_RECENT = 64
MAX_NOTE = 2000  # characters
MAX_SAMPLE = 50_000  # characters: the sample's indexes


def routes() -> list[web.RouteDef]:
    """The routes; they stand before those with {collection}."""
    return [
        web.get("/v1/spotchecks", list_),
        web.post("/v1/spotchecks", plan),
        web.get("/v1/spotchecks/{ref}", show),
        web.post("/v1/spotchecks/{ref}/{act}", act),
    ]


async def list_(request: web.Request) -> web.Response:
    """Every spot check with its state, the newest first."""
    records, _ = await request.app[RECORDER].records("/records", {"kind": Kind.SPOTCHECK, "limit": str(MAX_LIMIT)})
    found: dict[str, list[Step]] = {}
    for record in reversed(records):
        found.setdefault(str(record.get("ref")), []).append(record)
    items = [_told(ref, steps) for ref, steps in found.items() if steps[0].get("detail") == Act.PLAN.value]
    return answer({"items": items[::-1]})


async def show(request: web.Request) -> web.Response:
    """One spot check with its steps."""
    ref, steps = await _steps(request)
    return answer({**_told(ref, steps), "steps": steps})


async def plan(request: web.Request) -> web.Response:
    """A new one, from the plan in the body: {"plan": {…}, "reason"}."""
    fields, reason = await body_with_reason(request)
    try:
        made = plans.convert(fields.get("plan"))
    except SpotcheckError as error:
        raise _invalid("plan", str(error)) from None
    now = int(time.time())
    if made.until > now or made.after <= now:
        what = "the time looked at has not ended" if made.until > now else "the value may be known already"
        raise _invalid("plan", f"{what}: a plan is made after the one and before the other")
    ref = crockford(secrets.token_bytes(10), 16).upper()
    return _written(request, ref, [], Act.PLAN, {"plan": plans.encode(made)}, reason, status=201)


async def act(request: web.Request) -> web.Response:
    """The next step: its facts and the reason, which is what was found, or why."""
    fields, reason = await body_with_reason(request)
    ref, steps = await _steps(request)
    name = request.match_info["act"]
    if name not in set(Act) - {Act.PLAN}:
        raise Problem(404, "no-route", "Not Found", f"a spot check takes no {name}", f"take one of {', '.join(Act)}")
    chosen = Act(name)
    for key, value in fields.items():
        most = MAX_SAMPLE if (chosen, key) == (Act.DRAW, "sample") else MAX_NOTE
        if not isinstance(value, str) or len(value) > most:
            raise _invalid(key, f"needs text of at most {most} characters")
    try:
        if chosen is Act.DRAW:
            made = plans.parse(steps[0]["facts"]["plan"])
            if time.time() < made.after:
                raise SpotcheckError("the value of this plan has not appeared yet")
            value_of(made, fields)
            seed_and_counts(fields)
            sample_of(fields)
        if chosen is Act.CLOSE:
            _all_seen(steps)
        if chosen in (Act.PASS, Act.FIND):
            _not_seen(steps, fields.get("index", ""))
        return _written(request, ref, steps, chosen, fields, reason)
    except SpotcheckError as error:
        raise Problem(409, "conflict", "Not possible now", str(error), "see feiyu spotcheck show") from None


def _written(
    request: web.Request,
    ref: str,
    steps: list[Step],
    chosen: Act,
    facts: dict[str, str],
    reason: str,
    status: int = 200,
) -> web.Response:
    """Writes the step. Raises SpotcheckError where it cannot follow, Problem where it cannot be recorded."""
    state = step(_state(steps), chosen)
    if not reason.strip() or len(reason) > MAX_NOTE:
        raise _invalid("reason", f"is needed: what was seen or why, in at most {MAX_NOTE} characters")
    told = {**facts, "state": state.value, "by": actor(request), "note": reason.strip()}
    if steps:
        told["planned"] = str(steps[0]["time"])
    record = msgspec.to_builtins(request.app[AUTHORITY].acts.record(Kind.SPOTCHECK, chosen.value, told, ref=ref))
    steps.append(record)
    _remember(request, ref, steps)
    return answer({**_told(ref, steps), "record": record}, status)


def _remember(request: web.Request, ref: str, steps: list[Step]) -> None:
    recent = request.app[RECENT]
    recent[ref] = steps
    while len(recent) > MAX_RECENT:
        del recent[next(iter(recent))]


async def _steps(request: web.Request) -> tuple[str, list[Step]]:
    """All steps, oldest first: as the recorder has them, and those of this process that it may not have yet. Raises
    Problem 404."""
    ref = request.match_info["ref"].upper()
    if recent := request.app[RECENT].get(ref):
        return ref, recent
    query = {"kind": Kind.SPOTCHECK.value, "ref": ref}
    newest: list[Step] = []
    place = ""
    if ref.isascii() and ref.isalnum():
        while not newest:
            more = {"before": place} if place else {}
            newest, place = await request.app[RECORDER].records("/records", {**query, **more, "limit": "1"})
            if not place:
                break
    if not newest:
        raise Problem(404, "unknown", "Not found", f"there is no spot check {ref}", "see feiyu spotcheck show")
    since = newest[0].get("facts", {}).get("planned", str(newest[0]["time"]))
    found, _ = await request.app[RECORDER].records("/records", {**query, "since": since, "limit": str(MAX_LIMIT)})
    if not found or found[-1]["detail"] != Act.PLAN.value:
        raise Problem(404, "unknown", "Not found", f"the plan of spot check {ref} is not in the log any more", "")
    steps = request.app[RECENT].get(ref) or found[::-1]  # one asked at the same time may have been faster
    _remember(request, ref, steps)
    return ref, steps


def _state(steps: list[Step]) -> State | None:
    return State(steps[-1]["facts"]["state"]) if steps else None


def _told(ref: str, steps: list[Step]) -> dict[str, Any]:
    facts = steps[0]["facts"]
    made = msgspec.json.decode(facts["plan"])
    sampled, seen = _sampled(steps), _seen(steps)
    return {
        "id": ref,
        "state": _state(steps),
        "planned": steps[0]["time"] // 1_000_000,
        "by": facts["by"],
        "reason": facts["note"],
        "plan": made,
        "sampled": sampled,
        "seen": len(seen),
        "findings": sum(record["detail"] == Act.FIND.value for record in steps),
    }


def _sampled(steps: list[Step]) -> int:
    """How many records were drawn."""
    drawn = next((record["facts"] for record in steps if record["detail"] == Act.DRAW.value), None)
    if drawn is None:
        return 0
    sizes = {stratum.name: stratum.size for stratum in plans.parse(steps[0]["facts"]["plan"]).strata}
    _, counts = seed_and_counts(drawn)
    return sum(min(size, counts.get(name, 0)) for name, size in sizes.items())


def _seen(steps: list[Step]) -> set[str]:
    return {r["facts"].get("index", "") for r in steps if r["detail"] in (Act.PASS.value, Act.FIND.value)}


def _all_seen(steps: list[Step]) -> None:
    if missing := _sampled(steps) - len(_seen(steps)):
        raise SpotcheckError(f"{missing} records of the sample have no result yet (find)")


def _not_seen(steps: list[Step], index: str) -> None:
    if not (index.isascii() and index.isdecimal()):
        raise SpotcheckError("say which record of the sample it is about: its index in the log")
    drawn = next((sample_of(record["facts"]) for record in steps if record["detail"] == Act.DRAW.value), None)
    if drawn is not None and not any(int(index) in indexes for indexes in drawn.values()):
        raise SpotcheckError(f"record {index} is not in the sample")
    if index in _seen(steps):
        raise SpotcheckError(f"record {index} has its result already")


def _invalid(name: str, message: str) -> Problem:
    return Problem(422, "invalid", "Not valid", message, "correct it", [(name, message)])
