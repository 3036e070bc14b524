"""What the kernel needs for transparent listeners: connections of clients to elsewhere end at them. Pure.

A client's TCP packet to port 80 or 443 of any address but the gateway's own is given to the listener's socket, or to
that of the connection (nft's tproxy), and marked; by the mark, and only where it came in by that access device, a table
of its own leads it to this host. So the mark leads inwards only: a packet of the gateway's own that carries it has
come in by no device, and meets the `prohibit` behind; so does a client's where the rule or its table is gone. Whatever
else a client sends to elsewhere ends here as well, before the routing is asked. The answers need no rule: they leave by
the device that the listener's socket, and with it every connection, is bound to.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from gateway.line.model import TRANSPARENT_TABLE, NodeConfig, Transparent
from gateway.line.routing import METRIC_LOCAL, PRIORITY_PROHIBIT_MARK, PRIORITY_TRANSPARENT, Route, Rule

PORTS = "{ 80, 443 }"
_QUIC = "udp dport 443"
_WHOLE = 0xFFFFFFFF
# A socket's or packet's mark must not get onto answers, nor be asked for in the reverse path check (ip-sysctl.rst).
_NODE_SYSCTLS = {
    "net/ipv4/conf/all/src_valid_mark": "0",
    "net/ipv4/fwmark_reflect": "0",
    "net/ipv4/tcp_fwmark_accept": "0",
    "net/ipv6/fwmark_reflect": "0",
}


def rules(node: NodeConfig) -> set[Rule]:
    """What comes in marked is for this host; whatever else has the mark goes nowhere."""
    found = set()
    for entry in node.transparent:
        version, mark = ip_address(entry.address).version, node.transparent_mark
        found.add(Rule(version, PRIORITY_TRANSPARENT, mark, _WHOLE, table=TRANSPARENT_TABLE, incoming=entry.interface))
        found |= {Rule(family, PRIORITY_PROHIBIT_MARK, mark, _WHOLE) for family in (4, 6)}
    return found


def routes(node: NodeConfig) -> set[Route]:
    """The table that leads to this host."""
    versions = {ip_address(entry.address).version for entry in node.transparent}
    return {Route(version, TRANSPARENT_TABLE, METRIC_LOCAL, "lo", local=True) for version in versions}


def sysctls(node: NodeConfig) -> dict[str, str]:
    """Path below /proc/sys to value."""
    devices = sorted({entry.interface for entry in node.transparent})
    found = {f"net/ipv4/conf/{device}/src_valid_mark": "0" for device in devices}
    return found | _NODE_SYSCTLS if devices else {}


def taken(listeners: Iterable[Transparent], sources: Mapping[int, str], mark: int) -> list[str]:
    """The rules for what comes in by one access device. sources: by family, the match of the prefixes there.

    What is addressed to the gateway itself is left to its sockets, which know whom they serve: through a transparent
    listener nobody comes to another of them. Only the listener's own port is closed to that, since a connection to it
    would have no destination but the listener. Where no socket takes the packet it goes no further either.
    """
    listeners = list(listeners)
    ports = ", ".join(str(port) for port in sorted({entry.port for entry in listeners}))
    found = [
        f'fib daddr type local tcp dport {{ {ports} }} counter name "forwarded" drop',
        "fib daddr type { local, broadcast, anycast, multicast } accept",
    ]
    for entry in listeners:
        version = ip_address(entry.address).version
        ip, where = ("ip", entry.address) if version == 4 else ("ip6", f"[{entry.address}]")
        if version in sources:
            way = f"{sources[version]} tcp dport {PORTS} tproxy {ip} to {where}:{entry.port}"
            found.append(f"{way} meta mark set {mark:#x} accept")
    # What routers of the clients' network say of answers that are too large for it concerns the connections here.
    found.append(f"icmp type destination-unreachable icmp code frag-needed meta mark set {mark:#x} accept")
    found.append(f"icmpv6 type packet-too-big meta mark set {mark:#x} accept")
    # At once, so that a browser that tries HTTP/3 goes back to TCP.
    found += [f"{match} {_QUIC} reject with icmpx type port-unreachable" for match in sources.values()]
    return [*found, 'counter name "forwarded" drop']


def answers(match: str) -> list[str]:
    """Rules of the output chain. match: the clients' prefixes of one family at one device."""
    if match.startswith("ip "):
        refused = "icmp type destination-unreachable icmp code port-unreachable accept"
    else:
        refused = "icmpv6 type destination-unreachable icmpv6 code port-unreachable accept"
    # Connection tracking never knew what was rejected before any socket had it.
    return [f"{match} tcp sport {PORTS} tcp flags & (syn | ack) != syn accept", f"{match} {refused}"]
