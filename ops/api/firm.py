"""GET /v1/tenants/ID/pac and /v1/tenants/ID/ways: what a firm's programs are to be told."""

from functools import partial
from typing import Any

from aiohttp import web

from ops.api.authority import AUTHORITY
from ops.api.problems import Problem
from ops.api.resources import answer
from ops.portal import pac
from ops.portal.ways import Way, ways
from ops.settings import Settings
from whitelist.holdings import Holdings, holdings

SETTINGS = web.AppKey("settings", Settings)
HOSTS, OTHERS = ("whitelist", "all"), ("direct", "proxy")


def routes() -> list[web.RouteDef]:
    """The routes; they stand before those with {collection}."""
    return [web.get("/v1/tenants/{id}/pac", pac_file), web.get("/v1/tenants/{id}/ways", ways_in)]


async def pac_file(request: web.Request) -> web.Response:
    """{"pac": the script}, as the node's settings say, or by ?hosts= and ?others=."""
    settings = request.app[SETTINGS]
    hosts, others = request.query.get("hosts", settings.pac.hosts), request.query.get("others", settings.pac.others)
    for name, value, known in (("hosts", hosts, HOSTS), ("others", others, OTHERS)):
        if value not in known:
            message = f"needs {' or '.join(known)}"
            raise Problem(422, "invalid", "Not valid", f"{name} {message}", "correct the query", [(name, message)])
    held, found = await _held(request)
    try:
        text = pac.render(held, found, settings.portal_name, hosts=hosts, others=others)
    except ValueError as error:
        remedy = "add a listener that is on the firm's access network, or name gateways in the settings (pac)"
        raise Problem(409, "no-way", "Not possible now", str(error), remedy) from error
    return answer({"tenant": held.tenant.id, "pac": text, "revision": held.revision})


async def ways_in(request: web.Request) -> web.Response:
    """The proxies of a firm, in order, where its PAC file and its page are, and what they are called by."""
    settings = request.app[SETTINGS]
    held, found = await _held(request)
    content: dict[str, Any] = {
        "tenant": held.tenant.id,
        "name": held.tenant.name,
        "name_zh": held.tenant.name_zh,
        "node": settings.node,
        "ways": [_shown(way) for way in found],
        "pac": pac.url(found),
        "page": f"http://{settings.portal_name}/",
        "revision": held.revision,
    }
    return answer(content)


async def _held(request: web.Request) -> tuple[Holdings, list[Way]]:
    held = await request.app[AUTHORITY].read(partial(holdings, tenant=request.match_info["id"]))
    return held, ways(request.app[SETTINGS], {place.interface for place in held.tenant.places})


def _shown(way: Way) -> dict[str, Any]:
    of_listener = {"token": way.token, "certificate": way.certificate, "listener": way.listener}
    return {"url": way.url, "host": way.host, "port": way.port, **of_listener}
