"""The collections of the register: list, show, add, edit, remove, and their actions."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from ops.api.actor import actor
from ops.api.authority import AUTHORITY, Outcome
from ops.api.certificates import certify, relatives, root_sha256
from ops.api.problems import Problem
from tenants import credential
from tenants.change import Change
from tenants.request import Request
from tenants.requests import roles_needed

PSEUDONYM_KEY = web.AppKey("pseudonym_key", bytes)
MAX_BODY = 1 << 20  # bytes, other than for /v1/changes
MAX_PAGE = 1000
MAX_LABEL = 200  # characters
_COLUMNS = {"group": "group_id"}  # names in queries that are keywords or otherwise not the column's
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes() -> list[web.RouteDef]:
    """The routes. Fixed collections come first elsewhere: {collection} matches any name."""
    return [
        web.get("/v1/changes", list_changes),
        web.post("/v1/changes", apply_many),
        web.post("/v1/credentials", issue),
        web.post("/v1/credentials/{id}/revoke", revoke),
        web.get("/v1/{collection}", list_items),
        web.post("/v1/{collection}", add),
        web.get("/v1/{collection}/{id}", show),
        web.patch("/v1/{collection}/{id}", edit),
        web.delete("/v1/{collection}/{id}", remove),
        web.post("/v1/{collection}/{id}/{action}", act),
    ]


async def list_items(request: web.Request) -> web.Response:
    """A page of a collection: ?q= in the words, ?limit= (at most 1000), ?cursor= (the last answer's next), and key
    columns such as ?tenant=."""
    query = dict(request.query)
    text, cursor, limit = query.pop("q", ""), query.pop("cursor", ""), limit_of(query.pop("limit", str(MAX_PAGE)))
    where = {_COLUMNS.get(name, name): value for name, value in query.items()}
    collection = request.match_info["collection"]
    items, following, revision = await request.app[AUTHORITY].read(
        lambda register: register.page(collection, query=text, where=where, limit=limit, after=cursor)
    )
    return answer({"items": [public(item) for item in items], "next": following, "revision": revision})


async def show(request: web.Request) -> web.Response:
    """One item. ETag: the revision in which it last changed, for a write's If-Match."""
    collection, name = request.match_info["collection"], request.match_info["id"]
    item, revision = await request.app[AUTHORITY].read(lambda register: register.get(collection, name))
    tag = f'"{item.provenance.revision}"'
    return answer(public(item), headers={"Feiyu-Revision": str(revision), "ETag": tag})


async def add(request: web.Request) -> web.Response:
    """A new item from the body, which carries the reason too."""
    fields, reason = await body_with_reason(request)
    change = Change(collection=request.match_info["collection"], verb="add", id=_id_of(fields), fields=fields)
    return told(await request.app[AUTHORITY].write([change], actor(request), reason), status=201)


async def issue(request: web.Request) -> web.Response:
    """A new credential. Its token is in this answer and nowhere else; with `request` (a certificate request or public
    key in PEM) it is a certificate instead, and with `invite` a token that enrols one machine, beside the root's
    fingerprint. Of the user's label the pseudonym is kept."""
    fields, reason = await body_with_reason(request)
    label = fields.get("user", "")
    if not isinstance(label, str) or len(label) > MAX_LABEL or not label.isprintable():
        message = f"needs text of at most {MAX_LABEL} characters"
        raise Problem(422, "invalid", "Not valid", "the credential is not valid", "correct it", [("user", message)])
    for name in ("token_sha256", "certificate_sha256", "serial", "enrolment"):
        if name in fields:
            message = "is set by the register alone"
            raise Problem(422, "invalid", "Not valid", "the credential is not valid", "leave it out", [(name, message)])
    fields["user"] = credential.pseudonym(label, request.app[PSEUDONYM_KEY])
    if "request" in fields:
        shown = {"certificate": certify(request, fields)}
    else:
        token = credential.new_token()
        fields["token_sha256"] = credential.digest(token)
        shown = {"token": token}
        if fields.get("invite"):
            fields["id"] = credential.fresh_id()
            shown = {"token": f"{fields['id']}.{token}", "root_sha256": root_sha256(request)}
    change = Change(collection="credentials", verb="add", id=_id_of(fields), fields=fields)
    outcome = await request.app[AUTHORITY].write([change], actor(request), reason)
    return told(outcome, status=201, credential=public(outcome.applied.items[0]), **shown)


async def revoke(request: web.Request) -> web.Response:
    """A credential, and with one that was enrolled all that go back to the same invite, and the invite."""
    fields, reason = await body_with_reason(request)
    if fields:
        raise _no_fields(fields)
    name, authority = request.match_info["id"], request.app[AUTHORITY]
    first = Change(collection="credentials", verb="revoke", id=name, revision=seen_revision(request))
    more = await authority.read(partial(relatives, name=name))
    outcome = last = await authority.write([first, *more], actor(request), reason)
    while more := await authority.read(partial(relatives, name=name)):  # renewed in between
        last = await authority.write(more, actor(request), reason)
    return told(replace(last, applied=replace(last.applied, items=outcome.applied.items)))


async def edit(request: web.Request) -> web.Response:
    """Some fields anew: a JSON merge patch (RFC 7396) with the reason in it. If-Match: only where the item is as seen,
    else 412 (as for removals and actions)."""
    fields, reason = await body_with_reason(request)
    info = request.match_info
    change = Change(
        collection=info["collection"], verb="edit", id=info["id"], fields=fields, revision=seen_revision(request)
    )
    return told(await request.app[AUTHORITY].write([change], actor(request), reason))


async def remove(request: web.Request) -> web.Response:
    """Removes an item; ?reason= says why."""
    info = request.match_info
    change = Change(collection=info["collection"], verb="remove", id=info["id"], revision=seen_revision(request))
    return told(await request.app[AUTHORITY].write([change], actor(request), request.query.get("reason", "")))


async def act(request: web.Request) -> web.Response:
    """An action of the collection, such as grants' revoke."""
    fields, reason = await body_with_reason(request)
    if fields:
        raise _no_fields(fields)
    info = request.match_info
    if info["action"] in ("add", "edit", "remove"):
        raise web.HTTPNotFound
    change = Change(collection=info["collection"], verb=info["action"], id=info["id"], revision=seen_revision(request))
    return told(await request.app[AUTHORITY].write([change], actor(request), reason))


def _no_fields(fields: dict[str, Any]) -> Problem:
    errors = [(name, "is no field here") for name in fields]
    return Problem(422, "invalid", "Not valid", "an action takes a reason only", "leave the rest out", errors)


async def apply_many(request: web.Request) -> web.Response:
    """Many changes in one transaction: {"changes": [{"collection", "verb", "id", "fields"}], "reason"}."""
    fields, reason = await body_with_reason(request, limit=None)
    try:
        changes = msgspec.convert(fields.get("changes"), list[Change])
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid", "Not valid", f"changes: {error}", "send a list of changes") from error
    outcome = await request.app[AUTHORITY].write(changes, actor(request), reason)
    if outcome.request is not None:
        return waiting(outcome.request, outcome)
    ids = [getattr(item, "id", None) for item in outcome.applied.items]
    return answer({"ids": ids, "link": outcome.applied.link, **enforcement(outcome)})


async def list_changes(request: web.Request) -> web.Response:
    """What was changed, newest first: ?collection=, ?item=, ?before= (a change's number), ?limit=."""
    query = request.query
    before = query.get("before", "0")
    if not before.isdecimal() or not before.isascii():
        raise Problem(
            422, "invalid", "Not valid", "before is not a number", "use a change's number", [("before", "number")]
        )
    rows = await request.app[AUTHORITY].read(
        lambda register: register.history(
            collection=query.get("collection", ""),
            item=query.get("item", ""),
            before=int(before),
            limit=limit_of(query.get("limit", "100")),
        )
    )
    for row in rows:
        for side in ("before", "after"):
            row[side] = without_secrets(msgspec.json.decode(row[side])) if row[side] else None
    return answer({"items": rows, "next": str(rows[-1]["number"]) if rows else ""})


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(
        status=status,
        body=msgspec.json.encode(content),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def told(outcome: Outcome, *, status: int = 200, **more: Any) -> web.Response:
    """The answer to a write: the item, the revision and who enforces it; or 202 and the request that waits."""
    if outcome.request is not None:
        return waiting(outcome.request, outcome)
    item = outcome.applied.items[0]
    content = {"item": None if item is None else public(item), **enforcement(outcome), **more}
    return answer(content, status if outcome.applied.changed else 200)


def waiting(found: Request, outcome: Outcome, **more: Any) -> web.Response:
    """The answer to a write that waits for a second person."""
    fields = ("id", "state", "submitter", "roles", "collections", "submitted", "expires", "reason", "digest")
    told_of = {name: getattr(found, name) for name in fields} | {"waits_for": roles_needed(found)}
    return answer({"item": None, "request": told_of, **more, **enforcement(outcome)}, 202)


def public(item: Any) -> dict[str, Any]:
    """The item as the API shows it."""
    return without_secrets(msgspec.to_builtins(item))


def without_secrets(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields without what is nobody's to see."""
    fields.pop("token_sha256", None)
    return fields


def enforcement(outcome: Outcome) -> dict[str, Any]:
    """The revision, and who enforces it."""
    content = {"revision": outcome.applied.revision, "enforced": outcome.enforced}
    return content if outcome.enforced is not None else {**content, "why": outcome.why}


async def body_with_reason(request: web.Request, limit: int | None = MAX_BODY) -> tuple[dict[str, Any], str]:
    """The body's JSON object and the reason taken out of it."""
    if limit is not None and (request.content_length or 0) > limit:
        raise Problem(
            413, "too-large", "Too large", f"the body exceeds {limit} bytes", "use /v1/changes for many changes"
        )
    data = await request.read()
    try:
        fields = msgspec.json.decode(data or b"{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Problem(400, "not-json", "Not JSON", f"the body is not a JSON object: {error}", "send one") from error
    reason = fields.pop("reason", "")
    if not isinstance(reason, str):
        raise Problem(422, "invalid", "Not valid", "the reason is not text", "say why", [("reason", "needs text")])
    return fields, reason


def seen_revision(request: web.Request) -> int:
    """The revision that If-Match names (RFC 9110 clause 13.1.1), 0 for none or "*"."""
    text = request.headers.get("If-Match", "*").strip()
    if text == "*":
        return 0
    number = text.removeprefix('"').removesuffix('"')
    if text != f'"{number}"' or not re.fullmatch("[1-9][0-9]{0,17}", number, re.ASCII):
        detail = "If-Match is not one entity tag of a revision"
        raise Problem(400, "if-match", "Not understood", detail, 'send the ETag of the item as it was shown: "12"')
    return int(number)


def _id_of(fields: dict[str, Any]) -> str:
    name = fields.get("id", "")
    if not isinstance(name, str):
        raise Problem(422, "invalid", "Not valid", "the id is not text", "correct it", [("id", "needs text")])
    return name


def limit_of(text: str) -> int:
    """?limit=, 1 to MAX_PAGE. Raises Problem."""
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= MAX_PAGE or len(text) > 9:
        message = f"needs a number from 1 to {MAX_PAGE}"
        raise Problem(422, "invalid", "Not valid", f"limit {message}", "correct it", [("limit", message)])
    return int(text)
