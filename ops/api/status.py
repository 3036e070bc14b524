"""GET /v1, /v1/status and /r/REF: what there is, how the node is, and what a refusal meant."""

from html import escape
from typing import Any

from aiohttp import web

from ops.api.authority import AUTHORITY
from ops.api.explain import reason_text
from ops.api.flows import RECORDER, record_of_ref
from ops.api.hub_client import HubUnavailable
from ops.api.resources import answer
from ops.api.streams import sinks
from tenants.store import RegisterUnavailable
from whitelist.reason import WORDING, Reason

NODE = web.AppKey("node", str)


def routes() -> list[web.RouteDef]:
    """The routes; they stand before those with {collection}."""
    return [web.get("/v1", index), web.get("/v1/status", status), web.get("/r/{ref}", refusal)]


async def index(request: web.Request) -> web.Response:
    """All routes."""
    found = sorted(
        f"{route.method} {route.resource.canonical}"
        for route in request.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    )
    return answer({"routes": found})


async def status(request: web.Request) -> web.Response:
    """Revisions, the state of the lines as the workers were told, and which process answers. Never fails: what cannot
    be known is said so."""
    authority = request.app[AUTHORITY]
    register: dict[str, Any] = {"ok": True}
    names: list[str] = []
    try:
        lines, _, register["revision"] = await authority.read(lambda r: r.page("lines", limit=1000))
        names = [line.id for line in lines if not line.retired]
    except RegisterUnavailable as error:
        register = {"ok": False, "why": error.detail, "remedy": error.remedy}
    live: dict[str, Any] = {}
    try:
        live = (await authority.hub.publish({"kind": "status"})).get("status", {})
        hub: dict[str, Any] = {"ok": True}
    except HubUnavailable as error:
        hub = {"ok": False, "why": str(error)}
    states = live.get("lines", {})
    if live and register["ok"]:  # one that was retired while the lines process was away is still there
        live |= {"lines": (states := {name: state for name, state in states.items() if name in names})}
    return answer(
        {
            "node": request.app[NODE],
            "revision": authority.policy.revision,
            "trouble": authority.trouble,
            "register": register,
            "hub": hub,
            "recorder": await request.app[RECORDER].health(),
            "streams": sinks(request.app),
            "lines": {name: states.get(name, "unknown") for name in sorted({*names, *states})},
            "kills": live.get("kills", []),
            "live": live,
        }
    )


async def refusal(request: web.Request) -> web.Response:
    """What a reference stands for: HTML for a browser, else JSON."""
    record = await record_of_ref(request, request.match_info["ref"])
    reason = str(record.get("reason", ""))
    wording = WORDING[Reason(reason)] if reason in Reason else None
    text = reason_text(reason)
    remedy = {"en": wording.remedy_en, "zh": wording.remedy_zh} if wording else {"en": "", "zh": ""}
    if "text/html" not in request.headers.get("Accept", ""):
        return answer(
            {"ref": record.get("ref", ""), "reason": reason, "text": text, "remedy": remedy, "record": record}
        )
    ref = escape(str(record.get("ref", "")))
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(str(record[name]))}</td></tr>"
        for name in (
            "time",
            "tenant",
            "credential",
            "client_ip",
            "host",
            "port",
            "service",
            "grant",
            "rule",
            "revision",
        )
        if name in record
    )
    title, title_zh = (wording.title, wording.title_zh) if wording else (reason, reason)
    page = f"""<!doctype html>
<html lang="zh-CN"><meta charset="utf-8"><title>{escape(title_zh)} · {escape(title)} · {ref}</title>
<h1>{escape(title_zh)} · <span lang="en">{escape(title)}</span></h1>
<p>{escape(text["zh"])} {escape(remedy["zh"])}</p>
<p lang="en">{escape(text["en"])} {escape(remedy["en"])}</p>
<table><caption>{ref}</caption>{rows}</table>
</html>
"""
    return web.Response(
        text=page,
        content_type="text/html",
        headers={"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'"},
    )
