"""The kernel state that holds every line's packets on their line, as data. Pure.

Per line: mark → table and source → table; behind them the same selectors again as `prohibit`, so that a missing table
ends there and never in the main table; the table itself ends in `unreachable`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.line.model import LineEntry, LineError, NodeConfig
from gateway.line.spec import LineSpec, spec_of

PRIORITY_MARK = 4610
PRIORITY_SOURCE = 4620
PRIORITY_PROHIBIT_MARK = 4680
PRIORITY_PROHIBIT_SOURCE = 4690
METRIC_GATEWAY = 10
METRIC_UNREACHABLE = 4278198272  # behind every route a person or a daemon would add
PROTOCOL = 70  # rtm_protocol of our rules and routes


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """One policy rule; table 0 means prohibit. mask is 0 when there is no mark, source empty when there is none. extra:
    whatever else a rule found in the kernel says, so that it never equals one of ours."""

    version: int
    priority: int
    mark: int = 0
    mask: int = 0
    source: str = ""
    table: int = 0
    extra: str = ""

    def __str__(self) -> str:
        parts = [f"ip -{self.version} rule {self.priority}:", f"from {self.source or 'all'}"]
        if self.mask:
            parts.append(f"fwmark {self.mark:#x}/{self.mask:#x}")
        parts.append(f"lookup {self.table}" if self.table else "prohibit")
        if self.extra:
            parts.append(f"({self.extra})")
        return " ".join(parts)


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """One default route of a line's table; no device means unreachable. extra: as in Rule."""

    version: int
    table: int
    metric: int
    device: str = ""
    gateway: str = ""
    extra: str = ""

    def __str__(self) -> str:
        way = f"via {self.gateway} dev {self.device} onlink" if self.device else "unreachable"
        if self.extra:
            way = self.extra
        return f"ip -{self.version} route table {self.table}: default {way} metric {self.metric}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything wanted of the kernel except the nft table. sysctls: path below /proc/sys → value."""

    lines: tuple[LineSpec, ...]
    rules: frozenset[Rule]
    routes: frozenset[Route]
    sysctls: Mapping[str, str]

    def text(self) -> str:
        """The plan for reading and for goldens, in a fixed order."""
        settings = [f"{path.replace('.', '%').replace('/', '.')} = {v}" for path, v in sorted(self.sysctls.items())]
        return "\n".join([*map(str, sorted(self.rules)), *map(str, sorted(self.routes)), *settings]) + "\n"


def sort_out(entries: Iterable[LineEntry], node: NodeConfig) -> tuple[list[LineSpec], dict[str, str]]:
    """The lines that can be put into the kernel, by index, and why each other one cannot. Lines that claim the same
    index, device or source are all left out: which is right is not ours to guess. Retired lines are in neither."""
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
    for spec in specs:
        if spec.device in taken:
            problems[spec.id] = (
                f"line {spec.id}: {spec.device} is a device of {taken[spec.device]}; give the line its own"
            )
        for claim in (
            f"index {spec.index}",
            f"device {spec.device}",
            *(f"source {text}" for way in spec.ways for text in way.sources),
        ):
            claims.setdefault(claim, set()).add(spec.id)
    for claim, ids in sorted(claims.items()):
        if len(ids) > 1:
            for line in ids:
                others = ", ".join(sorted(ids - {line}))
                problems.setdefault(line, f"line {line}: {claim} is also that of {others}; give each line its own")
    usable = [spec for spec in specs if spec.id not in problems]
    return sorted(usable, key=lambda spec: spec.index), problems


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
            routes.add(Route(way.version, line.table, METRIC_GATEWAY, line.device, way.gateway))
    return Plan(lines, frozenset(rules), frozenset(routes), _sysctls(lines, node))


# Of the node: it forwards nothing, and the kernel's redirect switches work as "all or device".
_NODE_SYSCTLS = {
    "net/ipv4/ip_forward": "0",
    "net/ipv4/conf/all/accept_redirects": "0",
    "net/ipv4/conf/all/secure_redirects": "0",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/all/accept_source_route": "0",
    "net/ipv6/conf/all/forwarding": "0",
    "net/ipv6/conf/all/accept_redirects": "0",
}
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


def _sysctls(lines: Iterable[LineSpec], node: NodeConfig) -> dict[str, str]:
    found = dict(_NODE_SYSCTLS)
    for line in lines:
        found |= {path.format(line.device): value for path, value in (_DEVICE_SYSCTLS | _LINE_SYSCTLS).items()}
    for access in node.access:
        found |= {path.format(access.interface): value for path, value in _DEVICE_SYSCTLS.items()}
    return found
