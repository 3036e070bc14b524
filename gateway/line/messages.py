"""Between our rules and routes and the fields of rtnetlink messages. Pure.

What the kernel shows and we would never have written goes into `extra`, so that it never equals a wanted one.
"""

from ipaddress import ip_address
from typing import Any

from gateway.line.routing import PROTOCOL, Foreign, Route, Rule

AF = {4: 2, 6: 10}  # AF_INET, AF_INET6
_LOOKUP, _PROHIBIT = 1, 8  # FR_ACT_TO_TBL, FR_ACT_PROHIBIT
_UNICAST, _UNREACHABLE = 1, 7  # RTN_*
_ONLINK = 4  # RTNH_F_ONLINK
_DEAD_OR_LINKDOWN = 1 | 16  # RTNH_F_*: the link's state, not the route's text
_LOCAL = 2  # RTN_LOCAL
_DETACHED = 8  # FIB_RULE_IIF_DETACHED: its device is not there now; the kernel ties the rule to it when it comes
_RULE_KNOWN = {
    "FRA_TABLE", "FRA_PRIORITY", "FRA_FWMARK", "FRA_FWMASK", "FRA_SRC", "FRA_DST", "FRA_PROTOCOL", "FRA_IIFNAME",
}  # fmt: skip
_ROUTE_KNOWN = {"RTA_TABLE", "RTA_PRIORITY", "RTA_GATEWAY", "RTA_OIF", "RTA_CACHEINFO", "RTA_PREF"}
_ENCAP = {"RTA_ENCAP", "RTA_ENCAP_TYPE"}
_SEG6 = 5  # LWTUNNEL_ENCAP_SEG6
FULL = {4: 32, 6: 128}  # bits of an address


def rule_words(rule: Rule) -> dict[str, Any]:
    """The request that adds the rule."""
    words: dict[str, Any] = {"family": AF[rule.version], "priority": rule.priority, "protocol": PROTOCOL}
    if rule.mask:
        words |= {"fwmark": rule.mark, "fwmask": rule.mask}
    if rule.incoming:
        words["iifname"] = rule.incoming
    if rule.source:
        words |= {"src": rule.source, "src_len": FULL[rule.version]}
    if rule.destination:
        words |= {"dst": rule.destination, "dst_len": FULL[rule.version]}
    return words | ({"table": rule.table} if rule.table else {"action": "prohibit"})


def route_words(route: Route, index: int) -> dict[str, Any]:
    """The request that adds the route; index: of its device."""
    words: dict[str, Any] = {"family": AF[route.version], "table": route.table, "proto": PROTOCOL}
    words["dst"] = f"{route.destination}/{FULL[route.version]}" if route.destination else "default"
    words["priority"] = route.metric
    if not route.device:
        return words | {"type": "unreachable"}
    if route.local:
        return words | {"type": "local", "scope": 254, "oif": index}  # RT_SCOPE_HOST
    if route.segments:  # as they stand in the header: the last one first (RFC 8754 2)
        if route.mtu:
            words["metrics"] = {"mtu": route.mtu}
        return words | {"oif": index, "encap": {"type": "seg6", "mode": "encap", "segs": [*reversed(route.segments)]}}
    return words | {"gateway": route.gateway, "oif": index, "flags": _ONLINK}


def foreign_of(version: int, item: Any, attrs: dict[str, Any]) -> Foreign:
    """A rule of somebody else that comes before ours."""
    target = attrs.get("FRA_DST", "")
    words = f"ip -{version} rule {attrs.get('FRA_PRIORITY', 0)}: table {attrs.get('FRA_TABLE', 0)}"
    return Foreign(version, words, target, f"{target}/{item['dst_len']}" if target else "")


def rule_of(version: int, item: Any, attrs: dict[str, Any]) -> Rule:
    """The rule that a message shows."""
    more = {k: v for k, v in attrs.items() if k not in _RULE_KNOWN}
    if more.get("FRA_SUPPRESS_PREFIXLEN") == 0xFFFFFFFF:
        del more["FRA_SUPPRESS_PREFIXLEN"]
    fields = {"action": item["action"], "flags": item["flags"] & ~_DETACHED, "tos": item["tos"]}
    more |= {k: v for k, v in fields.items() if v and not (k == "action" and v in (_LOOKUP, _PROHIBIT))}
    more |= {k: item[k] for k in ("src_len", "dst_len") if item[k] not in (0, FULL[version])}
    table = attrs.get("FRA_TABLE", 0) if item["action"] == _LOOKUP else 0
    source, destination = (str(ip_address(attrs[k])) if k in attrs else "" for k in ("FRA_SRC", "FRA_DST"))
    extra = " ".join(f"{k} {v}" for k, v in sorted(more.items()))
    mark, mask, incoming = attrs.get("FRA_FWMARK", 0), attrs.get("FRA_FWMASK", 0), attrs.get("FRA_IIFNAME", "")
    return Rule(version, attrs["FRA_PRIORITY"], mark, mask, source, table, extra, destination, incoming)


def rule_request(item: Any, attrs: dict[str, Any]) -> dict[str, Any]:
    """The request that deletes exactly the rule that a message shows."""
    words = {k.removeprefix("FRA_").lower(): v for k, v in attrs.items() if k != "FRA_SUPPRESS_PREFIXLEN"}
    if not words.get("table"):
        words.pop("table", None)
    if item["src_len"]:
        words["src_len"] = item["src_len"]
    if item["dst_len"]:
        words["dst_len"] = item["dst_len"]
    return words | {"family": item["family"], "action": item["action"]}


def route_of(version: int, item: Any, attrs: dict[str, Any], names: dict[int, str]) -> Route:
    """The route that a message shows; names: of devices by index."""
    table, metric = attrs["RTA_TABLE"], attrs.get("RTA_PRIORITY", 0)
    flags = item["flags"] & ~_DEAD_OR_LINKDOWN
    more = set(attrs) - _ROUTE_KNOWN - {"RTA_DST"}
    single = item["dst_len"] == FULL[version]
    destination = str(ip_address(attrs["RTA_DST"])) if single and "RTA_DST" in attrs else ""
    plain = (destination or not item["dst_len"]) and not item["tos"]
    device, gateway = names.get(attrs.get("RTA_OIF", 0), "?"), attrs.get("RTA_GATEWAY", "")
    if plain and not more and item["type"] == _UNREACHABLE:
        return Route(version, table, metric, destination=destination)
    if plain and not more and item["type"] == _LOCAL and not flags and not gateway:
        return Route(version, table, metric, device, destination=destination, local=True)
    if plain and not more and item["type"] == _UNICAST and flags == _ONLINK and gateway:
        return Route(version, table, metric, device, gateway, destination=destination)
    if plain and more - {"RTA_METRICS"} == _ENCAP and item["type"] == _UNICAST and not flags and not gateway:
        segments, mtu = _segments(attrs), _mtu(attrs)
        if segments and mtu is not None:
            return Route(version, table, metric, device, destination=destination, segments=segments, mtu=mtu)
    words = [f"type {item['type']}", f"flags {flags}", f"length {item['dst_len']}"]
    words += [f"{k} {v}" for k, v in sorted(attrs.items()) if k != "RTA_CACHEINFO"]
    return Route(version, table, metric, extra=" ".join(words))


def _segments(attrs: dict[str, Any]) -> tuple[str, ...]:
    """The segment list that a route wraps packets for, first one first; empty when it is anything else."""
    if attrs["RTA_ENCAP_TYPE"] != _SEG6:
        return ()
    header = attrs["RTA_ENCAP"].get_attr("SEG6_IPTUNNEL_SRH")
    if not header or header["mode"] != "encap" or header["flags"] or header["tlvs"]:
        return ()
    return tuple(str(ip_address(text)) for text in reversed(header["segs"]))


def _mtu(attrs: dict[str, Any]) -> int | None:
    """The MTU that a route sets, 0 when it sets nothing, None when it sets anything else."""
    found = dict(attrs["RTA_METRICS"]["attrs"]) if "RTA_METRICS" in attrs else {}
    mtu: int = found.pop("RTAX_MTU", 0)
    return None if found else mtu


def route_request(item: Any, attrs: dict[str, Any]) -> dict[str, Any]:
    """The request that deletes exactly the route that a message shows."""
    words: dict[str, Any] = {
        "family": item["family"],
        "table": attrs["RTA_TABLE"],
        "type": item["type"],
        "tos": item["tos"],
        "scope": item["scope"],
    }
    words["dst"] = f"{attrs['RTA_DST']}/{item['dst_len']}" if "RTA_DST" in attrs else "default"
    for key in ("RTA_PRIORITY", "RTA_GATEWAY", "RTA_OIF"):
        if key in attrs and not (key == "RTA_OIF" and item["type"] != _UNICAST):
            words[key.removeprefix("RTA_").lower()] = attrs[key]
    return words
