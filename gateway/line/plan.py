"""The kernel state that holds every line's packets on their line, as data. Pure.

Per line: mark → table and source → table; behind them the same selectors again as `prohibit`, so that a missing table
ends there and never in the main table; the table itself ends in `unreachable`. What a line in a tunnel needs besides
stands in gateway.line.overlay, what transparent listeners need in gateway.line.transparent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.line import own, transparent
from gateway.line.model import LineEntry, LineError, NodeConfig
from gateway.line.overlay import Device, device_of, routes_of, rules_of
from gateway.line.routing import (
    METRIC_GATEWAY,
    METRIC_UNREACHABLE,
    PRIORITY_MARK,
    PRIORITY_PROHIBIT_MARK,
    PRIORITY_PROHIBIT_SOURCE,
    PRIORITY_SOURCE,
    Route,
    Rule,
)
from gateway.line.spec import LineSpec, Segments, Underlay, spec_of


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything wanted of the kernel except the nft table. sysctls: path below /proc/sys → value; devices: those that
    the gateway makes itself; tunnel_source: the node's SRv6 source address, empty when no line needs one."""

    lines: tuple[LineSpec, ...]
    rules: frozenset[Rule]
    routes: frozenset[Route]
    sysctls: Mapping[str, str]
    devices: tuple[Device, ...] = ()
    tunnel_source: str = ""

    def text(self) -> str:
        """The plan for reading and for goldens, in a fixed order."""
        settings = [f"{path.replace('.', '%').replace('/', '.')} = {v}" for path, v in sorted(self.sysctls.items())]
        tunnels = [*map(str, self.devices), *([f"ip sr tunsrc {self.tunnel_source}"] if self.tunnel_source else [])]
        rules, routes = map(str, sorted(self.rules)), map(str, sorted(self.routes))
        return "\n".join([*tunnels, *rules, *routes, *settings]) + "\n"


def sort_out(entries: Iterable[LineEntry], node: NodeConfig) -> tuple[list[LineSpec], dict[str, str]]:
    """The lines that can be put into the kernel, by index, and why each other one cannot. Lines that claim the same
    index, device or source are all left out: which is right is not ours to guess; so is one that would take what the
    node itself is reached by, however it came into the policy. Retired lines are in neither."""
    specs: list[LineSpec] = []
    problems: dict[str, str] = {}
    for entry in entries:
        if getattr(entry, "retired", False):
            continue
        try:
            specs.append(spec_of(entry, node.mark_base))
        except LineError as error:
            problems[entry.id] = str(error)
    taken = (
        {a.interface: "access" for a in node.access}
        | {m.interface: "management" for m in node.management}
        | {"lo": "loopback"}
    )
    claims: dict[str, set[str]] = {}
    devices = {spec.device for spec in specs}
    for spec in specs:
        for device in spec.devices:
            if device in taken:
                problems[spec.id] = f"line {spec.id}: {device} is a device of {taken[device]}; give the line its own"
        if isinstance(spec.tunnel, Underlay) and spec.tunnel.device in devices:
            problems[spec.id] = (
                f"line {spec.id}: its packets leave by {spec.tunnel.device}, which is itself a line's device; "
                "give them a device of their own"
            )
        if fault := next(filter(None, (own.fault(address, node) for address in spec.addresses)), ""):
            problems[spec.id] = f"line {spec.id}: {fault}"
        for claim in _claims(spec):
            claims.setdefault(claim, set()).add(spec.id)
    problems |= _odd_tunnel_sources(specs)
    for claim, ids in sorted(claims.items()):
        if len(ids) > 1:
            for line in ids:
                others = ", ".join(sorted(ids - {line}))
                problems.setdefault(line, f"line {line}: {claim} is also that of {others}; give each line its own")
    usable = [spec for spec in specs if spec.id not in problems]
    return sorted(usable, key=lambda spec: spec.index), problems


def _claims(spec: LineSpec) -> list[str]:
    """What only one line can have."""
    found = [f"index {spec.index}", f"device {spec.device}"]
    found += [f"source {text}" for way in spec.ways for text in way.sources]
    if isinstance(spec.tunnel, Underlay):
        found += [f"VXLAN {spec.tunnel.vni}", f"way from {spec.tunnel.local} to {spec.tunnel.peer}"]
    return found


def _odd_tunnel_sources(specs: Iterable[LineSpec]) -> dict[str, str]:
    """The kernel has one SRv6 source address for all segment lists (ip-sr(8)); nor can an outer address be an inner
    one, since what has it goes another way."""
    specs = list(specs)
    outer = sorted({spec.tunnel.local for spec in specs if isinstance(spec.tunnel, Segments)})
    inner = {text: spec.id for spec in specs for way in spec.ways for text in way.sources}
    found = {}
    for spec in specs:
        if isinstance(spec.tunnel, Segments) and len(outer) > 1:
            found[spec.id] = (
                f"line {spec.id}: SRv6 lines have the outer sources {', '.join(outer)}; "
                "give all of them one address of the node"
            )
        if spec.tunnel is not None and spec.tunnel.local in inner:
            found[spec.id] = (
                f"line {spec.id}: its outer source {spec.tunnel.local} is a source of line {inner[spec.tunnel.local]}; "
                "give the tunnel an address of its own"
            )
    return found


def plan(lines: Iterable[LineSpec], node: NodeConfig) -> Plan:
    """The desired state for lines that sort_out() has passed."""
    lines = tuple(lines)
    rules: set[Rule] = set()
    routes: set[Route] = set()
    for version in (4, 6):
        rules.add(Rule(version, PRIORITY_PROHIBIT_MARK, node.mark_base, node.range_mask))
    for line in lines:
        for version in (4, 6):
            rules.add(Rule(version, PRIORITY_MARK, line.mark, node.mark_mask, table=line.table))
            routes.add(Route(version, line.table, METRIC_UNREACHABLE))
        for way in line.ways:
            for source in way.sources:
                rules.add(Rule(way.version, PRIORITY_SOURCE, source=source, table=line.table))
                rules.add(Rule(way.version, PRIORITY_PROHIBIT_SOURCE, source=source))
            if way.gateway:
                routes.add(Route(way.version, line.table, METRIC_GATEWAY, line.device, way.gateway))
        rules |= rules_of(line)
        routes |= routes_of(line)
    rules |= transparent.rules(node)
    routes |= transparent.routes(node)
    devices = tuple(device for line in lines if (device := device_of(line)) is not None)
    sources = [line.tunnel.local for line in lines if isinstance(line.tunnel, Segments)]
    return Plan(
        lines, frozenset(rules), frozenset(routes), _sysctls(lines, node), devices, sources[0] if sources else ""
    )


# Of the node: it forwards nothing, and the kernel's switches for redirects and proxies work as "all or device".
_NODE_SYSCTLS = {
    "net/ipv4/ip_forward": "0",
    "net/ipv4/conf/all/accept_redirects": "0",
    "net/ipv4/conf/all/secure_redirects": "0",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/all/accept_source_route": "0",
    "net/ipv4/conf/all/rp_filter": "0",  # of all's and a device's the greater counts, and 2 is looser than 1
    "net/ipv4/conf/all/proxy_arp": "0",
    "net/ipv6/conf/all/forwarding": "0",
    "net/ipv6/conf/all/accept_redirects": "0",
    "net/ipv6/conf/all/proxy_ndp": "0",
}
_AS_GOOD = {"net/ipv4/conf/all/rp_filter": "1"}  # strict everywhere is somebody's good choice
# Of every line and access device. rp_filter is strict: by the source rule the reverse path of a line's packets is its
# own table, so that only packets that came in by the line pass.
_DEVICE_SYSCTLS = {
    "net/ipv4/conf/{}/forwarding": "0",
    "net/ipv4/conf/{}/rp_filter": "1",
    "net/ipv4/conf/{}/accept_redirects": "0",
    "net/ipv4/conf/{}/secure_redirects": "0",
    "net/ipv4/conf/{}/send_redirects": "0",
    "net/ipv4/conf/{}/accept_source_route": "0",
    "net/ipv4/conf/{}/proxy_arp": "0",
    "net/ipv4/conf/{}/arp_ignore": "1",  # answer only for addresses of the device that was asked
    "net/ipv4/conf/{}/arp_announce": "2",  # never tell one line's address on another
    "net/ipv6/conf/{}/forwarding": "0",
    "net/ipv6/conf/{}/accept_ra": "0",
    "net/ipv6/conf/{}/autoconf": "0",
    "net/ipv6/conf/{}/accept_redirects": "0",
    "net/ipv6/conf/{}/proxy_ndp": "0",
}
_LINE_SYSCTLS = {"net/ipv6/conf/{}/keep_addr_on_down": "1"}  # else a line comes back from "down" without its source


def is_right(path: str, wanted: str, found: str | None) -> bool:
    """Whether a sysctl may stay as it was found; one that is not there may."""
    return found in (None, wanted, _AS_GOOD.get(path))


def _sysctls(lines: Iterable[LineSpec], node: NodeConfig) -> dict[str, str]:
    found = dict(_NODE_SYSCTLS)
    for device in sorted({device for line in lines for device in line.devices}):
        found |= {path.format(device): value for path, value in (_DEVICE_SYSCTLS | _LINE_SYSCTLS).items()}
    for access in node.access:
        found |= {path.format(access.interface): value for path, value in _DEVICE_SYSCTLS.items()}
    # The way back to a source behind several devices leads to the first: the strict filter would drop what comes by the
    # others. The nft table then holds each device to its prefixes (gateway.line.killswitch).
    found |= {f"net/ipv4/conf/{device}/rp_filter": "2" for device in node.alike}
    return found | transparent.sysctls(node)
