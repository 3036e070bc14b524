"""The special-purpose address registries, and the table that answers for any IPv4 or IPv6 address.

Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190), the multicast and site-local blocks
that stand in registries of their own, and the metadata addresses of the big clouds. The most specific block wins.
"""

from bisect import bisect_right
from enum import Enum, auto
from ipaddress import ip_network
from itertools import pairwise
from typing import NamedTuple


class Reach(Enum):
    """OPEN: an ordinary destination. SPECIAL: only where a service names a special prefix over it. NEVER: never."""

    OPEN = auto()
    SPECIAL = auto()
    NEVER = auto()


class Block(NamedTuple):
    """One registry entry: prefix in CIDR form, short kind for records, whether it may be reached, and who says so."""

    prefix: str
    kind: str
    reach: Reach
    source: str


_OPEN, _SPECIAL, _NEVER = Reach.OPEN, Reach.SPECIAL, Reach.NEVER

IPV4: tuple[Block, ...] = (
    Block("0.0.0.0/0", "global", _OPEN, "RFC 7249 2.3"),
    Block("0.0.0.0/8", "this-network", _NEVER, "RFC 791 3.2"),
    Block("0.0.0.0/32", "unspecified", _NEVER, "RFC 1122 3.2.1.3"),
    Block("10.0.0.0/8", "private", _SPECIAL, "RFC 1918"),
    Block("100.64.0.0/10", "shared", _SPECIAL, "RFC 6598"),
    Block("100.100.100.200/32", "metadata", _NEVER, "Alibaba Cloud"),
    Block("127.0.0.0/8", "loopback", _NEVER, "RFC 1122 3.2.1.3"),
    Block("168.63.129.16/32", "metadata", _NEVER, "Azure wire server"),
    Block("169.254.0.0/16", "link-local", _NEVER, "RFC 3927"),
    Block("169.254.169.254/32", "metadata", _NEVER, "AWS, Azure, Google Cloud, OpenStack and others"),
    Block("172.16.0.0/12", "private", _SPECIAL, "RFC 1918"),
    Block("192.0.0.0/24", "protocol-assignments", _SPECIAL, "RFC 6890 2.1"),
    Block("192.0.0.0/29", "service-continuity", _SPECIAL, "RFC 7335"),
    Block("192.0.0.8/32", "dummy", _SPECIAL, "RFC 7600"),
    Block("192.0.0.9/32", "pcp-anycast", _OPEN, "RFC 7723; globally reachable"),
    Block("192.0.0.10/32", "turn-anycast", _OPEN, "RFC 8155; globally reachable"),
    Block("192.0.0.170/31", "nat64-discovery", _SPECIAL, "RFC 8880, RFC 7050 2.2"),
    Block("192.0.0.192/32", "metadata", _NEVER, "Oracle Cloud Classic"),
    Block("192.0.2.0/24", "documentation", _SPECIAL, "RFC 5737"),
    Block("192.31.196.0/24", "as112", _OPEN, "RFC 7535; globally reachable"),
    Block("192.52.193.0/24", "amt", _OPEN, "RFC 7450; globally reachable"),
    Block("192.88.99.0/24", "6to4-relay", _SPECIAL, "RFC 7526, deprecated; RFC 6751"),
    Block("192.168.0.0/16", "private", _SPECIAL, "RFC 1918"),
    Block("192.175.48.0/24", "as112", _OPEN, "RFC 7534; globally reachable"),
    Block("198.18.0.0/15", "benchmarking", _SPECIAL, "RFC 2544"),
    Block("198.51.100.0/24", "documentation", _SPECIAL, "RFC 5737"),
    Block("203.0.113.0/24", "documentation", _SPECIAL, "RFC 5737"),
    Block("224.0.0.0/4", "multicast", _NEVER, "RFC 5771"),
    Block("240.0.0.0/4", "reserved", _SPECIAL, "RFC 1112 4"),
    Block("255.255.255.255/32", "broadcast", _NEVER, "RFC 919 7, RFC 8190"),
)

# Blocks that carry an IPv4 address are read by whitelist.address as well. Mapped and compatible addresses are no
# destinations on the wire (a socket would send IPv4); the layout of a local NAT64 prefix is unknown to us: both NEVER.
IPV6: tuple[Block, ...] = (
    Block("::/0", "unallocated", _SPECIAL, "RFC 4291 2.4: only 2000::/3 is delegated"),
    Block("::/96", "ipv4-compatible", _NEVER, "RFC 4291 2.5.5.1, deprecated"),
    Block("::/128", "unspecified", _NEVER, "RFC 4291 2.5.2"),
    Block("::1/128", "loopback", _NEVER, "RFC 4291 2.5.3"),
    Block("::ffff:0:0/96", "ipv4-mapped", _NEVER, "RFC 4291 2.5.5.2"),
    Block("::ffff:0:0:0/96", "ipv4-translated", _SPECIAL, "RFC 2765 2.1, obsolete"),
    Block("64:ff9b::/96", "nat64", _SPECIAL, "RFC 6052 2.1"),
    Block("64:ff9b:1::/48", "nat64-local", _NEVER, "RFC 8215"),
    Block("100::/64", "discard-only", _SPECIAL, "RFC 6666"),
    Block("100:0:0:1::/64", "dummy", _SPECIAL, "RFC 9780"),
    Block("2000::/3", "global", _OPEN, "RFC 4291 2.5.4"),
    Block("2001::/23", "protocol-assignments", _SPECIAL, "RFC 2928"),
    Block("2001::/32", "teredo", _SPECIAL, "RFC 4380, RFC 8190"),
    Block("2001:1::1/128", "pcp-anycast", _OPEN, "RFC 7723; globally reachable"),
    Block("2001:1::2/128", "turn-anycast", _OPEN, "RFC 8155; globally reachable"),
    Block("2001:1::3/128", "srp-anycast", _OPEN, "RFC 9665; globally reachable"),
    Block("2001:2::/48", "benchmarking", _SPECIAL, "RFC 5180, RFC 1752"),
    Block("2001:3::/32", "amt", _OPEN, "RFC 7450; globally reachable"),
    Block("2001:4:112::/48", "as112", _OPEN, "RFC 7535; globally reachable"),
    Block("2001:10::/28", "orchid", _SPECIAL, "RFC 4843, deprecated"),
    Block("2001:20::/28", "orchid-v2", _OPEN, "RFC 7343; globally reachable"),
    Block("2001:30::/28", "drone-id", _OPEN, "RFC 9374; globally reachable"),
    Block("2001:db8::/32", "documentation", _SPECIAL, "RFC 3849"),
    Block("2002::/16", "6to4", _SPECIAL, "RFC 3056; RFC 7526"),
    Block("2620:4f:8000::/48", "as112", _OPEN, "RFC 7534; globally reachable"),
    Block("3fff::/20", "documentation", _SPECIAL, "RFC 9637"),
    Block("5f00::/16", "srv6-sid", _SPECIAL, "RFC 9602"),
    Block("fc00::/7", "unique-local", _SPECIAL, "RFC 4193, RFC 8190"),
    Block("fd00:ec2::/32", "metadata", _NEVER, "AWS: fd00:ec2::254, ::253, ::123, ::23"),
    Block("fd20:ce::254/128", "metadata", _NEVER, "Google Cloud"),
    Block("fe80::/10", "link-local", _NEVER, "RFC 4291 2.5.6"),
    Block("fec0::/10", "site-local", _SPECIAL, "RFC 3879, deprecated"),
    Block("ff00::/8", "multicast", _NEVER, "RFC 4291 2.7"),
)


def _flatten(blocks: tuple[Block, ...]) -> tuple[list[int], list[Block]]:
    """Nested blocks as adjacent ranges: first values (ascending) and the most specific block of each."""
    spans = []
    for block in blocks:
        network = ip_network(block.prefix)
        spans.append((int(network[0]), int(network[-1]), network.prefixlen, block))
    edges = sorted({span[0] for span in spans} | {span[1] + 1 for span in spans})
    owners = [
        max((s for s in spans if s[0] <= low and high <= s[1] + 1), key=lambda s: s[2])[3]
        for low, high in pairwise(edges)
    ]
    return edges[:-1], owners


_STARTS4, _OWNERS4 = _flatten(IPV4)
_STARTS6, _OWNERS6 = _flatten(IPV6)


def block_of(family: int, value: int) -> Block:
    """The most specific block over an address: family 4 or 6, value its integer (network byte order)."""
    if family == 4:
        return _OWNERS4[bisect_right(_STARTS4, value) - 1]
    return _OWNERS6[bisect_right(_STARTS6, value) - 1]
