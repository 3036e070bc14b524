"""What differs between the plan and the kernel, and the steps that put it right. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.line.overlay import ALIAS, VXLAN_HEADERS, Device
from gateway.line.plan import Plan
from gateway.line.routing import Route, Rule
from gateway.line.spec import Segments, Underlay


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. up: administratively; carrier: the far end is there; vxlan: what makes it a device of ours
    (shape_of), None for any other; alias: its ifalias; mtu in bytes."""

    index: int
    up: bool
    carrier: bool
    vxlan: tuple[object, ...] | None = None
    alias: str = ""
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class Actual:
    """What the kernel says. rules, routes: those in our priorities and tables, whoever made them; foreign: rules of
    others before ours; addresses: usable ones by device; neighbours: state by (device, address); sysctls: None
    where the path does not exist; table: our nft table without counts, empty when it is not there; tunnel_source: the
    node's SRv6 source address, empty when it has none or was not asked for."""

    rules: frozenset[Rule] = frozenset()
    routes: frozenset[Route] = frozenset()
    foreign: tuple[str, ...] = ()
    links: Mapping[str, Link] = field(default_factory=dict)
    addresses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    neighbours: Mapping[tuple[str, str], str] = field(default_factory=dict)
    sysctls: Mapping[str, str | None] = field(default_factory=dict)
    table: str = ""
    tunnel_source: str = ""


@dataclass(frozen=True, slots=True)
class AddRule:
    """Add this rule."""

    rule: Rule

    def __str__(self) -> str:
        return f"add {self.rule}"


@dataclass(frozen=True, slots=True)
class DeleteRule:
    """Delete this rule."""

    rule: Rule

    def __str__(self) -> str:
        return f"delete {self.rule}"


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Add this route."""

    route: Route

    def __str__(self) -> str:
        return f"add {self.route}"


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Delete this route."""

    route: Route

    def __str__(self) -> str:
        return f"delete {self.route}"


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """Write value to path (below /proc/sys); was: what stood there."""

    path: str
    value: str
    was: str

    def __str__(self) -> str:
        return f"set {self.path} = {self.value} (was {self.was})"


@dataclass(frozen=True, slots=True)
class LoadTable:
    """Replace the nft table as a whole; why: "missing", "edited" or "new"."""

    why: str

    def __str__(self) -> str:
        return f"load table inet feiyu ({self.why})"


@dataclass(frozen=True, slots=True)
class AddDevice:
    """Make this device; it stays down and without addresses."""

    device: Device

    def __str__(self) -> str:
        return f"make {self.device}"


@dataclass(frozen=True, slots=True)
class DeleteDevice:
    """Take a device of ours away."""

    name: str

    def __str__(self) -> str:
        return f"delete device {self.name}"


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Put a line's source on a device of ours."""

    device: str
    address: str

    def __str__(self) -> str:
        return f"add address {self.address} to {self.device}"


@dataclass(frozen=True, slots=True)
class DeleteAddress:
    """Take an address off a device of ours that is none of the line's sources (any more)."""

    device: str
    address: str

    def __str__(self) -> str:
        return f"delete address {self.address} of {self.device}"


@dataclass(frozen=True, slots=True)
class SetMtu:
    """Set the size of the largest packet, in bytes, of a device of ours."""

    device: str
    mtu: int

    def __str__(self) -> str:
        return f"set {self.device} mtu {self.mtu}"


@dataclass(frozen=True, slots=True)
class SetUp:
    """Set a device of ours up."""

    device: str

    def __str__(self) -> str:
        return f"set {self.device} up"


@dataclass(frozen=True, slots=True)
class SetTunnelSource:
    """Set the node's SRv6 source address."""

    address: str
    was: str

    def __str__(self) -> str:
        return f"set the SRv6 source address {self.address} (was {self.was or 'none'})"


DeviceStep = AddDevice | DeleteDevice | AddAddress | DeleteAddress | SetMtu | SetUp
Action = LoadTable | SetSysctl | AddRule | DeleteRule | AddRoute | DeleteRoute | DeviceStep | SetTunnelSource


def shape_of(device: Device) -> tuple[object, ...]:
    """What makes a VXLAN device the one that is wanted."""
    return (device.underlay, device.vni, device.local, device.peer, device.port, device.mac)


def diff(plan: Plan, table: str | None, actual: Actual) -> list[Action]:
    """The steps from actual to plan, in an order in which no step opens a way: the table, then what blocks, then what
    leads. table: the nft table as it read back after its last load, None when not loaded yet. A gateway's route is
    added only while its device is up, for the kernel takes no other, and while the line's source stands on it: what
    merely has the line's name now (renamed, or made by somebody else) is not the line. A device of ours is made and
    set up here, after what blocks; its routes follow in the next pass."""
    steps: list[Action] = []
    if table is None or actual.table != table:
        steps.append(LoadTable("new" if table is None else "edited" if actual.table else "missing"))
    for path, value in sorted(
        plan.sysctls.items(), key=lambda item: ("/conf/" in item[0], item)
    ):  # ip_forward resets others
        was = actual.sysctls.get(path)
        if was is not None and was != value:
            steps.append(SetSysctl(path, value, was))
    missing_rules = sorted(plan.rules - actual.rules)
    steps += [AddRule(rule) for rule in missing_rules if not rule.table]
    leads = _Leads(plan, actual)
    missing_routes = sorted({route for route in plan.routes if leads(route)} - actual.routes)
    steps += [AddRoute(route) for route in missing_routes if not route.device]
    steps += [DeleteRule(rule) for rule in sorted(actual.rules - plan.rules)]
    # What wraps goes before the way to the first segment, and comes after it (by its metric).
    steps += [DeleteRoute(r) for r in sorted(actual.routes - plan.routes, key=lambda r: (not r.segments, r))]
    steps += _device_steps(plan.devices, actual)
    if plan.tunnel_source and actual.tunnel_source != plan.tunnel_source:
        steps.append(SetTunnelSource(plan.tunnel_source, actual.tunnel_source))
    steps += [AddRoute(route) for route in missing_routes if route.device]
    steps += [AddRule(rule) for rule in missing_rules if rule.table]
    return steps


class _Leads:
    """Whether a route of the plan can be in the kernel now."""

    def __init__(self, plan: Plan, actual: Actual) -> None:
        self._actual = actual
        self._made = {device.name: device for device in plan.devices}
        self._sources = {(line.table, way.version): way.source for line in plan.lines for way in line.ways}
        self._outer: dict[tuple[int, str], str] = {}
        for line in plan.lines:
            match line.tunnel:
                case Underlay(table=table, version=version, local=local):
                    self._sources[table, version] = local
                case Segments(segments=(first, *_), local=local):
                    self._outer[line.table, first] = local

    def __call__(self, route: Route) -> bool:
        if not route.device:
            return True
        link = self._actual.links.get(route.device)
        if link is None or not link.up or not is_ours(self._made.get(route.device), link):
            return False
        if route.local:
            return True
        if route.destination:  # the node's SRv6 source may stand on any device, as on lo
            local = self._outer[route.table, route.destination]
            return any(local in found for found in self._actual.addresses.values())
        source = self._sources[route.table, route.version]
        return source in self._actual.addresses.get(route.device, frozenset())


def is_ours(wanted: Device | None, link: Link) -> bool:
    """Whether a device is the one that the gateway wanted to make, where it makes one."""
    return wanted is None or (link.alias, link.vxlan) == (wanted.alias, shape_of(wanted))


def _device_steps(devices: Iterable[Device], actual: Actual) -> list[Action]:
    """A device of somebody else in the place of ours is let be: the line is then down and says so."""
    steps: list[Action] = []
    wanted = {device.name: device for device in devices}
    for name, link in sorted(actual.links.items()):
        if link.alias.startswith(ALIAS) and link.vxlan is not None and name not in wanted:
            steps.append(DeleteDevice(name))
    for name, device in wanted.items():
        link_there = actual.links.get(name)
        if link_there is None:
            steps += [AddDevice(device)] if device.underlay in actual.links else []
        elif link_there.vxlan is None or not link_there.alias.startswith(ALIAS):
            continue
        elif not is_ours(device, link_there):
            steps.append(DeleteDevice(name))
        else:
            there = actual.addresses.get(name, frozenset())
            stale = sorted(address for address in there - set(device.addresses) if not address.startswith("fe80:"))
            steps += [DeleteAddress(name, address) for address in stale]
            steps += [AddAddress(name, address) for address in device.addresses if address not in there]
            mtu = _mtu(device, actual)
            steps += [SetMtu(name, mtu)] if mtu not in (0, link_there.mtu) else []
            steps += [] if link_there.up else [SetUp(name)]
    return steps


def _mtu(device: Device, actual: Actual) -> int:
    """The size that a VXLAN device shall have: what was asked for, or what the one under it leaves if that is less."""
    under = actual.links.get(device.underlay)
    if under is None or not under.mtu:
        return device.mtu
    left = under.mtu - VXLAN_HEADERS[6 if ":" in device.local else 4]
    return min(device.mtu, left) if device.mtu else left
