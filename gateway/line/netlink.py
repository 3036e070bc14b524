"""Rules, routes, links, addresses and neighbours of the kernel; the only module that speaks to it by pyroute2.

Rules in our priorities and routes in our tables are ours, whoever made them; nothing else is ever changed. Acts in the
network namespace of the thread that opened it.
"""

import errno
from ipaddress import ip_address
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from gateway.line import sysctl
from gateway.line.model import MAX_INDEX, PRIORITY_FIRST, PRIORITY_LAST, TABLE_BASE
from gateway.line.plan import PROTOCOL, Plan, Route, Rule
from gateway.line.reconcile import Action, Actual, AddRoute, AddRule, DeleteRoute, DeleteRule, Link, SetSysctl
from gateway.line.spec import LineSpec

_AF = {4: 2, 6: 10}
_LOOKUP, _PROHIBIT = 1, 8  # FR_ACT_TO_TBL, FR_ACT_PROHIBIT
_UNICAST, _UNREACHABLE = 1, 7  # RTN_*
_ONLINK = 4  # RTNH_F_ONLINK
_DEAD_OR_LINKDOWN = 1 | 16  # RTNH_F_*: the link's state, not the route's text
_IFF_UP, _IFF_LOWER_UP = 1, 0x10000
_UNUSABLE = 0x40 | 0x08  # IFA_F_TENTATIVE, IFA_F_DADFAILED
_NUD_FAILED = 0x20
_NTF_USE = 1
_ALREADY = (errno.EEXIST, errno.ESRCH, errno.ENOENT, errno.ENODEV)
_RULE_KNOWN = {"FRA_TABLE", "FRA_PRIORITY", "FRA_FWMARK", "FRA_FWMASK", "FRA_SRC", "FRA_PROTOCOL"}
_ROUTE_KNOWN = {"RTA_TABLE", "RTA_PRIORITY", "RTA_GATEWAY", "RTA_OIF", "RTA_CACHEINFO", "RTA_PREF"}


class Kernel:
    """One rtnetlink connection. Methods raise OSError when the kernel refuses."""

    def __init__(self) -> None:
        self._ip = IPRoute(strict_check=True)  # so that the kernel itself picks the tables
        self._tables: set[int] = set()
        self._raw: dict[Rule | Route, dict[str, Any]] = {}

    def close(self) -> None:
        """Closes the connection; everything in the kernel stays."""
        self._ip.close()

    def read(self, plan: Plan, table: str) -> Actual:
        """Everything the plan speaks of. table: the nft table as read by gateway.line.nft."""
        try:
            return self._read(plan, table)
        except NetlinkError as error:
            raise OSError(error.code, str(error)) from error

    def _read(self, plan: Plan, table: str) -> Actual:
        names: dict[int, str] = {}
        links: dict[str, Link] = {}
        for link in self._ip.get_links():
            name = link.get_attr("IFLA_IFNAME")
            names[link["index"]] = name
            links[name] = Link(link["index"], bool(link["flags"] & _IFF_UP), bool(link["flags"] & _IFF_LOWER_UP))
        addresses: dict[str, set[str]] = {}
        for item in self._ip.get_addr():
            if not (item.get_attr("IFA_FLAGS") or item["flags"]) & _UNUSABLE:
                text = item.get_attr("IFA_LOCAL") or item.get_attr("IFA_ADDRESS")
                addresses.setdefault(names.get(item["index"], ""), set()).add(str(ip_address(text)))
        neighbours: dict[tuple[str, str], str] = {}
        for version in (4, 6):
            for item in self._ip.get_neighbours(family=_AF[version]):
                key = (names.get(item["ifindex"], ""), item.get_attr("NDA_DST") or "")
                neighbours[key] = "failed" if item["state"] == _NUD_FAILED else "known"
        self._raw.clear()
        rules, foreign = self._rules()
        # A table that no rule leads to does no harm; so a full table of routes elsewhere need never be read.
        self._tables |= {line.table for line in plan.lines} | {rule.table for rule in rules if _is_ours(rule.table)}
        return Actual(
            rules=rules,
            routes=self._routes(names),
            foreign=foreign,
            links=links,
            addresses={device: frozenset(found) for device, found in addresses.items()},
            neighbours=neighbours,
            sysctls=sysctl.read(plan.sysctls),
            table=table,
        )

    def _rules(self) -> tuple[frozenset[Rule], tuple[str, ...]]:
        rules: set[Rule] = set()
        foreign: list[str] = []
        for version in (4, 6):
            for item in self._ip.get_rules(family=_AF[version]):
                attrs = dict(item["attrs"])
                priority = attrs.get("FRA_PRIORITY", 0)
                if PRIORITY_FIRST <= priority <= PRIORITY_LAST:
                    rule = _rule(version, item, attrs)
                    rules.add(rule)
                    self._raw[rule] = _rule_request(item, attrs)
                elif 0 < priority < PRIORITY_FIRST:
                    foreign.append(f"ip -{version} rule {priority}: table {attrs.get('FRA_TABLE', 0)}")
        return frozenset(rules), tuple(foreign)

    def _routes(self, names: dict[int, str]) -> frozenset[Route]:
        routes: set[Route] = set()
        for version in (4, 6):
            for table in sorted(self._tables):
                for item in self._table(version, table):
                    attrs = dict(item["attrs"])
                    route = _route(version, item, attrs, names)
                    routes.add(route)
                    self._raw[route] = _route_request(item, attrs)
        return frozenset(routes)

    def _table(self, version: int, table: int) -> list[Any]:
        try:
            return list(self._ip.get_routes(family=_AF[version], table=table))
        except NetlinkError as error:
            if error.code == errno.ENOENT:  # the kernel has no such table yet
                return []
            raise

    def apply(self, action: Action) -> None:
        """Takes one step; one that is already taken is not an error."""
        try:
            match action:
                case AddRule(rule):
                    self._ip.rule("add", **_rule_words(rule))
                case AddRoute(route):
                    self._ip.route("add", **self._route_words(route))
                case DeleteRule(rule):
                    self._ip.rule("del", **self._raw[rule])
                case DeleteRoute(route):
                    self._ip.route("del", **self._raw[route])
                case SetSysctl(path, value):
                    sysctl.write(path, value)
                case _:
                    raise TypeError(f"not a step of netlink: {action}")
        except NetlinkError as error:
            if error.code not in _ALREADY:
                raise OSError(error.code, str(error)) from error

    def solicit(self, line: LineSpec) -> None:
        """Has the kernel ask for the line's gateways again, so that one that came back is seen without traffic."""
        found = self._ip.link_lookup(ifname=line.device)
        for way in line.ways if found else ():
            try:
                self._ip.neigh(
                    "replace", family=_AF[way.version], dst=way.gateway, ifindex=found[0], flags=_NTF_USE, state=0
                )
            except NetlinkError as error:
                if error.code not in (*_ALREADY, errno.ENETDOWN, errno.EINVAL):
                    raise OSError(error.code, str(error)) from error

    def _route_words(self, route: Route) -> dict[str, Any]:
        words: dict[str, Any] = {
            "family": _AF[route.version],
            "dst": "default",
            "table": route.table,
            "proto": PROTOCOL,
        }
        words["priority"] = route.metric
        if not route.device:
            return words | {"type": "unreachable"}
        index = self._ip.link_lookup(ifname=route.device)
        if not index:
            raise NetlinkError(errno.ENODEV, f"no device {route.device}")
        return words | {"gateway": route.gateway, "oif": index[0], "flags": _ONLINK}


def _is_ours(table: int) -> bool:
    return TABLE_BASE < table <= TABLE_BASE + MAX_INDEX


def _rule_words(rule: Rule) -> dict[str, Any]:
    words: dict[str, Any] = {"family": _AF[rule.version], "priority": rule.priority, "protocol": PROTOCOL}
    if rule.mask:
        words |= {"fwmark": rule.mark, "fwmask": rule.mask}
    if rule.source:
        words |= {"src": rule.source, "src_len": 32 if rule.version == 4 else 128}
    return words | ({"table": rule.table} if rule.table else {"action": "prohibit"})


def _rule(version: int, item: Any, attrs: dict[str, Any]) -> Rule:
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


def _rule_request(item: Any, attrs: dict[str, Any]) -> dict[str, Any]:
    words = {k.removeprefix("FRA_").lower(): v for k, v in attrs.items() if k != "FRA_SUPPRESS_PREFIXLEN"}
    if not words.get("table"):
        words.pop("table", None)
    if item["src_len"]:
        words["src_len"] = item["src_len"]
    if item["dst_len"]:
        words["dst_len"] = item["dst_len"]
    return words | {"family": item["family"], "action": item["action"]}


def _route(version: int, item: Any, attrs: dict[str, Any], names: dict[int, str]) -> Route:
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


def _route_request(item: Any, attrs: dict[str, Any]) -> dict[str, Any]:
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
