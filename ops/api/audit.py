"""What was done: the records of acts, each with the changes it made; and whether history is still the one recorded.

GET /v1/audit?limit=&since=&before= → {items: [record + changes], next}
GET /v1/audit/chain → {zone, links, head, broken}
"""

import re
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from ops.api.authority import AUTHORITY
from ops.api.flows import RECORDER
from ops.api.resources import answer, limit_of, without_secrets
from tenants import chain, people
from tenants.register import Register
from tenants.store import RegisterUnavailable

_LINK = re.compile(r", link ([0-9a-f]{64})\Z")


def routes() -> list[web.RouteDef]:
    """The routes; they stand before those with {collection}."""
    return [web.get("/v1/audit", acts), web.get("/v1/audit/chain", verify)]


async def acts(request: web.Request) -> web.Response:
    """Acts, newest first. Those that made a revision carry its changes with before, after and why, and `holds`: whether
    the register's chain still has the link that was recorded."""
    query = {name: value for name, value in request.query.items() if name in ("limit", "since", "before")}
    query["limit"] = str(limit_of(query.get("limit", "100")))
    if query.get("since", "").isdecimal():
        query["since"] += "000000"
    items, following = await request.app[RECORDER].records("/records", {**query, "kind": "action"})
    authority = request.app[AUTHORITY]
    told = []
    for item in items:
        more: dict[str, Any] = {}
        linked = _LINK.search(str(item.get("detail", "")))
        if linked and item.get("worker") == "control":
            try:
                more = await authority.read(partial(_made, revision=int(item.get("revision", 0)), digest=linked[1]))
            except RegisterUnavailable:
                more = {"holds": None}
        told.append({**item, **more})
    return answer({"items": told, "next": following})


async def verify(request: web.Request) -> web.Response:
    """Reads the chain from its beginning."""
    return answer(await request.app[AUTHORITY].read(_verified))


def _verified(register: Register) -> dict[str, Any]:
    with register.store.transaction(write=False) as connection:
        links = people.links(connection)
    return {
        "zone": links[0][1] if links else "",
        "links": len(links),
        "head": links[-1][1] if links else "",
        "broken": chain.broken(links),
    }


def _made(register: Register, revision: int, digest: str) -> dict[str, Any]:
    with register.store.transaction(write=False) as connection:
        found = people.link(connection, revision)
    rows = register.history(revision=revision, limit=1000)
    for row in rows:
        for side in ("before", "after"):
            row[side] = without_secrets(msgspec.json.decode(row[side])) if row[side] else None
    holds = found is not None and found[0] == digest == chain.digest_of(found[1])
    return {"changes": rows, "holds": holds}
