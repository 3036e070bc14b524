"""What differs between the plan and the kernel, and the steps that put it right. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.line.overlay import ALIAS, VXLAN_HEADERS, Device
from gateway.line.plan import Plan, is_right
from gateway.line.routing import Diverted, Foreign, Route, Rule
from gateway.line.spec import Segments, Underlay
from gateway.line.steps import (
    Action,
    AddAddress,
    AddDevice,
    AddRoute,
    AddRule,
    DeleteAddress,
    DeleteDevice,
    DeleteRoute,
    DeleteRule,
    LoadTable,
    SetMtu,
    SetSysctl,
    SetTunnelSource,
    SetUp,
)


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. up: administratively; carrier: the far end is there; vxlan: what makes it a device of ours
    (Device.shape), None for any other; alias: its ifalias; mtu in bytes."""

    index: int
    up: bool
    carrier: bool
    vxlan: tuple[object, ...] | None = None
    alias: str = ""
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class Actual:
    """What the kernel says. rules, routes: those in our priorities and tables, whoever made them; foreign: rules of
    others before ours; diverted: what of a line they take, by table and family; addresses: usable ones by device;
    neighbours: state by (device, address); sysctls: None where the path does not exist; table: our nft table
    without counts, empty when it is not there; tunnel_source: the node's SRv6 source address, empty when it has
    none or was not asked for."""

    rules: frozenset[Rule] = frozenset()
    routes: frozenset[Route] = frozenset()
    foreign: tuple[Foreign, ...] = ()
    diverted: Mapping[tuple[int, int], Diverted] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)
    addresses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    neighbours: Mapping[tuple[str, str], str] = field(default_factory=dict)
    sysctls: Mapping[str, str | None] = field(default_factory=dict)
    table: str = ""
    tunnel_source: str = ""


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
        if was is not None and not is_right(path, value, was):
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
    return wanted is None or (link.alias, link.vxlan) == (wanted.alias, wanted.shape)


def _device_steps(devices: Iterable[Device], actual: Actual) -> list[Action]:
    """A device of somebody else in the place of ours is let be: the line is then down and says so."""
    steps: list[Action] = []
    wanted = {device.name: device for device in devices}
    steps += [DeleteDevice(name) for name, link in sorted(actual.links.items()) if _made(link) and name not in wanted]
    for name, device in wanted.items():
        link = actual.links.get(name)
        if link is None:
            steps += [AddDevice(device)] if device.outer.device in actual.links else []
        elif not _made(link):
            continue
        elif not is_ours(device, link):
            steps.append(DeleteDevice(name))
        else:
            there = actual.addresses.get(name, frozenset())
            stale = sorted(address for address in there - set(device.addresses) if not address.startswith("fe80:"))
            steps += [DeleteAddress(name, address) for address in stale]
            steps += [AddAddress(name, address) for address in device.addresses if address not in there]
            mtu = _mtu(device, actual)
            steps += [SetMtu(name, mtu)] if mtu not in (0, link.mtu) else []
            steps += [] if link.up else [SetUp(name)]
    return steps


def _made(link: Link) -> bool:
    """Whether the gateway made it, for whatever line."""
    return link.vxlan is not None and link.alias.startswith(ALIAS)


def _mtu(device: Device, actual: Actual) -> int:
    """The size that a VXLAN device shall have: what was asked for, or what the one under it leaves if that is less."""
    outer = device.outer
    under = actual.links.get(outer.device)
    if under is None or not under.mtu:
        return outer.mtu
    left = under.mtu - VXLAN_HEADERS[outer.version]
    return min(outer.mtu, left) if outer.mtu else left
