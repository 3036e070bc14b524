"""Between our rules and routes and the fields of rtnetlink messages. Pure.

What the kernel shows and we would never have written goes into `extra`, so that it never equals a wanted one.
"""

from ipaddress import ip_address
from typing import Any

from gateway.line.plan import PROTOCOL, Route, Rule

AF = {4: 2, 6: 10}  # AF_INET, AF_INET6
_LOOKUP, _PROHIBIT = 1, 8  # FR_ACT_TO_TBL, FR_ACT_PROHIBIT
_UNICAST, _UNREACHABLE = 1, 7  # RTN_*
_ONLINK = 4  # RTNH_F_ONLINK
_DEAD_OR_LINKDOWN = 1 | 16  # RTNH_F_*: the link's state, not the route's text
_RULE_KNOWN = {"FRA_TABLE", "FRA_PRIORITY", "FRA_FWMARK", "FRA_FWMASK", "FRA_SRC", "FRA_PROTOCOL"}
_ROUTE_KNOWN = {"RTA_TABLE", "RTA_PRIORITY", "RTA_GATEWAY", "RTA_OIF", "RTA_CACHEINFO", "RTA_PREF"}


def rule_words(rule: Rule) -> dict[str, Any]:
    """The request that adds the rule."""
    words: dict[str, Any] = {"family": AF[rule.version], "priority": rule.priority, "protocol": PROTOCOL}
    if rule.mask:
        words |= {"fwmark": rule.mark, "fwmask": rule.mask}
    if rule.source:
        words |= {"src": rule.source, "src_len": 32 if rule.version == 4 else 128}
    return words | ({"table": rule.table} if rule.table else {"action": "prohibit"})


def route_words(route: Route, index: int) -> dict[str, Any]:
    """The request that adds the route; index: of its device."""
    words: dict[str, Any] = {"family": AF[route.version], "dst": "default", "table": route.table, "proto": PROTOCOL}
    words["priority"] = route.metric
    if not route.device:
        return words | {"type": "unreachable"}
    return words | {"gateway": route.gateway, "oif": index, "flags": _ONLINK}


def rule_of(version: int, item: Any, attrs: dict[str, Any]) -> Rule:
    """The rule that a message shows."""
    more = {k: v for k, v in attrs.items() if k not in _RULE_KNOWN}
    if more.get("FRA_SUPPRESS_PREFIXLEN") == 0xFFFFFFFF:
        del more["FRA_SUPPRESS_PREFIXLEN"]
    full = 32 if version == 4 else 128
    fields = {"action": item["action"], "flags": item["flags"], "tos": item["tos"], "dst_len": item["dst_len"]}
    more |= {k: v for k, v in fields.items() if v and not (k == "action" and v in (_LOOKUP, _PROHIBIT))}
    if item["src_len"] not in (0, full):
        more["src_len"] = item["src_len"]
    table = attrs.get("FRA_TABLE", 0) if item["action"] == _LOOKUP else 0
    source = str(ip_address(attrs["FRA_SRC"])) if "FRA_SRC" in attrs else ""
    extra = " ".join(f"{k} {v}" for k, v in sorted(more.items()))
    mask = attrs.get("FRA_FWMASK", 0)
    return Rule(version, attrs["FRA_PRIORITY"], attrs.get("FRA_FWMARK", 0), mask, source, table, extra)


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
    more = sorted(set(attrs) - _ROUTE_KNOWN)
    plain = not more and not item["dst_len"] and not item["tos"]
    if plain and item["type"] == _UNREACHABLE:
        return Route(version, table, metric)
    if plain and item["type"] == _UNICAST and flags == _ONLINK and attrs.get("RTA_GATEWAY"):
        return Route(version, table, metric, names.get(attrs.get("RTA_OIF", 0), "?"), attrs["RTA_GATEWAY"])
    words = [f"type {item['type']}", f"flags {flags}", f"length {item['dst_len']}"]
    words += [f"{k} {v}" for k, v in sorted(attrs.items()) if k != "RTA_CACHEINFO"]
    return Route(version, table, metric, extra=" ".join(words))


def route_request(item: Any, attrs: dict[str, Any]) -> dict[str, Any]:
    """The request that deletes exactly the route that a message shows."""
    words: dict[str, Any] = {
        "family": item["family"],
        "table": attrs["RTA_TABLE"],
        "type": item["type"],
        "tos": item["tos"],
    }
    words["dst"] = f"{attrs['RTA_DST']}/{item['dst_len']}" if "RTA_DST" in attrs else "default"
    for key in ("RTA_PRIORITY", "RTA_GATEWAY", "RTA_OIF"):
        if key in attrs and not (key == "RTA_OIF" and item["type"] != _UNICAST):
            words[key.removeprefix("RTA_").lower()] = attrs[key]
    return words
