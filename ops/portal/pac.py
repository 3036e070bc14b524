"""PAC files (proxy auto-config): which of a firm's requests go through the gateway. Pure.

What is on the whitelist goes to the gateways in their order and never anywhere else: no DIRECT stands behind them, so
a gateway that is away is an error the person sees, not a way around. Grants that are suspended or have ended count,
since the gateway then says so. The rest goes straight out of the firm's own network, as without a gateway, or to the
gateway, which says why not. The script is ECMAScript 3, for WinHTTP's engine too; it resolves no name.
"""

import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from ipaddress import ip_network
from string import Template

from ops.portal.ways import Way
from whitelist.holdings import Holdings

_WORDS = {"http": "PROXY", "https": "HTTPS"}


def render(
    holdings: Holdings, ways: Sequence[Way], portal_name: str, *, hosts: str = "whitelist", others: str = "direct"
) -> str:
    """The script. hosts: whitelist or all; others (than the whitelist's): direct or proxy. Only ASCII comes out, and
    what the register holds only as JSON. Raises ValueError where no way is one that browsers can use."""
    # A browser has no machine's certificate; ways that the settings name are the operator's own choice.
    usable = [way for way in ways if way.scheme in _WORDS and not (way.certificate and way.listener)]
    gateways = "; ".join(f"{_WORDS[way.scheme]} {way.address}" for way in usable)
    if not gateways:
        raise ValueError("no plain or TLS listener is for this firm")
    names, below, ranges = _targets(
        endpoint.target for held in holdings.held for service in held.services for endpoint in service.endpoints
    )
    everything = hosts == "all" or others == "proxy"
    if hosts == "all":  # the script then need not tell anybody what is on the whitelist, but for what looks local
        names, below = [name for name in names if "." not in name], []
    return _template().substitute(
        firm=_js(holdings.tenant.id),
        revision=str(int(holdings.revision)),
        gateways=_js(gateways),
        rest=_js(gateways if everything else "DIRECT"),
        names=_js(dict.fromkeys([f".{name}" for name in (portal_name, *names)], 1)),
        below=_js(dict.fromkeys(below, 1)),
        ranges=_js(ranges),
    )


def url(ways: Sequence[Way]) -> str:
    """Where a firm's browsers fetch it: of the first plain listener of this node; "" where there is none."""
    return next((f"{way.url}/proxy.pac" for way in ways if way.scheme == "http" and way.listener), "")


def _targets(targets: Iterable[str]) -> tuple[list[str], list[str], list[tuple[list[int], int]]]:
    """Exact names; suffixes of "*." names; prefixes, each as 16-bit groups (2 or 8) and its length."""
    names, below, ranges = [], [], []
    for target in dict.fromkeys(targets):
        if "/" in target:
            network = ip_network(target)
            packed = network.network_address.packed
            groups = [int.from_bytes(packed[at : at + 2]) for at in range(0, len(packed), 2)]
            ranges.append((groups, network.prefixlen))
        elif target.startswith("*."):
            below.append(target[1:])
        else:
            names.append(target)
    return names, below, ranges


def _js(value: object) -> str:
    """As a JavaScript literal: JSON in ASCII, without a character that could end a comment, a script or a line."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("*/", "*\\/")


def _template() -> Template:
    return Template(files("ops.portal").joinpath("pac.js").read_text("ascii"))
