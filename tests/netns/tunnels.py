"""Lines in a tunnel over the first wire of a zone, with a far end that unwraps, and what was sent in the clear."""

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.line.model import handle_of
from gateway.line.plan import Plan, plan, sort_out
from tests.netns.bench import Bench, configured, line_of, node_of
from tests.netns.counts import Count
from tests.netns.kit import ABROAD, Zone
from whitelist.model import Line, Srv6, Vxlan

VNI, VXLAN_PORT = 4711, 4789
INNER_FAR = {4: "10.200.1.1", 6: "fd00:200::1"}
INNER_NEAR = {4: "10.200.1.2", 6: "fd00:200::2"}
SEGMENTS = ("2001:db8:f::1", "2001:db8:f::2")
OUTER = "2001:db8:e::9"


def vxlan_line(zone: Zone, version: int) -> Line:
    """line-1 as a VXLAN segment on vx1 over iplc1. version: family of the outer packets."""
    wire = zone.wires["iplc1"]
    ends = f"local {wire.far[version]} remote {wire.near[version]}"
    wire.ns.ip(
        [
            f"link add vxfar type vxlan id {VNI} {ends} dstport {VXLAN_PORT} dev far nolearning",
            f"addr add {INNER_FAR[4]}/24 dev vxfar",
            f"addr add {INNER_FAR[6]}/64 dev vxfar nodad",
            "link set vxfar up",
        ]
    )
    outer = Vxlan(
        vni=VNI, underlay="iplc1", local=wire.near[version], peer=wire.far[version], gateway=wire.far[version]
    )
    return Line(
        id="line-1",
        index=1,
        device="vx1",
        gateway4=INNER_FAR[4],
        gateway6=INNER_FAR[6],
        source4=INNER_NEAR[4],
        source6=INNER_NEAR[6],
        resolvers=tuple(ABROAD.values()),
        encapsulation=outer,
    )


def srv6_line(zone: Zone, segments: tuple[str, ...] = SEGMENTS) -> Line:
    """line-1 as a segment list over iplc1; the far end owns the segments and unwraps (RFC 8754 4.3.1.1)."""
    wire = zone.wires["iplc1"]
    wire.ns.ip([f"addr replace {segment} dev lo" for segment in segments])
    with wire.ns.inside():
        for name in ("all", "far"):
            Path(f"/proc/sys/net/ipv6/conf/{name}/seg6_enabled").write_text("1")
    zone.gateway.ip([f"addr replace {OUTER} dev lo"])
    return Line(
        id="line-1",
        index=1,
        device="iplc1",
        source4=wire.near[4],
        source6=wire.near[6],
        resolvers=tuple(ABROAD.values()),
        encapsulation=Srv6(segments=segments, gateway=wire.far[6], local=OUTER),
    )


@dataclass
class Tunnel:
    """A zone whose first line is in a tunnel. wanted: its plan; lines: that one and an ordinary one."""

    bench: Bench
    wanted: Plan
    lines: tuple[Line, ...]

    def rules(self, *priorities: int) -> list[str]:
        """Commands that delete the rules of these priorities."""
        found = [rule for rule in self.wanted.rules if rule.priority in priorities]
        return [f"ip -{rule.version} rule del pref {rule.priority}" for rule in found]

    def tables(self) -> list[str]:
        """Commands that empty the line's tables."""
        own = {(r.version, r.table) for r in self.wanted.routes if r.table in self.wanted.lines[0].tables}
        return [f"ip -{version} route flush table {table}" for version, table in sorted(own)]

    def metric(self, *metrics: int) -> list[str]:
        """Commands that delete the line's routes of these metrics."""
        tables = self.wanted.lines[0].tables
        found = sorted(route for route in self.wanted.routes if route.metric in metrics and route.table in tables)
        return [
            f"ip -{route.version} route del {'' if route.device else 'unreachable '}{route.destination or 'default'} "
            f"table {route.table} metric {route.metric}"
            for route in found
        ]


@contextlib.contextmanager
def tunnel(zone: Zone, line: Line) -> Iterator[Tunnel]:
    """The line and an ordinary one on iplc2, in the kernel and up."""
    lines = [line, line_of(zone, 2, "iplc2")]
    node = node_of(zone)
    with zone.gateway.inside(), configured(node, lines) as keeper:
        bench = Bench(zone, keeper, handle_of(lines[0]), handle_of(lines[1]))
        yield Tunnel(bench, plan(sort_out(lines, node)[0], node), tuple(lines))


def in_the_clear(count: Count) -> list[str]:
    """The packets that were neither VXLAN nor wrapped for segments, nor the kernel's word to the peer that nobody takes
    its VXLAN packet (when table and device are both gone), which quotes that one."""
    return [text for text in count.seen if not _is_wrapped(bytes.fromhex(text))]


def _is_wrapped(packet: bytes) -> bool:
    version = packet[0] >> 4
    if version == 6 and packet[6] == 43:
        return packet[42] == 4  # a segment routing header
    at, protocol = (20, packet[9]) if version == 4 else (40, packet[6])
    if (protocol, packet[at : at + 2]) in ((1, b"\x03\x03"), (58, b"\x01\x04")):  # port unreachable
        return True
    return protocol == 17 and struct.unpack("!H", packet[at + 2 : at + 4])[0] == VXLAN_PORT and packet[at + 8] == 8
