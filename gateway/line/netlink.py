"""Rules, routes, links, addresses and neighbours of the kernel; the only module that speaks to it by pyroute2.

Rules in our priorities and routes in our tables are ours, whoever made them; nothing else is ever changed. Acts in the
network namespace of the thread that opened it.
"""

import errno
from ipaddress import ip_address
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from gateway.line import devices, diverted, messages, sysctl, tunsrc
from gateway.line.model import (
    MAX_INDEX,
    PRIORITY_FIRST,
    PRIORITY_LAST,
    TABLE_BASE,
    TRANSPARENT_TABLE,
    UNDERLAY_BASE,
)
from gateway.line.plan import Plan
from gateway.line.reconcile import Actual
from gateway.line.routing import Foreign, Route, Rule
from gateway.line.spec import LineSpec, Segments, Underlay
from gateway.line.steps import (
    Action,
    AddDevice,
    AddRoute,
    AddRule,
    DeleteRoute,
    DeleteRule,
    DeviceStep,
    SetSysctl,
    SetTunnelSource,
)

_UNUSABLE = 0x40 | 0x08  # IFA_F_TENTATIVE, IFA_F_DADFAILED
_NUD = {0x20: "failed", 0x01: "asked"}  # NUD_FAILED, NUD_INCOMPLETE
_NTF_USE = 1
_LOCAL = 255  # RT_TABLE_LOCAL
_ALREADY = (errno.EEXIST, errno.ESRCH, errno.ENOENT, errno.ENODEV)


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
        found = list(self._ip.get_links())
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in found}
        links = {names[link["index"]]: devices.link_of(link, names) for link in found}
        addresses: dict[str, set[str]] = {}
        for item in self._ip.get_addr():
            if not (item.get_attr("IFA_FLAGS") or item["flags"]) & _UNUSABLE:
                text = item.get_attr("IFA_LOCAL") or item.get_attr("IFA_ADDRESS")
                addresses.setdefault(names.get(item["index"], ""), set()).add(str(ip_address(text)))
        neighbours: dict[tuple[str, str], str] = {}
        for version in (4, 6):
            for item in self._ip.get_neighbours(family=messages.AF[version]):
                key = (names.get(item["ifindex"], ""), item.get_attr("NDA_DST") or "")
                neighbours[key] = _NUD.get(item["state"], "known")
        self._raw.clear()
        rules, foreign = self._rules()
        # A table that no rule leads to does no harm; so a full table of routes elsewhere need never be read.
        self._tables |= {route.table for route in plan.routes}
        self._tables |= {rule.table for rule in rules if _is_ours(rule.table)}
        return Actual(
            rules=rules,
            routes=self._routes(names),
            foreign=foreign,
            diverted=diverted.read(self._ip, plan.lines, foreign, {name: index for index, name in names.items()}),
            links=links,
            addresses={device: frozenset(found) for device, found in addresses.items()},
            neighbours=neighbours,
            sysctls=sysctl.read(plan.sysctls),
            table=table,
            tunnel_source=_tunnel_source() if plan.tunnel_source else "",
        )

    def _rules(self) -> tuple[frozenset[Rule], tuple[Foreign, ...]]:
        rules: set[Rule] = set()
        foreign: list[Foreign] = []
        for version in (4, 6):
            for item in self._ip.get_rules(family=messages.AF[version]):
                attrs = dict(item["attrs"])
                priority = attrs.get("FRA_PRIORITY", 0)
                if PRIORITY_FIRST <= priority <= PRIORITY_LAST:
                    rule = messages.rule_of(version, item, attrs)
                    rules.add(rule)
                    self._raw[rule] = messages.rule_request(item, attrs)
                elif priority < PRIORITY_FIRST and (priority, attrs.get("FRA_TABLE")) != (0, _LOCAL):
                    foreign.append(messages.foreign_of(version, item, attrs))
        return frozenset(rules), tuple(foreign)

    def _routes(self, names: dict[int, str]) -> frozenset[Route]:
        routes: set[Route] = set()
        for version in (4, 6):
            for table in sorted(self._tables):
                for item in self._table(version, table):
                    attrs = dict(item["attrs"])
                    route = messages.route_of(version, item, attrs, names)
                    routes.add(route)
                    self._raw[route] = messages.route_request(item, attrs)
        return frozenset(routes)

    def _table(self, version: int, table: int) -> list[Any]:
        try:
            return list(self._ip.get_routes(family=messages.AF[version], table=table))
        except NetlinkError as error:
            if error.code == errno.ENOENT:  # the kernel has no such table yet
                return []
            raise

    def apply(self, action: Action) -> None:
        """Takes one step; one that is already taken is not an error."""
        try:
            match action:
                case AddRule(rule):
                    self._ip.rule("add", **messages.rule_words(rule))
                case AddRoute(route):
                    index = devices.index_of(self._ip, route.device) if route.device else 0
                    self._ip.route("add", **messages.route_words(route, index))
                case DeleteRule(rule):
                    self._ip.rule("del", **self._raw[rule])
                case DeleteRoute(route):
                    self._ip.route("del", **self._raw[route])
                case SetSysctl(path, value):
                    sysctl.write(path, value)
                case SetTunnelSource(address):
                    tunsrc.write(address)
                case _ if isinstance(action, DeviceStep):
                    devices.take(self._ip, action)
                case _:
                    raise TypeError(f"not a step of netlink: {action}")
        except NetlinkError as error:
            # A device is made where none has its name: what is there already is another with its network number.
            if error.code not in _ALREADY or (isinstance(action, AddDevice) and error.code == errno.EEXIST):
                raise OSError(error.code, str(error)) from error

    def solicit(self, line: LineSpec) -> None:
        """Has the kernel ask for the line's gateways again, so that one that came back is seen without traffic."""
        for device, version, gateway in _neighbours(line):
            found = self._ip.link_lookup(ifname=device)
            if not found:
                continue
            try:
                self._ip.neigh(
                    "replace", family=messages.AF[version], dst=gateway, ifindex=found[0], flags=_NTF_USE, state=0
                )
            except NetlinkError as error:
                if error.code not in (*_ALREADY, errno.ENETDOWN, errno.EINVAL):
                    raise OSError(error.code, str(error)) from error


def _tunnel_source() -> str:
    """The node's SRv6 source address; none where the kernel knows no SRv6, which is those lines' fault alone."""
    try:
        return tunsrc.read()
    except OSError:
        return ""


def _is_ours(table: int) -> bool:
    return table == TRANSPARENT_TABLE or any(base < table <= base + MAX_INDEX for base in (TABLE_BASE, UNDERLAY_BASE))


def _neighbours(line: LineSpec) -> list[tuple[str, int, str]]:
    """Device, family and address of each next hop, the one under a tunnel first."""
    hops = [(line.device, way.version, way.gateway) for way in line.ways if way.gateway]
    match line.tunnel:
        case Underlay() as outer:
            return [(outer.device, outer.version, outer.gateway), *hops]
        case Segments() as outer:
            return [(line.device, 6, outer.gateway), *hops]
        case _:
            return hops
