"""Reads by an authority: on whose authority, on which legal basis, in which case and scope; recorded before the answer.

One read is one record for each firm whose records are in the answer (count: how many), all with one reference, in the
log that the firm can verify. What is lawfully withheld from the firm is still a record, and still counted to it.
"""

import asyncio
import secrets
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from ops.api.actor import Handler, actor
from ops.api.authority import AUTHORITY
from ops.api.caller import caller_of
from ops.api.problems import Problem
from ops.api.recorder_client import RecorderClient
from ops.api.resources import answer
from telemetry.record import Kind
from telemetry.search import MAX_LIMIT
from telemetry.statement import WITHHELD
from tenants.accounts import Role
from tenants.credential import crockford

FIELDS = ("authority", "basis", "case", "scope")
MAX_TEXT = 500  # characters
KEPT = 100_000  # reads in memory
BACK = 184 * 86_400  # seconds that a firm is told of
AGAIN = 600.0  # seconds until the records are searched anew: some may have come late
REGULATORS = web.AppKey("regulators", frozenset[str])  # accounts of this machine that are an authority's
_OPEN_TO_REGULATORS = ("/v1/log", "/v1/reads", "/v1/status", "/v1/spotchecks")


class Reads:
    """The reads of the log, known to this process: searched for once, and then as they are written."""

    def __init__(self, recorder: RecorderClient) -> None:
        self._recorder = recorder
        self._task: asyncio.Task[None] | None = None  # the search, of which there is one at a time
        self._known: deque[dict[str, Any]] = deque(maxlen=KEPT)  # newest last
        self._at = float("-inf")

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """What was just written."""
        self._known.extend(records)

    async def all(self) -> list[dict[str, Any]]:
        """The newest first. Raises Problem where the recorder does not answer."""
        if time.monotonic() - self._at > AGAIN:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._search())
            await asyncio.shield(self._task)  # who has no time to wait leaves it to the next one
        return list(self._known)[::-1]

    async def of(self, tenant: str) -> tuple[list[dict[str, Any]], int]:
        """As the firm is told: the reads it is shown, the newest first, and how many are withheld."""
        mine = [record for record in await self.all() if record.get("tenant") == tenant]
        seen = [record for record in mine if not record["facts"].get(WITHHELD)]
        return seen, len(mine) - len(seen)

    async def _search(self) -> None:
        found: dict[tuple[str, str, int], dict[str, Any]] = {}
        query = {"kind": Kind.READ.value, "limit": str(MAX_LIMIT), "since": str((int(time.time()) - BACK) * 1_000_000)}
        place = ""
        while len(found) < KEPT:
            page, place = await self._recorder.records("/records", {**query, **({"before": place} if place else {})})
            for record in page:
                found[_name(record)] = record
            if not place:
                break
        late = [record for record in self._known if _name(record) not in found]  # not yet with the recorder
        self._known = deque(sorted([*found.values(), *late], key=lambda one: int(one["time"])), maxlen=KEPT)
        self._at = time.monotonic()


READS = web.AppKey("reads", Reads)


def routes() -> list[web.RouteDef]:
    """The route; it stands before those with {collection}."""
    return [web.get("/v1/reads", list_reads)]


async def list_reads(request: web.Request) -> web.Response:
    """All reads by authorities, or with ?tenant= those of a firm as it is told them: {"items", "withheld"}."""
    reads = request.app[READS]
    if tenant := request.query.get("tenant", ""):
        items, withheld = await reads.of(tenant)
    else:
        items = await reads.all()
        withheld = sum(bool(record["facts"].get(WITHHELD)) for record in items)
    return answer({"items": items, "withheld": withheld})


def take_cause(query: dict[str, str]) -> dict[str, str] | None:
    """Takes out of a query why an authority reads; None where it is nobody's who says so. Raises Problem for a part of
    it."""
    given = {name: query.pop(name, "").strip() for name in (*FIELDS, WITHHELD)}
    if not any(given.values()):
        return None
    wrong = [(name, "is needed: a read by an authority says all four") for name in FIELDS if not given[name]]
    wrong += [(name, f"needs at most {MAX_TEXT} characters") for name in given if len(given[name]) > MAX_TEXT]
    if wrong:
        raise Problem(422, "cause", "Not valid", f"{wrong[0][0]} {wrong[0][1]}", "nothing was read; say why", wrong)
    return {name: text for name, text in given.items() if text}


def record_read(
    request: web.Request, cause: dict[str, str], query: dict[str, str], items: Iterable[dict[str, Any]]
) -> None:
    """Records a read whose answer is ready and not yet given. Raises Problem where it cannot be: then it is not."""
    asked = "&".join(f"{name}={value}" for name, value in sorted(query.items()))
    facts = {**cause, "query": asked, "by": actor(request)}
    counts = Counter(str(item.get("tenant", "")) for item in items)
    ref = crockford(secrets.token_bytes(10), 16).upper()
    wanted = [(tenant, count) for tenant, count in sorted(counts.items())] or [(query.get("tenant", ""), 0)]
    made = request.app[AUTHORITY].acts.records(Kind.READ, "log", facts, wanted, ref=ref)
    request.app[READS].add(msgspec.to_builtins(record) for record in made)


@web.middleware
async def regulators_say_why(request: web.Request, handler: Handler) -> web.StreamResponse:
    """An authority's accounts read records with their cause only, plan spot checks, and change nothing else."""
    path, account = request.path, caller_of().account
    own = path in ("/v1/whoami", "/v1/logout")
    of_authority = account is not None and Role.REGULATOR in account.roles
    if not own and (of_authority or actor(request) in request.app[REGULATORS]):
        fine = any(path == known or path.startswith(f"{known}/") for known in _OPEN_TO_REGULATORS)
        if not fine or (path.startswith("/v1/log") and path != "/v1/log"):
            what = "an authority's account reads by log search and log export, and changes nothing but spot checks"
            raise Problem(403, "regulator", "Forbidden", what, "ask the operator for what else is needed")
        if path == "/v1/log" and not all(request.query.get(name, "").strip() for name in FIELDS):
            remedy = "add --authority, --basis, --case and --scope; they stand in the record of this read"
            raise Problem(403, "cause", "Forbidden", "an authority's account reads nothing without its cause", remedy)
    return await handler(request)


def _name(record: dict[str, Any]) -> tuple[str, str, int]:
    return str(record.get("boot")), str(record.get("worker")), int(record.get("seq", 0))
