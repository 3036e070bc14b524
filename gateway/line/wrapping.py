"""What the nft table says of lines in a tunnel: exactly which outer packets may leave and come in. Pure.

VXLAN: the outer packet passes the output chain once more, with the mark and the socket of the inner one, so it is let
through before the marks are looked at; by addresses, port, header and next hop. Without the mark only what belongs to
no socket of a program passes: the kernel's own neighbour questions in the tunnel. The kernel takes VXLAN on every
address of the node, so its ports are closed but to the peer.
SRv6: the output chain sees the inner packet only, whose next hop is its own destination whether a route wraps it or
not. So the inner one passes there by device and source, and what leaves the device is looked at behind the routing:
by addresses, the whole segment list and next hop; anything else of a line there is in the clear, and dropped.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address

from gateway.line.spec import LineSpec, Segments, Underlay

_IP = {4: "ip", 6: "ip6"}
# Flags of the VXLAN header (RFC 7348 5): a network's number is given, nothing else; then its 24 bits.
_VXLAN = "@th,64,32 0x08000000 @th,96,24 {}"
_SEGMENT_BITS = (
    40 + 8
) * 8  # where the segment list begins, behind IPv6 header and 8 bytes of routing header (RFC 8754)


def leaving(lines: Iterable[LineSpec], mask: int) -> list[str]:
    """Rules of the output chain for outer VXLAN packets."""
    found = []
    for line in lines:
        if isinstance(line.tunnel, Underlay):
            outer = line.tunnel
            ip = _IP[outer.version]
            way = f'oifname "{outer.device}" {ip} saddr {outer.local} {ip} daddr {outer.peer} udp dport {outer.port}'
            way += f" {_VXLAN.format(outer.vni)}"
            passes = f'rt {ip} nexthop {outer.gateway} counter name "line_{line.index}_outer" accept'
            found.append(f"{way} meta mark & {mask:#x} == {line.mark:#x} {passes}")
            found.append(f'{way} meta skuid >= 0 counter name "unmarked" drop')  # has a socket that is a program's
            found.append(f"{way} {passes}")
    return found


def entering(lines: Sequence[LineSpec]) -> list[str]:
    """VXLAN packets that come in: the peer's by the device under the line, and no others."""
    found = []
    ports = sorted({line.tunnel.port for line in lines if isinstance(line.tunnel, Underlay)})
    for line in lines:
        if isinstance(line.tunnel, Underlay):
            outer = line.tunnel
            ip = _IP[outer.version]
            way = f'iifname "{outer.device}" {ip} saddr {outer.peer} {ip} daddr {outer.local} udp dport {outer.port}'
            found.append(f"{way} {_VXLAN.format(outer.vni)} accept")
    if ports:
        found.append(f'udp dport {{ {", ".join(map(str, ports))} }} counter name "line_input" drop')
    return found


def answers(line: LineSpec, mask: int) -> list[str]:
    """What a line of segments brings in. Answers come unwrapped, and connection tracking, which saw the packets they
    answer leave wrapped, does not know them; but their socket is there, and it has the line's mark."""
    return [f"socket mark & {mask:#x} == {line.mark:#x} accept"] if isinstance(line.tunnel, Segments) else []


def last_hop(line: LineSpec) -> list[str]:
    """What may leave the device of a line of segments, behind the routing; empty for any other line."""
    if not isinstance(line.tunnel, Segments):
        return []
    outer = line.tunnel
    way = f"ip6 saddr {outer.local} ip6 daddr {outer.segments[0]} ip6 nexthdr ipv6-route rt type 4"
    listed = [
        f"@nh,{_SEGMENT_BITS + 128 * at},128 {int(IPv6Address(segment)):#x}"
        for at, segment in enumerate(reversed(outer.segments))
    ]
    hop = f'rt ip6 nexthop {outer.gateway} counter name "line_{line.index}_outer" accept'
    return [" ".join([way, f"@nh,{_SEGMENT_BITS - 32},8 {len(outer.segments) - 1}", *listed, hop])]
