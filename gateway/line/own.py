"""Addresses by which a node's own clients and administrators are reached, and which no line may have: a rule leads all
that leaves from a line's source to the line, answers to clients too. Pure."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from gateway.line.model import NodeConfig

Networks = tuple[tuple[IPv4Network | IPv6Network, str], ...]


def networks(named: Iterable[tuple[str, str]]) -> Networks:
    """(prefix, whose it is) as networks. One that holds everything says nothing of where the node itself is."""
    found = ((ip_network(prefix, strict=False), what) for prefix, what in named)
    return tuple((network, what) for network, what in found if network.prefixlen)


def within(address: str, own: Networks) -> str:
    """What is wrong with a line's address that lies in one of these, with the remedy; or nothing."""
    parsed = ip_address(address)
    for prefix, what in own:
        if parsed in prefix:
            taken = f"{address} is within {prefix}, which is a prefix of {what}: answers there would leave by the line"
            return f"{taken}; give the line an address of the carrier's"
    return ""


def fault(address: str, node: NodeConfig) -> str:
    """The same of a node as the lines process knows it: its listeners, access and management."""
    if address in node.listener_addresses:
        taken = f"{address} is the address of a listener: its answers to clients would leave by the line"
        return f"{taken}; give the line an address of its own"
    return within(address, _networks(node))


@lru_cache(maxsize=4)
def _networks(node: NodeConfig) -> Networks:
    named = [(prefix, f"access device {entry.interface}") for entry in node.access for prefix in entry.prefixes]
    named += [
        (prefix, f"management device {entry.interface}") for entry in node.management for prefix in entry.prefixes
    ]
    return networks(named)
