"""What a line in a tunnel needs of the kernel besides its own rules and routes. Pure.

VXLAN (RFC 7348): a device that the gateway makes itself; its outer packets have a table of their own, asked for before
the marks, since an outer packet keeps the mark of the inner one and would run in circles.
SRv6 (RFC 8986 H.Encaps): the line's default route wraps packets for the segments; the outer packet is looked up by the
same mark in the same table, where the first segment has a route of its own and never meets the default route again.
"""

import hashlib
from dataclasses import dataclass

from gateway.line.routing import (
    METRIC_GATEWAY,
    METRIC_SEGMENT,
    METRIC_UNREACHABLE,
    PRIORITY_PROHIBIT_SOURCE,
    PRIORITY_SEGMENT,
    PRIORITY_SOURCE,
    PRIORITY_UNDERLAY,
    Route,
    Rule,
)
from gateway.line.spec import LineSpec, Segments, Underlay


@dataclass(frozen=True, slots=True)
class Device:
    """A VXLAN device of a line. underlay: the device under it; mac: the same after each making, so that the far end's
    neighbour entry holds; addresses: the line's sources; mtu: 0 for what the kernel makes of the one under it."""

    name: str
    line: str
    underlay: str
    vni: int
    local: str
    peer: str
    port: int
    mac: str
    addresses: tuple[str, ...]
    mtu: int = 0

    @property
    def alias(self) -> str:
        """By what the gateway knows its own devices."""
        return f"{ALIAS}{self.line}"

    def __str__(self) -> str:
        way = f"local {self.local} remote {self.peer} dstport {self.port}"
        own = ", ".join(self.addresses)
        way += f" mtu {self.mtu}" if self.mtu else ""
        return f"ip link {self.name}: vxlan id {self.vni} dev {self.underlay} {way} address {self.mac} with {own}"


ALIAS = "feiyu line "
VXLAN_HEADERS = {4: 50, 6: 70}  # bytes by family of the outer packet: IP, UDP, VXLAN, and the inner Ethernet header
_IPV6_HEADER, _ROUTING_HEADER = 40, 8  # bytes (RFC 8200 3, RFC 8754 2 without the list)


def device_of(line: LineSpec) -> Device | None:
    """The device that the gateway makes for the line, if it does."""
    outer = line.tunnel
    if not isinstance(outer, Underlay):
        return None
    digest = hashlib.sha256(f"{outer.vni} {outer.local} {outer.peer}".encode()).hexdigest()
    mac = ":".join(["02", *(digest[at : at + 2] for at in range(0, 10, 2))])  # locally administered (IEEE 802 8.4)
    addresses = tuple(source for way in line.ways for source in way.sources)
    way = (outer.device, outer.vni, outer.local, outer.peer, outer.port)
    return Device(line.device, line.id, *way, mac, addresses, outer.mtu)


def rules_of(line: LineSpec) -> set[Rule]:
    """The rules that lead the outer packets; what has their source and fits no rule ends in a prohibit."""
    match line.tunnel:
        case Underlay(version=version, local=local, peer=peer, table=table):
            priority = PRIORITY_UNDERLAY
        case Segments(segments=(peer, *_), local=local):
            version, table, priority = 6, line.table, PRIORITY_SEGMENT
        case _:
            return set()
    return {
        Rule(version, priority, source=local, destination=peer, table=table),
        Rule(version, PRIORITY_SOURCE, source=local, table=table),
        Rule(version, PRIORITY_PROHIBIT_SOURCE, source=local),
    }


def wrap_of(line: LineSpec, outer: Segments, version: int) -> Route:
    """The route that wraps a line's packets of one family. The kernel takes the outer headers off a route's MTU."""
    mtu = outer.mtu + _IPV6_HEADER + _ROUTING_HEADER + 16 * len(outer.segments) if outer.mtu else 0
    return Route(version, line.table, METRIC_GATEWAY, line.device, segments=outer.segments, mtu=mtu)


def routes_of(line: LineSpec) -> set[Route]:
    """The routes that lead the outer packets, and for SRv6 those that wrap the inner ones."""
    match line.tunnel:
        case Underlay() as outer:
            return {
                Route(outer.version, outer.table, METRIC_GATEWAY, outer.device, outer.gateway),
                Route(outer.version, outer.table, METRIC_UNREACHABLE),
            }
        case Segments() as outer:
            first = outer.segments[0]
            wraps = {wrap_of(line, outer, way.version) for way in line.ways}
            # Without its second route the first segment would meet the default route when its way is gone, and be
            # wrapped again and again (a loop that kernels before 6.15 do not end).
            return wraps | {
                Route(6, line.table, METRIC_SEGMENT, line.device, outer.gateway, destination=first),
                Route(6, line.table, METRIC_UNREACHABLE, destination=first),
            }
        case _:
            return set()
