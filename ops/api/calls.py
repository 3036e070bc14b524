"""What each call of the API is to the rules of roles: a collection and a verb. What is not listed nobody may call."""

from aiohttp import web

Call = tuple[str, str]

# Answered to whoever may open the socket: that the node lives, and the way to log in.
OPEN = frozenset(
    {
        ("GET", "/v1"),
        ("GET", "/v1/status"),
        ("POST", "/v1/login"),
        ("POST", "/v1/login/challenge"),
        ("POST", "/v1/login/factors"),
    }
)
# Of whoever is logged in, about nobody else.
OWN = frozenset({("POST", "/v1/logout"), ("GET", "/v1/whoami")})

FIXED: dict[tuple[str, str], Call] = {
    ("GET", "/r/{ref}"): ("log", "read"),
    ("GET", "/v1/flows"): ("flows", "read"),
    ("GET", "/v1/flows/{flow}"): ("flows", "read"),
    ("POST", "/v1/flows/{flow}/cut"): ("flows", "cut"),
    ("GET", "/v1/log"): ("log", "read"),
    ("GET", "/v1/log/tail"): ("log", "read"),
    ("GET", "/v1/stream"): ("log", "read"),
    ("GET", "/v1/figures/lines"): ("lines", "read"),
    ("GET", "/v1/explain"): ("explain", "read"),
    ("POST", "/v1/explain"): ("explain", "read"),
    ("POST", "/v1/policy/plan"): ("policy", "plan"),
    ("POST", "/v1/policy/apply"): ("policy", "apply"),
    ("GET", "/v1/revisions"): ("changes", "read"),
    ("GET", "/v1/ca/crl"): ("ca", "read"),
    ("GET", "/v1/tenants/{id}/pac"): ("tenants", "read"),
    ("GET", "/v1/tenants/{id}/ways"): ("tenants", "read"),
    ("GET", "/v1/tenants/{id}/usage"): ("tenants", "read"),
    ("GET", "/v1/changes"): ("changes", "read"),
    ("POST", "/v1/changes"): ("changes", "apply"),
    ("POST", "/v1/credentials"): ("credentials", "add"),
    ("POST", "/v1/credentials/{id}/revoke"): ("credentials", "revoke"),
    ("GET", "/v1/requests"): ("requests", "read"),
    ("GET", "/v1/requests/{id}"): ("requests", "read"),
    ("POST", "/v1/requests/{id}/approve"): ("requests", "decide"),
    ("POST", "/v1/requests/{id}/reject"): ("requests", "decide"),
    ("POST", "/v1/requests/{id}/withdraw"): ("requests", "withdraw"),
    ("POST", "/v1/accounts/{id}/reset"): ("accounts", "reset"),
    ("GET", "/v1/reads"): ("reads", "read"),
    ("GET", "/v1/spotchecks"): ("spotchecks", "read"),
    ("POST", "/v1/spotchecks"): ("spotchecks", "plan"),
    ("GET", "/v1/spotchecks/{ref}"): ("spotchecks", "read"),
    ("GET", "/v1/blocks"): ("blocks", "read"),
    ("POST", "/v1/blocks/{block}/lift"): ("blocks", "lift"),
    ("GET", "/v1/holds"): ("holds", "read"),
    ("POST", "/v1/holds"): ("holds", "add"),
    ("DELETE", "/v1/holds/{id}"): ("holds", "remove"),
    ("GET", "/v1/audit"): ("audit", "read"),
    ("GET", "/v1/audit/chain"): ("audit", "read"),
}
_ITEMS = {
    ("GET", "/v1/{collection}"): "read",
    ("POST", "/v1/{collection}"): "add",
    ("GET", "/v1/{collection}/{id}"): "read",
    ("PATCH", "/v1/{collection}/{id}"): "edit",
    ("DELETE", "/v1/{collection}/{id}"): "remove",
}


def route_of(request: web.Request) -> tuple[str, str]:
    """Method and path of the route that answers; HEAD is GET."""
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    return method, "" if resource is None else resource.canonical


def call_of(request: web.Request) -> Call | None:
    """What the call is to the rules; None: no rule can allow it."""
    route, info = route_of(request), request.match_info
    if route in FIXED:
        return FIXED[route]
    if route in _ITEMS:
        return info["collection"], _ITEMS[route]
    if route == ("POST", "/v1/spotchecks/{ref}/{act}"):
        return "spotchecks", info["act"]
    if route == ("POST", "/v1/{collection}/{id}/{action}"):
        return info["collection"], info["action"]
    return None
